/* test_ops_attention.c - what ops.h promises of rotary embedding, of the cache and of attention. */
#include "ops_fixture.h"

#include <math.h>

/* Index of a number of the cache. */
static size_t kv_index(const struct kv_case *c, size_t seq, size_t head, size_t token, size_t d)
{
    const size_t block = (size_t)c->table[seq * c->batch.table_stride + token / OPS_KV_BLOCK];
    return ((block * c->heads.n_kv_heads + head) * OPS_KV_BLOCK + token % OPS_KV_BLOCK) *
               c->heads.head_dim +
           d;
}

/* Softmax attention of one query in double precision; the largest |v| seen. */
static double exact_attention(const struct kv_case *c, size_t seq, size_t row, size_t head,
                              size_t position, double scale, double *out)
{
    const size_t dim = c->heads.head_dim, kv = head / (c->heads.n_heads / c->heads.n_kv_heads);
    const float *q = c->qkv + row * c->width + head * dim;
    double *score = calloc(position + 1, sizeof *score), max = -INFINITY, sum = 0, largest = 0;
    for (size_t j = 0; j <= position; j++) {
        for (size_t d = 0; d < dim; d++)
            score[j] += (double)q[d] * number_at(c->kv.k, c->kv.dtype, kv_index(c, seq, kv, j, d));
        score[j] *= scale;
        max = fmax(max, score[j]);
    }
    for (size_t d = 0; d < dim; d++)
        out[d] = 0;
    for (size_t j = 0; j <= position; j++) {
        const double p = exp(score[j] - max);
        sum += p;
        for (size_t d = 0; d < dim; d++) {
            const double v = number_at(c->kv.v, c->kv.dtype, kv_index(c, seq, kv, j, d));
            out[d] += p * v;
            largest = fmax(largest, fabs(v));
        }
    }
    for (size_t d = 0; d < dim; d++)
        out[d] /= sum;
    free(score);
    return largest;
}

static void check_attention(const struct kv_case *c, const float *o, double scale)
{
    double want[256];
    for (size_t s = 0; s < c->batch.n_seqs; s++) {
        const size_t begin = (size_t)c->first_row[s], end = (size_t)c->first_row[s + 1];
        for (size_t r = begin; r < end; r++) {
            const size_t position = (size_t)c->length[s] - (end - r);
            for (size_t h = 0; h < c->heads.n_heads; h++) {
                const double v = exact_attention(c, s, r, h, position, scale, want);
                const float *got = o + (r * c->heads.n_heads + h) * c->heads.head_dim;
                for (size_t d = 0; d < c->heads.head_dim; d++)
                    assert_near((double)got[d], want[d], ldexp(v, testing_cuda() ? -7 : -14), "o",
                                d);
            }
        }
    }
}

static const struct ops_heads geometries[] = {
    { 6, 2, 128, 96 }, { 4, 4, 64, 64 }, { 3, 1, 6, 4 }, { 30, 1, 34, 0 }, { 2, 1, 256, 256 },
};
enum { N_GEOMETRIES = sizeof geometries / sizeof *geometries };

