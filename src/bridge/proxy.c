/* proxy.c - takes requests apart, picks the container, and shapes what comes back; see proxy.h. */
#include "proxy.h"

#include "bridge.h"
#include "exchange.h"

#include "common/io.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/request.h"
#include "common/strip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Counts and logs a request that is over; never what it said. */
static void finish(struct bridge *bridge, enum bridge_route route, const char *path,
                   const struct pool *pool, unsigned status, uint64_t began_ns)
{
    bridge->answers[route][status < STATUS_MAX ? status : 0]++;
    log_info("%s %s %u %.3f s", path, pool ? pool_container(pool)->name : "-", status,
             (double)(io_now_ns() - began_ns) / 1e9);
}

/* A status that may be passed on: the answer itself, or a refusal.  There are no redirects. */
static bool status_passes(unsigned status)
{
    return status == 200 || (status >= 400 && status < STATUS_MAX);
}

static void reply_odd_status(struct http_reply *reply, bool openai, const struct exchange *x)
{
    char text[256];
    snprintf(text, sizeof text, "Container '%s' gave an answer of the unexpected kind %u",
             pool_container(x->pool)->name, x->answer.status);
    reply_failure(reply, openai, 502, text);
}

static void pass_retry_after(struct http_reply *reply, const struct channel_answer *answer)
{
    char seconds[16];
    if (answer->retry_after == 0)
        return;
    snprintf(seconds, sizeof seconds, "%u", answer->retry_after);
    http_reply_header(reply, "Retry-After", seconds);
}

/* The whole answer; stripped: without white space around a 200's text. */
static int reply_whole(struct exchange *x, struct http_reply *reply, bool stripped,
                       struct airlock_error *err)
{
    struct bytes body = BYTES_INIT(LIMIT_ANSWER_BYTES);
    if (exchange_read_all(x, &body, err) < 0) {
        bytes_free(&body);
        return -1;
    }
    const char *text = body.data ? body.data : "";
    size_t size = body.size;
    const char *type = content_type_name(x->answer.content);
    if (stripped && x->answer.status == 200) {
        strip_space(&text, &size);
        type = content_type_name(CONTENT_TEXT);
    }
    http_reply_set(reply, x->answer.status, type, text, size);
    pass_retry_after(reply, &x->answer);
    bytes_free(&body);
    return 0;
}

/* ---- streams --------------------------------------------------------------------------------- */

/* An answer that is passed on while it comes. */
struct stream {
    struct exchange exchange;
    struct bridge *bridge;
    const char *path; /* a route's own text */
    uint64_t began_ns;
    bool broken;
    struct bytes body; /* the request's; libcurl may still be sending it */
};

static ssize_t stream_read(void *ctx, char *data, size_t max)
{
    struct stream *s = ctx;
    struct airlock_error err = { 0 };
    ssize_t got = exchange_read(&s->exchange, data, max, &err);
    if (got < 0) {
        s->broken = true;
        log_warning("%s: %s", s->path, err.text);
    }
    return got;
}

static void stream_done(void *ctx)
{
    struct stream *s = ctx;
    exchange_end(&s->exchange);
    finish(s->bridge, ROUTE_V1, s->path, s->exchange.pool, s->broken ? 502 : 200, s->began_ns);
    bytes_free(&s->body);
    free(s);
}

/* ---- POST /generate -------------------------------------------------------------------------- */

static void generate(struct bridge *bridge, const struct http_request *request, struct pool *pool,
                     const struct request *parsed, struct http_reply *reply)
{
    struct airlock_error err = { 0 };
    struct bytes body = BYTES_INIT((size_t)LIMIT_REQUEST_BYTES * 2);
    struct exchange x;
    if (request_write(parsed, &body) < 0) {
        reply_failure(reply, false, 503, "The bridge is out of memory");
    } else if (exchange_begin(&x, pool, "POST", "/generate", body.data, body.size,
                              bridge->config->request_seconds, http_request_fd(request),
                              &err) < 0) {
        reply_error(reply, false, &err);
    } else {
        if (!status_passes(x.answer.status))
            reply_odd_status(reply, false, &x);
        else if (reply_whole(&x, reply, true, &err) < 0)
            reply_error(reply, false, &err);
        exchange_end(&x);
    }
    bytes_free(&body);
}

