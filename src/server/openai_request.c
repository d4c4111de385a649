/* openai_request.c - see openai_request.h: one pass over the members of the body, by a table. */
#include "server/openai_request.h"

#include "common/limits.h"
#include "server/openai_parse.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USER_BYTES = 4096, METADATA_MAX = 64 };

/* ---- what the parts share -------------------------------------------------------------------- */

int openai_refuse(struct openai_reader *r, const char *param, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    *r->err = (struct openai_error){ .status = 400, .type = "invalid_request_error" };
    vsnprintf(r->err->message, sizeof r->err->message, format, args);
    va_end(args);
    snprintf(r->err->param, sizeof r->err->param, "%s", param);
    r->err->code = "invalid_value";
    return -1;
}

int openai_no_memory(struct openai_reader *r)
{
    *r->err = (struct openai_error){ .status = 503, .type = "server_error" };
    snprintf(r->err->message, sizeof r->err->message, "Out of memory, try again.");
    return -1;
}

int openai_not_supported(struct openai_reader *r, const char *param, const char *why)
{
    openai_refuse(r, param, "%s is not supported: %s", param, why);
    r->err->code = "unsupported_parameter";
    return -1;
}

void openai_need(struct openai_reader *r, uint32_t cap, const char *field)
{
    for (unsigned bit = 0; bit < OPENAI_CAPS; bit++)
        if (cap == 1u << bit && !r->out->asked[bit])
            r->out->asked[bit] = field;
}

struct json_object *openai_member(struct json_object *o, const char *key)
{
    struct json_object *v = NULL;
    return json_object_object_get_ex(o, key, &v) ? v : NULL;
}

int openai_only(struct openai_reader *r, struct json_object *o, const char *where,
                const char *const *known)
{
    json_object_object_foreach(o, key, value)
    {
        char param[OPENAI_PARAM_BYTES];
        const char *const *k = known;
        (void)value;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (*k)
            continue;
        snprintf(param, sizeof param, "%s.%.64s", where, key);
        openai_refuse(r, param, "Unknown parameter: '%s'", param);
        r->err->code = "unknown_parameter";
        return -1;
    }
    return 0;
}

int openai_string(struct openai_reader *r, const char *param, struct json_object *v, size_t max,
                  llm_str *out)
{
    if (!json_object_is_type(v, json_type_string))
        return openai_refuse(r, param, "%s must be a string", param);
    size_t n = (size_t)json_object_get_string_len(v);
    if (n > max)
        return openai_refuse(r, param, "%s must have at most %zu bytes", param, max);
    *out = (llm_str){ json_object_get_string(v), n };
    return 0;
}

int openai_bool(struct openai_reader *r, const char *param, struct json_object *v, bool *out)
{
    if (!json_object_is_type(v, json_type_boolean))
        return openai_refuse(r, param, "%s must be true or false", param);
    *out = json_object_get_boolean(v);
    return 0;
}

