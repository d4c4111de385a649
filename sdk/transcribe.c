/* transcribe.c - libairlock: a recording as a form to POST /v1/audio/transcriptions; see airlock.h.
 */
#include "client.h"
#include "media.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { REQUEST_BYTES = 1 << 30, BOUNDARY_BYTES = 48 };

/* A form being written, and its answer. */
struct transcription {
    struct bytes form, text;
    char boundary[BOUNDARY_BYTES];
    size_t max;
};

static int out_of_memory(airlock_error *err)
{
    return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory, or a request of more than 1 GiB");
}

/* ---- the form -------------------------------------------------------------------------------- */

static int holds(const char *boundary, const void *data, size_t size)
{
    return memmem(data, size, boundary, strlen(boundary)) != NULL;
}

/* One that stands in nothing that is sent. */
static void choose_boundary(struct transcription *t, const airlock_transcription_request *r)
{
    for (unsigned long i = 0;; i++) {
        snprintf(t->boundary, sizeof t->boundary, "----airlock-form-%lx", i);
        if (!holds(t->boundary, r->audio.data, r->audio.size) &&
            !holds(t->boundary, r->model, strlen(r->model)) &&
            (!r->language || !holds(t->boundary, r->language, strlen(r->language))) &&
            (!r->prompt || !holds(t->boundary, r->prompt, strlen(r->prompt))))
            return;
    }
}

static int add_field(struct transcription *t, const char *name, const char *value)
{
    if (!value)
        return 0;
    return bytes_printf(&t->form, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n",
                        t->boundary, name) == 0 &&
                   bytes_add_text(&t->form, value) == 0 && bytes_add_text(&t->form, "\r\n") == 0
               ? 0
               : -1;
}

static int add_file(struct transcription *t, const airlock_audio *audio)
{
    return bytes_printf(&t->form,
                        "--%s\r\nContent-Disposition: form-data; name=\"file\"; "
                        "filename=\"audio\"\r\nContent-Type: application/octet-stream\r\n\r\n",
                        t->boundary) == 0 &&
                   bytes_add(&t->form, audio->data, audio->size) == 0 &&
                   bytes_printf(&t->form, "\r\n--%s--\r\n", t->boundary) == 0
               ? 0
               : -1;
}

static int check_request(const airlock_transcription_request *r, airlock_error *err)
{
    if (!r->model)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "model is missing");
    if (!r->audio.data || r->audio.size == 0)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "audio is empty");
    if (!media_audio_format(r->audio.data, r->audio.size))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "audio is no WAV, FLAC, OGG or MP3");
    if (r->use_temperature && !(r->temperature >= 0 && r->temperature <= 1))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "temperature is not from 0 to 1");
    if (body_check_text("model", r->model, err) != 0 ||
        (r->language && body_check_text("language", r->language, err) != 0) ||
        (r->prompt && body_check_text("prompt", r->prompt, err) != 0))
        return -1;
    return 0;
}

static int write_form(struct transcription *t, const airlock_transcription_request *r,
                      airlock_error *err)
{
    char temperature[48]; /* six digits, with a point in any locale */
    long millionths = r->use_temperature ? lround(r->temperature * 1e6) : 0;
    snprintf(temperature, sizeof temperature, "%ld.%06ld", millionths / 1000000,
             millionths % 1000000);
    choose_boundary(t, r);
    if (add_field(t, "model", r->model) != 0 || add_field(t, "response_format", "text") != 0 ||
        add_field(t, "language", r->language) != 0 || add_field(t, "prompt", r->prompt) != 0 ||
        add_field(t, "temperature", r->use_temperature ? temperature : NULL) != 0 ||
        add_file(t, &r->audio) != 0)
        return out_of_memory(err);
    return 0;
}

/* ---- the call -------------------------------------------------------------------------------- */

static int take(struct transfer *transfer, const char *data, size_t n, int events)
{
    struct transcription *t = transfer->ctx;
    (void)events;
    if (n > t->max - t->text.size)
        return sdk_fail(&transfer->failure, AIRLOCK_ERR_ANSWER, 200,
                        "the answer is larger than %zu bytes (airlock_client_set_max_answer)",
                        t->max);
    return bytes_add(&t->text, data, n) == 0 ? 0 : out_of_memory(&transfer->failure);
}

static int whole_request(const airlock_transcription_request *request,
                         airlock_transcription_request *out, airlock_error *err)
{
    memset(out, 0, sizeof *out);
    if (request->struct_size <
        offsetof(airlock_transcription_request, temperature) + sizeof(double))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                        "airlock_transcription_request.struct_size is not set: it is "
                        "sizeof(airlock_transcription_request)");
    memcpy(out, request, request->struct_size < sizeof *out ? request->struct_size : sizeof *out);
    return 0;
}

static int ask(airlock_client *c, const airlock_transcription_request *r, struct transcription *t,
               airlock_error *err)
{
    char type[BOUNDARY_BYTES + 64];
    struct transfer transfer = {
        .path = "/v1/audio/transcriptions", .body = &t->form, .form = type, .take = take, .ctx = t
    };
    if (check_request(r, err) != 0 || write_form(t, r, err) != 0)
        return -1;
    snprintf(type, sizeof type, "multipart/form-data; boundary=%s", t->boundary);
    return sdk_transfer(c, &transfer, err);
}

int airlock_client_transcribe(airlock_client *c, const airlock_transcription_request *request,
                              char **text, size_t *size, airlock_error *err)
{
    struct transcription t = { .form = BYTES_INIT(REQUEST_BYTES),
                               .text = BYTES_INIT(SIZE_MAX / 2),
                               .max = c->max_answer };
    airlock_transcription_request whole;
    *text = NULL;
    int rc = whole_request(request, &whole, err);
    if (rc == 0)
        rc = ask(c, &whole, &t, err);
    if (rc == 0 && bytes_add(&t.text, "", 0) != 0) /* no words are a string too */
        rc = out_of_memory(err);
    bytes_free(&t.form);
    if (rc != 0) {
        bytes_free(&t.text);
        return -1;
    }
    *text = t.text.data; /* handed over */
    if (size)
        *size = t.text.size;
    return 0;
}

/* ---- files ----------------------------------------------------------------------------------- */

char *airlock_read_file(const char *path, size_t *size, airlock_error *err)
{
    struct bytes data = BYTES_INIT(AIRLOCK_MAX_FILE);
    char words[MEDIA_WORDS_MAX] = "out of memory";
    if (media_read_file(path, &data, words) != 0 || bytes_add(&data, "", 0) != 0) {
        sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "%s", words);
        bytes_free(&data);
        return NULL;
    }
    *size = data.size;
    return data.data;
}
