/* tools.c - checks definitions and calls of functions, and writes them for the prompt. */
#include "tools.h"

#include "common/json.h"

#include <stdlib.h>
#include <string.h>

/* What json.dumps() writes by default, but for non-ASCII characters: a space behind , and :. */
static int write_json(struct json_object *o, struct bytes *out)
{
    const char *text =
        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    bool in_string = false;
    if (!text)
        return -1;
    for (; *text; text++) {
        if (bytes_add(out, text, 1))
            return -1;
        if (in_string && *text == '\\') {
            if (bytes_add(out, ++text, 1))
                return -1;
        } else if (*text == '"') {
            in_string = !in_string;
        } else if (!in_string && (*text == ',' || *text == ':') && bytes_add(out, " ", 1)) {
            return -1;
        }
    }
    return 0;
}

static int too_large(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_REQUEST, "tools: more than %d bytes", TOOLS_MAX_BYTES);
}

static struct json_object *parse_list(const char *what, const char *text, size_t size,
                                      struct airlock_error *err)
{
    struct airlock_error why = { 0 };
    struct json_object *o =
        size <= TOOLS_MAX_BYTES ? json_parse_max(text, size, SCHEMA_MAX_JSON, &why) : NULL;
    if (size > TOOLS_MAX_BYTES)
        too_large(err);
    else if (!o)
        airlock_error_set(err, AIRLOCK_E_REQUEST, "%s: %s", what, why.text);
    else if (!json_object_is_type(o, json_type_array))
        airlock_error_set(err, AIRLOCK_E_REQUEST, "%s must be a list", what);
    else
        return o;
    json_object_put(o);
    return NULL;
}

/* ---- definitions ----------------------------------------------------------------------------- */

/* The definition inside OpenAI's wrapping, or as it is. */
static struct json_object *unwrap(struct json_object *o)
{
    struct json_object *function = NULL;
    return json_object_is_type(o, json_type_object) &&
                   json_object_object_get_ex(o, "function", &function)
               ? function
               : o;
}

static int read_tool(struct json_object *function, size_t i, struct json_schema_tool *out,
                     struct airlock_error *err)
{
    struct json_object *parameters = NULL;
    if (!json_object_is_type(function, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "tools[%zu] must be an object", i);
    int found = json_get_string(function, "", "name", &out->name, &out->name_size, err);
    if (found <= 0 || out->name_size == 0 || out->name_size > TOOLS_MAX_NAME)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "tools[%zu] needs a name of 1 to %d bytes",
                                 i, TOOLS_MAX_NAME);
    if (json_object_object_get_ex(function, "parameters", &parameters) && parameters &&
        !json_object_is_type(parameters, json_type_object))
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "tools[%zu].parameters must be a JSON Schema object", i);
    out->parameters = parameters;
    return 0;
}

static int read_tools(struct tools *t, struct airlock_error *err)
{
    size_t n = json_object_array_length(t->json);
    if (n == 0 || n > TOOLS_MAX)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "tools: %zu functions, 1 to %d are allowed", n, TOOLS_MAX);
    t->list = calloc(n, sizeof *t->list);
    if (!t->list)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for tools");
    for (size_t i = 0; i < n; i++) {
        struct json_schema_tool *tool = &t->list[i];
        if (read_tool(unwrap(json_object_array_get_idx(t->json, i)), i, tool, err))
            return -1;
        if (tools_find(t, tool->name, tool->name_size) >= 0)
            return airlock_error_set(err, AIRLOCK_E_REQUEST, "tools: two functions are named %.64s",
                                     tool->name);
        t->n = i + 1;
    }
    return 0;
}

/* The list of definitions: the text itself when nothing is wrapped, as the official template does
 * it. */
static int write_tools(struct tools *t, const char *text, size_t size, struct airlock_error *err)
{
    bool wrapped = false;
    for (size_t i = 0; i < t->n; i++) {
        struct json_object *o = json_object_array_get_idx(t->json, i);
        wrapped = wrapped || unwrap(o) != o;
    }
    if (!wrapped)
        return bytes_add(&t->text, text, size) ? too_large(err) : 0;
    int rc = bytes_add(&t->text, "[", 1);
    for (size_t i = 0; i < t->n && rc == 0; i++)
        rc = (i && bytes_add_text(&t->text, ", ")) ||
             write_json(unwrap(json_object_array_get_idx(t->json, i)), &t->text);
    return rc || bytes_add(&t->text, "]", 1) ? too_large(err) : 0;
}

int tools_parse(struct tools *t, const char *text, size_t size, struct airlock_error *err)
{
    *t = (struct tools){ .text = BYTES_INIT(2 * TOOLS_MAX_BYTES) };
    t->json = parse_list("tools", text, size, err);
    if (t->json && read_tools(t, err) == 0 && write_tools(t, text, size, err) == 0)
        return 0;
    tools_free(t);
    return -1;
}

void tools_free(struct tools *t)
{
    json_object_put(t->json);
    free(t->list);
    bytes_free(&t->text);
    t->json = NULL;
    t->list = NULL;
    t->n = 0;
}

int tools_find(const struct tools *t, const char *name, size_t size)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->list[i].name_size == size && memcmp(t->list[i].name, name, size) == 0)
            return (int)i;
    return -1;
}

/* ---- calls ----------------------------------------------------------------------------------- */

/* {"name": NAME, "arguments": {...}}; OpenAI's {"function": {...}} is taken too. */
static int write_call(struct json_object *o, size_t i, struct bytes *out, struct airlock_error *err)
{
    struct json_object *name = NULL, *arguments = NULL, *parsed = NULL;
    o = unwrap(o);
    bool object = json_object_is_type(o, json_type_object) &&
                  json_object_object_get_ex(o, "name", &name) &&
                  json_object_is_type(name, json_type_string);
    if (!object)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "tool_calls[%zu] must have a name and arguments", i);
    json_object_object_get_ex(o, "arguments", &arguments);
    if (json_object_is_type(arguments, json_type_string))
        arguments = parsed =
            json_parse_max(json_object_get_string(arguments),
                           (size_t)json_object_get_string_len(arguments), SCHEMA_MAX_JSON, NULL);
    int rc = 0;
    if (!json_object_is_type(arguments, json_type_object))
        rc = airlock_error_set(err, AIRLOCK_E_REQUEST,
                               "tool_calls[%zu].arguments must be a JSON object", i);
    else if (bytes_add_text(out, i ? ", {\"name\": " : "{\"name\": ") || write_json(name, out) ||
             bytes_add_text(out, ", \"arguments\": ") || write_json(arguments, out) ||
             bytes_add_text(out, "}"))
        rc = too_large(err);
    json_object_put(parsed);
    return rc;
}

int tools_write_calls(const char *text, size_t size, struct bytes *out, struct airlock_error *err)
{
    struct json_object *list = parse_list("tool_calls", text, size, err);
    if (!list)
        return -1;
    int rc = bytes_add_text(out, "[") ? too_large(err) : 0;
    for (size_t i = 0; i < json_object_array_length(list) && rc == 0; i++)
        rc = write_call(json_object_array_get_idx(list, i), i, out, err);
    if (rc == 0 && bytes_add_text(out, "]"))
        rc = too_large(err);
    json_object_put(list);
    return rc;
}
