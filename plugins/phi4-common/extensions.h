/*
 * extensions.h - the optional tables of the Phi-4 plugins.
 */
#ifndef AIRLOCK_PHI4_EXTENSIONS_H
#define AIRLOCK_PHI4_EXTENSIONS_H

#include <airlock/llm_model.h>

/* llm_model_class.extension: LLM_EXT_TOKENIZER, LLM_EXT_METRICS; NULL: there is none of that name.
 * Any thread. */
const void *phi4_extension(const char *id);

#endif
