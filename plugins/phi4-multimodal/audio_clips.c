/* audio_clips.c - decodes and checks the sounds of a request; see audio_clips.h. */
#include "audio_clips.h"

#include "audio_decode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* As much sound as the worker's own limit lets through in loudness. */
#define LOUDEST 65536.0f

/* The process that decoded may have been taken over by the file: nothing it says is believed. */
static int check_samples(const struct media_output *o, size_t *n, struct airlock_error *err)
{
    const float *samples = (const float *)(const void *)o->data;
    *n = o->bytes / sizeof *samples;
    if ((o->size[0] != AUDIO_RATE && o->size[0] != AUDIO_RATE_NARROW) || o->bytes % sizeof *samples)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "its decoder gave no sound");
    for (size_t i = 0; i < *n; i++)
        if (!(fabsf(samples[i]) <= LOUDEST))
            return airlock_error_set(err, AIRLOCK_E_REQUEST, "its decoder gave no numbers");
    return 0;
}

static int add_features(const struct media_output *o, size_t *seconds_left,
                        struct audio_clip_features *out, struct airlock_error *err)
{
    size_t n;
    if (check_samples(o, &n, err) < 0)
        return -1;
    /* A copy: the worker's memory could still change under the computation. */
    float *samples = malloc(n ? n * sizeof *samples : 1);
    const unsigned rate = o->size[0];
    int rc = -1;
    if (samples && n)
        memcpy(samples, o->data, n * sizeof *samples);
    out->frames = log_mel_frames(n, rate);
    out->tokens = log_mel_tokens(out->frames);
    out->features = malloc((out->frames ? out->frames : 1) * LOG_MEL_BINS * sizeof(float));
    if (!samples || !out->features)
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for its features");
    else
        rc = log_mel(samples, n, rate, out->features, err);
    for (size_t i = 0; rc == 0 && i < out->frames * LOG_MEL_BINS; i++)
        if (!isfinite(out->features[i]))
            rc = airlock_error_set(err, AIRLOCK_E_REQUEST, "its decoder gave no numbers");
    const size_t seconds = n / rate + (n % rate != 0);
    *seconds_left -= seconds < *seconds_left ? seconds : *seconds_left;
    free(samples);
    return rc;
}

static int prepare_one(struct media_worker *worker, const struct media_file *file,
                       size_t *seconds_left, const struct media_wish *wish,
                       struct audio_clip_features *out, struct airlock_error *err)
{
    struct media_output output = { 0 };
    if (file->size == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "it is empty");
    if (*seconds_left == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the request's sounds are too long");
    if (media_worker_decode(worker, MEDIA_SOUND, file->bytes, file->size,
                            *seconds_left * AUDIO_RATE * sizeof(float), wish, &output, err) < 0)
        return -1;
    const int rc = add_features(&output, seconds_left, out, err);
    media_output_free(&output);
    return rc;
}

int audio_clips_prepare(struct media_worker *worker, const struct media_file *files, size_t n,
                        size_t max_seconds, const struct media_wish *wish, struct audio_clips *out,
                        struct airlock_error *err)
{
    size_t left = max_seconds < AUDIO_MAX_SECONDS ? max_seconds : AUDIO_MAX_SECONDS;
    *out = (struct audio_clips){ .clip = calloc(n ? n : 1, sizeof *out->clip), .n = n };
    if (!out->clip)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for %zu sounds", n);
    for (size_t i = 0; i < n; i++) {
        struct audio_clip_features *clip = &out->clip[i];
        if (prepare_one(worker, &files[i], &left, wish, clip, err) < 0) {
            audio_clips_free(out);
            return airlock_error_wrap(err, "audios[%zu]", i);
        }
        out->tokens += clip->tokens;
        if (clip->frames > out->longest)
            out->longest = clip->frames;
    }
    return 0;
}

void audio_clips_free(struct audio_clips *clips)
{
    for (size_t i = 0; clips->clip && i < clips->n; i++)
        free(clips->clip[i].features);
    free(clips->clip);
    *clips = (struct audio_clips){ 0 };
}

struct audio_input audio_clips_input(const struct audio_clips *clips, size_t i,
                                     enum audio_mode mode)
{
    return (struct audio_input){ .features = clips->clip[i].features,
                                 .frames = clips->clip[i].frames,
                                 .alone = clips->n == 1,
                                 .longest = clips->longest,
                                 .mode = mode };
}
