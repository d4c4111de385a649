/* stop_strings.c - searches the end of an answer for stop strings as it grows. */
#include "stop_strings.h"

#include <stdlib.h>
#include <string.h>

enum { STOP_HELD_MAX = 16 << 20 }; /* bytes; as the longest answer */

int stop_strings_init(struct stop_strings *s, const struct stop_string *strings, size_t n)
{
    *s = (struct stop_strings){ .held = BYTES_INIT(STOP_HELD_MAX) };
    if (n == 0)
        return 0;
    s->strings = calloc(n, sizeof *s->strings);
    for (size_t i = 0; s->strings && i < n; i++) {
        if (strings[i].size == 0)
            continue;
        char *copy = malloc(strings[i].size);
        if (!copy) {
            stop_strings_free(s);
            return -1;
        }
        memcpy(copy, strings[i].text, strings[i].size);
        s->strings[s->n++] = (struct stop_string){ copy, strings[i].size };
    }
    return s->strings ? 0 : -1;
}

void stop_strings_free(struct stop_strings *s)
{
    for (size_t i = 0; i < s->n; i++)
        free((char *)s->strings[i].text);
    free(s->strings);
    bytes_free(&s->held);
    memset(s, 0, sizeof *s);
}

/* Where the first complete stop string begins; held.size: none. */
static size_t first_match(const struct stop_strings *s)
{
    size_t first = s->held.size;
    for (size_t i = 0; i < s->n; i++) {
        const char *at = memmem(s->held.data, s->held.size, s->strings[i].text, s->strings[i].size);
        if (at && (size_t)(at - s->held.data) < first)
            first = (size_t)(at - s->held.data);
    }
    return first;
}

/* How many of the last bytes may be the beginning of a stop string. */
static size_t possible_start(const struct stop_strings *s)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t n = s->strings[i].size - 1;
        if (n > s->held.size)
            n = s->held.size;
        for (; n > longest; n--)
            if (memcmp(s->held.data + s->held.size - n, s->strings[i].text, n) == 0)
                longest = n;
    }
    return longest;
}

static int release(struct stop_strings *s, size_t n, struct bytes *out)
{
    if (n == 0)
        return 0;
    if (bytes_add(out, s->held.data, n))
        return -1;
    bytes_drop_front(&s->held, n);
    return 0;
}

int stop_strings_add(struct stop_strings *s, const char *bytes, size_t size, struct bytes *out,
                     bool *found)
{
    *found = false;
    if (size == 0)
        return 0;
    if (s->n == 0)
        return bytes_add(out, bytes, size);
    if (bytes_add(&s->held, bytes, size))
        return -1;
    size_t at = first_match(s);
    if (at < s->held.size) {
        *found = true;
        return release(s, at, out);
    }
    return release(s, s->held.size - possible_start(s), out);
}

int stop_strings_flush(struct stop_strings *s, struct bytes *out)
{
    return release(s, s->held.size, out);
}
