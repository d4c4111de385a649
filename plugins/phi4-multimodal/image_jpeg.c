/* image_jpeg.c - JPEG through libjpeg. */
#include "image_formats.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/* Each scan of a progressive file goes over the whole picture: honest encoders make about ten. */
enum { MAX_SCANS = 100, SEGMENT_BYTES = 0xffff };

struct jpeg {
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct image *m;
    uint8_t *row; /* CMYK */
    jmp_buf failed;
};

static void on_error(j_common_ptr d)
{
    struct jpeg *j = d->client_data;
    char text[JMSG_LENGTH_MAX];
    d->err->format_message(d, text);
    image_refuse(j->m, "its JPEG is broken: %.150s", text);
    longjmp(j->failed, 1);
}

/* Warnings (level -1) are let pass, as everybody does, but for a file that ends too early: its
 * last rows would be grey. */
static void on_message(j_common_ptr d, int level)
{
    struct jpeg *j = d->client_data;
    if (level >= 0 || d->err->msg_code != JWRN_JPEG_EOF)
        return;
    image_refuse(j->m, "its JPEG is truncated");
    longjmp(j->failed, 1);
}

static void on_progress(j_common_ptr d)
{
    struct jpeg *j = d->client_data;
    if (j->d.input_scan_number <= MAX_SCANS)
        return;
    image_refuse(j->m, "its JPEG has more than %d scans", MAX_SCANS);
    longjmp(j->failed, 1);
}

static void read_orientation(struct jpeg *j)
{
    for (jpeg_saved_marker_ptr s = j->d.marker_list; s; s = s->next) {
        if (s->marker == JPEG_APP0 + 1 && s->data_length >= 6 &&
            memcmp(s->data, "Exif\0\0", 6) == 0) {
            j->m->orientation = exif_orientation(s->data, s->data_length);
            return;
        }
    }
}

/* Inks to light: CMYK in JPEG is stored upside down (255 is no ink), Adobe's way, and so say all
 * readers.  R = (255 - K)(255 - C) / 255, rounded as Pillow does. */
static void cmyk_to_rgb(uint8_t *rgb, const uint8_t *inverted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const int k = inverted[4 * i + 3]; /* 255 - K */
        for (size_t c = 0; c < 3; c++) {
            const int t = (255 - inverted[4 * i + c]) * k + 128;
            const int value = k - ((t >> 8) + t) / 256;
            rgb[3 * i + c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

static int read_rows(struct jpeg *j)
{
    struct image *m = j->m;
    const int cmyk = j->d.out_color_space == JCS_CMYK;
    if (cmyk) {
        j->row = malloc(4 * (size_t)m->width);
        if (!j->row)
            return image_refuse(m, "out of memory");
    }
    while (j->d.output_scanline < j->d.output_height) {
        uint8_t *rgb = m->rgb + 3 * (size_t)j->d.output_scanline * m->width;
        JSAMPROW row = cmyk ? j->row : rgb;
        if (jpeg_read_scanlines(&j->d, &row, 1) == 1 && cmyk)
            cmyk_to_rgb(rgb, j->row, m->width);
    }
    return 0;
}

static int decode(struct jpeg *j)
{
    if (setjmp(j->failed))
        return -1;
    jpeg_create_decompress(&j->d);
    j->d.progress = &j->progress;
    j->progress.progress_monitor = on_progress;
    jpeg_mem_src(&j->d, j->m->file, j->m->file_size);
    jpeg_save_markers(&j->d, JPEG_APP0 + 1, SEGMENT_BYTES);
    jpeg_read_header(&j->d, TRUE);
    if (image_begin(j->m, j->d.image_width, j->d.image_height))
        return -1;
    read_orientation(j);
    const J_COLOR_SPACE space = j->d.jpeg_color_space;
    j->d.out_color_space = space == JCS_CMYK || space == JCS_YCCK ? JCS_CMYK : JCS_RGB;
    jpeg_start_decompress(&j->d);
    if (read_rows(j))
        return -1;
    jpeg_finish_decompress(&j->d);
    return 0;
}

int image_jpeg(struct image *m)
{
    struct jpeg *j = calloc(1, sizeof *j);
    if (!j)
        return image_refuse(m, "out of memory");
    j->m = m;
    j->d.err = jpeg_std_error(&j->errors);
    j->d.client_data = j;
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
    int status = decode(j);
    jpeg_destroy_decompress(&j->d);
    free(j->row);
    free(j);
    return status;
}
