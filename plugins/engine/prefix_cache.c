/* prefix_cache.c - the forest of computed blocks in two hash tables, and the order of eviction. */
#include "prefix_cache.h"

#include "common/io.h"
#include "siphash.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* What a block is found by; no padding. */
struct name {
    uint64_t parent; /* serial of the block before, or of the root */
    unsigned char media[PREFIX_DIGEST_BYTES];
    int32_t ids[OPS_KV_BLOCK];
};
_Static_assert(sizeof(struct name) == 8 + PREFIX_DIGEST_BYTES + 4 * OPS_KV_BLOCK,
               "names are compared and hashed as bytes");

/* A node; number i is about block i of the kv_cache. */
struct node {
    uint64_t serial; /* 0: block i is none */
    struct name name;
    struct root *root;
    int32_t next;         /* in its bucket; -1: the last */
    int32_t older, newer; /* among the kept; -1: none */
};

struct root {
    struct root *next; /* in its bucket */
    uint64_t serial;
    size_t n_nodes;
    const void *adapters[LINEAR_MAX_ADAPTERS];
    size_t n_adapters;
    size_t size; /* of bytes */
    unsigned char bytes[];
};

/* flag, count and adapters with versions, size and bytes of salt */
enum { ROOT_BYTES = 1 + 8 + 16 * LINEAR_MAX_ADAPTERS + 8 + PREFIX_MAX_SALT };

struct prefix_cache {
    struct kv_cache *kv;
    struct siphash_key key;
    struct node *nodes;     /* [kv->n_blocks] */
    int32_t *buckets;       /* [mask + 1] first node, or -1 */
    struct root **roots;    /* [mask + 1] */
    size_t mask;            /* a power of two, minus 1 */
    int32_t oldest, newest; /* of the kept; -1: none */
    uint64_t last_serial;
    struct prefix_counts counts;
};

/* ---- the kept, in the order in which they were let go ---------------------------------------- */

static void kept_take(struct prefix_cache *c, int32_t block)
{
    struct node *n = &c->nodes[block];
    *(n->older < 0 ? &c->oldest : &c->nodes[n->older].newer) = n->newer;
    *(n->newer < 0 ? &c->newest : &c->nodes[n->newer].older) = n->older;
    n->older = n->newer = -1;
}

static void kept_add(struct prefix_cache *c, int32_t block)
{
    struct node *n = &c->nodes[block];
    n->older = c->newest;
    n->newer = -1;
    *(c->newest < 0 ? &c->oldest : &c->nodes[c->newest].newer) = block;
    c->newest = block;
}

/* ---- roots ----------------------------------------------------------------------------------- */

static size_t put(unsigned char *out, size_t at, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(out + at, bytes, size);
    return at + size;
}

static size_t put_number(unsigned char *out, size_t at, uint64_t number)
{
    return put(out, at, &number, sizeof number);
}

/* Different roots give different bytes: every part of no fixed size has its size before it. */
static size_t root_bytes(const struct prefix_root *r, unsigned char out[ROOT_BYTES])
{
    size_t at = 0;
    out[at++] = r->long_rope;
    at = put_number(out, at, r->n_adapters);
    for (size_t i = 0; i < r->n_adapters; i++) {
        at = put_number(out, at, (uint64_t)(uintptr_t)r->adapters[i]);
        at = put_number(out, at, r->versions[i]);
    }
    at = put_number(out, at, r->n_salt);
    return put(out, at, r->salt, r->n_salt);
}

static bool root_fits(const struct prefix_root *r)
{
    return r->n_adapters <= LINEAR_MAX_ADAPTERS && r->n_salt <= PREFIX_MAX_SALT;
}

static bool same_bytes(const void *a, size_t n_a, const void *b, size_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a) == 0);
}

bool prefix_root_equal(const struct prefix_root *a, const struct prefix_root *b)
{
    if (a->long_rope != b->long_rope || a->n_adapters != b->n_adapters)
        return false;
    for (size_t i = 0; i < a->n_adapters; i++)
        if (a->adapters[i] != b->adapters[i] || a->versions[i] != b->versions[i])
            return false;
    return same_bytes(a->salt, a->n_salt, b->salt, b->n_salt);
}

