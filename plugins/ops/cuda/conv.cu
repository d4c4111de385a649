/* conv.cu - depthwise convolution: neighbouring threads have neighbouring channels, and a block's
 * few weights lie in shared memory as float32, tap by tap. */
#include "device.cuh"
#include "kernel.cuh"

enum {
    CONV_THREADS = 256,
    CONV_CHANNELS = 64,            /* of a block */
    CONV_ROUNDS = 2,               /* places of a thread */
    CONV_PITCH = CONV_CHANNELS + 4 /* between taps: a multiple of 16 bytes, in other banks */
};

struct conv_args {
    bf16 *y;
    const bf16 *x, *w, *b;
    unsigned in_height, in_width;
    unsigned out_height, out_width, channels;
    unsigned kernel_height, kernel_width;
    unsigned stride_height, stride_width, pad_top, pad_left;
    size_t places; /* images x out_height x out_width */
};

/* Weights of channels first .. first + CONV_CHANNELS - 1; zeros behind the last. */
static __device__ __forceinline__ void load_taps(float *taps, const conv_args &a, unsigned first)
{
    const unsigned n = a.kernel_height * a.kernel_width;
    const bf16 *w = a.w + (size_t)first * n;
    for (unsigned i = threadIdx.x; i < CONV_CHANNELS * n; i += CONV_THREADS)
        taps[i % n * CONV_PITCH + i / n] =
            first + i / n < a.channels ? __bfloat162float(w[i]) : 0.0f;
}

/* sum += taps x for WIDTH channels of one place (i, j) of an image. */
template <int WIDTH, bool ONE>
static __device__ __forceinline__ void add_taps(float *sum, const float *taps, const conv_args &a,
                                                const bf16 *image, unsigned i, unsigned j)
{
    const size_t channels = ONE ? 1 : a.channels;
    for (unsigned u = 0; u < a.kernel_height; u++) {
        const unsigned row = i * a.stride_height + u - a.pad_top; /* above the image: huge */
        if (row >= a.in_height)
            continue;
        for (unsigned v = 0; v < a.kernel_width; v++) {
            const unsigned column = j * a.stride_width + v - a.pad_left;
            if (column >= a.in_width)
                continue;
            const bf16 *at = image + ((size_t)row * a.in_width + column) * channels;
            const float *weight = taps + (u * a.kernel_width + v) * CONV_PITCH;
            float x[WIDTH];
            if (ONE)
                x[0] = __bfloat162float(*at);
            else
                load_bf16<WIDTH>(x, at);
#pragma unroll
            for (int k = 0; k < WIDTH; k++)
                sum[k] = __fmaf_rn(weight[k], x[ONE ? 0 : k], sum[k]);
        }
    }
}

/* Grid: groups of places x groups of channels. */
template <int WIDTH, bool ONE>
static __global__ void __launch_bounds__(CONV_THREADS) convolve(const conv_args a)
{
    after_previous();
    SHARED(float, taps, OPS_CONV_MAX_TAPS *CONV_PITCH);
    enum { LANES = CONV_CHANNELS / WIDTH, PLACES = CONV_THREADS / LANES };
    const unsigned first = blockIdx.y * CONV_CHANNELS, mine = threadIdx.x % LANES * WIDTH;
    load_taps(taps, a, first);
    __syncthreads();
    if (first + mine >= a.channels)
        return;
    const size_t in = (size_t)a.in_height * a.in_width * (ONE ? 1 : a.channels);
    size_t place = (size_t)blockIdx.x * (PLACES * CONV_ROUNDS) + threadIdx.x / LANES;
    for (int round = 0; round < CONV_ROUNDS && place < a.places; round++, place += PLACES) {
        const unsigned i = (unsigned)(place / a.out_width % a.out_height);
        const bf16 *image = a.x + place / a.out_width / a.out_height * in;
        float sum[WIDTH];
        load_bf16<WIDTH>(sum, a.b + first + mine);
        add_taps<WIDTH, ONE>(sum, taps + mine, a, ONE ? image : image + first + mine, i,
                             (unsigned)(place % a.out_width));
        store_bf16<WIDTH>(a.y + place * a.channels + first + mine, sum);
    }
}

