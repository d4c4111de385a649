/* ops_fixture.c - devices, fenced memory and random problems for the tests of the ops. */
#include "ops_fixture.h"

#include "ops/cpu/convert.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

const char *const ops_sets[N_SETS + 1] = { "plain", "avx2", "avx512", "avx512bf16" };
const enum ops_dtype ops_dtypes[3] = { OPS_F32, OPS_BF16, OPS_F16 };
const enum ops_dtype ops_kv_dtypes[N_KV_DTYPES] = { OPS_F32, OPS_BF16, OPS_F16, OPS_FP8 };

bool testing_cuda(void)
{
    return strcmp(ops_tested()->name, "cuda") == 0;
}

double act_step(double v)
{
    return testing_cuda() ? fabs(v) * 0x1p-8 : 0;
}

float act_round(float v)
{
    return testing_cuda() ? bf16_to_float(float_to_bf16(v)) : v;
}

struct ops_device *open_set(int set, unsigned threads)
{
    if (set > 0 && testing_cuda())
        return NULL;
    const struct ops_open how = { .threads = threads };
    const char *why = NULL;
    setenv("AIRLOCK_CPU", ops_sets[set], 1);
    struct ops_device *dev = ops_tested()->open(&how, &why);
    unsetenv("AIRLOCK_CPU");
    ck_assert_msg(dev != NULL, "%s", why);
    if (strstr(ops_tested()->describe(dev), "no AVX")) {
        printf("# left out: %s\n", ops_tested()->describe(dev));
        ops_tested()->close(dev);
        return NULL;
    }
    return dev;
}

enum { PAGE = 4096 };

/* Layout: a page with the size, the pages of the data, a page without access. */
void *fenced(size_t bytes)
{
    const size_t data = (bytes + PAGE - 1) / PAGE * PAGE, all = data + 2 * PAGE;
    char *base = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(base, MAP_FAILED);
    ck_assert_int_eq(mprotect(base + PAGE + data, PAGE, PROT_NONE), 0);
    *(size_t *)(void *)base = all;
    return base + PAGE + data - bytes;
}

void fence_free(void *p)
{
    if (!p)
        return;
    char *base = (char *)p - (uintptr_t)p % PAGE - PAGE;
    munmap(base, *(size_t *)(void *)base);
}

static float next_random(unsigned *seed, float amplitude)
{
    *seed = *seed * 1664525u + 1013904223u;
    return ((float)(*seed >> 8) / (1 << 23) - 1.0f) * amplitude;
}

void *random_numbers(size_t n, enum ops_dtype dtype, unsigned seed, float amplitude)
{
    void *p = fenced(n * ops_dtype_size(dtype));
    seed = seed * 2654435761u + 12345u;
    for (size_t i = 0; i < n; i++)
        store_float(p, dtype, i, act_round(next_random(&seed, amplitude)));
    return p;
}

float *random_floats(size_t n, unsigned seed, float amplitude)
{
    return random_numbers(n, OPS_F32, seed, amplitude);
}

