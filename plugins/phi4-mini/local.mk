# local.mk - the phi4-mini plugin.
airlockplugin_LTLIBRARIES += plugins/phi4-mini.la
plugins_phi4_mini_la_SOURCES = plugins/phi4-mini/plugin.c
plugins_phi4_mini_la_LIBADD = libphi4.la
plugins_phi4_mini_la_LDFLAGS = $(PLUGIN_LDFLAGS)
