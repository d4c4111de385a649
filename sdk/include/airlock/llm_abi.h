/*
 * llm_abi.h - basic types of the plugin ABI: versions, strings, errors, the host, the entry symbol.
 *
 * ABI 1.0.  C89-clean, C++-clean, no padding, 64-bit machines only.  The rules that hold for every
 * declaration of the three headers (docs/plugin-authors.md explains them):
 *
 *   1. A released member, constant or meaning never changes; structs grow at the end only.
 *   2. Every struct but llm_str begins with struct_size = sizeof as its maker's compiler saw it,
 *      and is zeroed by its maker; zero always means "as before this member existed".  Arrays are
 *      arrays of pointers (of llm_str: of values, llm_str is frozen for ever).
 *   3. Who allocates frees; nothing allocated crosses.  Inputs live until the call returns unless a
 *      longer life is written beside them.  Descriptors and tables are static const.
 *   4. Thread tags: [control] one thread at a time, never beside another [control] call of the same
 *      instance; [worker] any thread, beside [control] calls too where those do not forbid it, at
 *      most llm_model_class.max_concurrent at once (of an adapter: any number); [any] any thread,
 *      the plugin's own included, while the instance lives.  The host holds no lock in any call.
 *   5. A plugin does not write to descriptors 0 to 2, exit, abort, install signal handlers, fork,
 *      chdir, or change environment, locale, umask or limits; its threads block all signals and are
 *      joined by destroy(); nothing is thrown across the boundary.
 */
#ifndef AIRLOCK_LLM_ABI_H
#define AIRLOCK_LLM_ABI_H

#include <stddef.h>
#include <stdint.h>

#define LLM_ABI_MAJOR 1 /* also in the entry symbol's name */
#define LLM_ABI_MINOR 0 /* newest minor that this header describes */
#ifndef LLM_ABI_TARGET  /* what a plugin sees: the oldest minor, unless it asks for more ... */
#define LLM_ABI_TARGET 0
#endif
#ifndef LLM_ABI_NEEDED /* ... and needs of a host: what it sees, unless it says less */
#define LLM_ABI_NEEDED LLM_ABI_TARGET
#endif
#if LLM_ABI_TARGET > LLM_ABI_MINOR
#error "LLM_ABI_TARGET is newer than these headers: install newer headers or lower the target"
#endif
#if LLM_ABI_NEEDED > LLM_ABI_TARGET
#error "LLM_ABI_NEEDED cannot be above LLM_ABI_TARGET"
#endif

#ifdef __cplusplus
#define LLM_C extern "C"
#else
#define LLM_C extern
#endif
#ifdef __GNUC__
#define LLM_EXPORT __attribute__((visibility("default")))
#else
#define LLM_EXPORT
#endif

/* True when the maker of *p knew member f of type T. */
#define LLM_HAS(p, T, f) ((p)->struct_size >= offsetof(T, f) + sizeof(((T *)0)->f))

/* Result of every call that can fail.  The host turns it into the HTTP status named beside it. */
typedef int32_t llm_status;
enum {
    LLM_OK = 0,
    LLM_E_INVALID = 1,     /* the caller broke this contract: 500 */
    LLM_E_UNSUPPORTED = 2, /* a thing this plugin does not do: 501 */
    LLM_E_REQUEST = 3,     /* the client's fault: 400; text is shown to the client */
    LLM_E_CONFIG = 4,      /* the operator's fault: the server does not start */
    LLM_E_NO_MEMORY = 5,   /* host or device memory is out: 503 */
    LLM_E_DEVICE = 6,      /* sticky: the host retires the instance: 500 */
    LLM_E_CANCELLED = 7,   /* emit() or cancelled() said so, or the deadline passed */
    LLM_E_INTERNAL = 8     /* anything else: 500 */
};

/* UTF-8 bytes unless said otherwise; no NUL is promised; ptr may be NULL when len is 0. */
typedef struct llm_str {
    const char *ptr;
    uint64_t len;
} llm_str;

/*
 * The caller's memory: nothing to free, works when out of memory.  A call that fails sets code (to
 * what it returns) and text: one NUL-terminated line that names the plugin and the thing, e.g.
 * "phi4: layer 7 qkv_proj: shape 3072x5120, expected 5120x3072".  Text goes to the operator's log;
 * only LLM_E_REQUEST's reaches the client.
 */
typedef struct llm_error {
    uint32_t struct_size;
    llm_status code;
    char text[504];
} llm_error;

enum { LLM_LOG_DEBUG = 0, LLM_LOG_INFO = 1, LLM_LOG_WARNING = 2, LLM_LOG_ERROR = 3 };

/* What the host gives an instance; lives until destroy() or close() has returned. */
typedef struct llm_host {
    uint32_t struct_size;
    uint32_t abi_minor; /* of the host */
    void *ctx;          /* the host's own */
    /* [any] One line to the server's log; text is copied. */
    void (*log)(const struct llm_host *host, int32_t level, const char *text, uint64_t len);
    /* [any] An optional service by name, e.g. LLM_SVC_SITES; NULL: this host has it not. */
    const void *(*service)(const struct llm_host *host, const char *id);
} llm_host;

