/* embedding.c - looks up rows of the embedding matrix. */
#include "cpu_ops.h"

#include "convert.h"

enum ops_status cpu_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                              const int32_t *ids, size_t rows)
{
    (void)dev;
    const bool packed = ops_quantized(m->dtype);
    if ((!packed && !dtype_known(m->dtype)) || m->rows == 0 || m->cols == 0)
        return OPS_E_SHAPE;
    for (size_t r = 0; r < rows; r++) {
        if (ids[r] < 0 || (size_t)ids[r] >= m->rows)
            return OPS_E_SHAPE;
    }
    float *out = y;
    for (size_t r = 0; r < rows; r++, out += m->cols) {
        const size_t first = (size_t)ids[r] * m->cols;
        if (packed) {
            cpu_packed_row(out, m, (size_t)ids[r]);
            continue;
        }
        for (size_t i = 0; i < m->cols; i++)
            out[i] = load_float(m->data, m->dtype, first + i);
    }
    return OPS_OK;
}
