/*
 * image_resize.h - scales an 8-bit RGB picture with Pillow's antialiasing bilinear filter, to the
 * same bytes.
 */
#ifndef AIRLOCK_IMAGE_RESIZE_H
#define AIRLOCK_IMAGE_RESIZE_H

#include <stddef.h>
#include <stdint.h>

/* to: rows of to_stride bytes, of which the first to_height get to_width pixels; from: [height,
 * width, 3].  0, or -1: out of memory. */
int image_resize(uint8_t *to, size_t to_stride, size_t to_width, size_t to_height,
                 const uint8_t *from, size_t width, size_t height);

#endif
