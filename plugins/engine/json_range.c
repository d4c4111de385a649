/* json_range.c - the decimal numbers between two bounds as an expression. */
#include "json_lexer.h"

enum { MAX_DIGITS = 18 };

/* Alternates the top of the stack with what was pushed before for the same purpose. */
static int join(struct lex_expression *x, unsigned *n, struct airlock_error *err)
{
    return (*n)++ > 0 ? lex_alternate(x, err) : 0;
}

static int append_byte(struct lex_expression *x, uint8_t low, uint8_t high,
                       struct airlock_error *err)
{
    return lex_push_byte(x, low, high, err) || lex_concatenate(x, err) ? -1 : 0;
}

/* The digits of prefix, then one from low to high, then `rest` free ones. */
static int push_block(struct lex_expression *x, uint64_t prefix, unsigned low, unsigned high,
                      unsigned rest, struct airlock_error *err)
{
    uint8_t digits[20];
    unsigned n = 0;
    for (; prefix > 0; prefix /= 10)
        digits[n++] = (uint8_t)('0' + prefix % 10);
    if (lex_push_empty(x, err))
        return -1;
    while (n-- > 0)
        if (append_byte(x, digits[n], digits[n], err))
            return -1;
    if (append_byte(x, (uint8_t)('0' + low), (uint8_t)('0' + high), err))
        return -1;
    for (; rest > 0; rest--)
        if (append_byte(x, '0', '9', err))
            return -1;
    return 0;
}

/* low <= high < 10^18, cut into blocks of numbers that differ in their last digits only. */
static int push_integers(struct lex_expression *x, uint64_t low, uint64_t high,
                         struct airlock_error *err)
{
    unsigned n = 0;
    while (low <= high) {
        uint64_t size = 1;
        unsigned rest = 0;
        while (low > 0 && low % (size * 10) == 0 && size * 10 - 1 <= high - low) {
            size *= 10;
            rest++;
        }
        unsigned from = (unsigned)(low / size % 10), to = from;
        while (to < 9 && (to + 2 - from) * size - 1 <= high - low)
            to++;
        if (push_block(x, low / size / 10, from, to, rest, err) || join(x, &n, err))
            return -1;
        low += (to + 1 - from) * size;
    }
    return 0;
}

enum fraction { ANY, ZERO, NOT_ZERO };

/* Appends ".digits" to the top of the stack. */
static int append_fraction(struct lex_expression *x, enum fraction kind, struct airlock_error *err)
{
    if (lex_push_byte(x, '.', '.', err))
        return -1;
    if (kind != NOT_ZERO) {
        if (lex_push_byte(x, '0', kind == ANY ? '9' : '0', err) ||
            lex_repeat(x, 1, LEX_FRACTION_DIGITS, err) || lex_concatenate(x, err) ||
            lex_repeat(x, 0, 1, err))
            return -1;
        return lex_concatenate(x, err);
    }
    if (lex_push_byte(x, '0', '0', err) || lex_repeat(x, 0, LEX_FRACTION_DIGITS / 2 - 1, err) ||
        lex_concatenate(x, err) || append_byte(x, '1', '9', err) ||
        lex_push_byte(x, '0', '9', err) || lex_repeat(x, 0, LEX_FRACTION_DIGITS / 2, err) ||
        lex_concatenate(x, err))
        return -1;
    return lex_concatenate(x, err);
}

static int push_part(struct lex_expression *x, uint64_t low, uint64_t high, enum fraction kind,
                     unsigned *n, struct airlock_error *err)
{
    return push_integers(x, low, high, err) || append_fraction(x, kind, err) || join(x, n, err) ? -1
                                                                                                : 0;
}

/* Numbers with a fraction from low to high; *n counts fragments on the stack: 0 or 1. */
static int push_decimals(struct lex_expression *x, uint64_t low, uint64_t high, bool open_low,
                         bool open_high, unsigned *n, struct airlock_error *err)
{
    uint64_t first = low + (open_low ? 1 : 0);
    if (open_low && low < high && push_part(x, low, low, NOT_ZERO, n, err))
        return -1;
    if (first < high && push_part(x, first, high - 1, ANY, n, err))
        return -1;
    if (!open_high && !(open_low && low == high) && push_part(x, high, high, ZERO, n, err))
        return -1;
    return 0;
}

/* Those of one sign, by magnitude. */
static int push_magnitudes(struct lex_expression *x, const struct lex_range *r, uint64_t low,
                           uint64_t high, bool open_low, bool open_high, unsigned *n,
                           struct airlock_error *err)
{
    if (r->fraction)
        return push_decimals(x, low, high, open_low, open_high, n, err);
    low += open_low; /* only for -0 */
    if (low > high)
        return 0;
    return push_integers(x, low, high, err) || join(x, n, err) ? -1 : 0;
}

int lex_push_range(struct lex_expression *x, const struct lex_range *r, bool *empty,
                   struct airlock_error *err)
{
    unsigned n = 0, negative = 0;
    *empty = true;
    if (r->min > r->max)
        return 0;
    if (r->max >= 0 && push_magnitudes(x, r, r->min > 0 ? (uint64_t)r->min : 0, (uint64_t)r->max,
                                       r->open_min && r->min >= 0, r->open_max, &n, err))
        return -1;
    if (r->min < 0) {
        uint64_t low = r->max < 0 ? (uint64_t)-r->max : 0;
        bool open_low = r->max < 0 ? r->open_max : true; /* no -0 */
        if (lex_push_byte(x, '-', '-', err) ||
            push_magnitudes(x, r, low, (uint64_t)-r->min, open_low, r->open_min, &negative, err))
            return -1;
        if (negative == 0)
            x->depth--; /* the sign alone */
        else if (lex_concatenate(x, err) || join(x, &n, err))
            return -1;
    }
    *empty = n == 0;
    return 0;
}
