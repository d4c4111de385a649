/* audio_weights.c - finds the speech encoder's tensors by name and shape; see audio_weights.h. */
#include "audio_weights.h"

#include "engine/tensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 160, MAX_ENTRIES = 20, MEL_ROWS = 10 /* 80 filters after three halvings */ };

static const char base[] = "model.embed_tokens_extend.audio_embed.";

struct loader {
    const struct safetensors *st;
    const struct ops *ops;
    struct ops_device *dev;
    struct airlock_error *err;
};

/* A module with weight and bias: its two names (NULL: the same) and the shape of its weight. */
struct entry {
    const char *hub, *native;
    struct audio_linear *at;
    size_t n_dims;
    uint64_t shape[TENSOR_MAX_DIMS];
};

/* ---- the tables ------------------------------------------------------------------------------ */

/* Names are behind "encoder.encoders.N." */
static size_t block_entries(struct audio_block *b, const struct audio_config *c, struct entry *out)
{
    const uint64_t d = c->hidden_size, inner = c->inner_size;
    const struct entry table[] = {
        { "feed_forward_in.layer_norm", NULL, &b->in.norm, 1, { d } },
        { "feed_forward_in.net.0.linear",
          "feed_forward_in.gate_up_proj",
          &b->in.up,
          2,
          { 2 * inner, d } },
        { "feed_forward_in.net.2", "feed_forward_in.down_proj", &b->in.down, 2, { d, inner } },
        { "layer_norm_att", NULL, &b->norm_attention, 1, { d } },
        { "self_attn.linear_q", "self_attn.q_proj", &b->q, 2, { d, d } },
        { "self_attn.linear_k", "self_attn.k_proj", &b->k, 2, { d, d } },
        { "self_attn.linear_v", "self_attn.v_proj", &b->v, 2, { d, d } },
        { "self_attn.linear_out", "self_attn.o_proj", &b->o, 2, { d, d } },
        { "conv.layer_norm", NULL, &b->norm_conv, 1, { d } },
        { "conv.glu.ext_pw_conv_1d", NULL, &b->glu, 3, { 2 * d, d, 1 } },
        { "conv.dw_sep_conv_1d.dw_conv", NULL, &b->depthwise, 3, { d, 1, c->kernel_size } },
        { "conv.dw_sep_conv_1d.pw_conv", NULL, &b->pointwise, 3, { d, d, 1 } },
        { "conv.ext_pw_conv_1d", NULL, &b->out_conv, 3, { d, d, 1 } },
        { "feed_forward_out.layer_norm", NULL, &b->out.norm, 1, { d } },
        { "feed_forward_out.net.0.linear",
          "feed_forward_out.gate_up_proj",
          &b->out.up,
          2,
          { 2 * inner, d } },
        { "feed_forward_out.net.2", "feed_forward_out.down_proj", &b->out.down, 2, { d, inner } },
        { "layer_norm", NULL, &b->norm, 1, { d } },
    };
    _Static_assert(sizeof table / sizeof *table <= MAX_ENTRIES, "entries");
    memcpy(out, table, sizeof table);
    return sizeof table / sizeof *table;
}

/* Names are behind base. */
static size_t other_entries(struct audio_weights *w, const struct audio_config *c,
                            struct entry *out)
{
    const uint64_t d = c->hidden_size, channels = c->conv_channels, text = c->text_hidden;
    struct audio_projection *p = w->projection;
    const struct entry table[] = {
        { "encoder.embed.conv.0", NULL, &w->conv_first, 4, { channels, 1, 3, 3 } },
        { "encoder.embed.conv.2", NULL, &w->conv_depthwise[0], 4, { channels, 1, 3, 3 } },
        { "encoder.embed.conv.3", NULL, &w->conv_pointwise[0], 4, { channels, channels, 1, 1 } },
        { "encoder.embed.conv.5", NULL, &w->conv_depthwise[1], 4, { channels, 1, 3, 3 } },
        { "encoder.embed.conv.6", NULL, &w->conv_pointwise[1], 4, { channels, channels, 1, 1 } },
        { "encoder.embed.out", NULL, &w->embed_out, 2, { d, channels * MEL_ROWS } },
        { "audio_projection.speech.0", "up_proj_for_speech", &p[AUDIO_SPEECH].up, 2, { text, d } },
        { "audio_projection.speech.2",
          "down_proj_for_speech",
          &p[AUDIO_SPEECH].down,
          2,
          { text, text } },
        { "audio_projection.vision.0",
          "up_proj_for_vision_speech",
          &p[AUDIO_VISION].up,
          2,
          { text, d } },
        { "audio_projection.vision.2",
          "down_proj_for_vision_speech",
          &p[AUDIO_VISION].down,
          2,
          { text, text } },
    };
    _Static_assert(sizeof table / sizeof *table <= MAX_ENTRIES, "entries");
    memcpy(out, table, sizeof table);
    return sizeof table / sizeof *table;
}

