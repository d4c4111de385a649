/*
 * sampling.cu - the next token of each row, chosen on the device: bias and penalties, the
 * likeliest, top_k, top_p and the draw, and log-probabilities.
 *
 * A row goes through up to four kernels: pieces of it for log-probabilities, its lists of biases
 * and seen tokens, pieces of it for the likeliest, pieces of it for a histogram of weights; then
 * one block chooses.  Weights are integers, in units small enough that a whole vocabulary of the
 * likeliest does not overflow 64 bits, so their sums are the same in any order, and atomics may
 * make them.
 */
#include "sampling_pieces.cuh"

/* ---- one block and its row ------------------------------------------------------------------- */

/* find_mark() by the first warp, for the whole block. */
template <class T> static __device__ found find_block(const T *sums, uint32_t n, u64 mark)
{
    SHARED(found, result, 1);
    __syncthreads(); /* the last one has been read */
    if (threadIdx.x < WARP_LANES) {
        const found f = find_mark(sums, n, mark);
        if (threadIdx.x == 0)
            *result = f;
    }
    __syncthreads();
    return *result;
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
    /* Most are far outside, which is seen without a division. */
    const float unit = d.temperature / (float)BINS_PER_UNIT;
    const float off = (fabsf(d.best) + (float)bin * unit) * 0x1p-18f;
    const float high = d.best - (float)bin * unit + off;
    const float low = bin == BINS - 1 ? -INFINITY : d.best - (float)(bin + 1) * unit - 2 * off;
    for (uint32_t first = threadIdx.x; first < d.limit; first += CHOOSE_THREADS * AT_ONCE) {
        float s[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const uint32_t id = first + i * CHOOSE_THREADS;
            s[i] = id < d.limit ? score_at(d.row, id) : -INFINITY;
        }
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            const uint32_t id = first + i * CHOOSE_THREADS;
            if (s[i] > high || s[i] < low || !is_left(left, s[i], id))
                continue;
            if (bin_of(depth_of(d, s[i])) == bin)
                list[atomicAdd(n, 1u)] = id;
        }
    }
    __syncthreads();
    return *n;
}

/* What is chosen by its rank in a list: the count-th best score, or the one with which the mass is
 * reached, or the count-th id of those with a score. */
enum rank_by { BY_COUNT, BY_MASS, BY_ID };

struct ranked {
    uint32_t key; /* of the score, or the id upside down */
    u64 before;   /* count, or mass, of the better ones */
    u64 mass;     /* of the better ones and those with just this key */
};

/* Radix selection, DIGIT_BITS at a time, best first.  Only listed ids with score key only_key when
 * BY_ID. */
template <rank_by BY>
static __device__ ranked rank(const drawing &d, const uint32_t *list, uint32_t n, u64 mark,
                              uint32_t only_key, histogram *h)
{
    ranked r = { 0, 0, 0 };
    for (int shift = 32 - DIGIT_BITS; shift >= 0; shift -= DIGIT_BITS) {
        clear<CHOOSE_THREADS>(h, DIGITS);
        for (uint32_t i = threadIdx.x; i < n; i += CHOOSE_THREADS) {
            const float s = d.row.scores[list[i]];
            const uint32_t key = BY == BY_ID ? ~list[i] : key_of(s);
            if ((BY == BY_ID && key_of(s) != only_key) ||
                ((u64)(key ^ r.key) >> (shift + DIGIT_BITS)) != 0)
                continue;
            const uint32_t best_first = DIGITS - 1 - (key >> shift) % DIGITS;
            atomicAdd(&h->count[best_first], 1u);
            if (BY != BY_ID)
                atomicAdd(&h->mass[best_first], weight_of(d, depth_of(d, s)));
        }
        __syncthreads();
        uint32_t at;
        if (BY == BY_MASS) {
            const found f = find_block(h->mass, (uint32_t)DIGITS, mark - r.before);
            at = f.at;
            r.before += f.before;
        } else {
            const found f = find_block(h->count, (uint32_t)DIGITS, mark - r.before);
            at = f.at;
            r.before += f.before;
        }
        if (BY != BY_ID)
            r.mass += sum_of(h->mass, shift > 0 ? at : at + 1);
        r.key |= (DIGITS - 1 - at % DIGITS) << shift;
    }
    return r;
}

/* The mass of what is left of [first, end), added up by a warp. */
static __device__ u64 warp_mass(const drawing &d, const border &left, uint32_t first, uint32_t end)
{
    u64 sum = 0;
    for (uint32_t from = first + threadIdx.x % WARP_LANES; from < end;
         from += WARP_LANES * AT_ONCE) {
        float s[AT_ONCE];
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++)
            s[i] = from + i * WARP_LANES < end ? score_at(d.row, from + i * WARP_LANES) : -INFINITY;
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
            if (is_left(left, s[i], from + i * WARP_LANES))
                sum += weight_of(d, depth_of(d, s[i]));
        }
    }
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        sum += __shfl_xor_sync(~0u, sum, other);
    return sum;
}

/* ---- choosing -------------------------------------------------------------------------------- */

/* What may be drawn, and its mass. */
struct lot {
    border left;
    u64 mass;
};

