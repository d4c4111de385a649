/* transcription.c - see transcription.h: the form in, one answer of the model, OpenAI's bodies out.
 */
#include "server/transcription.h"

#include "common/json.h"
#include "common/strip.h"
#include "server/openai.h"
#include "server/openai_reply.h"
#include "server/sse.h"
#include "server/stream.h"
#include "server/transcription_request.h"

#include <stdlib.h>
#include <string.h>

static const struct airlock_error no_memory = { AIRLOCK_E_NO_MEMORY, "out of memory" };

/* One request on its way. */
struct transcription {
    struct exchange exchange; /* first: a stream frees it as one */
    struct transcription_request request;
    struct openai_choice words;
};

/* How far a stream has come. */
struct transcription_stream {
    struct exchange *exchange;
    struct transcription_request request; /* moved here */
    struct openai_choice words;
};

/* ---- bodies ---------------------------------------------------------------------------------- */

static void put(struct json_object *o, const char *key, struct json_object *v)
{
    json_object_object_add(o, key, v);
}

/* Tokens as this path writes them: without alternatives, which it has no field to ask for. */
static struct json_object *logprobs_json(struct json_object *tokens)
{
    struct json_object *list = tokens ? json_object_get(tokens) : json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(list); i++)
        json_object_object_del(json_object_array_get_idx(list, i), "top_logprobs");
    return list;
}

static struct json_object *usage_json(struct answer *answer)
{
    struct json_object *o = json_object_new_object();
    llm_stats stats;
    uint64_t wait_ns, run_ns;
    answer_totals(answer, &stats, &wait_ns, &run_ns);
    put(o, "type", json_object_new_string("tokens"));
    put(o, "input_tokens", json_object_new_int64((int64_t)stats.tokens_in));
    put(o, "output_tokens", json_object_new_int64((int64_t)stats.tokens_out));
    put(o, "total_tokens", json_object_new_int64((int64_t)(stats.tokens_in + stats.tokens_out)));
    return o;
}

/* The words without white space around them; they live in c. */
static void stripped(const struct openai_choice *c, const char **text, size_t *size)
{
    *text = c->text.data ? c->text.data : "";
    *size = c->text.size;
    strip_space(text, size);
}

/* {"text","logprobs"?,"usage"}; type: of an event, NULL: it is none.  (An event has no logprobs:
 * they came with the words, and all at once they could exceed an event's limit.) */
static struct json_object *whole_json(const char *type, const struct openai_choice *c,
                                      bool logprobs, struct answer *answer)
{
    struct json_object *o = json_object_new_object();
    const char *text;
    size_t size;
    stripped(c, &text, &size);
    if (type)
        put(o, "type", json_object_new_string(type));
    put(o, "text", json_object_new_string_len(text, (int)size));
    if (logprobs)
        put(o, "logprobs", logprobs_json(c->tokens));
    put(o, "usage", usage_json(answer));
    return o;
}

static void reply_words(struct transcription *t, struct http_reply *reply)
{
    const char *text;
    size_t size;
    if (t->request.text) {
        stripped(&t->words, &text, &size);
        http_reply_set(reply, 200, "text/plain; charset=utf-8", text, size);
        return;
    }
    struct json_object *o =
        whole_json(NULL, &t->words, t->request.openai.logprobs, t->exchange.answer);
    text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    http_reply_set(reply, text ? 200 : 503, "application/json", text ? text : "", text ? size : 0);
    json_object_put(o);
}

static void reply_whole(struct transcription *t, struct http_reply *reply)
{
    struct exchange *x = &t->exchange;
    struct answer_event event = { 0 };
    do {
        answer_next(x->answer, -1, &event);
        if (event.kind == ANSWER_ERROR)
            exchange_failed(x);
        else if (event.kind != ANSWER_OVER && openai_collect(NULL, &t->words, &event) < 0)
            exchange_fail(x, &no_memory);
    } while (event.kind != ANSWER_OVER && !x->failure.status);
    answer_event_free(&event);
    if (x->failure.status)
        openai_reply_failure(x, reply);
    else
        reply_words(t, reply);
}

