/* generate.c - turns a request into a prompt and parameters, submits it, and passes on what comes.
 */
#include "generate.h"

#include "common/io.h"
#include "engine/chat_template.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { POLL_MS = 50 }; /* between two looks at cancelled() while nothing comes */

/* What a request becomes; everything in it is freed by parts_free(). */
struct parts {
    struct token_list prompt;
    struct stop_string *stop;
    struct sampler_bias *bias;
    const void *adapters[LINEAR_MAX_ADAPTERS];
    uint64_t versions[LINEAR_MAX_ADAPTERS]; /* of adapters */
    size_t n_adapters;
};

static void parts_free(struct parts *p)
{
    free(p->prompt.ids);
    free(p->stop);
    free(p->bias);
}

static int no_memory(struct airlock_error *err)
{
    return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a request");
}

static int check_supported(const llm_request *r, struct airlock_error *err)
{
    const char *what = r->n_images     ? "images"
                       : r->n_audios   ? "audios"
                       : r->constraint ? "constrained output"
                       : r->tools.len  ? "tools"
                                       : NULL;
    for (uint64_t i = 0; i < r->n_messages && !what; i++)
        if (r->messages[i]->tool_calls.len)
            what = "tool_calls in messages";
    if (what)
        return airlock_error_set(err, AIRLOCK_E_UNSUPPORTED, "this model takes no %s", what);
    return 0;
}

/* ---- the prompt ------------------------------------------------------------------------------ */

static int encode_messages(const struct generate_context *g, const llm_request *r,
                           struct token_list *out, struct airlock_error *err)
{
    static const enum chat_role roles[] = { [LLM_ROLE_SYSTEM] = CHAT_SYSTEM,
                                            [LLM_ROLE_USER] = CHAT_USER,
                                            [LLM_ROLE_ASSISTANT] = CHAT_ASSISTANT,
                                            [LLM_ROLE_TOOL] = CHAT_TOOL };
    struct chat_message *messages = calloc(r->n_messages, sizeof *messages);
    if (!messages)
        return no_memory(err);
    int status = 0;
    for (uint64_t i = 0; i < r->n_messages && status == 0; i++) {
        const llm_message *m = r->messages[i];
        if (m->role < LLM_ROLE_SYSTEM || m->role > LLM_ROLE_TOOL)
            status = airlock_error_set(err, AIRLOCK_E_INVALID, "message %llu: role %d is unknown",
                                       (unsigned long long)i, m->role);
        else
            messages[i] = (struct chat_message){ roles[m->role], m->content.ptr, m->content.len };
    }
    if (status == 0)
        status = chat_template_encode(engine_tokenizer(g->engine), messages, r->n_messages,
                                      g->original_prompt, out, err);
    free(messages);
    return status;
}

int generate_encode(const struct generate_context *g, const llm_request *r, struct token_list *out,
                    struct airlock_error *err)
{
    if (check_supported(r, err))
        return -1;
    if (r->n_messages > 0)
        return encode_messages(g, r, out, err);
    if (r->prompt.len == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST, "the request has no message");
    return tokenizer_encode(engine_tokenizer(g->engine), r->prompt.ptr, r->prompt.len,
                            g->original_prompt ? TOKENIZER_SPECIAL : TOKENIZER_TEXT, false, out,
                            err);
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

static int find_adapters(const struct generate_context *g, const llm_request *r,
                         struct parts *parts, struct airlock_error *err)
{
    if (r->adapter && add_adapter(g, r->adapter, parts, err))
        return -1;
    for (uint64_t i = 0; i < r->n_more_adapters; i++)
        if (add_adapter(g, r->more_adapters[i], parts, err))
            return -1;
    return 0;
}

static struct scheduler_ticket *submit(const struct generate_context *g, const llm_request *r,
                                       struct parts *parts, llm_stats *stats,
                                       struct airlock_error *err)
{
    const struct phi4_config *config = engine_config(g->engine);
    struct scheduler_request s = { 0 };
    choose_params(config, r->params, &s);
    if (check_params(&s, err) || find_adapters(g, r, parts, err) || copy_lists(r, parts, err) ||
        generate_encode(g, r, &parts->prompt, err))
        return NULL;
    stats->tokens_in = parts->prompt.n;
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
    return scheduler_submit(engine_scheduler(g->engine), &s, err);
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

/* Passes news on; nonzero: the caller wants no more. */
static int pass_on(const struct tokenizer *t, const struct scheduler_news *news,
                   const llm_sink *sink)
{
    if (LLM_HAS(sink, llm_sink, token) && sink->token)
        for (size_t i = 0; i < news->n_tokens; i++)
            tell_token(t, &news->tokens[i], sink);
    if (news->size > 0 && sink->emit(sink, news->text, news->size))
        return 1;
    return sink->cancelled(sink);
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
static int follow(const struct generate_context *g, struct scheduler_ticket *ticket,
                  uint64_t deadline_ns, const llm_sink *sink, llm_stats *stats,
                  struct airlock_error *err)
{
    struct scheduler_news news;
    struct scheduler_stats counts;
    int stopped = 0;
    do {
        scheduler_take(ticket, POLL_MS, &news);
        stopped = pass_on(engine_tokenizer(g->engine), &news, sink);
        if (!stopped && !news.done && deadline_ns && io_now_ns() >= deadline_ns)
            stopped = 1;
    } while (!stopped && !news.done);
    int status = scheduler_result(ticket, &counts, err);
    fill_stats(&counts, stats);
    if (stopped)
        return airlock_error_set(err, AIRLOCK_E_CANCELLED, "cancelled after %zu tokens",
                                 counts.tokens_out);
    return status;
}

int generate_run(const struct generate_context *g, const llm_request *request, const llm_sink *sink,
                 llm_stats *stats, struct airlock_error *err)
{
    struct parts parts = { 0 };
    struct scheduler_ticket *ticket = submit(g, request, &parts, stats, err);
    int status = -1;
    if (ticket) {
        status = follow(g, ticket, request->deadline_ns, sink, stats, err);
        scheduler_release(ticket);
    }
    parts_free(&parts);
    return status;
}
