/* generate.c - turns a request into a prompt and parameters, submits it, and passes on what comes.
 */
#include "generate.h"

#include "common/io.h"
#include "engine/tool_calls.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    POLL_MS = 50,           /* between two looks at cancelled() while nothing comes */
    ANSWER_BYTES = 16 << 20 /* of text that is passed on at once */
};

/* What a request becomes; everything in it is freed by parts_free(). */
struct parts {
    struct token_list prompt;
    struct stop_string *stop;
    struct sampler_bias *bias;
    const void *adapters[LINEAR_MAX_ADAPTERS];
    uint64_t versions[LINEAR_MAX_ADAPTERS]; /* of adapters */
    size_t n_adapters;
    struct tools tools; /* n == 0: none */
    struct constraint *constraint;
    struct generate_media media;
};

static void parts_free(const struct generate_context *g, struct parts *p)
{
    if (g->media)
        g->media->end(g->media_ctx, &p->media);
    free(p->prompt.ids);
    free(p->stop);
    free(p->bias);
    tools_free(&p->tools);
    constraint_release(p->constraint);
}

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a request");
}

static int check_supported(const struct generate_context *g, const llm_request *r,
                           struct airlock_error *err)
{
    const char *what = g->media ? NULL : r->n_images ? "images" : r->n_audios ? "audios" : NULL;
    if (what)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "this model takes no %s", what);
    if (r->tools.len && r->n_messages == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "tools need messages, not a prompt");
    return 0;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

/* A conversation for the template; what is written for it is freed by conversation_free(). */
struct conversation {
    struct chat_message *messages; /* [n] */
    size_t n;
    struct bytes *calls; /* [n] of assistants, as the model writes them */
};

static void conversation_free(struct conversation *c)
{
    for (size_t i = 0; c->calls && i < c->n; i++)
        bytes_free(&c->calls[i]);
    free(c->calls);
    free(c->messages);
}

static int add_message(struct conversation *c, const llm_message *m, uint64_t i, bool tools,
                       struct airlock_error *err)
{
    static const enum chat_role roles[] = { [LLM_ROLE_SYSTEM] = CHAT_SYSTEM,
                                            [LLM_ROLE_USER] = CHAT_USER,
                                            [LLM_ROLE_ASSISTANT] = CHAT_ASSISTANT,
                                            [LLM_ROLE_TOOL] = CHAT_TOOL };
    if (m->role < LLM_ROLE_SYSTEM || m->role > LLM_ROLE_TOOL)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "message %llu: role %d is unknown",
                                 (unsigned long long)i, m->role);
    struct chat_message *out = &c->messages[c->n];
    struct bytes *calls = &c->calls[c->n++];
    *out = (struct chat_message){ .role = roles[m->role],
                                  .content = m->content.ptr,
                                  .size = m->content.len };
    if (m->role == LLM_ROLE_TOOL && (tools || m->tool_call_id.len))
        out->role = CHAT_RESULT;
    if (m->tool_calls.len == 0)
        return 0;
    if (m->role != LLM_ROLE_ASSISTANT)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "messages[%llu]: only an assistant has tool_calls",
                                 (unsigned long long)i);
    *calls = (struct bytes)BYTES_INIT(2 * TOOLS_MAX_BYTES);
    if (tools_write_calls(m->tool_calls.ptr, m->tool_calls.len, calls, err))
        return airlock_error_wrap(err, "messages[%llu]", (unsigned long long)i);
    out->calls = calls->data;
    out->calls_size = calls->size;
    return 0;
}

/* The tools go into the system message that comes first; where there is none, one is made with the
 * words that Ollama's template for this model has. */
static void add_system(struct conversation *c, const llm_request *r)
{
    static const char system[] = "You are a helpful assistant with some tools.";
    if (r->messages[0]->role != LLM_ROLE_SYSTEM)
        c->messages[c->n++] = (struct chat_message){ .role = CHAT_SYSTEM,
                                                     .content = system,
                                                     .size = sizeof system - 1 };
}

