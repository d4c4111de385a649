/*
 * image_crops.h - a picture becomes the square crops that the vision tower looks at, as the model's
 * own processor cuts them ("dynamic HD").
 *
 * The picture is scaled onto a canvas of cols x rows tiles of IMAGE_CROP pixels, white where it
 * does not reach.  Crop 0 is the whole canvas squeezed into one square; the tiles follow row by
 * row.  Everything is equal to the reference, which uses Pillow and PyTorch: the canvas to the
 * byte, crop 0 to float32's rounding.
 */
#ifndef AIRLOCK_IMAGE_CROPS_H
#define AIRLOCK_IMAGE_CROPS_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    IMAGE_CROP = 448,                         /* pixels on the side of a crop */
    IMAGE_PATCH = 14,                         /* of a patch */
    IMAGE_PATCHES = IMAGE_CROP / IMAGE_PATCH, /* patches on the side of a crop */
    IMAGE_MAX_TILES = 36,                     /* the checkpoint's dynamic_hd */
    IMAGE_MIN_SIDE = 10,                      /* pixels of the scaled picture; thinner is refused */
    IMAGE_CROP_FLOATS = 3 * IMAGE_CROP * IMAGE_CROP
};

struct image_plan {
    size_t cols, rows;             /* tiles */
    size_t width, height;          /* of the scaled picture, at the canvas's upper left */
    size_t valid_cols, valid_rows; /* patches of the canvas that are not padding */
    size_t used_cols, used_rows;   /* pairs of patches: ceil(valid / 2) */
    size_t tokens;                 /* embeddings: 273 + used_rows (used_cols + 1) */
};

/* What becomes of a picture of this size.  0, or -1 with err (AIRLOCK_E_REQUEST): too thin. */
int image_plan(size_t width, size_t height, struct image_plan *plan, struct airlock_error *err);

struct image_canvas {
    struct image_plan plan;
    uint8_t *rgb; /* [rows * IMAGE_CROP, cols * IMAGE_CROP, 3] */
};

/* Scales rgb: [height, width, 3].  0, or -1 with err.  Freed by image_canvas_free(). */
int image_canvas_make(struct image_canvas *c, const uint8_t *rgb, size_t width, size_t height,
                      struct airlock_error *err);
void image_canvas_free(struct image_canvas *c); /* also of a zeroed one */

static inline size_t image_n_crops(const struct image_plan *p)
{
    return 1 + p->cols * p->rows;
}

/* Crop i as [3, IMAGE_CROP, IMAGE_CROP] numbers x / 255 normalised to -1 .. 1. */
void image_crop(const struct image_canvas *c, size_t i, float *out);

/* Whether crop i is crop 0 once more, to the bit and with the same patches: the only tile of a
 * canvas without padding, which is not squeezed. */
static inline bool image_crop_repeats(const struct image_plan *p, size_t i)
{
    return i == 1 && p->cols * p->rows == 1 && p->valid_cols == IMAGE_PATCHES &&
           p->valid_rows == IMAGE_PATCHES;
}

/* Patches of crop i that are not padding: the first *rows rows and *cols columns. */
void image_crop_valid(const struct image_plan *p, size_t i, size_t *rows, size_t *cols);

#endif
