# client.mk - tests of the exec client.
check_PROGRAMS += tests/fakes/stub_server
tests_fakes_stub_server_SOURCES = tests/fakes/stub_server.c
tests_fakes_stub_server_LDADD = -lpthread
if HAVE_CHECK
check_PROGRAMS += tests/test_client
TESTS += tests/test_client
tests_test_client_SOURCES = tests/test_client.c
tests_test_client_CPPFLAGS = $(AM_CPPFLAGS) -DCLIENT='"$(abs_top_builddir)/airlock-client"'
tests_test_client_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_client_LDADD = libbase.la $(CHECK_LIBS)
EXTRA_tests_test_client_DEPENDENCIES = airlock-client$(EXEEXT)
endif
