/* openai.c - see openai.h. */
#include "server/openai.h"

#include "common/json.h"
#include "server/adapters.h"
#include "server/openai_reply.h"
#include "server/sse.h"
#include "server/stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct airlock_error no_memory = { AIRLOCK_E_NO_MEMORY, "out of memory" };

/* One request on its way. */
struct openai {
    struct exchange exchange; /* first: a stream frees it as one */
    struct openai_request request;
};

/* How far a stream has come. */
struct progress_of {
    struct exchange *exchange;
    struct openai_request request; /* moved here */
    struct openai_head head;
    struct openai_choice choices[LIMIT_CHOICES];
};

/* ---- model and adapter ----------------------------------------------------------------------- */

int openai_refusal(struct http_reply *reply, unsigned status, const char *param, const char *code,
                   const char *message)
{
    struct openai_error err = { .status = status, .code = code };
    snprintf(err.message, sizeof err.message, "%s", message);
    snprintf(err.param, sizeof err.param, "%s", param);
    openai_reply_error(reply, &err);
    return -1;
}

/* NAME or NAME:ADAPTER; a configured name has no colon, an adapter's may. */
static int find(struct exchange *x, llm_str name, struct http_reply *reply)
{
    const char *colon = name.len ? memchr(name.ptr, ':', name.len) : NULL;
    size_t n = colon ? (size_t)(colon - name.ptr) : name.len;
    char message[OPENAI_MESSAGE_BYTES];
    x->model = models_find(&x->service->models, name.ptr, n);
    if (!x->model) {
        snprintf(message, sizeof message, "The model '%.*s' does not exist", (int)name.len,
                 name.ptr);
        return openai_refusal(reply, 404, "model", "model_not_found", message);
    }
    if (!colon)
        return 0;
    x->adapter = adapter_hold(x->model, colon + 1, name.len - n - 1);
    if (x->adapter)
        return 0;
    snprintf(message, sizeof message, "The model '%.*s' has no adapter '%.*s'", (int)n, name.ptr,
             (int)(name.len - n - 1), colon + 1);
    return openai_refusal(reply, 400, "model", "adapter_not_found", message);
}

int openai_find(struct exchange *x, const struct http_request *request,
                const struct openai_request *q, struct http_reply *reply)
{
    char message[OPENAI_MESSAGE_BYTES];
    if (exchange_caller(x, request) < 0)
        return openai_refusal(reply, 400, "Airlock-Caller", "invalid_value",
                              "The Airlock-Caller header must be 1 to 64 hexadecimal digits");
    if (find(x, q->model, reply) < 0)
        return -1;
    const char *field = openai_unsupported(q, x->model->cls->caps);
    if (!field)
        return 0;
    snprintf(message, sizeof message, "This model does not support %s", field);
    return openai_refusal(reply, 501, field, "unsupported_by_model", message);
}

int openai_begin(struct exchange *x, enum openai_route route, const struct http_request *request,
                 struct openai_request *q, struct http_reply *reply)
{
    struct openai_error err = { 0 };
    if (openai_parse(route, request->body, request->body_size, q, &x->request, &err) < 0) {
        openai_reply_error(reply, &err);
        return -1;
    }
    return openai_find(x, request, q, reply);
}

void openai_reply_failure(const struct exchange *x, struct http_reply *reply)
{
    openai_refusal(reply, x->failure.status, "", NULL, x->failure.text);
    exchange_retry_after(x, reply);
}

/* ---- whole answers --------------------------------------------------------------------------- */

static void reply_json(struct http_reply *reply, struct json_object *o)
{
    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    http_reply_set(reply, text ? 200 : 503, "application/json", text ? text : "", size);
    json_object_put(o);
}

static void finish_whole(struct openai *q, const struct openai_head *head,
                         struct openai_choice *choices, struct http_reply *reply)
{
    struct answer *answer = q->exchange.answer;
    const char *finish[LIMIT_CHOICES];
    llm_stats stats;
    uint64_t wait_ns, run_ns;
    size_t n = answer_choices(answer);
    for (size_t i = 0; i < n; i++)
        finish[i] = openai_finish(answer_result(answer, i));
    answer_totals(answer, &stats, &wait_ns, &run_ns);
    reply_json(reply, openai_body(head, choices, finish, n, q->request.logprobs, &stats));
}

