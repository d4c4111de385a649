/*
 * builtin_adapters.h - the checkpoint's own LoRA adapters: "vision" and "speech", applied on every
 * row of a request that has pictures or sounds, in front of the adapters of users.
 *
 * The Hub's layout has them among the weights; transformers' own has them as PEFT adapters in the
 * folders vision-lora and speech-lora beside these.  Where both are, the weights' are taken.
 *
 * They are not merged into the weights, so that one copy of the text model serves all modes in one
 * batch: y = W x + scale B (A x), through ops.lora like every other adapter.
 */
#ifndef AIRLOCK_BUILTIN_ADAPTERS_H
#define AIRLOCK_BUILTIN_ADAPTERS_H

#include "engine/engine.h"
#include "lora/peft_adapter.h"

enum builtin_kind { BUILTIN_VISION, BUILTIN_SPEECH, BUILTIN_KINDS };

struct builtin_site {
    struct ops_matrix a, b; /* [rank, in], [out, rank]; a.data NULL: leaves the site alone */
    float scale;            /* lora_alpha / r */
};

struct builtin_adapter {
    struct builtin_site *sites; /* [n_sites]; NULL: there is no such adapter */
    struct peft_adapter folder; /* whose memory the sites use; n 0: not from a folder */
};

struct builtin_adapters {
    struct builtin_adapter of[BUILTIN_KINDS]; /* their addresses are what the engine carries */
    size_t n_sites;
    const struct ops *ops;
    struct ops_device *dev;         /* the engine's */
    const struct linear_hook *next; /* gets the segments of all other adapters */
    struct linear_hook hook;        /* for the engine */
    struct linear_segment others[ENGINE_MAX_BATCH];
    struct ops_lora_segment segments[ENGINE_MAX_BATCH];
};

/* Before the engine is opened: hook can be handed to it. */
void builtin_adapters_init(struct builtin_adapters *b, const struct linear_hook *next);

/* Where the adapters are looked for. */
struct json_object;
struct builtin_source {
    struct engine *engine;
    struct json_object *config;   /* config.json, whose vision_lora and speech_lora give scales */
    const char *dir;              /* of the checkpoint */
    const llm_site *const *sites; /* [n_sites]: the engine's linear sites, in their order */
    size_t n_sites;
};

/* 0, or -1 with err, which names the tensor, or the folder and what is wrong in it. */
int builtin_adapters_load(struct builtin_adapters *b, const struct builtin_source *from,
                          const struct ops *ops, struct airlock_error *err);
void builtin_adapters_free(struct builtin_adapters *b); /* the engine is still open */

#endif
