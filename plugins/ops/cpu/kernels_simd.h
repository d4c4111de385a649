/*
 * kernels_simd.h - the vector kernels, written once over vectors of 16 floats; included by each
 * instruction set's file.
 *
 * The including file defines the type vec (16 floats), VEC_FN (attributes of a function inlined
 * into kernels), VEC_KERNEL (of a function called from elsewhere), TILE (rows of x in a tile),
 * ROWS_FOR(tokens) (rows of w done together), KERNELS and KERNELS_NAME, and the vec_ functions used
 * below.  What they compute does not depend on the instruction set, so neither do the results.
 *
 * A block is 32 numbers, seen as two vectors.  bf16 is split into the even and the odd numbers,
 * because a bf16 pair becomes two floats by a shift and a mask; f16 and f32 into halves.  pack
 * puts activations in the same order.
 *
 * One sum over k: lane i of 16 takes fma(w, x) of the first, then of the second vector of each
 * block; the last block is filled up with zeros; then lanes i and i + 8 are added, i and i + 4, i
 * and i + 2, i and i + 1.
 */
#include "convert.h"

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { LANES = 16, MAX_ROWS = 8 };

/* 16 numbers of E4M3. */
VEC_FN vec vec_e4m3(const char *p)
{
    return vec_mul(vec_fp8((const uint8_t *)p), vec_set1(256.0f));
}

VEC_FN vec load_first(const char *p, const enum ops_dtype dtype)
{
    return dtype == OPS_FP8    ? vec_e4m3(p)
           : dtype == OPS_BF16 ? vec_bf16_even(p)
           : dtype == OPS_F16  ? vec_f16(p)
                               : vec_load((const float *)(const void *)p);
}

VEC_FN vec load_second(const char *p, const enum ops_dtype dtype)
{
    return dtype == OPS_FP8    ? vec_e4m3(p + LANES)
           : dtype == OPS_BF16 ? vec_bf16_odd(p)
           : dtype == OPS_F16  ? vec_f16(p + 2 * LANES)
                               : vec_load((const float *)(const void *)p + LANES);
}

/* The line so many bytes on, into the L2 cache: the L1 has too few misses in flight. */
VEC_FN void ask_ahead(const char *p, ptrdiff_t ahead, const enum ops_dtype dtype)
{
    const char *line = (const char *)((uintptr_t)p + (uintptr_t)ahead); /* any address will do */
    __builtin_prefetch(line, 0, 2);
    if (dtype == OPS_F32)
        __builtin_prefetch(line + 64, 0, 2);
}

/* ---- matrix products ------------------------------------------------------------------------- */

/* The sums of a tile: N_ROWS rows of w by TOKENS rows of x. */
struct sums {
    vec of[MAX_ROWS][TILE];
};

VEC_FN void add_block(struct sums *sums, const char *const *w, const float *x,
                      const enum ops_dtype dtype, const int n_rows, const int tokens)
{
    vec v[MAX_ROWS];
    UNROLL
    for (int r = 0; r < n_rows; r++)
        v[r] = load_first(w[r], dtype);
    UNROLL
    for (int t = 0; t < tokens; t++) {
        const vec xt = vec_load(x + t * CPU_BLOCK);
        UNROLL
        for (int r = 0; r < n_rows; r++)
            sums->of[r][t] = vec_fma(v[r], xt, sums->of[r][t]);
    }
    UNROLL
    for (int r = 0; r < n_rows; r++)
        v[r] = load_second(w[r], dtype);
    UNROLL
    for (int t = 0; t < tokens; t++) {
        const vec xt = vec_load(x + t * CPU_BLOCK + LANES);
        UNROLL
        for (int r = 0; r < n_rows; r++)
            sums->of[r][t] = vec_fma(v[r], xt, sums->of[r][t]);
    }
}

VEC_FN void put_sum(const struct cpu_dot *d, float *out, float sum)
{
    *out = d->add ? __builtin_fmaf(d->scale, sum, *out) : sum;
}

