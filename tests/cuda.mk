# cuda.mk - the CUDA ops without a GPU: compiled as host C++ by way of tests/cuda_emu and run under AddressSanitizer.
emu_headers = tests/cuda_emu/cuda_emu.h tests/cuda_emu/emu_counts.h tests/cuda_emu/fiber.h tests/cuda_emu/launch.h tests/cuda_emu/mma_emu.h \
	tests/cuda_emu/include/cuda_runtime.h tests/cuda_emu/include/cuda_bf16.h \
	tests/cuda_emu/include/cuda_fp16.h tests/cuda_emu/include/cublasLt.h
EXTRA_DIST += tests/cuda_emu/mutate.sh tests/cuda/spills.sh tests/oracle/logits_bf16.py $(emu_headers) tests/ops_cuda_face.c tests/ops_cuda_face.h
# What a bare machine with a GPU builds and runs: tests/gpu/pack collects it.
EXTRA_DIST += tests/gpu/pack tests/gpu/build tests/gpu/run tests/gpu/compare_hf.py tests/gpu/peer_hf.py \
	tests/gpu/ceilings.h tests/gpu/ceilings.cu tests/gpu/bench_gpu.c tests/gpu/logits_of.c tests/gpu/test_gpu_plugins.c
check_LTLIBRARIES += libops_cuda_emu.la
libops_cuda_emu_la_SOURCES = tests/cuda_emu/fiber.cc tests/cuda_emu/scheduler.cc tests/cuda_emu/runtime.cc \
	tests/cuda_emu/cublaslt_emu.cc tests/cuda_emu/ops_cuda_emu.cc tests/cuda_emu/encoder_ops_emu.cc plugins/ops/cuda/cuda_ops.c
libops_cuda_emu_la_CPPFLAGS = -DCUDA_EMU -I$(top_srcdir)/tests/cuda_emu/include -I$(top_srcdir)/tests $(AM_CPPFLAGS)
libops_cuda_emu_la_CXXFLAGS = -std=c++17 -Wall -Wextra -Wno-unknown-pragmas -Wno-pass-failed $(EMU_WERROR) -g -fno-omit-frame-pointer \
	-fvisibility=hidden -ffp-contract=off $(EMU_SANITIZE)
libops_cuda_emu_la_CFLAGS = $(AM_CFLAGS) $(EMU_SANITIZE)
# The real plugins, with the emulated ops in the place of the real ones: named as plain archives, from which
# the linker takes what is still missing.
emu_module_ldflags = -module -avoid-version -shared -rpath $(abs_builddir)/tests/cuda_emu \
	-Wl,-z,nodelete -Wl,-u,llm_plugin_query_1 $(EMU_SANITIZE)
check_LTLIBRARIES += tests/cuda_emu/phi4-mini.la tests/cuda_emu/lora.la
tests_cuda_emu_phi4_mini_la_SOURCES = plugins/phi4-mini/plugin.c
tests_cuda_emu_phi4_mini_la_LIBADD = libops_cuda_emu.la .libs/libphi4.a $(JSONC_LIBS) $(PCRE2_LIBS) -lstdc++ -lm -lpthread
EXTRA_tests_cuda_emu_phi4_mini_la_DEPENDENCIES = libphi4.la
tests_cuda_emu_phi4_mini_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(EMU_SANITIZE)
tests_cuda_emu_phi4_mini_la_LDFLAGS = $(emu_module_ldflags)
tests_cuda_emu_lora_la_SOURCES =
tests_cuda_emu_lora_la_LIBADD = libops_cuda_emu.la .libs/liblora.a $(JSONC_LIBS) $(PCRE2_LIBS) -lstdc++ -lm -lpthread
EXTRA_tests_cuda_emu_lora_la_DEPENDENCIES = liblora.la
tests_cuda_emu_lora_la_LDFLAGS = $(emu_module_ldflags)
if HAVE_MEDIA
check_LTLIBRARIES += tests/cuda_emu/phi4-multimodal.la
tests_cuda_emu_phi4_multimodal_la_SOURCES = plugins/phi4-multimodal/plugin.c plugins/phi4-multimodal/media.c \
	plugins/phi4-multimodal/media_encode.c plugins/phi4-multimodal/builtin_adapters.c
