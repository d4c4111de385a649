/*
 * lora.cu - low-rank adapters for the segments of a batch: one launch makes A x of all of them, one
 * adds B (A x).
 *
 * The segments travel as a kernel parameter, so nothing is copied or allocated.  A row's order of
 * additions depends on its adapter's shape alone.
 */
#include "device.cuh"
#include "kernel.cuh"

#include <cuda_fp16.h>

enum {
    LORA_MAX_ROWS = 65535 * 4, /* a grid has at most 65535 tasks */
    LORA_SEGMENTS = 64,        /* of one launch: 3 KB of parameters */
    LORA_ROWS = 8,             /* rows of x that share one reading of A or B */
    LORA_WARPS = 4,
    LORA_THREADS = LORA_WARPS * WARP_LANES,
    LORA_RANKS = 256 /* of A x in shared memory at once */
};

struct lora_segment {
    const void *a, *b;
    uint32_t first_row, rows, rank, first_task; /* a task: LORA_ROWS rows of a segment */
    float scale;
    uint16_t dtype, wide; /* wide: groups of 8 numbers are aligned */
};

struct lora_args {
    bf16 *y;
    const bf16 *x;
    float *low; /* [rows, stride] A x */
    uint32_t in, out, stride, n;
    lora_segment segments[LORA_SEGMENTS];
};

/* WIDTH numbers of any stored type from index i on. */
template <int WIDTH>
static __device__ void load_any(float *to, const void *p, unsigned dtype, size_t i)
{
    if (dtype == OPS_BF16) {
        load_bf16<WIDTH>(to, static_cast<const bf16 *>(p) + i);
        return;
    }
#pragma unroll
    for (int k = 0; k < WIDTH; k++)
        to[k] = dtype == OPS_F32 ? static_cast<const float *>(p)[i + k]
                                 : __half2float(static_cast<const __half *>(p)[i + k]);
}

struct lora_task {
    uint32_t segment, first_row, rows;
};

static __device__ lora_task task_of(const lora_args &a, uint32_t task)
{
    lora_task t = { 0, 0, 0 };
    while (t.segment + 1 < a.n && a.segments[t.segment + 1].first_task <= task)
        t.segment++;
    const lora_segment &s = a.segments[t.segment];
    const uint32_t done = (task - s.first_task) * LORA_ROWS;
    t.first_row = s.first_row + done;
    t.rows = s.rows - done < LORA_ROWS ? s.rows - done : (uint32_t)LORA_ROWS;
    return t;
}

/* A warp: one row of A against the task's rows. */
template <int WIDTH>
static __device__ __forceinline__ void shrink(const lora_args &a, const lora_task &t, uint32_t rank)
{
    const lora_segment &s = a.segments[t.segment];
    const uint32_t lane = threadIdx.x % WARP_LANES;
    const bf16 *x = a.x + (size_t)t.first_row * a.in;
    float sum[LORA_ROWS] = {};
    for (uint32_t at = lane * WIDTH; at < a.in; at += WARP_LANES * WIDTH) {
        float weight[WIDTH], v[WIDTH];
        load_any<WIDTH>(weight, s.a, s.dtype, (size_t)rank * a.in + at);
#pragma unroll
        for (uint32_t r = 0; r < LORA_ROWS; r++) {
            if (r >= t.rows)
                break;
            load_bf16<WIDTH>(v, x + (size_t)r * a.in + at);
#pragma unroll
            for (int i = 0; i < WIDTH; i++)
                sum[r] = __fmaf_rn(v[i], weight[i], sum[r]);
        }
    }
#pragma unroll
    for (uint32_t r = 0; r < LORA_ROWS; r++) {
        const float all = warp_sum(sum[r]);
        if (lane == 0 && r < t.rows)
            a.low[(size_t)(t.first_row + r) * a.stride + rank] = all;
    }
}

/* Grid: groups of ranks x tasks. */
static __global__ void __launch_bounds__(LORA_THREADS) lora_shrink(const lora_args a)
{
    after_previous();
    const lora_task t = task_of(a, blockIdx.y);
    const uint32_t rank = blockIdx.x * LORA_WARPS + threadIdx.x / WARP_LANES;
    if (rank >= a.segments[t.segment].rank)
        return;
    if (a.segments[t.segment].wide)
        shrink<8>(a, t, rank);
    else
        shrink<1>(a, t, rank);
}

