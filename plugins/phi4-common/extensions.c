/* extensions.c - token ids and back for clients that count them, and the engine's counters as
 * metrics. */
#include "extensions.h"

#include "model.h"

#include <stdlib.h>
#include <string.h>

/* ---- airlock.tokenizer/1 --------------------------------------------------------------------- */

static llm_status tokenize(llm_model *m, const llm_request *request, int64_t *ids,
                           uint64_t capacity, uint64_t *n, llm_error *error)
{
    struct generate_context g;
    struct airlock_error err;
    struct token_list list = { 0 };
    int status = phi4_context(m, &g, &err);
    if (status == 0)
        status = generate_encode(&g, request, &list, &err);
    if (status == 0) {
        for (uint64_t i = 0; i < capacity && i < list.n; i++)
            ids[i] = list.ids[i];
        *n = list.n;
    }
    free(list.ids);
    return status ? phi4_failed(m, error, &err) : LLM_OK;
}

/* The bytes of one token.  NULL with err: the tokenizer does not know it. */
static const char *bytes_of(const struct tokenizer *t, int64_t id, size_t *size,
                            struct airlock_error *err)
{
    const char *bytes = id < 0 || id > INT32_MAX ? NULL : tokenizer_bytes(t, (int32_t)id, size);
    if (!bytes)
        airlock_error_set(err, AIRLOCK_E_REQUEST, "tokens: id %lld is not in the vocabulary",
                          (long long)id);
    return bytes;
}

static llm_status detokenize(llm_model *m, const int64_t *ids, uint64_t n, const llm_sink *sink,
                             llm_error *error)
{
    struct generate_context g;
    struct airlock_error err;
    size_t size = 0;
    if (phi4_context(m, &g, &err))
        return phi4_failed(m, error, &err);
    const struct tokenizer *t = engine_tokenizer(g.engine);
    for (uint64_t i = 0; i < n; i++) /* all are looked at before any is emitted */
        if (!bytes_of(t, ids[i], &size, &err))
            return phi4_failed(m, error, &err);
    for (uint64_t i = 0; i < n; i++) {
        const char *bytes = bytes_of(t, ids[i], &size, &err);
        if (bytes && size > 0 && sink->emit(sink, bytes, size)) {
            airlock_error_set(&err, AIRLOCK_E_CANCELLED, "cancelled");
            return phi4_failed(m, error, &err);
        }
    }
    return LLM_OK;
}

static const llm_ext_tokenizer tokenizer_table = { .struct_size = sizeof tokenizer_table,
                                                   .tokenize = tokenize,
                                                   .detokenize = detokenize };

/* ---- airlock.metrics/1 ----------------------------------------------------------------------- */

struct reporter {
    void (*report)(void *ctx, const llm_metric *metric);
    void *ctx;
};

static void tell(const struct reporter *r, uint32_t kind, const char *name, const char *help,
                 double value)
{
    llm_metric metric = {
        .struct_size = sizeof metric, .kind = kind, .name = name, .help = help, .value = value
    };
    r->report(r->ctx, &metric);
}

static void tell_histogram(const struct reporter *r, const char *name, const char *help,
                           const struct scheduler_histogram *h)
{
    llm_metric metric = { .struct_size = sizeof metric,
                          .kind = LLM_METRIC_HISTOGRAM,
                          .name = name,
                          .help = help,
                          .value = h->sum,
                          .count = h->count,
                          .bounds = h->bounds,
                          .buckets = h->buckets,
                          .n_bounds = h->n_bounds };
    r->report(r->ctx, &metric);
}

static void read_metrics(llm_model *m, void (*report)(void *ctx, const llm_metric *metric),
                         void *ctx)
{
    struct reporter r = { report, ctx };
    struct generate_context g;
    struct scheduler_load load;
    if (phi4_context(m, &g, NULL))
        return;
    scheduler_load(engine_scheduler(g.engine), &load);
    const struct {
        uint32_t kind;
        const char *name, *help;
        double value;
    } numbers[] = {
        { LLM_METRIC_GAUGE, "waiting", "requests that wait for their turn or for memory",
          (double)load.waiting },
        { LLM_METRIC_GAUGE, "running", "requests that are being computed", (double)load.running },
        { LLM_METRIC_GAUGE, "kv_blocks", "blocks of keys and values in all",
          (double)load.kv_blocks },
        { LLM_METRIC_GAUGE, "kv_blocks_free", "blocks without content",
          (double)load.kv_blocks_free },
        { LLM_METRIC_GAUGE, "kv_blocks_cached",
          "blocks that no request uses, kept for prompts that begin alike",
          (double)load.kv_blocks_cached },
        { LLM_METRIC_COUNTER, "steps", "batches computed", (double)load.steps },
        { LLM_METRIC_COUNTER, "prefill_rows", "prompt tokens computed", (double)load.prefill_rows },
        { LLM_METRIC_COUNTER, "decode_rows", "answer tokens computed", (double)load.decode_rows },
        { LLM_METRIC_COUNTER, "preemptions",
          "times that a request gave its memory to others and was computed again",
          (double)load.preemptions },
        { LLM_METRIC_COUNTER, "prefix_queried_tokens", "prompt tokens of admitted requests",
          (double)load.prefix_queried },
        { LLM_METRIC_COUNTER, "prefix_hit_tokens", "prompt tokens that were found and not computed",
          (double)load.prefix_hits },
        { LLM_METRIC_COUNTER, "evictions", "cached blocks given up for other requests",
          (double)load.evictions },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        tell(&r, numbers[i].kind, numbers[i].name, numbers[i].help, numbers[i].value);
    tell_histogram(&r, "step_seconds", "time that a batch took", &load.step_seconds);
    tell_histogram(&r, "batch_rows", "tokens computed together in a batch", &load.batch_rows);
}

static const llm_ext_metrics metrics_table = { .struct_size = sizeof metrics_table,
                                               .read = read_metrics };

const void *phi4_extension(const char *id)
{
    if (strcmp(id, LLM_EXT_TOKENIZER) == 0)
        return &tokenizer_table;
    if (strcmp(id, LLM_EXT_METRICS) == 0)
        return &metrics_table;
    return NULL;
}
