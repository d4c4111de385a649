/* model_config.c - see model_config.h. */
#include "server/model_config.h"

#include "common/bytes.h"
#include "common/io.h"
#include "common/json.h"
#include "common/limits.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MODELS_MAX = 64, WHERE_MAX = 256, SHA256_BYTES = 32 };

/* One entry being read. */
struct reader {
    struct json_object *o;
    const char *where; /* "models[0]." */
    const char *folder;
    struct airlock_error *err;
};

static int fault(const struct reader *r, const char *key, const char *text)
{
    return airlock_error_set(r->err, AIRLOCK_E_CONFIG, "%s%s %s", r->where, key, text);
}

static bool is_directory(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* FOLDER/PATH made absolute when it is there as wanted, else NULL. */
static char *find_in(const char *folder, const char *path, bool directory)
{
    char joined[PATH_MAX];
    int n = snprintf(joined, sizeof joined, "%s%s%s", path[0] == '/' ? "" : folder,
                     path[0] == '/' ? "" : "/", path);
    if (n < 0 || (size_t)n >= sizeof joined || (directory && !is_directory(joined)))
        return NULL;
    return realpath(joined, NULL);
}

/* A checkpoint's place: the directory that it names, or the text itself. */
static char *resolve(const char *folder, const char *path)
{
    char *found = find_in(folder, path, true);
    return found ? found : strdup(path);
}

/* 1..LIMIT_NAME_BYTES printable bytes without those in forbidden. */
static bool good_name(const char *name, const char *forbidden)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)name[i] < 0x20 || name[i] == 0x7f || strchr(forbidden, name[i]))
            return false;
    return n > 0 && n <= LIMIT_NAME_BYTES;
}

bool config_adapter_name(const char *name)
{
    return good_name(name, "") && strcmp(name, "base") != 0;
}

static int required_string(const struct reader *r, const char *key, const char **out)
{
    return json_require(json_get_string(r->o, r->where, key, out, NULL, r->err), r->where, key,
                        r->err);
}

static int read_unsigned(const struct reader *r, const char *key, int64_t min, int64_t max,
                         unsigned *out)
{
    int64_t value;
    int found = json_get_int(r->o, r->where, key, min, max, &value, r->err);
    if (found > 0)
        *out = (unsigned)value;
    return found < 0 ? -1 : 0;
}

static int read_count(const struct reader *r, const char *key, int64_t max, uint64_t *out)
{
    int64_t value;
    int found = json_get_int(r->o, r->where, key, 1, max, &value, r->err);
    if (found > 0)
        *out = (uint64_t)value;
    return found < 0 ? -1 : 0;
}

static int read_adapters(const struct reader *r, struct model_config *m)
{
    struct json_object *map = NULL;
    if (json_get_object(r->o, r->where, "adapter_map", &map, r->err) < 0)
        return -1;
    size_t n = map ? (size_t)json_object_object_length(map) : 0;
    if (n > LIMIT_ADAPTERS)
        return fault(r, "adapter_map", "has more than 1024 adapters");
    m->adapters = calloc(n ? n : 1, sizeof *m->adapters);
    if (!m->adapters)
        return fault(r, "adapter_map", "does not fit in memory");
    if (!map)
        return 0;
    char where[2 * WHERE_MAX];
    snprintf(where, sizeof where, "%sadapter_map.", r->where);
    json_object_object_foreach(map, name, value)
    {
        struct reader inner = { map, where, r->folder, r->err };
        const char *path = NULL;
        (void)value;
        if (strcmp(name, "base") == 0)
            return fault(&inner,
                         "base:", "the name base is reserved for the model without adapter");
        if (!good_name(name, ""))
            return fault(r, "adapter_map",
                         "has a name that is empty, longer than 128 bytes or "
                         "has control characters");
        if (required_string(&inner, name, &path) < 0)
            return -1;
        if (!*path)
            return fault(&inner, name, "must not be empty");
        struct adapter_config *a = &m->adapters[m->n_adapters++];
        a->name = name;
        a->path = resolve(r->folder, path);
        if (!a->path)
            return fault(&inner, name, "does not fit in memory");
    }
    return 0;
}

