/*
 * test_ops_invariance.c - a row has the same bits alone and in company, whatever the number of
 * threads, and with AVX2 as with AVX-512.
 */
#include "ops_fixture.h"

enum { PLAIN, AVX2, AVX512 };

static const struct {
    size_t n, k;
} shapes[] = {
    { 37, 96 }, { 129, 160 }, { 65, 3072 }, { 40, 33 }, { 24, 264 },
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, MOST_ROWS = 64 };

/* On the CUDA device weights and caches of all dtypes are bf16. */
static bool on_cuda_again(int dtype)
{
    return testing_cuda() && ops_dtypes[dtype] != OPS_BF16;
}

static void multiply(struct ops_device *dev, float *y, const float *x, const struct ops_matrix *m,
                     size_t rows)
{
    ck_assert_int_eq(ops_tested()->matmul(dev, y, x, m, rows), OPS_OK);
}

/* _i: set, dtype and shape. */
START_TEST(rows_of_a_product_are_the_same_alone_as_in_any_number)
{
    const size_t n = shapes[_i / N_SETS / 3].n, k = shapes[_i / N_SETS / 3].k;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    if (on_cuda_again(_i / N_SETS % 3)) {
        ops_tested()->close(dev);
        return;
    }
    struct ops_matrix m = random_matrix(dev, n, k, ops_dtypes[_i / N_SETS % 3], 1);
    float *x = random_floats(MOST_ROWS * k, 2, 1), *y = fenced(MOST_ROWS * n * sizeof *y);
    float *alone = fenced(MOST_ROWS * n * sizeof *alone);
    for (size_t r = 0; r < MOST_ROWS; r++)
        multiply(dev, alone + r * n, x + r * k, &m, 1);
    for (size_t rows = 2; rows <= 40; rows += testing_cuda() && rows > 9 ? 7 : 1) {
        const size_t first = 40 - rows; /* so that a row's place in its tile varies */
        /* CUDA promises it within a class of numbers of rows: up to 8, 16, 32, 64. */
        const size_t class_rows = rows <= 16 ? 16 : rows <= 32 ? 32 : 64;
        if (testing_cuda() && rows > 8)
            multiply(dev, alone, x, &m, class_rows), multiply(dev, y, x, &m, rows);
        else
            multiply(dev, y, x + first * k, &m, rows);
        assert_same_floats(y, alone + (testing_cuda() && rows > 8 ? 0 : first * n), rows * n, "y");
    }
    fence_free(x);
    fence_free(y);
    fence_free(alone);
    matrix_drop(dev, &m);
    ops_tested()->close(dev);
}
END_TEST

static const struct ops_heads heads = { 6, 2, 96, 72 };

static void attend(struct ops_device *dev, const struct kv_case *c, const struct ops_batch *batch,
                   const float *qkv, float *o)
{
    ck_assert_int_eq(ops_tested()->attention(dev, o, qkv, batch, &c->heads, &c->kv, 0.3f), OPS_OK);
}

/* _i: set and dtype. */
START_TEST(rows_of_attention_are_the_same_alone_as_in_a_batch)
{
    const int32_t rows[] = { 40, 3, 1 }, length[] = { 40, 200, 131 };
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    struct kv_case c;
    kv_case_make(&c, heads, ops_dtypes[_i / N_SETS], 3, rows, length, 5);
    const size_t width = heads.n_heads * heads.head_dim;
    float *all = fenced(c.batch.rows * width * sizeof *all), *o = fenced(width * sizeof *o);
    attend(dev, &c, &c.batch, c.qkv, all);
    for (size_t s = 0; s < 3; s++) {
        for (int32_t r = 0; r < rows[s]; r++) {
            const int32_t first_row[] = { 0, 1 }, seen = length[s] - rows[s] + r + 1;
            const struct ops_batch one = {
                1, first_row,    &seen, c.table + s * c.batch.table_stride, c.batch.table_stride,
                1, (size_t)seen, 0
            };
            const size_t row = (size_t)(c.first_row[s] + r);
            attend(dev, &c, &one, c.qkv + row * c.width, o);
            assert_same_floats(o, all + row * width, width, "o");
        }
    }
    fence_free(all);
    fence_free(o);
    kv_case_free(&c);
    ops_tested()->close(dev);
}
END_TEST

/* All ops in a row, as a layer of the model has them; the result goes to out [ROWS, DIM]. */
enum { ROWS = 23, DIM = 480, FEED = 1000, QKV = (6 + 4) * 96, RANK = 5 };

