/* test_tune.c - the fastest way to multiply that works is found once per class of rows, and kept.
 */
#include "cuda_emu/emu_counts.h"
#include "ops/ops.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The emulation's cuBLASLt knows three ways, which pretend to take 5, 2 and 1 ms; the third fails.
 */
enum { OUT = 48, IN = 32, MATRICES = 3, MOST = 64, FIRST = 0, FASTEST = 1 };

static const struct ops *ops;
static struct ops_device *dev;
static struct ops_matrix m[MATRICES];
static const struct ops_matrix *all[MATRICES];
static uint16_t weights[OUT * IN], x[MOST * IN];
static void *device_x, *device_y;

static void setup(void)
{
    const char *why = "";
    setenv("AIRLOCK_EMU_ALGORITHMS", "3", 1);
    ops = ops_cuda(&why);
    dev = ops->open(&(struct ops_open){ 0 }, &why);
    ck_assert_msg(dev != NULL, "%s", why);
    for (size_t i = 0; i < OUT * IN; i++)
        weights[i] = (uint16_t)(0x3e00 + i * 7 % 256);
    for (size_t i = 0; i < MOST * IN; i++)
        x[i] = (uint16_t)(0x3d00 + i * 5 % 512);
    for (size_t i = 0; i < MATRICES; i++) {
        ck_assert_int_eq(ops->matrix_load(dev, &m[i], weights, OPS_BF16, OUT, IN), OPS_OK);
        all[i] = &m[i];
    }
    device_x = ops->alloc(dev, sizeof x);
    device_y = ops->alloc(dev, MOST * OUT * sizeof(float));
    ck_assert_int_eq(ops->upload(dev, device_x, x, sizeof x), OPS_OK);
}

static void teardown(void)
{
    for (size_t i = 0; i < MATRICES; i++)
        ops->matrix_free(dev, &m[i]);
    ops->free(dev, device_x);
    ops->free(dev, device_y);
    ops->close(dev);
    unsetenv("AIRLOCK_EMU_ALGORITHMS");
}

/* The way that a product of this many rows takes; its result to y. */
static unsigned way(size_t rows, bool logits, void *y)
{
    const struct emu_counts before = emu_counts_now();
    ck_assert_int_eq(logits ? ops->logits(dev, device_y, device_x, &m[0], rows)
                            : ops->matmul(dev, device_y, device_x, &m[0], rows),
                     OPS_OK);
    ck_assert_int_eq(ops->download(dev, y, device_y, rows * OUT * (logits ? 4 : 2)), OPS_OK);
    const struct emu_counts after = emu_counts_now();
    for (unsigned i = 0; i < 4; i++)
        if (after.products[i] > before.products[i])
            return i;
    return 99;
}

START_TEST(the_fastest_that_works_is_kept_for_each_class)
{
    static float before[MOST * OUT], after[MOST * OUT];
    ck_assert_uint_eq(way(40, false, before), FIRST);
    ck_assert_int_eq(ops->tune(dev, all, MATRICES, 50, false), OPS_OK);
    ck_assert_uint_eq(way(40, false, after), FASTEST);
    ck_assert_mem_eq(before, after, 40 * OUT * 2);
    ck_assert_uint_eq(way(9, false, after), FASTEST);
    ck_assert_mem_eq(before, after, 9 * OUT * 2);
    ck_assert_uint_eq(way(33, false, after), FASTEST);
    ck_assert_uint_eq(way(20, true, after), FIRST); /* logits are another product */
    ck_assert_int_eq(ops->tune(dev, all, 1, 20, true), OPS_OK);
    ck_assert_uint_eq(way(20, true, after), FASTEST);
    ck_assert_uint_eq(way(33, true, after), FIRST); /* beyond what was timed */
    ck_assert_uint_eq(way(8, false, after), 99);    /* no product of cuBLASLt */
}
END_TEST

START_TEST(what_has_one_way_only_is_left_alone)
{
    struct ops_matrix other = m[0];
    const struct ops_matrix *two[] = { &m[0], &other };
    other.rows--;
    const struct emu_counts before = emu_counts_now();
    ck_assert_int_eq(ops->tune(dev, two, 2, 50, false), OPS_OK);
    ck_assert_int_eq(ops->tune(dev, all, MATRICES, 8, false), OPS_OK);
    ck_assert_int_eq(ops->tune(dev, all, 0, 50, false), OPS_OK);
    const struct emu_counts after = emu_counts_now();
    ck_assert_mem_eq(before.products, after.products, sizeof before.products);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tune");
    TCase *t = tcase_create("tune");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_fastest_that_works_is_kept_for_each_class);
    tcase_add_test(t, what_has_one_way_only_is_left_alone);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
