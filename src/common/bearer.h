/*
 * bearer.h - bearer tokens from a file, one for each caller, compared in a time that tells nothing
 * about them.
 *
 * Only the tokens' SHA-256 stays in memory.
 */
#ifndef AIRLOCK_BEARER_H
#define AIRLOCK_BEARER_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>

enum { BEARER_NAME_MAX = 64, BEARER_ID_SIZE = 33 };

struct bearer_token {
    unsigned char digest[32]; /* SHA-256 of the token */
    char id[BEARER_ID_SIZE];  /* hexadecimal, of the digest's first 16 bytes: tells callers apart
                                 without telling the token */
    char name[BEARER_NAME_MAX + 1]; /* for the log: as in the file, else id's first 8 digits */
};

struct bearer {
    struct bearer_token *token; /* owned; NULL: none is asked for */
    size_t n;
};

/*
 * Reads tokens, one a line: TOKEN, or NAME TOKEN; empty lines, and lines that begin with '#', do
 * not count.  A token is 16 or more printable ASCII characters without spaces, a name 1 to
 * BEARER_NAME_MAX letters, digits, '.', '_' and '-'.  The file must not be readable by others than
 * its owner and group, nor writable by others than its owner.  0, or -1 with the line named.
 */
int bearer_load(const char *path, struct bearer *out, struct airlock_error *err);

/* header: the value of Authorization, or NULL.  The token that it brings, or NULL: none of ours. */
const struct bearer_token *bearer_find(const struct bearer *bearer, const char *header);

/* True when bearer_find() finds one, and when there are no tokens. */
bool bearer_matches(const struct bearer *bearer, const char *header);

void bearer_free(struct bearer *bearer);

#endif