/* out = a product of n factors that is at most `most`. */
static bool product(size_t *out, const size_t *factors, size_t n, size_t most)
{
    *out = 1;
    for (size_t i = 0; i < n; i++) {
        if (factors[i] != 0 && *out > most / factors[i])
            return false;
        *out *= factors[i];
    }
    return true;
}

/* 32 bits hold every row and column with stride, tap and padding. */
static bool side_ok(size_t in, size_t out, size_t stride, size_t pad)
{
    const size_t reached[] = { out, stride };
    size_t n;
    return in > 0 && in < INT32_MAX && stride > 0 && pad < INT32_MAX / 2 &&
           product(&n, reached, 2, INT32_MAX / 2);
}

static bool shapes_ok(const struct ops_conv *s, const struct ops_matrix *w,
                      const struct ops_matrix *b, size_t *places)
{
    const size_t kernel[] = { s->kernel_height, s->kernel_width };
    const size_t in[] = { s->images, s->in_height, s->in_width, s->in_channels };
    const size_t out[] = { s->images, s->out_height, s->out_width };
    size_t taps, n;
    return side_ok(s->in_height, s->out_height, s->stride_height, s->pad_top) &&
           side_ok(s->in_width, s->out_width, s->stride_width, s->pad_left) &&
           s->out_channels > 0 && s->out_channels <= (size_t)UINT16_MAX * CONV_CHANNELS &&
           (s->in_channels == 1 || s->in_channels == s->out_channels) &&
           product(&taps, kernel, 2, OPS_CONV_MAX_TAPS) && taps > 0 &&
           product(&n, in, 4, SIZE_MAX / 2) && product(places, out, 3, INT32_MAX) &&
           w->rows == s->out_channels && w->cols == taps && w->dtype == OPS_BF16 && b->rows == 1 &&
           b->cols == s->out_channels && b->dtype == OPS_BF16;
}

template <int WIDTH, bool ONE>
static enum ops_status run(struct ops_device *dev, const conv_args &a)
{
    const size_t block = (size_t)CONV_THREADS * WIDTH / CONV_CHANNELS * CONV_ROUNDS;
    return cuda_launch(dev, convolve<WIDTH, ONE>,
                       dim3((unsigned)((a.places + block - 1) / block),
                            (a.channels + CONV_CHANNELS - 1) / CONV_CHANNELS),
                       CONV_THREADS, 0, a);
}

enum ops_status cuda_depthwise_conv(struct ops_device *dev, void *y, const void *x,
                                    const struct ops_matrix *w, const struct ops_matrix *b,
                                    const struct ops_conv *conv)
{
    conv_args a = {};
    if (!shapes_ok(conv, w, b, &a.places))
        return OPS_E_SHAPE;
    if (a.places == 0)
        return OPS_OK;
    a.y = static_cast<bf16 *>(y);
    a.x = static_cast<const bf16 *>(x);
    a.w = static_cast<const bf16 *>(w->data);
    a.b = static_cast<const bf16 *>(b->data);
    a.in_height = (unsigned)conv->in_height;
    a.in_width = (unsigned)conv->in_width;
    a.out_height = (unsigned)conv->out_height;
    a.out_width = (unsigned)conv->out_width;
    a.channels = (unsigned)conv->out_channels;
    a.kernel_height = (unsigned)conv->kernel_height;
    a.kernel_width = (unsigned)conv->kernel_width;
    a.stride_height = (unsigned)conv->stride_height;
    a.stride_width = (unsigned)conv->stride_width;
    a.pad_top = (unsigned)conv->pad_top;
    a.pad_left = (unsigned)conv->pad_left;
    const bool one = conv->in_channels == 1;
    const bool wide = a.channels % 8 == 0 && cuda_aligned16(y) && cuda_aligned16(a.b) &&
                      (one || cuda_aligned16(x));
    if (one)
        return wide ? run<8, true>(dev, a) : run<1, true>(dev, a);
    return wide ? run<8, false>(dev, a) : run<1, false>(dev, a);
}
