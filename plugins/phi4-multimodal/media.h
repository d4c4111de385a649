/*
 * media.h - the pictures and sounds of a loaded model's requests: decoding, the encoders, and the
 * adapters that they switch on.
 *
 * The encoders compute in the threads of generate(), with the engine's threads in turns with its
 * steps (media_encode.h): decoding of text goes on meanwhile.  Embeddings are kept (media_cache.h).
 */
#ifndef AIRLOCK_MEDIA_H
#define AIRLOCK_MEDIA_H

#include "builtin_adapters.h"
#include "phi4-common/generate.h"

struct media;

/* The calls for generate(); their ctx is a struct media that media_load() has loaded. */
extern const struct generate_media_calls media_calls;

/* next: the hook of the users' adapters.  NULL: err says why. */
struct media *media_new(const struct linear_hook *next, struct airlock_error *err);
/* The hook for the engine. */
const struct linear_hook *media_hook(struct media *m);

struct media_source {
    struct engine *engine;
    const struct ops *ops;
    const struct ops_open *device;
    const char *dir;                 /* of the engine's checkpoint */
    const struct model_sites *sites; /* of the engine */
    const char *worker;              /* the program airlock-media-worker */
    size_t cache_bytes;              /* of embeddings that are kept */
};

/* Loads towers, projections and adapters, and starts the worker.  0, or -1 with err. */
int media_load(struct media *m, const struct media_source *from, struct airlock_error *err);
/* Whether the checkpoint brought "vision" and "speech", the adapters that go with pictures and
 * sounds. */
bool media_has_adapter(const struct media *m, enum builtin_kind kind);
void media_free(struct media *m); /* the engine is still open; NULL allowed */

#endif
