/*
 * mma_emu.h - the emulated twins of plugins/ops/cuda/mma.cuh: fragments laid out over the lanes as
 * the PTX manual has them (m16n8k16, ldmatrix).
 */
#ifndef AIRLOCK_CUDA_EMU_MMA_H
#define AIRLOCK_CUDA_EMU_MMA_H

#include "cuda_emu.h"
#include "ops/cpu/convert.h"

namespace emu
{

struct mma_args {
    float *c;
    const uint32_t *a, *b;
};

/* Half h (0: low) of a register of two bf16. */
inline float half_of(uint32_t reg, int h)
{
    return bits_to_float(h ? reg & 0xffff0000u : reg << 16);
}

/* C[16, 8] += A[16, 16] B[16, 8], k from low to high. */
inline void mma_all(void *const *args)
{
    float a[16][16], b[16][8];
    for (int l = 0; l < WARP; l++) {
        const mma_args *m = static_cast<mma_args *>(args[l]);
        const int g = l / 4, t = l % 4;
        for (int h = 0; h < 2; h++) {
            a[g][2 * t + h] = half_of(m->a[0], h);
            a[g + 8][2 * t + h] = half_of(m->a[1], h);
            a[g][2 * t + 8 + h] = half_of(m->a[2], h);
            a[g + 8][2 * t + 8 + h] = half_of(m->a[3], h);
            b[2 * t + h][g] = half_of(m->b[0], h);
            b[2 * t + 8 + h][g] = half_of(m->b[1], h);
        }
    }
    for (int l = 0; l < WARP; l++) {
        float *c = static_cast<mma_args *>(args[l])->c;
        const int g = l / 4, t = l % 4;
        for (int i = 0; i < 4; i++) {
            const int row = g + i / 2 * 8, col = 2 * t + i % 2;
            for (int k = 0; k < 16; k++)
                c[i] += a[row][k] * b[k][col];
        }
    }
}

struct ldmatrix_args {
    uint32_t *out;
    const void *row;
    bool trans;
};

/* Four 8x8 matrices: lanes 8 i .. 8 i + 7 hold the addresses of the rows of matrix i. */
inline void ldmatrix_all(void *const *args)
{
    for (int i = 0; i < 4; i++) {
        uint16_t m[8][8];
        for (int r = 0; r < 8; r++) {
            const void *row = static_cast<ldmatrix_args *>(args[8 * i + r])->row;
            if (reinterpret_cast<uintptr_t>(row) % 16)
                die("ldmatrix from an address that is not a multiple of 16");
            memcpy(m[r], row, 16);
        }
        for (int l = 0; l < WARP; l++) {
            ldmatrix_args *to = static_cast<ldmatrix_args *>(args[l]);
            const int g = l / 4, t = l % 4;
            to->out[i] = to->trans ? m[2 * t][g] | uint32_t(m[2 * t + 1][g]) << 16
                                   : m[g][2 * t] | uint32_t(m[g][2 * t + 1]) << 16;
        }
    }
}

} // namespace emu

inline void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    emu::mma_args m = { c, a, b };
    emu::warp_collective(emu::mma_all, &m);
}

inline void ldmatrix_x4(uint32_t out[4], const void *row)
{
    emu::ldmatrix_args m = { out, row, false };
    emu::warp_collective(emu::ldmatrix_all, &m);
}

inline void ldmatrix_x4_trans(uint32_t out[4], const void *row)
{
    emu::ldmatrix_args m = { out, row, true };
    emu::warp_collective(emu::ldmatrix_all, &m);
}

/* 16 bytes; valid false: zeros, and from is not read. */
inline void copy_async_16(void *to, const void *from, bool valid)
{
    if (valid)
        emu::copy_async(to, from, 16);
    else
        emu::copy_async_zero(to, 16);
}

inline void copy_async_commit()
{
    emu::copy_async_commit();
}

template <unsigned LEFT> void copy_async_wait()
{
    emu::copy_async_wait(LEFT);
}

#endif
