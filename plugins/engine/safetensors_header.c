/* safetensors_header.c - the strict parser of a safetensors header; see safetensors_header.h. */
#include "safetensors_header.h"

#include "common/json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DEPTH = 127,        /* of nested arrays and objects, as the reference reader */
    MAX_NUMBER_CHARS = 400, /* longer ones are only for looks; a double needs fewer than 330 */
    NAME_SHOWN = 120        /* bytes of a tensor's name in an error */
};

struct parser {
    const char *start, *p, *end;
    struct airlock_error *err;
};

static const struct dtype {
    const char *name;
    unsigned bits;
} dtypes[] = { { "BF16", 16 },       { "F16", 16 },       { "F32", 32 },    { "F64", 64 },
               { "BOOL", 8 },        { "U8", 8 },         { "I8", 8 },      { "U16", 16 },
               { "I16", 16 },        { "U32", 32 },       { "I32", 32 },    { "U64", 64 },
               { "I64", 64 },        { "C64", 64 },       { "F4", 4 },      { "F6_E2M3", 6 },
               { "F6_E3M2", 6 },     { "F8_E5M2", 8 },    { "F8_E4M3", 8 }, { "F8_E8M0", 8 },
               { "F8_E5M2FNUZ", 8 }, { "F8_E4M3FNUZ", 8 } };

static int bad(struct parser *ps, const char *what)
{
    return airlock_error_set(ps->err, AIRLOCK_E_CONFIG, "header: %s at byte %zu", what,
                             (size_t)(ps->p - ps->start));
}

static void skip_space(struct parser *ps)
{
    while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\n' || *ps->p == '\r' || *ps->p == '\t'))
        ps->p++;
}

/* True when the next character that is not space is c; it is consumed. */
static bool accept(struct parser *ps, char c)
{
    skip_space(ps);
    if (ps->p >= ps->end || *ps->p != c)
        return false;
    ps->p++;
    return true;
}

static int expect(struct parser *ps, char c, const char *what)
{
    return accept(ps, c) ? 0 : bad(ps, what);
}

static int hex4(struct parser *ps, unsigned *out)
{
    unsigned v = 0;
    if (ps->end - ps->p < 4)
        return bad(ps, "cut \\u escape");
    for (int i = 0; i < 4; i++) {
        char c = *ps->p++;
        unsigned d = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                            : 16;
        if (d > 15)
            return bad(ps, "wrong \\u escape");
        v = v << 4 | d;
    }
    *out = v;
    return 0;
}

static size_t put_utf8(char *out, unsigned c)
{
    if (c < 0x80)
        return out[0] = (char)c, 1;
    if (c < 0x800)
        return out[0] = (char)(0xc0 | c >> 6), out[1] = (char)(0x80 | (c & 63)), 2;
    if (c < 0x10000)
        return out[0] = (char)(0xe0 | c >> 12), out[1] = (char)(0x80 | (c >> 6 & 63)),
               out[2] = (char)(0x80 | (c & 63)), 3;
    return out[0] = (char)(0xf0 | c >> 18), out[1] = (char)(0x80 | (c >> 12 & 63)),
           out[2] = (char)(0x80 | (c >> 6 & 63)), out[3] = (char)(0x80 | (c & 63)), 4;
}

