/*
 * bench_ops.c - the CPU ops in the shapes of Phi-4-mini beside this machine's own ceilings: read
 * bandwidth and multiply-adds.
 *
 *   bench_ops [LAYERS [THREADS [FORM [decode]]]]
 *       default: 6 layers (1.2 GB of bf16 weights), all usable cores, bf16; FORM: fp8, int8 or
 * int4; decode: nothing else
 *
 * Everything is measured in turn, several rounds long, and the best of each is told: other load on
 * the machine then spoils all alike.  AIRLOCK_CPU chooses the instruction set.
 */
#include "ops/cpu/thread_pool.h"
#include "ops/ops.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { HIDDEN = 3072, QKV = 5120, FEED = 8192, MAX_ROWS = 512, ROUNDS = 4, PER_LAYER = 4 };
enum { PREFILL_LAYERS = 1 };

static const size_t shapes[PER_LAYER][2] = {
    { QKV, HIDDEN }, { HIDDEN, HIDDEN }, { 2 * FEED, HIDDEN }, { HIDDEN, FEED }
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double best(double a, double b)
{
    return a > b ? a : b;
}

static void *big(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        perror("bench_ops: mmap");
        exit(1);
    }
    madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

/* bf16 numbers of either sign around 0.01. */
static void fill(uint16_t *w, size_t n)
{
    uint64_t s = 88172645463325252u;
    for (size_t i = 0; i < n; i++) {
        s ^= s << 13, s ^= s >> 7, s ^= s << 17;
        w[i] = (uint16_t)((s & 0x80ff) | 0x3c00);
    }
}

/* ---- ceilings -------------------------------------------------------------------------------- */

struct ceiling {
    const char *data;
    size_t bytes;             /* of one thread */
    atomic_uint_fast64_t sum; /* results go here, or the compiler leaves the work out */
};

enum { FMA_ROUNDS = 4000000 };

#if defined(__x86_64__)
/* One stream with four sums; several streams were not faster on the machines tried. */
__attribute__((target("avx512f"))) static void read_512(struct ceiling *c, const char *p)
{
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    for (size_t i = 0; i < c->bytes; i += 256) {
        s0 = _mm512_xor_si512(s0, _mm512_loadu_si512(p + i));
        s1 = _mm512_xor_si512(s1, _mm512_loadu_si512(p + i + 64));
        s2 = _mm512_xor_si512(s2, _mm512_loadu_si512(p + i + 128));
        s3 = _mm512_xor_si512(s3, _mm512_loadu_si512(p + i + 192));
    }
    s0 = _mm512_xor_si512(_mm512_xor_si512(s0, s1), _mm512_xor_si512(s2, s3));
    atomic_fetch_add(&c->sum, (uint64_t)_mm512_reduce_add_epi64(s0));
}

/* Ten independent chains, kept in registers by the empty statements. */
#define FMA_CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9)

__attribute__((target("avx512f"))) static double fma_512(struct ceiling *c)
{
    const __m512 x = _mm512_set1_ps(0.99f), y = _mm512_set1_ps(0.9f);
#define START(k) __m512 a##k = _mm512_set1_ps(k);
#define STEP(k)                                                                                    \
    a##k = _mm512_fmadd_ps(a##k, x, y);                                                            \
    __asm__ volatile("" : "+v"(a##k));
#define END(k) atomic_fetch_add(&c->sum, (uint64_t)_mm512_reduce_add_ps(a##k));
    FMA_CHAINS(START)
    for (long i = 0; i < FMA_ROUNDS; i++) {
        FMA_CHAINS(STEP)
    }
    FMA_CHAINS(END)
#undef START
#undef STEP
#undef END
    return FMA_ROUNDS * 10.0 * 16 * 2;
}

__attribute__((target("avx2,fma"))) static double fma_256(struct ceiling *c)
{
    const __m256 x = _mm256_set1_ps(0.99f), y = _mm256_set1_ps(0.9f);
#define START(k) __m256 a##k = _mm256_set1_ps(k);
#define STEP(k)                                                                                    \
    a##k = _mm256_fmadd_ps(a##k, x, y);                                                            \
    __asm__ volatile("" : "+x"(a##k));
#define END(k) atomic_fetch_add(&c->sum, (uint64_t)_mm256_cvtss_f32(a##k));
    FMA_CHAINS(START)
    for (long i = 0; i < FMA_ROUNDS; i++) {
        FMA_CHAINS(STEP)
    }
    FMA_CHAINS(END)
#undef START
#undef STEP
#undef END
    return FMA_ROUNDS * 10.0 * 8 * 2;
}
#endif

static void read_words(struct ceiling *c, const char *p)
{
    uint64_t sum[4] = { 0 };
    const uint64_t *q = (const uint64_t *)(const void *)p;
    for (size_t i = 0; i + 4 <= c->bytes / 8; i += 4)
        for (size_t k = 0; k < 4; k++)
            sum[k] ^= q[i + k];
    atomic_fetch_add(&c->sum, sum[0] ^ sum[1] ^ sum[2] ^ sum[3]);
}

static void read_task(void *arg, size_t i)
{
    struct ceiling *c = arg;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f")) {
        read_512(c, c->data + i * c->bytes);
        return;
    }
#endif
    read_words(c, c->data + i * c->bytes);
}

static double fma_work(struct ceiling *c)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return fma_512(c);
    if (__builtin_cpu_supports("fma"))
        return fma_256(c);
#endif
    (void)c;
    return 0; /* the ceiling is not known here */
}

static void fma_task(void *arg, size_t i)
{
    double *work = arg;
    struct ceiling c = { 0 };
    const double done = fma_work(&c);
    if (i == 0)
        *work = done;
}

static double read_gb_per_s(const struct ops_threads *threads, const void *data, size_t bytes)
{
    struct ceiling c = { .data = data, .bytes = bytes / threads->count / 4096 * 4096 };
    const double start = now();
    threads->run(threads, threads->count, read_task, &c);
    return (double)(c.bytes * threads->count) / (now() - start) / 1e9;
}

static double fma_gflop_per_s(const struct ops_threads *threads)
{
    double work = 0;
    const double start = now();
    threads->run(threads, threads->count, fma_task, &work);
    return work * threads->count / (now() - start) / 1e9;
}

/* ---- the ops --------------------------------------------------------------------------------- */

struct bench {
    const struct ops *ops;
    struct ops_device *dev;
    struct ops_matrix *m;
    size_t n_matrices, weight_bytes; /* bytes as bf16 */
    uint64_t read_bytes;             /* as they are on the device */
    const uint16_t *weights;
    float *x, *y;
};

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* With one thread this says more than time does where others use the machine. */
static double decode_weights_per_processor_second(const struct bench *b)
{
    const double start = processor_seconds();
    for (size_t i = 0; i < b->n_matrices; i++)
        b->ops->matmul(b->dev, b->y, b->x, &b->m[i], 1);
    return (double)b->weight_bytes / 2 / (processor_seconds() - start);
}

static double decode_gb_per_s(const struct bench *b)
{
    const double start = now();
    for (size_t i = 0; i < b->n_matrices; i++)
        b->ops->matmul(b->dev, b->y, b->x, &b->m[i], 1);
    return (double)b->read_bytes / (now() - start) / 1e9;
}

static double prefill_gflop_per_s(const struct bench *b, size_t rows)
{
    double work = 0;
    const double start = now();
    for (size_t i = 0; i < PREFILL_LAYERS * PER_LAYER; i++) {
        b->ops->matmul(b->dev, b->y, b->x, &b->m[i], rows);
        work += 2.0 * (double)rows * (double)(b->m[i].rows * b->m[i].cols);
    }
    return work / (now() - start) / 1e9;
}

/* Attention of rows at the end of a context; over enough layers not to sit in a cache. */
static double attention_seconds(const struct bench *b, size_t context, size_t rows, size_t layers)
{
    const struct ops_heads heads = { 24, 8, 128, 96 };
    const size_t blocks = context / OPS_KV_BLOCK, per_layer = context * 8 * 128;
    const int32_t first_row[] = { 0, (int32_t)rows }, length = (int32_t)context;
    int32_t *table = malloc(blocks * sizeof *table);
    if (!table)
        exit(1);
    for (size_t i = 0; i < blocks; i++)
        table[i] = (int32_t)i;
    const struct ops_batch batch = { 1, first_row, &length, table, blocks, rows, context, rows };
    const double start = now();
    for (size_t l = 0; l < layers; l++) {
        const struct ops_kv kv = { (void *)(uintptr_t)(b->weights + 2 * l * per_layer),
                                   (void *)(uintptr_t)(b->weights + (2 * l + 1) * per_layer),
                                   OPS_BF16, blocks };
        b->ops->attention(b->dev, b->y, b->x, &batch, &heads, &kv, 0.088f);
    }
    const double seconds = (now() - start) / (double)layers;
    free(table);
    return seconds;
}

static enum ops_dtype form_of(const char *name)
{
    return strcmp(name, "fp8") == 0    ? OPS_FP8
           : strcmp(name, "int8") == 0 ? OPS_INT8
           : strcmp(name, "int4") == 0 ? OPS_INT4
                                       : OPS_BF16;
}

static void load_matrices(struct bench *b, enum ops_dtype form)
{
    const uint16_t *w = b->weights;
    const double start = now();
    b->read_bytes = 0;
    for (size_t i = 0; b->m && i < b->n_matrices; i++) {
        const size_t rows = shapes[i % PER_LAYER][0], cols = shapes[i % PER_LAYER][1];
        if (ops_quantized(form))
            b->ops->matrix_quantize(b->dev, &b->m[i], w, OPS_BF16, rows, cols, form);
        else
            b->ops->matrix_load(b->dev, &b->m[i], w, OPS_BF16, rows, cols);
        b->read_bytes += ops_matrix_bytes(form, rows, cols);
        w += rows * cols;
    }
    if (ops_quantized(form))
        printf("compressed in %.2f s: %.2f GB of bf16 a second\n", now() - start,
               (double)b->weight_bytes / 1e9 / (now() - start));
}

static struct bench make_bench(size_t layers, unsigned threads, enum ops_dtype form)
{
    struct bench b = { .ops = ops_cpu() };
    const struct ops_open how = { .threads = threads };
    const char *why;
    b.dev = b.ops->open(&how, &why);
    if (!b.dev) {
        fprintf(stderr, "bench_ops: %s\n", why);
        exit(1);
    }
    b.n_matrices = layers * PER_LAYER;
    b.m = calloc(b.n_matrices, sizeof *b.m);
    for (size_t i = 0; i < b.n_matrices; i++)
        b.weight_bytes += shapes[i % PER_LAYER][0] * shapes[i % PER_LAYER][1] * 2;
    uint16_t *w = big(b.weight_bytes);
    fill(w, b.weight_bytes / 2);
    b.weights = w;
    load_matrices(&b, form);
    b.x = big((size_t)MAX_ROWS * FEED * sizeof *b.x);
    b.y = big((size_t)MAX_ROWS * 2 * FEED * sizeof *b.y);
    for (size_t i = 0; i < (size_t)MAX_ROWS * FEED; i++)
        b.x[i] = (float)(i % 97) * 0.01f - 0.5f;
    return b;
}

/* Several rounds of decoding, the best of each kind. */
static void only_decode(const struct bench *b)
{
    double time = 0, processor = 0;
    for (int round = 0; round < 3 * ROUNDS; round++) {
        time = best(time, decode_gb_per_s(b));
        processor = best(processor, decode_weights_per_processor_second(b));
    }
    printf("decode, 1 row  %8.2f GB/s, %.2f billion weights a second, %.2f a second of one "
           "processor\n",
           time, time * (double)b->weight_bytes / 2 / (double)b->read_bytes, processor / 1e9);
}

int main(int argc, char **argv)
{
    static const size_t prefill_rows[] = { 128, 512 }, contexts[] = { 1024, 4096 };
    const size_t layers = argc > 1 ? strtoul(argv[1], NULL, 10) : 6;
    if (layers < 1 || layers > 64) {
        fputs("usage: bench_ops [LAYERS [THREADS [FORM [decode]]]]\n", stderr);
        return 2;
    }
    struct bench b = make_bench(layers, argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0,
                                form_of(argc > 3 ? argv[3] : "bf16"));
    if (argc > 4) {
        only_decode(&b);
        b.ops->close(b.dev);
        free(b.m);
        return 0;
    }
    const struct ops_threads *threads = b.ops->threads(b.dev);
    double read = 0, fma = 0, decode = 0, prefill[2] = { 0 }, attention[2] = { INFINITY, INFINITY };
    double prompt = INFINITY;
    for (int round = 0; round < ROUNDS; round++) {
        read = best(read, read_gb_per_s(threads, b.weights, b.weight_bytes));
        decode = best(decode, decode_gb_per_s(&b));
        fma = best(fma, fma_gflop_per_s(threads));
        for (int i = 0; i < 2; i++) {
            prefill[i] = best(prefill[i], prefill_gflop_per_s(&b, prefill_rows[i]));
            const size_t kv_layers = b.weight_bytes / 4 / (contexts[i] * 8 * 128 * 2 * 2);
            attention[i] = fmin(attention[i], attention_seconds(&b, contexts[i], 1, kv_layers));
        }
        prompt = fmin(prompt, attention_seconds(&b, 1024, 512, 1));
    }
    printf("%s; weights %.2f GB\n", b.ops->describe(b.dev), (double)b.weight_bytes / 1e9);
    printf("read ceiling            %8.2f GB/s\n", read);
    printf("decode, 1 row           %8.2f GB/s     %5.1f %% of it, %.2f billion weights a second\n",
           decode, decode / read * 100, decode * (double)b.weight_bytes / 2 / (double)b.read_bytes);
    printf("multiply-add ceiling    %8.1f GFLOP/s\n", fma);
    for (int i = 0; i < 2; i++)
        printf("prefill, %zu rows       %8.1f GFLOP/s  %5.1f %% of it\n", prefill_rows[i],
               prefill[i], prefill[i] / fma * 100);
    for (int i = 0; i < 2; i++) {
        const double gb = (double)contexts[i] * 8 * 128 * 2 * 2 / 1e9;
        printf("attention, 1 row over %zu tokens: %7.1f us, %6.2f GB/s, %5.1f %% of read\n",
               contexts[i], attention[i] * 1e6, gb / attention[i], gb / attention[i] / read * 100);
    }
    printf("attention, rows 513 to 1024:      %7.1f ms, %6.1f GFLOP/s, %5.1f %% of ceiling\n",
           prompt * 1e3, 4.0 * 24 * 128 * 512 * 768 / prompt / 1e9,
           4.0 * 24 * 128 * 512 * 768 / prompt / 1e9 / fma * 100);
    b.ops->close(b.dev);
    free(b.m);
    return 0;
}
