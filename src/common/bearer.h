/*
 * bearer.h - a bearer token from a file, compared in a time that tells nothing about it.
 */
#ifndef AIRLOCK_BEARER_H
#define AIRLOCK_BEARER_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>

struct bearer {
    char *token; /* owned; NULL: none is asked for */
    size_t size;
};

/* Reads the token: the file's only line, 16 bytes or more of printable ASCII; the file must not be
 * readable by others than its owner and group, nor writable by others than its owner.  0 or -1. */
int bearer_load(const char *path, struct bearer *out, struct airlock_error *err);

/* header: the value of Authorization, or NULL.  True without a token. */
bool bearer_matches(const struct bearer *bearer, const char *header);

void bearer_free(struct bearer *bearer);

#endif
