/*
 * stop_strings.h - ends an answer before the first of some strings, and holds back bytes that may
 * yet become one.
 */
#ifndef AIRLOCK_STOP_STRINGS_H
#define AIRLOCK_STOP_STRINGS_H

#include "common/bytes.h"

#include <stdbool.h>
#include <stddef.h>

struct stop_string {
    const char *text;
    size_t size;
};

struct stop_strings {
    struct stop_string *strings; /* owned, and their text */
    size_t n;
    struct bytes held; /* the end of the answer that is not released yet */
};

/* Copies strings; empty ones are left out.  0, or -1: out of memory. */
int stop_strings_init(struct stop_strings *s, const struct stop_string *strings, size_t n);
void stop_strings_free(struct stop_strings *s); /* also of a zeroed one */

/*
 * Adds bytes of the answer and releases to out all that cannot belong to a stop string.  *found:
 * one was completed; everything before the first is then released, and nothing is to be added any
 * more.  0, or -1: out of memory.
 */
int stop_strings_add(struct stop_strings *s, const char *bytes, size_t size, struct bytes *out,
                     bool *found);
/* The answer ends here: releases what is held. */
int stop_strings_flush(struct stop_strings *s, struct bytes *out);

#endif