static struct root *root_new(struct prefix_cache *c, const struct prefix_root *from,
                             const unsigned char *bytes, size_t size)
{
    struct root *r = calloc(1, sizeof *r + size);
    if (!r)
        return NULL;
    r->serial = ++c->last_serial;
    r->n_adapters = from->n_adapters;
    for (size_t i = 0; i < from->n_adapters; i++)
        r->adapters[i] = from->adapters[i];
    r->size = size;
    memcpy(r->bytes, bytes, size);
    c->counts.roots++;
    return r;
}

/* NULL: it is not there, or with make: out of memory. */
static struct root *root_find(struct prefix_cache *c, const struct prefix_root *root, bool make)
{
    unsigned char bytes[ROOT_BYTES];
    if (!root_fits(root))
        return NULL;
    size_t size = root_bytes(root, bytes);
    struct root **bucket = &c->roots[siphash(&c->key, bytes, size) & c->mask];
    for (struct root *r = *bucket; r; r = r->next)
        if (same_bytes(r->bytes, r->size, bytes, size))
            return r;
    struct root *r = make ? root_new(c, root, bytes, size) : NULL;
    if (r) {
        r->next = *bucket;
        *bucket = r;
    }
    return r;
}

/* A root of no nodes is not remembered. */
static void root_drop_if_empty(struct prefix_cache *c, struct root *r)
{
    if (r->n_nodes > 0)
        return;
    struct root **link = &c->roots[siphash(&c->key, r->bytes, r->size) & c->mask];
    while (*link != r)
        link = &(*link)->next;
    *link = r->next;
    c->counts.roots--;
    free(r);
}

/* ---- nodes ----------------------------------------------------------------------------------- */

/* The name of a block behind parent.  Its media are told by the last that begins before its end:
 * that one's digest is about those before, too. */
static struct name name_of(uint64_t parent, const struct prefix_tokens *tokens, size_t block)
{
    struct name name = { .parent = parent };
    const size_t end = (block + 1) * OPS_KV_BLOCK;
    size_t n = tokens->n_media;
    while (n > 0 && tokens->media[n - 1].position >= end)
        n--;
    if (n > 0)
        memcpy(name.media, tokens->media[n - 1].digest, sizeof name.media);
    memcpy(name.ids, tokens->ids + block * OPS_KV_BLOCK, sizeof name.ids);
    return name;
}

bool prefix_block_equal(const struct prefix_tokens *a, const struct prefix_tokens *b, size_t block)
{
    const struct name x = name_of(0, a, block), y = name_of(0, b, block);
    return memcmp(&x, &y, sizeof x) == 0;
}

static int32_t *bucket_of(struct prefix_cache *c, const struct name *name)
{
    return &c->buckets[siphash(&c->key, name, sizeof *name) & c->mask];
}

/* -1: there is none. */
static int32_t node_find(struct prefix_cache *c, const struct name *name)
{
    for (int32_t i = *bucket_of(c, name); i >= 0; i = c->nodes[i].next)
        if (memcmp(&c->nodes[i].name, name, sizeof *name) == 0)
            return i;
    return -1;
}

static void node_add(struct prefix_cache *c, int32_t block, const struct name *name,
                     struct root *root)
{
    int32_t *bucket = bucket_of(c, name);
    struct node *n = &c->nodes[block];
    *n = (struct node){ .serial = ++c->last_serial,
                        .name = *name,
                        .root = root,
                        .next = *bucket,
                        .older = -1,
                        .newer = -1 };
    *bucket = block;
    root->n_nodes++;
    c->counts.blocks++;
}

/* Forgets what block holds. */
static void node_remove(struct prefix_cache *c, int32_t block)
{
    struct node *n = &c->nodes[block];
    int32_t *link = bucket_of(c, &n->name);
    while (*link != block)
        link = &c->nodes[*link].next;
    *link = n->next;
    n->serial = 0;
    n->root->n_nodes--;
    root_drop_if_empty(c, n->root);
    c->counts.blocks--;
}

/* Makes a node's block the table's i-th.  False: out of memory. */
static bool hold(struct prefix_cache *c, struct kv_table *table, size_t i, int32_t block)
{
    bool kept = c->kv->holders[block] == 0;
    if (kv_table_share(c->kv, table, i, block) != KV_OK)
        return false;
    if (kept)
        kept_take(c, block);
    return true;
}

/* ---- the keeper ------------------------------------------------------------------------------ */

static bool keep(void *ctx, int32_t block)
{
    struct prefix_cache *c = ctx;
    if (c->nodes[block].serial == 0)
        return false;
    kept_add(c, block);
    return true;
}

