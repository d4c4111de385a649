/* device.cuh - the CUDA device behind ops.h: its stream and scratch memory, and launching on it. */
#ifndef AIRLOCK_OPS_CUDA_DEVICE_CUH
#define AIRLOCK_OPS_CUDA_DEVICE_CUH

#include "cuda_ops.h"

#include <cuda_runtime.h>

#include <utility>

struct lt;

/* Device memory that grows with the largest step seen and is then used again. */
struct cuda_scratch {
    void *data; /* 256-byte aligned */
    size_t bytes;
};

enum { CUDA_STAGING_SLOTS = 4 };

/* Page-locked host memory in slots, each with the event after which it may be written again. */
struct cuda_staging {
    char *slot[CUDA_STAGING_SLOTS];
    cudaEvent_t copied[CUDA_STAGING_SLOTS];
    bool busy[CUDA_STAGING_SLOTS];
    size_t next;
};

struct ops_device {
    int ordinal;
    cudaStream_t stream;
    bool own_stream;
    struct lt *lt;                /* cuBLASLt: library, handle, plans; NULL: ops_open.no_products */
    struct cuda_scratch parts;    /* of attention: one result per chunk */
    struct cuda_scratch low_rank; /* A x of LoRA, float32 */
    struct cuda_scratch sampling; /* what its kernels hand on */
    struct cuda_scratch spread;   /* bf16 numbers of a compressed matrix, a piece at a time */
    struct cuda_staging staging;
    bool fp8_activations; /* asked for, and the GPU multiplies fp8 */
    bool early_launch;    /* kernels start before the one before them ended: programmatic dependent
                           * launch */
    bool recording;       /* between graph_begin and graph_end */
    uint64_t moves;       /* times that scratch memory moved: recorded ops use its old place */
    size_t matrix_bytes;  /* held by matrix_load */
    char description[320];
};

static inline enum ops_status cuda_status(cudaError_t rc)
{
    return rc == cudaSuccess                 ? OPS_OK
           : rc == cudaErrorMemoryAllocation ? OPS_E_MEMORY
                                             : OPS_E_DEVICE;
}

/* Holds at least bytes afterwards (contents are lost).  Waits for the device when it grows, which
 * it refuses while ops are recorded. */
enum ops_status cuda_scratch_reserve(struct ops_device *dev, struct cuda_scratch *s, size_t bytes);

/* Bytes to the device through page-locked memory: convert(to, from, n) fills n numbers of a slot,
 * 2 bytes each, from those at host + offset. */
struct cuda_copy {
    void *to;
    const void *host;
    enum ops_dtype dtype;
    size_t numbers;
};
enum ops_status cuda_staged_copy(struct ops_device *dev, const struct cuda_copy *copy);
void cuda_staging_free(struct ops_device *dev);

/* Enqueues a kernel, which begins with after_previous().  The calling thread may be another than
 * the last time, so it chooses the device first. */
template <class... Formal, class... Actual>
enum ops_status cuda_launch(struct ops_device *dev, void (*kernel)(Formal...), dim3 grid,
                            unsigned threads, size_t shared, Actual &&...actual)
{
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc != cudaSuccess)
        return cuda_status(rc);
    cudaLaunchAttribute early = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = dev->stream;
    config.attrs = &early;
    config.numAttrs = dev->early_launch ? 1 : 0;
    return cuda_status(cudaLaunchKernelEx(&config, kernel, std::forward<Actual>(actual)...));
}

static inline bool cuda_aligned16(const void *p)
{
    return reinterpret_cast<uintptr_t>(p) % 16 == 0;
}

/* Grid dimensions are 32 bit; more rows than this are no step of this engine. */
enum { CUDA_MAX_ROWS = 1 << 24 };

#endif
