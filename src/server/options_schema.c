/* options_schema.c - see options_schema.h. */
#include "server/options_schema.h"

#include "common/json.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static bool has_type(struct json_object *v, const char *type)
{
    switch (json_object_get_type(v)) {
    case json_type_null:
        return strcmp(type, "null") == 0;
    case json_type_boolean:
        return strcmp(type, "boolean") == 0;
    case json_type_int:
        return strcmp(type, "integer") == 0 || strcmp(type, "number") == 0;
    case json_type_double:
        return strcmp(type, "number") == 0 ||
               (strcmp(type, "integer") == 0 &&
                json_object_get_double(v) == trunc(json_object_get_double(v)));
    case json_type_string:
        return strcmp(type, "string") == 0;
    case json_type_array:
        return strcmp(type, "array") == 0;
    case json_type_object:
        return strcmp(type, "object") == 0;
    }
    return false;
}

/* `type` is a word or a list of words. */
static bool type_allows(struct json_object *type, struct json_object *v)
{
    if (!json_object_is_type(type, json_type_array))
        return !type || has_type(v, json_object_get_string(type));
    for (size_t i = 0; i < json_object_array_length(type); i++)
        if (has_type(v, json_object_get_string(json_object_array_get_idx(type, i))))
            return true;
    return false;
}

static bool enum_allows(struct json_object *list, struct json_object *v)
{
    if (!json_object_is_type(list, json_type_array))
        return true;
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (json_object_equal(json_object_array_get_idx(list, i), v))
            return true;
    return false;
}

static int check_value(struct json_object *schema, struct json_object *v, const char *where,
                       const char *key, struct airlock_error *err)
{
    struct json_object *rule = NULL;
    json_object_object_get_ex(schema, "type", &rule);
    if (!type_allows(rule, v))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s must be of type %s", where, key,
                                 json_object_to_json_string_ext(rule, JSON_C_TO_STRING_PLAIN));
    rule = NULL;
    json_object_object_get_ex(schema, "enum", &rule);
    if (!enum_allows(rule, v))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s must be one of %s", where, key,
                                 json_object_to_json_string_ext(rule, JSON_C_TO_STRING_PLAIN));
    bool number = json_object_is_type(v, json_type_int) || json_object_is_type(v, json_type_double);
    if (number && json_object_object_get_ex(schema, "minimum", &rule) &&
        !(json_object_get_double(v) >= json_object_get_double(rule)))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s must be at least %s", where, key,
                                 json_object_get_string(rule));
    if (number && json_object_object_get_ex(schema, "maximum", &rule) &&
        !(json_object_get_double(v) <= json_object_get_double(rule)))
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s must be at most %s", where, key,
                                 json_object_get_string(rule));
    return 0;
}

static int check_all(struct json_object *schema, struct json_object *options, const char *where,
                     struct airlock_error *err)
{
    struct json_object *properties = NULL, *required = NULL, *rule;
    json_object_object_get_ex(schema, "properties", &properties);
    json_object_object_get_ex(schema, "required", &required);
    if (options) {
        json_object_object_foreach(options, key, value)
        {
            if (!json_object_is_type(properties, json_type_object) ||
                !json_object_object_get_ex(properties, key, &rule))
                return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                         "%s%.64s is not an option of this class", where, key);
            if (check_value(rule, value, where, key, err) < 0)
                return -1;
        }
    }
    size_t n =
        json_object_is_type(required, json_type_array) ? json_object_array_length(required) : 0;
    for (size_t i = 0; i < n; i++) {
        const char *key = json_object_get_string(json_object_array_get_idx(required, i));
        if (!options || !json_object_object_get_ex(options, key ? key : "", NULL))
            return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s%s is missing", where, key);
    }
    return 0;
}

int options_check(const char *schema, struct json_object *options, const char *where,
                  struct airlock_error *err)
{
    if (!schema && (!options || json_object_object_length(options) == 0))
        return 0;
    if (!schema)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "%s: this class takes no options", where);
    struct json_object *s = json_parse(schema, strlen(schema), err);
    if (!s)
        return airlock_error_wrap(err, "%s: the plugin's own options schema is broken", where);
    int rc = check_all(s, options, where, err);
    json_object_put(s);
    return rc;
}
