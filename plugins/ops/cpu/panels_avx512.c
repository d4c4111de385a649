/* panels_avx512.c - products of panels of float32 numbers, and of pairs of bf16 numbers with
 * AVX512_BF16; see panels.h. */
#include "panels.h"

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#ifdef CPU_HAVE_X86_KERNELS

#include <immintrin.h>

#define TARGET target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define FN static inline __attribute__((always_inline, TARGET))
#define KERNEL static __attribute__((noinline, TARGET))
#define PAIRS_TARGET target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#define PAIRS_FN static inline __attribute__((always_inline, PAIRS_TARGET))
#define PAIRS_KERNEL static __attribute__((noinline, PAIRS_TARGET))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { LANES = 16, ROWS = CPU_PANEL_ROWS, WIDTH = CPU_PANEL_WIDTH };

/* 16 x 16 numbers of 32 bits change rows and columns. */
FN void transpose(__m512i v[LANES])
{
    __m512i t[LANES];
    UNROLL
    for (int i = 0; i < LANES; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    UNROLL
    for (int i = 0; i < LANES; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
    }
    UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/* 32 numbers of each of 16 rows of weights: vector i has pair i of all rows. */
FN void load_square(__m512i v[LANES], const uint16_t *w, size_t w_stride)
{
    UNROLL
    for (size_t i = 0; i < LANES; i++)
        v[i] = _mm512_loadu_si512(w + i * w_stride);
    transpose(v);
}

/* 16 words of some rows, as columns; a word's rows go behind one another, and what a store writes
 * beyond its rows the next one overwrites, up to the last. */
FN void store_block(uint32_t *tile, const __m512i v[LANES])
{
    UNROLL
    for (int i = 0; i < LANES - 1; i++)
        _mm512_storeu_si512(tile + i * ROWS, v[i]);
    _mm512_mask_storeu_epi32(tile + (LANES - 1) * ROWS, (1u << ROWS) - 1, v[LANES - 1]);
}

/* Of the first n lanes. */
FN __mmask16 lanes(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xffff : (1u << n) - 1);
}

/* The sums of a tile, of which d wants some, go to y. */
FN void put_sums(const struct cpu_panel_dot *d, __m512 sum[ROWS][2], const int vectors)
{
    const __mmask16 mask[] = { lanes(d->width), lanes(d->width > LANES ? d->width - LANES : 0) };
    UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        if (r >= d->rows)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            float *y = d->y + r * d->y_stride + v * LANES;
            if (d->add)
                sum[r][v] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask[v], y), sum[r][v]);
            _mm512_mask_storeu_ps(y, mask[v], sum[r][v]);
        }
    }
}

/* The y of a dot is far away when its sums are done, if nobody asks before. */
FN void ask_for_y(const struct cpu_panel_dot *d, const int vectors)
{
    for (size_t r = 0; r < d->rows; r++)
        for (int v = 0; v < vectors; v++)
            __builtin_prefetch(d->y + r * d->y_stride + v * LANES, 1, 3);
}

/* ---- float32 numbers -------------------------------------------------------------------- */

KERNEL void pack_floats(uint32_t *tile, const float *x, size_t x_stride, size_t rows, size_t k)
{
    size_t p = 0;
    for (; p + LANES <= k; p += LANES) {
        __m512i v[LANES];
        UNROLL
        for (size_t r = 0; r < LANES; r++)
            v[r] = r < rows ? _mm512_loadu_si512(x + r * x_stride + p) : _mm512_setzero_si512();
        transpose(v);
        store_block(tile + p * ROWS, v);
    }
    for (; p < k; p++)
        for (size_t r = 0; r < ROWS; r++)
            memcpy(tile + p * ROWS + r, r < rows ? x + r * x_stride + p : &(float){ 0.0f },
                   sizeof *tile);
}

/* 32 numbers of 16 rows. */
FN void widen_square(uint32_t *panel, const uint16_t *w, size_t w_stride)
{
    __m512i v[LANES];
    load_square(v, w, w_stride);
    UNROLL
    for (size_t i = 0; i < LANES; i++) {
        const __m512i high = _mm512_set1_epi32((int)0xffff0000);
        _mm512_store_si512(panel + 2 * i * WIDTH, _mm512_slli_epi32(v[i], 16));
        _mm512_store_si512(panel + (2 * i + 1) * WIDTH, _mm512_and_si512(v[i], high));
    }
}

KERNEL void widen_panel(uint32_t *panel, const uint16_t *w, size_t w_stride, size_t rows, size_t k)
{
    const size_t whole = rows / LANES * LANES, blocks = k / CPU_BLOCK * CPU_BLOCK;
    for (size_t n = 0; n < whole; n += LANES)
        for (size_t p = 0; p < blocks; p += CPU_BLOCK)
            widen_square(panel + p * WIDTH + n, w + n * w_stride + p, w_stride);
    for (size_t p = blocks; p < k; p++)
        for (size_t n = 0; n < whole; n++)
            panel[p * WIDTH + n] = (uint32_t)w[n * w_stride + p] << 16;
    for (size_t p = 0; p < k; p++)
        for (size_t n = whole; n < WIDTH; n++)
            panel[p * WIDTH + n] = n < rows ? (uint32_t)w[n * w_stride + p] << 16 : 0;
}

