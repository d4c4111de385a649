/* test_ops_rows.c - what ops.h promises of embedding, RMSNorm and SwiGLU. */
#include "ops_fixture.h"

#include <math.h>

static const size_t widths[] = { 1, 2, 7, 8, 15, 16, 17, 31, 33, 96, 257, 3072 };
enum { N_WIDTHS = sizeof widths / sizeof *widths, ROWS = 3 };

static void check_norm(const float *y, const float *x, const struct ops_matrix *w, size_t dim,
                       double eps)
{
    for (size_t r = 0; r < ROWS; r++) {
        double sum = 0;
        for (size_t i = 0; i < dim; i++)
            sum += (double)x[r * dim + i] * (double)x[r * dim + i];
        for (size_t i = 0; i < dim; i++) {
            const double want = (double)x[r * dim + i] / sqrt(sum / (double)dim + eps) *
                                number_at(w->data, w->dtype, i);
            assert_near((double)y[r * dim + i], want, fabs(want) * 0x1p-20 + act_step(want), "y",
                        r * dim + i);
        }
    }
}

/* _i: set, dtype and width. */
START_TEST(rmsnorm_is_within_the_allowed_error_alone_and_after_adding)
{
    const size_t dim = widths[_i / N_SETS / 3], n = ROWS * dim;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    struct ops_matrix w = random_matrix(dev, 1, dim, ops_dtypes[_i / N_SETS % 3], 1);
    float *x = random_floats(n, 2, 3), *h = random_floats(n, 3, 2), *y = random_floats(n, 4, 1);
    float *delta = random_floats(n, 2, 3), *sum = fenced(n * sizeof *sum);
    const float eps = 1e-5f;
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, y, x, &w, ROWS, dim, eps), OPS_OK);
    check_norm(y, x, &w, dim, (double)eps);
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, delta, delta, &w, ROWS, dim, eps), OPS_OK);
    assert_same_floats(delta, y, n, "in place");

    for (size_t i = 0; i < n; i++)
        sum[i] = act_round(h[i] + x[i]);
    ck_assert_int_eq(ops_tested()->add_rmsnorm(dev, h, x, y, &w, ROWS, dim, eps), OPS_OK);
    assert_same_floats(h, sum, n, "h");
    check_norm(y, sum, &w, dim, (double)eps);
    memset(h, 0, n * sizeof *h);
    ck_assert_int_eq(ops_tested()->add_rmsnorm(dev, h, x, x, &w, ROWS, dim, eps), OPS_OK);
    check_norm(x, h, &w, dim, (double)eps);
    void *all[] = { x, h, y, delta, sum };
    for (size_t i = 0; i < 5; i++)
        fence_free(all[i]);
    matrix_drop(dev, &w);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(rmsnorm_of_equal_values_is_the_weight_and_of_zeros_is_zero)
{
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    float x[8] = { 2, 2, 2, 2, 0, 0, 0, 0 }, y[8], weights[4] = { 1, 2, 0, -1 };
    const float want[8] = { 1, 2, 0, -1, 0, 0, 0, 0 };
    struct ops_matrix w;
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &w, weights, OPS_F32, 1, 4), OPS_OK);
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, y, x, &w, 1, 4, 0.0f), OPS_OK);
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, y + 4, x + 4, &w, 1, 4, 1e-5f), OPS_OK);
    for (size_t i = 0; i < 8; i++)
        ck_assert(y[i] == want[i]);
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, y, x, &w, 0, 4, 0.0f), OPS_OK);
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, y, x, &w, 1, 0, 0.0f), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->rmsnorm(dev, y, x, &w, 1, 3, 0.0f), OPS_E_SHAPE);
    w.rows = 2;
    ck_assert_int_eq(ops_tested()->add_rmsnorm(dev, x, y, y, &w, 1, 4, 0.0f), OPS_E_SHAPE);
    ck_assert(x[0] == 2.0f && y[1] == 2.0f);
    ops_tested()->matrix_free(dev, &w);
    ops_tested()->close(dev);
}
END_TEST

