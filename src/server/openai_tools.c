/* openai_tools.c - tools, calls of them, and the form of the answer, rewritten as the ABI has them.
 */
#include "common/limits.h"
#include "server/openai_parse.h"

#include <stdio.h>
#include <string.h>

enum { FUNCTION_NAME_BYTES = 64, TEXT_BYTES = 1 << 20 };

/* The JSON text of o as a string of the request. */
static int own_json(struct openai_reader *r, struct json_object *o, llm_str *out)
{
    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    return text && abi_request_own(r->abi, text, size, out) == 0 ? 0 : openai_no_memory(r);
}

static int take_name(struct openai_reader *r, const char *param, struct json_object *v,
                     llm_str *out)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    if (openai_string(r, param, v, FUNCTION_NAME_BYTES, out) < 0)
        return -1;
    if (out->len == 0 || strspn(out->ptr, allowed) != out->len)
        return openai_refuse(r, param,
                             "%s must be 1 to %d letters, digits, underscores, dashes or dots",
                             param, FUNCTION_NAME_BYTES);
    return 0;
}

/* {"type":"function", ...}: the member of that name, or NULL with a refusal. */
static struct json_object *function_of(struct openai_reader *r, const char *where,
                                       struct json_object *o, const char *const *known)
{
    char param[OPENAI_PARAM_BYTES];
    llm_str type;
    if (!json_object_is_type(o, json_type_object)) {
        openai_refuse(r, where, "%s must be an object", where);
        return NULL;
    }
    if (openai_only(r, o, where, known) < 0)
        return NULL;
    snprintf(param, sizeof param, "%.100s.type", where);
    if (openai_string(r, param, openai_member(o, "type"), 64, &type) < 0)
        return NULL;
    if (!openai_is(type, "function")) {
        openai_refuse(r, param, "the type must be function");
        return NULL;
    }
    struct json_object *function = openai_member(o, "function");
    snprintf(param, sizeof param, "%.100s.function", where);
    if (!json_object_is_type(function, json_type_object)) {
        openai_refuse(r, param, "function must be an object");
        return NULL;
    }
    return function;
}

/* ---- tools ----------------------------------------------------------------------------------- */

static int take_tool(struct openai_reader *r, size_t i, struct json_object *tool,
                     struct json_object *list)
{
    static const char *const outer[] = { "type", "function", NULL };
    static const char *const known[] = { "name", "description", "parameters", "strict", NULL };
    char where[48], param[OPENAI_PARAM_BYTES];
    llm_str text;
    bool strict;
    snprintf(where, sizeof where, "tools[%zu]", i);
    struct json_object *f = function_of(r, where, tool, outer);
    if (!f)
        return -1;
    snprintf(where, sizeof where, "tools[%zu].function", i);
    if (openai_only(r, f, where, known) < 0)
        return -1;
    struct json_object *name = openai_member(f, "name"), *about = openai_member(f, "description");
    struct json_object *parameters = openai_member(f, "parameters");
    struct json_object *exact = openai_member(f, "strict");
    snprintf(param, sizeof param, "%s.name", where);
    if (take_name(r, param, name, &text) < 0)
        return -1;
    snprintf(param, sizeof param, "%s.description", where);
    if (about && openai_string(r, param, about, TEXT_BYTES, &text) < 0)
        return -1;
    snprintf(param, sizeof param, "%s.parameters", where);
    if (parameters && !json_object_is_type(parameters, json_type_object))
        return openai_refuse(r, param, "%s must be an object", param);
    snprintf(param, sizeof param, "%s.strict", where);
    if (exact && openai_bool(r, param, exact, &strict) < 0)
        return -1;
    struct json_object *out = json_object_new_object();
    json_object_object_add(out, "name", json_object_get(name));
    if (about)
        json_object_object_add(out, "description", json_object_get(about));
    if (parameters)
        json_object_object_add(out, "parameters", json_object_get(parameters));
    json_object_array_add(list, out);
    return 0;
}