/* Rows first, first + step, ... of w against the tile. */
VEC_FN void dot_rows(const struct cpu_dot *d, size_t first, size_t step, const enum ops_dtype dtype,
                     const int n_rows, const int tokens)
{
    const size_t size = ops_dtype_size(dtype), row_bytes = d->k * size;
    const size_t blocks = d->k / CPU_BLOCK, rest = d->k % CPU_BLOCK;
    const float *x = d->tile;
    const char *w[MAX_ROWS];
    struct sums sums;
    UNROLL
    for (int r = 0; r < n_rows; r++) {
        w[r] = (const char *)d->w + (first + (size_t)r * step) * row_bytes;
        UNROLL
        for (int t = 0; t < tokens; t++)
            sums.of[r][t] = vec_set1(0.0f);
    }
    for (size_t b = 0; b < blocks; b++, x += tokens * CPU_BLOCK) {
        UNROLL
        for (int r = 0; r < n_rows; r++)
            ask_ahead(w[r], d->ahead, dtype);
        add_block(&sums, w, x, dtype, n_rows, tokens);
        UNROLL
        for (int r = 0; r < n_rows; r++)
            w[r] += CPU_BLOCK * size;
    }
    if (rest) {
        float last[MAX_ROWS][CPU_BLOCK] = { { 0 } };
        UNROLL
        for (int r = 0; r < n_rows; r++) {
            memcpy(last[r], w[r], rest * size);
            w[r] = (const char *)last[r];
        }
        add_block(&sums, w, x, dtype, n_rows, tokens);
    }
    UNROLL
    for (int t = 0; t < tokens; t++) {
        float *out = d->y + (size_t)t * d->y_stride + first;
        float sum[MAX_ROWS];
        if (n_rows % 4)
            UNROLL
        for (int r = 0; r < n_rows; r++)
            sum[r] = vec_sum(sums.of[r][t]);
        else UNROLL for (int r = 0; r < n_rows; r += 4) vec_sum4(
            sum + r, sums.of[r][t], sums.of[r + 1][t], sums.of[r + 2][t], sums.of[r + 3][t]);
        UNROLL
        for (int r = 0; r < n_rows; r++)
            put_sum(d, out + (size_t)r * step, sum[r]);
    }
}

/*
 * Rows first .. first + 3 of a w that is a single block wide against the tile: B of an adapter of
 * rank 16 or 32.  So little is multiplied for an output that the way around it is what counts.
 */
VEC_FN void dot_narrow4(const struct cpu_dot *d, size_t first, const enum ops_dtype dtype,
                        const int tokens)
{
    const size_t size = ops_dtype_size(dtype), row_bytes = d->k * size;
    const char *w = (const char *)d->w + first * row_bytes;
    vec a[4], b[4];
    ask_ahead(w, d->ahead, dtype);
    ask_ahead(w + 64, d->ahead, dtype);
    UNROLL
    for (int r = 0; r < 4; r++, w += row_bytes) {
        const char *from = w;
        char last[CPU_BLOCK] = { 0 };
        if (dtype == OPS_FP8 && d->k < CPU_BLOCK)
            from = memcpy(last, w, d->k);
        if (d->k == CPU_BLOCK || dtype == OPS_FP8) {
            a[r] = load_first(from, dtype);
            b[r] = load_second(from, dtype);
        } else {
            vec_load_part(&a[r], &b[r], w, d->k, dtype);
        }
    }
    UNROLL
    for (int t = 0; t < tokens; t++) {
        const vec x0 = vec_load(d->tile + t * CPU_BLOCK);
        const vec x1 = vec_load(d->tile + t * CPU_BLOCK + LANES);
        float *out = d->y + (size_t)t * d->y_stride + first, sum[4];
        vec s[4];
        UNROLL
        for (int r = 0; r < 4; r++)
            s[r] = vec_fma(b[r], x1, vec_fma(a[r], x0, vec_set1(0.0f)));
        vec_sum4(sum, s[0], s[1], s[2], s[3]);
        UNROLL
        for (int r = 0; r < 4; r++)
            put_sum(d, out + r, sum[r]);
    }
}

