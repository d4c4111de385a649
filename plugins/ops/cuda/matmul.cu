/* matmul.cu - which of the ways a matrix product takes. */
#include "matmul.h"

#include "device.cuh"
#include "packed.h"

/* What cuBLASLt does not take (rows that are not 16-byte aligned) goes in strips of few rows. */
static enum ops_status in_strips(struct ops_device *dev, const struct product *all,
                                 const struct ops_matrix *m)
{
    const size_t out = all->float_out ? sizeof(float) : 2;
    for (size_t r = 0; r < all->rows; r += GEMV_MAX_ROWS) {
        struct product p = *all;
        p.y = static_cast<char *>(all->y) + r * all->n * out;
        p.x = static_cast<const char *>(all->x) + r * all->k * 2;
        p.rows = all->rows - r < GEMV_MAX_ROWS ? all->rows - r : (size_t)GEMV_MAX_ROWS;
        const enum ops_status status =
            ops_quantized(m->dtype) ? packed_gemv(dev, &p, m) : gemv_run(dev, &p);
        if (status != OPS_OK)
            return status;
    }
    return OPS_OK;
}

/* Compressed weights become bf16 piece by piece, which is exact, and each piece gives its columns
 * of y. */
static enum ops_status in_pieces(struct ops_device *dev, const struct product *all,
                                 const struct ops_matrix *m)
{
    const size_t out = all->float_out ? sizeof(float) : 2;
    for (size_t done = 0, rows = 0; done < m->rows; done += rows) {
        struct product p = *all;
        enum ops_status status = packed_spread(dev, m, done, &rows, &p.w);
        p.y = static_cast<char *>(all->y) + done * out;
        p.n = rows;
        if (status == OPS_OK)
            status = lt_run(dev->lt, &p, dev->stream);
        if (status != OPS_OK)
            return status;
    }
    return OPS_OK;
}

static enum ops_status multiply(struct ops_device *dev, void *y, const void *x,
                                const struct ops_matrix *m, size_t rows, bool float_out)
{
    if (m->rows == 0 || m->cols == 0 || m->rows > INT32_MAX || m->cols > INT32_MAX ||
        (m->dtype != OPS_BF16 && !ops_quantized(m->dtype)) || rows > CUDA_MAX_ROWS)
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    struct product p = {};
    p.y = y;
    p.x = x;
    p.w = m->data;
    p.rows = rows;
    p.n = p.y_stride = m->rows;
    p.k = m->cols;
    p.float_out = float_out;
    if (rows <= GEMV_MAX_ROWS || !dev->lt || !lt_takes(&p))
        return in_strips(dev, &p, m);
    const cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc != cudaSuccess)
        return cuda_status(rc);
    bool done = false;
    enum ops_status status = OPS_OK;
    if (m->dtype == OPS_FP8 && dev->fp8_activations)
        status = packed_fp8_product(dev, &p, m, &done);
    if (done || status != OPS_OK)
        return status;
    return ops_quantized(m->dtype) ? in_pieces(dev, &p, m) : lt_run(dev->lt, &p, dev->stream);
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

/* ---- tuning ---------------------------------------------------------------------------------- */

enum {
    TUNE_MATRICES = 8,   /* that take turns: together more than any cache holds */
    TUNE_MAX_ROWS = 2048 /* beyond, the library's first choice is a good one */
};

static bool same_shape(const struct ops_matrix *const *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (m[i]->dtype != OPS_BF16 || m[i]->rows != m[0]->rows || m[i]->cols != m[0]->cols)
            return false;
    return n > 0 && m[0]->rows > 0 && m[0]->cols > 0;
}

/* Rows of x and y for the classes; what they hold does not matter, but zeros would be too easy. */
static enum ops_status tune_classes(struct ops_device *dev, const struct ops_matrix *const *m,
                                    size_t n, size_t max_rows, bool logits, char *x, char *y)
{
    enum ops_status status =
        cuda_status(cudaMemsetAsync(x, 0x3c, max_rows * m[0]->cols * 2, dev->stream));
    for (size_t rows = GEMV_MAX_ROWS + 1; status == OPS_OK && rows <= max_rows;
         rows = lt_class_rows(rows) + 1) {
        struct product products[TUNE_MATRICES];
        const size_t most = lt_class_rows(rows);
        for (size_t i = 0; i < n; i++) {
            products[i] = {};
            products[i].y = y;
            products[i].x = x;
            products[i].w = m[i]->data;
            products[i].rows = most < max_rows ? most : max_rows;
            products[i].n = products[i].y_stride = m[i]->rows;
            products[i].k = m[i]->cols;
            products[i].float_out = logits;
            if (!lt_takes(&products[i]))
                return OPS_OK;
        }
        status = lt_tune(dev->lt, products, n, dev->stream);
    }
    return status;
}

enum ops_status cuda_tune(struct ops_device *dev, const struct ops_matrix *const *m, size_t n,
                          size_t max_rows, bool logits)
{
    n = n < TUNE_MATRICES ? n : (size_t)TUNE_MATRICES;
    max_rows = max_rows < TUNE_MAX_ROWS ? max_rows : (size_t)TUNE_MAX_ROWS;
    if (!dev->lt || max_rows <= GEMV_MAX_ROWS || !same_shape(m, n) ||
        ops_quantized(m[0]->dtype)) /* spread out first: the library's choice stays */
        return OPS_OK;
    char *x = static_cast<char *>(cuda_alloc(dev, max_rows * m[0]->cols * 2));
    char *y = static_cast<char *>(cuda_alloc(dev, max_rows * m[0]->rows * (logits ? 4 : 2)));
    const enum ops_status status =
        x && y ? tune_classes(dev, m, n, max_rows, logits, x, y) : OPS_E_MEMORY;
    cuda_free(dev, x);
    cuda_free(dev, y);
    return status;
}
