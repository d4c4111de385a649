/*
 * model_plugin.c - a model plugin for the server's tests that does what the last message tells it
 * to.
 *
 * The message is words: "echo TEXT" gives TEXT back (with "[ADAPTER]" in front under an adapter),
 * the others are below in commands[].
 */
#include <airlock/llm_adapter.h>
#include <airlock/llm_model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef LLM_NOTE
LLM_NOTE(LLM_KIND_MODEL);
#endif

struct llm_model {
    const llm_host *host;
    char path[256];
};

/* One generate() call. */
struct call {
    llm_model *model;
    const llm_request *request;
    const llm_sink *sink;
    llm_stats *stats;
    llm_error *err;
};

static llm_status fail(llm_error *err, llm_status code, const char *text)
{
    strncpy(err->text, text, sizeof err->text - 1);
    return err->code = code;
}

static void nap(long ms)
{
    struct timespec t = { ms / 1000, ms % 1000 * 1000000 };
    nanosleep(&t, NULL);
}

static llm_status emit(struct call *c, const char *text, size_t n)
{
    c->stats->tokens_out++;
    return c->sink->emit(c->sink, text, n) ? LLM_E_CANCELLED : LLM_OK;
}

static llm_status do_echo(struct call *c, const char *arg)
{
    llm_status status = LLM_OK;
    if (c->request->adapter) {
        char name[160];
        snprintf(name, sizeof name, "[%s]", c->request->adapter->name);
        status = emit(c, name, strlen(name));
    }
    for (size_t i = 0; arg[i] && status == LLM_OK; i++) /* byte by byte: characters are cut */
        status = emit(c, arg + i, 1);
    return status;
}

/* "sleep MS": polls cancelled() every 10 ms. */
static llm_status do_sleep(struct call *c, const char *arg)
{
    for (long left = atol(arg); left > 0; left -= 10) {
        if (c->sink->cancelled(c->sink)) {
            c->model->host->log(c->model->host, LLM_LOG_INFO, "cancelled", 9);
            return LLM_E_CANCELLED;
        }
        nap(10);
    }
    return emit(c, "slept", 5);
}

/* "deaf MS": never polls. */
static llm_status do_deaf(struct call *c, const char *arg)
{
    nap(atol(arg));
    return emit(c, "woke", 4);
}

/* "flood N": N MiB of text. */
static llm_status do_flood(struct call *c, const char *arg)
{
    static char block[65536];
    memset(block, 'f', sizeof block);
    llm_status status = LLM_OK;
    for (long i = atol(arg) * 16; i > 0 && status == LLM_OK; i--)
        status = emit(c, block, sizeof block);
    return status;
}

/* "fail CODE TEXT" */
static llm_status do_fail(struct call *c, const char *arg)
{
    char *text;
    long code = strtol(arg, &text, 10);
    return fail(c->err, (llm_status)code, *text ? text + 1 : "");
}

/* "bytes HEX": any bytes, e.g. invalid UTF-8. */
static llm_status do_bytes(struct call *c, const char *arg)
{
    unsigned byte;
    llm_status status = LLM_OK;
    for (; sscanf(arg, "%2x", &byte) == 1 && status == LLM_OK; arg += 2) {
        char b = (char)byte;
        status = emit(c, &b, 1);
    }
    return status;
}

/* "params": what came, as text. */
static llm_status do_params(struct call *c, const char *arg)
{
    const llm_params *p = c->request->params;
    char text[512];
    (void)arg;
    int n = snprintf(text, sizeof text,
                     "set=%u t=%g p=%g rp=%g pp=%g fp=%g k=%lld max=%lld sample=%lld images=%llu "
                     "messages=%llu",
                     p->set, p->temperature, p->top_p, p->repetition_penalty, p->presence_penalty,
                     p->frequency_penalty, (long long)p->top_k, (long long)p->max_new_tokens,
                     (long long)p->do_sample, (unsigned long long)c->request->n_images,
                     (unsigned long long)c->request->n_messages);
    return emit(c, text, (size_t)n);
}

