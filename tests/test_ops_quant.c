/* test_ops_quant.c - the compressed weight formats: what numbers they hold, and that products are
 * of exactly those. */
#include "ops_fixture.h"

#include "ops/cpu/convert.h"

#include <math.h>

static const enum ops_dtype forms[] = { OPS_FP8, OPS_INT8, OPS_INT4 };
enum { N_FORMS = 3 };

/* Weights of bf16 in rows of very different sizes, with zeros and lone large numbers. */
static uint16_t *weights(size_t rows, size_t cols, unsigned seed)
{
    float *f = random_floats(rows * cols, seed, 1);
    uint16_t *w = fenced(rows * cols * sizeof *w);
    for (size_t i = 0; i < rows * cols; i++) {
        const size_t row = i / cols, group = i % cols / QUANT_GROUP;
        float v = ldexpf(f[i] * f[(i * 7 + 1) % (rows * cols)], (int)(row % 5) * 3 - 6);
        if ((row + group) % 7 == 3)
            v = 0;
        if ((row * 3 + i) % 61 == 0)
            v *= 9;
        w[i] = float_to_bf16(v);
    }
    fence_free(f);
    return w;
}

static struct ops_matrix compress(struct ops_device *dev, const void *w, enum ops_dtype dtype,
                                  size_t rows, size_t cols, enum ops_dtype form)
{
    struct ops_matrix m;
    ck_assert_int_eq(ops_tested()->matrix_quantize(dev, &m, w, dtype, rows, cols, form), OPS_OK);
    return m;
}

/* All numbers of the matrix, as embedding() gives them. */
static float *numbers_of(struct ops_device *dev, const struct ops_matrix *m)
{
    int32_t *ids = fenced(m->rows * sizeof *ids);
    float *all = fenced(m->rows * m->cols * sizeof *all);
    for (size_t i = 0; i < m->rows; i++)
        ids[i] = (int32_t)i;
    ck_assert_int_eq(ops_tested()->embedding(dev, all, m, ids, m->rows), OPS_OK);
    fence_free(ids);
    return all;
}

/* ---- the formats, by arithmetic of the test's own ---- */

static double largest(const uint16_t *w, size_t n)
{
    double m = 0;
    for (size_t i = 0; i < n; i++)
        m = fmax(m, fabs((double)bf16_to_float(w[i])));
    return m;
}

/* The smallest power of two with m <= top times it. */
static double power_for(double m, double top)
{
    double p = 1;
    while (m > top * p)
        p *= 2;
    while (m <= top * p / 2)
        p /= 2;
    return p;
}

static void check_int8(const float *got, const uint16_t *w, size_t n)
{
    const double m = largest(w, n), step = m > 0 ? power_for(m, 127) : 0;
    for (size_t i = 0; i < n; i++)
        assert_near((double)got[i],
                    m > 0 ? nearbyint((double)bf16_to_float(w[i]) / step) * step : 0, 0, "int8", i);
}

/* The nearest of E4M3's numbers; of two the one whose last bit is 0. */
static double nearest_e4m3(double v)
{
    double best = 0;
    int best_code = 0;
    for (int code = 0; code < 127; code++) {
        const int e = code >> 3, f = code & 7;
        const double x = e ? ldexp(8 + f, e - 10) : ldexp(f, -9);
        const double d = fabs(fabs(v) - x), have = fabs(fabs(v) - best);
        if (d < have || (d == have && best_code % 2)) {
            best = x;
            best_code = code;
        }
    }
    return v < 0 ? -best : best;
}

static void check_fp8(const float *got, const uint16_t *w, size_t n)
{
    const double m = largest(w, n), scale = m > 0 ? power_for(m, 448) : 1;
    for (size_t i = 0; i < n; i++)
        assert_near((double)got[i], nearest_e4m3((double)bf16_to_float(w[i]) / scale) * scale, 0,
                    "fp8", i);
}

static double five_bits(double v)
{
    int e;
    const double f = frexp(v, &e);
    return ldexp(nearbyint(f * 32), e - 5);
}

static double int4_number(double w, double scale)
{
    return fmin(fmax(nearbyint(w / scale), -8), 7) * scale;
}

