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

/* Loads towers, projections and adapters from the engine's checkpoint in dir, and starts the
 * program worker (airlock-media-worker).  cache_bytes: of embeddings that are kept.  0, or -1 with
 * err. */
int media_load(struct media *m, struct engine *e, const struct ops *ops, const struct ops_open *how,
               const char *dir, const char *worker, size_t cache_bytes, struct airlock_error *err);
void media_free(struct media *m); /* the engine is still open; NULL allowed */

#endif
