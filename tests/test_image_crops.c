/* test_image_crops.c - grid, scaling, padding, crops and token counts are those of the reference.
 */
#include "golden_file.h"
#include "phi4-multimodal/image_crops.h"
#include "suite.h"

#include <math.h>
#include <string.h>

static uint32_t crc32_of(const uint8_t *p, size_t n)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= p[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

static void check_plan(size_t w, size_t h, const char *want)
{
    char got[200];
    struct image_plan p;
    struct airlock_error err;
    if (image_plan(w, h, &p, &err)) {
        ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
        snprintf(got, sizeof got, "refused");
    } else {
        snprintf(got, sizeof got, "%zu %zu %zu %zu %zu %zu %zu", p.cols, p.rows, p.width, p.height,
                 p.valid_cols, p.valid_rows, p.tokens);
    }
    ck_assert_msg(strcmp(got, want) == 0, "%zu x %zu: %s, not %s", w, h, got, want);
}

/* The oracle's picture. */
static uint8_t *picture(size_t w, size_t h)
{
    uint8_t *rgb = malloc(3 * w * h);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++)
            for (size_t c = 0; c < 3; c++)
                rgb[3 * (y * w + x) + c] = (uint8_t)(7 * x + 13 * y + 29 * c + x * y / 8);
    return rgb;
}

static void check_pixels(size_t w, size_t h, char *want)
{
    struct image_canvas c;
    struct airlock_error err;
    uint8_t *rgb = picture(w, h);
    ck_assert_int_eq(image_canvas_make(&c, rgb, w, h, &err), 0);
    const uint32_t crc =
        crc32_of(c.rgb, 3 * c.plan.cols * c.plan.rows * IMAGE_CROP * (size_t)IMAGE_CROP);
    ck_assert_msg(crc == strtoul(want, &want, 16), "%zu x %zu: the canvas differs", w, h);
    float *crop = malloc(IMAGE_CROP_FLOATS * sizeof *crop);
    image_crop(&c, 0, crop);
    for (size_t k = 0; k < 12; k++) {
        const double v = strtod(want, &want);
        ck_assert_msg(fabs((double)crop[(k * 54321 + 17) % IMAGE_CROP_FLOATS] - v) <= 0x1p-20,
                      "%zu x %zu: number %zu of crop 0 is off", w, h, k);
    }
    /* the tiles are the canvas again */
    for (size_t i = 1; i < image_n_crops(&c.plan); i++) {
        image_crop(&c, i, crop);
        for (size_t k = 0; k < IMAGE_CROP_FLOATS; k += 1009) {
            const size_t x = k % IMAGE_CROP + (i - 1) % c.plan.cols * IMAGE_CROP;
            const size_t y = k / IMAGE_CROP % IMAGE_CROP + (i - 1) / c.plan.cols * IMAGE_CROP;
            const uint8_t v =
                c.rgb[3 * (y * c.plan.cols * IMAGE_CROP + x) + k / IMAGE_CROP / IMAGE_CROP];
            ck_assert(fabs((double)crop[k] - (v / 127.5 - 1)) < 1e-6);
        }
    }
    free(crop);
    free(rgb);
    image_canvas_free(&c);
}

/* Calls check(W, H, rest of the line) for each line of the golden file that begins with word. */
static void each_line(const char *word, size_t at_least,
                      void (*check)(size_t w, size_t h, char *rest))
{
    size_t size, n = 0;
    char *text = golden_file(".", "image_crops.txt", &size);
    text[size] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        size_t w, h;
        int used = 0;
        if (strncmp(line, word, strlen(word)) != 0)
            continue;
        ck_assert_int_eq(sscanf(line + strlen(word), " %zu %zu: %n", &w, &h, &used), 2);
        check(w, h, line + strlen(word) + used);
        n++;
    }
    ck_assert_uint_ge(n, at_least);
    free(text);
}

static void check_plan_line(size_t w, size_t h, char *rest)
{
    check_plan(w, h, rest);
}

START_TEST(plans_of_all_sizes_are_those_of_the_reference)
{
    each_line("plan", 140, check_plan_line);
}
END_TEST

START_TEST(the_canvas_has_the_bytes_of_pillow_and_crop_0_the_numbers_of_pytorch)
{
    each_line("pixels", 11, check_pixels);
}
END_TEST

START_TEST(the_valid_patches_of_the_crops_are_a_corner_of_the_canvas)
{
    struct airlock_error err;
    struct image_plan p;
    size_t rows, cols, seen = 0;
    ck_assert_int_eq(image_plan(449, 1000, &p, &err), 0);
    for (size_t i = 1; i < image_n_crops(&p); i++) {
        image_crop_valid(&p, i, &rows, &cols);
        seen += rows * cols;
    }
    ck_assert_uint_eq(seen, p.valid_rows * p.valid_cols);
    image_crop_valid(&p, 0, &rows, &cols);
    ck_assert_uint_eq(rows * cols, IMAGE_PATCHES * IMAGE_PATCHES);
}
END_TEST

START_TEST(a_tile_without_padding_that_is_alone_is_crop_0_to_the_bit)
{
    static const struct {
        size_t w, h;
        bool repeats;
    } sizes[] = { { 448, 448, true },  { 100, 100, true },
                  { 440, 448, true }, /* white, no padding */
                  { 448, 400, false }, { 400, 448, false },
                  { 896, 448, false }, { 448, 449, false },
                  { 900, 900, false } };
    float *crop = malloc(2 * IMAGE_CROP_FLOATS * sizeof *crop);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct image_canvas c;
        struct airlock_error err;
        size_t rows, cols;
        uint8_t *rgb = picture(sizes[s].w, sizes[s].h);
        ck_assert_int_eq(image_canvas_make(&c, rgb, sizes[s].w, sizes[s].h, &err), 0);
        ck_assert(!image_crop_repeats(&c.plan, 0) && !image_crop_repeats(&c.plan, 2));
        ck_assert_msg(image_crop_repeats(&c.plan, 1) == sizes[s].repeats, "case %zu", s);
        image_crop(&c, 0, crop);
        image_crop(&c, 1, crop + IMAGE_CROP_FLOATS);
        image_crop_valid(&c.plan, 1, &rows, &cols);
        ck_assert((memcmp(crop, crop + IMAGE_CROP_FLOATS, IMAGE_CROP_FLOATS * sizeof *crop) == 0 &&
                   rows == IMAGE_PATCHES && cols == IMAGE_PATCHES) == sizes[s].repeats);
        image_canvas_free(&c);
        free(rgb);
    }
    free(crop);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        plans_of_all_sizes_are_those_of_the_reference,
        the_canvas_has_the_bytes_of_pillow_and_crop_0_the_numbers_of_pytorch,
        the_valid_patches_of_the_crops_are_a_corner_of_the_canvas,
        a_tile_without_padding_that_is_alone_is_crop_0_to_the_bit,
        NULL,
    };
    return suite_run("image_crops", tests);
}