tests_cuda_emu_phi4_multimodal_la_LIBADD = libops_cuda_emu.la .libs/libaudioclips.a .libs/libvision.a \
	.libs/libspeech.a .libs/libmediaprompt.a .libs/libmediaclient.a .libs/libpeft.a .libs/libphi4.a $(JSONC_LIBS) $(PCRE2_LIBS) \
	$(LIBMD_LIBS) -lstdc++ -lm -lpthread
EXTRA_tests_cuda_emu_phi4_multimodal_la_DEPENDENCIES = libaudioclips.la libvision.la libspeech.la libmediaprompt.la \
	libmediaclient.la libpeft.la libphi4.la
tests_cuda_emu_phi4_multimodal_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(EMU_SANITIZE) -pthread
tests_cuda_emu_phi4_multimodal_la_LDFLAGS = $(emu_module_ldflags)
endif
if HAVE_CHECK
emu_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS) $(EMU_SANITIZE) -pthread
emu_ldflags = $(AM_LDFLAGS) $(EMU_SANITIZE)
emu_ldadd = libops_cuda_emu.la $(CHECK_LIBS) -lstdc++ -lm -lpthread
ops_cuda_cppflags = $(AM_CPPFLAGS) -DOPS_UNDER_TEST=ops_cuda_face -I$(top_srcdir)/tests
ops_cuda_fixture = $(ops_fixture) tests/ops_cuda_face.c tests/ops_cuda_face.h
EMU_TESTS = tests/cuda_emu/test_ops_matmul tests/cuda_emu/test_ops_attention tests/cuda_emu/test_ops_rows \
	tests/cuda_emu/test_ops_invariance tests/cuda_emu/test_ops_sample tests/cuda_emu/test_decode_graphs \
	tests/cuda_emu/test_residents tests/cuda_emu/test_tune tests/cuda_emu/test_ops_encoder tests/cuda_emu/test_ops_full \
	tests/cuda_emu/test_ops_conv tests/cuda_emu/test_ops_quant tests/cuda_emu/test_ops_fp8 \
	tests/cuda_emu/test_quality tests/cuda_emu/test_logits tests/cuda_emu/test_phi4_mini
