# ops.mk - tests of the arithmetic.
if HAVE_CHECK
OPS_TESTS = tests/test_ops_matmul tests/test_ops_attention tests/test_ops_rows \
	tests/test_ops_invariance tests/test_ops_device tests/test_ops_encoder tests/test_ops_full \
	tests/test_ops_conv tests/test_ops_quant
check_PROGRAMS += $(OPS_TESTS)
TESTS += $(OPS_TESTS)
ops_fixture = tests/ops_fixture.c tests/ops_fixture.h
ops_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
ops_test_libs = libops.la $(CHECK_LIBS) -lm
tests_test_ops_matmul_SOURCES = tests/test_ops_matmul.c $(ops_fixture)
tests_test_ops_matmul_CFLAGS = $(ops_test_cflags)
tests_test_ops_matmul_LDADD = $(ops_test_libs)
tests_test_ops_attention_SOURCES = tests/test_ops_attention.c $(ops_fixture)
tests_test_ops_attention_CFLAGS = $(ops_test_cflags)
tests_test_ops_attention_LDADD = $(ops_test_libs)
tests_test_ops_rows_SOURCES = tests/test_ops_rows.c $(ops_fixture)
tests_test_ops_rows_CFLAGS = $(ops_test_cflags)
tests_test_ops_rows_LDADD = $(ops_test_libs)
tests_test_ops_invariance_SOURCES = tests/test_ops_invariance.c $(ops_fixture)
tests_test_ops_invariance_CFLAGS = $(ops_test_cflags)
tests_test_ops_invariance_LDADD = $(ops_test_libs)
tests_test_ops_device_SOURCES = tests/test_ops_device.c $(ops_fixture)
tests_test_ops_device_CFLAGS = $(ops_test_cflags)
tests_test_ops_device_LDADD = $(ops_test_libs)
tests_test_ops_encoder_SOURCES = tests/test_ops_encoder.c $(ops_fixture)
tests_test_ops_encoder_CFLAGS = $(ops_test_cflags)
tests_test_ops_encoder_LDADD = $(ops_test_libs)
tests_test_ops_full_SOURCES = tests/test_ops_full.c $(ops_fixture)
tests_test_ops_full_CFLAGS = $(ops_test_cflags)
tests_test_ops_full_LDADD = $(ops_test_libs)
tests_test_ops_conv_SOURCES = tests/test_ops_conv.c $(ops_fixture)
tests_test_ops_conv_CFLAGS = $(ops_test_cflags)
tests_test_ops_conv_LDADD = $(ops_test_libs)
tests_test_ops_quant_SOURCES = tests/test_ops_quant.c $(ops_fixture)
tests_test_ops_quant_CFLAGS = $(ops_test_cflags)
tests_test_ops_quant_LDADD = $(ops_test_libs)
endif
