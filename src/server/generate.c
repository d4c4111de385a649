/* generate.c - see generate.h: HTTP in, a generation, HTTP out, and one log line without the text.
 */
#include "server/generate.h"

#include "common/base64.h"
#include "common/io.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/request.h"
#include "common/utf8.h"
#include "server/generation.h"
#include "server/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    REFUSAL_BYTES = 64 << 10,
    CLIENT_HUNG_UP = 499,   /* nobody reads it: for the log and the metrics */
    RETRY_AFTER_SECONDS = 1 /* a place in the queue is free as soon as one answer ends */
};

/* A parsed request in the ABI's shape; what it points to is the parsed request's, or its own. */
struct converted {
    llm_request abi;
    llm_params params;
    llm_message *messages;
    const llm_message **message_list;
    llm_media *media; /* images, then audios */
    const llm_media **media_list;
    struct bytes decoded; /* all media, one after the other */
};

/* One request on its way. */
struct exchange {
    const struct http_request *http;
    struct http_reply *reply;
    struct service *service;
    struct request request;
    struct model *model;
    struct model_adapter *adapter;
};

static bool client_gone(void *ctx)
{
    const struct exchange *x = ctx;
    return atomic_load(&x->service->abort) || http_request_gone(x->http);
}

/* ---- from the schema to the ABI ------------------------------------------------------------- */

static llm_str str(struct request_text t)
{
    llm_str out = { t.data, t.size };
    return out;
}

static int32_t abi_role(enum request_role role)
{
    switch (role) {
    case ROLE_SYSTEM:
        return LLM_ROLE_SYSTEM;
    case ROLE_USER:
        return LLM_ROLE_USER;
    case ROLE_ASSISTANT:
        return LLM_ROLE_ASSISTANT;
    case ROLE_TOOL:
        return LLM_ROLE_TOOL;
    }
    return 0;
}

static const struct {
    unsigned ours;
    uint32_t abi;
} parameter_bits[] = { { PARAMETER_TEMPERATURE, LLM_P_TEMPERATURE },
                       { PARAMETER_TOP_P, LLM_P_TOP_P },
                       { PARAMETER_REPETITION_PENALTY, LLM_P_REPETITION },
                       { PARAMETER_PRESENCE_PENALTY, LLM_P_PRESENCE },
                       { PARAMETER_FREQUENCY_PENALTY, LLM_P_FREQUENCY },
                       { PARAMETER_TOP_K, LLM_P_TOP_K },
                       { PARAMETER_MAX_NEW_TOKENS, LLM_P_MAX_NEW_TOKENS },
                       { PARAMETER_DO_SAMPLE, LLM_P_DO_SAMPLE } };

static void convert_parameters(const struct request_parameters *p, llm_params *out)
{
    static const double coldest = 1e-5; /* below, logits overflow; the limit is greedy decoding */
    *out = (llm_params){ .struct_size = sizeof *out };
    for (size_t i = 0; i < sizeof parameter_bits / sizeof *parameter_bits; i++)
        if (p->set & parameter_bits[i].ours)
            out->set |= parameter_bits[i].abi;
    out->temperature = p->temperature;
    out->top_p = p->top_p > 0 ? p->top_p : 1e-9; /* 0 keeps the likeliest token only */
    out->repetition_penalty = p->repetition_penalty;
    out->presence_penalty = p->presence_penalty;
    out->frequency_penalty = p->frequency_penalty;
    out->top_k = p->top_k;
    out->max_new_tokens = p->max_new_tokens;
    out->do_sample = p->do_sample;
    if ((out->set & LLM_P_TEMPERATURE) && out->temperature < coldest) {
        out->set = (out->set & ~(uint32_t)LLM_P_TEMPERATURE) | LLM_P_DO_SAMPLE;
        out->do_sample = 0;
    }
}

/* Decodes n texts to the media from `first` on.  0, or -1 with err for the client. */
static int decode_media(const struct request_text *texts, size_t n, const char *field,
                        size_t *offsets, struct bytes *decoded, struct airlock_error *err)
{
    for (size_t i = 0; i < n; i++) {
        offsets[i] = decoded->size;
        if (base64_decode(texts[i].data, texts[i].size, decoded) < 0)
            return airlock_error_set(err, AIRLOCK_E_REQUEST, "%s[%zu] is not valid base64", field,
                                     i);
    }
    return 0;
}

