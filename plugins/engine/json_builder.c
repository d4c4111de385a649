/* json_builder.c - adds values, alternatives, properties and items to the tables of a schema. */
#include "common/bytes.h"
#include "json_compiler.h"

#include <stdlib.h>
#include <string.h>

/* ---- lists ----------------------------------------------------------------------------------- */

int schema_grow(struct compiler *c, void *list, size_t n, size_t *capacity, size_t size)
{
    void **p = list;
    if (n < *capacity)
        return 0;
    size_t more = *capacity ? 2 * *capacity : 32;
    void *grown = realloc(*p, more * size);
    if (!grown)
        return schema_no_memory(c);
    *p = grown;
    *capacity = more;
    return 0;
}

uint32_t schema_new_value(struct compiler *c, const struct schema_todo *todo)
{
    struct json_tables *t = c->t;
    if (t->n_values == SCHEMA_MAX_VALUES) {
        schema_refuse(c, &todo->place, NULL, "the schema has more than %d different values",
                      SCHEMA_MAX_VALUES);
        return JSON_NONE;
    }
    if (schema_grow(c, &t->values, t->n_values, &c->values_capacity, sizeof *t->values) ||
        schema_grow(c, &c->todo, c->n_todo, &c->todo_capacity, sizeof *c->todo))
        return JSON_NONE;
    t->values[t->n_values++] = (struct json_value){ .height = JSON_IMPOSSIBLE };
    c->todo[c->n_todo] = *todo;
    return (uint32_t)c->n_todo++;
}

uint32_t schema_value(struct compiler *c, const struct schema_place *p)
{
    for (size_t i = 0; i < c->n_todo; i++)
        if (!c->todo[i].any && c->todo[i].place.schema == p->schema && p->schema &&
            c->todo[i].place.root == p->root && c->todo[i].place.constant == p->constant)
            return (uint32_t)i;
    struct schema_todo todo = { .place = *p };
    return schema_new_value(c, &todo);
}

uint32_t schema_any_value(struct compiler *c)
{
    if (c->any == JSON_NONE) {
        struct schema_todo todo = { .any = true };
        c->any = schema_new_value(c, &todo);
    }
    return c->any;
}

int schema_add_alternative(struct compiler *c, uint32_t value, struct json_alternative a)
{
    struct json_tables *t = c->t;
    struct json_value *v = &t->values[value];
    if (v->n == SCHEMA_MAX_ALTERNATIVES)
        return schema_refuse(c, &c->todo[value].place, NULL,
                             "a value may be written in more than %d ways",
                             SCHEMA_MAX_ALTERNATIVES);
    if (schema_grow(c, &t->alternatives, t->n_alternatives, &c->alternatives_capacity,
                    sizeof *t->alternatives))
        return -1;
    a.height = JSON_IMPOSSIBLE;
    if (v->n == 0)
        v->first = (uint32_t)t->n_alternatives;
    v->n++;
    t->alternatives[t->n_alternatives++] = a;
    return 0;
}

/* ---- objects and arrays ---------------------------------------------------------------------- */

uint32_t schema_object(struct compiler *c, uint32_t additional)
{
    struct json_tables *t = c->t;
    if (schema_grow(c, &t->objects, t->n_objects, &c->objects_capacity, sizeof *t->objects))
        return JSON_NONE;
    t->objects[t->n_objects] =
        (struct json_object_rule){ .first = (uint32_t)t->n_properties, .additional = additional };
    return (uint32_t)t->n_objects++;
}

