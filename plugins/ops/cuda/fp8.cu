/*
 * fp8.cu - products of fp8 weights on tensor cores that multiply fp8: the rows of x become E4M3 on
 * the way, each with a scale of its own.
 *
 * All scales are powers of two, so it does not matter for the bits whether the library multiplies
 * by them before it rounds to bf16, or scale_products() afterwards.
 */
#include "device.cuh"
#include "packed.cuh"
#include "packed.h"

enum { FP8_WARPS = 4, FP8_THREADS = FP8_WARPS * WARP_LANES, FP8_WIDTH = 8 };

/* A warp: one row of x, k a multiple of 8; its codes are filled up with zeros to padded columns. */
static __global__ void __launch_bounds__(FP8_THREADS)
    quantize_rows(uint8_t *codes, float *scales, const bf16 *x, uint32_t rows, uint32_t k,
                  uint32_t padded)
{
    after_previous();
    const uint32_t row = blockIdx.x * FP8_WARPS + threadIdx.x / WARP_LANES;
    const uint32_t first = threadIdx.x % WARP_LANES * FP8_WIDTH;
    if (row >= rows)
        return;
    const bf16 *from = x + (size_t)row * k;
    uint32_t most = 0;
    for (uint32_t c = first; c < k; c += WARP_LANES * FP8_WIDTH) {
        float v[FP8_WIDTH];
        load_bf16<FP8_WIDTH>(v, from + c);
#pragma unroll
        for (int i = 0; i < FP8_WIDTH; i++) {
            const uint32_t magnitude = quant_bits(v[i]) & 0x7fffffffu;
            most = magnitude > most ? magnitude : most;
        }
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        const uint32_t theirs = __shfl_xor_sync(~0u, most, other);
        most = theirs > most ? theirs : most;
    }
    const float scale = quant_fp8_scale(quant_float(most));
    if (first == 0)
        scales[row] = scale;
    for (uint32_t c = first; c < padded; c += WARP_LANES * FP8_WIDTH) {
        float v[FP8_WIDTH] = {};
        uint32_t word[2] = {};
        if (c < k)
            load_bf16<FP8_WIDTH>(v, from + c);
#pragma unroll
        for (int i = 0; i < FP8_WIDTH; i++)
            word[i / 4] |= (uint32_t)quant_fp8_code(v[i], scale) << (i % 4 * 8);
        uint2 two;
        two.x = word[0];
        two.y = word[1];
        *reinterpret_cast<uint2 *>(codes + (size_t)row * padded + c) = two;
    }
}

static __device__ __forceinline__ void scale_8(bf16 *y, const float *by, float row)
{
    float v[FP8_WIDTH];
    load_bf16<FP8_WIDTH>(v, y);
#pragma unroll
    for (int i = 0; i < FP8_WIDTH; i++)
        v[i] = v[i] * row * by[i];
    store_bf16<FP8_WIDTH>(y, v);
}

static __device__ __forceinline__ void scale_8(float *y, const float *by, float row)
{
#pragma unroll
    for (int i = 0; i < FP8_WIDTH; i++)
        y[i] = y[i] * row * by[i];
}

/* Grid: rows x parts of a row.  A thread: 8 columns; n is a multiple of 8. */
template <class T>
static __global__ void __launch_bounds__(FP8_THREADS)
    scale_products(T *y, const float *x_scale, const float *w_scale, uint32_t n)
{
    after_previous();
    const uint32_t c = (blockIdx.y * FP8_THREADS + threadIdx.x) * FP8_WIDTH;
    if (c < n)
        scale_8(y + (size_t)blockIdx.x * n + c, w_scale + c, x_scale[blockIdx.x]);
}

static enum ops_status scale_all(struct ops_device *dev, const struct product *p)
{
    const unsigned at_once = FP8_THREADS * FP8_WIDTH;
    const dim3 grid((unsigned)p->rows, ((unsigned)p->n + at_once - 1) / at_once);
    if (p->float_out)
        return cuda_launch(dev, scale_products<float>, grid, FP8_THREADS, 0,
                           static_cast<float *>(p->y), p->x_scale, p->w_scale, (unsigned)p->n);
    return cuda_launch(dev, scale_products<bf16>, grid, FP8_THREADS, 0, static_cast<bf16 *>(p->y),
                       p->x_scale, p->w_scale, (unsigned)p->n);
}

/* Room in the scratch memory, which nothing else uses during a product: codes, then scales. */
static enum ops_status quantize(struct ops_device *dev, struct product *p, const void *x, size_t k)
{
    const size_t bytes = (p->rows * p->k + 255) / 256 * 256;
    enum ops_status status =
        cuda_scratch_reserve(dev, &dev->spread, bytes + p->rows * sizeof(float));
    if (status != OPS_OK)
        return status;
    uint8_t *codes = static_cast<uint8_t *>(dev->spread.data);
    float *scales = reinterpret_cast<float *>(codes + bytes);
    p->x = codes;
    p->x_scale = scales;
    return cuda_launch(dev, quantize_rows, dim3((unsigned)((p->rows + FP8_WARPS - 1) / FP8_WARPS)),
                       FP8_THREADS, 0, codes, scales, static_cast<const bf16 *>(x),
                       (unsigned)p->rows, (unsigned)k, (unsigned)p->k);
}

enum ops_status packed_fp8_product(struct ops_device *dev, const struct product *all,
                                   const struct ops_matrix *m, bool *done)
{
    const packed_matrix w = packed_of(m);
    enum lt_scaling scaling = LT_NOT_OFFERED;
    struct product p = *all;
    *done = false;
    p.fp8 = true;
    p.w = p.x = w.codes;
    p.k = (size_t)w.groups * QUANT_GROUP;
    p.w_scale = p.x_scale = static_cast<const float *>(w.scales); /* until there are x's */
    if (!lt_takes(&p))
        return OPS_OK;
    enum ops_status status = lt_fp8_scaling(dev->lt, &p, &scaling);
    if (status != OPS_OK || scaling == LT_NOT_OFFERED)
        return status;
    *done = true;
    status = quantize(dev, &p, all->x, all->k);
    if (status == OPS_OK)
        status = lt_run(dev->lt, &p, dev->stream);
    return status == OPS_OK && scaling == LT_UNSCALED ? scale_all(dev, &p) : status;
}