static int fill_conversation(struct conversation *c, const llm_request *r,
                             const struct tools *tools, struct airlock_error *err)
{
    bool with_tools = tools->n > 0;
    for (uint64_t i = 0; i < r->n_messages; i++)
        with_tools = with_tools || r->messages[i]->tool_calls.len;
    if (tools->n > 0)
        add_system(c, r);
    for (uint64_t i = 0; i < r->n_messages; i++)
        if (add_message(c, r->messages[i], i, with_tools, err))
            return -1;
    if (tools->n > 0) {
        c->messages[0].tools = tools->text.data;
        c->messages[0].tools_size = tools->text.size;
    }
    return 0;
}

static int encode_messages(const struct generate_context *g, const llm_request *r,
                           const struct tools *tools, struct generate_media *media,
                           struct token_list *out, struct airlock_error *err)
{
    struct conversation c = { .messages = calloc(r->n_messages + 1, sizeof *c.messages),
                              .calls = calloc(r->n_messages + 1, sizeof *c.calls) };
    int status = c.messages && c.calls ? fill_conversation(&c, r, tools, err) : no_memory(err);
    if (status == 0 && g->media) /* a system message that was made stands before the request's */
        status = g->media->begin(g->media_ctx, r, c.messages + (c.n - r->n_messages), r->n_messages,
                                 media, err);
    if (status == 0)
        status = chat_template_encode(engine_tokenizer(g->engine), c.messages, c.n,
                                      g->original_prompt, out, err);
    conversation_free(&c);
    return status;
}

static int encode_prompt(const struct generate_context *g, const llm_request *r,
                         const struct tools *tools, struct generate_media *media,
                         struct token_list *out, struct airlock_error *err)
{
    if (r->n_messages > 0)
        return encode_messages(g, r, tools, media, out, err);
    if (r->prompt.len == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the request has no message");
    if (r->n_images + r->n_audios > 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "images and audios need messages, not a prompt");
    return tokenizer_encode(engine_tokenizer(g->engine), r->prompt.ptr, r->prompt.len,
                            g->original_prompt ? TOKENIZER_SPECIAL : TOKENIZER_TEXT, false, out,
                            err);
}

int generate_encode(const struct generate_context *g, const llm_request *r, struct token_list *out,
                    struct airlock_error *err)
{
    struct tools tools = { 0 };
    struct generate_media media = { 0 };
    int status = check_supported(g, r, err);
    if (status == 0 && r->tools.len)
        status = tools_parse(&tools, r->tools.ptr, r->tools.len, err);
    if (status == 0)
        status = encode_prompt(g, r, &tools, &media, out, err);
    if (g->media)
        g->media->end(g->media_ctx, &media);
    tools_free(&tools);
    return status;
}

/* ---- parameters ------------------------------------------------------------------------------ */

static uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed = io_now_ns();
    return seed;
}

/* What the client gave over what the checkpoint's generation_config.json gives. */
static void choose_params(const struct phi4_config *c, const llm_params *p,
                          struct scheduler_request *out)
{
    uint32_t set = p->set;
    out->sampling = (struct sampler_params){
        .do_sample = set & LLM_P_DO_SAMPLE ? p->do_sample != 0 : c->do_sample,
        .temperature = set & LLM_P_TEMPERATURE ? p->temperature : c->temperature,
        .top_p = set & LLM_P_TOP_P ? p->top_p : c->top_p,
        .top_k = set & LLM_P_TOP_K ? p->top_k : c->top_k,
        .repetition_penalty =
            set & LLM_P_REPETITION ? p->repetition_penalty : c->repetition_penalty,
        .presence_penalty = set & LLM_P_PRESENCE ? p->presence_penalty : 0,
        .frequency_penalty = set & LLM_P_FREQUENCY ? p->frequency_penalty : 0,
        .seed = set & LLM_P_SEED ? (uint64_t)p->seed : random_seed()
    };
    int64_t most = set & LLM_P_MAX_NEW_TOKENS ? p->max_new_tokens : c->max_new_tokens;
    out->max_new_tokens = most > 0 ? (size_t)most : 0;
    out->logprobs = set & LLM_P_LOGPROBS ? (int)p->logprobs : -1;
}

