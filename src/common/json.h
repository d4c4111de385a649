/*
 * json.h - the one JSON helper over json-c: strict parsing with limits, and getters whose errors
 * name the place.
 *
 * A `where` is what the reader of an error sees in front of the member's name: a file name or a
 * path such as "models[0].".  Getters return 1: found, 0: absent or null (*out untouched), -1:
 * wrong type or out of range (err set, AIRLOCK_E_SHAPE).  Pointers that getters give live as long
 * as the object.
 */
#ifndef AIRLOCK_JSON_H
#define AIRLOCK_JSON_H

#include "error.h"

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_MAX_DEPTH = 32,      /* nesting that any document of ours has is below 16 */
    JSON_MAX_VALUES = 4 << 20 /* values in one document: a large tokenizer.json has 1 million */
};

/* The whole text must be one JSON value in valid UTF-8; nothing may follow it.  The caller frees
 * the result with json_object_put().  NULL: err says why and at which byte.  The root value null is
 * an error. */
struct json_object *json_parse(const char *text, size_t size, struct airlock_error *err);

/* As json_parse, for text from strangers: at most max_values values, counted before any memory is
 * reserved (an empty array costs two bytes of text and a hundred of memory). */
struct json_object *json_parse_max(const char *text, size_t size, size_t max_values,
                                   struct airlock_error *err);

/* Reads and parses a file of at most max_bytes. */
struct json_object *json_parse_file(const char *path, size_t max_bytes, struct airlock_error *err);

/* True when the bytes are valid UTF-8 (no overlong forms, no surrogates). */
bool utf8_valid(const char *text, size_t size);

int json_get_string(struct json_object *o, const char *where, const char *key, const char **out,
                    size_t *size,
                    struct airlock_error *err); /* size may be NULL: no NUL inside allowed */
int json_get_int(struct json_object *o, const char *where, const char *key, int64_t min,
                 int64_t max, int64_t *out, struct airlock_error *err);
int json_get_double(struct json_object *o, const char *where, const char *key, double min,
                    double max, double *out,
                    struct airlock_error *err); /* finite; bounds inclusive */
/* A number of bytes from 1 to 2^62, or a text such as "2GiB", "512 MiB" or "1.5GiB". */
int json_get_size(struct json_object *o, const char *where, const char *key, uint64_t *out,
                  struct airlock_error *err);
int json_get_bool(struct json_object *o, const char *where, const char *key, bool *out,
                  struct airlock_error *err);
int json_get_object(struct json_object *o, const char *where, const char *key,
                    struct json_object **out, struct airlock_error *err);
int json_get_array(struct json_object *o, const char *where, const char *key,
                   struct json_object **out, struct airlock_error *err);

/* Turns "absent" into an error: 0, or -1 with "WHEREkey is missing". */
int json_require(int found, const char *where, const char *key, struct airlock_error *err);

/* Error when o has a member that is not in the NULL-terminated list; it is named. */
int json_only_keys(struct json_object *o, const char *where, const char *const *known,
                   struct airlock_error *err);

#endif
