/* json_schema.c - walks a schema without recursion: values to compile wait in a list; references
 * and anyOf are taken apart here. */
#include "json_schema.h"

#include "common/bytes.h"
#include "common/json.h"
#include "json_compiler.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EXPANSIONS = 1024 /* references and branches of one value */ };

/* ---- errors ---------------------------------------------------------------------------------- */

int schema_no_memory(struct compiler *c)
{
    return airlock_error_set(c->err, AIRLOCK_E_NO_MEMORY, "out of memory for a schema");
}

int schema_refuse(struct compiler *c, const struct schema_place *p, const char *keyword,
                  const char *format, ...)
{
    char what[256];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    return airlock_error_set(c->err, AIRLOCK_E_REQUEST, "%s%s%.40s: %s", p->pointer,
                             keyword ? "/" : "", keyword ? keyword : "", what);
}

int schema_locate(struct compiler *c, const struct schema_place *p, const char *keyword)
{
    if (c->err && c->err->code == AIRLOCK_E_REQUEST)
        airlock_error_wrap(c->err, "%s/%s", p->pointer, keyword);
    return -1;
}

/* ---- places ---------------------------------------------------------------------------------- */

/* Appends "/part" with RFC 6901's escapes; what does not fit is cut. */
static void add_to_pointer(char *pointer, const char *part)
{
    size_t n = strlen(pointer);
    if (n + 1 < SCHEMA_MAX_POINTER)
        pointer[n++] = '/';
    for (; *part && n + 3 < SCHEMA_MAX_POINTER; part++) {
        if (*part == '~' || *part == '/') {
            pointer[n++] = '~';
            pointer[n++] = *part == '~' ? '0' : '1';
        } else {
            pointer[n++] = (unsigned char)*part < 0x20 ? '?' : *part;
        }
    }
    pointer[n] = 0;
}

struct schema_place schema_below(const struct schema_place *p, struct json_object *schema,
                                 const char *keyword, const char *member, int item)
{
    struct schema_place below = *p;
    below.schema = schema;
    below.constant = false;
    add_to_pointer(below.pointer, keyword);
    if (member) {
        add_to_pointer(below.pointer, member);
    } else if (item >= 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", item);
        add_to_pointer(below.pointer, number);
    }
    return below;
}

/* Takes one part of a JSON pointer from *at and undoes its escapes.  False: malformed. */
static bool next_part(const char **at, char *out, size_t capacity)
{
    size_t n = 0;
    while (**at && **at != '/') {
        char ch = *(*at)++;
        if (ch == '~') {
            ch = **at == '0' ? '~' : **at == '1' ? '/' : 0;
            (*at)++;
        }
        if (!ch || ch == '%' || n + 1 >= capacity)
            return false;
        out[n++] = ch;
    }
    out[n] = 0;
    return true;
}

static bool child_of(struct json_object **o, const char *part)
{
    if (json_object_is_type(*o, json_type_object))
        return json_object_object_get_ex(*o, part, o);
    if (!json_object_is_type(*o, json_type_array) || !*part || strlen(part) > 5)
        return false;
    char *end;
    unsigned long i = strtoul(part, &end, 10);
    if (*end || i >= json_object_array_length(*o))
        return false;
    *o = json_object_array_get_idx(*o, i);
    return true;
}

int schema_resolve(struct compiler *c, const struct schema_place *p, struct schema_place *out)
{
    struct json_object *ref = NULL, *at = p->root;
    json_object_object_get_ex(p->schema, "$ref", &ref);
    if (!json_object_is_type(ref, json_type_string))
        return schema_refuse(c, p, "$ref", "must be a string");
    const char *text = json_object_get_string(ref);
    if (text[0] != '#' || (text[1] && text[1] != '/'))
        return schema_refuse(c, p, "$ref",
                             "\"%.80s\" is not supported; refer to a part of this schema, such as "
                             "#/$defs/NAME",
                             text);
    struct schema_place place = { .root = p->root };
    snprintf(place.pointer, sizeof place.pointer, "%s", text);
    for (const char *rest = text + 1; *rest == '/';) {
        char part[256];
        rest++;
        if (!next_part(&rest, part, sizeof part) || !child_of(&at, part))
            return schema_refuse(c, p, "$ref", "\"%.80s\" is not in this schema", text);
    }
    place.schema = at;
    *out = place;
    return 0;
}