/* "image": the first image's bytes. */
static llm_status do_image(struct call *c, const char *arg)
{
    (void)arg;
    if (!c->request->n_images)
        return fail(c->err, LLM_E_REQUEST, "no image");
    return emit(c, c->request->images[0]->bytes.ptr, c->request->images[0]->bytes.len);
}

static llm_status do_crash(struct call *c, const char *arg)
{
    (void)c, (void)arg;
    abort();
}

static llm_status do_log(struct call *c, const char *arg)
{
    c->model->host->log(c->model->host, LLM_LOG_INFO, arg, strlen(arg));
    return emit(c, "logged", 6);
}

/* "die TEXT": says it and fails. */
static llm_status do_die(struct call *c, const char *arg)
{
    if (emit(c, arg, strlen(arg)) == LLM_OK)
        return fail(c->err, LLM_E_INTERNAL, "died at 0x7fff in /secret/path");
    return LLM_E_CANCELLED;
}

/* "gate DIR N": says "1;", and each next number when DIR/NUMBER is there. */
static llm_status do_gate(struct call *c, const char *arg)
{
    char dir[256], path[320], text[16];
    int n = 0;
    if (sscanf(arg, "%255s %d", dir, &n) != 2)
        return fail(c->err, LLM_E_REQUEST, "gate");
    for (int i = 1; i <= n; i++) {
        snprintf(path, sizeof path, "%s/%d", dir, i);
        while (i > 1 && access(path, F_OK) != 0) {
            if (c->sink->cancelled(c->sink)) {
                c->model->host->log(c->model->host, LLM_LOG_INFO, "gate cancelled", 14);
                return LLM_E_CANCELLED;
            }
            nap(5);
        }
        snprintf(text, sizeof text, "%d;", i);
        if (emit(c, text, strlen(text)) != LLM_OK)
            return LLM_E_CANCELLED;
    }
    return LLM_OK;
}

/* "forever": words without end, as fast as they go. */
static llm_status do_forever(struct call *c, const char *arg)
{
    static char block[4096];
    memset(block, 'w', sizeof block);
    (void)arg;
    while (emit(c, block, sizeof block) == LLM_OK)
        ;
    c->model->host->log(c->model->host, LLM_LOG_INFO, "forever stopped", 15);
    return LLM_E_CANCELLED;
}

/* "tokens A|B|C": each is a token, with the alternatives "x" and "y"; then an end token. */
static llm_status do_tokens(struct call *c, const char *arg)
{
    static const llm_logprob x = { sizeof x, 0, 7, -1.5, { "x", 1 } };
    static const llm_logprob y = { sizeof y, 0, 8, -1e300 * 1e300, { "\xff", 1 } };
    static const llm_logprob *const top[] = { &x, &y };
    int64_t wanted = c->request->params->logprobs;
    llm_status status = LLM_OK;
    for (int last = 0; !last && status == LLM_OK;) {
        size_t n = strcspn(arg, "|");
        last = !arg[n];
        llm_token t = { sizeof t, (uint32_t)(wanted < 2 ? wanted : 2), 5, -0.25, { arg, n }, top };
        if (c->sink->token)
            c->sink->token(c->sink, &t);
        status = emit(c, arg, n);
        arg += n + 1;
    }
    llm_token end = { sizeof end, 0, 9, -0.5, { "<|end|>", 7 }, NULL };
    if (c->sink->token)
        c->sink->token(c->sink, &end);
    return status;
}

/* "ahead TEXT": tells a token of it, an end token and one behind that, and only then the text. */
static llm_status do_ahead(struct call *c, const char *arg)
{
    const llm_str all[] = { { arg, strlen(arg) }, { "<|end|>", 7 }, { "late", 4 } };
    for (size_t i = 0; i < 3 && c->sink->token; i++) {
        llm_token t = { sizeof t, 0, (int64_t)i, -0.25, all[i], NULL };
        c->sink->token(c->sink, &t);
    }
    return emit(c, arg, strlen(arg));
}

