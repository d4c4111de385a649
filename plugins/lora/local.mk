# local.mk - the LoRA adapter plugin.
noinst_LTLIBRARIES += libpeft.la liblora.la
# PEFT's files: also for the folders of adapters that belong to a checkpoint
libpeft_la_SOURCES = plugins/lora/peft_adapter.c plugins/lora/peft_adapter.h \
	plugins/lora/peft_config.c plugins/lora/peft_config.h \
	plugins/lora/pattern.c plugins/lora/pattern.h
libpeft_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) $(PCRE2_CFLAGS)
liblora_la_SOURCES = plugins/lora/plugin.c
liblora_la_CFLAGS = $(AM_CFLAGS) $(JSONC_CFLAGS) -pthread
liblora_la_LIBADD = libpeft.la libcheckpoint.la libops.la libbase.la $(PCRE2_LIBS)
airlockplugin_LTLIBRARIES += plugins/lora.la
plugins_lora_la_SOURCES =
plugins_lora_la_LIBADD = liblora.la
plugins_lora_la_LDFLAGS = $(PLUGIN_LDFLAGS)