VEC_FN void dot_narrow(const struct cpu_dot *d, const enum ops_dtype dtype, const int tokens)
{
    size_t n = 0;
    for (; n + 4 <= d->w_rows; n += 4)
        dot_narrow4(d, n, dtype, tokens);
    for (; n < d->w_rows; n++)
        dot_rows(d, n, 0, dtype, 1, tokens);
}

/* Rows that lie a quarter (for 4 at a time) of w apart are done together: each of the streams then
 * runs on without a break, which is what prefetching needs. */
VEC_FN void dot_all(const struct cpu_dot *d, const enum ops_dtype dtype, const int tokens)
{
    if (d->k <= CPU_BLOCK) {
        dot_narrow(d, dtype, tokens);
        return;
    }
    const size_t step = d->w_rows / ROWS_FOR(tokens);
    for (size_t n = 0; n < step; n++)
        dot_rows(d, n, step, dtype, ROWS_FOR(tokens), tokens);
    for (size_t n = step * ROWS_FOR(tokens); n < d->w_rows; n++)
        dot_rows(d, n, 0, dtype, 1, tokens);
}

VEC_FN void dot_tokens(const struct cpu_dot *d, const enum ops_dtype dtype)
{
    switch (d->tokens) {
    case 1:
        dot_all(d, dtype, 1);
        break;
    case 2:
        dot_all(d, dtype, 2);
        break;
    case 3:
        dot_all(d, dtype, 3);
        break;
#if TILE == 6
    case 4:
        dot_all(d, dtype, 4);
        break;
    case 5:
        dot_all(d, dtype, 5);
        break;
    case 6:
        dot_all(d, dtype, 6);
        break;
#endif
    default:
        break;
    }
}

/* One function for each dtype: else the compiler is given all of it at once. */
VEC_KERNEL void dot_bf16(const struct cpu_dot *d)
{
    dot_tokens(d, OPS_BF16);
}

VEC_KERNEL void dot_f16(const struct cpu_dot *d)
{
    dot_tokens(d, OPS_F16);
}

VEC_KERNEL void dot_f32(const struct cpu_dot *d)
{
    dot_tokens(d, OPS_F32);
}

VEC_KERNEL void dot_fp8(const struct cpu_dot *d)
{
    dot_tokens(d, OPS_FP8);
}

static void dot(const struct cpu_dot *d)
{
    if (d->dtype == OPS_FP8)
        dot_fp8(d);
    else if (d->dtype == OPS_BF16)
        dot_bf16(d);
    else if (d->dtype == OPS_F16)
        dot_f16(d);
    else
        dot_f32(d);
}

VEC_FN void pack_block(float *out, const float *x, enum ops_dtype dtype)
{
    const vec a = vec_load(x), b = vec_load(x + LANES);
    if (dtype == OPS_BF16) {
        vec_store(out, vec_even(a, b));
        vec_store(out + LANES, vec_odd(a, b));
    } else {
        vec_store(out, a);
        vec_store(out + LANES, b);
    }
}

/* The order of a tile: [block][token][32]. */
VEC_KERNEL void pack(float *out, const float *x, size_t x_stride, size_t tokens, size_t k,
                     enum ops_dtype dtype)
{
    const size_t blocks = k / CPU_BLOCK, rest = k % CPU_BLOCK;
    for (size_t t = 0; t < tokens; t++) {
        const float *row = x + t * x_stride;
        float *to = out + t * CPU_BLOCK;
        for (size_t b = 0; b < blocks; b++, to += tokens * CPU_BLOCK)
            pack_block(to, row + b * CPU_BLOCK, dtype);
        if (rest) {
            float last[CPU_BLOCK] = { 0 };
            memcpy(last, row + blocks * CPU_BLOCK, rest * sizeof *row);
            pack_block(to, last, dtype);
        }
    }
}