check_PROGRAMS += $(EMU_TESTS)
TESTS += $(EMU_TESTS)
tests_cuda_emu_test_ops_matmul_SOURCES = tests/test_ops_matmul.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_matmul_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_matmul_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_matmul_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_matmul_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_attention_SOURCES = tests/test_ops_attention.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_attention_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_attention_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_attention_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_attention_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_rows_SOURCES = tests/test_ops_rows.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_rows_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_rows_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_rows_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_rows_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_invariance_SOURCES = tests/test_ops_invariance.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_invariance_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_invariance_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_invariance_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_invariance_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_sample_SOURCES = tests/test_ops_sample.c plugins/engine/sampler.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_sample_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_sample_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_sample_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_sample_LDADD = $(emu_ldadd)
tests_cuda_emu_test_decode_graphs_SOURCES = tests/test_decode_graphs.c
tests_cuda_emu_test_decode_graphs_CPPFLAGS = $(AM_CPPFLAGS) -DFORWARD_DEVICE='"cuda"' -DCOUNTED_BY_EMULATION
tests_cuda_emu_test_decode_graphs_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_decode_graphs_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_decode_graphs_LDADD = libops_cuda_emu.la libphi4.la $(CHECK_LIBS) -lstdc++ -lm -lpthread
tests_cuda_emu_test_residents_SOURCES = tests/test_residents.c
tests_cuda_emu_test_residents_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_residents_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_residents_LDADD = libops_cuda_emu.la libphi4.la $(CHECK_LIBS) -lstdc++ -lm -lpthread
tests_cuda_emu_test_tune_SOURCES = tests/test_tune.c
tests_cuda_emu_test_tune_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_cuda_emu_test_tune_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_tune_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_tune_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_encoder_SOURCES = tests/test_ops_encoder.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_encoder_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_encoder_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_encoder_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_encoder_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_full_SOURCES = tests/test_ops_full.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_full_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_full_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_full_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_full_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_conv_SOURCES = tests/test_ops_conv.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_conv_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_conv_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_conv_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_conv_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_quant_SOURCES = tests/test_ops_quant.c $(ops_cuda_fixture)
tests_cuda_emu_test_ops_quant_CPPFLAGS = $(ops_cuda_cppflags)
tests_cuda_emu_test_ops_quant_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_quant_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_ops_quant_LDADD = $(emu_ldadd)
tests_cuda_emu_test_ops_fp8_SOURCES = tests/test_ops_fp8.c
tests_cuda_emu_test_ops_fp8_CPPFLAGS = $(AM_CPPFLAGS) -DCOUNTED_BY_EMULATION
tests_cuda_emu_test_ops_fp8_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_ops_fp8_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_ops_fp8_LDADD = $(emu_ldadd)
tests_cuda_emu_test_quality_SOURCES = tests/test_quality.c
tests_cuda_emu_test_quality_CPPFLAGS = $(AM_CPPFLAGS) -DFORWARD_DEVICE='"cuda"'
tests_cuda_emu_test_quality_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_quality_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_quality_LDADD = libops_cuda_emu.la libphi4.la $(JSONC_LIBS) $(CHECK_LIBS) -lstdc++ -lm -lpthread
tests_cuda_emu_test_logits_SOURCES = tests/test_logits.c
tests_cuda_emu_test_logits_CPPFLAGS = $(AM_CPPFLAGS) -DFORWARD_DEVICE='"cuda"' \
	-DLORA_PLUGIN='"tests/cuda_emu/.libs/lora.so"'
tests_cuda_emu_test_logits_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_logits_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_logits_LDADD = libops_cuda_emu.la libphi4.la $(CHECK_LIBS) -lstdc++ -lm -lpthread
EXTRA_tests_cuda_emu_test_logits_DEPENDENCIES = tests/cuda_emu/lora.la
tests_cuda_emu_test_phi4_mini_SOURCES = tests/test_phi4_mini.c
tests_cuda_emu_test_phi4_mini_CPPFLAGS = $(AM_CPPFLAGS) -DPHI4_PLUGIN='"tests/cuda_emu/.libs/phi4-mini.so"' \
	-DPHI4_DEVICE='"cuda"'
