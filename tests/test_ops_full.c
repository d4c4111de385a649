/* test_ops_full.c - what ops.h promises of bidirectional attention: segments, key masks, bias. */
#include "ops_fixture.h"

#include "ops/cpu/convert.h"

#include <math.h>

/* One problem: q, k and v as parts of one product's rows, as the vision tower has them, or each by
 * itself. */
struct full_case {
    struct ops_full a;
    float *qkv, *o, *relative;
    uint8_t *seen;
    int32_t *first_row;
};

static void full_case_make(struct full_case *c, size_t heads, size_t dim, size_t n_segments,
                           const int32_t *rows, bool bias, bool mask)
{
    *c = (struct full_case){ .first_row = fenced((n_segments + 1) * sizeof *c->first_row) };
    c->first_row[0] = 0;
    for (size_t s = 0; s < n_segments; s++)
        c->first_row[s + 1] = c->first_row[s] + rows[s];
    const size_t n = (size_t)c->first_row[n_segments], width = heads * dim;
    c->qkv = random_floats(n * 3 * width, 5, 1);
    c->o = random_floats(n * width, 6, 1);
    c->seen = fenced(n);
    for (size_t r = 0; r < n; r++)
        c->seen[r] = r % 3 != 1 && r % 7 != 2;
    c->relative = random_floats(2 * 9 * heads, 7, 2);
    c->a = (struct ops_full){ .n_heads = heads,
                              .head_dim = dim,
                              .q = c->qkv,
                              .k = c->qkv + width,
                              .v = c->qkv + 2 * width,
                              .o = c->o,
                              .q_stride = 3 * width,
                              .k_stride = 3 * width,
                              .v_stride = 3 * width,
                              .o_stride = width,
                              .n_segments = n_segments,
                              .first_row = c->first_row,
                              .rows = n,
                              .key_seen = mask ? c->seen : NULL,
                              .relative = bias ? c->relative : NULL,
                              .reach = 9,
                              .scale = 0.4f };
}

static void full_case_free(struct full_case *c)
{
    void *all[] = { c->qkv, c->o, c->relative, c->seen, c->first_row };
    for (size_t i = 0; i < 5; i++)
        fence_free(all[i]);
}

static double exact_score(const struct ops_full *a, size_t head, size_t i, size_t j)
{
    const float *q = (const float *)a->q + i * a->q_stride + head * a->head_dim;
    const float *k = (const float *)a->k + j * a->k_stride + head * a->head_dim;
    double score = 0;
    for (size_t d = 0; d < a->head_dim; d++)
        score += (double)q[d] * (double)k[d];
    score *= (double)a->scale;
    if (a->relative) {
        const int reach = (int)a->reach;
        int distance = (int)j - (int)i;
        distance = distance < -reach ? -reach : distance > reach - 1 ? reach - 1 : distance;
        score += (double)a->relative[(size_t)(distance + reach) * a->n_heads + head];
    }
    return score;
}

/* Softmax over the seen keys of begin .. end - 1 in double precision. */
static void check_row(const struct ops_full *a, size_t begin, size_t end, size_t row, size_t head)
{
    const float *got = (const float *)a->o + row * a->o_stride + head * a->head_dim;
    double out[OPS_FULL_MAX_DIM] = { 0 }, sum = 0, largest = 0, max = -INFINITY;
    for (size_t j = begin; j < end; j++)
        if (!a->key_seen || a->key_seen[j])
            max = fmax(max, exact_score(a, head, row, j));
    for (size_t j = begin; j < end; j++) {
        if (a->key_seen && !a->key_seen[j])
            continue;
        const double p = exp(exact_score(a, head, row, j) - max);
        const float *v = (const float *)a->v + j * a->v_stride + head * a->head_dim;
        sum += p;
        for (size_t d = 0; d < a->head_dim; d++) {
            out[d] += p * (double)v[d];
            largest = fmax(largest, fabs((double)v[d]));
        }
    }
    for (size_t d = 0; d < a->head_dim; d++)
        assert_near((double)got[d], sum > 0 ? out[d] / sum : 0,
                    ldexp(largest, a->rounded || testing_cuda() ? -7 : -14), "o", d);
}

static void check_full(const struct ops_full *a)
{
    for (size_t s = 0; s < a->n_segments; s++)
        for (size_t r = (size_t)a->first_row[s]; r < (size_t)a->first_row[s + 1]; r++)
            for (size_t h = 0; h < a->n_heads; h++)
                check_row(a, (size_t)a->first_row[s], (size_t)a->first_row[s + 1], r, h);
}

/* Sets N_SETS and N_SETS + 1 are AVX-512 and its pairs with rounding allowed: q, k and v are bf16
 * here, so that only the probabilities are rounded. */
static struct ops_device *open_set_or_rounded(int set, unsigned threads, struct full_case *c)
{
    if (set < N_SETS)
        return open_set(set, threads);
    for (size_t i = 0; i < c->a.rows * c->a.q_stride; i++)
        c->qkv[i] = bf16_to_float(float_to_bf16(c->qkv[i]));
    c->a.rounded = true;
    return open_set(testing_cuda() ? 0 : SET_AVX512 + set - N_SETS, threads);
}

