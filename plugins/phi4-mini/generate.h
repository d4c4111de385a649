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

/* llm_model_class.generate: blocks, emits from the caller's thread.  0, or -1 with err; stats are
 * filled in either case. */
int generate_run(const struct generate_context *g, const llm_request *request, const llm_sink *sink,
                 llm_stats *stats, struct airlock_error *err);

#endif
