/* bridge_config.c - reads and judges the bridge's configuration; see bridge_config.h. */
#include "bridge_config.h"

#include "common/http_server.h"
#include "common/json.h"
#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void bridge_config_init(struct bridge_config *config)
{
    *config = (struct bridge_config){
        .listen = "127.0.0.1:8000",
        .request_seconds = 600, /* a long answer on a small machine */
        .max_connections = 512,
        .stream_bytes = LIMIT_STREAMED_BYTES,
        .limits = { .channels = 64, /* a process each */
                    .waiters = 256,
                    .wait_seconds = 30,
                    .idle_seconds = 60,
                    .warm = 1 },
    };
}

int bridge_config_add(struct bridge_config *config, const char *name, enum runtime runtime,
                      struct airlock_error *err)
{
    if (!container_name_valid(name, strlen(name)))
        return airlock_error_set(
            err, AIRLOCK_E_CONFIG,
            "'%.128s' is no container name: expected 1 to 128 letters, digits, "
            "'_', '.' and '-', a letter or digit first",
            name);
    for (unsigned i = 0; i < config->n_containers; i++)
        if (strcmp(config->containers[i].name, name) == 0)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "container '%s' is enrolled twice",
                                     name);
    if (config->n_containers == CONFIG_CONTAINERS_MAX)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "more than %d containers",
                                 CONFIG_CONTAINERS_MAX);
    config->containers[config->n_containers++] =
        (struct container){ .name = name, .runtime = runtime };
    return 0;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* Text that becomes an argument or a path: not empty, no control characters. */
static int get_text(struct json_object *o, const char *where, const char *key, const char **out,
                    struct airlock_error *err)
{
    int found = json_get_string(o, where, key, out, NULL, err);
    if (found <= 0)
        return found;
    for (const unsigned char *p = (const unsigned char *)*out; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s has a control character", where,
                                     key);
    if (!**out)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s is empty", where, key);
    return 1;
}

/* As get_text, for what must be an absolute path. */
static int get_path(struct json_object *o, const char *where, const char *key, const char **out,
                    struct airlock_error *err)
{
    int found = get_text(o, where, key, out, err);
    if (found > 0 && **out != '/')
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s must be an absolute path", where,
                                 key);
    return found;
}

/* As get_text, for what becomes an argument of its own: it must not look like an option. */
static int get_word(struct json_object *o, const char *where, const char *key, const char **out,
                    struct airlock_error *err)
{
    int found = get_text(o, where, key, out, err);
    if (found > 0 && **out == '-')
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s must not begin with '-'", where, key);
    return found;
}

static int get_unsigned(struct json_object *o, const char *key, int64_t min, int64_t max,
                        unsigned *out, struct airlock_error *err)
{
    int64_t value;
    int found = json_get_int(o, "", key, min, max, &value, err);
    if (found > 0)
        *out = (unsigned)value;
    return found;
}

static int read_command(struct bridge_config *config, struct container *c, struct json_object *o,
                        const char *where, struct airlock_error *err)
{
    struct json_object *list = NULL;
    int found = json_get_array(o, where, "command", &list, err);
    if (found < 0)
        return -1;
    if ((c->runtime == RUNTIME_CUSTOM) != (found > 0))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%scommand belongs to the runtime \"custom\", and only to it",
                                 where);
    if (found == 0)
        return 0;
    size_t n = json_object_array_length(list);
    if (n < 1 || n > COMMAND_ARGS_MAX - 1)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%scommand must have 1 to %d items", where,
                                 COMMAND_ARGS_MAX - 1);
    const char **command = calloc(n + 1, sizeof *command);
    if (!command)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    config->commands[config->n_commands++] = command;
    for (size_t i = 0; i < n; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        command[i] = json_object_get_string(item);
        if (!json_object_is_type(item, json_type_string) ||
            strlen(command[i]) != (size_t)json_object_get_string_len(item))
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "%scommand[%zu] must be a string",
                                     where, i);
    }
    if (command[0][0] != '/')
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%scommand[0] must be an absolute path",
                                 where);
    c->command = command;
    return 0;
}

/* Keys that mean something to one runtime only. */
static const struct {
    const char *key;
    unsigned runtimes; /* bits */
} special[] = {
    { "socket", 1u << RUNTIME_DOCKER | 1u << RUNTIME_PODMAN },
    { "namespace", 1u << RUNTIME_KUBECTL },
    { "pod", 1u << RUNTIME_KUBECTL },
    { "kubeconfig", 1u << RUNTIME_KUBECTL },
    { "state_dir", 1u << RUNTIME_SANDBOX },
};

static int check_special(struct json_object *o, const char *where, enum runtime runtime,
                         struct airlock_error *err)
{
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        if (json_object_object_get_ex(o, special[i].key, NULL) &&
            !(special[i].runtimes & 1u << runtime))
            return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                     "%s%s means nothing to the runtime \"%s\"", where,
                                     special[i].key, runtime_name(runtime));
    return 0;
}

