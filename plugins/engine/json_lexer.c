/* json_lexer.c - fragments of expressions, and the states of a lexer; see json_lexer.h. */
#include "json_lexer.h"

#include "json_lexer_nodes.h"

#include <stdlib.h>
#include <string.h>

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a schema");
}

/* ---- states ---------------------------------------------------------------------------------- */

uint32_t lexer_state(struct lexer *l, struct airlock_error *err)
{
    struct json_tables *t = l->t;
    if (t->n_states == LEX_MAX_STATES) {
        airlock_error_set(err, AIRLOCK_E_REQUEST,
                          "the schema's strings and numbers need more than %d states",
                          LEX_MAX_STATES);
        return JSON_NONE;
    }
    if (t->n_states == l->states_capacity) {
        size_t capacity = l->states_capacity ? 2 * l->states_capacity : 256;
        struct lex_state *states = realloc(t->states, capacity * sizeof *states);
        if (!states) {
            no_memory(err);
            return JSON_NONE;
        }
        t->states = states;
        l->states_capacity = capacity;
    }
    t->states[t->n_states] = (struct lex_state){ .edges = JSON_NONE };
    return (uint32_t)t->n_states++;
}

int lexer_edge(struct lexer *l, uint32_t from, uint8_t low, uint8_t high, uint8_t flags,
               uint32_t next, struct airlock_error *err)
{
    struct json_tables *t = l->t;
    if (from == JSON_NONE || next == JSON_NONE)
        return -1; /* err was set where the state failed */
    if (t->n_edges == l->edges_capacity) {
        size_t capacity = l->edges_capacity ? 2 * l->edges_capacity : 512;
        struct lex_edge *edges = realloc(t->edges, capacity * sizeof *edges);
        if (!edges)
            return no_memory(err);
        t->edges = edges;
        l->edges_capacity = capacity;
    }
    t->edges[t->n_edges] = (struct lex_edge){ low, high, flags, next, t->states[from].edges };
    t->states[from].edges = (uint32_t)t->n_edges++;
    return 0;
}

uint32_t lexer_word(struct lexer *l, uint32_t root, const char *bytes, size_t size,
                    struct airlock_error *err)
{
    uint32_t at = root;
    for (size_t i = 0; i < size; i++) {
        uint8_t byte = (uint8_t)bytes[i];
        uint32_t e = l->t->states[at].edges;
        while (e != JSON_NONE && l->t->edges[e].low != byte)
            e = l->t->edges[e].link;
        if (e != JSON_NONE) {
            at = l->t->edges[e].next;
            continue;
        }
        uint32_t next = lexer_state(l, err);
        if (lexer_edge(l, at, byte, byte, 0, next, err))
            return JSON_NONE;
        at = next;
    }
    return at;
}

/* ---- any string ------------------------------------------------------------------------------ */

/* One edge of the string automaton, between states that are numbered from its first. */
struct plan {
    uint8_t from, low, high, flags, to;
};

enum { BODY, END, TAIL1, TAIL2, E0, ED, F0, F4, TAIL3, PLAIN_STATES };
enum { ESC = PLAIN_STATES, U, U1, HEX2, HEX1, HEX0, HIGH1, HIGH0, LOW_ESC, LOW_U, LOW_D, STATES };

/* RFC 3629's table of UTF-8. */
static const struct plan plain_plan[] = { { BODY, '"', '"', LEX_CLOSES, END },
                                          { BODY, 0x20, '!', LEX_COUNTS, BODY },
                                          { BODY, '#', '[', LEX_COUNTS, BODY },
                                          { BODY, ']', 0x7f, LEX_COUNTS, BODY },
                                          { BODY, 0xc2, 0xdf, LEX_COUNTS, TAIL1 },
                                          { BODY, 0xe0, 0xe0, LEX_COUNTS, E0 },
                                          { BODY, 0xe1, 0xec, LEX_COUNTS, TAIL2 },
                                          { BODY, 0xed, 0xed, LEX_COUNTS, ED },
                                          { BODY, 0xee, 0xef, LEX_COUNTS, TAIL2 },
                                          { BODY, 0xf0, 0xf0, LEX_COUNTS, F0 },
                                          { BODY, 0xf1, 0xf3, LEX_COUNTS, TAIL3 },
                                          { BODY, 0xf4, 0xf4, LEX_COUNTS, F4 },
                                          { TAIL1, 0x80, 0xbf, 0, BODY },
                                          { TAIL2, 0x80, 0xbf, 0, TAIL1 },
                                          { TAIL3, 0x80, 0xbf, 0, TAIL2 },
                                          { E0, 0xa0, 0xbf, 0, TAIL1 },
                                          { ED, 0x80, 0x9f, 0, TAIL1 },
                                          { F0, 0x90, 0xbf, 0, TAIL2 },
                                          { F4, 0x80, 0x8f, 0, TAIL2 } };