bool openai_is(llm_str text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

/* ---- simple fields --------------------------------------------------------------------------- */

static int whole_number(struct openai_reader *r, const char *param, struct json_object *v,
                        int64_t min, int64_t max, int64_t *out)
{
    if (!json_object_is_type(v, json_type_int))
        return openai_refuse(r, param, "%s must be an integer", param);
    int64_t value = json_object_get_int64(v); /* beyond 64 bits: the nearest, which is refused */
    if (value < min || value > max)
        return openai_refuse(r, param, "%s must be from %lld to %lld", param, (long long)min,
                             (long long)max);
    *out = value;
    return 0;
}

static int take_model(struct openai_reader *r, const char *key, struct json_object *v)
{
    return openai_string(r, key, v, 2 * LIMIT_NAME_BYTES + 1, &r->out->model);
}

static int take_number(struct openai_reader *r, const char *key, struct json_object *v)
{
    static const struct {
        const char *key;
        double min, max;
        uint32_t bit;
        size_t offset;
    } numbers[] = {
        { "temperature", 0, 2, LLM_P_TEMPERATURE, offsetof(llm_params, temperature) },
        { "top_p", 0, 1, LLM_P_TOP_P, offsetof(llm_params, top_p) },
        { "presence_penalty", -2, 2, LLM_P_PRESENCE, offsetof(llm_params, presence_penalty) },
        { "frequency_penalty", -2, 2, LLM_P_FREQUENCY, offsetof(llm_params, frequency_penalty) },
        { "repetition_penalty", 0.01, 100, LLM_P_REPETITION,
          offsetof(llm_params, repetition_penalty) },
    };
    size_t i = 0;
    while (strcmp(numbers[i].key, key) != 0) /* the table of fields names no other */
        i++;
    if (!json_object_is_type(v, json_type_double) && !json_object_is_type(v, json_type_int))
        return openai_refuse(r, key, "%s must be a number", key);
    double value = json_object_get_double(v);
    if (!isfinite(value) || value < numbers[i].min || value > numbers[i].max)
        return openai_refuse(r, key, "%s must be from %g to %g", key, numbers[i].min,
                             numbers[i].max);
    *(double *)(void *)((char *)&r->abi->params + numbers[i].offset) = value;
    r->abi->params.set |= numbers[i].bit;
    return 0;
}

static int take_top_k(struct openai_reader *r, const char *key, struct json_object *v)
{
    r->abi->params.set |= LLM_P_TOP_K;
    return whole_number(r, key, v, 0, INT32_MAX, &r->abi->params.top_k);
}

static int take_seed(struct openai_reader *r, const char *key, struct json_object *v)
{
    r->abi->params.set |= LLM_P_SEED;
    openai_need(r, LLM_CAP_SEED, "seed");
    return whole_number(r, key, v, INT64_MIN + 1, INT64_MAX - 1, &r->abi->params.seed);
}

static int take_max_tokens(struct openai_reader *r, const char *key, struct json_object *v)
{
    int64_t value = 0;
    if (whole_number(r, key, v, 1, INT32_MAX, &value) < 0)
        return -1;
    if ((r->abi->params.set & LLM_P_MAX_NEW_TOKENS) && value != r->abi->params.max_new_tokens)
        return openai_refuse(r, key, "max_tokens and max_completion_tokens differ: send one");
    r->abi->params.set |= LLM_P_MAX_NEW_TOKENS;
    r->abi->params.max_new_tokens = value;
    return 0;
}

static int take_n(struct openai_reader *r, const char *key, struct json_object *v)
{
    int64_t n = 1;
    if (whole_number(r, key, v, 1, LIMIT_CHOICES, &n) < 0)
        return -1;
    r->out->n = (size_t)n;
    return 0;
}

static int take_stream(struct openai_reader *r, const char *key, struct json_object *v)
{
    return openai_bool(r, key, v, &r->out->stream);
}

static int take_stream_options(struct openai_reader *r, const char *key, struct json_object *v)
{
    static const char *const known[] = { "include_usage", "include_obfuscation", NULL };
    bool padding = false;
    if (!json_object_is_type(v, json_type_object))
        return openai_refuse(r, key, "%s must be an object", key);
    if (openai_only(r, v, key, known) < 0)
        return -1;
    struct json_object *usage = openai_member(v, "include_usage");
    struct json_object *obfuscation = openai_member(v, "include_obfuscation");
    if (usage && openai_bool(r, "stream_options.include_usage", usage, &r->out->include_usage) < 0)
        return -1;
    if (obfuscation &&
        openai_bool(r, "stream_options.include_obfuscation", obfuscation, &padding) < 0)
        return -1;
    return padding ? openai_not_supported(r, "stream_options.include_obfuscation",
                                          "events are not padded")
                   : 0;
}

static int take_stop(struct openai_reader *r, const char *key, struct json_object *v)
{
    bool list = json_object_is_type(v, json_type_array);
    size_t n = list ? json_object_array_length(v) : 1;
    char param[OPENAI_PARAM_BYTES];
    if (n > LIMIT_STOP)
        return openai_refuse(r, key, "stop must have at most %d strings", LIMIT_STOP);
    if (abi_request_stop(r->abi, n) < 0)
        return openai_no_memory(r);
    if (n)
        openai_need(r, LLM_CAP_STOP, "stop");
    for (size_t i = 0; i < n; i++) {
        snprintf(param, sizeof param, list ? "stop[%zu]" : "stop", i);
        struct json_object *s = list ? json_object_array_get_idx(v, i) : v;
        if (openai_string(r, param, s, LIMIT_STOP_BYTES, &r->abi->stop[i]) < 0)
            return -1;
        if (r->abi->stop[i].len == 0)
            return openai_refuse(r, param, "%s must not be empty", param);
    }
    return 0;
}

/* A token id as the key of an object: digits, nothing else. */
static bool token_id(const char *text, int64_t *out)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 10 || text[n])
        return false;
    *out = strtoll(text, NULL, 10);
    return *out <= INT32_MAX;
}