void proxy_generate(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct bridge *bridge = arg;
    uint64_t began_ns = io_now_ns();
    struct request parsed;
    struct bytes refusal = BYTES_INIT(64 << 10);
    struct pool *pool = NULL;
    int status = request_parse(request->body, request->body_size, true, &parsed, &refusal);
    if (status != 0) {
        http_reply_set(reply, (unsigned)status, "application/json",
                       refusal.data ? refusal.data : "", refusal.size);
    } else {
        pool = bridge_pool(bridge, parsed.container_name.data, parsed.container_name.size);
        if (pool)
            generate(bridge, request, pool, &parsed, reply);
        else
            reply_failure(reply, false, 404,
                          "No container of that name is enrolled with this bridge; start "
                          "airlock-bridge with --container NAME");
        request_free(&parsed);
    }
    bytes_free(&refusal);
    finish(bridge, ROUTE_GENERATE, "/generate", pool, reply->status, began_ns);
}

/* ---- the OpenAI paths ------------------------------------------------------------------------ */

/* Takes "CONTAINER/" off the body's model when it names an enrolled container: its pool, with the
 * body rewritten into out.  NULL: there is none such, and out is empty. */
static struct pool *pool_by_model(const struct bridge *bridge, const struct http_request *request,
                                  struct bytes *out)
{
    struct airlock_error err;
    struct json_object *root =
        json_parse_max(request->body, request->body_size, LIMIT_REQUEST_VALUES, &err);
    const char *model = NULL, *slash = NULL;
    struct pool *pool = NULL;
    if (json_object_is_type(root, json_type_object) &&
        json_get_string(root, "", "model", &model, NULL, &err) > 0 && (slash = strchr(model, '/')))
        pool = bridge_pool(bridge, model, (size_t)(slash - model));
    if (pool) {
        size_t size = 0;
        json_object_object_add(root, "model", json_object_new_string(slash + 1));
        const char *text = json_object_to_json_string_length(
            root, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
        if (!text || bytes_add(out, text, size) < 0)
            pool = NULL;
    }
    json_object_put(root);
    return pool;
}

/* True when the body can name a container at all; most do not, and are then not parsed here. */
static bool may_name_container(const struct bridge *bridge, const struct http_request *request)
{
    char quoted[LIMIT_NAME_BYTES + 3];
    for (unsigned i = 0; i < bridge->config->n_containers; i++) {
        int n = snprintf(quoted, sizeof quoted, "\"%s/", bridge->config->containers[i].name);
        if (memmem(request->body, request->body_size, quoted, (size_t)n))
            return true;
    }
    return false;
}

/* The container for a request, with the body to send in out.  NULL: the refusal is in reply. */
static struct pool *choose(const struct bridge *bridge, const struct http_request *request,
                           struct bytes *out, struct http_reply *reply)
{
    if (may_name_container(bridge, request)) {
        struct pool *pool = pool_by_model(bridge, request, out);
        if (pool)
            return pool;
    }
    bytes_clear(out);
    if (bridge->config->n_containers != 1) {
        reply_failure(reply, true, 404,
                      "Several containers are enrolled: give the model as CONTAINER/NAME");
        return NULL;
    }
    if (bytes_add(out, request->body, request->body_size) < 0) {
        reply_failure(reply, true, 503, "The bridge is out of memory");
        return NULL;
    }
    return bridge->pools[0];
}

/* Hands the stream over to the connection, or answers at once.  True: handed over. */
static bool pass(struct stream *s, struct pool *pool, const struct http_request *request,
                 struct http_reply *reply)
{
    struct airlock_error err = { 0 };
    struct exchange *x = &s->exchange;
    if (exchange_begin(x, pool, request->method, s->path, s->body.data, s->body.size,
                       s->bridge->config->request_seconds, http_request_fd(request), &err) < 0) {
        reply_error(reply, true, &err);
        return false;
    }
    if (x->answer.status == 200 && x->answer.content == CONTENT_EVENTS) {
        reply->status = 200;
        reply->content_type = content_type_name(CONTENT_EVENTS);
        reply->read = stream_read;
        reply->done = stream_done;
        reply->ctx = s;
        return true;
    }
    if (!status_passes(x->answer.status))
        reply_odd_status(reply, true, x);
    else if (reply_whole(x, reply, false, &err) < 0)
        reply_error(reply, true, &err);
    exchange_end(x);
    return false;
}

/* The server's paths that are passed on, so that a path from outside never becomes one inside. */
static const char *const passed[] = { "/v1/chat/completions", "/v1/completions",
                                      "/v1/load_lora_adapter", "/v1/unload_lora_adapter" };

static const char *known_path(const char *path)
{
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++)
        if (strcmp(passed[i], path) == 0)
            return passed[i];
    return NULL;
}

