/*
 * media_client.h - the plugin's side of the media worker: has files decoded in processes that can
 * do nothing else.
 */
#ifndef AIRLOCK_MEDIA_CLIENT_H
#define AIRLOCK_MEDIA_CLIENT_H

#include "common/error.h"
#include "media_protocol.h"

#include <stdbool.h>
#include <stddef.h>

struct media_worker;

/* Starts the program (an absolute path; airlock-media-worker).  NULL: err says why. */
struct media_worker *media_worker_start(const char *program, struct airlock_error *err);
/* No call is in work.  NULL allowed. */
void media_worker_stop(struct media_worker *w);

/* What was decoded; data lives until media_output_free(). */
struct media_output {
    uint32_t size[2];
    const uint8_t *data; /* [bytes] */
    size_t bytes;
    void *map;
    size_t map_bytes;
};

/* Whether the caller still wants the result; asked now and then.  given_up NULL: it does. */
struct media_wish {
    bool (*given_up)(void *ctx);
    void *ctx;
};

static inline bool media_given_up(const struct media_wish *wish)
{
    return wish && wish->given_up && wish->given_up(wish->ctx);
}

/* Decodes a file, with at most out_max bytes of result.  wish: NULL: wanted.  0, or -1 with err:
 * AIRLOCK_E_REQUEST with a sentence when the file is refused, or when decoding it ran out of memory
 * or time or crashed; AIRLOCK_E_CANCELLED when it was given up; any other code is our own failure.
 * Any thread, several at once. */
int media_worker_decode(struct media_worker *w, enum media_kind kind, const void *file, size_t size,
                        size_t out_max, const struct media_wish *wish, struct media_output *out,
                        struct airlock_error *err);
void media_output_free(struct media_output *out); /* also of a zeroed one */

#endif
