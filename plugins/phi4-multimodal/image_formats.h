/* image_formats.h - what the four decoders of pictures share. */
#ifndef AIRLOCK_IMAGE_FORMATS_H
#define AIRLOCK_IMAGE_FORMATS_H

#include <stddef.h>
#include <stdint.h>

struct image {
    const uint8_t *file;
    size_t file_size;
    uint8_t *rgb; /* [capacity]: rows from the top, 3 * width bytes each */
    size_t capacity;
    uint32_t width, height; /* as stored; set by image_begin */
    unsigned orientation;   /* of EXIF, 1 .. 8 */
    char *why;
    size_t why_size;
};

/* A decoder's answer: 0, or -1 after image_refuse. */
int image_png(struct image *m);
int image_jpeg(struct image *m);
int image_webp(struct image *m);
int image_gif(struct image *m);

/* Sets why, once: the first reason is the cause.  Always -1. */
int image_refuse(struct image *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Takes the size that the header tells; -1: it is refused. */
int image_begin(struct image *m, uint64_t width, uint64_t height);
/* n pixels of RGBA (alpha not multiplied in) over white, each channel rounded to nearest. */
void image_over_white(uint8_t *rgb, const uint8_t *rgba, size_t n);
/* Orientation of an EXIF block ("Exif\0\0" in front or not); 1 when there is none or it is odd. */
unsigned exif_orientation(const uint8_t *exif, size_t size);
/* Turns the pixels as m->orientation says.  -1: no memory. */
int image_orient(struct image *m);

#endif
