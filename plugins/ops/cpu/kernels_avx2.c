/* kernels_avx2.c - the vector kernels for AVX2 with FMA and F16C: a vector is two registers. */
#include "kernels.h"

#ifdef CPU_HAVE_X86_KERNELS

#include <immintrin.h>
#include <string.h>

#define VEC_TARGET target("avx2,fma,f16c")
#define VEC_FN static inline __attribute__((always_inline, VEC_TARGET))
#define VEC_KERNEL static __attribute__((noinline, VEC_TARGET))

/* 2 x 3 sums of two registers each, of 16 registers. */
#define TILE 3
#define ROWS_FOR(tokens) ((tokens) == 1 ? 4 : 2)
#define GROUPS_FOR(tokens) ((tokens) == 1 ? 2 : 1)
#define KERNELS cpu_kernels_avx2
#define KERNELS_NAME "avx2"

typedef struct {
    __m256 a, b; /* lanes 0 .. 7 and 8 .. 15 */
} vec;

#define VEC_BOTH(expression_a, expression_b) ((vec){ expression_a, expression_b })

VEC_FN vec vec_load(const float *p)
{
    return VEC_BOTH(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}

VEC_FN void vec_store(float *p, vec v)
{
    _mm256_storeu_ps(p, v.a);
    _mm256_storeu_ps(p + 8, v.b);
}

VEC_FN vec vec_set1(float f)
{
    return VEC_BOTH(_mm256_set1_ps(f), _mm256_set1_ps(f));
}

VEC_FN vec vec_add(vec x, vec y)
{
    return VEC_BOTH(_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b));
}

VEC_FN vec vec_sub(vec x, vec y)
{
    return VEC_BOTH(_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b));
}

VEC_FN vec vec_mul(vec x, vec y)
{
    return VEC_BOTH(_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b));
}

VEC_FN vec vec_div(vec x, vec y)
{
    return VEC_BOTH(_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b));
}

VEC_FN vec vec_fma(vec x, vec y, vec z)
{
    return VEC_BOTH(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}

/* A NaN in y is the result; one in x is not. */
VEC_FN vec vec_max(vec x, vec y)
{
    return VEC_BOTH(_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b));
}

VEC_FN vec vec_min(vec x, vec y)
{
    return VEC_BOTH(_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b));
}

VEC_FN vec vec_round(vec x)
{
    return VEC_BOTH(_mm256_round_ps(x.a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC),
                    _mm256_round_ps(x.b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* 2^f for whole numbers -126 .. 127. */
VEC_FN __m256 half_power_of_2(__m256 f)
{
    const __m256i n = _mm256_add_epi32(_mm256_cvtps_epi32(f), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(n, 23));
}

VEC_FN vec vec_power_of_2(vec x)
{
    return VEC_BOTH(half_power_of_2(x.a), half_power_of_2(x.b));
}

VEC_FN __m256i load_bits(const char *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

VEC_FN vec vec_bf16_even(const char *p)
{
    return VEC_BOTH(_mm256_castsi256_ps(_mm256_slli_epi32(load_bits(p), 16)),
                    _mm256_castsi256_ps(_mm256_slli_epi32(load_bits(p + 32), 16)));
}

VEC_FN vec vec_bf16_odd(const char *p)
{
    const __m256i high = _mm256_set1_epi32((int)0xffff0000);
    return VEC_BOTH(_mm256_castsi256_ps(_mm256_and_si256(load_bits(p), high)),
                    _mm256_castsi256_ps(_mm256_and_si256(load_bits(p + 32), high)));
}

VEC_FN vec vec_f16(const char *p)
{
    const __m128i *q = (const __m128i *)(const void *)p;
    return VEC_BOTH(_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1)));
}

typedef struct {
    __m256i a, b;
} vec_bits; /* 16 words */

VEC_FN __m256 half_of_bits(__m256i words)
{
    return _mm256_castsi256_ps(words);
}

VEC_FN vec vec_bf16(const uint16_t *p)
{
    const __m128i *q = (const __m128i *)(const void *)p;
    return VEC_BOTH(
        half_of_bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q)), 16)),
        half_of_bits(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(q + 1)), 16)));
}

VEC_FN vec_bits vec_bits_load(const uint8_t *p)
{
    return (vec_bits){ load_bits((const char *)p), load_bits((const char *)p + 32) };
}

