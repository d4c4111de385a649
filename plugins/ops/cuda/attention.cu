/*
 * attention.cu - causal grouped-query attention over the paged cache: one kernel for sequences with
 * one row (decoding), one for those with more (prompts); attention_tile.cuh has the arithmetic.
 *
 * Decoding: a block for each chunk of tokens, then a kernel that folds the chunks.  Prompts: a
 * block for each tile of queries, which goes over the chunks and keeps no scores.  In both the
 * heads of a group are queries of one tile, so that keys and values are read once for all of them.
 */
#include "attention.h"
#include "attention_tile.cuh"
#include "device.cuh"
#include "heads.cuh"
#include "row_tile.cuh"

/* ---- decoding -------------------------------------------------------------------------------- */

enum { DECODE_WARPS = 4, DECODE_THREADS = DECODE_WARPS * WARP_LANES };

template <int HD, int TOKENS> struct decode_memory {
    bf16 q[TILE_QUERIES * (HD + TILE_PAD)];
    bf16 k[TOKENS * (HD + TILE_PAD)];
    bf16 v[TOKENS * (HD + TILE_PAD)];
    bf16 p[TILE_QUERIES * (TOKENS + TILE_PAD)];
    float max[DECODE_WARPS][TILE_QUERIES];
};

/* A warp's share of the weighted values: HD / DECODE_WARPS dims of all queries, to a.parts. */
template <int HD, int TOKENS>
static __device__ __forceinline__ void
store_part(const attention_args &a, uint32_t seq, head_range heads, uint32_t chunk,
           const bf16 *weights, const bf16 *v, const float max[2])
{
    const uint32_t lane = threadIdx.x % WARP_LANES, warp = threadIdx.x / WARP_LANES;
    uint32_t p[TOKENS / 16][4];
    float l[2];
#pragma unroll
    for (int t = 0; t < TOKENS / 16; t++)
        ldmatrix_x4(p[t], weights + (lane % 16) * (TOKENS + TILE_PAD) + lane / 16 * 8 + t * 16);
    sum_weights<TOKENS>(l, p);
    float *out[2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const uint32_t q = lane / 4 + 8 * r, head = heads.first + q;
        out[r] = q < heads.n ? a.parts + (((size_t)seq * a.n_heads + head) * a.chunks + chunk) *
                                             (a.head_dim + 2)
                             : NULL;
        if (out[r] && warp == 0 && lane % 4 == 0) {
            out[r][a.head_dim] = max[r];
            out[r][a.head_dim + 1] = l[r];
        }
    }
#pragma unroll
    for (int i = 0; i < HD / DECODE_WARPS; i += 16) {
        const int d = (int)warp * (HD / DECODE_WARPS) + i;
        float c[2][4] = {};
        values<HD, TOKENS>(c, p, v, d);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            const uint32_t at = d + k / 4 * 8 + lane % 4 * 2 + k % 2;
            if (out[k % 4 / 2] && at < a.head_dim)
                out[k % 4 / 2][at] = c[k / 4][k % 4];
        }
    }
}

