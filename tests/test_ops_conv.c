/* test_ops_conv.c - what ops.h promises of depthwise convolution, ReLU, SiLU, GLU and transposing.
 */
#include "ops_fixture.h"

#include <math.h>

/* ---- convolution ----------------------------------------------------------------------------- */

/* images, in height width channels, out height width channels, kernel, stride, pad */
static const struct ops_conv shapes[] = {
    { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0 },
    { 1, 9, 80, 1, 5, 40, 64, 3, 3, 2, 2, 1, 1 },    /* the first of the speech encoder */
    { 2, 7, 10, 96, 4, 5, 96, 3, 3, 2, 2, 1, 1 },    /* its others */
    { 3, 11, 1, 40, 11, 1, 40, 3, 1, 1, 1, 2, 0 },   /* causal, over time */
    { 2, 2, 1, 33, 2, 1, 33, 3, 1, 1, 1, 2, 0 },     /* shorter than the kernel */
    { 1, 8, 6, 31, 3, 2, 31, 2, 5, 3, 4, 0, 3 },     /* odd in all ways */
    { 1, 3, 3, 5, 9, 7, 5, 3, 3, 1, 1, 5, 2 },       /* rows and columns that see nothing */
    { 1, 20, 30, 1, 12, 16, 130, 9, 9, 2, 2, 6, 5 }, /* as many taps as allowed */
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes };

struct conv_case {
    struct ops_device *dev;
    struct ops_matrix w, b;
    float *x, *y;
    size_t in, out;
};

static void conv_case_make(struct conv_case *c, const struct ops_conv *s, struct ops_device *dev,
                           enum ops_dtype dtype)
{
    c->dev = dev;
    c->in = s->images * s->in_height * s->in_width * s->in_channels;
    c->out = s->images * s->out_height * s->out_width * s->out_channels;
    c->w = random_matrix(dev, s->out_channels, s->kernel_height * s->kernel_width, dtype, 1);
    c->b = random_matrix(dev, 1, s->out_channels, dtype, 2);
    c->x = random_floats(c->in, 3, 2);
    c->y = random_floats(c->out, 4, 1);
}

static void conv_case_free(struct conv_case *c)
{
    matrix_drop(c->dev, &c->w);
    matrix_drop(c->dev, &c->b);
    fence_free(c->x);
    fence_free(c->y);
    ops_tested()->close(c->dev);
}

/* The sum of the formula, one number at a time; *size: of the absolute terms. */
static double conv_at(const struct conv_case *c, const struct ops_conv *s, size_t n, size_t i,
                      size_t j, size_t channel, double *size)
{
    const size_t taps = s->kernel_height * s->kernel_width;
    double sum = number_at(c->b.data, c->b.dtype, channel);
    *size = fabs(sum);
    for (size_t t = 0; t < taps; t++) {
        const long row = (long)(i * s->stride_height + t / s->kernel_width) - (long)s->pad_top;
        const long column = (long)(j * s->stride_width + t % s->kernel_width) - (long)s->pad_left;
        if (row < 0 || column < 0 || row >= (long)s->in_height || column >= (long)s->in_width)
            continue;
        const size_t place = (n * s->in_height + (size_t)row) * s->in_width + (size_t)column;
        const double x = (double)c->x[place * s->in_channels + (s->in_channels == 1 ? 0 : channel)];
        const double term = x * number_at(c->w.data, c->w.dtype, channel * taps + t);
        sum += term;
        *size += fabs(term);
    }
    return sum;
}

static void check_conv(const struct conv_case *c, const struct ops_conv *s)
{
    for (size_t o = 0; o < c->out; o++) {
        const size_t channel = o % s->out_channels, place = o / s->out_channels;
        double size;
        const double want =
            conv_at(c, s, place / s->out_width / s->out_height,
                    place / s->out_width % s->out_height, place % s->out_width, channel, &size);
        assert_near((double)c->y[o], want, size * 0x1p-20 + act_step(want), "y", o);
    }
}

