/* tokenizer.c - text to token ids and back: added tokens, then pre-tokens, then merges; see
 * tokenizer.h. */
#include "tokenizer.h"

#include "common/bytes.h"
#include "common/io.h"
#include "common/json.h"
#include "tokenizer_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    TOKENIZER_FILE_BYTES = 64 << 20, /* Phi-4's has 15.5 MB, the largest published ones 33 MB */
    TOKENIZER_PATH_BYTES = 4096,
    TEXT_BYTES = 256 << 20 /* of one call; a whole request has at most 64 MiB */
};

struct tokenizer {
    struct tokenizer_parts parts;
};

int token_list_add(struct token_list *list, int32_t id)
{
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity ? list->capacity * 2 : 64;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids)
            return -1;
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->n++] = id;
    return 0;
}

struct tokenizer *tokenizer_parse(const char *text, size_t size, struct airlock_error *err)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the tokenizer");
        return NULL;
    }
    if (tokenizer_file_parse(text, size, &t->parts, err) < 0) {
        free(t);
        return NULL;
    }
    return t;
}

struct tokenizer *tokenizer_open(const char *dir, struct airlock_error *err)
{
    char path[TOKENIZER_PATH_BYTES];
    struct bytes text = BYTES_INIT(TOKENIZER_FILE_BYTES);
    struct tokenizer *t = NULL;
    if (snprintf(path, sizeof path, "%s/tokenizer.json", dir) >= (int)sizeof path) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "the name of the model's folder is too long");
        return NULL;
    }
    if (io_read_file(path, &text, err) == 0) {
        t = tokenizer_parse(text.data ? text.data : "", text.size, err);
        if (!t)
            airlock_error_wrap(err, "%s", path);
    }
    bytes_free(&text);
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    tokenizer_parts_free(&t->parts);
    free(t);
}

/* ---- encoding ---------------------------------------------------------------------------------
 */

/* The size of the part of an invalid sequence that Python replaces by one U+FFFD, or 0 with *size
 * of the valid character at p. */
static size_t invalid_part(const unsigned char *p, size_t left, size_t *size)
{
    const unsigned c = p[0];
    if (c < 0x80) {
        *size = 1;
        return 0;
    }
    if (c < 0xc2 || c > 0xf4)
        return 1;
    const size_t need = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    for (size_t i = 1; i < need; i++) {
        unsigned low = 0x80, high = 0xbf;
        if (i == 1) { /* overlong forms, surrogates, beyond U+10FFFF */
            low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : low;
            high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : high;
        }
        if (i >= left || p[i] < low || p[i] > high)
            return i;
    }
    *size = need;
    return 0;
}

/* Text with U+FFFD in place of what is not UTF-8. */
static int replace_invalid(const char *text, size_t size, struct bytes *out)
{
    for (size_t at = 0; at < size;) {
        size_t good = 0;
        const size_t bad = invalid_part((const unsigned char *)text + at, size - at, &good);
        if (bytes_add(out, bad ? "\xef\xbf\xbd" : text + at, bad ? 3 : good) < 0)
            return -1;
        at += bad ? bad : good;
    }
    return 0;
}

/* One stretch of ordinary text. */
static int encode_stretch(const struct tokenizer_parts *parts, const char *text, size_t size,
                          struct token_list *out, struct airlock_error *err)
{
    struct split_run run;
    const char *piece;
    size_t piece_size;
    int more;
    if (split_run_begin(&run, parts->splitter, text, size, err) < 0)
        return -1;
    while ((more = split_run_next(&run, &piece, &piece_size, err)) > 0)
        if (bpe_encode(parts->bpe, piece, piece_size, out, err) < 0) {
            more = -1;
            break;
        }
    split_run_end(&run);
    return more;
}

/* As encode_stretch(), with the space in front that some models ask for. */
static int encode_text(const struct tokenizer_parts *parts, const char *text, size_t size,
                       struct token_list *out, struct airlock_error *err)
{
    if (size == 0)
        return 0;
    if (!parts->add_prefix_space || text[0] == ' ')
        return encode_stretch(parts, text, size, out, err);
    struct bytes prefixed = BYTES_INIT(TEXT_BYTES + 1);
    int rc;
    if (bytes_add(&prefixed, " ", 1) < 0 || bytes_add(&prefixed, text, size) < 0)
        rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for text");
    else
        rc = encode_stretch(parts, prefixed.data, prefixed.size, out, err);
    bytes_free(&prefixed);
    return rc;
}

struct encoding {
    const struct tokenizer_parts *parts;
    struct token_list *out;
};

static int visit_stretch(void *ctx, const struct added_token *token, const char *text, size_t size,
                         struct airlock_error *err)
{
    const struct encoding *e = ctx;
    if (!token)
        return encode_text(e->parts, text, size, e->out, err);
    if (token_list_add(e->out, token->id) < 0)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for token ids");
    return 0;
}

static int encode_valid(const struct tokenizer *t, const char *text, size_t size,
                        enum tokenizer_mode mode, bool after_rstrip, struct token_list *out,
                        struct airlock_error *err)
{
    if (after_rstrip) {
        const size_t white = white_space_at_start(text, size);
        text += white;
        size -= white;
    }
    if (mode == TOKENIZER_TEXT)
        return encode_text(&t->parts, text, size, out, err);
    struct encoding e = { &t->parts, out };
    return added_tokens_cut(t->parts.added, text, size, visit_stretch, &e, err);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                     enum tokenizer_mode mode, bool after_rstrip, struct token_list *out,
                     struct airlock_error *err)
{
    if (size > TEXT_BYTES)
        return airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                                 "text of %zu bytes is too large, at most %d are allowed", size,
                                 TEXT_BYTES);
    const size_t before = out->n;
    int rc;
    if (utf8_valid(text, size)) {
        rc = encode_valid(t, text, size, mode, after_rstrip, out, err);
    } else {
        struct bytes valid = BYTES_INIT((size_t)3 * TEXT_BYTES);
        if (replace_invalid(text, size, &valid) < 0)
            rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for text");
        else
            rc = encode_valid(t, valid.data, valid.size, mode, after_rstrip, out, err);
        bytes_free(&valid);
    }
    if (rc < 0)
        out->n = before;
    return rc;
}

/* ---- looking up -------------------------------------------------------------------------------
 */

int32_t tokenizer_added(const struct tokenizer *t, const char *text, bool *rstrip)
{
    const struct added_token *a = added_tokens_find(t->parts.added, text, strlen(text));
    if (!a)
        return -1;
    if (rstrip)
        *rstrip = a->rstrip;
    return a->id;
}

const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *size)
{
    const struct added_token *a = added_tokens_of_id(t->parts.added, id);
    if (a) {
        *size = a->size;
        return a->text;
    }
    const struct bpe_token token = bpe_token(t->parts.bpe, id);
    *size = token.size;
    return token.bytes;
}

bool tokenizer_is_special(const struct tokenizer *t, int32_t id)
{
    const struct added_token *a = added_tokens_of_id(t->parts.added, id);
    return a && a->special;
}

bool tokenizer_is_added(const struct tokenizer *t, int32_t id)
{
    return added_tokens_of_id(t->parts.added, id) != NULL;
}

int32_t tokenizer_size(const struct tokenizer *t)
{
    return bpe_size(t->parts.bpe);
}
