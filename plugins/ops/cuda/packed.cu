/*
 * packed.cu - compressed matrices on the device: made of the checkpoint's weights there, spread out
 * to bf16 again for cuBLASLt, and looked up.
 */
#include "packed.cuh"

#include "../cpu/convert.h"
#include "device.cuh"
#include "packed.h"

/* ---- making ---------------------------------------------------------------------------------- */

enum { PACK_THREADS = 128 };

/* Group g of a row as float32, zeros behind the row's end. */
static __device__ __forceinline__ void load_group(float w[QUANT_GROUP], const bf16 *row,
                                                  uint32_t cols, uint32_t g)
{
    for (uint32_t i = 0; i < QUANT_GROUP; i++) {
        const uint32_t c = g * QUANT_GROUP + i;
        w[i] = c < cols ? __bfloat162float(row[c]) : 0.0f;
    }
}

/* A thread: one group.  w: [rows, cols] of the rows from first on. */
template <int FORM>
static __global__ void __launch_bounds__(PACK_THREADS)
    pack_groups(uint8_t *codes, uint16_t *scales, const bf16 *w, uint32_t rows, uint32_t cols,
                uint32_t groups)
{
    after_previous();
    const size_t at = (size_t)blockIdx.x * PACK_THREADS + threadIdx.x;
    if (at >= (size_t)rows * groups)
        return;
    float v[QUANT_GROUP];
    int8_t code[QUANT_GROUP];
    load_group(v, w + at / groups * cols, cols, (uint32_t)(at % groups));
    const float scale = FORM == OPS_INT4 ? quant_int4(code, v) : quant_int8(code, v);
    scales[at] = (uint16_t)(quant_bits(scale) >> 16); /* exact */
    for (int i = 0; FORM == OPS_INT8 && i < QUANT_GROUP; i++)
        codes[at * QUANT_GROUP + i] = (uint8_t)code[i];
    for (int i = 0; FORM == OPS_INT4 && i < QUANT_GROUP; i += 2)
        codes[at * (QUANT_GROUP / 2) + i / 2] = (uint8_t)((code[i] & 15) | (code[i + 1] & 15) << 4);
}

/* A block of one warp: one row. */
static __global__ void __launch_bounds__(WARP_LANES)
    pack_fp8(uint8_t *codes, float *scales, const bf16 *w, uint32_t cols, uint32_t groups)
{
    after_previous();
    const bf16 *row = w + (size_t)blockIdx.x * cols;
    float v[QUANT_GROUP], largest = 0.0f;
    for (uint32_t g = threadIdx.x; g < groups; g += WARP_LANES) {
        load_group(v, row, cols, g);
        largest = fmaxf(largest, quant_group_largest(v));
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, other));
    const float scale = quant_fp8_scale(largest);
    if (threadIdx.x == 0)
        scales[blockIdx.x] = scale;
    for (uint32_t g = threadIdx.x; g < groups; g += WARP_LANES) {
        load_group(v, row, cols, g);
        for (int i = 0; i < QUANT_GROUP; i++)
            codes[((size_t)blockIdx.x * groups + g) * QUANT_GROUP + i] =
                quant_fp8_code(v[i], scale);
    }
}

/* Rows first .. first + rows - 1, whose bf16 numbers lie at w. */
static enum ops_status pack_rows(struct ops_device *dev, const struct ops_matrix *m, size_t first,
                                 size_t rows, const void *w)
{
    const packed_matrix p = packed_of(m);
    const size_t groups = rows * p.groups;
    uint8_t *codes = const_cast<uint8_t *>(p.codes) +
                     first * p.groups * (m->dtype == OPS_INT4 ? QUANT_GROUP / 2 : QUANT_GROUP);
    void *scales = const_cast<void *>(p.scales);
    const bf16 *from = static_cast<const bf16 *>(w);
    const dim3 blocks((unsigned)((groups + PACK_THREADS - 1) / PACK_THREADS));
    if (m->dtype == OPS_FP8)
        return cuda_launch(dev, pack_fp8, dim3((unsigned)rows), WARP_LANES, 0, codes,
                           static_cast<float *>(scales) + first, from, p.cols, p.groups);
    uint16_t *to = static_cast<uint16_t *>(scales) + first * p.groups;
    if (m->dtype == OPS_INT8)
        return cuda_launch(dev, pack_groups<OPS_INT8>, blocks, PACK_THREADS, 0, codes, to, from,
                           (unsigned)rows, p.cols, p.groups);
    return cuda_launch(dev, pack_groups<OPS_INT4>, blocks, PACK_THREADS, 0, codes, to, from,
                       (unsigned)rows, p.cols, p.groups);
}

/* Rows whose bf16 numbers have room in the scratch memory at once; a multiple of 8. */
static size_t rows_at_once(const struct ops_matrix *m)
{
    const size_t most = PACKED_SPREAD_BYTES / (m->cols * 2) / 8 * 8, all = (m->rows + 7) / 8 * 8;
    const size_t rows = most < 8 ? 8 : most;
    return rows < all ? rows : all;
}

