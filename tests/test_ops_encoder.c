/* test_ops_encoder.c - what ops.h promises of LayerNorm, biases, sums and GELU. */
#include "ops_fixture.h"

#include <math.h>

static const size_t widths[] = { 1, 2, 7, 8, 15, 17, 33, 257, 1152 };
enum { N_WIDTHS = sizeof widths / sizeof *widths, ROWS = 3 };

static void check_layernorm(const float *y, const float *x, const struct ops_matrix *w,
                            const struct ops_matrix *b, size_t dim, double eps)
{
    for (size_t r = 0; r < ROWS; r++, x += dim, y += dim) {
        double mean = 0, variance = 0;
        for (size_t i = 0; i < dim; i++)
            mean += (double)x[i] / (double)dim;
        for (size_t i = 0; i < dim; i++)
            variance += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)dim;
        const double root = sqrt(variance + eps);
        for (size_t i = 0; i < dim; i++) {
            const double wi = number_at(w->data, w->dtype, i), bi = number_at(b->data, b->dtype, i);
            const double z = ((double)x[i] - mean) / root;
            const double allowed = (fabs(z * wi) + fabs(bi)) * 0x1p-20 +
                                   fabs(wi * mean) / root * 0x1p-22 + act_step(z * wi + bi);
            assert_near((double)y[i], z * wi + bi, allowed, "y", i);
        }
    }
}

/* _i: set, dtype and width.  The rows lie around 100: the variance must not drown in the mean. */
START_TEST(layernorm_is_within_the_allowed_error)
{
    const size_t dim = widths[_i / N_SETS / 3], n = ROWS * dim;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    struct ops_matrix w = random_matrix(dev, 1, dim, ops_dtypes[_i / N_SETS % 3], 1);
    struct ops_matrix b = random_matrix(dev, 1, dim, ops_dtypes[_i / N_SETS % 3], 2);
    float *x = random_floats(n, 3, 2), *y = random_floats(n, 4, 1);
    for (size_t i = 0; i < n; i++)
        x[i] = act_round(x[i] + 100.0f * (float)(i / dim));
    ck_assert_int_eq(ops_tested()->layernorm(dev, y, x, &w, &b, ROWS, dim, 1e-6f), OPS_OK);
    check_layernorm(y, x, &w, &b, dim, (double)1e-6f);
    ck_assert_int_eq(ops_tested()->layernorm(dev, x, x, &w, &b, ROWS, dim, 1e-6f), OPS_OK);
    assert_same_floats(x, y, n, "in place");
    fence_free(x);
    fence_free(y);
    matrix_drop(dev, &w);
    matrix_drop(dev, &b);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(layernorm_of_equal_numbers_is_the_bias_and_wrong_shapes_touch_nothing)
{
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    float x[8] = { 7, 7, 7, 7, 1, -1, 1, -1 }, y[8] = { 9 }, ones[4] = { 1, 1, 1, 2 };
    float bias[4] = { 0, 1, 2, 3 };
    const float want[8] = { 0, 1, 2, 3, 1, 0, 3, 1 };
    struct ops_matrix w, b;
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &w, ones, OPS_F32, 1, 4), OPS_OK);
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &b, bias, OPS_F32, 1, 4), OPS_OK);
    ck_assert_int_eq(ops_tested()->layernorm(dev, y, x, &w, &b, 2, 0, 0.0f), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->layernorm(dev, y, x, &w, &b, 2, 3, 0.0f), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->add_bias(dev, y, &b, 2, 3), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->add_bias(dev, y, &b, 2, 0), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->gelu(dev, y, x, 4, (enum ops_gelu)7), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->layernorm(dev, y, x, &w, &b, 0, 4, 0.0f), OPS_OK);
    ck_assert_int_eq(ops_tested()->add_bias(dev, y, &b, 0, 4), OPS_OK);
    ck_assert_int_eq(ops_tested()->add(dev, y, x, 0, 1.0f), OPS_OK);
    ck_assert_int_eq(ops_tested()->gelu(dev, y, x, 0, OPS_GELU_ERF), OPS_OK);
    ck_assert(y[0] == 9.0f);
    ck_assert_int_eq(ops_tested()->layernorm(dev, y, x, &w, &b, 1, 4, 1e-6f), OPS_OK);
    ck_assert_int_eq(ops_tested()->layernorm(dev, y + 4, x + 4, &w, &b, 1, 4, 0.0f), OPS_OK);
    for (size_t i = 0; i < 8; i++)
        ck_assert(y[i] == want[i]);
    ops_tested()->matrix_free(dev, &w);
    ops_tested()->matrix_free(dev, &b);
    ops_tested()->close(dev);
}
END_TEST