static void run_layer(struct ops_device *dev, enum ops_dtype dtype, float *out)
{
    const struct ops *ops = ops_tested();
    const int32_t rows[] = { 20, 3 }, length[] = { 20, 150 };
    struct kv_case c;
    kv_case_make(&c, heads, dtype, 2, rows, length, 5);
    struct ops_matrix norm = random_matrix(dev, 1, DIM, dtype, 1);
    struct ops_matrix qkv_proj = random_matrix(dev, QKV, DIM, dtype, 2);
    struct ops_matrix o_proj = random_matrix(dev, DIM, 6 * 96, dtype, 3);
    struct ops_matrix gate_up = random_matrix(dev, 2 * FEED, DIM, dtype, 4);
    struct ops_matrix down = random_matrix(dev, DIM, FEED, dtype, 5);
    void *a = random_numbers(RANK * DIM, dtype, 6, 1), *b = random_numbers(QKV * RANK, dtype, 7, 1);
    const struct ops_lora_segment lora = { 2, 19, a, b, dtype, RANK, 0.25f };
    float *h = random_floats(ROWS * DIM, 8, 1), *y = random_floats(ROWS * DIM, 9, 1);
    float *qkv = random_floats(ROWS * QKV, 1, 1), *o = random_floats(ROWS * 6 * 96, 1, 1);
    float *wide = random_floats(ROWS * 2 * FEED, 1, 1), *narrow = random_floats(ROWS * FEED, 1, 1);
    float *cosine = random_floats(ROWS * 36, 10, 1), *sine = random_floats(ROWS * 36, 11, 1);
    int32_t slot[ROWS];
    for (int r = 0; r < ROWS; r++) {
        const int s = r >= 20, position = s ? 147 + r - 20 : r;
        slot[r] =
            c.table[(size_t)s * c.batch.table_stride + (size_t)position / 16] * 16 + position % 16;
    }
    int bad = 0;
    bad |= ops->rmsnorm(dev, y, h, &norm, ROWS, DIM, 1e-5f);
    bad |= ops->matmul(dev, qkv, y, &qkv_proj, ROWS);
    bad |= ops->lora(dev, qkv, y, ROWS, DIM, QKV, &lora, 1);
    bad |= ops->rope_kv(dev, qkv, cosine, sine, slot, ROWS, &heads, &c.kv);
    bad |= ops->attention(dev, o, qkv, &c.batch, &heads, &c.kv, 0.01f);
    bad |= ops->matmul(dev, y, o, &o_proj, ROWS);
    bad |= ops->add_rmsnorm(dev, h, y, y, &norm, ROWS, DIM, 1e-5f);
    bad |= ops->matmul(dev, wide, y, &gate_up, ROWS);
    bad |= ops->swiglu(dev, narrow, wide, ROWS, FEED);
    bad |= ops->logits(dev, out, narrow, &down, ROWS);
    ck_assert_int_eq(bad, 0);

    struct ops_matrix *matrices[] = { &norm, &qkv_proj, &o_proj, &gate_up, &down };
    for (size_t i = 0; i < 5; i++)
        matrix_drop(dev, matrices[i]);
    void *all[] = { a, b, h, y, qkv, o, wide, narrow, cosine, sine };
    for (size_t i = 0; i < 10; i++)
        fence_free(all[i]);
    kv_case_free(&c);
}

/* _i: set and dtype. */
START_TEST(a_layer_has_the_same_bits_with_any_number_of_threads)
{
    static float want[ROWS * DIM], got[ROWS * DIM];
    const enum ops_dtype dtype = ops_dtypes[_i / N_SETS];
    const unsigned threads[] = { 1, 2, 3, 8 };
    for (int t = 0; t < (testing_cuda() ? 2 : 4) && !on_cuda_again(_i / N_SETS); t++) {
        struct ops_device *dev = open_set(_i % N_SETS, threads[t]);
        if (!dev)
            return;
        run_layer(dev, dtype, t ? got : want);
        if (t)
            assert_same_floats(got, want, ROWS * DIM, "out");
        ops_tested()->close(dev);
    }
}
END_TEST

/* _i: dtype. */
START_TEST(a_layer_has_the_same_bits_with_avx2_as_with_avx512_and_nearly_those_of_plain_c)
{
    static float out[N_SETS][ROWS * DIM];
    float largest = 0;
    for (int set = 0; set < N_SETS; set++) {
        struct ops_device *dev = open_set(set, 2);
        if (!dev)
            return;
        run_layer(dev, ops_dtypes[_i], out[set]);
        ops_tested()->close(dev);
    }
    assert_same_floats(out[AVX2], out[AVX512], ROWS * DIM, "out");
    for (size_t i = 0; i < ROWS * DIM; i++)
        largest = out[PLAIN][i] > largest ? out[PLAIN][i] : largest;
    for (size_t i = 0; i < ROWS * DIM; i++)
        assert_near((double)out[AVX2][i], (double)out[PLAIN][i], (double)largest * 1e-2, "out", i);
}
END_TEST

/* The exponential function alone, over its whole range: by way of SwiGLU. */
START_TEST(swiglu_has_the_same_bits_with_avx2_as_with_avx512)
{
    enum { N = 1 << 16 };
    float *x = fenced(2 * N * sizeof *x), *y[2];
    for (size_t i = 0; i < N; i++) {
        x[i] = -110.0f + 220.0f / N * (float)i;
        x[N + i] = 1.0f;
    }
    for (int s = 0; s < 2; s++) {
        struct ops_device *dev = open_set(AVX2 + s, 1);
        if (!dev)
            return;
        y[s] = fenced(N * sizeof **y);
        ck_assert_int_eq(ops_tested()->swiglu(dev, y[s], x, 1, N), OPS_OK);
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
    tcase_add_loop_test(tc, rows_of_a_product_are_the_same_alone_as_in_any_number, 0,
                        N_SETS * 3 * N_SHAPES);
    tcase_add_loop_test(tc, rows_of_attention_are_the_same_alone_as_in_a_batch, 0, N_SETS * 3);
    tcase_add_loop_test(tc, a_layer_has_the_same_bits_with_any_number_of_threads, 0, N_SETS * 3);
    if (testing_cuda())
        return;
    tcase_add_loop_test(
        tc, a_layer_has_the_same_bits_with_avx2_as_with_avx512_and_nearly_those_of_plain_c, 0, 3);
    tcase_add_test(tc, swiglu_has_the_same_bits_with_avx2_as_with_avx512);
}

int main(void)
{
    return run_suite("ops_invariance", add);
}
