/* convert.h - exact reading and correctly rounded writing of bf16 and f16 numbers, one at a time.
 */
#ifndef AIRLOCK_OPS_CPU_CONVERT_H
#define AIRLOCK_OPS_CPU_CONVERT_H

#include "../ops.h"
#include "../quant.h"

#include <math.h>
#include <string.h>

static inline float bits_to_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t float_to_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float bf16_to_float(uint16_t h)
{
    return bits_to_float((uint32_t)h << 16);
}

/* Round to nearest, ties to even.  NaN stays NaN. */
static inline uint16_t float_to_bf16(float f)
{
    uint32_t bits = float_to_bits(f);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

static inline float f16_to_float(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u;
    const uint32_t fraction = h & 0x3ffu;
    if (exponent == 31)
        return bits_to_float(sign | 0x7f800000u | (fraction ? 0x400000u : 0) | fraction << 13);
    if (exponent == 0) /* zero or subnormal: fraction times 2^-24 */
        return bits_to_float(sign | float_to_bits((float)fraction * 0x1p-24f));
    return bits_to_float(sign | (exponent + 112) << 23 | fraction << 13);
}

/* Round to nearest, ties to even; too large becomes infinity.  NaN stays NaN. */
static inline uint16_t float_to_f16(float f)
{
    const uint32_t bits = float_to_bits(f), a = bits & 0x7fffffffu;
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a >= 0x477ff000u) /* 65520: half way from the largest number to the next */
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) { /* below 2^-14: adding 1/2 rounds at 2^-24, the subnormal step */
        uint32_t sum = float_to_bits(bits_to_float(a) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000u));
    }
    return (uint16_t)(sign | ((a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13));
}

static inline float load_float(const void *data, enum ops_dtype dtype, size_t i)
{
    if (dtype == OPS_F32)
        return ((const float *)data)[i];
    if (dtype == OPS_FP8)
        return quant_fp8_value(((const uint8_t *)data)[i]);
    const uint16_t h = ((const uint16_t *)data)[i];
    return dtype == OPS_BF16 ? bf16_to_float(h) : f16_to_float(h);
}

static inline void store_float(void *data, enum ops_dtype dtype, size_t i, float f)
{
    if (dtype == OPS_F32)
        ((float *)data)[i] = f;
    else if (dtype == OPS_FP8)
        ((uint8_t *)data)[i] = quant_fp8(f);
    else
        ((uint16_t *)data)[i] = dtype == OPS_BF16 ? float_to_bf16(f) : float_to_f16(f);
}

static inline int dtype_known(enum ops_dtype dtype)
{
    return dtype == OPS_F32 || dtype == OPS_BF16 || dtype == OPS_F16;
}

/* Of keys and values. */
static inline int kv_dtype_known(enum ops_dtype dtype)
{
    return dtype_known(dtype) || dtype == OPS_FP8;
}

#endif
