/*
 * exchange.h - one request and its answer over a channel of a pool, and how failures are told.
 */
#ifndef AIRLOCK_BRIDGE_EXCHANGE_H
#define AIRLOCK_BRIDGE_EXCHANGE_H

#include "pool.h"

#include "common/bytes.h"
#include "common/error.h"
#include "common/http_server.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct exchange {
    struct pool *pool;
    struct channel *channel;
    struct channel_request request;
    struct channel_answer answer;
    int fd; /* of the caller's connection, -1: none */
};

/* What to send, and for whom. */
struct exchange_ask {
    const char *method, *path;
    const char *body; /* borrowed until exchange_end() */
    size_t body_size;
    const char *const *lines; /* as channel_request's */
    bool form;
    unsigned seconds; /* for the whole exchange; 0: no limit */
    int caller_fd;    /* the connection whose end cancels the exchange, or -1 */
};

/* Takes a channel, sends the request and reads the answer's head.  0, or -1 with nothing to end.
 * *x must not move meanwhile. */
int exchange_begin(struct exchange *x, struct pool *pool, const struct exchange_ask *ask,
                   struct airlock_error *err);

/* The body's next bytes, as channel_read(). */
ssize_t exchange_read(struct exchange *x, char *data, size_t max, struct airlock_error *err);

/* The whole body, added to out, whose max is the limit.  0, or -1. */
int exchange_read_all(struct exchange *x, struct bytes *out, struct airlock_error *err);

/* Gives the channel back.  Also in the middle of an answer: the channel is then closed, and what
 * goes on in the container for it stops. */
void exchange_end(struct exchange *x);

/* The name of a kind of content for the caller; of other content, plain text. */
const char *content_type_name(enum channel_content content);

/* A failure as an answer: {"detail":TEXT}, or OpenAI's {"error":{...}}; Retry-After with 503. */
void reply_failure(struct http_reply *reply, bool openai, unsigned status, const char *text);
void reply_error(struct http_reply *reply, bool openai, const struct airlock_error *err);

/* A failure in the middle of an event stream: appends data: {"error":{...}} as an event. */
void failure_event(const struct airlock_error *err, struct bytes *out);

#endif
