/* addressing.c - finds the container in a body's model and takes it off; see addressing.h. */
#include "addressing.h"

#include "exchange.h"

#include "common/json.h"
#include "common/limits.h"
#include "common/multipart.h"

#include <stdio.h>
#include <string.h>

/* Takes "CONTAINER/" off the body's model when it names an enrolled container: its pool, with the
 * body rewritten into out.  NULL: there is none such, or no memory. */
static struct pool *of_json(const struct bridge *bridge, const struct http_request *request,
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

/* The one text part of a form that is named "model".  False: there is none, or two, or it is no
 * form (which the server will say). */
static bool model_of_form(const struct http_request *request, struct multipart_part *model)
{
    const char *type = http_request_header(request, "Content-Type");
    char boundary[MULTIPART_BOUNDARY_MAX + 1];
    struct multipart form;
    struct multipart_part part;
    struct airlock_error err;
    int rc, n = 0;
    if (!type || multipart_boundary(type, boundary) < 0 ||
        multipart_begin(&form, boundary, request->body, request->body_size, &err) < 0)
        return false;
    while ((rc = multipart_next(&form, &part, &err)) > 0) {
        if (part.file || !multipart_is(&part, "model"))
            continue;
        *model = part;
        n++;
    }
    return rc == 0 && n == 1;
}

/* As of_json(), for a form. */
static struct pool *of_form(const struct bridge *bridge, const struct http_request *request,
                            struct bytes *out)
{
    const char *end = request->body + request->body_size;
    struct multipart_part model;
    if (!model_of_form(request, &model))
        return NULL;
    const char *slash = model.size ? memchr(model.data, '/', model.size) : NULL;
    struct pool *pool =
        slash ? bridge_pool(bridge, model.data, (size_t)(slash - model.data)) : NULL;
    if (!pool || bytes_add(out, request->body, (size_t)(model.data - request->body)) < 0 ||
        bytes_add(out, slash + 1, (size_t)(end - slash - 1)) < 0)
        return NULL;
    return pool;
}

/* True when a JSON body can name a container at all; most do not, and are then not parsed here. */
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

struct pool *address(const struct bridge *bridge, const struct http_request *request, bool form,
                     struct bytes *out, struct http_reply *reply)
{
    struct pool *pool = NULL;
    if (form)
        pool = of_form(bridge, request, out);
    else if (may_name_container(bridge, request))
        pool = of_json(bridge, request, out);
    if (pool)
        return pool;
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
