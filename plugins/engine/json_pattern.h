/*
 * json_pattern.h - regular expressions of JSON Schema as expressions of the lexer.
 *
 * The subset of ECMA-262 that has a finite automaton: literals, ., classes, \d \w \s and their
 * opposites, groups, |, and the quantifiers * + ? {n} {n,} {n,m}; ^ and $ only at the ends of the
 * whole pattern's branches.  Without them the pattern may occur anywhere in the string, as the
 * standard says.
 */
#ifndef AIRLOCK_JSON_PATTERN_H
#define AIRLOCK_JSON_PATTERN_H

#include "json_lexer.h"

enum {
    PATTERN_MAX_BYTES = 1024,
    PATTERN_MAX_DEPTH = 32,   /* of groups */
    PATTERN_MAX_REPEAT = 1024 /* in {n,m} */
};

/* Pushes the pattern with the quotes around the string as one fragment.  pattern: [size] valid
 * UTF-8.  0, or -1 with err (AIRLOCK_E_REQUEST: what is wrong or not supported, and at which byte).
 */
int json_pattern_push(struct lex_expression *x, const char *pattern, size_t size,
                      struct airlock_error *err);

/* The pattern that this format means; NULL: not supported. */
const char *json_pattern_of_format(const char *format);

#endif
