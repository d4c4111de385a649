/* test_media_cache.c - embeddings are found by their key alone, the longest unused go first, and
 * what is held stays. */
#include "phi4-multimodal/media_cache.h"

#include "suite.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static struct media_key key_of(unsigned n)
{
    struct media_key k = { { 7, 7 } }; /* all in one bucket */
    memcpy(k.digest + 20, &n, sizeof n);
    return k;
}

static void add(struct media_cache *c, unsigned n, size_t bytes)
{
    const struct media_key k = key_of(n);
    char *data = malloc(bytes + 1);
    memset(data, (int)n, bytes);
    media_cache_add(c, &k, &(struct media_entry){ .tokens = n, .bytes = bytes, .data = data });
    free(data); /* a copy was made */
}

/* Whether entry n is there and right. */
static int has(struct media_cache *c, unsigned n)
{
    const struct media_key k = key_of(n);
    const struct media_entry *e = media_cache_find(c, &k);
    if (!e)
        return 0;
    ck_assert_uint_eq(e->tokens, n);
    for (size_t i = 0; i < e->bytes; i++)
        ck_assert_int_eq(((const char *)e->data)[i], (char)n);
    media_cache_release(c, e);
    return 1;
}

static size_t bytes_of(struct media_cache *c)
{
    struct media_cache_counts counts;
    media_cache_counts(c, &counts);
    return counts.bytes;
}

START_TEST(the_longest_unused_make_room_for_new_ones)
{
    struct media_cache *c = media_cache_new(10000);
    for (unsigned n = 1; n <= 4; n++)
        add(c, n, 2000);
    ck_assert(has(c, 1) && has(c, 2) && has(c, 3) && has(c, 4));
    ck_assert(has(c, 1)); /* 2 is the oldest now */
    add(c, 5, 2000);
    ck_assert(has(c, 1) && !has(c, 2) && has(c, 3) && has(c, 4) && has(c, 5));
    add(c, 6, 9000);
    ck_assert(has(c, 6) && !has(c, 1) && !has(c, 3) && !has(c, 4) && !has(c, 5));
    ck_assert_uint_le(bytes_of(c), 10000);
    add(c, 7, 10000); /* with what it costs itself it is too big, and nothing goes for it */
    add(c, 8, 100000);
    ck_assert(has(c, 6) && !has(c, 7) && !has(c, 8));
    media_cache_free(c);
}
END_TEST

START_TEST(what_is_held_stays_though_its_place_is_given_away)
{
    struct media_cache *c = media_cache_new(5000);
    const struct media_key k = key_of(1);
    add(c, 1, 4000);
    const struct media_entry *held = media_cache_find(c, &k), *twice = media_cache_find(c, &k);
    add(c, 2, 4000);
    ck_assert(!has(c, 1) && has(c, 2));
    add(c, 1, 4000); /* another entry of the same key */
    for (size_t i = 0; i < 4000; i++)
        ck_assert_int_eq(((const char *)held->data)[i], 1);
    media_cache_release(c, held);
    ck_assert_int_eq(((const char *)twice->data)[3999], 1);
    media_cache_release(c, twice);
    media_cache_release(c, NULL);
    ck_assert(has(c, 1));
    media_cache_free(c);
}
END_TEST

START_TEST(numbers_without_embeddings_are_kept_too_and_no_budget_keeps_nothing)
{
    struct media_cache *c = media_cache_new(1000), *none = media_cache_new(0);
    const struct media_key k = key_of(3);
    const struct media_entry what = { .tokens = 3, .frames = 20 };
    media_cache_add(c, &k, &what);
    media_cache_add(none, &k, &what);
    const struct media_entry *e = media_cache_find(c, &k);
    ck_assert_ptr_nonnull(e);
    ck_assert(e->tokens == 3 && e->frames == 20 && e->bytes == 0 && e->data == NULL);
    media_cache_release(c, e);
    ck_assert_ptr_null(media_cache_find(none, &k));
    media_cache_free(c);
    media_cache_free(none);
}
END_TEST

START_TEST(a_key_that_is_there_is_not_added_again)
{
    struct media_cache *c = media_cache_new(10000);
    add(c, 1, 1000);
    const size_t bytes = bytes_of(c);
    add(c, 1, 1000);
    ck_assert_uint_eq(bytes_of(c), bytes);
    media_cache_free(c);
}
END_TEST

START_TEST(small_entries_are_bounded_in_number)
{
    struct media_cache *c = media_cache_new((size_t)1 << 30);
    struct media_cache_counts counts;
    for (unsigned n = 0; n < 5000; n++)
        add(c, n, 1);
    media_cache_counts(c, &counts);
    ck_assert_uint_eq(counts.entries, 4096);
    ck_assert_uint_eq(counts.evictions, 5000 - 4096);
    ck_assert(!has(c, 0) && has(c, 4999));
    media_cache_free(c);
}
END_TEST

static void *use(void *cache)
{
    for (unsigned i = 0; i < 20000; i++) {
        const unsigned n = i * 7 % 13;
        if (!has(cache, n))
            add(cache, n, 500);
    }
    return NULL;
}

START_TEST(several_threads_find_whole_entries_only)
{
    struct media_cache *c = media_cache_new(4000);
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&t[i], NULL, use, c), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    ck_assert_uint_le(bytes_of(c), 4000);
    media_cache_free(c);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_longest_unused_make_room_for_new_ones,
        what_is_held_stays_though_its_place_is_given_away,
        numbers_without_embeddings_are_kept_too_and_no_budget_keeps_nothing,
        a_key_that_is_there_is_not_added_again,
        small_entries_are_bounded_in_number,
        several_threads_find_whole_entries_only,
        NULL
    };
    return suite_run("media_cache", tests);
}