int openai_tools(struct openai_reader *r, struct json_object *v)
{
    if (!json_object_is_type(v, json_type_array))
        return openai_refuse(r, "tools", "tools must be an array");
    size_t n = json_object_array_length(v);
    if (n > LIMIT_TOOLS)
        return openai_refuse(r, "tools", "tools must have at most %d entries", LIMIT_TOOLS);
    if (n == 0)
        return 0;
    struct json_object *list = json_object_new_array();
    int rc = list ? 0 : openai_no_memory(r);
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = take_tool(r, i, json_object_array_get_idx(v, i), list);
    if (rc == 0)
        rc = own_json(r, list, &r->abi->abi.tools);
    json_object_put(list);
    if (rc == 0)
        r->out->tools = true;
    openai_need(r, LLM_CAP_TOOLS, "tools");
    return rc;
}

/* True when the request offers a function of that name. */
static bool offered(struct openai_reader *r, llm_str name)
{
    struct json_object *tools = openai_member(r->out->root, "tools");
    size_t n = tools ? json_object_array_length(tools) : 0;
    for (size_t i = 0; i < n; i++) {
        struct json_object *f = openai_member(json_object_array_get_idx(tools, i), "function");
        if (openai_is(name, json_object_get_string(openai_member(f, "name"))))
            return true;
    }
    return false;
}

static int choose_function(struct openai_reader *r, struct json_object *v)
{
    static const char *const outer[] = { "type", "function", NULL };
    static const char *const known[] = { "name", NULL };
    char text[FUNCTION_NAME_BYTES + 16];
    llm_str name;
    struct json_object *f = function_of(r, "tool_choice", v, outer);
    if (!f || openai_only(r, f, "tool_choice.function", known) < 0 ||
        take_name(r, "tool_choice.function.name", openai_member(f, "name"), &name) < 0)
        return -1;
    if (!offered(r, name))
        return openai_refuse(r, "tool_choice.function.name", "tools has no function of this name");
    int n = snprintf(text, sizeof text, "function:%.*s", (int)name.len, name.ptr);
    return abi_request_own(r->abi, text, (size_t)n, &r->abi->abi.tool_choice) < 0
               ? openai_no_memory(r)
               : 0;
}

int openai_tool_choice(struct openai_reader *r, struct json_object *v)
{
    llm_str word = { "", 0 };
    bool is_word = json_object_is_type(v, json_type_string);
    if (is_word && openai_string(r, "tool_choice", v, 64, &word) < 0)
        return -1;
    if (is_word && openai_is(word, "none")) { /* the model is told of none */
        r->abi->abi.tools = (llm_str){ 0 };
        r->out->tools = false;
        return 0;
    }
    if (is_word && openai_is(word, "auto"))
        return 0;
    if (!r->out->tools)
        return openai_refuse(r, "tool_choice", "tool_choice needs tools");
    if (is_word && openai_is(word, "required")) {
        r->abi->abi.tool_choice = (llm_str){ "required", 8 };
        return 0;
    }
    if (is_word)
        return openai_refuse(r, "tool_choice",
                             "tool_choice must be none, auto, required or a function");
    return choose_function(r, v);
}

/* ---- calls in earlier messages --------------------------------------------------------------- */

static int take_call(struct openai_reader *r, const char *where, struct json_object *call,
                     struct json_object *list)
{
    static const char *const outer[] = { "type", "function", "id", "index", NULL };
    static const char *const known[] = { "name", "arguments", NULL };
    char param[OPENAI_PARAM_BYTES];
    llm_str name, arguments, id;
    struct airlock_error why;
    struct json_object *f = function_of(r, where, call, outer), *v;
    if (!f)
        return -1;
    snprintf(param, sizeof param, "%.100s.id", where);
    if ((v = openai_member(call, "id")) && openai_string(r, param, v, 256, &id) < 0)
        return -1;
    snprintf(param, sizeof param, "%.100s.function", where);
    if (openai_only(r, f, param, known) < 0)
        return -1;
    snprintf(param, sizeof param, "%.100s.function.name", where);
    if (take_name(r, param, openai_member(f, "name"), &name) < 0)
        return -1;
    snprintf(param, sizeof param, "%.100s.function.arguments", where);
    if (openai_string(r, param, openai_member(f, "arguments"), LIMIT_REQUEST_BYTES, &arguments) < 0)
        return -1;
    struct json_object *parsed =
        arguments.len ? json_parse_max(arguments.ptr, arguments.len, LIMIT_REQUEST_VALUES, &why)
                      : json_object_new_object();
    if (!json_object_is_type(parsed, json_type_object)) {
        json_object_put(parsed);
        return openai_refuse(r, param, "arguments must be a JSON object, written as a string");
    }
    struct json_object *out = json_object_new_object();
    json_object_object_add(out, "name", json_object_new_string_len(name.ptr, (int)name.len));
    json_object_object_add(out, "arguments", parsed);
    json_object_array_add(list, out);
    return 0;
}

