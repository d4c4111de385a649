/*
 * channel.h - one way into a container: a relay's process and the HTTP connection over its standard
 * input and output.
 *
 * A channel carries one request after the other, each begun, read to its end, and ended.  All that
 * comes back is bounded and reduced to a status, a kind of content, and bytes.  A channel that
 * failed, or whose answer was not read to its end, is of no more use.  One thread at a time.
 */
#ifndef AIRLOCK_BRIDGE_CHANNEL_H
#define AIRLOCK_BRIDGE_CHANNEL_H

#include "enrolment.h"
#include "runtimes.h"

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct channel;

/* What the answer's Content-Type may become; anything else is CONTENT_OTHER. */
enum channel_content { CONTENT_OTHER, CONTENT_TEXT, CONTENT_JSON, CONTENT_EVENTS, CONTENT_METRICS };

struct channel_request {
    const char *method; /* "GET" or "POST" */
    const char *path;   /* one of the bridge's own texts */
    const char *body;   /* borrowed until channel_end() */
    size_t body_size;
    const char *const *lines; /* "Name: value" of the bridge's own making, NULL at the end; NULL:
                                 none.  Borrowed until channel_begin() returns */
    bool form;                /* Content-Type is among the lines; otherwise it is JSON */
    uint64_t deadline_ns;     /* io_now_ns() time; 0: none */
    bool (*gone)(void *arg);  /* true: nobody waits for the answer any more; may be NULL */
    void *gone_arg;
};

struct channel_answer {
    unsigned status; /* 200 to 599 */
    enum channel_content content;
    unsigned retry_after; /* seconds, 0: not said */
};

/* Once, before the first channel: a private directory for sockets; its path for
 * runtime_command()'s home. */
int channels_init(struct airlock_error *err);
void channels_exit(void);

/* A channel that is not connected yet; the relay starts with the first request. */
struct channel *channel_new(const struct container *container, struct enrolment *enrolment,
                            struct airlock_error *err);

/* Closes the connection and has the relay ended. */
void channel_free(struct channel *channel);

/* True when an idle channel still has its connection and nothing unasked has come over it. */
bool channel_alive(const struct channel *channel);

/* Sends a request and reads the answer's head.  0, or -1: AIRLOCK_E_UPSTREAM, AIRLOCK_E_TIMEOUT,
 * AIRLOCK_E_CANCELLED or a failure to start the relay; the channel is then to be freed. */
int channel_begin(struct channel *channel, const struct channel_request *request,
                  struct channel_answer *answer, struct airlock_error *err);

/* Waits for 1 to max bytes of the body.  Their number, 0: it is complete, -1 as channel_begin(). */
ssize_t channel_read(struct channel *channel, char *data, size_t max, struct airlock_error *err);

/* True when the relay could not be started, or ended with a failure of its own. */
bool channel_relay_failed(const struct channel *channel);

/* Ends the request.  True: the answer was complete and the channel can be used again. */
bool channel_end(struct channel *channel);

#endif
