/* media.c - takes a request's pictures and sounds from files to embeddings; see media.h. */
#include "media.h"

#include "audio_clips.h"
#include "common/io.h"
#include "common/json.h"
#include "image_crops.h"
#include "media_encode.h"
#include "media_prompt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONFIG_BYTES = 1 << 20, MAX_CLIP_SECONDS = 1800, FRAMES_PER_SECOND = 100 };

struct media {
    struct builtin_adapters adapters;
    struct engine *engine;
    struct media_worker *worker;
    struct media_cache *cache;
    int32_t image_id, audio_id;

    struct encoders encoders;
    struct vision_config vision;
    struct vision_weights vision_weights;
    struct audio_config audio;
    struct audio_weights audio_weights;
    size_t row_bytes; /* of an embedding */
};

/* A picture or a sound of a request. */
struct medium {
    struct media_key file, key;      /* of the file, and of its embeddings */
    size_t frames;                   /* of a sound */
    const struct media_entry *known; /* held; NULL: to be computed ... */
    struct image_canvas canvas;      /* ... from this, or from the request's clips */
};

/* What a request's media have become.  Pictures come first in all lists. */
struct request_media {
    enum media_mode mode;
    size_t n_images, n; /* n: sounds, too */
    struct medium *of;  /* [n] */
    struct audio_clips clips;
    struct chat_insert *inserts;   /* [n] */
    size_t *tokens;                /* [n] of each */
    size_t *insert;                /* [n] where each is among inserts */
    struct forward_embeds *embeds; /* [n] */
    struct prefix_media *prefix;   /* [n] */
};

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a request's media");
}

/* media_wish.given_up of a struct generate_media. */
static bool given_up(void *ctx)
{
    const struct generate_media *g = ctx;
    return (g->sink && g->sink->cancelled(g->sink)) ||
           (g->deadline_ns && io_now_ns() >= g->deadline_ns);
}

/* ---- one request: looking at the files ------------------------------------------------------- */

static int decode_image(struct media *m, const struct media_file *file,
                        const struct media_wish *wish, struct image_canvas *out,
                        struct airlock_error *err)
{
    struct media_output o;
    if (media_worker_decode(m->worker, MEDIA_IMAGE, file->bytes, file->size,
                            3 * (size_t)IMAGE_MAX_PIXELS, wish, &o, err))
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
static int look_at_images(struct media *m, const struct media_file *files,
                          const struct media_wish *wish, const llm_request *r,
                          struct request_media *q, struct airlock_error *err)
{
    size_t tokens = 0;
    for (size_t i = 0; i < q->n_images; i++) {
        struct medium *x = &q->of[i];
        x->file = media_file_key(&files[i], true, r->cache_salt.ptr, r->cache_salt.len);
        x->key = x->file;
        x->known = media_cache_find(m->cache, &x->key);
        if (!x->known && decode_image(m, &files[i], wish, &x->canvas, err))
            return airlock_error_wrap(err, "images[%zu]", i);
        q->tokens[i] = x->known ? x->known->tokens : x->canvas.plan.tokens;
        tokens += q->tokens[i];
        if (tokens >= engine_max_context(m->engine))
            return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                     "the pictures up to images[%zu] have %zu tokens; this model's "
                                     "context holds %zu, prompt and answer together",
                                     i, tokens, engine_max_context(m->engine));
    }
    return 0;
}

/* The numbers under which a sound's length is remembered, and its embeddings: these depend on the
 * projection, and on the other sounds, beside which it is padded. */
static struct media_key frames_key(const struct medium *x)
{
    const uint64_t numbers[] = { 1 };
    return media_key_with(&x->file, numbers, 1);
}

static struct media_key audio_key(const struct request_media *q, const struct medium *x,
                                  size_t longest)
{
    const bool alone = q->n - q->n_images == 1;
    const uint64_t numbers[] = { 2, media_mode_audio(q->mode), alone, alone ? 0 : longest };
    return media_key_with(&x->file, numbers, 4);
}

/* Whether all lengths are known, and within the limit of what would be decoded. */
static bool know_frames(struct media *m, struct request_media *q)
{
    size_t frames = 0;
    for (size_t i = q->n_images; i < q->n; i++) {
        const struct media_key key = frames_key(&q->of[i]);
        const struct media_entry *e = media_cache_find(m->cache, &key);
        if (!e)
            return false;
        q->of[i].frames = e->frames;
        q->tokens[i] = e->tokens;
        frames += e->frames;
        media_cache_release(m->cache, e);
    }
    return frames <= (size_t)MAX_CLIP_SECONDS * FRAMES_PER_SECOND;
}