/* A thread: one column of the task's rows.  low: shared, [LORA_ROWS, LORA_RANKS]. */
template <int WIDTH>
static __device__ __forceinline__ void expand(const lora_args &a, const lora_task &t, float *low)
{
    const lora_segment &s = a.segments[t.segment];
    const uint32_t column = blockIdx.x * LORA_THREADS + threadIdx.x;
    float sum[LORA_ROWS] = {};
    for (uint32_t from = 0; from < s.rank; from += LORA_RANKS) {
        const uint32_t n = s.rank - from < LORA_RANKS ? s.rank - from : (uint32_t)LORA_RANKS;
        __syncthreads(); /* the last ranks have been read */
        for (uint32_t i = threadIdx.x; i < t.rows * n; i += LORA_THREADS)
            low[i / n * LORA_RANKS + i % n] =
                a.low[(size_t)(t.first_row + i / n) * a.stride + from + i % n];
        __syncthreads();
        for (uint32_t k = 0; column < a.out && k < n; k += WIDTH) {
            float weight[WIDTH];
            load_any<WIDTH>(weight, s.b, s.dtype, (size_t)column * s.rank + from + k);
#pragma unroll
            for (uint32_t r = 0; r < LORA_ROWS; r++) {
                if (r >= t.rows)
                    break;
#pragma unroll
                for (int i = 0; i < WIDTH; i++)
                    sum[r] = __fmaf_rn(low[r * LORA_RANKS + k + i], weight[i], sum[r]);
            }
        }
    }
    for (uint32_t r = 0; column < a.out && r < t.rows; r++) {
        bf16 *y = a.y + (size_t)(t.first_row + r) * a.out + column;
        float add = 0;
#pragma unroll
        for (uint32_t i = 0; i < LORA_ROWS; i++) /* a register has no address */
            add = i == r ? sum[i] : add;
        *y = __float2bfloat16_rn(__fmaf_rn(s.scale, add, __bfloat162float(*y)));
    }
}

/* Grid: groups of columns of y x tasks. */
static __global__ void __launch_bounds__(LORA_THREADS) lora_expand(const lora_args a)
{
    after_previous();
    SHARED(float, low, LORA_ROWS *LORA_RANKS);
    const lora_task t = task_of(a, blockIdx.y);
    if (a.segments[t.segment].wide)
        expand<8>(a, t, low);
    else
        expand<1>(a, t, low);
}

static bool segments_ok(const struct ops_lora_segment *s, size_t n, size_t rows)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i].first_row > rows || s[i].rows > rows - s[i].first_row || s[i].rank == 0 ||
            s[i].rank > OPS_LORA_MAX_RANK ||
            (s[i].dtype != OPS_BF16 && s[i].dtype != OPS_F16 && s[i].dtype != OPS_F32))
            return false;
    }
    return true;
}

/* Takes up to LORA_SEGMENTS segments that have rows.  The number of segments looked at. */
static size_t gather(lora_args *a, const struct ops_lora_segment *s, size_t n, uint32_t *tasks,
                     uint32_t *ranks)
{
    size_t i = 0;
    *tasks = *ranks = 0;
    const bool wide = a->in % 8 == 0 && cuda_aligned16(a->x);
    for (a->n = 0; i < n && a->n < LORA_SEGMENTS; i++) {
        if (s[i].rows == 0)
            continue;
        lora_segment *to = &a->segments[a->n++];
        to->a = s[i].a;
        to->b = s[i].b;
        to->first_row = (uint32_t)s[i].first_row;
        to->rows = (uint32_t)s[i].rows;
        to->rank = (uint32_t)s[i].rank;
        to->scale = s[i].scale;
        to->dtype = (uint16_t)s[i].dtype;
        to->first_task = *tasks;
        *tasks += (to->rows + LORA_ROWS - 1) / LORA_ROWS;
        *ranks = to->rank > *ranks ? to->rank : *ranks;
        to->wide = wide && to->rank % 8 == 0 && cuda_aligned16(to->a) && cuda_aligned16(to->b);
    }
    return i;
}

enum ops_status cuda_lora(struct ops_device *dev, void *y, const void *x, size_t rows, size_t in,
                          size_t out, const struct ops_lora_segment *segments, size_t n_segments)
{
    if (in == 0 || out == 0 || in > INT32_MAX || out > INT32_MAX || rows > LORA_MAX_ROWS ||
        !segments_ok(segments, n_segments, rows))
        return OPS_E_SHAPE;
    lora_args a = {};
    a.y = static_cast<bf16 *>(y);
    a.x = static_cast<const bf16 *>(x);
    a.in = (uint32_t)in;
    a.out = (uint32_t)out;
    for (size_t done = 0; done < n_segments;) {
        uint32_t tasks, ranks;
        done += gather(&a, segments + done, n_segments - done, &tasks, &ranks);
        if (a.n == 0)
            continue;
        a.stride = ranks;
        enum ops_status status =
            cuda_scratch_reserve(dev, &dev->low_rank, rows * ranks * sizeof(float));
        if (status != OPS_OK)
            return status;
        a.low = static_cast<float *>(dev->low_rank.data);
        status = cuda_launch(dev, lora_shrink, dim3((ranks + LORA_WARPS - 1) / LORA_WARPS, tasks),
                             LORA_THREADS, 0, a);
        if (status == OPS_OK)
            status = cuda_launch(dev, lora_expand,
                                 dim3((a.out + LORA_THREADS - 1) / LORA_THREADS, tasks),
                                 LORA_THREADS, 0, a);
        if (status != OPS_OK)
            return status;
    }
    return OPS_OK;
}