KERNEL void turn_keys(uint32_t *panel, const float *const *w, size_t rows, size_t k)
{
    for (size_t n = 0; n < WIDTH; n += LANES) {
        for (size_t p = 0; p < k; p += LANES) {
            const __mmask16 mask = lanes(k - p);
            __m512i v[LANES];
            UNROLL
            for (size_t i = 0; i < LANES; i++)
                v[i] = n + i < rows ? _mm512_maskz_loadu_epi32(mask, w[n + i] + p)
                                    : _mm512_setzero_si512();
            transpose(v);
            UNROLL
            for (size_t i = 0; i < LANES; i++)
                if (p + i < k)
                    _mm512_store_si512(panel + (p + i) * WIDTH + n, v[i]);
        }
    }
}

KERNEL void copy_values(uint32_t *panel, const float *const *row, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r++, panel += WIDTH) {
        UNROLL
        for (size_t i = 0; i < WIDTH; i += LANES) {
            const __mmask16 mask = lanes(n > i ? n - i : 0);
            _mm512_store_si512(panel + i, row[r] ? _mm512_maskz_loadu_epi32(mask, row[r] + i)
                                                 : _mm512_setzero_si512());
        }
    }
}

/* vectors: of a panel that are wanted. */
FN void dot_floats_of(const struct cpu_panel_dot *d, const int vectors)
{
    const uint32_t *tile = d->tile, *panel = d->panel, *next = d->next;
    __m512 sum[ROWS][2];
    ask_for_y(d, vectors);
    UNROLL
    for (int r = 0; r < ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < d->words; p++, tile += ROWS, panel += WIDTH, next += ROWS) {
        __m512 w[2];
        UNROLL
        for (int v = 0; v < vectors; v++)
            w[v] = _mm512_load_ps((const void *)(panel + v * LANES));
        __builtin_prefetch(next, 0, 2);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const __m512 x = _mm512_castsi512_ps(_mm512_set1_epi32((int)tile[r]));
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[r][v] = _mm512_fmadd_ps(x, w[v], sum[r][v]);
        }
    }
    put_sums(d, sum, vectors);
}

KERNEL void dot_floats(const struct cpu_panel_dot *d)
{
    if (d->width > LANES)
        dot_floats_of(d, 2);
    else
        dot_floats_of(d, 1);
}

/* ---- pairs of bf16 numbers -------------------------------------------------------------- */

PAIRS_FN uint32_t round_pair(float a, float b)
{
    return (uint32_t)_mm_cvtsi128_si32(
        (__m128i)_mm_cvtne2ps_pbh(_mm_setzero_ps(), _mm_setr_ps(a, b, 0.0f, 0.0f)));
}

/* Pairs 0 .. 15 of a row, in order. */
PAIRS_FN __m512i round_block(const float *x)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + LANES), _mm512_loadu_ps(x));
}

/* 16 pairs of 16 rows. */
PAIRS_FN void pack_square(uint32_t *panel, const uint16_t *w, size_t w_stride)
{
    __m512i v[LANES];
    load_square(v, w, w_stride);
    UNROLL
    for (size_t i = 0; i < LANES; i++)
        _mm512_storeu_si512(panel + i * WIDTH, v[i]);
}

static uint32_t pair_of(const uint16_t *w, size_t p, size_t k)
{
    return w[2 * p] | (2 * p + 1 < k ? (uint32_t)w[2 * p + 1] << 16 : 0);
}

PAIRS_FN void round_rows(uint32_t *tile, const float *x, size_t x_stride, size_t rows)
{
    __m512i v[LANES];
    UNROLL
    for (size_t r = 0; r < LANES; r++)
        v[r] = r < rows ? round_block(x + r * x_stride) : _mm512_setzero_si512();
    transpose(v);
    store_block(tile, v);
}

PAIRS_KERNEL void pack_pairs(uint32_t *tile, const float *x, size_t x_stride, size_t rows, size_t k)
{
    const size_t pairs = (k + 1) / 2;
    size_t p = 0;
    for (; 2 * p + WIDTH <= k; p += LANES)
        round_rows(tile + p * ROWS, x + 2 * p, x_stride, rows);
    for (; p < pairs; p++) {
        for (size_t r = 0; r < ROWS; r++) {
            const float *at = x + r * x_stride + 2 * p;
            tile[p * ROWS + r] = r < rows ? round_pair(at[0], 2 * p + 1 < k ? at[1] : 0.0f) : 0;
        }
    }
}