/* Values that would make no sense to the sampler; the host has checked them, a test may not. */
static int check_params(const struct scheduler_request *s, struct airlock_error *err)
{
    const struct sampler_params *p = &s->sampling;
    const char *bad = NULL;
    if (p->do_sample && !(p->temperature > 0))
        bad = "temperature must be above 0";
    else if (p->do_sample && !(p->top_p > 0 && p->top_p <= 1))
        bad = "top_p must be above 0 and at most 1";
    else if (p->top_k < 0)
        bad = "top_k must not be negative";
    else if (!(p->repetition_penalty > 0))
        bad = "repetition_penalty must be above 0";
    else if (s->logprobs > SAMPLER_MAX_LOGPROBS)
        bad = "logprobs must be 0 to 20";
    return bad ? airlock_error_set(err, AIRLOCK_E_REQUEST, "%s", bad) : 0;
}

static int copy_lists(const llm_request *r, struct parts *parts, struct airlock_error *err)
{
    if (r->n_stop > 0) {
        parts->stop = calloc(r->n_stop, sizeof *parts->stop);
        if (!parts->stop)
            return no_memory(err);
        for (uint64_t i = 0; i < r->n_stop; i++)
            parts->stop[i] = (struct stop_string){ r->stop[i].ptr, r->stop[i].len };
    }
    if (r->n_logit_bias > 0) {
        parts->bias = calloc(r->n_logit_bias, sizeof *parts->bias);
        if (!parts->bias)
            return no_memory(err);
        for (uint64_t i = 0; i < r->n_logit_bias; i++) {
            int64_t id = r->logit_bias[i]->id;
            if (id < 0 || id > INT32_MAX)
                return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                         "logit_bias: token id %lld is not in the vocabulary",
                                         (long long)id);
            parts->bias[i] = (struct sampler_bias){ (int32_t)id, (float)r->logit_bias[i]->bias };
        }
    }
    return 0;
}

static int add_adapter(const struct generate_context *g, const llm_adapter *adapter,
                       struct parts *parts, struct airlock_error *err)
{
    const struct adapter_binding *b = adapters_find(g->adapters, adapter);
    if (!b)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "adapter %s is not attached",
                                 adapter->name);
    if (parts->n_adapters == LINEAR_MAX_ADAPTERS)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "more than %d adapters at once",
                                 LINEAR_MAX_ADAPTERS);
    parts->versions[parts->n_adapters] = b->version;
    parts->adapters[parts->n_adapters++] = b;
    return 0;
}

/* The model's own adapter for the request's media comes first, then the request's. */
static int find_adapters(const struct generate_context *g, const llm_request *r,
                         struct parts *parts, struct airlock_error *err)
{
    if (parts->media.adapter)
        parts->adapters[parts->n_adapters++] = parts->media.adapter;
    if (r->adapter && add_adapter(g, r->adapter, parts, err))
        return -1;
    for (uint64_t i = 0; i < r->n_more_adapters; i++)
        if (add_adapter(g, r->more_adapters[i], parts, err))
            return -1;
    return 0;
}

/* ---- what the answer must be ----------------------------------------------------------------- */

static bool is(llm_str s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.ptr, word, s.len) == 0;
}

static int choose_tools(const llm_request *r, const struct tools *tools,
                        struct constraint_options *o, struct airlock_error *err)
{
    static const char function[] = "function:";
    const size_t prefix = sizeof function - 1;
    llm_str choice = r->tool_choice;
    o->tools = tools;
    o->only = -1;
    o->choice = CONSTRAINT_TOOLS_REQUIRED;
    if (choice.len == 0 || is(choice, "auto"))
        o->choice = CONSTRAINT_TOOLS_AUTO;
    else if (is(choice, "none"))
        o->choice = CONSTRAINT_TOOLS_NEVER;
    else if (choice.len > prefix && memcmp(choice.ptr, function, prefix) == 0)
        o->only = tools_find(tools, choice.ptr + prefix, choice.len - prefix);
    else if (!is(choice, "required"))
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "tool_choice must be auto, none, required or function:NAME");
    if (choice.len > prefix && memcmp(choice.ptr, function, prefix) == 0 && o->only < 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "tool_choice names a function that is not among the tools");
    return 0;
}

