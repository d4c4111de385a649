# bridge.mk - tests of the bridge: as a process behind a fake Docker, and its parts.
dist_check_SCRIPTS += tests/fakes/docker
bridge_processes = airlock-bridge$(EXEEXT) airlock-client$(EXEEXT) \
	tests/fakes/stub_server$(EXEEXT)
bridge_test_cppflags = $(AM_CPPFLAGS) -DBUILD_DIR='"$(abs_top_builddir)"' \
	-DSOURCE_DIR='"$(abs_top_srcdir)"'
if HAVE_CHECK
bridge_tests = tests/test_stream_filter tests/test_bridge_edge tests/test_bridge_channel \
	tests/test_bridge_stream tests/test_bridge_headers
check_PROGRAMS += $(bridge_tests)
TESTS += $(bridge_tests)
endif
tests_test_bridge_edge_SOURCES = tests/test_bridge_edge.c tests/bridge_fixture.c \
	tests/bridge_fixture.h
tests_test_bridge_edge_CPPFLAGS = $(bridge_test_cppflags)
tests_test_bridge_edge_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_bridge_edge_LDADD = libbase.la $(CHECK_LIBS)
EXTRA_tests_test_bridge_edge_DEPENDENCIES = $(bridge_processes)

tests_test_bridge_channel_SOURCES = tests/test_bridge_channel.c tests/bridge_fixture.c \
	tests/bridge_fixture.h
tests_test_bridge_channel_CPPFLAGS = $(bridge_test_cppflags)
tests_test_bridge_channel_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_bridge_channel_LDADD = libbase.la $(CHECK_LIBS) -lpthread
EXTRA_tests_test_bridge_channel_DEPENDENCIES = $(bridge_processes)

tests_test_stream_filter_SOURCES = tests/test_stream_filter.c tests/suite.h
tests_test_stream_filter_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_stream_filter_LDADD = libbridge.la $(CHECK_LIBS)

tests_test_bridge_stream_SOURCES = tests/test_bridge_stream.c tests/bridge_fixture.c \
	tests/bridge_fixture.h
tests_test_bridge_stream_CPPFLAGS = $(bridge_test_cppflags)
tests_test_bridge_stream_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_bridge_stream_LDADD = libbase.la $(CHECK_LIBS)
EXTRA_tests_test_bridge_stream_DEPENDENCIES = $(bridge_processes)

tests_test_bridge_headers_SOURCES = tests/test_bridge_headers.c tests/bridge_fixture.c \
	tests/bridge_fixture.h
tests_test_bridge_headers_CPPFLAGS = $(bridge_test_cppflags)
tests_test_bridge_headers_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_test_bridge_headers_LDADD = libbase.la $(CHECK_LIBS)
EXTRA_tests_test_bridge_headers_DEPENDENCIES = $(bridge_processes)

dist_check_SCRIPTS += tests/test_bridge_page.sh
TESTS += tests/test_bridge_page.sh
tests/test_bridge_page.log: airlock-server airlock-bridge airlock-client airlock-media-worker \
	plugins/phi4-multimodal.la plugins/phi4-mini.la
