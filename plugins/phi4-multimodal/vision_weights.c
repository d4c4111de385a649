/* vision_weights.c - finds the vision tower's tensors by name and shape; see vision_weights.h. */
#include "vision_weights.h"

#include "engine/tensor.h"
#include "image_crops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 160, MAX_LAYERS = 1000 };

static const char base[] = "model.embed_tokens_extend.image_embed.";

struct loader {
    const struct safetensors *st;
    const struct ops *ops;
    struct ops_device *dev;
    struct airlock_error *err;
};

/* base + folder + name + part, or with the other name (NULL: there is none). */
static const struct safetensors_view *look(const struct loader *ld, const char *folder,
                                           const char *hub, const char *native, const char *part)
{
    char name[MAX_NAME], other[MAX_NAME];
    snprintf(name, sizeof name, "%s%s%s%s", base, folder, hub, part);
    const struct safetensors_view *v = safetensors_find(ld->st, name);
    if (!v && native) {
        snprintf(other, sizeof other, "%s%s%s%s", base, folder, native, part);
        v = safetensors_find(ld->st, other);
    }
    if (!v)
        airlock_error_set(ld->err, AIRLOCK_E_CONFIG, "tensor %s is missing", name);
    return v;
}

static int load(const struct loader *ld, struct ops_matrix *m, const struct safetensors_view *v,
                size_t n_dims, const uint64_t *shape)
{
    return v ? tensor_load(m, v, n_dims, shape, ld->ops, ld->dev, ld->err) : -1;
}

/* A module with weight [rows, cols] (cols 0: a vector) and bias [rows]. */
static int load_linear(const struct loader *ld, struct vision_linear *m, const char *folder,
                       const char *hub, const char *native, size_t rows, size_t cols)
{
    const uint64_t shape[] = { rows, cols };
    if (load(ld, &m->w, look(ld, folder, hub, native, ".weight"), cols ? 2 : 1, shape) ||
        load(ld, &m->b, look(ld, folder, hub, native, ".bias"), 1, shape))
        return -1;
    return 0;
}

static int load_layer(const struct loader *ld, struct vision_layer *l, size_t i, size_t hidden,
                      size_t inner)
{
    char folder[MAX_NAME / 2];
    snprintf(folder, sizeof folder, "img_processor.encoder.layers.%zu.", i);
    const struct {
        const char *name;
        struct vision_linear *at;
        size_t rows, cols;
    } table[] = {
        { "layer_norm1", &l->norm1, hidden, 0 },
        { "self_attn.q_proj", &l->q, hidden, hidden },
        { "self_attn.k_proj", &l->k, hidden, hidden },
        { "self_attn.v_proj", &l->v, hidden, hidden },
        { "self_attn.out_proj", &l->out, hidden, hidden },
        { "layer_norm2", &l->norm2, hidden, 0 },
        { "mlp.fc1", &l->fc1, inner, hidden },
        { "mlp.fc2", &l->fc2, hidden, inner },
    };
    for (size_t k = 0; k < sizeof table / sizeof *table; k++)
        if (load_linear(ld, table[k].at, folder, table[k].name, NULL, table[k].rows, table[k].cols))
            return -1;
    return 0;
}

