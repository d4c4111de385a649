/* vision_encoder.c - the vision tower as a list of ops, with the shapes beside each line; see
 * vision_encoder.h. */
#include "vision_encoder.h"

#include "engine/ops_error.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    PATCHES = IMAGE_PATCHES * IMAGE_PATCHES, /* rows of a crop */
    PATCH_FLOATS = 3 * IMAGE_PATCH * IMAGE_PATCH,
    SIDE = IMAGE_PATCHES / 2, /* features on the side of a crop */
    FEATURES = SIDE * SIDE,
    PROJECT_ROWS = 256 /* projected at a time */
};

struct vision_encoder {
    const struct vision_config *config;
    const struct vision_weights *w;
    const struct ops *ops;
    struct ops_device *dev;
    size_t act; /* bytes of a number on the device */

    /* device */
    void *x, *y, *q, *k, *v;  /* [PATCHES, hidden] */
    void *mid;                /* [PATCHES, inner]; also the patches [PATCHES, PATCH_FLOATS] */
    void *rows, *projected;   /* [PROJECT_ROWS, hidden], [PROJECT_ROWS, text_hidden] */
    int32_t *ids, *first_row; /* [PATCHES]; [2] */
    uint8_t *seen;            /* [PATCHES] */

    /* host */
    float *crop, *numbers; /* [IMAGE_CROP_FLOATS]; [PATCHES, hidden or PATCH_FLOATS] */
    void *staged;          /* [PATCHES, the wider] act: on its way */
    int32_t host_ids[PATCHES];
    uint8_t host_seen[PATCHES];

    struct vision_job *job; /* that the step works on */
};

/* Runs an op or returns from the function with its failure. */
#define OP(name_, ...)                                                                             \
    do {                                                                                           \
        enum ops_status status_ = e->ops->name_(e->dev, __VA_ARGS__);                              \
        if (status_ != OPS_OK)                                                                     \
            return ops_error(status_, "vision", #name_, err);                                      \
    } while (0)

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- numbers on their way -------------------------------------------------------------------- */

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16); /* nearest, ties to even */
}