/* RFC 8259's escapes; a high surrogate must be followed by a low one. */
static const struct plan escape_plan[] = { { BODY, '\\', '\\', LEX_COUNTS, ESC },
                                           { ESC, '"', '"', 0, BODY },
                                           { ESC, '/', '/', 0, BODY },
                                           { ESC, '\\', '\\', 0, BODY },
                                           { ESC, 'b', 'b', 0, BODY },
                                           { ESC, 'f', 'f', 0, BODY },
                                           { ESC, 'n', 'n', 0, BODY },
                                           { ESC, 'r', 'r', 0, BODY },
                                           { ESC, 't', 't', 0, BODY },
                                           { ESC, 'u', 'u', 0, U },
                                           { U, '0', '9', 0, HEX2 },
                                           { U, 'a', 'c', 0, HEX2 },
                                           { U, 'A', 'C', 0, HEX2 },
                                           { U, 'e', 'f', 0, HEX2 },
                                           { U, 'E', 'F', 0, HEX2 },
                                           { U, 'd', 'd', 0, U1 },
                                           { U, 'D', 'D', 0, U1 },
                                           { U1, '0', '7', 0, HEX1 },
                                           { U1, '8', '9', 0, HIGH1 },
                                           { U1, 'a', 'b', 0, HIGH1 },
                                           { U1, 'A', 'B', 0, HIGH1 },
                                           { LOW_ESC, '\\', '\\', 0, LOW_U },
                                           { LOW_U, 'u', 'u', 0, LOW_D },
                                           { LOW_D, 'd', 'd', 0, STATES },
                                           { LOW_D, 'D', 'D', 0, STATES },
                                           { STATES, 'c', 'f', 0, HEX1 },
                                           { STATES, 'C', 'F', 0, HEX1 } };

static const uint8_t hex_plan[][2] = {
    { HEX2, HEX1 }, { HEX1, HEX0 }, { HEX0, BODY }, { HIGH1, HIGH0 }, { HIGH0, LOW_ESC }
};

static int add_plan(struct lexer *l, uint32_t first, const struct plan *plan, size_t n,
                    struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (lexer_edge(l, first + plan[i].from, plan[i].low, plan[i].high, plan[i].flags,
                       first + plan[i].to, err))
            return -1;
    return 0;
}

static int add_escapes(struct lexer *l, uint32_t first, struct airlock_error *err)
{
    for (size_t i = 0; i < sizeof hex_plan / sizeof *hex_plan; i++) {
        uint8_t from = hex_plan[i][0], to = hex_plan[i][1];
        const struct plan hex[] = { { from, '0', '9', 0, to },
                                    { from, 'a', 'f', 0, to },
                                    { from, 'A', 'F', 0, to } };
        if (add_plan(l, first, hex, 3, err))
            return -1;
    }
    return add_plan(l, first, escape_plan, sizeof escape_plan / sizeof *escape_plan, err);
}

uint32_t lexer_string_body(struct lexer *l, bool escapes, struct airlock_error *err)
{
    uint32_t first = JSON_NONE;
    for (uint32_t i = 0; i < (escapes ? STATES + 1 : PLAIN_STATES); i++) {
        uint32_t state = lexer_state(l, err);
        if (state == JSON_NONE)
            return JSON_NONE;
        first = i == 0 ? state : first;
    }
    l->t->states[first + END].accept = true;
    if (add_plan(l, first, plain_plan, sizeof plain_plan / sizeof *plain_plan, err) ||
        (escapes && add_escapes(l, first, err)))
        return JSON_NONE;
    return first + BODY;
}

