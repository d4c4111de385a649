/* media_cache.c - a hash table of embeddings in the order of their last use; see media_cache.h. */
#include "media_cache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    BUCKETS = 1024,
    /* A picture of one's own choice can be made to fall into any bucket: so many entries at most
     * are looked at. */
    MAX_ENTRIES = 4096
};

struct slot {
    struct media_entry entry; /* what callers see; the first member */
    struct media_key key;
    struct slot *next;          /* in its bucket */
    struct slot *older, *newer; /* in the order of use */
    unsigned holders;
    bool dropped; /* out of the table; freed by its last holder */
    char data[];
};

struct media_cache {
    pthread_mutex_t lock;
    size_t budget;
    struct slot *buckets[BUCKETS];
    struct slot *oldest, *newest;
    struct media_cache_counts counts;
};

struct media_cache *media_cache_new(size_t budget)
{
    struct media_cache *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->budget = budget;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

static struct slot **bucket_of(struct media_cache *c, const struct media_key *key)
{
    uint32_t hash; /* SHA-256 is even enough */
    memcpy(&hash, key->digest, sizeof hash);
    return &c->buckets[hash % BUCKETS];
}

static struct slot *find(struct media_cache *c, const struct media_key *key)
{
    struct slot *s = *bucket_of(c, key);
    while (s && memcmp(&s->key, key, sizeof *key) != 0)
        s = s->next;
    return s;
}

static void order_take(struct media_cache *c, struct slot *s)
{
    *(s->older ? &s->older->newer : &c->oldest) = s->newer;
    *(s->newer ? &s->newer->older : &c->newest) = s->older;
}

static void order_add(struct media_cache *c, struct slot *s)
{
    s->older = c->newest;
    s->newer = NULL;
    *(c->newest ? &c->newest->newer : &c->oldest) = s;
    c->newest = s;
}

static size_t size_of(const struct slot *s)
{
    return sizeof *s + s->entry.bytes;
}

static void drop(struct media_cache *c, struct slot *s)
{
    struct slot **link = bucket_of(c, &s->key);
    while (*link != s)
        link = &(*link)->next;
    *link = s->next;
    order_take(c, s);
    c->counts.entries--;
    c->counts.bytes -= size_of(s);
    s->dropped = true;
    if (s->holders == 0)
        free(s);
}

void media_cache_free(struct media_cache *c)
{
    if (!c)
        return;
    while (c->oldest)
        drop(c, c->oldest);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

const struct media_entry *media_cache_find(struct media_cache *c, const struct media_key *key)
{
    pthread_mutex_lock(&c->lock);
    struct slot *s = find(c, key);
    if (s) {
        s->holders++;
        order_take(c, s);
        order_add(c, s);
        c->counts.hits++;
    } else {
        c->counts.misses++;
    }
    pthread_mutex_unlock(&c->lock);
    return s ? &s->entry : NULL;
}

/* Makes room for one more of bytes; false: it does not fit at all. */
static bool make_room(struct media_cache *c, size_t bytes)
{
    if (bytes > c->budget)
        return false;
    while (c->counts.entries >= MAX_ENTRIES || c->counts.bytes > c->budget - bytes) {
        drop(c, c->oldest);
        c->counts.evictions++;
    }
    return true;
}

void media_cache_add(struct media_cache *c, const struct media_key *key,
                     const struct media_entry *what)
{
    const size_t bytes = what->data ? what->bytes : 0;
    if (bytes > c->budget)
        return;
    struct slot *s = malloc(sizeof *s + bytes);
    if (!s)
        return;
    *s = (struct slot){ .entry = *what, .key = *key };
    s->entry.bytes = bytes;
    if (bytes > 0)
        memcpy(s->data, what->data, bytes);
    s->entry.data = what->data ? s->data : NULL;

    pthread_mutex_lock(&c->lock);
    const bool kept = !find(c, key) && make_room(c, size_of(s));
    if (kept) {
        struct slot **bucket = bucket_of(c, key);
        s->next = *bucket;
        *bucket = s;
        order_add(c, s);
        c->counts.entries++;
        c->counts.bytes += size_of(s);
    }
    pthread_mutex_unlock(&c->lock);
    if (!kept)
        free(s);
}

void media_cache_release(struct media_cache *c, const struct media_entry *entry)
{
    if (!entry)
        return;
    struct slot *s = (struct slot *)(uintptr_t)entry; /* its first member */
    pthread_mutex_lock(&c->lock);
    const bool last = --s->holders == 0 && s->dropped;
    pthread_mutex_unlock(&c->lock);
    if (last)
        free(s);
}

void media_cache_counts(struct media_cache *c, struct media_cache_counts *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->counts;
    pthread_mutex_unlock(&c->lock);
}
