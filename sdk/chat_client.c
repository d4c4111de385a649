/* chat_client.c - libairlock: chat completions and the list of models; see airlock.h. */
#include "chat_parse.h"
#include "client.h"
#include "event_stream.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { REQUEST_BYTES = 1 << 30, LIST_BYTES = 4 << 20 };

static int out_of_memory(airlock_error *err)
{
    return sdk_fail(err, AIRLOCK_ERR_MEMORY, 0, "out of memory, or a request of more than 1 GiB");
}

/* ---- the request ----------------------------------------------------------------------------- */

static int add_calls(struct bytes *out, const airlock_chat_message *m, airlock_error *err)
{
    if (m->n_tool_calls == 0)
        return 0;
    if (!m->tool_calls)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "tool_calls is NULL");
    for (size_t i = 0; i < m->n_tool_calls; i++) {
        const airlock_tool_call *call = &m->tool_calls[i];
        if (bytes_add_text(out, i ? ",{\"type\":\"function\""
                                  : ",\"tool_calls\":[{\"type\":"
                                    "\"function\"") != 0)
            return out_of_memory(err);
        if (body_add_member(out, "id", call->id, err) != 0)
            return -1;
        if (bytes_add_text(out, ",\"function\":{\"name\":") != 0)
            return out_of_memory(err);
        if (body_add_string(out, "name", call->name, err) != 0 ||
            body_add_member(out, "arguments", call->arguments, err) != 0)
            return -1;
        if (bytes_add_text(out, "}}") != 0)
            return out_of_memory(err);
    }
    return bytes_add(out, "]", 1) == 0 ? 0 : out_of_memory(err);
}

/* ,"content":... as parts, where there is more than text: pictures, sounds, then the text. */
static int add_parts(struct bytes *out, const airlock_chat_message *m, airlock_error *err)
{
    if (bytes_add_text(out, ",\"content\":[") != 0)
        return out_of_memory(err);
    size_t begin = out->size;
    if (body_add_image_parts(out, m->images, m->n_images, err) != 0 ||
        body_add_audio_parts(out, m->audios, m->n_audios, err) != 0)
        return -1;
    out->data[begin] = ' '; /* the first part's comma */
    if (m->content && m->content[0]) {
        if (bytes_add_text(out, ",{\"type\":\"text\",\"text\":") != 0)
            return out_of_memory(err);
        if (body_add_string(out, "content", m->content, err) != 0)
            return -1;
        if (bytes_add(out, "}", 1) != 0)
            return out_of_memory(err);
    }
    return bytes_add(out, "]", 1) == 0 ? 0 : out_of_memory(err);
}

static int add_content(struct bytes *out, const airlock_chat_message *m, airlock_error *err)
{
    if (m->n_images + m->n_audios)
        return add_parts(out, m, err);
    if (m->content)
        return body_add_member(out, "content", m->content, err);
    if (m->n_tool_calls == 0)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "content is missing");
    return bytes_add_text(out, ",\"content\":null") == 0 ? 0 : out_of_memory(err);
}

static int add_message(struct bytes *out, const airlock_chat_message *m, airlock_error *err)
{
    if (bytes_add_text(out, "{\"role\":") != 0)
        return out_of_memory(err);
    if (body_add_string(out, "role", m->role, err) != 0)
        return -1;
    if (add_content(out, m, err) != 0 ||
        (m->tool_call_id && body_add_member(out, "tool_call_id", m->tool_call_id, err) != 0) ||
        add_calls(out, m, err) != 0)
        return -1;
    return bytes_add(out, "}", 1) == 0 ? 0 : out_of_memory(err);
}

static int add_messages(struct bytes *out, const airlock_chat_request *r, airlock_error *err)
{
    if (r->n_messages && !r->messages)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "messages is NULL");
    int rc = bytes_add_text(out, ",\"messages\":[");
    for (size_t i = 0; i < r->n_messages && rc == 0; i++) {
        if (i && bytes_add(out, ",", 1) != 0)
            return out_of_memory(err);
        airlock_error why = { 0 };
        if (add_message(out, &r->messages[i], &why) != 0)
            return sdk_fail(err, why.code, 0, "messages[%zu]: %s", i, why.text);
    }
    return rc == 0 && bytes_add(out, "]", 1) == 0 ? 0 : out_of_memory(err);
}

/* JSON of the caller's own goes in as it is; the server judges it. */
static int add_json(struct bytes *out, const char *before, const char *json, const char *after,
                    airlock_error *err)
{
    return !json || (bytes_add_text(out, before) == 0 && bytes_add_text(out, json) == 0 &&
                     bytes_add_text(out, after) == 0)
               ? 0
               : out_of_memory(err);
}

