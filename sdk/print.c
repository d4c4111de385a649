/* print.c - libairlock: text of a model on a terminal; see airlock_print() in airlock.h. */
#include <airlock/airlock.h>

enum { NO_CHARACTER = -1 };

/* The character at p and its length in bytes.  Pieces hold whole characters of valid UTF-8; should
 * one not, its bytes are taken one by one. */
static long character(const unsigned char *p, size_t left, size_t *n)
{
    size_t size = p[0] < 0x80   ? 1
                  : p[0] < 0xc2 ? 0
                  : p[0] < 0xe0 ? 2
                  : p[0] < 0xf0 ? 3
                  : p[0] < 0xf5 ? 4
                                : 0;
    long code = p[0];
    *n = 1;
    if (size <= 1)
        return size == 1 ? code : NO_CHARACTER;
    if (size > left)
        return NO_CHARACTER;
    code &= 0xff >> (size + 1);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return NO_CHARACTER;
        code = code << 6 | (p[i] & 0x3f);
    }
    *n = size;
    return code;
}

/* Does something to a terminal, or cannot be seen: C0 but tab and line feed, DEL, C1, bidirectional
 * controls, zero-width and separator characters, tags. */
static int harmful(long c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c <= 0x9f) || c == 0xad ||
           c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
           (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

int airlock_print(FILE *out, const char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text;
    int rc = 0;
    while (size && rc >= 0) {
        size_t n;
        long c = character(p, size, &n);
        if (c == NO_CHARACTER)
            rc = fprintf(out, "\\x%02x", *p);
        else if (harmful(c))
            rc = fprintf(out, c < 0x100 ? "\\x%02lx" : "\\u%04lx", (unsigned long)c);
        else
            rc = fwrite(p, 1, n, out) == n ? 0 : -1;
        p += n;
        size -= n;
    }
    return rc < 0 ? -1 : 0;
}
