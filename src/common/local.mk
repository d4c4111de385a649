# local.mk - what all programs and plugins share; libbase has no HTTP and goes into plugins too.
noinst_LTLIBRARIES += libbase.la
libbase_la_SOURCES = src/common/error.c src/common/error.h src/common/log.c src/common/log.h \
	src/common/bytes.c src/common/bytes.h src/common/io.c src/common/io.h \
	src/common/json.c src/common/json.h src/common/strip.c src/common/strip.h src/common/limits.h
libbase_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
libbase_la_LIBADD = $(JSONC_LIBS)

# libcommon is what the HTTP programs (server, bridge) and the SDK's tests add to it.
noinst_LTLIBRARIES += libcommon.la
libcommon_la_SOURCES = src/common/request.c src/common/request.h \
	src/common/base64.c src/common/base64.h src/common/utf8.c src/common/utf8.h \
	src/common/bearer.c src/common/bearer.h src/common/multipart.c src/common/multipart.h \
	src/common/http_server.c src/common/http_server.h \
	src/common/http_listen.c src/common/http_listen.h
libcommon_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(MICROHTTPD_CFLAGS) $(LIBMD_CFLAGS)
libcommon_la_LIBADD = libbase.la $(MICROHTTPD_LIBS) $(LIBMD_LIBS) -lpthread -lm

# libpluginfile judges plugins: for the server and airlock-plugin-check, not for plugins.
noinst_LTLIBRARIES += libpluginfile.la
libpluginfile_la_SOURCES = src/common/plugin_elf.c src/common/plugin_elf.h \
	src/common/plugin_descriptor.c src/common/plugin_descriptor.h
libpluginfile_la_LIBADD = libbase.la