static int decode_audios(struct media *m, const struct media_file *files,
                         const struct media_wish *wish, struct request_media *q,
                         struct airlock_error *err)
{
    if (audio_clips_prepare(m->worker, files, q->n - q->n_images, MAX_CLIP_SECONDS, wish, &q->clips,
                            err))
        return -1;
    for (size_t i = q->n_images; i < q->n; i++) {
        const struct audio_clip_features *clip = &q->clips.clip[i - q->n_images];
        const struct media_key key = frames_key(&q->of[i]);
        const struct media_entry e = { .tokens = clip->tokens, .frames = clip->frames };
        media_cache_add(m->cache, &key, &e);
        q->of[i].frames = clip->frames;
        q->tokens[i] = clip->tokens;
    }
    return 0;
}

static int look_at_audios(struct media *m, const struct media_file *files,
                          const struct media_wish *wish, const llm_request *r,
                          struct request_media *q, struct airlock_error *err)
{
    size_t longest = 0;
    bool known = true;
    for (size_t i = q->n_images; i < q->n; i++)
        q->of[i].file =
            media_file_key(&files[i - q->n_images], false, r->cache_salt.ptr, r->cache_salt.len);
    if (!know_frames(m, q) && decode_audios(m, files, wish, q, err))
        return -1;
    for (size_t i = q->n_images; i < q->n; i++)
        longest = q->of[i].frames > longest ? q->of[i].frames : longest;
    for (size_t i = q->n_images; i < q->n; i++) {
        q->of[i].key = audio_key(q, &q->of[i], longest);
        q->of[i].known = media_cache_find(m->cache, &q->of[i].key);
        known = known && q->of[i].known;
    }
    return known || q->clips.clip ? 0 : decode_audios(m, files, wish, q, err);
}

static struct media_file *files_of(const llm_media *const *media, uint64_t n)
{
    struct media_file *files = calloc(n + 1, sizeof *files);
    for (uint64_t i = 0; files && i < n; i++)
        files[i] = (struct media_file){ media[i]->bytes.ptr, (size_t)media[i]->bytes.len };
    return files;
}

static int look_at_all(struct media *m, const llm_request *r, const struct media_wish *wish,
                       struct request_media *q, struct airlock_error *err)
{
    struct media_file *images = files_of(r->images, r->n_images);
    struct media_file *audios = files_of(r->audios, r->n_audios);
    int status = images && audios ? 0 : no_memory(err);
    if (status == 0)
        status = look_at_images(m, images, wish, r, q, err);
    if (status == 0 && r->n_audios > 0)
        status = look_at_audios(m, audios, wish, r, q, err);
    free(images);
    free(audios);
    return status;
}

static int allocate(struct request_media *q, const llm_request *r, struct airlock_error *err)
{
    const size_t n = (size_t)(r->n_images + r->n_audios);
    q->mode = media_mode_of((size_t)r->n_images, (size_t)r->n_audios);
    q->inserts = calloc(n, sizeof *q->inserts);
    q->tokens = calloc(n, sizeof *q->tokens);
    q->insert = calloc(n, sizeof *q->insert);
    q->embeds = calloc(n, sizeof *q->embeds);
    q->prefix = calloc(n, sizeof *q->prefix);
    q->of = calloc(n, sizeof *q->of);
    if (!q->inserts || !q->tokens || !q->insert || !q->embeds || !q->prefix || !q->of)
        return no_memory(err);
    q->n_images = (size_t)r->n_images;
    q->n = n;
    return 0;
}

static int begin(void *ctx, const llm_request *r, struct chat_message *messages, size_t n,
                 struct generate_media *out, struct airlock_error *err)
{
    struct media *m = ctx;
    const struct media_wish wish = { given_up, out };
    if (media_prompt_check(messages, n, (size_t)r->n_images, (size_t)r->n_audios, err))
        return -1;
    if (r->n_images + r->n_audios == 0)
        return 0;
    struct request_media *q = calloc(1, sizeof *q);
    if (!q)
        return no_memory(err);
    out->own = q;
    if (allocate(q, r, err) || look_at_all(m, r, &wish, q, err))
        return -1;
    const struct media_counts counts = { .image_tokens = q->tokens,
                                         .n_images = q->n_images,
                                         .audio_tokens = q->tokens + q->n_images,
                                         .n_audios = q->n - q->n_images,
                                         .image_id = m->image_id,
                                         .audio_id = m->audio_id };
    media_prompt_inserts(messages, n, &counts, q->inserts, q->insert, q->insert + q->n_images);
    const char *adapter = media_mode_adapter(q->mode);
    const struct builtin_adapter *a =
        adapter ? &m->adapters.of[strcmp(adapter, "vision") == 0 ? BUILTIN_VISION : BUILTIN_SPEECH]
                : NULL;
    out->adapter = a && a->sites ? a : NULL;
    return 0;
}

