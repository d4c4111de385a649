/*
 * json_automaton.h - a pushdown automaton over bytes that accepts the JSON texts of one schema.
 *
 * JSON is visibly nested: all readings of a text (the branches of anyOf) open and close at the same
 * bytes, so one stack of levels serves them all, and a level is a set of frames, each with the set
 * of frames below it that it belongs to.  Work and memory per byte are bounded whatever the schema.
 * From every state that a step leaves alive, some text completes the document.  The tables are
 * immutable once compiled (json_schema.h); any number of threads may step their own configurations.
 */
#ifndef AIRLOCK_JSON_AUTOMATON_H
#define AIRLOCK_JSON_AUTOMATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    JSON_MAX_LEVELS = 32,  /* nesting of a text: no more than json.h's parser reads */
    JSON_MAX_FRAMES = 64,  /* readings followed at once in a level: the bits of a word */
    JSON_MAX_ENTRIES = 512 /* frames of all levels together: 16 KiB a configuration */
};

#define JSON_NONE UINT32_MAX       /* no such index; as a counter: no limit */
#define JSON_IMPOSSIBLE UINT32_MAX /* height of what no text can be */

/* ---- the tables ------------------------------------------------------------------------------ */

enum { LEX_COUNTS = 1 /* begins a character of the string */, LEX_CLOSES = 2 /* its last quote */ };

struct lex_edge {
    uint8_t low, high; /* bytes */
    uint8_t flags;
    uint32_t next; /* state */
    uint32_t link; /* next edge of the same state, or JSON_NONE */
};

struct lex_state {
    uint32_t edges; /* first, or JSON_NONE */
    bool accept;
};

enum json_kind { JSON_TEXT, JSON_NUMBER, JSON_OBJECT, JSON_ARRAY };

/* One way in which a value may be written. */
struct json_alternative {
    enum json_kind kind;
    uint32_t at;       /* text and number: first lex state; else index of the object or array */
    uint32_t min, max; /* text: characters; array: items; max JSON_NONE: no limit */
    uint32_t height;   /* levels that the shortest such text opens, or JSON_IMPOSSIBLE */
};

struct json_value {
    uint32_t first, n; /* alternatives */
    uint32_t height;   /* least of theirs */
};

struct json_property {
    uint32_t value;
    bool required;
    uint32_t name, name_size; /* in names: between the quotes, as it is written in JSON */
};

/* Properties come in the schema's order, then those that only additional allows. */
struct json_object_rule {
    uint32_t first, n;   /* properties */
    uint32_t sorted;     /* [n] in order: the properties by name */
    uint32_t additional; /* value, or JSON_NONE: none allowed */
};

struct json_array_rule {
    uint32_t first, n; /* prefix: values, in items */
    uint32_t rest;     /* value of the items behind them, or JSON_NONE: none */
};

struct json_tables {
    struct lex_edge *edges;
    struct lex_state *states;
    struct json_alternative *alternatives;
    struct json_value *values;
    struct json_property *properties;
    struct json_object_rule *objects;
    struct json_array_rule *arrays;
    uint32_t *order, *items;
    char *names;
    size_t n_edges, n_states, n_alternatives, n_values, n_properties, n_objects, n_arrays, n_order,
        n_items, n_names;
    uint32_t key_start,
        plain_key_start;     /* lex states behind a key's first quote; plain: no escapes */
    uint32_t root;           /* value */
    uint8_t byte_class[256]; /* bytes that no step tells apart have the same */
    unsigned n_classes;
};

/* ---- a configuration ------------------------------------------------------------------------- */

/* What the members mean depends on kind; see json_automaton.c. */
struct json_frame {
    uint32_t kind, at, pos, lex, a, b;
};

struct json_entry {
    struct json_frame frame;
    uint64_t parents; /* frames of the level below */
};

struct json_config {
    uint32_t n_levels;
    uint32_t
        start[JSON_MAX_LEVELS + 1]; /* of each level in entries; the last: how many there are */
    struct json_entry entries[JSON_MAX_ENTRIES];
};

/* The beginning of a document. */
void json_automaton_start(const struct json_tables *t, struct json_config *out);
/* Reads one byte.  False: no text of the schema goes on like that; out is then of no use.  in and
 * out differ. */
bool json_automaton_step(const struct json_tables *t, const struct json_config *in, uint8_t byte,
                         struct json_config *out);
/* What was read is a whole document. */
bool json_automaton_complete(const struct json_tables *t, const struct json_config *c);
/* The edge of a lex state; NULL: the byte is wrong there. */
const struct lex_edge *json_automaton_edge(const struct json_tables *t, uint32_t state,
                                           uint8_t byte);
/* True when every reading is within a string between two characters, and no pattern says which:
 * *most: how many more it may have at most, JSON_NONE: any number. */
bool json_automaton_in_string(const struct json_tables *t, const struct json_config *c,
                              uint32_t *most);
/* Makes configurations equal that no text of at most bytes bytes tells apart by their counters. */
void json_automaton_clip(struct json_config *c, uint32_t bytes);

#endif
