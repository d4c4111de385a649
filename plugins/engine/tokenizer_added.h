/*
 * tokenizer_added.h - the added tokens (<|end|> and the like) and finding them in text.
 */
#ifndef AIRLOCK_TOKENIZER_ADDED_H
#define AIRLOCK_TOKENIZER_ADDED_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    ADDED_MAX_TOKENS = 8192, /* published vocabularies have up to some 2 000 */
    ADDED_MAX_BYTES = 256    /* of one; bounds the work at each place of a text */
};

struct added_token {
    const char *text; /* [size] NUL-terminated UTF-8, not empty */
    size_t size;
    int32_t id;
    bool special;     /* left out of answers */
    bool lstrip;      /* swallows the white space before it */
    bool rstrip;      /* and behind it */
    bool single_word; /* only where no word character touches it */
    bool normalized;  /* looked for only where the others were not found */
};

struct added_tokens;

/* tokens: [n], copied with their texts.  NULL with err: the same text twice, or out of memory. */
struct added_tokens *added_tokens_new(const struct added_token *tokens, size_t n,
                                      struct airlock_error *err);
void added_tokens_free(struct added_tokens *a); /* NULL allowed */

/* By text or id; NULL: none. */
const struct added_token *added_tokens_find(const struct added_tokens *a, const char *text,
                                            size_t size);
const struct added_token *added_tokens_of_id(const struct added_tokens *a, int32_t id);

/* Called for each stretch of a text: ordinary text (token NULL), or an added token. 0: go on. */
typedef int added_visit(void *ctx, const struct added_token *token, const char *text, size_t size,
                        struct airlock_error *err);

/* Cuts valid UTF-8 text as Hugging Face tokenizers does: leftmost, then longest; first the tokens
 * that are not normalized, then the others in what is left.  The visitor's result if not 0. */
int added_tokens_cut(const struct added_tokens *a, const char *text, size_t size,
                     added_visit *visit, void *ctx, struct airlock_error *err);

/* How many bytes of White_Space text starts with. */
size_t white_space_at_start(const char *text, size_t size);

#endif
