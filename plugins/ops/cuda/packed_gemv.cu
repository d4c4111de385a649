/*
 * packed_gemv.cu - matrix products of 1 to 8 rows of x with compressed weights, which are unpacked
 * on their way from memory into the sums.
 *
 * A warp computes OUTS rows of the weights against all rows of x.  A lane takes 16 bytes of codes
 * at a time: 32 columns of int4 (one group), 16 of int8 (half of one) or fp8.  Their products are
 * added in order, the sum is multiplied by the group's scale and added to the lane's; then the
 * lanes are summed as a tree: the same for every number of rows, so a row's bits do not depend on
 * its company.
 */
#include "device.cuh"
#include "packed.cuh"
#include "packed.h"

enum { PACKED_WARPS = 4, PACKED_THREADS = PACKED_WARPS * WARP_LANES, PACKED_OUTS = 2 };

static __device__ __forceinline__ void store_sum(float *y, float v)
{
    *y = v;
}

static __device__ __forceinline__ void store_sum(bf16 *y, float v)
{
    *y = __float2bfloat16_rn(v);
}

/* Columns c .. c + 7 of a row of x; zeros from column k on. */
template <bool ALIGNED>
static __device__ __forceinline__ void load_x(float v[8], const bf16 *x, uint32_t c, uint32_t k)
{
    if (ALIGNED && c < k) {
        load_bf16<8>(v, x + c);
        return;
    }
#pragma unroll
    for (uint32_t i = 0; i < 8; i++)
        v[i] = !ALIGNED && c + i < k ? __bfloat162float(x[c + i]) : 0.0f;
}

/* 16 bytes of codes of OUTS rows of the weights and their scales; rows behind the last are read as
 * the last, and not stored. */
template <int FORM, int OUTS>
static __device__ __forceinline__ void load_codes(uint32_t words[OUTS][4], float scale[OUTS],
                                                  const packed_matrix &m, uint32_t first,
                                                  uint32_t at)
{
#pragma unroll
    for (int o = 0; o < OUTS; o++) {
        const uint32_t row = first + o < m.rows ? first + o : m.rows - 1;
        const size_t column = (size_t)row * m.groups * QUANT_GROUP + at;
        const uint4 v =
            *reinterpret_cast<const uint4 *>(m.codes + column / (FORM == OPS_INT4 ? 2 : 1));
        words[o][0] = v.x;
        words[o][1] = v.y;
        words[o][2] = v.z;
        words[o][3] = v.w;
        scale[o] = FORM == OPS_FP8
                       ? 1.0f
                       : bf16_bits(static_cast<const uint16_t *>(m.scales)[column / QUANT_GROUP]);
    }
}

/* ROWS: rows of x that there is room for; rows: those that there are. */
template <int FORM, int ROWS, int OUTS, bool ALIGNED, class T>
static __global__ void __launch_bounds__(PACKED_THREADS)
    gemv_packed(T *y, const bf16 *x, packed_matrix m, unsigned rows)
{
    after_previous();
    enum { WIDTH = FORM == OPS_INT4 ? 32 : 16, WORDS = FORM == OPS_INT4 ? 1 : 2 };
    const uint32_t lane = threadIdx.x % WARP_LANES, k = m.cols;
    const uint32_t first = (blockIdx.x * PACKED_WARPS + threadIdx.x / WARP_LANES) * OUTS;
    float sum[OUTS][ROWS] = {};
    for (uint32_t at = lane * WIDTH; at < k; at += WARP_LANES * WIDTH) {
        uint32_t words[OUTS][4];
        float scale[OUTS], part[OUTS][ROWS] = {};
        load_codes<FORM, OUTS>(words, scale, m, first, at);
#pragma unroll
        for (int eight = 0; eight < WIDTH / 8; eight++) {
            float w[OUTS][8];
#pragma unroll
            for (int o = 0; o < OUTS; o++)
                unpack_8<FORM>(w[o], words[o] + eight * WORDS);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                if (ROWS > 1 && (unsigned)r >= rows)
                    break;
                float v[8];
                load_x<ALIGNED>(v, x + (size_t)r * k, at + eight * 8, k);
#pragma unroll
                for (int o = 0; o < OUTS; o++) {
#pragma unroll
                    for (int i = 0; i < 8; i++)
                        part[o][r] = __fmaf_rn(v[i], w[o][i], part[o][r]);
                }
            }
        }
#pragma unroll
        for (int o = 0; o < OUTS; o++) {
#pragma unroll
            for (int r = 0; r < ROWS; r++)
                sum[o][r] = __fmaf_rn(part[o][r], scale[o], sum[o][r]);
        }
    }
#pragma unroll
    for (int o = 0; o < OUTS; o++) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            float all = warp_sum(sum[o][r]);
            if (lane != 0 || (unsigned)r >= rows || first + o >= m.rows)
                continue;
            if (FORM == OPS_FP8)
                all = all * static_cast<const float *>(m.scales)[first + o];
            store_sum(y + (size_t)r * m.rows + first + o, all);
        }
    }
}

template <int FORM, int ROWS, bool ALIGNED, class T>
static enum ops_status run_packed(struct ops_device *dev, const struct product *p,
                                  const struct ops_matrix *m)
{
    const size_t per_block = (size_t)PACKED_WARPS * PACKED_OUTS;
    return cuda_launch(dev, gemv_packed<FORM, ROWS, PACKED_OUTS, ALIGNED, T>,
                       dim3((unsigned)((m->rows + per_block - 1) / per_block)), PACKED_THREADS, 0,
                       static_cast<T *>(p->y), static_cast<const bf16 *>(p->x), packed_of(m),
                       (unsigned)p->rows);
}

template <int FORM, class T>
static enum ops_status run_form(struct ops_device *dev, const struct product *p,
                                const struct ops_matrix *m)
{
    if (m->cols % 8 || !cuda_aligned16(p->x))
        return run_packed<FORM, GEMV_MAX_ROWS, false, T>(dev, p, m);
    if (p->rows == 1)
        return run_packed<FORM, 1, true, T>(dev, p, m);
    if (p->rows == 2)
        return run_packed<FORM, 2, true, T>(dev, p, m);
    if (p->rows <= 4)
        return run_packed<FORM, 4, true, T>(dev, p, m);
    return run_packed<FORM, GEMV_MAX_ROWS, true, T>(dev, p, m);
}

template <class T>
static enum ops_status run_any(struct ops_device *dev, const struct product *p,
                               const struct ops_matrix *m)
{
    if (m->dtype == OPS_INT4)
        return run_form<OPS_INT4, T>(dev, p, m);
    if (m->dtype == OPS_INT8)
        return run_form<OPS_INT8, T>(dev, p, m);
    return run_form<OPS_FP8, T>(dev, p, m);
}

enum ops_status packed_gemv(struct ops_device *dev, const struct product *p,
                            const struct ops_matrix *m)
{
    return p->float_out ? run_any<float>(dev, p, m) : run_any<bf16>(dev, p, m);
}