/* sign, exponent and fraction of a number with so many bits of them. */
static double decode(unsigned bits, int exponent_bits, int fraction_bits)
{
    const int bias = (1 << (exponent_bits - 1)) - 1;
    const int exponent = (int)(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
    const double fraction = ldexp(bits & ((1u << fraction_bits) - 1), -fraction_bits);
    const double sign = bits >> (exponent_bits + fraction_bits) & 1 ? -1 : 1;
    if (exponent == 0)
        return sign * ldexp(fraction, 1 - bias);
    return sign * ldexp(1 + fraction, exponent - bias);
}

double number_at(const void *data, enum ops_dtype dtype, size_t i)
{
    if (dtype == OPS_F32)
        return ((const float *)data)[i];
    if (dtype == OPS_FP8)
        return decode(((const uint8_t *)data)[i], 4, 3);
    const uint16_t h = ((const uint16_t *)data)[i];
    return dtype == OPS_BF16 ? decode(h, 8, 7) : decode(h, 5, 10);
}

struct ops_matrix random_matrix(struct ops_device *dev, size_t rows, size_t cols,
                                enum ops_dtype dtype, unsigned seed)
{
    struct ops_matrix m;
    ck_assert_int_eq(ops_tested()->matrix_load(dev, &m, random_numbers(rows * cols, dtype, seed, 1),
                                               dtype, rows, cols),
                     OPS_OK);
    return m;
}

void matrix_drop(struct ops_device *dev, struct ops_matrix *m)
{
    void *data = (void *)(uintptr_t)m->data;
    ops_tested()->matrix_free(dev, m);
    fence_free(data);
}

/* A passing ck_assert is a system call; these are called by the million. */
void assert_near(double got, double want, double allowed, const char *what, size_t i)
{
    if (!(fabs(got - want) <= allowed))
        ck_abort_msg("%s %zu: got %.9g, want %.9g, allowed %.3g", what, i, got, want, allowed);
}

void assert_same_floats(const float *a, const float *b, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a[i], &b[i], sizeof *a) != 0)
            ck_abort_msg("%s %zu: %.9g and %.9g", what, i, (double)a[i], (double)b[i]);
    }
}

void kv_case_make(struct kv_case *c, struct ops_heads heads, enum ops_dtype dtype, size_t n_seqs,
                  const int32_t *rows, const int32_t *length, unsigned seed)
{
    *c = (struct kv_case){ .heads = heads,
                           .width = (heads.n_heads + 2 * heads.n_kv_heads) * heads.head_dim };
    size_t blocks = 0, stride = 0;
    for (size_t s = 0; s < n_seqs; s++) {
        const size_t own = ((size_t)length[s] + OPS_KV_BLOCK - 1) / OPS_KV_BLOCK;
        c->first_row[s + 1] = c->first_row[s] + rows[s];
        c->length[s] = length[s];
        blocks += own;
        stride = own > stride ? own : stride;
        if ((size_t)length[s] > c->batch.max_length)
            c->batch.max_length = (size_t)length[s];
        if ((size_t)rows[s] > c->batch.most_rows)
            c->batch.most_rows = (size_t)rows[s];
    }
    c->table = fenced(n_seqs * stride * sizeof *c->table);
    size_t given = 0;
    for (size_t s = 0; s < n_seqs; s++) {
        for (size_t b = 0; b < stride; b++) /* dealt out backwards: not in the order of tokens */
            c->table[s * stride + b] =
                b * OPS_KV_BLOCK < (size_t)length[s] ? (int32_t)(blocks - ++given) : -1;
    }
    const size_t n = blocks * heads.n_kv_heads * OPS_KV_BLOCK * heads.head_dim;
    c->kv = (struct ops_kv){ random_numbers(n, dtype, seed, 1),
                             random_numbers(n, dtype, seed + 1, 1), dtype, blocks };
    c->batch.n_seqs = n_seqs;
    c->batch.first_row = c->first_row;
    c->batch.length = c->length;
    c->batch.block_table = c->table;
    c->batch.table_stride = stride;
    c->batch.rows = (size_t)c->first_row[n_seqs];
    c->qkv = random_floats(c->batch.rows * c->width, seed + 2, 1);
}

void kv_case_free(struct kv_case *c)
{
    fence_free(c->kv.k);
    fence_free(c->kv.v);
    fence_free(c->table);
    fence_free(c->qkv);
}

void ops_add_loop_test(TCase *tc, const TTest *test, int first, int end)
{
    const char *every = getenv("OPS_EVERY");
    const int step = every && atoi(every) > 1 ? atoi(every) : 1;
    if (step == 1)
        _tcase_add_test(tc, test, 0, 0, first, end);
    for (int i = first; step > 1 && i < end; i += step)
        _tcase_add_test(tc, test, 0, 0, i, i + 1);
}

int run_suite(const char *name, void (*add)(TCase *))
{
    const char *missing = ops_tested()->missing(0);
    if (missing) {
        printf("# skipped: %s\n", missing);
        return 77;
    }
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(ops_tested()->name);
    tcase_set_timeout(tc, 0);
    add(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK); /* leaks and races are seen in this process */
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
