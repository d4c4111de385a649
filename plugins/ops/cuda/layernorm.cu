/* layernorm.cu - LayerNorm: a warp for each row, which goes over it three times (the second and
 * third time it lies in the nearest cache). */
#include "device.cuh"
#include "kernel.cuh"

enum { NORM_WARPS = 4, NORM_THREADS = NORM_WARPS * WARP_LANES };

/* All numbers are taken relative to the row's first, so that a mean far from 0 costs no digits.  A
 * lane reads and writes the same places, so y may be x. */
template <int WIDTH>
static __global__ void __launch_bounds__(NORM_THREADS)
    layernorm_rows(bf16 *y, const bf16 *x, const bf16 *w, const bf16 *b, unsigned rows,
                   unsigned dim, float eps)
{
    after_previous();
    const unsigned lane = threadIdx.x % WARP_LANES;
    const unsigned row = blockIdx.x * NORM_WARPS + threadIdx.x / WARP_LANES;
    if (row >= rows)
        return;
    const bf16 *in = x + (size_t)row * dim;
    bf16 *out = y + (size_t)row * dim;
    const float first = __bfloat162float(in[0]);
    float v[WIDTH], sum = 0.0f, squares = 0.0f;
    for (unsigned i = lane * WIDTH; i < dim; i += WARP_LANES * WIDTH) {
        load_bf16<WIDTH>(v, in + i);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            sum += v[k] - first;
    }
    const float mean = warp_sum(sum) / (float)dim; /* relative to first */
    for (unsigned i = lane * WIDTH; i < dim; i += WARP_LANES * WIDTH) {
        load_bf16<WIDTH>(v, in + i);
#pragma unroll
        for (int k = 0; k < WIDTH; k++) {
            const float d = v[k] - first - mean;
            squares = __fmaf_rn(d, d, squares);
        }
    }
    const float scale = rsqrtf(warp_sum(squares) / (float)dim + eps);
    for (unsigned i = lane * WIDTH; i < dim; i += WARP_LANES * WIDTH) {
        float weight[WIDTH], bias[WIDTH];
        load_bf16<WIDTH>(v, in + i);
        load_bf16<WIDTH>(weight, w + i);
        load_bf16<WIDTH>(bias, b + i);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            v[k] = __fmaf_rn((v[k] - first - mean) * scale, weight[k], bias[k]);
        store_bf16<WIDTH>(out + i, v);
    }
}

static bool is_row_of(const struct ops_matrix *m, size_t dim)
{
    return m->rows == 1 && m->cols == dim && m->dtype == OPS_BF16;
}

enum ops_status cuda_layernorm(struct ops_device *dev, void *y, const void *x,
                               const struct ops_matrix *w, const struct ops_matrix *b, size_t rows,
                               size_t dim, float eps)
{
    if (dim == 0 || dim > INT32_MAX / 4 || rows > CUDA_MAX_ROWS || !is_row_of(w, dim) ||
        !is_row_of(b, dim))
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    const bool wide = dim % 8 == 0 && cuda_aligned16(y) && cuda_aligned16(x) &&
                      cuda_aligned16(w->data) && cuda_aligned16(b->data);
    return cuda_launch(dev, wide ? layernorm_rows<8> : layernorm_rows<1>,
                       dim3((unsigned)((rows + NORM_WARPS - 1) / NORM_WARPS)), NORM_THREADS, 0,
                       static_cast<bf16 *>(y), static_cast<const bf16 *>(x),
                       static_cast<const bf16 *>(w->data), static_cast<const bf16 *>(b->data),
                       (unsigned)rows, (unsigned)dim, eps);
}
