/*
 * options_schema.h - checks the options of a configuration against the schema that a plugin's class
 * declares.
 */
#ifndef AIRLOCK_OPTIONS_SCHEMA_H
#define AIRLOCK_OPTIONS_SCHEMA_H

#include "common/error.h"

struct json_object;

/*
 * schema: JSON Schema text, or NULL: no options are taken.  Of each member of options are checked:
 * that `properties` has it (whatever additionalProperties says: an unknown key is a mistake), its
 * `type`, `enum`, `minimum` and `maximum`; and that `required` members are there.  What is deeper
 * is for the plugin to check.  options NULL: an empty object.  0, or -1 with err, where in front.
 */
int options_check(const char *schema, struct json_object *options, const char *where,
                  struct airlock_error *err);

#endif
