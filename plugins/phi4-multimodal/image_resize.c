/*
 * image_resize.c - Pillow's two passes: across, rounded to bytes, then down.
 *
 * Each output pixel is a weighted mean of the inputs under a triangle whose half width is the
 * scale (at least 1).  Weights are computed in double and used as integers of PRECISION bits, as
 * Pillow does (Resample.c); that is what makes the bytes equal.
 */
#include "image_resize.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { PRECISION = 22 };

/* For each output: where its inputs begin, how many, and their weights. */
struct weights {
    size_t n, width; /* outputs; room for weights of each */
    size_t *first, *count;
    int32_t *w; /* [n, width] */
};

static void weights_free(struct weights *k)
{
    free(k->first);
    free(k->count);
    free(k->w);
}

static double triangle(double x)
{
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* The weights of output i; exact: [k->width] as work space. */
static void weigh(struct weights *k, size_t i, size_t in, double scale, double *exact)
{
    const double support = scale < 1.0 ? 1.0 : scale, center = ((double)i + 0.5) * scale;
    const double left = center - support + 0.5, right = center + support + 0.5;
    const size_t first = left < 0.0 ? 0 : (size_t)left;
    const size_t end = (size_t)right > in ? in : (size_t)right;
    double sum = 0.0;
    for (size_t j = 0; j < end - first; j++) {
        exact[j] = triangle(((double)(j + first) - center + 0.5) * (1.0 / support));
        sum += exact[j];
    }
    for (size_t j = 0; j < end - first; j++) {
        const double w = sum != 0.0 ? exact[j] / sum : exact[j];
        k->w[i * k->width + j] = (int32_t)(0.5 + w * (1 << PRECISION));
    }
    k->first[i] = first;
    k->count[i] = end - first;
}

static int weights_make(struct weights *k, size_t in, size_t out)
{
    const double scale = (double)in / (double)out, support = scale < 1.0 ? 1.0 : scale;
    *k = (struct weights){ .n = out, .width = 2 * (size_t)ceil(support) + 1 };
    k->first = malloc(out * sizeof *k->first);
    k->count = malloc(out * sizeof *k->count);
    k->w = malloc(out * k->width * sizeof *k->w);
    double *exact = malloc(k->width * sizeof *exact);
    const bool ok = k->first && k->count && k->w && exact;
    for (size_t i = 0; ok && i < out; i++)
        weigh(k, i, in, scale, exact);
    free(exact);
    if (!ok)
        weights_free(k);
    return ok ? 0 : -1;
}

/* The weighted mean of count bytes, step apart. */
static uint8_t mean(const uint8_t *from, size_t step, const int32_t *w, size_t count)
{
    int32_t sum = 1 << (PRECISION - 1);
    for (size_t j = 0; j < count; j++)
        sum += from[j * step] * w[j];
    sum >>= PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void across(uint8_t *to, const uint8_t *from, size_t width, size_t rows,
                   const struct weights *k)
{
    for (size_t y = 0; y < rows; y++)
        for (size_t x = 0; x < k->n; x++)
            for (size_t c = 0; c < 3; c++)
                to[3 * (y * k->n + x) + c] = mean(from + 3 * (y * width + k->first[x]) + c, 3,
                                                  k->w + x * k->width, k->count[x]);
}

static void down(uint8_t *to, size_t to_stride, const uint8_t *from, size_t row,
                 const struct weights *k)
{
    for (size_t y = 0; y < k->n; y++)
        for (size_t i = 0; i < row; i++)
            to[y * to_stride + i] =
                mean(from + k->first[y] * row + i, row, k->w + y * k->width, k->count[y]);
}

/* Down to height rows, or a copy where there is nothing to do. */
static int finish(uint8_t *to, size_t to_stride, size_t to_width, size_t to_height,
                  const uint8_t *from, size_t height)
{
    struct weights k;
    if (height == to_height) {
        for (size_t y = 0; y < height; y++)
            memcpy(to + y * to_stride, from + y * 3 * to_width, 3 * to_width);
        return 0;
    }
    if (weights_make(&k, height, to_height))
        return -1;
    down(to, to_stride, from, 3 * to_width, &k);
    weights_free(&k);
    return 0;
}

int image_resize(uint8_t *to, size_t to_stride, size_t to_width, size_t to_height,
                 const uint8_t *from, size_t width, size_t height)
{
    struct weights k;
    if (width == to_width)
        return finish(to, to_stride, to_width, to_height, from, height);
    uint8_t *narrow = malloc(3 * to_width * height);
    int status = narrow ? weights_make(&k, width, to_width) : -1;
    if (status == 0) {
        across(narrow, from, width, height, &k);
        weights_free(&k);
        status = finish(to, to_stride, to_width, to_height, narrow, height);
    }
    free(narrow);
    return status;
}
