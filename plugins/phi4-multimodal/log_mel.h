/*
 * log_mel.h - the audio front end: samples become 80 log mel energies every 10 ms.
 *
 * As the processor of the Hub's checkpoint computes it (the order of the steps matters):
 *   1. Frames of 400 samples every 160 (at 8000 Hz: 200 every 80); no padding, the tail is dropped.
 *   2. Pre-emphasis inside each frame, y[t] = (x[t] - 0.97 x[t-1]) 32768, with x[-1] = x[0].
 *   3. Symmetric Hamming window, 0.54 - 0.46 cos(2 pi t / (n - 1)).
 *   4. Power spectrum of the frame padded with zeros to 512 samples: 257 bins of 31.25 Hz.  At 8000
 *      Hz ("fillzero"): padded to 256, bins 0 .. 127, and zeros from there on.
 *   5. 80 triangles of equal width in mel(f) = 1127 ln(1 + f / 700) from 0 to 7690 Hz, peak 1, on
 *      bins 1 .. 245 (Davis and Mermelstein 1980 for the scheme).
 *   6. ln(max(1, energy)), float32.  No normalisation over the utterance.
 * Pure functions of their arguments.  [any thread]
 */
#ifndef AIRLOCK_LOG_MEL_H
#define AIRLOCK_LOG_MEL_H

#include "common/error.h"

#include <stddef.h>

enum {
    LOG_MEL_BINS = 80,
    LOG_MEL_TOKEN_FRAMES = 8 /* frames that become one token of the prompt */
};

/* Frames of a clip of n samples at 16000 or 8000 Hz; 0: shorter than one frame, 25 ms. */
size_t log_mel_frames(size_t n_samples, unsigned rate);

/* Tokens that stand for so many frames in the prompt: ceil(frames / 8). */
size_t log_mel_tokens(size_t frames);

/* features: [log_mel_frames(n_samples, rate), LOG_MEL_BINS].  Error against exact arithmetic: 2^-16
 * absolute, which is the rounding of step 2 to float32 as the reference has it.  0, or -1 with err:
 * the clip has no frame, or a rate that is neither 16000 nor 8000. */
int log_mel(const float *samples, size_t n_samples, unsigned rate, float *features,
            struct airlock_error *err);

#endif