/* A candidate of llm_token.top. */
typedef struct llm_logprob {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t id;
    double logprob; /* natural logarithm of the probability before any sampling parameter */
    llm_str bytes;  /* of the token; may be a part of a UTF-8 character */
} llm_logprob;

/* One generated token, told to llm_sink.token before its bytes are emitted. */
typedef struct llm_token {
    uint32_t struct_size;
    uint32_t n_top;
    int64_t id;
    double logprob;
    llm_str bytes;
    const llm_logprob *const *top; /* the n_top likeliest, best first */
} llm_token;

/* A function that the model wants called; see llm_request.tools. */
typedef struct llm_tool_call {
    uint32_t struct_size;
    uint32_t index;    /* 0, 1, ... within one answer */
    llm_str name;      /* of the function */
    llm_str arguments; /* JSON, as the model wrote it */
} llm_tool_call;

/* Output, progress and cancellation of one call.  Calls on one sink never overlap, and none is made
 * after the call that it was given to has returned. */
typedef struct llm_sink {
    uint32_t struct_size;
    uint32_t reserved;
    void *ctx;
    /* [any] Output bytes, copied.  May end inside a UTF-8 character.  Nonzero: stop now. */
    int32_t (*emit)(const struct llm_sink *sink, const char *bytes, uint64_t n);
    /* [any] Poll at least every 100 ms of work that emits nothing, in load() too.  Nonzero: return
     * LLM_E_CANCELLED within 250 ms. */
    int32_t (*cancelled)(const struct llm_sink *sink);
    /* [any] May be NULL.  Called once per generated token when the request asks for
     * log-probabilities. */
    void (*token)(const struct llm_sink *sink, const llm_token *token);
    /* [any] May be NULL.  Bytes loaded so far of the total that load() expects. */
    void (*progress)(const struct llm_sink *sink, uint64_t done, uint64_t total);
    /* [any] May be NULL.  A complete tool call, whose text is not emitted.  Nonzero: stop now. */
    int32_t (*tool_call)(const struct llm_sink *sink, const llm_tool_call *call);
} llm_sink;

/* How to make an instance; borrowed until create() or open() returns.  Zero: plugin's choice. */
typedef struct llm_config {
    uint32_t struct_size;
    uint32_t reserved;
    llm_str name;   /* of the model or adapter in the configuration */
    llm_str path;   /* absolute directory of the checkpoint */
    llm_str device; /* "auto", "cpu", "cuda" or "cuda:N"; an adapter: llm_model_class.device */
    llm_str dtype;  /* of the weights, e.g. "bf16"; empty: as stored */
    llm_str options_json; /* an object, checked against llm_class.options_schema; empty: none */
    uint64_t max_context; /* tokens, prompt and answer together */
    uint64_t max_batch;   /* sequences computed at once */
    uint64_t kv_memory;   /* bytes for keys and values */
    uint64_t threads;     /* for CPU work */
} llm_config;

enum { LLM_KIND_MODEL = 1, LLM_KIND_ADAPTER = 2 };

typedef struct llm_class {
    uint32_t struct_size;
    uint32_t kind;
    const char *name;           /* what the configuration calls class_name */
    const char *options_schema; /* JSON Schema of options_json, or NULL: it takes no options */
    const void *impl;           /* const llm_model_class * or const llm_adapter_class * */
} llm_class;

typedef struct llm_plugin {
    uint32_t struct_size;
    uint32_t abi_major;
    uint32_t abi_target;             /* the minor that its compiler saw */
    uint32_t abi_needed;             /* the least minor of a host that it accepts */
    const char *id;                  /* eg: "org.example.echo" */
    const char *version;             /* eg: "1.2.0" */
    const llm_class *const *classes; /* ends with NULL */
} llm_plugin;

/* The first four members of llm_plugin. */
#define LLM_PLUGIN_HEAD sizeof(llm_plugin), LLM_ABI_MAJOR, LLM_ABI_TARGET, LLM_ABI_NEEDED

/*
 * An ELF note that lets the host read version and kind before any instruction of the plugin runs.
 * Optional but recommended; write it once, at file scope: LLM_NOTE(LLM_KIND_MODEL);
 */
#ifdef __GNUC__
#define LLM_NOTE(kind_)                                                                            \
    static const struct {                                                                          \
        uint32_t name_size, desc_size, type;                                                       \
        char name[8];                                                                              \
        uint32_t desc[4];                                                                          \
    } llm_note_ __attribute__((section(".note.airlock"), used, aligned(4))) = {                    \
        8, 16, 1, "airlock", { LLM_ABI_MAJOR, LLM_ABI_TARGET, LLM_ABI_NEEDED, kind_ }              \
    }
#endif

/*
 * The one exported symbol.  Returns static const data that is valid for the life of the process.
 * No side effects: no thread, no device, no file, no allocation.  [any]
 */
LLM_C LLM_EXPORT const llm_plugin *llm_plugin_query_1(void);

#endif
