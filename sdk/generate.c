/* generate.c - libairlock: POST /generate, whole or as it is made; see airlock.h. */
#include "client.h"

#include "common/utf8.h"

#include <stdint.h>
#include <string.h>

enum { REQUEST_BYTES = 1 << 30 };

/* What one answer has brought so far. */
struct answer {
    struct bytes body; /* streamed: of this piece */
    size_t total, max;
    airlock_text_fn on_text; /* NULL: kept in body */
    void *ctx;
    struct utf8_cleaner cleaner; /* a piece may end within a character */
};

static int out_of_memory(airlock_error *err)
{
    return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory");
}

/* Hands on the whole characters of what has come. */
static int hand_on(struct transfer *t, struct answer *a)
{
    int stop = a->body.size && a->on_text(a->ctx, a->body.data, a->body.size) != 0;
    bytes_clear(&a->body);
    return stop ? sdk_fail(&t->failure, AIRLOCK_ERR_CANCELLED, 0, "the callback ended the answer")
                : 0;
}

static int take(struct transfer *t, const char *data, size_t n, int events)
{
    struct answer *a = t->ctx;
    (void)events;
    if (n > a->max - a->total)
        return sdk_fail(&t->failure, AIRLOCK_ERR_ANSWER, 200,
                        "the answer is larger than %zu bytes (airlock_client_set_max_answer)",
                        a->max);
    a->total += n;
    if (!a->on_text)
        return bytes_add(&a->body, data, n) == 0 ? 0 : out_of_memory(&t->failure);
    if (utf8_clean(&a->cleaner, data, n, &a->body) != 0)
        return out_of_memory(&t->failure);
    return hand_on(t, a);
}

/* The request of the caller's size as one of ours. */
static int whole_request(const airlock_request *request, airlock_request *out, airlock_error *err)
{
    memset(out, 0, sizeof *out);
    if (request->struct_size < offsetof(airlock_request, parameters) + sizeof(void *))
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                        "airlock_request.struct_size is not set: it is sizeof(airlock_request)");
    memcpy(out, request, request->struct_size < sizeof *out ? request->struct_size : sizeof *out);
    return 0;
}

static int ask(airlock_client *c, const airlock_request *request, struct answer *a,
               airlock_error *err)
{
    airlock_request whole;
    struct bytes body = BYTES_INIT(REQUEST_BYTES);
    struct transfer t = { .path = "/generate", .body = &body, .take = take, .ctx = a };
    int rc = whole_request(request, &whole, err);
    if (rc == 0)
        rc = request_body_write(&whole, a->on_text != NULL, &body, err);
    if (rc == 0)
        rc = sdk_transfer(c, &t, err);
    bytes_free(&body);
    return rc;
}

int airlock_client_generate(airlock_client *c, const airlock_request *request, char **answer,
                            size_t *size, airlock_error *err)
{
    struct answer a = { .body = BYTES_INIT(SIZE_MAX / 2), .max = c->max_answer };
    *answer = NULL;
    int rc = ask(c, request, &a, err);
    if (rc == 0 && bytes_add(&a.body, "", 0) != 0) /* an empty answer is a string too */
        rc = out_of_memory(err);
    if (rc != 0) {
        bytes_free(&a.body);
        return -1;
    }
    *answer = a.body.data; /* handed over */
    if (size)
        *size = a.body.size;
    return 0;
}

int airlock_client_generate_stream(airlock_client *c, const airlock_request *request,
                                   airlock_text_fn on_text, void *ctx, airlock_error *err)
{
    struct answer a = {
        .body = BYTES_INIT(SIZE_MAX / 2), .max = c->max_answer, .on_text = on_text, .ctx = ctx
    };
    int rc = ask(c, request, &a, err);
    bytes_free(&a.body);
    return rc;
}

char *airlock_call_model_server(const char *container, const char *model,
                                const airlock_message *messages, size_t n_messages,
                                const airlock_image *images, size_t n_images, const char *adapter,
                                const airlock_parameters *parameters, const char *host,
                                airlock_error *err)
{
    airlock_request request = { .struct_size = sizeof request,
                                .container = container,
                                .model = model,
                                .adapter = adapter,
                                .messages = messages,
                                .n_messages = n_messages,
                                .images = images,
                                .n_images = n_images,
                                .parameters = parameters };
    char *answer = NULL;
    airlock_client *c = airlock_client_new(host, err);
    if (c)
        airlock_client_generate(c, &request, &answer, NULL, err);
    airlock_client_free(c);
    return answer;
}
