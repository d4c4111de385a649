/*
 * sampling.cu - the next token of each row, chosen on the device: bias and penalties, the
 * likeliest, top_k, top_p and the draw, and log-probabilities.
 *
 * A row goes through three kernels at most: pieces of it for log-probabilities, its lists of biases
 * and seen tokens, pieces of it for the likeliest; then one block chooses.  Weights are integers,
 * in units small enough that a whole vocabulary of the likeliest does not overflow 64 bits, so
 * their sums are the same in any order, and atomics may make them.
 */
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
    LAST_FEW = 64 /* ids that one thread goes through */
};

typedef unsigned long long u64;

/* What a piece of a row says. */
struct piece {
    u64 best;  /* order_of the best score and its id; 0: none */
    float top; /* greatest logit */
    float unused;
    double sum; /* of exp(logit - top) */
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

struct histogram {
    u64 mass[BINS];
    uint32_t count[BINS];
};

/* Where a running sum from index 0 on first reaches the mark, by one warp's lanes; and the sum
 * before it.  n: the number of entries when it is not reached. */
template <class T> struct found {
    uint32_t at;
    u64 before;
};

template <class T> static __device__ found<T> find_mark(const T *sums, uint32_t n, u64 mark)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
    found<T> f = { n, 0 };
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

static __device__ void clear(histogram *h, uint32_t n)
{
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < n; i += CHOOSE_THREADS) {
        h->mass[i] = 0;
        h->count[i] = 0;
    }
    __syncthreads();
}

/* All that may be drawn, by depth. */
static __device__ void count_bins(const drawing &d, histogram *h)
{
    clear(h, BINS);
    for (uint32_t id = threadIdx.x; id < d.limit; id += CHOOSE_THREADS) {
        const float s = score_at(d.row, id);
        if (s == -INFINITY)
            continue;
        const float depth = depth_of(d, s);
        const uint32_t bin = bin_of(depth);
        const u64 w = weight_of(d, depth);
        atomicAdd(&h->count[bin], 1u);
        if (w)
            atomicAdd(&h->mass[bin], w);
    }
    __syncthreads();
}

/* The ids of a bin that are left, in no order, to list; how many. */
static __device__ uint32_t list_bin(const drawing &d, const border &left, uint32_t bin,
                                    uint32_t *list)
{
    SHARED(uint32_t, n, 1);
    __syncthreads();
    if (threadIdx.x == 0)
        *n = 0;
    __syncthreads();
    for (uint32_t id = threadIdx.x; id < d.limit; id += CHOOSE_THREADS) {
        const float s = score_at(d.row, id);
        if (is_left(left, s, id) && bin_of(depth_of(d, s)) == bin)
            list[atomicAdd(n, 1u)] = id;
    }
    __syncthreads();
    return *n;
}

/* What is chosen by its rank in a list: the count-th best score, or the one with which the mass is
 * reached, or the count-th id of those with a score. */
enum rank_by { BY_COUNT, BY_MASS, BY_ID };

struct ranked {
    uint32_t key; /* of the score, or the id upside down */
    u64 before;   /* count or mass of the better ones */
    u64 own;      /* mass of those with just this key */
};

/* Radix selection, DIGIT_BITS at a time, best first.  Only listed ids with score key only_key when
 * BY_ID. */
template <rank_by BY>
static __device__ ranked rank(const drawing &d, const uint32_t *list, uint32_t n, u64 mark,
                              uint32_t only_key, histogram *h)
{
    ranked r = { 0, 0, 0 };
    for (int shift = 32 - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        clear(h, DIGITS);
        for (uint32_t i = threadIdx.x; i < n; i += CHOOSE_THREADS) {
            const float s = d.row.scores[list[i]];
            const uint32_t key = BY == BY_ID ? ~list[i] : key_of(s);
            if ((BY == BY_ID && key_of(s) != only_key) ||
                ((u64)(key ^ r.key) >> (shift + DIGIT_BITS)) != 0)
                continue;
            const uint32_t best_first = DIGITS - 1 - (key >> shift) % DIGITS;
            atomicAdd(&h->count[best_first], 1u);
            if (BY == BY_MASS)
                atomicAdd(&h->mass[best_first], weight_of(d, depth_of(d, s)));
        }
        __syncthreads();
        uint32_t at;
        if (BY == BY_MASS) {
            const found<u64> f = find_mark(h->mass, (uint32_t)DIGITS, mark - r.before);
            at = f.at;
            r.before += f.before;
            r.own = h->mass[at % DIGITS];
        } else {
            const found<uint32_t> f = find_mark(h->count, (uint32_t)DIGITS, mark - r.before);
            at = f.at;
            r.before += f.before;
        }
        r.key |= (DIGITS - 1 - at % DIGITS) << shift;
    }
    return r;
}