/* _i: dtype and shape.  One set: no kernel of an instruction set is used. */
START_TEST(convolution_is_within_the_allowed_error)
{
    const struct ops_conv *s = &shapes[_i / 3];
    struct conv_case c;
    conv_case_make(&c, s, open_set(0, 2), ops_dtypes[_i % 3]);
    ck_assert_int_eq(ops_tested()->depthwise_conv(c.dev, c.y, c.x, &c.w, &c.b, s), OPS_OK);
    check_conv(&c, s);
    conv_case_free(&c);
}
END_TEST

/* The speech encoder computes long sounds in pieces. */
START_TEST(a_row_of_a_convolution_has_the_same_bits_computed_alone)
{
    const struct ops_conv *s = &shapes[1 + _i];
    struct conv_case c;
    conv_case_make(&c, s, open_set(0, 3), OPS_BF16);
    ck_assert_int_eq(ops_tested()->depthwise_conv(c.dev, c.y, c.x, &c.w, &c.b, s), OPS_OK);
    const size_t in_row = s->in_width * s->in_channels, row = s->out_width * s->out_channels;
    float *alone = random_floats(row, 5, 1);
    for (size_t i = 0; i < s->out_height; i++) {
        struct ops_conv one = *s;
        size_t first = i * s->stride_height, skipped = first < s->pad_top ? 0 : first - s->pad_top;
        one.images = 1;
        one.out_height = 1;
        one.pad_top = first < s->pad_top ? s->pad_top - first : 0;
        one.in_height = s->in_height - skipped;
        ck_assert_int_eq(
            ops_tested()->depthwise_conv(c.dev, alone, c.x + skipped * in_row, &c.w, &c.b, &one),
            OPS_OK);
        assert_same_floats(alone, c.y + i * row, row, "row");
    }
    fence_free(alone);
    conv_case_free(&c);
}
END_TEST

START_TEST(a_convolution_of_shapes_that_do_not_fit_is_refused)
{
    static const struct ops_conv wrong[] = {
        { 1, 0, 5, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1 },
        { 1, 5, 0, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1 },
        { 1, 5, 5, 2, 5, 5, 4, 3, 3, 1, 1, 1, 1 },
        { 1, 5, 5, 4, 5, 5, 0, 3, 3, 1, 1, 1, 1 },
        { 1, 5, 5, 4, 5, 5, 4, 3, 2, 1, 1, 1, 1 },
        { 1, 5, 5, 4, 5, 5, 4, 0, 9, 1, 1, 1, 1 },
        { 1, 5, 5, 4, 5, 5, 4, 3, 3, 0, 1, 1, 1 },
        { 1, 5, 5, 4, 5, 5, 4, 3, 3, 1, 0, 1, 1 },
        { 1, SIZE_MAX, 5, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1 },
        { 1, 5, 5, 5, 5, 5, 5, 3, 3, 1, 1, 1, 1 },
        { SIZE_MAX / 2, 5, 5, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1 },
    };
    const struct ops_conv right = { 1, 5, 5, 4, 5, 5, 4, 3, 3, 1, 1, 1, 1 };
    struct conv_case c;
    conv_case_make(&c, &right, open_set(0, 1), OPS_F32);
    c.y[0] = 5;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_int_eq(ops_tested()->depthwise_conv(c.dev, c.y, c.x, &c.w, &c.b, &wrong[i]),
                         OPS_E_SHAPE);
    struct ops_conv none = right;
    none.images = 0;
    ck_assert_int_eq(ops_tested()->depthwise_conv(c.dev, c.y, c.x, &c.w, &c.b, &none), OPS_OK);
    ck_assert(c.y[0] == 5.0f);
    c.b.cols = 3;
    ck_assert_int_eq(ops_tested()->depthwise_conv(c.dev, c.y, c.x, &c.w, &c.b, &right),
                     OPS_E_SHAPE);
    c.b.cols = 4;
    conv_case_free(&c);
}
END_TEST

/* ---- nonlinearities -------------------------------------------------------------------------- */

static const size_t widths[] = { 1, 2, 7, 16, 17, 33, 1536, 4095, 4096, 4097, 9000 };
enum { N_WIDTHS = sizeof widths / sizeof *widths, ROWS = 3 };

static double silu_of(double z)
{
    return z / (1 + exp(-z));
}

