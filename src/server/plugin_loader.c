/* plugin_loader.c - see plugin_loader.h. */
#include "server/plugin_loader.h"

#include "common/log.h"
#include "common/plugin_descriptor.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <ltdl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char ENTRY[] = "llm_plugin_query_1";
enum { MODULES_MAX = 256 };

typedef const llm_plugin *(*query_function)(void);

int plugin_loader_open(const char *folder, struct plugin_loader *out, struct airlock_error *err)
{
    *out = (struct plugin_loader){ .folder = folder };
    /* names of ours are absolute; this is for what libltdl itself would look up */
    unsetenv("LTDL_LIBRARY_PATH");
    unsetenv("LD_LIBRARY_PATH");
    if (lt_dlinit() != 0)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "libltdl: %s", lt_dlerror());
    return 0;
}

void plugin_loader_close(struct plugin_loader *loader)
{
    while (loader->plugins) {
        struct plugin *p = loader->plugins;
        loader->plugins = p->next;
        free(p->path);
        free(p); /* neither lt_dlclose() nor close(): see load_file() */
    }
}

/*
 * Maps the judged descriptor.  dlopen() comes first because it binds everything now and says what
 * is wrong; libltdl then finds the same object by the same name and keeps it.  The descriptor must
 * stay open as long as the process lives: glibc compares names, and another file under the same
 * /proc/self/fd/N would be answered with this object.
 */
static query_function map_file(const char *path, int fd, struct airlock_error *err)
{
    char name[32];
    query_function query = NULL;
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    void *object = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!object) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "%s cannot be loaded: %s", path, dlerror());
        return NULL;
    }
    lt_dladvise advice;
    lt_dlhandle handle = NULL;
    if (lt_dladvise_init(&advice) == 0) {
        lt_dladvise_local(&advice);
        lt_dladvise_resident(&advice);
        handle = lt_dlopenadvise(name, advice);
        lt_dladvise_destroy(&advice);
    }
    void *symbol = handle ? lt_dlsym(handle, ENTRY) : NULL;
    if (!symbol || symbol != dlsym(object, ENTRY)) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "%s cannot be loaded by libltdl: %s", path,
                          handle ? "another object answers for it" : lt_dlerror());
        return NULL;
    }
    memcpy(&query, &symbol, sizeof query);
    return query;
}

static const struct plugin *load_file(struct plugin_loader *loader, const char *path,
                                      const unsigned char *sha256, struct airlock_error *err)
{
    struct plugin_file file;
    if (plugin_file_open(path, sha256, &file, err) < 0)
        return NULL;
    for (struct plugin *p = loader->plugins; p; p = p->next) {
        if (p->file.device == file.device && p->file.inode == file.inode) {
            plugin_file_close(&file);
            return p;
        }
    }
    if (file.elf.has_note && plugin_version_judge(path, file.elf.note[0], file.elf.note[1],
                                                  file.elf.note[2], LLM_ABI_MINOR, err) < 0) {
        plugin_file_close(&file);
        return NULL;
    }
    struct plugin *p = calloc(1, sizeof *p);
    char *copy = strdup(path);
    query_function query = NULL;
    if (p && copy)
        query = map_file(path, file.fd, err);
    else
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "%s: out of memory", path);
    const llm_plugin *descriptor = query ? query() : NULL;
    int rc = query ? plugin_descriptor_judge(descriptor, &file.elf, LLM_ABI_MINOR, err) : -1;
    if (rc < 0 && query)
        airlock_error_wrap(err, "%s", path);
    if (rc < 0) {
        free(copy);
        free(p);
        return NULL; /* file.fd stays open when mapped; the server does not start after this */
    }
    *p = (struct plugin){ loader->plugins, copy, file, descriptor };
    loader->plugins = p;
    log_debug("plugin %s: %s %s, ABI 1.%u", path, descriptor->id, descriptor->version,
              descriptor->abi_target);
    return p;
}