int openai_tool_calls(struct openai_reader *r, const char *where, struct json_object *v,
                      llm_str *out)
{
    if (!json_object_is_type(v, json_type_array))
        return openai_refuse(r, where, "tool_calls must be an array");
    size_t n = json_object_array_length(v);
    if (n > LIMIT_TOOLS)
        return openai_refuse(r, where, "tool_calls must have at most %d entries", LIMIT_TOOLS);
    if (n == 0)
        return 0;
    struct json_object *list = json_object_new_array();
    int rc = list ? 0 : openai_no_memory(r);
    for (size_t i = 0; i < n && rc == 0; i++) {
        char place[96];
        snprintf(place, sizeof place, "%.64s[%zu]", where, i);
        rc = take_call(r, place, json_object_array_get_idx(v, i), list);
    }
    if (rc == 0)
        rc = own_json(r, list, out);
    json_object_put(list);
    openai_need(r, LLM_CAP_TOOLS, "tool_calls");
    return rc;
}

/* ---- the form of the answer ------------------------------------------------------------------ */

static int take_schema(struct openai_reader *r, struct json_object *v)
{
    static const char where[] = "response_format.json_schema";
    static const char *const known[] = { "name", "description", "schema", "strict", NULL };
    llm_str text;
    bool strict;
    if (!json_object_is_type(v, json_type_object))
        return openai_refuse(r, where, "%s must be an object", where);
    if (openai_only(r, v, where, known) < 0)
        return -1;
    struct json_object *name = openai_member(v, "name"), *about = openai_member(v, "description");
    struct json_object *schema = openai_member(v, "schema"), *exact = openai_member(v, "strict");
    if (name && openai_string(r, "response_format.json_schema.name", name, 256, &text) < 0)
        return -1;
    if (about &&
        openai_string(r, "response_format.json_schema.description", about, TEXT_BYTES, &text) < 0)
        return -1;
    if (exact && openai_bool(r, "response_format.json_schema.strict", exact, &strict) < 0)
        return -1;
    if (!json_object_is_type(schema, json_type_object))
        return openai_refuse(r, "response_format.json_schema.schema", "schema must be an object");
    r->abi->constraint.kind = LLM_CONSTRAINT_JSON_SCHEMA;
    return own_json(r, schema, &r->abi->constraint.text);
}

int openai_response_format(struct openai_reader *r, struct json_object *v)
{
    static const char *const known[] = { "type", "json_schema", NULL };
    static const char type_param[] = "response_format.type";
    llm_str type;
    if (!json_object_is_type(v, json_type_object))
        return openai_refuse(r, "response_format", "response_format must be an object");
    if (openai_only(r, v, "response_format", known) < 0 ||
        openai_string(r, type_param, openai_member(v, "type"), 64, &type) < 0)
        return -1;
    struct json_object *schema = openai_member(v, "json_schema");
    bool by_schema = openai_is(type, "json_schema");
    if (!by_schema && schema)
        return openai_refuse(r, "response_format.json_schema", "json_schema needs its own type");
    if (openai_is(type, "text"))
        return 0;
    r->abi->constraint.struct_size = sizeof r->abi->constraint;
    openai_need(r, LLM_CAP_CONSTRAINT, "response_format");
    if (by_schema)
        return take_schema(r, schema);
    if (!openai_is(type, "json_object"))
        return openai_refuse(r, type_param, "the type must be text, json_object or json_schema");
    r->abi->constraint.kind = LLM_CONSTRAINT_JSON_OBJECT;
    return 0;
}
