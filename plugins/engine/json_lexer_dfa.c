/* json_lexer_dfa.c - the subset construction, with a count of characters in each state. */
#include "json_lexer.h"
#include "json_lexer_nodes.h"

#include <stdlib.h>
#include <string.h>

/* A state in the making: RANGE nodes in ascending order. */
struct subset {
    uint32_t first, n; /* in members */
    uint32_t count;    /* characters so far, up to what matters */
    bool accept, useful;
    uint32_t incoming; /* edges that lead here: a list over dfa_edge.incoming */
    uint32_t state;    /* of the lexer, once it is known to be useful */
};

struct dfa_edge {
    uint8_t low, high;
    uint32_t from, to, incoming;
};

struct construction {
    struct lexer *l;
    const struct lex_expression *x;
    uint32_t accept; /* node */
    uint32_t min, max;
    struct subset *subsets; /* [LEX_MAX_SUBSETS] */
    size_t n_subsets;
    uint32_t *table; /* [2 * LEX_MAX_SUBSETS] hash table of subsets + 1 */
    uint32_t *members;
    size_t n_members, members_capacity;
    struct dfa_edge *edges;
    size_t n_edges, edges_capacity;
    uint32_t *stack, *seen; /* [nodes] */
    uint32_t stamp;
    struct airlock_error *err;
};

static int no_memory(struct construction *c)
{
    return airlock_error_set(c->err, AIRLOCK_E_NO_MEMORY, "out of memory for a schema");
}

static int too_complex(struct construction *c)
{
    return airlock_error_set(c->err, AIRLOCK_E_REQUEST,
                             "the expression needs too many states or steps");
}

static int spend(struct construction *c, size_t steps)
{
    if (c->l->fuel < steps)
        return too_complex(c);
    c->l->fuel -= steps;
    return 0;
}

static int add_member(struct construction *c, uint32_t node)
{
    if (c->n_members == c->members_capacity) {
        size_t capacity = c->members_capacity ? 2 * c->members_capacity : 1024;
        uint32_t *members = realloc(c->members, capacity * sizeof *members);
        if (!members)
            return no_memory(c);
        c->members = members;
        c->members_capacity = capacity;
    }
    c->members[c->n_members++] = node;
    return 0;
}

/* Adds what can be reached from a node without a byte to the set that stamp marks. */
static int close_over(struct construction *c, uint32_t node, bool *accept)
{
    size_t depth = 0, visited = 0;
    c->stack[depth++] = node;
    while (depth > 0) {
        uint32_t at = c->stack[--depth];
        if (at == JSON_NONE || c->seen[at] == c->stamp)
            continue;
        c->seen[at] = c->stamp;
        visited++;
        const struct lex_node *n = &c->x->nodes[at];
        *accept = *accept || at == c->accept;
        if (n->kind == LEX_RANGE) {
            if (add_member(c, at))
                return -1;
            continue;
        }
        if (depth + 2 > c->x->n + 2)
            return too_complex(c);
        c->stack[depth++] = n->other;
        c->stack[depth++] = n->next;
    }
    return spend(c, visited);
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint64_t hash(const uint32_t *members, size_t n, uint32_t count, bool accept)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325) ^ count ^ ((uint64_t)accept << 40);
    for (size_t i = 0; i < n; i++)
        h = (h ^ members[i]) * UINT64_C(0x100000001b3);
    return h ^ h >> 29;
}

/* The subset whose members were added behind `first`; they are dropped when it is known. JSON_NONE:
 * err. */
static uint32_t intern(struct construction *c, size_t first, uint32_t count, bool accept)
{
    size_t n = c->n_members - first;
    uint32_t *members = n ? c->members + first : NULL;
    if (n > 1)
        qsort(members, n, sizeof *members, by_number);
    size_t mask = 2 * LEX_MAX_SUBSETS - 1, slot = hash(members, n, count, accept) & mask;
    for (; c->table[slot]; slot = (slot + 1) & mask) {
        const struct subset *s = &c->subsets[c->table[slot] - 1];
        if (s->n == n && s->count == count && s->accept == accept &&
            (n == 0 || memcmp(c->members + s->first, members, n * sizeof *members) == 0)) {
            c->n_members = first;
            return c->table[slot] - 1;
        }
    }
    if (c->n_subsets == LEX_MAX_SUBSETS) {
        too_complex(c);
        return JSON_NONE;
    }
    c->subsets[c->n_subsets] = (struct subset){ .first = (uint32_t)first,
                                                .n = (uint32_t)n,
                                                .count = count,
                                                .accept = accept,
                                                .incoming = JSON_NONE,
                                                .state = JSON_NONE };
    c->table[slot] = (uint32_t)++c->n_subsets;
    return (uint32_t)c->n_subsets - 1;
}

