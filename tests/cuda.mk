# cuda.mk - the seam for CUDA sources: nvcc under libtool, in a module that exports one symbol.
if HAVE_CUDA
check_LTLIBRARIES += tests/cuda/build_probe.la
tests_cuda_build_probe_la_SOURCES = tests/cuda/build_probe.cu
tests_cuda_build_probe_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_builddir)/tests/cuda \
	-no-undefined -export-symbols-regex '^cuda_build_probe$$' -Wl,-z,now -Wl,-z,defs
tests_cuda_build_probe_la_LIBADD = $(CUDA_LIBS) -lstdc++
tests_cuda_build_probe_la_LINK = $(LIBTOOL) $(AM_V_lt) --tag=CC --mode=link $(CC) $(CFLAGS) \
	$(tests_cuda_build_probe_la_LDFLAGS) $(LDFLAGS) -o $@
if HAVE_CHECK
check_PROGRAMS += tests/cuda/test_cuda_build
TESTS += tests/cuda/test_cuda_build
tests_cuda_test_cuda_build_SOURCES = tests/cuda/test_cuda_build.c
tests_cuda_test_cuda_build_CPPFLAGS = $(AM_CPPFLAGS) -DCUDA_BUILD_PROBE='"$(abs_builddir)/tests/cuda/.libs/build_probe.so"'
tests_cuda_test_cuda_build_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_cuda_test_cuda_build_LDADD = $(CHECK_LIBS) -ldl
endif
endif
EXTRA_DIST += tests/cuda/build_probe.cu
