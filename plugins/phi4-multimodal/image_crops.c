/* image_crops.c - chooses the grid, scales, pads and cuts; see image_crops.h. */
#include "image_crops.h"

#include "image_resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the plan -------------------------------------------------------------------------------- */

/* The pair whose shape is nearest among those with at most IMAGE_MAX_TILES tiles, from few to
 * many; of equal shapes (2 x 1, 4 x 2, ...) the largest that the picture fills to more than half.
 */
static void nearest_grid(size_t width, size_t height, size_t *cols, size_t *rows)
{
    const double shape = (double)width / (double)height, area = (double)width * (double)height;
    double best = INFINITY;
    for (size_t n = 1; n <= IMAGE_MAX_TILES; n++) {
        for (size_t i = 1; i <= n; i++) {
            if (n % i)
                continue;
            const size_t j = n / i;
            const double off = fabs(shape - (double)i / (double)j);
            if (off < best || (off == best && area > 0.5 * IMAGE_CROP * IMAGE_CROP * (double)n)) {
                best = off;
                *cols = i;
                *rows = j;
            }
        }
    }
}

int image_plan(size_t width, size_t height, struct image_plan *p, struct airlock_error *err)
{
    *p = (struct image_plan){ .cols = (width + IMAGE_CROP - 1) / IMAGE_CROP,
                              .rows = (height + IMAGE_CROP - 1) / IMAGE_CROP };
    if (p->cols * p->rows > IMAGE_MAX_TILES)
        nearest_grid(width, height, &p->cols, &p->rows);
    const size_t canvas_width = p->cols * IMAGE_CROP, canvas_height = p->rows * IMAGE_CROP;
    /* In double and cut, as the reference does it in Python: a width may come out one less. */
    const double ratio_width = (double)canvas_width / (double)width;
    const double ratio_height = (double)canvas_height / (double)height;
    if (ratio_width < ratio_height) {
        p->width = canvas_width;
        p->height = (size_t)((double)height * ratio_width);
    } else {
        p->width = (size_t)((double)width * ratio_height);
        p->height = canvas_height;
    }
    if (p->width < IMAGE_MIN_SIDE || p->height < IMAGE_MIN_SIDE)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "it is %zu x %zu pixels, which the model sees as %zu x %zu: too "
                                 "thin, at least %d are needed",
                                 width, height, p->width, p->height, IMAGE_MIN_SIDE);
    p->valid_cols = p->cols * IMAGE_PATCHES - (canvas_width - p->width) / IMAGE_PATCH;
    p->valid_rows = p->rows * IMAGE_PATCHES - (canvas_height - p->height) / IMAGE_PATCH;
    p->used_cols = (p->valid_cols + 1) / 2;
    p->used_rows = (p->valid_rows + 1) / 2;
    enum { GLOBAL = IMAGE_PATCHES / 2 };
    p->tokens = p->used_rows * (p->used_cols + 1) + 1 + GLOBAL * (GLOBAL + 1);
    return 0;
}

void image_crop_valid(const struct image_plan *p, size_t i, size_t *rows, size_t *cols)
{
    *rows = *cols = IMAGE_PATCHES;
    if (i == 0)
        return;
    const size_t row = (i - 1) / p->cols * IMAGE_PATCHES, col = (i - 1) % p->cols * IMAGE_PATCHES;
    const size_t down = p->valid_rows > row ? p->valid_rows - row : 0;
    const size_t right = p->valid_cols > col ? p->valid_cols - col : 0;
    *rows = down < IMAGE_PATCHES ? down : IMAGE_PATCHES;
    *cols = right < IMAGE_PATCHES ? right : IMAGE_PATCHES;
}

/* ---- the canvas ------------------------------------------------------------------------------ */

