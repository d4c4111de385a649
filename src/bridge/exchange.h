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

/*
 * Takes a channel, sends the request and reads the answer's head.  seconds: for the whole exchange,
 * 0: no limit.  caller_fd: the connection whose end cancels the exchange, or -1.  path and body are
 * borrowed until exchange_end().  0, or -1 with nothing to end.  *x must not move meanwhile.
 */
int exchange_begin(struct exchange *x, struct pool *pool, const char *method, const char *path,
                   const char *body, size_t body_size, unsigned seconds, int caller_fd,
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

#endif
