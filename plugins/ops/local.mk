# local.mk - the arithmetic of the engine: the CPU ops, and the place of the CUDA ops.
noinst_LTLIBRARIES += libops.la
libops_la_SOURCES = plugins/ops/ops.h plugins/ops/no_cuda.c \
	plugins/ops/cpu/cpu_ops.c plugins/ops/cpu/cpu_ops.h plugins/ops/cpu/convert.h \
	plugins/ops/cpu/kernels.c plugins/ops/cpu/kernels.h plugins/ops/cpu/kernels_plain.c \
	plugins/ops/cpu/kernels_simd.h plugins/ops/cpu/kernels_avx2.c plugins/ops/cpu/kernels_avx512.c \
	plugins/ops/cpu/thread_pool.c plugins/ops/cpu/thread_pool.h plugins/ops/cpu/usable_cores.c \
	plugins/ops/cpu/parallel.c plugins/ops/cpu/embedding.c plugins/ops/cpu/norm.c \
	plugins/ops/cpu/matmul.c plugins/ops/cpu/lora.c plugins/ops/cpu/rope.c \
	plugins/ops/cpu/attention.c plugins/ops/cpu/swiglu.c plugins/ops/cpu/layernorm.c \
	plugins/ops/cpu/elementwise.c plugins/ops/cpu/attention_full.c \
	plugins/ops/cpu/conv.c plugins/ops/cpu/gates.c
libops_la_CFLAGS = $(AM_CFLAGS) -pthread
libops_la_LIBADD = -lm -lpthread
