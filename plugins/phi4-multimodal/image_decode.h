/*
 * image_decode.h - a PNG, JPEG, WebP or GIF file to RGB pixels, as they are meant to be seen.
 *
 * Called in the media worker's sealed process only: it runs decoders over bytes that nobody trusts.
 */
#ifndef AIRLOCK_IMAGE_DECODE_H
#define AIRLOCK_IMAGE_DECODE_H

#include <stddef.h>
#include <stdint.h>

/*
 * rgb: [capacity] bytes for height * width * 3; size: width and height.  The first frame of an
 * animation; transparency over white; turned as EXIF says; 16 bits per sample are cut to the upper
 * 8; grey, palette and CMYK become RGB.  The size is judged from the header, before pixels are
 * decoded or memory is reserved for them.
 *
 * 0, or -1 and why (at most why_size bytes): a sentence without a full stop.
 */
int image_decode(const uint8_t *file, size_t file_size, uint8_t *rgb, size_t capacity,
                 uint32_t size[2], char *why, size_t why_size);

#endif
