/*
 * cuda_runtime.h - the CUDA language and runtime for a host compiler: what plugins/ops/cuda uses of
 * them.
 *
 * Device memory is the host's: each cudaMalloc a heap block of the exact size, filled with NaN, so
 * that AddressSanitizer sees what is out of bounds and a test what was never written.  A stream
 * does everything at once.
 */
#ifndef AIRLOCK_CUDA_EMU_RUNTIME_H
#define AIRLOCK_CUDA_EMU_RUNTIME_H

#include "../cuda_emu.h"
#include "../launch.h"

#include <cmath>
#include <tuple>
#include <type_traits>

/* ---- the language ---- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __shared__ static_assert(false, "write SHARED(type, name, count)");

#define threadIdx (emu::here->thread)
#define blockIdx (emu::here->block)
/* No blockDim and gridDim: the kernels know their sizes. */

struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

inline void __syncthreads()
{
    emu::block_barrier();
}

inline void emu_nothing(void *const *)
{
}

inline void __syncwarp(unsigned mask = ~0u)
{
    if (mask != ~0u)
        emu::die("__syncwarp with a mask that is not full");
    emu::warp_collective(emu_nothing, nullptr);
}

template <class T> T __shfl_xor_sync(unsigned mask, T value, int other)
{
    return emu::shuffle(mask, value, emu::lane() ^ other);
}

template <class T> T __shfl_sync(unsigned mask, T value, int from)
{
    return emu::shuffle(mask, value, from);
}

template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned by)
{
    const int from = emu::lane() - static_cast<int>(by);
    return emu::shuffle(mask, value, from < 0 ? emu::lane() : from);
}

template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned by)
{
    const int from = emu::lane() + static_cast<int>(by);
    return emu::shuffle(mask, value, from > 31 ? emu::lane() : from);
}

struct emu_ballot_args {
    bool vote;
    unsigned result;
};

inline void emu_ballot(void *const *args)
{
    unsigned all = 0;
    for (unsigned i = 0; i < emu::WARP; i++)
        all |= static_cast<unsigned>(static_cast<emu_ballot_args *>(args[i])->vote) << i;
    for (unsigned i = 0; i < emu::WARP; i++)
        static_cast<emu_ballot_args *>(args[i])->result = all;
}

inline unsigned __ballot_sync(unsigned mask, bool vote)
{
    if (mask != ~0u)
        emu::die("a vote with a mask that is not full");
    emu_ballot_args a = { vote, 0 };
    emu::warp_collective(emu_ballot, &a);
    return a.result;
}

inline bool __any_sync(unsigned mask, bool vote)
{
    return __ballot_sync(mask, vote) != 0;
}

inline bool __all_sync(unsigned mask, bool vote)
{
    return __ballot_sync(mask, vote) == ~0u;
}

inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

/* Between barriers one fiber runs at a time: a plain update is atomic. */
template <class T> T atomicAdd(T *p, T v)
{
    const T old = *p;
    *p = old + v;
    return old;
}

template <class T> T atomicMax(T *p, T v)
{
    const T old = *p;
    *p = old > v ? old : v;
    return old;
}

inline float rsqrtf(float x)
{
    return 1.0f / std::sqrt(x);
}

inline float __fmaf_rn(float a, float b, float c)
{
    return std::fmaf(a, b, c);
}

inline float __fmul_rn(float a, float b)
{
    return a * b;
}

inline float __fadd_rn(float a, float b)
{
    return a + b;
}

inline float __fsub_rn(float a, float b)
{
    return a - b;
}

inline float __fdiv_rn(float a, float b)
{
    return a / b;
}

inline unsigned long long __float2ull_rn(float x)
{
    return static_cast<unsigned long long>(std::nearbyint(x));
}

inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

inline float __expf(float x)
{
    return std::exp(x);
}

inline float __fdividef(float a, float b)
{
    return a / b;
}

template <class T> T __ldg(const T *p)
{
    return *p;
}

