/*
 * utf8.h - makes valid UTF-8 of bytes that arrive in pieces: incomplete characters wait for their
 * rest, wrong bytes become U+FFFD.
 */
#ifndef AIRLOCK_UTF8_H
#define AIRLOCK_UTF8_H

#include "bytes.h"

/* Zero-initialise; one per text. */
struct utf8_cleaner {
    unsigned char tail[4]; /* an incomplete character */
    unsigned n_tail;
};

/* Appends to out the whole characters of what came so far, each maximal wrong part replaced by one
 * U+FFFD (as Unicode chapter 3 and Python do).  0, or -1: out is full or out of memory. */
int utf8_clean(struct utf8_cleaner *cleaner, const char *data, size_t n, struct bytes *out);

/* The text is over: an incomplete character at its end becomes U+FFFD.  0 or -1. */
int utf8_clean_end(struct utf8_cleaner *cleaner, struct bytes *out);

#endif
