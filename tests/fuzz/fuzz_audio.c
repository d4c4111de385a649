/* fuzz_audio.c - any bytes as a sound file: refused with a sentence, or finite samples and features
 * within the limit. */
#include "../known_leaks.h"
#include "phi4-multimodal/audio_decode.h"
#include "phi4-multimodal/log_mel.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

enum { SECONDS = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_features(const struct audio_clip *clip)
{
    const size_t n = log_mel_frames(clip->n_samples, clip->rate) * LOG_MEL_BINS;
    if (n == 0)
        return;
    float *features = malloc(n * sizeof *features);
    if (!features || log_mel(clip->samples, clip->n_samples, clip->rate, features, NULL) < 0)
        abort();
    for (size_t i = 0; i < n; i++)
        if (!isfinite(features[i]) || features[i] < 0)
            abort();
    free(features);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct airlock_error err = { 0 };
    struct audio_clip clip;
    if (audio_decode(data, size, SECONDS, &clip, &err) < 0) {
        if (!err.text[0] || clip.samples)
            abort();
        return 0;
    }
    if (clip.n_samples > SECONDS * (size_t)clip.rate)
        abort();
    for (size_t i = 0; i < clip.n_samples; i++)
        if (!isfinite(clip.samples[i]))
            abort();
    check_features(&clip);
    audio_clip_free(&clip);
    return 0;
}