static int convert_media(const struct request *r, struct converted *out, struct airlock_error *err)
{
    size_t n = r->n_images + r->n_audios;
    if (n == 0)
        return 0;
    size_t offsets[2 * LIMIT_MEDIA + 1];
    out->media = calloc(n, sizeof *out->media);
    out->media_list = calloc(n, sizeof *out->media_list);
    if (!out->media || !out->media_list)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    if (decode_media(r->images, r->n_images, "images", offsets, &out->decoded, err) < 0 ||
        decode_media(r->audios, r->n_audios, "audios", offsets + r->n_images, &out->decoded, err) <
            0)
        return -1;
    offsets[n] = out->decoded.size;
    for (size_t i = 0; i < n; i++) {
        out->media[i].struct_size = sizeof out->media[i];
        out->media[i].bytes.ptr = out->decoded.data + offsets[i];
        out->media[i].bytes.len = offsets[i + 1] - offsets[i];
        out->media_list[i] = &out->media[i];
    }
    out->abi.images = out->media_list;
    out->abi.n_images = r->n_images;
    out->abi.audios = out->media_list + r->n_images;
    out->abi.n_audios = r->n_audios;
    return 0;
}

static void converted_free(struct converted *c)
{
    free(c->messages);
    free(c->message_list);
    free(c->media);
    free(c->media_list);
    bytes_free(&c->decoded);
}

/* 0, or -1 with err and out to be freed all the same. */
static int convert(const struct request *r, struct converted *out, struct airlock_error *err)
{
    *out = (struct converted){ .decoded = BYTES_INIT(LIMIT_REQUEST_BYTES) };
    size_t n = r->n_messages;
    out->messages = calloc(n ? n : 1, sizeof *out->messages);
    out->message_list = calloc(n ? n : 1, sizeof *out->message_list);
    if (!out->messages || !out->message_list)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        out->messages[i].struct_size = sizeof out->messages[i];
        out->messages[i].role = abi_role(r->messages[i].role);
        out->messages[i].content = str(r->messages[i].content);
        out->message_list[i] = &out->messages[i];
    }
    out->abi.struct_size = sizeof out->abi;
    out->abi.messages = out->message_list;
    out->abi.n_messages = n;
    out->abi.params = &out->params;
    convert_parameters(&r->parameters, &out->params);
    return convert_media(r, out, err);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* The client's sentence for a failure; what is not its fault is told in general terms. */
static void answer_error(struct exchange *x, const struct airlock_error *err)
{
    char seconds[16];
    switch (err->code) {
    case AIRLOCK_E_REQUEST: {
        struct bytes text = BYTES_INIT(4096);
        struct utf8_cleaner cleaner = { { 0 }, 0 };
        utf8_clean(&cleaner, err->text, strlen(err->text), &text);
        utf8_clean_end(&cleaner, &text);
        http_reply_set(x->reply, 400, "text/plain; charset=utf-8", text.data, text.size);
        bytes_free(&text);
        return;
    }
    case AIRLOCK_E_UNSUPPORTED:
        http_reply_text(x->reply, 501, "The model does not support this request.");
        return;
    case AIRLOCK_E_BUSY:
    case AIRLOCK_E_NO_MEMORY:
        http_reply_text(x->reply, 503,
                        err->code == AIRLOCK_E_BUSY ? "Too many requests are waiting, try again."
                                                    : "Out of memory, try again.");
        snprintf(seconds, sizeof seconds, "%d", RETRY_AFTER_SECONDS);
        http_reply_header(x->reply, "Retry-After", seconds);
        return;
    case AIRLOCK_E_TIMEOUT:
        http_reply_text(x->reply, 504, "The answer took too long.");
        return;
    case AIRLOCK_E_CANCELLED:
        if (atomic_load(&x->service->abort))
            http_reply_text(x->reply, 503, "The server is stopping.");
        else
            http_reply_text(x->reply, CLIENT_HUNG_UP, "");
        return;
    default:
        http_reply_text(x->reply, 500, "Internal server error.");
        return;
    }
}

