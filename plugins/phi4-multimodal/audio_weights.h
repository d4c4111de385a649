/*
 * audio_weights.h - the speech encoder's tensors under the Hub's names or transformers' own, placed
 * on a device.
 *
 * Shapes are checked against the configuration before any tensor is used; an error names tensor,
 * shape found and shape wanted.  Names are below model.embed_tokens_extend.audio_embed.
 */
#ifndef AIRLOCK_AUDIO_WEIGHTS_H
#define AIRLOCK_AUDIO_WEIGHTS_H

#include "audio_config.h"

#include "engine/safetensors.h"
#include "log_mel.h"
#include "ops/ops.h"

/* What a module has: y = x w^T + b, or the scale and shift of a LayerNorm. */
struct audio_linear {
    struct ops_matrix w, b; /* [out, in] or [1, n]; [1, out] */
};

struct audio_feed_forward {
    struct audio_linear norm, up, down; /* [2 inner, hidden] value first, gate second; [hidden,
                                           inner] */
};

struct audio_block {
    struct audio_feed_forward in, out;
    struct audio_linear norm_attention, q, k, v, o; /* [hidden, hidden] */
    struct audio_linear norm_conv;
    struct audio_linear glu;       /* [2 hidden, hidden]; its bias has b1 and b2 added */
    struct audio_linear depthwise; /* [hidden, kernel] */
    struct audio_linear pointwise; /* [hidden, hidden] */
    struct audio_linear out_conv;  /* [hidden, hidden] */
    struct audio_linear norm;
    float *glu_bias; /* [2 hidden] owned: what glu.b points to */
};

struct audio_projection {
    struct audio_linear up, down; /* [text_hidden, hidden], [text_hidden, text_hidden] */
};

/* The reference has two: one for sound alone, one for sound beside pictures. */
enum audio_mode { AUDIO_SPEECH, AUDIO_VISION, AUDIO_MODES };

struct audio_weights {
    float mean[LOG_MEL_BINS], invstd[LOG_MEL_BINS]; /* host: of the features */
    struct audio_linear conv_first;                 /* [conv_channels, 9] */
    struct audio_linear conv_depthwise[2];          /* [conv_channels, 9] */
    struct audio_linear conv_pointwise[2];          /* [conv_channels, conv_channels] */
    struct audio_linear embed_out;                  /* [hidden, 10 conv_channels], channel-major */
    float *relative;                                /* device, float32 [2 reach, num_heads] */
    size_t reach;
    struct audio_block *blocks; /* [n_blocks] */
    size_t n_blocks;
    struct audio_projection projection[AUDIO_MODES];
};

/* st must stay open until audio_weights_free().  0, or -1 with err and nothing to free. */
int audio_weights_load(struct audio_weights *w, const struct audio_config *config,
                       const struct safetensors *st, const struct ops *ops, struct ops_device *dev,
                       struct airlock_error *err);
void audio_weights_free(struct audio_weights *w, const struct ops *ops, struct ops_device *dev);

#endif
