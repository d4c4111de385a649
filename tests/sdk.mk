# sdk.mk - tests of libairlock.
dist_check_SCRIPTS += tests/sdk/test_sdk_install.sh tests/sdk/test_sdk_multimodal.sh \
	tests/sdk/test_airlock_command.sh
TESTS += tests/sdk/test_sdk_install.sh tests/sdk/test_sdk_multimodal.sh tests/sdk/test_airlock_command.sh
EXTRA_DIST += tests/sdk/call_from_cxx.cc
tests/sdk/test_sdk_install.log: libairlock.la libairlock.a
tests/sdk/test_airlock_command.log: airlock tests/fakes/stub_server
tests/sdk/test_airlock_command.log tests/sdk/test_sdk_multimodal.log: libairlock.a airlock-server airlock-bridge airlock-client airlock-media-worker \
	plugins/phi4-multimodal.la plugins/phi4-mini.la
if HAVE_CHECK
check_PROGRAMS += tests/test_sdk_client tests/test_sdk_chat tests/test_sdk_media
TESTS += tests/test_sdk_client tests/test_sdk_chat tests/test_sdk_media
endif
tests_test_sdk_client_SOURCES = tests/test_sdk_client.c tests/sdk_stub.h tests/suite.h
tests_test_sdk_client_CPPFLAGS = $(AM_CPPFLAGS) -DAIRLOCK_VERSION='"$(VERSION)"'
tests_test_sdk_client_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_sdk_client_LDADD = libairlockparts.la $(CURL_LIBS) $(JSONC_LIBS) $(CHECK_LIBS) -lm -lpthread
tests_test_sdk_chat_SOURCES = tests/test_sdk_chat.c tests/suite.h
tests_test_sdk_chat_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_sdk_chat_LDADD = libairlockparts.la $(CURL_LIBS) $(JSONC_LIBS) $(CHECK_LIBS) -lm -lpthread
tests_test_sdk_media_SOURCES = tests/test_sdk_media.c tests/sdk_stub.h tests/suite.h
tests_test_sdk_media_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_sdk_media_LDADD = libairlockparts.la $(CURL_LIBS) $(JSONC_LIBS) $(CHECK_LIBS) -lm -lpthread
