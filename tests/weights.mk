# weights.mk - tests of the checkpoint's files, configuration and weights.
EXTRA_DIST += tests/tmpdir.h \
	tests/oracle/safetensors_verdicts.py tests/golden/safetensors_verdicts.txt \
	tests/oracle/phi4_config_golden.py tests/golden/phi4_configs.txt
if HAVE_CHECK
check_PROGRAMS += tests/test_safetensors tests/test_phi4_config tests/test_phi4_weights
TESTS += tests/test_safetensors tests/test_phi4_config tests/test_phi4_weights
tests_test_safetensors_SOURCES = tests/test_safetensors.c
tests_test_safetensors_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_safetensors_LDADD = libengine.la libbase.la $(CHECK_LIBS)
tests_test_phi4_config_SOURCES = tests/test_phi4_config.c
tests_test_phi4_config_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_phi4_config_LDADD = libengine.la libbase.la $(CHECK_LIBS)
tests_test_phi4_weights_SOURCES = tests/test_phi4_weights.c
tests_test_phi4_weights_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_phi4_weights_LDADD = libengine.la libbase.la $(CHECK_LIBS)
endif
