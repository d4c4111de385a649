/* media_encode.c - slices of encoding between the engine's steps; see media_encode.h. */
#include "media_encode.h"

static int cancelled(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled");
}

int encoders_take(struct encoders *e, const struct media_wish *wish, struct airlock_error *err)
{
    return turns_take_unless(&e->turns, wish->given_up, wish->ctx) ? cancelled(err) : 0;
}

void encoders_give(struct encoders *e)
{
    turns_give(&e->turns);
}

/* A picture or a clip. */
struct work {
    struct vision_job *image; /* NULL: it is a clip */
    struct audio_job *audio;
};

static bool between(const struct work *w)
{
    return w->image ? vision_job_between(w->image) : audio_job_between(w->audio);
}

/* 1: there is more; 0: done; -1 with err. */
static int slice(struct encoders *e, const struct work *w, struct airlock_error *err)
{
    turns_take(e->device);
    int more = w->image ? vision_encoder_step(e->vision, w->image, err)
                        : audio_encoder_step(e->audio, w->audio, err);
    if (more >= 0 && e->ops->sync(e->dev) != OPS_OK)
        more = airlock_error_set(err, AIRLOCK_E_DEVICE, "the device of the encoders failed");
    turns_give(e->device);
    return more;
}

static int run(struct encoders *e, const struct work *w, const struct media_wish *wish, bool *held,
               struct airlock_error *err)
{
    int more = 1;
    *held = true;
    while (more > 0) {
        if (between(w) && turns_waiting(&e->turns) > 0) {
            encoders_give(e);
            *held = encoders_take(e, wish, err) == 0;
            if (!*held)
                return -1;
        }
        more = media_given_up(wish) ? cancelled(err) : slice(e, w, err);
    }
    return more;
}

int encode_image(struct encoders *e, const struct image_canvas *canvas, void *out,
                 const struct media_wish *wish, bool *held, struct airlock_error *err)
{
    struct vision_job job;
    *held = true;
    if (vision_job_begin(&job, e->vision, canvas, out, err))
        return -1;
    const struct work w = { .image = &job };
    const int status = run(e, &w, wish, held, err);
    vision_job_end(&job);
    return status;
}

int encode_audio(struct encoders *e, const struct audio_input *input, void *out,
                 const struct media_wish *wish, bool *held, struct airlock_error *err)
{
    struct audio_job job;
    *held = true;
    if (audio_job_begin(&job, input, out, err))
        return -1;
    const struct work w = { .audio = &job };
    return run(e, &w, wish, held, err);
}
