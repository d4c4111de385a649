/*
 * token_trie.h - the tokens of a vocabulary as a tree of bytes, in the order of a walk.
 *
 * Nodes lie in preorder, so that a walk is one pass over arrays and a branch that leads nowhere is
 * skipped by one jump.  Added tokens (<|end|> and the like) are not in it.  Immutable.
 */
#ifndef AIRLOCK_TOKEN_TRIE_H
#define AIRLOCK_TOKEN_TRIE_H

#include "tokenizer.h"

struct token_trie_node {
    uint32_t skip;  /* the next node that is not below this one */
    int32_t token;  /* that ends here, or -1 */
    uint16_t depth; /* bytes before this one */
    uint8_t byte;
};

struct token_trie {
    struct token_trie_node *nodes; /* [n] */
    size_t n;
    int32_t *twins;   /* [vocab]: another token with the same bytes, or -1 */
    size_t vocab;     /* one more than the largest id */
    size_t max_bytes; /* of a token */
};

/* keep: [vocab] which tokens; NULL: all.  NULL: out of memory. */
struct token_trie *token_trie_new(const struct tokenizer *t, const bool *keep,
                                  struct airlock_error *err);
void token_trie_free(struct token_trie *trie); /* NULL allowed */

#endif