/* ---- references and combinations ------------------------------------------------------------- */

/* Schemas whose alternatives one value has, still to be taken apart. */
struct expansion {
    struct schema_place *places; /* [MAX_EXPANSIONS] */
    size_t n, done;
};

static int expand(struct compiler *c, struct expansion *e, const struct schema_place *p)
{
    if (e->n + e->done >= MAX_EXPANSIONS)
        return schema_refuse(c, p, NULL,
                             "refers to itself without an object or array between, or has more "
                             "than %d branches",
                             MAX_EXPANSIONS);
    e->places[e->n++] = *p;
    return 0;
}

/* The schema without these keywords; NULL: nothing else in it asserts anything.  Owned. */
static struct json_object *without(struct json_object *schema, const char *a, const char *b)
{
    struct json_object *rest = NULL;
    json_object_object_foreach(schema, key, value)
    {
        if (strcmp(key, a) == 0 || strcmp(key, b) == 0 || !schema_asserts(key))
            continue;
        if (!rest)
            rest = json_object_new_object();
        if (!rest)
            return NULL;
        json_object_object_add(rest, key, json_object_get(value));
    }
    return rest;
}

/* part, and at the same time what p says besides the keywords a and b. */
static int expand_with_rest(struct compiler *c, struct expansion *e, const struct schema_place *p,
                            const struct schema_place *part, const char *a, const char *b)
{
    struct json_object *rest = without(p->schema, a, b);
    if (!rest)
        return expand(c, e, part);
    struct schema_place parts[2] = { *p, *part }, merged;
    parts[0].schema = rest;
    int rc = schema_merge(c, parts, 2, &merged);
    json_object_put(rest);
    return rc ? -1 : expand(c, e, &merged);
}

static int expand_branches(struct compiler *c, struct expansion *e, const struct schema_place *p,
                           struct json_object *branches, const char *keyword)
{
    if (!json_object_is_type(branches, json_type_array) || json_object_array_length(branches) == 0)
        return schema_refuse(c, p, keyword, "must be an array of schemas");
    for (size_t i = json_object_array_length(branches); i-- > 0;) {
        struct schema_place branch =
            schema_below(p, json_object_array_get_idx(branches, i), keyword, NULL, (int)i);
        if (expand_with_rest(c, e, p, &branch, keyword, ""))
            return -1;
    }
    return 0;
}

static int expand_all_of(struct compiler *c, struct expansion *e, const struct schema_place *p)
{
    struct schema_place merged;
    return schema_merge(c, p, 1, &merged) ? -1 : expand(c, e, &merged);
}

/* Takes one schema apart. */
static int compile_place(struct compiler *c, uint32_t value, const struct schema_place *p,
                         struct expansion *e)
{
    struct json_object *any_of = NULL, *one_of = NULL;
    if (p->constant)
        return schema_add_types(c, value, p);
    if (json_object_is_type(p->schema, json_type_boolean))
        return json_object_get_boolean(p->schema) ? schema_add_any(c, value) : 0;
    if (!json_object_is_type(p->schema, json_type_object))
        return schema_refuse(c, p, NULL, "must be a schema: an object, true or false");
    if (schema_check_keywords(c, p))
        return -1;
    if (json_object_object_get_ex(p->schema, "$ref", NULL)) {
        struct schema_place target;
        return schema_resolve(c, p, &target) ? -1
                                             : expand_with_rest(c, e, p, &target, "$ref", "$ref");
    }
    if (json_object_object_get_ex(p->schema, "allOf", NULL))
        return expand_all_of(c, e, p);
    bool any = json_object_object_get_ex(p->schema, "anyOf", &any_of);
    bool one = json_object_object_get_ex(p->schema, "oneOf", &one_of);
    if (any && one)
        return schema_refuse(c, p, "oneOf", "is not supported beside anyOf");
    if (any || one)
        return expand_branches(c, e, p, any ? any_of : one_of, any ? "anyOf" : "oneOf");
    return schema_add_types(c, value, p);
}