static void end(void *ctx, struct generate_media *out)
{
    struct media *m = ctx;
    struct request_media *q = out->own;
    if (!q)
        return;
    for (size_t i = 0; i < out->n_embeds; i++)
        free(out->embeds[i].data);
    for (size_t i = 0; i < q->n; i++) {
        image_canvas_free(&q->of[i].canvas);
        media_cache_release(m->cache, q->of[i].known);
    }
    audio_clips_free(&q->clips);
    free(q->of);
    free(q->inserts);
    free(q->tokens);
    free(q->insert);
    free(q->embeds);
    free(q->prefix);
    free(q);
    *out = (struct generate_media){ 0 };
}

/* ---- one request: computing ------------------------------------------------------------------ */

/* Computes medium k into rows, device memory; the encoders are the caller's. */
static int encode(struct media *m, const struct request_media *q, size_t k, void *rows,
                  const struct media_wish *wish, bool *held, struct airlock_error *err)
{
    if (k < q->n_images)
        return encode_image(&m->encoders, &q->of[k].canvas, rows, wish, held, err);
    const struct audio_input input =
        audio_clips_input(&q->clips, k - q->n_images, media_mode_audio(q->mode));
    return encode_audio(&m->encoders, &input, rows, wish, held, err);
}

/* The same into data [tokens of k], host memory. */
static int compute(struct media *m, struct request_media *q, size_t k, void *data,
                   const struct media_wish *wish, bool *held, struct airlock_error *err)
{
    struct encoders *e = &m->encoders;
    const size_t bytes = q->tokens[k] * m->row_bytes;
    turns_take(e->device);
    void *rows = e->ops->alloc(e->dev, bytes);
    turns_give(e->device);
    int status = rows ? encode(m, q, k, rows, wish, held, err) : no_memory(err);
    turns_take(e->device);
    if (status == 0 && e->ops->download(e->dev, data, rows, bytes) != OPS_OK)
        status = airlock_error_set(err, AIRLOCK_E_DEVICE, "the device of the encoders failed");
    e->ops->free(e->dev, rows);
    turns_give(e->device);
    return status;
}

/* Waits for the encoders, and looks whether somebody computed the same meanwhile. */
static int compute_or_find(struct media *m, struct request_media *q, size_t k, void *data,
                           const struct media_wish *wish, struct airlock_error *err)
{
    struct medium *x = &q->of[k];
    bool held = true;
    if (encoders_take(&m->encoders, wish, err))
        return -1;
    x->known = media_cache_find(m->cache, &x->key);
    const int status = x->known ? 0 : compute(m, q, k, data, wish, &held, err);
    if (status == 0 && !x->known) {
        const struct media_entry e = { .tokens = q->tokens[k],
                                       .frames = x->frames,
                                       .bytes = q->tokens[k] * m->row_bytes,
                                       .data = data };
        media_cache_add(m->cache, &x->key, &e);
    }
    if (held)
        encoders_give(&m->encoders);
    return status;
}

/* Medium k's embeddings in memory that the scheduler will own. */
static int embed_one(struct media *m, struct request_media *q, size_t k, struct generate_media *out,
                     const struct media_wish *wish, struct airlock_error *err)
{
    const size_t bytes = q->tokens[k] * m->row_bytes;
    void *data = malloc(bytes);
    if (!data)
        return no_memory(err);
    out->embeds[out->n_embeds++] =
        (struct forward_embeds){ q->inserts[q->insert[k]].first, q->tokens[k], data };
    if (!q->of[k].known && compute_or_find(m, q, k, data, wish, err))
        return -1;
    if (q->of[k].known)
        memcpy(data, q->of[k].known->data, bytes);
    return 0;
}

