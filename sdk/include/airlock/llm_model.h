/*
 * llm_model.h - what a model plugin implements: create, load, generate, destroy, and adapters.
 *
 * Order of calls for one instance: create, load, device, site (until NULL), attach for each
 * adapter, then any number of generate calls beside attach and detach of adapters that no running
 * request uses, then destroy.  Includes only llm_abi.h; the rules at its top hold here.
 */
#ifndef AIRLOCK_LLM_MODEL_H
#define AIRLOCK_LLM_MODEL_H

#include "llm_abi.h"

struct llm_adapter; /* llm_adapter.h */
struct llm_site;    /* llm_adapter.h */

enum { LLM_ROLE_SYSTEM = 1, LLM_ROLE_USER = 2, LLM_ROLE_ASSISTANT = 3, LLM_ROLE_TOOL = 4 };

typedef struct llm_message {
    uint32_t struct_size;
    int32_t role;
    llm_str content;      /* text; never control tokens, whatever it says.  Placeholders such as
                             <|image_1|> and <|audio_1|> stand where the request's media go. */
    llm_str tool_calls;   /* assistant: JSON array of {"name","arguments"}; empty: none */
    llm_str tool_call_id; /* tool: which call this answers; empty: not said */
} llm_message;

/* An image or a sound, as the client sent it with base64 undone. */
typedef struct llm_media {
    uint32_t struct_size;
    uint32_t reserved;
    llm_str mime; /* eg: "image/png"; empty: look at the bytes */
    llm_str bytes;
} llm_media;

/* Bits of llm_params.set.  A clear bit: the client left it out or said null; the model's default
 * (its generation configuration) holds. */
enum {
    LLM_P_TEMPERATURE = 1,
    LLM_P_TOP_P = 2,
    LLM_P_REPETITION = 4,
    LLM_P_PRESENCE = 8,
    LLM_P_FREQUENCY = 16,
    LLM_P_TOP_K = 32,
    LLM_P_MAX_NEW_TOKENS = 64,
    LLM_P_DO_SAMPLE = 128,
    LLM_P_SEED = 256,
    LLM_P_LOGPROBS = 512
};

typedef struct llm_params {
    uint32_t struct_size;
    uint32_t set;
    double temperature;        /* > 0 */
    double top_p;              /* (0, 1] */
    double repetition_penalty; /* > 0; 1 is none; Hugging Face's meaning */
    double presence_penalty;   /* [-2, 2]; OpenAI's meaning */
    double frequency_penalty;  /* [-2, 2]; OpenAI's meaning */
    int64_t top_k;             /* >= 1; 0 is no limit */
    int64_t max_new_tokens;    /* >= 1 */
    int64_t do_sample;         /* 0 greedy, 1 sample */
    int64_t seed;              /* of the sampler; clear bit: the plugin's choice */
    int64_t logprobs;          /* 0 to 20 alternatives per token, told through llm_sink.token */
} llm_params;

/* Adds bias to the logit of token id before any other processing. */
typedef struct llm_logit_bias {
    uint32_t struct_size;
    uint32_t reserved;
    int64_t id;
    double bias; /* [-100, 100] */
} llm_logit_bias;

enum { LLM_CONSTRAINT_JSON_OBJECT = 1, LLM_CONSTRAINT_JSON_SCHEMA = 2 };

/* Output must be a sentence of this language, enforced while decoding. */
typedef struct llm_constraint {
    uint32_t struct_size;
    uint32_t kind;
    llm_str text; /* the schema; empty for JSON_OBJECT */
} llm_constraint;

/* One call of generate(); borrowed until it returns. */
typedef struct llm_request {
    uint32_t struct_size;
    uint32_t flags;       /* 0 */
    uint64_t id;          /* for logs; unique in this process */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
    const llm_message *const *messages;
    uint64_t n_messages;
    const llm_media *const *images;
    uint64_t n_images;
    const llm_params *params;          /* never NULL */
    const struct llm_adapter *adapter; /* attached and pinned by the host; NULL: the base model */
    const struct llm_adapter *const *more_adapters; /* applied besides adapter, in this order */
    uint64_t n_more_adapters;
    const llm_media *const *audios;
    uint64_t n_audios;
    llm_str prompt; /* with n_messages == 0: raw text instead of a conversation */
    const llm_str *stop;
    uint64_t n_stop; /* answer ends before the first of these */
    const llm_logit_bias *const *logit_bias;
    uint64_t n_logit_bias;
    const llm_constraint *constraint; /* NULL: none */
    llm_str tools;                    /* JSON array of function definitions; empty: none */
    llm_str cache_salt;               /* prefixes are shared only between equal salts */
    llm_str tool_choice; /* with tools: empty: the model decides; "required": at least one call;
                            "function:NAME": a call of that one */
} llm_request;

enum {
    LLM_FINISH_STOP = 1,      /* an end token or a stop string */
    LLM_FINISH_LENGTH = 2,    /* max_new_tokens or the context is used up */
    LLM_FINISH_TOOL_CALLS = 3 /* an end token, and llm_sink.tool_call was called */
};