static int compile_value(struct compiler *c, uint32_t value)
{
    if (c->todo[value].built)
        return 0;
    if (c->todo[value].any)
        return schema_add_any(c, value);
    struct expansion e = { .places = malloc(MAX_EXPANSIONS * sizeof *e.places) };
    if (!e.places)
        return schema_no_memory(c);
    int rc = expand(c, &e, &c->todo[value].place);
    while (rc == 0 && e.n > 0) {
        struct schema_place p = e.places[--e.n];
        e.done++;
        rc = compile_place(c, value, &p, &e);
    }
    free(e.places);
    return rc;
}

/* ---- after all values are compiled ----------------------------------------------------------- */

static uint32_t object_height(const struct json_tables *t, const struct json_object_rule *o)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < o->n; i++) {
        const struct json_property *p = &t->properties[o->first + i];
        if (p->required && t->values[p->value].height > most)
            most = t->values[p->value].height;
    }
    return most;
}

static uint32_t array_height(const struct json_tables *t, const struct json_array_rule *r,
                             uint32_t min)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < r->n && i < min; i++)
        if (t->values[t->items[r->first + i]].height > most)
            most = t->values[t->items[r->first + i]].height;
    if (min > r->n) {
        uint32_t rest = r->rest == JSON_NONE ? JSON_IMPOSSIBLE : t->values[r->rest].height;
        most = rest > most ? rest : most;
    }
    return most;
}

static uint32_t height_of(const struct json_tables *t, const struct json_alternative *a)
{
    uint32_t inside = a->kind == JSON_OBJECT  ? object_height(t, &t->objects[a->at])
                      : a->kind == JSON_ARRAY ? array_height(t, &t->arrays[a->at], a->min)
                                              : 0;
    return inside >= JSON_MAX_LEVELS ? JSON_IMPOSSIBLE : inside + 1;
}

/* The least nesting that each value needs, from below: what gets none cannot be written. */
static void find_heights(struct json_tables *t)
{
    for (bool changed = true; changed;) {
        changed = false;
        for (size_t i = 0; i < t->n_values; i++) {
            struct json_value *v = &t->values[i];
            for (uint32_t k = 0; k < v->n; k++) {
                struct json_alternative *a = &t->alternatives[v->first + k];
                uint32_t height = height_of(t, a);
                if (height < a->height) {
                    a->height = height;
                    v->height = height < v->height ? height : v->height;
                    changed = true;
                }
            }
        }
    }
}

/* Bytes between two cuts are never told apart. */
static void find_classes(struct json_tables *t)
{
    bool cut[257] = { [0] = true };
    static const char single[] = "{}[],:\" ";
    for (size_t i = 0; i < sizeof single - 1; i++)
        cut[(uint8_t)single[i]] = cut[(uint8_t)single[i] + 1] = true;
    for (size_t i = 0; i < t->n_names; i++)
        cut[(uint8_t)t->names[i]] = cut[(uint8_t)t->names[i] + 1] = true;
    for (size_t i = 0; i < t->n_edges; i++)
        cut[t->edges[i].low] = cut[t->edges[i].high + 1] = true;
    unsigned n = 0;
    for (unsigned i = 0; i < 256; i++) {
        n += cut[i];
        t->byte_class[i] = (uint8_t)(n - 1);
    }
    t->n_classes = n;
}