/* "calls N TEXT": the text, then N calls of the function "f". */
static llm_status do_calls(struct call *c, const char *arg)
{
    char *text;
    long n = strtol(arg, &text, 10);
    if (*text && emit(c, text + 1, strlen(text + 1)) != LLM_OK)
        return LLM_E_CANCELLED;
    for (long i = 0; i < n && c->sink->tool_call; i++) {
        char arguments[32];
        int size = snprintf(arguments, sizeof arguments, "{\"i\":%ld}", i);
        llm_tool_call call = {
            sizeof call, (uint32_t)i, { "f", 1 }, { arguments, (uint64_t)size }
        };
        c->stats->tokens_out++;
        if (c->sink->tool_call(c->sink, &call))
            return LLM_E_CANCELLED;
    }
    c->stats->finish = LLM_FINISH_TOOL_CALLS;
    return LLM_OK;
}

/* "request": what it holds beyond "params", as text. */
static llm_status do_request(struct call *c, const char *arg)
{
    const llm_request *r = c->request;
    char text[4096];
    (void)arg;
    int n = snprintf(
        text, sizeof text,
        "seed=%lld tools=%.*s choice=%.*s constraint=%u %.*s salt=%.*s stop=%llu bias=%llu "
        "images=%llu audios=%llu mime=%.*s",
        (long long)r->params->seed, (int)r->tools.len, r->tools.ptr, (int)r->tool_choice.len,
        r->tool_choice.ptr, r->constraint ? r->constraint->kind : 0,
        r->constraint ? (int)r->constraint->text.len : 0,
        r->constraint ? r->constraint->text.ptr : "", (int)r->cache_salt.len, r->cache_salt.ptr,
        (unsigned long long)r->n_stop, (unsigned long long)r->n_logit_bias,
        (unsigned long long)r->n_images, (unsigned long long)r->n_audios,
        r->n_images ? (int)r->images[0]->mime.len : 0, r->n_images ? r->images[0]->mime.ptr : "");
    for (uint64_t i = 0; i + 1 < r->n_messages; i++)
        n +=
            snprintf(text + n, sizeof text - (size_t)n, " %d[%.*s|%.*s|%.*s]", r->messages[i]->role,
                     (int)r->messages[i]->content.len, r->messages[i]->content.ptr,
                     (int)r->messages[i]->tool_calls.len, r->messages[i]->tool_calls.ptr,
                     (int)r->messages[i]->tool_call_id.len, r->messages[i]->tool_call_id.ptr);
    return emit(c, text, (size_t)n);
}

/* What is asked of a recording: how it is asked, its length and last byte, as three tokens; " no"
 * in the question fails. */
static llm_status do_transcribe(struct call *c, const char *arg)
{
    const llm_request *r = c->request;
    char how[2048], bytes[64];
    if (r->n_audios != 1 || strstr(arg, "audio_2"))
        return fail(c->err, LLM_E_REQUEST, "fake: one sound is meant");
    if (strstr(arg, " no"))
        return fail(c->err, LLM_E_REQUEST, "fake: it cannot be heard");
    const llm_str *sound = &r->audios[0]->bytes;
    snprintf(how, sizeof how, " heard: %s", arg);
    snprintf(bytes, sizeof bytes, "| %llu bytes to %02x\n", (unsigned long long)sound->len,
             sound->len ? (unsigned char)sound->ptr[sound->len - 1] : 0);
    const char *const pieces[] = { how, bytes };
    for (size_t i = 0; i < 2; i++) {
        llm_token t = { sizeof t, 0, 5, -0.25, { pieces[i], strlen(pieces[i]) }, NULL };
        if (c->sink->token)
            c->sink->token(c->sink, &t);
        if (emit(c, pieces[i], strlen(pieces[i])) != LLM_OK)
            return LLM_E_CANCELLED;
    }
    return LLM_OK;
}

static const struct {
    const char *word;
    llm_status (*run)(struct call *c, const char *arg);
} commands[] = {
    { "echo", do_echo },       { "sleep", do_sleep }, { "deaf", do_deaf },
    { "flood", do_flood },     { "fail", do_fail },   { "bytes", do_bytes },
    { "params", do_params },   { "image", do_image }, { "crash", do_crash },
    { "log", do_log },         { "die", do_die },     { "gate", do_gate },
    { "tokens", do_tokens },   { "calls", do_calls }, { "request", do_request },
    { "forever", do_forever }, { "ahead", do_ahead }, { "<|audio_1|>Transcribe", do_transcribe }
};