/* _i: set, dtype and geometry. */
START_TEST(attention_of_a_mixed_batch_is_within_the_allowed_error)
{
    const int set = _i % N_SETS, dtype = _i / N_SETS % N_KV_DTYPES, g = _i / N_SETS / N_KV_DTYPES;
    const int32_t rows[] = { 1, 5, 0, 33, 1, 17 }, length[] = { 1, 5, 40, 150, 300, 128 };
    struct ops_device *dev = open_set(set, 2);
    if (!dev)
        return;
    struct kv_case c;
    kv_case_make(&c, geometries[g], ops_kv_dtypes[dtype], 6, rows, length, 5);
    const size_t n = c.batch.rows * c.heads.n_heads * c.heads.head_dim;
    float *o = random_floats(n, 8, 1);
    ck_assert_int_eq(ops_tested()->attention(dev, o, c.qkv, &c.batch, &c.heads, &c.kv, 0.7f),
                     OPS_OK);
    check_attention(&c, o, (double)0.7f);
    fence_free(o);
    kv_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(the_first_token_gets_its_own_value_exactly)
{
    const int32_t one = 1;
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    struct kv_case c;
    kv_case_make(&c, geometries[0], OPS_F32, 1, &one, &one, 5);
    float o[6 * 128];
    ck_assert_int_eq(ops_tested()->attention(dev, o, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f),
                     OPS_OK);
    for (size_t h = 0; h < 6; h++)
        assert_same_floats(o + h * 128, (float *)c.kv.v + h / 3 * 16 * 128, 128, "value");
    kv_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(what_lies_in_the_cache_behind_the_last_token_does_not_matter)
{
    const int32_t rows = 3, length = 21;
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    struct kv_case c;
    kv_case_make(&c, geometries[0], OPS_F32, 1, &rows, &length, 6);
    float before[3 * 6 * 128], after[3 * 6 * 128];
    ck_assert_int_eq(ops_tested()->attention(dev, before, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f),
                     OPS_OK);
    for (size_t head = 0; head < 2; head++)
        for (size_t token = 21; token < 32; token++)
            for (size_t d = 0; d < 128; d++) {
                ((float *)c.kv.k)[kv_index(&c, 0, head, token, d)] = NAN;
                ((float *)c.kv.v)[kv_index(&c, 0, head, token, d)] = NAN;
            }
    ck_assert_int_eq(ops_tested()->attention(dev, after, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f),
                     OPS_OK);
    assert_same_floats(before, after, 3 * 6 * 128, "o");
    kv_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

/* Everything that is not a key or value of a token of a sequence: NaN, in the blocks of nobody and
 * behind the last tokens; K and V in qkv, which only rope reads; blocks that do not exist in the
 * table behind the last token's. */
static void poison_the_rest(struct kv_case *c, float *o, size_t n)
{
    const struct ops_heads *h = &c->heads;
    const size_t block = h->n_kv_heads * OPS_KV_BLOCK * h->head_dim;
    float *clean[2] = { c->kv.k, c->kv.v };
    float *spoilt[2] = { fenced(c->kv.n_blocks * block * sizeof(float)),
                         fenced(c->kv.n_blocks * block * sizeof(float)) };
    for (size_t i = 0; i < c->kv.n_blocks * block; i++)
        spoilt[0][i] = spoilt[1][i] = NAN;
    for (size_t s = 0; s < c->batch.n_seqs; s++) {
        const size_t length = (size_t)c->length[s];
        for (size_t i = 0; i < h->n_kv_heads * length * h->head_dim; i++) {
            const size_t d = i % h->head_dim, token = i / h->head_dim % length;
            const size_t at = kv_index(c, s, i / h->head_dim / length, token, d);
            for (int k = 0; k < 2; k++)
                spoilt[k][at] = clean[k][at];
        }
        for (size_t b = (length + OPS_KV_BLOCK - 1) / OPS_KV_BLOCK; b < c->batch.table_stride; b++)
            c->table[s * c->batch.table_stride + b] = b % 2 ? -1 : INT32_MAX;
    }
    fence_free(c->kv.k);
    fence_free(c->kv.v);
    c->kv.k = spoilt[0];
    c->kv.v = spoilt[1];
    for (size_t i = 0; i < c->batch.rows * c->width; i++)
        if (i % c->width >= h->n_heads * h->head_dim)
            c->qkv[i] = NAN;
    for (size_t i = 0; i < n; i++)
        o[i] = NAN;
}

/* _i: set and geometry.  Sequences that end in the middle, at the end and at the beginning of a
 * block and of a chunk, decoded and as prompts. */
START_TEST(nothing_but_the_tokens_of_a_sequence_reaches_its_rows)
{
    const int32_t rows[] = { 1, 1, 7, 1, 5, 17, 1, 2 };
    const int32_t length[] = { 1, 16, 21, 129, 128, 17, 255, 145 };
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    struct kv_case c;
    kv_case_make(&c, geometries[_i / N_SETS], OPS_F32, 8, rows, length, 6);
    const size_t n = c.batch.rows * c.heads.n_heads * c.heads.head_dim;
    float *before = fenced(n * sizeof *before), *after = fenced(n * sizeof *after);
    ck_assert_int_eq(ops_tested()->attention(dev, before, c.qkv, &c.batch, &c.heads, &c.kv, 0.5f),
                     OPS_OK);
    poison_the_rest(&c, after, n);
    ck_assert_int_eq(ops_tested()->attention(dev, after, c.qkv, &c.batch, &c.heads, &c.kv, 0.5f),
                     OPS_OK);
    assert_same_floats(before, after, n, "o");
    fence_free(before);
    fence_free(after);
    kv_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(attention_refuses_blocks_and_rows_that_are_not_there)
{
    const int32_t rows[] = { 2, 1 }, length[] = { 20, 4 };
    struct ops_device *dev = open_set(0, 1);
    struct kv_case c;
    kv_case_make(&c, geometries[2], OPS_F32, 2, rows, length, 7);
    float o[3 * 18] = { 0 };
    const struct ops *ops = ops_tested();
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f), OPS_OK);
    memset(o, 0, sizeof o);

    struct ops_kv kv = c.kv;
    kv.n_blocks = 2;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &c.heads, &kv, 1.0f), OPS_E_SHAPE);
    kv = c.kv;
    kv.dtype = (enum ops_dtype)7;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &c.heads, &kv, 1.0f), OPS_E_SHAPE);
    struct ops_heads heads = c.heads;
    heads.n_heads = 4;
    heads.n_kv_heads = 3;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &heads, &c.kv, 1.0f), OPS_E_SHAPE);
    heads = c.heads;
    heads.head_dim = 258;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &heads, &c.kv, 1.0f), OPS_E_SHAPE);
    c.length[0] = 1; /* less than its rows */
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f), OPS_E_SHAPE);
    c.length[0] = 33; /* more than its blocks */
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f), OPS_E_SHAPE);
    c.length[0] = 20;
    c.batch.rows = 2;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &c.heads, &c.kv, 1.0f), OPS_E_SHAPE);
    for (size_t i = 0; i < 54; i++)
        ck_assert(o[i] == 0.0f);
    struct ops_batch none = c.batch;
    none.n_seqs = none.rows = 0;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &none, &c.heads, &c.kv, 1.0f), OPS_OK);
    kv_case_free(&c);
    ops->close(dev);
}
END_TEST

