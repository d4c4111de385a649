/*
 * json_lexer.h - the regular parts of JSON (strings, numbers, words) as deterministic automata over
 * bytes.
 *
 * An expression is put together on a stack of fragments (Thompson 1968), made deterministic by the
 * subset construction, and freed of states from which nothing can be accepted.  What strangers
 * write decides the sizes, so nodes, states and work have ceilings; what is beyond fails with
 * AIRLOCK_E_REQUEST.
 */
#ifndef AIRLOCK_JSON_LEXER_H
#define AIRLOCK_JSON_LEXER_H

#include "common/error.h"
#include "json_automaton.h"

enum {
    LEX_MAX_NODES = 1 << 16,  /* of one expression before it is made deterministic: 1 MiB */
    LEX_MAX_SUBSETS = 4096,   /* states of one expression; a date needs 60 */
    LEX_MAX_STATES = 1 << 16, /* of a schema: a large enum's letters */
    LEX_MAX_FUEL = 1 << 23    /* node visits of a schema's subset constructions: 0.1 s */
};

/* The states under construction; owned by the schema's tables in the end.  Zero-initialise fuel
 * with LEX_MAX_FUEL. */
struct lexer {
    struct json_tables *t;
    size_t states_capacity, edges_capacity;
    size_t fuel;
};

/* All: the new index, or JSON_NONE / -1 with err. */
uint32_t lexer_state(struct lexer *l, struct airlock_error *err);
int lexer_edge(struct lexer *l, uint32_t from, uint8_t low, uint8_t high, uint8_t flags,
               uint32_t next, struct airlock_error *err);
/* The state behind one byte, made when there is none: grows a tree of words from its root. */
uint32_t lexer_word(struct lexer *l, uint32_t root, const char *bytes, size_t size,
                    struct airlock_error *err);
/* Any string of the automaton's counters, behind its first quote or with it; escapes: whether \ may
 * be used. */
uint32_t lexer_string_body(struct lexer *l, bool escapes, struct airlock_error *err);

/* ---- expressions ----------------------------------------------------------------------------- */

struct lex_node {
    uint8_t kind, low, high, flags;
    uint32_t next, other;
};

struct lex_fragment {
    uint32_t begin, end;  /* its nodes, contiguous */
    uint32_t start, last; /* last: an empty node whose next is open */
};

enum { LEX_MAX_FRAGMENTS = 256 }; /* on the stack: a pattern's nesting times the parts of a group */

struct lex_expression {
    struct lex_node *nodes;
    size_t n, capacity;
    struct lex_fragment stack[LEX_MAX_FRAGMENTS];
    size_t depth;
};

void lex_expression_free(struct lex_expression *x); /* also of a zeroed one */

/* Each works on the top of the stack.  0, or -1 with err. */
int lex_push_empty(struct lex_expression *x, struct airlock_error *err);
/* A byte as it stands: for what is not inside a string. */
int lex_push_byte(struct lex_expression *x, uint8_t low, uint8_t high, struct airlock_error *err);
/* Ranges of code points, [n] pairs ascending, as a JSON string holds them: in UTF-8, with the short
 * escape where there is one. */
int lex_push_class(struct lex_expression *x, const uint32_t *ranges, size_t n,
                   struct airlock_error *err);
int lex_concatenate(struct lex_expression *x, struct airlock_error *err); /* two become one */
int lex_alternate(struct lex_expression *x, struct airlock_error *err);
int lex_repeat(struct lex_expression *x, uint32_t min, uint32_t max,
               struct airlock_error *err); /* max JSON_NONE: no limit */

/* Makes the one fragment on the stack deterministic.  min, max: of the string's characters, max
 * JSON_NONE for none.  Its first state, or JSON_NONE with err; *empty: nothing is accepted. */
uint32_t lexer_determinise(struct lexer *l, const struct lex_expression *x, uint32_t min,
                           uint32_t max, bool *empty, struct airlock_error *err);

/* Numbers from min to max as JSON writes them, both at most 10^18 - 1 from 0. */
struct lex_range {
    int64_t min, max;
    bool fraction;           /* with up to LEX_FRACTION_DIGITS behind the point */
    bool open_min, open_max; /* with fraction: without the bound itself */
};
enum { LEX_FRACTION_DIGITS = 6 /* with 9 in front exact enough not to round up to a bound */ };
/* Pushes one fragment; *empty: there is no such number, and nothing was pushed. */
int lex_push_range(struct lex_expression *x, const struct lex_range *range, bool *empty,
                   struct airlock_error *err);

#endif
