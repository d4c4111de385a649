/* elementwise.cu - what treats each number on its own: sums, biases, ReLU, SiLU, GELU, gated rows.
 */
#include "device.cuh"
#include "kernel.cuh"

enum { MAP_THREADS = 256 };

/* ---- numbers in a line ----------------------------------------------------------------------- */

struct relu_of {
    __device__ __forceinline__ float operator()(float x) const
    {
        return x < 0.0f ? 0.0f : x; /* not a number stays so */
    }
};

struct silu_of {
    __device__ __forceinline__ float operator()(float x) const
    {
        return silu(x);
    }
};

/* (1 + tanh u) / 2 is 1 / (1 + e^-2u): exact far from 0 as well. */
struct gelu_tanh_of {
    __device__ __forceinline__ float operator()(float x) const
    {
        const float u = 0.7978845608028654f * __fmaf_rn(0.044715f * x * x, x, x);
        return x / (1.0f + expf(-2.0f * u));
    }
};

/* 1 + erf would lose the small results of large negative x. */
struct gelu_erf_of {
    __device__ __forceinline__ float operator()(float x) const
    {
        return 0.5f * x * erfcf(-0.7071067811865476f * x);
    }
};

template <int WIDTH, class F>
static __global__ void __launch_bounds__(MAP_THREADS)
    map_numbers(bf16 *y, const bf16 *x, size_t n, const F f)
{
    after_previous();
    const size_t i = ((size_t)blockIdx.x * MAP_THREADS + threadIdx.x) * WIDTH;
    if (i + WIDTH <= n) {
        float v[WIDTH];
        load_bf16<WIDTH>(v, x + i);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            v[k] = f(v[k]);
        store_bf16<WIDTH>(y + i, v);
        return;
    }
    for (size_t k = i; k < n; k++)
        y[k] = __float2bfloat16_rn(f(__bfloat162float(x[k])));
}

template <int WIDTH>
static __global__ void __launch_bounds__(MAP_THREADS)
    add_numbers(bf16 *y, const bf16 *x, size_t n, float scale)
{
    after_previous();
    const size_t i = ((size_t)blockIdx.x * MAP_THREADS + threadIdx.x) * WIDTH;
    if (i + WIDTH <= n) {
        float sum[WIDTH], more[WIDTH];
        load_bf16<WIDTH>(sum, y + i);
        load_bf16<WIDTH>(more, x + i);
#pragma unroll
        for (int k = 0; k < WIDTH; k++)
            sum[k] = __fmaf_rn(scale, more[k], sum[k]);
        store_bf16<WIDTH>(y + i, sum);
        return;
    }
    for (size_t k = i; k < n; k++)
        y[k] =
            __float2bfloat16_rn(__fmaf_rn(scale, __bfloat162float(x[k]), __bfloat162float(y[k])));
}

static bool line_ok(size_t n)
{
    return n <= (size_t)INT32_MAX * MAP_THREADS;
}

static dim3 line_grid(size_t n, size_t width)
{
    const size_t block = MAP_THREADS * width;
    return dim3((unsigned)((n + block - 1) / block));
}

template <class F>
static enum ops_status map(struct ops_device *dev, void *y, const void *x, size_t n, F f)
{
    if (!line_ok(n))
        return OPS_E_SHAPE;
    if (n == 0)
        return OPS_OK;
    const bool wide = cuda_aligned16(y) && cuda_aligned16(x);
    return cuda_launch(dev, wide ? map_numbers<8, F> : map_numbers<1, F>,
                       line_grid(n, wide ? 8 : 1), MAP_THREADS, 0, static_cast<bf16 *>(y),
                       static_cast<const bf16 *>(x), n, f);
}

enum ops_status cuda_relu(struct ops_device *dev, void *y, const void *x, size_t n)
{
    return map(dev, y, x, n, relu_of());
}

enum ops_status cuda_silu(struct ops_device *dev, void *y, const void *x, size_t n)
{
    return map(dev, y, x, n, silu_of());
}

enum ops_status cuda_gelu(struct ops_device *dev, void *y, const void *x, size_t n,
                          enum ops_gelu kind)
{
    switch (kind) {
    case OPS_GELU_TANH:
        return map(dev, y, x, n, gelu_tanh_of());
    case OPS_GELU_ERF:
        return map(dev, y, x, n, gelu_erf_of());
    }
    return OPS_E_SHAPE;
}

