# local.mk - the arithmetic of the engine: the CPU ops, and the CUDA ops or what stands for them.
noinst_LTLIBRARIES += libops.la
libops_la_SOURCES = plugins/ops/ops.h plugins/ops/quant.h \
	plugins/ops/cpu/packed.c plugins/ops/cpu/packed.h plugins/ops/cpu/kernels_packed_simd.h \
	plugins/ops/cpu/cpu_ops.c plugins/ops/cpu/cpu_ops.h plugins/ops/cpu/convert.h \
	plugins/ops/cpu/kernels.c plugins/ops/cpu/kernels.h plugins/ops/cpu/kernels_plain.c \
	plugins/ops/cpu/kernels_simd.h plugins/ops/cpu/kernels_avx2.c plugins/ops/cpu/kernels_avx512.c \
	plugins/ops/cpu/thread_pool.c plugins/ops/cpu/thread_pool.h plugins/ops/cpu/usable_cores.c \
	plugins/ops/cpu/parallel.c plugins/ops/cpu/embedding.c plugins/ops/cpu/norm.c \
	plugins/ops/cpu/matmul.c plugins/ops/cpu/lora.c plugins/ops/cpu/rope.c \
	plugins/ops/cpu/attention.c plugins/ops/cpu/swiglu.c plugins/ops/cpu/layernorm.c \
	plugins/ops/cpu/elementwise.c plugins/ops/cpu/attention_full.c \
	plugins/ops/cpu/conv.c plugins/ops/cpu/gates.c \
	plugins/ops/cpu/panels.h plugins/ops/cpu/panels_avx512.c plugins/ops/cpu/matmul_rounded.c
libops_la_CFLAGS = $(AM_CFLAGS) -pthread
libops_la_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_CPPFLAGS)
libops_la_LIBADD = -lm -lpthread
cuda_ops_headers = plugins/ops/cuda/attention.h plugins/ops/cuda/attention_tile.cuh \
	plugins/ops/cuda/cublaslt_api.h plugins/ops/cuda/cuda_ops.h plugins/ops/cuda/device.cuh \
	plugins/ops/cuda/heads.cuh plugins/ops/cuda/kernel.cuh plugins/ops/cuda/matmul.h \
	plugins/ops/cuda/packed.cuh plugins/ops/cuda/packed.h plugins/ops/cuda/mma.cuh plugins/ops/cuda/row_tile.cuh \
	plugins/ops/cuda/sampling_pieces.cuh
cuda_ops_sources = plugins/ops/cuda/attention.cu plugins/ops/cuda/cublaslt.cu \
	plugins/ops/cuda/device.cu plugins/ops/cuda/gemv.cu plugins/ops/cuda/graph.cu plugins/ops/cuda/lora.cu \
	plugins/ops/cuda/fp8.cu plugins/ops/cuda/matmul.cu plugins/ops/cuda/matrix.cu plugins/ops/cuda/packed.cu \
	plugins/ops/cuda/packed_gemv.cu plugins/ops/cuda/rope.cu \
	plugins/ops/cuda/rows.cu plugins/ops/cuda/sampling.cu plugins/ops/cuda/attention_full.cu \
	plugins/ops/cuda/conv.cu plugins/ops/cuda/elementwise.cu \
	plugins/ops/cuda/layernorm.cu plugins/ops/cuda/transpose.cu
EXTRA_DIST += plugins/ops/no_cuda.c plugins/ops/cuda/cuda_ops.c plugins/ops/cuda/cublaslt_api.c \
	$(cuda_ops_sources) $(cuda_ops_headers)
if HAVE_CUDA
libops_la_SOURCES += plugins/ops/cuda/cuda_ops.c plugins/ops/cuda/cublaslt_api.c $(cuda_ops_sources)
libops_la_LIBADD += $(CUDA_LIBS)
$(cuda_ops_sources:.cu=.lo): $(cuda_ops_headers) plugins/ops/ops.h plugins/ops/quant.h
else
libops_la_SOURCES += plugins/ops/no_cuda.c
endif