static int add_tool_choice(struct bytes *out, const char *choice, airlock_error *err)
{
    if (!choice)
        return 0;
    if (strcmp(choice, "auto") == 0 || strcmp(choice, "none") == 0 ||
        strcmp(choice, "required") == 0)
        return body_add_member(out, "tool_choice", choice, err);
    if (bytes_add_text(out, ",\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":") != 0)
        return out_of_memory(err);
    if (body_add_string(out, "tool_choice", choice, err) != 0)
        return -1;
    return bytes_add_text(out, "}}") == 0 ? 0 : out_of_memory(err);
}

static int add_stop(struct bytes *out, const airlock_chat_request *r, airlock_error *err)
{
    if (r->n_stop && !r->stop)
        return sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0, "stop is NULL");
    for (size_t i = 0; i < r->n_stop; i++) {
        if (bytes_add_text(out, i ? "," : ",\"stop\":[") != 0)
            return out_of_memory(err);
        if (body_add_string(out, "stop", r->stop[i], err) != 0)
            return -1;
    }
    return r->n_stop && bytes_add(out, "]", 1) != 0 ? out_of_memory(err) : 0;
}

static int write_body(const airlock_chat_request *r, struct bytes *out, airlock_error *err)
{
    if (bytes_add(out, "{", 1) != 0)
        return out_of_memory(err);
    if (body_add_member(out, "model", r->model, err) != 0 || add_messages(out, r, err) != 0 ||
        (r->parameters && body_add_parameters(out, r->parameters, 1, err) != 0) ||
        add_stop(out, r, err) != 0 || add_json(out, ",\"tools\":", r->tools, "", err) != 0 ||
        add_tool_choice(out, r->tool_choice, err) != 0 ||
        add_json(out,
                 ",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":"
                 "\"answer\",\"strict\":true,\"schema\":",
                 r->schema, "}}", err) != 0)
        return -1;
    if ((r->use_seed && bytes_printf(out, ",\"seed\":%ld", r->seed) != 0) ||
        (r->on_text &&
         bytes_add_text(out, ",\"stream\":true,\"stream_options\":{\"include_usage\":true}") != 0))
        return out_of_memory(err);
    return bytes_add(out, "}", 1) == 0 ? 0 : out_of_memory(err);
}

/* ---- the answer ------------------------------------------------------------------------------ */

struct chat {
    struct transfer transfer;
    struct chat_parts parts;
    struct event_stream events;
    struct bytes whole; /* of an answer that is no event stream */
    const airlock_chat_request *request;
    int is_events, done;
};

static int bad_answer(struct chat *c)
{
    return sdk_fail(&c->transfer.failure, AIRLOCK_ERR_ANSWER, 200, "the answer is wrong: %s",
                    c->parts.words);
}

/* Hands on the text that the last event, or the whole answer, has brought. */
static int hand_on(struct chat *c)
{
    struct chat_parts *p = &c->parts;
    size_t n = p->text.size - p->new_text;
    if (!c->request->on_text || n == 0 ||
        c->request->on_text(c->request->ctx, p->text.data + p->new_text, n) == 0)
        return 0;
    return sdk_fail(&c->transfer.failure, AIRLOCK_ERR_CANCELLED, 0,
                    "the callback ended the answer");
}

static int on_event(void *ctx, const char *data, size_t size)
{
    struct chat *c = ctx;
    if (c->done)
        return 0;
    if (size == 6 && memcmp(data, "[DONE]", 6) == 0) {
        c->done = 1;
        return 0;
    }
    return chat_parse(&c->parts, data, size) == 0 ? hand_on(c) : bad_answer(c);
}

static int take(struct transfer *t, const char *data, size_t n, int events)
{
    struct chat *c = t->ctx;
    c->is_events = events;
    if (events) {
        if (event_stream_take(&c->events, data, n, on_event, c) == 0)
            return 0;
    } else if (bytes_add(&c->whole, data, n) == 0) {
        return 0;
    }
    if (t->failure.code)
        return -1;
    return sdk_fail(&t->failure, AIRLOCK_ERR_ANSWER, 200,
                    events ? "an event is too large, or out of memory"
                           : "the answer is too large, or out of memory");
}

/* A transfer that succeeded has brought a whole answer? */
static int finish(struct chat *c)
{
    airlock_error *failure = &c->transfer.failure;
    if (!c->is_events && c->whole.size)
        return chat_parse(&c->parts, c->whole.data, c->whole.size) == 0 ? hand_on(c)
                                                                        : bad_answer(c);
    if (!c->done && !c->parts.finish_reason[0])
        return sdk_fail(failure, AIRLOCK_ERR_ANSWER, 200, "the answer broke off");
    return 0;
}

/* What is given back is one block: the struct, the calls, and all texts behind them. */
static airlock_chat_answer *make_answer(const struct chat_parts *p)
{
    size_t size = sizeof(airlock_chat_answer) + p->n_calls * sizeof(airlock_tool_call) + p->used +
                  3 * p->n_calls + sizeof p->finish_reason + 1;
    airlock_chat_answer *answer = calloc(1, size);
    if (!answer)
        return NULL;
    airlock_tool_call *calls = (airlock_tool_call *)(answer + 1);
    char *at = (char *)(calls + p->n_calls);
#define COPY(bytes_)                                                                               \
    (memcpy(at, (bytes_)->data ? (bytes_)->data : "", (bytes_)->size + 1),                         \
     at += (bytes_)->size + 1, at - (bytes_)->size - 1)
    answer->text = COPY(&p->text);
    answer->text_size = p->text.size;
    for (size_t i = 0; i < p->n_calls; i++) {
        calls[i].id = COPY(&p->call[i].id);
        calls[i].name = COPY(&p->call[i].name);
        calls[i].arguments = COPY(&p->call[i].arguments);
    }
#undef COPY
    strcpy(at, p->finish_reason);
    answer->finish_reason = at;
    answer->tool_calls = calls;
    answer->n_tool_calls = p->n_calls;
    answer->prompt_tokens = p->prompt_tokens;
    answer->completion_tokens = p->completion_tokens;
    answer->cached_tokens = p->cached_tokens;
    return answer;
}

static airlock_chat_answer *run(airlock_client *client, struct chat *c, airlock_error *err)
{
    struct bytes body = BYTES_INIT(REQUEST_BYTES);
    airlock_chat_answer *answer = NULL;
    chat_parts_init(&c->parts, client->max_answer);
    event_stream_init(&c->events);
    c->whole.max =
        client->max_answer < SIZE_MAX / 4 ? 2 * client->max_answer + 65536 : SIZE_MAX / 2;
    c->transfer.path = "/v1/chat/completions";
    c->transfer.body = &body;
    c->transfer.take = take;
    c->transfer.ctx = c;
    if (write_body(c->request, &body, err) == 0 && sdk_transfer(client, &c->transfer, err) == 0) {
        airlock_error *failure = &c->transfer.failure;
        if (finish(c) != 0)
            sdk_fail(err, failure->code, failure->http_status, "%s", failure->text);
        else if (!(answer = make_answer(&c->parts)))
            out_of_memory(err);
    }
    bytes_free(&body);
    bytes_free(&c->whole);
    event_stream_free(&c->events);
    chat_parts_free(&c->parts);
    return answer;
}

airlock_chat_answer *airlock_client_chat(airlock_client *client,
                                         const airlock_chat_request *request, airlock_error *err)
{
    airlock_chat_request whole;
    memset(&whole, 0, sizeof whole);
    if (request->struct_size < offsetof(airlock_chat_request, ctx) + sizeof(void *)) {
        sdk_fail(err, AIRLOCK_ERR_ARGUMENT, 0,
                 "airlock_chat_request.struct_size is not set: it is sizeof(airlock_chat_request)");
        return NULL;
    }
    memcpy(&whole, request,
           sizeof whole < request->struct_size ? sizeof whole : request->struct_size);
    struct chat *c = calloc(1, sizeof *c);
    if (!c) {
        out_of_memory(err);
        return NULL;
    }
    c->request = &whole;
    airlock_chat_answer *answer = run(client, c, err);
    free(c);
    return answer;
}

void airlock_chat_answer_free(airlock_chat_answer *answer)
{
    free(answer);
}

/* ---- models ---------------------------------------------------------------------------------- */

static int take_list(struct transfer *t, const char *data, size_t n, int events)
{
    (void)events;
    return bytes_add(t->ctx, data, n) == 0
               ? 0
               : sdk_fail(&t->failure, AIRLOCK_ERR_ANSWER, 200, "the list is larger than 4 MiB");
}

char **airlock_client_models(airlock_client *client, airlock_error *err)
{
    struct bytes json = BYTES_INIT(LIST_BYTES), names = BYTES_INIT(LIST_BYTES);
    struct transfer t = { .path = "/v1/models", .take = take_list, .ctx = &json };
    char **list = NULL;
    if (sdk_transfer(client, &t, err) == 0) {
        int n = chat_parse_models(json.data ? json.data : "", json.size, &names);
        size_t pointers = ((size_t)(n < 0 ? 0 : n) + 1) * sizeof *list;
        if (n < 0)
            sdk_fail(err, AIRLOCK_ERR_ANSWER, 200, "the answer is no list of models");
        else if (!(list = malloc(pointers + names.size)))
            out_of_memory(err);
        char *at = (char *)list + pointers;
        if (list && names.size)
            memcpy(at, names.data, names.size);
        for (int i = 0; list && i <= n; i++) {
            list[i] = i < n ? at : NULL;
            at += i < n ? strlen(at) + 1 : 0;
        }
    }
    bytes_free(&json);
    bytes_free(&names);
    return list;
}

void airlock_models_free(char **names)
{
    free(names);
}