/* The mass of what is left of [first, end), added up by a warp. */
static __device__ u64 warp_mass(const drawing &d, const border &left, uint32_t first, uint32_t end)
{
    u64 sum = 0;
    for (uint32_t id = first + threadIdx.x % WARP_LANES; id < end; id += WARP_LANES) {
        const float s = score_at(d.row, id);
        if (is_left(left, s, id))
            sum += weight_of(d, depth_of(d, s));
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        sum += __shfl_xor_sync(~0u, sum, other);
    return sum;
}

/* The mass of all that is left. */
static __device__ u64 mass_left(const drawing &d, const border &left)
{
    SHARED(u64, part, CHOOSE_WARPS);
    const uint32_t warp = threadIdx.x / WARP_LANES;
    const uint32_t each = (d.limit + CHOOSE_WARPS - 1) / CHOOSE_WARPS;
    const uint32_t first = warp * each < d.limit ? warp * each : d.limit;
    const u64 mass = warp_mass(d, left, first, first + each < d.limit ? first + each : d.limit);
    __syncthreads();
    if (threadIdx.x % WARP_LANES == 0)
        part[warp] = mass;
    __syncthreads();
    u64 all = 0;
    for (int w = 0; w < CHOOSE_WARPS; w++)
        all += part[w];
    return all;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* The border of the k best; those that equal the last are left too. */
static __device__ border best_k(const drawing &d, uint32_t k, uint32_t *list, histogram *h)
{
    const border all = { 0, ~0u };
    const found<uint32_t> bin = find_mark(h->count, (uint32_t)BINS, (u64)k);
    if (bin.at >= BINS)
        return all; /* fewer than k */
    const uint32_t n = list_bin(d, all, bin.at, list);
    const ranked r = rank<BY_COUNT>(d, list, n, k - bin.before, 0, h);
    return { r.key, ~0u };
}

/* The border of the smallest leading set whose mass reaches top_p of what is left. */
static __device__ border best_mass(const drawing &d, double top_p, border left, uint32_t *list,
                                   histogram *h)
{
    const u64 total = mass_left(d, left);
    const u64 mark = (u64)ceil(top_p * (double)total);
    count_bins(d, h);
    const found<u64> bin = find_mark(h->mass, (uint32_t)BINS, mark);
    if (bin.at >= BINS)
        return left;
    const uint32_t n = list_bin(d, left, bin.at, list);
    const ranked r = rank<BY_MASS>(d, list, n, mark - bin.before, 0, h);
    const float score = number_of(r.key);
    const u64 weight = weight_of(d, depth_of(d, score));
    if (weight == 0)
        return left;
    const u64 equals = (mark - bin.before - r.before + weight - 1) / weight;
    const ranked last = rank<BY_ID>(d, list, n, equals, r.key, h);
    return { r.key, ~last.key };
}

/* The first id of what is left at which the sum of weights exceeds the mark. */
static __device__ uint32_t walk(const drawing &d, const border &left, u64 mark)
{
    SHARED(u64, part, CHOOSE_WARPS);
    const uint32_t warp = threadIdx.x / WARP_LANES;
    uint32_t first = 0, end = d.limit;
    while (end - first > LAST_FEW) {
        const uint32_t each = (end - first + CHOOSE_WARPS - 1) / CHOOSE_WARPS;
        const uint32_t from = first + warp * each < end ? first + warp * each : end;
        const u64 mass = warp_mass(d, left, from, from + each < end ? from + each : end);
        __syncthreads();
        if (threadIdx.x % WARP_LANES == 0)
            part[warp] = mass;
        __syncthreads();
        const found<u64> f = find_mark(part, (uint32_t)CHOOSE_WARPS, mark + 1);
        mark -= f.before;
        first += (f.at < CHOOSE_WARPS ? f.at : CHOOSE_WARPS - 1) * each;
        end = first + each < end ? first + each : end;
    }
    uint32_t last = first;
    for (uint32_t id = first; id < end; id++) {
        const float s = score_at(d.row, id);
        const u64 w = is_left(left, s, id) ? weight_of(d, depth_of(d, s)) : 0;
        if (w == 0)
            continue;
        last = id;
        if (w > mark)
            break;
        mark -= w;
    }
    return last;
}

static __device__ uint32_t draw(const sample_args &a, const ops_choice &c, float best, histogram *h)
{
    const drawing d = { row_of(a, blockIdx.x), best, c.temperature, a.limit, a.unit_bits };
    uint32_t *list = a.candidates + (size_t)blockIdx.x * a.limit;
    border left = { 0, ~0u };
    if (c.top_k > 0 && (uint32_t)c.top_k < a.limit) {
        count_bins(d, h);
        left = best_k(d, (uint32_t)c.top_k, list, h);
    }
    if (c.top_p < 1.0)
        left = best_mass(d, c.top_p, left, list, h);
    return walk(d, left, __umul64hi((u64)c.uniform << 11, mass_left(d, left)));
}

/* The logit of id before biases and penalties. */
static __device__ float logit_before(const sample_args &a, const ops_choice &c, uint32_t id)
{
    SHARED(float, was, 1);
    __syncthreads();
    if (threadIdx.x == 0)
        *was = a.logits[(size_t)blockIdx.x * a.vocab + id];
    __syncthreads();
    for (int i = (int)threadIdx.x; i < c.n_seen; i += CHOOSE_THREADS)
        if ((uint32_t)a.seen[c.first_seen + i].id == id)
            *was = a.seen_was[c.first_seen + i];
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = c.n_bias; i-- > 0;) {
            if ((uint32_t)a.bias[c.first_bias + i].id != id)
                continue;
            bool first = true;
            for (int k = 0; k < i; k++)
                first = first && (uint32_t)a.bias[c.first_bias + k].id != id;
            if (first)
                *was = a.bias_was[c.first_bias + i];
        }
    }
    __syncthreads();
    return *was;
}

