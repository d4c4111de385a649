/* tokenizer_bpe.c - the byte-pair vocabulary in two hash tables, and merging in O(n log n). */
#include "tokenizer_bpe.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    NO_RANK = UINT32_MAX, /* this pair does not merge */
    SHORT_PIECE = 64      /* bytes; up to here a scan for the lowest rank beats the heap */
};

enum whole { WHOLE_UNKNOWN, WHOLE_SAME /* that token */, WHOLE_OTHER };

struct token_entry {
    uint32_t offset, size; /* in the text store; the byte behind it is NUL */
    bool present, plain, made;
};

struct text_slot { /* open addressing; id < 0: free */
    uint32_t hash;
    int32_t id;
};

struct pair_slot { /* open addressing; rank NO_RANK: free */
    uint32_t left, right, rank;
    int32_t id; /* what they become */
};

struct bpe {
    uint64_t seed; /* so that nobody can prepare a file of colliding tokens */
    char *text;
    size_t text_size, text_capacity;
    struct token_entry *tokens; /* [n_tokens], some not present */
    size_t n_tokens, tokens_capacity, n_texts;
    struct text_slot *texts; /* [texts_mask + 1] */
    size_t texts_mask;
    struct pair_slot *pairs; /* [pairs_mask + 1] */
    size_t pairs_mask, n_pairs;
    uint32_t n_merges;
    bool ignore_merges;
    int32_t byte_id[256];
    uint32_t *byte_pair_rank; /* [256 * 256] of two bytes' tokens */
    int32_t *byte_pair_id;    /* [256 * 256] */
    /* What a piece that has the bytes of a token becomes, worked out once.  [n_tokens], written by
     * any thread, always with the same value. */
    _Atomic uint8_t *whole;
};

/* ---- hashing ----------------------------------------------------------------------------------
 */

static uint64_t mix(uint64_t a, uint64_t b)
{
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t load(const char *p, size_t n)
{
    uint64_t v = 0;
    memcpy(&v, p, n);
    return v;
}

static uint32_t hash_text(const struct bpe *b, const char *p, size_t n)
{
    uint64_t h = b->seed ^ n;
    for (; n > 8; p += 8, n -= 8)
        h = mix(h ^ load(p, 8), 0x9e3779b97f4a7c15u ^ b->seed << 1);
    if (n == 8) {
        h ^= load(p, 8);
    } else if (n >= 4) {
        h ^= load(p, 4) | load(p + n - 4, 4) << 32;
    } else if (n) {
        const unsigned char *u = (const unsigned char *)p;
        h ^= u[0] | (uint64_t)u[n / 2] << 8 | (uint64_t)u[n - 1] << 16;
    }
    return (uint32_t)mix(h, 0xd6e8feb86659fd93u ^ b->seed);
}

static size_t hash_pair(const struct bpe *b, uint32_t left, uint32_t right)
{
    return (size_t)mix(((uint64_t)left << 32 | right) ^ b->seed, 0x9e3779b97f4a7c15u);
}

/* ---- tables -----------------------------------------------------------------------------------
 */

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the vocabulary");
}

int32_t bpe_find(const struct bpe *b, const char *bytes, size_t size, bool plain)
{
    const uint32_t hash = hash_text(b, bytes, size);
    for (size_t i = hash & b->texts_mask; b->texts[i].id >= 0; i = (i + 1) & b->texts_mask) {
        if (b->texts[i].hash != hash)
            continue;
        const struct token_entry *t = &b->tokens[b->texts[i].id];
        if (t->size == size && t->plain == plain && !memcmp(b->text + t->offset, bytes, size))
            return b->texts[i].id;
    }
    return -1;
}

static void put_text(struct bpe *b, uint32_t hash, int32_t id)
{
    size_t i = hash & b->texts_mask;
    while (b->texts[i].id >= 0)
        i = (i + 1) & b->texts_mask;
    b->texts[i] = (struct text_slot){ hash, id };
}

