/*
 * phi4_forward_state.h - what the forward pass's files share: its buffers, and one step.
 *
 * forward_inputs.c writes what a step uploads, phi4_forward.c enqueues the ops, decode_graphs.c
 * records the ops of decode steps and runs them again.
 */
#ifndef AIRLOCK_PHI4_FORWARD_STATE_H
#define AIRLOCK_PHI4_FORWARD_STATE_H

#include "phi4_forward.h"

/* What a step uploads: one piece of host memory and its twin on the device, cut into arrays.  Where
 * each begins depends on the step's shape alone. */
struct forward_inputs {
    char *host, *device;
    size_t cos, sin;    /* offsets: float [rows, pairs] */
    size_t ids, slot;   /* int32 [rows] */
    size_t gather;      /* int32 [n_logits]: rows that need logits */
    size_t first_row;   /* int32 [n_seqs + 1] */
    size_t length;      /* int32 [n_seqs] */
    size_t block_table; /* int32 [n_seqs, stride] */
    size_t choices;     /* ops_choice [n_logits] */
    size_t bytes;       /* of this step */
};

/* Lists of ops.sample, of which most steps upload nothing. */
struct forward_lists {
    char *host, *device;
    size_t bias, seen, masks; /* offsets */
};

struct decode_graphs;

struct phi4_forward {
    struct phi4_forward_options o;
    struct rope rope;
    struct ops_heads heads;
    size_t qkv_dim, attention_dim; /* (n_heads + 2 n_kv_heads) head_dim; n_heads head_dim */
    struct forward_inputs in;
    struct forward_lists lists;   /* zeroed: the device does not sample */
    struct decode_graphs *graphs; /* NULL: the device records none */
    struct linear_rows *rows;     /* [max_seqs] adapters of this step's sequences */
    struct linear_segment *segments;
    const void **adapters; /* [max_seqs * LINEAR_MAX_ADAPTERS] of this step, each once */
    size_t levels;         /* most adapters on one sequence of this step */
    /* Activations on the device, [max_rows, ...] act */
    void *h;                        /* [rows, hidden] the residual stream */
    void *x;                        /* [rows, hidden] normalised */
    void *qkv;                      /* [rows, qkv_dim] */
    void *o_in;                     /* [rows, attention_dim] */
    void *delta;                    /* [rows, hidden] what a block adds to h */
    void *gate_up;                  /* [rows, 2 intermediate] */
    void *mlp;                      /* [rows, intermediate] */
    void *top_h, *top_delta;        /* [max_logits, hidden] the rows that need logits */
    float *logits;                  /* [max_logits, vocab] on the device */
    struct ops_chosen *chosen;      /* [max_logits] on the device; NULL: it does not sample */
    struct ops_chosen *host_chosen; /* [max_logits] */
};

/* Sizes of a step, with the rows of padding that a recorded one has. */
struct step_shape {
    size_t rows, n_seqs, most_rows, n_logits, max_length, stride;
};

struct forward_step {
    const struct forward_seq *seqs;
    size_t n_seqs, n_logits; /* without padding */
    struct step_shape shape;
    const struct forward_sampling *sampling; /* NULL: all logits are downloaded */
    bool any_scores, any_draws, any_logprobs;
    uint64_t epoch; /* of the hook */
    bool records;   /* whether its adapters, if any, may be recorded */
};

/* ---- forward_inputs.c ---- */

int forward_inputs_init(struct phi4_forward *f);
void forward_inputs_free(struct phi4_forward *f);
/* Sums up the sequences; -1: they do not fit the buffers. */
int forward_measure(const struct phi4_forward *f, struct forward_step *step);
/* Writes the inputs of this shape on the host, and the adapters of the step's rows. */
void forward_fill(struct phi4_forward *f, struct forward_step *step);
/* Enqueues their copies to the device. */
enum ops_status forward_upload(struct phi4_forward *f, const struct forward_step *step);

/* ---- phi4_forward.c ---- */

/* Enqueues all ops between the inputs and the results. */
int forward_enqueue(struct phi4_forward *f, const struct forward_step *step,
                    struct airlock_error *err);

/* ---- decode_graphs.c ---- */

/* NULL: the device records none, or memory is out. */
struct decode_graphs *decode_graphs_new(const struct phi4_forward_options *options);
void decode_graphs_free(struct phi4_forward *f);
/* Whether the step is one that is recorded; then its shape is padded to its bucket. */
bool decode_graphs_take(const struct phi4_forward *f, struct forward_step *step);
/* forward_enqueue() of such a step: recorded when its like has come before, else as it is. */
int decode_graphs_enqueue(struct phi4_forward *f, const struct forward_step *step,
                          struct airlock_error *err);

#endif
