/*
 * unicode.h - code points of UTF-8 text and their classes, from the generated unicode_classes.h.
 *
 * Text must be valid UTF-8: nothing here looks behind a character.
 */
#ifndef AIRLOCK_UNICODE_H
#define AIRLOCK_UNICODE_H

#include "unicode_classes.h"

#include <stdbool.h>
#include <stddef.h>

/* The code point of the character at p, and its bytes. */
static inline uint32_t utf8_code(const char *p, size_t *size)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) {
        *size = 1;
        return u[0];
    }
    if (u[0] < 0xe0) {
        *size = 2;
        return (u[0] & 0x1fu) << 6 | (u[1] & 0x3fu);
    }
    if (u[0] < 0xf0) {
        *size = 3;
        return (u[0] & 0xfu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    }
    *size = 4;
    return (u[0] & 7u) << 18 | (u[1] & 0x3fu) << 12 | (u[2] & 0x3fu) << 6 | (u[3] & 0x3fu);
}

/* The class and the UNICODE_WORD bit. */
static inline unsigned unicode_entry(uint32_t code)
{
    if (code >= UNICODE_CLASSES_END)
        return UNICODE_OTHER;
    const uint8_t row = unicode_class_index[code / UNICODE_CLASSES_BLOCK];
    const uint8_t two = unicode_class_rows[row][code % UNICODE_CLASSES_BLOCK / 2];
    return code % 2 ? two >> 4 : two & 15;
}

static inline unsigned unicode_class(uint32_t code)
{
    return unicode_entry(code) & 7;
}

static inline bool unicode_is_word(uint32_t code)
{
    return unicode_entry(code) & UNICODE_WORD;
}

/* The property White_Space. */
static inline bool unicode_is_white(uint32_t code)
{
    const unsigned class = unicode_class(code);
    return class == UNICODE_SPACE || class == UNICODE_NEWLINE;
}

#endif