static int take_logit_bias(struct openai_reader *r, const char *key, struct json_object *v)
{
    char param[OPENAI_PARAM_BYTES];
    if (!json_object_is_type(v, json_type_object))
        return openai_refuse(r, key, "%s must be an object", key);
    size_t n = (size_t)json_object_object_length(v), i = 0;
    if (n > LIMIT_LOGIT_BIAS)
        return openai_refuse(r, key, "logit_bias must have at most %d tokens", LIMIT_LOGIT_BIAS);
    if (abi_request_bias(r->abi, n) < 0)
        return openai_no_memory(r);
    if (n)
        openai_need(r, LLM_CAP_LOGIT_BIAS, "logit_bias");
    json_object_object_foreach(v, id, value)
    {
        llm_logit_bias *bias = &r->abi->bias[i++];
        snprintf(param, sizeof param, "logit_bias.%.32s", id);
        if (!token_id(id, &bias->id))
            return openai_refuse(r, param, "logit_bias must have token ids as keys");
        if (!json_object_is_type(value, json_type_int) &&
            !json_object_is_type(value, json_type_double))
            return openai_refuse(r, param, "%s must be a number", param);
        bias->bias = json_object_get_double(value);
        if (!isfinite(bias->bias) || fabs(bias->bias) > 100)
            return openai_refuse(r, param, "%s must be from -100 to 100", param);
    }
    return 0;
}

static int want_logprobs(struct openai_reader *r, int64_t alternatives)
{
    r->out->logprobs = true;
    r->abi->params.set |= LLM_P_LOGPROBS;
    r->abi->params.logprobs = alternatives;
    openai_need(r, LLM_CAP_LOGPROBS, "logprobs");
    return 0;
}

/* A boolean for chats, a number for completions. */
static int take_logprobs(struct openai_reader *r, const char *key, struct json_object *v)
{
    bool wanted = false;
    int64_t n = 0;
    if (r->route == OPENAI_CHAT) {
        if (openai_bool(r, key, v, &wanted) < 0)
            return -1;
        return wanted ? want_logprobs(r, r->abi->params.logprobs) : 0;
    }
    if (whole_number(r, key, v, 0, LIMIT_TOP_LOGPROBS, &n) < 0)
        return -1;
    return want_logprobs(r, n);
}

static int take_top_logprobs(struct openai_reader *r, const char *key, struct json_object *v)
{
    struct json_object *logprobs = openai_member(r->out->root, "logprobs");
    if (whole_number(r, key, v, 0, LIMIT_TOP_LOGPROBS, &r->abi->params.logprobs) < 0)
        return -1;
    if (!json_object_is_type(logprobs, json_type_boolean) || !json_object_get_boolean(logprobs))
        return openai_refuse(r, key, "top_logprobs needs logprobs: true");
    return 0;
}

static int take_parallel(struct openai_reader *r, const char *key, struct json_object *v)
{
    bool parallel = true;
    if (openai_bool(r, key, v, &parallel) < 0)
        return -1;
    r->out->one_call = !parallel;
    return 0;
}