/* _i: set, dtype and geometry. */
START_TEST(rope_turns_q_and_k_and_puts_k_and_v_into_their_slots)
{
    const int set = _i % N_SETS, g = _i / N_SETS / N_KV_DTYPES;
    const enum ops_dtype dtype = ops_kv_dtypes[_i / N_SETS % N_KV_DTYPES];
    const struct ops_heads heads = geometries[g];
    const size_t dim = heads.head_dim, half = heads.rotary_dim / 2, n_kv = heads.n_kv_heads;
    const size_t width = (heads.n_heads + 2 * n_kv) * dim, rows = 3;
    const int32_t slot[] = { 47, 0, 17 };
    struct ops_device *dev = open_set(set, 2);
    if (!dev)
        return;
    float *x = random_floats(rows * width, 1, 4), *old = random_floats(rows * width, 1, 4);
    float *cosine = random_floats(rows * half, 2, 1), *sine = random_floats(rows * half, 3, 1);
    const size_t n = 3 * n_kv * OPS_KV_BLOCK * dim;
    struct ops_kv kv = { fenced(n * ops_dtype_size(dtype)), fenced(n * ops_dtype_size(dtype)),
                         dtype, 3 };
    ck_assert_int_eq(ops_tested()->rope_kv(dev, x, cosine, sine, slot, rows, &heads, &kv), OPS_OK);

    size_t stored = 0;
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < (heads.n_heads + n_kv) * dim; i++) {
            const size_t d = i % dim, p = d < half ? d : d - half;
            const float *head = old + r * width + i - d;
            double want = (double)head[d];
            if (d < 2 * half) {
                const double c = (double)cosine[r * half + p], s = (double)sine[r * half + p];
                const double a = (double)head[p], b = (double)head[half + p];
                want = d < half ? a * c - b * s : b * c + a * s;
            }
            assert_near((double)x[r * width + i], want, d < 2 * half ? 0x1p-20 + act_step(want) : 0,
                        "turned", i);
        }
        assert_same_floats(x + r * width + (heads.n_heads + n_kv) * dim,
                           old + r * width + (heads.n_heads + n_kv) * dim, n_kv * dim, "v");
        for (size_t i = 0; i < n_kv * dim; i++) {
            const size_t token =
                ((size_t)slot[r] / 16 * n_kv + i / dim) * 16 + (size_t)slot[r] % 16;
            const float *k = x + r * width + heads.n_heads * dim, *v = k + n_kv * dim;
            const double step = dtype == OPS_F32    ? 0
                                : dtype == OPS_BF16 ? 0x1p-8
                                : dtype == OPS_FP8  ? 0x1p-4
                                                    : 0x1p-11;
            const double tiny = dtype == OPS_FP8 ? 0x1p-10 : 0; /* half a step below 2^-6 */
            const double got_k = number_at(kv.k, dtype, token * dim + i % dim);
            const double got_v = number_at(kv.v, dtype, token * dim + i % dim);
            assert_near(got_k, (double)k[i], fabs((double)k[i]) * step + tiny, "k", i);
            assert_near(got_v, (double)v[i], fabs((double)v[i]) * step + tiny, "v", i);
            stored += got_k != 0;
        }
    }
    size_t nonzero = 0;
    for (size_t i = 0; i < n; i++)
        nonzero += number_at(kv.k, dtype, i) != 0;
    ck_assert_uint_eq(nonzero, stored); /* and nowhere else */
    void *all[] = { x, old, cosine, sine, kv.k, kv.v };
    for (size_t i = 0; i < 6; i++)
        fence_free(all[i]);
    ops_tested()->close(dev);
}
END_TEST

