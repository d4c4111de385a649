/*
 * phi4_config.h - config.json and generation_config.json of a Phi-4 checkpoint, under their own
 * names.
 *
 * Refuses what the engine does not implement, naming the key and its value; keys that change
 * nothing at inference are passed over.  No code of a checkpoint is ever run: auto_map only sets
 * ignored_code, for the plugin to say so in its log.
 */
#ifndef AIRLOCK_PHI4_CONFIG_H
#define AIRLOCK_PHI4_CONFIG_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PHI4_MAX_EOS = 16, PHI4_MAX_ROTARY_PAIRS = 128 };

struct phi4_config {
    char model_type[32]; /* "phi3", "phi4mm" or "phi4_multimodal" */
    size_t hidden_size, intermediate_size, num_hidden_layers;
    size_t num_attention_heads, num_key_value_heads, head_dim;
    size_t rotary_dim; /* head_dim * partial_rotary_factor */
    size_t vocab_size;
    float rms_norm_eps;
    double rope_theta;
    bool longrope; /* false: plain RoPE, factors all 1, attention_factor 1 */
    float short_factor[PHI4_MAX_ROTARY_PAIRS], long_factor[PHI4_MAX_ROTARY_PAIRS];
    double attention_factor;                 /* multiplies cos and sin */
    size_t original_max_position_embeddings; /* a longer sequence uses long_factor throughout */
    size_t max_position_embeddings;
    size_t sliding_window; /* 0: none; else at least max_position_embeddings: it never bites */
    bool tie_word_embeddings;
    bool ignored_code; /* the checkpoint brings Python code (auto_map), which is not run */

    /* generation_config.json over config.json; ids beyond the vocabulary are left out */
    int32_t eos_token_id[PHI4_MAX_EOS];
    size_t n_eos;
    int32_t bos_token_id, pad_token_id; /* -1: none */
    /* Defaults of sampling; a value that the file does not give is Hugging Face's own default. */
    bool do_sample;
    double temperature, top_p, repetition_penalty;
    int64_t top_k;
    int64_t max_new_tokens; /* 0: not given */
};

/* Reads DIR/config.json and, when it exists, DIR/generation_config.json. */
int phi4_config_read(const char *dir, struct phi4_config *out, struct airlock_error *err);

struct json_object;
/* The same of parsed files; generation may be NULL.  [any thread] */
int phi4_config_parse(struct json_object *config, struct json_object *generation,
                      struct phi4_config *out, struct airlock_error *err);

/* Turns model_path of the configuration into an absolute directory: a directory as it is, or a Hub
 * id "org/name" (optionally "@revision") found in the local hub cache (HF_HUB_CACHE,
 * HUGGINGFACE_HUB_CACHE, HF_HOME/hub,
 * ~/.cache/huggingface/hub), by refs/main or the given revision.  Nothing is ever downloaded.  out:
 * [size]. */
int phi4_model_dir(const char *model_path, char *out, size_t size, struct airlock_error *err);

#endif
