/* json_merge.c - allOf and keywords beside references: schemas that hold at once become one. */
#include "json_compiler.h"

#include <string.h>

enum { MAX_PARTS = 64 /* of one allOf, those inside it counted */ };

/* The parts of a merge, references and inner allOf resolved. */
struct parts {
    struct schema_place list[MAX_PARTS];
    size_t n;
};

static struct json_object *get(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;
    json_object_object_get_ex(o, key, &v);
    return v;
}

static bool has(struct json_object *o, const char *key)
{
    return json_object_object_get_ex(o, key, NULL);
}

static int add_part(struct compiler *c, struct parts *parts, const struct schema_place *p)
{
    if (parts->n == MAX_PARTS)
        return schema_refuse(c, p, NULL,
                             "has more than %d schemas that hold at once, or refers to itself",
                             MAX_PARTS);
    parts->list[parts->n++] = *p;
    return 0;
}

/* Adds what the i-th part refers to, and the schemas of its allOf. */
static int open_part(struct compiler *c, struct parts *parts, size_t i)
{
    const struct schema_place p = parts->list[i];
    struct json_object *all = get(p.schema, "allOf");
    struct schema_place target;
    if (schema_check_keywords(c, &p))
        return -1;
    if (has(p.schema, "$ref") && (schema_resolve(c, &p, &target) || add_part(c, parts, &target)))
        return -1;
    if (!has(p.schema, "allOf"))
        return 0;
    if (!json_object_is_type(all, json_type_array) || json_object_array_length(all) == 0)
        return schema_refuse(c, &p, "allOf", "must be an array of schemas");
    for (size_t k = 0; k < json_object_array_length(all); k++) {
        struct schema_place below =
            schema_below(&p, json_object_array_get_idx(all, k), "allOf", NULL, (int)k);
        if (add_part(c, parts, &below))
            return -1;
    }
    return 0;
}

/* ---- keywords that two parts have ------------------------------------------------------------ */

static struct json_object *list_of(struct json_object *o)
{
    if (json_object_is_type(o, json_type_array))
        return json_object_get(o);
    struct json_object *list = json_object_new_array();
    if (list)
        json_object_array_add(list, json_object_get(o));
    return list;
}

static bool in_list(struct json_object *list, struct json_object *o)
{
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (json_object_equal(json_object_array_get_idx(list, i), o))
            return true;
    return false;
}

static bool is_word(struct json_object *o, const char *word)
{
    return json_object_is_type(o, json_type_string) && strcmp(json_object_get_string(o), word) == 0;
}

/* Those of a that b allows too; integers are numbers when types are compared. */
static struct json_object *intersection(struct json_object *a, struct json_object *b, bool types)
{
    struct json_object *x = list_of(a), *y = list_of(b), *out = json_object_new_array();
    struct json_object *number = json_object_new_string("number");
    for (size_t i = 0; x && y && out && i < json_object_array_length(x); i++) {
        struct json_object *o = json_object_array_get_idx(x, i);
        if (in_list(y, o) || (types && is_word(o, "integer") && in_list(y, number)))
            json_object_array_add(out, json_object_get(o));
    }
    for (size_t i = 0; types && x && y && out && i < json_object_array_length(y); i++) {
        struct json_object *o = json_object_array_get_idx(y, i);
        if (is_word(o, "integer") && in_list(x, number) && !in_list(out, o))
            json_object_array_add(out, json_object_get(o));
    }
    json_object_put(x);
    json_object_put(y);
    json_object_put(number);
    return out;
}

static struct json_object *both(struct json_object *a, struct json_object *b)
{
    struct json_object *list = json_object_new_array(), *all = json_object_new_object();
    if (!list || !all) {
        json_object_put(list);
        json_object_put(all);
        return NULL;
    }
    json_object_array_add(list, json_object_get(a));
    json_object_array_add(list, json_object_get(b));
    json_object_object_add(all, "allOf", list);
    return all;
}

/* All members of a and b; a member of both becomes an allOf. */
static struct json_object *merged_members(struct json_object *a, struct json_object *b)
{
    struct json_object *out = json_object_new_object();
    json_object_object_foreach(a, key, value)
    {
        struct json_object *other = get(b, key);
        bool two = other && !json_object_equal(value, other);
        json_object_object_add(out, key, two ? both(value, other) : json_object_get(value));
    }
    json_object_object_foreach(b, name, member)
    {
        if (!has(a, name))
            json_object_object_add(out, name, json_object_get(member));
    }
    return out;
}

static struct json_object *joined(struct json_object *a, struct json_object *b)
{
    struct json_object *out = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(a); i++)
        json_object_array_add(out, json_object_get(json_object_array_get_idx(a, i)));
    for (size_t i = 0; i < json_object_array_length(b); i++)
        if (!in_list(out, json_object_array_get_idx(b, i)))
            json_object_array_add(out, json_object_get(json_object_array_get_idx(b, i)));
    return out;
}

static bool starts(const char *word, const char *with)
{
    return strncmp(word, with, strlen(with)) == 0;
}

