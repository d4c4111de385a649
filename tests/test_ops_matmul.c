/* test_ops_matmul.c - what ops.h promises of matrix products and of LoRA. */
#include "ops_fixture.h"

#include <math.h>

static const struct {
    size_t rows, n, k;
} shapes[] = {
    { 1, 1, 1 },     { 1, 5, 2 },     { 3, 7, 31 },    { 2, 17, 32 },
    { 5, 33, 33 },   { 7, 3, 95 },    { 6, 64, 96 },   { 13, 50, 160 },
    { 1, 70, 3072 }, { 9, 19, 3072 }, { 40, 37, 257 }, { 14, 3, 200001 },
    { 9, 24, 64 },   { 17, 8, 136 },  { 8, 9, 520 },   { 2, 11, 264 },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

/* rounded: to the type of activations. */
static void check_product(const float *y, const float *x, const struct ops_matrix *m, size_t rows,
                          bool rounded)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t n = 0; n < m->rows; n++) {
            double want = 0, magnitude = 0;
            for (size_t k = 0; k < m->cols; k++) {
                const double term =
                    (double)x[r * m->cols + k] * number_at(m->data, m->dtype, n * m->cols + k);
                want += term;
                magnitude += fabs(term);
            }
            assert_near((double)y[r * m->rows + n], want,
                        ldexp(magnitude, -18) + (rounded ? act_step(want) : 0), "y",
                        r * m->rows + n);
        }
    }
}