static int finish(struct compiler *c, uint32_t root)
{
    for (uint32_t i = 0; i < c->n_todo; i++)
        if (compile_value(c, i))
            return -1;
    find_heights(c->t);
    find_classes(c->t);
    c->t->root = root;
    const struct json_value *v = &c->t->values[root];
    if (v->height == JSON_IMPOSSIBLE || v->height + 1 > JSON_MAX_LEVELS)
        return airlock_error_set(c->err, AIRLOCK_E_REQUEST,
                                 "#: no JSON text of at most %d levels satisfies the schema",
                                 JSON_MAX_LEVELS - 2);
    return 0;
}

/* ---- the ends -------------------------------------------------------------------------------- */

static int compiler_begin(struct compiler *c, struct airlock_error *err)
{
    *c = (struct compiler){
        .any = JSON_NONE, .number_start = JSON_NONE, .integer_start = JSON_NONE, .err = err
    };
    c->t = calloc(1, sizeof *c->t);
    if (!c->t)
        return schema_no_memory(c);
    c->lexer = (struct lexer){ .t = c->t, .fuel = LEX_MAX_FUEL };
    c->t->key_start = lexer_string_body(&c->lexer, true, err);
    c->t->plain_key_start =
        c->t->key_start == JSON_NONE ? JSON_NONE : lexer_string_body(&c->lexer, false, err);
    if (c->t->plain_key_start == JSON_NONE)
        return -1;
    c->text_start = lexer_state(&c->lexer, err);
    return lexer_edge(&c->lexer, c->text_start, '"', '"', 0, c->t->key_start, err);
}

static struct json_tables *compiler_end(struct compiler *c, int rc)
{
    for (size_t i = 0; i < c->n_made; i++)
        json_object_put(c->made[i]);
    free(c->made);
    free(c->todo);
    if (rc == 0)
        return c->t;
    json_tables_free(c->t);
    return NULL;
}

static struct json_tables *compile_object(struct json_object *root, struct airlock_error *err)
{
    struct compiler c;
    struct schema_place place = { .schema = root, .root = root, .pointer = "#" };
    int rc = compiler_begin(&c, err);
    uint32_t value = rc ? JSON_NONE : schema_value(&c, &place);
    return compiler_end(&c, value == JSON_NONE ? -1 : finish(&c, value));
}

struct json_tables *json_schema_compile(const char *text, size_t size, struct airlock_error *err)
{
    struct airlock_error why = { 0 };
    if (size > SCHEMA_MAX_BYTES) {
        airlock_error_set(err, AIRLOCK_E_REQUEST,
                          "the schema has %zu bytes, at most %d are allowed", size,
                          SCHEMA_MAX_BYTES);
        return NULL;
    }
    struct json_object *root = json_parse_max(text, size, SCHEMA_MAX_JSON, &why);
    if (!root) {
        airlock_error_set(err, why.code == AIRLOCK_E_NO_MEMORY ? why.code : AIRLOCK_E_REQUEST,
                          "#: the schema is not usable JSON: %s", why.text);
        return NULL;
    }
    struct json_tables *t = compile_object(root, err);
    json_object_put(root);
    return t;
}

struct json_tables *json_schema_any_object(struct airlock_error *err)
{
    static const char text[] = "{\"type\":\"object\"}";
    return json_schema_compile(text, sizeof text - 1, err);
}

/* ---- calls of functions ---------------------------------------------------------------------- */

static uint32_t built_value(struct compiler *c)
{
    struct schema_todo todo = { .built = true };
    snprintf(todo.place.pointer, sizeof todo.place.pointer, "#");
    return schema_new_value(c, &todo);
}

int schema_own(struct compiler *c, struct json_object *o)
{
    if (!o || schema_grow(c, &c->made, c->n_made, &c->made_capacity, sizeof *c->made)) {
        json_object_put(o);
        return schema_no_memory(c);
    }
    c->made[c->n_made++] = o;
    return 0;
}

