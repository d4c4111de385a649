/* json_automaton.c - reads one byte in all readings of a text at once; see json_automaton.h. */
#include "json_automaton.h"

#include <string.h>

/*
 * Frames.  The one below a value that is being read already says what comes behind that value.
 *
 *   ROOT        a: value                                        the document begins
 *   DONE                                                        the document is over
 *   TEXT        lex; a: characters needed, b: still allowed     a string or a word
 *   NUMBER      lex                                             ends before a byte that is not its
 *   OBJECT      at: object                                      behind {
 *   COMMA       at, pos; b: a space may come                    behind , in an object
 *   KEY         at, pos; a: names first << 16 | end, b: bytes   in a declared name
 *   EXTRA       as KEY, and lex                                 in another name
 *   COLON       at, pos; a: value                               behind a name
 *   MEMBER      at, pos; a: value, b: a space may come          behind :
 *   NEXT        at, pos: first property that may come           behind a member's value
 *   ARRAY       at, pos: items so far; a: needed, b: allowed    behind [
 *   ITEM        the same; lex: a space may come                 behind , in an array
 *   ITEM_NEXT   the same                                        behind an item
 */
enum frame_kind {
    ROOT,
    DONE,
    TEXT,
    NUMBER,
    OBJECT,
    COMMA,
    KEY,
    EXTRA,
    COLON,
    MEMBER,
    NEXT,
    ARRAY,
    ITEM,
    ITEM_NEXT
};

/* One step in the making. */
struct step {
    const struct json_tables *t;
    uint32_t level;    /* of the frames that read the byte */
    uint32_t capacity; /* frames that a level may have here */
    uint8_t byte;
    struct json_entry stay[JSON_MAX_FRAMES], push[JSON_MAX_FRAMES];
    uint32_t n_stay, n_push; /* stay: this level's frames from now on; push: those above it */
    uint64_t popped, ended;  /* frames below whose value is over, with the byte or before it */
};

