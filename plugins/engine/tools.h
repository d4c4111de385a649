/*
 * tools.h - the functions that a request offers to the model: read from JSON, and written as the
 * model was trained to read them.
 *
 * Definitions are [{"name", "description", "parameters"}, ...], or OpenAI's
 * [{"type": "function", "function": {...}}, ...].  Everything from outside: errors are
 * AIRLOCK_E_REQUEST and name the place.
 */
#ifndef AIRLOCK_TOOLS_H
#define AIRLOCK_TOOLS_H

#include "common/bytes.h"
#include "common/error.h"
#include "json_schema.h"

enum {
    TOOLS_MAX = JSON_MAX_FRAMES, /* functions: all can be told apart while one is being called */
    TOOLS_MAX_BYTES = SCHEMA_MAX_BYTES,
    TOOLS_MAX_NAME = 128
};

struct tools {
    struct json_object *json;      /* owns what tools points to */
    struct json_schema_tool *list; /* [n] */
    size_t n;
    struct bytes text; /* for the prompt: a list of the functions' definitions */
};

/* text: [size].  0, or -1 with err. */
int tools_parse(struct tools *t, const char *text, size_t size, struct airlock_error *err);
void tools_free(struct tools *t); /* also of a zeroed one */
/* The function's index, or -1. */
int tools_find(const struct tools *t, const char *name, size_t size);

/* Calls that the model made earlier, [{"name", "arguments"}, ...] with the arguments as an object
 * or as its JSON text, as the model writes them.  out: grows. */
int tools_write_calls(const char *text, size_t size, struct bytes *out, struct airlock_error *err);

#endif