static llm_status fake_generate(llm_model *m, const llm_request *r, const llm_sink *sink,
                                llm_stats *stats, llm_error *err)
{
    struct call c = { m, r, sink, stats, err };
    llm_status status = LLM_E_REQUEST;
    if (!r->n_messages && !r->prompt.len)
        return fail(err, LLM_E_REQUEST, "fake: there must be a message");
    const llm_str *content = r->n_messages ? &r->messages[r->n_messages - 1]->content : &r->prompt;
    char *text = calloc(1, content->len + 1);
    if (!text)
        return fail(err, LLM_E_NO_MEMORY, "fake: out of memory");
    memcpy(text, content->ptr, content->len);
    stats->tokens_in = content->len;
    stats->finish = LLM_FINISH_STOP;
    fail(err, LLM_E_REQUEST, "fake: unknown command");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        size_t n = strlen(commands[i].word);
        if (strncmp(text, commands[i].word, n) == 0 && (text[n] == ' ' || !text[n])) {
            err->text[0] = 0;
            status = commands[i].run(&c, text + n + (text[n] == ' '));
            break;
        }
    }
    free(text);
    return status;
}

static llm_status fake_create(const llm_host *host, const llm_config *config, llm_model **out,
                              llm_error *err)
{
    llm_model *m = calloc(1, sizeof *m);
    if (!m)
        return fail(err, LLM_E_NO_MEMORY, "fake: out of memory");
    m->host = host;
    snprintf(m->path, sizeof m->path, "%.*s", (int)config->path.len, config->path.ptr);
    *out = m;
    return LLM_OK;
}

/* A model_path with "slow" takes a while, with "broken" fails. */
static llm_status fake_load(llm_model *m, const llm_sink *sink, llm_error *err)
{
    if (strstr(m->path, "broken"))
        return fail(err, LLM_E_CONFIG, "fake: the checkpoint is broken");
    for (int i = 0; strstr(m->path, "slow") && i < 500; i++) {
        if (sink->progress)
            sink->progress(sink, (uint64_t)i * 1000000, 500000000);
        if (sink->cancelled(sink))
            return LLM_E_CANCELLED;
        nap(20);
    }
    return LLM_OK;
}

static void fake_destroy(llm_model *m)
{
    m->host->log(m->host, LLM_LOG_INFO, "destroyed", 9);
    free(m);
}

static const llm_site *fake_site(llm_model *m, uint64_t i)
{
    static const llm_site site = {
        sizeof(llm_site), 0, 4, 4, "model.layers.0.mlp.down_proj", NULL
    };
    (void)m;
    return i == 0 ? &site : NULL;
}

static llm_status fake_attach(llm_model *m, const llm_adapter *a, llm_error *err)
{
    (void)m;
    if (strcmp(a->name, "misfit") == 0)
        return fail(err, LLM_E_CONFIG, "fake: this adapter does not fit");
    return LLM_OK;
}

static void fake_detach(llm_model *m, const llm_adapter *a)
{
    (void)m, (void)a;
}

static const llm_model_class model = {
    .struct_size = sizeof(llm_model_class),
    .caps = LLM_CAP_IMAGES | LLM_CAP_ADAPTERS,
    .create = fake_create,
    .load = fake_load,
    .generate = fake_generate,
    .destroy = fake_destroy,
    .site = fake_site,
    .attach = fake_attach,
    .detach = fake_detach,
};
static const llm_model_class plain_model = {
    .struct_size = sizeof(llm_model_class),
    .max_concurrent = 1,
    .create = fake_create,
    .load = fake_load,
    .generate = fake_generate,
    .destroy = fake_destroy,
};
/* A token is a byte. */
static llm_status fake_tokenize(llm_model *m, const llm_request *r, int64_t *ids, uint64_t capacity,
                                uint64_t *n, llm_error *err)
{
    (void)m, (void)err;
    *n = 0;
    for (uint64_t i = 0; i < r->n_messages + (r->n_messages == 0); i++) {
        const llm_str *s = r->n_messages ? &r->messages[i]->content : &r->prompt;
        for (uint64_t k = 0; k < s->len; k++, ++*n)
            if (*n < capacity)
                ids[*n] = (unsigned char)s->ptr[k];
    }
    return LLM_OK;
}

