/*
 * tokenizer.h - tokenizer.json: byte-level BPE, added tokens, and the bytes of a token.
 *
 * Text is split by the model's pre-tokenizer pattern (PCRE2 with JIT; a hand-written splitter where
 * the pattern is o200k's) and merged by rank in O(n log n) at worst.  A tokenizer is immutable
 * after opening and may be used by any number of threads.
 */
#ifndef AIRLOCK_TOKENIZER_H
#define AIRLOCK_TOKENIZER_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* A growable list of token ids; zero-initialise, free ids with free(). */
struct token_list {
    int32_t *ids;
    size_t n, capacity;
};
/* 0, or -1: out of memory. */
int token_list_add(struct token_list *list, int32_t id);

/* Reads DIR/tokenizer.json.  NULL: err names what is wrong in it. */
struct tokenizer *tokenizer_open(const char *dir, struct airlock_error *err);
/* The same from the file's text: [size], not kept. */
struct tokenizer *tokenizer_parse(const char *text, size_t size, struct airlock_error *err);
void tokenizer_close(struct tokenizer *t); /* NULL allowed */

enum tokenizer_mode {
    TOKENIZER_TEXT,   /* added tokens in the text are plain text: what users say */
    TOKENIZER_SPECIAL /* they become their ids, as in Hugging Face's encode() */
};

/*
 * Appends the ids of text: [size] bytes.  What is not valid UTF-8 in it is taken as U+FFFD, exactly
 * as if Python had decoded it with errors="replace".  after_rstrip: text follows an added token
 * that swallows white space (its rstrip flag), so leading white space is dropped.  0, or -1 with
 * err and out as it was: text beyond 256 MiB, one word beyond 16 MiB, a pattern that needs too many
 * steps, out of memory.
 */
int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                     enum tokenizer_mode mode, bool after_rstrip, struct token_list *out,
                     struct airlock_error *err);

/* The id of an added token by its text, e.g. "<|end|>"; -1: none.  *rstrip (may be NULL): its flag.
 */
int32_t tokenizer_added(const struct tokenizer *t, const char *text, bool *rstrip);

/* The bytes that a token stands for; special tokens give their text.  NULL: no such id. */
const char *tokenizer_bytes(const struct tokenizer *t, int32_t id, size_t *size);
/* True for added tokens marked special: left out of answers. */
bool tokenizer_is_special(const struct tokenizer *t, int32_t id);
/* True for all added tokens, special or not: bytes never become them. */
bool tokenizer_is_added(const struct tokenizer *t, int32_t id);
/* One more than the largest id: larger rows of the embedding are padding and never sampled. */
int32_t tokenizer_size(const struct tokenizer *t);

#endif
