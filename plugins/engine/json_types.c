/* json_types.c - what each type's keywords say, as alternatives of a value. */
#include "common/bytes.h"
#include "json_compiler.h"
#include "json_pattern.h"

#include <limits.h>
#include <math.h>
#include <string.h>

enum {
    TYPE_STRING = 1,
    TYPE_NUMBER = 2,
    TYPE_INTEGER = 4,
    TYPE_BOOLEAN = 8,
    TYPE_NULL = 16,
    TYPE_OBJECT = 32,
    TYPE_ARRAY = 64,
    TYPE_ALL = 127
};

static const int64_t integer_bound = 999999999999999999; /* SCHEMA_INTEGER_DIGITS */
static const int64_t decimal_bound = 1000000000; /* within which LEX_FRACTION_DIGITS are exact */

/* ---- keywords -------------------------------------------------------------------------------- */

static bool listed(const char *const *list, const char *word)
{
    for (; *list; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

/* They say nothing about the instance. */
static const char *const annotations[] = {
    "title",     "description",      "default",         "examples",    "example",    "$schema",
    "$id",       "$comment",         "$defs",           "definitions", "deprecated", "readOnly",
    "writeOnly", "contentMediaType", "contentEncoding", "$anchor",     NULL
};

static const char *const understood[] = { "type",
                                          "properties",
                                          "required",
                                          "additionalProperties",
                                          "items",
                                          "minItems",
                                          "maxItems",
                                          "enum",
                                          "const",
                                          "anyOf",
                                          "oneOf",
                                          "allOf",
                                          "$ref",
                                          "minLength",
                                          "maxLength",
                                          "pattern",
                                          "format",
                                          "minimum",
                                          "maximum",
                                          "exclusiveMinimum",
                                          "exclusiveMaximum",
                                          "prefixItems",
                                          "uniqueItems",
                                          "multipleOf",
                                          NULL };

bool schema_asserts(const char *keyword)
{
    return !listed(annotations, keyword);
}

int schema_check_keywords(struct compiler *c, const struct schema_place *p)
{
    json_object_object_foreach(p->schema, key, value)
    {
        if (strcmp(key, "uniqueItems") == 0 && json_object_get_boolean(value))
            return schema_refuse(c, p, key, "is not supported");
        if (!listed(understood, key) && schema_asserts(key))
            return schema_refuse(c, p, key, "this keyword is not supported");
    }
    return 0;
}

struct json_object *schema_get(const struct schema_place *p, const char *keyword)
{
    struct json_object *o = NULL;
    json_object_object_get_ex(p->schema, keyword, &o);
    return o;
}

bool schema_has(const struct schema_place *p, const char *keyword)
{
    return json_object_object_get_ex(p->schema, keyword, NULL);
}

int schema_count(struct compiler *c, const struct schema_place *p, const char *keyword,
                 uint32_t *out)
{
    struct json_object *o = schema_get(p, keyword);
    if (!schema_has(p, keyword))
        return 0;
    double d = json_object_get_double(o);
    bool number = json_object_is_type(o, json_type_int) || json_object_is_type(o, json_type_double);
    if (!number || !(d >= 0) || d != floor(d))
        return schema_refuse(c, p, keyword, "must be an integer that is not negative");
    *out = d < INT_MAX ? (uint32_t)d : INT_MAX;
    return 0;
}

static unsigned type_named(const char *name)
{
    static const char *const names[] = { "string", "number", "integer", "boolean",
                                         "null",   "object", "array" };
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return 1u << i;
    return 0;
}

static int get_types(struct compiler *c, const struct schema_place *p, unsigned *out)
{
    struct json_object *type = schema_get(p, "type");
    bool list = json_object_is_type(type, json_type_array);
    size_t n = list ? json_object_array_length(type) : 1;
    *out = TYPE_ALL;
    if (!schema_has(p, "type"))
        return 0;
    *out = 0;
    for (size_t i = 0; i < n; i++) {
        struct json_object *one = list ? json_object_array_get_idx(type, i) : type;
        unsigned bit = json_object_is_type(one, json_type_string)
                           ? type_named(json_object_get_string(one))
                           : 0;
        if (!bit)
            return schema_refuse(c, p, "type", "%.40s is not a type of JSON",
                                 json_object_to_json_string(one));
        *out |= bit;
    }
    return 0;
}

/* ---- strings --------------------------------------------------------------------------------- */

static int add_any_string(struct compiler *c, uint32_t value, uint32_t min, uint32_t max)
{
    return schema_add_alternative(
        c, value,
        (struct json_alternative){
            .kind = JSON_TEXT, .at = c->text_start, .min = min, .max = max });
}

static int add_expression(struct compiler *c, uint32_t value, const struct lex_expression *x,
                          enum json_kind kind, uint32_t min, uint32_t max)
{
    bool empty = false;
    uint32_t start = lexer_determinise(&c->lexer, x, min, max, &empty, c->err);
    if (start == JSON_NONE)
        return -1;
    if (empty)
        return 0;
    return schema_add_alternative(
        c, value, (struct json_alternative){ .kind = kind, .at = start, .max = JSON_NONE });
}

static int add_pattern(struct compiler *c, uint32_t value, const char *pattern, size_t size,
                       uint32_t min, uint32_t max)
{
    struct lex_expression x = { 0 };
    int rc = json_pattern_push(&x, pattern, size, c->err);
    if (rc == 0)
        rc = add_expression(c, value, &x, JSON_TEXT, min, max);
    lex_expression_free(&x);
    return rc;
}

static int add_string(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    uint32_t min = 0, max = JSON_NONE;
    struct json_object *pattern = schema_get(p, "pattern"), *format = schema_get(p, "format");
    if (schema_count(c, p, "minLength", &min) || schema_count(c, p, "maxLength", &max))
        return -1;
    if (schema_has(p, "pattern") && !json_object_is_type(pattern, json_type_string))
        return schema_refuse(c, p, "pattern", "must be a string");
    if (schema_has(p, "format") && !json_object_is_type(format, json_type_string))
        return schema_refuse(c, p, "format", "must be a string");
    if (pattern && format)
        return schema_refuse(c, p, "format", "is not supported beside pattern");
    if (min > max)
        return 0;
    if (pattern)
        return add_pattern(c, value, json_object_get_string(pattern),
                           (size_t)json_object_get_string_len(pattern), min, max)
                   ? schema_locate(c, p, "pattern")
                   : 0;
    if (!format)
        return add_any_string(c, value, min, max);
    const char *known = json_pattern_of_format(json_object_get_string(format));
    if (!known)
        return schema_refuse(c, p, "format",
                             "\"%.40s\" is not supported; date, time, date-time, uuid and ipv4 are",
                             json_object_get_string(format));
    return add_pattern(c, value, known, strlen(known), min, max) ? schema_locate(c, p, "format")
                                                                 : 0;
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Bounds of numbers: doubles, because JSON's are. */
struct bounds {
    double min, max; /* +-INFINITY: none */
    bool open_min, open_max;
};

static int get_bound(struct compiler *c, const struct schema_place *p, const char *keyword,
                     bool exclusive, bool lower, struct bounds *b)
{
    struct json_object *o = schema_get(p, keyword);
    if (!schema_has(p, keyword))
        return 0;
    if (!json_object_is_type(o, json_type_int) && !json_object_is_type(o, json_type_double))
        return schema_refuse(c, p, keyword, "must be a number");
    double d = json_object_get_double(o);
    if (lower && d >= b->min) {
        b->open_min = exclusive || (b->open_min && d == b->min);
        b->min = d;
    } else if (!lower && d <= b->max) {
        b->open_max = exclusive || (b->open_max && d == b->max);
        b->max = d;
    }
    return 0;
}

static int get_bounds(struct compiler *c, const struct schema_place *p, struct bounds *b)
{
    *b = (struct bounds){ .min = -INFINITY, .max = INFINITY };
    return get_bound(c, p, "minimum", false, true, b) ||
                   get_bound(c, p, "exclusiveMinimum", true, true, b) ||
                   get_bound(c, p, "maximum", false, false, b) ||
                   get_bound(c, p, "exclusiveMaximum", true, false, b)
               ? -1
               : 0;
}

/* As an automaton that was made before. */
static int add_number_at(struct compiler *c, uint32_t value, uint32_t start)
{
    return schema_add_alternative(
        c, value, (struct json_alternative){ .kind = JSON_NUMBER, .at = start, .max = JSON_NONE });
}

static int add_range(struct compiler *c, uint32_t value, const struct lex_range *range)
{
    struct lex_expression x = { 0 };
    bool empty = false;
    int rc = lex_push_range(&x, range, &empty, c->err);
    if (rc == 0 && !empty)
        rc = add_expression(c, value, &x, JSON_NUMBER, 0, JSON_NONE);
    lex_expression_free(&x);
    return rc;
}

static int add_integer(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    struct bounds b;
    if (get_bounds(c, p, &b))
        return -1;
    double low = b.open_min ? floor(b.min) + 1 : ceil(b.min);
    double high = b.open_max ? ceil(b.max) - 1 : floor(b.max);
    struct lex_range range = { .min = -integer_bound, .max = integer_bound };
    if (low > high || low > (double)integer_bound || high < -(double)integer_bound)
        return 0;
    if (low > (double)range.min)
        range.min = (int64_t)low < integer_bound ? (int64_t)low : integer_bound;
    if (high < (double)range.max)
        range.max = (int64_t)high > -integer_bound ? (int64_t)high : -integer_bound;
    bool any = range.min == -integer_bound && range.max == integer_bound;
    if (any && c->integer_start != JSON_NONE)
        return add_number_at(c, value, c->integer_start);
    if (add_range(c, value, &range))
        return -1;
    if (any)
        c->integer_start = c->t->alternatives[c->t->n_alternatives - 1].at;
    return 0;
}

/* Any number: at most 18 digits, 17 behind the point, an exponent of two. */
static int add_any_number(struct compiler *c, uint32_t value)
{
    struct lex_expression x = { 0 };
    struct lex_range range = { .min = 0, .max = integer_bound };
    bool empty;
    struct airlock_error *err = c->err;
    if (c->number_start != JSON_NONE)
        return add_number_at(c, value, c->number_start);
    int rc = lex_push_byte(&x, '-', '-', err) || lex_repeat(&x, 0, 1, err) ||
             lex_push_range(&x, &range, &empty, err) || lex_concatenate(&x, err) ||
             lex_push_byte(&x, '.', '.', err) || lex_push_byte(&x, '0', '9', err) ||
             lex_repeat(&x, 1, SCHEMA_INTEGER_DIGITS - 1, err) || lex_concatenate(&x, err) ||
             lex_repeat(&x, 0, 1, err) || lex_concatenate(&x, err) ||
             lex_push_byte(&x, 'e', 'e', err) || lex_push_byte(&x, 'E', 'E', err) ||
             lex_alternate(&x, err) || lex_push_byte(&x, '+', '+', err) ||
             lex_push_byte(&x, '-', '-', err) || lex_alternate(&x, err) ||
             lex_repeat(&x, 0, 1, err) || lex_concatenate(&x, err) ||
             lex_push_byte(&x, '0', '9', err) || lex_repeat(&x, 1, 2, err) ||
             lex_concatenate(&x, err) || lex_repeat(&x, 0, 1, err) || lex_concatenate(&x, err) ||
             add_expression(c, value, &x, JSON_NUMBER, 0, JSON_NONE);
    lex_expression_free(&x);
    if (rc == 0)
        c->number_start = c->t->alternatives[c->t->n_alternatives - 1].at;
    return rc ? -1 : 0;
}

static int add_number(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    struct bounds b;
    if (get_bounds(c, p, &b))
        return -1;
    if (isinf(b.min) && isinf(b.max))
        return add_any_number(c, value);
    const char *keyword = isinf(b.min) ? (schema_has(p, "maximum") ? "maximum" : "exclusiveMaximum")
                          : schema_has(p, "minimum") ? "minimum"
                                                     : "exclusiveMinimum";
    double most = (double)decimal_bound;
    if ((!isinf(b.min) && (b.min != floor(b.min) || fabs(b.min) > most)) ||
        (!isinf(b.max) && (b.max != floor(b.max) || fabs(b.max) > most)))
        return schema_refuse(c, p, keyword,
                             "bounds of a number must be integers of at most 10^9; with type "
                             "integer any are supported");
    struct lex_range range = { .fraction = true,
                               .min = isinf(b.min) ? -integer_bound : (int64_t)b.min,
                               .max = isinf(b.max) ? integer_bound : (int64_t)b.max,
                               .open_min = b.open_min,
                               .open_max = b.open_max };
    return add_range(c, value, &range);
}

/* multipleOf: only what says nothing. */
static int check_multiple(struct compiler *c, const struct schema_place *p, unsigned types)
{
    if (!schema_has(p, "multipleOf") ||
        (!(types & TYPE_NUMBER) && json_object_get_double(schema_get(p, "multipleOf")) == 1))
        return 0;
    return schema_refuse(c, p, "multipleOf", "is not supported");
}

/* ---- constants ------------------------------------------------------------------------------- */

/* Words to be accepted: one tree for text, one for numbers, made when needed. */
struct words {
    uint32_t text, number;
};

static int add_word(struct compiler *c, uint32_t value, uint32_t *root, enum json_kind kind,
                    const char *word, size_t size)
{
    if (*root == JSON_NONE) {
        *root = lexer_state(&c->lexer, c->err);
        if (*root == JSON_NONE ||
            schema_add_alternative(
                c, value, (struct json_alternative){ .kind = kind, .at = *root, .max = JSON_NONE }))
            return -1;
    }
    uint32_t end = lexer_word(&c->lexer, *root, word, size, c->err);
    if (end == JSON_NONE)
        return -1;
    c->t->states[end].accept = true;
    return 0;
}

static int add_constant_object(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    uint32_t object = schema_object(c, JSON_NONE);
    if (object == JSON_NONE)
        return -1;
    json_object_object_foreach(p->schema, key, member)
    {
        struct schema_place below = schema_below(p, member, key, NULL, -1);
        below.constant = true;
        uint32_t v = schema_value(c, &below);
        if (v == JSON_NONE || schema_property(c, object, key, strlen(key), v, true))
            return -1;
    }
    if (c->t->objects[object].n > SCHEMA_MAX_PROPERTIES)
        return schema_refuse(c, p, NULL, "has more than %d properties", SCHEMA_MAX_PROPERTIES);
    return schema_object_end(c, object)
               ? -1
               : schema_add_alternative(
                     c, value, (struct json_alternative){ .kind = JSON_OBJECT, .at = object });
}

static int add_constant_array(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    size_t n = json_object_array_length(p->schema);
    uint32_t array = schema_array(c, JSON_NONE);
    if (array == JSON_NONE)
        return -1;
    if (n > SCHEMA_MAX_PREFIX_ITEMS)
        return schema_refuse(c, p, NULL, "has more than %d items", SCHEMA_MAX_PREFIX_ITEMS);
    for (size_t i = 0; i < n; i++) {
        struct schema_place below =
            schema_below(p, json_object_array_get_idx(p->schema, i), "", NULL, (int)i);
        below.constant = true;
        uint32_t v = schema_value(c, &below);
        if (v == JSON_NONE || schema_item(c, array, v))
            return -1;
    }
    return schema_add_alternative(
        c, value,
        (struct json_alternative){
            .kind = JSON_ARRAY, .at = array, .min = (uint32_t)n, .max = (uint32_t)n });
}

static int add_constant(struct compiler *c, uint32_t value, const struct schema_place *p,
                        struct words *words)
{
    struct json_object *o = p->schema;
    if (json_object_is_type(o, json_type_object))
        return add_constant_object(c, value, p);
    if (json_object_is_type(o, json_type_array))
        return add_constant_array(c, value, p);
    if (json_object_is_type(o, json_type_string)) {
        struct bytes quoted = BYTES_INIT(SCHEMA_MAX_BYTES * 6);
        int rc =
            schema_quote(json_object_get_string(o), (size_t)json_object_get_string_len(o), &quoted)
                ? schema_no_memory(c)
                : add_word(c, value, &words->text, JSON_TEXT, quoted.data, quoted.size);
        bytes_free(&quoted);
        return rc;
    }
    bool number = json_object_is_type(o, json_type_int) || json_object_is_type(o, json_type_double);
    const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
    return add_word(c, value, number ? &words->number : &words->text,
                    number ? JSON_NUMBER : JSON_TEXT, text, strlen(text));
}

static unsigned type_of(struct json_object *o)
{
    switch (json_object_get_type(o)) {
    case json_type_string:
        return TYPE_STRING;
    case json_type_boolean:
        return TYPE_BOOLEAN;
    case json_type_null:
        return TYPE_NULL;
    case json_type_object:
        return TYPE_OBJECT;
    case json_type_array:
        return TYPE_ARRAY;
    case json_type_int:
        return TYPE_NUMBER | TYPE_INTEGER;
    default: {
        double d = json_object_get_double(o);
        return TYPE_NUMBER | (d == floor(d) ? TYPE_INTEGER : 0);
    }
    }
}

/* enum or const, which of the keywords only type may stand beside. */
static int add_constants(struct compiler *c, uint32_t value, const struct schema_place *p,
                         unsigned types)
{
    struct words words = { JSON_NONE, JSON_NONE };
    const char *keyword = schema_has(p, "enum") ? "enum" : "const";
    json_object_object_foreach(p->schema, key, ignored)
    {
        (void)ignored;
        if (strcmp(key, keyword) != 0 && strcmp(key, "type") != 0 && schema_asserts(key))
            return schema_refuse(c, p, key, "is not supported beside %s", keyword);
    }
    struct json_object *list = schema_get(p, keyword);
    if (strcmp(keyword, "const") == 0) {
        struct schema_place below = schema_below(p, list, keyword, NULL, -1);
        return type_of(list) & types ? add_constant(c, value, &below, &words) : 0;
    }
    if (!json_object_is_type(list, json_type_array))
        return schema_refuse(c, p, keyword, "must be an array");
    size_t n = json_object_array_length(list);
    if (n > SCHEMA_MAX_ENUM)
        return schema_refuse(c, p, keyword, "has %zu values, at most %d are supported", n,
                             SCHEMA_MAX_ENUM);
    for (size_t i = 0; i < n; i++) {
        struct json_object *one = json_object_array_get_idx(list, i);
        struct schema_place below = schema_below(p, one, keyword, NULL, (int)i);
        if (type_of(one) & types && add_constant(c, value, &below, &words))
            return -1;
    }
    return 0;
}

/* null, true and false as a tree of words. */
static int add_literals(struct compiler *c, uint32_t value, unsigned types)
{
    uint32_t root = JSON_NONE;
    if (types & TYPE_BOOLEAN && (add_word(c, value, &root, JSON_TEXT, "true", 4) ||
                                 add_word(c, value, &root, JSON_TEXT, "false", 5)))
        return -1;
    return types & TYPE_NULL ? add_word(c, value, &root, JSON_TEXT, "null", 4) : 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

int schema_add_types(struct compiler *c, uint32_t value, const struct schema_place *p)
{
    unsigned types;
    struct words words = { JSON_NONE, JSON_NONE };
    if (p->constant)
        return add_constant(c, value, p, &words);
    if (get_types(c, p, &types))
        return -1;
    if (schema_has(p, "enum") || schema_has(p, "const"))
        return add_constants(c, value, p, types);
    if (types & TYPE_NUMBER)
        types &= ~(unsigned)TYPE_INTEGER;
    if ((types & TYPE_STRING && add_string(c, value, p)) ||
        (types & (TYPE_NUMBER | TYPE_INTEGER) && check_multiple(c, p, types)) ||
        (types & TYPE_NUMBER && add_number(c, value, p)) ||
        (types & TYPE_INTEGER && add_integer(c, value, p)) || add_literals(c, value, types) ||
        (types & TYPE_OBJECT && schema_add_object(c, value, p)) ||
        (types & TYPE_ARRAY && schema_add_array(c, value, p)))
        return -1;
    return 0;
}

int schema_add_any(struct compiler *c, uint32_t value)
{
    uint32_t any = schema_any_value(c);
    if (any == JSON_NONE || add_any_string(c, value, 0, JSON_NONE) || add_any_number(c, value) ||
        add_literals(c, value, TYPE_BOOLEAN | TYPE_NULL))
        return -1;
    uint32_t object = schema_object(c, any), array = schema_array(c, any);
    if (object == JSON_NONE || array == JSON_NONE || schema_object_end(c, object) ||
        schema_add_alternative(c, value,
                               (struct json_alternative){ .kind = JSON_OBJECT, .at = object }))
        return -1;
    return schema_add_alternative(
        c, value, (struct json_alternative){ .kind = JSON_ARRAY, .at = array, .max = JSON_NONE });
}
