/* constraint.c - remembers compiled schemas, and follows each answer through its parts. */
#include "constraint.h"

#include "token_mask.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EOS = 16 };

/* A compiled schema; held by the cache and by constraints. */
struct compiled {
    atomic_uint holders;
    struct token_masks *masks;
    char *key; /* [key_size] */
    size_t key_size;
    uint64_t used;
};

struct constraints {
    const struct tokenizer *tokenizer;
    int32_t eos[MAX_EOS];
    size_t n_eos;
    int32_t open_id, close_id; /* <|tool_call|> and <|/tool_call|>, or -1 */
    pthread_mutex_t lock;      /* everything below */
    struct token_strings *strings;
    struct compiled *cache[CONSTRAINT_CACHE];
    uint64_t clock;
};

/* Where an answer is. */
enum phase {
    FREE,     /* any token; <|tool_call|> begins calls */
    BARRED,   /* any token but <|tool_call|> */
    OPEN,     /* only <|tool_call|> */
    EITHER,   /* <|tool_call|>, or the document begins */
    DOCUMENT, /* in the document */
    CALLS,    /* between <|tool_call|> and <|/tool_call|> */
    END       /* only an end token */
};

struct constraint {
    atomic_uint holders;
    struct constraints *owner;
    struct compiled *document, *calls; /* NULL: not needed */
    enum phase phase;
    struct json_config config; /* in DOCUMENT and CALLS, and in EITHER that of the document */
    uint32_t *mask;
    size_t words;
};

/* ---- compiled schemas ------------------------------------------------------------------------ */

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a constraint");
}

static void drop(struct compiled *c)
{
    if (!c || atomic_fetch_sub(&c->holders, 1) > 1)
        return;
    token_masks_free(c->masks);
    free(c->key);
    free(c);
}

/* Under the lock: the one with this key, held for the caller; NULL: none. */
static struct compiled *recall(struct constraints *c, const struct bytes *key)
{
    for (size_t i = 0; i < CONSTRAINT_CACHE; i++) {
        struct compiled *e = c->cache[i];
        if (e && e->key_size == key->size && memcmp(e->key, key->data, key->size) == 0) {
            e->used = ++c->clock;
            atomic_fetch_add(&e->holders, 1);
            return e;
        }
    }
    return NULL;
}

/* Under the lock: in place of the one that was not used for the longest time. */
static void remember(struct constraints *c, struct compiled *e)
{
    size_t at = 0;
    for (size_t i = 0; i < CONSTRAINT_CACHE; i++) {
        if (!c->cache[i]) {
            at = i;
            break;
        }
        if (c->cache[i]->used < c->cache[at]->used)
            at = i;
    }
    drop(c->cache[at]);
    e->used = ++c->clock;
    atomic_fetch_add(&e->holders, 1);
    c->cache[at] = e;
}

/* What is to be compiled: the options' document or their calls. */
static int make_key(const struct constraint_options *o, bool calls, struct bytes *key)
{
    if (calls)
        return bytes_printf(key, "calls %d ", o->only) ||
               bytes_add(key, o->tools->text.data, o->tools->text.size);
    if (o->kind == CONSTRAINT_JSON_OBJECT)
        return bytes_add_text(key, "object");
    return bytes_add_text(key, "schema ") || bytes_add(key, o->schema, o->schema_size);
}

static struct json_tables *compile(const struct constraint_options *o, bool calls,
                                   struct airlock_error *err)
{
    if (!calls)
        return o->kind == CONSTRAINT_JSON_OBJECT
                   ? json_schema_any_object(err)
                   : json_schema_compile(o->schema, o->schema_size, err);
    if (o->only >= 0)
        return json_schema_calls(&o->tools->list[o->only], 1, 1, 1, err);
    return json_schema_calls(o->tools->list, o->tools->n, 1, CONSTRAINT_MAX_CALLS, err);
}