static const llm_class *class_of(const struct plugin *p, const char *class_name, uint32_t kind)
{
    for (const llm_class *const *c = p->descriptor->classes; *c; c++)
        if ((*c)->kind == kind && (!class_name || strcmp((*c)->name, class_name) == 0))
            return *c;
    return NULL;
}

static int is_module(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);
    return n > 3 && entry->d_name[0] != '.' && strcmp(entry->d_name + n - 3, ".so") == 0;
}

/* The search over the plugin directory. */
struct search {
    struct plugin_loader *loader;
    const char *class_name;
    uint32_t kind;
    const llm_class *found;
    const struct plugin *plugin;
    struct airlock_error first; /* why a module could not be looked at */
    unsigned unusable;
};

/* 0, or -1: the class is in two modules. */
static int search_module(struct search *s, const char *path, struct airlock_error *err)
{
    struct airlock_error why;
    const struct plugin *p = load_file(s->loader, path, NULL, &why);
    if (!p) {
        log_warning("%s", why.text);
        if (s->unusable++ == 0)
            s->first = why;
        return 0;
    }
    const llm_class *c = class_of(p, s->class_name, s->kind);
    if (!c || p == s->plugin)
        return 0;
    if (s->found)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "class_name %s is in both %s and %s: say which with \"plugin\"",
                                 s->class_name, s->plugin->path, path);
    s->found = c;
    s->plugin = p;
    return 0;
}

static int search_folder(struct search *s, struct airlock_error *err)
{
    struct dirent **entries;
    int n = scandir(s->loader->folder, &entries, is_module, alphasort);
    if (n < 0)
        return airlock_error_errno(err, errno, "plugin directory %s", s->loader->folder);
    int rc = n > MODULES_MAX ? airlock_error_set(err, AIRLOCK_E_CONFIG,
                                                 "plugin directory %s has more than %d modules",
                                                 s->loader->folder, MODULES_MAX)
                             : 0;
    for (int i = 0; i < n; i++) {
        char path[PATH_MAX];
        int size = snprintf(path, sizeof path, "%s/%s", s->loader->folder, entries[i]->d_name);
        if (rc == 0 && size > 0 && (size_t)size < sizeof path)
            rc = search_module(s, path, err);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static const llm_class *find_anywhere(struct plugin_loader *loader, const char *class_name,
                                      uint32_t kind, const struct plugin **plugin,
                                      struct airlock_error *err)
{
    struct search s = { .loader = loader, .class_name = class_name, .kind = kind };
    if (search_folder(&s, err) < 0)
        return NULL;
    if (!s.found && s.unusable)
        airlock_error_set(err, AIRLOCK_E_CONFIG,
                          "class_name %s is in no module of %s; not looked at: %s", class_name,
                          loader->folder, s.first.text);
    else if (!s.found)
        airlock_error_set(err, AIRLOCK_E_CONFIG, "class_name %s is in no module of %s", class_name,
                          loader->folder);
    *plugin = s.plugin;
    return s.found;
}

const llm_class *plugin_loader_find(struct plugin_loader *loader, const char *which,
                                    const unsigned char *sha256, const char *class_name,
                                    uint32_t kind, const struct plugin **plugin,
                                    struct airlock_error *err)
{
    if (!which)
        return find_anywhere(loader, class_name, kind, plugin, err);
    char path[PATH_MAX];
    int n = strchr(which, '/') ? snprintf(path, sizeof path, "%s", which)
                               : snprintf(path, sizeof path, "%s/%s.so", loader->folder, which);
    if (n < 0 || (size_t)n >= sizeof path) {
        airlock_error_set(err, AIRLOCK_E_CONFIG, "plugin %.64s...: too long a path", which);
        return NULL;
    }
    *plugin = load_file(loader, path, sha256, err);
    const llm_class *c = *plugin ? class_of(*plugin, class_name, kind) : NULL;
    if (*plugin && !c)
        airlock_error_set(err, AIRLOCK_E_CONFIG, "%s has no %s class%s%s", path,
                          kind == LLM_KIND_MODEL ? "model" : "adapter", class_name ? " " : "",
                          class_name ? class_name : "");
    return c;
}
