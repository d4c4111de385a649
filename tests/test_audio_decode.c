/* test_audio_decode.c - sound files become the samples that the reference would take, or are
 * refused: attack case A36. */
#include "golden_file.h"
#include "known_leaks.h"
#include "phi4-multimodal/audio_decode.h"
#include "phi4-multimodal/audio_resample.h"
#include "suite.h"

#include <math.h>
#include <sndfile.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static struct airlock_error err;

/* ---- files of others ------------------------------------------------------------------------- */

static const struct golden {
    const char *file, *samples;
    unsigned rate;
    double allowed; /* the decoders of lossy files differ in rounding from version to version */
} golden[] = {
    { "wav16k_s16.wav", "wav16k_s16.f32", 16000, 0 },
    { "wav8k_ulaw.wav", "wav8k_ulaw.f32", 8000, 0 },
    { "wav8k_s16_stereo.wav", "wav8k_s16_stereo.f32", 8000, 0 },
    { "wav48k_s24_stereo.wav", "wav48k_s24_stereo.f32", 16000, 0x1p-23 },
    { "wav32k_u8.wav", "wav32k_u8.f32", 16000, 0x1p-23 },
    { "wav11025_float.wav", "wav11025_float.f32", 16000, 0x1p-20 },
    { "wav22050_six.wav", "wav22050_six.f32", 16000, 0x1p-20 },
    { "wav5000.wav", "wav5000.f32", 16000, 0x1p-20 },
    { "flac44100.flac", "flac44100.f32", 16000, 0x1p-20 },
    { "mp3_44100.mp3", "mp3_44100.f32", 16000, 1e-4 },
    { "mp3_16k_id3.mp3", "mp3_16k_id3.f32", 16000, 1e-4 },
    { "vorbis44100.ogg", "vorbis44100.f32", 16000, 1e-4 },
    { "opus48k.opus", "opus48k.f32", 16000, 1e-3 },
};
enum { N_GOLDEN = sizeof golden / sizeof *golden };

START_TEST(every_format_gives_the_samples_that_the_reference_takes)
{
    const struct golden *g = &golden[_i];
    size_t size, want_bytes;
    void *data = golden_file("audio", g->file, &size);
    float *want = golden_file("audio", g->samples, &want_bytes);
    struct audio_clip clip;
    ck_assert_msg(audio_decode(data, size, 30, &clip, &err) == 0, "%s: %s", g->file, err.text);
    ck_assert_uint_eq(clip.rate, g->rate);
    ck_assert_uint_eq(clip.n_samples, want_bytes / sizeof *want);
    for (size_t i = 0; i < clip.n_samples; i++)
        if (!(fabs((double)clip.samples[i] - (double)want[i]) <= g->allowed))
            ck_abort_msg("%s, sample %zu: %.9g, want %.9g", g->file, i, (double)clip.samples[i],
                         (double)want[i]);
    audio_clip_free(&clip);
    ck_assert_ptr_null(clip.samples);
    free(data);
    free(want);
}
END_TEST

/* Cut anywhere, a file gives sound or a sentence; valgrind and the sanitizers see the rest. */
START_TEST(a_file_cut_short_is_refused_or_gives_what_is_there)
{
    const struct golden *g = &golden[_i];
    size_t size;
    unsigned char *data = golden_file("audio", g->file, &size);
    for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
        unsigned char *part = malloc(cut ? cut : 1);
        struct audio_clip clip;
        ck_assert_ptr_nonnull(part);
        memcpy(part, data, cut);
        err = (struct airlock_error){ 0 };
        if (audio_decode(part, cut, 30, &clip, &err) == 0)
            ck_assert_uint_gt(clip.n_samples, 0);
        else
            ck_assert_msg(err.text[0] && !clip.samples, "%s", err.text);
        audio_clip_free(&clip);
        free(part);
    }
    free(data);
}
END_TEST

/* ---- files of our own ------------------------------------------------------------------------ */

enum { MAX_FILE = 1 << 16 };

struct file {
    unsigned char data[MAX_FILE];
    size_t size;
};

static void put_text(struct file *f, const char *four)
{
    memcpy(f->data + f->size, four, 4);
    f->size += 4;
}

