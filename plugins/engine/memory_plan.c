/* memory_plan.c - adds up weights, KV cache, activations and workspace; see memory_plan.h. */
#include "memory_plan.h"

#include "phi4_weights.h"

/* cuBLASLt's workspace, kernels, graphs; what of a compressed matrix is spread out at once. */
enum { LIBRARY_BYTES = 64 << 20, SPREAD_BYTES = 32 << 20 };

/* Attention over a long context is cut into chunks of at least 64 tokens, each with a result of
 * float32 for every head of a sequence. */
static uint64_t attention_bytes(const struct phi4_config *c, const struct scheduler_options *o)
{
    const uint64_t chunks = ((uint64_t)o->max_context + 63) / 64;
    return o->max_batch * chunks * c->num_attention_heads * (c->head_dim + 2) * sizeof(float);
}

struct memory_plan memory_plan_make(const struct phi4_config *c, const struct memory_use *use)
{
    const struct ops_heads heads = phi4_heads(c);
    return (struct memory_plan){
        .weights = phi4_weights_bytes(c, use->dtype, use->stored),
        .kv_block = kv_cache_block_bytes(c->num_hidden_layers, &heads, use->kv_dtype),
        .buffers = scheduler_memory(use->scheduler) + attention_bytes(c, use->scheduler) +
                   LIBRARY_BYTES + (ops_quantized(use->dtype) ? SPREAD_BYTES : 0)
    };
}