void proxy_pass(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct bridge *bridge = arg;
    uint64_t began_ns = io_now_ns();
    struct stream *s = calloc(1, sizeof *s);
    const char *path = known_path(request->path);
    struct pool *pool = NULL;
    if (s && path) {
        s->bridge = bridge;
        s->path = path;
        s->began_ns = began_ns;
        s->body.max = (size_t)LIMIT_REQUEST_BYTES * 2;
        pool = choose(bridge, request, &s->body, reply);
        if (pool && pass(s, pool, request, reply))
            return;
        bytes_free(&s->body);
    } else {
        reply_failure(reply, true, path ? 503 : 404, path ? "out of memory" : "Not Found");
    }
    free(s);
    finish(bridge, ROUTE_V1, path ? path : "-", pool, reply->status, began_ns);
}

/* ---- GET /v1/models -------------------------------------------------------------------------- */

/* One container's list as parsed JSON, or NULL. */
static struct json_object *fetch_models(struct bridge *bridge, struct pool *pool, int caller_fd)
{
    struct airlock_error err = { 0 };
    struct exchange x;
    if (exchange_begin(&x, pool, "GET", "/v1/models", NULL, 0, bridge->config->request_seconds,
                       caller_fd, &err) < 0)
        return NULL;
    struct bytes body = BYTES_INIT(LIMIT_CONFIG_BYTES);
    struct json_object *root = NULL;
    if (x.answer.status == 200 && exchange_read_all(&x, &body, &err) == 0)
        root = json_parse_max(body.data ? body.data : "", body.size, LIMIT_REQUEST_VALUES, &err);
    exchange_end(&x);
    bytes_free(&body);
    return root;
}

/* Adds a container's models to the list, their ids as CONTAINER/ID.  What is not of the expected
 * form is left out. */
static void merge_models(struct json_object *list, const char *container, struct json_object *from)
{
    struct airlock_error err;
    struct json_object *data = NULL;
    if (!json_object_is_type(from, json_type_object) ||
        json_get_array(from, "", "data", &data, &err) <= 0)
        return;
    for (size_t i = 0; i < json_object_array_length(data); i++) {
        struct json_object *entry = json_object_array_get_idx(data, i);
        const char *id;
        char name[2 * LIMIT_NAME_BYTES + 300];
        if (!json_object_is_type(entry, json_type_object) ||
            json_get_string(entry, "", "id", &id, NULL, &err) <= 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", container, id);
        json_object_object_add(entry, "id", json_object_new_string(name));
        json_object_array_add(list, json_object_get(entry));
    }
}

static void reply_merged(struct bridge *bridge, const struct http_request *request,
                         struct http_reply *reply)
{
    struct json_object *o = json_object_new_object(), *list = json_object_new_array();
    for (unsigned i = 0; i < bridge->config->n_containers; i++) {
        struct json_object *one = fetch_models(bridge, bridge->pools[i], http_request_fd(request));
        merge_models(list, bridge->config->containers[i].name, one);
        json_object_put(one);
    }
    json_object_object_add(o, "object", json_object_new_string("list"));
    json_object_object_add(o, "data", list);
    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    http_reply_set(reply, 200, content_type_name(CONTENT_JSON), text ? text : "", size);
    json_object_put(o);
}

void proxy_models(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct bridge *bridge = arg;
    uint64_t began_ns = io_now_ns();
    struct airlock_error err = { 0 };
    struct exchange x;
    struct pool *only = bridge->config->n_containers == 1 ? bridge->pools[0] : NULL;
    if (!only) {
        reply_merged(bridge, request, reply);
    } else if (exchange_begin(&x, only, "GET", "/v1/models", NULL, 0,
                              bridge->config->request_seconds, http_request_fd(request),
                              &err) < 0) {
        reply_error(reply, true, &err);
    } else {
        if (!status_passes(x.answer.status))
            reply_odd_status(reply, true, &x);
        else if (reply_whole(&x, reply, false, &err) < 0)
            reply_error(reply, true, &err);
        exchange_end(&x);
    }
    finish(bridge, ROUTE_V1, "/v1/models", only, reply->status, began_ns);
}
