/* stream.c - reads a streamed answer for its connection; see stream.h. */
#include "stream.h"

#include "common/limits.h"
#include "common/log.h"

#include <stdlib.h>

enum { PIECE_BYTES = 16 << 10 };

static enum stream_abort reason(enum airlock_status code)
{
    return code == AIRLOCK_E_CANCELLED   ? ABORT_CALLER
           : code == AIRLOCK_E_TIMEOUT   ? ABORT_TIMEOUT
           : code == AIRLOCK_E_TOO_LARGE ? ABORT_LIMIT
                                         : ABORT_CONTAINER;
}

/* The answer broke off.  What the caller sees of it depends on the kind. */
static void broken(struct stream *s, struct airlock_error *err)
{
    s->over = true;
    s->aborted = true;
    s->why = reason(err->code);
    if (s->why == ABORT_LIMIT)
        err->code = AIRLOCK_E_UPSTREAM; /* the container's fault, not the caller's */
    exchange_end(&s->exchange);         /* what goes on for it in the container stops now */
    log_warning("%s id=%s: %s", routes[s->record.route].path, s->record.carried.id, err->text);
    s->cut = s->filter.kind == STREAM_TEXT || s->why == ABORT_CALLER;
    if (s->cut || s->filter.said_done) {
        filter_break(&s->filter, NULL);
        return;
    }
    struct bytes event = BYTES_INIT(4 * AIRLOCK_ERROR_TEXT_MAX + 256);
    failure_event(err, &event);
    filter_break(&s->filter, event.data);
    bytes_free(&event);
}

/* One more piece of the body into the filter. */
static void more(struct stream *s)
{
    char piece[PIECE_BYTES];
    struct airlock_error err = { 0 };
    const char *name = pool_container(s->exchange.pool)->name;
    ssize_t got = exchange_read(&s->exchange, piece, sizeof piece, &err);
    if (got < 0) {
        broken(s, &err);
        return;
    }
    if (got == 0) {
        filter_end(&s->filter);
        s->over = true;
        exchange_end(&s->exchange); /* the channel is free before the caller knows of the end */
        return;
    }
    record_first_byte(&s->record);
    s->total += (size_t)got;
    if (s->total > s->max)
        airlock_error_set(&err, AIRLOCK_E_TOO_LARGE, "The answer from container '%s' is too large",
                          name);
    else if (filter_put(&s->filter, piece, (size_t)got) < 0)
        airlock_error_set(&err, AIRLOCK_E_TOO_LARGE, "An event from container '%s' is too large",
                          name);
    if (err.code)
        broken(s, &err);
}

static ssize_t stream_read(void *ctx, char *data, size_t max)
{
    struct stream *s = ctx;
    for (;;) {
        size_t n = filter_take(&s->filter, data, max);
        if (n) {
            s->record.bridge->metrics.bytes_out += n;
            return (ssize_t)n;
        }
        if (s->over)
            return s->cut ? -1 : 0;
        more(s);
    }
}

static void stream_done(void *ctx)
{
    struct stream *s = ctx;
    if (!s->over) { /* the connection could not be written to */
        s->aborted = true;
        s->why = ABORT_CALLER;
    }
    exchange_end(&s->exchange);
    record_stream(&s->record, s->aborted ? &s->why : NULL);
    filter_free(&s->filter);
    bytes_free(&s->body);
    free(s);
}

void stream_start(struct stream *s, enum stream_kind kind, struct http_reply *reply)
{
    bool events = kind == STREAM_EVENTS;
    s->max = events ? s->record.bridge->config->stream_bytes : LIMIT_ANSWER_BYTES;
    filter_init(&s->filter, kind,
                events ? (size_t)LIMIT_EVENT_BYTES + PIECE_BYTES : (size_t)LIMIT_ANSWER_BYTES);
    reply->status = 200;
    reply->content_type = content_type_name(events ? CONTENT_EVENTS : CONTENT_TEXT);
    reply->read = stream_read;
    reply->done = stream_done;
    reply->ctx = s;
}