/* A separator of shape [1, 1, hidden] or [1, 1, 1, hidden], as floats on the host. */
static float *read_separator(const struct loader *ld, const char *hub, const char *native,
                             size_t hidden)
{
    enum ops_dtype dtype;
    const struct safetensors_view *v = look(ld, "", hub, native, "");
    if (!v || tensor_dtype(v, &dtype, ld->err) < 0)
        return NULL;
    if (v->bytes != hidden * ops_dtype_size(dtype)) {
        airlock_error_set(ld->err, AIRLOCK_E_CONFIG, "tensor %s: it must hold %zu numbers", v->name,
                          hidden);
        return NULL;
    }
    float *out = malloc(hidden * sizeof *out);
    if (!out) {
        airlock_error_set(ld->err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return NULL;
    }
    tensor_read(v, out, hidden);
    return out;
}

/* How many layers there are, by their names. */
static size_t count_layers(const struct loader *ld)
{
    char name[MAX_NAME];
    size_t n = 0;
    for (; n < MAX_LAYERS; n++) {
        snprintf(name, sizeof name, "%simg_processor.encoder.layers.%zu.layer_norm1.weight", base,
                 n);
        if (!safetensors_find(ld->st, name))
            break;
    }
    return n;
}

/* Widths and layers as the tensors have them. */
static int measure(const struct loader *ld, struct vision_weights *w, const struct vision_config *c)
{
    const struct safetensors_view *patch =
        look(ld, "img_processor.embeddings.patch_embedding", "", NULL, ".weight");
    const struct safetensors_view *fc1 =
        patch ? look(ld, "img_processor.encoder.layers.0.mlp.fc1", "", NULL, ".weight") : NULL;
    if (!patch || !fc1)
        return -1;
    const size_t layers = count_layers(ld);
    w->hidden = patch->n_dims ? (size_t)patch->shape[0] : 0;
    w->inner = fc1->n_dims ? (size_t)fc1->shape[0] : 0;
    if (w->hidden == 0 || w->hidden % c->num_heads || w->hidden / c->num_heads > OPS_FULL_MAX_DIM ||
        w->inner == 0)
        return airlock_error_set(ld->err, AIRLOCK_E_CONFIG,
                                 "tensor %s: %zu rows cannot be cut into %zu heads of at most %d",
                                 patch->name, w->hidden, c->num_heads, OPS_FULL_MAX_DIM);
    const size_t skipped = (size_t)(-c->feature_layer) - 1;
    if (skipped >= layers)
        return airlock_error_set(ld->err, AIRLOCK_E_CONFIG,
                                 "the vision tower has %zu layers; feature_layer %d needs more",
                                 layers, c->feature_layer);
    w->n_layers = layers - skipped;
    return 0;
}

static int load_all(const struct loader *ld, struct vision_weights *w,
                    const struct vision_config *c)
{
    if (measure(ld, w, c))
        return -1;
    const uint64_t patch[] = { w->hidden, 3, IMAGE_PATCH, IMAGE_PATCH };
    const uint64_t position[] = { IMAGE_PATCHES * IMAGE_PATCHES, w->hidden };
    static const char embeddings[] = "img_processor.embeddings.";
    w->layers = calloc(w->n_layers, sizeof *w->layers);
    if (!w->layers)
        return airlock_error_set(ld->err, AIRLOCK_E_NO_MEMORY, "out of memory");
    if (load(ld, &w->patch.w, look(ld, embeddings, "patch_embedding", NULL, ".weight"), 4, patch) ||
        load(ld, &w->patch.b, look(ld, embeddings, "patch_embedding", NULL, ".bias"), 1, patch) ||
        load(ld, &w->position, look(ld, embeddings, "position_embedding", NULL, ".weight"), 2,
             position))
        return -1;
    for (size_t i = 0; i < w->n_layers; i++)
        if (load_layer(ld, &w->layers[i], i, w->hidden, w->inner))
            return -1;
    w->row_end = read_separator(ld, "sub_GN", "sub_img_feature_extensor", w->hidden);
    w->between =
        w->row_end ? read_separator(ld, "glb_GN", "global_img_feature_extensor", w->hidden) : NULL;
    if (!w->between || load_linear(ld, &w->up, "", "img_projection.0", "img_projection_up",
                                   c->text_hidden, w->hidden))
        return -1;
    return load_linear(ld, &w->down, "", "img_projection.2", "img_projection_down", c->text_hidden,
                       c->text_hidden);
}

int vision_weights_load(struct vision_weights *w, const struct vision_config *config,
                        const struct safetensors *st, const struct ops *ops, struct ops_device *dev,
                        struct airlock_error *err)
{
    const struct loader ld = { st, ops, dev, err };
    *w = (struct vision_weights){ 0 };
    if (load_all(&ld, w, config) == 0)
        return 0;
    vision_weights_free(w, ops, dev);
    return -1;
}

static void drop(struct vision_linear *m, const struct ops *ops, struct ops_device *dev)
{
    if (m->w.data)
        ops->matrix_free(dev, &m->w);
    if (m->b.data)
        ops->matrix_free(dev, &m->b);
}

void vision_weights_free(struct vision_weights *w, const struct ops *ops, struct ops_device *dev)
{
    for (size_t i = 0; w->layers && i < w->n_layers; i++) {
        struct vision_layer *l = &w->layers[i];
        struct vision_linear *all[] = { &l->norm1, &l->q,     &l->k,   &l->v,
                                        &l->out,   &l->norm2, &l->fc1, &l->fc2 };
        for (size_t k = 0; k < sizeof all / sizeof *all; k++)
            drop(all[k], ops, dev);
    }
    drop(&w->patch, ops, dev);
    drop(&w->up, ops, dev);
    drop(&w->down, ops, dev);
    if (w->position.data)
        ops->matrix_free(dev, &w->position);
    free(w->layers);
    free(w->row_end);
    free(w->between);
    *w = (struct vision_weights){ 0 };
}
