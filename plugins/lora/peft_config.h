/*
 * peft_config.h - adapter_config.json of a PEFT LoRA adapter: which modules it changes, with what
 * rank and scale.
 *
 * Names are matched as PEFT matches them (tuners_utils.check_target_module_exists and
 * other.get_pattern_key).  What cannot be applied as y += scale B (A x) is refused by a sentence
 * that names the key.
 */
#ifndef AIRLOCK_LORA_PEFT_CONFIG_H
#define AIRLOCK_LORA_PEFT_CONFIG_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct peft_config; /* one thread at a time */
struct json_object;

struct peft_module {
    bool targeted; /* false: the configuration leaves this module alone */
    size_t rank;
    double scale; /* lora_alpha / rank, or lora_alpha / sqrt(rank) with use_rslora */
};

/* Reads DIR/adapter_config.json.  NULL: err (AIRLOCK_E_CONFIG) says why. */
struct peft_config *peft_config_read(const char *dir, struct airlock_error *err);
/* The same of a parsed file. */
struct peft_config *peft_config_parse(struct json_object *o, struct airlock_error *err);
void peft_config_free(struct peft_config *config); /* NULL allowed */

/* base_model_name_or_path, or NULL. */
const char *peft_config_base_model(const struct peft_config *config);

/* False: target_modules is left out, so that the file's tensors say what is changed. */
bool peft_config_has_targets(const struct peft_config *config);

/* What the configuration says of a module, e.g. "model.layers.0.mlp.down_proj". */
int peft_config_module(const struct peft_config *config, const char *module,
                       struct peft_module *out, struct airlock_error *err);

#endif
