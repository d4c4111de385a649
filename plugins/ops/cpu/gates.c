/* gates.c - ReLU, SiLU, the gated linear unit, and the transposing of rows. */
#include "cpu_ops.h"

#include <string.h>

enum { PIECE = 4096 }; /* numbers of an item */

static size_t pieces(size_t n)
{
    return n / PIECE + (n % PIECE != 0);
}

struct map {
    const struct cpu_kernels *kernels;
    float *y;
    const float *x;
    size_t n; /* of all, or of a row */
};

static size_t piece_end(const struct map *m, size_t item)
{
    return m->n - item * PIECE < PIECE ? m->n : (item + 1) * PIECE;
}

/* Item: PIECE numbers, in loops of fixed length, which become vector code. */
static void relu_piece(void *arg, size_t item, void *scratch)
{
    enum { LANES = 32 };
    (void)scratch;
    const struct map *m = arg;
    const size_t end = piece_end(m, item);
    size_t i = item * PIECE;
    for (; i + LANES <= end; i += LANES) {
        float lane[LANES];
        memcpy(lane, m->x + i, sizeof lane);
        for (size_t l = 0; l < LANES; l++)
            lane[l] = lane[l] < 0.0f ? 0.0f : lane[l];
        memcpy(m->y + i, lane, sizeof lane);
    }
    for (; i < end; i++)
        m->y[i] = m->x[i] < 0.0f ? 0.0f : m->x[i];
}

enum ops_status cpu_relu(struct ops_device *dev, void *y, const void *x, size_t n)
{
    struct map m = { NULL, y, x, n };
    cpu_parallel(dev, pieces(n), (double)n, relu_piece, &m);
    return OPS_OK;
}

/* Item: PIECE numbers, gated with a value of 1. */
static void silu_piece(void *arg, size_t item, void *scratch)
{
    float *ones = scratch;
    const struct map *m = arg;
    const size_t first = item * PIECE, n = piece_end(m, item) - first;
    for (size_t i = 0; i < n; i++)
        ones[i] = 1.0f;
    m->kernels->swiglu(m->y + first, m->x + first, ones, n);
}
_Static_assert(PIECE * sizeof(float) <= CPU_TASK_SCRATCH, "scratch of a task");

enum ops_status cpu_silu(struct ops_device *dev, void *y, const void *x, size_t n)
{
    struct map m = { dev->kernels, y, x, n };
    cpu_parallel(dev, pieces(n), 10.0 * (double)n, silu_piece, &m);
    return OPS_OK;
}

/* Item: a row. */
static void glu_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct map *m = arg;
    const float *value = m->x + row * 2 * m->n;
    m->kernels->swiglu(m->y + row * m->n, value + m->n, value, m->n);
}

enum ops_status cpu_glu(struct ops_device *dev, void *y, const void *x, size_t rows, size_t dim)
{
    if (dim == 0)
        return OPS_E_SHAPE;
    struct map m = { dev->kernels, y, x, dim };
    cpu_parallel(dev, rows, 10.0 * (double)rows * (double)dim, glu_row, &m);
    return OPS_OK;
}

struct transpose {
    float *y;
    const float *x;
    size_t a, b;
};

/* Item: a row. */
static void transpose_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct transpose *t = arg;
    const float *x = t->x + row * t->a * t->b;
    float *y = t->y + row * t->a * t->b;
    for (size_t i = 0; i < t->a; i++)
        for (size_t j = 0; j < t->b; j++)
            y[j * t->a + i] = x[i * t->b + j];
}

enum ops_status cpu_transpose(struct ops_device *dev, void *y, const void *x, size_t rows, size_t a,
                              size_t b)
{
    if (a == 0 || b == 0)
        return OPS_E_SHAPE;
    struct transpose t = { y, x, a, b };
    cpu_parallel(dev, rows, 2.0 * (double)rows * (double)a * (double)b, transpose_row, &t);
    return OPS_OK;
}
