/* generate.c - see generate.h: HTTP in, a generation, HTTP out. */
#include "server/generate.h"

#include "common/log.h"
#include "common/request.h"
#include "server/adapters.h"
#include "server/exchange.h"
#include "server/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSAL_BYTES = 64 << 10 };

/* One request on its way; what it borrows lives in the parsed request. */
struct generate {
    struct exchange exchange; /* first: a stream frees it as one */
    struct request request;
};

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
    for (size_t i = 0; i < sizeof parameter_bits / sizeof *parameter_bits; i++)
        if (p->set & parameter_bits[i].ours)
            out->set |= parameter_bits[i].abi;
    out->temperature = p->temperature;
    out->top_p = p->top_p;
    out->repetition_penalty = p->repetition_penalty;
    out->presence_penalty = p->presence_penalty;
    out->frequency_penalty = p->frequency_penalty;
    out->top_k = p->top_k;
    out->max_new_tokens = p->max_new_tokens;
    out->do_sample = p->do_sample;
    abi_params_settle(out);
}

static int convert_media(const struct request_text *texts, size_t n, bool image,
                         struct abi_request *out)
{
    char field[32];
    for (size_t i = 0; i < n; i++) {
        snprintf(field, sizeof field, "%s[%zu]", image ? "images" : "audios", i);
        if (abi_request_media(out, image, str(texts[i]), (llm_str){ 0 }, field) < 0)
            return -1;
    }
    return 0;
}

/* 0, or -1: out of memory. */
static int convert(const struct request *r, struct abi_request *out)
{
    if (abi_request_messages(out, r->n_messages) < 0 ||
        convert_media(r->images, r->n_images, true, out) < 0 ||
        convert_media(r->audios, r->n_audios, false, out) < 0)
        return -1;
    for (size_t i = 0; i < r->n_messages; i++) {
        out->messages[i].role = abi_role(r->messages[i].role);
        out->messages[i].content = str(r->messages[i].content);
    }
    convert_parameters(&r->parameters, &out->params);
    return 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void reply_failure(const struct exchange *x, struct http_reply *reply)
{
    http_reply_text(reply, x->failure.status, x->failure.text);
    exchange_retry_after(x, reply);
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

/* False with a 501 when the request asks for what the model has not. */
static bool supported(const struct generate *g, struct http_reply *reply)
{
    uint32_t caps = g->exchange.model->cls->caps;
    const char *why = NULL;
    if (g->request.n_images && !(caps & LLM_CAP_IMAGES))
        why = "This model takes no images.";
    else if (g->request.n_audios && !(caps & LLM_CAP_AUDIOS))
        why = "This model takes no audio.";
    if (why)
        http_reply_text(reply, 501, why);
    return !why;
}

/* False with an answer when the names mean nothing here. */
static bool find(struct generate *g, struct http_reply *reply)
{
    const struct request *r = &g->request;
    struct exchange *x = &g->exchange;
    x->model = models_find(&x->service->models, r->model.data, r->model.size);
    if (!x->model) {
        answer_unknown(reply, "Unrecognized model '", r->model, "'");
        return false;
    }
    if (!r->adapter.data)
        return supported(g, reply);
    x->adapter = adapter_hold(x->model, r->adapter.data, r->adapter.size);
    if (!x->adapter) {
        answer_unknown(reply, "Unrecognized adapter '", r->adapter, "' for this model");
        return false;
    }
    return supported(g, reply);
}

/* The whole answer in one piece. */
static void reply_whole(struct exchange *x, struct http_reply *reply)
{
    struct bytes text = BYTES_INIT(LIMIT_ANSWER_BYTES);
    struct answer_event event = { 0 };
    do {
        answer_next(x->answer, -1, &event);
        if (event.kind == ANSWER_TEXT && bytes_add(&text, event.text, event.size) < 0) {
            static const struct airlock_error memory = { AIRLOCK_E_NO_MEMORY, "out of memory" };
            exchange_fail(x, &memory);
            break;
        }
        if (event.kind == ANSWER_ERROR)
            exchange_failed(x);
    } while (event.kind != ANSWER_ERROR && event.kind != ANSWER_OVER);
    answer_event_free(&event);
    if (x->failure.status) {
        reply_failure(x, reply);
        bytes_free(&text);
    } else { /* handed over, not copied */
        reply->status = 200;
        reply->content_type = "text/plain; charset=utf-8";
        reply->body = text;
    }
}

static int text_event(void *ctx, const struct answer_event *event, struct bytes *out)
{
    (void)ctx;
    return event->kind == ANSWER_TEXT ? bytes_add(out, event->text, event->size) : 0;
}

/* Text has no place for an error: the answer is cut off. */
static int text_failed(void *ctx, const struct failure *failure, struct bytes *out)
{
    (void)ctx, (void)failure, (void)out;
    return -1;
}

static int text_over(void *ctx, struct bytes *out)
{
    (void)ctx, (void)out;
    return 0;
}

static void text_free(void *ctx)
{
    struct request *request = ctx;
    request_free(request);
    free(request);
}

static const struct stream_format text_format = { .content_type = "text/plain; charset=utf-8",
                                                  .event = text_event,
                                                  .failed = text_failed,
                                                  .over = text_over,
                                                  .free = text_free };

/* True: reply, exchange and request belong to a stream. */
static bool generate(struct generate *g, struct http_reply *reply)
{
    static const struct airlock_error memory = { AIRLOCK_E_NO_MEMORY, "out of memory" };
    struct exchange *x = &g->exchange;
    struct answer_order order = { .n = 1, .stream = g->request.stream };
    struct request *kept = g->request.stream ? malloc(sizeof *kept) : NULL;
    if (convert(&g->request, &x->request) < 0 || (g->request.stream && !kept)) {
        exchange_fail(x, &memory);
    } else if (exchange_start(x, &order) == 0) {
        if (!kept) {
            reply_whole(x, reply);
            return false;
        }
        *kept = g->request;
        if (stream_reply(x, &text_format, kept, reply) == 0)
            return true;
    }
    free(kept);
    reply_failure(x, reply);
    return false;
}

void generate_handle(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct generate *g = malloc(sizeof *g);
    struct bytes refusal = BYTES_INIT(REFUSAL_BYTES);
    if (!g) {
        http_reply_text(reply, 503, "Out of memory, try again.");
        return;
    }
    exchange_init(&g->exchange, request, arg, "generate");
    int status = request_parse(request->body, request->body_size, false, &g->request, &refusal);
    bool streams = false;
    if (status)
        http_reply_set(reply, (unsigned)status, "application/json", refusal.data, refusal.size);
    else if (exchange_caller(&g->exchange, request) < 0)
        http_reply_text(reply, 400, "The Airlock-Caller header must be 1 to 64 hexadecimal digits");
    else if (find(g, reply))
        streams = generate(g, reply);
    bytes_free(&refusal);
    if (streams)
        return;
    exchange_end(&g->exchange, reply->status);
    request_free(&g->request);
    free(g);
}
