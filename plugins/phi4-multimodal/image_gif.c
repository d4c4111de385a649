/* image_gif.c - the first frame of a GIF through giflib, on its logical screen. */
#include "image_formats.h"

#include <gif_lib.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECORDS = 1000 }; /* before the first frame */

struct gif {
    struct image *m;
    size_t at; /* read so far */
    GifFileType *file;
    int transparent; /* colour that is not painted; -1: none */
    GifByteType *line;
};

static int read_bytes(GifFileType *file, GifByteType *to, int n)
{
    struct gif *g = file->UserData;
    const size_t left = g->m->file_size - g->at, take = (size_t)n < left ? (size_t)n : left;
    memcpy(to, g->m->file + g->at, take);
    g->at += take;
    return (int)take;
}

static int broken(struct gif *g)
{
    return image_refuse(g->m, "its GIF is broken or truncated");
}

static int read_extension(struct gif *g)
{
    int code;
    GifByteType *block;
    if (DGifGetExtension(g->file, &code, &block) == GIF_ERROR)
        return broken(g);
    while (block) {
        GraphicsControlBlock gcb;
        if (code == GRAPHICS_EXT_FUNC_CODE &&
            DGifExtensionToGCB(block[0], block + 1, &gcb) == GIF_OK)
            g->transparent = gcb.TransparentColor;
        if (DGifGetExtensionNext(g->file, &block) == GIF_ERROR)
            return broken(g);
    }
    return 0;
}

static void paint_line(struct gif *g, size_t y, const ColorMapObject *colors)
{
    const GifImageDesc *f = &g->file->Image;
    uint8_t *rgb = g->m->rgb + 3 * (((size_t)f->Top + y) * g->m->width + (size_t)f->Left);
    for (size_t x = 0; x < (size_t)f->Width; x++) {
        const int index = g->line[x];
        if (index == g->transparent || index >= colors->ColorCount)
            continue;
        rgb[3 * x] = colors->Colors[index].Red;
        rgb[3 * x + 1] = colors->Colors[index].Green;
        rgb[3 * x + 2] = colors->Colors[index].Blue;
    }
}

/* Rows come in the file's order: interlaced ones every 8th, then those between. */
static int paint_frame(struct gif *g)
{
    static const size_t first[] = { 0, 4, 2, 1 }, step[] = { 8, 8, 4, 2 };
    if (DGifGetImageDesc(g->file) == GIF_ERROR)
        return broken(g);
    const GifImageDesc *f = &g->file->Image;
    const ColorMapObject *colors = f->ColorMap ? f->ColorMap : g->file->SColorMap;
    if (!colors || f->Left < 0 || f->Top < 0 || f->Width <= 0 || f->Height <= 0 ||
        (uint64_t)f->Left + (uint64_t)f->Width > g->m->width ||
        (uint64_t)f->Top + (uint64_t)f->Height > g->m->height)
        return image_refuse(g->m, "its GIF has a first frame that lies outside the picture or has "
                                  "no colours");
    g->line = malloc((size_t)f->Width);
    if (!g->line)
        return image_refuse(g->m, "out of memory");
    const size_t passes = f->Interlace ? 4 : 1;
    for (size_t pass = 0; pass < passes; pass++) {
        for (size_t y = f->Interlace ? first[pass] : 0; y < (size_t)f->Height;
             y += f->Interlace ? step[pass] : 1) {
            if (DGifGetLine(g->file, g->line, f->Width) == GIF_ERROR)
                return broken(g);
            paint_line(g, y, colors);
        }
    }
    return 0;
}

static int decode(struct gif *g)
{
    if (image_begin(g->m, (uint64_t)g->file->SWidth, (uint64_t)g->file->SHeight))
        return -1;
    memset(g->m->rgb, 255, 3 * (size_t)g->m->width * g->m->height);
    for (int i = 0; i < MAX_RECORDS; i++) {
        GifRecordType type;
        if (DGifGetRecordType(g->file, &type) == GIF_ERROR)
            return broken(g);
        if (type == IMAGE_DESC_RECORD_TYPE)
            return paint_frame(g);
        if (type == TERMINATE_RECORD_TYPE)
            return image_refuse(g->m, "its GIF has no frame");
        if (type == EXTENSION_RECORD_TYPE && read_extension(g))
            return -1;
    }
    return image_refuse(g->m, "its GIF has more than %d blocks before the first frame",
                        MAX_RECORDS);
}

int image_gif(struct image *m)
{
    struct gif g = { .m = m, .transparent = -1 };
    int error;
    g.file = DGifOpen(&g, read_bytes, &error);
    if (!g.file)
        return image_refuse(m, "its GIF header is broken");
    int status = decode(&g);
    DGifCloseFile(g.file, &error);
    free(g.line);
    return status;
}