/* Beyond the largest number of E4M3 there is no infinity: it is the largest that is kept. */
START_TEST(fp8_keeps_what_is_too_large_as_448)
{
    const struct ops_heads heads = { 1, 1, 4, 0 };
    const int32_t slot = 0;
    struct ops_device *dev = open_set(_i, 1);
    if (!dev)
        return;
    float qkv[12] = { 0, 0, 0, 0, 448, 456, 6e4f, -1e9f, 500, -449, INFINITY, 0x1p-9f };
    const double want[] = { 448, 448, 448, -448, 448, -448, 448, 0x1p-9 };
    uint8_t *k = fenced(16 * 4), *v = fenced(16 * 4);
    struct ops_kv kv = { k, v, OPS_FP8, 1 };
    ck_assert_int_eq(ops_tested()->rope_kv(dev, qkv, NULL, NULL, &slot, 1, &heads, &kv), OPS_OK);
    for (size_t i = 0; i < 8; i++)
        assert_near(number_at(i < 4 ? k : v, OPS_FP8, i % 4), want[i], 0, "number", i);
    fence_free(k);
    fence_free(v);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(rope_refuses_slots_outside_the_cache_and_odd_rotary_dims)
{
    struct ops_device *dev = open_set(0, 1);
    struct ops_heads heads = { 1, 1, 4, 2 };
    float qkv[24], k[64] = { 0 }, v[64] = { 0 }, cosine[2] = { 1, 1 }, sine[2] = { 0, 0 };
    struct ops_kv kv = { k, v, OPS_F32, 1 };
    for (size_t i = 0; i < 24; i++)
        qkv[i] = 1.0f;
    const int32_t beyond[] = { 0, 16 }, negative[] = { 0, -1 }, good[] = { 0, 15 };
    const struct ops *ops = ops_tested();
    ck_assert_int_eq(ops->rope_kv(dev, qkv, cosine, sine, beyond, 2, &heads, &kv), OPS_E_SHAPE);
    ck_assert_int_eq(ops->rope_kv(dev, qkv, cosine, sine, negative, 2, &heads, &kv), OPS_E_SHAPE);
    heads.rotary_dim = 3;
    ck_assert_int_eq(ops->rope_kv(dev, qkv, cosine, sine, good, 2, &heads, &kv), OPS_E_SHAPE);
    heads.rotary_dim = 6;
    ck_assert_int_eq(ops->rope_kv(dev, qkv, cosine, sine, good, 2, &heads, &kv), OPS_E_SHAPE);
    heads.rotary_dim = 2;
    ck_assert(k[0] == 0.0f && v[0] == 0.0f);
    ck_assert_int_eq(ops->rope_kv(dev, qkv, cosine, sine, good, 0, &heads, &kv), OPS_OK);
    ck_assert(k[0] == 0.0f);
    ck_assert_int_eq(ops->rope_kv(dev, qkv, cosine, sine, good, 2, &heads, &kv), OPS_OK);
    ck_assert(k[0] == 1.0f && v[63] == 1.0f);
    ops->close(dev);
}
END_TEST

START_TEST(geometries_that_break_the_contract_are_refused)
{
    const struct ops_heads bad[] = { { 4, 3, 4, 2 },   { 0, 1, 4, 2 }, { 1, 0, 4, 2 },
                                     { 1, 1, 258, 2 }, { 1, 1, 3, 2 }, { 1, 1, 0, 0 },
                                     { 1, 1, 4, 3 },   { 1, 1, 4, 6 } };
    const struct ops_heads good = { 1, 1, 4, 2 };
    const int32_t one = 1;
    struct ops_device *dev = open_set(0, 1);
    struct kv_case c;
    kv_case_make(&c, good, OPS_F32, 1, &one, &one, 7);
    float o[4] = { 7, 7, 7, 7 }, angles[1] = { 0 };
    const int32_t slot[1] = { 0 };
    const struct ops *ops = ops_tested();
    struct ops_kv kv = c.kv;
    kv.dtype = (enum ops_dtype)7;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &c.batch, &good, &kv, 1.0f), OPS_E_SHAPE);
    ck_assert_int_eq(ops->rope_kv(dev, c.qkv, angles, angles, slot, 1, &good, &kv), OPS_E_SHAPE);
    struct ops_batch none = c.batch;
    none.n_seqs = none.rows = none.most_rows = 0;
    ck_assert_int_eq(ops->attention(dev, o, c.qkv, &none, &good, &c.kv, 1.0f), OPS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kv.dtype = OPS_F32;
        kv.n_blocks = none.n_seqs = none.rows = 0; /* nothing there that could be touched */
        ck_assert_int_eq(ops->attention(dev, o, c.qkv, &none, &bad[i], &kv, 1.0f), OPS_E_SHAPE);
        ck_assert_int_eq(ops->rope_kv(dev, c.qkv, angles, angles, slot, 0, &bad[i], &kv),
                         OPS_E_SHAPE);
    }
    ck_assert(o[0] == 7.0f && o[3] == 7.0f);
    kv_case_free(&c);
    ops->close(dev);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, attention_of_a_mixed_batch_is_within_the_allowed_error, 0,
                        N_SETS * N_KV_DTYPES * N_GEOMETRIES);
    tcase_add_loop_test(tc, the_first_token_gets_its_own_value_exactly, 0, N_SETS);
    tcase_add_loop_test(tc, what_lies_in_the_cache_behind_the_last_token_does_not_matter, 0,
                        N_SETS);
    tcase_add_loop_test(tc, nothing_but_the_tokens_of_a_sequence_reaches_its_rows, 0,
                        N_SETS * N_GEOMETRIES);
    if (!testing_cuda()) /* there only the device knows blocks, lengths and slots */
        tcase_add_test(tc, attention_refuses_blocks_and_rows_that_are_not_there);
    tcase_add_loop_test(tc, rope_turns_q_and_k_and_puts_k_and_v_into_their_slots, 0,
                        N_SETS * N_KV_DTYPES * N_GEOMETRIES);
    tcase_add_loop_test(tc, fp8_keeps_what_is_too_large_as_448, 0, N_SETS);
    if (!testing_cuda())
        tcase_add_test(tc, rope_refuses_slots_outside_the_cache_and_odd_rotary_dims);
    tcase_add_test(tc, geometries_that_break_the_contract_are_refused);
}

int main(void)
{
    return run_suite("ops_attention", add);
}