/* ---- streams --------------------------------------------------------------------------------- */

static int stream_event(void *ctx, const struct answer_event *event, struct bytes *out)
{
    struct transcription_stream *s = ctx;
    s->words.text.max = LIMIT_ANSWER_BYTES;
    if (event->kind != ANSWER_TEXT)
        return 0;
    if (bytes_add(&s->words.text, event->text, event->size) < 0)
        return -1;
    struct json_object *o = json_object_new_object();
    put(o, "type", json_object_new_string("transcript.text.delta"));
    put(o, "delta", json_object_new_string_len(event->text, (int)event->size));
    if (s->request.openai.logprobs)
        put(o, "logprobs", logprobs_json(event->tokens));
    return sse_json(o, out);
}

static int stream_over(void *ctx, struct bytes *out)
{
    struct transcription_stream *s = ctx;
    struct json_object *o =
        whole_json("transcript.text.done", &s->words, false, s->exchange->answer);
    return sse_json(o, out) < 0 ? -1 : sse_done(out);
}

static void stream_free(void *ctx)
{
    struct transcription_stream *s = ctx;
    openai_request_free(&s->request.openai);
    openai_choice_free(&s->words);
    free(s);
}

static const struct stream_format events = { .content_type = SSE_CONTENT_TYPE,
                                             .event = stream_event,
                                             .failed = openai_stream_failed,
                                             .over = stream_over,
                                             .ping = SSE_PING,
                                             .free = stream_free };

/* True: everything belongs to a stream. */
static bool reply_stream(struct transcription *t, struct http_reply *reply)
{
    struct transcription_stream *s = calloc(1, sizeof *s);
    if (!s) {
        exchange_fail(&t->exchange, &no_memory);
    } else {
        s->exchange = &t->exchange;
        s->request = t->request;
        if (stream_reply(&t->exchange, &events, s, reply) == 0)
            return true;
        free(s); /* the request is t's still */
    }
    openai_reply_failure(&t->exchange, reply);
    return false;
}

/* ---- the route ------------------------------------------------------------------------------- */

/* 0, or -1 with the refusal in reply. */
static int begin(struct transcription *t, const struct http_request *request,
                 struct http_reply *reply)
{
    struct exchange *x = &t->exchange;
    struct openai_error err = { 0 };
    if (transcription_parse(http_request_header(request, "Content-Type"), request->body,
                            request->body_size, &t->request, &x->request, &err) < 0) {
        openai_reply_error(reply, &err);
        return -1;
    }
    if (openai_find(x, request, &t->request.openai, reply) < 0)
        return -1;
    if (x->model->cls->caps & LLM_CAP_AUDIOS)
        return 0;
    return openai_refusal(reply, 400, "model", "unsupported_by_model",
                          "This model does not take audio: choose one that does");
}

/* True: everything belongs to a stream. */
static bool answer(struct transcription *t, struct http_reply *reply)
{
    const struct openai_request *q = &t->request.openai;
    struct answer_order order = { .n = 1, .stream = q->stream, .tokens = q->logprobs };
    if (exchange_start(&t->exchange, &order) < 0) {
        openai_reply_failure(&t->exchange, reply);
        return false;
    }
    if (q->stream)
        return reply_stream(t, reply);
    reply_whole(t, reply);
    return false;
}

void transcription_handle(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct transcription *t = calloc(1, sizeof *t);
    if (!t) {
        openai_refusal(reply, 503, "", NULL, "Out of memory, try again.");
        return;
    }
    exchange_init(&t->exchange, request, arg, "transcriptions");
    if (begin(t, request, reply) == 0 && answer(t, reply))
        return;
    exchange_end(&t->exchange, reply->status);
    openai_request_free(&t->request.openai);
    openai_choice_free(&t->words);
    free(t);
}
