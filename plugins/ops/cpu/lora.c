/* lora.c - low-rank adapters: y += scale * B (A x) for segments of rows. */
#include "cpu_ops.h"

#include "convert.h"

/* Bit by bit what the row would get alone: the two products are row-invariant. */
static enum ops_status apply(struct ops_device *dev, float *y, const float *x, size_t in,
                             size_t out, const struct ops_lora_segment *s)
{
    if (s->rows > SIZE_MAX / sizeof(float) / s->rank ||
        !cpu_scratch_reserve(&dev->low_rank, s->rows * s->rank * sizeof(float)))
        return OPS_E_MEMORY;
    float *low = dev->low_rank.data;
    enum ops_status status = cpu_multiply(dev, low, s->rank, x + s->first_row * in, in, s->rows,
                                          s->a, s->dtype, s->rank, in, false, 1.0f);
    if (status == OPS_OK)
        status = cpu_multiply(dev, y + s->first_row * out, out, low, s->rank, s->rows, s->b,
                              s->dtype, out, s->rank, true, s->scale);
    return status;
}

enum ops_status cpu_lora(struct ops_device *dev, void *y, const void *x, size_t rows, size_t in,
                         size_t out, const struct ops_lora_segment *segments, size_t n_segments)
{
    if (in == 0 || out == 0)
        return OPS_E_SHAPE;
    for (size_t i = 0; i < n_segments; i++) {
        const struct ops_lora_segment *s = &segments[i];
        if (s->rank == 0 || s->rank > OPS_LORA_MAX_RANK || !dtype_known(s->dtype) ||
            s->first_row > rows || s->rows > rows - s->first_row)
            return OPS_E_SHAPE;
    }
    for (size_t i = 0; i < n_segments; i++) {
        const enum ops_status status = apply(dev, y, x, in, out, &segments[i]);
        if (status != OPS_OK)
            return status;
    }
    return OPS_OK;
}
