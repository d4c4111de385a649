/* elementwise.c - what treats each number on its own: GELU, adding rows, adding a bias. */
#include "cpu_ops.h"

#include "convert.h"

enum { PIECE = 4096 }; /* numbers of an item */

static size_t pieces(size_t n)
{
    return n / PIECE + (n % PIECE != 0);
}

struct add {
    float *y;
    const float *x;
    size_t n;
    float scale;
};

/* Item: PIECE numbers. */
static void add_piece(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct add *a = arg;
    const size_t end = (item + 1) * PIECE < a->n ? (item + 1) * PIECE : a->n;
    for (size_t i = item * PIECE; i < end; i++)
        a->y[i] += a->scale * a->x[i];
}

enum ops_status cpu_add(struct ops_device *dev, void *y, const void *x, size_t n, float scale)
{
    struct add a = { y, x, n, scale };
    cpu_parallel(dev, pieces(n), (double)n, add_piece, &a);
    return OPS_OK;
}

struct bias {
    float *y;
    const struct ops_matrix *b;
};

/* Item: a row. */
static void add_bias_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct bias *a = arg;
    const size_t dim = a->b->cols;
    float *y = a->y + row * dim;
    if (a->b->dtype == OPS_BF16) {
        const uint16_t *b = a->b->data;
        for (size_t i = 0; i < dim; i++)
            y[i] += bf16_to_float(b[i]);
    } else {
        for (size_t i = 0; i < dim; i++)
            y[i] += load_float(a->b->data, a->b->dtype, i);
    }
}

enum ops_status cpu_add_bias(struct ops_device *dev, void *y, const struct ops_matrix *b,
                             size_t rows, size_t dim)
{
    if (dim == 0 || b->rows != 1 || b->cols != dim || !dtype_known(b->dtype))
        return OPS_E_SHAPE;
    struct bias a = { y, b };
    cpu_parallel(dev, rows, (double)rows * (double)dim, add_bias_row, &a);
    return OPS_OK;
}

struct gelu {
    const struct cpu_kernels *kernels;
    float *y;
    const float *x;
    size_t n;
    enum ops_gelu kind;
};

/* x / 2 erfc(-x / sqrt 2): 1 + erf would lose the small results of large negative x. */
static void gelu_erf(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = 0.5f * x[i] * erfcf(-0x1.6a09e6p-1f * x[i]);
}

/* Item: PIECE numbers. */
static void gelu_piece(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct gelu *g = arg;
    const size_t first = item * PIECE, n = g->n - first < PIECE ? g->n - first : PIECE;
    if (g->kind == OPS_GELU_TANH)
        g->kernels->gelu_tanh(g->y + first, g->x + first, n);
    else
        gelu_erf(g->y + first, g->x + first, n);
}

enum ops_status cpu_gelu(struct ops_device *dev, void *y, const void *x, size_t n,
                         enum ops_gelu kind)
{
    if (kind != OPS_GELU_TANH && kind != OPS_GELU_ERF)
        return OPS_E_SHAPE;
    struct gelu g = { dev->kernels, y, x, n, kind };
    cpu_parallel(dev, pieces(n), 20.0 * (double)n, gelu_piece, &g);
    return OPS_OK;
}
