/* layernorm.c - LayerNorm: each row to mean 0 and variance 1, then times a weight, plus a bias. */
#include "cpu_ops.h"

#include "convert.h"

struct layernorm {
    float *y;
    const float *x;
    const struct ops_matrix *w, *b;
    size_t dim;
    float eps;
};

enum { LANES = 8 };

static double sum_of(const double *lane)
{
    double sum = 0;
    for (size_t l = 0; l < LANES; l++)
        sum += lane[l];
    return sum;
}

/* In double, so that a mean far from 0 costs nothing; the second pass needs no squares of it. */
static void moments(const float *x, size_t dim, double *mean, double *variance)
{
    double lane[LANES] = { 0 };
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += (double)x[i + l];
    for (; i < dim; i++)
        lane[i % LANES] += (double)x[i];
    const double m = sum_of(lane) / (double)dim;

    memset(lane, 0, sizeof lane);
    for (i = 0; i + LANES <= dim; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lane[l] += ((double)x[i + l] - m) * ((double)x[i + l] - m);
    for (; i < dim; i++)
        lane[i % LANES] += ((double)x[i] - m) * ((double)x[i] - m);
    *mean = m;
    *variance = sum_of(lane) / (double)dim;
}

/* Item: a row. */
static void layernorm_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct layernorm *n = arg;
    const size_t dim = n->dim;
    const float *x = n->x + row * dim;
    float *y = n->y + row * dim;
    double mean, variance;
    moments(x, dim, &mean, &variance);
    const float m = (float)mean, scale = (float)(1.0 / sqrt(variance + (double)n->eps));
    if (n->w->dtype == OPS_BF16 && n->b->dtype == OPS_BF16) {
        const uint16_t *w = n->w->data, *b = n->b->data;
        for (size_t i = 0; i < dim; i++)
            y[i] = (x[i] - m) * scale * bf16_to_float(w[i]) + bf16_to_float(b[i]);
    } else {
        for (size_t i = 0; i < dim; i++)
            y[i] = (x[i] - m) * scale * load_float(n->w->data, n->w->dtype, i) +
                   load_float(n->b->data, n->b->dtype, i);
    }
}

static bool is_row_of(const struct ops_matrix *m, size_t dim)
{
    return m->rows == 1 && m->cols == dim && dtype_known(m->dtype);
}

enum ops_status cpu_layernorm(struct ops_device *dev, void *y, const void *x,
                              const struct ops_matrix *w, const struct ops_matrix *b, size_t rows,
                              size_t dim, float eps)
{
    if (dim == 0 || !is_row_of(w, dim) || !is_row_of(b, dim))
        return OPS_E_SHAPE;
    struct layernorm n = { y, x, w, b, dim, eps };
    cpu_parallel(dev, rows, 4.0 * (double)rows * (double)dim, layernorm_row, &n);
    return OPS_OK;
}