int schema_quote(const char *text, size_t size, struct bytes *out)
{
    static const char shorts[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";
    int rc = bytes_add(out, "\"", 1);
    for (size_t i = 0; i < size && rc == 0; i++) {
        const char *at = text[i] ? strchr(shorts, text[i]) : NULL;
        if (at)
            rc = bytes_printf(out, "\\%c", letters[at - shorts]);
        else if ((unsigned char)text[i] < 0x20)
            rc = bytes_printf(out, "\\u%04x", (unsigned)text[i]);
        else
            rc = bytes_add(out, &text[i], 1);
    }
    return rc ? rc : bytes_add(out, "\"", 1);
}

/* The name between its quotes, at the end of the tables' names. */
static int add_name(struct compiler *c, const char *name, size_t size, struct json_property *p)
{
    struct json_tables *t = c->t;
    struct bytes quoted = BYTES_INIT(SCHEMA_MAX_NAMES);
    if (schema_quote(name, size, &quoted) || t->n_names + quoted.size > SCHEMA_MAX_NAMES) {
        bytes_free(&quoted);
        return airlock_error_set(c->err, AIRLOCK_E_REQUEST,
                                 "the schema's property names have more than %d bytes",
                                 SCHEMA_MAX_NAMES);
    }
    p->name = (uint32_t)t->n_names;
    p->name_size = (uint32_t)quoted.size - 2;
    if (c->names_capacity < t->n_names + quoted.size) {
        size_t capacity = 2 * (t->n_names + quoted.size);
        char *names = realloc(t->names, capacity);
        if (!names) {
            bytes_free(&quoted);
            return schema_no_memory(c);
        }
        t->names = names;
        c->names_capacity = capacity;
    }
    memcpy(t->names + t->n_names, quoted.data + 1, p->name_size);
    t->n_names += p->name_size;
    bytes_free(&quoted);
    return 0;
}

int schema_property(struct compiler *c, uint32_t object, const char *name, size_t size,
                    uint32_t value, bool required)
{
    struct json_tables *t = c->t;
    struct json_property p = { .value = value, .required = required };
    if (schema_grow(c, &t->properties, t->n_properties, &c->properties_capacity,
                    sizeof *t->properties) ||
        add_name(c, name, size, &p))
        return -1;
    t->properties[t->n_properties++] = p;
    t->objects[object].n++;
    return 0;
}

struct named {
    const char *name;
    uint32_t size, index;
};

static int by_name(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->size < y->size ? x->size : y->size);
    return order ? order : (x->size > y->size) - (x->size < y->size);
}

int schema_object_end(struct compiler *c, uint32_t object)
{
    struct json_tables *t = c->t;
    struct json_object_rule *o = &t->objects[object];
    o->sorted = (uint32_t)t->n_order;
    if (o->n == 0)
        return 0;
    struct named *sorted = calloc(o->n, sizeof *sorted);
    if (!sorted)
        return schema_no_memory(c);
    for (uint32_t i = 0; i < o->n; i++) {
        const struct json_property *p = &t->properties[o->first + i];
        sorted[i] = (struct named){ t->names + p->name, p->name_size, i };
    }
    qsort(sorted, o->n, sizeof *sorted, by_name);
    int rc = 0;
    for (uint32_t i = 0; i < o->n && rc == 0; i++) {
        rc = schema_grow(c, &t->order, t->n_order, &c->order_capacity, sizeof *t->order);
        if (rc == 0)
            t->order[t->n_order++] = sorted[i].index;
    }
    free(sorted);
    return rc;
}

uint32_t schema_array(struct compiler *c, uint32_t rest)
{
    struct json_tables *t = c->t;
    if (schema_grow(c, &t->arrays, t->n_arrays, &c->arrays_capacity, sizeof *t->arrays))
        return JSON_NONE;
    t->arrays[t->n_arrays] =
        (struct json_array_rule){ .first = (uint32_t)t->n_items, .rest = rest };
    return (uint32_t)t->n_arrays++;
}

int schema_item(struct compiler *c, uint32_t array, uint32_t value)
{
    struct json_tables *t = c->t;
    if (schema_grow(c, &t->items, t->n_items, &c->items_capacity, sizeof *t->items))
        return -1;
    t->items[t->n_items++] = value;
    t->arrays[array].n++;
    return 0;
}