/* The tools of the request, and the constraint that they and the request's own make. */
static int prepare_constraint(const struct generate_context *g, const llm_request *r,
                              struct parts *parts, struct airlock_error *err)
{
    struct constraint_options o = { .kind = CONSTRAINT_NONE, .only = -1 };
    if (r->tools.len && (tools_parse(&parts->tools, r->tools.ptr, r->tools.len, err) ||
                         choose_tools(r, &parts->tools, &o, err)))
        return -1;
    if (r->constraint) {
        if (r->constraint->kind != LLM_CONSTRAINT_JSON_OBJECT &&
            r->constraint->kind != LLM_CONSTRAINT_JSON_SCHEMA)
            return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "constraint kind %u is unknown",
                                     r->constraint->kind);
        o.kind = r->constraint->kind == LLM_CONSTRAINT_JSON_OBJECT ? CONSTRAINT_JSON_OBJECT
                                                                   : CONSTRAINT_JSON_SCHEMA;
        o.schema = r->constraint->text.ptr;
        o.schema_size = r->constraint->text.len;
    }
    if (o.kind == CONSTRAINT_NONE && !o.tools)
        return 0;
    parts->constraint = constraint_new(engine_constraints(g->engine), &o, err);
    return parts->constraint ? 0 : -1;
}