static int32_t give_up(void *ctx)
{
    struct prefix_cache *c = ctx;
    int32_t block = c->oldest;
    kept_take(c, block);
    node_remove(c, block);
    c->counts.evictions++;
    return block;
}

/* ---- the cache ------------------------------------------------------------------------------- */

struct prefix_cache *prefix_cache_new(struct kv_cache *kv)
{
    struct prefix_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    size_t buckets = 64;
    while (buckets < kv->n_blocks)
        buckets *= 2;
    c->kv = kv;
    c->mask = buckets - 1;
    c->oldest = c->newest = -1;
    c->nodes = calloc(kv->n_blocks, sizeof *c->nodes);
    c->buckets = malloc(buckets * sizeof *c->buckets);
    c->roots = calloc(buckets, sizeof(struct root *));
    if (!c->nodes || !c->buckets || !c->roots) {
        prefix_cache_free(c);
        return NULL;
    }
    memset(c->buckets, 0xff, buckets * sizeof *c->buckets); /* -1 */
    /* A guessable key could make lookups slow, never wrong. */
    if (getrandom(&c->key, sizeof c->key, GRND_NONBLOCK) != sizeof c->key)
        c->key = (struct siphash_key){ io_now_ns(), (uint64_t)(uintptr_t)c };
    kv->keeper = (struct kv_keeper){ .ctx = c, .keep = keep, .give_up = give_up };
    return c;
}

void prefix_cache_free(struct prefix_cache *c)
{
    if (!c)
        return;
    while (c->oldest >= 0) {
        int32_t block = c->oldest;
        kept_take(c, block);
        node_remove(c, block);
        kv_cache_free_kept(c->kv, block);
    }
    c->kv->keeper = (struct kv_keeper){ 0 };
    free(c->nodes);
    free(c->buckets);
    free(c->roots);
    free(c);
}

size_t prefix_cache_find(struct prefix_cache *c, const struct prefix_root *root,
                         const struct prefix_tokens *tokens, size_t max_blocks,
                         struct prefix_place *place, struct kv_table *table)
{
    size_t before = place->n;
    uint64_t parent = place->serial;
    if (place->n == 0 && max_blocks > 0) {
        const struct root *r = root_find(c, root, false);
        if (!r)
            return 0;
        parent = r->serial;
    }
    for (; place->n < max_blocks; place->n++) {
        const struct name name = name_of(parent, tokens, place->n);
        int32_t block = node_find(c, &name);
        if (block < 0 || !hold(c, table, place->n, block))
            break;
        place->serial = parent = c->nodes[block].serial;
    }
    return place->n - before;
}

void prefix_cache_add(struct prefix_cache *c, const struct prefix_root *root,
                      const struct prefix_tokens *tokens, size_t n_blocks,
                      struct prefix_place *place, struct kv_table *table)
{
    if (place->n >= n_blocks)
        return;
    struct root *r = root_find(c, root, place->n == 0);
    if (!r)
        return; /* out of memory, or forgotten */
    uint64_t parent = place->n == 0 ? r->serial : place->serial;
    for (; place->n < n_blocks; place->n++) {
        const struct name name = name_of(parent, tokens, place->n);
        int32_t block = node_find(c, &name);
        if (block < 0) {
            block = table->blocks[place->n];
            node_add(c, block, &name, r);
        } else if (!hold(c, table, place->n, block)) {
            break;
        }
        place->serial = parent = c->nodes[block].serial;
    }
    root_drop_if_empty(c, r);
}

static bool root_uses(const struct root *r, const void *adapter)
{
    for (size_t i = 0; i < r->n_adapters; i++)
        if (r->adapters[i] == adapter)
            return true;
    return false;
}

void prefix_cache_forget(struct prefix_cache *c, const void *adapter)
{
    for (size_t i = 0; i < c->kv->n_blocks; i++) {
        int32_t block = (int32_t)i;
        if (c->nodes[i].serial == 0 || !root_uses(c->nodes[i].root, adapter))
            continue;
        bool kept = c->kv->holders[i] == 0;
        if (kept)
            kept_take(c, block);
        node_remove(c, block);
        if (kept)
            kv_cache_free_kept(c->kv, block);
    }
}

void prefix_cache_counts(const struct prefix_cache *c, struct prefix_counts *out)
{
    *out = c->counts;
}
