/* kernel.cuh - what all kernels use: shared memory, bf16 numbers in groups, sums over a warp. */
#ifndef AIRLOCK_OPS_CUDA_KERNEL_CUH
#define AIRLOCK_OPS_CUDA_KERNEL_CUH

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <stdint.h>
#include <string.h>

/* The emulation of tests/cuda_emu poisons shared memory before a block begins. */
#ifdef CUDA_EMU
#define SHARED(type_, name_, count_)                                                               \
    static emu::shared_array<type_, count_> name_##_array;                                         \
    type_ *const name_ = name_##_array.get()
#define DYNAMIC_SHARED(name_)                                                                      \
    unsigned char *const name_ = static_cast<unsigned char *>(emu::dynamic_shared())
#else
#define SHARED(type_, name_, count_) __shared__ __align__(16) type_ name_[count_]
#define DYNAMIC_SHARED(name_) extern __shared__ __align__(16) unsigned char name_[]
#endif

/*
 * Every kernel's first statement: waits until the kernel before it in the stream has ended and what
 * it wrote can be read.  A kernel may be started before that (cuda_launch), so that the GPU has its
 * blocks in place by then.  The one after it may be started from here on, not earlier: else blocks
 * that wait would fill the GPU.
 */
__device__ __forceinline__ void after_previous()
{
#ifdef CUDA_EMU
    emu::wait_for_previous();
#elif defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;\n\tgriddepcontrol.launch_dependents;" ::: "memory");
#endif
}

typedef __nv_bfloat16 bf16;

enum { WARP_LANES = 32 };

__device__ __forceinline__ float bf16_low(uint32_t two)
{
    two <<= 16;
    float f;
    memcpy(&f, &two, sizeof f);
    return f;
}

__device__ __forceinline__ float bf16_high(uint32_t two)
{
    two &= 0xffff0000u;
    float f;
    memcpy(&f, &two, sizeof f);
    return f;
}

__device__ __forceinline__ uint32_t bf16_pack(float low, float high)
{
    const bf16 pair[2] = { __float2bfloat16_rn(low), __float2bfloat16_rn(high) };
    uint32_t two;
    memcpy(&two, pair, sizeof two);
    return two;
}

/* WIDTH numbers at p as float32; 8 of them are one aligned load. */
template <int WIDTH> __device__ __forceinline__ void load_bf16(float *to, const bf16 *p)
{
    if (WIDTH == 8) {
        const uint4 v = *reinterpret_cast<const uint4 *>(p);
        const uint32_t two[4] = { v.x, v.y, v.z, v.w };
#pragma unroll
        for (int i = 0; i < 4; i++) {
            to[2 * i % WIDTH] = bf16_low(two[i]);
            to[(2 * i + 1) % WIDTH] = bf16_high(two[i]);
        }
    } else {
#pragma unroll
        for (int i = 0; i < WIDTH; i++)
            to[i] = __bfloat162float(p[i]);
    }
}

template <int WIDTH> __device__ __forceinline__ void store_bf16(bf16 *p, const float *from)
{
    if (WIDTH == 8) {
        uint4 v;
        v.x = bf16_pack(from[0], from[1 % WIDTH]);
        v.y = bf16_pack(from[2 % WIDTH], from[3 % WIDTH]);
        v.z = bf16_pack(from[4 % WIDTH], from[5 % WIDTH]);
        v.w = bf16_pack(from[6 % WIDTH], from[7 % WIDTH]);
        *reinterpret_cast<uint4 *>(p) = v;
    } else {
#pragma unroll
        for (int i = 0; i < WIDTH; i++)
            p[i] = __float2bfloat16_rn(from[i]);
    }
}

/* z / (1 + e^-z), also called swish. */
__device__ __forceinline__ float silu(float z)
{
    return z / (1.0f + expf(-z));
}

/* The sum over the lanes of a warp, in every lane and in the same order everywhere. */
__device__ __forceinline__ float warp_sum(float v)
{
#pragma unroll
    for (int other = 16; other > 0; other /= 2)
        v += __shfl_xor_sync(~0u, v, other);
    return v;
}

#endif
