/*
 * stream.h - sends an answer while it is made: what has come goes out at once, and a sign of life
 * when nothing comes.
 */
#ifndef AIRLOCK_STREAM_H
#define AIRLOCK_STREAM_H

#include "server/exchange.h"

/* How an answer is written.  Each appends bytes for the client; 0, or -1: break the answer off. */
struct stream_format {
    const char *content_type;
    /* ANSWER_TEXT, ANSWER_CALL or ANSWER_END of a choice. */
    int (*event)(void *ctx, const struct answer_event *event, struct bytes *out);
    int (*failed)(void *ctx, const struct failure *failure, struct bytes *out);
    int (*over)(void *ctx, struct bytes *out);
    const char *ping; /* sent after service.ping_seconds without anything else; NULL: nothing */
    void (*free)(void *ctx);
};

/*
 * Answers with a stream of x (its answer was started, both are heap memory and now the stream's).
 * Waits for the first event, but not longer than until the first ping: a failure until then is told
 * through x->failure, and -1 returned with nothing taken over; later ones are format->failed()'s.
 * 0: reply is complete.
 */
int stream_reply(struct exchange *x, const struct stream_format *format, void *ctx,
                 struct http_reply *reply);

#endif