/* The scratch memory then stays, for cuda_packed_spread: steps allocate nothing. */
static enum ops_status pack_all(struct ops_device *dev, const struct ops_matrix *m,
                                const void *host, enum ops_dtype dtype)
{
    const size_t most = rows_at_once(m);
    enum ops_status status = cuda_scratch_reserve(dev, &dev->spread, most * m->cols * 2);
    for (size_t r = 0; status == OPS_OK && r < m->rows; r += most) {
        struct cuda_copy copy = {};
        const size_t rows = m->rows - r < most ? m->rows - r : most;
        copy.to = dev->spread.data;
        copy.host = static_cast<const char *>(host) + r * m->cols * ops_dtype_size(dtype);
        copy.dtype = dtype;
        copy.numbers = rows * m->cols;
        status = cuda_staged_copy(dev, &copy);
        if (status == OPS_OK)
            status = pack_rows(dev, m, r, rows, dev->spread.data);
    }
    return status;
}

enum ops_status cuda_matrix_quantize(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                     enum ops_dtype dtype, size_t rows, size_t cols,
                                     enum ops_dtype form)
{
    if (!host || rows == 0 || cols == 0 || !dtype_known(dtype) || !ops_quantized(form) ||
        rows > INT32_MAX || cols > INT32_MAX ||
        reinterpret_cast<uintptr_t>(host) % ops_dtype_size(dtype))
        return OPS_E_SHAPE;
    struct ops_matrix made = {};
    void *data = NULL;
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc == cudaSuccess)
        rc = cudaMalloc(&data, packed_bytes(form, rows, cols));
    if (rc != cudaSuccess) {
        cudaGetLastError();
        return cuda_status(rc);
    }
    made.data = data;
    made.dtype = form;
    made.rows = rows;
    made.cols = cols;
    const enum ops_status status = pack_all(dev, &made, host, dtype);
    if (status != OPS_OK) {
        cuda_free(dev, data);
        return status;
    }
    *m = made;
    return OPS_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

enum { SPREAD_THREADS = 128 };

/* Grid: rows x parts of a row.  Row blockIdx.x of to is row ids[blockIdx.x] of m, or without ids
 * row first + blockIdx.x.  A thread: 8 columns. */
template <int FORM>
static __global__ void __launch_bounds__(SPREAD_THREADS)
    spread_rows(bf16 *to, packed_matrix m, const int32_t *ids, uint32_t first)
{
    after_previous();
    const uint32_t row = ids ? (uint32_t)ids[blockIdx.x] : first + blockIdx.x;
    const uint32_t c = (blockIdx.y * SPREAD_THREADS + threadIdx.x) * 8;
    if (c >= m.cols)
        return;
    float v[8];
    packed_8<FORM>(v, m, row, c);
    bf16 *out = to + (size_t)blockIdx.x * m.cols + c;
    if (m.cols % 8 == 0 && reinterpret_cast<uintptr_t>(out) % 16 == 0) {
        store_bf16<8>(out, v);
        return;
    }
    for (uint32_t i = 0; i < 8 && c + i < m.cols; i++)
        out[i] = __float2bfloat16_rn(v[i]);
}

static enum ops_status spread(struct ops_device *dev, void *to, const struct ops_matrix *m,
                              const int32_t *ids, size_t first, size_t rows)
{
    const packed_matrix p = packed_of(m);
    const unsigned parts = (p.cols + 8 * SPREAD_THREADS - 1) / (8 * SPREAD_THREADS);
    const dim3 grid((unsigned)rows, parts);
    bf16 *out = static_cast<bf16 *>(to);
    const uint32_t from = (uint32_t)first;
    if (m->dtype == OPS_INT4)
        return cuda_launch(dev, spread_rows<OPS_INT4>, grid, SPREAD_THREADS, 0, out, p, ids, from);
    if (m->dtype == OPS_INT8)
        return cuda_launch(dev, spread_rows<OPS_INT8>, grid, SPREAD_THREADS, 0, out, p, ids, from);
    return cuda_launch(dev, spread_rows<OPS_FP8>, grid, SPREAD_THREADS, 0, out, p, ids, from);
}

enum ops_status packed_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                                 const int32_t *ids, size_t rows)
{
    return spread(dev, y, m, ids, 0, rows);
}

enum ops_status packed_spread(struct ops_device *dev, const struct ops_matrix *m, size_t first,
                              size_t *rows, const void **out)
{
    const size_t most = rows_at_once(m);
    *rows = m->rows - first < most ? m->rows - first : most;
    const enum ops_status status =
        cuda_scratch_reserve(dev, &dev->spread, most * m->cols * 2); /* is there already */
    if (status != OPS_OK)
        return status;
    *out = dev->spread.data;
    return spread(dev, dev->spread.data, m, NULL, first, *rows);
}