/* _i: set, dtype and shape. */
START_TEST(product_is_within_the_allowed_error_of_the_exact_one)
{
    const int set = _i % N_SETS, dtype = _i / N_SETS % 3, s = _i / N_SETS / 3;
    struct ops_device *dev = open_set(set, 2);
    if (!dev)
        return;
    struct ops_matrix m = random_matrix(dev, shapes[s].n, shapes[s].k, ops_dtypes[dtype], 1);
    float *x = random_floats(shapes[s].rows * shapes[s].k, 2, 3);
    float *y = random_floats(shapes[s].rows * shapes[s].n, 3, 1);
    ck_assert_int_eq(ops_tested()->matmul(dev, y, x, &m, shapes[s].rows), OPS_OK);
    check_product(y, x, &m, shapes[s].rows, true);
    ck_assert_int_eq(ops_tested()->logits(dev, y, x, &m, shapes[s].rows), OPS_OK);
    check_product(y, x, &m, shapes[s].rows, false);
    fence_free(x);
    fence_free(y);
    matrix_drop(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(unit_rows_pick_out_columns_exactly)
{
    enum { N = 11, K = 70 };
    for (int dtype = 0; dtype < 3; dtype++) {
        struct ops_device *dev = open_set(_i, 1);
        if (!dev)
            return;
        struct ops_matrix m = random_matrix(dev, N, K, ops_dtypes[dtype], 4);
        float *x = fenced(K * K * sizeof *x), *y = fenced(K * N * sizeof *y);
        for (size_t r = 0; r < K; r++)
            x[r * K + r] = 1.0f;
        ck_assert_int_eq(ops_tested()->matmul(dev, y, x, &m, K), OPS_OK);
        for (size_t r = 0; r < K; r++)
            for (size_t n = 0; n < N; n++)
                assert_near((double)y[r * N + n], number_at(m.data, m.dtype, n * K + r), 0, "y",
                            r * N + n);
        fence_free(x);
        fence_free(y);
        matrix_drop(dev, &m);
        ops_tested()->close(dev);
    }
}
END_TEST

/* The nearest bf16 number, ties to even. */
static float rounded(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(&v, &bits, sizeof bits);
    return v;
}

/* x is either as it is, or rounded: nothing in between. */
START_TEST(rounded_product_is_exact_but_for_the_rounding_of_x)
{
    const int set = _i % (N_SETS + 1), dtype = _i / (N_SETS + 1) % 3;
    const int s = _i / (N_SETS + 1) / 3;
    struct ops_device *dev = open_set(set, 2);
    if (!dev)
        return;
    const bool bf16 = strstr(ops_tested()->describe(dev), "bf16") && ops_dtypes[dtype] == OPS_BF16;
    struct ops_matrix m = random_matrix(dev, shapes[s].n, shapes[s].k, ops_dtypes[dtype], 1);
    float *x = random_floats(shapes[s].rows * shapes[s].k, 2, 3);
    float *y = random_floats(shapes[s].rows * shapes[s].n, 3, 1);
    ck_assert_int_eq(ops_tested()->matmul_rounded(dev, y, x, &m, shapes[s].rows), OPS_OK);
    for (size_t i = 0; bf16 && i < shapes[s].rows * shapes[s].k; i++)
        x[i] = rounded(x[i]);
    check_product(y, x, &m, shapes[s].rows, true);
    fence_free(x);
    fence_free(y);
    matrix_drop(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

/* _i: set. */
START_TEST(rounded_rows_have_the_same_bits_in_any_company_and_with_any_threads)
{
    enum { ROWS = 45, N = 70, K = 5003 }; /* several tiles, panels and parts of panels */
    struct ops_device *one = testing_cuda() ? NULL : open_set(_i, 1);
    if (!one)
        return;
    struct ops_device *three = open_set(_i, 3);
    struct ops_matrix m = random_matrix(one, N, K, OPS_BF16, 5), n = m;
    float *x = random_floats((size_t)ROWS * K, 6, 2);
    float *all = random_floats((size_t)ROWS * N, 7, 1), *row = random_floats(N, 8, 1);
    ck_assert_int_eq(ops_tested()->matmul_rounded(three, all, x, &n, ROWS), OPS_OK);
    for (size_t r = 0; r < ROWS; r++) {
        ck_assert_int_eq(ops_tested()->matmul_rounded(one, row, x + r * K, &m, 1), OPS_OK);
        assert_same_floats(row, all + r * N, N, "row");
    }
    fence_free(x);
    fence_free(all);
    fence_free(row);
    matrix_drop(one, &m);
    ops_tested()->close(one);
    ops_tested()->close(three);
}
END_TEST

START_TEST(no_rows_are_fine_and_broken_shapes_are_refused)
{
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    float x[4] = { 1, 2, 3, 4 }, y[2] = { 7, 7 };
    struct ops_matrix m, bad;
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &m, x, OPS_F32, 1, 4), OPS_OK);
    ck_assert_int_eq(ops_tested()->matmul(dev, y, x, &m, 0), OPS_OK);
    ck_assert_int_eq(ops_tested()->matmul_rounded(dev, y, x, &m, 0), OPS_OK);
    bad = m;
    bad.cols = 0;
    ck_assert_int_eq(ops_tested()->matmul(dev, y, x, &bad, 1), OPS_E_SHAPE);
    bad = m;
    bad.dtype = (enum ops_dtype)9;
    ck_assert_int_eq(ops_tested()->logits(dev, y, x, &bad, 1), OPS_E_SHAPE);
    ck_assert(y[0] == 7.0f && y[1] == 7.0f);
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &bad, x, OPS_F32, 0, 4), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &bad, NULL, OPS_F32, 1, 4), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &bad, (char *)x + 2, OPS_F32, 1, 3),
                     OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &bad, (char *)x + 1, OPS_BF16, 1, 3),
                     OPS_E_SHAPE);
    ops_tested()->matrix_free(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

static void check_lora(const float *y, const float *before, const float *x, size_t in, size_t out,
                       const struct ops_lora_segment *s)
{
    for (size_t r = s->first_row; r < s->first_row + s->rows; r++) {
        for (size_t o = 0; o < out; o++) {
            double want = (double)before[r * out + o], magnitude = fabs(want);
            for (size_t k = 0; k < s->rank; k++) {
                double low = 0, low_magnitude = 0;
                for (size_t i = 0; i < in; i++) {
                    const double t = (double)x[r * in + i] * number_at(s->a, s->dtype, k * in + i);
                    low += t;
                    low_magnitude += fabs(t);
                }
                const double b = number_at(s->b, s->dtype, o * s->rank + k) * (double)s->scale;
                want += b * low;
                magnitude += fabs(b) * low_magnitude;
            }
            assert_near((double)y[r * out + o], want, ldexp(magnitude, -17) + act_step(want), "y",
                        r * out + o);
        }
    }
}

START_TEST(lora_adds_to_the_rows_of_its_segments_and_to_no_others)
{
    const int set = _i % N_SETS;
    const enum ops_dtype dtype = ops_dtypes[_i / N_SETS];
    enum { ROWS = 9, IN = 96, OUT = 41 };
    struct ops_device *dev = open_set(set, 2);
    if (!dev)
        return;
    void *a1 = random_numbers(16 * IN, dtype, 1, 1), *b1 = random_numbers(OUT * 16, dtype, 2, 1);
    void *a2 = random_numbers(3 * IN, dtype, 3, 1), *b2 = random_numbers(OUT * 3, dtype, 4, 1);
    const struct ops_lora_segment s[] = { { 1, 4, a1, b1, dtype, 16, 0.5f },
                                          { 6, 0, a1, b1, dtype, 16, 9.0f },
                                          { 7, 1, a2, b2, dtype, 3, -2.0f } };
    float *x = random_floats(ROWS * IN, 5, 1), *y = random_floats(ROWS * OUT, 6, 1);
    float *before = random_floats(ROWS * OUT, 6, 1);
    ck_assert_int_eq(ops_tested()->lora(dev, y, x, ROWS, IN, OUT, s, 3), OPS_OK);
    check_lora(y, before, x, IN, OUT, &s[0]);
    check_lora(y, before, x, IN, OUT, &s[2]);
    const size_t untouched[] = { 0, 5, 6, 8 };
    for (size_t i = 0; i < 4; i++)
        assert_same_floats(y + untouched[i] * OUT, before + untouched[i] * OUT, OUT, "row");
    void *all[] = { a1, b1, a2, b2, x, y, before };
    for (size_t i = 0; i < 7; i++)
        fence_free(all[i]);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(lora_refuses_segments_outside_the_rows_and_ranks_out_of_range)
{
    struct ops_device *dev = open_set(0, 1);
    float x[4] = { 1, 1, 1, 1 }, y[4] = { 0 };
    const struct ops_lora_segment ok = { 0, 2, x, x, OPS_F32, 1, 1.0f };
    struct ops_lora_segment bad[5] = { ok, ok, ok, ok, ok };
    bad[0].rows = 3;
    bad[1].first_row = SIZE_MAX;
    bad[2].rank = 0;
    bad[3].rank = OPS_LORA_MAX_RANK + 1;
    bad[4].dtype = (enum ops_dtype)0;
    for (int i = 0; i < 5; i++) {
        const struct ops_lora_segment both[] = { ok, bad[i] };
        ck_assert_int_eq(ops_tested()->lora(dev, y, x, 2, 2, 2, both, 2), OPS_E_SHAPE);
    }
    ck_assert(y[0] == 0.0f && y[3] == 0.0f);
    ck_assert_int_eq(ops_tested()->lora(dev, y, x, 2, 2, 2, &ok, 0), OPS_OK);
    ck_assert_int_eq(ops_tested()->lora(dev, y, x, 2, 2, 2, &ok, 1), OPS_OK);
    ck_assert(y[0] == 2.0f && y[3] == 2.0f);
    ops_tested()->close(dev);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, product_is_within_the_allowed_error_of_the_exact_one, 0,
                        N_SETS * 3 * N_SHAPES);
    tcase_add_loop_test(tc, rounded_product_is_exact_but_for_the_rounding_of_x, 0,
                        (N_SETS + 1) * 3 * N_SHAPES);
    tcase_add_loop_test(tc, rounded_rows_have_the_same_bits_in_any_company_and_with_any_threads,
                        SET_AVX512, SET_PAIRS + 1);
    tcase_add_loop_test(tc, unit_rows_pick_out_columns_exactly, 0, N_SETS);
    tcase_add_loop_test(tc, no_rows_are_fine_and_broken_shapes_are_refused, 0, N_SETS);
    tcase_add_loop_test(tc, lora_adds_to_the_rows_of_its_segments_and_to_no_others, 0, N_SETS * 3);
    tcase_add_test(tc, lora_refuses_segments_outside_the_rows_and_ranks_out_of_range);
}

int main(void)
{
    return run_suite("ops_matmul", add);
}
