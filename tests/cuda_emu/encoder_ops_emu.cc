/* encoder_ops_emu.cc - the part of plugins/ops/cuda that the encoders of pictures and sound need, as
 * host C++; see ops_cuda_emu.cc. */
#include "ops/cuda/attention_full.cu"
#include "ops/cuda/conv.cu"
#include "ops/cuda/elementwise.cu"
#include "ops/cuda/layernorm.cu"
#include "ops/cuda/transpose.cu"