static int read_container(struct bridge_config *config, struct json_object *o, size_t i,
                          struct airlock_error *err)
{
    static const char *const known[] = { "name",       "runtime",   "program",   "client",
                                         "connect",    "socket",    "namespace", "pod",
                                         "kubeconfig", "state_dir", "command",   NULL };
    char where[48];
    snprintf(where, sizeof where, "containers[%zu].", i);
    if (!json_object_is_type(o, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "containers[%zu] must be an object", i);
    const char *name, *word = "docker";
    enum runtime runtime;
    if (json_only_keys(o, where, known, err) < 0 ||
        json_require(get_text(o, where, "name", &name, err), where, "name", err) < 0 ||
        get_text(o, where, "runtime", &word, err) < 0)
        return -1;
    if (runtime_parse(word, &runtime) < 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "%sruntime must be docker, podman, kubectl, sandbox or custom, "
                                 "not '%.64s'",
                                 where, word);
    if (bridge_config_add(config, name, runtime, err) < 0)
        return airlock_error_wrap(err, "containers[%zu]", i);
    struct container *c = &config->containers[config->n_containers - 1];
    if (check_special(o, where, runtime, err) < 0 ||
        get_path(o, where, "program", &c->program, err) < 0 ||
        get_word(o, where, "client", &c->client, err) < 0 ||
        get_word(o, where, "connect", &c->connect, err) < 0 ||
        get_path(o, where, "socket", &c->socket, err) < 0 ||
        get_word(o, where, "namespace", &c->namespace, err) < 0 ||
        get_word(o, where, "pod", &c->pod, err) < 0 ||
        get_path(o, where, "kubeconfig", &c->kubeconfig, err) < 0 ||
        get_path(o, where, "state_dir", &c->state_dir, err) < 0)
        return -1;
    return read_command(config, c, o, where, err);
}

static int read_hosts(struct bridge_config *config, struct json_object *root,
                      struct airlock_error *err)
{
    struct json_object *list = NULL;
    if (json_get_array(root, "", "hosts", &list, err) < 0)
        return -1;
    for (size_t i = 0; list && i < json_object_array_length(list); i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_string))
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "hosts[%zu] must be a string", i);
        if (config->n_hosts == CONFIG_HOSTS_MAX)
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "more than %d hosts", CONFIG_HOSTS_MAX);
        config->hosts[config->n_hosts++] = json_object_get_string(item);
    }
    return 0;
}

static int read_root(struct bridge_config *config, struct airlock_error *err)
{
    static const char *const known[] = {
        "listen",          "token_file",    "allow_remote", "hosts",   "request_seconds",
        "max_connections", "stream_bytes",  "channels",     "waiters", "wait_seconds",
        "idle_seconds",    "warm_channels", "containers",   NULL
    };
    struct json_object *root = config->root, *list = NULL;
    struct pool_limits *l = &config->limits;
    if (!json_object_is_type(root, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "must be an object");
    if (json_only_keys(root, "", known, err) < 0 ||
        get_text(root, "", "listen", &config->listen, err) < 0 ||
        get_text(root, "", "token_file", &config->token_file, err) < 0 ||
        json_get_bool(root, "", "allow_remote", &config->allow_remote, err) < 0 ||
        read_hosts(config, root, err) < 0 ||
        get_unsigned(root, "request_seconds", 0, 86400, &config->request_seconds, err) < 0 ||
        get_unsigned(root, "max_connections", 1, 65536, &config->max_connections, err) < 0 ||
        get_unsigned(root, "stream_bytes", 1, INT32_MAX, &config->stream_bytes, err) < 0 ||
        get_unsigned(root, "channels", 1, 1024, &l->channels, err) < 0 ||
        get_unsigned(root, "waiters", 0, 65536, &l->waiters, err) < 0 ||
        get_unsigned(root, "wait_seconds", 1, 3600, &l->wait_seconds, err) < 0 ||
        get_unsigned(root, "idle_seconds", 1, 86400, &l->idle_seconds, err) < 0 ||
        get_unsigned(root, "warm_channels", 0, 1024, &l->warm, err) < 0 ||
        json_get_array(root, "", "containers", &list, err) < 0)
        return -1;
    for (size_t i = 0; list && i < json_object_array_length(list); i++)
        if (read_container(config, json_object_array_get_idx(list, i), i, err) < 0)
            return -1;
    return 0;
}

int bridge_config_read(struct bridge_config *config, const char *path, struct airlock_error *err)
{
    config->root = json_parse_file(path, LIMIT_CONFIG_BYTES, err);
    if (!config->root)
        return -1;
    if (read_root(config, err) < 0)
        return airlock_error_wrap(err, "%s", path);
    return 0;
}

int bridge_config_check(const struct bridge_config *config, struct airlock_error *err)
{
    if (config->n_containers == 0)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "no container is enrolled; give --container NAME, or "
                                 "\"containers\" in the configuration");
    bool local = http_listen_is_local(config->listen);
    if (!local && !config->allow_remote)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "--listen %.128s is not a loopback address or a unix socket; "
                                 "--allow-remote permits it together with --token-file",
                                 config->listen);
    if (!local && !config->token_file)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "--allow-remote needs --token-file: whoever reaches %.128s could "
                                 "use the models",
                                 config->listen);
    return 0;
}

void bridge_config_free(struct bridge_config *config)
{
    for (unsigned i = 0; i < config->n_commands; i++)
        free(config->commands[i]);
    json_object_put(config->root);
    *config = (struct bridge_config){ 0 };
}