static llm_status fake_detokenize(llm_model *m, const int64_t *ids, uint64_t n,
                                  const llm_sink *sink, llm_error *err)
{
    (void)m;
    for (uint64_t i = 0; i < n; i++) {
        char byte = (char)ids[i];
        if (ids[i] > 255)
            return fail(err, LLM_E_REQUEST, "fake: a token is a byte");
        if (sink->emit(sink, &byte, 1))
            return LLM_E_CANCELLED;
    }
    return LLM_OK;
}

static void fake_metrics(llm_model *m, void (*report)(void *ctx, const llm_metric *metric),
                         void *ctx)
{
    static const double bounds[] = { 0.5, 1 };
    static const uint64_t buckets[] = { 2, 3 };
    const llm_metric all[] = {
        { sizeof(llm_metric), LLM_METRIC_GAUGE, "kv_blocks", "Blocks.", 12.5, 0, NULL, NULL, 0 },
        { sizeof(llm_metric), LLM_METRIC_COUNTER, "steps", "Steps.", 7, 0, NULL, NULL, 0 },
        { sizeof(llm_metric), LLM_METRIC_GAUGE, "bad name{", "Left out.", 1, 0, NULL, NULL, 0 },
        { sizeof(llm_metric), LLM_METRIC_HISTOGRAM, "step_seconds", "Steps\nby time.", 2.5, 4,
          bounds, buckets, 2 },
    };
    (void)m;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        report(ctx, &all[i]);
}

static const void *fake_extension(const char *id)
{
    static const llm_ext_tokenizer tokenizer = { sizeof tokenizer, 0, fake_tokenize,
                                                 fake_detokenize };
    static const llm_ext_metrics metrics = { sizeof metrics, 0, fake_metrics };
    return strcmp(id, LLM_EXT_TOKENIZER) == 0 ? (const void *)&tokenizer
           : strcmp(id, LLM_EXT_METRICS) == 0 ? (const void *)&metrics
                                              : NULL;
}

/* Can everything. */
static const llm_model_class able_model = {
    .struct_size = sizeof(llm_model_class),
    .caps = LLM_CAP_IMAGES | LLM_CAP_ADAPTERS | LLM_CAP_AUDIOS | LLM_CAP_PROMPT | LLM_CAP_STOP |
            LLM_CAP_LOGIT_BIAS | LLM_CAP_CONSTRAINT | LLM_CAP_TOOLS | LLM_CAP_LOGPROBS |
            LLM_CAP_SEED,
    .create = fake_create,
    .load = fake_load,
    .generate = fake_generate,
    .destroy = fake_destroy,
    .site = fake_site,
    .attach = fake_attach,
    .detach = fake_detach,
    .extension = fake_extension,
};
static const char schema[] = "{\"type\":\"object\",\"additionalProperties\":false,\"properties\":{"
                             "\"depth\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9},"
                             "\"mood\":{\"enum\":[\"good\",\"bad\"]},"
                             "\"nested\":{\"type\":\"object\"}}}";
static const llm_class model_class = { sizeof(llm_class), LLM_KIND_MODEL, "LLMModelFake", schema,
                                       &model };
static const llm_class plain_class = { sizeof(llm_class), LLM_KIND_MODEL, "PlainFake", NULL,
                                       &plain_model };
static const llm_class able_class = { sizeof(llm_class), LLM_KIND_MODEL, "LLMModelAble", NULL,
                                      &able_model };
static const llm_class *const classes[] = { &model_class, &plain_class, &able_class, NULL };
static const llm_plugin plugin = { LLM_PLUGIN_HEAD, "org.airlock.test.model", "1.0.0", classes };

const llm_plugin *llm_plugin_query_1(void)
{
    return &plugin;
}
