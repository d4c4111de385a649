/* test_audio_clips.c - the sounds of a request through the media worker, the front end and the
 * encoder. */
#include "golden_file.h"
#include "phi4-multimodal/audio_clips.h"
#include "suite.h"

#include "common/json.h"

#include <math.h>
#include <string.h>

static struct airlock_error err;

static struct media_worker *start(const char *program)
{
    char path[1024];
    const char *top = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/%s", top ? top : ".", program);
    struct media_worker *w = media_worker_start(path, &err);
    ck_assert_msg(w != NULL, "%s", err.text);
    return w;
}

static struct media_file open_file(const char *name)
{
    struct media_file f;
    f.bytes = golden_file("audio", name, &f.size);
    return f;
}

static void close_files(struct media_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free((void *)(uintptr_t)files[i].bytes);
}

START_TEST(features_of_files_are_those_of_the_reference)
{
    struct media_file files[] = { open_file("wav48k_s24_stereo.wav"),
                                  open_file("wav8k_s16_stereo.wav"), open_file("mp3_44100.mp3") };
    static const char *const wanted[] = { "wav48k_s24_stereo.mel", "wav8k_s16_stereo.mel",
                                          "mp3_44100.mel" };
    struct media_worker *w = start("airlock-media-worker");
    struct audio_clips clips;
    ck_assert_msg(audio_clips_prepare(w, files, 3, 30, NULL, &clips, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(clips.tokens, 3 + 3 + 4);
    ck_assert_uint_eq(clips.longest, 27);
    for (size_t i = 0; i < 3; i++) {
        size_t bytes;
        float *want = golden_file("audio", wanted[i], &bytes);
        ck_assert_uint_eq(bytes, clips.clip[i].frames * LOG_MEL_BINS * sizeof *want);
        for (size_t k = 0; k < bytes / sizeof *want; k++)
            ck_assert_msg(fabs((double)clips.clip[i].features[k] - (double)want[k]) <= 1e-3,
                          "%s %zu", wanted[i], k);
        free(want);
    }
    audio_clips_free(&clips);
    close_files(files, 3);
    media_worker_stop(w);
}
END_TEST

START_TEST(the_sound_that_is_wrong_is_named)
{
    struct media_worker *w = start("airlock-media-worker");
    struct media_file good = open_file("wav16k_s16.wav"), soon = good;
    soon.size = 44 + 2 * 399; /* one sample less than a frame */
    const struct {
        struct media_file second;
        size_t seconds;
        const char *words;
    } cases[] = {
        { { "GIF89a", 6 }, 30, "audios[1]: not a WAV" },
        { { "", 0 }, 30, "audios[1]: it is empty" },
        { soon, 30, "audios[1]: shorter than 25 ms" },
        { good, 1, "audios[1]: the request's sounds are too long" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct media_file files[] = { good, cases[i].second };
        struct audio_clips clips;
        ck_assert_int_eq(audio_clips_prepare(w, files, 2, cases[i].seconds, NULL, &clips, &err),
                         -1);
        ck_assert_msg(strstr(err.text, cases[i].words) == err.text, "%s", err.text);
        ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
        ck_assert_ptr_null(clips.clip);
    }
    close_files(&good, 1);
    media_worker_stop(w);
}
END_TEST

/* The fake does what its file's first letter says. */
START_TEST(what_a_decoder_says_is_not_believed)
{
    struct media_worker *w = start("tests/fakes/media-worker");
    const struct {
        const char *file, *words;
    } cases[] = { { "g", "audios[0]: its decoder gave no sound" },
                  { "z", "audios[0]: its decoder gave no sound" },
                  { "n", "audios[0]: its decoder gave no numbers" },
                  { "b", "audios[0]: the decoder gave too much" },
                  { "?", "audios[0]: it cannot be decoded" } };
    for (size_t i = 0; i < 5; i++) {
        const struct media_file file = { cases[i].file, 1 };
        struct audio_clips clips;
        ck_assert_int_eq(audio_clips_prepare(w, &file, 1, 30, NULL, &clips, &err), -1);
        ck_assert_msg(strstr(err.text, cases[i].words) == err.text, "%s", err.text);
        ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    }
    media_worker_stop(w);
}
END_TEST

/* ---- a whole request ------------------------------------------------------------------------- */

struct model {
    struct ops_device *dev;
    struct safetensors *st;
    struct audio_config config;
    struct audio_weights weights;
    struct audio_encoder *encoder;
};

static void model_open(struct model *m)
{
    char path[1024];
    const struct ops_open how = { .threads = 2 };
    const char *why = NULL, *top = getenv("top_srcdir");
    m->dev = ops_cpu()->open(&how, &why);
    snprintf(path, sizeof path, "%s/tests/golden/audio_encoder/hub_bf16/config.json", top);
    struct json_object *config = json_parse_file(path, 1 << 20, &err);
    ck_assert_int_eq(audio_config_parse(config, &m->config, &err), 0);
    json_object_put(config);
    snprintf(path, sizeof path, "%s/tests/golden/audio_encoder/hub_bf16/model.safetensors", top);
    m->st = safetensors_open_file(path, &err);
    ck_assert_int_eq(audio_weights_load(&m->weights, &m->config, m->st, ops_cpu(), m->dev, &err),
                     0);
    m->encoder = audio_encoder_new(&m->config, &m->weights, ops_cpu(), m->dev, &err);
    ck_assert_ptr_nonnull(m->encoder);
}

static void model_close(struct model *m)
{
    audio_encoder_free(m->encoder);
    audio_weights_free(&m->weights, ops_cpu(), m->dev);
    safetensors_close(m->st);
    ops_cpu()->close(m->dev);
}

static float *encode(struct model *m, const struct audio_clips *clips, enum audio_mode mode)
{
    const size_t width = m->config.text_hidden;
    float *out = calloc(clips->tokens * width, sizeof *out), *at = out;
    for (size_t i = 0; i < clips->n; i++) {
        struct audio_job job;
        const struct audio_input input = audio_clips_input(clips, i, mode);
        ck_assert_msg(audio_job_begin(&job, &input, at, &err) == 0, "%s", err.text);
        for (int rc; (rc = audio_encoder_step(m->encoder, &job, &err)) != 0;)
            ck_assert_msg(rc > 0, "%s", err.text);
        at += clips->clip[i].tokens * width;
    }
    return out;
}

/* Clips of one length are not padded, and a short one has no chunk to fill: only then it is the
 * same to be alone. */
START_TEST(clips_come_one_after_the_other_each_beside_the_others)
{
    struct model m;
    struct media_worker *w = start("airlock-media-worker");
    struct media_file files[] = { open_file("wav16k_s16.wav"), open_file("wav32k_u8.wav"),
                                  open_file("mp3_44100.mp3") };
    struct audio_clips one, two, three;
    model_open(&m);
    ck_assert_int_eq(audio_clips_prepare(w, files + 1, 1, 30, NULL, &one, &err), 0);
    ck_assert_int_eq(audio_clips_prepare(w, files, 2, 30, NULL, &two, &err), 0);
    ck_assert_int_eq(audio_clips_prepare(w, files, 3, 30, NULL, &three, &err), 0);
    float *alone = encode(&m, &one, AUDIO_SPEECH), *pair = encode(&m, &two, AUDIO_SPEECH);
    float *all = encode(&m, &three, AUDIO_SPEECH), *other = encode(&m, &one, AUDIO_VISION);
    const size_t row = m.config.text_hidden, clip = 3 * row;
    ck_assert_mem_eq(alone, pair + clip, clip * sizeof *alone);
    ck_assert_mem_ne(pair, pair + clip, clip * sizeof *alone);
    ck_assert_mem_ne(alone, all + clip, clip * sizeof *alone); /* padded to the third */
    ck_assert_mem_ne(alone, other, clip * sizeof *alone);
    free(alone);
    free(pair);
    free(all);
    free(other);
    audio_clips_free(&one);
    audio_clips_free(&two);
    audio_clips_free(&three);
    close_files(files, 3);
    model_close(&m);
    media_worker_stop(w);
}
END_TEST

/* 44.1 kHz, 16 bits, mono: noise that comes and goes. */
static struct media_file long_file(size_t seconds)
{
    const size_t frames = seconds * 44100, size = 44 + frames * 2;
    unsigned char *p = malloc(size);
    ck_assert_ptr_nonnull(p);
    const uint32_t header[] = {
        0x46464952, (uint32_t)size - 8, 0x45564157, 0x20746d66,         16, 0x00010001, 44100,
        44100 * 2,  0x00100002,         0x61746164, (uint32_t)size - 44
    };
    memcpy(p, header, 44);
    for (size_t i = 0; i < frames; i++) {
        const int16_t value = i / 22050 % 3 ? (int16_t)(i * 37 % 4001) - 2000 : 0;
        memcpy(p + 44 + 2 * i, &value, 2);
    }
    return (struct media_file){ p, size };
}

/* 10 minutes: the worker's limits, several chunks, memory of one chunk. */
START_TEST(ten_minutes_are_encoded)
{
    struct model m;
    struct media_worker *w = start("airlock-media-worker");
    struct media_file file = long_file(600);
    struct audio_clips clips;
    model_open(&m);
    ck_assert_msg(audio_clips_prepare(w, &file, 1, 600, NULL, &clips, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(clips.tokens, 7500);
    float *out = encode(&m, &clips, AUDIO_SPEECH);
    for (size_t i = 0; i < 7500 * m.config.text_hidden; i++)
        if (!isfinite(out[i]))
            ck_abort_msg("number %zu is %g", i, (double)out[i]);
    ck_assert_mem_ne(out, out + 3750 * m.config.text_hidden, m.config.text_hidden * sizeof *out);
    free(out);
    audio_clips_free(&clips);
    close_files(&file, 1);
    model_close(&m);
    media_worker_stop(w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("audio_clips");
    TCase *t = tcase_create("audio_clips");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, features_of_files_are_those_of_the_reference);
    tcase_add_test(t, the_sound_that_is_wrong_is_named);
    tcase_add_test(t, what_a_decoder_says_is_not_believed);
    tcase_add_test(t, clips_come_one_after_the_other_each_beside_the_others);
    tcase_add_test(t, ten_minutes_are_encoded);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
