/*
 * token_strings.h - what the tokens of a vocabulary are inside a JSON string: part of it, its end,
 * or wrong.
 *
 * Most tokens that may come in a string stay inside it, and which do depends on nothing around it.
 * They are found once, so that a mask in a string needs a walk only over the tokens with a closing
 * quote.  Immutable.
 */
#ifndef AIRLOCK_TOKEN_STRINGS_H
#define AIRLOCK_TOKEN_STRINGS_H

#include "json_automaton.h"
#include "token_trie.h"

enum { TOKEN_NOT_INSIDE = 255 };

struct token_strings {
    struct token_trie *all;
    struct token_trie *closing; /* of the tokens that end the string, and may go on behind it */
    uint8_t *chars; /* [vocab] characters that begin in the token; or TOKEN_NOT_INSIDE */
};

/* NULL: out of memory. */
struct token_strings *token_strings_new(const struct tokenizer *t, struct airlock_error *err);
void token_strings_free(struct token_strings *s); /* NULL allowed */

/* Adds to the mask the tokens inside a string that may have `most` more characters. */
void token_strings_add(const struct token_strings *s, uint32_t most, uint32_t *mask);

#endif