/* 400 with a sentence around a name that the client sent. */
static void answer_unknown(struct http_reply *reply, const char *before, struct request_text name,
                           const char *after)
{
    struct bytes text = BYTES_INIT(4096);
    bytes_add_text(&text, before);
    bytes_add(&text, name.data, name.size);
    bytes_add_text(&text, after);
    http_reply_set(reply, 400, "text/plain; charset=utf-8", text.data, text.size);
    bytes_free(&text);
}

/* False with a 501 when the request asks for what the model or this route has not. */
static bool supported(struct exchange *x)
{
    const struct request *r = &x->request;
    uint32_t caps = x->model->cls->caps;
    const char *why = NULL;
    if (r->n_images && !(caps & LLM_CAP_IMAGES))
        why = "This model takes no images.";
    else if (r->n_audios && !(caps & LLM_CAP_AUDIOS))
        why = "This model takes no audio.";
    else if (r->stream)
        why = "Streaming is not supported yet: send the request without stream.";
    if (why)
        http_reply_text(x->reply, 501, why);
    return !why;
}

/* False with an answer when the names mean nothing here. */
static bool find(struct exchange *x)
{
    const struct request *r = &x->request;
    x->model = models_find(&x->service->models, r->model.data, r->model.size);
    if (!x->model) {
        answer_unknown(x->reply, "Unrecognized model '", r->model, "'");
        return false;
    }
    if (!r->adapter.data)
        return supported(x);
    x->adapter = model_adapter_find(x->model, r->adapter.data, r->adapter.size);
    if (!x->adapter) {
        answer_unknown(x->reply, "Unrecognized adapter '", r->adapter, "' for this model");
        return false;
    }
    return supported(x);
}

/* The text of a client's own fault is not logged: it may quote the prompt. */
static void log_answer(const struct exchange *x, const struct generation *g,
                       const struct airlock_error *err)
{
    const char *adapter = x->adapter ? x->adapter->config->name : "base";
    const char *why = err && err->code != AIRLOCK_E_REQUEST ? err->text : NULL;
    double seconds = (double)g->run_ns / 1e9;
    log_line(err && x->reply->status == 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
             "generate %u %s[%s]: %llu tokens in, %llu tokens out, %.3f s, %.1f tokens/s, waited "
             "%.3f s%s%s",
             x->reply->status, x->model->config->name, adapter,
             (unsigned long long)g->stats.tokens_in, (unsigned long long)g->stats.tokens_out,
             seconds, seconds > 0 ? (double)g->stats.tokens_out / seconds : 0,
             (double)g->wait_ns / 1e9, why ? ": " : "", why ? why : "");
}

static void generate(struct exchange *x)
{
    struct airlock_error err;
    struct converted c;
    struct generation g = { .text = BYTES_INIT(LIMIT_ANSWER_BYTES) };
    unsigned seconds = x->service->answer_seconds;
    struct generation_caller caller = { client_gone, x,
                                        seconds ? io_now_ns() + seconds * 1000000000ull : 0 };
    int rc = convert(&x->request, &c, &err);
    if (rc == 0) {
        c.abi.id = atomic_fetch_add(&x->service->ids, 1) + 1;
        rc = generation_run(x->model, x->adapter, &c.abi, &caller, &g, &err);
    }
    converted_free(&c);
    if (rc < 0) {
        answer_error(x, &err);
        bytes_free(&g.text);
    } else { /* handed over, not copied */
        x->reply->status = 200;
        x->reply->content_type = "text/plain; charset=utf-8";
        x->reply->body = g.text;
    }
    log_answer(x, &g, rc < 0 ? &err : NULL);
}

void generate_handle(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct exchange x = { .http = request, .reply = reply, .service = arg };
    struct bytes refusal = BYTES_INIT(REFUSAL_BYTES);
    int status = request_parse(request->body, request->body_size, false, &x.request, &refusal);
    if (status) {
        http_reply_set(reply, (unsigned)status, "application/json", refusal.data, refusal.size);
        log_info("generate %d: the body is not a request", status);
    } else if (find(&x)) {
        generate(&x);
    } else {
        log_info("generate %u: model or adapter unknown, or not able", reply->status);
    }
    bytes_free(&refusal);
    metrics_request(x.model ? &x.model->metrics : &x.service->unknown, reply->status);
    request_free(&x.request);
}