static int add_edge(struct construction *c, uint32_t from, unsigned low, unsigned high, uint32_t to)
{
    if (c->n_edges > 0) {
        struct dfa_edge *last = &c->edges[c->n_edges - 1];
        if (last->from == from && last->to == to && last->high + 1u == low) {
            last->high = (uint8_t)high;
            return 0;
        }
    }
    if (c->n_edges == c->edges_capacity) {
        size_t capacity = c->edges_capacity ? 2 * c->edges_capacity : 1024;
        struct dfa_edge *edges = realloc(c->edges, capacity * sizeof *edges);
        if (!edges)
            return no_memory(c);
        c->edges = edges;
        c->edges_capacity = capacity;
    }
    c->edges[c->n_edges] =
        (struct dfa_edge){ (uint8_t)low, (uint8_t)high, from, to, c->subsets[to].incoming };
    c->subsets[to].incoming = (uint32_t)c->n_edges++;
    return 0;
}

/* Where the subset goes with bytes that all its nodes treat alike. */
static int move(struct construction *c, uint32_t from, unsigned low, unsigned high)
{
    const struct subset s = c->subsets[from];
    size_t first = c->n_members;
    bool accept = false, counts = false, any = false;
    if (spend(c, s.n + 1))
        return -1;
    c->stamp++;
    for (uint32_t i = 0; i < s.n; i++) {
        const struct lex_node *n = &c->x->nodes[c->members[s.first + i]];
        if (low < n->low || high > n->high)
            continue;
        any = true;
        counts = counts || n->flags & LEX_COUNTS;
        if (close_over(c, n->next, &accept))
            return -1;
    }
    uint32_t count = s.count, most = c->max != JSON_NONE ? c->max : c->min;
    if (counts && count == most && c->max != JSON_NONE)
        any = false;
    else if (counts && count < most)
        count++;
    if (!any) {
        c->n_members = first;
        return 0;
    }
    uint32_t to = intern(c, first, count, accept && count >= c->min);
    return to == JSON_NONE ? -1 : add_edge(c, from, low, high, to);
}

static int expand(struct construction *c, uint32_t from)
{
    bool cut[257] = { false };
    const struct subset s = c->subsets[from];
    for (uint32_t i = 0; i < s.n; i++) {
        const struct lex_node *n = &c->x->nodes[c->members[s.first + i]];
        cut[n->low] = true;
        cut[n->high + 1] = true;
    }
    for (unsigned low = 0, high; low < 256; low = high) {
        for (high = low + 1; high < 256 && !cut[high]; high++)
            continue;
        if (move(c, from, low, high - 1))
            return -1;
    }
    return 0;
}

/* Marks the states from which something can be accepted. */
static void find_useful(struct construction *c)
{
    uint32_t *work = c->table; /* no longer needed, and large enough */
    size_t n = 0;
    for (uint32_t i = 0; i < c->n_subsets; i++)
        if (c->subsets[i].accept) {
            c->subsets[i].useful = true;
            work[n++] = i;
        }
    while (n > 0) {
        const struct subset *s = &c->subsets[work[--n]];
        for (uint32_t e = s->incoming; e != JSON_NONE; e = c->edges[e].incoming) {
            struct subset *from = &c->subsets[c->edges[e].from];
            if (!from->useful) {
                from->useful = true;
                work[n++] = c->edges[e].from;
            }
        }
    }
}

static int emit(struct construction *c)
{
    for (size_t i = 0; i < c->n_subsets; i++)
        if (c->subsets[i].useful) {
            c->subsets[i].state = lexer_state(c->l, c->err);
            if (c->subsets[i].state == JSON_NONE)
                return -1;
            c->l->t->states[c->subsets[i].state].accept = c->subsets[i].accept;
        }
    for (size_t i = 0; i < c->n_edges; i++) {
        const struct dfa_edge *e = &c->edges[i];
        if (c->subsets[e->from].useful && c->subsets[e->to].useful &&
            lexer_edge(c->l, c->subsets[e->from].state, e->low, e->high, 0, c->subsets[e->to].state,
                       c->err))
            return -1;
    }
    return 0;
}

static int construct(struct construction *c)
{
    bool accept = false;
    c->subsets = malloc(LEX_MAX_SUBSETS * sizeof *c->subsets);
    c->table = calloc(2 * LEX_MAX_SUBSETS, sizeof *c->table);
    c->stack = malloc((c->x->n + 2) * sizeof *c->stack);
    c->seen = calloc(c->x->n, sizeof *c->seen);
    if (!c->subsets || !c->table || !c->stack || !c->seen)
        return no_memory(c);
    c->stamp = 1;
    if (close_over(c, c->x->stack[0].start, &accept) ||
        intern(c, 0, 0, accept && c->min == 0) == JSON_NONE)
        return -1;
    for (uint32_t i = 0; i < c->n_subsets; i++)
        if (expand(c, i))
            return -1;
    find_useful(c);
    return c->subsets[0].useful ? emit(c) : 0;
}

uint32_t lexer_determinise(struct lexer *l, const struct lex_expression *x, uint32_t min,
                           uint32_t max, bool *empty, struct airlock_error *err)
{
    struct construction c = {
        .l = l, .x = x, .accept = x->stack[0].last, .min = min, .max = max, .err = err
    };
    uint32_t start = JSON_NONE;
    if (construct(&c) == 0) {
        *empty = !c.subsets[0].useful;
        start = *empty ? 0 : c.subsets[0].state;
    }
    free(c.subsets);
    free(c.table);
    free(c.members);
    free(c.edges);
    free(c.stack);
    free(c.seen);
    return start;
}
