/* test_kv_cache.c - blocks of keys and values: who holds them, what happens when none is left. */
#include "engine/kv_cache.h"

#include <check.h>
#include <stdbool.h>

static const struct ops_heads heads = { 4, 2, 8, 6 };
static struct ops_device *dev;
static struct kv_cache cache;

static void open_cache(void)
{
    const char *why;
    struct airlock_error err = { 0 };
    dev = ops_cpu()->open(&(struct ops_open){ .threads = 1 }, &why);
    ck_assert_ptr_nonnull(dev);
    ck_assert_int_eq(kv_cache_init(&cache, ops_cpu(), dev, 2, &heads, OPS_BF16, 6, &err), 0);
}

static void close_cache(void)
{
    kv_cache_free(&cache);
    ops_cpu()->close(dev);
}

START_TEST(a_block_holds_sixteen_tokens_of_every_layer)
{
    ck_assert_uint_eq(kv_cache_block_bytes(2, &heads, OPS_BF16), 2 * 2 * 16 * 2 * 8 * 2);
    ck_assert_uint_eq(kv_cache_blocks_for(0), 0);
    ck_assert_uint_eq(kv_cache_blocks_for(16), 1);
    ck_assert_uint_eq(kv_cache_blocks_for(17), 2);
}
END_TEST

START_TEST(tokens_lie_in_their_sequences_own_blocks)
{
    struct kv_table a = { 0 }, b = { 0 };
    ck_assert_int_eq(kv_table_grow(&cache, &a, 17), KV_OK);
    ck_assert_int_eq(kv_table_grow(&cache, &b, 16), KV_OK);
    ck_assert_int_eq(kv_table_grow(&cache, &a, 33), KV_OK);
    ck_assert_uint_eq(a.n, 3);
    ck_assert_uint_eq(b.n, 1);
    ck_assert_uint_eq(cache.n_free, 2);
    bool used[6 * 16] = { false };
    for (size_t p = 0; p < 33; p++) {
        int32_t slot = kv_table_slot(&a, p);
        ck_assert_int_eq(slot % 16, (int)(p % 16));
        ck_assert(!used[slot]);
        used[slot] = true;
    }
    for (size_t p = 0; p < 16; p++)
        ck_assert(!used[kv_table_slot(&b, p)]);
    kv_table_release(&cache, &a);
    kv_table_release(&cache, &b);
    ck_assert_uint_eq(cache.n_free, 6);
}
END_TEST

START_TEST(when_blocks_run_out_the_table_stays_as_it_was)
{
    struct kv_table a = { 0 }, b = { 0 };
    ck_assert_int_eq(kv_table_grow(&cache, &a, 5 * 16), KV_OK);
    ck_assert_int_eq(kv_table_grow(&cache, &b, 17), KV_FULL);
    ck_assert_uint_eq(b.n, 0);
    ck_assert_int_eq(kv_table_grow(&cache, &b, 16), KV_OK);
    ck_assert_int_eq(kv_table_grow(&cache, &a, 5 * 16 + 1), KV_FULL);
    ck_assert_uint_eq(a.n, 5);
    kv_table_release(&cache, &b);
    ck_assert_int_eq(kv_table_grow(&cache, &a, 5 * 16 + 1), KV_OK);
    kv_table_release(&cache, &a);
    ck_assert_uint_eq(cache.n_free, 6);
}
END_TEST

START_TEST(a_shared_block_is_free_when_its_last_holder_lets_go)
{
    struct kv_table a = { 0 }, b = { 0 };
    ck_assert_int_eq(kv_table_grow(&cache, &a, 48), KV_OK);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(kv_table_share(&cache, &b, i, a.blocks[i]), KV_OK);
    ck_assert_int_eq(kv_table_grow(&cache, &b, 48), KV_OK);
    ck_assert_int_eq(b.blocks[1], a.blocks[1]);
    ck_assert_int_ne(b.blocks[2], a.blocks[2]);
    ck_assert_uint_eq(cache.n_free, 2);
    kv_table_release(&cache, &a);
    ck_assert_uint_eq(cache.n_free, 3);
    kv_table_release(&cache, &b);
    ck_assert_uint_eq(cache.n_free, 6);
}
END_TEST

START_TEST(freed_blocks_are_used_again_before_untouched_ones)
{
    struct kv_table a = { 0 };
    ck_assert_int_eq(kv_table_grow(&cache, &a, 32), KV_OK);
    int32_t first = a.blocks[0], second = a.blocks[1];
    kv_table_release(&cache, &a);
    ck_assert_int_eq(kv_table_grow(&cache, &a, 32), KV_OK);
    ck_assert_int_eq(a.blocks[0], first);
    ck_assert_int_eq(a.blocks[1], second);
    kv_table_release(&cache, &a);
}
END_TEST

START_TEST(a_cache_of_no_blocks_or_beyond_the_ceiling_is_refused)
{
    struct kv_cache none;
    struct airlock_error err = { 0 };
    ck_assert_int_eq(kv_cache_init(&none, ops_cpu(), dev, 2, &heads, OPS_BF16, 0, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
    ck_assert_int_eq(
        kv_cache_init(&none, ops_cpu(), dev, 2, &heads, OPS_BF16, (size_t)1 << 40, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("kv_cache");
    TCase *t = tcase_create("blocks");
    tcase_add_checked_fixture(t, open_cache, close_cache);
    tcase_add_test(t, a_block_holds_sixteen_tokens_of_every_layer);
    tcase_add_test(t, tokens_lie_in_their_sequences_own_blocks);
    tcase_add_test(t, when_blocks_run_out_the_table_stays_as_it_was);
    tcase_add_test(t, a_shared_block_is_free_when_its_last_holder_lets_go);
    tcase_add_test(t, freed_blocks_are_used_again_before_untouched_ones);
    tcase_add_test(t, a_cache_of_no_blocks_or_beyond_the_ceiling_is_refused);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
