/* kernels_avx512.c - the vector kernels for AVX-512: a vector is one register. */
#include "kernels.h"

#ifdef CPU_HAVE_X86_KERNELS

#include <immintrin.h>

#define VEC_TARGET target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#define VEC_FN static inline __attribute__((always_inline, VEC_TARGET))
#define VEC_KERNEL static __attribute__((noinline, VEC_TARGET))

/* 4 x 6 sums, 4 weights and one activation: 29 of 32 registers.  With one or two rows of x 8
 * streams of weights keep memory busier than 4. */
#define TILE 6
#define ROWS_FOR(tokens) ((tokens) <= 2 ? 8 : 4)
#define GROUPS_FOR(tokens) ((tokens) <= 2 ? 4 : 2)
#define KERNELS cpu_kernels_avx512
#define KERNELS_NAME "avx512"

typedef __m512 vec;
typedef __m512i vec_bits; /* 16 words */

VEC_FN vec vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

VEC_FN void vec_store(float *p, vec a)
{
    _mm512_storeu_ps(p, a);
}

VEC_FN vec vec_set1(float a)
{
    return _mm512_set1_ps(a);
}

VEC_FN vec vec_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

VEC_FN vec vec_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

VEC_FN vec vec_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

VEC_FN vec vec_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

VEC_FN vec vec_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* A NaN in b is the result; one in a is not. */
VEC_FN vec vec_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

VEC_FN vec vec_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

VEC_FN vec vec_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^a for whole numbers -126 .. 127. */
VEC_FN vec vec_power_of_2(vec a)
{
    const __m512i n = _mm512_add_epi32(_mm512_cvtps_epi32(a), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(n, 23));
}

VEC_FN vec vec_bf16_even(const char *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16));
}

VEC_FN vec vec_bf16_odd(const char *p)
{
    const __m512i high = _mm512_set1_epi32((int)0xffff0000);
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high));
}

VEC_FN vec vec_f16(const char *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

VEC_FN vec vec_bf16(const uint16_t *p)
{
    const __m256i half = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

VEC_FN vec_bits vec_bits_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

/* Bits 4 i .. 4 i + 3 of each word as a number -8 .. 7: a look-up takes the lowest four. */
VEC_FN vec vec_nibble(vec_bits words, const int i)
{
    const __m512 numbers = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, -8, -7, -6, -5, -4, -3, -2, -1);
    return _mm512_permutexvar_ps(_mm512_srli_epi32(words, (unsigned)(4 * i)), numbers);
}

VEC_FN vec vec_int8(const uint8_t *p)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}

/* E4M3 times 2^-8: its bits are those of an f16 whose exponent is 8 less. */
VEC_FN vec vec_fp8(const uint8_t *p)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)p);
    const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(bytes), 7);
    return _mm512_cvtph_ps(_mm256_and_si256(wide, _mm256_set1_epi16((short)0xbfff)));
}

/* The 16 even (odd) of 32 numbers. */
VEC_FN vec vec_even(vec a, vec b)
{
    const __m512i index =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(a, index, b);
}

VEC_FN vec vec_odd(vec a, vec b)
{
    const __m512i index =
        _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(a, index, b);
}

VEC_FN float vec_sum(vec a)
{
    const __m256 s8 = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    const __m128 s4 = _mm_add_ps(_mm256_castps256_ps128(s8), _mm256_extractf128_ps(s8, 1));
    const __m128 s2 = _mm_add_ps(s4, _mm_movehl_ps(s4, s4));
    return _mm_cvtss_f32(_mm_add_ss(s2, _mm_movehdup_ps(s2)));
}

/* The sums of four vectors, each as vec_sum gives it. */
VEC_FN void vec_sum4(float sum[4], vec a, vec b, vec c, vec d)
{
    const __m512 ab =
        _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    const __m512 cd =
        _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    const __m512 s4 =
        _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const __m512 s2 = _mm512_add_ps(s4, _mm512_permute_ps(s4, 0x4e));
    const __m512 s1 = _mm512_add_ps(s2, _mm512_permute_ps(s2, 0xb1));
    const __m512i each = _mm512_castsi128_si512(_mm_setr_epi32(0, 4, 8, 12));
    _mm_storeu_ps(sum, _mm512_castps512_ps128(_mm512_permutexvar_ps(each, s1)));
}

/* Numbers 0 .. n - 1, n < 32, of a block, and zeros after them. */
VEC_FN void vec_load_part(vec *first, vec *second, const char *p, size_t n, enum ops_dtype dtype)
{
    const __mmask32 mask = (__mmask32)(1u << n) - 1;
    if (dtype == OPS_F32) {
        *first = _mm512_maskz_loadu_ps((__mmask16)mask, p);
        *second =
            _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), (const float *)(const void *)p + 16);
        return;
    }
    const __m512i all = _mm512_maskz_loadu_epi16(mask, p);
    if (dtype == OPS_F16) {
        *first = _mm512_cvtph_ps(_mm512_castsi512_si256(all));
        *second = _mm512_cvtph_ps(_mm512_extracti64x4_epi64(all, 1));
    } else {
        *first = _mm512_castsi512_ps(_mm512_slli_epi32(all, 16));
        *second = _mm512_castsi512_ps(_mm512_and_si512(all, _mm512_set1_epi32((int)0xffff0000)));
    }
}

VEC_FN float vec_largest(vec a)
{
    return _mm512_reduce_max_ps(a);
}

#include "kernels_simd.h"

#endif
