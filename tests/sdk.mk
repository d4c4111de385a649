# sdk.mk - tests of libairlock.
dist_check_SCRIPTS += tests/sdk/test_sdk_install.sh
TESTS += tests/sdk/test_sdk_install.sh
EXTRA_DIST += tests/sdk/call_from_cxx.cc
tests/sdk/test_sdk_install.log: libairlock.la libairlock.a
if HAVE_CHECK
check_PROGRAMS += tests/test_sdk_client tests/test_sdk_chat
TESTS += tests/test_sdk_client tests/test_sdk_chat
endif
tests_test_sdk_client_SOURCES = tests/test_sdk_client.c tests/suite.h
tests_test_sdk_client_CPPFLAGS = $(AM_CPPFLAGS) -DAIRLOCK_VERSION='"$(VERSION)"'
tests_test_sdk_client_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_sdk_client_LDADD = libairlockparts.la $(CURL_LIBS) $(JSONC_LIBS) $(CHECK_LIBS) -lm -lpthread
tests_test_sdk_chat_SOURCES = tests/test_sdk_chat.c tests/suite.h
tests_test_sdk_chat_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_sdk_chat_LDADD = libairlockparts.la $(CURL_LIBS) $(JSONC_LIBS) $(CHECK_LIBS) -lm -lpthread
