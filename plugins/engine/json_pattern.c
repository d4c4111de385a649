/* json_pattern.c - parses regular expressions with a stack of its own; see json_pattern.h. */
#include "json_pattern.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_RANGES = 256, LAST_CODE_POINT = 0x10ffff };

/* Code points, as ascending pairs once normalised. */
struct class
{
    uint32_t ranges[2 * MAX_RANGES];
    size_t n; /* ranges */
};

/* A group that is open. */
struct group {
    unsigned branches; /* finished ones, together one fragment on the stack */
    unsigned items;    /* in this branch, together one fragment */
    bool start, end;   /* this branch was anchored by ^, by $ */
};

struct parser {
    struct lex_expression *x;
    const char *text, *at, *end;
    struct group groups[PATTERN_MAX_DEPTH + 1];
    unsigned depth;
    struct airlock_error *err;
};

static int wrong(struct parser *p, const char *what)
{
    return airlock_error_set(p->err, AIRLOCK_E_REQUEST, "%s at byte %zu of the expression", what,
                             (size_t)(p->at - p->text));
}

/* ---- classes --------------------------------------------------------------------------------- */

static int add_range(struct parser *p, struct class *c, uint32_t low, uint32_t high)
{
    if (low > high)
        return wrong(p, "a class has a range that is out of order");
    if (c->n == MAX_RANGES)
        return wrong(p, "a class has too many parts");
    c->ranges[2 * c->n] = low;
    c->ranges[2 * c->n++ + 1] = high;
    return 0;
}

static int by_start(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return (x[0] > y[0]) - (x[0] < y[0]);
}

/* Sorts, and joins what overlaps or touches. */
static void normalise(struct class *c)
{
    size_t kept = 0;
    qsort(c->ranges, c->n, 2 * sizeof *c->ranges, by_start);
    for (size_t i = 0; i < c->n; i++) {
        const uint32_t *r = &c->ranges[2 * i];
        uint32_t *last = kept ? &c->ranges[2 * (kept - 1)] : NULL;
        if (last && r[0] <= last[1] + 1) {
            last[1] = r[1] > last[1] ? r[1] : last[1];
        } else {
            c->ranges[2 * kept] = r[0];
            c->ranges[2 * kept++ + 1] = r[1];
        }
    }
    c->n = kept;
}

static int negate(struct parser *p, struct class *c)
{
    struct class out = { .n = 0 };
    uint32_t from = 0;
    normalise(c);
    for (size_t i = 0; i < c->n; i++) {
        if (c->ranges[2 * i] > from && add_range(p, &out, from, c->ranges[2 * i] - 1))
            return -1;
        from = c->ranges[2 * i + 1] + 1;
    }
    if (from <= LAST_CODE_POINT && add_range(p, &out, from, LAST_CODE_POINT))
        return -1;
    *c = out;
    return 0;
}

static int add_ranges(struct parser *p, struct class *c, const uint32_t (*ranges)[2], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (add_range(p, c, ranges[i][0], ranges[i][1]))
            return -1;
    return 0;
}

/* \d \w \s and \D \W \S.  \s is the ASCII part, \S has no white space of any standard, so that both
 * mean at most what ECMA-262, Python and PCRE make of them. */
static int add_shorthand(struct parser *p, struct class *c, char letter)
{
    static const uint32_t digit[][2] = { { '0', '9' } };
    static const uint32_t word[][2] = { { '0', '9' }, { 'A', 'Z' }, { '_', '_' }, { 'a', 'z' } };
    static const uint32_t space[][2] = { { 9, 13 }, { ' ', ' ' } };
    static const uint32_t white[][2] = { { 9, 13 },          { 28, 32 },         { 0x85, 0x85 },
                                         { 0xa0, 0xa0 },     { 0x1680, 0x1680 }, { 0x2000, 0x200a },
                                         { 0x2028, 0x2029 }, { 0x202f, 0x202f }, { 0x205f, 0x205f },
                                         { 0x3000, 0x3000 }, { 0xfeff, 0xfeff } };
    struct class part = { .n = 0 };
    int rc = 0;
    switch (letter) {
    case 'd':
        return add_ranges(p, c, digit, 1);
    case 'w':
        return add_ranges(p, c, word, 4);
    case 's':
        return add_ranges(p, c, space, 2);
    case 'D':
        rc = add_ranges(p, &part, digit, 1);
        break;
    case 'W':
        rc = add_ranges(p, &part, word, 4);
        break;
    default:
        rc = add_ranges(p, &part, white, sizeof white / sizeof *white);
        break;
    }
    if (rc || negate(p, &part))
        return -1;
    for (size_t i = 0; i < part.n; i++)
        if (add_range(p, c, part.ranges[2 * i], part.ranges[2 * i + 1]))
            return -1;
    return 0;
}

/* ---- characters ------------------------------------------------------------------------------ */

static uint32_t next_char(struct parser *p)
{
    size_t size = 0;
    uint32_t c = utf8_code(p->at, &size);
    p->at += size;
    return c;
}

