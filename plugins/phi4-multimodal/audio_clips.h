/*
 * audio_clips.h - the sounds of one request: from files to features and token counts.
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
 * is checked like any input.  max_seconds: of all files together, at most AUDIO_MAX_SECONDS.  wish:
 * NULL: wanted.
 * 0, or -1 with nothing to free and err, which begins with "audios[K]: "; AIRLOCK_E_REQUEST when it
 * is the file's fault.  [any thread] */
int audio_clips_prepare(struct media_worker *worker, const struct media_file *files, size_t n,
                        size_t max_seconds, const struct media_wish *wish, struct audio_clips *out,
                        struct airlock_error *err);
void audio_clips_free(struct audio_clips *clips); /* also zeroed ones */

/* What the encoder takes for clip i: each is encoded as the reference would beside the others. */
struct audio_input audio_clips_input(const struct audio_clips *clips, size_t i,
                                     enum audio_mode mode);

#endif