/* The schema alone can be compiled, and some object satisfies it. */
static bool supported(struct json_object *schema)
{
    struct json_tables *t = schema ? compile_object(schema, NULL) : NULL;
    bool object = false;
    for (uint32_t i = 0; t && i < t->values[t->root].n; i++) {
        const struct json_alternative *a = &t->alternatives[t->values[t->root].first + i];
        object = object || (a->kind == JSON_OBJECT && a->height + 3 < JSON_MAX_LEVELS);
    }
    json_tables_free(t);
    return object;
}

/* The value of a function's arguments: an object as its schema says, or any. */
static uint32_t arguments_value(struct compiler *c, const struct json_schema_tool *tool)
{
    static const char any_object[] = "object";
    struct json_object *type = json_object_new_string(any_object), *is_object = NULL;
    struct schema_place parts[2] = { { .root = tool->parameters, .pointer = "#" } }, merged;
    is_object = json_object_new_object();
    if (!type || !is_object || json_object_object_add(is_object, "type", type)) {
        json_object_put(is_object);
        schema_no_memory(c);
        return JSON_NONE;
    }
    if (schema_own(c, is_object))
        return JSON_NONE;
    parts[0].schema = is_object;
    if (!supported(tool->parameters))
        return schema_value(c, &parts[0]);
    if (json_object_object_get_ex(tool->parameters, "type", NULL)) {
        parts[0].schema = tool->parameters;
        return schema_value(c, &parts[0]);
    }
    parts[1] = parts[0];
    parts[1].schema = tool->parameters;
    return schema_merge(c, parts, 2, &merged) ? JSON_NONE : schema_value(c, &merged);
}

/* {"name": NAME, "arguments": {...}} */
static int add_call(struct compiler *c, uint32_t value, const struct json_schema_tool *tool)
{
    struct schema_place name = { .pointer = "#", .constant = true };
    name.schema = json_object_new_string_len(tool->name, (int)tool->name_size);
    if (schema_own(c, name.schema))
        return -1;
    uint32_t name_value = schema_value(c, &name), arguments = arguments_value(c, tool);
    if (name_value == JSON_NONE || arguments == JSON_NONE)
        return -1;
    uint32_t object = schema_object(c, JSON_NONE);
    if (object == JSON_NONE || schema_property(c, object, "name", 4, name_value, true) ||
        schema_property(c, object, "arguments", 9, arguments, true) || schema_object_end(c, object))
        return -1;
    return schema_add_alternative(c, value,
                                  (struct json_alternative){ .kind = JSON_OBJECT, .at = object });
}

struct json_tables *json_schema_calls(const struct json_schema_tool *tools, size_t n, uint32_t min,
                                      uint32_t max, struct airlock_error *err)
{
    struct compiler c;
    int rc = compiler_begin(&c, err);
    uint32_t list = rc ? JSON_NONE : built_value(&c);
    uint32_t call = list == JSON_NONE ? JSON_NONE : built_value(&c);
    uint32_t array = call == JSON_NONE ? JSON_NONE : schema_array(&c, call);
    rc = array == JSON_NONE ? -1 : 0;
    if (rc == 0)
        rc = schema_add_alternative(
            &c, list,
            (struct json_alternative){ .kind = JSON_ARRAY, .at = array, .min = min, .max = max });
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = add_call(&c, call, &tools[i]);
    return compiler_end(&c, rc ? rc : finish(&c, list));
}

void json_tables_free(struct json_tables *t)
{
    if (!t)
        return;
    free(t->edges);
    free(t->states);
    free(t->alternatives);
    free(t->values);
    free(t->properties);
    free(t->objects);
    free(t->arrays);
    free(t->order);
    free(t->items);
    free(t->names);
    free(t);
}

size_t json_tables_bytes(const struct json_tables *t)
{
    return sizeof *t + t->n_edges * sizeof *t->edges + t->n_states * sizeof *t->states +
           t->n_alternatives * sizeof *t->alternatives + t->n_values * sizeof *t->values +
           t->n_properties * sizeof *t->properties + t->n_objects * sizeof *t->objects +
           t->n_arrays * sizeof *t->arrays + (t->n_order + t->n_items) * sizeof *t->order +
           t->n_names;
}
