/* cuda_bf16.h - __nv_bfloat16 for a host compiler: the conversions in use, correctly rounded. */
#ifndef AIRLOCK_CUDA_EMU_BF16_H
#define AIRLOCK_CUDA_EMU_BF16_H

#include "ops/cpu/convert.h"

struct __nv_bfloat16 {
    uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 h)
{
    return bf16_to_float(h.bits);
}

inline __nv_bfloat16 __float2bfloat16_rn(float f)
{
    return { float_to_bf16(f) };
}

#endif
