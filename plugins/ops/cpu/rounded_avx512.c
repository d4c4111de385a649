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

KERNEL void pack_tile(uint32_t *tile, const float *x, size_t x_stride, size_t rows, size_t k)
{
    const size_t pairs = (k + 1) / 2;
    for (size_t r = 0; r < ROWS; r++) {
        const float *row = x + r * x_stride;
        size_t p = 0;
        for (; r < rows && 2 * p + WIDTH <= k; p += LANES) {
            uint32_t block[LANES];
            _mm512_storeu_si512(block, round_block(row + 2 * p));
            UNROLL
            for (size_t i = 0; i < LANES; i++)
                tile[(p + i) * ROWS + r] = block[i];
        }
        for (; p < pairs; p++)
            tile[p * ROWS + r] =
                r < rows ? round_pair(row[2 * p], 2 * p + 1 < k ? row[2 * p + 1] : 0.0f) : 0;
    }
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

KERNEL void dot(const struct cpu_rounded_dot *d)
{
    const __mmask16 low = (__mmask16)(d->width >= LANES ? 0xffff : (1u << d->width) - 1);
    const __mmask16 high = (__mmask16)(d->width == WIDTH  ? 0xffff
                                       : d->width > LANES ? (1u << (d->width - LANES)) - 1
                                                          : 0);
    const uint32_t *tile = d->tile, *panel = d->panel;
    __m512 sum[ROWS][2];
    UNROLL
    for (int r = 0; r < ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (size_t p = 0; p < d->pairs; p++, tile += ROWS, panel += WIDTH) {
        const __m512bh w0 = (__m512bh)_mm512_load_si512(panel);
        const __m512bh w1 = (__m512bh)_mm512_load_si512(panel + LANES);
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            const __m512bh x = (__m512bh)_mm512_set1_epi32((int)tile[r]);
            sum[r][0] = _mm512_dpbf16_ps(sum[r][0], x, w0);
            sum[r][1] = _mm512_dpbf16_ps(sum[r][1], x, w1);
        }
    }
    UNROLL
    for (size_t r = 0; r < ROWS; r++) {
        float *y = d->y + r * d->y_stride;
        if (r >= d->rows)
            break;
        if (d->add) {
            sum[r][0] = _mm512_add_ps(_mm512_maskz_loadu_ps(low, y), sum[r][0]);
            sum[r][1] = _mm512_add_ps(_mm512_maskz_loadu_ps(high, y + LANES), sum[r][1]);
        }
        _mm512_mask_storeu_ps(y, low, sum[r][0]);
        _mm512_mask_storeu_ps(y + LANES, high, sum[r][1]);
    }
}

static const struct cpu_rounded_kernels kernels = { pack_tile, pack_panel, dot };

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
