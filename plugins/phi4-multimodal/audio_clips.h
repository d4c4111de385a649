/*
 * audio_clips.h - the sounds of one request: from files to features and token counts, and then,
 * step by step, to embeddings.
 */
#ifndef AIRLOCK_AUDIO_CLIPS_H
#define AIRLOCK_AUDIO_CLIPS_H

#include "audio_encoder.h"
#include "media_client.h"
#include "media_prompt.h"

struct audio_clip_features {
    float *features; /* [frames, LOG_MEL_BINS] */
    size_t frames;
    size_t tokens; /* of the prompt */
};

struct audio_clips {
    struct audio_clip_features *clip; /* [n] */
    size_t n;
    size_t longest; /* frames */
    size_t tokens;  /* of all clips */
};

/* Has the files decoded by the worker and computes their features.  What comes back from the worker
 * is checked like any input.  max_seconds: of all files together, at most AUDIO_MAX_SECONDS.
 * 0, or -1 with nothing to free and err, which begins with "audios[K]: "; AIRLOCK_E_REQUEST when it
 * is the file's fault.  [any thread] */
int audio_clips_prepare(struct media_worker *worker, const struct media_file *files, size_t n,
                        size_t max_seconds, struct audio_clips *out, struct airlock_error *err);
void audio_clips_free(struct audio_clips *clips); /* also zeroed ones */

/* Encodes all clips, one after the other, each as the reference would beside the others. */
struct audio_clips_job {
    struct audio_encoder *encoder;
    const struct audio_clips *clips;
    enum audio_mode mode;
    void *out; /* device: [clips->tokens, text_hidden] act, clip after clip */
    size_t row_bytes;
    size_t next, done_tokens; /* clip to begin; tokens of the clips before it */
    bool working;             /* on the clip before next */
};

/* All pointers stay valid until the job is done or given up. */
void audio_clips_begin(struct audio_clips_job *job, struct audio_encoder *encoder,
                       const struct audio_clips *clips, enum audio_mode mode, void *out,
                       size_t row_bytes);
/* The next piece of work.  1: there is more; 0: out is complete; -1 with err.  [the engine's
 * thread] */
int audio_clips_step(struct audio_clips_job *job, struct airlock_error *err);

#endif