static struct compiled *compile_new(struct constraints *c, const struct constraint_options *o,
                                    bool calls, struct bytes *key, struct airlock_error *err)
{
    struct json_tables *tables = compile(o, calls, err);
    struct compiled *e = tables ? calloc(1, sizeof *e) : NULL;
    if (!tables)
        return NULL;
    if (!e) {
        json_tables_free(tables);
        no_memory(err);
        return NULL;
    }
    e->masks = token_masks_new(tables, c->strings, err);
    if (!e->masks) {
        free(e);
        return NULL;
    }
    atomic_init(&e->holders, 1);
    e->key = key->data;
    e->key_size = key->size;
    *key = (struct bytes){ 0 }; /* transferred */
    return e;
}

static int need_strings(struct constraints *c, struct airlock_error *err)
{
    pthread_mutex_lock(&c->lock);
    if (!c->strings)
        c->strings = token_strings_new(c->tokenizer, err);
    bool made = c->strings != NULL;
    pthread_mutex_unlock(&c->lock);
    return made ? 0 : -1;
}

static struct compiled *find_or_compile(struct constraints *c, const struct constraint_options *o,
                                        bool calls, struct airlock_error *err)
{
    struct bytes key = BYTES_INIT(3 * SCHEMA_MAX_BYTES);
    struct compiled *found = NULL;
    if (make_key(o, calls, &key)) {
        airlock_error_set(err, AIRLOCK_E_REQUEST, "the schema is larger than %d bytes",
                          SCHEMA_MAX_BYTES);
    } else if (need_strings(c, err) == 0) {
        pthread_mutex_lock(&c->lock);
        found = recall(c, &key);
        pthread_mutex_unlock(&c->lock);
        if (!found) {
            found = compile_new(c, o, calls, &key, err);
            pthread_mutex_lock(&c->lock);
            if (found)
                remember(c, found);
            pthread_mutex_unlock(&c->lock);
        }
    }
    bytes_free(&key);
    return found;
}

struct constraints *constraints_new(const struct tokenizer *tokenizer, const int32_t *eos, size_t n)
{
    struct constraints *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->tokenizer = tokenizer;
    for (; c->n_eos < n && c->n_eos < MAX_EOS; c->n_eos++)
        c->eos[c->n_eos] = eos[c->n_eos];
    c->open_id = tokenizer_added(tokenizer, "<|tool_call|>", NULL);
    c->close_id = tokenizer_added(tokenizer, "<|/tool_call|>", NULL);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void constraints_free(struct constraints *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < CONSTRAINT_CACHE; i++)
        drop(c->cache[i]);
    token_strings_free(c->strings);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- one answer ------------------------------------------------------------------------------ */

static enum phase first_phase(const struct constraint_options *o)
{
    bool document = o->kind != CONSTRAINT_NONE;
    if (!o->tools)
        return document ? DOCUMENT : FREE;
    if (o->choice == CONSTRAINT_TOOLS_REQUIRED)
        return OPEN;
    if (o->choice == CONSTRAINT_TOOLS_NEVER)
        return document ? DOCUMENT : BARRED;
    return document ? EITHER : FREE;
}

static int fill(struct constraint *c, const struct constraint_options *o, struct airlock_error *err)
{
    struct constraints *owner = c->owner;
    if (o->tools && (owner->open_id < 0 || owner->close_id < 0))
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED,
                                 "this model's vocabulary has no <|tool_call|>: it takes no tools");
    c->phase = first_phase(o);
    if (o->kind != CONSTRAINT_NONE && c->phase != OPEN) {
        c->document = find_or_compile(owner, o, false, err);
        if (!c->document)
            return -1;
        json_automaton_start(token_masks_tables(c->document->masks), &c->config);
    }
    if (o->tools && o->choice != CONSTRAINT_TOOLS_NEVER) {
        c->calls = find_or_compile(owner, o, true, err);
        if (!c->calls)
            return -1;
    }
    c->words = ((size_t)tokenizer_size(owner->tokenizer) + 31) / 32;
    c->mask = calloc(c->words, sizeof *c->mask);
    return c->mask ? 0 : no_memory(err);
}

struct constraint *constraint_new(struct constraints *owner, const struct constraint_options *o,
                                  struct airlock_error *err)
{
    struct constraint *c = calloc(1, sizeof *c);
    if (!c) {
        no_memory(err);
        return NULL;
    }
    atomic_init(&c->holders, 1);
    c->owner = owner;
    if (fill(c, o, err)) {
        constraint_release(c);
        return NULL;
    }
    return c;
}

