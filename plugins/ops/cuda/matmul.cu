/* matmul.cu - which of the two ways a matrix product takes. */
#include "matmul.h"

#include "device.cuh"

/* What cuBLASLt does not take (rows that are not 16-byte aligned) goes in strips of few rows. */
static enum ops_status in_strips(struct ops_device *dev, const struct product *all)
{
    const size_t out = all->float_out ? sizeof(float) : 2;
    for (size_t r = 0; r < all->rows; r += GEMV_MAX_ROWS) {
        struct product p = *all;
        p.y = static_cast<char *>(all->y) + r * all->n * out;
        p.x = static_cast<const char *>(all->x) + r * all->k * 2;
        p.rows = all->rows - r < GEMV_MAX_ROWS ? all->rows - r : (size_t)GEMV_MAX_ROWS;
        const enum ops_status status = gemv_run(dev, &p);
        if (status != OPS_OK)
            return status;
    }
    return OPS_OK;
}

static enum ops_status multiply(struct ops_device *dev, void *y, const void *x,
                                const struct ops_matrix *m, size_t rows, bool float_out)
{
    if (m->rows == 0 || m->cols == 0 || m->rows > INT32_MAX || m->cols > INT32_MAX ||
        m->dtype != OPS_BF16 || rows > CUDA_MAX_ROWS)
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    struct product p = {};
    p.y = y;
    p.x = x;
    p.w = m->data;
    p.rows = rows;
    p.n = m->rows;
    p.k = m->cols;
    p.float_out = float_out;
    if (rows <= GEMV_MAX_ROWS || !dev->lt || !lt_takes(&p))
        return in_strips(dev, &p);
    const cudaError_t rc = cudaSetDevice(dev->ordinal);
    return rc == cudaSuccess ? lt_run(dev->lt, &p, dev->stream) : cuda_status(rc);
}

enum ops_status cuda_matmul(struct ops_device *dev, void *y, const void *x,
                            const struct ops_matrix *m, size_t rows)
{
    return multiply(dev, y, x, m, rows, false);
}

enum ops_status cuda_logits(struct ops_device *dev, float *y, const void *x,
                            const struct ops_matrix *m, size_t rows)
{
    return multiply(dev, y, x, m, rows, true);
}
