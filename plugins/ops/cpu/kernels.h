/*
 * kernels.h - the inner loops that exist once per instruction set; everything around them is
 * common.
 *
 * What a kernel computes for one output is fixed: it depends neither on how many rows are done
 * together nor on where they lie.  AVX2 and AVX-512 give the same bits; plain C may round
 * otherwise.
 */
#ifndef AIRLOCK_OPS_CPU_KERNELS_H
#define AIRLOCK_OPS_CPU_KERNELS_H

#include "../ops.h"

#include <stdbool.h>

enum {
    CPU_BLOCK = 32,        /* columns that the vector kernels take at a time */
    CPU_MAX_TILE = 8,      /* rows of x in a tile, at most */
    CPU_CHUNK_TOKENS = 128 /* attention: tokens between two rescalings of the softmax */
};

static inline size_t cpu_padded(size_t k)
{
    return (k + CPU_BLOCK - 1) / CPU_BLOCK * CPU_BLOCK;
}

/* y[t y_stride + n] = sum_k w[n, k] x[t, k] for n < w_rows and t < tokens; with add, y += scale
 * times the sum. */
struct cpu_dot {
    float *y;
    size_t y_stride;
    const float *tile; /* rows of x as pack wrote them */
    size_t tokens;     /* of the tile */
    const void *w;     /* [w_rows, k] of dtype */
    enum ops_dtype dtype;
    size_t w_rows, k;
    ptrdiff_t ahead; /* with each line of w the line so many bytes on is asked for; 0: none */
    bool add;
    float scale;
};

struct cpu_packed;

/* y[t y_stride + n] = sum_k w[n, k] x[t, k] for the rows n of some groups of 16 of a packed matrix:
 * within a group of columns one product after the other, then group after group. */
struct cpu_packed_dot {
    float *y;
    size_t y_stride;
    const float *x; /* [padded columns][tokens], zeros behind the last column */
    size_t tokens;  /* at most the kernels' tile */
    const struct cpu_packed *packed;
    size_t first_group, row_groups;
    bool ahead; /* ask for the weights ahead: they are not in the cache */
};

/* o[q o_stride + i] += sum_j p[q p_stride + j] v[j, i], one j after the other. */
struct cpu_mix {
    float *o; /* rows of cpu_padded(dim) floats */
    size_t o_stride;
    const float *p;
    size_t p_stride, queries;
    const void *v; /* [tokens, dim] of dtype */
    enum ops_dtype dtype;
    size_t tokens, dim;
    ptrdiff_t ahead; /* as in cpu_dot */
};

struct cpu_kernels {
    const char *name;
    size_t tile; /* rows of x in a full tile, at most CPU_MAX_TILE */

    /* Writes a tile of rows of x (x_stride floats apart) in the order in which dot reads it against
     * matrices of dtype.  out: [tokens * cpu_padded(k)], 64-byte aligned. */
    void (*pack)(float *out, const float *x, size_t x_stride, size_t tokens, size_t k,
                 enum ops_dtype dtype);

    void (*dot)(const struct cpu_dot *d);
    void (*packed_dot)(const struct cpu_packed_dot *d);

    /* s[j] = e^(scale s[j] - *max), where *max is the largest scale s[j], j < n; *sum: of the
     * new s.  s has room for n rounded up to 16, and what is there is lost. */
    void (*softmax)(float *s, size_t n, float scale, float *max, float *sum);

    /* The o rows are in the kernel's own order; unpack gives the usual one. */
    void (*mix)(const struct cpu_mix *m);
    void (*unpack)(float *out, const float *o, size_t dim, enum ops_dtype dtype);

    /* y[i] = up[i] * gate[i] / (1 + e^-gate[i]) */
    void (*swiglu)(float *y, const float *gate, const float *up, size_t n);

    /* y[i] = x[i] / (1 + e^(-2 u)), u = sqrt(2 / pi) (x[i] + 0.044715 x[i]^3): GELU's tanh form. */
    void (*gelu_tanh)(float *y, const float *x, size_t n);
};

extern const struct cpu_kernels cpu_kernels_plain;
#if defined(__x86_64__)
#define CPU_HAVE_X86_KERNELS 1
extern const struct cpu_kernels cpu_kernels_avx2, cpu_kernels_avx512;
#endif

/* The best kernels that this machine can run; AIRLOCK_CPU=plain|avx2|avx512 in the environment asks
 * for fewer (avx512 also for panels of float32, avx512bf16 for those of bf16 pairs: panels.h).
 * *note: NULL, or a sentence: the request cannot be met and what is used instead. */
const struct cpu_kernels *cpu_kernels_choose(const char **note);

#endif