/* Grid: chunks x parts of groups of heads x sequences.  Warps share the tokens, then the dims. */
template <int HD, int TOKENS>
static __global__ void __launch_bounds__(DECODE_THREADS) attention_decode(const attention_args a)
{
    after_previous();
    DYNAMIC_SHARED(memory);
    decode_memory<HD, TOKENS> *m = reinterpret_cast<decode_memory<HD, TOKENS> *>(memory);
    const uint32_t seq = blockIdx.z, first = blockIdx.x * TOKENS;
    const uint32_t row = (uint32_t)a.first_row[seq], end = (uint32_t)a.length[seq];
    if (a.first_row[seq + 1] - a.first_row[seq] != 1 || first >= end)
        return;
    const head_range heads = heads_of(a, blockIdx.y);
    load_tokens<HD, TOKENS, DECODE_THREADS>(m->k, a, a.k, seq, heads.kv_head, first, end);
    copy_async_commit();
    load_tokens<HD, TOKENS, DECODE_THREADS>(m->v, a, a.v, seq, heads.kv_head, first, end);
    copy_async_commit();
    load_queries<HD, TILE_QUERIES, DECODE_THREADS>(m->q, a, row, heads, heads.n);
    copy_async_wait<1>();
    __syncthreads();

    enum { MINE = TOKENS / DECODE_WARPS, GROUPS = MINE / 8 };
    const uint32_t lane = threadIdx.x % WARP_LANES, warp = threadIdx.x / WARP_LANES;
    const uint32_t g = lane / 4, see[2] = { end, end };
    float s[GROUPS][4], max[2];
    scores<HD, GROUPS>(s, m->q, m->k + warp * MINE * (HD + TILE_PAD));
    mask<GROUPS>(s, max, first + warp * MINE, see, a.scale);
    if (lane % 4 == 0) {
        m->max[warp][g] = max[0];
        m->max[warp][g + 8] = max[1];
    }
    __syncthreads();
#pragma unroll
    for (int w = 0; w < DECODE_WARPS; w++) {
        max[0] = fmaxf(max[0], m->max[w][g]);
        max[1] = fmaxf(max[1], m->max[w][g + 8]);
    }
#pragma unroll
    for (int n = 0; n < GROUPS; n++) {
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const uint32_t two =
                bf16_pack(weight(s[n][2 * r], max[r]), weight(s[n][2 * r + 1], max[r]));
            bf16 *to =
                m->p + (g + 8 * r) * (TOKENS + TILE_PAD) + warp * MINE + n * 8 + lane % 4 * 2;
            memcpy(to, &two, sizeof two);
        }
    }
    copy_async_wait<0>();
    __syncthreads();
    store_part<HD, TOKENS>(a, seq, heads, blockIdx.x, m->p, m->v, max);
}

/* Grid: heads x sequences.  A thread: one dim. */
template <int TOKENS>
static __global__ void __launch_bounds__(CUDA_MAX_HEAD_DIM) attention_fold(const attention_args a)
{
    after_previous();
    const uint32_t head = blockIdx.x, seq = blockIdx.y, row = (uint32_t)a.first_row[seq];
    if (a.first_row[seq + 1] - a.first_row[seq] != 1 || threadIdx.x >= a.head_dim)
        return;
    const uint32_t chunks = ((uint32_t)a.length[seq] + TOKENS - 1) / TOKENS;
    const float *part = a.parts + ((size_t)seq * a.n_heads + head) * a.chunks * (a.head_dim + 2);
    float max = -INFINITY, sum = 0.0f, o = 0.0f;
#pragma unroll 4
    for (uint32_t c = 0; c < chunks; c++, part += a.head_dim + 2) {
        const fold f = fold_maximum(&max, part[a.head_dim]);
        sum = fold_value(sum, part[a.head_dim + 1], f);
        o = fold_value(o, part[threadIdx.x], f);
    }
    a.o[((size_t)row * a.n_heads + head) * a.head_dim + threadIdx.x] =
        __float2bfloat16_rn(chunks == 0 ? 0.0f : o / sum);
}

/* ---- prompts --------------------------------------------------------------------------------- */

template <int HD, int TOKENS, int WARPS> struct prompt_memory {
    bf16 q[WARPS * TILE_QUERIES * (HD + TILE_PAD)];
    bf16 k[TOKENS * (HD + TILE_PAD)];
    bf16 v[TOKENS * (HD + TILE_PAD)];
};

template <int HD>
static __device__ __forceinline__ void store_rows(const attention_args &a, const running<HD> &run,
                                                  const row_tile &t, head_range heads,
                                                  uint32_t query)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const uint32_t q = query + lane / 4 + 8 * r;
        if (q >= t.rows * heads.n)
            continue;
        bf16 *out =
            a.o + ((size_t)(t.first_row + q / heads.n) * a.n_heads + heads.first + q % heads.n) *
                      a.head_dim;
#pragma unroll
        for (int k = 0; k < HD / 4; k++) {
            const uint32_t d = k / 2 * 8 + lane % 4 * 2 + k % 2;
            if (d < a.head_dim)
                out[d] = __float2bfloat16_rn(run.o[k / 2][2 * r + k % 2] / run.sum[r]);
        }
    }
}

