/*
 * quant.h - the compressed weight formats: which numbers the weights of a group become, once for
 * all devices.
 *
 * Each format's numbers are exact in bf16: a compressed matrix is a bf16 matrix that takes fewer
 * bytes, and every product is of exactly those numbers.
 *   int8: groups of QUANT_GROUP columns of a row, q in -127 .. 127 times a power of two, the
 *         smallest that reaches the group's largest number (MXINT8 of the OCP Microscaling
 *         specification 1.0, but for -128).
 *   int4: the same groups, q in -8 .. 7 times a scale of 5 significant bits, either sign.  Of
 *         QUANT_TRIES scales that put the number largest in magnitude at or near -8 the one with
 *         the least sum of squared errors; of equals the first.  A group below 2^-100 is zero.
 *   fp8:  E4M3 (OCP 8-bit floating point 1.0: bias 7, no infinities, largest 448) times a power of
 *         two per row, the smallest with which the row's largest number is at most 448.
 * Rounding is to nearest, ties to even.  A number that is not finite makes all of its group (fp8:
 * row) not a number.  Arithmetic is float32 in the order written here, so devices agree.
 *
 * C, CUDA and its emulation include this file.
 */
#ifndef AIRLOCK_OPS_QUANT_H
#define AIRLOCK_OPS_QUANT_H

#include <stdint.h>
#include <string.h>

enum { QUANT_GROUP = 32, QUANT_TRIES = 4 };

#ifdef __CUDACC__
#define QUANT_FN static __host__ __device__ __forceinline__
#else
#define QUANT_FN static inline
#endif

/* A product that is rounded before anything is added to it. */
#ifdef __CUDA_ARCH__
#define QUANT_MUL(a_, b_) __fmul_rn((a_), (b_))
#else
#define QUANT_MUL(a_, b_) ((a_) * (b_))
#endif

QUANT_FN uint32_t quant_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

QUANT_FN float quant_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

QUANT_FN int quant_finite(float m)
{
    return quant_bits(m) < 0x7f800000u;
}

/* The smallest e from -126 on with m <= top 2^e.  m: finite, not negative; top: 1 .. 2^20. */
QUANT_FN int quant_exponent(float m, float top)
{
    int e = (int)(quant_bits(m) >> 23) - (int)(quant_bits(top) >> 23);
    e = e < -126 ? -126 : e;
    if (m > QUANT_MUL(top, quant_float((uint32_t)(e + 127) << 23)))
        e++;
    return e;
}

/* x, at most 2^21 in magnitude, to the nearest whole number, ties to even. */
QUANT_FN int32_t quant_whole(float x)
{
    return (int32_t)quant_bits(x + 12582912.0f) - 0x4b400000;
}

/* 5 significant bits. */
QUANT_FN float quant_five_bits(float s)
{
    const uint32_t bits = quant_bits(s);
    return quant_float((bits + 0x3ffffu + (bits >> 19 & 1u)) & 0xfff80000u);
}

/* The largest of a group in magnitude; infinity when one of it is not finite. */
QUANT_FN float quant_group_largest(const float w[QUANT_GROUP])
{
    uint32_t m = 0;
    for (int i = 0; i < QUANT_GROUP; i++) {
        const uint32_t a = quant_bits(w[i]) & 0x7fffffffu;
        m = a > m ? a : m;
    }
    return quant_float(m < 0x7f800000u ? m : 0x7f800000u);
}

/* The codes of a group; behind the last number of a row it is filled up with zeros.  The scale. */
QUANT_FN float quant_int8(int8_t code[QUANT_GROUP], const float w[QUANT_GROUP])
{
    const float m = quant_group_largest(w);
    memset(code, 0, QUANT_GROUP);
    if (!quant_finite(m))
        return quant_float(0x7fc00000u);
    if (m == 0.0f)
        return 0.0f;
    const int e = quant_exponent(m, 127.0f);
    const float inverse = quant_float((uint32_t)(127 - e) << 23);
    for (int i = 0; i < QUANT_GROUP; i++)
        code[i] = (int8_t)quant_whole(QUANT_MUL(w[i], inverse));
    return quant_float((uint32_t)(e + 127) << 23);
}

