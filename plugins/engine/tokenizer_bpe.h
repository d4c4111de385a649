/*
 * tokenizer_bpe.h - a byte-pair vocabulary: bytes of a token, merges by rank, and a piece of text
 * to ids.
 *
 * Build it with bpe_add_token() and bpe_add_merge(), close it with bpe_finish(); after that it is
 * immutable but for one remembered bit for each token, and any number of threads may encode.
 */
#ifndef AIRLOCK_TOKENIZER_BPE_H
#define AIRLOCK_TOKENIZER_BPE_H

#include "tokenizer.h"

enum {
    BPE_MAX_TOKENS = 1 << 19,   /* ids are below this; the largest published vocabulary has 2^18 */
    BPE_MAX_MERGES = 1 << 20,   /* ranks are below this; published ones have up to 514 906 */
    BPE_MAX_TOKEN_BYTES = 1024, /* the longest of o200k has 128 */
    BPE_MAX_TEXT_BYTES = 64 << 20, /* of the vocabulary altogether; o200k has 1.3 MB */
    BPE_MAX_PIECE_BYTES = 16 << 20 /* of one pre-token; each takes 36 bytes while it is merged */
};

struct bpe_token {
    const char *bytes; /* [size] NUL-terminated; NULL: no token has this id */
    uint32_t size;
    bool plain; /* made of bytes; otherwise of text */
};

struct bpe;

struct bpe *bpe_new(struct airlock_error *err);
void bpe_free(struct bpe *b); /* NULL allowed */

/*
 * bytes: [size], copied.  plain: merges may make it and ignore_merges may choose it.  0, or -1: the
 * id is taken or too large, the bytes are a plain token's already, too long, or out of memory.
 */
int bpe_add_token(struct bpe *b, int32_t id, const char *bytes, size_t size, bool plain,
                  struct airlock_error *err);
/*
 * Adds the merge of the next rank, left and right being the bytes of plain tokens.  As in Hugging
 * Face tokenizers the last of several equal merges counts.  -1 with err: a part or the whole is no
 * plain token.
 */
int bpe_add_merge(struct bpe *b, const char *left, size_t left_size, const char *right,
                  size_t right_size, struct airlock_error *err);
/* Checks that each byte has a token.  ignore_merges: a piece that is a token is that token. */
int bpe_finish(struct bpe *b, bool ignore_merges, struct airlock_error *err);

/* The token of an id; its bytes are NULL where there is none.  id may be any number. */
struct bpe_token bpe_token(const struct bpe *b, int32_t id);
int32_t bpe_size(const struct bpe *b); /* one more than the largest id */
/* The token with these bytes, or -1. */
int32_t bpe_find(const struct bpe *b, const char *bytes, size_t size, bool plain);
/* Keeps a token (id of a present one) from ever being what text becomes.  After bpe_finish(); -1: a
 * merge makes it, or it is a byte's token. */
int bpe_reserve_token(struct bpe *b, int32_t id);

/*
 * Appends the ids of one piece: starting from its bytes, the neighbours whose merge has the lowest
 * rank are joined, the leftmost first, until none can be.  O(n log n).  0, or -1: out of memory.
 */
int bpe_encode(const struct bpe *b, const char *piece, size_t size, struct token_list *out,
               struct airlock_error *err);

#endif
