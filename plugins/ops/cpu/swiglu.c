/* swiglu.c - the gate of the feed-forward layer: up * silu(gate). */
#include "cpu_ops.h"

struct gate {
    const struct cpu_kernels *kernels;
    float *y;
    const float *gate_up;
    size_t dim;
};

/* Item: a row. */
static void swiglu_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct gate *g = arg;
    const float *gate = g->gate_up + row * 2 * g->dim;
    g->kernels->swiglu(g->y + row * g->dim, gate, gate + g->dim, g->dim);
}

enum ops_status cpu_swiglu(struct ops_device *dev, void *y, const void *gate_up, size_t rows,
                           size_t dim)
{
    if (dim == 0)
        return OPS_E_SHAPE;
    struct gate g = { dev->kernels, y, gate_up, dim };
    cpu_parallel(dev, rows, 10.0 * (double)rows * (double)dim, swiglu_row, &g);
    return OPS_OK;
}
