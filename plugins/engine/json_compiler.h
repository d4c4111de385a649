/*
 * json_compiler.h - the state of a schema's compilation: what is still to be compiled, and what was
 * made of it.
 *
 * Shared by the compiler's files only.  Nothing here calls itself: each
 * schema inside a schema becomes an entry of a list.
 */
#ifndef AIRLOCK_JSON_COMPILER_H
#define AIRLOCK_JSON_COMPILER_H

#include "json_lexer.h"
#include "json_schema.h"

#include <json-c/json.h>

/* A schema, where it stands, and what its references refer to. */
struct schema_place {
    struct json_object *schema; /* NULL: the JSON value null */
    struct json_object *root;
    char pointer[SCHEMA_MAX_POINTER];
    bool constant; /* schema is no schema but the very value that is allowed */
};

/* A value of the document and its schema; the index is the value's. */
struct schema_todo {
    struct schema_place place;
    bool any;   /* no schema: any JSON value */
    bool built; /* its alternatives are there */
};

struct compiler {
    struct json_tables *t;
    struct lexer lexer;
    struct schema_todo *todo;
    size_t n_todo, todo_capacity;
    struct json_object **made; /* merged schemas, owned */
    size_t n_made, made_capacity;
    size_t alternatives_capacity, values_capacity, properties_capacity, objects_capacity,
        arrays_capacity, order_capacity, items_capacity, names_capacity;
    uint32_t text_start;                  /* lex state before any string's first quote */
    uint32_t number_start, integer_start; /* lex states of any number, or JSON_NONE */
    uint32_t any;                         /* value, or JSON_NONE: not needed so far */
    struct airlock_error *err;
};

/* ---- errors: all return -1 ------------------------------------------------------------------- */

/* "POINTER/keyword: what"; keyword may be NULL. */
int schema_refuse(struct compiler *c, const struct schema_place *p, const char *keyword,
                  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Puts the place in front of the error that is set, when it is the request's. */
int schema_locate(struct compiler *c, const struct schema_place *p, const char *keyword);
int schema_no_memory(struct compiler *c);

/* ---- places ---------------------------------------------------------------------------------- */

/* The schema below a keyword, and below a member or item of it: member may be NULL, then item is
 * the index unless negative. */
struct schema_place schema_below(const struct schema_place *p, struct json_object *schema,
                                 const char *keyword, const char *member, int item);
/* What "$ref" of the place refers to; -1: err. */
int schema_resolve(struct compiler *c, const struct schema_place *p, struct schema_place *out);

/* ---- parts of the tables --------------------------------------------------------------------- */

/* Makes room for one more; 0, or -1. */
int schema_grow(struct compiler *c, void *list, size_t n, size_t *capacity, size_t size);
/* Frees it with the compiler; NULL is out of memory. */
int schema_own(struct compiler *c, struct json_object *o);
/* A value without alternatives; JSON_NONE: err. */
uint32_t schema_new_value(struct compiler *c, const struct schema_todo *todo);
/* The value of a schema, compiled now or later; JSON_NONE: err. */
uint32_t schema_value(struct compiler *c, const struct schema_place *p);
uint32_t schema_any_value(struct compiler *c);
int schema_add_alternative(struct compiler *c, uint32_t value, struct json_alternative a);
/* A new object rule without properties, and a property at its end, before another rule is begun.
 * name: [size] as it is, not as JSON writes it. */
uint32_t schema_object(struct compiler *c, uint32_t additional);
int schema_property(struct compiler *c, uint32_t object, const char *name, size_t size,
                    uint32_t value, bool required);
int schema_object_end(struct compiler *c, uint32_t object); /* sorts its names */
uint32_t schema_array(struct compiler *c, uint32_t rest);
int schema_item(struct compiler *c, uint32_t array, uint32_t value);
/* JSON text of a string, with its quotes; out: grows. */
struct bytes;
int schema_quote(const char *text, size_t size, struct bytes *out);

/* ---- json_types.c ---------------------------------------------------------------------------- */

/* Adds the alternatives of a schema without references and combinations. */
int schema_add_types(struct compiler *c, uint32_t value, const struct schema_place *p);
/* Those of any JSON value. */
int schema_add_any(struct compiler *c, uint32_t value);
/* Refuses keywords that nothing here understands. */
int schema_check_keywords(struct compiler *c, const struct schema_place *p);

/* The member of a schema, NULL for null; and whether there is one. */
struct json_object *schema_get(const struct schema_place *p, const char *keyword);
bool schema_has(const struct schema_place *p, const char *keyword);
/* A count such as minLength: *out untouched when it is absent. */
int schema_count(struct compiler *c, const struct schema_place *p, const char *keyword,
                 uint32_t *out);

/* ---- json_containers.c ----------------------------------------------------------------------- */

int schema_add_object(struct compiler *c, uint32_t value, const struct schema_place *p);
int schema_add_array(struct compiler *c, uint32_t value, const struct schema_place *p);

/* ---- json_merge.c ---------------------------------------------------------------------------- */

/* True when a keyword says something about the instance. */
bool schema_asserts(const char *keyword);
/* One schema that means all [n] of them at once; *out is owned by the compiler.  -1: err. */
int schema_merge(struct compiler *c, const struct schema_place *parts, size_t n,
                 struct schema_place *out);

#endif
