/*
 * pattern.h - regular expressions that a file from outside brings, with a bound on their work.
 */
#ifndef AIRLOCK_LORA_PATTERN_H
#define AIRLOCK_LORA_PATTERN_H

#include "common/error.h"

enum { PATTERN_MAX_BYTES = 4096 }; /* a module list of a whole model as one expression */

struct pattern; /* one thread at a time */

/* format with one %s, which text replaces, is the expression (Python's syntax as far as PCRE2's is
 * the same).  NULL: err quotes text. */
struct pattern *pattern_new(const char *format, const char *text, struct airlock_error *err);
void pattern_free(struct pattern *p); /* NULL allowed */

/* Matches from the first character on.  1, or 0, or -1: it takes too many steps.  number: when not
 * NULL, the digits of the group named idx (-1: none). */
int pattern_match(const struct pattern *p, const char *text, long *number,
                  struct airlock_error *err);

#endif
