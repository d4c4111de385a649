/*
 * bench_audio.c - the speech encoder alone: front end, encoder, seconds of sound per second.
 *
 *   bench_audio DIR SECONDS [THREADS]     DIR: config.json and model.safetensors
 *
 * tests/bench/audio_hf.py makes DIR, runs transformers and this program in turn.
 */
#include "phi4-multimodal/audio_encoder.h"

#include "common/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 3 };

static struct airlock_error err;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_audio: %s: %s\n", what, err.text);
    exit(1);
}

static void read_config(const char *dir, struct audio_config *config)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", dir);
    struct json_object *o = json_parse_file(path, 1 << 20, &err);
    if (!o || audio_config_parse(o, config, &err) < 0)
        fail(path);
    json_object_put(o);
}

/* Features of a chirp with noise; *frames of them. */
static float *front_end(double seconds, size_t *frames, double *took)
{
    const size_t n = (size_t)(seconds * 16000);
    float *samples = malloc(n * sizeof *samples);
    unsigned s = 1;
    for (size_t i = 0; samples && i < n; i++) {
        s = s * 1664525u + 1013904223u;
        samples[i] = (float)sin((double)i * (double)i * 1e-6) * 0.3f + (float)(s >> 8) * 1e-9f;
    }
    *frames = log_mel_frames(n, 16000);
    float *features = malloc(*frames * LOG_MEL_BINS * sizeof *features);
    const double begin = now();
    if (!samples || !features || log_mel(samples, n, 16000, features, &err) < 0)
        fail("front end");
    *took = now() - begin;
    free(samples);
    return features;
}

/* Seconds for all of it; *longest: of one step. */
static double encode(struct audio_encoder *e, const struct audio_input *in, void *out,
                     double *longest)
{
    const double begin = now();
    double last = begin;
    *longest = 0;
    struct audio_job job;
    if (audio_job_begin(&job, in, out, &err) < 0)
        fail("begin");
    for (int rc; (rc = audio_encoder_step(e, &job, &err)) != 0;) {
        if (rc < 0)
            fail("step");
        const double t = now();
        *longest = fmax(*longest, t - last);
        last = t;
    }
    return now() - begin;
}

int main(int argc, char **argv)
{
    struct audio_config config;
    struct audio_weights weights;
    const char *why = NULL;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_audio DIR SECONDS [THREADS]\n");
        return 2;
    }
    const struct ops *ops = ops_cpu();
    const struct ops_open how = { .threads = argc > 3 ? (unsigned)atoi(argv[3]) : 0 };
    struct ops_device *dev = ops->open(&how, &why);
    struct safetensors *st = safetensors_open_dir(argv[1], &err);
    read_config(argv[1], &config);
    if (!dev || !st || audio_weights_load(&weights, &config, st, ops, dev, &err) < 0)
        fail(argv[1]);
    struct audio_encoder *e = audio_encoder_new(&config, &weights, ops, dev, &err);
    double front, longest, best = HUGE_VAL, best_longest = HUGE_VAL;
    struct audio_input in = { .alone = true };
    in.features = front_end(atof(argv[2]), &in.frames, &front);
    void *out = ops->alloc(dev, log_mel_tokens(in.frames) * config.text_hidden * sizeof(float));
    if (!e || !out)
        fail("buffers");
    for (int i = 0; i < ROUNDS; i++) {
        best = fmin(best, encode(e, &in, out, &longest));
        best_longest = fmin(best_longest, longest);
    }
    printf(
        "airlock: %s; front end %.4f s, encoder %.3f s for %.1f s of sound (%zu tokens), longest "
        "step %.3f s\n",
        ops->describe(dev), front, best, atof(argv[2]), log_mel_tokens(in.frames), best_longest);
    ops->free(dev, out);
    free((void *)(uintptr_t)in.features);
    audio_encoder_free(e);
    audio_weights_free(&weights, ops, dev);
    safetensors_close(st);
    ops->close(dev);
    return 0;
}