static int take_prompt(struct openai_reader *r, const char *key, struct json_object *v)
{
    bool list = json_object_is_type(v, json_type_array);
    size_t n = list ? json_object_array_length(v) : 1;
    size_t max = r->route == OPENAI_TEXT ? LIMIT_CHOICES : 1;
    char param[OPENAI_PARAM_BYTES];
    if (n == 0 || n > max)
        return openai_refuse(r, key, "prompt must be 1 to %zu strings", max);
    r->out->prompts = calloc(n, sizeof *r->out->prompts);
    if (!r->out->prompts)
        return openai_no_memory(r);
    r->out->n_prompts = n;
    openai_need(r, LLM_CAP_PROMPT, "prompt");
    for (size_t i = 0; i < n; i++) {
        struct json_object *s = list ? json_object_array_get_idx(v, i) : v;
        snprintf(param, sizeof param, list ? "prompt[%zu]" : "prompt", i);
        if (json_object_is_type(s, json_type_int) || json_object_is_type(s, json_type_array))
            return openai_not_supported(r, key, "send text, not token ids");
        if (openai_string(r, param, s, LIMIT_REQUEST_BYTES, &r->out->prompts[i]) < 0)
            return -1;
        if (r->out->prompts[i].len == 0)
            return openai_refuse(r, param, "%s must not be empty", param);
    }
    return 0;
}

static int take_tokens(struct openai_reader *r, const char *key, struct json_object *v)
{
    char param[OPENAI_PARAM_BYTES];
    if (!json_object_is_type(v, json_type_array))
        return openai_refuse(r, key, "tokens must be an array of integers");
    size_t n = json_object_array_length(v);
    if (n > LIMIT_TOKENS)
        return openai_refuse(r, key, "tokens must have at most %d ids", LIMIT_TOKENS);
    r->out->tokens = calloc(n ? n : 1, sizeof *r->out->tokens);
    if (!r->out->tokens)
        return openai_no_memory(r);
    r->out->n_tokens = n;
    for (size_t i = 0; i < n; i++) {
        snprintf(param, sizeof param, "tokens[%zu]", i);
        if (whole_number(r, param, json_object_array_get_idx(v, i), 0, INT32_MAX,
                         &r->out->tokens[i]) < 0)
            return -1;
    }
    return 0;
}

static int take_messages(struct openai_reader *r, const char *key, struct json_object *v)
{
    (void)key;
    return openai_messages(r, v);
}

static int take_response_format(struct openai_reader *r, const char *key, struct json_object *v)
{
    (void)key;
    return openai_response_format(r, v);
}

/* ---- fields that change nothing here, and those that would ----------------------------------- */

/* Read after the others. */
static int take_later(struct openai_reader *r, const char *key, struct json_object *v)
{
    (void)r, (void)key, (void)v;
    return 0;
}

/* Names a caller or groups requests: nothing that a model sees. */
static int take_label(struct openai_reader *r, const char *key, struct json_object *v)
{
    llm_str text;
    return openai_string(r, key, v, USER_BYTES, &text);
}

static int take_metadata(struct openai_reader *r, const char *key, struct json_object *v)
{
    if (!json_object_is_type(v, json_type_object) || json_object_object_length(v) > METADATA_MAX)
        return openai_refuse(r, key, "metadata must be an object of at most %d members",
                             METADATA_MAX);
    return 0;
}

/* Only what is done anyway. */
static int take_false(struct openai_reader *r, const char *key, struct json_object *v)
{
    bool value = false;
    if (openai_bool(r, key, v, &value) < 0)
        return -1;
    return value ? openai_not_supported(r, key, "only false is") : 0;
}

static int take_true(struct openai_reader *r, const char *key, struct json_object *v)
{
    bool value = false;
    if (openai_bool(r, key, v, &value) < 0)
        return -1;
    return value ? 0 : openai_not_supported(r, key, "only true is");
}

static int take_one(struct openai_reader *r, const char *key, struct json_object *v)
{
    int64_t value;
    if (whole_number(r, key, v, 1, 1, &value) < 0)
        return openai_not_supported(r, key, "only 1 is; ask for n answers instead");
    return 0;
}

static int take_tier(struct openai_reader *r, const char *key, struct json_object *v)
{
    llm_str text;
    if (openai_string(r, key, v, USER_BYTES, &text) < 0)
        return -1;
    if (!openai_is(text, "auto") && !openai_is(text, "default"))
        return openai_not_supported(r, key, "there is one tier: auto or default");
    return 0;
}

