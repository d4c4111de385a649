/* audio_encoder.c - the speech encoder as a list of ops, chunk by chunk; see audio_encoder.h. */
#include "audio_encoder.h"

#include "engine/ops_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TILE = 20, /* steps that are subsampled together */
    FRAMES_PER_STEP = LOG_MEL_TOKEN_FRAMES,
    REACH_BACK = 7, /* frames before a step's own 8 that its convolutions see */
    MAX_FRAMES = AUDIO_CHUNK * FRAMES_PER_STEP + REACH_BACK,
    MEL_1 = 40,
    MEL_2 = 20,
    MEL_3 = 10 /* filters after each convolution */
};

/* Rows first .. first + rows - 1 of a sequence of size. */
struct span {
    size_t first, rows, size;
};

struct audio_encoder {
    const struct audio_config *config;
    const struct audio_weights *w;
    const struct ops *ops;
    struct ops_device *dev;
    size_t act; /* bytes of an activation */

    struct audio_job *job; /* that the step works on */
    /* Its chunk. */
    size_t chunk_steps; /* that hold sound */
    size_t chunk_rows;  /* that are computed */
    size_t first_frame; /* of the chunk, in features on the device */

    float *host_frames; /* [MAX_FRAMES, LOG_MEL_BINS]: normalised, in the type of activations */
    void *frames;       /* the same on the device */
    int32_t *first_row; /* device: { 0, chunk_rows } */
    int32_t host_first_row[2];
    void *image,
        *image_2;        /* [2 (2 TILE + 1) + 1, MEL_1, channels], [2 TILE + 1, MEL_2, channels] */
    void *x;             /* [AUDIO_CHUNK, hidden] the residual stream */
    void *t, *q, *k, *v; /* [AUDIO_CHUNK, hidden] */
    void *wide;          /* [AUDIO_CHUNK, 2 max(inner, hidden)] */
    void *gated;         /* [AUDIO_CHUNK, max(inner, hidden)] */
    void *projected;     /* [AUDIO_CHUNK, text_hidden] */
};

/* Runs an op or returns from the function with its failure. */
#define OP(name_, ...)                                                                             \
    do {                                                                                           \
        enum ops_status status_ = e->ops->name_(e->dev, __VA_ARGS__);                              \
        if (status_ != OPS_OK)                                                                     \
            return ops_error(status_, "audio", #name_, err);                                       \
    } while (0)

#define TRY(call_)                                                                                 \
    do {                                                                                           \
        if ((call_) < 0)                                                                           \
            return -1;                                                                             \
    } while (0)

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* ---- set up ---------------------------------------------------------------------------------- */

static int allocate(struct audio_encoder *e, struct airlock_error *err)
{
    const struct audio_config *c = e->config;
    const size_t channels = c->conv_channels, hidden = c->hidden_size;
    const size_t wide = max_size(c->inner_size, hidden), rows_2 = 2 * TILE + 1;
    /* The smaller image also holds a tile's rows before the linear layer. */
    const struct {
        void **at;
        size_t rows, cols;
    } wanted[] = {
        { &e->frames, MAX_FRAMES, LOG_MEL_BINS },
        { &e->image, 2 * rows_2 + 1, MEL_1 * channels },
        { &e->image_2, rows_2, MEL_2 * channels },
        { &e->x, AUDIO_CHUNK, hidden },
        { &e->t, AUDIO_CHUNK, hidden },
        { &e->q, AUDIO_CHUNK, hidden },
        { &e->k, AUDIO_CHUNK, hidden },
        { &e->v, AUDIO_CHUNK, hidden },
        { &e->wide, AUDIO_CHUNK, 2 * wide },
        { &e->gated, AUDIO_CHUNK, wide },
        { &e->projected, AUDIO_CHUNK, c->text_hidden },
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        *wanted[i].at = e->ops->alloc(e->dev, wanted[i].rows * wanted[i].cols * e->act);
        if (!*wanted[i].at)
            return ops_error(OPS_E_MEMORY, "audio", "activations", err);
    }
    e->first_row = e->ops->alloc(e->dev, sizeof e->host_first_row);
    e->host_frames = malloc((size_t)MAX_FRAMES * LOG_MEL_BINS * sizeof *e->host_frames);
    return e->first_row && e->host_frames ? 0 : ops_error(OPS_E_MEMORY, "audio", "features", err);
}

struct audio_encoder *audio_encoder_new(const struct audio_config *config,
                                        const struct audio_weights *weights, const struct ops *ops,
                                        struct ops_device *dev, struct airlock_error *err)
{
    struct audio_encoder *e = calloc(1, sizeof *e);
    if (!e) {
        ops_error(OPS_E_MEMORY, "audio", "encoder", err);
        return NULL;
    }
    e->config = config;
    e->w = weights;
    e->ops = ops;
    e->dev = dev;
    e->act = ops_dtype_size(ops->act);
    if (allocate(e, err) < 0) {
        audio_encoder_free(e);
        return NULL;
    }
    return e;
}

void audio_encoder_free(struct audio_encoder *e)
{
    if (!e)
        return;
    void *all[] = { e->frames, e->first_row, e->image, e->image_2, e->x,     e->t,
                    e->q,      e->k,         e->v,     e->wide,    e->gated, e->projected };
    e->ops->sync(e->dev); /* host_frames may be on its way */
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        e->ops->free(e->dev, all[i]);
    free(e->host_frames);
    free(e);
}

int audio_job_begin(struct audio_job *job, const struct audio_input *input, void *out,
                    struct airlock_error *err)
{
    if (input->frames == 0 || (!input->alone && input->longest < input->frames) ||
        (input->mode != AUDIO_SPEECH && input->mode != AUDIO_VISION))
        return airlock_error_set(err, AIRLOCK_E_INVALID,
                                 "audio: a clip without sound, or longer "
                                 "than the longest");
    *job = (struct audio_job){ .input = *input,
                               .out = out,
                               .image_frames = input->alone ? input->frames : input->longest,
                               .steps = log_mel_tokens(input->frames) };
    job->padded = input->alone && job->steps > AUDIO_CHUNK;
    return 0;
}

/* ---- subsampling ----------------------------------------------------------------------------- */

/* y = x w^T + b */
static int linear(struct audio_encoder *e, void *y, const void *x, const struct audio_linear *m,
                  size_t rows, struct airlock_error *err)
{
    OP(matmul_rounded, y, x, &m->w, rows);
    OP(add_bias, y, &m->b, rows, m->w.rows);
    return 0;
}

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16); /* nearest, ties to even */
}

