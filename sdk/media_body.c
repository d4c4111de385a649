/* media_body.c - writes pictures and sounds into the JSON of requests; see request_body.h. */
#include "media.h"
#include "request_body.h"

#include "common/base64.h"

static int out_of_memory(airlock_error *err)
{
    return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory, or a request of more than 1 GiB");
}

static int check(const char *key, const airlock_image *media, size_t n, airlock_error *err)
{
    if (n && !media)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "%s is NULL", key);
    for (size_t i = 0; i < n; i++)
        if (!media[i].data || media[i].size == 0)
            return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "%s[%zu] is empty", key, i);
    return 0;
}

static int add_base64(struct bytes *out, const char *before, const airlock_image *m,
                      const char *after)
{
    return bytes_add_text(out, before) == 0 && base64_encode(m->data, m->size, out) == 0 &&
                   bytes_add_text(out, after) == 0
               ? 0
               : -1;
}

int body_add_media(struct bytes *out, const char *key, const airlock_image *media, size_t n,
                   airlock_error *err)
{
    if (check(key, media, n, err) != 0)
        return -1;
    if (n && bytes_printf(out, ",\"%s\":[", key) != 0)
        return out_of_memory(err);
    for (size_t i = 0; i < n; i++)
        if (add_base64(out, i ? ",\"" : "\"", &media[i], "\"") != 0)
            return out_of_memory(err);
    return n && bytes_add(out, "]", 1) != 0 ? out_of_memory(err) : 0;
}

int body_add_image_parts(struct bytes *out, const airlock_image *images, size_t n,
                         airlock_error *err)
{
    if (check("images", images, n, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *type = media_image_type(images[i].data, images[i].size);
        if (!type)
            return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                            "images[%zu] is no PNG, JPEG, WebP or GIF", i);
        if (bytes_printf(out, ",{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:%s;base64,",
                         type) != 0 ||
            add_base64(out, "", &images[i], "\"}}") != 0)
            return out_of_memory(err);
    }
    return 0;
}

int body_add_audio_parts(struct bytes *out, const airlock_audio *audios, size_t n,
                         airlock_error *err)
{
    if (check("audios", audios, n, err) != 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const char *format = media_audio_format(audios[i].data, audios[i].size);
        if (!format)
            return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "audios[%zu] is no WAV, FLAC, OGG or MP3",
                            i);
        if (add_base64(out, ",{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"", &audios[i],
                       "\",") != 0 ||
            bytes_printf(out, "\"format\":\"%s\"}}", format) != 0)
            return out_of_memory(err);
    }
    return 0;
}
