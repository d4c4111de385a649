/* image_webp.c - WebP through libwebp: still pictures, and the first frame of animations. */
#include "image_formats.h"

#include <stdlib.h>
#include <webp/decode.h>
#include <webp/demux.h>

static int decode_still(struct image *m, const WebPBitstreamFeatures *f)
{
    if (!f->has_alpha) {
        if (!WebPDecodeRGBInto(m->file, m->file_size, m->rgb, m->capacity, (int)(3 * m->width)))
            return image_refuse(m, "its WebP is broken or truncated");
        return 0;
    }
    int width, height;
    uint8_t *rgba = WebPDecodeRGBA(m->file, m->file_size, &width, &height);
    if (!rgba)
        return image_refuse(m, "its WebP is broken or truncated");
    image_over_white(m->rgb, rgba, (size_t)m->width * m->height);
    WebPFree(rgba);
    return 0;
}

static int decode_first_frame(struct image *m)
{
    const WebPData data = { m->file, m->file_size };
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, NULL); /* RGBA */
    WebPAnimInfo info;
    uint8_t *canvas;
    int time, status = 0;
    if (!decoder || !WebPAnimDecoderGetInfo(decoder, &info) || info.canvas_width != m->width ||
        info.canvas_height != m->height || !WebPAnimDecoderGetNext(decoder, &canvas, &time))
        status = image_refuse(m, "its WebP animation is broken or too large");
    else
        image_over_white(m->rgb, canvas, (size_t)m->width * m->height);
    WebPAnimDecoderDelete(decoder);
    return status;
}

static void read_orientation(struct image *m)
{
    const WebPData data = { m->file, m->file_size };
    WebPDemuxer *demux = WebPDemux(&data);
    WebPChunkIterator chunk;
    if (demux && WebPDemuxGetChunk(demux, "EXIF", 1, &chunk)) {
        m->orientation = exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demux);
}

int image_webp(struct image *m)
{
    WebPBitstreamFeatures f;
    if (WebPGetFeatures(m->file, m->file_size, &f) != VP8_STATUS_OK || f.width <= 0 ||
        f.height <= 0)
        return image_refuse(m, "its WebP header is broken");
    if (image_begin(m, (uint64_t)f.width, (uint64_t)f.height) ||
        (f.has_animation ? decode_first_frame(m) : decode_still(m, &f)))
        return -1;
    read_orientation(m);
    return 0;
}
