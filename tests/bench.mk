# bench.mk - tests of bench.
# Built by name, eg: make tests/bench/bench_ops
EXTRA_PROGRAMS += tests/bench/bench_ops
tests_bench_bench_ops_SOURCES = tests/bench/bench_ops.c
tests_bench_bench_ops_CFLAGS = $(AM_CFLAGS) -pthread
tests_bench_bench_ops_LDADD = libops.la -lm
EXTRA_PROGRAMS += tests/bench/mkmodel tests/bench/bench_engine
tests_bench_mkmodel_SOURCES = tests/bench/mkmodel.c
tests_bench_mkmodel_LDADD = -lm
tests_bench_bench_engine_SOURCES = tests/bench/bench_engine.c
tests_bench_bench_engine_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_bench_bench_engine_LDADD = libengine.la libops.la libbase.la
# tests/bench/bench_bridge.sh BUILD_DIR makes it and runs it through a real Docker container.
EXTRA_PROGRAMS += tests/bench/bench_bridge
tests_bench_bench_bridge_SOURCES = tests/bench/bench_bridge.c
tests_bench_bench_bridge_LDADD = -lpthread
EXTRA_DIST += tests/bench/bench_bridge.sh tests/bench/exec_client.py
EXTRA_PROGRAMS += tests/bench/bench_constraint
tests_bench_bench_constraint_SOURCES = tests/bench/bench_constraint.c
tests_bench_bench_constraint_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_bench_bench_constraint_LDADD = libengine.la libbase.la
EXTRA_PROGRAMS += tests/bench/bench_serving
tests_bench_bench_serving_SOURCES = tests/bench/bench_serving.c
tests_bench_bench_serving_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_bench_bench_serving_LDADD = libengine.la libops.la libbase.la
EXTRA_PROGRAMS += tests/bench/bench_quality
tests_bench_bench_quality_SOURCES = tests/bench/bench_quality.c
tests_bench_bench_quality_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_bench_bench_quality_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_bench_bench_quality_LDADD = libengine.la libops.la libbase.la -lm
EXTRA_PROGRAMS += tests/bench/bench_audio
EXTRA_DIST += tests/bench/audio_hf.py
tests_bench_bench_audio_SOURCES = tests/bench/bench_audio.c
tests_bench_bench_audio_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_bench_bench_audio_LDADD = libspeech.la libengine.la libops.la libbase.la -lm
# tests/bench/first_token_hf.py BUILD_DIR runs it beside transformers.
EXTRA_PROGRAMS += tests/bench/bench_first_token
EXTRA_DIST += tests/bench/first_token_hf.py
tests_bench_bench_first_token_SOURCES = tests/bench/bench_first_token.c tests/null_host.h
