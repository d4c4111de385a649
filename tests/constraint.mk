# constraint.mk - tests of constrained answers: JSON Schema, masks of tokens, calls of tools.
EXTRA_DIST += tests/oracle/json_schema_golden.py tests/golden/json_schema.txt
if HAVE_CHECK
constraint_tests = tests/test_json_schema tests/test_token_mask tests/test_tool_calls \
	tests/test_constrained_answers
check_PROGRAMS += $(constraint_tests)
TESTS += $(constraint_tests)
constraint_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_json_schema_SOURCES = tests/test_json_schema.c
tests_test_json_schema_CFLAGS = $(constraint_test_cflags)
tests_test_json_schema_LDADD = libengine.la libbase.la $(CHECK_LIBS)
tests_test_token_mask_SOURCES = tests/test_token_mask.c
tests_test_token_mask_CFLAGS = $(constraint_test_cflags)
tests_test_token_mask_LDADD = libengine.la libbase.la $(CHECK_LIBS)
tests_test_tool_calls_SOURCES = tests/test_tool_calls.c
tests_test_tool_calls_CFLAGS = $(constraint_test_cflags)
tests_test_tool_calls_LDADD = libengine.la libbase.la $(CHECK_LIBS)
# Opens plugins/.libs/phi4-mini.so as a host does.
tests_test_constrained_answers_SOURCES = tests/test_constrained_answers.c tests/null_host.h
tests_test_constrained_answers_CFLAGS = $(constraint_test_cflags)
tests_test_constrained_answers_LDADD = libbase.la $(CHECK_LIBS)
EXTRA_tests_test_constrained_answers_DEPENDENCIES = plugins/phi4-mini.la
endif
