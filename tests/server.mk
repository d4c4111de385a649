# server.mk - tests of src/server.
FAKE_PLUGIN_LDFLAGS = $(PLUGIN_LDFLAGS) -rpath $(abs_builddir)
check_LTLIBRARIES += tests/fakes/model.la tests/fakes/lora.la
tests_fakes_model_la_SOURCES = tests/fakes/model_plugin.c
tests_fakes_model_la_LDFLAGS = $(FAKE_PLUGIN_LDFLAGS)
tests_fakes_lora_la_SOURCES = tests/fakes/adapter_plugin.c
tests_fakes_lora_la_LDFLAGS = $(FAKE_PLUGIN_LDFLAGS)

server_test_scripts = tests/test_server.sh tests/test_server_openai.sh tests/test_server_plugins.sh \
	tests/test_openapi.sh tests/test_server_media.sh
dist_check_SCRIPTS += $(server_test_scripts)
TESTS += $(server_test_scripts)
EXTRA_DIST += tests/server_lib.sh tests/fakes/bad_plugin.c
tests/test_server.log tests/test_server_openai.log tests/test_server_plugins.log tests/test_server_media.log: airlock-server tests/fakes/model.la \
	tests/fakes/lora.la

server_tests = tests/test_model_config tests/test_admission tests/test_openai_request \
	tests/test_transcription_request
if HAVE_CHECK
check_PROGRAMS += $(server_tests)
TESTS += $(server_tests)
endif
server_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(JSONC_CFLAGS)
tests_test_model_config_SOURCES = tests/test_model_config.c tests/suite.h tests/tmpdir.h
tests_test_model_config_CFLAGS = $(server_test_cflags)
tests_test_model_config_LDADD = libserver.la $(CHECK_LIBS)
tests_test_admission_SOURCES = tests/test_admission.c tests/suite.h
tests_test_admission_CFLAGS = $(server_test_cflags)
tests_test_admission_LDADD = libserver.la $(CHECK_LIBS)
tests_test_openai_request_SOURCES = tests/test_openai_request.c tests/suite.h
tests_test_openai_request_CFLAGS = $(server_test_cflags)
tests_test_openai_request_LDADD = libserver.la $(CHECK_LIBS)
tests_test_transcription_request_SOURCES = tests/test_transcription_request.c tests/suite.h
tests_test_transcription_request_CFLAGS = $(server_test_cflags)
tests_test_transcription_request_LDADD = libserver.la $(CHECK_LIBS)
dist_check_SCRIPTS += tests/test_media_way.sh
TESTS += tests/test_media_way.sh
EXTRA_DIST += tests/media_stack.sh
tests/test_media_way.log: airlock-server airlock-bridge airlock-client airlock-media-worker plugins/phi4-multimodal.la \
	plugins/phi4-mini.la