tests_cuda_emu_test_phi4_mini_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_phi4_mini_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_phi4_mini_LDADD = libops.la $(JSONC_LIBS) $(CHECK_LIBS)
EXTRA_tests_cuda_emu_test_phi4_mini_DEPENDENCIES = tests/cuda_emu/phi4-mini.la
# The programs of tests/gpu/run, so that they are known to work when a GPU is at hand.
check_PROGRAMS += tests/cuda_emu/bench_gpu tests/cuda_emu/logits_of tests/cuda_emu/test_gpu_plugins
dist_check_SCRIPTS += tests/gpu/check_emulated.sh
TESTS += tests/gpu/check_emulated.sh
emu_gpu_ldadd = libops_cuda_emu.la libengine.la libops.la libbase.la -lstdc++ -lm -lpthread
tests_cuda_emu_bench_gpu_SOURCES = tests/gpu/bench_gpu.c tests/cuda_emu/ceilings_emu.cc
tests_cuda_emu_bench_gpu_CPPFLAGS = $(libops_cuda_emu_la_CPPFLAGS)
tests_cuda_emu_bench_gpu_CFLAGS = $(emu_cflags)
tests_cuda_emu_bench_gpu_CXXFLAGS = $(libops_cuda_emu_la_CXXFLAGS)
tests_cuda_emu_bench_gpu_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_bench_gpu_LDADD = $(emu_gpu_ldadd)
tests_cuda_emu_logits_of_SOURCES = tests/gpu/logits_of.c
tests_cuda_emu_logits_of_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_cuda_emu_logits_of_CFLAGS = $(emu_cflags)
tests_cuda_emu_logits_of_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_logits_of_LDADD = $(emu_gpu_ldadd)
tests_cuda_emu_test_gpu_plugins_SOURCES = tests/gpu/test_gpu_plugins.c tests/null_host.h
tests_cuda_emu_test_gpu_plugins_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_gpu_plugins_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_gpu_plugins_LDADD = libops_cuda_emu.la libops.la -lstdc++ -lm -lpthread
EXTRA_tests_cuda_emu_test_gpu_plugins_DEPENDENCIES = tests/cuda_emu/phi4-mini.la
check_PROGRAMS += tests/cuda_emu/test_vision_encoder tests/cuda_emu/test_audio_encoder
TESTS += tests/cuda_emu/test_vision_encoder tests/cuda_emu/test_audio_encoder
tests_cuda_emu_test_vision_encoder_SOURCES = tests/test_vision_encoder.c tests/encoder_device.h tests/golden_file.h
tests_cuda_emu_test_vision_encoder_CPPFLAGS = $(AM_CPPFLAGS) -DENCODER_DEVICE='"cuda"'
tests_cuda_emu_test_vision_encoder_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_vision_encoder_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_vision_encoder_LDADD = libops_cuda_emu.la libvision.la libphi4.la $(CHECK_LIBS) -lstdc++ -lm -lpthread
tests_cuda_emu_test_audio_encoder_SOURCES = tests/test_audio_encoder.c tests/encoder_device.h tests/golden_file.h
tests_cuda_emu_test_audio_encoder_CPPFLAGS = $(AM_CPPFLAGS) -DENCODER_DEVICE='"cuda"'
tests_cuda_emu_test_audio_encoder_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_audio_encoder_LDFLAGS = $(emu_ldflags) -Wl,-u,ops_cuda
tests_cuda_emu_test_audio_encoder_LDADD = libops_cuda_emu.la libspeech.la libphi4.la $(CHECK_LIBS) -lstdc++ -lm -lpthread
if HAVE_MEDIA
check_PROGRAMS += tests/cuda_emu/test_phi4_multimodal
TESTS += tests/cuda_emu/test_phi4_multimodal
tests_cuda_emu_test_phi4_multimodal_SOURCES = tests/test_phi4_multimodal.c tests/multimodal_support.h \
	tests/golden_file.h
tests_cuda_emu_test_phi4_multimodal_CPPFLAGS = $(AM_CPPFLAGS) -DPHI4_DEVICE='"cuda"' \
	-DPHI4_PLUGIN='"tests/cuda_emu/.libs/phi4-multimodal.so"'
tests_cuda_emu_test_phi4_multimodal_CFLAGS = $(emu_cflags)
tests_cuda_emu_test_phi4_multimodal_LDFLAGS = $(emu_ldflags)
tests_cuda_emu_test_phi4_multimodal_LDADD = $(CHECK_LIBS) -lm
EXTRA_tests_cuda_emu_test_phi4_multimodal_DEPENDENCIES = tests/cuda_emu/phi4-multimodal.la airlock-media-worker
endif
if HAVE_CUDA
# The same on a real GPU; skipped where there is none.  tests/gpu/pack takes them to a machine that has one.
GPU_TESTS = tests/gpu/test_ops_matmul tests/gpu/test_ops_attention tests/gpu/test_ops_rows \
	tests/gpu/test_ops_invariance tests/gpu/test_ops_sample tests/gpu/test_decode_graphs \
	tests/gpu/test_residents tests/gpu/test_ops_encoder tests/gpu/test_ops_full tests/gpu/test_ops_conv \
	tests/gpu/test_ops_quant tests/gpu/test_ops_fp8 tests/gpu/test_quality tests/gpu/test_logits
