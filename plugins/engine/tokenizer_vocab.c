/* tokenizer_vocab.c - the vocabulary and the merges of tokenizer.json in one strict pass over the
 * text. */
#include "tokenizer_vocab.h"

#include "common/json.h"
#include "unicode.h"

#include <string.h>

enum {
    MAX_NESTING = JSON_MAX_DEPTH,
    QUOTED = 60 /* bytes of a bad token that an error shows */
};

/* A place in the JSON text. */
struct cursor {
    const char *p, *end;
    struct airlock_error *err;
};

/* ---- walking over JSON ------------------------------------------------------------------------
 */

static void skip_white(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n' || *c->p == '\r' || *c->p == '\t'))
        c->p++;
}

/* White space, then this character or -1 with err. */
static int expect(struct cursor *c, char want)
{
    skip_white(c);
    if (c->p < c->end && *c->p == want) {
        c->p++;
        return 0;
    }
    if (c->p == c->end)
        return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "the JSON text ends where '%c' should be",
                                 want);
    return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "'%c' should be where byte 0x%02x is", want,
                             (unsigned char)*c->p);
}

static bool next_is(struct cursor *c, char want)
{
    skip_white(c);
    return c->p < c->end && *c->p == want;
}

/* Steps over a string and gives what is between the quotes, escapes untouched. */
static int raw_string(struct cursor *c, struct json_span *out)
{
    if (expect(c, '"') < 0)
        return -1;
    out->start = c->p;
    for (; c->p < c->end; c->p++) {
        if (*c->p == '"') {
            out->end = c->p++;
            return 0;
        }
        if ((unsigned char)*c->p < 0x20)
            break;
        if (*c->p == '\\' && ++c->p == c->end)
            break;
    }
    return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "a string has no end or a control character");
}

static bool ends_word(char ch)
{
    return ch && strchr(" \n\r\t,:{}[]\"", ch);
}

/* Steps over one value of any kind; only as strict as finding its end needs. */
static int skip_value(struct cursor *c)
{
    struct json_span string;
    int depth = 0;
    do {
        skip_white(c);
        if (c->p == c->end)
            return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "the JSON text ends inside a value");
        const char ch = *c->p;
        if (ch == '"') {
            if (raw_string(c, &string) < 0)
                return -1;
            continue;
        }
        if (ch == '{' || ch == '[') {
            if (++depth > MAX_NESTING)
                return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "the JSON is nested too deeply");
        } else if (ch == '}' || ch == ']') {
            if (--depth < 0)
                return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "a value is missing");
        } else if (ch != ',' && ch != ':') {
            while (c->p < c->end && !ends_word(*c->p))
                c->p++;
            continue;
        } else if (depth == 0) {
            return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "a value is missing");
        }
        c->p++;
    } while (depth);
    return 0;
}

/* Calls member() with the cursor at the value of each member of the object at the cursor. */
static int each_member(struct cursor *c, int (*member)(struct cursor *, struct json_span, void *),
                       void *ctx)
{
    struct json_span key;
    if (expect(c, '{') < 0)
        return -1;
    if (next_is(c, '}'))
        return expect(c, '}');
    do {
        if (raw_string(c, &key) < 0 || expect(c, ':') < 0 || member(c, key, ctx) < 0)
            return -1;
    } while (next_is(c, ',') && expect(c, ',') == 0);
    return expect(c, '}');
}

/* ---- strings ----------------------------------------------------------------------------------
 */

