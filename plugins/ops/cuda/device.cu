/* device.cu - the CUDA device: opening it, its memory, copies, and what it says of itself. */
#include "device.cuh"

#include "attention.h"
#include "kernel.cuh"
#include "matmul.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void scratch_free(struct cuda_scratch *s)
{
    if (s->data)
        cudaFree(s->data);
    *s = {};
}

void cuda_close(struct ops_device *dev)
{
    if (!dev)
        return;
    cudaSetDevice(dev->ordinal);
    if (dev->stream)
        cudaStreamSynchronize(dev->stream);
    lt_close(dev->lt);
    scratch_free(&dev->parts);
    scratch_free(&dev->low_rank);
    scratch_free(&dev->sampling);
    scratch_free(&dev->spread);
    cuda_staging_free(dev);
    if (dev->own_stream && dev->stream)
        cudaStreamDestroy(dev->stream);
    free(dev);
}

enum {
    LEAST_MAJOR = 8, /* bf16 tensor cores and asynchronous copies */
    FP8_LEAST = 89   /* 10 major + minor: fp8 tensor cores */
};

const char *cuda_missing(int ordinal)
{
    int n = 0;
    const cudaError_t rc = cudaGetDeviceCount(&n);
    if (rc == cudaErrorInsufficientDriver)
        return "this machine has no NVIDIA driver, or one that is too old for this build's CUDA";
    if (rc != cudaSuccess || n < 1)
        return "this machine has no CUDA GPU, or does not let this process see it";
    if (ordinal < 0 || ordinal >= n)
        return "this machine has fewer GPUs: choose a lower number in \"cuda:N\"";
    int major = 0;
    if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, ordinal) != cudaSuccess)
        return "the GPU cannot be used: another process may hold it for itself";
    if (major < LEAST_MAJOR)
        return "the GPU is older than compute capability 8.0 (Ampere), which bf16 needs";
    return lt_missing();
}

static __global__ void __launch_bounds__(WARP_LANES) nothing()
{
    after_previous();
}

/* Whether this GPU has programmatic dependent launch, the driver records it into graphs (12.3), and
 * the kernels were compiled for it: PTX of an older one would be run without their waiting. */
static bool can_launch_early(const cudaDeviceProp *prop)
{
    int driver = 0;
    cudaFuncAttributes kernel;
    return prop->major >= 9 && cudaDriverGetVersion(&driver) == cudaSuccess && driver >= 12030 &&
           CUDART_VERSION >= 12030 && cudaFuncGetAttributes(&kernel, nothing) == cudaSuccess &&
           kernel.ptxVersion >= 90;
}

static const char *open_parts(struct ops_device *dev, const struct ops_open *how)
{
    cudaDeviceProp prop;
    const char *why = NULL;
    if (cudaSetDevice(dev->ordinal) != cudaSuccess ||
        cudaGetDeviceProperties(&prop, dev->ordinal) != cudaSuccess)
        return "the GPU cannot be used: another process may hold it for itself";
    if (attention_prepare() < 0 || attention_full_prepare() < 0)
        return "the GPU does not run this build's kernels: build it with --with-cuda-arch for it";
    dev->early_launch = can_launch_early(&prop);
    if (how->stream) {
        dev->stream = static_cast<cudaStream_t>(how->stream);
    } else {
        if (cudaStreamCreateWithFlags(&dev->stream, cudaStreamNonBlocking) != cudaSuccess)
            return "the GPU has no memory left for a stream";
        dev->own_stream = true;
    }
    if (!how->no_products) {
        dev->lt = lt_open(&why);
        if (!dev->lt)
            return why;
    }
    dev->fp8_activations = how->fp8_activations && 10 * prop.major + prop.minor >= FP8_LEAST;
    const char *fp8 = !how->fp8_activations  ? ""
                      : dev->fp8_activations ? ", activations in fp8"
                                             : ", no activations in fp8 before sm_89";
    size_t left = 0, total = 0;
    cudaMemGetInfo(&left, &total);
    snprintf(dev->description, sizeof dev->description,
             "cuda:%d, %.200s (sm_%d%d), %zu of %zu MiB free, cuBLASLt %zu%s", dev->ordinal,
             prop.name, prop.major, prop.minor, left >> 20, total >> 20,
             dev->lt ? lt_version(dev->lt) : 0, fp8);
    return NULL;
}