/* Bits 4 i .. 4 i + 3 of each word as a number -8 .. 7. */
VEC_FN vec vec_nibble(vec_bits words, const int i)
{
    return VEC_BOTH(
        _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words.a, 28 - 4 * i), 28)),
        _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(words.b, 28 - 4 * i), 28)));
}

VEC_FN vec vec_int8(const uint8_t *p)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return VEC_BOTH(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)),
                    _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes))));
}

/* E4M3 times 2^-8: its bits are those of an f16 whose exponent is 8 less. */
VEC_FN vec vec_fp8(const uint8_t *p)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
    const __m256i half = _mm256_and_si256(wide, _mm256_set1_epi16((short)0xbfff));
    return VEC_BOTH(_mm256_cvtph_ps(_mm256_castsi256_si128(half)),
                    _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1)));
}

/* The 8 even (odd) of 16 numbers. */
VEC_FN __m256 half_even(__m256 a, __m256 b)
{
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}

VEC_FN __m256 half_odd(__m256 a, __m256 b)
{
    const __m256d pairs = _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xdd));
    return _mm256_castpd_ps(_mm256_permute4x64_pd(pairs, 0xd8));
}

VEC_FN vec vec_even(vec x, vec y)
{
    return VEC_BOTH(half_even(x.a, x.b), half_even(y.a, y.b));
}

VEC_FN vec vec_odd(vec x, vec y)
{
    return VEC_BOTH(half_odd(x.a, x.b), half_odd(y.a, y.b));
}

VEC_FN float vec_sum(vec x)
{
    const __m256 s8 = _mm256_add_ps(x.a, x.b);
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* The sums of four vectors, each as vec_sum gives it. */
VEC_FN void vec_sum4(float sum[4], vec p, vec q, vec r, vec s)
{
    const __m256 p8 = _mm256_add_ps(p.a, p.b), q8 = _mm256_add_ps(q.a, q.b);
    const __m256 r8 = _mm256_add_ps(r.a, r.b), s8 = _mm256_add_ps(s.a, s.b);
    const __m256 pq =
        _mm256_add_ps(_mm256_permute2f128_ps(p8, q8, 0x20), _mm256_permute2f128_ps(p8, q8, 0x31));
    const __m256 rs =
        _mm256_add_ps(_mm256_permute2f128_ps(r8, s8, 0x20), _mm256_permute2f128_ps(r8, s8, 0x31));
    /* p p r r, q q s s */
    const __m256 s2 =
        _mm256_add_ps(_mm256_shuffle_ps(pq, rs, 0x44), _mm256_shuffle_ps(pq, rs, 0xee));
    const __m256 s1 = _mm256_add_ps(s2, _mm256_permute_ps(s2, 0xb1));
    const __m128 pr = _mm256_castps256_ps128(s1), qs = _mm256_extractf128_ps(s1, 1);
    const __m128 pqrs = _mm_shuffle_ps(pr, qs, 0x88); /* p r q s */
    _mm_storeu_ps(sum, _mm_shuffle_ps(pqrs, pqrs, 0xd8));
}

/* Numbers 0 .. n - 1, n < 32, of a block, and zeros after them. */
VEC_FN void vec_load_part(vec *first, vec *second, const char *p, size_t n, enum ops_dtype dtype)
{
    float part[32] = { 0 };
    const char *at = (const char *)part;
    memcpy(part, p, n * (dtype == OPS_F32 ? 4 : 2));
    *first = dtype == OPS_BF16  ? vec_bf16_even(at)
             : dtype == OPS_F16 ? vec_f16(at)
                                : vec_load(part);
    *second = dtype == OPS_BF16  ? vec_bf16_odd(at)
              : dtype == OPS_F16 ? vec_f16(at + 32)
                                 : vec_load(part + 16);
}

VEC_FN float vec_largest(vec x)
{
    const __m256 m8 = _mm256_max_ps(x.a, x.b);
    const __m128 m4 = _mm_max_ps(_mm256_castps256_ps128(m8), _mm256_extractf128_ps(m8, 1));
    const __m128 m2 = _mm_max_ps(m4, _mm_movehl_ps(m4, m4));
    return _mm_cvtss_f32(_mm_max_ss(m2, _mm_movehdup_ps(m2)));
}

#include "kernels_simd.h"

#endif
