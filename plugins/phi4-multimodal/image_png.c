/* image_png.c - PNG through libpng. */
#include "image_formats.h"

#include "media_protocol.h"

#include <png.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 8 << 20, CHUNKS = 1000 }; /* of what is not pixels: colour profiles, text */

struct png {
    struct image *m;
    size_t at; /* read so far */
    png_structp png;
    png_infop info;
    uint8_t *rows; /* RGBA: one row, or all of an interlaced picture */
};

static void read_bytes(png_structp png, png_bytep to, size_t n)
{
    struct png *p = png_get_io_ptr(png);
    if (n > p->m->file_size - p->at)
        png_error(png, "the file is truncated");
    memcpy(to, p->m->file + p->at, n);
    p->at += n;
}

static void on_error(png_structp png, const char *text)
{
    struct png *p = png_get_error_ptr(png);
    image_refuse(p->m, "its PNG is broken: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, const char *text)
{
    (void)png;
    (void)text;
}

/* RGBA, 8 bits each, from whatever there is; gamma and colour profiles are left alone. */
static void set_transforms(struct png *p)
{
    png_set_strip_16(p->png);
    png_set_expand(p->png); /* palettes, few bits of grey, tRNS */
    png_set_gray_to_rgb(p->png);
    png_set_add_alpha(p->png, 0xff, PNG_FILLER_AFTER);
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
}

static int read_rows(struct png *p)
{
    struct image *m = p->m;
    const size_t row = 4 * (size_t)m->width;
    const int passes = png_get_interlace_type(p->png, p->info) == PNG_INTERLACE_NONE ? 1 : 7;
    p->rows = malloc(passes == 1 ? row : row * m->height);
    if (!p->rows)
        return image_refuse(m, "it is too large to be decoded");
    for (int pass = 0; pass < passes; pass++) {
        for (size_t y = 0; y < m->height; y++) {
            uint8_t *rgba = p->rows + (passes == 1 ? 0 : y * row);
            png_read_row(p->png, rgba, NULL);
            if (pass == passes - 1)
                image_over_white(m->rgb + 3 * y * m->width, rgba, m->width);
        }
    }
    return 0;
}

/* After the pixels, for eXIf may come behind them. */
static void read_orientation(struct png *p)
{
    png_uint_32 size = 0;
    png_bytep exif = NULL;
    png_read_end(p->png, p->info);
    if (png_get_eXIf_1(p->png, p->info, &size, &exif))
        p->m->orientation = exif_orientation(exif, size);
}

static int decode(struct png *p)
{
    if (setjmp(png_jmpbuf(p->png)))
        return -1;
    png_set_read_fn(p->png, p, read_bytes);
    png_set_user_limits(p->png, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE);
    png_set_chunk_malloc_max(p->png, CHUNK_BYTES);
    png_set_chunk_cache_max(p->png, CHUNKS);
    png_read_info(p->png, p->info);
    if (image_begin(p->m, png_get_image_width(p->png, p->info),
                    png_get_image_height(p->png, p->info)))
        return -1;
    set_transforms(p);
    if (read_rows(p))
        return -1;
    read_orientation(p);
    return 0;
}

/* The sizes of IHDR as they stand in the file, so that one beyond the limits is told like others.
 */
static int judge_header(struct image *m)
{
    if (m->file_size < 24 || memcmp(m->file + 12, "IHDR", 4) != 0)
        return image_refuse(m, "its PNG is broken: it does not begin with a header");
    uint64_t size[2] = { 0, 0 };
    for (size_t i = 0; i < 8; i++)
        size[i / 4] = size[i / 4] << 8 | m->file[16 + i];
    return image_begin(m, size[0], size[1]);
}

int image_png(struct image *m)
{
    struct png p = { .m = m };
    if (judge_header(m))
        return -1;
    p.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &p, on_error, on_warning);
    p.info = p.png ? png_create_info_struct(p.png) : NULL;
    int status = p.info ? decode(&p) : image_refuse(m, "out of memory");
    png_destroy_read_struct(&p.png, &p.info, NULL);
    free(p.rows);
    return status;
}
