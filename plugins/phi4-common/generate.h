/*
 * generate.h - one request of the ABI, from messages to emitted bytes.
 */
#ifndef AIRLOCK_PHI4_GENERATE_H
#define AIRLOCK_PHI4_GENERATE_H

#include "adapters.h"
#include "engine/chat_template.h"

#include <airlock/llm_model.h>

/* The pictures and sounds of one request; filled in by the calls below, but for who asks. */
struct generate_media {
    const llm_sink *sink; /* asked whether the answer is still wanted; NULL: it is */
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; 0: none */
    const void *adapter;  /* of the model itself, in front of the request's; NULL: none */
    const struct prefix_media *media; /* [n_media], for the prefix cache */
    size_t n_media;
    struct forward_embeds *embeds; /* [n_embeds]; data NULL: the scheduler has it */
    size_t n_embeds;
    void *own; /* NULL: the request has no media */
};

/* How a model takes pictures and sounds; called by generate()'s threads, several at once.  0, or -1
 * with err. */
struct generate_media_calls {
    /* Looks at the files, compares them with the placeholders of messages and gives those their
     * inserts. */
    int (*begin)(void *ctx, const llm_request *request, struct chat_message *messages, size_t n,
                 struct generate_media *media, struct airlock_error *err);
    /* Computes the embeddings; the prompt has been encoded and fits. */
    int (*embed)(void *ctx, struct generate_media *media, struct airlock_error *err);
    void (*end)(void *ctx, struct generate_media *media); /* also of a zeroed one */
};

struct generate_context {
    struct engine *engine;
    struct adapters *adapters;
    bool original_prompt; /* control tokens in content are recognised, as the original does */
    const struct generate_media_calls *media; /* NULL: it takes neither */
    void *media_ctx;
};

/* The ids of the request's conversation or prompt, added to out, whose memory is the caller's to
 * free.  0, or -1 with err: AIRLOCK_E_REQUEST when there is nothing to encode,
 * AIRLOCK_E_UNSUPPORTED when it has what this model does not take. */
int generate_encode(const struct generate_context *g, const llm_request *request,
                    struct token_list *out, struct airlock_error *err);

/* llm_model_class.generate: blocks, emits from the caller's thread.  0, or -1 with err; stats are
 * filled in either case. */
int generate_run(const struct generate_context *g, const llm_request *request, const llm_sink *sink,
                 llm_stats *stats, struct airlock_error *err);

#endif