/* _i: set and dtype. */
START_TEST(embedding_gives_the_rows_exactly_and_refuses_ids_that_are_not_there)
{
    enum { VOCAB = 19, DIM = 37, N = 4 };
    const int32_t ids[N] = { 18, 0, 7, 7 }, bad[][2] = { { 0, 19 }, { 0, -1 }, { 0, INT32_MIN } };
    struct ops_device *dev = open_set(_i % N_SETS, 1);
    if (!dev)
        return;
    struct ops_matrix m = random_matrix(dev, VOCAB, DIM, ops_dtypes[_i / N_SETS], 1);
    float *y = fenced(N * DIM * sizeof *y);
    ck_assert_int_eq(ops_tested()->embedding(dev, y, &m, ids, N), OPS_OK);
    for (size_t i = 0; i < N * DIM; i++)
        assert_near((double)y[i], number_at(m.data, m.dtype, (size_t)ids[i / DIM] * DIM + i % DIM),
                    0, "y", i);
    y[0] = 5;
    for (int i = 0; i < 3 && !testing_cuda(); i++) /* there only the device knows the ids */
        ck_assert_int_eq(ops_tested()->embedding(dev, y, &m, bad[i], 2), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->embedding(dev, y, &m, NULL, 0), OPS_OK);
    ck_assert(y[0] == 5.0f);
    fence_free(y);
    matrix_drop(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

/* Every bf16 and f16 number that is not a NaN, and every rounding of the cache, goes through the
 * same conversions; so here are all of them. */
START_TEST(all_16_bit_numbers_are_read_exactly)
{
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    size_t wrong = 0;
    uint16_t *all = fenced(65536 * sizeof *all);
    float *y = fenced(65536 * sizeof *y), one = 1.0f;
    for (unsigned i = 0; i < 65536; i++)
        all[i] = (uint16_t)i;
    for (int d = 1; d < (testing_cuda() ? 2 : 3); d++) { /* CUDA stores f16 as bf16 */
        struct ops_matrix m;
        ck_assert_int_eq(ops_tested()->matrix_load(dev, &m, all, ops_dtypes[d], 65536, 1), OPS_OK);
        ck_assert_int_eq(ops_tested()->matmul(dev, y, &one, &m, 1), OPS_OK);
        for (unsigned i = 0; i < 65536; i++) {
            const unsigned top = ops_dtypes[d] == OPS_BF16 ? 0x7f80 : 0x7c00;
            if ((i & top) == top)
                wrong += (i & 0x7fff) == top ? !isinf(y[i]) : !isnan(y[i]);
            else
                assert_near((double)y[i], number_at(all, ops_dtypes[d], i), 0, "number", i);
        }
        ops_tested()->matrix_free(dev, &m);
    }
    ck_assert_uint_eq(wrong, 0);
    fence_free(all);
    fence_free(y);
    ops_tested()->close(dev);
}
END_TEST

static void check_swiglu(const float *y, const float *gate_up, size_t rows, size_t dim)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < dim; i++) {
            const double z = (double)gate_up[r * 2 * dim + i];
            const double up = (double)gate_up[r * 2 * dim + dim + i];
            const double want = up * z / (1 + exp(-z));
            assert_near((double)y[r * dim + i], want,
                        fabs(want) * 0x1p-18 + fabs(up) * 0x1p-120 + act_step(want), "y", i);
        }
    }
}

/* _i: set and width. */
START_TEST(swiglu_is_within_the_allowed_error)
{
    const size_t dim = widths[_i / N_SETS];
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    const float amplitudes[] = { 1e-3f, 3, 30, 120, 1e30f };
    float *y = fenced(ROWS * dim * sizeof *y);
    for (int a = 0; a < 5; a++) {
        float *x = random_floats(ROWS * 2 * dim, 1, amplitudes[a]);
        ck_assert_int_eq(ops_tested()->swiglu(dev, y, x, ROWS, dim), OPS_OK);
        if (a < 4) {
            check_swiglu(y, x, ROWS, dim);
        } else { /* up * gate is beyond float32 */
            for (size_t i = 0; i < dim; i++)
                ck_assert(x[i] > 0 ? isinf(y[i]) || fabsf(y[i]) >= 0 : y[i] == 0);
        }
        fence_free(x);
    }
    fence_free(y);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(swiglu_knows_zero_infinity_and_not_a_number)
{
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    const float x[8] = { 0, INFINITY, NAN, -200, 7, 2, 1, 3 };
    float y[4] = { 9, 9, 9, 9 };
    ck_assert_int_eq(ops_tested()->swiglu(dev, y, x, 0, 4), OPS_OK);
    ck_assert_int_eq(ops_tested()->swiglu(dev, y, x, 1, 0), OPS_E_SHAPE);
    ck_assert(y[0] == 9.0f);
    ck_assert_int_eq(ops_tested()->swiglu(dev, y, x, 1, 4), OPS_OK);
    ck_assert(y[0] == 0.0f);
    ck_assert(isinf(y[1]));
    ck_assert(isnan(y[2]));
    ck_assert(y[3] == 0.0f);
    ops_tested()->close(dev);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, rmsnorm_is_within_the_allowed_error_alone_and_after_adding, 0,
                        N_SETS * 3 * N_WIDTHS);
    tcase_add_loop_test(tc, rmsnorm_of_equal_values_is_the_weight_and_of_zeros_is_zero, 0, N_SETS);
    tcase_add_loop_test(tc, embedding_gives_the_rows_exactly_and_refuses_ids_that_are_not_there, 0,
                        N_SETS * 3);
    tcase_add_loop_test(tc, all_16_bit_numbers_are_read_exactly, 0, N_SETS);
    tcase_add_loop_test(tc, swiglu_is_within_the_allowed_error, 0, N_SETS * N_WIDTHS);
    tcase_add_loop_test(tc, swiglu_knows_zero_infinity_and_not_a_number, 0, N_SETS);
}

int main(void)
{
    return run_suite("ops_rows", add);
}
