/*
 * sampling_pieces.cuh - choosing tokens, the part that many blocks do: log-probabilities, scores,
 * the likeliest and a histogram of weights, a piece of a row each; and what choosing shares with
 * it.
 */
#ifndef AIRLOCK_OPS_CUDA_SAMPLING_PIECES_CUH
#define AIRLOCK_OPS_CUDA_SAMPLING_PIECES_CUH

#include "device.cuh"
#include "kernel.cuh"

#include <float.h>

enum {
    PIECE_THREADS = 256,
    PIECE_EACH = 16, /* numbers of a thread */
    PIECE = PIECE_THREADS * PIECE_EACH,
    CHOOSE_THREADS = 512,
    CHOOSE_WARPS = CHOOSE_THREADS / WARP_LANES,
    BINS = 2048, /* of (best - score) / temperature ... */
    BINS_PER_UNIT = 64,
    DIGIT_BITS = 8, /* of a score's key within a bin */
    DIGITS = 1 << DIGIT_BITS,
    LAST_FEW = 64, /* ids that one thread goes through */
    AT_ONCE = 16   /* loads of a thread on their way */
};

typedef unsigned long long u64;

/* What a piece of a row says. */
struct piece {
    u64 best;  /* order_of the best score and its id; 0: none */
    float top; /* greatest logit */
    float unused;
    double sum; /* of exp(logit - top) */
};

/* Of the first BINS steps of depth, or of a digit. */
struct histogram {
    u64 mass[BINS];
    uint32_t count[BINS];
};

struct sample_args {
    float *logits;
    const ops_choice *choices;
    const ops_bias *bias;
    const ops_seen *seen;
    const uint32_t *masks;
    ops_chosen *chosen;
    piece *pieces;                            /* [rows, n_pieces] */
    u64 *tops;                                /* [rows, n_pieces, OPS_MAX_LOGPROBS] order_of */
    float *bias_was;                          /* [room_bias] logits before their bias */
    float *seen_was;                          /* [room_seen] scores before their penalty */
    uint32_t *candidates;                     /* [rows, limit] */
    histogram *bins;                          /* [rows] of weights by depth */
    u64 *masses;                              /* [rows, n_pieces] of weights */
    uint32_t vocab, limit;                    /* as in ops_sampling */
    uint32_t n_pieces, mask_words, unit_bits; /* weight 1 is 1 << unit_bits */
};

/* ---- numbers in order ------------------------------------------------------------------------ */

/* Greater for greater numbers; the two zeros are equal.  Not for NaN. */
static __device__ __forceinline__ uint32_t key_of(float f)
{
    f += 0.0f; /* -0 becomes 0 */
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u & 0x80000000u ? ~u : u | 0x80000000u;
}

static __device__ __forceinline__ float number_of(uint32_t key)
{
    const uint32_t u = key & 0x80000000u ? key & 0x7fffffffu : ~key;
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* Greater for greater numbers and, of equal ones, for lower ids; never 0. */
static __device__ __forceinline__ u64 order_of(float f, uint32_t id)
{
    return (u64)key_of(f) << 32 | ~id;
}

static __device__ __forceinline__ uint32_t id_of(u64 order)
{
    return ~(uint32_t)order;
}

/* The greatest over the threads of a block, in every thread. */
template <int THREADS> static __device__ u64 block_max(u64 v)
{
    SHARED(u64, part, THREADS / WARP_LANES);
#pragma unroll
    for (int other = 16; other > 0; other /= 2) {
        const u64 o = __shfl_xor_sync(~0u, v, other);
        v = o > v ? o : v;
    }
    __syncthreads(); /* part may still be read */
    if (threadIdx.x % WARP_LANES == 0)
        part[threadIdx.x / WARP_LANES] = v;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < THREADS / WARP_LANES; w++)
        v = part[w] > v ? part[w] : v;
    return v;
}

