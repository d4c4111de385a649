/* api.c - see api.h. */
#include "server/api.h"

#include "common/json.h"
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

void api_models(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct service *s = arg;
    struct json_object *list = json_object_new_array(), *o = json_object_new_object();
    (void)request;
    for (size_t i = 0; i < s->models.n; i++) {
        const struct model *m = &s->models.all[i];
        if (atomic_load(&m->retired))
            continue;
        json_object_array_add(list, model_entry(s, m->config->name, NULL));
        for (size_t k = 0; k < m->n_adapters; k++) {
            char id[ID_BYTES];
            snprintf(id, sizeof id, "%s:%s", m->config->name, m->adapters[k].config->name);
            json_object_array_add(list, model_entry(s, id, m->config->name));
        }
    }
    json_object_object_add(o, "object", json_object_new_string("list"));
    json_object_object_add(o, "data", list);
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
        rows[i] =
            (struct metrics_row){ m->config->name, &m->metrics, 0, 0, !atomic_load(&m->retired) };
        model_count(m, &rows[i].running, &rows[i].waiting);
    }
    rows[s->models.n] = (struct metrics_row){ "", &s->unknown, 0, 0, 0 };
    if (metrics_write(rows, s->models.n + 1, &text) < 0)
        http_reply_text(reply, 503, "Out of memory, try again.");
    else
        http_reply_set(reply, 200, "text/plain; version=0.0.4; charset=utf-8", text.data,
                       text.size);
    free(rows);
    bytes_free(&text);
}