static void put_number(struct file *f, uint64_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        f->data[f->size++] = (unsigned char)(v >> 8 * i);
}

/* What a WAV file says of itself; sizes 0 are filled in truly. */
struct wav {
    unsigned tag, channels, rate, bytes_per_second, block_align, bits;
    uint32_t riff_size, fmt_size, data_size;
    bool data_first;
};

static const struct wav honest = { .tag = 1, .channels = 1, .rate = 16000, .bits = 16 };

static void put_fmt(struct file *f, const struct wav *w)
{
    put_text(f, "fmt ");
    put_number(f, w->fmt_size ? w->fmt_size : 16, 4);
    put_number(f, w->tag, 2);
    put_number(f, w->channels, 2);
    put_number(f, w->rate, 4);
    put_number(f, w->bytes_per_second ? w->bytes_per_second : w->rate * w->channels * w->bits / 8,
               4);
    put_number(f, w->block_align ? w->block_align : w->channels * w->bits / 8, 2);
    put_number(f, w->bits, 2);
}

static void put_data(struct file *f, const struct wav *w, const void *data, size_t bytes)
{
    put_text(f, "data");
    put_number(f, w->data_size ? w->data_size : bytes, 4);
    memcpy(f->data + f->size, data, bytes);
    f->size += bytes;
}

static void make_wav(struct file *f, const struct wav *w, const void *data, size_t bytes)
{
    f->size = 0;
    put_text(f, "RIFF");
    put_number(f, w->riff_size ? w->riff_size : 36 + bytes, 4);
    put_text(f, "WAVE");
    if (w->data_first)
        put_data(f, w, data, bytes);
    put_fmt(f, w);
    if (!w->data_first)
        put_data(f, w, data, bytes);
}

static void refused(const struct file *f, size_t max_seconds, enum airlock_status code,
                    const char *word)
{
    struct audio_clip clip = { (float *)1, 2, 3 };
    err = (struct airlock_error){ 0 };
    ck_assert_int_eq(audio_decode(f->data, f->size, max_seconds, &clip, &err), -1);
    ck_assert_msg(err.text[0] && strstr(err.text, word), "%s", err.text);
    ck_assert_int_eq(err.code, code);
    ck_assert(clip.samples == NULL && clip.n_samples == 0);
}

static void gives(const struct file *f, size_t n_samples)
{
    struct audio_clip clip;
    ck_assert_msg(audio_decode(f->data, f->size, 30, &clip, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(clip.n_samples, n_samples);
    audio_clip_free(&clip);
}

static const int16_t quiet[800] = { 1, 2, 3 };

/* A36: what a header may say without being true. */
START_TEST(headers_that_lie_are_refused_with_a_sentence)
{
    static struct file f;
    static const struct {
        struct wav wav;
        const char *word;
    } lies[] = {
        { { .tag = 1, .channels = 1, .rate = 0, .bits = 16 }, "cannot be read" },
        { { .tag = 1, .channels = 1, .rate = 999, .bits = 16 }, "999 Hz" },
        { { .tag = 1, .channels = 1, .rate = 768001, .bits = 16 }, "Hz" },
        { { .tag = 1, .channels = 1, .rate = 1u << 31, .bits = 16 }, "cannot be read" },
        { { .tag = 1, .channels = 1, .rate = UINT32_MAX, .bits = 16 }, "cannot be read" },
        { { .tag = 1, .channels = 0, .rate = 16000, .bits = 16 }, "cannot be read" },
        { { .tag = 1, .channels = 65, .rate = 16000, .bits = 16 }, "65 channels" },
        { { .tag = 1, .channels = 65535, .rate = 16000, .bits = 16 }, "cannot be read" },
        { { .tag = 1, .channels = 1, .rate = 16000, .bits = 0 }, "cannot be read" },
        { { .tag = 1, .channels = 1, .rate = 16000, .bits = 999 }, "cannot be read" },
        { { .tag = 0x1234, .channels = 1, .rate = 16000, .bits = 16 }, "cannot be read" },
        { { .tag = 1, .channels = 1, .rate = 16000, .bits = 16, .fmt_size = 1u << 31 },
          "cannot be read" },
        { { .tag = 1, .channels = 1, .rate = 16000, .bits = 16, .data_first = true },
          "cannot be read" },
    };
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        make_wav(&f, &lies[i].wav, quiet, sizeof quiet);
        refused(&f, 30, AIRLOCK_E_REQUEST, lies[i].word);
    }
}
END_TEST

START_TEST(sizes_that_lie_do_not_add_or_take_sound)
{
    static struct file f;
    const uint32_t sizes[] = { 0, 1, 36, 4096, INT32_MAX, UINT32_MAX };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct wav w = honest;
        w.riff_size = sizes[i];
        make_wav(&f, &w, quiet, sizeof quiet);
        gives(&f, 800);
    }
    struct wav w = honest;
    w.data_size = UINT32_MAX; /* what a program writes that does not know the length yet */
    make_wav(&f, &w, quiet, sizeof quiet);
    gives(&f, 800);
    w.data_size = 801;
    make_wav(&f, &w, quiet, sizeof quiet);
    gives(&f, 400);
    w = honest;
    w.block_align = 77; /* a lie that decides nothing */
    w.bytes_per_second = 1;
    make_wav(&f, &w, quiet, sizeof quiet);
    struct audio_clip clip;
    if (audio_decode(f.data, f.size, 30, &clip, &err) == 0)
        ck_assert_uint_le(clip.n_samples, 800);
    audio_clip_free(&clip);
}
END_TEST