/* The log of the sum of exponentials, in every thread. */
static __device__ double log_sum(const sample_args &a)
{
    const piece *p = a.pieces + (size_t)blockIdx.x * a.n_pieces;
    SHARED(double, result, 1);
    __syncthreads();
    if (threadIdx.x == 0) {
        float top = -INFINITY;
        double sum = 0;
        for (uint32_t i = 0; i < a.n_pieces; i++)
            top = p[i].top > top ? p[i].top : top;
        for (uint32_t i = 0; i < a.n_pieces; i++)
            sum += p[i].top == -INFINITY ? 0.0 : p[i].sum * (double)expf(p[i].top - top);
        *result = top == -INFINITY ? -(double)INFINITY : (double)top + log(sum);
    }
    __syncthreads();
    return *result;
}

/* The best of the pieces' best. */
static __device__ void best_of_row(const sample_args &a, ops_chosen *out, int n, double sum)
{
    const u64 *tops = a.tops + (size_t)blockIdx.x * a.n_pieces * OPS_MAX_LOGPROBS;
    u64 below = ~0ull;
    int k = 0;
    for (; k < n; k++) {
        u64 best = 0;
        for (uint32_t i = threadIdx.x; i < a.n_pieces * (uint32_t)n; i += CHOOSE_THREADS) {
            const u64 o = tops[i / n * OPS_MAX_LOGPROBS + i % n];
            if (o < below && o > best)
                best = o;
        }
        below = block_max<CHOOSE_THREADS>(best);
        if (below == 0)
            break;
        if (threadIdx.x == 0) {
            out->top_id[k] = (int32_t)id_of(below);
            out->top_logprob[k] = (float)((double)number_of((uint32_t)(below >> 32)) - sum);
        }
    }
    if (threadIdx.x == 0)
        out->n_top = k;
}

