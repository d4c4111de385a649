# local.mk - the files of src/bridge; libbridge.la is the program without main, for its tests.
noinst_LTLIBRARIES += libbridge.la
libbridge_la_SOURCES = src/bridge/edge.c src/bridge/edge.h \
	src/bridge/routes.c src/bridge/routes.h src/bridge/carried.c src/bridge/carried.h \
	src/bridge/metrics.c src/bridge/metrics.h src/bridge/record.c src/bridge/record.h \
	src/bridge/stream_filter.c src/bridge/stream_filter.h \
	src/bridge/stream.c src/bridge/stream.h \
	src/bridge/addressing.c src/bridge/addressing.h \
	src/bridge/model_list.c src/bridge/model_list.h \
	src/bridge/runtimes.c src/bridge/runtimes.h \
	src/bridge/child.c src/bridge/child.h \
	src/bridge/enrolment.c src/bridge/enrolment.h \
	src/bridge/channel.c src/bridge/channel.h \
	src/bridge/pool.c src/bridge/pool.h \
	src/bridge/exchange.c src/bridge/exchange.h \
	src/bridge/proxy.c src/bridge/proxy.h src/bridge/bridge.c src/bridge/bridge.h \
	src/bridge/health.c src/bridge/health.h src/bridge/page.c src/bridge/page.h \
	src/bridge/bridge_config.c src/bridge/bridge_config.h \
	src/bridge/bridge_options.c src/bridge/bridge_options.h
nodist_libbridge_la_SOURCES = src/bridge/page_data.c
PAGE_FILES = src/bridge/page/page.html src/bridge/page/page.css src/bridge/page/page.js
EXTRA_DIST += $(PAGE_FILES) src/bridge/page/embed.sh
CLEANFILES += src/bridge/page_data.c
src/bridge/page_data.c: $(PAGE_FILES) src/bridge/page/embed.sh
	$(AM_V_GEN)$(MKDIR_P) $(@D) && sh $(srcdir)/src/bridge/page/embed.sh $(srcdir)/src/bridge/page >$@.new && mv $@.new $@
libbridge_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(CURL_CFLAGS)
libbridge_la_LIBADD = libcommon.la $(CURL_LIBS) -lpthread

bin_PROGRAMS += airlock-bridge
man1_MANS += docs/man/airlock-bridge.1
EXTRA_DIST += docs/man/airlock-bridge.1
airlock_bridge_SOURCES = src/bridge/main.c
airlock_bridge_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
airlock_bridge_LDADD = libbridge.la
