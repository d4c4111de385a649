/* test_audio_features.c - log-mel features equal to the reference's, and how many tokens they
 * become. */
#include "golden_file.h"
#include "phi4-multimodal/log_mel.h"
#include "suite.h"

#include <math.h>
#include <string.h>

static struct airlock_error err;

static const struct golden {
    const char *name;
    unsigned rate;
} golden[] = {
    { "wav16k_s16", 16000 },        { "wav8k_ulaw", 8000 },   { "wav8k_s16_stereo", 8000 },
    { "wav48k_s24_stereo", 16000 }, { "wav32k_u8", 16000 },   { "wav11025_float", 16000 },
    { "wav22050_six", 16000 },      { "wav5000", 16000 },     { "flac44100", 16000 },
    { "mp3_44100", 16000 },         { "mp3_16k_id3", 16000 }, { "vorbis44100", 16000 },
    { "opus48k", 16000 },
};
enum { N_GOLDEN = sizeof golden / sizeof *golden };

static void assert_close(const float *got, const float *want, size_t n, const char *what)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= 0x1p-16))
            ck_abort_msg("%s, frame %zu, filter %zu: %.9g, want %.9g", what, i / LOG_MEL_BINS,
                         i % LOG_MEL_BINS, (double)got[i], (double)want[i]);
}

/* 2^-16 is a tenth of the smallest difference that bf16 can tell at these values (up to 25). */
START_TEST(features_are_those_of_the_reference)
{
    char file[64];
    size_t bytes, want_bytes;
    snprintf(file, sizeof file, "%s.f32", golden[_i].name);
    float *samples = golden_file("audio", file, &bytes);
    snprintf(file, sizeof file, "%s.mel", golden[_i].name);
    float *want = golden_file("audio", file, &want_bytes);
    const size_t n = bytes / sizeof *samples, frames = log_mel_frames(n, golden[_i].rate);
    ck_assert_uint_eq(frames * LOG_MEL_BINS * sizeof *want, want_bytes);
    float *got = malloc(want_bytes);
    ck_assert_int_eq(log_mel(samples, n, golden[_i].rate, got, &err), 0);
    assert_close(got, want, frames * LOG_MEL_BINS, golden[_i].name);
    free(samples);
    free(want);
    free(got);
}
END_TEST

START_TEST(silence_is_zero_everywhere)
{
    static const float silence[720];
    float got[3 * LOG_MEL_BINS];
    ck_assert_uint_eq(log_mel_frames(720, 16000), 3);
    ck_assert_int_eq(log_mel(silence, 720, 16000, got, &err), 0);
    for (size_t i = 0; i < 3 * LOG_MEL_BINS; i++)
        ck_assert(got[i] == 0.0f);
}
END_TEST

START_TEST(a_frame_depends_on_its_own_samples_alone)
{
    float samples[720], alone[LOG_MEL_BINS], all[3 * LOG_MEL_BINS];
    for (int i = 0; i < 720; i++)
        samples[i] = (float)sin(i * 0.7) * (float)i / 720;
    ck_assert_int_eq(log_mel(samples, 720, 16000, all, &err), 0);
    for (size_t f = 0; f < 3; f++) {
        ck_assert_int_eq(log_mel(samples + 160 * f, 400, 16000, alone, &err), 0);
        ck_assert_mem_eq(alone, all + f * LOG_MEL_BINS, sizeof alone);
    }
}
END_TEST

START_TEST(frames_and_tokens_are_counted_as_in_the_reference)
{
    static const struct {
        size_t samples;
        unsigned rate;
        size_t frames, tokens;
    } counts[] = {
        { 0, 16000, 0, 0 },
        { 399, 16000, 0, 0 },
        { 400, 16000, 1, 1 },
        { 559, 16000, 1, 1 },
        { 560, 16000, 2, 1 },
        { 1600, 16000, 8, 1 },
        { 1680, 16000, 9, 2 },
        { 16000, 16000, 98, 13 },
        { 41 * 16000, 16000, 4098, 513 },
        { 199, 8000, 0, 0 },
        { 200, 8000, 1, 1 },
        { 8000, 8000, 98, 13 },
        { 600 * 16000, 16000, 59998, 7500 },
        { 16000, 44100, 0, 0 },
    };
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        ck_assert_uint_eq(log_mel_frames(counts[i].samples, counts[i].rate), counts[i].frames);
        ck_assert_uint_eq(log_mel_tokens(counts[i].frames), counts[i].tokens);
    }
}
END_TEST

START_TEST(what_has_no_frame_is_refused)
{
    const float samples[400] = { 0 };
    float out[LOG_MEL_BINS];
    ck_assert_int_eq(log_mel(samples, 399, 16000, out, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    ck_assert_ptr_nonnull(strstr(err.text, "25 ms"));
    ck_assert_int_eq(log_mel(samples, 400, 44100, out, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_INVALID);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("audio_features");
    TCase *t = tcase_create("audio_features");
    tcase_add_loop_test(t, features_are_those_of_the_reference, 0, N_GOLDEN);
    tcase_add_test(t, silence_is_zero_everywhere);
    tcase_add_test(t, a_frame_depends_on_its_own_samples_alone);
    tcase_add_test(t, frames_and_tokens_are_counted_as_in_the_reference);
    tcase_add_test(t, what_has_no_frame_is_refused);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
