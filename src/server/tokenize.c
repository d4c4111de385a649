/* tokenize.c - see tokenize.h. */
#include "server/tokenize.h"

#include "common/json.h"
#include "common/utf8.h"
#include "server/openai.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 4096 };

static const struct airlock_error no_memory = { AIRLOCK_E_NO_MEMORY, "out of memory" };

/* One request on its way. */
struct tokens {
    struct exchange exchange;
    struct openai_request request;
    struct generation_output output; /* who waits, and until when */
    const llm_ext_tokenizer *ext;
};

static bool gone(void *ctx)
{
    const struct tokens *t = ctx;
    return atomic_load(&t->exchange.service->abort) || http_fd_gone(t->exchange.fd);
}

static void reply_json(struct http_reply *reply, struct json_object *o)
{
    size_t size = 0;
    const char *text = json_object_to_json_string_length(
        o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &size);
    http_reply_set(reply, text ? 200 : 503, "application/json", text ? text : "", size);
    json_object_put(o);
}

/* 0, or -1 with x->failure. */
static int failed(struct tokens *t, llm_status status, const llm_error *why)
{
    struct airlock_error err;
    plugin_host_error(&t->exchange.model->host, status, why, &err);
    exchange_fail(&t->exchange, &err);
    return -1;
}

/* ---- text to ids ----------------------------------------------------------------------------- */

static int call_tokenize(struct tokens *t, int64_t *ids, uint64_t capacity, uint64_t *n)
{
    llm_error why = { .struct_size = sizeof why };
    const struct model *m = t->exchange.model;
    llm_status status =
        t->ext->tokenize(m->instance, &t->exchange.request.abi, ids, capacity, n, &why);
    return status == LLM_OK ? 0 : failed(t, status, &why);
}

/* Allocates *ids.  0, or -1 with x->failure. */
static int all_ids(struct tokens *t, int64_t **ids, uint64_t *n)
{
    uint64_t capacity = FIRST_CAPACITY;
    for (;;) {
        int64_t *bigger = realloc(*ids, capacity * sizeof **ids);
        if (!bigger) {
            exchange_fail(&t->exchange, &no_memory);
            return -1;
        }
        *ids = bigger;
        *n = 0;
        if (call_tokenize(t, *ids, capacity, n) < 0)
            return -1;
        if (*n <= capacity)
            return 0;
        if (*n > LIMIT_TOKENS) {
            static const struct airlock_error many = { AIRLOCK_E_REQUEST,
                                                       "The text has too many tokens" };
            exchange_fail(&t->exchange, &many);
            return -1;
        }
        capacity = *n;
    }
}

static void tokenize(struct tokens *t, struct http_reply *reply)
{
    int64_t *ids = NULL;
    uint64_t n;
    if (t->request.prompts)
        t->exchange.request.abi.prompt = t->request.prompts[0];
    if (all_ids(t, &ids, &n) == 0) {
        struct json_object *o = json_object_new_object(), *list = json_object_new_array();
        uint64_t context = t->exchange.model->config->max_context;
        for (uint64_t i = 0; i < n; i++)
            json_object_array_add(list, json_object_new_int64(ids[i]));
        json_object_object_add(o, "count", json_object_new_int64((int64_t)n));
        if (context)
            json_object_object_add(o, "max_model_len", json_object_new_int64((int64_t)context));
        json_object_object_add(o, "tokens", list);
        reply_json(reply, o);
    }
    free(ids);
}

/* ---- ids to text ----------------------------------------------------------------------------- */

/* The sink of a call: its bytes. */
struct text_sink {
    llm_sink abi;
    struct bytes bytes;
    struct tokens *tokens;
};

static int32_t emit(const llm_sink *sink, const char *bytes, uint64_t n)
{
    struct text_sink *s = sink->ctx;
    return bytes_add(&s->bytes, bytes, n) < 0;
}