/* Makes the text table twice as large when it is half full. */
static int grow_texts(struct bpe *b)
{
    if (b->texts && b->n_texts * 2 <= b->texts_mask)
        return 0;
    struct text_slot *old = b->texts;
    const size_t old_n = old ? b->texts_mask + 1 : 0, n = old ? old_n * 2 : 1024;
    struct text_slot *slots = malloc(n * sizeof *slots);
    if (!slots)
        return -1;
    memset(slots, 0xff, n * sizeof *slots); /* id -1 */
    b->texts = slots;
    b->texts_mask = n - 1;
    for (size_t i = 0; i < old_n; i++)
        if (old[i].id >= 0)
            put_text(b, old[i].hash, old[i].id);
    free(old);
    return 0;
}

static struct pair_slot *pair_at(const struct bpe *b, uint32_t left, uint32_t right)
{
    size_t i = hash_pair(b, left, right) & b->pairs_mask;
    while (b->pairs[i].rank != NO_RANK && (b->pairs[i].left != left || b->pairs[i].right != right))
        i = (i + 1) & b->pairs_mask;
    return &b->pairs[i];
}

/* As grow_texts() for the pairs. */
static int grow_pairs(struct bpe *b)
{
    if (b->pairs && b->n_pairs * 2 <= b->pairs_mask)
        return 0;
    struct pair_slot *old = b->pairs;
    const size_t old_n = old ? b->pairs_mask + 1 : 0, n = old ? old_n * 2 : 1024;
    struct pair_slot *slots = malloc(n * sizeof *slots);
    if (!slots)
        return -1;
    memset(slots, 0xff, n * sizeof *slots); /* rank NO_RANK */
    b->pairs = slots;
    b->pairs_mask = n - 1;
    for (size_t i = 0; i < old_n; i++)
        if (old[i].rank != NO_RANK)
            *pair_at(b, old[i].left, old[i].right) = old[i];
    free(old);
    return 0;
}

struct bpe *bpe_new(struct airlock_error *err)
{
    struct bpe *b = calloc(1, sizeof *b);
    if (!b || grow_texts(b) < 0 || grow_pairs(b) < 0) {
        bpe_free(b);
        no_memory(err);
        return NULL;
    }
    if (getrandom(&b->seed, sizeof b->seed, GRND_NONBLOCK) != sizeof b->seed)
        b->seed = (uint64_t)(uintptr_t)b; /* early in boot: the address will do */
    return b;
}

void bpe_free(struct bpe *b)
{
    if (!b)
        return;
    free(b->text);
    free(b->tokens);
    free(b->texts);
    free(b->pairs);
    free(b->byte_pair_rank);
    free(b->byte_pair_id);
    free((void *)b->whole);
    free(b);
}

/* Room for the token's text and its entry. */
static int reserve(struct bpe *b, size_t id, size_t size)
{
    if (b->text_capacity - b->text_size < size + 1) {
        size_t capacity = b->text_capacity ? b->text_capacity * 2 : 1 << 16;
        while (capacity - b->text_size < size + 1)
            capacity *= 2;
        char *text = realloc(b->text, capacity);
        if (!text)
            return -1;
        b->text = text;
        b->text_capacity = capacity;
    }
    if (id >= b->tokens_capacity) {
        size_t capacity = b->tokens_capacity ? b->tokens_capacity : 1024;
        while (capacity <= id)
            capacity *= 2;
        struct token_entry *tokens = realloc(b->tokens, capacity * sizeof *tokens);
        if (!tokens)
            return -1;
        memset(tokens + b->tokens_capacity, 0, (capacity - b->tokens_capacity) * sizeof *tokens);
        b->tokens = tokens;
        b->tokens_capacity = capacity;
    }
    return 0;
}