static float from_bf16(uint16_t h)
{
    const uint32_t bits = (uint32_t)h << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* n floats to the device, as act; staged may be used again when this returns. */
static int send(struct vision_encoder *e, void *to, const float *from, size_t n,
                struct airlock_error *err)
{
    if (e->ops->act == OPS_F32)
        memcpy(e->staged, from, n * sizeof *from);
    else
        for (size_t i = 0; i < n; i++)
            ((uint16_t *)e->staged)[i] = to_bf16(from[i]);
    OP(upload, to, e->staged, n * e->act);
    const enum ops_status status = e->ops->sync(e->dev);
    return status == OPS_OK ? 0 : ops_error(status, "vision", "sync", err);
}

static int fetch(struct vision_encoder *e, float *to, const void *from, size_t n,
                 struct airlock_error *err)
{
    OP(download, e->staged, from, n * e->act);
    if (e->ops->act == OPS_F32)
        memcpy(to, e->staged, n * sizeof *to);
    else
        for (size_t i = 0; i < n; i++)
            to[i] = from_bf16(((const uint16_t *)e->staged)[i]);
    return 0;
}

/* ---- a crop through the tower ---------------------------------------------------------------- */

/* y = x w^T + b */
static int linear(struct vision_encoder *e, void *y, const void *x, const struct vision_linear *m,
                  size_t rows, struct airlock_error *err)
{
    OP(matmul_rounded, y, x, &m->w, rows);
    OP(add_bias, y, &m->b, rows, m->w.rows);
    return 0;
}

/* Patch r of [3, 448, 448] as the convolution's weights are ordered: channel, row, column. */
static void cut_patches(float *patches, const float *crop)
{
    for (size_t r = 0; r < PATCHES; r++) {
        const size_t y0 = r / IMAGE_PATCHES * IMAGE_PATCH, x0 = r % IMAGE_PATCHES * IMAGE_PATCH;
        for (size_t c = 0; c < 3; c++)
            for (size_t y = 0; y < IMAGE_PATCH; y++, patches += IMAGE_PATCH)
                memcpy(patches, crop + (c * IMAGE_CROP + y0 + y) * IMAGE_CROP + x0,
                       IMAGE_PATCH * sizeof *patches);
    }
}

/* The valid rows and columns are stretched over the 32 x 32 places that the tower knows: patch r of
 * n gets place floor(32 r / n).  Padding gets place 0 and is seen by none. */
static void place_patches(struct vision_encoder *e, size_t rows, size_t cols)
{
    for (size_t r = 0; r < PATCHES; r++) {
        const size_t y = r / IMAGE_PATCHES, x = r % IMAGE_PATCHES;
        const int valid = y < rows && x < cols;
        e->host_seen[r] = (uint8_t)valid;
        e->host_ids[r] =
            valid ? (int32_t)(y * IMAGE_PATCHES / rows * IMAGE_PATCHES + x * IMAGE_PATCHES / cols)
                  : 0;
    }
}

static int embed(struct vision_encoder *e, struct airlock_error *err)
{
    const size_t hidden = e->w->hidden;
    size_t rows, cols;
    image_crop(e->job->canvas, e->job->next_crop, e->crop);
    cut_patches(e->numbers, e->crop);
    image_crop_valid(&e->job->canvas->plan, e->job->next_crop, &rows, &cols);
    place_patches(e, rows, cols);
    OP(upload, e->ids, e->host_ids, sizeof e->host_ids);
    OP(upload, e->seen, e->host_seen, sizeof e->host_seen);
    if (send(e, e->mid, e->numbers, (size_t)PATCHES * PATCH_FLOATS, err) ||
        linear(e, e->x, e->mid, &e->w->patch, PATCHES, err)) /* [PATCHES, hidden] */
        return -1;
    OP(embedding, e->y, &e->w->position, e->ids, PATCHES);
    OP(add, e->x, e->y, PATCHES * hidden, 1.0f);
    return 0;
}

static int attend(struct vision_encoder *e, const struct vision_layer *l, struct airlock_error *err)
{
    const size_t hidden = e->w->hidden, heads = e->config->num_heads;
    OP(layernorm, e->y, e->x, &l->norm1.w, &l->norm1.b, PATCHES, hidden, e->config->layer_norm_eps);
    if (linear(e, e->q, e->y, &l->q, PATCHES, err) || linear(e, e->k, e->y, &l->k, PATCHES, err) ||
        linear(e, e->v, e->y, &l->v, PATCHES, err))
        return -1;
    const struct ops_full a = { .n_heads = heads,
                                .head_dim = hidden / heads,
                                .q = e->q,
                                .k = e->k,
                                .v = e->v,
                                .o = e->y,
                                .q_stride = hidden,
                                .k_stride = hidden,
                                .v_stride = hidden,
                                .o_stride = hidden,
                                .n_segments = 1,
                                .first_row = e->first_row,
                                .rows = PATCHES,
                                .max_rows = PATCHES,
                                .key_seen = e->seen,
                                .scale = 1.0f / sqrtf((float)(hidden / heads)),
                                .rounded = l->q.w.dtype == OPS_BF16 };
    OP(attention_full, &a);
    if (linear(e, e->q, e->y, &l->out, PATCHES, err))
        return -1;
    OP(add, e->x, e->q, PATCHES * hidden, 1.0f);
    return 0;
}

static int feed_forward(struct vision_encoder *e, const struct vision_layer *l,
                        struct airlock_error *err)
{
    const size_t hidden = e->w->hidden;
    OP(layernorm, e->y, e->x, &l->norm2.w, &l->norm2.b, PATCHES, hidden, e->config->layer_norm_eps);
    if (linear(e, e->mid, e->y, &l->fc1, PATCHES, err)) /* [PATCHES, inner] */
        return -1;
    OP(gelu, e->mid, e->mid, PATCHES * e->w->inner, OPS_GELU_TANH);
    if (linear(e, e->y, e->mid, &l->fc2, PATCHES, err))
        return -1;
    OP(add, e->x, e->y, PATCHES * hidden, 1.0f);
    return 0;
}

/* features of the crop = the mean of each 2 x 2 patches, padding included */
static int pool(struct vision_encoder *e, struct airlock_error *err)
{
    const size_t hidden = e->w->hidden;
    float *out = e->job->features + e->job->next_crop * FEATURES * hidden;
    if (fetch(e, e->numbers, e->x, PATCHES * hidden, err))
        return -1;
    for (size_t f = 0; f < FEATURES; f++, out += hidden) {
        const size_t patch = f / SIDE * 2 * IMAGE_PATCHES + f % SIDE * 2;
        const float *a = e->numbers + patch * hidden, *b = a + hidden;
        const float *c = a + IMAGE_PATCHES * hidden, *d = c + hidden;
        for (size_t i = 0; i < hidden; i++)
            out[i] = (a[i] + b[i] + c[i] + d[i]) / 4.0f;
    }
    return 0;
}

/* The features of crop 0 are those of the next one as well. */
static void repeat_features(struct vision_encoder *e)
{
    const size_t n = FEATURES * e->w->hidden;
    float *features = e->job->features;
    memcpy(features + e->job->next_crop * n, features, n * sizeof *features);
    e->job->next_crop++;
}

/* ---- features to embeddings ------------------------------------------------------------------ */

/* Row of the picture's sequence: tiles, glb_GN, crop 0. */
static const float *row_of(const struct vision_encoder *e, size_t token)
{
    const struct image_plan *p = &e->job->canvas->plan;
    const size_t hidden = e->w->hidden, width = p->used_cols + 1, tiles = p->used_rows * width;
    size_t crop = 0, row, col;
    if (token == tiles)
        return e->w->between;
    if (token > tiles) {
        row = (token - tiles - 1) / (SIDE + 1);
        col = (token - tiles - 1) % (SIDE + 1);
        if (col == SIDE)
            return e->w->row_end;
    } else {
        row = token / width;
        col = token % width;
        if (col == p->used_cols)
            return e->w->row_end;
        crop = 1 + row / SIDE * p->cols + col / SIDE;
    }
    return e->job->features + ((crop * SIDE + row % SIDE) * SIDE + col % SIDE) * hidden;
}

/* out = down(gelu(up(rows))) for the next rows */
static int project(struct vision_encoder *e, struct airlock_error *err)
{
    const size_t hidden = e->w->hidden, text = e->config->text_hidden;
    const size_t left = e->job->canvas->plan.tokens - e->job->next_token;
    const size_t n = left < PROJECT_ROWS ? left : PROJECT_ROWS;
    for (size_t i = 0; i < n; i++)
        memcpy(e->numbers + i * hidden, row_of(e, e->job->next_token + i), hidden * sizeof(float));
    if (send(e, e->rows, e->numbers, n * hidden, err) ||
        linear(e, e->projected, e->rows, &e->w->up, n, err)) /* [n, text_hidden] */
        return -1;
    OP(gelu, e->projected, e->projected, n * text, OPS_GELU_ERF);
    void *out = (char *)e->job->out + e->job->next_token * text * e->act;
    if (linear(e, out, e->projected, &e->w->down, n, err))
        return -1;
    e->job->next_token += n;
    return 0;
}

/* ---- the steps ------------------------------------------------------------------------------- */

int vision_encoder_step(struct vision_encoder *e, struct vision_job *job, struct airlock_error *err)
{
    e->job = job;
    if (job->done)
        return 0;
    if (job->next_crop == image_n_crops(&job->canvas->plan)) {
        if (project(e, err))
            return -1;
        job->done = job->next_token == job->canvas->plan.tokens;
        return !job->done;
    }
    if (image_crop_repeats(&job->canvas->plan, job->next_crop)) {
        repeat_features(e);
        return 1;
    }
    const struct vision_layer *l = &e->w->layers[job->next_half / 2];
    if (job->next_half == 0 && embed(e, err))
        return -1;
    if (job->next_half % 2 == 0 ? attend(e, l, err) : feed_forward(e, l, err))
        return -1;
    if (++job->next_half < 2 * e->w->n_layers)
        return 1;
    if (pool(e, err))
        return -1;
    job->next_half = 0;
    job->next_crop++;
    return 1;
}

int vision_job_begin(struct vision_job *job, const struct vision_encoder *e,
                     const struct image_canvas *canvas, void *out, struct airlock_error *err)
{
    *job = (struct vision_job){ .canvas = canvas, .out = out };
    job->features = malloc(image_n_crops(&canvas->plan) * FEATURES * e->w->hidden * sizeof(float));
    return job->features
               ? 0
               : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a picture");
}

void vision_job_end(struct vision_job *job)
{
    free(job->features);
    *job = (struct vision_job){ .done = true };
}

/* ---- set up ---------------------------------------------------------------------------------- */

static int allocate(struct vision_encoder *e, struct airlock_error *err)
{
    const size_t hidden = e->w->hidden, text = e->config->text_hidden;
    const size_t wide = max_size(hidden, PATCH_FLOATS), bytes = PATCHES * hidden * e->act;
    const int32_t first_row[] = { 0, PATCHES };
    const struct {
        void **at;
        size_t bytes;
    } wanted[] = {
        { &e->x, bytes },
        { &e->y, bytes },
        { &e->q, bytes },
        { &e->k, bytes },
        { &e->v, bytes },
        { &e->mid, PATCHES * max_size(e->w->inner, PATCH_FLOATS) * e->act },
        { &e->rows, PROJECT_ROWS * hidden * e->act },
        { &e->projected, PROJECT_ROWS * text * e->act },
        { (void **)&e->ids, sizeof e->host_ids },
        { (void **)&e->first_row, sizeof first_row },
        { (void **)&e->seen, sizeof e->host_seen },
    };
    e->crop = malloc(IMAGE_CROP_FLOATS * sizeof *e->crop);
    e->numbers = malloc(PATCHES * wide * sizeof *e->numbers);
    e->staged = malloc(PATCHES * wide * sizeof(float));
    bool ok = e->crop && e->numbers && e->staged;
    for (size_t i = 0; ok && i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].at = e->ops->alloc(e->dev, wanted[i].bytes);
        ok = *wanted[i].at != NULL;
    }
    if (!ok)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for the vision tower");
    OP(upload, e->first_row, first_row, sizeof first_row);
    const enum ops_status status = e->ops->sync(e->dev);
    return status == OPS_OK ? 0 : ops_error(status, "vision", "sync", err);
}

struct vision_encoder *vision_encoder_new(const struct vision_config *config,
                                          const struct vision_weights *weights,
                                          const struct ops *ops, struct ops_device *dev,
                                          struct airlock_error *err)
{
    struct vision_encoder *e = calloc(1, sizeof *e);
    if (!e) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return NULL;
    }
    e->config = config;
    e->w = weights;
    e->ops = ops;
    e->dev = dev;
    e->act = ops_dtype_size(ops->act);
    if (allocate(e, err)) {
        vision_encoder_free(e);
        return NULL;
    }
    return e;
}

void vision_encoder_free(struct vision_encoder *e)
{
    if (!e)
        return;
    void *device[] = { e->x,    e->y,         e->q,   e->k,         e->v,   e->mid,
                       e->rows, e->projected, e->ids, e->first_row, e->seen };
    for (size_t i = 0; i < sizeof device / sizeof *device; i++)
        e->ops->free(e->dev, device[i]);
    free(e->crop);
    free(e->numbers);
    free(e->staged);
    free(e);
}