/* ---- pieces of rows -------------------------------------------------------------------------- */

/* The n best of the block's numbers below limit, best first; each thread holds every
 * PIECE_THREADS-th from id on. */
static __device__ void best_of_piece(u64 *to, const float v[PIECE_EACH], uint32_t id,
                                     uint32_t limit, int n)
{
    u64 below = ~0ull;
    for (int k = 0; k < n; k++) {
        u64 best = 0;
#pragma unroll
        for (int i = 0; i < PIECE_EACH; i++) {
            const uint32_t at = id + i * PIECE_THREADS;
            const u64 o = order_of(v[i], at);
            if (at < limit && v[i] == v[i] && o < below && o > best)
                best = o;
        }
        below = block_max<PIECE_THREADS>(best);
        if (threadIdx.x == 0)
            to[k] = below;
    }
}

/* Grid: pieces x rows.  What log-probabilities need of the logits as they came. */
static __global__ void __launch_bounds__(PIECE_THREADS) sample_logprobs(const sample_args a)
{
    after_previous();
    SHARED(double, sums, PIECE_THREADS);
    const uint32_t row = blockIdx.y, first = blockIdx.x * PIECE + threadIdx.x;
    const int n = a.choices[row].logprobs;
    if (n < 0)
        return;
    const float *logits = a.logits + (size_t)row * a.vocab;
    float v[PIECE_EACH], sum = 0;
    u64 best = 0;
#pragma unroll
    for (int i = 0; i < PIECE_EACH; i++) {
        const uint32_t id = first + i * PIECE_THREADS;
        v[i] = id < a.vocab ? logits[id] : -INFINITY;
        if (v[i] > -INFINITY && order_of(v[i], 0) > best)
            best = order_of(v[i], 0);
    }
    best = block_max<PIECE_THREADS>(best);
    const float top = best ? number_of((uint32_t)(best >> 32)) : -INFINITY;
#pragma unroll
    for (int i = 0; i < PIECE_EACH; i++)
        sum += v[i] > -INFINITY ? expf(v[i] - top) : v[i] == v[i] ? 0.0f : v[i];
    sums[threadIdx.x] = sum;
    for (unsigned half = PIECE_THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    const size_t at = (size_t)row * a.n_pieces + blockIdx.x;
    if (threadIdx.x == 0) {
        a.pieces[at].top = top;
        a.pieces[at].sum = sums[0];
    }
    best_of_piece(a.tops + at * OPS_MAX_LOGPROBS, v, first, a.limit,
                  n < OPS_MAX_LOGPROBS ? n : (int)OPS_MAX_LOGPROBS);
}

/* Block: a row.  Biases in their order, then the penalties; keeps what was there before. */
static __global__ void __launch_bounds__(PIECE_THREADS) sample_scores(const sample_args a)
{
    after_previous();
    const ops_choice c = a.choices[blockIdx.x];
    float *scores = a.logits + (size_t)blockIdx.x * a.vocab;
    for (int i = (int)threadIdx.x; i < c.n_bias; i += PIECE_THREADS) {
        const ops_bias *b = a.bias + c.first_bias;
        bool first = b[i].id >= 0 && (uint32_t)b[i].id < a.limit;
        for (int k = 0; k < i; k++)
            first = first && b[k].id != b[i].id;
        if (!first)
            continue;
        float s = scores[b[i].id];
        a.bias_was[c.first_bias + i] = s;
        for (int k = i; k < c.n_bias; k++)
            if (b[k].id == b[i].id)
                s = __fadd_rn(s, b[k].value);
        scores[b[i].id] = s;
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < c.n_seen; i += PIECE_THREADS) {
        const ops_seen seen = a.seen[c.first_seen + i];
        if (seen.id < 0 || (uint32_t)seen.id >= a.limit)
            continue;
        float s = scores[seen.id];
        a.seen_was[c.first_seen + i] = s;
        if (c.repetition_penalty != 1.0f)
            s = s < 0 ? __fmul_rn(s, c.repetition_penalty) : __fdiv_rn(s, c.repetition_penalty);
        if (seen.subtract != 0.0f)
            s = __fsub_rn(s, seen.subtract);
        scores[seen.id] = s;
    }
}

/* A row of scores, as choosing sees it. */
struct score_row {
    const float *scores;
    const uint32_t *mask; /* NULL: all is permitted */
};

static __device__ __forceinline__ score_row row_of(const sample_args &a, uint32_t row)
{
    const int mask = a.choices[row].mask;
    return { a.logits + (size_t)row * a.vocab,
             mask < 0 ? NULL : a.masks + (size_t)mask * a.mask_words };
}

/* Minus infinity: not permitted, or no number. */
static __device__ __forceinline__ float score_at(const score_row &r, uint32_t id)
{
    const float s = r.scores[id];
    return s == s && (!r.mask || r.mask[id / 32] >> (id % 32) & 1) ? s : -INFINITY;
}

/* Grid: pieces x rows. */
static __global__ void __launch_bounds__(PIECE_THREADS) sample_best(const sample_args a)
{
    after_previous();
    const uint32_t row = blockIdx.y, first = blockIdx.x * PIECE + threadIdx.x;
    const score_row r = row_of(a, row);
    u64 best = 0;
#pragma unroll
    for (int i = 0; i < PIECE_EACH; i++) {
        const uint32_t id = first + i * PIECE_THREADS;
        const float s = id < a.limit ? score_at(r, id) : -INFINITY;
        const u64 o = s > -INFINITY ? order_of(s, id) : 0;
        best = o > best ? o : best;
    }
    best = block_max<PIECE_THREADS>(best);
    if (threadIdx.x == 0)
        a.pieces[(size_t)row * a.n_pieces + blockIdx.x].best = best;
    if (!a.choices[row].sample)
        return;
    for (uint32_t i = blockIdx.x + threadIdx.x * a.n_pieces; i < BINS;
         i += PIECE_THREADS * a.n_pieces) {
        a.bins[row].mass[i] = 0; /* for the next kernel */
        a.bins[row].count[i] = 0;
    }
}

/* The best of the row's pieces, in every thread. */
template <int THREADS> static __device__ u64 fold_best(const sample_args &a, uint32_t row)
{
    u64 best = 0;
    for (uint32_t i = threadIdx.x; i < a.n_pieces; i += THREADS) {
        const u64 o = a.pieces[(size_t)row * a.n_pieces + i].best;
        best = o > best ? o : best;
    }
    return block_max<THREADS>(best);
}

/* ---- the weights of a row -------------------------------------------------------------------- */

/* What one block knows of the row it draws from. */
struct drawing {
    score_row row;
    float best, temperature;
    uint32_t limit, unit_bits;
};

/* How far below the best, in units of the temperature.  Falls with the score, equal for equals. */
static __device__ __forceinline__ float depth_of(const drawing &d, float score)
{
    return score == d.best ? 0.0f : __fdiv_rn(d.best - score, d.temperature);
}

static __device__ __forceinline__ u64 weight_of(const drawing &d, float depth)
{
    return __float2ull_rn(expf(-depth) * (float)(1ull << d.unit_bits));
}

static __device__ __forceinline__ uint32_t bin_of(float depth)
{
    const float bin = depth * (float)BINS_PER_UNIT;
    return bin < (float)(BINS - 1) ? (uint32_t)bin : BINS - 1;
}

/* Which candidates are left: those above the key, and of those with it the ids up to last_id. */
struct border {
    uint32_t key, last_id;
};

static __device__ __forceinline__ bool is_left(const border &b, float score, uint32_t id)
{
    const uint32_t key = key_of(score);
    return score > -INFINITY && (key > b.key || (key == b.key && id <= b.last_id));
}

/* Where a running sum from index 0 on first reaches the mark, by one warp's lanes; and the sum
 * before it.  n: the number of entries when it is not reached. */
struct found {
    uint32_t at;
    u64 before;
};

template <class T> static __device__ found find_mark(const T *sums, uint32_t n, u64 mark)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
    found f = { n, 0 };
    for (uint32_t first = 0; first < n; first += WARP_LANES) {
        const u64 own = first + lane < n ? (u64)sums[first + lane] : 0;
        u64 upto = own;
#pragma unroll
        for (int by = 1; by < WARP_LANES; by *= 2) {
            const u64 other = __shfl_up_sync(~0u, upto, by);
            upto += lane >= (uint32_t)by ? other : 0;
        }
        const unsigned reached = __ballot_sync(~0u, f.before + upto >= mark);
        if (reached) {
            const int at = __ffs((int)reached) - 1;
            f.before += __shfl_sync(~0u, upto - own, at);
            f.at = first + (uint32_t)at;
            return f;
        }
        f.before += __shfl_sync(~0u, upto, WARP_LANES - 1);
    }
    return f;
}

