/* audio_decode.c - libsndfile over a buffer, the mean of the channels, the right rate; see
 * audio_decode.h. */
#include "audio_decode.h"

#include "audio_resample.h"

#include <limits.h>
#include <math.h>
#include <sndfile.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE_VALUES = 1 << 14 }; /* samples of all channels decoded at a time */

/* Beyond it (16-bit numbers written as floats reach half of it) the spectrum could leave float32.
 */
#define LOUDEST 65536.0

/* ---- a buffer as libsndfile's file ----------------------------------------------------------- */

struct memory_file {
    const unsigned char *data;
    sf_count_t size, at;
};

static sf_count_t memory_length(void *ctx)
{
    return ((struct memory_file *)ctx)->size;
}

/* Positions stay within 0 .. size. */
static sf_count_t memory_seek(sf_count_t offset, int whence, void *ctx)
{
    struct memory_file *f = ctx;
    const sf_count_t base = whence == SEEK_CUR ? f->at : whence == SEEK_END ? f->size : 0;
    if (offset < -base)
        f->at = 0;
    else
        f->at = offset > f->size - base ? f->size : base + offset;
    return f->at;
}

static sf_count_t memory_read(void *to, sf_count_t n, void *ctx)
{
    struct memory_file *f = ctx;
    const sf_count_t left = f->size - f->at, take = n < left ? n : left;
    if (take <= 0)
        return 0;
    memcpy(to, f->data + f->at, (size_t)take);
    f->at += take;
    return take;
}

static sf_count_t memory_tell(void *ctx)
{
    return ((struct memory_file *)ctx)->at;
}

/* ---- what is accepted ------------------------------------------------------------------------ */

/* libsndfile knows two dozen formats; of those only the four promised ones are let near it. */
static int looks_supported(const unsigned char *p, size_t n)
{
    if (n >= 12 && (memcmp(p, "RIFF", 4) == 0 || memcmp(p, "RF64", 4) == 0))
        return memcmp(p + 8, "WAVE", 4) == 0;
    if (n >= 4 && (memcmp(p, "fLaC", 4) == 0 || memcmp(p, "OggS", 4) == 0))
        return 1;
    /* MP3: an ID3v2 tag, or a frame's 11 sync bits and layer III */
    return n >= 4 && (memcmp(p, "ID3", 3) == 0 ||
                      (p[0] == 0xff && (p[1] & 0xe0) == 0xe0 && (p[1] & 0x06) == 0x02));
}

static int supported_type(int format)
{
    switch (format & SF_FORMAT_TYPEMASK) {
    case SF_FORMAT_WAV:
    case SF_FORMAT_WAVEX:
    case SF_FORMAT_RF64:
    case SF_FORMAT_FLAC:
    case SF_FORMAT_OGG:
    case SF_FORMAT_MPEG:
        return 1;
    default:
        return 0;
    }
}

static int check_format(const SF_INFO *info, struct airlock_error *err)
{
    if (!supported_type(info->format))
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "not a WAV, FLAC, Ogg or MP3 file");
    if (info->samplerate < AUDIO_MIN_RATE || info->samplerate > AUDIO_MAX_RATE)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "a rate of %d Hz; %d to %d Hz are read",
                                 info->samplerate, AUDIO_MIN_RATE, AUDIO_MAX_RATE);
    if (info->channels < 1 || info->channels > AUDIO_MAX_CHANNELS)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "%d channels; 1 to %d are read",
                                 info->channels, AUDIO_MAX_CHANNELS);
    return 0;
}

/* ---- decoding -------------------------------------------------------------------------------- */

struct collector {
    struct audio_clip *clip;
    size_t capacity, max; /* samples */
    struct airlock_error *err;
};

static int too_long(struct airlock_error *err, size_t seconds)
{
    return airlock_error_set(err, AIRLOCK_E_TOO_LARGE, "longer than %zu seconds", seconds);
}

