/*
 * build_probe.cu - proves that the build can put a CUDA kernel and cuBLASLt into a plugin with one exported symbol.
 *
 * Built by nvcc through libtool when configure found a toolkit; test_cuda_build.c opens the result.
 */
#include <cublasLt.h>
#include <cuda_runtime.h>

static __global__ void scale(float *y, const float *x, float factor, int n)
{
    int i = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    if (i < n)
        y[i] = factor * x[i];
}

/* y = 2 x for n floats on the current device.  0, or a CUDA error code. */
static int run(float *y, const float *x, int n)
{
    float *dev = nullptr;
    cudaError_t rc = cudaMalloc(&dev, sizeof(float) * (size_t)n);
    if (rc != cudaSuccess)
        return (int)rc;
    rc = cudaMemcpy(dev, x, sizeof(float) * (size_t)n, cudaMemcpyHostToDevice);
    if (rc == cudaSuccess) {
        scale<<<(unsigned)(n + 255) / 256, 256>>>(dev, dev, 2.0f, n);
        rc = cudaGetLastError();
    }
    if (rc == cudaSuccess)
        rc = cudaMemcpy(y, dev, sizeof(float) * (size_t)n, cudaMemcpyDeviceToHost);
    cudaFree(dev);
    return (int)rc;
}

/* Devices found and the version of cuBLASLt; -1 devices: no driver.  *rc: of run(), 0 without a device. */
extern "C" __attribute__((visibility("default"))) void cuda_build_probe(int *devices, size_t *lt_version,
                                                                       int *rc)
{
    *lt_version = cublasLtGetVersion();
    *rc = 0;
    if (cudaGetDeviceCount(devices) != cudaSuccess) {
        *devices = -1;
        return;
    }
    float x[3] = { 1, 2, 3 }, y[3] = { 0, 0, 0 };
    if (*devices > 0)
        *rc = run(y, x, 3);
    if (*devices > 0 && *rc == 0 && (y[0] != 2 || y[2] != 6))
        *rc = -1;
}
