/* image_exif.c - the orientation of EXIF: finding it, and turning the pixels. */
#include "image_formats.h"

#include <stdlib.h>
#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TYPE_SHORT = 3, ENTRY_BYTES = 12 };

/* A number of 2 or 4 bytes in the block's byte order. */
static uint32_t number(const uint8_t *p, size_t bytes, int big_endian)
{
    uint32_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n |= (uint32_t)p[i] << 8 * (big_endian ? bytes - 1 - i : i);
    return n;
}

unsigned exif_orientation(const uint8_t *exif, size_t size)
{
    if (size >= 6 && memcmp(exif, "Exif\0\0", 6) == 0) {
        exif += 6;
        size -= 6;
    }
    if (size < 8 || (memcmp(exif, "II*\0", 4) != 0 && memcmp(exif, "MM\0*", 4) != 0))
        return 1;
    const int big = exif[0] == 'M';
    const size_t at = number(exif + 4, 4, big);
    if (at > size || size - at < 2)
        return 1;
    size_t entries = number(exif + at, 2, big);
    const size_t room = (size - at - 2) / ENTRY_BYTES;
    entries = entries < room ? entries : room;
    for (size_t i = 0; i < entries; i++) {
        const uint8_t *entry = exif + at + 2 + i * ENTRY_BYTES;
        if (number(entry, 2, big) != TAG_ORIENTATION || number(entry + 2, 2, big) != TYPE_SHORT)
            continue;
        const unsigned value = number(entry + 8, 2, big);
        return value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

/*
 * Where the upright pixel (x, y) lies in the stored picture (EXIF 2.3, 4.6.4): 2 mirrored, 3 half
 * a turn, 4 upside down, 5 to 8 the same with rows and columns exchanged.
 */
static size_t source_of(const struct image *m, size_t x, size_t y)
{
    const size_t w = m->width, h = m->height, right = w - 1, bottom = h - 1;
    switch (m->orientation) {
    case 2:
        return y * w + (right - x);
    case 3:
        return (bottom - y) * w + (right - x);
    case 4:
        return (bottom - y) * w + x;
    case 5:
        return x * w + y;
    case 6:
        return (bottom - x) * w + y;
    case 7:
        return (bottom - x) * w + (right - y);
    case 8:
        return x * w + (right - y);
    default:
        return y * w + x;
    }
}

int image_orient(struct image *m)
{
    if (m->orientation == 1)
        return 0;
    const size_t bytes = 3 * (size_t)m->width * m->height;
    const size_t width = m->orientation >= 5 ? m->height : m->width;
    const size_t height = m->orientation >= 5 ? m->width : m->height;
    uint8_t *stored = malloc(bytes);
    if (!stored)
        return image_refuse(m, "it is too large to be turned");
    memcpy(stored, m->rgb, bytes);
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++)
            memcpy(m->rgb + 3 * (y * width + x), stored + 3 * source_of(m, x, y), 3);
    free(stored);
    m->width = (uint32_t)width;
    m->height = (uint32_t)height;
    return 0;
}
