/*
 * packed.cuh - where the numbers of a compressed matrix lie in the device's memory, and what they
 * are.
 *
 * codes: [rows][cols / 32] groups of 32 columns, filled up with zeros: 32 bytes of int8 or fp8, or
 * 4 words of int4 with 8 columns each, 4 bits a column, the first lowest, two's complement.  Behind
 * them are the scales: bf16 [rows][cols / 32]; fp8: float [rows].
 */
#ifndef AIRLOCK_OPS_CUDA_PACKED_CUH
#define AIRLOCK_OPS_CUDA_PACKED_CUH

#include "../ops.h"
#include "../quant.h"
#include "kernel.cuh"

/* A matrix as kernels take it. */
struct packed_matrix {
    const uint8_t *codes; /* 256-byte aligned */
    const void *scales;
    uint32_t rows, cols, groups; /* groups: of a row */
};

static inline packed_matrix packed_of(const struct ops_matrix *m)
{
    packed_matrix p = {};
    p.codes = static_cast<const uint8_t *>(m->data);
    p.rows = (uint32_t)m->rows;
    p.cols = (uint32_t)m->cols;
    p.groups = (uint32_t)((m->cols + QUANT_GROUP - 1) / QUANT_GROUP);
    p.scales = p.codes + (size_t)p.rows * p.groups * (m->dtype == OPS_INT4 ? 16 : 32);
    return p;
}

static inline size_t packed_bytes(enum ops_dtype form, size_t rows, size_t cols)
{
    const size_t groups = (cols + QUANT_GROUP - 1) / QUANT_GROUP;
    return rows * (form == OPS_FP8    ? groups * 32 + sizeof(float)
                   : form == OPS_INT8 ? groups * (32 + sizeof(uint16_t))
                                      : groups * (16 + sizeof(uint16_t)));
}

/* E4M3 to float32: the bits fit into a float32 whose exponent is 120 less. */
__device__ __forceinline__ float fp8_value(uint32_t byte)
{
    const uint32_t bits = (byte & 0x7fu) << 20 | (byte & 0x80u) << 24;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f * 0x1p+120f;
}

__device__ __forceinline__ float bf16_bits(uint16_t half)
{
    return bf16_low(half);
}

/* 8 columns from words of codes, without their scale: one word of int4, two of int8 or fp8. */
template <int FORM> __device__ __forceinline__ void unpack_8(float to[8], const uint32_t *words)
{
#pragma unroll
    for (int i = 0; i < 8; i++) {
        if (FORM == OPS_INT4)
            to[i] = (float)((int32_t)(words[0] << (28 - 4 * i)) >> 28);
        else if (FORM == OPS_INT8)
            to[i] = (float)(int8_t)(words[i / 4] >> (i % 4 * 8));
        else
            to[i] = fp8_value(words[i / 4] >> (i % 4 * 8) & 0xffu);
    }
}

/* Columns c .. c + 7 of a row, c a multiple of 8: exact in bf16. */
template <int FORM>
__device__ __forceinline__ void packed_8(float to[8], const packed_matrix &m, uint32_t row,
                                         uint32_t c)
{
    const size_t group = (size_t)row * m.groups + c / QUANT_GROUP;
    float scale;
    uint32_t words[2];
    if (FORM == OPS_INT4) {
        words[0] = reinterpret_cast<const uint32_t *>(m.codes)[group * 4 + c % QUANT_GROUP / 8];
    } else {
        const uint2 two =
            *reinterpret_cast<const uint2 *>(m.codes + group * QUANT_GROUP + c % QUANT_GROUP);
        words[0] = two.x;
        words[1] = two.y;
    }
    if (FORM == OPS_FP8)
        scale = static_cast<const float *>(m.scales)[row];
    else
        scale = bf16_bits(static_cast<const uint16_t *>(m.scales)[group]);
    unpack_8<FORM>(to, words);
#pragma unroll
    for (int i = 0; i < 8; i++)
        to[i] = to[i] * scale;
}

#endif
