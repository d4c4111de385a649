/* rounded_avx512.c - products of pairs of bf16 numbers with AVX512_BF16; see rounded.h. */
#include "rounded.h"

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#ifdef CPU_HAVE_X86_KERNELS

#include <immintrin.h>

#define TARGET target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")
#define FN static inline __attribute__((always_inline, TARGET))
#define KERNEL static __attribute__((noinline, TARGET))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum { LANES = 16, ROWS = CPU_ROUNDED_ROWS, WIDTH = CPU_ROUNDED_WIDTH };

FN uint32_t round_pair(float a, float b)
{
    return (uint32_t)_mm_cvtsi128_si32(
        (__m128i)_mm_cvtne2ps_pbh(_mm_setzero_ps(), _mm_setr_ps(a, b, 0.0f, 0.0f)));
}

/* Pairs 0 .. 15 of a row, in order. */
FN __m512i round_block(const float *x)
{
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + LANES), _mm512_loadu_ps(x));
}

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

/* Pairs 0 .. 15 of some rows; a row's lanes go behind one another, and what a store writes beyond
 * its rows the next one overwrites, up to the last. */
FN void pack_block(uint32_t *tile, const float *x, size_t x_stride, size_t rows)
{
    __m512i v[LANES];
    UNROLL
    for (size_t r = 0; r < LANES; r++)
        v[r] = r < rows ? round_block(x + r * x_stride) : _mm512_setzero_si512();
    transpose(v);
    UNROLL
    for (size_t i = 0; i < LANES - 1; i++)
        _mm512_storeu_si512(tile + i * ROWS, v[i]);
    _mm512_mask_storeu_epi32(tile + (LANES - 1) * ROWS, (1u << ROWS) - 1, v[LANES - 1]);
}

KERNEL void pack_tile(uint32_t *tile, const float *x, size_t x_stride, size_t rows, size_t k)
{
    const size_t pairs = (k + 1) / 2;
    size_t p = 0;
    for (; 2 * p + WIDTH <= k; p += LANES)
        pack_block(tile + p * ROWS, x + 2 * p, x_stride, rows);
    for (; p < pairs; p++) {
        for (size_t r = 0; r < ROWS; r++) {
            const float *at = x + r * x_stride + 2 * p;
            tile[p * ROWS + r] = r < rows ? round_pair(at[0], 2 * p + 1 < k ? at[1] : 0.0f) : 0;
        }
    }
}

/* 16 pairs of 16 rows. */
FN void pack_square(uint32_t *panel, const uint16_t *w, size_t w_stride)
{
    __m512i v[LANES];
    UNROLL
    for (size_t i = 0; i < LANES; i++)
        v[i] = _mm512_loadu_si512(w + i * w_stride);
    transpose(v);
    UNROLL
    for (size_t i = 0; i < LANES; i++)
        _mm512_storeu_si512(panel + i * WIDTH, v[i]);
}

static uint32_t pair_of(const uint16_t *w, size_t p, size_t k)
{
    return w[2 * p] | (2 * p + 1 < k ? (uint32_t)w[2 * p + 1] << 16 : 0);
}

KERNEL void pack_panel(uint32_t *panel, const uint16_t *w, size_t w_stride, size_t rows, size_t k)
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

KERNEL void pack_keys(uint32_t *panel, const float *const *w, size_t rows, size_t k)
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
FN __m512i round_row(const float *x, __mmask16 mask)
{
    if (!x)
        return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, x)));
}

/* Of the first n lanes. */
FN __mmask16 lanes(size_t n)
{
    return (__mmask16)(n >= LANES ? 0xffff : (1u << n) - 1);
}

KERNEL void pack_values(uint32_t *panel, const float *const *row, size_t rows, size_t n)
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
FN void dot_vectors(const struct cpu_rounded_dot *d, const int vectors)
{
    const __mmask16 mask[] = { lanes(d->width), lanes(d->width > LANES ? d->width - LANES : 0) };
    const uint32_t *tile = d->tile, *panel = d->panel;
    __m512 sum[ROWS][2];
    UNROLL
    for (int r = 0; r < ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < d->pairs; p++, tile += ROWS, panel += WIDTH) {
        __m512bh w[2];
        UNROLL
        for (int v = 0; v < vectors; v++)
            w[v] = (__m512bh)_mm512_load_si512(panel + v * LANES);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32((int)tile[r]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], x, w[v]);
        }
    }
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

KERNEL void dot(const struct cpu_rounded_dot *d)
{
    if (d->width > LANES)
        dot_vectors(d, 2);
    else
        dot_vectors(d, 1);
}

static const struct cpu_rounded_kernels kernels = { pack_tile, pack_panel, pack_keys, pack_values,
                                                    dot };

const struct cpu_rounded_kernels *cpu_rounded_kernels_choose(void)
{
    const char *wish = getenv("AIRLOCK_CPU");
    if (wish && *wish && strcmp(wish, "avx512bf16") != 0)
        return NULL;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                   __builtin_cpu_supports("avx512bf16")
               ? &kernels
               : NULL;
}

#else

const struct cpu_rounded_kernels *cpu_rounded_kernels_choose(void)
{
    return NULL;
}

#endif
