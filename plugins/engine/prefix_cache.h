/*
 * prefix_cache.h - finds blocks of keys and values that were computed before for the same tokens,
 * so that they are not computed again.
 *
 * A block's content depends on its 16 tokens, on the media that some of them stand for, on all of
 * that before them, and on what struct prefix_root lists.  So the cache is a forest: a node is one
 * completely computed block, its parent the block before it, a tree's root the prefix_root.  Every
 * node gets a serial number that is never used again, and a node is found by (serial of its parent,
 * its 16 ids, the digest of the media so far), which the node itself holds and which are compared
 * in full; roots are compared byte by byte.  The hash (SipHash
 * with a random key, over just these) only chooses a bucket: no collision, wanted or not, can make
 * two different prefixes equal, and nobody can fill one bucket on purpose.  By induction from the
 * root, two sequences that meet in a node have had the same tokens and the same root all the way.
 *
 * Eviction: the kv_cache asks for a kept block when free ones have run out, and the least recently
 * let go is given up.  A sequence holds all blocks from the root to its last and lets go of the
 * last first, so a node is always older in that order than its parent: leaves go before their
 * parents.
 *
 * Under the scheduler's lock.
 */
#ifndef AIRLOCK_PREFIX_CACHE_H
#define AIRLOCK_PREFIX_CACHE_H

#include "kv_cache.h"
#include "linear_hook.h"

enum { PREFIX_MAX_SALT = 1024, PREFIX_DIGEST_BYTES = 32 };

/* What keys and values depend on besides the tokens, and who may share them.  Everything that is
 * pointed to is copied where it is kept. */
struct prefix_root {
    bool long_rope;              /* LongRoPE's factor set */
    const void *const *adapters; /* [n_adapters] in order of application */
    const uint64_t *versions;    /* [n_adapters]: tells apart who had the same address in turn */
    size_t n_adapters;           /* at most LINEAR_MAX_ADAPTERS */
    const void *salt;            /* whose prefixes these are: only equal salts share */
    size_t n_salt;               /* at most PREFIX_MAX_SALT */
};

/* From token position on the prompt holds a picture or a sound.  digest stands for it and for all
 * media before it: only equal media, one after the other, may have equal ones, eg a SHA-256. */
struct prefix_media {
    size_t position;
    unsigned char digest[PREFIX_DIGEST_BYTES];
};

/* A sequence's tokens; media in order of position. */
struct prefix_tokens {
    const int32_t *ids;
    const struct prefix_media *media; /* [n_media] */
    size_t n_media;
};

/* How far a sequence goes along with the forest: its first n blocks are nodes.  Zero-initialise;
 * zero it again when the sequence's table is released. */
struct prefix_place {
    size_t n;
    uint64_t serial; /* of the last of them */
};

struct prefix_cache;

/* Becomes kv's keeper; kv outlives it.  NULL: out of memory. */
struct prefix_cache *prefix_cache_new(struct kv_cache *kv);
/* No table holds a block any more.  NULL allowed. */
void prefix_cache_free(struct prefix_cache *c);

bool prefix_root_equal(const struct prefix_root *a, const struct prefix_root *b);
/* Whether block number block of both has the same tokens and media. */
bool prefix_block_equal(const struct prefix_tokens *a, const struct prefix_tokens *b, size_t block);

/*
 * Goes on from place through the blocks that are known, up to max_blocks in all, and makes them the
 * sequence's own: table's blocks from place->n on are replaced or appended.  tokens:
 * OPS_KV_BLOCK * max_blocks of them at least.  place moves on; how many blocks were found.
 */
size_t prefix_cache_find(struct prefix_cache *c, const struct prefix_root *root,
                         const struct prefix_tokens *tokens, size_t max_blocks,
                         struct prefix_place *place, struct kv_table *table);

/*
 * The first n_blocks of the sequence are completely computed: what the forest has not yet becomes
 * part of it.  Where another sequence has been faster, its block, of equal content, replaces the
 * table's.  Not while a step that uses the table runs.  Out of memory: less is shared.
 */
void prefix_cache_add(struct prefix_cache *c, const struct prefix_root *root,
                      const struct prefix_tokens *tokens, size_t n_blocks,
                      struct prefix_place *place, struct kv_table *table);

/* Drops every block that was computed with this adapter, in any version; those that a sequence
 * still holds become its own. */
void prefix_cache_forget(struct prefix_cache *c, const void *adapter);

struct prefix_counts {
    size_t blocks, roots; /* in the forest, held and kept */
    uint64_t evictions;   /* blocks given up since the start */
};
void prefix_cache_counts(const struct prefix_cache *c, struct prefix_counts *out);

#endif
