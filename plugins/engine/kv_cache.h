/*
 * kv_cache.h - keys and values of all sequences in blocks of OPS_KV_BLOCK tokens, and who holds
 * which block.
 *
 * A sequence has a table of blocks; token p of it lies in block table[p / OPS_KV_BLOCK].  A block
 * counts its holders, so that sequences may share one.  What its last holder lets go of is free, or
 * kept by the keeper (the prefix cache) until free ones have run out.  All memory is taken from the
 * device at once; the CPU's is touched only when a block is written, and freed blocks are used
 * again first.  One thread at a time.
 *
 * Blocks are not cleared when they change hands: attention reads a sequence's own positions only,
 * each written before it is read, and none beyond its length (ops.h); tests poison all the rest.
 */
#ifndef AIRLOCK_KV_CACHE_H
#define AIRLOCK_KV_CACHE_H

#include "common/error.h"
#include "ops/ops.h"

#include <stdbool.h>

/* Who keeps blocks that nobody holds, for their content. */
struct kv_keeper {
    void *ctx;
    bool (*keep)(void *ctx, int32_t block); /* its last holder let go; false: it is free */
    int32_t (*give_up)(void *ctx);          /* called when n_kept > 0: one that is kept no longer */
};

struct kv_cache {
    const struct ops *ops;
    struct ops_device *dev;
    struct ops_kv *layers; /* [n_layers] */
    size_t n_layers, n_blocks;
    int32_t *free_blocks; /* [n_blocks], a stack of n_free */
    size_t n_free;
    uint32_t *holders;       /* [n_blocks]; 0: free or kept */
    struct kv_keeper keeper; /* zeroed: none */
    size_t n_kept;
};

/* The blocks of one sequence, in order.  Zero-initialise. */
struct kv_table {
    int32_t *blocks;
    size_t n, capacity;
};

/* Bytes of one block over all layers. */
size_t kv_cache_block_bytes(size_t n_layers, const struct ops_heads *heads, enum ops_dtype dtype);
static inline size_t kv_cache_blocks_for(size_t tokens)
{
    return (tokens + OPS_KV_BLOCK - 1) / OPS_KV_BLOCK;
}

/* Takes memory for n_blocks (at least 1, at most 2^26).  0, or -1 with err and nothing held. */
int kv_cache_init(struct kv_cache *c, const struct ops *ops, struct ops_device *dev,
                  size_t n_layers, const struct ops_heads *heads, enum ops_dtype dtype,
                  size_t n_blocks, struct airlock_error *err);
void kv_cache_free(struct kv_cache *c); /* also of a zeroed one */

enum kv_status { KV_OK, KV_FULL, KV_NO_MEMORY };

/* Blocks that a table can get: the free and the kept. */
static inline size_t kv_cache_available(const struct kv_cache *c)
{
    return c->n_free + c->n_kept;
}

/* Gives the table blocks for this many tokens in all; free ones first, then those that the keeper
 * gives up.  On failure the table is as before. */
enum kv_status kv_table_grow(struct kv_cache *c, struct kv_table *t, size_t tokens);
/* Another holder for a block that is held or kept; it becomes the table's i-th, i at most n, in
 * place of the one that was there.  (The keeper has taken it off its own list.)  KV_OK or
 * KV_NO_MEMORY. */
enum kv_status kv_table_share(struct kv_cache *c, struct kv_table *t, size_t i, int32_t block);
/* Gives all blocks back, the last one first, and frees the table. */
void kv_table_release(struct kv_cache *c, struct kv_table *t);
/* The keeper keeps this block no longer: it is free. */
void kv_cache_free_kept(struct kv_cache *c, int32_t block);

/* Where token position of the sequence lies: block * OPS_KV_BLOCK + place (ops.rope_kv). */
static inline int32_t kv_table_slot(const struct kv_table *t, size_t position)
{
    return t->blocks[position / OPS_KV_BLOCK] * OPS_KV_BLOCK + (int32_t)(position % OPS_KV_BLOCK);
}

#endif
