/*
 * graph.cu - ops recorded as a CUDA graph: captured from the stream, made executable once, updated
 * when the same kernels are recorded with other parameters, and launched.
 *
 * Capture is of this thread only: others may allocate meanwhile.
 */
#include "device.cuh"

#include <stdlib.h>

struct ops_graph {
    cudaGraphExec_t exec;
    uint64_t moves; /* of the device's scratch memory when it was recorded */
};

void cuda_graph_free(struct ops_device *dev, struct ops_graph *graph)
{
    if (!graph)
        return;
    if (graph->exec && cudaSetDevice(dev->ordinal) == cudaSuccess)
        cudaGraphExecDestroy(graph->exec);
    free(graph);
}

enum ops_status cuda_graph_begin(struct ops_device *dev)
{
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc == cudaSuccess)
        rc = cudaStreamBeginCapture(dev->stream, cudaStreamCaptureModeThreadLocal);
    dev->recording = rc == cudaSuccess;
    return cuda_status(rc);
}

/* True: exec now does what graph says. */
static bool update(cudaGraphExec_t exec, cudaGraph_t graph)
{
    cudaGraphExecUpdateResultInfo info = {};
    if (cudaGraphExecUpdate(exec, graph, &info) == cudaSuccess)
        return true;
    cudaGetLastError(); /* other kernels: no error of the next call */
    return false;
}

static cudaError_t make_executable(struct ops_graph *to, cudaGraph_t graph)
{
    if (to->exec && update(to->exec, graph))
        return cudaSuccess;
    if (to->exec)
        cudaGraphExecDestroy(to->exec);
    to->exec = NULL;
    return cudaGraphInstantiate(&to->exec, graph, 0);
}

enum ops_status cuda_graph_end(struct ops_device *dev, struct ops_graph **graph)
{
    cudaGraph_t recorded = NULL;
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc == cudaSuccess)
        rc = cudaStreamEndCapture(dev->stream, &recorded);
    dev->recording = false;
    struct ops_graph *g = *graph;
    if (rc == cudaSuccess && !g)
        g = static_cast<struct ops_graph *>(calloc(1, sizeof *g));
    if (rc == cudaSuccess)
        rc = g ? make_executable(g, recorded) : cudaErrorMemoryAllocation;
    if (recorded)
        cudaGraphDestroy(recorded);
    if (rc != cudaSuccess) {
        cudaGetLastError(); /* what could not be recorded is enqueued as it is */
        cuda_graph_free(dev, g);
        *graph = NULL;
        return cuda_status(rc);
    }
    g->moves = dev->moves;
    *graph = g;
    return OPS_OK;
}

enum ops_status cuda_graph_run(struct ops_device *dev, struct ops_graph *graph)
{
    const cudaError_t rc = cudaSetDevice(dev->ordinal);
    return cuda_status(rc == cudaSuccess ? cudaGraphLaunch(graph->exec, dev->stream) : rc);
}

bool cuda_graph_current(struct ops_device *dev, const struct ops_graph *graph)
{
    return graph->moves == dev->moves;
}
