/* event_stream.c - lines to events, as the HTML standard's "server-sent events" says; see
 * event_stream.h. */
#include "event_stream.h"

#include <string.h>

void event_stream_init(struct event_stream *e)
{
    *e = (struct event_stream){ BYTES_INIT(EVENT_BYTES), BYTES_INIT(EVENT_BYTES) };
}

void event_stream_free(struct event_stream *e)
{
    bytes_free(&e->line);
    bytes_free(&e->data);
}

/* A field of an event.  Comments and fields other than data mean nothing here. */
static int take_field(struct event_stream *e)
{
    static const char name[] = "data:";
    const char *value = e->line.data;
    size_t n = e->line.size;
    if (n < 5 || memcmp(value, name, 5) != 0)
        return 0;
    value += 5;
    n -= 5;
    if (n && *value == ' ')
        value++, n--;
    return (e->data.size && bytes_add(&e->data, "\n", 1) != 0) || bytes_add(&e->data, value, n) != 0
               ? -1
               : 0;
}

/* A line is whole. */
static int take_line(struct event_stream *e, int (*event)(void *ctx, const char *data, size_t size),
                     void *ctx)
{
    int rc = 0;
    if (e->line.size && e->line.data[e->line.size - 1] == '\r')
        e->line.data[--e->line.size] = 0;
    if (e->line.size) {
        rc = take_field(e);
    } else if (e->data.size) {
        rc = event(ctx, e->data.data, e->data.size);
        bytes_clear(&e->data);
    }
    bytes_clear(&e->line);
    return rc;
}

int event_stream_take(struct event_stream *e, const char *bytes, size_t n,
                      int (*event)(void *ctx, const char *data, size_t size), void *ctx)
{
    const char *end = bytes + n;
    while (bytes < end) {
        const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
        size_t part = (size_t)((newline ? newline : end) - bytes);
        if (bytes_add(&e->line, bytes, part) != 0)
            return -1;
        bytes += part + 1;
        int rc = newline ? take_line(e, event, ctx) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}
