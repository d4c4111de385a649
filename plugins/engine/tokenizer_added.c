/* tokenizer_added.c - finds added tokens in text, with the flags of Hugging Face tokenizers. */
#include "tokenizer_added.h"

#include "unicode.h"

#include <stdlib.h>
#include <string.h>

/* Tokens of one pass, sorted by text, so that those with a common start are neighbours. */
struct added_pass {
    const struct added_token **sorted; /* [n] */
    size_t n;
    bool first_byte[256]; /* some token starts with it */
};

struct added_tokens {
    struct added_token *tokens; /* [n] sorted by text */
    size_t n;
    char *texts;                      /* of all of them, each with a NUL */
    const struct added_token **by_id; /* [n] sorted */
    struct added_pass passes[2];      /* not normalized, normalized */
};

/* ---- the set ----------------------------------------------------------------------------------
 */

static int compare_text(const char *a, size_t a_size, const char *b, size_t b_size)
{
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int by_text(const void *a, const void *b)
{
    const struct added_token *s = a, *t = b;
    return compare_text(s->text, s->size, t->text, t->size);
}

static int by_id(const void *a, const void *b)
{
    const struct added_token *const *s = a, *const *t = b;
    return ((*s)->id > (*t)->id) - ((*s)->id < (*t)->id);
}

void added_tokens_free(struct added_tokens *a)
{
    if (!a)
        return;
    for (int i = 0; i < 2; i++)
        free(a->passes[i].sorted);
    free(a->by_id);
    free(a->tokens);
    free(a->texts);
    free(a);
}

static int fill_passes(struct added_tokens *a)
{
    for (int i = 0; i < 2; i++) {
        struct added_pass *pass = &a->passes[i];
        pass->sorted = malloc((a->n + 1) * sizeof(void *));
        if (!pass->sorted)
            return -1;
        for (size_t k = 0; k < a->n; k++) {
            if (a->tokens[k].normalized != (i == 1))
                continue;
            pass->sorted[pass->n++] = &a->tokens[k];
            pass->first_byte[(unsigned char)a->tokens[k].text[0]] = true;
        }
    }
    return 0;
}

static int copy_tokens(struct added_tokens *a, const struct added_token *tokens, size_t n)
{
    size_t size = 1, at = 0;
    for (size_t i = 0; i < n; i++)
        size += tokens[i].size + 1;
    a->tokens = malloc((n + 1) * sizeof *a->tokens);
    a->by_id = malloc((n + 1) * sizeof(void *));
    a->texts = malloc(size);
    if (!a->tokens || !a->by_id || !a->texts)
        return -1;
    for (size_t i = 0; i < n; i++) {
        memcpy(a->texts + at, tokens[i].text, tokens[i].size);
        a->texts[at + tokens[i].size] = 0;
        a->tokens[i] = tokens[i];
        a->tokens[i].text = a->texts + at;
        at += tokens[i].size + 1;
    }
    a->n = n;
    return 0;
}

struct added_tokens *added_tokens_new(const struct added_token *tokens, size_t n,
                                      struct airlock_error *err)
{
    struct added_tokens *a = calloc(1, sizeof *a);
    if (!a)
        goto no_memory;
    if (copy_tokens(a, tokens, n) < 0)
        goto no_memory;
    qsort(a->tokens, n, sizeof *a->tokens, by_text);
    for (size_t i = 0; i < n; i++) {
        a->by_id[i] = &a->tokens[i];
        if (i && by_text(&a->tokens[i - 1], &a->tokens[i]) == 0) {
            airlock_error_set(err, AIRLOCK_E_CONFIG, "\"%s\" (id %ld) is given twice",
                              a->tokens[i].text, (long)a->tokens[i].id);
            goto failed;
        }
    }
    qsort(a->by_id, n, sizeof(void *), by_id);
    if (fill_passes(a) == 0)
        return a;
no_memory:
    airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the added tokens");
failed:
    added_tokens_free(a);
    return NULL;
}

const struct added_token *added_tokens_find(const struct added_tokens *a, const char *text,
                                            size_t size)
{
    size_t low = 0, high = a->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const struct added_token *t = &a->tokens[middle];
        const int order = compare_text(text, size, t->text, t->size);
        if (order == 0)
            return t;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const struct added_token *added_tokens_of_id(const struct added_tokens *a, int32_t id)
{
    size_t low = 0, high = a->n;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (a->by_id[middle]->id == id)
            return a->by_id[middle];
        if (id < a->by_id[middle]->id)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- characters -------------------------------------------------------------------------------
 */

size_t white_space_at_start(const char *text, size_t size)
{
    size_t at = 0, n;
    while (at < size && unicode_is_white(utf8_code(text + at, &n)))
        at += n;
    return at;
}

/* The last character's code point, and where it starts.  size must not be 0. */
static uint32_t last_code(const char *text, size_t size, size_t *start)
{
    size_t at = size - 1, n;
    while (at && ((unsigned char)text[at] & 0xc0) == 0x80)
        at--;
    *start = at;
    return utf8_code(text + at, &n);
}

/* Where the white space that text ends with starts. */
static size_t white_space_at_end(const char *text, size_t size)
{
    size_t start;
    while (size && unicode_is_white(last_code(text, size, &start)))
        size = start;
    return size;
}

/* ---- cutting ----------------------------------------------------------------------------------
 */

/* The longest token of the pass that starts at text, or NULL. */
static const struct added_token *match_at(const struct added_pass *pass, const char *text,
                                          size_t size)
{
    const struct added_token *found = NULL;
    size_t low = 0, high = pass->n;
    /* All of low..high start with the first `depth` bytes of text; the shortest comes first. */
    for (size_t depth = 0; low < high; depth++) {
        if (pass->sorted[low]->size == depth)
            found = pass->sorted[low++];
        if (depth == size)
            break;
        const unsigned char byte = (unsigned char)text[depth];
        size_t bottom = low, top = high;
        while (bottom < top) { /* the first with a byte not below */
            const size_t middle = bottom + (top - bottom) / 2;
            if ((unsigned char)pass->sorted[middle]->text[depth] < byte)
                bottom = middle + 1;
            else
                top = middle;
        }
        low = bottom;
        top = high;
        while (bottom < top) { /* the first with a byte above */
            const size_t middle = bottom + (top - bottom) / 2;
            if ((unsigned char)pass->sorted[middle]->text[depth] <= byte)
                bottom = middle + 1;
            else
                top = middle;
        }
        high = bottom;
    }
    return found;
}

/* True when a word character stands right before start or right at end. */
static bool touches_word(const char *text, size_t size, size_t start, size_t end)
{
    size_t n;
    return (start && unicode_is_word(last_code(text, start, &n))) ||
           (end < size && unicode_is_word(utf8_code(text + end, &n)));
}

struct cut {
    const struct added_tokens *added;
    added_visit *visit;
    void *ctx;
};

/* One pass over one stretch of text; what is left over goes to the next pass or to the visitor. */
static int cut_pass(const struct cut *c, int number, const char *text, size_t size,
                    struct airlock_error *err)
{
    if (number == 2)
        return size ? c->visit(c->ctx, NULL, text, size, err) : 0;
    const struct added_pass *pass = &c->added->passes[number];
    size_t done = 0, at = 0;
    int rc = 0;
    while (at < size && !rc) {
        const struct added_token *t =
            pass->first_byte[(unsigned char)text[at]] ? match_at(pass, text + at, size - at) : NULL;
        if (!t) {
            at++;
            continue;
        }
        size_t start = at, stop = at + t->size;
        at = stop;
        if (t->single_word && touches_word(text, size, start, stop))
            continue;
        if (t->lstrip) {
            const size_t from = white_space_at_end(text, start);
            start = from > done ? from : done;
        }
        if (t->rstrip)
            stop += white_space_at_start(text + stop, size - stop);
        if (done < start)
            rc = cut_pass(c, number + 1, text + done, start - done, err);
        if (!rc)
            rc = c->visit(c->ctx, t, t->text, t->size, err);
        done = stop;
    }
    if (!rc && done < size)
        rc = cut_pass(c, number + 1, text + done, size - done, err);
    return rc;
}

int added_tokens_cut(const struct added_tokens *a, const char *text, size_t size,
                     added_visit *visit, void *ctx, struct airlock_error *err)
{
    const struct cut c = { a, visit, ctx };
    return cut_pass(&c, 0, text, size, err);
}