/* _i: set and width. */
START_TEST(silu_and_glu_are_within_the_allowed_error)
{
    const size_t dim = widths[_i / N_SETS], n = ROWS * dim;
    struct ops_device *dev = open_set(_i % N_SETS, 2);
    if (!dev)
        return;
    const float amplitudes[] = { 1e-3f, 3, 30, 120 };
    float *y = random_floats(n, 2, 1);
    for (int a = 0; a < 4; a++) {
        float *x = random_floats(2 * n, 1, amplitudes[a]);
        ck_assert_int_eq(ops_tested()->glu(dev, y, x, ROWS, dim), OPS_OK);
        for (size_t i = 0; i < n; i++) {
            const double value = (double)x[i / dim * 2 * dim + i % dim];
            const double want = value * silu_of((double)x[i / dim * 2 * dim + dim + i % dim]);
            assert_near((double)y[i], want,
                        fabs(want) * 0x1p-18 + fabs(value) * 0x1p-120 + act_step(want), "glu", i);
        }
        ck_assert_int_eq(ops_tested()->silu(dev, y, x, n), OPS_OK);
        for (size_t i = 0; i < n; i++) {
            const double want = silu_of((double)x[i]);
            assert_near((double)y[i], want, fabs(want) * 0x1p-18 + 0x1p-120 + act_step(want),
                        "silu", i);
        }
        ck_assert_int_eq(ops_tested()->silu(dev, x, x, n), OPS_OK);
        assert_same_floats(x, y, n, "in place");
        fence_free(x);
    }
    ck_assert_int_eq(ops_tested()->glu(dev, y, y, 1, 0), OPS_E_SHAPE);
    fence_free(y);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(relu_keeps_what_is_not_negative_and_not_a_number)
{
    struct ops_device *dev = open_set(0, 2);
    const size_t n = widths[_i];
    float *x = random_floats(n, 1, 3), *y = random_floats(n, 2, 1);
    x[n / 2] = NAN;
    ck_assert_int_eq(ops_tested()->relu(dev, y, x, n), OPS_OK);
    for (size_t i = 0; i < n; i++)
        ck_assert(i == n / 2 ? isnan(y[i]) : y[i] == (x[i] > 0.0f ? x[i] : 0.0f));
    ck_assert_int_eq(ops_tested()->relu(dev, x, x, n), OPS_OK);
    assert_same_floats(x, y, n, "in place");
    fence_free(x);
    fence_free(y);
    ops_tested()->close(dev);
}
END_TEST

START_TEST(transposing_moves_every_number_to_its_place)
{
    static const size_t sides[][2] = { { 1, 1 }, { 1, 9 },     { 9, 1 },
                                       { 2, 3 }, { 10, 1024 }, { 33, 17 } };
    const size_t a = sides[_i][0], b = sides[_i][1], n = ROWS * a * b;
    struct ops_device *dev = open_set(0, 2);
    float *x = random_floats(n, 1, 3), *y = random_floats(n, 2, 1);
    ck_assert_int_eq(ops_tested()->transpose(dev, y, x, ROWS, a, b), OPS_OK);
    for (size_t i = 0; i < n; i++)
        ck_assert(y[i / (a * b) * a * b + i % b * a + i / b % a] == x[i]);
    ck_assert_int_eq(ops_tested()->transpose(dev, y, x, 1, 0, 4), OPS_E_SHAPE);
    ck_assert_int_eq(ops_tested()->transpose(dev, y, x, 0, a, b), OPS_OK);
    fence_free(x);
    fence_free(y);
    ops_tested()->close(dev);
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, convolution_is_within_the_allowed_error, 0, 3 * N_SHAPES);
    tcase_add_loop_test(tc, a_row_of_a_convolution_has_the_same_bits_computed_alone, 0, 3);
    tcase_add_test(tc, a_convolution_of_shapes_that_do_not_fit_is_refused);
    tcase_add_loop_test(tc, silu_and_glu_are_within_the_allowed_error, 0, N_SETS * N_WIDTHS);
    tcase_add_loop_test(tc, relu_keeps_what_is_not_negative_and_not_a_number, 0, N_WIDTHS);
    tcase_add_loop_test(tc, transposing_moves_every_number_to_its_place, 0, 6);
}

int main(void)
{
    return run_suite("ops_conv", add);
}