/* ---- fragments ------------------------------------------------------------------------------- */

void lex_expression_free(struct lex_expression *x)
{
    free(x->nodes);
    x->nodes = NULL;
    x->n = x->capacity = x->depth = 0;
}

static int too_complex(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_REQUEST, "the expression is too large or too deep");
}

static int reserve(struct lex_expression *x, size_t n, struct airlock_error *err)
{
    if (x->n + n > LEX_MAX_NODES)
        return too_complex(err);
    if (x->n + n <= x->capacity)
        return 0;
    size_t capacity = x->capacity ? 2 * x->capacity : 256;
    while (capacity < x->n + n)
        capacity *= 2;
    struct lex_node *nodes = realloc(x->nodes, capacity * sizeof *nodes);
    if (!nodes)
        return no_memory(err);
    x->nodes = nodes;
    x->capacity = capacity;
    return 0;
}

/* Room was reserved. */
static uint32_t node(struct lex_expression *x, struct lex_node n)
{
    x->nodes[x->n] = n;
    return (uint32_t)x->n++;
}

static uint32_t empty_node(struct lex_expression *x)
{
    return node(x, (struct lex_node){ .kind = LEX_SPLIT, .next = JSON_NONE, .other = JSON_NONE });
}

static int push(struct lex_expression *x, struct lex_fragment f, struct airlock_error *err)
{
    if (x->depth == LEX_MAX_FRAGMENTS)
        return too_complex(err);
    f.end = (uint32_t)x->n;
    x->stack[x->depth++] = f;
    return 0;
}

int lex_push_empty(struct lex_expression *x, struct airlock_error *err)
{
    if (reserve(x, 1, err))
        return -1;
    uint32_t only = empty_node(x);
    return push(x, (struct lex_fragment){ .begin = only, .start = only, .last = only }, err);
}

int lex_push_byte(struct lex_expression *x, uint8_t low, uint8_t high, struct airlock_error *err)
{
    if (reserve(x, 2, err))
        return -1;
    uint32_t last = empty_node(x);
    uint32_t start = node(
        x, (struct lex_node){
               .kind = LEX_RANGE, .low = low, .high = high, .next = last, .other = JSON_NONE });
    return push(x, (struct lex_fragment){ .begin = last, .start = start, .last = last }, err);
}

/* A chain of byte ranges that ends in `last`, as another way to begin at *start. */
static int add_chain(struct lex_expression *x, const uint8_t (*bytes)[2], unsigned n, uint32_t last,
                     uint32_t *start, struct airlock_error *err)
{
    uint32_t next = last;
    if (reserve(x, n + 1, err))
        return -1;
    for (unsigned i = n; i-- > 0;)
        next = node(x, (struct lex_node){ .kind = LEX_RANGE,
                                          .low = bytes[i][0],
                                          .high = bytes[i][1],
                                          .flags = i == 0 ? LEX_COUNTS : 0,
                                          .next = next,
                                          .other = JSON_NONE });
    *start = node(x, (struct lex_node){ .kind = LEX_SPLIT, .next = next, .other = *start });
    return 0;
}

/* A range of bytes as another way to go on from *start to next. */
static void add_byte(struct lex_expression *x, uint8_t low, uint8_t high, uint32_t next,
                     uint32_t *start)
{
    uint32_t range = node(
        x, (struct lex_node){
               .kind = LEX_RANGE, .low = low, .high = high, .next = next, .other = JSON_NONE });
    *start = node(x, (struct lex_node){ .kind = LEX_SPLIT, .next = range, .other = *start });
}

static const char shorts[] = "\b\t\n\f\r\"\\", letters[] = "btnfr\"\\";