static void reply_whole(struct openai *q, bool chat, struct http_reply *reply)
{
    struct exchange *x = &q->exchange;
    struct openai_choice choices[LIMIT_CHOICES] = { 0 };
    struct answer_event event = { 0 };
    struct openai_head head;
    openai_head_init(&head, chat, q->request.model, time(NULL));
    do {
        answer_next(x->answer, -1, &event);
        if (event.kind == ANSWER_ERROR)
            exchange_failed(x);
        else if (event.kind != ANSWER_OVER &&
                 openai_collect(&head, &choices[event.choice], &event) < 0)
            exchange_fail(x, &no_memory);
    } while (event.kind != ANSWER_OVER && !x->failure.status);
    answer_event_free(&event);
    if (x->failure.status)
        openai_reply_failure(x, reply);
    else
        finish_whole(q, &head, choices, reply);
    for (size_t i = 0; i < LIMIT_CHOICES; i++)
        openai_choice_free(&choices[i]);
}

/* ---- streams --------------------------------------------------------------------------------- */

static int stream_event(void *ctx, const struct answer_event *event, struct bytes *out)
{
    struct progress_of *p = ctx;
    struct openai_choice *choice = &p->choices[event->choice];
    bool usage = p->request.include_usage;
    const char *finish = event->kind == ANSWER_END
                             ? openai_finish(answer_result(p->exchange->answer, event->choice))
                             : NULL;
    if (p->head.chat && !choice->begun &&
        sse_json(openai_role_chunk(&p->head, event->choice, usage), out) < 0)
        return -1;
    choice->begun = true;
    return sse_json(openai_chunk(&p->head, choice, event, finish, p->request.logprobs, usage), out);
}

int openai_stream_failed(void *ctx, const struct failure *failure, struct bytes *out)
{
    (void)ctx;
    if (sse_json(openai_error_json(failure->status, failure->text, NULL, NULL), out) < 0)
        return -1;
    return sse_done(out);
}

static int stream_over(void *ctx, struct bytes *out)
{
    struct progress_of *p = ctx;
    llm_stats stats;
    uint64_t wait_ns, run_ns;
    answer_totals(p->exchange->answer, &stats, &wait_ns, &run_ns);
    if (p->request.include_usage && sse_json(openai_usage_chunk(&p->head, &stats), out) < 0)
        return -1;
    return sse_done(out);
}

static void stream_free(void *ctx)
{
    struct progress_of *p = ctx;
    openai_request_free(&p->request);
    free(p);
}

static const struct stream_format events = { .content_type = SSE_CONTENT_TYPE,
                                             .event = stream_event,
                                             .failed = openai_stream_failed,
                                             .over = stream_over,
                                             .ping = SSE_PING,
                                             .free = stream_free };

/* True: everything belongs to a stream. */
static bool reply_stream(struct openai *q, bool chat, struct http_reply *reply)
{
    struct exchange *x = &q->exchange;
    struct progress_of *p = calloc(1, sizeof *p);
    if (!p) {
        exchange_fail(x, &no_memory);
        openai_reply_failure(x, reply);
        return false;
    }
    p->exchange = x;
    p->request = q->request;
    openai_head_init(&p->head, chat, q->request.model, time(NULL));
    if (stream_reply(x, &events, p, reply) == 0)
        return true;
    free(p); /* the request is q's still */
    openai_reply_failure(x, reply);
    return false;
}

/* ---- the routes ------------------------------------------------------------------------------ */

/* True: everything belongs to a stream. */
static bool answer(struct openai *q, bool chat, struct http_reply *reply)
{
    const struct openai_request *r = &q->request;
    struct answer_order order = { .prompts = r->prompts,
                                  .n_prompts = r->n_prompts,
                                  .n = r->n,
                                  .stream = r->stream,
                                  .tokens = r->logprobs,
                                  .tools = r->tools,
                                  .one_call = r->one_call };
    if (exchange_start(&q->exchange, &order) < 0) {
        openai_reply_failure(&q->exchange, reply);
        return false;
    }
    if (r->stream)
        return reply_stream(q, chat, reply);
    reply_whole(q, chat, reply);
    return false;
}

static void handle(enum openai_route route, const struct http_request *request,
                   struct http_reply *reply, struct service *service)
{
    bool chat = route == OPENAI_CHAT;
    struct openai *q = calloc(1, sizeof *q);
    if (!q) {
        openai_refusal(reply, 503, "", NULL, "Out of memory, try again.");
        return;
    }
    exchange_init(&q->exchange, request, service, chat ? "chat" : "completions");
    if (openai_begin(&q->exchange, route, request, &q->request, reply) == 0 &&
        answer(q, chat, reply))
        return;
    exchange_end(&q->exchange, reply->status);
    openai_request_free(&q->request);
    free(q);
}

void openai_chat(const struct http_request *request, struct http_reply *reply, void *arg)
{
    handle(OPENAI_CHAT, request, reply, arg);
}

void openai_completions(const struct http_request *request, struct http_reply *reply, void *arg)
{
    handle(OPENAI_TEXT, request, reply, arg);
}
