/*
 * generate.h - one request of the ABI, from messages to emitted bytes.
 */
#ifndef AIRLOCK_PHI4_MINI_GENERATE_H
#define AIRLOCK_PHI4_MINI_GENERATE_H

#include "adapters.h"

#include <airlock/llm_model.h>

struct generate_context {
    struct engine *engine;
    struct adapters *adapters;
    bool original_prompt; /* control tokens in content are recognised, as the original does */
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
