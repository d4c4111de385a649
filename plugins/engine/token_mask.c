/* token_mask.c - walks a vocabulary with an automaton whose configurations get numbers as they
 * come; see token_mask.h. */
#include "token_mask.h"

#include "json_schema.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 1024 /* of a token: BPE_MAX_TOKEN_BYTES */ };

#define UNKNOWN UINT32_MAX
#define DEAD (UINT32_MAX - 1)
#define NO_MEMORY (UINT32_MAX - 2)
/* A number from here on is a depth of the walk: its configuration is in scratch. */
#define SCRATCH (UINT32_MAX - 65536)

struct cached {
    uint32_t *mask; /* [words] */
    uint32_t config;
    uint64_t used; /* when last */
};

struct token_masks {
    struct json_tables *tables;
    const struct token_strings *strings;
    size_t words;
    pthread_mutex_t lock; /* everything below */

    /* Configurations by number: the used part of a json_config, packed. */
    char *packed;
    size_t packed_size, packed_capacity;
    size_t place[TOKEN_MASK_CONFIGS + 1]; /* in packed; the last: its end */
    uint32_t n, rows_capacity;
    uint32_t table[2 * TOKEN_MASK_CONFIGS]; /* hash table of numbers + 1 */
    uint32_t *rows;                         /* [n, classes] the next configuration */
    int16_t slot[TOKEN_MASK_CONFIGS];       /* in cache, or -1 */

    struct cached cache[TOKEN_MASK_CACHE];
    uint64_t clock;
    struct json_config **scratch; /* [max_bytes + 1], made when needed */
    struct json_config from, to;
    struct token_mask_counts counts;
};

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a mask of tokens");
}

struct token_masks *token_masks_new(struct json_tables *tables, const struct token_strings *strings,
                                    struct airlock_error *err)
{
    struct token_masks *m = calloc(1, sizeof *m);
    if (m)
        m->scratch = calloc(strings->all->max_bytes + 1, sizeof(struct json_config *));
    if (!m || !m->scratch) {
        free(m);
        json_tables_free(tables);
        no_memory(err);
        return NULL;
    }
    m->tables = tables;
    m->strings = strings;
    m->words = token_mask_words(strings);
    memset(m->slot, -1, sizeof m->slot);
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void token_masks_free(struct token_masks *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < TOKEN_MASK_CACHE; i++)
        free(m->cache[i].mask);
    for (size_t i = 0; i <= m->strings->all->max_bytes; i++)
        free(m->scratch[i]);
    free(m->scratch);
    free(m->packed);
    free(m->rows);
    json_tables_free(m->tables);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

const struct json_tables *token_masks_tables(const struct token_masks *m)
{
    return m->tables;
}

size_t token_mask_words(const struct token_strings *strings)
{
    return (strings->all->vocab + 31) / 32;
}

/* ---- numbers for configurations -------------------------------------------------------------- */

static size_t head_size(const struct json_config *c)
{
    return (c->n_levels + 2) * sizeof(uint32_t); /* n_levels and start */
}

static size_t body_size(const struct json_config *c)
{
    return c->start[c->n_levels] * sizeof *c->entries;
}

static uint64_t hash(const struct json_config *c)
{
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) + c->n_levels;
    const uint64_t *p = (const void *)c->entries;
    for (size_t i = 0; i < body_size(c) / sizeof *p; i++) {
        h = (h ^ p[i]) * UINT64_C(0xff51afd7ed558ccd);
        h ^= h >> 32;
    }
    return h;
}

static void unpack(const struct token_masks *m, uint32_t number, struct json_config *out)
{
    const char *p = m->packed + m->place[number];
    memcpy(&out->n_levels, p, sizeof out->n_levels);
    memcpy(out->start, p + sizeof out->n_levels, head_size(out) - sizeof out->n_levels);
    memcpy(out->entries, p + head_size(out), body_size(out));
}

static bool equals(const struct token_masks *m, uint32_t number, const struct json_config *c)
{
    const char *p = m->packed + m->place[number];
    return m->place[number + 1] - m->place[number] == head_size(c) + body_size(c) &&
           memcmp(p, c, head_size(c)) == 0 &&
           memcmp(p + head_size(c), c->entries, body_size(c)) == 0;
}

static int grow(struct token_masks *m, size_t size)
{
    if (m->packed_size + size > m->packed_capacity) {
        size_t capacity = 2 * (m->packed_size + size);
        char *packed = realloc(m->packed, capacity);
        if (!packed)
            return -1;
        m->packed = packed;
        m->packed_capacity = capacity;
    }
    if (m->n == m->rows_capacity) {
        uint32_t capacity = m->rows_capacity ? 2 * m->rows_capacity : 64;
        uint32_t *rows = realloc(m->rows, capacity * m->tables->n_classes * sizeof *rows);
        if (!rows)
            return -1;
        m->rows = rows;
        m->rows_capacity = capacity;
    }
    return 0;
}

/* The number of a configuration; UNKNOWN: all are used; NO_MEMORY. */
static uint32_t intern(struct token_masks *m, const struct json_config *c)
{
    size_t mask = 2 * TOKEN_MASK_CONFIGS - 1, at = hash(c) & mask;
    for (; m->table[at]; at = (at + 1) & mask)
        if (equals(m, m->table[at] - 1, c))
            return m->table[at] - 1;
    if (m->n == TOKEN_MASK_CONFIGS)
        return UNKNOWN;
    if (grow(m, head_size(c) + body_size(c)))
        return NO_MEMORY;
    uint32_t number = m->n++;
    char *p = m->packed + m->packed_size;
    memcpy(p, c, head_size(c));
    memcpy(p + head_size(c), c->entries, body_size(c));
    m->packed_size += head_size(c) + body_size(c);
    m->place[number + 1] = m->packed_size;
    m->table[at] = number + 1;
    for (unsigned i = 0; i < m->tables->n_classes; i++)
        m->rows[(size_t)number * m->tables->n_classes + i] = UNKNOWN;
    return number;
}

