/* model_list.c - asks every container for its models and makes one list of them; see model_list.h.
 */
#include "model_list.h"

#include "common/json.h"
#include "common/limits.h"

#include <stdio.h>

/* One container's list as parsed JSON, or NULL. */
static struct json_object *fetch(struct pool *pool, const struct exchange_ask *ask)
{
    struct airlock_error err = { 0 };
    struct exchange x;
    if (exchange_begin(&x, pool, ask, &err) < 0)
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
static void merge(struct json_object *list, const char *container, struct json_object *from)
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

void model_list_merged(const struct bridge *bridge, const struct exchange_ask *ask,
                       struct http_reply *reply)
{
    struct json_object *o = json_object_new_object(), *list = json_object_new_array();
    for (unsigned i = 0; i < bridge->config->n_containers; i++) {
        struct json_object *one = fetch(bridge->pools[i], ask);
        merge(list, bridge->config->containers[i].name, one);
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
