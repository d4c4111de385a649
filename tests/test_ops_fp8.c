/* test_ops_fp8.c - products of fp8 weights with activations in fp8: of exactly the rounded
 * numbers, the same by every way that a GPU offers, and left out where it offers none. */
#include "ops/cpu/convert.h"
#include "ops/ops.h"
#include "ops/quant.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef COUNTED_BY_EMULATION
enum { SUM_BITS = 18 }; /* what the emulation's float32 sums have */
#else
enum { SUM_BITS = 10 }; /* what ops.h takes the tensor cores' to have */
#endif
enum { MOST_ROWS = 64, MOST_N = 160, MOST_K = 520, N_SHAPES = 4, RECORDED = 12 };

static const struct {
    size_t n, k;
} shapes[N_SHAPES] = { { 48, 32 }, { 64, 72 }, { 160, 520 }, { 40, 64 /* 40 is no 16s */ } };

static const struct ops *ops;
static struct ops_device *dev;
static struct ops_matrix m;
static float x[MOST_ROWS * MOST_K], weights[MOST_N * MOST_K];
static void *device_x, *device_y;

static float next_random(void)
{
    static uint32_t state = 7;
    state = state * 1664525u + 1013904223u;
    return (float)(int32_t)state * 0x1p-31f;
}

static void upload_x(void)
{
    static uint16_t half[MOST_ROWS * MOST_K];
    for (size_t i = 0; i < MOST_ROWS * MOST_K; i++) {
        half[i] = float_to_bf16(x[i]);
        x[i] = bf16_to_float(half[i]);
    }
    ck_assert_int_eq(ops->upload(dev, device_x, half, sizeof half), OPS_OK);
    ck_assert_int_eq(ops->sync(dev), OPS_OK);
}

/* A device as this compute capability has it (the emulation's), with shape s's weights and x. */
static void open_on(const char *sm, bool activations, size_t s)
{
    static uint16_t half[MOST_N * MOST_K];
    const char *why = "";
    setenv("AIRLOCK_EMU_SM", sm, 1);
    ops = ops_cuda(&why);
    dev = ops->open(&(struct ops_open){ .fp8_activations = activations }, &why);
    ck_assert_msg(dev != NULL, "%s", why);
    device_x = ops->alloc(dev, MOST_ROWS * MOST_K * 2);
    device_y = ops->alloc(dev, MOST_ROWS * MOST_N * sizeof(float));
    for (size_t i = 0; i < shapes[s].n * shapes[s].k; i++)
        half[i] = float_to_bf16(weights[i]);
    ck_assert_int_eq(
        ops->matrix_quantize(dev, &m, half, OPS_BF16, shapes[s].n, shapes[s].k, OPS_FP8), OPS_OK);
    ck_assert_int_eq(ops->sync(dev), OPS_OK);
    upload_x();
}

static void shut(void)
{
    ops->matrix_free(dev, &m);
    ops->free(dev, device_x);
    ops->free(dev, device_y);
    ops->close(dev);
    unsetenv("AIRLOCK_EMU_SM");
}

static void fill(void)
{
    for (size_t i = 0; i < MOST_ROWS * MOST_K; i++)
        x[i] = ldexpf(next_random(), (int)(i / 100 % 7) * 2 - 6);
    for (size_t i = 0; i < MOST_N * MOST_K; i++)
        weights[i] = ldexpf(next_random(), (int)(i / 300 % 5) - 3);
}

/* Numbers of y as float32. */
static void multiply(size_t rows, bool logits, float *y)
{
    static uint16_t half[MOST_ROWS * MOST_N];
    const size_t n = rows * m.rows;
    if (logits) {
        ck_assert_int_eq(ops->logits(dev, device_y, device_x, &m, rows), OPS_OK);
        ck_assert_int_eq(ops->download(dev, y, device_y, n * sizeof *y), OPS_OK);
        return;
    }
    ck_assert_int_eq(ops->matmul(dev, device_y, device_x, &m, rows), OPS_OK);
    ck_assert_int_eq(ops->download(dev, half, device_y, n * 2), OPS_OK);
    for (size_t i = 0; i < n; i++)
        y[i] = bf16_to_float(half[i]);
}

/* ---- what is to come out, by arithmetic of the test's own ---- */

/* The nearest of E4M3's numbers; of two the one whose last bit is 0. */
static double nearest_e4m3(double v)
{
    int e;
    frexp(v, &e);
    const double step = ldexp(1, e < -5 ? -9 : e - 4);
    return copysign(fmin(fabs(nearbyint(v / step) * step), 448), v);
}

