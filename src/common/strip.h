/*
 * strip.h - white space at both ends of a text, as Python's str.strip() sees it.
 */
#ifndef AIRLOCK_STRIP_H
#define AIRLOCK_STRIP_H

#include <stddef.h>

/* Moves *text and shrinks *size so that no white space (Unicode's, in UTF-8) is left at the ends.
 * Bytes that are not UTF-8 are no white space. */
void strip_space(const char **text, size_t *size);

/* Bytes of the one white space character that text begins with; 0: it begins with none. */
size_t strip_length(const char *text, size_t size);

#endif
