/*
 * extensions.h - the optional tables of the phi4-mini plugin, and what they need of it.
 */
#ifndef AIRLOCK_PHI4_MINI_EXTENSIONS_H
#define AIRLOCK_PHI4_MINI_EXTENSIONS_H

#include "generate.h"

/* llm_model_class.extension: LLM_EXT_TOKENIZER, LLM_EXT_METRICS; NULL: there is none of that name.
 * Any thread. */
const void *phi4_mini_extension(const char *id);

/* ---- plugin.c ---- */

/* What generate() works with.  0, or -1 with err: load() has not succeeded. */
int phi4_mini_context(llm_model *m, struct generate_context *out, struct airlock_error *err);
/* Tells a failure as the ABI does; out: NULL allowed.  The status to return. */
llm_status phi4_mini_failed(llm_error *out, const struct airlock_error *err);

#endif