/* The group is what one of the tries makes of it, and no try is better. */
static void check_int4(const float *got, const uint16_t *w, size_t n)
{
    static const float tries[] = { -1.0f / 8.0f, -1.0f / 8.4f, -1.0f / 7.6f, -1.0f / 7.2f };
    double extreme = 0, least = INFINITY, error[4];
    bool same[4];
    for (size_t i = 0; i < n; i++) {
        const double v = (double)bf16_to_float(w[i]);
        extreme = fabs(v) > fabs(extreme) ? v : extreme;
    }
    for (int t = 0; t < 4; t++) {
        const double scale = extreme != 0 ? five_bits((double)((float)extreme * tries[t])) : 1;
        error[t] = 0;
        same[t] = true;
        for (size_t i = 0; i < n; i++) {
            const double v = (double)bf16_to_float(w[i]), q = int4_number(v, scale);
            /* A number half way between two may go either way: the device divides in float32. */
            const double off = fabs((double)got[i] - v) - fabs(q - v);
            same[t] = same[t] && fabs(off) <= fabs(scale) * 1e-5 &&
                      fabs(remainder((double)got[i], scale)) == 0;
            error[t] += (q - v) * (q - v);
        }
        least = fmin(least, error[t]);
    }
    for (int t = 0; t < 4; t++) {
        if (same[t] && error[t] <= least * (1 + 1e-4))
            return;
    }
    ck_abort_msg("int4: a group that begins with %g for %g is none of the four, or not the best",
                 (double)got[0], (double)bf16_to_float(w[0]));
}