/* What both a and b say under a keyword; NULL: cannot be said in one. */
static struct json_object *combined(const char *keyword, struct json_object *a,
                                    struct json_object *b)
{
    bool arrays =
        json_object_is_type(a, json_type_array) && json_object_is_type(b, json_type_array);
    bool objects =
        json_object_is_type(a, json_type_object) && json_object_is_type(b, json_type_object);
    if (json_object_equal(a, b))
        return json_object_get(a);
    if (strcmp(keyword, "type") == 0)
        return intersection(a, b, true);
    if (strcmp(keyword, "enum") == 0 && arrays)
        return intersection(a, b, false);
    if (strcmp(keyword, "required") == 0 && arrays)
        return joined(a, b);
    if (strcmp(keyword, "properties") == 0 && objects)
        return merged_members(a, b);
    if (strcmp(keyword, "items") == 0 && objects)
        return both(a, b);
    bool min = starts(keyword, "min") || strcmp(keyword, "exclusiveMinimum") == 0;
    bool max = starts(keyword, "max") || strcmp(keyword, "exclusiveMaximum") == 0;
    if (min || max) {
        bool first = json_object_get_double(a) > json_object_get_double(b);
        return json_object_get(first == min ? a : b);
    }
    return NULL;
}

/* ---- merging --------------------------------------------------------------------------------- */

/* A part that closes its object to other names must declare all names of the others. */
static int check_closed(struct compiler *c, const struct parts *parts)
{
    for (size_t i = 0; i < parts->n; i++) {
        struct json_object *additional = get(parts->list[i].schema, "additionalProperties");
        bool open = json_object_is_type(additional, json_type_boolean) &&
                    json_object_get_boolean(additional);
        if (!has(parts->list[i].schema, "additionalProperties") || open)
            continue;
        struct json_object *mine = get(parts->list[i].schema, "properties");
        for (size_t k = 0; k < parts->n; k++) {
            struct json_object *theirs = get(parts->list[k].schema, "properties");
            if (k == i || !json_object_is_type(theirs, json_type_object))
                continue;
            json_object_object_foreach(theirs, name, ignored)
            {
                (void)ignored;
                if (!json_object_is_type(mine, json_type_object) || !has(mine, name))
                    return schema_refuse(c, &parts->list[i], "additionalProperties",
                                         "does not allow \"%.40s\", which another schema that "
                                         "holds at the same time declares",
                                         name);
            }
        }
    }
    return 0;
}

static int merge_part(struct compiler *c, struct json_object *out, const struct schema_place *p)
{
    json_object_object_foreach(p->schema, key, value)
    {
        struct json_object *before = get(out, key), *now;
        bool open = strcmp(key, "additionalProperties") == 0 &&
                    json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
        if (!schema_asserts(key) || strcmp(key, "$ref") == 0 || strcmp(key, "allOf") == 0 || open)
            continue;
        now = has(out, key) ? combined(key, before, value) : json_object_get(value);
        if (!now && value)
            return schema_refuse(c, p, key,
                                 "cannot be combined with the same keyword of another "
                                 "schema that holds at the same time");
        json_object_object_add(out, key, now);
    }
    return 0;
}

/* additionalProperties: true was left out above, and absent means closed where there are
 * properties: it is said again when all parts say so. */
static void reopen(struct json_object *out, const struct parts *parts)
{
    bool all_open = true, any = false;
    if (has(out, "additionalProperties") || !has(out, "properties"))
        return;
    for (size_t i = 0; i < parts->n; i++) {
        bool said = has(parts->list[i].schema, "additionalProperties");
        any = any || said;
        all_open = all_open && (said || !has(parts->list[i].schema, "properties"));
    }
    if (all_open && any)
        json_object_object_add(out, "additionalProperties", json_object_new_boolean(1));
}

int schema_merge(struct compiler *c, const struct schema_place *given, size_t n,
                 struct schema_place *out)
{
    struct parts parts = { .n = 0 };
    bool nothing = false;
    for (size_t i = 0; i < n; i++)
        if (add_part(c, &parts, &given[i]))
            return -1;
    struct json_object *merged = json_object_new_object();
    if (schema_own(c, merged))
        return -1;
    for (size_t i = 0; i < parts.n; i++) {
        struct json_object *schema = parts.list[i].schema;
        if (json_object_is_type(schema, json_type_boolean)) {
            nothing = nothing || !json_object_get_boolean(schema);
        } else if (!json_object_is_type(schema, json_type_object)) {
            return schema_refuse(c, &parts.list[i], NULL,
                                 "must be a schema: an object, true or false");
        } else if (open_part(c, &parts, i) || merge_part(c, merged, &parts.list[i])) {
            return -1;
        }
    }
    if (check_closed(c, &parts))
        return -1;
    reopen(merged, &parts);
    if (nothing) {
        merged = json_object_new_boolean(0);
        if (schema_own(c, merged))
            return -1;
    }
    *out = given[0];
    out->schema = merged;
    out->constant = false;
    return 0;
}
