/*
 * peft_adapter.h - a PEFT LoRA checkpoint as matrices for the linear layers of one model.
 *
 * Names of an unfused model (q_proj, k_proj, v_proj, gate_proj, up_proj) are mapped onto the rows
 * of the fused layer that they are: their A's are stacked, their B's stand in a block diagonal, so
 * that one product does them all.
 */
#ifndef AIRLOCK_LORA_PEFT_ADAPTER_H
#define AIRLOCK_LORA_PEFT_ADAPTER_H

#include "airlock/llm_adapter.h"
#include "common/error.h"
#include "ops/ops.h"

/* y += scale * B (A x) on one layer. */
struct peft_target {
    char *module; /* the layer's own, fused name */
    enum ops_dtype dtype;
    uint32_t rank, in_dim, out_dim;
    float scale;
    void *a, *b; /* [rank, in_dim], [out_dim, rank]; 64-byte aligned host memory */
};

struct peft_adapter {
    struct peft_target *targets; /* sorted by module */
    size_t n;
    uint64_t bytes; /* of all a and b */
};

/*
 * Reads DIR/adapter_config.json and DIR/adapter_model.safetensors for a model with these layers.
 * base_model: what the configuration calls the model; NULL: not known.  0, or -1: err
 * (AIRLOCK_E_CONFIG) names the key or tensor, and *out holds nothing.
 */
int peft_adapter_read(struct peft_adapter *out, const char *dir, const llm_site *const *sites,
                      size_t n_sites, const char *base_model, struct airlock_error *err);
void peft_adapter_free(struct peft_adapter *adapter);

#endif