static int hex4(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        const char ch = p[i];
        const int digit = ch >= '0' && ch <= '9'   ? ch - '0'
                          : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                          : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                                   : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The code point of the escape at *p (behind the backslash), which moves on; -1: not valid. */
static int32_t escaped_code(const char **p, const char *end)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (*p == end)
        return -1;
    const char ch = *(*p)++;
    if (ch != 'u') {
        const char *at = ch ? strchr(from, ch) : NULL;
        return at ? to[at - from] : -1;
    }
    int32_t code = hex4(*p, end);
    *p += 4;
    if (code < 0xd800 || code > 0xdfff)
        return code;
    if (code > 0xdbff || end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u')
        return -1;
    const int low = hex4(*p + 2, end);
    *p += 6;
    return low < 0xdc00 || low > 0xdfff ? -1 : 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static size_t put_utf8(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

/* The byte that GPT-2's byte alphabet writes as this character, or -1. */
static int alphabet_byte(uint32_t code)
{
    if ((code >= 0x21 && code <= 0x7e) || (code >= 0xa1 && code <= 0xff && code != 0xad))
        return (int)code;
    if (code < 0x100 || code > 0x143)
        return -1;
    const int n = (int)code - 0x100; /* the n-th byte that is not printed as itself */
    return n <= 0x20 ? n : n <= 0x42 ? n - 0x21 + 0x7f : 0xad;
}

/* Takes one character more into both forms.  text: what the characters are in UTF-8. */
static int spell(struct token_spelling *s, char *text, size_t *text_size, uint32_t code)
{
    if (*text_size + 4 > 2 * BPE_MAX_TOKEN_BYTES || s->size > BPE_MAX_TOKEN_BYTES)
        return -1;
    *text_size += put_utf8(code, text + *text_size);
    const int byte = alphabet_byte(code);
    if (byte < 0)
        s->plain = false;
    else if (s->plain)
        s->bytes[s->size++] = (char)byte;
    return 0;
}

/* raw: between the quotes, valid UTF-8.  0, or -1 with err. */
static int read_spelling(struct json_span raw, bool escapes, struct token_spelling *out,
                         struct airlock_error *err)
{
    char text[2 * BPE_MAX_TOKEN_BYTES];
    size_t text_size = 0, n;
    const char *p = raw.start;
    out->size = 0;
    out->plain = true;
    while (p < raw.end) {
        int32_t code;
        if (escapes && *p == '\\') {
            p++;
            code = escaped_code(&p, raw.end);
            if (code < 0)
                return airlock_error_set(err, AIRLOCK_E_SHAPE, "it has a wrong escape");
        } else {
            code = (int32_t)utf8_code(p, &n);
            p += n;
        }
        if (spell(out, text, &text_size, (uint32_t)code) < 0)
            return airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "it has more than %d bytes",
                                     BPE_MAX_TOKEN_BYTES);
    }
    if (!out->plain) {
        if (text_size > BPE_MAX_TOKEN_BYTES)
            return airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "it has more than %d bytes",
                                     BPE_MAX_TOKEN_BYTES);
        memcpy(out->bytes, text, text_size);
        out->size = text_size;
    }
    return 0;
}

static int quoted(struct json_span raw)
{
    return raw.end - raw.start > QUOTED ? QUOTED : (int)(raw.end - raw.start);
}

/* ---- vocabulary and merges --------------------------------------------------------------------
 */

static int read_id(struct cursor *c, int32_t *out)
{
    int32_t id = 0;
    skip_white(c);
    const char *start = c->p;
    while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && c->p - start < 8)
        id = id * 10 + (*c->p++ - '0');
    if (c->p == start || (c->p - start > 1 && *start == '0') ||
        (c->p < c->end && !strchr(" \n\r\t,}", *c->p)))
        return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "its id is not a number in 0..%d",
                                 BPE_MAX_TOKENS - 1);
    *out = id;
    return 0;
}

static int add_vocab_token(struct cursor *c, struct json_span key, void *ctx)
{
    struct bpe *bpe = ctx;
    struct token_spelling s;
    int32_t id = -1;
    if (read_id(c, &id) < 0 || read_spelling(key, true, &s, c->err) < 0 ||
        bpe_add_token(bpe, id, s.bytes, s.size, s.plain, c->err) < 0)
        return airlock_error_wrap(c->err, "\"%.*s\"", quoted(key), key.start);
    return 0;
}

/* "left right" or ["left", "right"] at the cursor. */
static int merge_parts(struct cursor *c, struct json_span *left, struct json_span *right)
{
    if (next_is(c, '['))
        return expect(c, '[') < 0 || raw_string(c, left) < 0 || expect(c, ',') < 0 ||
                       raw_string(c, right) < 0 || expect(c, ']') < 0
                   ? -1
                   : 0;
    if (raw_string(c, left) < 0)
        return -1;
    const char *space = memchr(left->start, ' ', (size_t)(left->end - left->start));
    if (!space || memchr(space + 1, ' ', (size_t)(left->end - space - 1)))
        return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "it is not two tokens and one space");
    *right = (struct json_span){ space + 1, left->end };
    left->end = space;
    return 0;
}