/* After a backslash.  Writes 1 to 4 bytes, never more than the escape is long. */
static int unescape(struct parser *ps, char *out, size_t *n)
{
    static const char plain[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    if (ps->p >= ps->end)
        return bad(ps, "cut string");
    char c = *ps->p++;
    const char *hit = c ? strchr(plain, c) : NULL;
    if (hit) {
        *out = meaning[hit - plain];
        *n = 1;
        return 0;
    }
    unsigned code, low;
    if (c != 'u')
        return bad(ps, "unknown escape");
    if (hex4(ps, &code) < 0)
        return -1;
    if (code >= 0xdc00 && code <= 0xdfff)
        return bad(ps, "lone surrogate");
    if (code >= 0xd800 && code <= 0xdbff) {
        if (ps->end - ps->p < 2 || ps->p[0] != '\\' || ps->p[1] != 'u')
            return bad(ps, "lone surrogate");
        ps->p += 2;
        if (hex4(ps, &low) < 0)
            return -1;
        if (low < 0xdc00 || low > 0xdfff)
            return bad(ps, "lone surrogate");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *n = put_utf8(out, code);
    return 0;
}

/* A string; decoded into out (room for as many bytes as the rest of the text) unless NULL. */
static int string(struct parser *ps, char *out, size_t *size)
{
    size_t n = 0;
    if (expect(ps, '"', "expected a string") < 0)
        return -1;
    while (ps->p < ps->end && *ps->p != '"') {
        char buf[4];
        size_t k = 1;
        buf[0] = *ps->p++;
        if ((unsigned char)buf[0] < 0x20)
            return bad(ps, "control character in a string");
        if (buf[0] == '\\' && unescape(ps, buf, &k) < 0)
            return -1;
        if (out)
            memcpy(out + n, buf, k);
        n += k;
    }
    if (ps->p >= ps->end)
        return bad(ps, "cut string");
    ps->p++;
    *size = n;
    return 0;
}

static size_t digits(struct parser *ps)
{
    const char *from = ps->p;
    while (ps->p < ps->end && *ps->p >= '0' && *ps->p <= '9')
        ps->p++;
    return (size_t)(ps->p - from);
}

/* A number by JSON's grammar.  *integer: it is written as an unsigned integer. */
static int number(struct parser *ps, bool *integer)
{
    skip_space(ps);
    const char *from = ps->p;
    bool negative = ps->p < ps->end && *ps->p == '-', whole = true;
    ps->p += negative;
    const char *first = ps->p;
    size_t n = digits(ps);
    if (n == 0 || (n > 1 && *first == '0'))
        return bad(ps, "wrong number");
    if (ps->p < ps->end && *ps->p == '.') {
        whole = false;
        ps->p++;
        if (digits(ps) == 0)
            return bad(ps, "wrong number");
    }
    if (ps->p < ps->end && (*ps->p == 'e' || *ps->p == 'E')) {
        whole = false;
        ps->p++;
        if (ps->p < ps->end && (*ps->p == '+' || *ps->p == '-'))
            ps->p++;
        if (digits(ps) == 0)
            return bad(ps, "wrong number");
    }
    char copy[MAX_NUMBER_CHARS + 1];
    size_t size = (size_t)(ps->p - from);
    if (size > MAX_NUMBER_CHARS)
        return bad(ps, "number too long");
    memcpy(copy, from, size);
    copy[size] = 0;
    if (!isfinite(strtod(copy, NULL)))
        return bad(ps, "number out of range");
    *integer = whole && !negative;
    return 0;
}

static int unsigned_integer(struct parser *ps, uint64_t *out)
{
    skip_space(ps);
    const char *from = ps->p;
    bool integer;
    if (number(ps, &integer) < 0)
        return -1;
    uint64_t v = 0;
    for (const char *c = from; integer && c < ps->p; c++)
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*c - '0'), &v))
            integer = false;
    if (!integer)
        return bad(ps, "expected an integer from 0 to 2^64 - 1");
    *out = v;
    return 0;
}

static bool word(struct parser *ps, const char *text)
{
    size_t n = strlen(text);
    skip_space(ps);
    if ((size_t)(ps->end - ps->p) < n || memcmp(ps->p, text, n) != 0)
        return false;
    ps->p += n;
    return true;
}

/* A string, number, true, false or null. */
static int skip_scalar(struct parser *ps)
{
    size_t n;
    bool integer;
    skip_space(ps);
    if (ps->p < ps->end && *ps->p == '"')
        return string(ps, NULL, &n);
    if (word(ps, "true") || word(ps, "false") || word(ps, "null"))
        return 0;
    if (ps->p < ps->end && (*ps->p == '-' || (*ps->p >= '0' && *ps->p <= '9')))
        return number(ps, &integer);
    return bad(ps, "expected a value");
}

static int key(struct parser *ps)
{
    size_t n;
    return string(ps, NULL, &n) < 0 || expect(ps, ':', "expected ':'") < 0 ? -1 : 0;
}

/* Any value, which lies inside `depth` arrays and objects; without recursion. */
static int skip_value(struct parser *ps, size_t depth)
{
    char closer[MAX_DEPTH];
    size_t n = 0;
    for (;;) {
        bool array = accept(ps, '['), object = !array && accept(ps, '{');
        if (array || object) {
            if (depth + n >= MAX_DEPTH)
                return bad(ps, "nested too deeply");
            closer[n++] = array ? ']' : '}';
            if (!accept(ps, closer[n - 1])) {
                if (object && key(ps) < 0)
                    return -1;
                continue;
            }
            n--;
        } else if (skip_scalar(ps) < 0) {
            return -1;
        }
        while (n && accept(ps, closer[n - 1]))
            n--;
        if (n == 0)
            return 0;
        if (expect(ps, ',', "expected ',' or the end of a list") < 0)
            return -1;
        if (closer[n - 1] == '}' && key(ps) < 0)
            return -1;
    }
}

