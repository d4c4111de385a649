/* admin.c - see admin.h. */
#include "server/admin.h"

#include "common/io.h"
#include "common/json.h"
#include "common/log.h"
#include "server/adapters.h"
#include "server/openai_reply.h"
#include "server/service.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { BODY_VALUES = 64 };

/* One request; its strings live in root. */
struct admin {
    const struct http_request *http;
    struct http_reply *reply;
    struct service *service;
    struct json_object *root;
    struct model *model;
    const char *name, *path;
};

static int refuse(struct admin *a, unsigned status, const char *param, const char *code,
                  const char *message)
{
    struct openai_error err = { .status = status, .code = code };
    snprintf(err.message, sizeof err.message, "%s", message);
    snprintf(err.param, sizeof err.param, "%s", param);
    openai_reply_error(a->reply, &err);
    return -1;
}

/* ---- who may --------------------------------------------------------------------------------- */

static int may(struct admin *a)
{
    const char *token = http_request_header(a->http, "Airlock-Admin");
    char bearer[LIMIT_TOKEN_BYTES + 16];
    if (!a->service->adapter_dir || !a->service->admin.token)
        return refuse(a, 403, "", "adapters_fixed",
                      "Adapters cannot be changed here: the server was started without "
                      "--adapter-dir and --admin-token-file");
    if (!token || http_request_header_count(a->http, "Airlock-Admin") != 1)
        return refuse(a, 401, "Airlock-Admin", "admin_token_missing",
                      "The Airlock-Admin header must bring the admin token");
    int n = snprintf(bearer, sizeof bearer, "Bearer %s", token);
    bool good = n > 0 && (size_t)n < sizeof bearer && bearer_matches(&a->service->admin, bearer);
    explicit_bzero(bearer, sizeof bearer);
    return good ? 0
                : refuse(a, 401, "Airlock-Admin", "admin_token_wrong", "The admin token is wrong");
}

/* ---- what is asked --------------------------------------------------------------------------- */

static int read_body(struct admin *a, bool load)
{
    static const char *const loading[] = { "lora_name", "lora_path", "model", NULL };
    static const char *const unloading[] = { "lora_name", "model", NULL };
    struct airlock_error err = { 0 };
    const char *model = NULL;
    a->root = json_parse_max(a->http->body, a->http->body_size, BODY_VALUES, &err);
    if (!a->root)
        return refuse(a, 400, "", "invalid_json", err.text);
    if (!json_object_is_type(a->root, json_type_object))
        return refuse(a, 400, "", "invalid_value", "The body must be a JSON object");
    if (json_only_keys(a->root, "", load ? loading : unloading, &err) < 0 ||
        json_require(json_get_string(a->root, "", "lora_name", &a->name, NULL, &err), "",
                     "lora_name", &err) < 0 ||
        (load && json_require(json_get_string(a->root, "", "lora_path", &a->path, NULL, &err), "",
                              "lora_path", &err) < 0) ||
        json_get_string(a->root, "", "model", &model, NULL, &err) < 0)
        return refuse(a, 400, "", "invalid_value", err.text);
    if (!config_adapter_name(a->name))
        return refuse(a, 400, "lora_name", "invalid_value",
                      "lora_name must have 1 to 128 bytes without control characters, and not be "
                      "base");
    struct models *models = &a->service->models;
    a->model = model            ? models_find(models, model, strlen(model))
               : models->n == 1 ? &models->all[0]
                                : NULL;
    if (!a->model && !model)
        return refuse(a, 400, "model", "missing_parameter",
                      "model is missing: the server has more than one");
    if (!a->model)
        return refuse(a, 404, "model", "model_not_found", "There is no model of this name");
    return 0;
}

/* The real path of what is asked for, when it lies in the adapter directory. */
static int resolve(struct admin *a, char out[PATH_MAX])
{
    char joined[2 * PATH_MAX];
    const char *dir = a->service->adapter_dir;
    size_t n = strlen(dir);
    struct stat st;
    snprintf(joined, sizeof joined, "%s%s%.*s", a->path[0] == '/' ? "" : dir,
             a->path[0] == '/' ? "" : "/", PATH_MAX, a->path);
    bool inside = realpath(joined, out) && strncmp(out, dir, n) == 0 && out[n] == '/' && out[n + 1];
    if (!inside || stat(out, &st) < 0 || !S_ISDIR(st.st_mode))
        return refuse(a, 400, "lora_path", "invalid_value",
                      "lora_path must be a directory inside the server's adapter directory");
    return 0;
}

/* ---- the routes ------------------------------------------------------------------------------ */

static int answer_load_error(struct admin *a, const struct airlock_error *err)
{
    switch (err->code) {
    case AIRLOCK_E_REQUEST:
        return refuse(a, 400, "lora_name", "invalid_value", err->text);
    case AIRLOCK_E_UNSUPPORTED:
        return refuse(a, 501, "model", "unsupported_by_model", "This model takes no adapters");
    case AIRLOCK_E_NO_MEMORY:
        return refuse(a, 503, "", NULL, "Out of memory, try again.");
    default:
        return refuse(a, 400, "lora_path", "adapter_not_loaded",
                      "The adapter cannot be loaded: the server's log says why");
    }
}

static void load(struct admin *a)
{
    struct airlock_error err = { 0 };
    char path[PATH_MAX];
    if (resolve(a, path) < 0)
        return;
    if (adapter_load(a->model, a->name, path, &err) < 0) {
        log_warning("adapter %s of %s not loaded: %s", a->name, a->model->config->name, err.text);
        answer_load_error(a, &err);
        return;
    }
    log_info("adapter %s of %s loaded", a->name, a->model->config->name);
    http_reply_text(a->reply, 200, "The adapter is loaded.");
}

static void unload(struct admin *a)
{
    struct airlock_error err = { 0 };
    uint64_t deadline = io_now_ns() + a->service->unload_seconds * 1000000000ull;
    if (adapter_unload(a->model, a->name, strlen(a->name), deadline, &err) == 0) {
        log_info("adapter %s of %s unloaded", a->name, a->model->config->name);
        http_reply_text(a->reply, 200, "The adapter is unloaded.");
    } else if (err.code == AIRLOCK_E_BUSY) {
        refuse(a, 409, "lora_name", "adapter_in_use",
               "Requests still use the adapter: it stays, try again later");
    } else {
        refuse(a, 404, "lora_name", "adapter_not_found", "The model has no adapter of this name");
    }
}

static void handle(const struct http_request *request, struct http_reply *reply,
                   struct service *service, bool loading)
{
    struct admin a = { .http = request, .reply = reply, .service = service };
    if (may(&a) == 0 && read_body(&a, loading) == 0) {
        if (loading)
            load(&a);
        else
            unload(&a);
    }
    log_info("%s %u %s", loading ? "load_lora_adapter" : "unload_lora_adapter", reply->status,
             request->id ? request->id : "-");
    json_object_put(a.root);
}

void admin_load_adapter(const struct http_request *request, struct http_reply *reply, void *arg)
{
    handle(request, reply, arg, true);
}

void admin_unload_adapter(const struct http_request *request, struct http_reply *reply, void *arg)
{
    handle(request, reply, arg, false);
}
