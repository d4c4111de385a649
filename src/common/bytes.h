/*
 * bytes.h - a growable byte buffer with a hard maximum, for everything whose size others decide.
 *
 * Zero-initialise with BYTES_INIT(max); the content is always followed by a NUL that is not
 * counted.  One thread at a time.
 */
#ifndef AIRLOCK_BYTES_H
#define AIRLOCK_BYTES_H

#include <stddef.h>

struct bytes {
    char *data; /* owned; NULL until something was added */
    size_t size, capacity, max;
};

#define BYTES_INIT(max_)                                                                           \
    {                                                                                              \
        NULL, 0, 0, (max_)                                                                         \
    }

/* All return 0, or -1 with the buffer unchanged: beyond max, or out of memory. */
int bytes_add(struct bytes *b, const void *data, size_t n);
int bytes_add_text(struct bytes *b, const char *text);
int bytes_printf(struct bytes *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Room for n more bytes at data + size; add to size what was written. */
int bytes_reserve(struct bytes *b, size_t n);

void bytes_drop_front(struct bytes *b, size_t n); /* n <= size */
void bytes_clear(struct bytes *b);                /* keeps the memory */
void bytes_free(struct bytes *b);                 /* b can be used again */

#endif
