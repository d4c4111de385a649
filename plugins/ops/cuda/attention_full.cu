/*
 * attention_full.cu - bidirectional attention within segments, with masks and a bias by distance: a
 * block for each tile of queries of a head, which goes over the segment's keys and keeps no scores;
 * attention_tile.cuh has the arithmetic.
 *
 * Keys are cut into chunks of FULL_TOKENS from the beginning of their segment, so a row's bits do
 * not depend on the other segments.
 */
#include "attention.h"
#include "attention_tile.cuh"
#include "device.cuh"
#include "row_tile.cuh"

enum {
    FULL_TOKENS = 128,
    FULL_WARPS = FULL_TOKENS / WARP_LANES, /* so that each warp notes 32 of a chunk's seen keys */
    FULL_THREADS = FULL_WARPS * WARP_LANES,
    FULL_QUERIES = FULL_WARPS * TILE_QUERIES,
    FULL_DISTANCES =
        FULL_QUERIES + FULL_TOKENS - 1 /* between a tile's queries and a chunk's keys */
};

static const float LOG2_E = 1.4426950408889634f;

struct full_args {
    bf16 *o;
    const bf16 *q, *k, *v;
    size_t q_stride, k_stride, v_stride, o_stride;
    const int32_t *first_row;
    const uint8_t *key_seen; /* NULL: all are seen */
    const float *relative;   /* NULL: none */
    int reach;
    uint32_t n_segments, n_heads, head_dim;
    float scale;  /* times log2(e) */
    bool aligned; /* 8 numbers of q, k and v are one aligned load */
};

template <int HD> struct full_memory {
    bf16 q[FULL_QUERIES * (HD + TILE_PAD)];
    bf16 k[FULL_TOKENS * (HD + TILE_PAD)];
    bf16 v[FULL_TOKENS * (HD + TILE_PAD)];
    float bias[FULL_DISTANCES + 1]; /* of distance first - last query, and so on, times log2(e) */
    uint32_t seen[FULL_WARPS];      /* bit i % 32 of word i / 32: key i of the chunk is seen */
};

/* The part of a head in rows first .. first + N - 1 to shared memory [N, HD + TILE_PAD]; zeros from
 * row `end` on, behind head_dim, and (KEYS) for rows that are not seen.  Asynchronous. */
template <int HD, int N, bool KEYS>
static __device__ __forceinline__ void load_rows(bf16 *to, const full_args &a, const bf16 *from,
                                                 size_t stride, uint32_t first, uint32_t end)
{
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < N * (HD / 8); i += FULL_THREADS) {
        const uint32_t row = first + i / (HD / 8), d = i % (HD / 8) * 8;
        const bool valid =
            row < end && d < a.head_dim && (!KEYS || !a.key_seen || a.key_seen[row] != 0);
        bf16 *at = to + i / (HD / 8) * (HD + TILE_PAD) + d;
        const bf16 *p = valid ? from + row * stride + d : from;
        if (a.aligned)
            copy_async_16(at, p, valid);
        else
            copy_8(at, p, valid ? a.head_dim - d : 0);
    }
}

/* What masks and biases the chunk's scores: m->seen and m->bias. */
template <int HD>
static __device__ __forceinline__ void load_mask(full_memory<HD> *m, const full_args &a,
                                                 const row_tile &t, uint32_t head, uint32_t first)
{
    const uint32_t key = first + threadIdx.x;
    const uint32_t word = __ballot_sync(~0u, key < t.end && (!a.key_seen || a.key_seen[key] != 0));
    if (threadIdx.x % WARP_LANES == 0)
        m->seen[threadIdx.x / WARP_LANES] = word;
    if (!a.relative)
        return;
    const int nearest = (int)first - (int)t.first_row - (FULL_QUERIES - 1);
    for (uint32_t i = threadIdx.x; i < FULL_DISTANCES; i += FULL_THREADS) {
        int distance = nearest + (int)i;
        distance = distance < -a.reach ? -a.reach : distance >= a.reach ? a.reach - 1 : distance;
        m->bias[i] = a.relative[(size_t)(distance + a.reach) * a.n_heads + head] * LOG2_E;
    }
}