int bpe_add_token(struct bpe *b, int32_t id, const char *bytes, size_t size, bool plain,
                  struct airlock_error *err)
{
    if (id < 0 || id >= BPE_MAX_TOKENS)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "id %ld is not in 0..%d", (long)id,
                                 BPE_MAX_TOKENS - 1);
    if (size == 0 || size > BPE_MAX_TOKEN_BYTES)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "id %ld has %zu bytes, 1 to %d are allowed",
                                 (long)id, size, BPE_MAX_TOKEN_BYTES);
    if ((size_t)id < b->n_tokens && b->tokens[id].present)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "id %ld is given twice", (long)id);
    const int32_t same = bpe_find(b, bytes, size, plain);
    if (same >= 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "ids %ld and %ld are the same token",
                                 (long)same, (long)id);
    if (b->text_size + size > BPE_MAX_TEXT_BYTES)
        return airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "the tokens have more than %d bytes",
                                 BPE_MAX_TEXT_BYTES);
    if (reserve(b, (size_t)id, size) < 0 || grow_texts(b) < 0)
        return no_memory(err);
    b->tokens[id] =
        (struct token_entry){ (uint32_t)b->text_size, (uint32_t)size, true, plain, false };
    memcpy(b->text + b->text_size, bytes, size);
    b->text[b->text_size + size] = 0;
    b->text_size += size + 1;
    if ((size_t)id >= b->n_tokens)
        b->n_tokens = (size_t)id + 1;
    put_text(b, hash_text(b, bytes, size), id);
    b->n_texts++;
    return 0;
}

int bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                  size_t right_size, struct airlock_error *err)
{
    char both[2 * BPE_MAX_TOKEN_BYTES];
    if (b->n_merges == BPE_MAX_MERGES)
        return airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "more than %d merges", BPE_MAX_MERGES);
    const int32_t l = left_size ? bpe_find(b, left, left_size, true) : -1;
    const int32_t r = right_size ? bpe_find(b, right, right_size, true) : -1;
    if (l < 0 || r < 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "its %s part is not in the vocabulary",
                                 l < 0 ? "left" : "right");
    memcpy(both, left, left_size); /* both are tokens, so they fit */
    memcpy(both + left_size, right, right_size);
    const int32_t id = bpe_find(b, both, left_size + right_size, true);
    if (id < 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "what it makes is not in the vocabulary");
    if (grow_pairs(b) < 0)
        return no_memory(err);
    struct pair_slot *slot = pair_at(b, (uint32_t)l, (uint32_t)r);
    if (slot->rank == NO_RANK)
        b->n_pairs++;
    *slot = (struct pair_slot){ (uint32_t)l, (uint32_t)r, b->n_merges++, id };
    b->tokens[id].made = true;
    return 0;
}

/* The ids of the bytes and the ranks of all pairs of bytes. */
static int fill_byte_tables(struct bpe *b, struct airlock_error *err)
{
    for (int i = 0; i < 256; i++) {
        const char byte = (char)i;
        b->byte_id[i] = bpe_find(b, &byte, 1, true);
        if (b->byte_id[i] < 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "the vocabulary has no token for the byte 0x%02x", i);
        b->tokens[b->byte_id[i]].made = true;
    }
    b->byte_pair_rank = malloc(256 * 256 * sizeof *b->byte_pair_rank);
    b->byte_pair_id = malloc(256 * 256 * sizeof *b->byte_pair_id);
    if (!b->byte_pair_rank || !b->byte_pair_id)
        return no_memory(err);
    for (int i = 0; i < 256 * 256; i++) {
        const struct pair_slot *slot =
            pair_at(b, (uint32_t)b->byte_id[i >> 8], (uint32_t)b->byte_id[i & 255]);
        b->byte_pair_rank[i] = slot->rank;
        b->byte_pair_id[i] = slot->id;
    }
    return 0;
}

int bpe_finish(struct bpe *b, bool ignore_merges, struct airlock_error *err)
{
    if (fill_byte_tables(b, err) < 0)
        return -1;
    b->whole = calloc(b->n_tokens, sizeof *b->whole);
    if (!b->whole)
        return no_memory(err);
    b->ignore_merges = ignore_merges;
    return 0;
}

