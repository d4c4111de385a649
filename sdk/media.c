/* media.c - first bytes and files; see media.h. */
#include "media.h"

#include "common/io.h"

#include <stdio.h>
#include <string.h>

/* text at an offset of the data? */
static int has(const void *data, size_t size, size_t at, const char *text)
{
    size_t n = strlen(text);
    return size >= at + n && memcmp((const char *)data + at, text, n) == 0;
}

const char *media_image_type(const void *data, size_t size)
{
    if (has(data, size, 0, "\x89PNG\r\n\x1a\n"))
        return "image/png";
    if (has(data, size, 0, "\xff\xd8\xff"))
        return "image/jpeg";
    if (has(data, size, 0, "GIF87a") || has(data, size, 0, "GIF89a"))
        return "image/gif";
    if (has(data, size, 0, "RIFF") && has(data, size, 8, "WEBP"))
        return "image/webp";
    return NULL;
}

const char *media_audio_format(const void *data, size_t size)
{
    const unsigned char *p = data;
    if ((has(data, size, 0, "RIFF") || has(data, size, 0, "RF64")) && has(data, size, 8, "WAVE"))
        return "wav";
    if (has(data, size, 0, "fLaC"))
        return "flac";
    if (has(data, size, 0, "OggS"))
        return "ogg";
    /* a tag in front, or a frame: eleven bits set, and a layer that exists */
    if (has(data, size, 0, "ID3") ||
        (size > 1 && p[0] == 0xff && (p[1] & 0xe0) == 0xe0 && (p[1] & 0x06) != 0))
        return "mp3";
    return NULL;
}

int media_read_file(const char *path, struct bytes *out, char words[MEDIA_WORDS_MAX])
{
    struct airlock_error err = { 0 };
    if (io_read_file(path, out, &err) == 0)
        return 0;
    snprintf(words, MEDIA_WORDS_MAX, "%s", err.text);
    return -1;
}
