/*
 * tokenizer_vocab.h - the two large members of tokenizer.json, model.vocab and model.merges.
 *
 * They are 99 % of the file, and a tree of JSON objects for them costs more time than all the rest
 * of opening a model; so they are read straight from the text.  All text here is valid UTF-8.
 */
#ifndef AIRLOCK_TOKENIZER_VOCAB_H
#define AIRLOCK_TOKENIZER_VOCAB_H

#include "tokenizer_bpe.h"

struct json_span {
    const char *start, *end; /* start NULL: not found */
};

struct tokenizer_vocab {
    struct json_span vocab, merges; /* the two values in the text */
};

/* Finds both values; the rest of the document is only looked at as far as finding them needs.  0,
 * or -1 with err: missing, given twice, or no JSON. */
int tokenizer_vocab_locate(const char *text, size_t size, struct tokenizer_vocab *out,
                           struct airlock_error *err);

/* Reads both into bpe.  0, or -1 with err naming the token or merge. */
int tokenizer_vocab_read(const struct tokenizer_vocab *v, struct bpe *bpe,
                         struct airlock_error *err);

/* A token as the file spells it. */
struct token_spelling {
    char bytes[BPE_MAX_TOKEN_BYTES + 1]; /* what it stands for, or its own text if not plain */
    size_t size;
    bool plain; /* every character is one of GPT-2's byte alphabet */
};

/* text: [size] without JSON escapes.  0, or -1 with err: too long. */
int tokenizer_spell(const char *text, size_t size, struct token_spelling *out,
                    struct airlock_error *err);

#endif