START_TEST(a_matrix_holds_the_numbers_that_its_format_says)
{
    enum { ROWS = 37, COLS = 1100 };
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    const enum ops_dtype form = forms[_i / N_SETS];
    uint16_t *w = weights(ROWS, COLS, 5);
    struct ops_matrix m = compress(dev, w, OPS_BF16, ROWS, COLS, form);
    float *got = numbers_of(dev, &m);
    for (size_t r = 0; r < ROWS; r++) {
        const size_t unit = form == OPS_FP8 ? COLS : QUANT_GROUP;
        for (size_t c = 0; c < COLS; c += unit) {
            const size_t n = COLS - c < unit ? COLS - c : unit, at = r * COLS + c;
            (form == OPS_FP8    ? check_fp8
             : form == OPS_INT8 ? check_int8
                                : check_int4)(got + at, w + at, n);
        }
    }
    for (size_t i = 0; i < ROWS * COLS; i++) /* exact in bf16 */
        assert_near((double)got[i], (double)bf16_to_float(float_to_bf16(got[i])), 0, "bf16", i);
    fence_free(got);
    fence_free(w);
    ops_tested()->matrix_free(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

/* ---- products ---- */

static const struct {
    size_t rows, n, k;
} shapes[] = {
    { 1, 1, 1 },   { 1, 17, 32 },   { 3, 7, 31 },    { 5, 33, 33 },
    { 6, 64, 96 }, { 13, 50, 160 }, { 8, 81, 72 },   { 1, 130, 3072 },
    { 9, 24, 64 }, { 40, 40, 264 }, { 7, 128, 520 }, { 2, 96, 1056 },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

static void check_product(const float *y, const float *x, const float *m, size_t rows, size_t n,
                          size_t k, bool rounded)
{
    for (size_t i = 0; i < rows * n; i++) {
        double want = 0, magnitude = 0;
        for (size_t c = 0; c < k; c++) {
            const double term = (double)x[i / n * k + c] * (double)m[i % n * k + c];
            want += term;
            magnitude += fabs(term);
        }
        assert_near((double)y[i], want, ldexp(magnitude, -18) + (rounded ? act_step(want) : 0), "y",
                    i);
    }
}

/* _i: set, form and shape. */
START_TEST(products_are_of_exactly_those_numbers)
{
    const size_t s = (size_t)_i / N_SETS / N_FORMS;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    const size_t rows = shapes[s].rows, n = shapes[s].n, k = shapes[s].k;
    uint16_t *w = weights(n, k, 7);
    struct ops_matrix m = compress(dev, w, OPS_BF16, n, k, forms[_i / N_SETS % N_FORMS]);
    float *numbers = numbers_of(dev, &m);
    float *x = random_floats(rows * k, 2, 3), *y = random_floats(rows * n, 3, 1);
    ck_assert_int_eq(ops_tested()->matmul(dev, y, x, &m, rows), OPS_OK);
    check_product(y, x, numbers, rows, n, k, true);
    ck_assert_int_eq(ops_tested()->logits(dev, y, x, &m, rows), OPS_OK);
    check_product(y, x, numbers, rows, n, k, false);
    void *all[] = { w, numbers, x, y };
    for (size_t i = 0; i < 4; i++)
        fence_free(all[i]);
    ops_tested()->matrix_free(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

/* So wide that CUDA spreads out its rows in two pieces. */
START_TEST(a_matrix_that_is_spread_out_in_pieces_gives_the_same_products)
{
    enum { ROWS = 9, N = 24, K = 700008 };
    struct ops_device *dev = open_set(N_SETS - 1, 2);
    if (!dev)
        dev = open_set(0, 2);
    uint16_t *w = weights(N, K, 23);
    struct ops_matrix m = compress(dev, w, OPS_BF16, N, K, forms[_i]);
    float *numbers = numbers_of(dev, &m);
    float *x = random_floats(ROWS * K, 2, 3), *y = random_floats(ROWS * N, 3, 1);
    ck_assert_int_eq(ops_tested()->logits(dev, y, x, &m, ROWS), OPS_OK);
    check_product(y, x, numbers, ROWS, N, K, false);
    void *all[] = { w, numbers, x, y };
    for (size_t i = 0; i < 4; i++)
        fence_free(all[i]);
    ops_tested()->matrix_free(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(a_row_has_the_same_bits_in_any_company)
{
    enum { ROWS = 8, N = 200, K = 2100 };
    struct ops_device *dev = open_set(_i % N_SETS, 1), *other = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    uint16_t *w = weights(N, K, 11);
    struct ops_matrix m = compress(dev, w, OPS_BF16, N, K, forms[_i / N_SETS]);
    struct ops_matrix m2 = compress(other, w, OPS_BF16, N, K, forms[_i / N_SETS]);
    float *x = random_floats(ROWS * K, 2, 3), *all = fenced(ROWS * N * sizeof *all);
    float *y = fenced(ROWS * N * sizeof *y);
    ck_assert_int_eq(ops_tested()->logits(dev, all, x, &m, ROWS), OPS_OK);
    ck_assert_int_eq(ops_tested()->logits(other, y, x, &m2, ROWS), OPS_OK);
    assert_same_floats(y, all, ROWS * N, "two threads");
    for (size_t rows = 1; rows < ROWS; rows++) {
        for (size_t r = 0; r + rows <= ROWS; r += rows) {
            ck_assert_int_eq(ops_tested()->logits(dev, y, x + r * K, &m, rows), OPS_OK);
            assert_same_floats(y, all + r * N, rows * N, "rows");
        }
    }
    void *buffers[] = { w, x, all, y };
    for (size_t i = 0; i < 4; i++)
        fence_free(buffers[i]);
    ops_tested()->matrix_free(dev, &m);
    ops_tested()->matrix_free(other, &m2);
    ops_tested()->close(dev);
    ops_tested()->close(other);
}
END_TEST

START_TEST(both_vector_sets_give_the_same_bits)
{
    enum { ROWS = 5, N = 70, K = 300 };
    float *x = random_floats(ROWS * K, 2, 3), *y[2] = { NULL, NULL };
    uint16_t *w = weights(N, K, 13);
    for (int set = 1; set <= 2; set++) {
        struct ops_device *dev = open_set(set, 2);
        if (!dev)
            continue;
        struct ops_matrix m = compress(dev, w, OPS_BF16, N, K, forms[_i]);
        y[set - 1] = fenced(ROWS * N * sizeof *y[0]);
        ck_assert_int_eq(ops_tested()->logits(dev, y[set - 1], x, &m, ROWS), OPS_OK);
        ops_tested()->matrix_free(dev, &m);
        ops_tested()->close(dev);
    }
    if (y[0] && y[1])
        assert_same_floats(y[0], y[1], ROWS * N, "avx2 and avx512");
    fence_free(x);
    fence_free(w);
    for (int i = 0; i < 2; i++)
        if (y[i])
            fence_free(y[i]);
}
END_TEST

/* One infinite weight: its row is not a number, the others are as without it. */
START_TEST(what_is_not_finite_shows_in_its_own_row_only)
{
    enum { N = 20, K = 96, BAD = 5 };
    struct ops_device *dev = open_set(_i % N_SETS, 1);
    if (!dev)
        return;
    uint16_t *w = weights(N, K, 17);
    float *x = random_floats(K, 2, 3), y[N], clean[N];
    struct ops_matrix m = compress(dev, w, OPS_BF16, N, K, forms[_i / N_SETS]);
    ck_assert_int_eq(ops_tested()->logits(dev, clean, x, &m, 1), OPS_OK);
    ops_tested()->matrix_free(dev, &m);
    w[BAD * K + 40] = float_to_bf16(INFINITY);
    m = compress(dev, w, OPS_BF16, N, K, forms[_i / N_SETS]);
    ck_assert_int_eq(ops_tested()->logits(dev, y, x, &m, 1), OPS_OK);
    for (size_t n = 0; n < N; n++) {
        if (n == BAD)
            ck_assert(isnan(y[n]));
        else
            assert_same_floats(&y[n], &clean[n], 1, "row");
    }
    fence_free(w);
    fence_free(x);
    ops_tested()->matrix_free(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

/* The checkpoint's other types of numbers make the same matrix when they are the same in bf16. */
START_TEST(the_type_of_the_weights_does_not_matter)
{
    enum { N = 18, K = 70 };
    struct ops_device *dev = open_set(0, 1);
    uint16_t *w = weights(N, K, 19);
    float *f = fenced(N * K * sizeof *f);
    for (size_t i = 0; i < N * K; i++)
        f[i] = bf16_to_float(w[i]) * (1 + 0x1p-12f);
    struct ops_matrix a = compress(dev, w, OPS_BF16, N, K, forms[_i]);
    struct ops_matrix b = compress(dev, f, OPS_F32, N, K, forms[_i]);
    float *from_a = numbers_of(dev, &a), *from_b = numbers_of(dev, &b);
    assert_same_floats(from_a, from_b, N * K, "number");
    void *all[] = { w, f, from_a, from_b };
    for (size_t i = 0; i < 4; i++)
        fence_free(all[i]);
    ops_tested()->matrix_free(dev, &a);
    ops_tested()->matrix_free(dev, &b);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(what_cannot_be_compressed_is_refused)
{
    struct ops_device *dev = open_set(0, 1);
    const struct ops *ops = ops_tested();
    _Alignas(8) float w[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
    struct ops_matrix m, norm;
    ck_assert_int_eq(ops->matrix_quantize(dev, &m, w, OPS_F32, 2, 4, OPS_BF16), OPS_E_SHAPE);
    ck_assert_int_eq(ops->matrix_quantize(dev, &m, w, OPS_INT8, 2, 4, OPS_INT8), OPS_E_SHAPE);
    ck_assert_int_eq(ops->matrix_quantize(dev, &m, w, OPS_F32, 0, 4, OPS_INT4), OPS_E_SHAPE);
    ck_assert_int_eq(ops->matrix_quantize(dev, &m, NULL, OPS_F32, 2, 4, OPS_FP8), OPS_E_SHAPE);
    ck_assert_int_eq(ops->matrix_quantize(dev, &m, (char *)w + 2, OPS_F32, 1, 4, OPS_FP8),
                     OPS_E_SHAPE);
    float y[4] = { 7, 7, 7, 7 };
    norm = compress(dev, w, OPS_F32, 1, 4, OPS_INT8);
    ck_assert_int_eq(ops->rmsnorm(dev, y, w, &norm, 1, 4, 1e-5f), OPS_E_SHAPE);
    ck_assert(y[0] == 7.0f);
    ops->matrix_free(dev, &norm);
    ops->close(dev);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, a_matrix_holds_the_numbers_that_its_format_says, 0, N_SETS * N_FORMS);
    tcase_add_loop_test(tc, products_are_of_exactly_those_numbers, 0, N_SETS * N_FORMS * N_SHAPES);
    tcase_add_loop_test(tc, a_matrix_that_is_spread_out_in_pieces_gives_the_same_products, 0,
                        N_FORMS);
    tcase_add_loop_test(tc, a_row_has_the_same_bits_in_any_company, 0, N_SETS * N_FORMS);
    tcase_add_loop_test(tc, both_vector_sets_give_the_same_bits, 0, N_FORMS);
    tcase_add_loop_test(tc, what_is_not_finite_shows_in_its_own_row_only, 0, N_SETS * N_FORMS);
    tcase_add_loop_test(tc, the_type_of_the_weights_does_not_matter, 0, N_FORMS);
    tcase_add_test(tc, what_cannot_be_compressed_is_refused);
}

int main(void)
{
    return run_suite("ops_quant", add);
}
