/* runtime.cc - the emulated CUDA runtime: memory from the heap, streams that do everything at
 * once. */
#include "include/cuda_runtime.h"

#include "emu_counts.h"

#include <cstdio>
#include <cstdlib>
#include <atomic>
#include <malloc.h>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

static const size_t DEFAULT_SHARED = 48 * 1024, MOST_SHARED = 99 * 1024; /* sm_86, sm_89 */

/* What a step may not do but once, or at all. */
static thread_local emu_counts counts;

static std::atomic<size_t> device_bytes; /* that cudaMalloc gave */
static std::mutex lock;
static std::map<const void *, size_t> allowed_shared;

/* AIRLOCK_EMU_DEVICES=0: a machine with the library but without a GPU. */
cudaError_t cudaGetDeviceCount(int *n)
{
    const char *devices = getenv("AIRLOCK_EMU_DEVICES");
    *n = devices ? atoi(devices) : 1;
    return *n > 0 ? cudaSuccess : cudaErrorNoDevice;
}

int emu_sm()
{
    const char *sm = getenv("AIRLOCK_EMU_SM");
    return sm ? atoi(sm) : 90;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *prop, int device)
{
    if (device != 0)
        return cudaErrorInvalidDevice;
    *prop = {};
    snprintf(prop->name, sizeof prop->name, "emulated GPU");
    prop->totalGlobalMem = size_t(1) << 30;
    prop->sharedMemPerBlockOptin = MOST_SHARED;
    prop->major = emu_sm() / 10;
    prop->minor = emu_sm() % 10;
    prop->multiProcessorCount = 4;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int device)
{
    *value = emu_sm() / 10;
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaDriverGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudaErrorInvalidDevice;
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    const char *mib = getenv("AIRLOCK_EMU_FREE_MIB");
    *total = size_t(1) << 30;
    const size_t most = mib ? size_t(atoi(mib)) << 20 : *total, used = device_bytes;
    *free_bytes = used < most ? most - used : 0;
    return cudaSuccess;
}

/* ---- streams and graphs ---- */

struct emu_node {
    const void *what;
    std::function<cudaError_t()> work;
};
struct emu_graph {
    std::vector<emu_node> nodes;
};
struct emu_stream {
    bool captured, invalid;
    emu_graph graph;
};
struct emu_event {
    bool recorded;
    float at; /* ms */
};

static thread_local float time_passed;

void emu_count_product(unsigned algorithm)
{
    counts.products[algorithm]++;
}

void emu_pass_time(float ms)
{
    time_passed += ms;
}

/* The stream that this thread captures: meanwhile it must not allocate, free or wait. */
static thread_local cudaStream_t capturing;

struct emu_counts emu_counts_now()
{
    return counts;
}

static cudaError_t forbidden()
{
    if (!capturing)
        return cudaSuccess;
    capturing->invalid = true;
    return cudaErrorStreamCaptureUnsupported;
}

cudaError_t emu_enqueue(cudaStream_t stream, const void *what, std::function<cudaError_t()> work)
{
    if (!stream || !stream->captured) {
        counts.enqueued++;
        return work();
    }
    if (stream->invalid)
        return cudaErrorStreamCaptureInvalidated;
    stream->graph.nodes.push_back({ what, std::move(work) });
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode)
{
    if (stream->captured || capturing || mode != cudaStreamCaptureModeThreadLocal)
        return cudaErrorInvalidValue;
    stream->captured = true;
    stream->invalid = getenv("AIRLOCK_EMU_NO_CAPTURE") != nullptr;
    capturing = stream;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    *graph = nullptr;
    if (!stream->captured || capturing != stream)
        return cudaErrorInvalidValue;
    stream->captured = false;
    capturing = nullptr;
    emu_graph all = std::move(stream->graph);
    stream->graph = {};
    if (stream->invalid)
        return cudaErrorStreamCaptureInvalidated;
    *graph = new emu_graph(std::move(all));
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
    *exec = new emu_graph(*graph);
    return cudaSuccess;
}

/* As the driver: the same kernels in the same order, with any parameters and grids. */
cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo *info)
{
    bool same = exec->nodes.size() == graph->nodes.size();
    for (size_t i = 0; same && i < graph->nodes.size(); i++)
        same = exec->nodes[i].what == graph->nodes[i].what;
    info->result = !same;
    if (!same)
        return cudaErrorGraphExecUpdateFailure;
    *exec = *graph;
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    if (stream->captured)
        return cudaErrorInvalidValue;
    cudaError_t rc = cudaSuccess;
    counts.enqueued++;
    for (size_t i = 0; rc == cudaSuccess && i < exec->nodes.size(); i++)
        rc = exec->nodes[i].work();
    return rc;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    delete exec;
    return cudaSuccess;
}

/* ---- memory ---- */

/* Page-locked memory and the device's are the same here. */
static cudaError_t give(void **p, size_t bytes)
{
    *p = nullptr;
    counts.allocations++;
    if (forbidden() != cudaSuccess)
        return cudaErrorStreamCaptureUnsupported;
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

static cudaError_t take_back(void *p)
{
    counts.allocations++;
    if (forbidden() != cudaSuccess)
        return cudaErrorStreamCaptureUnsupported;
    free(p);
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t bytes)
{
    const cudaError_t rc = give(p, bytes);
    if (rc == cudaSuccess && *p)
        device_bytes += malloc_usable_size(*p);
    return rc;
}

cudaError_t cudaFree(void *p)
{
    const size_t bytes = p ? malloc_usable_size(p) : 0;
    const cudaError_t rc = take_back(p);
    if (rc == cudaSuccess)
        device_bytes -= bytes;
    return rc;
}

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned)
{
    return give(p, bytes);
}

cudaError_t cudaFreeHost(void *p)
{
    return take_back(p);
}

static const char is_memset = 0, is_copy = 0;

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    return emu_enqueue(stream, &is_memset, [=] {
        memset(p, value, bytes);
        return cudaSuccess;
    });
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream)
{
    return emu_enqueue(stream, &is_copy, [=] {
        memmove(to, from, bytes);
        return cudaSuccess;
    });
}

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
    counts.waits++;
    return forbidden();
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

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to)
{
    *ms = to->at - from->at;
    return from->recorded && to->recorded ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    event->recorded = true;
    event->at = time_passed;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t)
{
    counts.waits++;
    return forbidden();
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
    if (c->numAttrs > 1 ||
        (c->numAttrs == 1 && (emu_sm() < 90 || c->attrs->id != 6 ||
                              c->attrs->val.programmaticStreamSerializationAllowed != 1)))
        return cudaErrorInvalidValue;
    if (threads == 0 || threads > 1024 || threads % emu::WARP || c->gridDim.x == 0 ||
        c->gridDim.y == 0 || c->gridDim.z == 0 || c->gridDim.x > 0x7fffffffu ||
        c->gridDim.y > 65535 || c->gridDim.z > 65535)
        return cudaErrorInvalidConfiguration;
    return c->dynamicSmemBytes > (most > DEFAULT_SHARED ? most : DEFAULT_SHARED)
               ? cudaErrorInvalidValue
               : cudaSuccess;
}
