# local.mk - the files of sdk: installed headers, libairlock, airlock-plugin-check, pkg-config files.
airlockincludedir = $(includedir)/airlock
airlockinclude_HEADERS = sdk/include/airlock/llm_abi.h sdk/include/airlock/llm_model.h \
	sdk/include/airlock/llm_adapter.h sdk/include/airlock/airlock.h

# How a third party finds the headers and the flags.  prefix is known at make time only.
PC_FILES = sdk/pkgconfig/airlock-plugin.pc sdk/pkgconfig/airlock.pc
pkgconfig_DATA += $(PC_FILES)
EXTRA_DIST += $(PC_FILES:=.in)
CLEANFILES += $(PC_FILES)
PC_EDIT = sed -e 's|@prefix[@]|$(prefix)|' -e 's|@includedir[@]|$(includedir)|' -e 's|@libdir[@]|$(libdir)|' \
	-e 's|@airlockplugindir[@]|$(airlockplugindir)|' -e 's|@VERSION[@]|$(VERSION)|'
sdk/pkgconfig/airlock-plugin.pc: sdk/pkgconfig/airlock-plugin.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(PC_EDIT) $(srcdir)/sdk/pkgconfig/airlock-plugin.pc.in >$@
sdk/pkgconfig/airlock.pc: sdk/pkgconfig/airlock.pc.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(PC_EDIT) $(srcdir)/sdk/pkgconfig/airlock.pc.in >$@

# libairlock: shared with only airlock_* visible, and static as one object whose other names are local,
# so that they cannot meet the names of the program that links it.  (LT_INIT builds no static
# libraries, which plugins do not want; hence the rule.)
noinst_LTLIBRARIES += libairlockparts.la
libairlockparts_la_SOURCES = sdk/client.c sdk/client.h sdk/transfer.c sdk/generate.c \
	sdk/request_body.c sdk/request_body.h sdk/event_stream.c sdk/event_stream.h \
	sdk/print.c sdk/media.c sdk/media.h sdk/media_body.c sdk/transcribe.c \
	sdk/chat_client.c sdk/chat_parse.c sdk/chat_parse.h src/common/bytes.c src/common/base64.c \
	src/common/utf8.c src/common/error.c src/common/json.c src/common/io.c
libairlockparts_la_CPPFLAGS = $(AM_CPPFLAGS) -DAIRLOCK_VERSION='"$(VERSION)"'
libairlockparts_la_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(JSONC_CFLAGS)
lib_LTLIBRARIES += libairlock.la
libairlock_la_SOURCES =
libairlock_la_LIBADD = libairlockparts.la $(CURL_LIBS) $(JSONC_LIBS) -lm -lpthread
libairlock_la_LDFLAGS = $(AIRLOCK_LDFLAGS) -version-info 0:0:0 -no-undefined
OBJCOPY = objcopy
airlockstaticdir = $(libdir)
airlockstatic_DATA = libairlock.a
CLEANFILES += libairlock.a libairlock-whole.o
libairlock.a: libairlockparts.la
	$(AM_V_GEN)rm -f $@ && $(LD) -r -o libairlock-whole.o --whole-archive .libs/libairlockparts.a && \
	  $(OBJCOPY) --localize-hidden libairlock-whole.o && $(AR) cr $@ libairlock-whole.o
EXTRA_DIST += sdk/examples/chat.c sdk/examples/call_model.c sdk/examples/call_multimodal_model.c

bin_PROGRAMS += airlock
airlock_SOURCES = sdk/command/main.c sdk/command/command.h sdk/command/reach.c sdk/command/ask.c \
	sdk/command/models.c
airlock_LDADD = libairlock.la -lpthread
man1_MANS += docs/man/airlock.1
EXTRA_DIST += docs/man/airlock.1

bin_PROGRAMS += airlock-plugin-check
airlock_plugin_check_SOURCES = sdk/plugin_check/main.c sdk/plugin_check/check.h \
	sdk/plugin_check/arena.c sdk/plugin_check/arena.h sdk/plugin_check/subject.c \
	sdk/plugin_check/instance.c sdk/plugin_check/builtin.c sdk/plugin_check/measure.c \
	sdk/plugin_check/check_file.c sdk/plugin_check/check_life.c sdk/plugin_check/check_contract.c \
	sdk/plugin_check/check_generate.c sdk/plugin_check/check_cancel.c \
	sdk/plugin_check/check_together.c sdk/plugin_check/check_adapter.c \
	sdk/plugin_check/check_manners.c
airlock_plugin_check_CPPFLAGS = $(AM_CPPFLAGS) -DAIRLOCK_VERSION='"$(VERSION)"'
airlock_plugin_check_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS)
airlock_plugin_check_LDADD = libpluginfile.la libbase.la -ldl -lm -lpthread

EXTRA_DIST += sdk/examples/plugin-echo/echo.c sdk/examples/plugin-echo/Makefile \
	sdk/examples/plugin-echo/model_config.json \
	sdk/examples/plugin-scale-adapter/scale_adapter.c sdk/examples/plugin-scale-adapter/Makefile \
	sdk/examples/plugin-scale-adapter/example/scale.txt
man1_MANS += docs/man/airlock-plugin-check.1
EXTRA_DIST += docs/man/airlock-plugin-check.1