static void round_row(double *to, const float *from, size_t k)
{
    double most = 0, scale = 1;
    for (size_t i = 0; i < k; i++)
        most = fmax(most, fabs((double)from[i]));
    while (most > 448 * scale)
        scale *= 2;
    while (most > 0 && most <= 224 * scale)
        scale /= 2;
    for (size_t i = 0; i < k; i++)
        to[i] = nearest_e4m3((double)from[i] / scale) * scale;
}

static void check_product(const float *y, size_t rows, size_t s, bool logits)
{
    static double a[MOST_ROWS][MOST_K], b[MOST_N][MOST_K];
    const size_t n = shapes[s].n, k = shapes[s].k;
    for (size_t r = 0; r < rows; r++)
        round_row(a[r], x + r * k, k);
    for (size_t o = 0; o < n; o++) {
        float half[MOST_K];
        for (size_t i = 0; i < k; i++)
            half[i] = bf16_to_float(float_to_bf16(weights[o * k + i]));
        round_row(b[o], half, k);
    }
    for (size_t i = 0; i < rows * n; i++) {
        double want = 0, magnitude = 0;
        for (size_t c = 0; c < k; c++) {
            want += a[i / n][c] * b[i % n][c];
            magnitude += fabs(a[i / n][c] * b[i % n][c]);
        }
        const double allowed = ldexp(magnitude, -SUM_BITS) + (logits ? 0 : fabs(want) * 0x1p-8);
        ck_assert_msg(fabs((double)y[i] - want) <= allowed, "y[%zu] is %g, not %g (%g)", i,
                      (double)y[i], want, allowed);
    }
}

/* ---- the tests ---- */

static float y[MOST_ROWS * MOST_N], other[MOST_ROWS * MOST_N];

/* Whether this device has any of it: a GPU before sm_89 has not. */
static bool multiplies_fp8(void)
{
    const bool does = strstr(ops->describe(dev), "activations in fp8") &&
                      !strstr(ops->describe(dev), "no activations in fp8");
    if (!does)
        printf("# left out: %s\n", ops->describe(dev));
    return does;
}

static const char *const with_fp8[] = { "90", "89" };

/* _i: way and shape, without the last. */
START_TEST(products_are_of_exactly_the_rounded_numbers)
{
    const size_t s = (size_t)_i / 2, rows[] = { 9, 16, 21, 64 };
    open_on(with_fp8[_i % 2], true, s);
    for (size_t i = 0; i < 4 && multiplies_fp8(); i++) {
        for (int logits = 0; logits < 2; logits++) {
            multiply(rows[i], logits, y);
            check_product(y, rows[i], s, logits);
        }
    }
    shut();
}
END_TEST

START_TEST(scales_by_the_library_and_by_an_own_kernel_give_the_same_bits)
{
    for (int logits = 0; logits < 2; logits++) {
        open_on("90", true, (size_t)_i);
        multiply(40, logits, y);
        shut();
        open_on("89", true, (size_t)_i);
        multiply(40, logits, other);
        ck_assert_mem_eq(y, other, 40 * shapes[_i].n * sizeof *y);
        shut();
    }
}
END_TEST

/* Up to 8 rows, an odd shape, or a GPU that cannot: as without fp8_activations. */
START_TEST(what_is_not_offered_is_multiplied_as_before)
{
    static const struct {
        const char *sm;
        size_t shape, rows;
    } cases[] = { { "90", 2, 8 }, { "89", 2, 8 }, { "90", 3, 20 }, { "86", 2, 20 } };
    open_on("90", false, cases[_i].shape);
    multiply(cases[_i].rows, true, y);
    shut();
    open_on(cases[_i].sm, true, cases[_i].shape);
    if (cases[_i].sm[1] != '6' || !multiplies_fp8()) { /* a true GPU is what it is */
        multiply(cases[_i].rows, true, other);
        ck_assert_mem_eq(y, other, cases[_i].rows * shapes[cases[_i].shape].n * sizeof *y);
    }
    shut();
}
END_TEST

START_TEST(a_row_has_the_same_bits_within_its_class_of_rows)
{
    open_on(with_fp8[_i], true, 2);
    multiply(16, true, y);
    for (size_t rows = 9; rows < 16; rows++) {
        multiply(rows, true, other);
        ck_assert_mem_eq(y, other, rows * shapes[2].n * sizeof *y);
    }
    shut();
}
END_TEST

