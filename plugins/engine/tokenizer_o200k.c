/* tokenizer_o200k.c - the o200k pre-tokenizer pattern written by hand, one scan forward for each
 * rule. */
#include "tokenizer_split.h"

#include "unicode.h"

#include <string.h>

/*
 * The rules, in the order in which they are tried at each place (OpenAI's o200k_base):
 *
 *   1  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+CONTRACTION?
 *   2  [^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*CONTRACTION?
 *   3  \p{N}{1,3}
 *   4   ?[^\s\p{L}\p{N}]+[\r\n/]*
 *   5  \s*[\r\n]+
 *   6  \s+(?!\S)
 *   7  \s+
 *
 * "Head" letters below are the first class of rule 1, "tail" letters its second; Lm, Lo and M are
 * both.
 */
const char tokenizer_o200k_pattern[] =
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

enum {
    END = 8, /* the class "after the text" */
    IS_HEAD = 1 << UNICODE_UPPER | 1 << UNICODE_LETTER | 1 << UNICODE_MARK,
    IS_TAIL = 1 << UNICODE_LOWER | 1 << UNICODE_LETTER | 1 << UNICODE_MARK,
    IS_PREFIX = 1 << UNICODE_OTHER | 1 << UNICODE_SPACE,
    IS_SYMBOL = 1 << UNICODE_OTHER | 1 << UNICODE_MARK,
    IS_WHITE = 1 << UNICODE_SPACE | 1 << UNICODE_NEWLINE
};

#define IN(class, set) ((1u << (class)) & (unsigned)(set))

/* The class of the character at p, and its size. */
static unsigned class_at(const unsigned char *p, const unsigned char *end, size_t *size)
{
    *size = 0;
    return p == end ? (unsigned)END : unicode_class(utf8_code((const char *)p, size));
}

/* The end of the run of characters of these classes that starts at p; *next is the class there. */
static const unsigned char *run_of(const unsigned char *p, const unsigned char *end, unsigned set,
                                   unsigned *next)
{
    size_t n;
    unsigned class;
    while (IN(class = class_at(p, end, &n), set))
        p += n;
    *next = class;
    return p;
}

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)? at p; the long s (U+017F) is an s when case is ignored. */
static const unsigned char *contraction(const unsigned char *p, const unsigned char *end)
{
    if (end - p < 2 || *p != '\'')
        return p;
    const unsigned char first = p[1] | 0x20, second = end - p > 2 ? p[2] | 0x20 : 0;
    if (p[1] == 0xc5 && end - p > 2 && p[2] == 0xbf)
        return p + 3;
    if (p[1] >= 0x80)
        return p;
    switch (first) {
    case 's':
    case 't':
    case 'm':
    case 'd':
        return p + 2;
    case 'r':
    case 'v':
        return second == 'e' ? p + 3 : p;
    case 'l':
        return second == 'l' ? p + 3 : p;
    default:
        return p;
    }
}

/*
 * Rules 1 and 2 for letters that start at p (behind the optional prefix).  NULL: neither matches.
 *
 * Rule 1 takes all head letters and then needs a tail letter.  If none follows it gives head
 * letters back until one of those is a tail letter too: the last such one then ends the match.
 * Where there is none, all of the run is upper case and rule 2 takes it.
 */
static const unsigned char *word(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *start = p, *last_tail_end = NULL;
    size_t n;
    unsigned class;
    for (; IN(class = class_at(p, end, &n), IS_HEAD); p += n)
        if (class != UNICODE_UPPER)
            last_tail_end = p + n;
    if (class == UNICODE_LOWER)
        p = run_of(p, end, IS_TAIL, &class);
    else if (last_tail_end)
        p = last_tail_end;
    else if (p == start)
        return NULL;
    return contraction(p, end);
}

/* Rules 5 to 7 at p, which is white. */
static const unsigned char *white_space(const unsigned char *p, const unsigned char *end)
{
    const unsigned char *last_newline_end = NULL, *last = p, *start = p;
    size_t n;
    unsigned class;
    for (; IN(class = class_at(p, end, &n), IS_WHITE); p += n) {
        last = p;
        if (class == UNICODE_NEWLINE)
            last_newline_end = p + n;
    }
    if (last_newline_end)
        return last_newline_end;
    return class == END || last == start ? p : last; /* the last one belongs to what follows */
}

/* Rule 4 from the first symbol on. */
static const unsigned char *symbols(const unsigned char *p, const unsigned char *end)
{
    unsigned class;
    p = run_of(p, end, IS_SYMBOL, &class);
    while (p < end && (*p == '\r' || *p == '\n' || *p == '/'))
        p++;
    return p;
}

size_t o200k_next(const char *text, size_t size)
{
    const unsigned char *start = (const unsigned char *)text, *end = start + size, *to = NULL;
    size_t n, n2;
    unsigned class = class_at(start, end, &n);

    /* A mark could be prefix or letter; as a letter it leads to the same end, or to the right one:
     * in front of upper case rule 1 takes it alone before rule 2 could take it as a prefix. */
    if (IN(class, IS_HEAD | IS_TAIL))
        to = word(start, end);
    else if (IN(class, IS_PREFIX))
        to = word(start + n, end);
    if (to)
        return (size_t)(to - start);

    if (class == UNICODE_NUMBER) {
        to = start + n;
        for (int more = 2; more && class_at(to, end, &n) == UNICODE_NUMBER; more--)
            to += n;
        return (size_t)(to - start);
    }
    if (IN(class, IS_SYMBOL))
        return (size_t)(symbols(start, end) - start);
    if (*start == ' ' && IN(class_at(start + 1, end, &n2), IS_SYMBOL))
        return (size_t)(symbols(start + 1, end) - start);
    return (size_t)(white_space(start, end) - start);
}