static const size_t geometries[][2] = { { 3, 72 }, { 2, 64 }, { 4, 5 }, { 1, 128 }, { 1, 1 } };
enum { N_GEOMETRIES = sizeof geometries / sizeof *geometries, ALL_SETS = N_SETS + 2 };

/* _i: set, geometry, bias, mask.  Segments of less and more than a chunk, one row, and none. */
START_TEST(full_attention_is_within_the_allowed_error)
{
    const int32_t rows[] = { 1, 25, 0, 300, 128 };
    const size_t *g = geometries[_i / ALL_SETS % N_GEOMETRIES];
    const int variant = _i / ALL_SETS / N_GEOMETRIES;
    struct full_case c;
    full_case_make(&c, g[0], g[1], 5, rows, variant & 1, variant & 2);
    struct ops_device *dev = open_set_or_rounded(_i % ALL_SETS, 2, &c);
    if (!dev) {
        full_case_free(&c);
        return;
    }
    ck_assert_int_eq(ops_tested()->attention_full(dev, &c.a), OPS_OK);
    check_full(&c.a);
    full_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(a_key_that_is_not_seen_does_not_matter_and_without_any_the_rows_are_zero)
{
    const int32_t rows[] = { 40, 7 };
    struct full_case c;
    full_case_make(&c, 2, 24, 2, rows, true, true);
    struct ops_device *dev = open_set_or_rounded(_i, 1, &c);
    if (!dev) {
        full_case_free(&c);
        return;
    }
    memset(c.seen + 40, 0, 7);
    for (size_t r = 0; r < 47; r++)
        for (size_t i = 0; i < 2 * 48 && !c.seen[r]; i++)
            c.qkv[r * 144 + 48 + i] = NAN;
    ck_assert_int_eq(ops_tested()->attention_full(dev, &c.a), OPS_OK);
    check_full(&c.a);
    for (size_t i = 40 * 48; i < 47 * 48; i++)
        ck_assert(c.o[i] == 0.0f);
    full_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(a_segment_has_the_same_bits_alone_in_company_and_with_any_number_of_threads)
{
    const int32_t rows[] = { 33, 290, 5 };
    struct full_case c;
    full_case_make(&c, 3, 40, 3, rows, true, true);
    float *alone = fenced(328 * 120 * sizeof *alone);
    struct ops_device *dev = open_set_or_rounded(_i, 1, &c);
    if (!dev) {
        full_case_free(&c);
        fence_free(alone);
        return;
    }
    for (size_t s = 0; s < 3; s++) {
        const size_t first = (size_t)c.first_row[s];
        const int32_t first_row[] = { 0, rows[s] };
        struct ops_full one = c.a;
        one.q = (const float *)c.a.q + first * 360;
        one.k = (const float *)c.a.k + first * 360;
        one.v = (const float *)c.a.v + first * 360;
        one.o = alone + first * 120;
        one.key_seen = c.seen + first;
        one.n_segments = 1;
        one.first_row = first_row;
        one.rows = (size_t)rows[s];
        ck_assert_int_eq(ops_tested()->attention_full(dev, &one), OPS_OK);
    }
    ops_tested()->close(dev);
    dev = open_set_or_rounded(_i, 3, &c);
    ck_assert_int_eq(ops_tested()->attention_full(dev, &c.a), OPS_OK);
    assert_same_floats(c.o, alone, 328 * 120, "o");
    ops_tested()->close(dev);
    full_case_free(&c);
    fence_free(alone);
}
END_TEST

START_TEST(wrong_shapes_are_refused_and_touch_nothing)
{
    const int32_t rows[] = { 4, 2 };
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    struct full_case c;
    full_case_make(&c, 2, 16, 2, rows, true, false);
    struct ops_full bad[9];
    for (size_t i = 0; i < 9; i++)
        bad[i] = c.a;
    bad[0].head_dim = 0;
    bad[1].head_dim = OPS_FULL_MAX_DIM + 1;
    bad[2].n_heads = 0;
    bad[3].q_stride = 31;
    bad[4].o_stride = 31;
    bad[5].reach = 0;
    bad[6].rows = 7;
    bad[7].n_segments = 0;
    const int32_t backwards[] = { 0, 8, 6 };
    bad[8].first_row = backwards;
    c.o[0] = 5;
    for (size_t i = 0; i < 9; i++) {
        if (testing_cuda() && (i == 6 || i == 8)) /* there only the device knows the segments */
            continue;
        ck_assert_msg(ops_tested()->attention_full(dev, &bad[i]) == OPS_E_SHAPE, "case %zu", i);
    }
    bad[7].rows = 0;
    ck_assert_int_eq(ops_tested()->attention_full(dev, &bad[7]), OPS_OK);
    ck_assert(c.o[0] == 5.0f);
    full_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, full_attention_is_within_the_allowed_error, 0,
                        ALL_SETS * N_GEOMETRIES * 4);
    tcase_add_loop_test(
        tc, a_key_that_is_not_seen_does_not_matter_and_without_any_the_rows_are_zero, 0, ALL_SETS);
    tcase_add_loop_test(tc,
                        a_segment_has_the_same_bits_alone_in_company_and_with_any_number_of_threads,
                        0, ALL_SETS);
    tcase_add_loop_test(tc, wrong_shapes_are_refused_and_touch_nothing, 0, N_SETS);
}

int main(void)
{
    return run_suite("ops_full", add);
}
