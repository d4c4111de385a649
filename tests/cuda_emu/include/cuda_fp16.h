/* cuda_fp16.h - __half for a host compiler: the conversion in use. */
#ifndef AIRLOCK_CUDA_EMU_FP16_H
#define AIRLOCK_CUDA_EMU_FP16_H

#include "ops/cpu/convert.h"

struct __half {
    uint16_t bits;
};

inline float __half2float(__half h)
{
    return f16_to_float(h.bits);
}

#endif