int image_canvas_make(struct image_canvas *c, const uint8_t *rgb, size_t width, size_t height,
                      struct airlock_error *err)
{
    *c = (struct image_canvas){ 0 };
    if (image_plan(width, height, &c->plan, err))
        return -1;
    const size_t stride = 3 * c->plan.cols * IMAGE_CROP, bytes = stride * c->plan.rows * IMAGE_CROP;
    c->rgb = malloc(bytes);
    if (c->rgb)
        memset(c->rgb, 255, bytes);
    if (c->rgb &&
        image_resize(c->rgb, stride, c->plan.width, c->plan.height, rgb, width, height) == 0)
        return 0;
    image_canvas_free(c);
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a picture");
}

void image_canvas_free(struct image_canvas *c)
{
    free(c->rgb);
    *c = (struct image_canvas){ 0 };
}

static float normalised(uint8_t v)
{
    return ((float)v / 255.0f - 0.5f) / 0.5f;
}

static void tile(const struct image_canvas *c, size_t i, float *out)
{
    const size_t width = c->plan.cols * IMAGE_CROP;
    const size_t x0 = i % c->plan.cols * IMAGE_CROP, y0 = i / c->plan.cols * IMAGE_CROP;
    float table[256];
    for (size_t v = 0; v < 256; v++)
        table[v] = normalised((uint8_t)v);
    for (size_t y = 0; y < IMAGE_CROP; y++) {
        const uint8_t *row = c->rgb + 3 * ((y0 + y) * width + x0);
        for (size_t x = 0; x < IMAGE_CROP; x++)
            for (size_t k = 0; k < 3; k++)
                out[(k * IMAGE_CROP + y) * IMAGE_CROP + x] = table[row[3 * x + k]];
    }
}

/* ---- crop 0 ---------------------------------------------------------------------------------- */

/* Keys' cubic convolution (1981) with a = -0.75: weights of the pixels at -1, 0, 1, 2 for a point t
 * behind 0. */
static void cubic(float t, float w[4])
{
    const float a = -0.75f, u = 1.0f - t, t1 = t + 1.0f, u1 = u + 1.0f;
    w[0] = ((a * t1 - 5 * a) * t1 + 8 * a) * t1 - 4 * a;
    w[1] = ((a + 2) * t - (a + 3)) * t * t + 1;
    w[2] = ((a + 2) * u - (a + 3)) * u * u + 1;
    w[3] = ((a * u1 - 5 * a) * u1 + 8 * a) * u1 - 4 * a;
}

/* Pixels and weights along one side of n tiles; beyond the edge the edge's pixel counts. */
static void taps(size_t n, size_t out, size_t at[4], float w[4])
{
    const float place = (float)n * ((float)out + 0.5f) - 0.5f, whole = floorf(place);
    const ptrdiff_t size = (ptrdiff_t)(n * IMAGE_CROP), first = (ptrdiff_t)whole - 1;
    cubic(place - whole, w);
    for (ptrdiff_t k = 0; k < 4; k++) {
        const ptrdiff_t p = first + k;
        at[k] = (size_t)(p < 0 ? 0 : p >= size ? size - 1 : p);
    }
}

/* PyTorch's interpolate(mode="bicubic"), which does not blur before it leaves pixels out. */
static void squeezed(const struct image_canvas *c, float *out)
{
    const size_t width = c->plan.cols * IMAGE_CROP;
    for (size_t y = 0; y < IMAGE_CROP; y++) {
        size_t ys[4], xs[4];
        float wy[4], wx[4];
        taps(c->plan.rows, y, ys, wy);
        for (size_t x = 0; x < IMAGE_CROP; x++) {
            taps(c->plan.cols, x, xs, wx);
            for (size_t k = 0; k < 3; k++) {
                float sum = 0.0f;
                for (size_t j = 0; j < 4; j++) {
                    const uint8_t *row = c->rgb + 3 * ys[j] * width + k;
                    float across = 0.0f;
                    for (size_t i = 0; i < 4; i++)
                        across += normalised(row[3 * xs[i]]) * wx[i];
                    sum += across * wy[j];
                }
                out[(k * IMAGE_CROP + y) * IMAGE_CROP + x] = sum;
            }
        }
    }
}

void image_crop(const struct image_canvas *c, size_t i, float *out)
{
    if (i == 0)
        squeezed(c, out);
    else
        tile(c, i - 1, out);
}