check_PROGRAMS += $(GPU_TESTS)
TESTS += $(GPU_TESTS)
check_LTLIBRARIES += libceilings.la
libceilings_la_SOURCES = tests/gpu/ceilings.cu
tests/gpu/ceilings.lo: tests/gpu/ceilings.h $(cuda_ops_headers)
check_PROGRAMS += tests/gpu/bench_gpu tests/gpu/logits_of
tests_gpu_bench_gpu_SOURCES = tests/gpu/bench_gpu.c
tests_gpu_bench_gpu_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_gpu_bench_gpu_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_gpu_bench_gpu_LDADD = libceilings.la libengine.la libops.la libbase.la
tests_gpu_logits_of_SOURCES = tests/gpu/logits_of.c
tests_gpu_logits_of_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_gpu_logits_of_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_gpu_logits_of_LDADD = libengine.la libops.la libbase.la
gpu_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS) -pthread
tests_gpu_test_ops_matmul_SOURCES = tests/test_ops_matmul.c $(ops_cuda_fixture)
tests_gpu_test_ops_matmul_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_matmul_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_matmul_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_attention_SOURCES = tests/test_ops_attention.c $(ops_cuda_fixture)
tests_gpu_test_ops_attention_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_attention_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_attention_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_rows_SOURCES = tests/test_ops_rows.c $(ops_cuda_fixture)
tests_gpu_test_ops_rows_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_rows_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_rows_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_invariance_SOURCES = tests/test_ops_invariance.c $(ops_cuda_fixture)
tests_gpu_test_ops_invariance_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_invariance_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_invariance_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_sample_SOURCES = tests/test_ops_sample.c plugins/engine/sampler.c $(ops_cuda_fixture)
tests_gpu_test_ops_sample_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_sample_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_sample_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_decode_graphs_SOURCES = tests/test_decode_graphs.c
tests_gpu_test_decode_graphs_CPPFLAGS = $(AM_CPPFLAGS) -DFORWARD_DEVICE='"cuda"'
tests_gpu_test_decode_graphs_CFLAGS = $(gpu_cflags)
tests_gpu_test_decode_graphs_LDADD = libphi4.la $(CHECK_LIBS)
tests_gpu_test_residents_SOURCES = tests/test_residents.c
tests_gpu_test_residents_CFLAGS = $(gpu_cflags)
tests_gpu_test_residents_LDADD = libphi4.la $(CHECK_LIBS)
tests_gpu_test_ops_encoder_SOURCES = tests/test_ops_encoder.c $(ops_cuda_fixture)
tests_gpu_test_ops_encoder_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_encoder_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_encoder_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_full_SOURCES = tests/test_ops_full.c $(ops_cuda_fixture)
tests_gpu_test_ops_full_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_full_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_full_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_conv_SOURCES = tests/test_ops_conv.c $(ops_cuda_fixture)
tests_gpu_test_ops_conv_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_conv_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_conv_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_quant_SOURCES = tests/test_ops_quant.c $(ops_cuda_fixture)
tests_gpu_test_ops_quant_CPPFLAGS = $(ops_cuda_cppflags)
tests_gpu_test_ops_quant_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_quant_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_ops_fp8_SOURCES = tests/test_ops_fp8.c
tests_gpu_test_ops_fp8_CFLAGS = $(gpu_cflags)
tests_gpu_test_ops_fp8_LDADD = libops.la $(CHECK_LIBS) -lm
tests_gpu_test_quality_SOURCES = tests/test_quality.c
tests_gpu_test_quality_CPPFLAGS = $(AM_CPPFLAGS) -DFORWARD_DEVICE='"cuda"'
tests_gpu_test_quality_CFLAGS = $(gpu_cflags)
tests_gpu_test_quality_LDADD = libphi4.la $(JSONC_LIBS) $(CHECK_LIBS)
tests_gpu_test_logits_SOURCES = tests/test_logits.c
tests_gpu_test_logits_CPPFLAGS = $(AM_CPPFLAGS) -DFORWARD_DEVICE='"cuda"'
tests_gpu_test_logits_CFLAGS = $(gpu_cflags)
tests_gpu_test_logits_LDADD = libphi4.la $(CHECK_LIBS)
EXTRA_tests_gpu_test_logits_DEPENDENCIES = plugins/lora.la
endif
endif
