/*
 * media.h - pictures and sounds before they are sent: what kind they are, and their files.
 *
 * It knows nothing of airlock.h, whose airlock_error has the name of common/error.h's.
 */
#ifndef AIRLOCK_SDK_MEDIA_H
#define AIRLOCK_SDK_MEDIA_H

#include "common/bytes.h"

#include <stddef.h>

enum { MEDIA_WORDS_MAX = 512 };

/* The kind of a picture or sound by its first bytes, as OpenAI's API names it: "image/png",
 * "image/jpeg", "image/webp", "image/gif"; "wav", "flac", "ogg", "mp3".  NULL: none of them. */
const char *media_image_type(const void *data, size_t size);
const char *media_audio_format(const void *data, size_t size);

/* Reads a whole regular file to the end of out, whose max is its limit.  0, or -1 with words. */
int media_read_file(const char *path, struct bytes *out, char words[MEDIA_WORDS_MAX]);

#endif