PAIRS_KERNEL void pair_panel(uint32_t *panel, const uint16_t *w, size_t w_stride, size_t rows,
                             size_t k)
{
    const size_t pairs = (k + 1) / 2, whole = rows / LANES * LANES, blocks = k / WIDTH * LANES;
    for (size_t n = 0; n < whole; n += LANES)
        for (size_t p = 0; p < blocks; p += LANES)
            pack_square(panel + p * WIDTH + n, w + n * w_stride + 2 * p, w_stride);
    for (size_t p = blocks; p < pairs; p++)
        for (size_t n = 0; n < whole; n++)
            panel[p * WIDTH + n] = pair_of(w + n * w_stride, p, k);
    for (size_t p = 0; p < pairs; p++)
        for (size_t n = whole; n < WIDTH; n++)
            panel[p * WIDTH + n] = n < rows ? pair_of(w + n * w_stride, p, k) : 0;
}

PAIRS_KERNEL void pack_keys(uint32_t *panel, const float *const *w, size_t rows, size_t k)
{
    const size_t pairs = (k + 1) / 2;
    for (size_t n = 0; n < WIDTH; n += LANES) {
        size_t p = 0;
        for (; 2 * p + WIDTH <= k; p += LANES) {
            __m512i v[LANES];
            UNROLL
            for (size_t i = 0; i < LANES; i++)
                v[i] = n + i < rows ? round_block(w[n + i] + 2 * p) : _mm512_setzero_si512();
            transpose(v);
            UNROLL
            for (size_t i = 0; i < LANES; i++)
                _mm512_store_si512(panel + (p + i) * WIDTH + n, v[i]);
        }
        for (; p < pairs; p++) {
            for (size_t i = n; i < n + LANES; i++) {
                const float *at = i < rows ? w[i] + 2 * p : NULL;
                panel[p * WIDTH + i] = at ? round_pair(at[0], 2 * p + 1 < k ? at[1] : 0.0f) : 0;
            }
        }
    }
}

/* 16 numbers of a row, those of the mask, each at the low end of 32 bits. */
PAIRS_FN __m512i round_row(const float *x, __mmask16 mask)
{
    if (!x)
        return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x)));
}

PAIRS_KERNEL void pack_values(uint32_t *panel, const float *const *row, size_t rows, size_t n)
{
    for (size_t r = 0; r < rows; r += 2, panel += WIDTH) {
        UNROLL
        for (size_t i = 0; i < WIDTH; i += LANES) {
            const __mmask16 mask = lanes(n > i ? n - i : 0);
            const float *even = row[r], *odd = r + 1 < rows ? row[r + 1] : NULL;
            const __m512i low = round_row(even ? even + i : NULL, mask);
            const __m512i high = round_row(odd ? odd + i : NULL, mask);
            _mm512_store_si512(panel + i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
        }
    }
}

/* vectors: of a panel that are wanted. */
PAIRS_FN void dot_pairs_of(const struct cpu_panel_dot *d, const int vectors)
{
    const uint32_t *tile = d->tile, *panel = d->panel, *next = d->next;
    __m512 sum[ROWS][2];
    ask_for_y(d, vectors);
    UNROLL
    for (int r = 0; r < ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < d->words; p++, tile += ROWS, panel += WIDTH, next += ROWS) {
        __m512bh w[2];
        UNROLL
        for (int v = 0; v < vectors; v++)
            w[v] = (__m512bh)_mm512_load_si512(panel + v * LANES);
        __builtin_prefetch(next, 0, 2);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32((int)tile[r]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], x, w[v]);
        }
    }
    put_sums(d, sum, vectors);
}

PAIRS_KERNEL void dot_pairs(const struct cpu_panel_dot *d)
{
    if (d->width > LANES)
        dot_pairs_of(d, 2);
    else
        dot_pairs_of(d, 1);
}

static const struct cpu_panel_kernels floats = {
    .numbers = 1,
    .pack_tile = pack_floats,
    .pack_panel = widen_panel,
    .pack_keys = turn_keys,
    .pack_values = copy_values,
    .dot = dot_floats,
};
static const struct cpu_panel_kernels pairs = {
    .numbers = 2,
    .pack_tile = pack_pairs,
    .pack_panel = pair_panel,
    .pack_keys = pack_keys,
    .pack_values = pack_values,
    .dot = dot_pairs,
};

const struct cpu_panel_kernels *cpu_panel_kernels_choose(void)
{
    const char *wish = getenv("AIRLOCK_CPU");
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl"))
        return NULL;
    const bool has_pairs = __builtin_cpu_supports("avx512bf16");
    if (!wish || !*wish)
        return has_pairs && __builtin_cpu_is("amd") ? &pairs : &floats;
    return strcmp(wish, "avx512bf16") == 0 && has_pairs ? &pairs
           : strcmp(wish, "avx512") == 0                ? &floats
                                                        : NULL;
}

#else

const struct cpu_panel_kernels *cpu_panel_kernels_choose(void)
{
    return NULL;
}

#endif