enum ops_status cuda_add(struct ops_device *dev, void *y, const void *x, size_t n, float scale)
{
    if (!line_ok(n))
        return OPS_E_SHAPE;
    if (n == 0)
        return OPS_OK;
    const bool wide = cuda_aligned16(y) && cuda_aligned16(x);
    return cuda_launch(dev, wide ? add_numbers<8> : add_numbers<1>, line_grid(n, wide ? 8 : 1),
                       MAP_THREADS, 0, static_cast<bf16 *>(y), static_cast<const bf16 *>(x), n,
                       scale);
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* How a block's threads lie over rows: several short rows, or a part of a long one. */
struct row_layout {
    unsigned rows, dim;
    unsigned threads; /* of a row */
    unsigned at_once; /* rows of a block */
};

/* The thread's row and column; false: it has none. */
template <int WIDTH>
static __device__ __forceinline__ bool place_in(const row_layout &l, unsigned *row, unsigned *col)
{
    const unsigned in_block = threadIdx.x / l.threads;
    *row = blockIdx.x * l.at_once + in_block;
    *col = (blockIdx.y * MAP_THREADS + threadIdx.x % l.threads) * WIDTH;
    return in_block < l.at_once && *row < l.rows && *col < l.dim;
}

template <int WIDTH>
static __global__ void __launch_bounds__(MAP_THREADS)
    bias_rows(bf16 *y, const bf16 *b, const row_layout l)
{
    after_previous();
    unsigned row, col;
    if (!place_in<WIDTH>(l, &row, &col))
        return;
    bf16 *to = y + (size_t)row * l.dim + col;
    float v[WIDTH], more[WIDTH];
    load_bf16<WIDTH>(v, to);
    load_bf16<WIDTH>(more, b + col);
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
        v[k] += more[k];
    store_bf16<WIDTH>(to, v);
}

template <int WIDTH>
static __global__ void __launch_bounds__(MAP_THREADS)
    glu_rows(bf16 *y, const bf16 *x, const row_layout l)
{
    after_previous();
    unsigned row, col;
    if (!place_in<WIDTH>(l, &row, &col))
        return;
    const bf16 *from = x + (size_t)row * 2 * l.dim + col;
    float value[WIDTH], gate[WIDTH];
    load_bf16<WIDTH>(value, from);
    load_bf16<WIDTH>(gate, from + l.dim);
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
        value[k] *= silu(gate[k]);
    store_bf16<WIDTH>(y + (size_t)row * l.dim + col, value);
}

/* A kernel over rows of dim numbers of y and something else. */
typedef void row_kernel(bf16 *y, const bf16 *x, const row_layout l);

static enum ops_status run_rows(struct ops_device *dev, row_kernel *wide, row_kernel *narrow,
                                void *y, const void *x, size_t rows, size_t dim)
{
    if (dim == 0 || dim > INT32_MAX / 4 || rows > CUDA_MAX_ROWS)
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    const bool aligned = dim % 8 == 0 && cuda_aligned16(y) && cuda_aligned16(x);
    const size_t pieces = aligned ? dim / 8 : dim;
    row_layout l = {};
    l.rows = (unsigned)rows;
    l.dim = (unsigned)dim;
    l.threads = pieces < MAP_THREADS ? (unsigned)pieces : (unsigned)MAP_THREADS;
    l.at_once = MAP_THREADS / l.threads;
    const dim3 grid((l.rows + l.at_once - 1) / l.at_once,
                    (unsigned)((pieces + MAP_THREADS - 1) / MAP_THREADS));
    return cuda_launch(dev, aligned ? wide : narrow, grid, MAP_THREADS, 0, static_cast<bf16 *>(y),
                       static_cast<const bf16 *>(x), l);
}

enum ops_status cuda_add_bias(struct ops_device *dev, void *y, const struct ops_matrix *b,
                              size_t rows, size_t dim)
{
    if (b->rows != 1 || b->cols != dim || b->dtype != OPS_BF16)
        return OPS_E_SHAPE;
    return run_rows(dev, bias_rows<8>, bias_rows<1>, y, b->data, rows, dim);
}

enum ops_status cuda_glu(struct ops_device *dev, void *y, const void *x, size_t rows, size_t dim)
{
    return run_rows(dev, glu_rows<8>, glu_rows<1>, y, x, rows, dim);
}
