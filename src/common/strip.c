/* strip.c - finds Unicode white space at the ends of UTF-8 text; see strip.h. */
#include "strip.h"

#include <string.h>

/* What str.isspace() accepts beyond ASCII: U+0085, 00A0, 1680, 2000-200A, 2028, 2029, 202F, 205F,
 * 3000. */
static const char *const wide[] = {
    "\xc2\x85",     "\xc2\xa0",     "\xe1\x9a\x80", "\xe2\x80\x80", "\xe2\x80\x81",
    "\xe2\x80\x82", "\xe2\x80\x83", "\xe2\x80\x84", "\xe2\x80\x85", "\xe2\x80\x86",
    "\xe2\x80\x87", "\xe2\x80\x88", "\xe2\x80\x89", "\xe2\x80\x8a", "\xe2\x80\xa8",
    "\xe2\x80\xa9", "\xe2\x80\xaf", "\xe2\x81\x9f", "\xe3\x80\x80",
};

static int is_ascii_space(unsigned char c)
{
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
}

/* Bytes of the white space at the front (or at the back) of text; 0: none there. */
static size_t space_length(const char *text, size_t size, int at_back)
{
    if (size && is_ascii_space((unsigned char)(at_back ? text[size - 1] : text[0])))
        return 1;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        size_t n = strlen(wide[i]);
        if (n <= size && memcmp(at_back ? text + size - n : text, wide[i], n) == 0)
            return n;
    }
    return 0;
}

size_t strip_length(const char *text, size_t size)
{
    return space_length(text, size, 0);
}

void strip_space(const char **text, size_t *size)
{
    size_t n;
    while ((n = space_length(*text, *size, 0)) > 0) {
        *text += n;
        *size -= n;
    }
    while ((n = space_length(*text, *size, 1)) > 0)
        *size -= n;
}
