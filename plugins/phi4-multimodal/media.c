/* media.c - takes a request's pictures and sounds from files to embeddings; see media.h. */
#include "media.h"

#include "audio_clips.h"
#include "common/io.h"
#include "common/json.h"
#include "image_crops.h"
#include "media_client.h"
#include "media_prompt.h"
#include "vision_encoder.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES = 1 << 20, MAX_CLIP_SECONDS = 1800 };

struct media {
    struct builtin_adapters adapters;
    struct engine *engine;
    struct media_worker *worker;
    int32_t image_id, audio_id;

    pthread_mutex_t lock; /* the device and the encoders */
    const struct ops *ops;
    struct ops_device *dev;
    struct vision_config vision;
    struct vision_weights vision_weights;
    struct vision_encoder *vision_encoder;
    struct audio_config audio;
    struct audio_weights audio_weights;
    struct audio_encoder *audio_encoder;
};

/* What a request's media have become. */
struct request_media {
    enum media_mode mode;
    struct image_canvas *images; /* [n_images] */
    size_t n_images;
    struct audio_clips clips;
    struct chat_insert *inserts; /* [n_images + n_audios] */
    size_t *tokens;              /* [n_images + n_audios] of each */
    size_t *insert;              /* [n_images + n_audios] where each is among inserts */
    struct forward_embeds *embeds;
    unsigned char digest[MEDIA_DIGEST_BYTES];
};

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a request's media");
}

/* ---- one request: looking at the files ------------------------------------------------------- */

static int decode_image(struct media *m, const llm_media *file, struct image_canvas *out,
                        struct airlock_error *err)
{
    struct media_output o;
    if (media_worker_decode(m->worker, MEDIA_IMAGE, file->bytes.ptr, file->bytes.len,
                            3 * (size_t)IMAGE_MAX_PIXELS, &o, err))
        return -1;
    /* Nothing that comes from the worker is believed. */
    int status;
    if (o.size[0] == 0 || o.size[1] == 0 || o.size[0] > IMAGE_MAX_SIDE ||
        o.size[1] > IMAGE_MAX_SIDE || o.bytes != 3 * (uint64_t)o.size[0] * o.size[1])
        status = airlock_error_set(err, AIRLOCK_E_REQUEST, "its decoder gave no picture");
    else
        status = image_canvas_make(out, o.data, o.size[0], o.size[1], err);
    media_output_free(&o);
    return status;
}

/* Stops at the picture with which the prompt can no longer fit, before more memory is taken. */
static int decode_images(struct media *m, const llm_request *r, struct request_media *q,
                         struct airlock_error *err)
{
    size_t tokens = 0;
    for (uint64_t i = 0; i < r->n_images; i++) {
        if (decode_image(m, r->images[i], &q->images[i], err))
            return airlock_error_wrap(err, "images[%llu]", (unsigned long long)i);
        q->n_images = (size_t)i + 1;
        q->tokens[i] = q->images[i].plan.tokens;
        tokens += q->tokens[i];
        if (tokens >= engine_max_context(m->engine))
            return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                     "images[0] to images[%llu] have %zu tokens; this model's "
                                     "context holds %zu, prompt and answer together",
                                     (unsigned long long)i, tokens, engine_max_context(m->engine));
    }
    return 0;
}

static struct media_file *files_of(const llm_media *const *media, uint64_t n)
{
    struct media_file *files = calloc(n + 1, sizeof *files);
    for (uint64_t i = 0; files && i < n; i++)
        files[i] = (struct media_file){ media[i]->bytes.ptr, (size_t)media[i]->bytes.len };
    return files;
}

static int decode_all(struct media *m, const llm_request *r, struct request_media *q,
                      struct airlock_error *err)
{
    struct media_file *images = files_of(r->images, r->n_images);
    struct media_file *audios = files_of(r->audios, r->n_audios);
    int status = images && audios ? 0 : no_memory(err);
    if (status == 0)
        status = decode_images(m, r, q, err);
    if (status == 0 && r->n_audios > 0)
        status =
            audio_clips_prepare(m->worker, audios, r->n_audios, MAX_CLIP_SECONDS, &q->clips, err);
    if (status == 0) {
        media_digest(images, r->n_images, audios, r->n_audios, q->digest);
        for (uint64_t i = 0; i < r->n_audios; i++)
            q->tokens[r->n_images + i] = q->clips.clip[i].tokens;
    }
    free(images);
    free(audios);
    return status;
}

