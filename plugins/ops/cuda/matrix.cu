/*
 * matrix.cu - weights to the device as bf16, through slots of page-locked memory: while one is
 * copied, the next is filled.
 *
 * A copy straight from the mapped file would be staged by the driver page by page, several times
 * slower.
 */
#include "../cpu/convert.h"
#include "device.cuh"

enum { SLOT_BYTES = 8 * 1024 * 1024 };

static enum ops_status staging_open(struct cuda_staging *s)
{
    for (int i = 0; i < CUDA_STAGING_SLOTS; i++) {
        void *p = s->slot[i];
        cudaError_t rc = p ? cudaSuccess : cudaHostAlloc(&p, SLOT_BYTES, cudaHostAllocDefault);
        if (rc == cudaSuccess && !s->copied[i])
            rc = cudaEventCreateWithFlags(&s->copied[i], cudaEventDisableTiming);
        s->slot[i] = static_cast<char *>(p);
        if (rc != cudaSuccess)
            return cuda_status(rc);
    }
    return OPS_OK;
}

void cuda_staging_free(struct ops_device *dev)
{
    struct cuda_staging *s = &dev->staging;
    for (int i = 0; i < CUDA_STAGING_SLOTS; i++) {
        if (s->slot[i])
            cudaFreeHost(s->slot[i]);
        if (s->copied[i])
            cudaEventDestroy(s->copied[i]);
    }
    *s = {};
}

static void to_bf16(void *to, const void *host, enum ops_dtype dtype, size_t first, size_t n)
{
    uint16_t *out = static_cast<uint16_t *>(to);
    if (dtype == OPS_BF16) {
        memcpy(out, static_cast<const uint16_t *>(host) + first, n * sizeof *out);
        return;
    }
    for (size_t i = 0; i < n; i++)
        out[i] = float_to_bf16(load_float(host, dtype, first + i));
}

enum ops_status cuda_staged_copy(struct ops_device *dev, const struct cuda_copy *copy)
{
    struct cuda_staging *s = &dev->staging;
    const size_t most = SLOT_BYTES / 2;
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    if (rc != cudaSuccess)
        return cuda_status(rc);
    const enum ops_status status = staging_open(s);
    if (status != OPS_OK)
        return status;
    for (size_t done = 0; rc == cudaSuccess && done < copy->numbers;) {
        const size_t n = copy->numbers - done < most ? copy->numbers - done : most;
        const size_t i = s->next++ % CUDA_STAGING_SLOTS;
        if (s->busy[i])
            rc = cudaEventSynchronize(s->copied[i]);
        if (rc != cudaSuccess)
            break;
        to_bf16(s->slot[i], copy->host, copy->dtype, done, n);
        rc = cudaMemcpyAsync(static_cast<char *>(copy->to) + done * 2, s->slot[i], n * 2,
                             cudaMemcpyHostToDevice, dev->stream);
        if (rc == cudaSuccess)
            rc = cudaEventRecord(s->copied[i], dev->stream);
        s->busy[i] = true;
        done += n;
    }
    return cuda_status(rc);
}

enum ops_status cuda_matrix_load(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                 enum ops_dtype dtype, size_t rows, size_t cols)
{
    if (!host || rows == 0 || cols == 0 || !dtype_known(dtype) || rows > INT32_MAX ||
        cols > INT32_MAX || reinterpret_cast<uintptr_t>(host) % ops_dtype_size(dtype))
        return OPS_E_SHAPE;
    cudaError_t rc = cudaSetDevice(dev->ordinal);
    void *data = NULL;
    if (rc == cudaSuccess)
        rc = cudaMalloc(&data, rows * cols * 2);
    if (rc != cudaSuccess) {
        cudaGetLastError();
        return cuda_status(rc);
    }
    struct cuda_copy copy = {};
    copy.to = data;
    copy.host = host;
    copy.dtype = dtype;
    copy.numbers = rows * cols;
    const enum ops_status status = cuda_staged_copy(dev, &copy);
    if (status != OPS_OK) {
        cudaFree(data);
        return status;
    }
    *m = {};
    m->data = data;
    m->dtype = OPS_BF16;
    m->rows = rows;
    m->cols = cols;
    return OPS_OK;
}

void cuda_matrix_free(struct ops_device *dev, struct ops_matrix *m)
{
    cuda_free(dev, const_cast<void *>(m->data));
    *m = {};
}