/* No number is more than 9 scales away from 0. */
QUANT_FN int32_t quant_int4_code(float w, float inverse)
{
    const int32_t q = quant_whole(QUANT_MUL(w, inverse)), low = q < -8 ? -8 : q;
    return low > 7 ? 7 : low;
}

/* The sum of squared errors with this scale, in four sums. */
QUANT_FN float quant_int4_error(const float w[QUANT_GROUP], float scale, float inverse)
{
    float sum[4] = { 0.0f, 0.0f, 0.0f, 0.0f }, square[QUANT_GROUP];
    for (int i = 0; i < QUANT_GROUP; i++) {
        const float d = w[i] - QUANT_MUL((float)quant_int4_code(w[i], inverse), scale);
        square[i] = QUANT_MUL(d, d);
    }
    for (int i = 0; i < QUANT_GROUP; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] = sum[k] + square[i + k];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* The first number of magnitude m. */
QUANT_FN float quant_extreme(const float w[QUANT_GROUP], float m)
{
    for (int i = 0; i < QUANT_GROUP; i++) {
        if (w[i] == m || w[i] == -m)
            return w[i];
    }
    return m;
}

QUANT_FN float quant_int4(int8_t code[QUANT_GROUP], const float w[QUANT_GROUP])
{
    const float tries[QUANT_TRIES] = { -1.0f / 8.0f, -1.0f / 8.4f, -1.0f / 7.6f, -1.0f / 7.2f };
    const float m = quant_group_largest(w);
    memset(code, 0, QUANT_GROUP);
    if (!quant_finite(m))
        return quant_float(0x7fc00000u);
    if (m < 0x1p-100f)
        return 0.0f;
    const float extreme = quant_extreme(w, m);
    float best = 0.0f, least = 0.0f;
    for (int t = 0; t < QUANT_TRIES; t++) {
        const float scale = quant_five_bits(QUANT_MUL(extreme, tries[t]));
        const float error = quant_int4_error(w, scale, 1.0f / scale);
        if (t == 0 || error < least) {
            best = scale;
            least = error;
        }
    }
    const float inverse = 1.0f / best;
    for (int i = 0; i < QUANT_GROUP; i++)
        code[i] = (int8_t)quant_int4_code(w[i], inverse);
    return best;
}

/* v to E4M3; what is larger than 448 becomes 448, and so does what is not a number. */
QUANT_FN uint8_t quant_fp8(float v)
{
    const uint32_t bits = quant_bits(v), a = bits & 0x7fffffffu, sign = bits >> 24 & 0x80u;
    if (a >= 0x43e00000u) /* 448 */
        return (uint8_t)(sign | 0x7eu);
    if (a < 0x3c800000u) /* below 2^-6: steps of 2^-9 */
        return (uint8_t)(sign | (uint32_t)quant_whole(QUANT_MUL(quant_float(a), 512.0f)));
    return (uint8_t)(sign | (((a + 0x7ffffu + (a >> 20 & 1u)) >> 20) - 960u));
}

QUANT_FN float quant_fp8_value(uint8_t code)
{
    const uint32_t a = code & 0x7fu, sign = (uint32_t)(code & 0x80u) << 24;
    if (a < 8)
        return quant_float(sign | quant_bits((float)a * 0x1p-9f));
    return quant_float(sign | (a + 960u) << 20);
}

/* A row's scale: m is the largest of what quant_group_largest gives. */
QUANT_FN float quant_fp8_scale(float m)
{
    if (!quant_finite(m))
        return quant_float(0x7fc00000u);
    return quant_float((uint32_t)(quant_exponent(m, 448.0f) + 127) << 23);
}

/* A weight's code under a row's scale (a power of two). */
QUANT_FN uint8_t quant_fp8_code(float w, float scale)
{
    return quant_fp8(QUANT_MUL(w, quant_float((254u << 23) - quant_bits(scale))));
}

#endif
