/*
 * gemv.cu - matrix products for 1 to 8 rows of x, bound by how fast the weights can be read.
 *
 * A warp computes OUTS rows of the weights against all rows of x.  Each lane adds the products of
 * columns WIDTH * lane + 32 * WIDTH * i in order, and the lanes are summed as a tree: the same for
 * every number of rows, so a row's bits do not depend on its company.
 */
#include "device.cuh"
#include "kernel.cuh"
#include "matmul.h"

enum { GEMV_WARPS = 4, GEMV_THREADS = GEMV_WARPS * WARP_LANES };

static __device__ void store_out(float *y, float v)
{
    *y = v;
}

static __device__ void store_out(bf16 *y, float v)
{
    *y = __float2bfloat16_rn(v);
}

/* ROWS: rows of x that there is room for; rows: those that there are. */
template <int ROWS, int OUTS, int WIDTH, class T>
static __global__ void __launch_bounds__(GEMV_THREADS)
    gemv(T *y, const bf16 *x, const bf16 *w, unsigned rows, unsigned n, unsigned k)
{
    after_previous();
    const unsigned lane = threadIdx.x % WARP_LANES;
    const unsigned first = (blockIdx.x * GEMV_WARPS + threadIdx.x / WARP_LANES) * OUTS;
    float sum[OUTS][ROWS] = {};
    for (unsigned at = lane * WIDTH; at < k; at += WARP_LANES * WIDTH) {
        float weight[OUTS][WIDTH];
#pragma unroll
        for (int o = 0; o < OUTS; o++) {
            const unsigned row = first + o < n ? first + o : n - 1; /* read, not stored */
            load_bf16<WIDTH>(weight[o], w + (size_t)row * k + at);
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            if (ROWS > 1 && (unsigned)r >= rows)
                break;
            float v[WIDTH];
            load_bf16<WIDTH>(v, x + (size_t)r * k + at);
#pragma unroll
            for (int o = 0; o < OUTS; o++) {
#pragma unroll
                for (int i = 0; i < WIDTH; i++)
                    sum[o][r] = __fmaf_rn(v[i], weight[o][i], sum[o][r]);
            }
        }
    }
#pragma unroll
    for (int o = 0; o < OUTS; o++) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float all = warp_sum(sum[o][r]);
            if (lane == 0 && (unsigned)r < rows && first + o < n)
                store_out(y + (size_t)r * n + first + o, all);
        }
    }
}

template <int ROWS, int OUTS, int WIDTH, class T>
static enum ops_status run(struct ops_device *dev, const struct product *p)
{
    const size_t per_block = (size_t)GEMV_WARPS * OUTS;
    return cuda_launch(
        dev, gemv<ROWS, OUTS, WIDTH, T>, dim3((unsigned)((p->n + per_block - 1) / per_block)),
        GEMV_THREADS, 0, static_cast<T *>(p->y), static_cast<const bf16 *>(p->x),
        static_cast<const bf16 *>(p->w), (unsigned)p->rows, (unsigned)p->n, (unsigned)p->k);
}

template <class T> static enum ops_status run_typed(struct ops_device *dev, const struct product *p)
{
    if (p->k % 8 || !cuda_aligned16(p->x) || !cuda_aligned16(p->w))
        return run<GEMV_MAX_ROWS, 2, 1, T>(dev, p);
    if (p->rows == 1)
        return run<1, 2, 8, T>(dev, p);
    if (p->rows == 2)
        return run<2, 2, 8, T>(dev, p);
    if (p->rows <= 4)
        return run<4, 2, 8, T>(dev, p);
    return run<8, 4, 8, T>(dev, p);
}

enum ops_status gemv_run(struct ops_device *dev, const struct product *p)
{
    return p->float_out ? run_typed<float>(dev, p) : run_typed<bf16>(dev, p);
}
