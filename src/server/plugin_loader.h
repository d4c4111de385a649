/*
 * plugin_loader.h - finds, judges and loads plugins, and looks up their classes; nothing is ever
 * unloaded.
 *
 * One loader per process, used from the main thread before the server listens (libltdl is not
 * thread-safe, and loading beside CUDA's own threads can deadlock).
 */
#ifndef AIRLOCK_PLUGIN_LOADER_H
#define AIRLOCK_PLUGIN_LOADER_H

#include "server/plugin_file.h"

#include <airlock/llm_abi.h>

struct plugin {
    struct plugin *next;
    char *path;
    struct plugin_file file;      /* its descriptor stays open: see plugin_loader.c */
    const llm_plugin *descriptor; /* valid for the life of the process */
};

struct plugin_loader {
    const char *folder;     /* borrowed: the plugin directory */
    struct plugin *plugins; /* loaded so far */
};

int plugin_loader_open(const char *folder, struct plugin_loader *out, struct airlock_error *err);

/*
 * The class of that kind, from:
 *   which == NULL    the one module of the plugin directory that has class_name
 *   a path           that file
 *   a name           that module of the plugin directory
 * class_name NULL: the first class of that kind.  sha256: see plugin_file_open().  NULL with err.
 */
const llm_class *plugin_loader_find(struct plugin_loader *loader, const char *which,
                                    const unsigned char *sha256, const char *class_name,
                                    uint32_t kind, const struct plugin **plugin,
                                    struct airlock_error *err);

/* Frees the bookkeeping; the plugins stay mapped. */
void plugin_loader_close(struct plugin_loader *loader);

#endif
