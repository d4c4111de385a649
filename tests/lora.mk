# lora.mk - tests of the LoRA adapter plugin.
EXTRA_DIST += tests/oracle/lora_golden.py tests/golden/lora
if HAVE_CHECK
check_PROGRAMS += tests/test_lora
TESTS += tests/test_lora
tests_test_lora_SOURCES = tests/test_lora.c
tests_test_lora_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS) -pthread
tests_test_lora_LDADD = liblora.la $(CHECK_LIBS)
endif
