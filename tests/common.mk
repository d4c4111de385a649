# common.mk - tests of src/common.
common_tests = tests/test_json tests/test_bytes tests/test_log tests/test_request \
	tests/test_http_server tests/test_multipart
if HAVE_CHECK
check_PROGRAMS += $(common_tests)
TESTS += $(common_tests)
endif
common_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_json_SOURCES = tests/test_json.c tests/suite.h
tests_test_json_CFLAGS = $(common_test_cflags)
tests_test_json_LDADD = libbase.la $(CHECK_LIBS)
tests_test_bytes_SOURCES = tests/test_bytes.c tests/suite.h tests/tmpdir.h
tests_test_bytes_CFLAGS = $(common_test_cflags)
tests_test_bytes_LDADD = libcommon.la $(CHECK_LIBS)
tests_test_log_SOURCES = tests/test_log.c tests/suite.h
tests_test_log_CFLAGS = $(common_test_cflags)
tests_test_log_LDADD = libbase.la $(CHECK_LIBS)
tests_test_request_SOURCES = tests/test_request.c
tests_test_request_CFLAGS = $(common_test_cflags)
tests_test_request_LDADD = libcommon.la $(CHECK_LIBS)
tests_test_http_server_SOURCES = tests/test_http_server.c
tests_test_http_server_CFLAGS = $(common_test_cflags)
tests_test_http_server_LDADD = libcommon.la $(CHECK_LIBS)
tests_test_multipart_SOURCES = tests/test_multipart.c tests/suite.h
tests_test_multipart_CFLAGS = $(common_test_cflags)
tests_test_multipart_LDADD = libcommon.la $(CHECK_LIBS)
