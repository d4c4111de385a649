/* kv_cache.c - allocates the blocks of keys and values and keeps count of their holders. */
#include "kv_cache.h"

#include <stdlib.h>
#include <string.h>

/* Slots are int32: 2^26 blocks of 16 tokens stay well inside. */
enum { KV_MAX_BLOCKS = 1 << 26 };

static size_t layer_bytes(const struct ops_heads *heads, enum ops_dtype dtype)
{
    return OPS_KV_BLOCK * heads->n_kv_heads * heads->head_dim * ops_dtype_size(dtype);
}

size_t kv_cache_block_bytes(size_t n_layers, const struct ops_heads *heads, enum ops_dtype dtype)
{
    return n_layers * 2 * layer_bytes(heads, dtype);
}

int kv_cache_init(struct kv_cache *c, const struct ops *ops, struct ops_device *dev,
                  size_t n_layers, const struct ops_heads *heads, enum ops_dtype dtype,
                  size_t n_blocks, struct airlock_error *err)
{
    memset(c, 0, sizeof *c);
    if (n_blocks < 1 || n_blocks > KV_MAX_BLOCKS)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "KV cache: %zu blocks of %d tokens, allowed are 1 to %d", n_blocks,
                                 OPS_KV_BLOCK, KV_MAX_BLOCKS);
    c->ops = ops;
    c->dev = dev;
    c->n_layers = n_layers;
    c->n_blocks = n_blocks;
    c->layers = calloc(n_layers, sizeof *c->layers);
    c->free_blocks = malloc(n_blocks * sizeof *c->free_blocks);
    c->holders = calloc(n_blocks, sizeof *c->holders);
    bool ok = c->layers && c->free_blocks && c->holders;
    size_t bytes = n_blocks * layer_bytes(heads, dtype);
    for (size_t l = 0; ok && l < n_layers; l++) {
        struct ops_kv *kv = &c->layers[l];
        kv->dtype = dtype;
        kv->n_blocks = n_blocks;
        kv->k = ops->alloc(dev, bytes);
        kv->v = ops->alloc(dev, bytes);
        ok = kv->k && kv->v;
    }
    if (!ok) {
        kv_cache_free(c);
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY,
                                 "KV cache: no memory for %zu tokens (%zu MiB); lower kv_memory, "
                                 "max_context or max_batch",
                                 n_blocks * OPS_KV_BLOCK, n_layers * 2 * bytes >> 20);
    }
    /* The lowest block on top of the stack. */
    for (size_t i = 0; i < n_blocks; i++)
        c->free_blocks[i] = (int32_t)(n_blocks - 1 - i);
    c->n_free = n_blocks;
    return 0;
}

void kv_cache_free(struct kv_cache *c)
{
    for (size_t l = 0; c->layers && l < c->n_layers; l++) {
        c->ops->free(c->dev, c->layers[l].k);
        c->ops->free(c->dev, c->layers[l].v);
    }
    free(c->layers);
    free(c->free_blocks);
    free(c->holders);
    memset(c, 0, sizeof *c);
}

static int table_reserve(struct kv_table *t, size_t n)
{
    if (n <= t->capacity)
        return 0;
    size_t capacity = t->capacity ? t->capacity : 8;
    while (capacity < n)
        capacity *= 2;
    int32_t *blocks = realloc(t->blocks, capacity * sizeof *blocks);
    if (!blocks)
        return -1;
    t->blocks = blocks;
    t->capacity = capacity;
    return 0;
}

static int32_t take_block(struct kv_cache *c)
{
    if (c->n_free > 0)
        return c->free_blocks[--c->n_free];
    c->n_kept--;
    return c->keeper.give_up(c->keeper.ctx);
}

static void drop_block(struct kv_cache *c, int32_t block)
{
    if (--c->holders[block] > 0)
        return;
    if (c->keeper.keep && c->keeper.keep(c->keeper.ctx, block))
        c->n_kept++;
    else
        c->free_blocks[c->n_free++] = block;
}

enum kv_status kv_table_grow(struct kv_cache *c, struct kv_table *t, size_t tokens)
{
    size_t want = kv_cache_blocks_for(tokens);
    if (want <= t->n)
        return KV_OK;
    if (want - t->n > kv_cache_available(c))
        return KV_FULL;
    if (table_reserve(t, want))
        return KV_NO_MEMORY;
    while (t->n < want) {
        int32_t block = take_block(c);
        c->holders[block] = 1;
        t->blocks[t->n++] = block;
    }
    return KV_OK;
}

enum kv_status kv_table_share(struct kv_cache *c, struct kv_table *t, size_t i, int32_t block)
{
    if (table_reserve(t, i + 1))
        return KV_NO_MEMORY;
    if (c->holders[block]++ == 0)
        c->n_kept--;
    if (i < t->n)
        drop_block(c, t->blocks[i]);
    else
        t->n++;
    t->blocks[i] = block;
    return KV_OK;
}

void kv_cache_free_kept(struct kv_cache *c, int32_t block)
{
    c->n_kept--;
    c->free_blocks[c->n_free++] = block;
}

void kv_table_release(struct kv_cache *c, struct kv_table *t)
{
    /* Backwards, so that the first blocks come out first again. */
    while (t->n > 0) {
        t->n--;
        drop_block(c, t->blocks[t->n]);
    }
    free(t->blocks);
    memset(t, 0, sizeof *t);
}
