/*
 * media_encode.h - both encoders on one device, used by many requests in turns.
 *
 * A slice (half a layer of a crop, a block of a chunk of sound, or less) is computed in a turn of
 * the engine's device (engine_turns()), so a step of decoding waits for one slice at most, however
 * long the sound.  After each crop of a picture and each chunk of a sound the encoders pass to
 * who waits for them: a small picture does not wait for the end of ten minutes of sound.  A request
 * that is given up ends within a slice.
 */
#ifndef AIRLOCK_MEDIA_ENCODE_H
#define AIRLOCK_MEDIA_ENCODE_H

#include "audio_encoder.h"
#include "media_client.h"
#include "vision_encoder.h"

#include "engine/turns.h"

struct encoders {
    const struct ops *ops;
    struct ops_device *dev;
    struct vision_encoder *vision;
    struct audio_encoder *audio;
    struct turns *device; /* who computes: dev is used in such turns only */
    struct turns turns;   /* who has the encoders */
};

/* Waits for the encoders.  0, or -1 with err AIRLOCK_E_CANCELLED. */
int encoders_take(struct encoders *e, const struct media_wish *wish, struct airlock_error *err);
void encoders_give(struct encoders *e);

/* Encodes a picture or a clip to out, device memory as the encoder asks for it.  The caller has the
 * encoders, and others may have them meanwhile.  0, or -1 with err.  *held is false when the caller
 * has the encoders no more. */
int encode_image(struct encoders *e, const struct image_canvas *canvas, void *out,
                 const struct media_wish *wish, bool *held, struct airlock_error *err);
int encode_audio(struct encoders *e, const struct audio_input *input, void *out,
                 const struct media_wish *wish, bool *held, struct airlock_error *err);

#endif
