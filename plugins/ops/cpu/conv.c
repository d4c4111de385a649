/* conv.c - depthwise convolution: each channel with its own few weights, channels side by side. */
#include "cpu_ops.h"

#include "convert.h"

enum { LANES = 32 }; /* channels summed together: a loop of fixed length becomes vector code */

struct conv {
    const struct ops_conv *shape;
    float *y;
    const float *x;
    const float *taps; /* [kernel_height, kernel_width, out_channels]: float32, channels adjacent */
    const float *bias; /* [out_channels] */
};

/* y[c] += w[c] x[c], or y[c] += w[c] x[0]: LANES channels. */
static void add_tap(float *restrict y, const float *restrict w, const float *restrict x, bool one)
{
    if (one)
        for (size_t c = 0; c < LANES; c++)
            y[c] += w[c] * x[0];
    else
        for (size_t c = 0; c < LANES; c++)
            y[c] += w[c] * x[c];
}

/* The place of x that tap u of output i reads; false: it is outside. */
static bool place(size_t i, size_t stride, size_t u, size_t pad, size_t size, size_t *at)
{
    const size_t padded = i * stride + u;
    *at = padded - pad;
    return padded >= pad && *at < size;
}

/* Channels first .. first + LANES - 1 (or to the end) of output (i, j) of an image. */
static void do_channels(const struct conv *a, const float *image, size_t i, size_t j, size_t first,
                        float *out)
{
    const struct ops_conv *s = a->shape;
    const size_t channels = s->out_channels,
                 n = channels - first < LANES ? channels - first : LANES;
    const bool one = s->in_channels == 1;
    float sum[LANES];
    memcpy(sum, a->bias + first, n * sizeof *sum);
    for (size_t u = 0; u < s->kernel_height; u++) {
        size_t row, column;
        if (!place(i, s->stride_height, u, s->pad_top, s->in_height, &row))
            continue;
        for (size_t v = 0; v < s->kernel_width; v++) {
            if (!place(j, s->stride_width, v, s->pad_left, s->in_width, &column))
                continue;
            const float *x = image + (row * s->in_width + column) * s->in_channels;
            const float *w = a->taps + (u * s->kernel_width + v) * channels + first;
            if (n == LANES) {
                add_tap(sum, w, one ? x : x + first, one);
                continue;
            }
            for (size_t c = 0; c < n; c++)
                sum[c] += w[c] * x[one ? 0 : first + c];
        }
    }
    memcpy(out + first, sum, n * sizeof *sum);
}

/* Item: a row of places of an image. */
static void conv_row(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct conv *a = arg;
    const struct ops_conv *s = a->shape;
    const size_t image = item / s->out_height, i = item % s->out_height;
    const float *x = a->x + image * s->in_height * s->in_width * s->in_channels;
    float *y = a->y + item * s->out_width * s->out_channels;
    for (size_t j = 0; j < s->out_width; j++)
        for (size_t first = 0; first < s->out_channels; first += LANES)
            do_channels(a, x, i, j, first, y + j * s->out_channels);
}

static bool product(size_t *out, const size_t *factors, size_t n)
{
    *out = 1;
    for (size_t i = 0; i < n; i++)
        if (__builtin_mul_overflow(*out, factors[i], out))
            return false;
    return *out <= SIZE_MAX / sizeof(float);
}

static bool shapes_ok(const struct ops_conv *s, const struct ops_matrix *w,
                      const struct ops_matrix *b)
{
    const size_t in[] = { s->images, s->in_height, s->in_width, s->in_channels };
    const size_t out[] = { s->images, s->out_height, s->out_width, s->out_channels };
    const size_t kernel[] = { s->kernel_height, s->kernel_width };
    const size_t down[] = { s->out_height, s->stride_height };
    const size_t across[] = { s->out_width, s->stride_width };
    size_t taps, n;
    return s->in_height && s->in_width && s->out_channels && s->stride_height && s->stride_width &&
           (s->in_channels == 1 || s->in_channels == s->out_channels) && product(&n, in, 4) &&
           product(&n, out, 4) && product(&n, down, 2) && product(&n, across, 2) &&
           product(&taps, kernel, 2) && taps > 0 && taps <= OPS_CONV_MAX_TAPS &&
           dtype_known(w->dtype) && w->rows == s->out_channels && w->cols == taps &&
           dtype_known(b->dtype) && b->rows == 1 && b->cols == s->out_channels;
}

/* The weights change places once for a call, so that those of neighbouring channels are
 * neighbours. */
enum ops_status cpu_depthwise_conv(struct ops_device *dev, void *y, const void *x,
                                   const struct ops_matrix *w, const struct ops_matrix *b,
                                   const struct ops_conv *conv)
{
    if (!shapes_ok(conv, w, b))
        return OPS_E_SHAPE;
    const size_t channels = conv->out_channels, taps = w->cols;
    if (!cpu_scratch_reserve(&dev->packed, (taps + 1) * channels * sizeof(float)))
        return OPS_E_MEMORY;
    float *tap_major = dev->packed.data, *bias = tap_major + taps * channels;
    for (size_t c = 0; c < channels; c++) {
        for (size_t t = 0; t < taps; t++)
            tap_major[t * channels + c] = load_float(w->data, w->dtype, c * taps + t);
        bias[c] = load_float(b->data, b->dtype, c);
    }
    struct conv a = { conv, y, x, tap_major, bias };
    const size_t rows = conv->images * conv->out_height;
    cpu_parallel(dev, rows, (double)rows * (double)(conv->out_width * channels * taps), conv_row,
                 &a);
    return OPS_OK;
}
