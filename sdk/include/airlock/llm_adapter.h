/*
 * llm_adapter.h - what an adapter (LoRA) plugin implements, and what a model sees of it.
 *
 * Model and adapter plugins never link to each other: the host opens the adapter after the model
 * has loaded, and hands it to the model as an llm_adapter.  An adapter is an argument of a request,
 * never a state of the model.  The rules at the top of llm_abi.h hold here.
 */
#ifndef AIRLOCK_LLM_ADAPTER_H
#define AIRLOCK_LLM_ADAPTER_H

#include "llm_abi.h"

/* Element types; 0 is no type. */
enum { LLM_F32 = 1, LLM_BF16 = 2, LLM_F16 = 3 };

/* Rows [first_row, first_row + rows) of a fused linear layer under the name that an unfused model
 * gives them, eg: q_proj is rows 0..3071 of qkv_proj. */
typedef struct llm_site_part {
    uint32_t struct_size;
    uint32_t first_row;
    uint32_t rows;
    uint32_t reserved;
    const char *module; /* eg: "model.layers.0.self_attn.q_proj" */
} llm_site_part;

/* A linear layer y = W x of a loaded model, W: [out_dim, in_dim]. */
typedef struct llm_site {
    uint32_t struct_size;
    uint32_t n_parts;
    uint32_t in_dim;
    uint32_t out_dim;
    const char *module; /* eg: "model.layers.0.self_attn.qkv_proj" */
    const llm_site_part *const *parts;
} llm_site;

/* llm_host.service() of an adapter: the model that it is opened for. */
#define LLM_SVC_SITES "airlock.sites/1"
typedef struct llm_svc_sites {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] The i-th site, NULL: no more.  Valid until close(). */
    const llm_site *(*at)(const llm_host *host, uint64_t i);
    /* [any] model_path as the configuration writes it (a directory or a Hub id), NUL-terminated. */
    const char *(*base_model)(const llm_host *host);
} llm_svc_sites;

/* y += scale * B (A x) on one site.  A: [rank, in_dim], B: [out_dim, rank], dense, row-major. */
typedef struct llm_lora_target {
    uint32_t struct_size;
    uint32_t dtype; /* of A and B */
    uint32_t rank;
    uint32_t in_dim;
    uint32_t out_dim;
    float scale;
    uint64_t a; /* addresses on the model's device: no CUDA header in the ABI */
    uint64_t b; /* a and b 0: no such matrices, only apply() knows the change */
} llm_lora_target;

/* Threads of the caller, lent for one call: runs fn(arg, i) for each i < n, returns when all are
 * done.  Never to be called from inside fn. */
typedef struct llm_threads {
    uint32_t struct_size;
    uint32_t count;
    void *ctx;
    void (*run)(const struct llm_threads *threads, uint64_t n, void (*fn)(void *arg, uint64_t i),
                void *arg);
} llm_threads;

/* Rows, dense, row-major, on the model's device: x: [rows, in_dim], y: [rows, out_dim]. */
typedef struct llm_lora_io {
    uint32_t struct_size;
    uint32_t dtype; /* of x and y */
    uint64_t x;
    uint64_t y;
    uint64_t rows;
    void *stream;               /* CUDA: the CUstream to enqueue on; CPU: NULL */
    const llm_threads *threads; /* CPU: may be NULL; CUDA: NULL */
} llm_lora_io;

typedef struct llm_adapter_inst llm_adapter_inst; /* the plugin's own */

/* Rows [first_row, first_row + rows) of an llm_lora_io that belong to one adapter. */
typedef struct llm_lora_segment {
    uint32_t struct_size;
    uint32_t reserved;
    uint64_t first_row;
    uint64_t rows;
    llm_adapter_inst *inst;
    const llm_lora_target *target;
} llm_lora_segment;

typedef struct llm_adapter_class {
    uint32_t struct_size;
    uint32_t caps; /* 0 */
    /* [control] Reads the adapter; config->path is its directory, config->device its model's. */
    llm_status (*open)(const llm_host *host, const llm_config *config, llm_adapter_inst **out,
                       llm_error *err);
    /* [any] What it does on this module (llm_site.module); NULL: nothing.  Valid until close(). */
    const llm_lora_target *(*target)(llm_adapter_inst *inst, const char *module);
    /* [worker] y += its change for x.  CUDA: enqueues only, never waits or allocates, so that a
     * step can be captured in a graph.  Bit for bit, a row's result depends on that row alone. */
    llm_status (*apply)(llm_adapter_inst *inst, const llm_lora_target *target,
                        const llm_lora_io *io, llm_error *err);
    /* [control] No model uses it any more. */
    void (*close)(llm_adapter_inst *inst);
    /* [worker] The same for rows of several adapters of this class in one call; segments do not
     * overlap.  NULL: the model calls apply() for each. */
    llm_status (*apply_batch)(const llm_lora_io *io, const llm_lora_segment *const *segments,
                              uint64_t n_segments, llm_error *err);
    /* [any] Bytes that it holds on its device.  NULL: not told. */
    uint64_t (*memory)(llm_adapter_inst *inst);
} llm_adapter_class;

/* Made by the host and handed to llm_model_class.attach(). */
typedef struct llm_adapter {
    uint32_t struct_size;
    uint32_t slot;    /* unique among a model's attached adapters; small, reused after detach() */
    uint64_t version; /* differs between two adapters that ever had the same name */
    const char *name;
    const llm_adapter_class *cls;
    llm_adapter_inst *inst;
} llm_adapter;

#endif
