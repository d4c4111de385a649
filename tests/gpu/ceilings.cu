/* ceilings.cu - measures read and copy bandwidth and the matrix rate of a GPU; see ceilings.h. */
#include "ceilings.h"

#include "ops/cuda/kernel.cuh"

#include <stdlib.h>
#include <time.h>

enum { READ_THREADS = 512, READ_BLOCKS = 4 * 132, UNROLL = 4, ROUNDS = 5 };

/* Reads n x 16 bytes; the sum is written so that nothing of it is left out. */
static __global__ void __launch_bounds__(READ_THREADS)
    read_all(const uint4 *p, size_t n, unsigned *sums)
{
    const size_t step = (size_t)READ_BLOCKS * READ_THREADS;
    const size_t me = (size_t)blockIdx.x * READ_THREADS + threadIdx.x;
    unsigned sum = 0;
    for (size_t i = me; i + (UNROLL - 1) * step < n; i += UNROLL * step) {
        uint4 v[UNROLL];
#pragma unroll
        for (int k = 0; k < UNROLL; k++)
            v[k] = p[i + k * step];
#pragma unroll
        for (int k = 0; k < UNROLL; k++)
            sum += v[k].x ^ v[k].y ^ v[k].z ^ v[k].w;
    }
    sums[me] = sum;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct job {
    const struct ops *ops;
    struct ops_device *dev;
    char *from, *to;
    unsigned *sums;
    size_t bytes;
    struct ops_matrix w;
    size_t side;
};

static int read_once(const struct job *j)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(READ_BLOCKS);
    config.blockDim = dim3(READ_THREADS);
    config.stream = static_cast<cudaStream_t>(j->ops->stream(j->dev));
    return cudaLaunchKernelEx(&config, read_all, reinterpret_cast<const uint4 *>(j->from),
                              j->bytes / 16, j->sums) == cudaSuccess
               ? 0
               : -1;
}

static int copy_once(const struct job *j)
{
    return cudaMemcpyAsync(j->to, j->from, j->bytes, cudaMemcpyDeviceToDevice,
                           static_cast<cudaStream_t>(j->ops->stream(j->dev))) == cudaSuccess
               ? 0
               : -1;
}

static int multiply_once(const struct job *j)
{
    return j->ops->matmul(j->dev, j->to, j->from, &j->w, j->side) == OPS_OK ? 0 : -1;
}

/* The best time of ROUNDS: seconds; less than 0: it failed. */
static double best(int (*once)(const struct job *), const struct job *j)
{
    double least = 1e30;
    for (int i = 0; i <= ROUNDS; i++) { /* the first is for warming up */
        const double begin = now();
        if (once(j) < 0 || j->ops->sync(j->dev) != OPS_OK)
            return -1;
        const double seconds = now() - begin;
        least = i > 0 && seconds < least ? seconds : least;
    }
    return least;
}

/* Random numbers: products of zeros are faster. */
static int fill(struct job *j)
{
    const size_t n = j->side * j->side;
    uint16_t *numbers = static_cast<uint16_t *>(malloc(n * 2));
    if (!numbers)
        return -1;
    uint32_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        numbers[i] = (uint16_t)(0x3c00u | (state >> 16 & 0x807fu));
    }
    const bool ok =
        j->ops->matrix_load(j->dev, &j->w, numbers, OPS_BF16, j->side, j->side) == OPS_OK &&
        j->ops->upload(j->dev, j->from, numbers, n * 2) == OPS_OK && j->ops->sync(j->dev) == OPS_OK;
    free(numbers);
    return ok ? 0 : -1;
}

int ceilings_measure(struct ceilings *out, const struct ops *ops, struct ops_device *dev,
                     size_t bytes, size_t side)
{
    struct job j = {};
    j.ops = ops;
    j.dev = dev;
    j.bytes = bytes > side * side * 2 ? bytes : side * side * 2;
    j.side = side;
    j.from = static_cast<char *>(ops->alloc(dev, j.bytes));
    j.to = static_cast<char *>(ops->alloc(dev, j.bytes));
    j.sums = static_cast<unsigned *>(
        ops->alloc(dev, (size_t)READ_BLOCKS * READ_THREADS * sizeof(unsigned)));
    int rc = j.from && j.to && j.sums ? fill(&j) : -1;
    const double read = rc == 0 ? best(read_once, &j) : -1;
    const double copy = rc == 0 ? best(copy_once, &j) : -1;
    const double multiply = rc == 0 ? best(multiply_once, &j) : -1;
    if (read < 0 || copy < 0 || multiply < 0)
        rc = -1;
    out->read = (double)j.bytes / read;
    out->copy = 2.0 * (double)j.bytes / copy;
    out->matrix = 2.0 * (double)side * (double)side * (double)side / multiply;
    if (j.w.data)
        ops->matrix_free(dev, &j.w);
    ops->free(dev, j.from);
    ops->free(dev, j.to);
    ops->free(dev, j.sums);
    return rc;
}