static struct scheduler_ticket *submit(const struct generate_context *g, const llm_request *r,
                                       struct parts *parts, const llm_sink *sink, llm_stats *stats,
                                       struct airlock_error *err)
{
    struct generate_media *media = &parts->media;
    const struct phi4_config *config = engine_config(g->engine);
    struct scheduler_request s = { 0 };
    media->sink = sink;
    media->deadline_ns = r->deadline_ns;
    choose_params(config, r->params, &s);
    if (check_supported(g, r, err) || check_params(&s, err) || copy_lists(r, parts, err) ||
        prepare_constraint(g, r, parts, err) ||
        encode_prompt(g, r, &parts->tools, media, &parts->prompt, err) ||
        find_adapters(g, r, parts, err))
        return NULL;
    stats->tokens_in = parts->prompt.n;
    /* What is too long is not worth computing: the scheduler refuses it. */
    if (media->own && parts->prompt.n < engine_max_context(g->engine) &&
        g->media->embed(g->media_ctx, media, err))
        return NULL;
    s.embeds = media->embeds;
    s.n_embeds = media->n_embeds;
    s.media = media->media;
    s.n_media = media->n_media;
    s.prompt = parts->prompt.ids;
    s.n_prompt = parts->prompt.n;
    s.bias = parts->bias;
    s.n_bias = r->n_logit_bias;
    s.eos = config->eos_token_id;
    s.n_eos = config->n_eos;
    s.stop = parts->stop;
    s.n_stop = r->n_stop;
    s.adapters = parts->adapters;
    s.adapter_versions = parts->versions;
    s.n_adapters = parts->n_adapters;
    s.salt = r->cache_salt.ptr;
    s.n_salt = r->cache_salt.len;
    s.deadline_ns = r->deadline_ns;
    s.constraint = parts->constraint;
    struct scheduler_ticket *t = scheduler_submit(engine_scheduler(g->engine), &s, err);
    for (size_t i = 0; t && i < media->n_embeds; i++)
        media->embeds[i].data = NULL;
    return t;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static llm_str bytes_of(const struct tokenizer *t, int32_t id)
{
    size_t size = 0;
    const char *bytes = tokenizer_bytes(t, id, &size);
    return (llm_str){ bytes, bytes ? size : 0 };
}

static void tell_token(const struct tokenizer *t, const struct scheduler_token *token,
                       const llm_sink *sink)
{
    llm_logprob top[SAMPLER_MAX_LOGPROBS];
    const llm_logprob *list[SAMPLER_MAX_LOGPROBS];
    for (size_t i = 0; i < token->n_top; i++) {
        top[i] = (llm_logprob){ .struct_size = sizeof top[i],
                                .id = token->top[i].id,
                                .logprob = token->top[i].logprob,
                                .bytes = bytes_of(t, token->top[i].id) };
        list[i] = &top[i];
    }
    llm_token told = { .struct_size = sizeof told,
                       .n_top = (uint32_t)token->n_top,
                       .id = token->id,
                       .logprob = token->logprob,
                       .bytes = bytes_of(t, token->id),
                       .top = list };
    sink->token(sink, &told);
}

/* Where an answer goes. */
struct output {
    const struct tokenizer *tokenizer;
    const llm_sink *sink;
    struct tool_calls *calls; /* NULL: the answer's text is passed on as it is */
    struct bytes text;        /* what is left of it */
    size_t told;              /* calls */
};

/* Nonzero: the caller wants no more. */
static int emit(const struct output *o, const char *text, size_t size)
{
    return size > 0 ? o->sink->emit(o->sink, text, size) : 0;
}

static int tell_calls(struct output *o)
{
    for (; o->told < o->calls->n; o->told++) {
        const struct tool_call *c = &o->calls->calls[o->told];
        llm_tool_call told = { .struct_size = sizeof told,
                               .index = (uint32_t)o->told,
                               .name = { c->name, c->name_size },
                               .arguments = { c->arguments, c->arguments_size } };
        if (o->sink->tool_call(o->sink, &told))
            return 1;
    }
    return 0;
}

/* Takes calls out of the text.  Nonzero: the caller wants no more; -1 with err: out of memory. */
static int pass_text(struct output *o, const struct scheduler_news *news, struct airlock_error *err)
{
    if (!o->calls)
        return emit(o, news->text, news->size) ? 1 : 0;
    bytes_clear(&o->text);
    if (tool_calls_add(o->calls, news->text, news->size, &o->text) ||
        (news->done && tool_calls_end(o->calls, &o->text)))
        return no_memory(err);
    return emit(o, o->text.data, o->text.size) || tell_calls(o) ? 1 : 0;
}

/* Passes news on; as pass_text(). */
static int pass_on(struct output *o, const struct scheduler_news *news, struct airlock_error *err)
{
    const llm_sink *sink = o->sink;
    if (LLM_HAS(sink, llm_sink, token) && sink->token)
        for (size_t i = 0; i < news->n_tokens; i++)
            tell_token(o->tokenizer, &news->tokens[i], sink);
    int status = pass_text(o, news, err);
    return status ? status : sink->cancelled(sink) != 0;
}

static void fill_stats(const struct scheduler_stats *s, llm_stats *out)
{
    out->finish = s->finish == SCHEDULER_FINISH_STOP     ? LLM_FINISH_STOP
                  : s->finish == SCHEDULER_FINISH_LENGTH ? LLM_FINISH_LENGTH
                                                         : 0;
    out->tokens_in = s->tokens_in;
    out->tokens_out = s->tokens_out;
    out->tokens_cached = s->tokens_cached;
    out->queue_ns = s->queue_ns;
    out->prefill_ns = s->prefill_ns;
    out->decode_ns = s->decode_ns;
}

/* Emits until the answer ends, the caller gives up, or the deadline passes: then the request is
 * left to the scheduler, which drops it within a step. */
static int follow(struct output *o, struct scheduler_ticket *ticket, uint64_t deadline_ns,
                  llm_stats *stats, struct airlock_error *err)
{
    struct scheduler_news news;
    struct scheduler_stats counts;
    int stopped = 0;
    do {
        scheduler_take(ticket, POLL_MS, &news);
        stopped = pass_on(o, &news, err);
        if (!stopped && !news.done && deadline_ns && io_now_ns() >= deadline_ns)
            stopped = 1;
    } while (!stopped && !news.done);
    int status = scheduler_result(ticket, &counts, stopped ? NULL : err);
    fill_stats(&counts, stats);
    if (stopped < 0)
        return -1;
    if (stopped)
        return airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled after %zu tokens",
                                 counts.tokens_out);
    if (stats->finish == LLM_FINISH_STOP && o->told > 0)
        stats->finish = LLM_FINISH_TOOL_CALLS;
    return status;
}

int generate_run(const struct generate_context *g, const llm_request *request, const llm_sink *sink,
                 llm_stats *stats, struct airlock_error *err)
{
    struct parts parts = { 0 };
    struct tool_calls calls;
    struct output o = { .tokenizer = engine_tokenizer(g->engine),
                        .sink = sink,
                        .text = BYTES_INIT(ANSWER_BYTES) };
    struct scheduler_ticket *ticket = submit(g, request, &parts, sink, stats, err);
    int status = -1;
    tool_calls_init(&calls);
    if (parts.tools.n > 0 && LLM_HAS(sink, llm_sink, tool_call) && sink->tool_call)
        o.calls = &calls;
    if (ticket) {
        status = follow(&o, ticket, request->deadline_ns, stats, err);
        scheduler_release(ticket);
    }
    tool_calls_free(&calls);
    bytes_free(&o.text);
    parts_free(g, &parts);
    return status;
}