struct constraint *constraint_hold(struct constraint *c)
{
    if (c)
        atomic_fetch_add(&c->holders, 1);
    return c;
}

void constraint_release(struct constraint *c)
{
    if (!c || atomic_fetch_sub(&c->holders, 1) > 1)
        return;
    drop(c->document);
    drop(c->calls);
    free(c->mask);
    free(c);
}

/* ---- tokens ---------------------------------------------------------------------------------- */

static void allow(struct constraint *c, int32_t id)
{
    if (id >= 0 && (size_t)id / 32 < c->words)
        c->mask[id / 32] |= UINT32_C(1) << (id % 32);
}

static void allow_end(struct constraint *c)
{
    for (size_t i = 0; i < c->owner->n_eos; i++)
        allow(c, c->owner->eos[i]);
}

static int fill_from(struct constraint *c, const struct compiled *compiled, bool *complete,
                     struct airlock_error *err)
{
    *complete = json_automaton_complete(token_masks_tables(compiled->masks), &c->config);
    return token_masks_fill(compiled->masks, &c->config, c->mask, err);
}

int constraint_mask(struct constraint *c, const uint32_t **mask, struct airlock_error *err)
{
    bool complete = false;
    *mask = c->phase == FREE ? NULL : c->mask;
    switch (c->phase) {
    case FREE:
        return 0;
    case BARRED:
        memset(c->mask, 0xff, c->words * sizeof *c->mask);
        if (c->owner->open_id >= 0)
            c->mask[c->owner->open_id / 32] &= ~(UINT32_C(1) << (c->owner->open_id % 32));
        return 0;
    case OPEN:
    case END:
        memset(c->mask, 0, c->words * sizeof *c->mask);
        if (c->phase == OPEN)
            allow(c, c->owner->open_id);
        else
            allow_end(c);
        return 0;
    case EITHER:
    case DOCUMENT:
        if (fill_from(c, c->document, &complete, err))
            return -1;
        if (c->phase == EITHER)
            allow(c, c->owner->open_id);
        if (complete)
            allow_end(c);
        return 0;
    case CALLS:
        if (fill_from(c, c->calls, &complete, err))
            return -1;
        if (complete)
            allow(c, c->owner->close_id);
        return 0;
    }
    return 0;
}

/* Reads the token's bytes. */
static int read_token(struct constraint *c, const struct compiled *compiled, int32_t id,
                      struct airlock_error *err)
{
    const struct json_tables *t = token_masks_tables(compiled->masks);
    struct json_config next;
    size_t size = 0;
    const char *bytes = tokenizer_bytes(c->owner->tokenizer, id, &size);
    for (size_t i = 0; i < size; i++) {
        if (!json_automaton_step(t, &c->config, (uint8_t)bytes[i], &next))
            return airlock_error_set(err, AIRLOCK_E_INTERNAL,
                                     "token %d is not of the answer's schema", id);
        c->config = next;
    }
    return 0;
}

static bool ends(const struct constraint *c, int32_t id)
{
    for (size_t i = 0; i < c->owner->n_eos; i++)
        if (c->owner->eos[i] == id)
            return true;
    return false;
}

int constraint_advance(struct constraint *c, int32_t id, struct airlock_error *err)
{
    if (ends(c, id))
        return 0; /* nothing follows */
    switch (c->phase) {
    case FREE:
    case OPEN:
    case EITHER:
        if (c->calls && id == c->owner->open_id) {
            c->phase = CALLS;
            json_automaton_start(token_masks_tables(c->calls->masks), &c->config);
            return 0;
        }
        if (c->phase == FREE)
            return 0;
        if (!c->document)
            return airlock_error_set(err, AIRLOCK_E_INTERNAL, "token %d does not begin a call", id);
        c->phase = DOCUMENT;
        return read_token(c, c->document, id, err);
    case DOCUMENT:
        return read_token(c, c->document, id, err);
    case CALLS:
        if (id != c->owner->close_id)
            return read_token(c, c->calls, id, err);
        c->phase = END;
        return 0;
    case BARRED:
    case END:
        return 0;
    }
    return 0;
}