/* Characters below 0x20 whose escape is \u00HL, as runs of the last digit L. */
static uint32_t add_control_digits(struct lex_expression *x, uint32_t set, uint32_t last)
{
    static const char hex[] = "0123456789abcdef";
    uint32_t digit = JSON_NONE;
    for (unsigned high = 0; high < 2; high++) {
        uint32_t low = JSON_NONE;
        for (unsigned i = 0; i < 16; i++)
            if (set >> (16 * high + i) & 1)
                add_byte(x, (uint8_t)hex[i], (uint8_t)hex[i], last, &low);
        if (low != JSON_NONE)
            add_byte(x, (uint8_t)('0' + high), (uint8_t)('0' + high), low, &digit);
    }
    return digit;
}

/* The characters of the ranges that JSON escapes: a backslash, and what may follow it. */
static int add_escapes_of(struct lex_expression *x, const uint32_t *ranges, size_t n, uint32_t last,
                          uint32_t *start, struct airlock_error *err)
{
    uint32_t controls = 0, rest = JSON_NONE;
    if (reserve(x, 128, err))
        return -1;
    for (size_t i = 0; i < n; i++)
        for (uint32_t c = ranges[2 * i]; c <= ranges[2 * i + 1] && c <= '\\'; c++) {
            const char *at = c ? strchr(shorts, (int)c) : NULL;
            if (at)
                add_byte(x, (uint8_t)letters[at - shorts], (uint8_t)letters[at - shorts], last,
                         &rest);
            else if (c < 0x20)
                controls |= UINT32_C(1) << c;
        }
    uint32_t digits = add_control_digits(x, controls, last);
    if (digits != JSON_NONE) {
        uint32_t zero = JSON_NONE, both = JSON_NONE;
        add_byte(x, '0', '0', digits, &zero);
        add_byte(x, '0', '0', zero, &both);
        add_byte(x, 'u', 'u', both, &rest);
    }
    if (rest == JSON_NONE)
        return 0;
    add_byte(x, '\\', '\\', rest, start);
    x->nodes[x->nodes[*start].next].flags = LEX_COUNTS;
    return 0;
}

static unsigned utf8(uint32_t c, uint8_t out[4])
{
    unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (unsigned i = n; i-- > 1; c >>= 6)
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    out[0] = (uint8_t)(lead[n] | c);
    return n;
}

/* The end of the longest part of [low, high] whose UTF-8 is one range for each byte. */
static uint32_t simple_end(uint32_t low, uint32_t high)
{
    static const uint32_t sizes[] = { 0x7f, 0x7ff, 0xffff, 0x10ffff };
    for (unsigned i = 0; i < 4; i++)
        if (low <= sizes[i] && high > sizes[i])
            high = sizes[i];
    for (uint32_t bits = 6; bits <= 18 && high >= 0x80; bits += 6) {
        uint32_t mask = (UINT32_C(1) << bits) - 1;
        if ((low & ~mask) == (high & ~mask))
            break;
        if ((low & mask) != 0) /* up to where all trailing bytes are full */
            return low | mask;
        if ((high & mask) != mask)
            high = (high & ~mask) - 1;
    }
    return high;
}

static int add_utf8(struct lex_expression *x, uint32_t low, uint32_t high, uint32_t last,
                    uint32_t *start, struct airlock_error *err)
{
    while (low <= high) {
        uint32_t end = simple_end(low, high);
        uint8_t from[4], to[4], bytes[4][2];
        unsigned n = utf8(low, from);
        utf8(end, to);
        for (unsigned i = 0; i < n; i++) {
            bytes[i][0] = from[i];
            bytes[i][1] = to[i];
        }
        if (add_chain(x, bytes, n, last, start, err))
            return -1;
        low = end + 1;
    }
    return 0;
}

/* The part of [low, high] in [from, to], if any. */
static int add_part(struct lex_expression *x, uint32_t low, uint32_t high, uint32_t from,
                    uint32_t to, uint32_t last, uint32_t *start, struct airlock_error *err)
{
    low = low < from ? from : low;
    high = high > to ? to : high;
    return low <= high ? add_utf8(x, low, high, last, start, err) : 0;
}

