/*
 * check_file.c - checks of the file and of its descriptor: what a host sees before it makes an
 * instance.
 */
#include "check.h"
#include "common/io.h"
#include "common/json.h"
#include "common/plugin_elf.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { PLUGIN_BYTES = 1 << 30, OPEN_MS = 100 };

static enum outcome preflight(const struct subject *s, struct report *r)
{
    struct bytes file = BYTES_INIT(PLUGIN_BYTES);
    struct plugin_elf elf = { 0 };
    struct airlock_error err;
    int rc = io_read_file(s->options->plugin, &file, &err);
    if (rc == 0)
        rc = plugin_elf_judge(file.data, file.size, &elf, &err);
    bytes_free(&file);
    if (rc != 0)
        return failed(r, "%s", err.text);
    note(r,
         elf.has_note ? "built for ABI %u.%u"
                      : "no LLM_NOTE: versions are known only after it runs",
         elf.note[0], elf.note[1]);
    return PASSED;
}

static enum outcome opens_quietly(const struct subject *s, struct report *r)
{
    struct footprint before, after;
    struct airlock_error err;
    struct subject opened = { .options = s->options };
    if (preflight(s, r) != PASSED)
        return skipped(r, "it does not pass the pre-flight");
    footprint_take(&before);
    uint64_t start = io_now_ns();
    if (subject_open(s->options->plugin, s->options->class_name, 0, &opened, &err) != 0)
        return failed(r, "%s", err.text);
    uint64_t ms = (io_now_ns() - start) / 1000000;
    footprint_take(&after);
    note(r, "opened in %llu ms", (unsigned long long)ms);
    if (after.threads > before.threads)
        return failed(r, "opening and asking it left a thread behind");
    if (after.descriptors > before.descriptors)
        return failed(r, "opening and asking it left a file descriptor open");
    return PASSED;
}

static enum outcome same_answer_twice(const struct subject *s, struct report *r)
{
    void *object = dlopen(s->options->plugin, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    const llm_plugin *(*query)(void);
    void *symbol = object ? dlsym(object, "llm_plugin_query_1") : NULL;
    if (!symbol)
        return failed(r, "cannot be opened again: %s", dlerror());
    memcpy(&query, &symbol, sizeof query);
    if (query() != s->plugin || query() != s->plugin)
        return failed(r, "llm_plugin_query_1() returned another pointer the second time");
    return PASSED;
}

/* Of a plugin that targets 1.0, whose sizes are known to the byte. */
static enum outcome known_sizes(const struct subject *s, struct report *r)
{
    const llm_plugin *p = s->plugin;
    if (p->abi_target > LLM_ABI_MINOR)
        return skipped(r, "it targets ABI 1.%u, which is newer than this program", p->abi_target);
    uint32_t impl = s->model ? s->model->struct_size : s->adapter->struct_size;
    uint32_t wanted = s->model ? sizeof(llm_model_class) : sizeof(llm_adapter_class);
    if (p->struct_size != sizeof *p)
        return failed(r, "llm_plugin.struct_size is %u, in its ABI it is %zu", p->struct_size,
                      sizeof *p);
    if (s->class->struct_size != sizeof *s->class)
        return failed(r, "llm_class.struct_size is %u, in its ABI it is %zu", s->class->struct_size,
                      sizeof *s->class);
    if (impl != wanted)
        return failed(r, "struct_size of the class's functions is %u, in its ABI it is %u", impl,
                      wanted);
    return PASSED;
}

static enum outcome schema_is_json(const struct subject *s, struct report *r)
{
    struct airlock_error err;
    const char *schema = s->class->options_schema;
    if (!schema)
        return skipped(r, "it takes no options");
    struct json_object *root = json_parse(schema, strlen(schema), &err);
    struct json_object *type = NULL, *properties = NULL;
    bool object = root && json_object_object_get_ex(root, "type", &type) &&
                  json_object_is_type(type, json_type_string) &&
                  strcmp(json_object_get_string(type), "object") == 0;
    bool listed = root && json_object_object_get_ex(root, "properties", &properties) &&
                  json_object_is_type(properties, json_type_object);
    json_object_put(root);
    if (!root)
        return failed(r, "options_schema: %s", err.text);
    if (!object || !listed)
        return failed(r, "options_schema is not {\"type\": \"object\", \"properties\": {...}}");
    return PASSED;
}

static enum outcome caps_are_known(const struct subject *s, struct report *r)
{
    const uint32_t known = LLM_CAP_MORE_ADAPTERS * 2 - 1;
    if (s->plugin->abi_target <= LLM_ABI_MINOR && s->model && (s->model->caps & ~known))
        return failed(r, "caps has bits that its ABI does not name: 0x%x", s->model->caps & ~known);
    if (s->plugin->abi_target <= LLM_ABI_MINOR && s->adapter && s->adapter->caps)
        return failed(r, "caps of an adapter must be 0, it is 0x%x", s->adapter->caps);
    return PASSED;
}

const struct check file_checks[] = {
    { "file: passes the pre-flight", TO_FILE, preflight,
      "build it with `cc $(pkg-config --cflags --libs airlock-plugin)`" },
    { "file: opens and describes itself without threads, descriptors or errors", TO_FILE,
      opens_quietly, "constructors and llm_plugin_query_1() do nothing but return static data" },
    { "descriptor: is the same each time", TO_ANY, same_answer_twice,
      "return the address of one static const llm_plugin" },
    { "descriptor: sizes are those of its ABI", TO_ANY, known_sizes,
      "begin every struct with its own sizeof; use LLM_PLUGIN_HEAD" },
    { "descriptor: options_schema is a JSON Schema of an object", TO_ANY, schema_is_json,
      "or leave options_schema NULL" },
    { "descriptor: caps are known", TO_ANY, caps_are_known,
      "set only LLM_CAP_ bits; zero what is reserved" },
    { 0 }
};
