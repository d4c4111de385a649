/* utf8.c - see utf8.h. */
#include "utf8.h"

static const char REPLACEMENT[] = "\xef\xbf\xbd";

/* Bytes of the character that c begins; 0: none begins so. */
static unsigned length_of(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Can c be byte number i (from 1) of a character that begins with first? */
static int continues(unsigned char first, unsigned i, unsigned char c)
{
    unsigned char low = 0x80, high = 0xbf;
    if (i == 1) { /* no overlong forms, no surrogates, nothing beyond U+10FFFF */
        low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
        high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    }
    return c >= low && c <= high;
}

/* One byte after what waits.  0 or -1. */
static int take(struct utf8_cleaner *cleaner, unsigned char c, struct bytes *out)
{
    if (cleaner->n_tail && !continues(cleaner->tail[0], cleaner->n_tail, c) &&
        utf8_clean_end(cleaner, out) < 0)
        return -1;
    if (!cleaner->n_tail && length_of(c) == 0)
        return bytes_add(out, REPLACEMENT, sizeof REPLACEMENT - 1);
    cleaner->tail[cleaner->n_tail++] = c;
    if (cleaner->n_tail < length_of(cleaner->tail[0]))
        return 0;
    int rc = bytes_add(out, cleaner->tail, cleaner->n_tail);
    cleaner->n_tail = 0;
    return rc;
}

int utf8_clean(struct utf8_cleaner *cleaner, const char *data, size_t n, struct bytes *out)
{
    for (size_t i = 0; i < n; i++) {
        size_t plain = i;
        while (plain < n && !cleaner->n_tail && (unsigned char)data[plain] < 0x80)
            plain++;
        if (bytes_add(out, data + i, plain - i) < 0)
            return -1;
        i = plain;
        if (i < n && take(cleaner, (unsigned char)data[i], out) < 0)
            return -1;
    }
    return 0;
}

int utf8_clean_end(struct utf8_cleaner *cleaner, struct bytes *out)
{
    int rc = cleaner->n_tail ? bytes_add(out, REPLACEMENT, sizeof REPLACEMENT - 1) : 0;
    cleaner->n_tail = 0;
    return rc;
}
