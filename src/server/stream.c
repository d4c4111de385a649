/* stream.c - see stream.h. */
#include "server/stream.h"

#include "common/io.h"

#include <stdlib.h>
#include <string.h>

enum { PENDING_BYTES = 64 << 20 /* one event with its log-probabilities is far below */ };

/* One streamed answer.  On the connection's thread. */
struct stream {
    struct exchange *exchange;
    const struct stream_format *format;
    void *ctx;
    struct answer_event event;
    struct bytes out; /* made and not yet sent, from `sent` on */
    size_t sent;
    bool over;
    unsigned status; /* how it ended */
};

/* Appends what the next event makes.  0, or -1: break off. */
static int make(struct stream *s)
{
    struct exchange *x = s->exchange;
    int ping_ms = s->format->ping ? (int)x->service->ping_seconds * 1000 : -1;
    answer_next(x->answer, ping_ms, &s->event);
    switch (s->event.kind) {
    case ANSWER_SILENCE:
        return bytes_add_text(&s->out, s->format->ping);
    case ANSWER_ERROR:
        exchange_failed(x);
        s->status = x->failure.status;
        s->over = true;
        return s->format->failed(s->ctx, &x->failure, &s->out);
    case ANSWER_OVER:
        s->status = 200;
        s->over = true;
        return s->format->over(s->ctx, &s->out);
    case ANSWER_TEXT:
    case ANSWER_CALL:
    case ANSWER_END:
        break;
    }
    return s->format->event(s->ctx, &s->event, &s->out);
}

static ssize_t stream_read(void *ctx, char *buf, size_t max)
{
    struct stream *s = ctx;
    while (s->sent == s->out.size) {
        bytes_clear(&s->out);
        s->sent = 0;
        if (s->over)
            return 0;
        if (make(s) < 0) {
            if (s->status == 200)
                s->status = 500;
            return -1;
        }
    }
    size_t n = s->out.size - s->sent < max ? s->out.size - s->sent : max;
    memcpy(buf, s->out.data + s->sent, n);
    s->sent += n;
    return (ssize_t)n;
}

static void stream_done(void *ctx)
{
    struct stream *s = ctx;
    exchange_end(s->exchange, s->status);
    free(s->exchange);
    answer_event_free(&s->event);
    s->format->free(s->ctx);
    bytes_free(&s->out);
    free(s);
}

int stream_reply(struct exchange *x, const struct stream_format *format, void *ctx,
                 struct http_reply *reply)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s) {
        static const struct airlock_error memory = { AIRLOCK_E_NO_MEMORY, "out of memory" };
        exchange_fail(x, &memory);
        return -1;
    }
    *s = (struct stream){
        .exchange = x, .format = format, .ctx = ctx, .out = BYTES_INIT(PENDING_BYTES), .status = 499
    }; /* until it has ended in another way */
    enum answer_kind first = answer_first(x->answer, (int)x->service->ping_seconds * 1000);
    if (first == ANSWER_ERROR) {
        exchange_failed(x);
        free(s);
        return -1;
    }
    if (first == ANSWER_SILENCE && format->ping)
        bytes_add_text(&s->out, format->ping);
    reply->status = 200;
    reply->content_type = format->content_type;
    reply->read = stream_read;
    reply->done = stream_done;
    reply->ctx = s;
    return 0;
}