/* Forgets all configurations, and the masks with them. */
static void flush(struct token_masks *m)
{
    m->n = 0;
    m->packed_size = 0;
    memset(m->table, 0, sizeof m->table);
    memset(m->slot, -1, sizeof m->slot);
    for (size_t i = 0; i < TOKEN_MASK_CACHE; i++)
        m->cache[i].used = 0;
    m->counts.flushes++;
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* A step that is not remembered yet.  Where no number is left, the configuration lies in scratch at
 * its depth, of which a walk needs one at a time. */
static uint32_t step(struct token_masks *m, uint32_t from, uint8_t byte, uint32_t depth)
{
    const struct json_config *in = &m->from;
    if (from >= SCRATCH)
        in = m->scratch[from - SCRATCH];
    else
        unpack(m, from, &m->from);
    if (!json_automaton_step(m->tables, in, byte, &m->to))
        return DEAD;
    uint32_t number = intern(m, &m->to);
    if (number != UNKNOWN)
        return number;
    if (!m->scratch[depth])
        m->scratch[depth] = malloc(sizeof(struct json_config));
    if (!m->scratch[depth])
        return NO_MEMORY;
    memcpy(m->scratch[depth], &m->to, head_size(&m->to));
    memcpy(m->scratch[depth]->entries, m->to.entries, body_size(&m->to));
    return SCRATCH + depth;
}

static uint32_t next(struct token_masks *m, uint32_t from, uint8_t byte, uint32_t depth)
{
    if (from >= SCRATCH)
        return step(m, from, byte, depth);
    size_t at = (size_t)from * m->tables->n_classes + m->tables->byte_class[byte];
    if (m->rows[at] != UNKNOWN)
        return m->rows[at];
    uint32_t to = step(m, from, byte, depth);
    if (to < SCRATCH || to == DEAD)
        m->rows[at] = to; /* step() may have moved rows, not this place in them */
    return to;
}

/* Adds to the mask the tokens of the tree that can be read from start on. */
static int walk(struct token_masks *m, const struct token_trie *trie, uint32_t start,
                uint32_t *mask)
{
    const struct token_trie_node *nodes = trie->nodes;
    uint32_t state[MAX_BYTES + 2];
    state[0] = start;
    for (size_t i = 0; i < trie->n;) {
        const struct token_trie_node *node = &nodes[i];
        uint32_t to = next(m, state[node->depth], node->byte, node->depth + 1u);
        if (to == NO_MEMORY)
            return -1;
        if (to == DEAD) {
            i = node->skip;
            continue;
        }
        state[node->depth + 1] = to;
        for (int32_t id = node->token; id >= 0; id = trie->twins[id])
            mask[id / 32] |= UINT32_C(1) << (id % 32);
        i++;
    }
    return 0;
}

/* ---- masks ----------------------------------------------------------------------------------- */

/* The place of the mask that was not used for the longest time. */
static struct cached *oldest(struct token_masks *m)
{
    struct cached *best = &m->cache[0];
    for (size_t i = 1; i < TOKEN_MASK_CACHE; i++)
        if (m->cache[i].used < best->used)
            best = &m->cache[i];
    if (best->used)
        m->slot[best->config] = -1;
    best->used = 0;
    return best;
}

/* Within a string, what stays inside it is known. */
static int make(struct token_masks *m, uint32_t config, uint32_t *mask)
{
    uint32_t most;
    const struct token_trie *trie = m->strings->all;
    memset(mask, 0, m->words * sizeof *mask);
    unpack(m, config, &m->from);
    if (json_automaton_in_string(m->tables, &m->from, &most)) {
        token_strings_add(m->strings, most, mask);
        trie = m->strings->closing;
    }
    return walk(m, trie, config, mask);
}

static struct cached *find(struct token_masks *m, uint32_t config)
{
    if (m->slot[config] >= 0) {
        m->counts.hits++;
        return &m->cache[m->slot[config]];
    }
    struct cached *c = oldest(m);
    if (!c->mask)
        c->mask = malloc(m->words * sizeof *c->mask);
    if (!c->mask || make(m, config, c->mask))
        return NULL;
    c->config = config;
    m->slot[config] = (int16_t)(c - m->cache);
    return c;
}

int token_masks_fill(struct token_masks *m, const struct json_config *c, uint32_t *mask,
                     struct airlock_error *err)
{
    struct cached *found = NULL;
    pthread_mutex_lock(&m->lock);
    m->counts.fills++;
    if (m->n >= TOKEN_MASK_CONFIGS / 4 * 3)
        flush(m);
    memcpy(&m->to, c, head_size(c));
    memcpy(m->to.entries, c->entries, body_size(c));
    json_automaton_clip(&m->to, (uint32_t)m->strings->all->max_bytes);
    uint32_t number = intern(m, &m->to);
    if (number != NO_MEMORY)
        found = find(m, number);
    if (found) {
        found->used = ++m->clock;
        memcpy(mask, found->mask, m->words * sizeof *mask);
    }
    pthread_mutex_unlock(&m->lock);
    return found ? 0 : no_memory(err);
}

void token_masks_counts(struct token_masks *m, struct token_mask_counts *out)
{
    pthread_mutex_lock(&m->lock);
    *out = m->counts;
    out->configs = m->n;
    pthread_mutex_unlock(&m->lock);
}
