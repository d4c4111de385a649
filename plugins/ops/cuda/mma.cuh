/*
 * mma.cuh - tensor cores and asynchronous copies: the few PTX instructions that kernels use, and
 * their emulated twins.
 *
 * A warp multiplies [16, 16] by [16, 8].  With g = lane / 4 and t = lane % 4 (PTX ISA, "Matrix
 * fragments for mma.m16n8k16"):
 *   a[0]: row g, columns 2t, 2t+1;  a[1]: row g+8;  a[2], a[3]: the same, columns + 8
 *   b[0]: column g, rows 2t, 2t+1;  b[1]: rows + 8
 *   c[0], c[1]: row g, columns 2t, 2t+1;  c[2], c[3]: row g+8
 */
#ifndef AIRLOCK_OPS_CUDA_MMA_CUH
#define AIRLOCK_OPS_CUDA_MMA_CUH

#include <stdint.h>

#ifdef CUDA_EMU
#include "cuda_emu/mma_emu.h"
#else

/* c += a b, bf16 in, float32 sums. */
__device__ __forceinline__ void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8x8 matrices of bf16 from shared memory: lanes 8 i .. 8 i + 7 give the addresses of matrix
 * i's rows, 16-byte aligned; out[i]: row g, columns 2t, 2t+1 of it. */
__device__ __forceinline__ void ldmatrix_x4(uint32_t out[4], const void *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

/* The same of the transposed matrices: column g, rows 2t, 2t+1. */
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t out[4], const void *row)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(row);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

/* 16 bytes to shared memory, visible to this thread after copy_async_wait; not valid: zeros, and
 * from is not read. */
__device__ __forceinline__ void copy_async_16(void *to, const void *from, bool valid)
{
    const uint32_t at = (uint32_t)__cvta_generic_to_shared(to);
    const uint32_t bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void copy_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most LEFT of the thread's groups are under way. */
template <unsigned LEFT> __device__ __forceinline__ void copy_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

#endif
#endif
