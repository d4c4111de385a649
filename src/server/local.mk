# local.mk - the files of src/server; libserver.la is the program without main, for its tests.
noinst_LTLIBRARIES += libserver.la
libserver_la_SOURCES = src/server/model_config.c src/server/model_config.h \
	src/server/plugin_file.c src/server/plugin_file.h \
	src/server/plugin_loader.c src/server/plugin_loader.h \
	src/server/options_schema.c src/server/options_schema.h \
	src/server/plugin_host.c src/server/plugin_host.h \
	src/server/admission.c src/server/admission.h \
	src/server/metrics.c src/server/metrics.h \
	src/server/models.c src/server/models.h \
	src/server/generation.c src/server/generation.h \
	src/server/generate.c src/server/generate.h \
	src/server/api.c src/server/api.h \
	src/server/progress.c src/server/progress.h \
	src/server/options.c src/server/options.h src/server/service.h
libserver_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(LIBMD_CFLAGS)
libserver_la_LIBADD = libcommon.la libpluginfile.la $(LTDL_LIBS) $(LIBMD_LIBS) -ldl -lpthread

bin_PROGRAMS += airlock-server
man1_MANS += docs/man/airlock-server.1
EXTRA_DIST += docs/man/airlock-server.1
airlock_server_SOURCES = src/server/main.c
airlock_server_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
airlock_server_LDADD = libserver.la
