/*
 * token_mask.h - which tokens may come next in a document of one schema: an automaton over bytes
 * walked along the tree of a vocabulary.
 *
 * The automaton is made deterministic as far as walks need it, and masks are remembered by
 * configuration, for all requests with the schema.  Both memories are bounded.  Thread-safe.
 */
#ifndef AIRLOCK_TOKEN_MASK_H
#define AIRLOCK_TOKEN_MASK_H

#include "json_automaton.h"
#include "token_strings.h"

enum {
    TOKEN_MASK_CONFIGS =
        8192,             /* remembered at once: 2 MiB of steps; a walk can do with any number */
    TOKEN_MASK_CACHE = 64 /* masks remembered: 25 KB each for 200 000 tokens */
};

struct token_masks;

/* Takes tables over, also when it fails; strings must outlive it.  NULL: err. */
struct token_masks *token_masks_new(struct json_tables *tables, const struct token_strings *strings,
                                    struct airlock_error *err);
void token_masks_free(struct token_masks *m); /* NULL allowed */

const struct json_tables *token_masks_tables(const struct token_masks *m);
/* Words of a mask: bit id % 32 of word id / 32. */
size_t token_mask_words(const struct token_strings *strings);
/* Writes the mask of the tokens whose bytes the automaton can read from c on; added tokens are
 * never among them.  0, or -1 with err: out of memory. */
int token_masks_fill(struct token_masks *m, const struct json_config *c, uint32_t *mask,
                     struct airlock_error *err);

struct token_mask_counts {
    uint64_t fills, hits, flushes;
    size_t configs;
};
void token_masks_counts(struct token_masks *m, struct token_mask_counts *out);

#endif
