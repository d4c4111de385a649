/*
 * plugin_descriptor.c - judges the versions and the descriptor that an opened plugin gives.
 */
#include "plugin_descriptor.h"

#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
#include <inttypes.h>
#include <string.h>

enum {
    MAX_CLASSES = 64,
    MAX_ID = 128, /* bytes of an id, a version or a class name */
    MAX_SCHEMA = 1 << 20
};

/* Sizes of ABI 1.0: no plugin's struct is smaller.  Frozen. */
enum { PLUGIN_SIZE_1_0 = 40, CLASS_SIZE_1_0 = 32 };
#define MODEL_SIZE_1_0 (offsetof(llm_model_class, device) + sizeof(void *))
#define ADAPTER_SIZE_1_0 (offsetof(llm_adapter_class, memory) + sizeof(void *))

int plugin_version_judge(const char *id, uint32_t major, uint32_t target, uint32_t needed,
                         uint32_t host_minor, struct airlock_error *err)
{
    if (major != LLM_ABI_MAJOR)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s is built for ABI %" PRIu32 ".x, this host has %d.%" PRIu32
                                 ": build it against this host's headers",
                                 id, major, LLM_ABI_MAJOR, host_minor);
    if (needed > target)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%s says that it needs ABI 1.%" PRIu32
                                 " but was built for 1.%" PRIu32 ": use LLM_PLUGIN_HEAD",
                                 id, needed, target);
    if (needed > host_minor)
        return airlock_error_set(
            err, AIRLOCK_E_CONFIG,
            "%s needs ABI 1.%" PRIu32 ", this host has 1.%" PRIu32
            ": install a newer Airlock, or a version of the plugin for 1.%" PRIu32,
            id, needed, host_minor, host_minor);
    return 0;
}

static int bad(struct airlock_error *err, const char *id, const char *class_name, const char *why)
{
    return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s%s: %s", id, class_name ? ", class " : "",
                             class_name ? class_name : "", why);
}

/* A non-empty name of printable ASCII without space. */
static bool good_name(const char *s)
{
    size_t n = s ? strnlen(s, MAX_ID + 1) : 0;
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~')
            return false;
    return n > 0 && n <= MAX_ID;
}

static int check_model(const llm_model_class *m, const char *id, const char *name,
                       struct airlock_error *err)
{
    if (m->struct_size < MODEL_SIZE_1_0)
        return bad(err, id, name,
                   "llm_model_class.struct_size is smaller than in ABI 1.0: begin "
                   "it with sizeof(llm_model_class)");
    if (!m->create || !m->load || !m->generate || !m->destroy)
        return bad(err, id, name, "create, load, generate and destroy are required");
    if ((m->caps & LLM_CAP_ADAPTERS) && (!m->site || !m->attach || !m->detach))
        return bad(err, id, name, "LLM_CAP_ADAPTERS needs site, attach and detach");
    return 0;
}

static int check_adapter(const llm_adapter_class *a, const char *id, const char *name,
                         struct airlock_error *err)
{
    if (a->struct_size < ADAPTER_SIZE_1_0)
        return bad(err, id, name,
                   "llm_adapter_class.struct_size is smaller than in ABI 1.0: begin "
                   "it with sizeof(llm_adapter_class)");
    if (!a->open || !a->target || !a->apply || !a->close)
        return bad(err, id, name, "open, target, apply and close are required");
    return 0;
}

static int check_class(const llm_class *c, const char *id, struct airlock_error *err)
{
    if (c->struct_size < CLASS_SIZE_1_0)
        return bad(err, id, NULL,
                   "llm_class.struct_size is smaller than in ABI 1.0: begin it with "
                   "sizeof(llm_class)");
    if (!good_name(c->name))
        return bad(err, id, NULL, "a class has no name, or one with white space");
    if (c->options_schema && strnlen(c->options_schema, MAX_SCHEMA) == MAX_SCHEMA)
        return bad(err, id, c->name, "options_schema is larger than 1 MiB");
    if (!c->impl)
        return bad(err, id, c->name, "impl is NULL");
    if (c->kind == LLM_KIND_MODEL)
        return check_model((const llm_model_class *)c->impl, id, c->name, err);
    if (c->kind == LLM_KIND_ADAPTER)
        return check_adapter((const llm_adapter_class *)c->impl, id, c->name, err);
    return 0; /* a kind that this host does not know: nobody will ask for it */
}

int plugin_descriptor_judge(const llm_plugin *p, const struct plugin_elf *elf, uint32_t host_minor,
                            struct airlock_error *err)
{
    if (!p)
        return bad(err, "llm_plugin_query_1", NULL, "returned NULL");
    if (p->struct_size < PLUGIN_SIZE_1_0)
        return bad(err, "llm_plugin_query_1", NULL,
                   "llm_plugin.struct_size is smaller than in ABI "
                   "1.0: begin it with LLM_PLUGIN_HEAD");
    const char *id = good_name(p->id) ? p->id : "(plugin without id)";
    if (plugin_version_judge(id, p->abi_major, p->abi_target, p->abi_needed, host_minor, err) != 0)
        return -1;
    if (!good_name(p->id) || !good_name(p->version))
        return bad(err, id, NULL, "id or version is missing, or has white space");
    if (elf && elf->has_note &&
        (elf->note[0] != p->abi_major || elf->note[1] != p->abi_target ||
         elf->note[2] != p->abi_needed))
        return bad(err, id, NULL, "the ELF note says other versions than the descriptor");
    if (!p->classes || !p->classes[0])
        return bad(err, id, NULL, "it has no classes");
    for (unsigned i = 0; p->classes[i]; i++) {
        if (i == MAX_CLASSES)
            return bad(err, id, NULL, "more than 64 classes: end the list with NULL");
        if (check_class(p->classes[i], id, err) != 0)
            return -1;
        for (unsigned k = 0; k < i; k++)
            if (p->classes[k]->kind == p->classes[i]->kind &&
                strcmp(p->classes[k]->name, p->classes[i]->name) == 0)
                return bad(err, id, p->classes[i]->name, "the class is there twice");
    }
    return 0;
}