/* Grid: tiles of queries x parts of groups of heads.  A warp: 16 queries. */
template <int HD, int TOKENS, int WARPS>
static __global__ void __launch_bounds__(WARPS *WARP_LANES) attention_prompt(const attention_args a)
{
    after_previous();
    enum { THREADS = WARPS * WARP_LANES, QUERIES = WARPS * TILE_QUERIES };
    DYNAMIC_SHARED(memory);
    prompt_memory<HD, TOKENS, WARPS> *m =
        reinterpret_cast<prompt_memory<HD, TOKENS, WARPS> *>(memory);
    const row_tile t = find_tile(a.first_row, a.n_seqs, 2, blockIdx.x, QUERIES / a.heads_at_once);
    if (!t.found)
        return;
    const head_range heads = heads_of(a, blockIdx.y);
    const uint32_t warp = threadIdx.x / WARP_LANES, g = threadIdx.x % WARP_LANES / 4;
    const uint32_t query = warp * TILE_QUERIES, count = t.rows * heads.n;
    const uint32_t position = (uint32_t)a.length[t.seq] - (t.end - t.first_row);
    const uint32_t end = position + t.rows;
    uint32_t see[2];
    running<HD> run = {};
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const uint32_t q = query + g + 8 * r;
        see[r] = q < count ? position + q / heads.n + 1 : 0;
        run.max[r] = -INFINITY;
    }
    load_queries<HD, QUERIES, THREADS>(m->q, a, t.first_row, heads, count);
    load_tokens<HD, TOKENS, THREADS>(m->k, a, a.k, t.seq, heads.kv_head, 0, end);
    copy_async_commit();
    load_tokens<HD, TOKENS, THREADS>(m->v, a, a.v, t.seq, heads.kv_head, 0, end);
    copy_async_commit();
    for (uint32_t first = 0; first < end; first += TOKENS) {
        const uint32_t next = first + TOKENS;
        float s[TOKENS / 8][4], max[2];
        uint32_t p[TOKENS / 16][4];
        copy_async_wait<1>(); /* the keys */
        __syncthreads();
        scores<HD, TOKENS / 8>(s, m->q + query * (HD + TILE_PAD), m->k);
        __syncthreads(); /* all have read them */
        if (next < end)
            load_tokens<HD, TOKENS, THREADS>(m->k, a, a.k, t.seq, heads.kv_head, next, end);
        copy_async_commit();
        mask<TOKENS / 8>(s, max, first, see, a.scale);
        weights_of<TOKENS>(p, s, max);
        copy_async_wait<1>(); /* the values */
        __syncthreads();
        fold_chunk<HD, TOKENS>(run, p, max, m->v);
        __syncthreads();
        if (next < end)
            load_tokens<HD, TOKENS, THREADS>(m->v, a, a.v, t.seq, heads.kv_head, next, end);
        copy_async_commit();
    }
    copy_async_wait<0>();
    store_rows<HD>(a, run, t, heads, query);
}

/* ---- launching ------------------------------------------------------------------------------- */

/* Sizes that fit 99 KB of shared memory (sm_86, sm_89) and the registers. */
template <int HD> struct sizes {
    enum { TOKENS = 128, WARPS = 4 };
};
template <> struct sizes<256> {
    enum { TOKENS = 64, WARPS = 2 };
};

template <int HD> using decode_of = decode_memory<HD, sizes<HD>::TOKENS>;
template <int HD> using prompt_of = prompt_memory<HD, sizes<HD>::TOKENS, sizes<HD>::WARPS>;

template <int HD> static cudaError_t allow_memory()
{
    const cudaError_t rc = cudaFuncSetAttribute(attention_decode<HD, sizes<HD>::TOKENS>,
                                                cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                (int)sizeof(decode_of<HD>));
    return rc != cudaSuccess
               ? rc
               : cudaFuncSetAttribute(attention_prompt<HD, sizes<HD>::TOKENS, sizes<HD>::WARPS>,
                                      cudaFuncAttributeMaxDynamicSharedMemorySize,
                                      (int)sizeof(prompt_of<HD>));
}

int attention_prepare(void)
{
    return allow_memory<64>() == cudaSuccess && allow_memory<128>() == cudaSuccess &&
                   allow_memory<256>() == cudaSuccess
               ? 0
               : -1;
}