/* _i: set, dtype and width. */
START_TEST(a_bias_goes_to_every_row_and_a_sum_is_scaled)
{
    const size_t dim = widths[_i / N_SETS / 3], n = ROWS * dim;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    struct ops_matrix b = random_matrix(dev, 1, dim, ops_dtypes[_i / N_SETS % 3], 2);
    float *y = random_floats(n, 4, 1), *before = random_floats(n, 4, 1),
          *x = random_floats(n, 5, 1);
    ck_assert_int_eq(ops_tested()->add_bias(dev, y, &b, ROWS, dim), OPS_OK);
    for (size_t i = 0; i < n; i++) {
        const double want = (double)before[i] + number_at(b.data, b.dtype, i % dim);
        assert_near((double)y[i], want, fabs(want) * 0x1p-23 + act_step(want), "y", i);
    }
    memcpy(before, y, n * sizeof *y);
    ck_assert_int_eq(ops_tested()->add(dev, y, x, n, 0.5f), OPS_OK);
    for (size_t i = 0; i < n; i++) {
        const double want = (double)before[i] + 0.5 * (double)x[i];
        assert_near((double)y[i], want, fabs(want) * 0x1p-23 + act_step(want), "sum", i);
    }
    ck_assert_int_eq(ops_tested()->add(dev, x, x, n, 1.0f), OPS_OK);
    for (size_t i = 0; i < n; i++)
        before[i] = 0;
    ck_assert_int_eq(ops_tested()->add(dev, before, x, n, 0.5f), OPS_OK);
    fence_free(x);
    x = random_floats(n, 5, 1);
    assert_same_floats(before, x, n, "doubled and halved");
    fence_free(before);
    fence_free(x);
    fence_free(y);
    matrix_drop(dev, &b);
    ops_tested()->close(dev);
}
END_TEST

static double exact_gelu(double x, enum ops_gelu kind)
{
    if (kind == OPS_GELU_ERF)
        return x / 2 * erfc(-x / sqrt(2));
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1)) * (x + 0.044715 * x * x * x)));
}

/* _i: set, kind and length. */
START_TEST(gelu_is_within_the_allowed_error_from_minus_to_plus_20)
{
    const size_t lengths[] = { 1, 15, 16, 17, 40001 }, n = lengths[_i / N_SETS / 2];
    const enum ops_gelu kind = _i / N_SETS % 2 ? OPS_GELU_ERF : OPS_GELU_TANH;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    float *x = random_floats(n, 4, 20), *y = fenced(n * sizeof *y);
    ck_assert_int_eq(ops_tested()->gelu(dev, y, x, n, kind), OPS_OK);
    for (size_t i = 0; i < n; i++) {
        const double want = exact_gelu((double)x[i], kind);
        assert_near((double)y[i], want, fabs((double)x[i]) * 0x1p-20 + act_step(want), "y", i);
    }
    ck_assert_int_eq(ops_tested()->gelu(dev, x, x, n, kind), OPS_OK);
    assert_same_floats(x, y, n, "in place");
    fence_free(x);
    fence_free(y);
    ops_tested()->close(dev);
}
END_TEST

/* The two forms differ by at most 5e-4: a test with too wide a bound would not tell them apart. (In
 * bf16 they are told apart where they are small, by the test above: at -3 by a tenth.) */
START_TEST(gelu_knows_its_two_forms_zero_huge_numbers_and_not_a_number)
{
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    const float x[5] = { 0, 1e30f, -1e30f, NAN, 2 };
    const float huge = act_round(1e30f);
    float y[5], z[5];
    ck_assert_int_eq(ops_tested()->gelu(dev, y, x, 5, OPS_GELU_TANH), OPS_OK);
    ck_assert_int_eq(ops_tested()->gelu(dev, z, x, 5, OPS_GELU_ERF), OPS_OK);
    ck_assert(y[0] == 0.0f && y[1] == huge && y[2] == 0.0f && isnan(y[3]));
    ck_assert(z[0] == 0.0f && z[1] == huge && z[2] == 0.0f && isnan(z[3]));
    assert_near((double)y[4], 1.954597694, 4e-6 + act_step(2), "tanh form at", 2);
    assert_near((double)z[4], 1.954499736, 4e-6 + act_step(2), "erf form at", 2);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(gelu_has_the_same_bits_with_avx2_as_with_avx512_and_any_number_of_threads)
{
    enum { N = 50000 };
    float *x = random_floats(N, 1, 30), *y[2];
    for (int s = 0; s < 2; s++) {
        struct ops_device *dev = open_set(1 + s, 1 + 2 * (unsigned)s);
        if (!dev)
            return;
        y[s] = fenced(N * sizeof **y);
        ck_assert_int_eq(ops_tested()->gelu(dev, y[s], x, N, OPS_GELU_TANH), OPS_OK);
        ops_tested()->close(dev);
    }
    assert_same_floats(y[0], y[1], N, "y");
    fence_free(x);
    fence_free(y[0]);
    fence_free(y[1]);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, layernorm_is_within_the_allowed_error, 0, N_SETS * 3 * N_WIDTHS);
    tcase_add_loop_test(tc, layernorm_of_equal_numbers_is_the_bias_and_wrong_shapes_touch_nothing,
                        0, N_SETS);
    tcase_add_loop_test(tc, a_bias_goes_to_every_row_and_a_sum_is_scaled, 0, N_SETS * 3 * N_WIDTHS);
    tcase_add_loop_test(tc, gelu_is_within_the_allowed_error_from_minus_to_plus_20, 0,
                        N_SETS * 2 * 5);
    tcase_add_loop_test(tc, gelu_knows_its_two_forms_zero_huge_numbers_and_not_a_number, 0, N_SETS);
    tcase_add_test(tc, gelu_has_the_same_bits_with_avx2_as_with_avx512_and_any_number_of_threads);
}

int main(void)
{
    return run_suite("ops_encoder", add);
}
