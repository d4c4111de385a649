/* token_strings.c - reads each token with the automaton of any string; see token_strings.h. */
#include "token_strings.h"

#include "json_schema.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_CHARS = 254 };

/* Where a token leads from within a string. */
static void classify(const struct json_tables *t, const char *bytes, size_t size, uint8_t *chars,
                     bool *closing)
{
    uint32_t state = t->key_start, n = 0;
    *chars = TOKEN_NOT_INSIDE;
    for (size_t i = 0; i < size; i++) {
        const struct lex_edge *e = json_automaton_edge(t, state, (uint8_t)bytes[i]);
        if (!e)
            return;
        if (e->flags & LEX_CLOSES) {
            *closing = true;
            return;
        }
        n += e->flags & LEX_COUNTS ? 1 : 0;
        state = e->next;
    }
    if (n <= MAX_CHARS)
        *chars = (uint8_t)n;
}

static int fill(struct token_strings *s, const struct tokenizer *t,
                const struct json_tables *tables, struct airlock_error *err)
{
    size_t vocab = s->all->vocab;
    bool *closing = calloc(vocab ? vocab : 1, sizeof *closing);
    s->chars = malloc(vocab ? vocab : 1);
    if (closing && s->chars) {
        memset(s->chars, TOKEN_NOT_INSIDE, vocab);
        for (size_t id = 0; id < vocab; id++) {
            size_t size = 0;
            const char *bytes = tokenizer_bytes(t, (int32_t)id, &size);
            if (bytes && size > 0 && !tokenizer_is_added(t, (int32_t)id))
                classify(tables, bytes, size, &s->chars[id], &closing[id]);
        }
        s->closing = token_trie_new(t, closing, err);
    } else {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a vocabulary");
    }
    free(closing);
    return s->closing ? 0 : -1;
}

struct token_strings *token_strings_new(const struct tokenizer *t, struct airlock_error *err)
{
    struct token_strings *s = calloc(1, sizeof *s);
    struct json_tables *tables = json_schema_any_object(err);
    int rc = -1;
    if (s && tables) {
        s->all = token_trie_new(t, NULL, err);
        rc = s->all ? fill(s, t, tables, err) : -1;
    } else if (tables) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a vocabulary");
    }
    json_tables_free(tables);
    if (rc == 0)
        return s;
    token_strings_free(s);
    return NULL;
}

void token_strings_free(struct token_strings *s)
{
    if (!s)
        return;
    token_trie_free(s->all);
    token_trie_free(s->closing);
    free(s->chars);
    free(s);
}

void token_strings_add(const struct token_strings *s, uint32_t most, uint32_t *mask)
{
    uint32_t limit = most < MAX_CHARS ? most : MAX_CHARS;
    size_t vocab = s->all->vocab;
    for (size_t first = 0; first < vocab; first += 32) {
        size_t n = vocab - first < 32 ? vocab - first : 32;
        uint32_t word = 0;
        for (size_t i = 0; i < n; i++)
            word |= (uint32_t)(s->chars[first + i] <= limit) << i;
        mask[first / 32] |= word;
    }
}
