/*
 * panels.h - products of many rows of activations with bf16 weights for encoders: the inner loops
 * for AVX-512, which need no folding of lanes.
 *
 * A word of 32 bits is one float32 number, or with AVX512_BF16 a pair of numbers rounded to bf16,
 * 2 w and 2 w + 1 of a row, with zeros behind the last.  A panel of weights is
 * [words, CPU_PANEL_WIDTH], a tile of activations [words, CPU_PANEL_ROWS].  One output is one sum
 * over the words in their order, whatever else is computed beside it.
 */
#ifndef AIRLOCK_OPS_CPU_PANELS_H
#define AIRLOCK_OPS_CPU_PANELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    CPU_PANEL_WIDTH = 32, /* outputs of a panel */
    CPU_PANEL_ROWS = 14   /* rows of a tile: 28 sums, 2 weights and 2 activations in registers */
};

/* y[r y_stride + n] = sum over the words, or += with add; for r < rows and n < width. */
struct cpu_panel_dot {
    float *y;
    size_t y_stride;
    const uint32_t *tile, *panel;
    const uint32_t *next; /* the tile that comes after this one, or this one: brought nearer */
    size_t words, rows, width;
    bool add;
};

struct cpu_panel_kernels {
    size_t numbers; /* of a word: 1, or 2 that are rounded to bf16 */
    /* Rounds, if it does, rows of x (x_stride floats apart, k numbers each) to nearest, ties to
     * even. */
    void (*pack_tile)(uint32_t *tile, const float *x, size_t x_stride, size_t rows, size_t k);
    /* w: rows of k bf16 numbers, w_stride apart. */
    void (*pack_panel)(uint32_t *panel, const uint16_t *w, size_t w_stride, size_t rows, size_t k);
    /* The same of w in float32, rounded if it does. */
    void (*pack_keys)(uint32_t *panel, const float *const *w, size_t rows, size_t k);
    /* A panel whose word p is row p, or row 2 p and row 2 p + 1: the weights are the columns,
     * n of them.  A row that is NULL is zeros. */
    void (*pack_values)(uint32_t *panel, const float *const *row, size_t rows, size_t n);
    void (*dot)(const struct cpu_panel_dot *d);
};

static inline size_t cpu_panel_words(const struct cpu_panel_kernels *kernels, size_t k)
{
    return (k + kernels->numbers - 1) / kernels->numbers;
}

/*
 * The faster kind on this processor: of pairs where it has AVX512_BF16 and is AMD's, whose
 * throughput of them is twice that of float32; Intel's without AMX is half of it.  AIRLOCK_CPU asks
 * for another.  NULL: there is none.
 */
const struct cpu_panel_kernels *cpu_panel_kernels_choose(void);

#endif
