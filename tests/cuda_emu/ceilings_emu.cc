/* ceilings_emu.cc - the GPU benchmark's own kernel as host C++; see ops_cuda_emu.cc. */
#include "gpu/ceilings.cu"
