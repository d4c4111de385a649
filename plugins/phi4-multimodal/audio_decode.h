/*
 * audio_decode.h - a sound file in memory becomes mono samples at the rate the audio front end
 * takes.
 *
 * Reads WAV (also RF64 and WAVE_FORMAT_EXTENSIBLE), FLAC, Ogg (Vorbis, Opus, FLAC) and MP3, told
 * from each other by their first bytes, with any number of channels up to AUDIO_MAX_CHANNELS
 * (their mean is taken) and any rate between AUDIO_MIN_RATE and AUDIO_MAX_RATE.  A file of 8000 Hz
 * stays so, because the reference has its own way with it (log_mel.h); everything else leaves at
 * 16000 Hz (audio_resample.h).
 *
 * Headers lie, so nothing is reserved for what they promise: the file is decoded piece by piece and
 * given up as soon as more than max_seconds of sound have come.
 *
 * A function of its arguments alone: no files, no environment, no state; it is meant to run in a
 * process that can do nothing else, since the decoders are the largest body of foreign code here.
 * (The MP3 decoder writes its complaints to stderr: close that in such a process.)
 * [any thread]
 */
#ifndef AIRLOCK_AUDIO_DECODE_H
#define AIRLOCK_AUDIO_DECODE_H

#include "common/error.h"

#include <stddef.h>

enum {
    AUDIO_RATE = 16000,       /* Hz, of the model */
    AUDIO_RATE_NARROW = 8000, /* Hz, of telephone sound, kept as it is */
    AUDIO_MIN_RATE = 1000,    /* Hz; below it there is no speech */
    AUDIO_MAX_RATE = 768000,  /* Hz; twice what the fastest converters write */
    AUDIO_MAX_CHANNELS = 64,
    AUDIO_MAX_SECONDS = 1800 /* the 30 minutes that the model card names; 115 MB of samples */
};

struct audio_clip {
    float *samples; /* [n_samples], about -1 .. 1, finite; owned: audio_clip_free */
    size_t n_samples;
    unsigned rate; /* Hz: AUDIO_RATE or AUDIO_RATE_NARROW */
};

/* Decodes the file at data.  max_seconds: 1 .. AUDIO_MAX_SECONDS.  0, or -1 with *out zeroed and
 * err: AIRLOCK_E_REQUEST with what is wrong with the file, AIRLOCK_E_TOO_LARGE when it is too long,
 * AIRLOCK_E_NO_MEMORY. */
int audio_decode(const void *data, size_t size, size_t max_seconds, struct audio_clip *out,
                 struct airlock_error *err);
void audio_clip_free(struct audio_clip *clip); /* a zeroed clip is allowed */

#endif