START_TEST(what_is_not_finite_shows_in_its_own_row_only)
{
    const size_t n = shapes[2].n;
    open_on(with_fp8[_i], true, 2);
    multiply(16, false, y);
    x[5 * shapes[2].k + 40] = INFINITY;
    x[7 * shapes[2].k + 41] = NAN;
    for (size_t i = 0; i < shapes[2].k; i++)
        x[9 * shapes[2].k + i] = 0;
    upload_x();
    multiply(16, false, other);
    for (size_t i = 0; i < 16 * n; i++) {
        const size_t row = i / n;
        if (row == 5 || row == 7)
            ck_assert(isnan(other[i]));
        else
            ck_assert(row == 9 ? other[i] == 0 : y[i] == other[i]);
    }
    shut();
}
END_TEST

START_TEST(products_are_recorded_as_any_other_op)
{
    struct ops_graph *graph = NULL;
    const size_t bytes = RECORDED * shapes[2].n * 2;
    open_on(with_fp8[_i], true, 2);
    multiply(RECORDED, false, y);
    ck_assert_int_eq(ops->graph_begin(dev), OPS_OK);
    ck_assert_int_eq(ops->matmul(dev, device_y, device_x, &m, RECORDED), OPS_OK);
    ck_assert_int_eq(ops->graph_end(dev, &graph), OPS_OK);
    memset(other, 0, sizeof other);
    ck_assert_int_eq(ops->upload(dev, device_y, other, bytes), OPS_OK);
    ck_assert_int_eq(ops->graph_run(dev, graph), OPS_OK);
    ck_assert(ops->graph_current(dev, graph));
    ck_assert_int_eq(ops->download(dev, other, device_y, bytes), OPS_OK);
    for (size_t i = 0; i < RECORDED * shapes[2].n; i++)
        ck_assert(bf16_to_float(((uint16_t *)other)[i]) == y[i]);
    ops->graph_free(dev, graph);
    shut();
}
END_TEST

/* A bf16 matrix of the same shape before and after: each has a plan of its own. */
START_TEST(plans_of_bf16_and_fp8_are_not_mixed_up)
{
    static uint16_t half[MOST_N * MOST_K];
    struct ops_matrix fp8, stored;
    open_on(with_fp8[_i], true, 0);
    for (size_t i = 0; i < shapes[0].n * shapes[0].k; i++)
        half[i] = float_to_bf16(weights[i]);
    ck_assert_int_eq(ops->matrix_load(dev, &stored, half, OPS_BF16, shapes[0].n, shapes[0].k),
                     OPS_OK);
    fp8 = m;
    for (int turn = 0; turn < 2; turn++) {
        m = stored;
        multiply(9, true, turn ? other : y);
        m = fp8;
        multiply(9, true, turn ? y : other);
        if (multiplies_fp8())
            check_product(turn ? y : other, 9, 0, true);
        ck_assert_mem_ne(y, other, 9 * shapes[0].n * sizeof *y);
    }
    ops->matrix_free(dev, &stored);
    shut();
}
END_TEST

int main(void)
{
    const char *why = "";
    const struct ops *cuda = ops_cuda(&why);
    if (!cuda || (why = cuda->missing(0))) {
        printf("# skipped: %s\n", why);
        return 77;
    }
    Suite *suite = suite_create("ops_fp8");
    TCase *t = tcase_create("ops_fp8");
    tcase_set_timeout(t, 0);
    tcase_add_checked_fixture(t, fill, NULL);
    tcase_add_loop_test(t, products_are_of_exactly_the_rounded_numbers, 0, 2 * (N_SHAPES - 1));
    tcase_add_loop_test(t, scales_by_the_library_and_by_an_own_kernel_give_the_same_bits, 0,
                        N_SHAPES - 1);
    tcase_add_loop_test(t, what_is_not_offered_is_multiplied_as_before, 0, 4);
    tcase_add_loop_test(t, a_row_has_the_same_bits_within_its_class_of_rows, 0, 2);
    tcase_add_loop_test(t, what_is_not_finite_shows_in_its_own_row_only, 0, 2);
    tcase_add_loop_test(t, products_are_recorded_as_any_other_op, 0, 2);
    tcase_add_loop_test(t, plans_of_bf16_and_fp8_are_not_mixed_up, 0, 2);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
