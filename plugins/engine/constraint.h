/*
 * constraint.h - what an answer must be, and which tokens that leaves at each step: a JSON document
 * of a schema, or calls of functions between <|tool_call|> and <|/tool_call|>.
 *
 * A model's `constraints` holds the tree of its vocabulary, built when the first request needs it,
 * and the schemas compiled last.  A `constraint` belongs to one request: its maker and the
 * scheduler each hold it.
 */
#ifndef AIRLOCK_CONSTRAINT_H
#define AIRLOCK_CONSTRAINT_H

#include "tokenizer.h"
#include "tools.h"

enum {
    CONSTRAINT_CACHE = 16,    /* compiled schemas remembered: at most some 6 MiB each */
    CONSTRAINT_MAX_CALLS = 64 /* in one answer, so that a list of them ends */
};

struct constraints;

/* tokenizer outlives it; eos: [n], copied.  NULL: out of memory. */
struct constraints *constraints_new(const struct tokenizer *tokenizer, const int32_t *eos,
                                    size_t n);
/* All constraints are released.  NULL allowed. */
void constraints_free(struct constraints *c);

enum constraint_kind { CONSTRAINT_NONE, CONSTRAINT_JSON_OBJECT, CONSTRAINT_JSON_SCHEMA };
enum constraint_tools {
    CONSTRAINT_TOOLS_AUTO,    /* the model decides; a call that it begins is one of the tools' */
    CONSTRAINT_TOOLS_NEVER,   /* it begins none */
    CONSTRAINT_TOOLS_REQUIRED /* the answer is nothing but calls */
};

struct constraint_options {
    enum constraint_kind kind;
    const char *schema; /* [schema_size] with CONSTRAINT_JSON_SCHEMA */
    size_t schema_size;
    const struct tools *tools; /* NULL: none */
    enum constraint_tools choice;
    int only; /* index of the one tool that may be called, and once; -1: any */
};

/*
 * A new constraint, held once.  NULL with err: AIRLOCK_E_REQUEST for a schema that is not
 * supported, AIRLOCK_E_UNSUPPORTED for tools when the vocabulary has no tokens for them.  The
 * calling thread compiles what is not remembered.
 */
struct constraint *constraint_new(struct constraints *c, const struct constraint_options *options,
                                  struct airlock_error *err);
struct constraint *constraint_hold(struct constraint *c); /* c itself; NULL allowed */
void constraint_release(struct constraint *c);            /* NULL allowed */

/*
 * *mask: the tokens that may come next, valid until the next call; NULL: any.  End tokens are among
 * them exactly when the answer is complete.  Then constraint_advance() with the one that was
 * chosen. One thread at a time.  0, or -1 with err.
 */
int constraint_mask(struct constraint *c, const uint32_t **mask, struct airlock_error *err);
int constraint_advance(struct constraint *c, int32_t id, struct airlock_error *err);

#endif
