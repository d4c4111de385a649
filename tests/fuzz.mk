# fuzz.mk - fuzz targets: their corpora are replayed by make check; tests/fuzz/fuzz.sh looks for more.
# A target is tests/fuzz/fuzz_NAME.c with tests/fuzz/replay.c in check_PROGRAMS; its corpus is
# tests/fuzz/corpus/NAME.
EXTRA_DIST += tests/fuzz/fuzz.sh tests/fuzz/corpus
dist_check_SCRIPTS += tests/fuzz/replay.sh
TESTS += tests/fuzz/replay.sh
check_PROGRAMS += tests/fuzz/fuzz_safetensors tests/fuzz/fuzz_phi4_config tests/fuzz/fuzz_peft_config
tests_fuzz_fuzz_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c tests/fuzz/replay.c
tests_fuzz_fuzz_safetensors_LDADD = libcheckpoint.la libbase.la
tests_fuzz_fuzz_phi4_config_SOURCES = tests/fuzz/fuzz_phi4_config.c tests/fuzz/replay.c
tests_fuzz_fuzz_phi4_config_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_fuzz_fuzz_phi4_config_LDADD = libengine.la libbase.la
tests_fuzz_fuzz_peft_config_SOURCES = tests/fuzz/fuzz_peft_config.c tests/fuzz/replay.c
tests_fuzz_fuzz_peft_config_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_fuzz_fuzz_peft_config_LDADD = liblora.la
check_PROGRAMS += tests/fuzz/fuzz_request tests/fuzz/fuzz_model_config tests/fuzz/fuzz_tokenizer \
	tests/fuzz/fuzz_http_answer
tests_fuzz_fuzz_request_SOURCES = tests/fuzz/fuzz_request.c tests/fuzz/replay.c
tests_fuzz_fuzz_request_LDADD = libcommon.la
tests_fuzz_fuzz_model_config_SOURCES = tests/fuzz/fuzz_model_config.c tests/fuzz/replay.c
tests_fuzz_fuzz_model_config_LDADD = libserver.la
tests_fuzz_fuzz_tokenizer_SOURCES = tests/fuzz/fuzz_tokenizer.c tests/fuzz/replay.c
tests_fuzz_fuzz_tokenizer_LDADD = libengine.la libbase.la
tests_fuzz_fuzz_http_answer_SOURCES = tests/fuzz/fuzz_http_answer.c tests/fuzz/replay.c src/client/http_answer.c
tests_fuzz_fuzz_http_answer_LDADD = libbase.la
check_PROGRAMS += tests/fuzz/fuzz_json_schema
tests_fuzz_fuzz_json_schema_SOURCES = tests/fuzz/fuzz_json_schema.c tests/fuzz/replay.c
tests_fuzz_fuzz_json_schema_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_fuzz_fuzz_json_schema_LDADD = libengine.la libbase.la
check_PROGRAMS += tests/fuzz/fuzz_openai_request
tests_fuzz_fuzz_openai_request_SOURCES = tests/fuzz/fuzz_openai_request.c tests/fuzz/replay.c
tests_fuzz_fuzz_openai_request_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_fuzz_fuzz_openai_request_LDADD = libserver.la
check_PROGRAMS += tests/fuzz/fuzz_transcription
tests_fuzz_fuzz_transcription_SOURCES = tests/fuzz/fuzz_transcription.c tests/fuzz/replay.c
tests_fuzz_fuzz_transcription_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
tests_fuzz_fuzz_transcription_LDADD = libserver.la
