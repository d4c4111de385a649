/*
 * media_cache.h - embeddings of pictures and sounds that were computed before, found by what they
 * were made of.
 *
 * A key is a SHA-256 (media_prompt.h) over who may share, the file's bytes and everything else that
 * its embeddings depend on; keys are compared in full.  The least recently used go when the budget
 * is spent.  Any thread, several at once.
 */
#ifndef AIRLOCK_MEDIA_CACHE_H
#define AIRLOCK_MEDIA_CACHE_H

#include <stddef.h>

enum { MEDIA_KEY_BYTES = 32 };

struct media_key {
    unsigned char digest[MEDIA_KEY_BYTES];
};

/* Read only, and valid until media_cache_release(). */
struct media_entry {
    size_t tokens;    /* of the prompt */
    size_t frames;    /* of a sound; 0: it is a picture */
    size_t bytes;     /* of data */
    const void *data; /* embeddings [tokens, text_hidden] act; NULL: only the numbers are known */
};

struct media_cache;

/* budget: bytes of all entries; 0: nothing is kept.  NULL: out of memory. */
struct media_cache *media_cache_new(size_t budget);
void media_cache_free(struct media_cache *c); /* all entries are released; NULL allowed */

/* The entry, held for the caller; NULL: there is none. */
const struct media_entry *media_cache_find(struct media_cache *c, const struct media_key *key);
/* Adds a copy of what, or replaces nothing when the key is there.  What does not fit in the budget,
 * or in memory, is not kept. */
void media_cache_add(struct media_cache *c, const struct media_key *key,
                     const struct media_entry *what);
void media_cache_release(struct media_cache *c, const struct media_entry *entry); /* NULL allowed */

struct media_cache_counts {
    size_t entries, bytes;
    unsigned long long hits, misses, evictions; /* since the start */
};
void media_cache_counts(struct media_cache *c, struct media_cache_counts *out);

#endif