static int allocate(struct request_media *q, const llm_request *r, struct airlock_error *err)
{
    const size_t n = (size_t)(r->n_images + r->n_audios);
    q->mode = media_mode_of((size_t)r->n_images, (size_t)r->n_audios);
    q->images = calloc((size_t)r->n_images + 1, sizeof *q->images);
    q->inserts = calloc(n + 1, sizeof *q->inserts);
    q->tokens = calloc(n + 1, sizeof *q->tokens);
    q->insert = calloc(n + 1, sizeof *q->insert);
    q->embeds = calloc(n + 1, sizeof *q->embeds);
    return q->images && q->inserts && q->tokens && q->insert && q->embeds ? 0 : no_memory(err);
}

static int begin(void *ctx, const llm_request *r, struct chat_message *messages, size_t n,
                 struct generate_media *out, struct airlock_error *err)
{
    struct media *m = ctx;
    if (media_prompt_check(messages, n, (size_t)r->n_images, (size_t)r->n_audios, err))
        return -1;
    if (r->n_images + r->n_audios == 0)
        return 0;
    struct request_media *q = calloc(1, sizeof *q);
    if (!q)
        return no_memory(err);
    out->own = q;
    if (allocate(q, r, err) || decode_all(m, r, q, err))
        return -1;
    const struct media_counts counts = { .image_tokens = q->tokens,
                                         .n_images = (size_t)r->n_images,
                                         .audio_tokens = q->tokens + r->n_images,
                                         .n_audios = (size_t)r->n_audios,
                                         .image_id = m->image_id,
                                         .audio_id = m->audio_id };
    media_prompt_inserts(messages, n, &counts, q->inserts, q->insert, q->insert + r->n_images);
    const char *adapter = media_mode_adapter(q->mode);
    const struct builtin_adapter *a =
        adapter ? &m->adapters.of[strcmp(adapter, "vision") == 0 ? BUILTIN_VISION : BUILTIN_SPEECH]
                : NULL;
    out->adapter = a && a->sites ? a : NULL;
    out->identity = q->digest;
    out->n_identity = sizeof q->digest;
    return 0;
}

static void end(void *ctx, struct generate_media *out)
{
    struct request_media *q = out->own;
    (void)ctx;
    if (!q)
        return;
    for (size_t i = 0; i < out->n_embeds; i++)
        free(out->embeds[i].data);
    for (size_t i = 0; q->images && i < q->n_images; i++)
        image_canvas_free(&q->images[i]);
    audio_clips_free(&q->clips);
    free(q->images);
    free(q->inserts);
    free(q->tokens);
    free(q->insert);
    free(q->embeds);
    free(q);
    *out = (struct generate_media){ 0 };
}

/* ---- one request: computing ------------------------------------------------------------------ */

/* Copies rows of the device's memory into memory that the scheduler will own. */
static int keep_rows(struct media *m, struct generate_media *out, size_t position, size_t rows,
                     const void *device, struct airlock_error *err)
{
    const size_t bytes = rows * m->vision.text_hidden * ops_dtype_size(m->ops->act);
    void *data = malloc(bytes);
    if (!data)
        return no_memory(err);
    out->embeds[out->n_embeds++] = (struct forward_embeds){ position, rows, data };
    if (m->ops->download(m->dev, data, device, bytes) != OPS_OK)
        return airlock_error_set(err, AIRLOCK_E_DEVICE, "the device of the encoders failed");
    return 0;
}

static int given_up(const llm_sink *sink, struct airlock_error *err)
{
    return sink->cancelled(sink) ? airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled") : 0;
}

static int embed_images(struct media *m, struct request_media *q, struct generate_media *out,
                        const llm_sink *sink, void *rows, struct airlock_error *err)
{
    for (size_t i = 0; i < q->n_images; i++) {
        int more = vision_encoder_begin(m->vision_encoder, &q->images[i], rows, err) ? -1 : 1;
        while (more > 0)
            more = given_up(sink, err) ? -1 : vision_encoder_step(m->vision_encoder, err);
        if (more < 0)
            return -1;
        if (keep_rows(m, out, q->inserts[q->insert[i]].first, q->tokens[i], rows, err))
            return -1;
    }
    return 0;
}

static int embed_audios(struct media *m, struct request_media *q, struct generate_media *out,
                        const llm_sink *sink, void *rows, struct airlock_error *err)
{
    const size_t row_bytes = m->audio.text_hidden * ops_dtype_size(m->ops->act);
    struct audio_clips_job job;
    audio_clips_begin(&job, m->audio_encoder, &q->clips, media_mode_audio(q->mode), rows,
                      row_bytes);
    int more = 1;
    while (more > 0)
        more = given_up(sink, err) ? -1 : audio_clips_step(&job, err);
    if (more < 0)
        return -1;
    char *at = rows;
    for (size_t i = 0; i < q->clips.n; i++) {
        const size_t k = q->n_images + i;
        if (keep_rows(m, out, q->inserts[q->insert[k]].first, q->tokens[k], at, err))
            return -1;
        at += q->tokens[k] * row_bytes;
    }
    return 0;
}

