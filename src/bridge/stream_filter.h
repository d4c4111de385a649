/*
 * stream_filter.h - decides what of a streamed body may already go on: whole events, or text of
 * which the end is not white space.
 *
 * Events (server-sent, text/event-stream) pass when their blank line has come, so that an error
 * event can follow at any time.  Text passes so that all that is passed together is what
 * strip_space() leaves of the whole: white space in front is dropped, and white space at the end
 * waits for what comes after it.  Neither splits a UTF-8 character.  Bytes are otherwise not looked
 * at.  One thread at a time.
 */
#ifndef AIRLOCK_BRIDGE_STREAM_FILTER_H
#define AIRLOCK_BRIDGE_STREAM_FILTER_H

#include "common/bytes.h"

#include <stdbool.h>
#include <stddef.h>

enum stream_kind { STREAM_EVENTS, STREAM_TEXT };

struct stream_filter {
    enum stream_kind kind;
    struct bytes held;
    size_t begin, ready; /* held.data[begin..ready) may go on */
    size_t scanned;      /* events: looked at; text: white space behind ready, and nothing else */
    bool empty_line;     /* events: nothing on the line yet */
    bool started;        /* text: something that is no white space has come */
    bool said_done;      /* events: the last one was data: [DONE] */
};

/* max: bytes that may wait, the piece of one filter_put() included. */
void filter_init(struct stream_filter *filter, enum stream_kind kind, size_t max);

/* Takes more of the body.  0, or -1: more waits than may, or out of memory. */
int filter_put(struct stream_filter *filter, const char *data, size_t n);

/* The body is complete: what waits becomes ready, but for the white space at a text's end. */
void filter_end(struct stream_filter *filter);

/* The body broke off: what waits is dropped, and `last` (NULL: nothing) is ready instead. */
void filter_break(struct stream_filter *filter, const char *last);

/* Moves up to max (at least 4) bytes that are ready to out; their number. */
size_t filter_take(struct stream_filter *filter, char *out, size_t max);

void filter_free(struct stream_filter *filter);

#endif
