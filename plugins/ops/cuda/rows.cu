/* rows.cu - operations that go through rows once: embedding, RMSNorm with the residual, SwiGLU. */
#include "device.cuh"
#include "kernel.cuh"
#include "packed.h"

enum { ROW_THREADS = 256 };

/* Block: a row. */
template <int WIDTH>
static __global__ void __launch_bounds__(ROW_THREADS)
    gather_rows(bf16 *y, const bf16 *table, const int32_t *ids, unsigned cols)
{
    after_previous();
    const bf16 *from = table + (size_t)ids[blockIdx.x] * cols;
    bf16 *to = y + (size_t)blockIdx.x * cols;
    for (unsigned i = threadIdx.x * WIDTH; i < cols; i += ROW_THREADS * WIDTH) {
        if (WIDTH == 8)
            *reinterpret_cast<uint4 *>(to + i) = *reinterpret_cast<const uint4 *>(from + i);
        else
            to[i] = from[i];
    }
}

/* The sum over the threads of a block, in every thread. */
static __device__ float block_sum(float v)
{
    SHARED(float, part, ROW_THREADS / WARP_LANES);
    v = warp_sum(v);
    if (threadIdx.x % WARP_LANES == 0)
        part[threadIdx.x / WARP_LANES] = v;
    __syncthreads();
    float sum = 0;
#pragma unroll
    for (int w = 0; w < ROW_THREADS / WARP_LANES; w++)
        sum += part[w];
    return sum;
}

/* Block: a row.  With ADD x is added to h first, and h is what is normalised.  A thread reads and
 * writes the same places in both passes, so y may be x. */
template <int WIDTH, bool ADD>
static __global__ void __launch_bounds__(ROW_THREADS)
    norm_rows(bf16 *h, bf16 *y, const bf16 *x, const bf16 *w, unsigned dim, float eps)
{
    after_previous();
    const size_t row = (size_t)blockIdx.x * dim;
    const bf16 *in = ADD ? h + row : x + row;
    float v[WIDTH], more[WIDTH], sum = 0;
    for (unsigned i = threadIdx.x * WIDTH; i < dim; i += ROW_THREADS * WIDTH) {
        load_bf16<WIDTH>(v, in + i);
        if (ADD) {
            load_bf16<WIDTH>(more, x + row + i);
#pragma unroll
            for (int k = 0; k < WIDTH; k++)
                v[k] = __bfloat162float(__float2bfloat16_rn(v[k] + more[k]));
            store_bf16<WIDTH>(h + row + i, v);
        }
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            sum = __fmaf_rn(v[k], v[k], sum);
    }
    const float scale = rsqrtf(block_sum(sum) / (float)dim + eps);
    for (unsigned i = threadIdx.x * WIDTH; i < dim; i += ROW_THREADS * WIDTH) {
        load_bf16<WIDTH>(v, in + i);
        load_bf16<WIDTH>(more, w + i);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            v[k] = v[k] * scale * more[k];
        store_bf16<WIDTH>(y + row + i, v);
    }
}

/* Grid: rows x parts of a row. */
template <int WIDTH>
static __global__ void __launch_bounds__(ROW_THREADS)
    swiglu_rows(bf16 *y, const bf16 *gate_up, unsigned dim)
{
    after_previous();
    const unsigned i = (blockIdx.y * ROW_THREADS + threadIdx.x) * WIDTH;
    if (i >= dim)
        return;
    const bf16 *gate = gate_up + (size_t)blockIdx.x * 2 * dim;
    float z[WIDTH], up[WIDTH];
    load_bf16<WIDTH>(z, gate + i);
    load_bf16<WIDTH>(up, gate + dim + i);
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
        z[k] = up[k] * silu(z[k]);
    store_bf16<WIDTH>(y + (size_t)blockIdx.x * dim + i, z);
}

static bool rows_ok(size_t rows, size_t dim)
{
    return dim > 0 && dim <= INT32_MAX / 4 && rows <= CUDA_MAX_ROWS;
}

enum ops_status cuda_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                               const int32_t *ids, size_t rows)
{
    const bool packed = ops_quantized(m->dtype);
    if (!rows_ok(rows, m->cols) || (!packed && m->dtype != OPS_BF16))
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    if (packed)
        return packed_embedding(dev, y, m, ids, rows);
    const bool wide = m->cols % 8 == 0 && cuda_aligned16(y) && cuda_aligned16(m->data);
    return cuda_launch(dev, wide ? gather_rows<8> : gather_rows<1>, dim3((unsigned)rows),
                       ROW_THREADS, 0, static_cast<bf16 *>(y), static_cast<const bf16 *>(m->data),
                       ids, (unsigned)m->cols);
}

template <bool ADD>
static enum ops_status normalise(struct ops_device *dev, void *h, void *y, const void *x,
                                 const struct ops_matrix *w, size_t rows, size_t dim, float eps)
{
    if (!rows_ok(rows, dim) || w->rows != 1 || w->cols != dim || w->dtype != OPS_BF16)
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    const bool wide = dim % 8 == 0 && cuda_aligned16(h) && cuda_aligned16(y) && cuda_aligned16(x) &&
                      cuda_aligned16(w->data);
    return cuda_launch(dev, wide ? norm_rows<8, ADD> : norm_rows<1, ADD>, dim3((unsigned)rows),
                       ROW_THREADS, 0, static_cast<bf16 *>(h), static_cast<bf16 *>(y),
                       static_cast<const bf16 *>(x), static_cast<const bf16 *>(w->data),
                       (unsigned)dim, eps);
}

enum ops_status cuda_rmsnorm(struct ops_device *dev, void *y, const void *x,
                             const struct ops_matrix *w, size_t rows, size_t dim, float eps)
{
    return normalise<false>(dev, NULL, y, x, w, rows, dim, eps);
}

enum ops_status cuda_add_rmsnorm(struct ops_device *dev, void *h, const void *delta, void *y,
                                 const struct ops_matrix *w, size_t rows, size_t dim, float eps)
{
    return normalise<true>(dev, h, y, delta, w, rows, dim, eps);
}

enum ops_status cuda_swiglu(struct ops_device *dev, void *y, const void *gate_up, size_t rows,
                            size_t dim)
{
    if (!rows_ok(rows, dim))
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    const bool wide = dim % 8 == 0 && cuda_aligned16(y) && cuda_aligned16(gate_up);
    const size_t part = (size_t)ROW_THREADS * (wide ? 8 : 1);
    return cuda_launch(dev, wide ? swiglu_rows<8> : swiglu_rows<1>,
                       dim3((unsigned)rows, (unsigned)((dim + part - 1) / part)), ROW_THREADS, 0,
                       static_cast<bf16 *>(y), static_cast<const bf16 *>(gate_up), (unsigned)dim);
}
