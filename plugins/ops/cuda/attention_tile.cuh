/*
 * attention_tile.cuh - attention of 16 queries over one chunk of tokens with tensor cores: the
 * arithmetic that all attention kernels share.
 *
 * For one query the result is defined as follows, whatever is computed beside it: the context is
 * cut at multiples of TOKENS; each chunk gives its maximum m, p = bf16(2^(s - m)), their sum l and
 * the weighted values o, summed by tensor cores in the order of tokens; the chunks are folded from
 * left to right (Milakov and Gimelshein 2018; Dao et al. 2022).  The kernels for decoding and for
 * prompts both do exactly this, so a row has the same bits in either.
 */
#ifndef AIRLOCK_OPS_CUDA_ATTENTION_TILE_CUH
#define AIRLOCK_OPS_CUDA_ATTENTION_TILE_CUH

#include "../ops.h"
#include "kernel.cuh"
#include "mma.cuh"
#include "packed.cuh"

#include <math.h>

enum {
    TILE_QUERIES = 16, /* rows of the tensor cores' tile; also the heads of a group done together */
    TILE_PAD = 8       /* numbers between rows of shared memory, against bank conflicts */
};

struct attention_args {
    bf16 *o;
    const bf16 *qkv;
    const void *k, *v; /* the cache: bf16, or E4M3 with fp8 */
    bool fp8;
    const int32_t *first_row, *length, *block_table;
    uint32_t n_seqs, table_stride;
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t group;         /* query heads of a kv head */
    uint32_t heads_at_once; /* of a group */
    uint32_t head_parts;    /* parts of a group */
    float scale;            /* times log2(e) */
    float *parts;           /* decoding: [n_seqs, n_heads, chunks, head_dim + 2] o, m, l */
    uint32_t chunks;
};

/* Heads that a block does: part blockIdx.y of all groups. */
struct head_range {
    uint32_t kv_head, first, n;
};

static __device__ __forceinline__ head_range heads_of(const attention_args &a, uint32_t part)
{
    head_range h;
    const uint32_t in_group = part % a.head_parts * a.heads_at_once;
    h.kv_head = part / a.head_parts;
    h.first = h.kv_head * a.group + in_group;
    h.n = a.group - in_group < a.heads_at_once ? a.group - in_group : a.heads_at_once;
    return h;
}

/* 8 numbers from p, the first `left` of them; zeros behind.  Any alignment. */
static __device__ __forceinline__ void copy_8(bf16 *to, const bf16 *p, uint32_t left)
{
#pragma unroll
    for (uint32_t i = 0; i < 8; i++)
        to[i] = i < left ? p[i] : __float2bfloat16_rn(0.0f);
}

/* The same of E4M3. */
static __device__ __forceinline__ void copy_8_fp8(bf16 *to, const uint8_t *p, uint32_t left)
{
#pragma unroll
    for (uint32_t i = 0; i < 8; i++)
        to[i] = __float2bfloat16_rn(i < left ? fp8_value(p[i]) : 0.0f);
}

/* Queries to shared memory [N, HD + TILE_PAD]: query i is row i / heads.n, head i % heads.n; zeros
 * from query `count` on and behind head_dim. */
template <int HD, int N, int THREADS>
static __device__ __forceinline__ void load_queries(bf16 *to, const attention_args &a,
                                                    uint32_t first_row, head_range heads,
                                                    uint32_t count)
{
    const uint32_t width = (a.n_heads + 2 * a.n_kv_heads) * a.head_dim;
    for (uint32_t i = threadIdx.x; i < N * (HD / 8); i += THREADS) {
        const uint32_t q = i / (HD / 8), d = i % (HD / 8) * 8;
        const bf16 *from = a.qkv;
        uint32_t left = 0;
        if (q < count && d < a.head_dim) {
            from += (size_t)(first_row + q / heads.n) * width +
                    (heads.first + q % heads.n) * a.head_dim + d;
            left = a.head_dim - d;
        }
        copy_8(to + q * (HD + TILE_PAD) + d, from, left);
    }
}

/* Keys or values of tokens first .. first + TOKENS - 1 to shared memory [TOKENS, HD + TILE_PAD],
 * zeros from token `end` on and behind head_dim.  Asynchronous, but for fp8. */
template <int HD, int TOKENS, int THREADS>
static __device__ __forceinline__ void load_tokens(bf16 *to, const attention_args &a,
                                                   const void *cache, uint32_t seq,
                                                   uint32_t kv_head, uint32_t first, uint32_t end)
{
    const int32_t *table = a.block_table + (size_t)seq * a.table_stride;
    const bool aligned = a.head_dim % 8 == 0;
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < TOKENS * (HD / 8); i += THREADS) {
        const uint32_t token = first + i / (HD / 8), d = i % (HD / 8) * 8;
        const bool valid = token < end && d < a.head_dim;
        bf16 *at = to + i / (HD / 8) * (HD + TILE_PAD) + d;
        size_t place = 0;
        if (valid)
            place = (((size_t)table[token / OPS_KV_BLOCK] * a.n_kv_heads + kv_head) * OPS_KV_BLOCK +
                     token % OPS_KV_BLOCK) *
                        a.head_dim +
                    d;
        const bf16 *from = static_cast<const bf16 *>(cache) + (a.fp8 ? 0 : place);
        if (a.fp8)
            copy_8_fp8(at, static_cast<const uint8_t *>(cache) + place, valid ? a.head_dim - d : 0);
        else if (aligned)
            copy_async_16(at, from, valid);
        else
            copy_8(at, from, valid ? a.head_dim - d : 0);
    }
}

