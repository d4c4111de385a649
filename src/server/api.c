/* api.c - see api.h. */
#include "server/api.h"

#include "common/json.h"
#include "server/adapters.h"
#include "server/engine_metrics.h"
#include "server/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { METRICS_BYTES = 4 << 20, ID_BYTES = 512 };

static void reply_json(struct http_reply *reply, unsigned status, struct json_object *o)
{
    const char *text =
        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    http_reply_set(reply, status, "application/json", text ? text : "", text ? strlen(text) : 0);
    json_object_put(o);
}

/* One entry of OpenAI's list; root: the base model of an adapter. */
static struct json_object *model_entry(const struct service *s, const char *id, const char *root)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "id", json_object_new_string(id));
    json_object_object_add(o, "object", json_object_new_string("model"));
    json_object_object_add(o, "created", json_object_new_int64(s->started));
    json_object_object_add(o, "owned_by", json_object_new_string("airlock"));
    if (root)
        json_object_object_add(o, "parent", json_object_new_string(root));
    return o;
}

/* The list being made. */
struct model_list {
    const struct service *service;
    const struct model *model;
    struct json_object *entries;
};

static void add_adapter(void *ctx, const struct model_adapter *a)
{
    struct model_list *list = ctx;
    char id[ID_BYTES];
    snprintf(id, sizeof id, "%s:%s", list->model->config->name, a->name);
    struct json_object *o = model_entry(list->service, id, list->model->config->name);
    if (a->memory)
        json_object_object_add(o, "memory_bytes", json_object_new_uint64(a->memory));
    json_object_array_add(list->entries, o);
}

void api_models(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct service *s = arg;
    struct json_object *entries = json_object_new_array(), *o = json_object_new_object();
    (void)request;
    for (size_t i = 0; i < s->models.n; i++) {
        struct model *m = &s->models.all[i];
        struct model_list list = { s, m, entries };
        if (atomic_load(&m->retired))
            continue;
        json_object_array_add(entries, model_entry(s, m->config->name, NULL));
        adapters_each(m, add_adapter, &list);
    }
    json_object_object_add(o, "object", json_object_new_string("list"));
    json_object_object_add(o, "data", entries);
    reply_json(reply, 200, o);
}

void api_livez(const struct http_request *request, struct http_reply *reply, void *arg)
{
    (void)request, (void)arg;
    http_reply_text(reply, 200, "ok");
}

void api_readyz(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct service *s = arg;
    bool ready = !atomic_load(&s->draining);
    struct json_object *models = json_object_new_object(), *o = json_object_new_object();
    (void)request;
    for (size_t i = 0; i < s->models.n; i++) {
        bool ok = !atomic_load(&s->models.all[i].retired);
        json_object_object_add(models, s->models.all[i].config->name,
                               json_object_new_string(ok ? "ready" : "failed"));
        ready = ready && ok;
    }
    json_object_object_add(o, "ready", json_object_new_boolean(ready));
    json_object_object_add(o, "models", models);
    reply_json(reply, ready ? 200 : 503, o);
}

/* What adapters hold is written model by model. */
struct memory_list {
    const char *model;
    struct bytes *out;
    int rc;
};

static void write_memory(void *ctx, const struct model_adapter *a)
{
    struct memory_list *list = ctx;
    if (list->rc < 0 || !a->memory)
        return;
    if (bytes_add_text(list->out, "airlock_adapter_memory_bytes") < 0 ||
        metrics_write_label("model", list->model, list->out) < 0 ||
        bytes_add_text(list->out, ",") < 0 ||
        metrics_write_value("adapter", a->name, list->out) < 0 ||
        bytes_printf(list->out, "} %llu\n", (unsigned long long)a->memory) < 0)
        list->rc = -1;
}

static int write_adapters(struct service *s, struct bytes *out)
{
    int rc = metrics_write_head("adapter_memory_bytes", "gauge",
                                "Bytes that an adapter holds on its device.", out);
    for (size_t i = 0; i < s->models.n && rc == 0; i++) {
        struct memory_list list = { s->models.all[i].config->name, out, 0 };
        adapters_each(&s->models.all[i], write_memory, &list);
        rc = list.rc;
    }
    return rc;
}

void api_metrics(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct service *s = arg;
    struct bytes text = BYTES_INIT(METRICS_BYTES);
    struct metrics_row *rows = calloc(s->models.n + 1, sizeof *rows);
    (void)request;
    if (!rows) {
        http_reply_text(reply, 503, "Out of memory, try again.");
        return;
    }
    for (size_t i = 0; i < s->models.n; i++) {
        struct model *m = &s->models.all[i];
        rows[i] = (struct metrics_row){ .model = m->config->name,
                                        .metrics = &m->metrics,
                                        .ready = !atomic_load(&m->retired) };
        model_count(m, &rows[i].running, &rows[i].waiting, &rows[i].adapters);
    }
    rows[s->models.n] = (struct metrics_row){ .model = "", .metrics = &s->unknown };
    if (metrics_write(rows, s->models.n + 1, &text) < 0 || write_adapters(s, &text) < 0 ||
        engine_metrics_write(&s->models, &text) < 0)
        http_reply_text(reply, 503, "Out of memory, try again.");
    else
        http_reply_set(reply, 200, "text/plain; version=0.0.4; charset=utf-8", text.data,
                       text.size);
    free(rows);
    bytes_free(&text);
}
