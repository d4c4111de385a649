/*
 * subject.c - opens a plugin as a host does: pre-flight, dlopen, query, class.
 */
#include "check.h"
#include "common/io.h"
#include "common/plugin_descriptor.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { PLUGIN_BYTES = 1 << 30 };

static int preflight(const char *path, struct plugin_elf *elf, struct airlock_error *err)
{
    struct bytes file = BYTES_INIT(PLUGIN_BYTES);
    int rc = io_read_file(path, &file, err);
    if (rc == 0) {
        rc = plugin_elf_judge(file.data, file.size, elf, err);
        if (rc != 0)
            airlock_error_wrap(err, "%s", path);
    }
    bytes_free(&file);
    return rc;
}

static const llm_class *find_class(const llm_plugin *p, const char *name, uint32_t kind)
{
    for (const llm_class *const *c = p->classes; *c; c++)
        if ((kind == 0 || (*c)->kind == kind) && (!name || strcmp((*c)->name, name) == 0))
            return *c;
    return NULL;
}

int subject_open(const char *path, const char *class_name, uint32_t kind, struct subject *out,
                 struct airlock_error *err)
{
    struct plugin_elf elf;
    char absolute[PATH_MAX];
    if (!realpath(path, absolute))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: no such file", path);
    if (preflight(absolute, &elf, err) != 0)
        return -1;
    void *object = dlopen(absolute, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!object)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "cannot be opened: %s", dlerror());
    const llm_plugin *(*query)(void);
    void *symbol = dlsym(object, "llm_plugin_query_1");
    memcpy(&query, &symbol, sizeof query);
    const llm_plugin *p = query();
    if (plugin_descriptor_judge(p, &elf, LLM_ABI_MINOR, err) != 0)
        return -1;
    out->plugin = p;
    out->class = find_class(p, class_name, kind);
    if (!out->class)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s has no class %s that fits here", p->id,
                                 class_name ? class_name : "at all");
    out->model = out->class->kind == LLM_KIND_MODEL ? out->class->impl : NULL;
    out->adapter = out->class->kind == LLM_KIND_ADAPTER ? out->class->impl : NULL;
    return 0;
}