static int parse_dtype(struct parser *ps, struct safetensors_entry *e, unsigned *bits)
{
    char text[16];
    size_t n;
    skip_space(ps);
    /* A name that does not fit is none of ours: measure before decoding. */
    struct parser ahead = *ps;
    if (string(&ahead, NULL, &n) < 0)
        return -1;
    if (n < sizeof text && string(ps, text, &n) == 0) {
        text[n] = 0;
        for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
            if (strlen(text) == n && strcmp(text, dtypes[i].name) == 0) {
                e->view.dtype = dtypes[i].name;
                *bits = dtypes[i].bits;
                return 0;
            }
    }
    return bad(ps, "unknown dtype");
}

static int parse_shape(struct parser *ps, struct safetensors_entry *e)
{
    e->view.n_dims = 0;
    if (expect(ps, '[', "shape must be a list") < 0)
        return -1;
    if (accept(ps, ']'))
        return 0;
    do {
        if (e->view.n_dims == SAFETENSORS_MAX_DIMS)
            return bad(ps, "more than 8 dimensions");
        if (unsigned_integer(ps, &e->view.shape[e->view.n_dims++]) < 0)
            return -1;
    } while (accept(ps, ','));
    return expect(ps, ']', "expected ',' or ']'");
}

static int parse_offsets(struct parser *ps, struct safetensors_entry *e)
{
    if (expect(ps, '[', "data_offsets must be a list of two") < 0 ||
        unsigned_integer(ps, &e->begin) < 0 ||
        expect(ps, ',', "data_offsets must be a list of two") < 0 ||
        unsigned_integer(ps, &e->end) < 0)
        return -1;
    return expect(ps, ']', "data_offsets must be a list of two");
}

/* view.bytes of shape and dtype, multiplied in the order and with the overflow of the reference. */
static int tensor_bytes(struct parser *ps, struct safetensors_entry *e, unsigned bits)
{
    uint64_t n = 1;
    for (size_t i = 0; i < e->view.n_dims; i++)
        if (__builtin_mul_overflow(n, e->view.shape[i], &n))
            return bad(ps, "shape too large");
    if (__builtin_mul_overflow(n, (uint64_t)bits, &n))
        return bad(ps, "shape too large");
    if (n % 8)
        return bad(ps, "size is not a whole number of bytes");
    e->view.bytes = n / 8;
    return 0;
}

/* {"dtype": D, "shape": [...], "data_offsets": [begin, end]}; other members are passed over. */
static int parse_tensor(struct parser *ps, struct safetensors_entry *e)
{
    static const char *const names[] = { "dtype", "shape", "data_offsets" };
    unsigned bits = 0, seen = 0;
    if (expect(ps, '{', "expected an object with dtype, shape and data_offsets") < 0)
        return -1;
    if (accept(ps, '}'))
        return bad(ps, "dtype, shape and data_offsets are missing");
    do {
        char text[16] = "";
        size_t n, which;
        skip_space(ps);
        struct parser ahead = *ps;
        if (string(&ahead, NULL, &n) < 0)
            return -1;
        if (n >= sizeof text)
            ps->p = ahead.p;
        else if (string(ps, text, &n) < 0)
            return -1;
        for (which = 0; which < 3; which++)
            if (strlen(names[which]) == n && memcmp(text, names[which], n) == 0)
                break;
        if (expect(ps, ':', "expected ':'") < 0)
            return -1;
        if (which < 3 && seen & 1u << which)
            return bad(ps, "the same member twice");
        if (which < 3)
            seen |= 1u << which;
        if (which == 0   ? parse_dtype(ps, e, &bits)
            : which == 1 ? parse_shape(ps, e)
            : which == 2 ? parse_offsets(ps, e)
                         : skip_value(ps, 2))
            return -1;
    } while (accept(ps, ','));
    if (expect(ps, '}', "expected ',' or '}'") < 0)
        return -1;
    for (unsigned i = 0; i < 3; i++)
        if (!(seen & 1u << i))
            return airlock_error_set(ps->err, AIRLOCK_E_CONFIG, "header: %s is missing", names[i]);
    return tensor_bytes(ps, e, bits);
}

/* null, or an object of strings. */
static int parse_metadata(struct parser *ps)
{
    size_t n;
    if (word(ps, "null"))
        return 0;
    if (expect(ps, '{', "__metadata__ must be an object of strings") < 0)
        return -1;
    if (accept(ps, '}'))
        return 0;
    do {
        if (key(ps) < 0)
            return -1;
        skip_space(ps);
        if (ps->p >= ps->end || *ps->p != '"')
            return bad(ps, "__metadata__ must be an object of strings");
        if (string(ps, NULL, &n) < 0)
            return -1;
    } while (accept(ps, ','));
    return expect(ps, '}', "expected ',' or '}'");
}

static int grow(struct safetensors_header *h, size_t *room, struct airlock_error *err)
{
    if (h->n < *room)
        return 0;
    size_t want = *room ? *room * 2 : 64;
    struct safetensors_entry *more = realloc(h->entries, want * sizeof *more);
    if (!more)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for %zu tensors", want);
    h->entries = more;
    *room = want;
    return 0;
}

