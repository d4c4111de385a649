/* token_trie.c - sorts a vocabulary and lays it out as a tree; see token_trie.h. */
#include "token_trie.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const char *bytes;
    uint32_t size;
    int32_t id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, x->size < y->size ? x->size : y->size);
    if (order == 0)
        order = (x->size > y->size) - (x->size < y->size);
    return order ? order : (x->id > y->id) - (x->id < y->id);
}

static size_t common(const struct entry *a, const struct entry *b)
{
    size_t n = 0, most = a->size < b->size ? a->size : b->size;
    while (n < most && a->bytes[n] == b->bytes[n])
        n++;
    return n;
}

/* Tokens by their bytes; their number. */
static size_t collect(const struct tokenizer *t, const bool *keep, struct entry *out, size_t vocab)
{
    size_t n = 0;
    for (size_t id = 0; id < vocab; id++) {
        size_t size = 0;
        const char *bytes = tokenizer_bytes(t, (int32_t)id, &size);
        if ((!keep || keep[id]) && bytes && size > 0 && size < UINT16_MAX &&
            !tokenizer_is_added(t, (int32_t)id))
            out[n++] = (struct entry){ bytes, (uint32_t)size, (int32_t)id };
    }
    qsort(out, n, sizeof *out, by_bytes);
    return n;
}

/* The nodes that each token adds to what the one before it shares with it. */
static int lay_out(struct token_trie *trie, const struct entry *entries, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += entries[i].size - (i ? common(&entries[i - 1], &entries[i]) : 0);
    trie->nodes = malloc((total ? total : 1) * sizeof *trie->nodes);
    if (!trie->nodes)
        return -1;
    for (size_t i = 0; i < n; i++) {
        size_t shared = i ? common(&entries[i - 1], &entries[i]) : 0;
        if (i && shared == entries[i].size) { /* the same bytes again */
            int32_t *link = &trie->nodes[trie->n - 1].token;
            trie->twins[entries[i].id] = *link;
            *link = entries[i].id;
            continue;
        }
        for (size_t k = shared; k < entries[i].size; k++)
            trie->nodes[trie->n++] = (struct token_trie_node){
                .token = -1, .depth = (uint16_t)k, .byte = (uint8_t)entries[i].bytes[k]
            };
        trie->nodes[trie->n - 1].token = entries[i].id;
        if (entries[i].size > trie->max_bytes)
            trie->max_bytes = entries[i].size;
    }
    return 0;
}

/* A node ends the branches of all nodes before it that are at least as deep. */
static int find_skips(struct token_trie *trie)
{
    uint32_t *open = malloc((trie->max_bytes + 1) * sizeof *open); /* the branch, by depth */
    if (!open)
        return -1;
    size_t depth = 0; /* of the branch */
    for (size_t i = 0; i <= trie->n; i++) {
        size_t here = i < trie->n ? trie->nodes[i].depth : 0;
        while (depth > here)
            trie->nodes[open[--depth]].skip = (uint32_t)i;
        if (i < trie->n)
            open[depth++] = (uint32_t)i;
    }
    free(open);
    return 0;
}

struct token_trie *token_trie_new(const struct tokenizer *t, const bool *keep,
                                  struct airlock_error *err)
{
    size_t vocab = (size_t)tokenizer_size(t);
    struct token_trie *trie = calloc(1, sizeof *trie);
    struct entry *entries = malloc((vocab ? vocab : 1) * sizeof *entries);
    int rc = -1;
    if (trie && entries) {
        trie->vocab = vocab;
        trie->twins = malloc((vocab ? vocab : 1) * sizeof *trie->twins);
        for (size_t i = 0; trie->twins && i < vocab; i++)
            trie->twins[i] = -1;
        if (trie->twins && lay_out(trie, entries, collect(t, keep, entries, vocab)) == 0)
            rc = find_skips(trie);
    }
    free(entries);
    if (rc == 0)
        return trie;
    token_trie_free(trie);
    airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a vocabulary's tree");
    return NULL;
}

void token_trie_free(struct token_trie *trie)
{
    if (!trie)
        return;
    free(trie->nodes);
    free(trie->twins);
    free(trie);
}
