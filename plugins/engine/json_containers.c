/* json_containers.c - what the keywords of objects and arrays say, as alternatives of a value. */
#include "json_compiler.h"

#include <string.h>

/* ---- objects --------------------------------------------------------------------------------- */

static bool is_required(struct json_object *required, const char *name)
{
    for (size_t i = 0; required && i < json_object_array_length(required); i++)
        if (strcmp(json_object_get_string(json_object_array_get_idx(required, i)), name) == 0)
            return true;
    return false;
}

static int check_required(struct compiler *c, const struct schema_place *p)
{
    struct json_object *required = schema_get(p, "required");
    if (!schema_has(p, "required"))
        return 0;
    if (!json_object_is_type(required, json_type_array))
        return schema_refuse(c, p, "required", "must be an array of names");
    if (json_object_array_length(required) > SCHEMA_MAX_PROPERTIES)
        return schema_refuse(c, p, "required", "has more than %d names", SCHEMA_MAX_PROPERTIES);
    for (size_t i = 0; i < json_object_array_length(required); i++)
        if (!json_object_is_type(json_object_array_get_idx(required, i), json_type_string))
            return schema_refuse(c, p, "required", "must be an array of names");
    return 0;
}

/* What properties that are not declared may be; without a word about it, nothing beside declared
 * ones. *out: a value, or JSON_NONE. */
static int additional_value(struct compiler *c, const struct schema_place *p, uint32_t *out)
{
    struct json_object *additional = schema_get(p, "additionalProperties");
    *out = JSON_NONE;
    if (schema_has(p, "additionalProperties")) {
        if (json_object_is_type(additional, json_type_boolean) &&
            !json_object_get_boolean(additional))
            return 0;
        struct schema_place below = schema_below(p, additional, "additionalProperties", NULL, -1);
        *out = json_object_is_type(additional, json_type_boolean) ? schema_any_value(c)
                                                                  : schema_value(c, &below);
    } else if (!schema_has(p, "properties")) {
        *out = schema_any_value(c);
    } else {
        return 0;
    }
    return *out == JSON_NONE ? -1 : 0;
}

static int add_properties(struct compiler *c, const struct schema_place *p, uint32_t object)
{
    struct json_object *properties = schema_get(p, "properties"),
                       *required = schema_get(p, "required");
    if (!properties)
        return 0;
    json_object_object_foreach(properties, key, schema)
    {
        struct schema_place below = schema_below(p, schema, "properties", key, -1);
        uint32_t v = schema_value(c, &below);
        if (v == JSON_NONE ||
            schema_property(c, object, key, strlen(key), v, is_required(required, key)))
            return -1;
    }
    return 0;
}

/* Names that are required but not declared. */
static int add_undeclared(struct compiler *c, const struct schema_place *p, uint32_t object)
{
    struct json_object *properties = schema_get(p, "properties"),
                       *required = schema_get(p, "required");
    uint32_t additional = c->t->objects[object].additional;
    for (size_t i = 0; required && i < json_object_array_length(required); i++) {
        struct json_object *name = json_object_array_get_idx(required, i);
        const char *text = json_object_get_string(name);
        bool again = false;
        for (size_t k = 0; k < i && !again; k++)
            again =
                strcmp(text, json_object_get_string(json_object_array_get_idx(required, k))) == 0;
        if (again || (properties && json_object_object_get_ex(properties, text, NULL)))
            continue;
        if (schema_has(p, "additionalProperties") && additional == JSON_NONE)
            return schema_refuse(c, p, "required",
                                 "\"%.40s\" is neither in properties nor allowed as an additional "
                                 "one",
                                 text);
        uint32_t v = additional != JSON_NONE ? additional : schema_any_value(c);
        if (v == JSON_NONE || schema_property(c, object, text, strlen(text), v, true))
            return -1;
    }
    return 0;
}

int schema_add_object(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    struct json_object *properties = schema_get(p, "properties");
    uint32_t additional;
    if (schema_has(p, "properties") && !json_object_is_type(properties, json_type_object))
        return schema_refuse(c, p, "properties", "must be an object");
    if (properties && json_object_object_length(properties) > SCHEMA_MAX_PROPERTIES)
        return schema_refuse(c, p, "properties", "has more than %d members", SCHEMA_MAX_PROPERTIES);
    if (check_required(c, p) || additional_value(c, p, &additional))
        return -1;
    uint32_t object = schema_object(c, additional);
    if (object == JSON_NONE || add_properties(c, p, object) || add_undeclared(c, p, object) ||
        schema_object_end(c, object))
        return -1;
    return schema_add_alternative(c, value,
                                  (struct json_alternative){ .kind = JSON_OBJECT, .at = object });
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* What items behind prefixItems may be, as for additional properties. */
static int rest_value(struct compiler *c, const struct schema_place *p, uint32_t *out)
{
    struct json_object *items = schema_get(p, "items");
    *out = JSON_NONE;
    if (json_object_is_type(items, json_type_array))
        return schema_refuse(c, p, "items", "must be one schema; a list of them is prefixItems");
    if (schema_has(p, "items")) {
        if (json_object_is_type(items, json_type_boolean) && !json_object_get_boolean(items))
            return 0;
        struct schema_place below = schema_below(p, items, "items", NULL, -1);
        *out = json_object_is_type(items, json_type_boolean) ? schema_any_value(c)
                                                             : schema_value(c, &below);
    } else if (!schema_has(p, "prefixItems")) {
        *out = schema_any_value(c);
    } else {
        return 0;
    }
    return *out == JSON_NONE ? -1 : 0;
}

int schema_add_array(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    struct json_object *prefix = schema_get(p, "prefixItems");
    uint32_t min = 0, max = JSON_NONE, rest;
    if (schema_has(p, "prefixItems") && !json_object_is_type(prefix, json_type_array))
        return schema_refuse(c, p, "prefixItems", "must be an array of schemas");
    size_t n = prefix ? json_object_array_length(prefix) : 0;
    if (n > SCHEMA_MAX_PREFIX_ITEMS)
        return schema_refuse(c, p, "prefixItems", "has more than %d items",
                             SCHEMA_MAX_PREFIX_ITEMS);
    if (schema_count(c, p, "minItems", &min) || schema_count(c, p, "maxItems", &max) ||
        rest_value(c, p, &rest))
        return -1;
    uint32_t array = schema_array(c, rest);
    if (array == JSON_NONE)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct schema_place below =
            schema_below(p, json_object_array_get_idx(prefix, i), "prefixItems", NULL, (int)i);
        uint32_t v = schema_value(c, &below);
        if (v == JSON_NONE || schema_item(c, array, v))
            return -1;
    }
    if (min > max)
        return 0;
    return schema_add_alternative(
        c, value,
        (struct json_alternative){ .kind = JSON_ARRAY, .at = array, .min = min, .max = max });
}