/* ---- the runtime ---- */

enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInsufficientDriver = 35,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorGraphExecUpdateFailure = 910
};
typedef enum cudaError cudaError_t;
typedef struct emu_stream *cudaStream_t;
typedef struct emu_event *cudaEvent_t;
typedef struct emu_graph *cudaGraph_t;
typedef struct emu_graph *cudaGraphExec_t;
enum cudaStreamCaptureMode { cudaStreamCaptureModeGlobal, cudaStreamCaptureModeThreadLocal };
typedef struct {
    int result;
} cudaGraphExecUpdateResultInfo;

enum cudaMemcpyKind {
    cudaMemcpyHostToHost,
    cudaMemcpyHostToDevice,
    cudaMemcpyDeviceToHost,
    cudaMemcpyDeviceToDevice,
    cudaMemcpyDefault
};
enum {
    cudaStreamNonBlocking = 1,
    cudaEventDefault = 0,
    cudaEventDisableTiming = 2,
    cudaHostAllocDefault = 0
};
enum cudaDeviceAttr { cudaDevAttrComputeCapabilityMajor = 75 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount, l2CacheSize;
};

enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization = 6 };
typedef struct {
    cudaLaunchAttributeID id;
    struct {
        int programmaticStreamSerializationAllowed;
    } val;
} cudaLaunchAttribute;

struct cudaFuncAttributes {
    int ptxVersion;
};

#define CUDART_VERSION 13000

typedef struct {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    cudaStream_t stream;
    cudaLaunchAttribute *attrs;
    unsigned numAttrs;
} cudaLaunchConfig_t;

cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total);
cudaError_t cudaMalloc(void **p, size_t bytes);
cudaError_t cudaFree(void *p);
cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to);
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph,
                                 unsigned long long flags);
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *info);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGetLastError();
const char *cudaGetErrorString(cudaError_t error);

/* Of the emulation: may this kernel be launched so?  Remembers what cudaFuncSetAttribute allowed.
 */
cudaError_t emu_allow_shared(const void *kernel, size_t bytes);
cudaError_t emu_check_launch(const void *kernel, const cudaLaunchConfig_t *config);
/* What GPU this is: 10 major + minor; AIRLOCK_EMU_SM, or 90. */
int emu_sm();
/* The time that work pretends to take, for events to tell. */
void emu_pass_time(float ms);
/* A product of cuBLASLt by this algorithm, for emu_counts. */
void emu_count_product(unsigned algorithm);
/* Does the work, or keeps it while the stream is captured; what: the kernel, or which other work,
 * for cudaGraphExecUpdate to compare. */
cudaError_t emu_enqueue(cudaStream_t stream, const void *what, std::function<cudaError_t()> work);

template <class F> cudaError_t cudaFuncSetAttribute(F *kernel, cudaFuncAttribute, int value)
{
    return emu_allow_shared(reinterpret_cast<const void *>(kernel), static_cast<size_t>(value));
}

template <class F> cudaError_t cudaFuncGetAttributes(cudaFuncAttributes *out, F *)
{
    out->ptxVersion = emu_sm();
    return cudaSuccess;
}

/* The arguments are copied, as into a launch's parameters. */
template <class... Formal, class... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(Formal...),
                               Actual &&...actual)
{
    const cudaError_t rc = emu_check_launch(reinterpret_cast<const void *>(kernel), config);
    if (rc != cudaSuccess)
        return rc;
    const std::tuple<std::decay_t<Formal>...> args(std::forward<Actual>(actual)...);
    const cudaLaunchConfig_t c = *config;
    const bool early = c.numAttrs > 0; /* checked: the one attribute that is known */
    return emu_enqueue(c.stream, reinterpret_cast<const void *>(kernel), [c, early, kernel, args] {
        emu::run_grid(c.gridDim, c.blockDim, c.dynamicSmemBytes, early,
                      [&] { std::apply(kernel, args); });
        return cudaSuccess;
    });
}

#endif