/* Normalises the frames that a chunk's steps see and brings them to the device. */
static int upload_frames(struct audio_encoder *e, struct airlock_error *err)
{
    const size_t begin = e->job->chunk * AUDIO_CHUNK * FRAMES_PER_STEP;
    const size_t first = begin < REACH_BACK ? 0 : begin - REACH_BACK;
    const size_t end = min_size(begin + e->chunk_steps * FRAMES_PER_STEP, e->job->image_frames);
    const size_t n = (end - first) * LOG_MEL_BINS;
    /* The last chunk's frames have left the buffer when this returns. */
    const enum ops_status status = e->ops->sync(e->dev);
    if (status != OPS_OK)
        return ops_error(status, "audio", "sync", err);
    for (size_t i = 0; i < n; i++) {
        const size_t frame = first + i / LOG_MEL_BINS, m = i % LOG_MEL_BINS;
        const float x =
            frame < e->job->input.frames ? e->job->input.features[frame * LOG_MEL_BINS + m] : 0;
        const float y = (x - e->w->mean[m]) * e->w->invstd[m];
        if (e->ops->act == OPS_F32)
            e->host_frames[i] = y;
        else
            ((uint16_t *)e->host_frames)[i] = to_bf16(y);
    }
    e->first_frame = first;
    e->host_first_row[1] = (int32_t)e->chunk_rows;
    OP(upload, e->frames, e->host_frames, n * e->act);
    OP(upload, e->first_row, e->host_first_row, sizeof e->host_first_row);
    return 0;
}

/* The rows of its input that rows of a 3-tap, stride-2, pad-1 convolution see. */
static struct span seen_by(struct span out, size_t in_size)
{
    const size_t first = out.first == 0 ? 0 : 2 * out.first - 1;
    const size_t end = min_size(2 * (out.first + out.rows), in_size);
    return (struct span){ first, end - first, in_size };
}

/* One 3x3 convolution with stride 2: rows in of x to rows out of y. */
static int halve(struct audio_encoder *e, void *y, struct span out, const void *x, struct span in,
                 size_t in_width, size_t in_channels, const struct audio_linear *m,
                 struct airlock_error *err)
{
    const struct ops_conv conv = { .images = 1,
                                   .in_height = in.rows,
                                   .in_width = in_width,
                                   .in_channels = in_channels,
                                   .out_height = out.rows,
                                   .out_width = in_width / 2,
                                   .out_channels = e->config->conv_channels,
                                   .kernel_height = 3,
                                   .kernel_width = 3,
                                   .stride_height = 2,
                                   .stride_width = 2,
                                   .pad_top = out.first == 0,
                                   .pad_left = 1 };
    OP(depthwise_conv, y, x, &m->w, &m->b, &conv);
    return 0;
}