/* The sink of the resampler. */
static int collect(void *ctx, const double *samples, size_t n)
{
    struct collector *c = ctx;
    struct audio_clip *clip = c->clip;
    if (n > c->max - clip->n_samples)
        return too_long(c->err, c->max / clip->rate);
    if (n > c->capacity - clip->n_samples) {
        size_t capacity = c->capacity * 2 + n + clip->rate;
        if (capacity > c->max)
            capacity = c->max;
        float *grown = realloc(clip->samples, capacity * sizeof *grown);
        if (!grown)
            return airlock_error_set(c->err, AIRLOCK_E_NO_MEMORY, "out of memory");
        clip->samples = grown;
        c->capacity = capacity;
    }
    for (size_t i = 0; i < n; i++)
        clip->samples[clip->n_samples + i] = (float)samples[i];
    clip->n_samples += n;
    return 0;
}

/* frames [n, channels] to their mean, in place. */
static int mix_down(double *frames, size_t n, size_t channels, struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t c = 0; c < channels; c++)
            sum += frames[i * channels + c];
        frames[i] = sum / (double)channels;
        if (!(fabs(frames[i]) <= LOUDEST))
            return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                     "a sample is not a finite number between -%g and %g", LOUDEST,
                                     LOUDEST);
    }
    return 0;
}

static int decode_all(SNDFILE *file, const SF_INFO *info, struct audio_resampler *resampler,
                      size_t max_frames, size_t max_seconds, struct airlock_error *err)
{
    double buffer[PIECE_VALUES];
    const size_t channels = (size_t)info->channels;
    size_t total = 0;
    for (;;) {
        const sf_count_t got = sf_readf_double(file, buffer, (sf_count_t)(PIECE_VALUES / channels));
        if (got <= 0)
            break;
        total += (size_t)got;
        if (total > max_frames)
            return too_long(err, max_seconds);
        if (mix_down(buffer, (size_t)got, channels, err) < 0 ||
            audio_resample_push(resampler, buffer, (size_t)got, err) != 0)
            return -1;
    }
    if (sf_error(file) != SF_ERR_NO_ERROR)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the file is damaged: %.100s",
                                 sf_strerror(file));
    if (total == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the file holds no sound");
    return audio_resample_finish(resampler, err);
}

static int decode_file(SNDFILE *file, const SF_INFO *info, size_t max_seconds,
                       struct audio_clip *out, struct airlock_error *err)
{
    if (check_format(info, err) < 0)
        return -1;
    const unsigned rate = (unsigned)info->samplerate;
    out->rate = rate == AUDIO_RATE_NARROW ? AUDIO_RATE_NARROW : AUDIO_RATE;
    struct collector collector = { out, 0, max_seconds * out->rate, err };
    /* Sound that stays at 8000 Hz passes through as sound at the model's rate does. */
    struct audio_resampler *resampler = audio_resampler_new(
        rate == AUDIO_RATE_NARROW ? (unsigned)AUDIO_RATE : rate, collect, &collector, err);
    if (!resampler)
        return -1;
    const int rc = decode_all(file, info, resampler, max_seconds * rate, max_seconds, err);
    audio_resampler_free(resampler);
    return rc;
}

int audio_decode(const void *data, size_t size, size_t max_seconds, struct audio_clip *out,
                 struct airlock_error *err)
{
    static SF_VIRTUAL_IO io = { memory_length, memory_seek, memory_read, NULL, memory_tell };
    struct memory_file memory = { data, 0, 0 };
    SF_INFO info = { 0 };
    *out = (struct audio_clip){ 0 };
    if (max_seconds < 1 || max_seconds > AUDIO_MAX_SECONDS || size > INT_MAX)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "%zu bytes for %zu seconds", size,
                                 max_seconds);
    if (!looks_supported(data, size))
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "not a WAV, FLAC, Ogg or MP3 file");
    memory.size = (sf_count_t)size;
    SNDFILE *file = sf_open_virtual(&io, SFM_READ, &info, &memory);
    if (!file)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the file cannot be read: %.100s",
                                 sf_strerror(NULL));
    const int rc = decode_file(file, &info, max_seconds, out, err);
    sf_close(file);
    if (rc < 0)
        audio_clip_free(out);
    return rc < 0 ? -1 : 0;
}

void audio_clip_free(struct audio_clip *clip)
{
    free(clip->samples);
    *clip = (struct audio_clip){ 0 };
}