/* s[n] = q k^T for N groups of 8 tokens: q: [16, HD], k: the first of their rows. */
template <int HD, int N>
static __device__ __forceinline__ void scores(float s[N][4], const bf16 *q, const bf16 *k)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
    const bf16 *q_at = q + (lane % 16) * (HD + TILE_PAD) + lane / 16 * 8;
    const bf16 *k_at = k + (lane % 8) * (HD + TILE_PAD) + lane / 8 * 8;
#pragma unroll
    for (int n = 0; n < N; n++)
        s[n][0] = s[n][1] = s[n][2] = s[n][3] = 0.0f;
#pragma unroll
    for (int d = 0; d < HD; d += 32) {
        uint32_t low[4], high[4];
        ldmatrix_x4(low, q_at + d);
        ldmatrix_x4(high, q_at + d + 16);
#pragma unroll
        for (int n = 0; n < N; n++) {
            uint32_t b[4];
            ldmatrix_x4(b, k_at + n * 8 * (HD + TILE_PAD) + d);
            mma_16x8x16(s[n], low, b);
            mma_16x8x16(s[n], high, b + 2);
        }
    }
}

/* Scales the scores of tokens first, first + 1, ...; what a query does not see becomes -infinity.
 * see[0], see[1]: tokens that rows g and g + 8 of the tile see.  max: of both rows, over the quad
 * of lanes that share them. */
template <int N>
static __device__ __forceinline__ void mask(float s[N][4], float max[2], uint32_t first,
                                            const uint32_t see[2], float scale)
{
    const uint32_t column = first + threadIdx.x % 4 * 2;
    max[0] = max[1] = -INFINITY;
#pragma unroll
    for (int n = 0; n < N; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const bool seen = column + n * 8 + i % 2 < see[i / 2];
            s[n][i] = seen ? __fmul_rn(s[n][i], scale) : -INFINITY;
            max[i / 2] = fmaxf(max[i / 2], s[n][i]);
        }
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        max[r] = fmaxf(max[r], __shfl_xor_sync(~0u, max[r], 1));
        max[r] = fmaxf(max[r], __shfl_xor_sync(~0u, max[r], 2));
    }
}

/* 2^(s - max), 0 for a query that sees nothing of the chunk. */
static __device__ __forceinline__ float weight(float s, float max)
{
    return exp2f(s - (max == -INFINITY ? 0.0f : max));
}

/* c += p v for 16 dims from dim d on: p: [16, TOKENS] as fragments. */
template <int HD, int TOKENS>
static __device__ __forceinline__ void values(float c[2][4], const uint32_t p[TOKENS / 16][4],
                                              const bf16 *v, int d)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
    const bf16 *at = v + (lane % 16) * (HD + TILE_PAD) + lane / 16 * 8 + d;
#pragma unroll
    for (int t = 0; t < TOKENS / 16; t++) {
        uint32_t b[4];
        ldmatrix_x4_trans(b, at + t * 16 * (HD + TILE_PAD));
        mma_16x8x16(c[0], p[t], b);
        mma_16x8x16(c[1], p[t], b + 2);
    }
}

/* The sum of each query's p: l[0] of row g, l[1] of row g + 8. */
template <int TOKENS>
static __device__ __forceinline__ void sum_weights(float l[2], const uint32_t p[TOKENS / 16][4])
{
    const uint32_t ones[2] = { 0x3f803f80u, 0x3f803f80u };
    float c[4] = { 0.0f, 0.0f, 0.0f, 0.0f };
#pragma unroll
    for (int t = 0; t < TOKENS / 16; t++)
        mma_16x8x16(c, p[t], ones);
    l[0] = c[0];
    l[1] = c[2];
}

/* What the chunks so far and the next one count when they are folded. */
struct fold {
    float old, more;
};

static __device__ __forceinline__ fold fold_maximum(float *max, float chunk)
{
    const float top = fmaxf(*max, chunk);
    fold f;
    f.old = *max == -INFINITY ? 0.0f : exp2f(*max - top);
    f.more = chunk == -INFINITY ? 0.0f : exp2f(chunk - top);
    *max = top;
    return f;
}

static __device__ __forceinline__ float fold_value(float v, float chunk, fold f)
{
    return __fmaf_rn(v, f.old, __fmul_rn(chunk, f.more));
}

/* What a warp keeps of its 16 queries: rows g and g + 8 of the tile in each lane. */
template <int HD> struct running {
    float o[HD / 8][4], max[2], sum[2];
};

/* Turns scores into weights as fragments: groups of 8 tokens 2 t and 2 t + 1 are the halves of A.
 */
template <int TOKENS>
static __device__ __forceinline__ void weights_of(uint32_t p[TOKENS / 16][4],
                                                  const float s[TOKENS / 8][4], const float max[2])
{
#pragma unroll
    for (int t = 0; t < TOKENS / 16; t++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float *two = s[2 * t + i / 2] + i % 2 * 2;
            p[t][i] = bf16_pack(weight(two[0], max[i % 2]), weight(two[1], max[i % 2]));
        }
    }
}

template <int HD, int TOKENS>
static __device__ __forceinline__ void
fold_chunk(running<HD> &run, const uint32_t p[TOKENS / 16][4], const float max[2], const bf16 *v)
{
    float l[2];
    fold f[2];
    sum_weights<TOKENS>(l, p);
#pragma unroll
    for (int r = 0; r < 2; r++) {
        f[r] = fold_maximum(&run.max[r], max[r]);
        run.sum[r] = fold_value(run.sum[r], l[r], f[r]);
    }
#pragma unroll
    for (int d = 0; d < HD; d += 16) {
        float c[2][4] = {};
        values<HD, TOKENS>(c, p, v, d);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            float *o = &run.o[d / 8 + k / 4][k % 4];
            *o = fold_value(*o, c[k / 4][k % 4], f[k % 4 / 2]);
        }
    }
}

#endif