static int parse_object(struct parser *ps, struct safetensors_header *h)
{
    size_t room = 0, used = 0;
    bool metadata = false;
    if (expect(ps, '{', "expected an object") < 0)
        return -1;
    if (accept(ps, '}'))
        return 0;
    do {
        char *name = h->names + used;
        size_t n;
        if (string(ps, name, &n) < 0 || expect(ps, ':', "expected ':'") < 0)
            return -1;
        name[n] = 0;
        if (strlen(name) != n)
            return bad(ps, "a tensor's name holds NUL");
        if (strcmp(name, "__metadata__") == 0) {
            if (metadata)
                return bad(ps, "__metadata__ twice");
            metadata = true;
            if (parse_metadata(ps) < 0)
                return -1;
            continue;
        }
        if (grow(h, &room, ps->err) < 0)
            return -1;
        struct safetensors_entry *e = &h->entries[h->n];
        memset(e, 0, sizeof *e);
        e->view.name = name;
        used += n + 1;
        if (parse_tensor(ps, e) < 0)
            return airlock_error_wrap(ps->err, "tensor %.*s", NAME_SHOWN, name);
        h->n++;
    } while (accept(ps, ','));
    return expect(ps, '}', "expected ',' or '}'");
}

static int by_name(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    return strcmp(x->view.name, y->view.name);
}

static int by_place(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->view.name, y->view.name);
}

/* The tensors cover the data without overlap and hole, each with the size its shape says. */
static int check_cover(const struct safetensors_header *h, uint64_t data_bytes,
                       struct airlock_error *err)
{
    uint64_t at = 0;
    for (size_t i = 0; i < h->n; i++) {
        const struct safetensors_entry *e = &h->entries[i];
        const char *name = e->view.name;
        if (e->end < e->begin)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "tensor %.*s: data_offsets reversed",
                                     NAME_SHOWN, name);
        if (e->begin != at)
            return airlock_error_set(
                err, AIRLOCK_E_CONFIG, "tensor %.*s: data begins at %llu, %s at %llu", NAME_SHOWN,
                name, (unsigned long long)e->begin,
                e->begin < at ? "inside another tensor that ends" : "after a hole that begins",
                (unsigned long long)at);
        if (e->end > data_bytes)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "tensor %.*s: data ends at %llu, but the file has only %llu "
                                     "bytes of data: it is cut short",
                                     NAME_SHOWN, name, (unsigned long long)e->end,
                                     (unsigned long long)data_bytes);
        if (e->end - e->begin != e->view.bytes)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "tensor %.*s: %llu bytes of data, but shape and dtype %s "
                                     "need %zu",
                                     NAME_SHOWN, name, (unsigned long long)(e->end - e->begin),
                                     e->view.dtype, e->view.bytes);
        at = e->end;
    }
    if (at != data_bytes)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%llu bytes after the last tensor belong to none",
                                 (unsigned long long)(data_bytes - at));
    return 0;
}

static int parse(struct safetensors_header *h, struct parser *ps, uint64_t data_bytes)
{
    if (parse_object(ps, h) < 0)
        return -1;
    skip_space(ps);
    if (ps->p != ps->end)
        return bad(ps, "text after the object");
    if (h->n)
        qsort(h->entries, h->n, sizeof *h->entries, by_name);
    for (size_t i = 1; i < h->n; i++)
        if (by_name(&h->entries[i - 1], &h->entries[i]) == 0)
            return airlock_error_set(ps->err, AIRLOCK_E_CONFIG, "tensor %.*s occurs twice",
                                     NAME_SHOWN, h->entries[i].view.name);
    if (h->n)
        qsort(h->entries, h->n, sizeof *h->entries, by_place);
    return check_cover(h, data_bytes, ps->err);
}

int safetensors_header_parse(struct safetensors_header *out, const char *text, size_t size,
                             uint64_t data_bytes, struct airlock_error *err)
{
    *out = (struct safetensors_header){ 0 };
    if (size > SAFETENSORS_MAX_HEADER)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "header of %zu bytes, at most %d allowed",
                                 size, SAFETENSORS_MAX_HEADER);
    if (!utf8_valid(text, size))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "header is not valid UTF-8");
    out->names = malloc(size + 1); /* a decoded name and its NUL are shorter than its text */
    if (!out->names)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the header");
    struct parser ps = { text, text, text + size, err };
    if (parse(out, &ps, data_bytes) == 0)
        return 0;
    safetensors_header_free(out);
    return -1;
}

void safetensors_header_free(struct safetensors_header *h)
{
    free(h->entries);
    free(h->names);
    *h = (struct safetensors_header){ 0 };
}