/* ---- loading --------------------------------------------------------------------------------- */

static const struct safetensors_view *find(const struct loader *ld, const char *folder,
                                           const char *hub, const char *native, const char *part)
{
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%s%s%s%s", base, folder, hub, part);
    const struct safetensors_view *v = safetensors_find(ld->st, name);
    if (!v && native) {
        char other[MAX_NAME];
        snprintf(other, sizeof other, "%s%s%s%s", base, folder, native, part);
        v = safetensors_find(ld->st, other);
    }
    if (!v)
        airlock_error_set(ld->err, AIRLOCK_E_CONFIG, "tensor %s is missing", name);
    return v;
}

static int load_matrix(const struct loader *ld, struct ops_matrix *m, const char *folder,
                       const struct entry *e, const char *part, size_t n_dims)
{
    const struct safetensors_view *v = find(ld, folder, e->hub, e->native, part);
    return v ? tensor_load(m, v, n_dims, e->shape, ld->ops, ld->dev, ld->err) : -1;
}

static int load_entries(const struct loader *ld, const char *folder, const struct entry *e,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (load_matrix(ld, &e[i].at->w, folder, &e[i], ".weight", e[i].n_dims) < 0 ||
            load_matrix(ld, &e[i].at->b, folder, &e[i], ".bias", 1) < 0)
            return -1;
    return 0;
}

/* The numbers of a small tensor as float32 on the host, n of them in any shape. */
static int read_floats(const struct loader *ld, const char *folder, const char *name, float *out,
                       size_t n)
{
    enum ops_dtype dtype;
    const struct safetensors_view *v = find(ld, folder, name, NULL, "");
    if (!v || tensor_dtype(v, &dtype, ld->err) < 0)
        return -1;
    if (v->bytes != n * ops_dtype_size(dtype))
        return airlock_error_set(ld->err, AIRLOCK_E_CONFIG,
                                 "tensor %.120s: %llu bytes, expected %zu numbers", v->name,
                                 (unsigned long long)v->bytes, n);
    tensor_read(v, out, n);
    return 0;
}

/* (first half + b1) * silu(second half + b2): b1 and b2 join the bias of the product in front. */
static int load_glu_bias(const struct loader *ld, const char *folder, struct audio_block *b,
                         size_t d)
{
    const uint64_t shape[] = { 2 * d };
    float *extra = malloc(2 * d * sizeof *extra);
    b->glu_bias = malloc(2 * d * sizeof *b->glu_bias);
    int rc = -1;
    if (!extra || !b->glu_bias)
        airlock_error_set(ld->err, AIRLOCK_E_NO_MEMORY, "out of memory for a bias");
    else if (read_floats(ld, folder, "conv.glu.b1", extra, d) == 0 &&
             read_floats(ld, folder, "conv.glu.b2", extra + d, d) == 0 &&
             read_floats(ld, folder, "conv.glu.ext_pw_conv_1d.bias", b->glu_bias, 2 * d) == 0)
        rc = 0;
    if (rc == 0) {
        for (size_t i = 0; i < 2 * d; i++)
            b->glu_bias[i] += extra[i];
        const struct safetensors_view joined = { .name = "conv.glu",
                                                 .dtype = "F32",
                                                 .data = b->glu_bias,
                                                 .bytes = 2 * d * sizeof *b->glu_bias,
                                                 .n_dims = 1,
                                                 .shape = { 2 * d } };
        ld->ops->matrix_free(ld->dev, &b->glu.b);
        rc = tensor_load(&b->glu.b, &joined, 1, shape, ld->ops, ld->dev, ld->err);
    }
    free(extra);
    return rc;
}