static int by_position(const void *a, const void *b)
{
    const struct forward_embeds *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

static int embed(void *ctx, struct generate_media *out, const llm_sink *sink,
                 struct airlock_error *err)
{
    struct media *m = ctx;
    struct request_media *q = out->own;
    size_t most = q->clips.tokens;
    for (size_t i = 0; i < q->n_images; i++)
        most = q->tokens[i] > most ? q->tokens[i] : most;
    out->embeds = q->embeds;
    pthread_mutex_lock(&m->lock);
    void *rows = m->ops->alloc(m->dev, most * m->vision.text_hidden * ops_dtype_size(m->ops->act));
    int status = rows ? 0 : no_memory(err);
    if (status == 0)
        status = embed_images(m, q, out, sink, rows, err);
    if (status == 0 && q->clips.n > 0)
        status = embed_audios(m, q, out, sink, rows, err);
    m->ops->free(m->dev, rows);
    pthread_mutex_unlock(&m->lock);
    if (out->n_embeds > 1)
        qsort(out->embeds, out->n_embeds, sizeof *out->embeds, by_position);
    return status;
}

const struct generate_media_calls media_calls = { .begin = begin, .embed = embed, .end = end };

/* ---- the model ------------------------------------------------------------------------------- */

struct media *media_new(const struct linear_hook *next, struct airlock_error *err)
{
    struct media *m = calloc(1, sizeof *m);
    if (!m) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&m->lock, NULL);
    builtin_adapters_init(&m->adapters, next);
    return m;
}

const struct linear_hook *media_hook(struct media *m)
{
    return &m->adapters.hook;
}

static int find_placeholder(struct engine *e, const char *text, int32_t *id,
                            struct airlock_error *err)
{
    *id = tokenizer_added(engine_tokenizer(e), text, NULL);
    return *id >= 0 ? 0
                    : airlock_error_set(err, AIRLOCK_E_CONFIG,
                                        "tokenizer.json has no added token \"%s\": it is not one "
                                        "of a multimodal Phi-4 model",
                                        text);
}

static int load_parts(struct media *m, struct json_object *config, struct airlock_error *err)
{
    const struct safetensors *st = engine_checkpoint(m->engine);
    if (vision_config_parse(config, &m->vision, err) ||
        audio_config_parse(config, &m->audio, err) ||
        builtin_adapters_load(&m->adapters, m->engine, m->ops, config, err) ||
        vision_weights_load(&m->vision_weights, &m->vision, st, m->ops, m->dev, err) ||
        audio_weights_load(&m->audio_weights, &m->audio, st, m->ops, m->dev, err))
        return -1;
    m->vision_encoder = vision_encoder_new(&m->vision, &m->vision_weights, m->ops, m->dev, err);
    if (m->vision_encoder)
        m->audio_encoder = audio_encoder_new(&m->audio, &m->audio_weights, m->ops, m->dev, err);
    return m->audio_encoder ? 0 : -1;
}

int media_load(struct media *m, struct engine *e, const struct ops *ops, const struct ops_open *how,
               const char *dir, const char *worker, struct airlock_error *err)
{
    char path[4096];
    const char *why = "unknown reason";
    m->engine = e;
    m->ops = ops;
    if (find_placeholder(e, "<|endoftext10|>", &m->image_id, err) ||
        find_placeholder(e, "<|endoftext11|>", &m->audio_id, err))
        return -1;
    m->dev = ops->open(how, &why);
    if (!m->dev)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "device %s: %s", ops->name, why);
    if (snprintf(path, sizeof path, "%s/config.json", dir) >= (int)sizeof path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "model_path is too long");
    struct json_object *config = json_parse_file(path, CONFIG_BYTES, err);
    if (!config)
        return -1;
    int status = load_parts(m, config, err);
    json_object_put(config);
    if (status == 0) {
        m->worker = media_worker_start(worker, err);
        status = m->worker ? 0 : -1;
    }
    return status;
}

void media_free(struct media *m)
{
    if (!m)
        return;
    media_worker_stop(m->worker);
    if (m->dev) {
        vision_encoder_free(m->vision_encoder);
        audio_encoder_free(m->audio_encoder);
        vision_weights_free(&m->vision_weights, m->ops, m->dev);
        audio_weights_free(&m->audio_weights, m->ops, m->dev);
        m->ops->close(m->dev);
    }
    builtin_adapters_free(&m->adapters);
    pthread_mutex_destroy(&m->lock);
    free(m);
}