/* The k best; those that equal the last are left too.  bins: of the row. */
static __device__ lot best_k(const drawing &d, uint32_t k, const histogram *bins, uint32_t *list,
                             histogram *h)
{
    const lot all = { { 0, ~0u }, sum_of(bins->mass, BINS) };
    const found bin = find_block(bins->count, (uint32_t)BINS, (u64)k);
    if (k == 0 || bin.at >= BINS)
        return all; /* no limit, or fewer */
    const uint32_t n = list_bin(d, all.left, bin.at, list);
    const ranked r = rank<BY_COUNT>(d, list, n, k - bin.before, 0, h);
    return { { r.key, ~0u }, sum_of(bins->mass, bin.at) + r.mass };
}

/* The smallest leading set whose mass reaches top_p of the lot's. */
static __device__ lot best_mass(const drawing &d, double top_p, const lot &lot_before,
                                const histogram *bins, uint32_t *list, histogram *h)
{
    const u64 mark = (u64)ceil(top_p * (double)lot_before.mass);
    const found bin = find_block(bins->mass, (uint32_t)BINS, mark);
    if (top_p >= 1.0 || bin.at >= BINS)
        return lot_before;
    const uint32_t n = list_bin(d, lot_before.left, bin.at, list);
    const ranked r = rank<BY_MASS>(d, list, n, mark - bin.before, 0, h);
    const u64 weight = weight_of(d, depth_of(d, number_of(r.key)));
    if (weight == 0)
        return lot_before;
    const u64 equals = (mark - bin.before - r.before + weight - 1) / weight;
    const ranked last = rank<BY_ID>(d, list, n, equals, r.key, h);
    return { { r.key, ~last.key }, bin.before + r.before + equals * weight };
}

/* The first id of what is left at which the sum of weights exceeds the mark. */
static __device__ uint32_t walk(const sample_args &a, const drawing &d, const border &left,
                                u64 mark)
{
    SHARED(u64, part, CHOOSE_WARPS);
    const uint32_t warp = threadIdx.x / WARP_LANES;
    uint32_t first = 0, end = d.limit;
    if (left.key == 0) { /* all are left: the pieces' weights are known */
        const u64 *masses = a.masses + (size_t)blockIdx.x * a.n_pieces;
        const found f = find_block(masses, a.n_pieces, mark + 1);
        mark -= f.before;
        first = (f.at < a.n_pieces ? f.at : a.n_pieces - 1) * PIECE;
        end = first + PIECE < end ? first + PIECE : end;
    }
    while (end - first > LAST_FEW) {
        const uint32_t each = (end - first + CHOOSE_WARPS - 1) / CHOOSE_WARPS;
        const uint32_t from = first + warp * each < end ? first + warp * each : end;
        const u64 mass = warp_mass(d, left, from, from + each < end ? from + each : end);
        __syncthreads();
        if (threadIdx.x % WARP_LANES == 0)
            part[warp] = mass;
        __syncthreads();
        const found f = find_block(part, (uint32_t)CHOOSE_WARPS, mark + 1);
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
    const drawing d = drawing_of(a, blockIdx.x, best);
    const histogram *bins = a.bins + blockIdx.x;
    uint32_t *list = a.candidates + (size_t)blockIdx.x * a.limit;
    const uint32_t k = c.top_k > 0 && (uint32_t)c.top_k < a.limit ? (uint32_t)c.top_k : 0;
    lot l = best_k(d, k, bins, list, h);
    l = best_mass(d, c.top_p, l, bins, list, h);
    return walk(a, d, l.left, __umul64hi((u64)c.uniform << 11, l.mass));
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
static __global__ void __launch_bounds__(CHOOSE_THREADS, 1) sample_choose(const sample_args a)
{
    after_previous();
    SHARED(histogram, h, 1);
    const ops_choice c = a.choices[blockIdx.x];
    ops_chosen *out = a.chosen + blockIdx.x;
    const u64 best = fold_best<CHOOSE_THREADS>(a, blockIdx.x);
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
    const size_t bins = take(&used, s->any_draws ? s->rows * sizeof *a->bins : 0);
    const size_t masses = take(&used, s->rows * a->n_pieces * sizeof *a->masses);
    const size_t list = take(&used, s->any_draws ? s->rows * s->limit * sizeof *a->candidates : 0);
    const enum ops_status status = cuda_scratch_reserve(dev, &dev->sampling, used);
    if (status != OPS_OK)
        return status;
    char *base = static_cast<char *>(dev->sampling.data);
    a->pieces = reinterpret_cast<piece *>(base + pieces);
    a->tops = reinterpret_cast<u64 *>(base + tops);
    a->bias_was = reinterpret_cast<float *>(base + bias);
    a->seen_was = reinterpret_cast<float *>(base + seen);
    a->bins = reinterpret_cast<histogram *>(base + bins);
    a->masses = reinterpret_cast<u64 *>(base + masses);
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
    if (status == OPS_OK && s->any_draws)
        status = cuda_launch(dev, sample_bins, dim3(a.n_pieces, rows), PIECE_THREADS, 0, a);
    if (status == OPS_OK)
        status = cuda_launch(dev, sample_choose, dim3(rows), CHOOSE_THREADS, 0, a);
    return status;
}
