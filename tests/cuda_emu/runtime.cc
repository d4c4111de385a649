/* runtime.cc - the emulated CUDA runtime: memory from the heap, streams that do everything at
 * once. */
#include "include/cuda_runtime.h"

#include <cstdio>
#include <cstdlib>
#include <map>
#include <mutex>

static const size_t DEFAULT_SHARED = 48 * 1024, MOST_SHARED = 99 * 1024; /* sm_86, sm_89 */

static std::mutex lock;
static std::map<const void *, size_t> allowed_shared;

/* AIRLOCK_EMU_DEVICES=0: a machine with the library but without a GPU. */
cudaError_t cudaGetDeviceCount(int *n)
{
    const char *devices = getenv("AIRLOCK_EMU_DEVICES");
    *n = devices ? atoi(devices) : 1;
    return *n > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device)
{
    if (device != 0)
        return cudaErrorInvalidDevice;
    *prop = {};
    snprintf(prop->name, sizeof prop->name, "emulated GPU");
    prop->totalGlobalMem = size_t(1) << 30;
    prop->sharedMemPerBlockOptin = MOST_SHARED;
    prop->major = 8;
    prop->minor = 9;
    prop->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int device)
{
    *value = 8;
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    const char *mib = getenv("AIRLOCK_EMU_FREE_MIB");
    *total = size_t(1) << 30;
    *free_bytes = mib ? size_t(atoi(mib)) << 20 : *total;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    *p = nullptr;
    if (bytes == 0)
        return cudaSuccess;
    if (bytes > size_t(1) << 30 || posix_memalign(p, 256, bytes) != 0)
        return cudaErrorMemoryAllocation;
    /* Of pieces so large that filling them takes a second, both ends. */
    const size_t most = size_t(8) << 20, end = size_t(64) << 10;
    memset(*p, emu::POISON, bytes < most ? bytes : end);
    if (bytes >= most)
        memset(static_cast<char *>(*p) + bytes - end, emu::POISON, end);
    return cudaSuccess;
}

cudaError_t cudaFree(void *p)
{
    free(p);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    return cudaMalloc(p, bytes);
}

cudaError_t cudaFreeHost(void *p)
{
    return cudaFree(p);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
    memset(p, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t)
{
    memmove(to, from, bytes);
    return cudaSuccess;
}

struct emu_stream {
    int unused;
};
struct emu_event {
    bool recorded;
};

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned)
{
    *stream = new emu_stream();
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    *event = new emu_event();
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    event->recorded = true;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    return cudaSuccess;
}

cudaError_t cudaGetLastError()
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    default:
        return "an error of the emulated runtime";
    }
}

cudaError_t emu_allow_shared(const void *kernel, size_t bytes)
{
    std::lock_guard<std::mutex> one(lock);
    if (bytes > MOST_SHARED)
        return cudaErrorInvalidValue;
    allowed_shared[kernel] = bytes;
    return cudaSuccess;
}

cudaError_t emu_check_launch(const void *kernel, const cudaLaunchConfig_t *c)
{
    std::lock_guard<std::mutex> one(lock);
    const auto allowed = allowed_shared.find(kernel);
    const size_t most = allowed == allowed_shared.end() ? DEFAULT_SHARED : allowed->second;
    const unsigned threads = c->blockDim.x * c->blockDim.y * c->blockDim.z;
    if (threads == 0 || threads > 1024 || threads % emu::WARP || c->gridDim.x == 0 ||
        c->gridDim.y == 0 || c->gridDim.z == 0 || c->gridDim.x > 0x7fffffffu ||
        c->gridDim.y > 65535 || c->gridDim.z > 65535)
        return cudaErrorInvalidConfiguration;
    return c->dynamicSmemBytes > (most > DEFAULT_SHARED ? most : DEFAULT_SHARED)
               ? cudaErrorInvalidValue
               : cudaSuccess;
}