/* Filled by generate(), also when it fails (what was counted so far). */
typedef struct llm_stats {
    uint32_t struct_size;
    int32_t finish;
    uint64_t tokens_in;     /* of the prompt, media included */
    uint64_t tokens_out;    /* generated, end token included */
    uint64_t tokens_cached; /* of tokens_in, how many were not computed again */
    uint64_t queue_ns;      /* waiting inside the plugin */
    uint64_t prefill_ns;
    uint64_t decode_ns;
} llm_stats;

/* llm_model_class.caps: what a request may ask of it.  The host refuses the rest with 501. */
enum {
    LLM_CAP_IMAGES = 1,
    LLM_CAP_ADAPTERS = 2,
    LLM_CAP_AUDIOS = 4,
    LLM_CAP_PROMPT = 8,
    LLM_CAP_STOP = 16,
    LLM_CAP_LOGIT_BIAS = 32,
    LLM_CAP_CONSTRAINT = 64,
    LLM_CAP_TOOLS = 128,
    LLM_CAP_LOGPROBS = 256,
    LLM_CAP_SEED = 512,
    LLM_CAP_MORE_ADAPTERS = 1024
};

typedef struct llm_model llm_model; /* the plugin's own */

typedef struct llm_model_class {
    uint32_t struct_size;
    uint32_t caps;
    uint32_t max_concurrent; /* generate() calls at once per instance; 0: any number */
    uint32_t reserved;
    /* [control] Quick: checks the configuration, reads nothing big.  On success *out is the
     * instance; on failure *out is untouched.  config is borrowed until return, host until
     * destroy(). */
    llm_status (*create)(const llm_host *host, const llm_config *config, llm_model **out,
                         llm_error *err);
    /* [control] Slow: reads the weights; uses progress() and cancelled() of the sink, never emit().
     */
    llm_status (*load)(llm_model *model, const llm_sink *sink, llm_error *err);
    /* [worker] Blocks until the answer is complete; output goes through sink->emit. */
    llm_status (*generate)(llm_model *model, const llm_request *request, const llm_sink *sink,
                           llm_stats *stats, llm_error *err);
    /* [control] Nothing is running; also after a failed load().  Joins the instance's threads. */
    void (*destroy)(llm_model *model);
    /* [any] Static tables by name; NULL member or NULL answer: none. */
    const void *(*extension)(const char *id);
    /* [any] After load(): the i-th linear layer that adapters may change; NULL: no more.  Valid
     * until destroy().  NULL member: no adapters. */
    const struct llm_site *(*site)(llm_model *model, uint64_t i);
    /* [control] Checks the adapter's targets against the sites and makes it usable in requests; it
     * stays valid until detach() or destroy() has returned.  A wrong shape is LLM_E_CONFIG. */
    llm_status (*attach)(llm_model *model, const struct llm_adapter *adapter, llm_error *err);
    /* [control] No running request uses it. */
    void (*detach)(llm_model *model, const struct llm_adapter *adapter);
    /* [any] After load(): what the model computes on, "cpu" or "cuda:N" (its primary context),
     * which the configuration's "auto" leaves open; valid until destroy().  Adapters are opened for
     * it. NULL member or NULL answer: "cpu". */
    const char *(*device)(llm_model *model);
} llm_model_class;

/* llm_model_class.extension(): token ids, for clients that count or inspect them. */
#define LLM_EXT_TOKENIZER "airlock.tokenizer/1"
typedef struct llm_ext_tokenizer {
    uint32_t struct_size;
    uint32_t reserved;
    /* [worker] The ids of the request's prompt or conversation, tools included, as generate() would
     * compute them.  Writes the first capacity of them to ids (NULL when capacity is 0); *n is how
     * many there are. */
    llm_status (*tokenize)(llm_model *model, const llm_request *request, int64_t *ids,
                           uint64_t capacity, uint64_t *n, llm_error *err);
    /* [worker] The bytes of tokens, through sink->emit.  An unknown id is LLM_E_REQUEST. */
    llm_status (*detokenize)(llm_model *model, const int64_t *ids, uint64_t n, const llm_sink *sink,
                             llm_error *err);
} llm_ext_tokenizer;

/* llm_model_class.extension(): what happens inside, for the server's /metrics. */
#define LLM_EXT_METRICS "airlock.metrics/1"
enum { LLM_METRIC_COUNTER = 1, LLM_METRIC_GAUGE = 2, LLM_METRIC_HISTOGRAM = 3 };
typedef struct llm_metric {
    uint32_t struct_size;
    uint32_t kind;
    const char *name;        /* static, [a-z_]+, the unit last, eg: "kv_blocks", "step_seconds" */
    const char *help;        /* static, one line */
    double value;            /* a histogram: the sum of what was observed */
    uint64_t count;          /* a histogram: how often something was observed */
    const double *bounds;    /* a histogram: [n_bounds], ascending; +Inf is not among them */
    const uint64_t *buckets; /* a histogram: [n_bounds], how many were at most bounds[i] */
    uint64_t n_bounds;
} llm_metric;
typedef struct llm_ext_metrics {
    uint32_t struct_size;
    uint32_t reserved;
    /* [any] Calls report for each metric, always in the same order; *metric lives until report
     * returns. */
    void (*read)(llm_model *model, void (*report)(void *ctx, const llm_metric *metric), void *ctx);
} llm_ext_metrics;

#endif