/* Block: a row. */
static __global__ void __launch_bounds__(CHOOSE_THREADS) sample_choose(const sample_args a)
{
    SHARED(histogram, h, 1);
    const ops_choice c = a.choices[blockIdx.x];
    ops_chosen *out = a.chosen + blockIdx.x;
    u64 best = 0;
    for (uint32_t i = threadIdx.x; i < a.n_pieces; i += CHOOSE_THREADS) {
        const u64 o = a.pieces[(size_t)blockIdx.x * a.n_pieces + i].best;
        best = o > best ? o : best;
    }
    best = block_max<CHOOSE_THREADS>(best);
    const float top = number_of((uint32_t)(best >> 32));
    const bool draws = best != 0 && c.sample && top < INFINITY;
    const uint32_t id = draws ? draw(a, c, top, h) : id_of(best);
    if (threadIdx.x == 0) {
        out->id = best ? (int32_t)id : -1;
        out->drawn = draws;
    }
    if (c.logprobs < 0 || best == 0)
        return;
    const double sum = log_sum(a);
    const float logit = logit_before(a, c, id);
    if (threadIdx.x == 0)
        out->logprob = (float)((double)logit - sum);
    best_of_row(a, out, c.logprobs < OPS_MAX_LOGPROBS ? c.logprobs : (int)OPS_MAX_LOGPROBS, sum);
}

/* ---- launching ------------------------------------------------------------------------------- */

static size_t take(size_t *used, size_t bytes)
{
    const size_t at = *used;
    *used = (at + bytes + 255) / 256 * 256;
    return at;
}

/* Cuts the scratch memory into the kernels' arrays. */
static enum ops_status lay_out(struct ops_device *dev, const struct ops_sampling *s, sample_args *a)
{
    size_t used = 0;
    const size_t pieces = take(&used, s->rows * a->n_pieces * sizeof *a->pieces);
    const size_t tops = take(
        &used, s->any_logprobs ? s->rows * a->n_pieces * OPS_MAX_LOGPROBS * sizeof *a->tops : 0);
    const size_t bias = take(&used, s->room_bias * sizeof *a->bias_was);
    const size_t seen = take(&used, s->room_seen * sizeof *a->seen_was);
    const size_t list = take(&used, s->any_draws ? s->rows * s->limit * sizeof *a->candidates : 0);
    const enum ops_status status = cuda_scratch_reserve(dev, &dev->sampling, used);
    if (status != OPS_OK)
        return status;
    char *base = static_cast<char *>(dev->sampling.data);
    a->pieces = reinterpret_cast<piece *>(base + pieces);
    a->tops = reinterpret_cast<u64 *>(base + tops);
    a->bias_was = reinterpret_cast<float *>(base + bias);
    a->seen_was = reinterpret_cast<float *>(base + seen);
    a->candidates = reinterpret_cast<uint32_t *>(base + list);
    return OPS_OK;
}

static uint32_t bits_of(size_t n)
{
    uint32_t bits = 0;
    while (n >> bits)
        bits++;
    return bits;
}

enum ops_status cuda_sample(struct ops_device *dev, const struct ops_sampling *s)
{
    if (s->vocab == 0 || s->vocab > INT32_MAX / 2 || s->limit == 0 || s->limit > s->vocab ||
        s->rows > UINT16_MAX || s->room_bias > INT32_MAX || s->room_seen > INT32_MAX)
        return OPS_E_SHAPE;
    if (s->rows == 0)
        return OPS_OK;
    sample_args a = {};
    a.logits = s->logits;
    a.choices = s->choices;
    a.bias = s->bias;
    a.seen = s->seen;
    a.masks = s->masks;
    a.chosen = s->chosen;
    a.vocab = (uint32_t)s->vocab;
    a.limit = (uint32_t)s->limit;
    a.n_pieces = (uint32_t)((s->vocab + PIECE - 1) / PIECE);
    a.mask_words = (uint32_t)s->mask_words;
    a.unit_bits = 62 - bits_of(s->vocab);
    const unsigned rows = (unsigned)s->rows;
    enum ops_status status = lay_out(dev, s, &a);
    if (status == OPS_OK && s->any_logprobs)
        status = cuda_launch(dev, sample_logprobs, dim3(a.n_pieces, rows), PIECE_THREADS, 0, a);
    if (status == OPS_OK && s->any_scores)
        status = cuda_launch(dev, sample_scores, dim3(rows), PIECE_THREADS, 0, a);
    if (status == OPS_OK)
        status = cuda_launch(dev, sample_best, dim3(a.n_pieces, rows), PIECE_THREADS, 0, a);
    if (status == OPS_OK)
        status = cuda_launch(dev, sample_choose, dim3(rows), CHOOSE_THREADS, 0, a);
    return status;
}
