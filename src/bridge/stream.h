/*
 * stream.h - an answer that is passed on while it comes: event by event, or text as it is made.
 *
 * Nothing waits but what stream_filter.h says.  The caller's reading is the only brake: while it
 * does not read, nothing is read from the container.  What ends badly: events end with an error
 * event, text is cut, so that its end cannot be taken for the answer's.
 */
#ifndef AIRLOCK_BRIDGE_STREAM_H
#define AIRLOCK_BRIDGE_STREAM_H

#include "exchange.h"
#include "record.h"
#include "stream_filter.h"

#include "common/bytes.h"

#include <stdbool.h>
#include <stddef.h>

/* One request with its answer, streamed or not. */
struct stream {
    struct exchange exchange;
    struct record record;
    struct bytes body; /* the request's; libcurl may still be sending it */

    /* once it streams */
    struct stream_filter filter;
    size_t total, max;
    bool over, cut, aborted;
    enum stream_abort why;
};

/* Makes the exchange that has begun the reply's body; the stream, from malloc(), is then the
 * connection's to end and free. */
void stream_start(struct stream *stream, enum stream_kind kind, struct http_reply *reply);

#endif