static int take_modalities(struct openai_reader *r, const char *key, struct json_object *v)
{
    llm_str text = { "", 0 };
    if (!json_object_is_type(v, json_type_array))
        return openai_refuse(r, key, "modalities must be an array");
    if (json_object_array_length(v) == 1 &&
        openai_string(r, key, json_object_array_get_idx(v, 0), USER_BYTES, &text) < 0)
        return -1;
    return openai_is(text, "text") ? 0 : openai_not_supported(r, key, "answers are text");
}

static int take_nothing(struct openai_reader *r, const char *key, struct json_object *v)
{
    (void)v;
    return openai_not_supported(r, key, "leave it out");
}

static int take_old_functions(struct openai_reader *r, const char *key, struct json_object *v)
{
    (void)v;
    return openai_not_supported(r, key, "use tools and tool_choice");
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct field {
    const char *key;
    unsigned routes;
    int (*take)(struct openai_reader *r, const char *key, struct json_object *v);
} fields[] = {
    { "model", OPENAI_CHAT | OPENAI_TEXT | OPENAI_TOKENIZE | OPENAI_DETOKENIZE, take_model },
    { "messages", OPENAI_CHAT | OPENAI_TOKENIZE, take_messages },
    { "prompt", OPENAI_TEXT | OPENAI_TOKENIZE, take_prompt },
    { "tokens", OPENAI_DETOKENIZE, take_tokens },
    { "tools", OPENAI_CHAT | OPENAI_TOKENIZE, take_later },
    { "tool_choice", OPENAI_CHAT, take_later },
    { "parallel_tool_calls", OPENAI_CHAT, take_parallel },
    { "response_format", OPENAI_CHAT, take_response_format },
    { "temperature", OPENAI_CHAT | OPENAI_TEXT, take_number },
    { "top_p", OPENAI_CHAT | OPENAI_TEXT, take_number },
    { "presence_penalty", OPENAI_CHAT | OPENAI_TEXT, take_number },
    { "frequency_penalty", OPENAI_CHAT | OPENAI_TEXT, take_number },
    { "repetition_penalty", OPENAI_CHAT | OPENAI_TEXT, take_number },
    { "top_k", OPENAI_CHAT | OPENAI_TEXT, take_top_k },
    { "seed", OPENAI_CHAT | OPENAI_TEXT, take_seed },
    { "n", OPENAI_CHAT | OPENAI_TEXT, take_n },
    { "max_tokens", OPENAI_CHAT | OPENAI_TEXT, take_max_tokens },
    { "max_completion_tokens", OPENAI_CHAT, take_max_tokens },
    { "stop", OPENAI_CHAT | OPENAI_TEXT, take_stop },
    { "logit_bias", OPENAI_CHAT | OPENAI_TEXT, take_logit_bias },
    { "logprobs", OPENAI_CHAT | OPENAI_TEXT, take_logprobs },
    { "top_logprobs", OPENAI_CHAT, take_top_logprobs },
    { "stream", OPENAI_CHAT | OPENAI_TEXT, take_stream },
    { "stream_options", OPENAI_CHAT | OPENAI_TEXT, take_stream_options },
    { "user", OPENAI_CHAT | OPENAI_TEXT, take_label },
    { "safety_identifier", OPENAI_CHAT, take_label },
    { "prompt_cache_key", OPENAI_CHAT, take_label },
    { "metadata", OPENAI_CHAT, take_metadata },
    { "store", OPENAI_CHAT, take_false },
    { "service_tier", OPENAI_CHAT, take_tier },
    { "modalities", OPENAI_CHAT, take_modalities },
    { "echo", OPENAI_TEXT, take_false },
    { "best_of", OPENAI_TEXT, take_one },
    { "add_generation_prompt", OPENAI_TOKENIZE, take_true },
    { "suffix", OPENAI_TEXT, take_nothing },
    { "functions", OPENAI_CHAT, take_old_functions },
    { "function_call", OPENAI_CHAT, take_old_functions },
    { "audio", OPENAI_CHAT, take_nothing },
    { "prediction", OPENAI_CHAT, take_nothing },
    { "reasoning_effort", OPENAI_CHAT, take_nothing },
    { "verbosity", OPENAI_CHAT, take_nothing },
    { "web_search_options", OPENAI_CHAT, take_nothing },
};

static int take_field(struct openai_reader *r, const char *key, struct json_object *v)
{
    char param[OPENAI_PARAM_BYTES];
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if ((fields[i].routes & r->route) && strcmp(fields[i].key, key) == 0)
            return v ? fields[i].take(r, fields[i].key, v) : 0;
    snprintf(param, sizeof param, "%.64s", key);
    openai_refuse(r, param, "Unknown parameter: '%s'", param);
    r->err->code = "unknown_parameter";
    return -1;
}

static int missing(struct openai_reader *r, const char *param)
{
    openai_refuse(r, param, "%s is missing", param);
    r->err->code = "missing_parameter";
    return -1;
}

/* What holds between fields, and how sampling follows from them. */
static int settle(struct openai_reader *r)
{
    struct openai_request *q = r->out;
    llm_params *p = &r->abi->params;
    struct json_object *tools = openai_member(q->root, "tools");
    struct json_object *choice = openai_member(q->root, "tool_choice");
    if (!q->model.ptr)
        return missing(r, "model");
    if (r->route == OPENAI_CHAT && !r->abi->message_list)
        return missing(r, "messages");
    if (r->route == OPENAI_TEXT && !q->prompts)
        return missing(r, "prompt");
    if (r->route == OPENAI_DETOKENIZE && !q->tokens)
        return missing(r, "tokens");
    if (r->route == OPENAI_TOKENIZE && !q->prompts == !r->abi->message_list)
        return openai_refuse(r, "prompt", "either prompt or messages must be there");
    if (q->n * (q->n_prompts ? q->n_prompts : 1) > LIMIT_CHOICES)
        return openai_refuse(r, "n", "n times the number of prompts must be at most %d",
                             LIMIT_CHOICES);
    if (openai_member(q->root, "stream_options") && !q->stream)
        return openai_refuse(r, "stream_options", "stream_options needs stream: true");
    if ((tools && openai_tools(r, tools) < 0) || (choice && openai_tool_choice(r, choice) < 0))
        return -1;
    if (p->set & (LLM_P_TEMPERATURE | LLM_P_TOP_P)) { /* OpenAI's always sample */
        p->set |= LLM_P_DO_SAMPLE;
        p->do_sample = 1;
    }
    abi_params_settle(p);
    return 0;
}

int openai_parse(enum openai_route route, const char *text, size_t size, struct openai_request *out,
                 struct abi_request *abi, struct openai_error *err)
{
    struct openai_reader r = { route, out, abi, err };
    struct airlock_error why = { 0 };
    *out = (struct openai_request){ .n = 1 };
    out->root = json_parse_max(
        text, size, route == OPENAI_DETOKENIZE ? LIMIT_TOKENS + 64 : LIMIT_REQUEST_VALUES, &why);
    if (!out->root && why.code == AIRLOCK_E_NO_MEMORY)
        return openai_no_memory(&r);
    if (!out->root) {
        openai_refuse(&r, "", "The body is not valid: %s", why.text);
        err->code = "invalid_json";
        return -1;
    }
    if (!json_object_is_type(out->root, json_type_object))
        return openai_refuse(&r, "", "The body must be a JSON object");
    json_object_object_foreach(out->root, key, value)
    {
        if (take_field(&r, key, value) < 0)
            return -1;
    }
    return settle(&r);
}

void openai_request_free(struct openai_request *q)
{
    json_object_put(q->root);
    free(q->prompts);
    free(q->tokens);
    *q = (struct openai_request){ 0 };
}

const char *openai_unsupported(const struct openai_request *q, uint32_t caps)
{
    for (unsigned bit = 0; bit < OPENAI_CAPS; bit++)
        if (q->asked[bit] && !(caps & 1u << bit))
            return q->asked[bit];
    return NULL;
}