static int hex(struct parser *p, unsigned digits, uint32_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < digits; i++, p->at++) {
        char c = p->at < p->end ? *p->at : 0;
        int v = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (v < 0)
            return wrong(p, "an escape needs hexadecimal digits");
        *out = *out << 4 | (uint32_t)v;
    }
    if (*out >= 0xd800 && *out <= 0xdfff)
        return wrong(p, "a surrogate is not supported");
    return 0;
}

/* Behind a backslash: a character (*is_class false) or a shorthand in c. */
static int escape(struct parser *p, struct class *c, bool *is_class, uint32_t *out)
{
    static const char letters[] = "nrtfv0", values[] = "\n\r\t\f\v\0";
    *is_class = false;
    if (p->at == p->end)
        return wrong(p, "a backslash stands at the end");
    uint32_t letter = next_char(p);
    const char *at = letter && letter < 0x80 ? strchr(letters, (int)letter) : NULL;
    if (at) {
        *out = (uint32_t)values[at - letters];
        if (letter == '0' && p->at < p->end && *p->at >= '0' && *p->at <= '9')
            return wrong(p, "an octal escape is not supported");
        return 0;
    }
    if (letter == 'x' || letter == 'u')
        return hex(p, letter == 'x' ? 2 : 4, out);
    if (letter && letter < 0x80 && strchr("dwsDWS", (int)letter)) {
        *is_class = true;
        return add_shorthand(p, c, (char)letter);
    }
    if ((letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') ||
        (letter >= 'A' && letter <= 'Z')) {
        p->at--;
        return wrong(p, "this escape is not supported");
    }
    *out = letter;
    return 0;
}

/* One part of a class: a character, or a shorthand that is added at once. */
static int class_atom(struct parser *p, struct class *c, bool *is_class, uint32_t *out)
{
    *is_class = false;
    if (*p->at == '\\') {
        p->at++;
        return escape(p, c, is_class, out);
    }
    if (*p->at == '[' && p->end - p->at > 1 && p->at[1] && strchr(":.=", p->at[1]))
        return wrong(p, "a POSIX class is not supported");
    *out = next_char(p);
    return 0;
}

/* Behind [, up to and with ]. */
static int parse_class(struct parser *p, struct class *c)
{
    bool negated = p->at < p->end && *p->at == '^';
    p->at += negated;
    while (p->at < p->end && *p->at != ']') {
        uint32_t low, high;
        bool first_is_class, is_class = false;
        if (class_atom(p, c, &first_is_class, &low))
            return -1;
        high = low;
        if (p->end - p->at > 1 && p->at[0] == '-' && p->at[1] != ']') {
            p->at++;
            if (class_atom(p, c, &is_class, &high))
                return -1;
            if (first_is_class || is_class)
                return wrong(p, "a range ends in a class");
        }
        if (!first_is_class && add_range(p, c, low, high))
            return -1;
    }
    if (p->at == p->end)
        return wrong(p, "a class is not closed");
    p->at++;
    normalise(c);
    return negated ? negate(p, c) : 0;
}

/* ---- items ----------------------------------------------------------------------------------- */

static int push_class(struct parser *p, struct class *c)
{
    normalise(c);
    return lex_push_class(p->x, c->ranges, c->n, p->err);
}

static int push_any(struct parser *p)
{
    static const uint32_t all[] = { 0, LAST_CODE_POINT };
    return lex_push_class(p->x, all, 1, p->err) || lex_repeat(p->x, 0, JSON_NONE, p->err) ? -1 : 0;
}

/* A number of at most four digits; false: none. */
static bool number(struct parser *p, uint32_t *out)
{
    const char *start = p->at;
    *out = 0;
    while (p->at < p->end && *p->at >= '0' && *p->at <= '9' && p->at - start < 5)
        *out = *out * 10 + (uint32_t)(*p->at++ - '0');
    return p->at > start && p->at - start < 5;
}

/* Behind {: "n}", "n,}" or "n,m}". */
static int counts(struct parser *p, uint32_t *min, uint32_t *max)
{
    bool good = number(p, min);
    *max = *min;
    if (good && p->at < p->end && *p->at == ',') {
        p->at++;
        if (p->at < p->end && *p->at == '}')
            *max = JSON_NONE;
        else
            good = number(p, max);
    }
    if (!good || p->at == p->end || *p->at != '}' || *min > *max)
        return wrong(p, "a quantifier in braces is not {n}, {n,} or {n,m}");
    p->at++;
    if (*min > PATTERN_MAX_REPEAT || (*max > PATTERN_MAX_REPEAT && *max != JSON_NONE))
        return wrong(p, "a quantifier is above 1024");
    return 0;
}

/* The quantifier behind an item, if there is one, and then the item joins its branch. */
static int finish_item(struct parser *p)
{
    uint32_t min = 1, max = 1;
    char c = p->at < p->end ? *p->at : 0;
    if (c && strchr("*+?{", c)) {
        p->at++;
        min = c == '+';
        max = c == '?' ? 1 : JSON_NONE;
        if ((c == '{' && counts(p, &min, &max)) || lex_repeat(p->x, min, max, p->err))
            return -1;
        if (p->at < p->end && *p->at == '?')
            p->at++; /* lazy: the same strings */
        if (p->at < p->end && *p->at && strchr("*+?{", *p->at))
            return wrong(p, "a quantifier follows another");
    }
    return p->groups[p->depth].items++ > 0 ? lex_concatenate(p->x, p->err) : 0;
}

static int finish_branch(struct parser *p)
{
    struct group *g = &p->groups[p->depth];
    if (g->items == 0 && lex_push_empty(p->x, p->err))
        return -1;
    if (p->depth == 0) {
        if (!g->end && (push_any(p) || lex_concatenate(p->x, p->err)))
            return -1;
        if (!g->start) {
            struct lex_fragment branch = p->x->stack[--p->x->depth];
            if (push_any(p))
                return -1;
            p->x->stack[p->x->depth++] = branch;
            if (lex_concatenate(p->x, p->err))
                return -1;
        }
    }
    if (g->branches++ > 0 && lex_alternate(p->x, p->err))
        return -1;
    g->items = 0;
    g->start = g->end = false;
    return 0;
}

static int open_group(struct parser *p)
{
    if (p->end - p->at > 1 && p->at[0] == '?') {
        if (p->at[1] != ':')
            return wrong(p, "this kind of group is not supported");
        p->at += 2;
    }
    if (p->depth == PATTERN_MAX_DEPTH)
        return wrong(p, "groups are nested more than 32 deep");
    p->groups[++p->depth] = (struct group){ 0 };
    return 0;
}

static int close_group(struct parser *p)
{
    if (p->depth == 0)
        return wrong(p, "a group is closed that was not opened");
    if (finish_branch(p))
        return -1;
    p->depth--;
    return finish_item(p);
}

static int anchor(struct parser *p, char c)
{
    struct group *g = &p->groups[p->depth];
    if (c == '^' && p->depth == 0 && g->items == 0 && !g->start) {
        g->start = true;
        return 0;
    }
    if (c == '$' && p->depth == 0 && (p->at == p->end || *p->at == '|')) {
        g->end = true;
        return 0;
    }
    return wrong(p, "^ and $ are supported only at the ends of a pattern");
}

static int parse_item(struct parser *p)
{
    struct class c = { .n = 0 };
    static const uint32_t line_ends[][2] = { { '\n', '\n' }, { '\r', '\r' }, { 0x2028, 0x2029 } };
    bool is_class = false;
    uint32_t code = next_char(p);
    if (code && code < 0x80 && strchr("*+?{", (int)code))
        return wrong(p, "a quantifier has nothing before it");
    if (code == '.') {
        if (add_ranges(p, &c, line_ends, 3) || negate(p, &c))
            return -1;
    } else if (code == '[') {
        if (parse_class(p, &c))
            return -1;
    } else {
        if (code == '\\' && escape(p, &c, &is_class, &code))
            return -1;
        if (!is_class && add_range(p, &c, code, code))
            return -1;
    }
    return push_class(p, &c) ? -1 : finish_item(p);
}

static int parse(struct parser *p)
{
    while (p->at < p->end) {
        char c = *p->at;
        int rc;
        if (c == '(' || c == ')' || c == '|' || c == '^' || c == '$') {
            p->at++;
            rc = c == '('   ? open_group(p)
                 : c == ')' ? close_group(p)
                 : c == '|' ? finish_branch(p)
                            : anchor(p, c);
        } else {
            rc = parse_item(p);
        }
        if (rc)
            return -1;
    }
    return p->depth > 0 ? wrong(p, "a group is not closed") : finish_branch(p);
}

int json_pattern_push(struct lex_expression *x, const char *pattern, size_t size,
                      struct airlock_error *err)
{
    struct parser p = { .x = x, .text = pattern, .at = pattern, .end = pattern + size, .err = err };
    if (size > PATTERN_MAX_BYTES)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "the expression has %zu bytes, at most %d are supported", size,
                                 PATTERN_MAX_BYTES);
    if (lex_push_byte(x, '"', '"', err) || parse(&p) || lex_concatenate(x, err) ||
        lex_push_byte(x, '"', '"', err))
        return -1;
    return lex_concatenate(x, err);
}

/* ---- formats --------------------------------------------------------------------------------- */

/* RFC 3339 without leap seconds, years 1000 to 9999; RFC 9562; RFC 2673 3.2. */
#define YEAR "[1-9]\\d{3}"
#define LEAP "(?:[1-9]\\d(?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)"
#define DATE                                                                                       \
    "(?:" YEAR                                                                                     \
    "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)"          \
    "|02-(?:0[1-9]|1\\d|2[0-8]))|" LEAP "-02-29)"
#define TIME                                                                                       \
    "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define BYTE "(?:\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])"

const char *json_pattern_of_format(const char *format)
{
    static const struct {
        const char *name, *pattern;
    } known[] = {
        { "date", "^" DATE "$" },
        { "time", "^" TIME "$" },
        { "date-time", "^" DATE "T" TIME "$" },
        { "uuid", "^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$" },
        { "ipv4", "^(?:" BYTE "\\.){3}" BYTE "$" },
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(format, known[i].name) == 0)
            return known[i].pattern;
    return NULL;
}
