/* openai_reply.c - see openai_reply.h. */
#include "server/openai_reply.h"

#include "common/io.h"
#include "common/json.h"
#include "common/limits.h"
#include "common/utf8.h"
#include "server/openai_parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const double LEAST_LOGPROB = -9999; /* for minus infinity, which JSON has not; OpenAI's */

/* ---- small parts ----------------------------------------------------------------------------- */

static void put(struct json_object *o, const char *key, struct json_object *v)
{
    json_object_object_add(o, key, v);
}

static struct json_object *text_json(const char *data, size_t n)
{
    return json_object_new_string_len(data ? data : "", (int)n);
}

/* Text of any bytes, as valid UTF-8. */
static struct json_object *clean_json(const char *data, size_t n)
{
    struct bytes text = BYTES_INIT(4 * n + 4);
    struct utf8_cleaner cleaner = { { 0 }, 0 };
    if (n)
        utf8_clean(&cleaner, data, n, &text);
    utf8_clean_end(&cleaner, &text);
    struct json_object *o = text_json(text.data, text.size);
    bytes_free(&text);
    return o;
}

static void random_hex(char *out, size_t n)
{
    unsigned char bytes[16] = { 0 };
    uint64_t now = io_now_ns();
    if (getrandom(bytes, sizeof bytes, GRND_NONBLOCK) != sizeof bytes)
        memcpy(bytes, &now, sizeof now);
    for (size_t i = 0; i < n; i++)
        out[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
    out[n] = 0;
}

void openai_head_init(struct openai_head *head, bool chat, llm_str model, int64_t now)
{
    *head = (struct openai_head){ .chat = chat, .created = now, .model = model };
    int n = snprintf(head->id, sizeof head->id, chat ? "chatcmpl-" : "cmpl-");
    random_hex(head->id + n, 24);
}

const char *openai_finish(const struct answer_choice_result *result)
{
    if (result->called || result->stats.finish == LLM_FINISH_TOOL_CALLS)
        return "tool_calls";
    return result->stats.finish == LLM_FINISH_LENGTH ? "length" : "stop";
}

/* ---- errors ---------------------------------------------------------------------------------- */

static const char *error_type(unsigned status)
{
    return status == 401   ? "authentication_error"
           : status == 403 ? "permission_error"
           : status < 500  ? "invalid_request_error"
                           : "server_error";
}

struct json_object *openai_error_json(unsigned status, const char *message, const char *param,
                                      const char *code)
{
    struct json_object *e = json_object_new_object(), *o = json_object_new_object();
    put(e, "message", clean_json(message, strlen(message)));
    put(e, "type", json_object_new_string(error_type(status)));
    put(e, "param", param && *param ? clean_json(param, strlen(param)) : NULL);
    put(e, "code", code ? json_object_new_string(code) : NULL);
    put(o, "error", e);
    return o;
}

void openai_reply_error(struct http_reply *reply, const struct openai_error *err)
{
    struct json_object *o = openai_error_json(err->status, err->message, err->param, err->code);
    const char *text =
        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    http_reply_set(reply, err->status, "application/json", text ? text : "",
                   text ? strlen(text) : 0);
    json_object_put(o);
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

static struct json_object *logprob_json(llm_str bytes, double logprob)
{
    struct json_object *o = json_object_new_object();
    struct json_object *list = json_object_new_array_ext((int)(bytes.len ? bytes.len : 1));
    for (uint64_t i = 0; i < bytes.len; i++)
        json_object_array_add(list, json_object_new_int((unsigned char)bytes.ptr[i]));
    put(o, "token", clean_json(bytes.ptr, bytes.len));
    put(o, "logprob",
        json_object_new_double(isfinite(logprob) && logprob > LEAST_LOGPROB ? logprob
                                                                            : LEAST_LOGPROB));
    put(o, "bytes", list);
    return o;
}

struct json_object *token_json(const llm_token *token)
{
    struct json_object *o = logprob_json(token->bytes, token->logprob);
    struct json_object *top = json_object_new_array();
    for (uint32_t i = 0; i < token->n_top && i < LIMIT_TOP_LOGPROBS; i++)
        json_object_array_add(top, logprob_json(token->top[i]->bytes, token->top[i]->logprob));
    put(o, "top_logprobs", top);
    return o;
}

/* Characters that begin in a token's bytes. */
static uint64_t characters(struct json_object *token)
{
    struct json_object *bytes = openai_member(token, "bytes");
    uint64_t n = 0;
    for (size_t i = 0; i < json_object_array_length(bytes); i++)
        n += (json_object_get_int(json_object_array_get_idx(bytes, i)) & 0xc0) != 0x80;
    return n;
}

/* Completions have lists side by side instead of a list of tokens. */
static struct json_object *old_logprobs(struct json_object *tokens, uint64_t *offset)
{
    struct json_object *o = json_object_new_object(), *names = json_object_new_array();
    struct json_object *values = json_object_new_array(), *tops = json_object_new_array();
    struct json_object *offsets = json_object_new_array();
    for (size_t i = 0; i < json_object_array_length(tokens); i++) {
        struct json_object *t = json_object_array_get_idx(tokens, i);
        struct json_object *top = openai_member(t, "top_logprobs"), *map = json_object_new_object();
        for (size_t k = 0; k < json_object_array_length(top); k++) {
            struct json_object *alternative = json_object_array_get_idx(top, k);
            const char *name = json_object_get_string(openai_member(alternative, "token"));
            if (!json_object_object_get_ex(map, name, NULL)) /* the likelier one of a name stays */
                put(map, name, json_object_get(openai_member(alternative, "logprob")));
        }
        json_object_array_add(names, json_object_get(openai_member(t, "token")));
        json_object_array_add(values, json_object_get(openai_member(t, "logprob")));
        json_object_array_add(tops, map);
        json_object_array_add(offsets, json_object_new_int64((int64_t)*offset));
        *offset += characters(t);
    }
    put(o, "tokens", names);
    put(o, "token_logprobs", values);
    put(o, "top_logprobs", tops);
    put(o, "text_offset", offsets);
    return o;
}

/* tokens: borrowed; NULL: none. */
static struct json_object *logprobs_json(bool chat, struct json_object *tokens, uint64_t *offset)
{
    if (!tokens)
        return NULL;
    if (!chat)
        return old_logprobs(tokens, offset);
    struct json_object *o = json_object_new_object();
    put(o, "content", json_object_get(tokens));
    put(o, "refusal", NULL);
    return o;
}

/* ---- parts of bodies ------------------------------------------------------------------------- */

static struct json_object *call_json(const struct answer_event *event, bool delta, unsigned index)
{
    char id[32] = "call_";
    struct json_object *o = json_object_new_object(), *f = json_object_new_object();
    random_hex(id + 5, 24);
    if (delta)
        put(o, "index", json_object_new_int((int)index));
    put(o, "id", json_object_new_string(id));
    put(o, "type", json_object_new_string("function"));
    put(f, "name", clean_json(event->name, strlen(event->name)));
    put(f, "arguments", clean_json(event->text, event->size));
    put(o, "function", f);
    return o;
}

static struct json_object *usage_json(const llm_stats *stats)
{
    struct json_object *o = json_object_new_object(), *details = json_object_new_object();
    put(o, "prompt_tokens", json_object_new_int64((int64_t)stats->tokens_in));
    put(o, "completion_tokens", json_object_new_int64((int64_t)stats->tokens_out));
    put(o, "total_tokens", json_object_new_int64((int64_t)(stats->tokens_in + stats->tokens_out)));
    put(details, "cached_tokens", json_object_new_int64((int64_t)stats->tokens_cached));
    put(o, "prompt_tokens_details", details);
    return o;
}

/* The members in front of the choices. */
static struct json_object *envelope(const struct openai_head *head, bool chunk)
{
    struct json_object *o = json_object_new_object();
    put(o, "id", json_object_new_string(head->id));
    put(o, "object",
        json_object_new_string(!head->chat ? "text_completion"
                               : chunk     ? "chat.completion.chunk"
                                           : "chat.completion"));
    put(o, "created", json_object_new_int64(head->created));
    put(o, "model", text_json(head->model.ptr, head->model.len));
    return o;
}

static struct json_object *choice_json(size_t index, struct json_object *logprobs,
                                       const char *finish)
{
    struct json_object *o = json_object_new_object();
    put(o, "index", json_object_new_int((int)index));
    put(o, "logprobs", logprobs);
    put(o, "finish_reason", finish ? json_object_new_string(finish) : NULL);
    return o;
}

static struct json_object *one_choice(const struct openai_head *head, struct json_object *choice,
                                      bool usage_null)
{
    struct json_object *o = envelope(head, true), *list = json_object_new_array();
    json_object_array_add(list, choice);
    put(o, "choices", list);
    if (usage_null)
        put(o, "usage", NULL);
    return o;
}

/* ---- chunks ---------------------------------------------------------------------------------- */

struct json_object *openai_role_chunk(const struct openai_head *head, size_t index, bool usage_null)
{
    struct json_object *c = choice_json(index, NULL, NULL), *delta = json_object_new_object();
    put(delta, "role", json_object_new_string("assistant"));
    put(delta, "content", json_object_new_string(""));
    put(c, "delta", delta);
    return one_choice(head, c, usage_null);
}

struct json_object *openai_chunk(const struct openai_head *head, struct openai_choice *choice,
                                 const struct answer_event *event, const char *finish,
                                 bool logprobs, bool usage_null)
{
    struct json_object *tokens = logprobs ? event->tokens : NULL;
    struct json_object *c =
        choice_json(event->choice, logprobs_json(head->chat, tokens, &choice->offset), finish);
    if (!head->chat) {
        put(c, "text", text_json(event->text, event->text ? event->size : 0));
        return one_choice(head, c, usage_null);
    }
    struct json_object *delta = json_object_new_object();
    if (event->kind == ANSWER_TEXT)
        put(delta, "content", text_json(event->text, event->size));
    if (event->kind == ANSWER_CALL) {
        struct json_object *list = json_object_new_array();
        json_object_array_add(list, call_json(event, true, choice->calls++));
        put(delta, "tool_calls", list);
    }
    put(c, "delta", delta);
    return one_choice(head, c, usage_null);
}

struct json_object *openai_usage_chunk(const struct openai_head *head, const llm_stats *stats)
{
    struct json_object *o = envelope(head, true);
    put(o, "choices", json_object_new_array());
    put(o, "usage", usage_json(stats));
    return o;
}

/* ---- whole answers --------------------------------------------------------------------------- */

int openai_collect(const struct openai_head *head, struct openai_choice *choice,
                   struct answer_event *event)
{
    (void)head;
    choice->text.max = LIMIT_ANSWER_BYTES;
    if (event->kind == ANSWER_TEXT) {
        if (!choice->tokens && event->tokens)
            choice->tokens = json_object_new_array();
        for (size_t i = 0; event->tokens && i < json_object_array_length(event->tokens); i++)
            json_object_array_add(choice->tokens,
                                  json_object_get(json_object_array_get_idx(event->tokens, i)));
        return bytes_add(&choice->text, event->text, event->size);
    }
    if (event->kind == ANSWER_CALL) {
        if (!choice->calls_list)
            choice->calls_list = json_object_new_array();
        json_object_array_add(choice->calls_list, call_json(event, false, 0));
    }
    return 0;
}

static struct json_object *message_json(struct openai_choice *choice)
{
    struct json_object *m = json_object_new_object();
    bool empty = choice->calls_list && !choice->text.size;
    put(m, "role", json_object_new_string("assistant"));
    put(m, "content", empty ? NULL : text_json(choice->text.data, choice->text.size));
    put(m, "refusal", NULL);
    if (choice->calls_list)
        put(m, "tool_calls", json_object_get(choice->calls_list));
    return m;
}

struct json_object *openai_body(const struct openai_head *head, struct openai_choice *choices,
                                const char *const *finish, size_t n, bool logprobs,
                                const llm_stats *stats)
{
    struct json_object *o = envelope(head, false), *list = json_object_new_array();
    for (size_t i = 0; i < n; i++) {
        if (logprobs && !choices[i].tokens)
            choices[i].tokens = json_object_new_array();
        struct json_object *c = choice_json(
            i, logprobs_json(head->chat, choices[i].tokens, &choices[i].offset), finish[i]);
        if (head->chat)
            put(c, "message", message_json(&choices[i]));
        else
            put(c, "text", text_json(choices[i].text.data, choices[i].text.size));
        json_object_array_add(list, c);
    }
    put(o, "choices", list);
    put(o, "usage", usage_json(stats));
    return o;
}

void openai_choice_free(struct openai_choice *choice)
{
    bytes_free(&choice->text);
    json_object_put(choice->calls_list);
    json_object_put(choice->tokens);
    *choice = (struct openai_choice){ 0 };
}
