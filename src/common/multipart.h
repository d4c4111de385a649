/*
 * multipart.h - reads multipart/form-data (RFC 7578) that lies whole in memory, part by part.
 *
 * One pass over the body, nothing is copied or allocated: what a part points to lives in the body.
 * Stricter than RFC 2046 where leniency would let two readers see two forms: nothing in front of
 * the first boundary or behind the last one, no white space behind a boundary, no transfer
 * encoding, at most MULTIPART_PARTS_MAX parts with MULTIPART_HEAD_MAX bytes of headers each.
 */
#ifndef AIRLOCK_MULTIPART_H
#define AIRLOCK_MULTIPART_H

#include "error.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    MULTIPART_BOUNDARY_MAX = 70, /* RFC 2046 */
    MULTIPART_PARTS_MAX = 64,
    MULTIPART_HEAD_MAX = 4096, /* a file's name and type are below 1 KiB */
    MULTIPART_NAME_MAX = 128
};

/* What is left to read.  Made by multipart_begin(). */
struct multipart {
    const char *at, *end;                  /* at: behind a boundary */
    char mark[MULTIPART_BOUNDARY_MAX + 5]; /* CRLF "--" boundary */
    size_t mark_size;
    unsigned n; /* parts so far */
};

struct multipart_part {
    const char *name; /* as sent between its quotes: printable ASCII, not NUL-terminated */
    size_t name_size; /* 1 to MULTIPART_NAME_MAX */
    bool file;        /* it has a filename */
    const char *data; /* its body: any bytes */
    size_t size;
};

/* Takes the boundary out of a Content-Type "multipart/form-data; boundary=...".  0, or -1: it is
 * another type, has no boundary or two, or one with characters other than letters, digits and
 * '+_.- (which is all that clients use). */
int multipart_boundary(const char *content_type, char out[MULTIPART_BOUNDARY_MAX + 1]);

/* 0, or -1 with err (AIRLOCK_E_REQUEST): the body does not begin with the boundary, which is one
 * of multipart_boundary(). */
int multipart_begin(struct multipart *form, const char *boundary, const char *body, size_t size,
                    struct airlock_error *err);

/* 1: another part; 0: the form is over; -1 with err (AIRLOCK_E_REQUEST). */
int multipart_next(struct multipart *form, struct multipart_part *part, struct airlock_error *err);

/* True when the part has that name. */
bool multipart_is(const struct multipart_part *part, const char *name);

#endif