/* TILE steps of the chunk from features to x. */
static int subsample(struct audio_encoder *e, size_t first, struct airlock_error *err)
{
    const struct audio_weights *w = e->w;
    const size_t channels = e->config->conv_channels, hidden = e->config->hidden_size;
    const size_t size_1 = ceil_div(e->job->image_frames, 2), size_2 = ceil_div(size_1, 2);
    const struct span r3 = { e->job->chunk * AUDIO_CHUNK + first,
                             min_size(TILE, e->chunk_steps - first), 0 };
    const struct span r2 = seen_by(r3, size_2), r1 = seen_by(r2, size_1);
    const struct span r0 = seen_by(r1, e->job->image_frames);
    const char *frames =
        (const char *)e->frames + (r0.first - e->first_frame) * LOG_MEL_BINS * e->act;
    char *x = (char *)e->x + first * hidden * e->act;

    TRY(halve(e, e->image, r1, frames, r0, LOG_MEL_BINS, 1, &w->conv_first, err));
    OP(relu, e->image, e->image, r1.rows * MEL_1 * channels);
    TRY(halve(e, e->image_2, r2, e->image, r1, MEL_1, channels, &w->conv_depthwise[0], err));
    TRY(linear(e, e->image, e->image_2, &w->conv_pointwise[0], r2.rows * MEL_2, err));
    OP(relu, e->image, e->image, r2.rows * MEL_2 * channels);
    TRY(halve(e, e->image_2, r3, e->image, r2, MEL_2, channels, &w->conv_depthwise[1], err));
    TRY(linear(e, e->image, e->image_2, &w->conv_pointwise[1], r3.rows * MEL_3, err));
    OP(relu, e->image, e->image, r3.rows * MEL_3 * channels);
    /* [steps, mel, channels] to the order of the linear layer's columns, channels first */
    OP(transpose, e->image_2, e->image, r3.rows, MEL_3, channels);
    return linear(e, x, e->image_2, &w->embed_out, r3.rows, err);
}