/* A module name stays one, a path becomes absolute and must be there. */
static int read_plugin(const struct reader *r, const char *key, char **out)
{
    const char *text = NULL;
    if (json_get_string(r->o, r->where, key, &text, NULL, r->err) < 0)
        return -1;
    if (!text)
        return 0;
    if (!*text || strcmp(text, ".") == 0 || strcmp(text, "..") == 0)
        return fault(r, key, "must be a module name or the path of a .so file");
    if (!strchr(text, '/')) {
        *out = strdup(text);
    } else { /* symbolic links are judged by the loader, not followed here */
        char joined[PATH_MAX];
        int n = text[0] == '/' ? snprintf(joined, sizeof joined, "%s", text)
                               : snprintf(joined, sizeof joined, "%s/%s", r->folder, text);
        if (n < 0 || (size_t)n >= sizeof joined)
            return fault(r, key, "is too long a path");
        *out = strdup(joined);
    }
    return *out ? 0 : fault(r, key, "does not fit in memory");
}

static int read_sha256(const struct reader *r, struct model_config *m)
{
    const char *text = NULL;
    if (json_get_string(r->o, r->where, "plugin_sha256", &text, NULL, r->err) < 0)
        return -1;
    if (!text)
        return 0;
    if (strlen(text) != 2 * SHA256_BYTES ||
        strspn(text, "0123456789abcdefABCDEF") != 2 * SHA256_BYTES)
        return fault(r, "plugin_sha256", "must be 64 hexadecimal digits");
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        unsigned byte;
        sscanf(text + 2 * i, "%2x", &byte);
        m->sha256[i] = (unsigned char)byte;
    }
    m->has_sha256 = true;
    return 0;
}

static int read_device(const struct reader *r, struct model_config *m)
{
    if (json_get_string(r->o, r->where, "device", &m->device, NULL, r->err) < 0)
        return -1;
    const char *d = m->device;
    if (!*d || strcmp(d, "auto") == 0 || strcmp(d, "cpu") == 0 || strcmp(d, "cuda") == 0)
        return 0;
    size_t digits = strncmp(d, "cuda:", 5) == 0 ? strspn(d + 5, "0123456789") : 0;
    if (digits == 0 || digits > 3 || d[5 + digits])
        return fault(r, "device", "must be auto, cpu, cuda or cuda:N");
    return 0;
}