static int by_position(const void *a, const void *b)
{
    const struct forward_embeds *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

static int by_prefix_position(const void *a, const void *b)
{
    const struct prefix_media *x = a, *y = b;
    return (x->position > y->position) - (x->position < y->position);
}

/* For the prefix cache: each medium's digest is about it and all before it. */
static void tell_prefix(struct request_media *q, struct generate_media *out)
{
    _Static_assert(sizeof(struct media_key) == PREFIX_DIGEST_BYTES, "digests of media");
    struct media_key before = { { 0 } }, own;
    for (size_t k = 0; k < q->n; k++) {
        q->prefix[k].position = q->inserts[q->insert[k]].first;
        memcpy(q->prefix[k].digest, &q->of[k].key, sizeof q->prefix[k].digest);
    }
    qsort(q->prefix, q->n, sizeof *q->prefix, by_prefix_position);
    for (size_t k = 0; k < q->n; k++) {
        memcpy(&own, q->prefix[k].digest, sizeof own);
        before = media_key_chain(&before, &own);
        memcpy(q->prefix[k].digest, &before, sizeof before);
    }
    out->media = q->prefix;
    out->n_media = q->n;
}

static int embed(void *ctx, struct generate_media *out, struct airlock_error *err)
{
    struct media *m = ctx;
    struct request_media *q = out->own;
    const struct media_wish wish = { given_up, out };
    out->embeds = q->embeds;
    for (size_t k = 0; k < q->n; k++)
        if (embed_one(m, q, k, out, &wish, err))
            return -1;
    qsort(out->embeds, out->n_embeds, sizeof *out->embeds, by_position);
    tell_prefix(q, out);
    return 0;
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
    turns_init(&m->encoders.turns);
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

static int load_adapters(struct media *m, const struct media_source *from,
                         struct json_object *config, struct airlock_error *err)
{
    const size_t n = from->sites->n;
    const llm_site **sites = calloc(n + 1, sizeof(llm_site *));
    if (!sites)
        return no_memory(err);
    for (size_t i = 0; i < n; i++)
        sites[i] = &from->sites->sites[i];
    const struct builtin_source source = {
        .engine = from->engine, .config = config, .dir = from->dir, .sites = sites, .n_sites = n
    };
    const int status = builtin_adapters_load(&m->adapters, &source, from->ops, err);
    free(sites);
    return status;
}

static int load_parts(struct media *m, const struct media_source *from, struct json_object *config,
                      struct airlock_error *err)
{
    const struct safetensors *st = engine_checkpoint(m->engine);
    const struct ops *ops = m->encoders.ops;
    struct ops_device *dev = m->encoders.dev;
    if (vision_config_parse(config, &m->vision, err) ||
        audio_config_parse(config, &m->audio, err) || load_adapters(m, from, config, err) ||
        vision_weights_load(&m->vision_weights, &m->vision, st, ops, dev, err) ||
        audio_weights_load(&m->audio_weights, &m->audio, st, ops, dev, err))
        return -1;
    m->encoders.vision = vision_encoder_new(&m->vision, &m->vision_weights, ops, dev, err);
    if (m->encoders.vision)
        m->encoders.audio = audio_encoder_new(&m->audio, &m->audio_weights, ops, dev, err);
    m->row_bytes = m->vision.text_hidden * ops_dtype_size(ops->act);
    return m->encoders.audio ? 0 : -1;
}

/* The encoders compute with the engine's threads, each slice in a turn of the engine's. */
static int open_device(struct media *m, const struct media_source *from, struct airlock_error *err)
{
    const char *why = "unknown reason";
    struct ops_open device = *from->device;
    device.lent = engine_threads(from->engine);
    m->encoders.ops = from->ops;
    m->encoders.device = engine_turns(from->engine);
    m->encoders.dev = from->ops->open(&device, &why);
    return m->encoders.dev
               ? 0
               : airlock_error_set(err, AIRLOCK_E_CONFIG, "device %s: %s", from->ops->name, why);
}

int media_load(struct media *m, const struct media_source *from, struct airlock_error *err)
{
    char path[4096];
    m->engine = from->engine;
    if (find_placeholder(m->engine, "<|endoftext10|>", &m->image_id, err) ||
        find_placeholder(m->engine, "<|endoftext11|>", &m->audio_id, err) ||
        open_device(m, from, err))
        return -1;
    if (snprintf(path, sizeof path, "%s/config.json", from->dir) >= (int)sizeof path)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "model_path is too long");
    struct json_object *config = json_parse_file(path, CONFIG_BYTES, err);
    if (!config)
        return -1;
    int status = load_parts(m, from, config, err);
    json_object_put(config);
    m->cache = media_cache_new(from->cache_bytes);
    if (status == 0 && !m->cache)
        status = no_memory(err);
    if (status == 0) {
        m->worker = media_worker_start(from->worker, err);
        status = m->worker ? 0 : -1;
    }
    return status;
}

bool media_has_adapter(const struct media *m, enum builtin_kind kind)
{
    return m->adapters.of[kind].sites != NULL;
}

void media_free(struct media *m)
{
    if (!m)
        return;
    media_worker_stop(m->worker);
    if (m->encoders.dev) {
        vision_encoder_free(m->encoders.vision);
        audio_encoder_free(m->encoders.audio);
        vision_weights_free(&m->vision_weights, m->encoders.ops, m->encoders.dev);
        audio_weights_free(&m->audio_weights, m->encoders.ops, m->encoders.dev);
        m->encoders.ops->close(m->encoders.dev);
    }
    builtin_adapters_free(&m->adapters);
    media_cache_free(m->cache);
    turns_destroy(&m->encoders.turns);
    free(m);
}
