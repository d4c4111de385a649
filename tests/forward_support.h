/* forward_support.h - a checkpoint and the forward pass without an engine thread: logits of any
 * token sequence, for tests and tools. */
#ifndef AIRLOCK_TESTS_FORWARD_SUPPORT_H
#define AIRLOCK_TESTS_FORWARD_SUPPORT_H

#include "engine/phi4_forward.h"

#include <stdlib.h>
#include <string.h>

#ifndef FORWARD_DEVICE /* a second program of the same test: "cuda" */
#define FORWARD_DEVICE "cpu"
#endif

static enum ops_dtype forward_dtype; /* of the linear layers; 0: as stored */
static bool forward_on_cpu;          /* whatever FORWARD_DEVICE is */
static bool forward_fp8_activations; /* see ops.h */
static const struct ops *forward_by; /* not NULL: these ops, whatever the two say */

static inline bool forward_on_cuda(void)
{
    return !forward_on_cpu && strcmp(FORWARD_DEVICE, "cuda") == 0;
}

static inline const struct ops *forward_ops(void)
{
    const char *why;
    return forward_by ? forward_by : forward_on_cuda() ? ops_cuda(&why) : ops_cpu();
}

struct forward_model {
    struct phi4_config config;
    struct safetensors *st;
    const struct ops *ops;
    struct ops_device *dev;
    struct phi4_weights weights;
    struct kv_cache kv;
    struct phi4_forward *forward;
    struct rope rope;
    size_t max_rows;
};

static inline void forward_model_close(struct forward_model *m)
{
    phi4_forward_free(m->forward);
    if (m->dev) {
        kv_cache_free(&m->kv);
        phi4_weights_free(&m->weights, m->ops, m->dev);
        m->ops->close(m->dev);
    }
    safetensors_close(m->st);
    memset(m, 0, sizeof *m);
}

/* kv_dtype 0: as the embeddings.  threads 0: all cores. */
static inline int forward_model_open(struct forward_model *m, const char *dir, size_t max_rows,
                                     size_t max_context, enum ops_dtype kv_dtype, unsigned threads,
                                     const struct linear_hook *hook, struct airlock_error *err)
{
    memset(m, 0, sizeof *m);
    m->ops = forward_ops();
    m->max_rows = max_rows;
    const char *why = "";
    struct ops_open how = { .threads = threads, .fp8_activations = forward_fp8_activations };
    if (phi4_config_read(dir, &m->config, err))
        return -1;
    rope_init(&m->rope, &m->config);
    m->st = safetensors_open_dir(dir, err);
    m->dev = m->ops->open(&how, &why);
    struct ops_heads heads = phi4_heads(&m->config);
    if (!m->st || !m->dev ||
        phi4_weights_load(&m->weights, &m->config, forward_dtype, m->st, m->ops, m->dev, err) ||
        kv_cache_init(&m->kv, m->ops, m->dev, m->config.num_hidden_layers, &heads,
                      kv_dtype ? kv_dtype : m->weights.norm.dtype,
                      4 * kv_cache_blocks_for(max_context), err))
        return -1;
    struct phi4_forward_options o = { .config = &m->config,
                                      .weights = &m->weights,
                                      .kv = &m->kv,
                                      .ops = m->ops,
                                      .dev = m->dev,
                                      .max_rows = max_rows,
                                      .max_seqs = 16,
                                      .max_logits = max_rows,
                                      .max_context = max_context,
                                      .hook = hook };
    m->forward = phi4_forward_new(&o, err);
    return m->forward ? 0 : -1;
}

/* logits: [n, vocab]; ids as one prompt, read in chunks of at most `chunk` rows. */
static inline int forward_model_logits(struct forward_model *m, const int32_t *ids, size_t n,
                                       size_t chunk, const void *const *adapters, size_t n_adapters,
                                       float *logits, struct airlock_error *err)
{
    struct kv_table table = { 0 };
    int status = 0;
    if (kv_table_grow(&m->kv, &table, n) != KV_OK)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "no blocks for %zu tokens", n);
    for (size_t at = 0; at < n && status == 0; at += chunk) {
        size_t rows = n - at < chunk ? n - at : chunk;
        struct forward_seq seq = { .ids = ids + at,
                                   .rows = rows,
                                   .position = at,
                                   .table = &table,
                                   .long_rope = rope_is_long(&m->rope, n),
                                   .logits = FORWARD_ALL_LOGITS,
                                   .adapters = adapters,
                                   .n_adapters = n_adapters };
        status = phi4_forward_step(m->forward, &seq, 1, logits + at * m->config.vocab_size, err);
    }
    kv_table_release(&m->kv, &table);
    return status;
}

#endif