START_TEST(samples_that_are_no_numbers_are_refused)
{
    static struct file f;
    const struct wav w = { .tag = 3, .channels = 1, .rate = 16000, .bits = 32 };
    const float bad[] = { NAN, INFINITY, -INFINITY, 1e30f, -70000.0f };
    for (size_t i = 0; i < 5; i++) {
        float samples[500] = { 0 };
        samples[300] = bad[i];
        make_wav(&f, &w, samples, sizeof samples);
        refused(&f, 30, AIRLOCK_E_REQUEST, "finite");
    }
    const float loud[500] = { 60000.0f };
    make_wav(&f, &w, loud, sizeof loud);
    gives(&f, 500);
}
END_TEST

START_TEST(what_is_no_sound_is_refused)
{
    static struct file f;
    static const char *const others[] = { "",
                                          "RIFF",
                                          "FORM0000AIFFCOMM",
                                          ".snd00000000",
                                          "caff0000",
                                          "<html>",
                                          "\xff\xd8\xff\xe0JFIF",
                                          "GIF89a",
                                          "OggS",
                                          "fLaC",
                                          "ID3\4",
                                          "RIFF0000WAVE" };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        f.size = strlen(others[i]);
        memcpy(f.data, others[i], f.size);
        refused(&f, 30, AIRLOCK_E_REQUEST, i < 8 ? "not a WAV" : "");
    }
    make_wav(&f, &honest, quiet, 0);
    refused(&f, 30, AIRLOCK_E_REQUEST, "no sound");
    struct audio_clip clip;
    ck_assert_int_eq(audio_decode(f.data, f.size, AUDIO_MAX_SECONDS + 1, &clip, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_INVALID);
}
END_TEST

START_TEST(the_limit_is_on_seconds_of_sound)
{
    static struct file f;
    static int8_t silence[16001];
    struct wav w = { .tag = 1, .channels = 1, .rate = 16000, .bits = 8 };
    make_wav(&f, &w, silence, 16000);
    gives(&f, 16000);
    make_wav(&f, &w, silence, 16001);
    refused(&f, 1, AIRLOCK_E_TOO_LARGE, "longer than 1 seconds");
    w.rate = 2000; /* the same bytes are 8 seconds, 128000 samples for the model */
    make_wav(&f, &w, silence, 16000);
    gives(&f, 128000);
    refused(&f, 7, AIRLOCK_E_TOO_LARGE, "longer than 7 seconds");
}
END_TEST

/* ---- bombs ----------------------------------------------------------------------------------- */

struct written {
    unsigned char *data;
    sf_count_t size, at;
};

