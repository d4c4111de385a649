/*
 * event_stream.h - takes server-sent events apart, whatever pieces they come in.
 */
#ifndef AIRLOCK_SDK_EVENT_STREAM_H
#define AIRLOCK_SDK_EVENT_STREAM_H

#include "common/bytes.h"

#include <stddef.h>

enum { EVENT_BYTES = 4 << 20 }; /* the most that one event may have */

struct event_stream {
    struct bytes line, data; /* of the event that is not whole yet */
};

void event_stream_init(struct event_stream *events);

/* Takes n bytes and calls `event` with the data of each event that is now whole.  0; -1: an event
 * is too large, or out of memory; or what `event` returned, if that is not 0. */
int event_stream_take(struct event_stream *events, const char *bytes, size_t n,
                      int (*event)(void *ctx, const char *data, size_t size), void *ctx);

void event_stream_free(struct event_stream *events);

#endif
