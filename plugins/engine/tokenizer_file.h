/*
 * tokenizer_file.h - reads tokenizer.json strictly: what would be encoded differently is refused.
 */
#ifndef AIRLOCK_TOKENIZER_FILE_H
#define AIRLOCK_TOKENIZER_FILE_H

#include "tokenizer_added.h"
#include "tokenizer_bpe.h"
#include "tokenizer_split.h"

/* Everything that tokenizer.json says; owned by who asked for it. */
struct tokenizer_parts {
    struct bpe *bpe;
    struct added_tokens *added;
    struct tokenizer_splitter *splitter;
    bool add_prefix_space; /* a space is put in front of text that does not start with one */
};

/*
 * text: [size] the whole file.  0, or -1 with err naming the place (member, token or merge) and
 * out empty.
 */
int tokenizer_file_parse(const char *text, size_t size, struct tokenizer_parts *out,
                         struct airlock_error *err);
void tokenizer_parts_free(struct tokenizer_parts *parts);

#endif