struct bpe_token bpe_token(const struct bpe *b, int32_t id)
{
    if (id < 0 || (size_t)id >= b->n_tokens || !b->tokens[id].present)
        return (struct bpe_token){ 0 };
    const struct token_entry *t = &b->tokens[id];
    return (struct bpe_token){ b->text + t->offset, t->size, t->plain };
}

int32_t bpe_size(const struct bpe *b)
{
    return (int32_t)b->n_tokens;
}

int bpe_reserve_token(struct bpe *b, int32_t id)
{
    if (b->tokens[id].made)
        return -1;
    atomic_store_explicit(&b->whole[id], WHOLE_OTHER, memory_order_relaxed);
    return 0;
}

/* ---- merging ----------------------------------------------------------------------------------
 */

static uint32_t pair_rank(const struct bpe *b, int32_t left, int32_t right, int32_t *id)
{
    const struct pair_slot *slot = pair_at(b, (uint32_t)left, (uint32_t)right);
    *id = slot->id;
    return slot->rank;
}

/* Short pieces: the lowest rank is looked for from the left each time.  n in 2..SHORT_PIECE; ids
 * [n] is filled; returns how many are left. */
static size_t merge_short(const struct bpe *b, const unsigned char *p, size_t n, int32_t *ids)
{
    uint32_t rank[SHORT_PIECE]; /* of the pair i, i+1; the last is NO_RANK */
    int32_t joined[SHORT_PIECE];
    for (size_t i = 0; i + 1 < n; i++) {
        const size_t pair = (size_t)p[i] << 8 | p[i + 1];
        ids[i] = b->byte_id[p[i]];
        rank[i] = b->byte_pair_rank[pair];
        joined[i] = b->byte_pair_id[pair];
    }
    ids[n - 1] = b->byte_id[p[n - 1]];
    rank[n - 1] = NO_RANK;

    for (;;) {
        size_t at = 0;
        for (size_t i = 1; i < n; i++)
            if (rank[i] < rank[at])
                at = i;
        if (rank[at] == NO_RANK)
            return n;
        ids[at] = joined[at];
        n--;
        for (size_t i = at + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            rank[i] = rank[i + 1];
            joined[i] = joined[i + 1];
        }
        rank[at] = at + 1 < n ? pair_rank(b, ids[at], ids[at + 1], &joined[at]) : NO_RANK;
        if (at > 0)
            rank[at - 1] = pair_rank(b, ids[at - 1], ids[at], &joined[at - 1]);
    }
}

/* Long pieces: symbols in a linked list, pairs in a binary heap ordered by rank, then place. */
struct symbol {
    int32_t id;
    int32_t joined;        /* what it and the next one become */
    uint32_t rank;         /* of that merge */
    uint32_t before, next; /* NONE at the ends */
};

enum { NONE = UINT32_MAX };

struct merge_work {
    struct symbol *symbols;
    uint64_t *heap; /* rank << 32 | place; may hold entries that no longer hold true */
    size_t heap_size;
};

static void heap_sink(uint64_t *heap, size_t size, size_t at)
{
    const uint64_t value = heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= size)
            break;
        if (child + 1 < size && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= value)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = value;
}

static void heap_push(struct merge_work *w, uint64_t value)
{
    size_t at = w->heap_size++;
    while (at && w->heap[(at - 1) / 2] > value) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = value;
}

static uint64_t heap_pop(struct merge_work *w)
{
    const uint64_t top = w->heap[0];
    w->heap[0] = w->heap[--w->heap_size];
    heap_sink(w->heap, w->heap_size, 0);
    return top;
}

/* Looks the pair at a symbol up again after one of its halves changed. */
static void refresh(const struct bpe *b, struct merge_work *w, uint32_t at)
{
    struct symbol *s = &w->symbols[at];
    s->rank = NO_RANK;
    if (s->next == NONE)
        return;
    s->rank = pair_rank(b, s->id, w->symbols[s->next].id, &s->joined);
    if (s->rank != NO_RANK)
        heap_push(w, (uint64_t)s->rank << 32 | at);
}

