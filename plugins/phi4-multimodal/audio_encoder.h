/*
 * audio_encoder.h - the speech encoder: log-mel features become embeddings in the text model's
 * space, one for every 8 frames (80 ms).
 *
 * Normalisation, subsampling by three strided convolutions, conformer blocks (Gulati et al. 2020,
 * with a relative position bias and a causal convolution), and one of two projections:
 *
 *   for each block:  x += 1/2 feed_forward(x)
 *                    x += attention(layernorm(x))
 *                    x += conv(x)
 *                    x += 1/2 feed_forward(x)
 *                    x  = layernorm(x)
 *
 * Sound of more than AUDIO_CHUNK steps is cut into chunks of so many, and neither attention nor
 * convolution looks across a cut.  As in the Hub's code a clip that is alone in its request has no
 * mask: its last chunk is filled up with zeros that are attended to like sound.  Clips that share a
 * request are padded to the longest with frames of silence (0 before normalisation) that the
 * subsampling sees and that attention does not.
 *
 * The work is done in small steps, each a part of a chunk, so that a scheduler can decode text in
 * between; memory is that of one chunk, however long the sound.  One thread at a time.
 */
#ifndef AIRLOCK_AUDIO_ENCODER_H
#define AIRLOCK_AUDIO_ENCODER_H

#include "audio_weights.h"

#include <stdbool.h>

struct audio_encoder; /* buffers for activations, allocated once */

struct audio_input {
    const float *features; /* [frames, LOG_MEL_BINS] host; stays until the work is done */
    size_t frames;         /* at least 1 */
    bool alone;            /* the only clip of its request */
    size_t longest;        /* frames of the longest clip of the request; not used when alone */
    enum audio_mode mode;
};

/* All five must outlive the encoder. */
struct audio_encoder *audio_encoder_new(const struct audio_config *config,
                                        const struct audio_weights *weights, const struct ops *ops,
                                        struct ops_device *dev, struct airlock_error *err);
void audio_encoder_free(struct audio_encoder *e); /* NULL allowed */

/* A clip on its way; its members are the encoder's. */
struct audio_job {
    struct audio_input input;
    void *out;
    size_t image_frames; /* that exist for the convolutions: with the padding */
    size_t steps;        /* of the output */
    bool padded;         /* the last chunk is filled up with zeros */
    /* Where the work is: in the chunk, first tiles of subsampling, then blocks, then projection. */
    size_t chunk, stage;
};

/* Begins a clip.  out: device memory of [log_mel_tokens(input->frames), text_hidden] act.
 * 0, or -1 with err. */
int audio_job_begin(struct audio_job *job, const struct audio_input *input, void *out,
                    struct airlock_error *err);

/* Does the next piece of work.  1: there is more; 0: out is complete; -1 with err. */
int audio_encoder_step(struct audio_encoder *e, struct audio_job *job, struct airlock_error *err);

/* Whether the job leaves nothing in the encoder now: another may be worked on. */
static inline bool audio_job_between(const struct audio_job *job)
{
    return job->stage == 0;
}

#endif
