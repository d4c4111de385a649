/* ops_cuda_emu.cc - all of plugins/ops/cuda as host C++, by way of the headers in
 * tests/cuda_emu/include: the device and what the text model needs. */
#include "ops/cuda/attention.cu"
#include "ops/cuda/cublaslt.cu"
#include "ops/cuda/device.cu"
#include "ops/cuda/gemv.cu"
#include "ops/cuda/graph.cu"
#include "ops/cuda/lora.cu"
#include "ops/cuda/matmul.cu"
#include "ops/cuda/matrix.cu"
#include "ops/cuda/rope.cu"
#include "ops/cuda/rows.cu"
#include "ops/cuda/sampling.cu"