static int load_blocks(const struct loader *ld, struct audio_weights *w,
                       const struct audio_config *c)
{
    for (size_t i = 0; i < w->n_blocks; i++) {
        char folder[MAX_NAME / 2];
        struct entry e[MAX_ENTRIES];
        struct audio_block *b = &w->blocks[i];
        snprintf(folder, sizeof folder, "encoder.encoders.%zu.", i);
        const size_t n = block_entries(b, c, e);
        if (load_entries(ld, folder, e, n) < 0 || load_glu_bias(ld, folder, b, c->hidden_size) < 0)
            return -1;
    }
    return 0;
}

/* [2 reach, heads], float32 on every device. */
static int load_relative(const struct loader *ld, struct audio_weights *w,
                         const struct audio_config *c)
{
    static const char name[] = "encoder.relative_attention_bias_layer.bias_values.weight";
    const struct safetensors_view *v = find(ld, "", name, NULL, "");
    if (!v)
        return -1;
    if (v->n_dims != 2 || v->shape[0] == 0 || v->shape[0] % 2 || v->shape[1] != c->num_heads ||
        (c->reach && v->shape[0] != 2 * c->reach))
        return airlock_error_set(ld->err, AIRLOCK_E_CONFIG,
                                 "tensor %s: its shape is not twice the distance %zu by %zu heads",
                                 v->name, c->reach, c->num_heads);
    const size_t n = (size_t)v->shape[0] * c->num_heads;
    float *host = malloc(n * sizeof *host);
    w->reach = (size_t)v->shape[0] / 2;
    w->relative = ld->ops->alloc(ld->dev, n * sizeof *host);
    int rc = -1;
    if (!host || !w->relative)
        airlock_error_set(ld->err, AIRLOCK_E_NO_MEMORY, "out of memory for the position bias");
    else if (read_floats(ld, "", name, host, n) == 0)
        rc = 0;
    if (rc == 0 && (ld->ops->upload(ld->dev, w->relative, host, n * sizeof *host) != OPS_OK ||
                    ld->ops->sync(ld->dev) != OPS_OK))
        rc = airlock_error_set(ld->err, AIRLOCK_E_DEVICE, "the position bias: the device is lost");
    free(host);
    return rc;
}

static int load_all(const struct loader *ld, struct audio_weights *w, const struct audio_config *c)
{
    struct entry e[MAX_ENTRIES];
    const size_t n = other_entries(w, c, e);
    if (!w->blocks)
        return airlock_error_set(ld->err, AIRLOCK_E_NO_MEMORY, "out of memory for %zu blocks",
                                 w->n_blocks);
    if (read_floats(ld, "", "encoder.encoder_embedding.global_mean", w->mean, LOG_MEL_BINS) < 0 ||
        read_floats(ld, "", "encoder.encoder_embedding.global_invstd", w->invstd, LOG_MEL_BINS) <
            0 ||
        load_entries(ld, "", e, n) < 0 || load_relative(ld, w, c) < 0)
        return -1;
    return load_blocks(ld, w, c);
}

int audio_weights_load(struct audio_weights *w, const struct audio_config *config,
                       const struct safetensors *st, const struct ops *ops, struct ops_device *dev,
                       struct airlock_error *err)
{
    const struct loader ld = { st, ops, dev, err };
    *w = (struct audio_weights){ .n_blocks = config->num_blocks };
    w->blocks = calloc(w->n_blocks, sizeof *w->blocks);
    if (load_all(&ld, w, config) == 0)
        return 0;
    audio_weights_free(w, ops, dev);
    return -1;
}

static void free_entries(const struct entry *e, size_t n, const struct ops *ops,
                         struct ops_device *dev)
{
    for (size_t i = 0; i < n; i++) {
        struct ops_matrix *both[] = { &e[i].at->w, &e[i].at->b };
        for (size_t k = 0; k < 2; k++)
            if (both[k]->data)
                ops->matrix_free(dev, both[k]);
    }
}

void audio_weights_free(struct audio_weights *w, const struct ops *ops, struct ops_device *dev)
{
    const struct audio_config any = { 0 };
    struct entry e[MAX_ENTRIES];
    free_entries(e, other_entries(w, &any, e), ops, dev);
    for (size_t i = 0; w->blocks && i < w->n_blocks; i++) {
        free_entries(e, block_entries(&w->blocks[i], &any, e), ops, dev);
        free(w->blocks[i].glu_bias);
    }
    free(w->blocks);
    ops->free(dev, w->relative);
    *w = (struct audio_weights){ 0 };
}