static sf_count_t written_length(void *ctx)
{
    return ((struct written *)ctx)->size;
}

static sf_count_t written_seek(sf_count_t offset, int whence, void *ctx)
{
    struct written *w = ctx;
    w->at = offset + (whence == SEEK_CUR ? w->at : whence == SEEK_END ? w->size : 0);
    return w->at;
}

static sf_count_t written_read(void *to, sf_count_t n, void *ctx)
{
    struct written *w = ctx;
    n = n < w->size - w->at ? n : w->size - w->at;
    memcpy(to, w->data + w->at, (size_t)n);
    w->at += n;
    return n;
}

static sf_count_t written_write(const void *from, sf_count_t n, void *ctx)
{
    struct written *w = ctx;
    if (w->at + n > 1 << 20)
        return 0;
    memcpy(w->data + w->at, from, (size_t)n);
    w->at += n;
    if (w->at > w->size)
        w->size = w->at;
    return n;
}

static sf_count_t written_tell(void *ctx)
{
    return ((struct written *)ctx)->at;
}

/* Silence compresses a thousandfold: an hour of it in a few hundred kilobytes. */
static void compress_silence(struct written *w, int format, int rate, int seconds)
{
    SF_VIRTUAL_IO io = { written_length, written_seek, written_read, written_write, written_tell };
    SF_INFO info = { .samplerate = rate, .channels = 1, .format = format };
    *w = (struct written){ malloc(1 << 20), 0, 0 };
    SNDFILE *file = sf_open_virtual(&io, SFM_WRITE, &info, w);
    ck_assert_msg(file != NULL, "%s", sf_strerror(NULL));
    static const short second[48000];
    for (int s = 0; s < seconds; s++)
        ck_assert_int_eq(sf_writef_short(file, second, rate), rate);
    sf_close(file);
}

