/*
 * tokenizer_split.h - cuts text into pre-tokens: the o200k rule by hand, any other pattern with
 * PCRE2.
 *
 * A splitter is immutable and may be used by any number of threads; a run over one text belongs to
 * one thread.  All text here is valid UTF-8.
 */
#ifndef AIRLOCK_TOKENIZER_SPLIT_H
#define AIRLOCK_TOKENIZER_SPLIT_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct tokenizer_splitter;

/* What becomes of the text between two matches. */
enum split_gaps { SPLIT_GAPS_DROPPED, SPLIT_GAPS_KEPT };

/* The patterns that tokenizer.json files spell out (o200k) or imply (GPT-2: ByteLevel, use_regex).
 */
extern const char tokenizer_o200k_pattern[], tokenizer_gpt2_pattern[];

/*
 * pattern: [size] in the syntax of Oniguruma as Hugging Face uses it; constructs that PCRE2 would
 * read differently are refused.  pattern NULL: no cutting, the text is one piece.  always_pcre2:
 * do not use the hand-written splitter (for tests).  NULL with err on failure.
 */
struct tokenizer_splitter *tokenizer_splitter_new(const char *pattern, size_t size,
                                                  enum split_gaps gaps, bool always_pcre2,
                                                  struct airlock_error *err);
void tokenizer_splitter_free(struct tokenizer_splitter *s); /* NULL allowed */

/* One run over one text. */
struct split_run {
    const struct tokenizer_splitter *splitter;
    const char *text; /* [size]; must outlive the run */
    size_t size, at;
    struct split_match *match;     /* PCRE2's memory; NULL for the hand-written splitter */
    size_t match_start, match_end; /* a match found behind a gap that was given first */
};

/* 0, or -1 with err: out of memory.  End every run that began. */
int split_run_begin(struct split_run *run, const struct tokenizer_splitter *s, const char *text,
                    size_t size, struct airlock_error *err);
/* The next piece, never empty.  1: *piece and *piece_size are set; 0: no more; -1: err is set (the
 * pattern needs too many steps on this text). */
int split_run_next(struct split_run *run, const char **piece, size_t *piece_size,
                   struct airlock_error *err);
void split_run_end(struct split_run *run);

/* The size of the pre-token at the start of text by the o200k rule; size must not be 0. */
size_t o200k_next(const char *text, size_t size);

#endif