static int add_merge(struct cursor *c, struct bpe *bpe)
{
    struct json_span left, right;
    struct token_spelling l, m;
    if (merge_parts(c, &left, &right) < 0 || read_spelling(left, true, &l, c->err) < 0 ||
        read_spelling(right, true, &m, c->err) < 0)
        return -1;
    if (!l.plain || !m.plain)
        return airlock_error_set(c->err, AIRLOCK_E_CONFIG,
                                 "its %s part has a character outside of the byte alphabet",
                                 l.plain ? "right" : "left");
    return bpe_add_merge(bpe, l.bytes, l.size, m.bytes, m.size, c->err);
}

static int read_merges(struct cursor *c, struct bpe *bpe)
{
    size_t rank = 0;
    if (expect(c, '[') < 0)
        return airlock_error_wrap(c->err, "model.merges");
    if (next_is(c, ']'))
        return expect(c, ']');
    do {
        if (add_merge(c, bpe) < 0)
            return airlock_error_wrap(c->err, "model.merges[%zu]", rank);
        rank++;
    } while (next_is(c, ',') && expect(c, ',') == 0);
    if (expect(c, ']') < 0)
        return airlock_error_wrap(c->err, "model.merges[%zu]", rank);
    return 0;
}

/* ---- finding both in the file ------------------------------------------------------------------
 */

static bool key_is(struct json_span key, const char *want)
{
    const size_t n = (size_t)(key.end - key.start);
    return n == strlen(want) && !memcmp(key.start, want, n);
}

struct locating {
    struct tokenizer_vocab *out;
    bool model_seen;
};

static int note_model_member(struct cursor *c, struct json_span key, void *ctx)
{
    struct locating *r = ctx;
    struct json_span *to = key_is(key, "vocab")    ? &r->out->vocab
                           : key_is(key, "merges") ? &r->out->merges
                                                   : NULL;
    skip_white(c);
    const char *start = c->p;
    if (skip_value(c) < 0)
        return airlock_error_wrap(c->err, "model.%.*s", quoted(key), key.start);
    if (to && to->start)
        return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "model.%.*s is given twice", quoted(key),
                                 key.start);
    if (to)
        *to = (struct json_span){ start, c->p };
    return 0;
}

static int note_member(struct cursor *c, struct json_span key, void *ctx)
{
    struct locating *r = ctx;
    if (!key_is(key, "model")) {
        if (skip_value(c) < 0)
            return airlock_error_wrap(c->err, "%.*s", quoted(key), key.start);
        return 0;
    }
    if (r->model_seen)
        return airlock_error_set(c->err, AIRLOCK_E_SHAPE, "model is given twice");
    r->model_seen = true;
    return each_member(c, note_model_member, r);
}

int tokenizer_vocab_locate(const char *text, size_t size, struct tokenizer_vocab *out,
                           struct airlock_error *err)
{
    struct cursor c = { text, text + size, err };
    struct locating r = { out, false };
    *out = (struct tokenizer_vocab){ 0 };
    if (each_member(&c, note_member, &r) < 0)
        return -1;
    if (!out->vocab.start || !out->merges.start)
        return airlock_error_set(err, AIRLOCK_E_SHAPE, "model.%s is missing",
                                 out->vocab.start ? "merges" : "vocab");
    return 0;
}

int tokenizer_vocab_read(const struct tokenizer_vocab *v, struct bpe *bpe,
                         struct airlock_error *err)
{
    struct cursor vocab = { v->vocab.start, v->vocab.end, err };
    struct cursor merges = { v->merges.start, v->merges.end, err };
    if (each_member(&vocab, add_vocab_token, bpe) < 0)
        return airlock_error_wrap(err, "model.vocab");
    return read_merges(&merges, bpe);
}

int tokenizer_spell(const char *text, size_t size, struct token_spelling *out,
                    struct airlock_error *err)
{
    return read_spelling((struct json_span){ text, text + size }, false, out, err);
}