START_TEST(a_small_file_that_holds_hours_stops_at_the_limit)
{
    static const int formats[] = { SF_FORMAT_FLAC | SF_FORMAT_PCM_16,
                                   SF_FORMAT_OGG | SF_FORMAT_OPUS };
    struct written w;
    compress_silence(&w, formats[_i], 48000, 300);
    ck_assert_int_lt(w.size, 48000 * 300 / 10);
    static struct audio_clip clip;
    ck_assert_int_eq(audio_decode(w.data, (size_t)w.size, 20, &clip, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_TOO_LARGE);
    ck_assert_msg(audio_decode(w.data, (size_t)w.size, 301, &clip, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(clip.n_samples / 16000, 300);
    audio_clip_free(&clip);
    free(w.data);
}
END_TEST

/* ---- resampling ------------------------------------------------------------------------------ */

struct taken {
    double *samples;
    size_t n, stop_at;
};

static int take(void *ctx, const double *samples, size_t n)
{
    struct taken *t = ctx;
    memcpy(t->samples + t->n, samples, n * sizeof *samples);
    t->n += n;
    return t->stop_at && t->n >= t->stop_at ? 7 : 0;
}

/* A tone is the same tone at every rate, in the middle of the sound where the filters are filled.
 */
START_TEST(a_tone_keeps_pitch_phase_and_loudness_at_every_rate)
{
    static const unsigned rates[] = { 1000,  5000,  8001,  11025, 16000,  22050,  24000,
                                      32000, 44100, 48000, 96000, 192000, 655350, 768000 };
    const unsigned rate = rates[_i];
    const double pi = acos(-1), hz = rate < 3000 ? 100 : 440;
    const size_t n = rate / 2;
    double *in = malloc(n * sizeof *in);
    struct taken t = { malloc(20000 * sizeof(double)), 0, 0 };
    for (size_t i = 0; i < n; i++)
        in[i] = sin(2 * pi * hz * (double)i / rate);
    struct audio_resampler *r = audio_resampler_new(rate, take, &t, &err);
    ck_assert_msg(r != NULL, "%s", err.text);
    for (size_t i = 0, piece = 1; i < n; i += piece, piece = 1 + (piece * 7 + 3) % 9000) {
        if (piece > n - i)
            piece = n - i;
        ck_assert_int_eq(audio_resample_push(r, in + i, piece, &err), 0);
    }
    ck_assert_int_eq(audio_resample_finish(r, &err), 0);
    ck_assert_uint_eq(t.n, ((uint64_t)n * 16000 + rate - 1) / rate);
    for (size_t i = 2000; i < 6000; i++)
        if (fabs(t.samples[i] - sin(2 * pi * hz * (double)i / 16000)) > 1e-3)
            ck_abort_msg("%u Hz, sample %zu: %g, want %g", rate, i, t.samples[i],
                         sin(2 * pi * hz * (double)i / 16000));
    audio_resampler_free(r);
    free(t.samples);
    free(in);
}
END_TEST

/* _i: rate. */
START_TEST(other_rates_give_one_sample_for_each_begun)
{
    static const unsigned rates[] = { 11025, 22050, 24000, 44100, 8001, 1000 };
    static double ones[4000], out[70000];
    for (size_t i = 0; i < 4000; i++)
        ones[i] = 1;
    for (size_t n = 3950; n < 4000; n++) {
        struct taken t = { out, 0, 0 };
        struct audio_resampler *r = audio_resampler_new(rates[_i], take, &t, &err);
        ck_assert_int_eq(audio_resample_push(r, ones, n, &err), 0);
        ck_assert_int_eq(audio_resample_finish(r, &err), 0);
        ck_assert_uint_eq(t.n, ((uint64_t)n * 16000 + rates[_i] - 1) / rates[_i]);
        audio_resampler_free(r);
    }
}
END_TEST

START_TEST(multiples_give_one_sample_for_each_k_begun)
{
    static double ones[4000], out[4000];
    for (size_t i = 0; i < 4000; i++)
        ones[i] = 1;
    for (size_t k = 2; k <= 5; k++) {
        for (size_t n = 3990; n < 4000; n++) {
            struct taken t = { out, 0, 0 };
            struct audio_resampler *r = audio_resampler_new((unsigned)k * 16000, take, &t, &err);
            ck_assert_int_eq(audio_resample_push(r, ones, n, &err), 0);
            ck_assert_int_eq(audio_resample_finish(r, &err), 0);
            ck_assert_uint_eq(t.n, (n + k - 1) / k);
            ck_assert(fabs(out[t.n / 2] - 1) < 1e-12);
            audio_resampler_free(r);
        }
    }
}
END_TEST

START_TEST(the_sink_can_stop_the_resampler)
{
    static double silence[20000], out[20000];
    const unsigned rates[] = { 16000, 48000, 44100 };
    for (int i = 0; i < 3; i++) {
        struct taken t = { out, 0, 1 };
        struct audio_resampler *r = audio_resampler_new(rates[i], take, &t, &err);
        ck_assert_int_eq(audio_resample_push(r, silence, 20000, &err), 7);
        audio_resampler_free(r);
    }
    ck_assert_ptr_null(audio_resampler_new(0, take, NULL, &err));
    audio_resampler_free(NULL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("audio_decode");
    TCase *t = tcase_create("audio_decode");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, every_format_gives_the_samples_that_the_reference_takes, 0, N_GOLDEN);
    tcase_add_loop_test(t, a_file_cut_short_is_refused_or_gives_what_is_there, 0, N_GOLDEN);
    tcase_add_test(t, headers_that_lie_are_refused_with_a_sentence);
    tcase_add_test(t, sizes_that_lie_do_not_add_or_take_sound);
    tcase_add_test(t, samples_that_are_no_numbers_are_refused);
    tcase_add_test(t, what_is_no_sound_is_refused);
    tcase_add_test(t, the_limit_is_on_seconds_of_sound);
    tcase_add_loop_test(t, a_small_file_that_holds_hours_stops_at_the_limit, 0, 2);
    tcase_add_loop_test(t, a_tone_keeps_pitch_phase_and_loudness_at_every_rate, 0, 14);
    tcase_add_test(t, multiples_give_one_sample_for_each_k_begun);
    tcase_add_loop_test(t, other_rates_give_one_sample_for_each_begun, 0, 6);
    tcase_add_test(t, the_sink_can_stop_the_resampler);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
