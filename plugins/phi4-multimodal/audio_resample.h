/*
 * audio_resample.h - one channel of sound at any rate becomes sound at 16000 Hz, piece by piece.
 *
 * Two ways, chosen by the rate:
 *
 * - 16000 k Hz, k > 1: every k-th sample after a low-pass filter, as the reference does it
 *   (scipy.signal.resample_poly(x, 1, k)): a sinc of 20 k + 1 taps with its edge at 8000 Hz under a
 *   Kaiser window with beta 5, scaled to gain 1 at 0 Hz (Oppenheim and Schafer, 7.5.3).  The model
 *   was made with this filter, which is gentle: it takes 6 dB at 8000 Hz.
 * - all other rates: libsoxr at its quality HQ (20 bits, linear phase).  The reference divides such
 *   rates as integers, so that it treats 44100 Hz as 32000; that is a mistake, not a choice.
 *
 * One thread at a time for each resampler.
 */
#ifndef AIRLOCK_AUDIO_RESAMPLE_H
#define AIRLOCK_AUDIO_RESAMPLE_H

#include "common/error.h"

#include <stddef.h>

struct audio_resampler;

/* Takes n samples at 16000 Hz; they are the callee's until it returns.  Nonzero stops. */
typedef int audio_sink(void *ctx, const double *samples, size_t n);

/* rate: Hz, any but 0.  sink gets what audio_resample_push and _finish make.  NULL with err. */
struct audio_resampler *audio_resampler_new(unsigned rate, audio_sink *sink, void *ctx,
                                            struct airlock_error *err);
void audio_resampler_free(struct audio_resampler *r); /* NULL allowed */

/* 0, or what the sink answered, or -1 with err: the resampler failed. */
int audio_resample_push(struct audio_resampler *r, const double *samples, size_t n,
                        struct airlock_error *err);
/* The end of the sound: what the filter still holds.  All n samples together gave
 * ceil(16000 n / rate), as scipy, torchaudio and librosa give. */
int audio_resample_finish(struct audio_resampler *r, struct airlock_error *err);

#endif