/* Scales and biases the scores of queries query + g and query + g + 8 of the tile; keys that are
 * not seen become -infinity.  max: of both rows, over the quad of lanes that share them. */
template <int HD>
static __device__ __forceinline__ void bias_and_mask(float s[FULL_TOKENS / 8][4], float max[2],
                                                     const full_memory<HD> *m, const full_args &a,
                                                     uint32_t query)
{
    const uint32_t lane = threadIdx.x % WARP_LANES, column = lane % 4 * 2;
    /* Of row 0 and key 0 of the lane: distance grows with the key and falls with the row. */
    const float *bias = m->bias + (FULL_QUERIES - 1) - (query + lane / 4) + column;
    max[0] = max[1] = -INFINITY;
#pragma unroll
    for (int n = 0; n < FULL_TOKENS / 8; n++) {
        const uint32_t seen = m->seen[n / 4] >> (n % 4 * 8 + column);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float more = a.relative ? bias[n * 8 + i % 2 - i / 2 * 8] : 0.0f;
            s[n][i] = seen >> i % 2 & 1 ? __fmaf_rn(s[n][i], a.scale, more) : -INFINITY;
            max[i / 2] = fmaxf(max[i / 2], s[n][i]);
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        max[r] = fmaxf(max[r], __shfl_xor_sync(~0u, max[r], 1));
        max[r] = fmaxf(max[r], __shfl_xor_sync(~0u, max[r], 2));
    }
}

template <int HD>
static __device__ __forceinline__ void store_queries(const full_args &a, const running<HD> &run,
                                                     const row_tile &t, uint32_t head,
                                                     uint32_t query)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const uint32_t q = query + lane / 4 + 8 * r;
        if (q >= t.rows)
            continue;
        bf16 *out = a.o + (t.first_row + q) * a.o_stride + head * a.head_dim;
        const float part = run.sum[r] == 0.0f ? 0.0f : 1.0f / run.sum[r];
#pragma unroll
        for (int k = 0; k < HD / 4; k++) {
            const uint32_t d = k / 2 * 8 + lane % 4 * 2 + k % 2;
            if (d < a.head_dim)
                out[d] = __float2bfloat16_rn(run.o[k / 2][2 * r + k % 2] * part);
        }
    }
}

/* Grid: tiles of queries x heads.  A warp: 16 queries. */
template <int HD>
static __global__ void __launch_bounds__(FULL_THREADS) attention_full(const full_args a)
{
    after_previous();
    DYNAMIC_SHARED(memory);
    full_memory<HD> *m = reinterpret_cast<full_memory<HD> *>(memory);
    const row_tile t = find_tile(a.first_row, a.n_segments, 1, blockIdx.x, FULL_QUERIES);
    if (!t.found)
        return;
    const uint32_t head = blockIdx.y, query = threadIdx.x / WARP_LANES * TILE_QUERIES;
    const bf16 *k = a.k + head * a.head_dim, *v = a.v + head * a.head_dim;
    running<HD> run = {};
    run.max[0] = run.max[1] = -INFINITY;
    load_rows<HD, FULL_QUERIES, false>(m->q, a, a.q + head * a.head_dim, a.q_stride, t.first_row,
                                       t.first_row + t.rows);
    load_rows<HD, FULL_TOKENS, true>(m->k, a, k, a.k_stride, t.begin, t.end);
    copy_async_commit();
    load_rows<HD, FULL_TOKENS, true>(m->v, a, v, a.v_stride, t.begin, t.end);
    copy_async_commit();
    for (uint32_t first = t.begin; first < t.end; first += FULL_TOKENS) {
        const uint32_t next = first + FULL_TOKENS;
        float s[FULL_TOKENS / 8][4], max[2];
        uint32_t p[FULL_TOKENS / 16][4];
        load_mask(m, a, t, head, first); /* the last chunk's was read before the last barrier */
        copy_async_wait<1>();            /* the keys */
        __syncthreads();
        scores<HD, FULL_TOKENS / 8>(s, m->q + query * (HD + TILE_PAD), m->k);
        __syncthreads(); /* all have read them */
        if (next < t.end)
            load_rows<HD, FULL_TOKENS, true>(m->k, a, k, a.k_stride, next, t.end);
        copy_async_commit();
        bias_and_mask(s, max, m, a, query);
        weights_of<FULL_TOKENS>(p, s, max);
        copy_async_wait<1>(); /* the values */
        __syncthreads();
        fold_chunk<HD, FULL_TOKENS>(run, p, max, m->v);
        __syncthreads();
        if (next < t.end)
            load_rows<HD, FULL_TOKENS, true>(m->v, a, v, a.v_stride, next, t.end);
        copy_async_commit();
    }
    copy_async_wait<0>();
    store_queries(a, run, t, head, query);
}