/* ---- small things ---------------------------------------------------------------------------- */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static bool same(const struct json_frame *a, const struct json_frame *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

/* Adds a frame, or its parents to an equal one.  Its index, or -1: the level is full; the reading
 * is then not followed, which leaves fewer texts but no wrong one. */
static int add(const struct step *s, struct json_entry *list, uint32_t *n,
               const struct json_frame *frame, uint64_t parents)
{
    for (uint32_t i = 0; i < *n; i++)
        if (same(&list[i].frame, frame)) {
            list[i].parents |= parents;
            return (int)i;
        }
    if (*n >= s->capacity)
        return -1;
    list[*n] = (struct json_entry){ *frame, parents };
    return (int)(*n)++;
}

static void stay(struct step *s, struct json_frame frame, uint64_t parents)
{
    add(s, s->stay, &s->n_stay, &frame, parents);
}

const struct lex_edge *json_automaton_edge(const struct json_tables *t, uint32_t state,
                                           uint8_t byte)
{
    for (uint32_t e = t->states[state].edges; e != JSON_NONE; e = t->edges[e].link)
        if (byte >= t->edges[e].low && byte <= t->edges[e].high)
            return &t->edges[e];
    return NULL;
}

/* A value with this height fits above a frame of this level. */
static bool fits(const struct step *s, uint32_t height)
{
    return height != JSON_IMPOSSIBLE && s->level + 1 + height <= JSON_MAX_LEVELS;
}

/* ---- values ---------------------------------------------------------------------------------- */

/* The frame that a value opens with its first byte; false: it does not begin with it. */
static bool open_value(const struct step *s, const struct json_alternative *a,
                       struct json_frame *out)
{
    *out = (struct json_frame){ .at = a->at };
    if (!fits(s, a->height))
        return false;
    if (a->kind == JSON_OBJECT) {
        out->kind = OBJECT;
        return s->byte == '{';
    }
    if (a->kind == JSON_ARRAY) {
        out->kind = ARRAY;
        out->a = a->min;
        out->b = a->max;
        return s->byte == '[';
    }
    const struct lex_edge *e = json_automaton_edge(s->t, a->at, s->byte);
    if (!e)
        return false;
    *out = (struct json_frame){
        .kind = a->kind == JSON_TEXT ? TEXT : NUMBER, .lex = e->next, .a = a->min, .b = a->max
    };
    return true;
}

/* The byte begins a value; behind it the frame is `becomes`. */
static void begin(struct step *s, uint32_t value, struct json_frame becomes, uint64_t parents)
{
    const struct json_value *v = &s->t->values[value];
    for (uint32_t i = 0; i < v->n; i++) {
        struct json_frame child;
        if (!open_value(s, &s->t->alternatives[v->first + i], &child))
            continue;
        int at = add(s, s->stay, &s->n_stay, &becomes, parents);
        if (at >= 0)
            add(s, s->push, &s->n_push, &child, UINT64_C(1) << at);
    }
}

static void step_text(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    const struct lex_edge *edge = json_automaton_edge(s->t, f.lex, s->byte);
    if (!edge || (edge->flags & LEX_CLOSES && f.a > 0) || (edge->flags & LEX_COUNTS && f.b == 0))
        return;
    if (edge->flags & LEX_COUNTS) {
        f.a -= f.a > 0;
        f.b -= f.b != JSON_NONE;
    }
    f.lex = edge->next;
    const struct lex_state *next = &s->t->states[edge->next];
    if (next->accept && next->edges == JSON_NONE)
        s->popped |= e->parents;
    else
        stay(s, f, e->parents);
}

static void step_number(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    const struct lex_edge *edge = json_automaton_edge(s->t, f.lex, s->byte);
    if (edge) {
        f.lex = edge->next;
        stay(s, f, e->parents);
    } else if (s->t->states[f.lex].accept) {
        s->ended |= e->parents;
    }
}

/* ---- objects --------------------------------------------------------------------------------- */

/* The first required property at or behind pos; n: none. */
static uint32_t next_required(const struct json_tables *t, const struct json_object_rule *o,
                              uint32_t pos)
{
    while (pos < o->n && !t->properties[o->first + pos].required)
        pos++;
    return pos;
}

/* Property i may come now. */
static bool may_come(const struct step *s, const struct json_object_rule *o, uint32_t pos,
                     uint32_t required, uint32_t i)
{
    return i >= pos && i <= required && i < o->n &&
           fits(s, s->t->values[s->t->properties[o->first + i].value].height);
}

static bool extra_may_come(const struct step *s, const struct json_object_rule *o,
                           uint32_t required)
{
    return required == o->n && o->additional != JSON_NONE &&
           fits(s, s->t->values[o->additional].height);
}

/* Some name of those [first, end) in sorted order may come. */
static bool some_may_come(const struct step *s, const struct json_object_rule *o, uint32_t pos,
                          uint32_t first, uint32_t end)
{
    uint32_t required = next_required(s->t, o, pos);
    for (uint32_t i = first; i < end; i++)
        if (may_come(s, o, pos, required, s->t->order[o->sorted + i]))
            return true;
    return false;
}

static bool member_may_come(const struct step *s, const struct json_object_rule *o, uint32_t pos)
{
    return extra_may_come(s, o, next_required(s->t, o, pos)) || some_may_come(s, o, pos, 0, o->n);
}

static void begin_key(struct step *s, const struct json_entry *e)
{
    const struct json_object_rule *o = &s->t->objects[e->frame.at];
    struct json_frame f = { .kind = KEY, .at = e->frame.at, .pos = e->frame.pos, .a = o->n };
    if (some_may_come(s, o, f.pos, 0, o->n))
        stay(s, f, e->parents);
    if (!extra_may_come(s, o, next_required(s->t, o, f.pos)))
        return;
    f.kind = EXTRA;
    f.lex = o->n > 0 ? s->t->plain_key_start : s->t->key_start;
    stay(s, f, e->parents);
}

static const struct json_property *named(const struct json_tables *t,
                                         const struct json_object_rule *o, uint32_t sorted)
{
    return &t->properties[o->first + t->order[o->sorted + sorted]];
}

/* The property whose whole name was read; JSON_NONE: none.  It is the first of those that begin
 * with it. */
static uint32_t whole_name(const struct json_tables *t, const struct json_object_rule *o,
                           const struct json_frame *f)
{
    uint32_t first = f->a >> 16, end = f->a & 0xffff;
    if (first < end && named(t, o, first)->name_size == f->b)
        return t->order[o->sorted + first];
    return JSON_NONE;
}

/* Keeps the names that go on with the byte. */
static void narrow(const struct json_tables *t, const struct json_object_rule *o, uint8_t byte,
                   struct json_frame *f)
{
    uint32_t first = f->a >> 16, end = f->a & 0xffff, kept = 0, from = 0;
    for (uint32_t i = first; i < end; i++) {
        const struct json_property *p = named(t, o, i);
        if (p->name_size > f->b && (uint8_t)t->names[p->name + f->b] == byte) {
            from = kept ? from : i;
            kept++;
        }
    }
    f->a = from << 16 | (from + kept);
    f->b = kept ? f->b + 1 : 0;
}

static void step_key(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    const struct json_object_rule *o = &s->t->objects[f.at];
    uint32_t name = whole_name(s->t, o, &f);
    if (s->byte == '"' && name != JSON_NONE) {
        if (may_come(s, o, f.pos, next_required(s->t, o, f.pos), name))
            stay(s,
                 (struct json_frame){ .kind = COLON,
                                      .at = f.at,
                                      .pos = name + 1,
                                      .a = s->t->properties[o->first + name].value },
                 e->parents);
        return;
    }
    narrow(s->t, o, s->byte, &f);
    if (some_may_come(s, o, f.pos, f.a >> 16, f.a & 0xffff))
        stay(s, f, e->parents);
}

static void step_extra(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    const struct json_object_rule *o = &s->t->objects[f.at];
    const struct lex_edge *edge = json_automaton_edge(s->t, f.lex, s->byte);
    if (!edge)
        return;
    if (edge->flags & LEX_CLOSES) {
        if (whole_name(s->t, o, &f) == JSON_NONE)
            stay(s,
                 (struct json_frame){ .kind = COLON, .at = f.at, .pos = o->n, .a = o->additional },
                 e->parents);
        return;
    }
    narrow(s->t, o, s->byte, &f);
    f.lex = edge->next;
    stay(s, f, e->parents);
}

static void step_object(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    const struct json_object_rule *o = &s->t->objects[f.at];
    switch (f.kind) {
    case OBJECT:
        if (s->byte == '"')
            begin_key(s, e);
        else if (s->byte == '}' && next_required(s->t, o, 0) == o->n)
            s->popped |= e->parents;
        break;
    case COMMA:
        if (s->byte == '"')
            begin_key(s, e);
        else if (s->byte == ' ' && f.b)
            stay(s, (struct json_frame){ .kind = COMMA, .at = f.at, .pos = f.pos }, e->parents);
        break;
    case COLON:
        f.kind = MEMBER;
        f.b = 1;
        if (s->byte == ':')
            stay(s, f, e->parents);
        break;
    case MEMBER:
        if (s->byte == ' ' && f.b) {
            f.b = 0;
            stay(s, f, e->parents);
            break;
        }
        begin(s, f.a, (struct json_frame){ .kind = NEXT, .at = f.at, .pos = f.pos }, e->parents);
        break;
    case NEXT:
        if (s->byte == ',' && member_may_come(s, o, f.pos))
            stay(s, (struct json_frame){ .kind = COMMA, .at = f.at, .pos = f.pos, .b = 1 },
                 e->parents);
        else if (s->byte == '}' && next_required(s->t, o, f.pos) == o->n)
            s->popped |= e->parents;
        break;
    }
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* The value of the item that comes next; JSON_NONE: none may. */
static uint32_t item_value(const struct step *s, const struct json_frame *f)
{
    const struct json_array_rule *r = &s->t->arrays[f->at];
    uint32_t value = f->pos < r->n ? s->t->items[r->first + f->pos] : r->rest;
    if (f->b == 0 || value == JSON_NONE || !fits(s, s->t->values[value].height))
        return JSON_NONE;
    return value;
}

static void begin_item(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    uint32_t value = item_value(s, &f);
    if (value == JSON_NONE)
        return;
    f.kind = ITEM_NEXT;
    f.lex = 0;
    f.pos = least(f.pos + 1, s->t->arrays[f.at].n);
    f.a -= f.a > 0;
    f.b -= f.b != JSON_NONE;
    begin(s, value, f, e->parents);
}

static void step_array(struct step *s, const struct json_entry *e)
{
    struct json_frame f = e->frame;
    if (f.kind == ITEM && s->byte == ' ' && f.lex) {
        f.lex = 0;
        stay(s, f, e->parents);
    } else if (s->byte == ']' && f.kind != ITEM && f.a == 0) {
        s->popped |= e->parents;
    } else if (f.kind != ITEM_NEXT) {
        begin_item(s, e);
    } else if (s->byte == ',' && item_value(s, &f) != JSON_NONE) {
        f.kind = ITEM;
        f.lex = 1;
        stay(s, f, e->parents);
    }
}

/* ---- configurations -------------------------------------------------------------------------- */

static void step_frame(struct step *s, const struct json_entry *e)
{
    switch ((enum frame_kind)e->frame.kind) {
    case ROOT:
        begin(s, e->frame.a, (struct json_frame){ .kind = DONE }, 0);
        break;
    case DONE:
        break;
    case TEXT:
        step_text(s, e);
        break;
    case NUMBER:
        step_number(s, e);
        break;
    case KEY:
        step_key(s, e);
        break;
    case EXTRA:
        step_extra(s, e);
        break;
    case OBJECT:
    case COMMA:
    case COLON:
    case MEMBER:
    case NEXT:
        step_object(s, e);
        break;
    case ARRAY:
    case ITEM:
    case ITEM_NEXT:
        step_array(s, e);
        break;
    }
}

static void put_level(struct json_config *c, const struct json_entry *entries, uint32_t n)
{
    uint32_t at = c->start[c->n_levels];
    memmove(&c->entries[at], entries, n * sizeof *entries);
    c->start[++c->n_levels] = at + n;
}

/* Takes the top level away; of the one below it the frames in kept remain. */
static void pop(struct json_config *c, uint64_t kept)
{
    c->n_levels--;
    uint32_t first = c->start[c->n_levels - 1], n = 0;
    for (uint32_t i = first; i < c->start[c->n_levels]; i++)
        if (kept >> (i - first) & 1)
            c->entries[first + n++] = c->entries[i];
    c->start[c->n_levels] = first + n;
}

void json_automaton_start(const struct json_tables *t, struct json_config *out)
{
    struct json_entry root = { .frame = { .kind = ROOT, .a = t->root } };
    out->n_levels = 0;
    out->start[0] = 0;
    put_level(out, &root, 1);
}

static void copy(const struct json_config *in, struct json_config *out)
{
    out->n_levels = in->n_levels;
    memcpy(out->start, in->start, (in->n_levels + 1) * sizeof *in->start);
    memcpy(out->entries, in->entries, in->start[in->n_levels] * sizeof *in->entries);
}

/* Each level may have as many frames as leave one to every level that can come above. */
static uint32_t capacity(uint32_t level, uint32_t used)
{
    return least(JSON_MAX_FRAMES, (JSON_MAX_ENTRIES - used - 2 * (JSON_MAX_LEVELS - level)) / 2);
}

/* One step of out itself; *again: numbers ended before the byte, which is still to be read. */
static bool step(const struct json_tables *t, struct json_config *out, uint8_t byte, bool *again)
{
    struct step s = { .t = t, .level = out->n_levels - 1, .byte = byte };
    uint32_t first = out->start[s.level], end = out->start[s.level + 1];
    s.capacity = capacity(s.level, first);
    for (uint32_t i = first; i < end; i++)
        step_frame(&s, &out->entries[i]);
    *again = false;
    if (s.n_stay > 0) {
        out->n_levels--;
        put_level(out, s.stay, s.n_stay);
        if (s.n_push > 0)
            put_level(out, s.push, s.n_push);
        return true;
    }
    *again = !s.popped && s.ended;
    if (!s.popped && !s.ended)
        return false;
    pop(out, s.popped | s.ended);
    return true;
}

bool json_automaton_step(const struct json_tables *t, const struct json_config *in, uint8_t byte,
                         struct json_config *out)
{
    bool again = false;
    copy(in, out);
    if (!step(t, out, byte, &again))
        return false;
    return !again || step(t, out, byte, &again);
}

bool json_automaton_complete(const struct json_tables *t, const struct json_config *c)
{
    uint32_t first = c->start[c->n_levels - 1];
    for (uint32_t i = first; i < c->start[c->n_levels]; i++) {
        const struct json_frame *f = &c->entries[i].frame;
        if (c->n_levels == 1 && f->kind == DONE)
            return true;
        if (c->n_levels == 2 && f->kind == NUMBER && t->states[f->lex].accept)
            return true; /* above the document's own level there is only DONE below */
    }
    return false;
}

bool json_automaton_in_string(const struct json_tables *t, const struct json_config *c,
                              uint32_t *most)
{
    uint32_t first = c->start[c->n_levels - 1];
    *most = 0;
    for (uint32_t i = first; i < c->start[c->n_levels]; i++) {
        const struct json_frame *f = &c->entries[i].frame;
        /* Only undeclared names of objects that declare none begin in key_start. */
        uint32_t may = f->kind == TEXT ? f->b : JSON_NONE;
        if ((f->kind != TEXT && f->kind != EXTRA) || f->lex != t->key_start)
            return false;
        *most = may > *most ? may : *most;
    }
    return true;
}

void json_automaton_clip(struct json_config *c, uint32_t bytes)
{
    for (uint32_t i = 0; i < c->start[c->n_levels]; i++) {
        struct json_frame *f = &c->entries[i].frame;
        if (f->kind != TEXT && f->kind != ARRAY && f->kind != ITEM && f->kind != ITEM_NEXT)
            continue;
        f->a = least(f->a, bytes + 1);
        f->b = f->b > bytes ? JSON_NONE : f->b;
    }
}