static int32_t cancelled(const llm_sink *sink)
{
    const struct text_sink *s = sink->ctx;
    return gone(s->tokens);
}

static void detokenize(struct tokens *t, struct http_reply *reply)
{
    struct text_sink s = { .bytes = BYTES_INIT(LIMIT_ANSWER_BYTES), .tokens = t };
    s.abi =
        (llm_sink){ .struct_size = sizeof s.abi, .ctx = &s, .emit = emit, .cancelled = cancelled };
    llm_error why = { .struct_size = sizeof why };
    llm_status status = t->ext->detokenize(t->exchange.model->instance, t->request.tokens,
                                           t->request.n_tokens, &s.abi, &why);
    struct bytes text = BYTES_INIT(3 * (size_t)LIMIT_ANSWER_BYTES);
    struct utf8_cleaner cleaner = { { 0 }, 0 };
    if (status != LLM_OK) {
        failed(t, status, &why);
    } else if ((s.bytes.size && utf8_clean(&cleaner, s.bytes.data, s.bytes.size, &text) < 0) ||
               utf8_clean_end(&cleaner, &text) < 0) {
        exchange_fail(&t->exchange, &no_memory);
    } else {
        struct json_object *o = json_object_new_object();
        json_object_object_add(
            o, "prompt", json_object_new_string_len(text.data ? text.data : "", (int)text.size));
        reply_json(reply, o);
    }
    bytes_free(&text);
    bytes_free(&s.bytes);
}

/* ---- the routes ------------------------------------------------------------------------------ */

static void run(struct tokens *t, void (*work)(struct tokens *, struct http_reply *),
                struct http_reply *reply)
{
    struct exchange *x = &t->exchange;
    struct airlock_error err = { 0 };
    struct admission_place place;
    unsigned seconds = x->service->answer_seconds;
    t->output =
        (struct generation_output){ .gone = gone,
                                    .ctx = t,
                                    .caller = x->request.salt,
                                    .deadline_ns =
                                        seconds ? x->start_ns + seconds * 1000000000ull : 0 };
    if (abi_request_finish(&x->request, &err) < 0 ||
        generation_enter_instance(x->model, &t->output, &place, &err) < 0) {
        exchange_fail(x, &err);
        return;
    }
    x->request.abi.adapter = x->adapter ? &x->adapter->abi : NULL;
    work(t, reply);
    generation_leave_instance(x->model, &place);
}

static bool has_tokenizer(struct tokens *t)
{
    static const struct airlock_error none = { AIRLOCK_E_UNSUPPORTED, "no tokenizer" };
    const llm_model_class *cls = t->exchange.model->cls;
    t->ext = cls->extension ? cls->extension(LLM_EXT_TOKENIZER) : NULL;
    if (t->ext && LLM_HAS(t->ext, llm_ext_tokenizer, detokenize))
        return true;
    exchange_fail(&t->exchange, &none);
    strcpy(t->exchange.failure.text, "This model does not tell its tokens.");
    return false;
}

static void handle(enum openai_route route, const struct http_request *request,
                   struct http_reply *reply, struct service *service)
{
    struct tokens t = { 0 };
    bool to_ids = route == OPENAI_TOKENIZE;
    exchange_init(&t.exchange, request, service, to_ids ? "tokenize" : "detokenize");
    if (openai_begin(&t.exchange, route, request, &t.request, reply) == 0) {
        if (has_tokenizer(&t))
            run(&t, to_ids ? tokenize : detokenize, reply);
        if (t.exchange.failure.status)
            openai_reply_failure(&t.exchange, reply);
    }
    exchange_end(&t.exchange, reply->status);
    openai_request_free(&t.request);
}

void tokenize_handle(const struct http_request *request, struct http_reply *reply, void *arg)
{
    handle(OPENAI_TOKENIZE, request, reply, arg);
}

void detokenize_handle(const struct http_request *request, struct http_reply *reply, void *arg)
{
    handle(OPENAI_DETOKENIZE, request, reply, arg);
}