/* ---- launching ------------------------------------------------------------------------------- */

template <int HD> static bool allow_memory()
{
    return cudaFuncSetAttribute(attention_full<HD>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                (int)sizeof(full_memory<HD>)) == cudaSuccess;
}

int attention_full_prepare(void)
{
    return allow_memory<32>() && allow_memory<64>() && allow_memory<96>() && allow_memory<128>()
               ? 0
               : -1;
}

template <int HD>
static enum ops_status run_full(struct ops_device *dev, const full_args &a, size_t rows)
{
    /* How long each segment is, only the device knows. */
    const size_t tiles = a.n_segments == 1 ? (rows + FULL_QUERIES - 1) / FULL_QUERIES
                                           : rows / FULL_QUERIES + a.n_segments;
    return cuda_launch(dev, attention_full<HD>, dim3((unsigned)tiles, a.n_heads), FULL_THREADS,
                       sizeof(full_memory<HD>), a);
}

static bool shapes_ok(const struct ops_full *a)
{
    if (a->n_heads == 0 || a->n_heads > UINT16_MAX || a->head_dim == 0 ||
        a->head_dim > OPS_FULL_MAX_DIM)
        return false;
    const size_t width = a->n_heads * a->head_dim;
    return a->q_stride >= width && a->k_stride >= width && a->v_stride >= width &&
           a->o_stride >= width && (!a->relative || (a->reach > 0 && a->reach <= INT32_MAX / 2)) &&
           a->rows <= CUDA_MAX_ROWS && a->n_segments <= CUDA_MAX_ROWS &&
           (a->n_segments > 0 || a->rows == 0);
}

static bool aligned(const struct ops_full *a)
{
    return a->head_dim % 8 == 0 && a->q_stride % 8 == 0 && a->k_stride % 8 == 0 &&
           a->v_stride % 8 == 0 && cuda_aligned16(a->q) && cuda_aligned16(a->k) &&
           cuda_aligned16(a->v);
}

enum ops_status cuda_attention_full(struct ops_device *dev, const struct ops_full *f)
{
    if (!shapes_ok(f))
        return OPS_E_SHAPE;
    if (f->rows == 0)
        return OPS_OK;
    full_args a = {};
    a.o = static_cast<bf16 *>(f->o);
    a.q = static_cast<const bf16 *>(f->q);
    a.k = static_cast<const bf16 *>(f->k);
    a.v = static_cast<const bf16 *>(f->v);
    a.q_stride = f->q_stride;
    a.k_stride = f->k_stride;
    a.v_stride = f->v_stride;
    a.o_stride = f->o_stride;
    a.first_row = f->first_row;
    a.key_seen = f->key_seen;
    a.relative = f->relative;
    a.reach = (int)f->reach;
    a.n_segments = (uint32_t)f->n_segments;
    a.n_heads = (uint32_t)f->n_heads;
    a.head_dim = (uint32_t)f->head_dim;
    a.scale = f->scale * LOG2_E;
    a.aligned = aligned(f);
    if (f->head_dim <= 32)
        return run_full<32>(dev, a, f->rows);
    if (f->head_dim <= 64)
        return run_full<64>(dev, a, f->rows);
    if (f->head_dim <= 96)
        return run_full<96>(dev, a, f->rows);
    return run_full<128>(dev, a, f->rows);
}