/* ---- the exponential function ---------------------------------------------------------------- */

/*
 * e^x = 2^n e^r with n = x / ln 2 rounded and |r| <= ln 2 / 2, by the Taylor series to r^7 (error
 * below 2^-27).  2^n is applied in two steps, so that results may be subnormal, 0 or infinite.
 * NaN stays NaN: it is the second argument of vec_max and vec_min.
 */
VEC_FN vec vec_exp(vec x)
{
    x = vec_max(vec_set1(-105.0f), x);
    x = vec_min(vec_set1(90.0f), x);
    const vec n = vec_round(vec_mul(x, vec_set1(0x1.715476p+0f)));
    vec r = vec_fma(n, vec_set1(-0x1.62e400p-1f), x); /* ln 2 in two parts (Cody and Waite) */
    r = vec_fma(n, vec_set1(-0x1.7f7d1cp-20f), r);
    vec p = vec_set1(1.0f / 5040);
    p = vec_fma(p, r, vec_set1(1.0f / 720));
    p = vec_fma(p, r, vec_set1(1.0f / 120));
    p = vec_fma(p, r, vec_set1(1.0f / 24));
    p = vec_fma(p, r, vec_set1(1.0f / 6));
    p = vec_fma(p, r, vec_set1(0.5f));
    p = vec_fma(p, r, vec_set1(1.0f));
    p = vec_fma(p, r, vec_set1(1.0f));
    const vec half = vec_round(vec_mul(n, vec_set1(0.5f)));
    return vec_mul(vec_mul(p, vec_power_of_2(half)), vec_power_of_2(vec_sub(n, half)));
}

/* s has room for n rounded up to 16. */
VEC_KERNEL void softmax(float *s, size_t n, float scale, float *max, float *sum)
{
    vec top = vec_set1(-INFINITY), total = vec_set1(0.0f);
    for (size_t j = 0; j < n; j += LANES)
        vec_store(s + j, vec_mul(vec_load(s + j), vec_set1(scale)));
    for (size_t j = n; j % LANES; j++)
        s[j] = -INFINITY; /* becomes 0 */
    for (size_t j = 0; j < n; j += LANES)
        top = vec_max(top, vec_load(s + j));
    const float m = vec_largest(top);
    for (size_t j = 0; j < n; j += LANES) {
        const vec p = vec_exp(vec_sub(vec_load(s + j), vec_set1(m)));
        vec_store(s + j, p);
        total = vec_add(total, p);
    }
    *max = m;
    *sum = vec_sum(total);
}

VEC_FN vec silu_times(vec gate, vec up)
{
    const vec e = vec_exp(vec_sub(vec_set1(0.0f), gate));
    return vec_mul(up, vec_div(gate, vec_add(vec_set1(1.0f), e)));
}

VEC_KERNEL void swiglu(float *y, const float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, silu_times(vec_load(gate + i), vec_load(up + i)));
    if (i < n) {
        float last_gate[LANES] = { 0 }, last_up[LANES] = { 0 };
        memcpy(last_gate, gate + i, (n - i) * sizeof *gate);
        memcpy(last_up, up + i, (n - i) * sizeof *up);
        vec_store(last_gate, silu_times(vec_load(last_gate), vec_load(last_up)));
        memcpy(y + i, last_gate, (n - i) * sizeof *y);
    }
}

/* 1 + tanh u = 2 / (1 + e^(-2 u)), without the cancellation of the sum. */
VEC_FN vec gelu_tanh_of(vec x)
{
    const vec cubic = vec_mul(vec_mul(vec_mul(vec_set1(0.044715f), x), x), x);
    const vec minus_2u = vec_mul(vec_set1(-0x1.988454p+0f), vec_add(x, cubic));
    return vec_div(x, vec_add(vec_set1(1.0f), vec_exp(minus_2u)));
}

