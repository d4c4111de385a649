/*
 * rounded.h - products of activations rounded to bf16 with bf16 weights: the inner loops for
 * processors that multiply pairs of bf16 numbers (AVX512_BF16), twice as fast as float32.
 *
 * Numbers are taken in pairs, a pair in 32 bits: pair p of a row is numbers 2 p and 2 p + 1, with
 * zeros behind the last.  A panel of weights is [pairs, CPU_ROUNDED_WIDTH] pairs, a tile of
 * activations [pairs, CPU_ROUNDED_ROWS] pairs.  One output is one sum over the pairs in their
 * order, whatever else is computed beside it.
 */
#ifndef AIRLOCK_OPS_CPU_ROUNDED_H
#define AIRLOCK_OPS_CPU_ROUNDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CPU_ROUNDED_WIDTH = 32, /* outputs of a panel */
    CPU_ROUNDED_ROWS = 14   /* rows of a tile: 28 sums, 2 weights and 2 activations in registers */
};

/* y[r y_stride + n] = sum over the pairs, or += with add; for r < rows and n < width. */
struct cpu_rounded_dot {
    float *y;
    size_t y_stride;
    const uint32_t *tile, *panel;
    size_t pairs, rows, width;
    bool add;
};

struct cpu_rounded_kernels {
    /* Rounds rows of x (x_stride floats apart, k numbers each) to nearest, ties to even. */
    void (*pack_tile)(uint32_t *tile, const float *x, size_t x_stride, size_t rows, size_t k);
    /* w: rows of k bf16 numbers, w_stride apart. */
    void (*pack_panel)(uint32_t *panel, const uint16_t *w, size_t w_stride, size_t rows, size_t k);
    /* The same of w in float32, rounded. */
    void (*pack_keys)(uint32_t *panel, const float *const *w, size_t rows, size_t k);
    /* A panel whose pair p is row 2 p and row 2 p + 1: the weights are the columns, n of them.  A
     * row that is NULL is zeros. */
    void (*pack_values)(uint32_t *panel, const float *const *row, size_t rows, size_t n);
    void (*dot)(const struct cpu_rounded_dot *d);
};

/* NULL: this processor has no such instruction, or AIRLOCK_CPU asks for less. */
const struct cpu_rounded_kernels *cpu_rounded_kernels_choose(void);

#endif
