# tokenizer.mk - tests of the tokenizer and the chat template.
EXTRA_DIST += tests/oracle/tokenizer_golden.py \
	tests/golden/tokenizer/o200k/tokenizer.json tests/golden/tokenizer/o200k/cases.txt \
	tests/golden/tokenizer/gpt2/tokenizer.json tests/golden/tokenizer/gpt2/cases.txt \
	tests/golden/tokenizer/cl100k/tokenizer.json tests/golden/tokenizer/cl100k/cases.txt \
	tests/golden/tokenizer/prefix/tokenizer.json tests/golden/tokenizer/prefix/cases.txt
if HAVE_CHECK
check_PROGRAMS += tests/test_tokenizer tests/test_chat_template
TESTS += tests/test_tokenizer tests/test_chat_template
tests_test_tokenizer_SOURCES = tests/test_tokenizer.c
tests_test_tokenizer_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_tokenizer_LDADD = libengine.la libbase.la $(CHECK_LIBS)
tests_test_chat_template_SOURCES = tests/test_chat_template.c
tests_test_chat_template_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_chat_template_LDADD = libengine.la libbase.la $(CHECK_LIBS)
endif
EXTRA_PROGRAMS += tests/bench/bench_tokenizer
EXTRA_DIST += tests/bench/tokenizer_hf.py
tests_bench_bench_tokenizer_SOURCES = tests/bench/bench_tokenizer.c
tests_bench_bench_tokenizer_LDADD = libengine.la libbase.la