static int read_options(const struct reader *r, struct model_config *m)
{
    if (json_get_object(r->o, r->where, "options", &m->options, r->err) < 0)
        return -1;
    if (m->options)
        m->options_json = json_object_to_json_string_ext(
            m->options, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    return 0;
}

static int read_names(const struct reader *r, struct model_config *m)
{
    const char *path = NULL;
    if (required_string(r, "name", &m->name) < 0 ||
        required_string(r, "class_name", &m->class_name) < 0 ||
        required_string(r, "model_path", &path) < 0)
        return -1;
    if (!good_name(m->name, ":/ "))
        return fault(r, "name",
                     "must have 1 to 128 bytes without ':', '/', spaces or control "
                     "characters");
    if (!good_name(m->class_name, ""))
        return fault(r, "class_name", "must have 1 to 128 bytes without control characters");
    if (!*path)
        return fault(r, "model_path", "must not be empty");
    m->written_path = path;
    m->model_path = resolve(r->folder, path);
    return m->model_path ? 0 : fault(r, "model_path", "does not fit in memory");
}

static int read_model(const struct reader *r, struct model_config *m)
{
    static const char *const keys[] = {
        "name",    "class_name",  "model_path",    "adapter_map", "max_concurrent_per_adapter",
        "queue",   "plugin",      "plugin_sha256", "device",      "adapter_plugin",
        "dtype",   "max_context", "max_batch",     "kv_memory",   "threads",
        "options", NULL
    };
    m->device = m->dtype = m->options_json = "";
    m->max_concurrent_per_adapter = 1;
    m->queue = LIMIT_QUEUE;
    if (json_only_keys(r->o, r->where, keys, r->err) < 0 || read_names(r, m) < 0 ||
        read_adapters(r, m) < 0 ||
        read_unsigned(r, "max_concurrent_per_adapter", 1, LIMIT_CONCURRENT,
                      &m->max_concurrent_per_adapter) < 0 ||
        read_unsigned(r, "queue", 0, LIMIT_QUEUE_MAX, &m->queue) < 0 ||
        read_plugin(r, "plugin", &m->plugin) < 0 ||
        read_plugin(r, "adapter_plugin", &m->adapter_plugin) < 0 || read_sha256(r, m) < 0 ||
        read_device(r, m) < 0 ||
        json_get_string(r->o, r->where, "dtype", &m->dtype, NULL, r->err) < 0 ||
        read_count(r, "max_context", 1 << 24, &m->max_context) < 0 ||
        read_count(r, "max_batch", 4096, &m->max_batch) < 0 ||
        read_count(r, "threads", 4096, &m->threads) < 0 ||
        json_get_size(r->o, r->where, "kv_memory", &m->kv_memory, r->err) < 0 ||
        read_options(r, m) < 0)
        return -1;
    if (m->has_sha256 && !m->plugin)
        return fault(r, "plugin_sha256", "needs plugin: say which file it is of");
    return 0;
}

static int read_models(struct server_config *out, const char *folder, struct airlock_error *err)
{
    static const char *const keys[] = { "models", NULL };
    struct json_object *list = NULL;
    if (!json_object_is_type(out->root, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "the document must be an object");
    if (json_only_keys(out->root, "", keys, err) < 0 ||
        json_require(json_get_array(out->root, "", "models", &list, err), "", "models", err) < 0)
        return -1;
    size_t n = json_object_array_length(list);
    if (n == 0 || n > MODELS_MAX)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "models must have 1 to %d entries, not %zu",
                                 MODELS_MAX, n);
    out->models = calloc(n, sizeof *out->models);
    if (!out->models)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char where[WHERE_MAX];
        snprintf(where, sizeof where, "models[%zu].", i);
        struct reader r = { json_object_array_get_idx(list, i), where, folder, err };
        out->n_models = i + 1;
        if (!json_object_is_type(r.o, json_type_object))
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "models[%zu] must be an object", i);
        if (read_model(&r, &out->models[i]) < 0)
            return -1;
        for (size_t k = 0; k < i; k++)
            if (strcmp(out->models[k].name, out->models[i].name) == 0)
                return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                         "models[%zu].name is the same as models[%zu].name: %s", i,
                                         k, out->models[i].name);
    }
    return 0;
}

int config_parse(const char *text, size_t size, const char *folder, struct server_config *out,
                 struct airlock_error *err)
{
    *out = (struct server_config){ 0 };
    out->root = json_parse_max(text, size, LIMIT_REQUEST_VALUES, err);
    int rc = out->root ? read_models(out, folder, err) : -1;
    if (rc < 0) {
        if (err)
            err->code = AIRLOCK_E_CONFIG;
        config_free(out);
    }
    return rc;
}

int config_load(const char *path, struct server_config *out, struct airlock_error *err)
{
    struct bytes text = BYTES_INIT(LIMIT_CONFIG_BYTES);
    *out = (struct server_config){ 0 };
    if (io_read_file(path, &text, err) < 0) /* names the path itself */
        return -1;
    char written[PATH_MAX];
    int rc = -1;
    snprintf(written, sizeof written, "%s", path); /* it was opened: not longer */
    char *slash = strrchr(written, '/');
    if (slash)
        slash[slash == written] = 0; /* the folder; "/" stays */
    char *folder = realpath(slash ? written : ".", NULL);
    if (folder) {
        rc = config_parse(text.data ? text.data : "", text.size, folder, out, err);
        if (rc < 0)
            airlock_error_wrap(err, "%s", path);
    } else {
        airlock_error_set(err, AIRLOCK_E_IO, "%s: its folder went away while it was read", path);
    }
    free(folder);
    bytes_free(&text);
    return rc;
}

void config_free(struct server_config *config)
{
    for (size_t i = 0; i < config->n_models; i++) {
        struct model_config *m = &config->models[i];
        for (size_t k = 0; k < m->n_adapters; k++)
            free(m->adapters[k].path);
        free(m->adapters);
        free(m->model_path);
        free(m->plugin);
        free(m->adapter_plugin);
    }
    free(config->models);
    json_object_put(config->root);
    *config = (struct server_config){ 0 };
}
