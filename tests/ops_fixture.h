/* ops_fixture.h - runs a test of the ops once per instruction set of the CPU, or on CUDA, and makes
 * and compares its data. */
#ifndef OPS_FIXTURE_H
#define OPS_FIXTURE_H

#include "ops/ops.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What is tested: ops_cpu, or in a second program of the same source ops_cuda_face. */
#ifndef OPS_UNDER_TEST
#define OPS_UNDER_TEST ops_cpu
#endif
const struct ops *OPS_UNDER_TEST(void);
static inline const struct ops *ops_tested(void)
{
    return OPS_UNDER_TEST();
}
bool testing_cuda(void);

/* What rounding a number to the device's type of activations may change: nothing on the CPU, half
 * a step of bf16 on CUDA. */
double act_step(double v);
/* v as the device's activations hold it. */
float act_round(float v);

/* SET_PAIRS: as AVX-512, but encoders multiply pairs of bf16 numbers. */
enum { N_SETS = 3, SET_AVX512 = 2, SET_PAIRS = 3 };
/* Values of AIRLOCK_CPU: plain, avx2, avx512, avx512bf16. */
extern const char *const ops_sets[N_SETS + 1];
extern const enum ops_dtype ops_dtypes[3];
enum { N_KV_DTYPES = 4 };
extern const enum ops_dtype ops_kv_dtypes[N_KV_DTYPES]; /* of keys and values */

/* The device with that instruction set and number of threads; CUDA has the first set only.  NULL:
 * this machine lacks the set; said on stdout.  Fails the test when it cannot be opened. */
struct ops_device *open_set(int set, unsigned threads);

/* Memory that ends where a page without access begins, so that one number too many read or written
 * is a crash.  fence_free frees. */
void *fenced(size_t bytes);
void fence_free(void *p);

/* Numbers in -amplitude .. amplitude that bf16 holds exactly when CUDA is tested, from fenced(). */
float *random_floats(size_t n, unsigned seed, float amplitude);
void *random_numbers(size_t n, enum ops_dtype dtype, unsigned seed, float amplitude);
/* The i-th number of data, read by arithmetic of the test's own. */
double number_at(const void *data, enum ops_dtype dtype, size_t i);

struct ops_matrix random_matrix(struct ops_device *dev, size_t rows, size_t cols,
                                enum ops_dtype dtype, unsigned seed);
void matrix_drop(struct ops_device *dev, struct ops_matrix *m);

void assert_near(double got, double want, double allowed, const char *what, size_t i);
void assert_same_floats(const float *a, const float *b, size_t n, const char *what);

/* One attention problem: sequences with their cache, in shuffled blocks. */
struct kv_case {
    struct ops_heads heads;
    struct ops_kv kv;
    struct ops_batch batch;
    float *qkv; /* [rows, width] */
    size_t width;
    int32_t first_row[9], length[8];
    int32_t *table;
};
/* n_seqs at most 8; rows[s] rows at the end of length[s] tokens. */
void kv_case_make(struct kv_case *c, struct ops_heads heads, enum ops_dtype dtype, size_t n_seqs,
                  const int32_t *rows, const int32_t *length, unsigned seed);
void kv_case_free(struct kv_case *c);

/* With OPS_EVERY=n in the environment only every n-th case of a loop: for sanitizers of a GPU,
 * under which each launch takes long. */
void ops_add_loop_test(TCase *tc, const TTest *test, int first, int end);
#undef tcase_add_loop_test
#define tcase_add_loop_test(tc_, test_, first_, end_)                                              \
    ops_add_loop_test((tc_), (test_), (first_), (end_))

/* Runs what add() adds, without forking.  The program's exit code; 77: there is no GPU. */
int run_suite(const char *name, void (*add)(TCase *));

#endif