VEC_KERNEL void gelu_tanh(float *y, const float *x, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        vec_store(y + i, gelu_tanh_of(vec_load(x + i)));
    if (i < n) {
        float last[LANES] = { 0 };
        memcpy(last, x + i, (n - i) * sizeof *x);
        vec_store(last, gelu_tanh_of(vec_load(last)));
        memcpy(y + i, last, (n - i) * sizeof *y);
    }
}

/* ---- weighted sums of values ----------------------------------------------------------------- */

/* Numbers i0 .. i0 + 31 of the values, for some queries. */
VEC_FN void mix_strip(const struct cpu_mix *m, size_t first_query, size_t i0,
                      const enum ops_dtype dtype, const int queries, size_t rest)
{
    float *o = m->o + first_query * m->o_stride + i0;
    const float *p = m->p + first_query * m->p_stride;
    const size_t size = ops_dtype_size(dtype);
    vec a[TILE], b[TILE];
    UNROLL
    for (int q = 0; q < queries; q++) {
        a[q] = vec_load(o + (size_t)q * m->o_stride);
        b[q] = vec_load(o + (size_t)q * m->o_stride + LANES);
    }
    for (size_t j = 0; j < m->tokens; j++) {
        const char *v = (const char *)m->v + (j * m->dim + i0) * size;
        ask_ahead(v, m->ahead, dtype);
        float last[CPU_BLOCK];
        if (rest) {
            memset(last, 0, sizeof last);
            memcpy(last, v, rest * size);
            v = (const char *)last;
        }
        const vec v0 = load_first(v, dtype), v1 = load_second(v, dtype);
        UNROLL
        for (int q = 0; q < queries; q++) {
            const vec weight = vec_set1(p[(size_t)q * m->p_stride + j]);
            a[q] = vec_fma(weight, v0, a[q]);
            b[q] = vec_fma(weight, v1, b[q]);
        }
    }
    UNROLL
    for (int q = 0; q < queries; q++) {
        vec_store(o + (size_t)q * m->o_stride, a[q]);
        vec_store(o + (size_t)q * m->o_stride + LANES, b[q]);
    }
}

VEC_FN void mix_all(const struct cpu_mix *m, const enum ops_dtype dtype)
{
    const size_t queries = m->queries;
    for (size_t i = 0; i < m->dim; i += CPU_BLOCK) {
        const size_t rest = m->dim - i < CPU_BLOCK ? m->dim - i : 0;
        size_t q = 0;
        for (; q + TILE <= queries; q += TILE)
            mix_strip(m, q, i, dtype, TILE, rest);
        for (; q + 3 <= queries; q += 3)
            mix_strip(m, q, i, dtype, 3, rest);
        for (; q < queries; q++)
            mix_strip(m, q, i, dtype, 1, rest);
    }
}

VEC_KERNEL void mix(const struct cpu_mix *m)
{
    if (m->dtype == OPS_FP8)
        mix_all(m, OPS_FP8);
    else if (m->dtype == OPS_BF16)
        mix_all(m, OPS_BF16);
    else if (m->dtype == OPS_F16)
        mix_all(m, OPS_F16);
    else
        mix_all(m, OPS_F32);
}

static void unpack(float *out, const float *o, size_t dim, enum ops_dtype dtype)
{
    if (dtype != OPS_BF16) {
        memcpy(out, o, dim * sizeof *out);
        return;
    }
    for (size_t i = 0; i < dim; i++) /* even numbers first, then odd ones */
        out[i] = o[i / CPU_BLOCK * CPU_BLOCK + i % 2 * LANES + i % CPU_BLOCK / 2];
}

#include "kernels_packed_simd.h"

const struct cpu_kernels KERNELS = {
    .name = KERNELS_NAME,
    .tile = TILE,
    .pack = pack,
    .dot = dot,
    .packed_dot = packed_dot,
    .softmax = softmax,
    .mix = mix,
    .unpack = unpack,
    .swiglu = swiglu,
    .gelu_tanh = gelu_tanh,
};
