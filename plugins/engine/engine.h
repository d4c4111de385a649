/*
 * engine.h - one loaded text model: checkpoint, tokenizer, device, KV cache and the thread that
 * computes.
 *
 * It speaks token ids: engine_scheduler() takes requests, the chat template and the tokenizer turn
 * messages into prompts.  Knows neither HTTP nor the plugin ABI.
 */
#ifndef AIRLOCK_ENGINE_H
#define AIRLOCK_ENGINE_H

#include "constraint.h"
#include "linear_hook.h"
#include "phi4_config.h"
#include "safetensors.h"
#include "scheduler.h"
#include "tokenizer.h"

struct engine;

enum {
    ENGINE_DEFAULT_CONTEXT = 8192, /* tokens, or max_position_embeddings when that is less */
    ENGINE_DEFAULT_BATCH = 32,
    ENGINE_MAX_BATCH = 1024,
    ENGINE_DEFAULT_FULL_CONTEXTS = 4, /* of max_context tokens that the KV cache holds */
    ENGINE_DEFAULT_PREFILL_CHUNK = 64,
    ENGINE_MAX_PREFILL_CHUNK = 4096
};

struct engine_options {
    const char *dir; /* of the checkpoint */
    const struct ops *ops;
    struct ops_open device;
    /* 0: the default above.  max_context counts prompt and answer together. */
    size_t max_context, max_batch, prefill_chunk;
    uint64_t kv_memory;     /* bytes; 0: for ENGINE_DEFAULT_FULL_CONTEXTS, at most max_batch, less
                               where a device's own memory is short */
    uint64_t device_memory; /* bytes that it may take of a device's own; 0: what is free */
    /* Bytes of it that the caller will take for other parts of the checkpoint; NULL: none. */
    uint64_t (*besides)(void *ctx, const struct safetensors *st);
    void *besides_ctx;
    enum ops_dtype kv_dtype; /* 0: as the embeddings are stored */
    enum ops_dtype dtype;    /* of the weights; 0, what the checkpoint has, or a compressed form */
    const struct linear_hook *hook; /* NULL: no adapters; must outlive the engine */
    /* Bytes read so far; nonzero: stop (AIRLOCK_E_CANCELLED).  NULL: not told. */
    int (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *progress_ctx;
};

/* Reads and checks everything, pages the weights in, starts the thread.  NULL: err says why. */
struct engine *engine_open(const struct engine_options *options, struct airlock_error *err);
/* No step is computed any more; all tickets are released.  The device stays.  NULL allowed. */
void engine_stop(struct engine *e);
/* The same, and gives all back.  NULL allowed. */
void engine_close(struct engine *e);

const struct phi4_config *engine_config(const struct engine *e);
const struct tokenizer *engine_tokenizer(const struct engine *e);
struct scheduler *engine_scheduler(struct engine *e);
/* For constraint_new(): what answers of this model may be held to. */
struct constraints *engine_constraints(struct engine *e);
/* The checkpoint's tensors, also those that the text model does not use; until engine_close(). */
const struct safetensors *engine_checkpoint(const struct engine *e);
/* The engine's device: before the first request, and in the hook. */
struct ops_device *engine_device(struct engine *e);
size_t engine_max_context(const struct engine *e);
/* Who computes beside the engine, on its threads or its device, does so in slices and takes a turn
 * for each: then no step waits for more than one slice of each such thread. */
struct turns *engine_turns(struct engine *e);
/* The device's threads to lend on, for the engine's own ops, or during a turn; NULL: none. */
const struct ops_threads *engine_threads(struct engine *e);
/* The stream that the device's ops are enqueued on, for adapters; NULL: none. */
void *engine_stream(struct engine *e);
/* One line for the log: device, weights, context, KV.  Valid until engine_close(). */
const char *engine_describe(const struct engine *e);

#endif