/* The sum of the first n. */
static __device__ u64 sum_of(const u64 *sums, uint32_t n)
{
    u64 sum = 0;
    for (uint32_t i = threadIdx.x % WARP_LANES; i < n; i += WARP_LANES)
        sum += sums[i];
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        sum += __shfl_xor_sync(~0u, sum, other);
    return sum;
}

template <int THREADS> static __device__ void clear(histogram *h, uint32_t n)
{
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += THREADS) {
        h->mass[i] = 0;
        h->count[i] = 0;
    }
    __syncthreads();
}

static __device__ drawing drawing_of(const sample_args &a, uint32_t row, float best)
{
    return { row_of(a, row), best, a.choices[row].temperature, a.limit, a.unit_bits };
}

/* Grid: pieces x rows.  All that may be drawn, by depth, and the weight of each piece. */
static __global__ void __launch_bounds__(PIECE_THREADS) sample_bins(const sample_args a)
{
    after_previous();
    SHARED(histogram, h, 1);
    SHARED(u64, part, PIECE_THREADS / WARP_LANES);
    const uint32_t row = blockIdx.y, first = blockIdx.x * PIECE + threadIdx.x;
    if (!a.choices[row].sample)
        return;
    const u64 best = fold_best<PIECE_THREADS>(a, row);
    if (best == 0)
        return;
    const drawing d = drawing_of(a, row, number_of((uint32_t)(best >> 32)));
    float s[PIECE_EACH];
    u64 all = 0;
#pragma unroll
    for (int i = 0; i < PIECE_EACH; i++) {
        const uint32_t id = first + i * PIECE_THREADS;
        s[i] = id < d.limit ? score_at(d.row, id) : -INFINITY;
    }
    clear<PIECE_THREADS>(h, BINS);
#pragma unroll
    for (int i = 0; i < PIECE_EACH; i++) {
        if (s[i] == -INFINITY)
            continue;
        const float depth = depth_of(d, s[i]);
        const u64 w = weight_of(d, depth);
        atomicAdd(&h->count[bin_of(depth)], 1u);
        if (w)
            atomicAdd(&h->mass[bin_of(depth)], w);
        all += w;
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        all += __shfl_xor_sync(~0u, all, other);
    if (threadIdx.x % WARP_LANES == 0)
        part[threadIdx.x / WARP_LANES] = all;
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < BINS; i += PIECE_THREADS) {
        if (h->count[i] > 0)
            atomicAdd(&a.bins[row].count[i], h->count[i]);
        if (h->mass[i] > 0)
            atomicAdd(&a.bins[row].mass[i], h->mass[i]);
    }
    all = sum_of(part, PIECE_THREADS / WARP_LANES);
    if (threadIdx.x == 0)
        a.masses[(size_t)row * a.n_pieces + blockIdx.x] = all;
}

#endif
