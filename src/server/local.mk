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
	src/server/adapters.c src/server/adapters.h \
	src/server/engine_metrics.c src/server/engine_metrics.h \
	src/server/abi_request.c src/server/abi_request.h \
	src/server/answer.c src/server/answer.h src/server/exchange.c src/server/exchange.h \
	src/server/stream.c src/server/stream.h src/server/sse.c src/server/sse.h \
	src/server/openai_request.c src/server/openai_request.h src/server/openai_parse.h \
	src/server/openai_messages.c src/server/openai_tools.c \
	src/server/openai_reply.c src/server/openai_reply.h src/server/openai.c src/server/openai.h \
	src/server/transcription_request.c src/server/transcription_request.h \
	src/server/languages.c src/server/languages.h \
	src/server/transcription.c src/server/transcription.h \
	src/server/tokenize.c src/server/tokenize.h src/server/admin.c src/server/admin.h \
	src/server/routes.c src/server/routes.h \
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
