/*
 * phi4_weights.h - the text model's tensors by name and shape, placed on a device as matrices.
 *
 * Shapes are checked against the configuration before any tensor is used; an error names tensor,
 * shape found and shape wanted.  On the CPU matrices that are not compressed point into the
 * mapping: bf16 stays bf16.
 */
#ifndef AIRLOCK_PHI4_WEIGHTS_H
#define AIRLOCK_PHI4_WEIGHTS_H

#include "ops/ops.h"
#include "phi4_config.h"
#include "safetensors.h"

struct phi4_layer {
    struct ops_matrix input_layernorm;          /* [1, hidden] */
    struct ops_matrix qkv_proj;                 /* [(n_heads + 2 n_kv_heads) head_dim, hidden] */
    struct ops_matrix o_proj;                   /* [hidden, n_heads head_dim] */
    struct ops_matrix post_attention_layernorm; /* [1, hidden] */
    struct ops_matrix gate_up_proj;             /* [2 intermediate, hidden], gate first */
    struct ops_matrix down_proj;                /* [hidden, intermediate] */
};

struct phi4_weights {
    struct ops_matrix embed_tokens; /* [vocab, hidden] */
    struct ops_matrix norm;         /* [1, hidden] */
    struct ops_matrix lm_head;      /* [vocab, hidden]; embed_tokens itself when tied */
    struct phi4_layer *layers;      /* [num_hidden_layers] */
    size_t n_layers;
    size_t n_unused;          /* tensors of the checkpoint that the text model does not use */
    const char *first_unused; /* one of them, for the log; NULL: none */
};

/* Also tries the names that a checkpoint with built-in adapters has (NAME.base_layer.weight). Fills
 * w from st, which must stay open until phi4_weights_free(). */
/* dtype: one that ops_quantized knows, or 0: as stored.  Then the linear layers have this form, and
 * embed_tokens and lm_head are OPS_INT8 whatever it is; norms stay as stored. */
int phi4_weights_load(struct phi4_weights *w, const struct phi4_config *config,
                      enum ops_dtype dtype, const struct safetensors *st, const struct ops *ops,
                      struct ops_device *dev, struct airlock_error *err);
/* The same, with each tensor asked for before its first byte is read: ready(ctx, end) waits for the
 * first `end` bytes of the files (safetensors_end_of) and tells progress; ends do not fall.  0, or
 * -1 with err.  NULL: not asked. */
struct phi4_weights_gate {
    void *ctx;
    int (*ready)(void *ctx, uint64_t end, struct airlock_error *err);
};
int phi4_weights_load_by(struct phi4_weights *w, const struct phi4_config *config,
                         enum ops_dtype dtype, const struct safetensors *st, const struct ops *ops,
                         struct ops_device *dev, const struct phi4_weights_gate *gate,
                         struct airlock_error *err);
/* Their bytes on a device that copies them; stored: the dtype of the checkpoint's numbers there. */
uint64_t phi4_weights_bytes(const struct phi4_config *config, enum ops_dtype dtype,
                            enum ops_dtype stored);
void phi4_weights_free(struct phi4_weights *w, const struct ops *ops, struct ops_device *dev);

#endif