int lex_push_class(struct lex_expression *x, const uint32_t *ranges, size_t n,
                   struct airlock_error *err)
{
    /* What stands for itself in a JSON string. */
    static const uint32_t plain[][2] = {
        { 0x20, 0x21 }, { 0x23, 0x5b }, { 0x5d, 0xd7ff }, { 0xe000, 0x10ffff }
    };
    if (reserve(x, 1, err))
        return -1;
    uint32_t last = empty_node(x), start = JSON_NONE;
    if (add_escapes_of(x, ranges, n, last, &start, err))
        return -1;
    for (size_t i = 0; i < n; i++) {
        uint32_t low = ranges[2 * i], high = ranges[2 * i + 1];
        for (size_t k = 0; k < sizeof plain / sizeof *plain; k++)
            if (add_part(x, low, high, plain[k][0], plain[k][1], last, &start, err))
                return -1;
    }
    if (reserve(x, 1, err))
        return -1;
    if (start == JSON_NONE) /* an empty class: a node that leads nowhere */
        start = empty_node(x);
    return push(x, (struct lex_fragment){ .begin = last, .start = start, .last = last }, err);
}

int lex_concatenate(struct lex_expression *x, struct airlock_error *err)
{
    if (x->depth < 2)
        return too_complex(err);
    struct lex_fragment b = x->stack[--x->depth], a = x->stack[--x->depth];
    x->nodes[a.last].next = b.start;
    return push(x, (struct lex_fragment){ .begin = a.begin, .start = a.start, .last = b.last },
                err);
}

int lex_alternate(struct lex_expression *x, struct airlock_error *err)
{
    if (x->depth < 2)
        return too_complex(err);
    if (reserve(x, 2, err))
        return -1;
    struct lex_fragment b = x->stack[--x->depth], a = x->stack[--x->depth];
    uint32_t start =
        node(x, (struct lex_node){ .kind = LEX_SPLIT, .next = a.start, .other = b.start });
    uint32_t last = empty_node(x);
    x->nodes[a.last].next = last;
    x->nodes[b.last].next = last;
    return push(x, (struct lex_fragment){ .begin = a.begin, .start = start, .last = last }, err);
}

/* Another copy of the fragment's own nodes [begin, end). */
static struct lex_fragment copy(struct lex_expression *x, const struct lex_fragment *f)
{
    uint32_t shift = (uint32_t)x->n - f->begin;
    for (uint32_t i = f->begin; i < f->end; i++) {
        struct lex_node n = x->nodes[i];
        n.next += n.next != JSON_NONE ? shift : 0;
        n.other += n.other != JSON_NONE ? shift : 0;
        node(x, n);
    }
    return (struct lex_fragment){ f->begin + shift, f->end + shift, f->start + shift,
                                  f->last + shift };
}

int lex_repeat(struct lex_expression *x, uint32_t min, uint32_t max, struct airlock_error *err)
{
    if (x->depth < 1)
        return too_complex(err);
    struct lex_fragment f = x->stack[--x->depth];
    uint32_t copies = max != JSON_NONE ? max : min + 1;
    if (copies > LEX_MAX_NODES || reserve(x, (size_t)(copies + 1) * (f.end - f.begin + 2) + 2, err))
        return too_complex(err);
    /* All are copies, so that none is linked before it was copied. */
    uint32_t last = empty_node(x), start = last, before = JSON_NONE;
    for (uint32_t i = 0; i < copies; i++) {
        struct lex_fragment c = copy(x, &f);
        uint32_t entry = c.start;
        if (i >= min) /* may be left out, and all behind it */
            entry = node(x, (struct lex_node){ .kind = LEX_SPLIT, .next = c.start, .other = last });
        if (before == JSON_NONE)
            start = entry;
        else
            x->nodes[before].next = entry;
        before = c.last;
        if (max == JSON_NONE && i + 1 == copies) { /* and again */
            x->nodes[c.last].next = entry;
            before = JSON_NONE;
        }
    }
    if (before != JSON_NONE)
        x->nodes[before].next = last;
    return push(x, (struct lex_fragment){ .begin = f.begin, .start = start, .last = last }, err);
}
