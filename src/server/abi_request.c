/* abi_request.c - see abi_request.h. */
#include "server/abi_request.h"

#include "common/base64.h"
#include "common/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_BYTES = 96 };

/* A piece of memory of a request. */
struct abi_owned {
    struct abi_owned *next;
    char data[];
};

/* An image or sound that is not decoded yet. */
struct abi_media {
    bool image, raw; /* raw: text is not base64 but the bytes themselves */
    llm_str text, mime;
    char field[FIELD_BYTES];
};

void abi_request_init(struct abi_request *r)
{
    *r = (struct abi_request){ .decoded = BYTES_INIT(LIMIT_REQUEST_BYTES) };
    r->params.struct_size = sizeof r->params;
}

void abi_request_free(struct abi_request *r)
{
    free(r->messages);
    free(r->message_list);
    free(r->pending);
    free(r->media);
    free(r->media_list);
    free(r->stop);
    free(r->bias);
    free(r->bias_list);
    bytes_free(&r->decoded);
    while (r->owned) {
        struct abi_owned *next = r->owned->next;
        free(r->owned);
        r->owned = next;
    }
    *r = (struct abi_request){ 0 };
}

int abi_request_messages(struct abi_request *r, size_t n)
{
    r->messages = calloc(n ? n : 1, sizeof *r->messages);
    r->message_list = calloc(n ? n : 1, sizeof *r->message_list);
    if (!r->messages || !r->message_list)
        return -1;
    r->n_messages = n;
    for (size_t i = 0; i < n; i++) {
        r->messages[i].struct_size = sizeof r->messages[i];
        r->message_list[i] = &r->messages[i];
    }
    return 0;
}

int abi_request_stop(struct abi_request *r, size_t n)
{
    r->stop = calloc(n ? n : 1, sizeof *r->stop);
    if (!r->stop)
        return -1;
    r->abi.stop = r->stop;
    r->abi.n_stop = n;
    return 0;
}

int abi_request_bias(struct abi_request *r, size_t n)
{
    r->bias = calloc(n ? n : 1, sizeof *r->bias);
    r->bias_list = calloc(n ? n : 1, sizeof *r->bias_list);
    if (!r->bias || !r->bias_list)
        return -1;
    for (size_t i = 0; i < n; i++) {
        r->bias[i].struct_size = sizeof r->bias[i];
        r->bias_list[i] = &r->bias[i];
    }
    r->abi.logit_bias = r->bias_list;
    r->abi.n_logit_bias = n;
    return 0;
}

int abi_request_own(struct abi_request *r, const char *data, size_t n, llm_str *out)
{
    struct abi_owned *piece = malloc(sizeof *piece + n + 1);
    if (!piece)
        return -1;
    piece->next = r->owned;
    r->owned = piece;
    if (n)
        memcpy(piece->data, data, n);
    piece->data[n] = 0;
    *out = (llm_str){ piece->data, n };
    return 0;
}

static int add_media(struct abi_request *r, const struct abi_media *media)
{
    size_t n = r->n_images + r->n_audios;
    struct abi_media *pending = realloc(r->pending, (n + 1) * sizeof *pending);
    if (!pending)
        return -1;
    r->pending = pending;
    pending[n] = *media;
    r->n_images += media->image;
    r->n_audios += !media->image;
    return 0;
}

int abi_request_media(struct abi_request *r, bool image, llm_str base64, llm_str mime,
                      const char *field)
{
    struct abi_media media = { .image = image, .text = base64, .mime = mime };
    snprintf(media.field, sizeof media.field, "%s", field);
    return add_media(r, &media);
}

int abi_request_raw_media(struct abi_request *r, bool image, llm_str bytes)
{
    const struct abi_media media = { .image = image, .raw = true, .text = bytes };
    return add_media(r, &media);
}

/* Decodes the images (or sounds) to the media from `first` on; their bytes are offsets until all
 * are decoded, because the buffer moves as it grows. */
static int decode(struct abi_request *r, bool image, size_t first, size_t *offsets,
                  struct airlock_error *err)
{
    size_t to = first, n = r->n_images + r->n_audios;
    for (size_t i = 0; i < n; i++) {
        const struct abi_media *p = &r->pending[i];
        if (p->image != image)
            continue;
        offsets[to] = r->decoded.size;
        r->media[to].struct_size = sizeof r->media[to];
        r->media[to].mime = p->mime;
        r->media_list[to] = &r->media[to];
        to++;
        if (p->raw && bytes_add(&r->decoded, p->text.ptr, p->text.len) < 0)
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        if (!p->raw && base64_decode(p->text.ptr, p->text.len, &r->decoded) < 0)
            return airlock_error_set(err, AIRLOCK_E_REQUEST, "%s is not valid base64", p->field);
    }
    return 0;
}

static int finish_media(struct abi_request *r, struct airlock_error *err)
{
    size_t n = r->n_images + r->n_audios;
    size_t *offsets = calloc(n + 1, sizeof *offsets);
    r->media = calloc(n, sizeof *r->media);
    r->media_list = calloc(n, sizeof *r->media_list);
    int rc = 0;
    if (!offsets || !r->media || !r->media_list)
        rc = airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    else if (decode(r, true, 0, offsets, err) < 0 ||
             decode(r, false, r->n_images, offsets, err) < 0)
        rc = -1;
    if (rc == 0) {
        offsets[n] = r->decoded.size;
        for (size_t i = 0; i < n; i++)
            r->media[i].bytes =
                (llm_str){ r->decoded.data + offsets[i], offsets[i + 1] - offsets[i] };
        r->abi.images = r->media_list;
        r->abi.n_images = r->n_images;
        r->abi.audios = r->media_list + r->n_images;
        r->abi.n_audios = r->n_audios;
    }
    free(offsets);
    return rc;
}

int abi_request_finish(struct abi_request *r, struct airlock_error *err)
{
    r->abi.struct_size = sizeof r->abi;
    r->abi.messages = r->message_list;
    r->abi.n_messages = r->n_messages;
    r->abi.params = &r->params;
    r->abi.constraint = r->constraint.kind ? &r->constraint : NULL;
    r->abi.cache_salt = (llm_str){ r->salt, strlen(r->salt) };
    return r->n_images + r->n_audios ? finish_media(r, err) : 0;
}

void abi_params_settle(llm_params *p)
{
    static const double coldest = 1e-5; /* below, logits overflow; the limit is greedy decoding */
    if (!(p->top_p > 0))
        p->top_p = 1e-9;
    if ((p->set & LLM_P_TEMPERATURE) && p->temperature < coldest) {
        p->set = (p->set & ~(uint32_t)LLM_P_TEMPERATURE) | LLM_P_DO_SAMPLE;
        p->do_sample = 0;
    }
}
