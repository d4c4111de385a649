/* image_decode.c - chooses the decoder by the file's first bytes; size limits and transparency. */
#include "image_decode.h"

#include "image_formats.h"
#include "media_protocol.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int image_refuse(struct image *m, const char *format, ...)
{
    if (m->why[0] == 0) {
        va_list args;
        va_start(args, format);
        vsnprintf(m->why, m->why_size, format, args);
        va_end(args);
    }
    return -1;
}

int image_begin(struct image *m, uint64_t width, uint64_t height)
{
    if (width == 0 || height == 0)
        return image_refuse(m, "it is %llu x %llu pixels: nothing to see",
                            (unsigned long long)width, (unsigned long long)height);
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || width * height > IMAGE_MAX_PIXELS ||
        width * height * 3 > m->capacity)
        return image_refuse(m, "it is %llu x %llu pixels: at most %d in all and %d on a side",
                            (unsigned long long)width, (unsigned long long)height, IMAGE_MAX_PIXELS,
                            IMAGE_MAX_SIDE);
    m->width = (uint32_t)width;
    m->height = (uint32_t)height;
    return 0;
}

void image_over_white(uint8_t *rgb, const uint8_t *rgba, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const unsigned alpha = rgba[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)((rgba[4 * i + c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

static int starts_with(const struct image *m, size_t at, const char *bytes, size_t n)
{
    return m->file_size >= at + n && memcmp(m->file + at, bytes, n) == 0;
}

static int decode(struct image *m)
{
    if (starts_with(m, 0, "\x89PNG\r\n\x1a\n", 8))
        return image_png(m);
    if (starts_with(m, 0, "\xff\xd8\xff", 3))
        return image_jpeg(m);
    if (starts_with(m, 0, "RIFF", 4) && starts_with(m, 8, "WEBP", 4))
        return image_webp(m);
    if (starts_with(m, 0, "GIF87a", 6) || starts_with(m, 0, "GIF89a", 6))
        return image_gif(m);
    return image_refuse(m, "it is not a PNG, JPEG, WebP or GIF file");
}

int image_decode(const uint8_t *file, size_t file_size, uint8_t *rgb, size_t capacity,
                 uint32_t size[2], char *why, size_t why_size)
{
    struct image m = { .file = file,
                       .file_size = file_size,
                       .rgb = rgb,
                       .capacity = capacity,
                       .orientation = 1,
                       .why = why,
                       .why_size = why_size };
    why[0] = 0;
    if (decode(&m) || image_orient(&m))
        return image_refuse(&m, "it cannot be decoded");
    size[0] = m.width;
    size[1] = m.height;
    return 0;
}