struct ops_device *cuda_open(const struct ops_open *how, const char **why)
{
    *why = cuda_missing(how->ordinal);
    if (*why)
        return NULL;
    struct ops_device *dev = static_cast<struct ops_device *>(calloc(1, sizeof *dev));
    if (!dev) {
        *why = "out of memory";
        return NULL;
    }
    dev->ordinal = how->ordinal;
    *why = open_parts(dev, how);
    if (!*why)
        return dev;
    cuda_close(dev);
    return NULL;
}

const char *cuda_describe(struct ops_device *dev)
{
    return dev->description;
}

void *cuda_stream(struct ops_device *dev)
{
    return dev->stream;
}

enum ops_status cuda_memory(struct ops_device *dev, uint64_t *left, uint64_t *total)
{
    size_t l = 0, t = 0;
    if (cudaSetDevice(dev->ordinal) != cudaSuccess || cudaMemGetInfo(&l, &t) != cudaSuccess)
        return OPS_E_DEVICE;
    *left = l;
    *total = t;
    return OPS_OK;
}

void *cuda_alloc(struct ops_device *dev, size_t bytes)
{
    void *p = NULL;
    if (bytes > SIZE_MAX / 2 || cudaSetDevice(dev->ordinal) != cudaSuccess)
        return NULL;
    if (cudaMalloc(&p, bytes ? bytes : 1) != cudaSuccess) {
        cudaGetLastError(); /* out of memory is no error of the next call */
        return NULL;
    }
    if (cudaMemsetAsync(p, 0, bytes ? bytes : 1, dev->stream) != cudaSuccess) {
        cudaFree(p);
        return NULL;
    }
    return p;
}

void cuda_free(struct ops_device *dev, void *p)
{
    if (p && cudaSetDevice(dev->ordinal) == cudaSuccess)
        cudaFree(p); /* waits for what uses it */
}

void *cuda_host_alloc(struct ops_device *dev, size_t bytes)
{
    void *p = NULL;
    if (bytes > SIZE_MAX / 2 || cudaSetDevice(dev->ordinal) != cudaSuccess)
        return NULL;
    if (cudaHostAlloc(&p, bytes ? bytes : 1, cudaHostAllocDefault) != cudaSuccess) {
        cudaGetLastError();
        return NULL;
    }
    return memset(p, 0, bytes);
}

void cuda_host_free(struct ops_device *dev, void *p)
{
    if (p && cudaSetDevice(dev->ordinal) == cudaSuccess)
        cudaFreeHost(p);
}

static enum ops_status copy(struct ops_device *dev, void *to, const void *from, size_t bytes,
                            enum cudaMemcpyKind kind)
{
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc == cudaSuccess && bytes > 0)
        rc = cudaMemcpyAsync(to, from, bytes, kind, dev->stream);
    return cuda_status(rc);
}

enum ops_status cuda_upload(struct ops_device *dev, void *to, const void *host, size_t bytes)
{
    return copy(dev, to, host, bytes, cudaMemcpyHostToDevice);
}

enum ops_status cuda_download(struct ops_device *dev, void *host, const void *from, size_t bytes)
{
    const enum ops_status status = copy(dev, host, from, bytes, cudaMemcpyDeviceToHost);
    return status == OPS_OK ? cuda_sync(dev) : status;
}

enum ops_status cuda_sync(struct ops_device *dev)
{
    const cudaError_t rc = cudaSetDevice(dev->ordinal);
    return cuda_status(rc == cudaSuccess ? cudaStreamSynchronize(dev->stream) : rc);
}

enum ops_status cuda_scratch_reserve(struct ops_device *dev, struct cuda_scratch *s, size_t bytes)
{
    if (bytes <= s->bytes)
        return OPS_OK;
    if (dev->recording)
        return OPS_E_MEMORY;
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc == cudaSuccess)
        rc = cudaStreamSynchronize(dev->stream);
    if (rc != cudaSuccess)
        return cuda_status(rc);
    scratch_free(s);
    dev->moves++;
    rc = cudaMalloc(&s->data, bytes);
    if (rc != cudaSuccess) {
        cudaGetLastError();
        s->data = NULL;
        return cuda_status(rc);
    }
    s->bytes = bytes;
    return OPS_OK;
}