static void fill_work(const struct bpe *b, const unsigned char *p, size_t n, struct merge_work *w)
{
    for (size_t i = 0; i < n; i++) {
        struct symbol *s = &w->symbols[i];
        const size_t pair = i + 1 < n ? (size_t)p[i] << 8 | p[i + 1] : 0;
        s->id = b->byte_id[p[i]];
        s->joined = b->byte_pair_id[pair];
        s->rank = i + 1 < n ? b->byte_pair_rank[pair] : NO_RANK;
        s->before = i ? (uint32_t)i - 1 : NONE;
        s->next = i + 1 < n ? (uint32_t)i + 1 : NONE;
        if (s->rank != NO_RANK)
            w->heap[w->heap_size++] = (uint64_t)s->rank << 32 | i;
    }
    for (size_t i = w->heap_size / 2; i-- > 0;)
        heap_sink(w->heap, w->heap_size, i);
}

static void merge_all(const struct bpe *b, struct merge_work *w)
{
    while (w->heap_size) {
        const uint64_t top = heap_pop(w);
        const uint32_t at = (uint32_t)top;
        struct symbol *s = &w->symbols[at];
        if (s->rank != top >> 32) /* merged away, or its pair is another one by now */
            continue;
        struct symbol *gone = &w->symbols[s->next];
        s->id = s->joined;
        gone->rank = NO_RANK;
        s->next = gone->next;
        if (s->next != NONE)
            w->symbols[s->next].before = at;
        refresh(b, w, at);
        if (s->before != NONE)
            refresh(b, w, s->before);
    }
}

static int merge_long(const struct bpe *b, const unsigned char *p, size_t n, struct token_list *out,
                      struct airlock_error *err)
{
    struct merge_work w = { malloc(n * sizeof *w.symbols), malloc(2 * n * sizeof *w.heap), 0 };
    int rc = 0;
    if (!w.symbols || !w.heap) {
        rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a run of %zu bytes", n);
    } else {
        /* Every merge takes one entry out and puts at most two in: 2 n are enough. */
        fill_work(b, p, n, &w);
        merge_all(b, &w);
        for (uint32_t i = 0; i != NONE && !rc; i = w.symbols[i].next)
            if (token_list_add(out, w.symbols[i].id) < 0)
                rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for token ids");
    }
    free(w.symbols);
    free(w.heap);
    return rc;
}

static int add_ids(struct token_list *out, const int32_t *ids, size_t n, struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (token_list_add(out, ids[i]) < 0)
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for token ids");
    return 0;
}

int bpe_encode(const struct bpe *b, const char *piece, size_t size, struct token_list *out,
               struct airlock_error *err)
{
    int32_t ids[SHORT_PIECE];
    const unsigned char *p = (const unsigned char *)piece;
    if (size == 0)
        return 0;
    if (size == 1)
        return add_ids(out, &b->byte_id[*p], 1, err);
    if (size > BPE_MAX_PIECE_BYTES)
        return airlock_error_set(err, AIRLOCK_E_TOO_LARGE,
                                 "text has a word of %zu bytes, at most %d are allowed", size,
                                 BPE_MAX_PIECE_BYTES);

    const int32_t token = size <= BPE_MAX_TOKEN_BYTES ? bpe_find(b, piece, size, true) : -1;
    if (token >= 0) {
        const int known = atomic_load_explicit(&b->whole[token], memory_order_relaxed);
        if (known == WHOLE_SAME || (b->ignore_merges && known == WHOLE_UNKNOWN))
            return add_ids(out, &token, 1, err);
    }
    const size_t before = out->n;
    int rc;
    if (size <= SHORT_PIECE)
        rc = add_ids(out, ids, merge_short(b, p, size, ids), err);
    else
        rc = merge_long(b, p, size, out, err);
    if (rc == 0 && token >= 0) {
        const bool same = out->n == before + 1 && out->ids[before] == token;
        atomic_store_explicit(&b->whole[token], same ? WHOLE_SAME : WHOLE_OTHER,
                              memory_order_relaxed);
    }
    return rc;
}