template <int HD>
static enum ops_status decode(struct ops_device *dev, attention_args *a, size_t max_length)
{
    enum { TOKENS = sizes<HD>::TOKENS };
    a->chunks = (uint32_t)((max_length + TOKENS - 1) / TOKENS);
    const size_t parts = (size_t)a->n_seqs * a->n_heads * a->chunks * (a->head_dim + 2);
    enum ops_status status = cuda_scratch_reserve(dev, &dev->parts, parts * sizeof(float));
    if (status != OPS_OK)
        return status;
    a->parts = static_cast<float *>(dev->parts.data);
    status = cuda_launch(dev, attention_decode<HD, TOKENS>,
                         dim3(a->chunks, a->n_kv_heads * a->head_parts, a->n_seqs), DECODE_THREADS,
                         sizeof(decode_of<HD>), *a);
    if (status != OPS_OK)
        return status;
    return cuda_launch(dev, attention_fold<TOKENS>, dim3(a->n_heads, a->n_seqs),
                       (a->head_dim + WARP_LANES - 1) / WARP_LANES * WARP_LANES, 0, *a);
}

template <int HD>
static enum ops_status run(struct ops_device *dev, attention_args *a, const struct ops_batch *batch)
{
    enum { TOKENS = sizes<HD>::TOKENS, WARPS = sizes<HD>::WARPS };
    const size_t at_once = WARPS * TILE_QUERIES / a->heads_at_once;
    /* How many sequences have one row and how many more, only the device knows; unless: */
    const bool no_prompts = batch->most_rows == 1;
    const bool no_single = batch->n_seqs == 1 && batch->rows > 1;
    if (!no_single) {
        const enum ops_status status = decode<HD>(dev, a, batch->max_length);
        if (status != OPS_OK || no_prompts)
            return status;
    }
    const size_t most = batch->rows / 2 < batch->n_seqs ? batch->rows / 2 : batch->n_seqs;
    const size_t tiles = batch->rows / at_once + most;
    if (tiles == 0)
        return OPS_OK;
    return cuda_launch(dev, attention_prompt<HD, TOKENS, WARPS>,
                       dim3((unsigned)tiles, a->n_kv_heads * a->head_parts), WARPS * WARP_LANES,
                       sizeof(prompt_of<HD>), *a);
}

static bool batch_ok(const struct ops_batch *b)
{
    return b->n_seqs <= UINT16_MAX && b->rows <= CUDA_MAX_ROWS && b->max_length <= INT32_MAX &&
           b->max_length <= b->table_stride * OPS_KV_BLOCK && b->most_rows <= b->rows;
}

enum ops_status cuda_attention(struct ops_device *dev, void *o, const void *qkv,
                               const struct ops_batch *batch, const struct ops_heads *heads,
                               const struct ops_kv *kv, float scale)
{
    if (!cuda_heads_ok(heads, kv) || !batch_ok(batch))
        return OPS_E_SHAPE;
    if (batch->rows == 0 || batch->n_seqs == 0)
        return OPS_OK;
    attention_args a = {};
    a.o = static_cast<bf16 *>(o);
    a.qkv = static_cast<const bf16 *>(qkv);
    a.k = kv->k;
    a.v = kv->v;
    a.fp8 = kv->dtype == OPS_FP8;
    a.first_row = batch->first_row;
    a.length = batch->length;
    a.block_table = batch->block_table;
    a.n_seqs = (uint32_t)batch->n_seqs;
    a.table_stride = (uint32_t)batch->table_stride;
    a.n_heads = (uint32_t)heads->n_heads;
    a.n_kv_heads = (uint32_t)heads->n_kv_heads;
    a.head_dim = (uint32_t)heads->head_dim;
    a.group = a.n_heads / a.n_kv_heads;
    a.heads_at_once = a.group < TILE_QUERIES ? a.group : (uint32_t)TILE_QUERIES;
    a.head_parts = (a.group + a.heads_at_once - 1) / a.heads_at_once;
    a.scale = scale * 1.4426950408889634f;
    if (heads->head_dim <= 64)
        return run<64>(dev, &a, batch);
    if (heads->head_dim <= 128)
        return run<128>(dev, &a, batch);
    return run<256>(dev, &a, batch);
}
