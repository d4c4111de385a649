/*
 * json_schema.h - compiles a subset of JSON Schema to a pushdown automaton over bytes.
 *
 * The subset and what the automaton makes of it are in docs/protocol.md, "JSON Schema".  What is
 * not in it is refused with AIRLOCK_E_REQUEST and a sentence that begins with the JSON pointer of
 * the keyword (RFC 6901, as a URI fragment).  Whatever the schema says, compiling ends soon and in
 * little memory: see the limits here, in json_lexer.h and in json_pattern.h.  Any thread.
 */
#ifndef AIRLOCK_JSON_SCHEMA_H
#define AIRLOCK_JSON_SCHEMA_H

#include "common/error.h"
#include "json_automaton.h"

struct json_object;

enum {
    SCHEMA_MAX_BYTES = 1 << 20,     /* text of a schema, or of a request's tools */
    SCHEMA_MAX_JSON = 1 << 16,      /* JSON values in it */
    SCHEMA_MAX_VALUES = 8192,       /* values of the document that are told apart */
    SCHEMA_MAX_ALTERNATIVES = 256,  /* ways to write one value; 64 are followed at once */
    SCHEMA_MAX_PROPERTIES = 1024,   /* of an object */
    SCHEMA_MAX_PREFIX_ITEMS = 1024, /* of an array */
    SCHEMA_MAX_ENUM = 4096,         /* values of an enum */
    SCHEMA_MAX_NAMES = 1 << 20,     /* bytes of all properties' names */
    SCHEMA_MAX_POINTER = 200,       /* bytes of a JSON pointer in an error */
    SCHEMA_INTEGER_DIGITS = 18      /* of any integer: fits 64 bits */
};

/* The tables of a schema: text is [size] JSON.  NULL: err says why. */
struct json_tables *json_schema_compile(const char *text, size_t size, struct airlock_error *err);
/* Of any JSON object. */
struct json_tables *json_schema_any_object(struct airlock_error *err);

/* A function that may be called. */
struct json_schema_tool {
    const char *name; /* [name_size] */
    size_t name_size;
    struct json_object *parameters; /* schema of its arguments; NULL: any object */
};
/*
 * Of a list of min to max (JSON_NONE: any number) calls {"name": NAME, "arguments": {...}} of these
 * [n] functions.  The arguments of a function whose schema is not supported may be any object.
 */
struct json_tables *json_schema_calls(const struct json_schema_tool *tools, size_t n, uint32_t min,
                                      uint32_t max, struct airlock_error *err);

void json_tables_free(struct json_tables *t); /* NULL allowed */
size_t json_tables_bytes(const struct json_tables *t);

#endif
