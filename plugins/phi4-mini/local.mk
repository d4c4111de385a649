# local.mk - the phi4-mini plugin: the ABI around the engine.
noinst_LTLIBRARIES += libphi4mini.la
libphi4mini_la_SOURCES = plugins/phi4-mini/plugin.c \
	plugins/phi4-mini/extensions.c plugins/phi4-mini/extensions.h \
	plugins/phi4-mini/generate.c plugins/phi4-mini/generate.h \
	plugins/phi4-mini/adapters.c plugins/phi4-mini/adapters.h
libphi4mini_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) -pthread
libphi4mini_la_LIBADD = libengine.la libops.la libbase.la
airlockplugin_LTLIBRARIES += plugins/phi4-mini.la
plugins_phi4_mini_la_SOURCES =
plugins_phi4_mini_la_LIBADD = libphi4mini.la
plugins_phi4_mini_la_LDFLAGS = $(PLUGIN_LDFLAGS)