/* Zeros behind the sound, up to the end of the chunk.  x = 0 x would keep infinities. */
static int fill_up(struct audio_encoder *e, struct airlock_error *err)
{
    const size_t hidden = e->config->hidden_size, n = e->chunk_rows - e->chunk_steps;
    static const float zeros[1024];
    char *x = (char *)e->x + e->chunk_steps * hidden * e->act;
    for (size_t done = 0, all = n * hidden * e->act; done < all; done += sizeof zeros)
        OP(upload, x + done, zeros, min_size(sizeof zeros, all - done));
    return 0;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

/* x += 1/2 feed_forward(x) */
static int feed_forward(struct audio_encoder *e, const struct audio_feed_forward *f,
                        struct airlock_error *err)
{
    const size_t rows = e->chunk_rows, hidden = e->config->hidden_size;
    OP(layernorm, e->t, e->x, &f->norm.w, &f->norm.b, rows, hidden, 1e-5f);
    TRY(linear(e, e->wide, e->t, &f->up, rows, err));
    OP(glu, e->gated, e->wide, rows, e->config->inner_size);
    TRY(linear(e, e->t, e->gated, &f->down, rows, err));
    OP(add, e->x, e->t, rows * hidden, 0.5f);
    return 0;
}

/* x += attention(layernorm(x)) */
static int attend(struct audio_encoder *e, const struct audio_block *b, struct airlock_error *err)
{
    const size_t rows = e->chunk_rows, hidden = e->config->hidden_size;
    const struct ops_full a = { .n_heads = e->config->num_heads,
                                .head_dim = hidden / e->config->num_heads,
                                .q = e->q,
                                .k = e->k,
                                .v = e->v,
                                .o = e->t,
                                .q_stride = hidden,
                                .k_stride = hidden,
                                .v_stride = hidden,
                                .o_stride = hidden,
                                .n_segments = 1,
                                .first_row = e->first_row,
                                .rows = rows,
                                .max_rows = rows,
                                .relative = e->w->relative,
                                .reach = e->w->reach,
                                .scale = 1.0f / sqrtf((float)(hidden / e->config->num_heads)),
                                .rounded = b->q.w.dtype == OPS_BF16 };
    OP(layernorm, e->t, e->x, &b->norm_attention.w, &b->norm_attention.b, rows, hidden, 1e-5f);
    TRY(linear(e, e->q, e->t, &b->q, rows, err));
    TRY(linear(e, e->k, e->t, &b->k, rows, err));
    TRY(linear(e, e->v, e->t, &b->v, rows, err));
    OP(attention_full, &a);
    TRY(linear(e, e->q, e->t, &b->o, rows, err));
    OP(add, e->x, e->q, rows * hidden, 1.0f);
    return 0;
}

/* x += conv(x): a gate, a causal convolution over time, and two products. */
static int convolve(struct audio_encoder *e, const struct audio_block *b, struct airlock_error *err)
{
    const size_t rows = e->chunk_rows, hidden = e->config->hidden_size;
    const struct ops_conv over_time = { .images = 1,
                                        .in_height = rows,
                                        .in_width = 1,
                                        .in_channels = hidden,
                                        .out_height = rows,
                                        .out_width = 1,
                                        .out_channels = hidden,
                                        .kernel_height = e->config->kernel_size,
                                        .kernel_width = 1,
                                        .stride_height = 1,
                                        .stride_width = 1,
                                        .pad_top = e->config->kernel_size - 1 };
    OP(layernorm, e->t, e->x, &b->norm_conv.w, &b->norm_conv.b, rows, hidden, 1e-5f);
    TRY(linear(e, e->wide, e->t, &b->glu, rows, err));
    OP(glu, e->gated, e->wide, rows, hidden);
    OP(depthwise_conv, e->t, e->gated, &b->depthwise.w, &b->depthwise.b, &over_time);
    TRY(linear(e, e->q, e->t, &b->pointwise, rows, err));
    OP(silu, e->q, e->q, rows * hidden);
    TRY(linear(e, e->t, e->q, &b->out_conv, rows, err));
    OP(add, e->x, e->t, rows * hidden, 1.0f);
    return 0;
}

static int do_block(struct audio_encoder *e, const struct audio_block *b, struct airlock_error *err)
{
    TRY(feed_forward(e, &b->in, err));
    TRY(attend(e, b, err));
    TRY(convolve(e, b, err));
    TRY(feed_forward(e, &b->out, err));
    OP(layernorm, e->x, e->x, &b->norm.w, &b->norm.b, e->chunk_rows, e->config->hidden_size, 1e-5f);
    return 0;
}

/* The chunk's sound into the text model's space. */
static int project(struct audio_encoder *e, struct airlock_error *err)
{
    const struct audio_projection *p = &e->w->projection[e->job->input.mode];
    const size_t rows = e->chunk_steps, width = e->config->text_hidden;
    TRY(linear(e, e->projected, e->x, &p->up, rows, err));
    OP(gelu, e->projected, e->projected, rows * width, OPS_GELU_ERF);
    return linear(e, (char *)e->job->out + e->job->chunk * AUDIO_CHUNK * width * e->act,
                  e->projected, &p->down, rows, err);
}

/* ---- the order of work ----------------------------------------------------------------------- */

static int begin_chunk(struct audio_encoder *e, struct airlock_error *err)
{
    e->chunk_steps = min_size(AUDIO_CHUNK, e->job->steps - e->job->chunk * AUDIO_CHUNK);
    /* A chunk of a clip with a mask ends where its sound ends: nothing sees what is behind. */
    e->chunk_rows = e->job->padded ? AUDIO_CHUNK : e->chunk_steps;
    TRY(upload_frames(e, err));
    return fill_up(e, err);
}

int audio_encoder_step(struct audio_encoder *e, struct audio_job *job, struct airlock_error *err)
{
    e->job = job;
    if (job->stage == 0 && job->chunk * AUDIO_CHUNK >= job->steps)
        return 0;
    if (job->stage == 0)
        TRY(begin_chunk(e, err));
    const size_t tiles = ceil_div(e->chunk_steps, TILE), stage = job->stage++;
    if (stage < tiles) {
        TRY(subsample(e, stage * TILE, err));
    } else if (stage < tiles + e->w->n_blocks) {
        TRY(do_block(e, &e->w->blocks[stage - tiles], err));
    } else {
        TRY(project(e, err));
        job->stage = 0;
        job->chunk++;
    }
    return job->stage != 0 || job->chunk * AUDIO_CHUNK < job->steps;
}
