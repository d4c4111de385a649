/* norm.c - RMSNorm, alone and after adding to the residual stream. */
#include "cpu_ops.h"

#include "convert.h"

struct norm {
    float *h, *y;
    const float *x;
    const struct ops_matrix *w;
    size_t dim;
    float eps;
};

/* The squares of floats are exact in double, and so are most of the sums. */
static float scale_of(const float *x, size_t dim, float eps)
{
    enum { LANES = 8 };
    double lane[LANES] = { 0 }, sum = 0;
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l] * (double)x[i + l];
    for (; i < dim; i++)
        lane[i % LANES] += (double)x[i] * (double)x[i];
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    return (float)(1.0 / sqrt(sum / (double)dim + (double)eps));
}

/* Item: a row. */
static void norm_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct norm *n = arg;
    const size_t dim = n->dim;
    const float *x = n->x + row * dim;
    float *y = n->y + row * dim;
    if (n->h) {
        float *h = n->h + row * dim;
        for (size_t i = 0; i < dim; i++)
            h[i] += x[i];
        x = h;
    }
    const float scale = scale_of(x, dim, n->eps);
    if (n->w->dtype == OPS_BF16) {
        const uint16_t *w = n->w->data;
        for (size_t i = 0; i < dim; i++)
            y[i] = x[i] * scale * bf16_to_float(w[i]);
    } else {
        for (size_t i = 0; i < dim; i++)
            y[i] = x[i] * scale * load_float(n->w->data, n->w->dtype, i);
    }
}

static enum ops_status norm_rows(struct ops_device *dev, struct norm *n, size_t rows)
{
    if (n->dim == 0 || n->w->rows != 1 || n->w->cols != n->dim || !dtype_known(n->w->dtype))
        return OPS_E_SHAPE;
    cpu_parallel(dev, rows, 2.0 * (double)rows * (double)n->dim, norm_row, n);
    return OPS_OK;
}

enum ops_status cpu_rmsnorm(struct ops_device *dev, void *y, const void *x,
                            const struct ops_matrix *w, size_t rows, size_t dim, float eps)
{
    return norm_rows(dev, &(struct norm){ NULL, y, x, w, dim, eps }, rows);
}

enum ops_status cpu_add_rmsnorm(struct ops_device *dev, void *h, const void *delta, void *y,
                                const struct ops_matrix *w, size_t rows, size_t dim, float eps)
{
    return norm_rows(dev, &(struct norm){ h, y, delta, w, dim, eps }, rows);
}
