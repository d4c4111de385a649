# local.mk - what the Phi-4 plugins have in common: the ABI around the engine.
noinst_LTLIBRARIES += libphi4.la
libphi4_la_SOURCES = \
	plugins/phi4-common/model.c plugins/phi4-common/model.h \
	plugins/phi4-common/extensions.c plugins/phi4-common/extensions.h \
	plugins/phi4-common/generate.c plugins/phi4-common/generate.h \
	plugins/phi4-common/adapters.c plugins/phi4-common/adapters.h \
	plugins/phi4-common/residents.c plugins/phi4-common/residents.h
libphi4_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) -pthread
libphi4_la_LIBADD = libengine.la libops.la libbase.la
