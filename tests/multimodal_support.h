/* multimodal_support.h - the phi4-multimodal plugin through its ABI, on the tiny model of
 * tests/golden/multimodal. */
#ifndef AIRLOCK_TESTS_MULTIMODAL_SUPPORT_H
#define AIRLOCK_TESTS_MULTIMODAL_SUPPORT_H

#include "golden_file.h"

#include <airlock/llm_model.h>
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* A second program of the same source opens the plugin with the CUDA ops under emulation. */
#ifndef PHI4_PLUGIN
#define PHI4_PLUGIN "plugins/.libs/phi4-multimodal.so"
#define PHI4_DEVICE "cpu"
#endif

static const llm_model_class *cls;
static llm_model *model;
static char options[1200], dir[512];
static int warnings; /* logged since a model was opened */

static llm_str str(const char *text)
{
    return (llm_str){ text, strlen(text) };
}

static void host_log(const llm_host *host, int32_t level, const char *text, uint64_t size)
{
    (void)host, (void)text, (void)size;
    warnings += level >= LLM_LOG_WARNING;
}

static const void *host_service(const llm_host *host, const char *id)
{
    (void)host, (void)id;
    return NULL;
}

static const llm_host host = { sizeof host, 0, NULL, host_log, host_service };

enum { MAX_ANSWER = 16, MAX_TOP = 20 };

struct answer {
    llm_sink sink;
    size_t n;
    int64_t ids[MAX_ANSWER];
    double logprobs[MAX_ANSWER];
    size_t n_top[MAX_ANSWER];
    int64_t top_ids[MAX_ANSWER][MAX_TOP];
    double top_logprobs[MAX_ANSWER][MAX_TOP];
    /* Asked between the slices of an encoder, among other times, with the number of this call. */
    int (*cancelled)(void *ctx, size_t call);
    void *ctx;
    size_t calls, calls_before_token;
    llm_status status;
    llm_stats stats;
    llm_error err;
};

static int32_t emit(const llm_sink *s, const char *bytes, uint64_t n)
{
    (void)s, (void)bytes, (void)n;
    return 0;
}

static int32_t cancelled(const llm_sink *s)
{
    struct answer *a = s->ctx;
    a->calls++;
    a->calls_before_token += a->n == 0;
    return a->cancelled ? a->cancelled(a->ctx, a->calls) : 0;
}

static void token(const llm_sink *s, const llm_token *t)
{
    struct answer *a = s->ctx;
    ck_assert_uint_lt(a->n, MAX_ANSWER);
    ck_assert_uint_le(t->n_top, MAX_TOP);
    for (uint32_t i = 0; i < t->n_top; i++) {
        a->top_ids[a->n][i] = t->top[i]->id;
        a->top_logprobs[a->n][i] = (double)t->top[i]->logprob;
    }
    a->n_top[a->n] = t->n_top;
    a->ids[a->n] = t->id;
    a->logprobs[a->n++] = (double)t->logprob;
}

static llm_sink sink_for(struct answer *a)
{
    return (llm_sink){ .struct_size = sizeof(llm_sink),
                       .ctx = a,
                       .emit = emit,
                       .cancelled = cancelled,
                       .token = token };
}

/* Of tests/golden, or a path that begins with a slash; extra: of the options, with a comma before
 * it.  What create() or load() say. */
static llm_status open_model_of(const char *name, const char *extra, llm_error *err)
{
    char path[512], worker[PATH_MAX];
    const char *build = getenv("top_builddir"), *src = getenv("top_srcdir");
    struct answer nobody = { .sink = sink_for(&nobody) };
    snprintf(path, sizeof path, "%s/" PHI4_PLUGIN, build ? build : ".");
    if (name[0] == '/')
        snprintf(dir, sizeof dir, "%s", name);
    else
        snprintf(dir, sizeof dir, "%s/tests/golden/%s", src ? src : ".", name);
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(so != NULL, "%s", so ? "" : dlerror());
    const llm_plugin *(*query)(void) = (const llm_plugin *(*)(void))dlsym(so, "llm_plugin_query_1");
    ck_assert_str_eq(query()->classes[0]->name, "LLMModelPhi4MultimodalInstruct");
    cls = query()->classes[0]->impl;
    snprintf(path, sizeof path, "%s/airlock-media-worker", build ? build : ".");
    ck_assert_ptr_nonnull(realpath(path, worker));
    snprintf(options, sizeof options, "{\"media_worker\":\"%.1000s\"%s}", worker, extra);
    const llm_config config = { .struct_size = sizeof config,
                                .name = str("test"),
                                .path = str(dir),
                                .device = str(PHI4_DEVICE),
                                .threads = 2,
                                .options_json = str(options) };
    warnings = 0;
    ck_assert_msg(cls->create(&host, &config, &model, err) == LLM_OK, "%s", err->text);
    return cls->load(model, &nobody.sink, err);
}

static void open_model(const char *extra)
{
    llm_error err = { .struct_size = sizeof err };
    ck_assert_msg(open_model_of("multimodal", extra, &err) == LLM_OK, "%s", err.text);
}

static void setup(void)
{
    open_model("");
}

static void teardown(void)
{
    cls->destroy(model);
}

struct query {
    const llm_message *messages; /* [n_messages] */
    size_t n_messages;
    llm_media media[3]; /* pictures, then sounds */
    size_t n_images, n_audios;
    const char *salt;
    uint64_t deadline_ns;
    size_t max_new_tokens; /* 0: 5 */
};

/* Whatever a->cancelled and a->ctx were, they stay. */
static void ask_query(struct answer *a, const struct query *q)
{
    const llm_media *list[3] = { &q->media[0], &q->media[1], &q->media[2] };
    const llm_message *messages[4];
    const llm_params params = { .struct_size = sizeof params,
                                .set = LLM_P_MAX_NEW_TOKENS | LLM_P_LOGPROBS,
                                .logprobs = MAX_TOP,
                                .max_new_tokens =
                                    q->max_new_tokens ? (int64_t)q->max_new_tokens : 5 };
    const llm_request request = { .struct_size = sizeof request,
                                  .messages = messages,
                                  .n_messages = q->n_messages,
                                  .images = list,
                                  .n_images = q->n_images,
                                  .audios = list + q->n_images,
                                  .n_audios = q->n_audios,
                                  .params = &params,
                                  .cache_salt = str(q->salt ? q->salt : ""),
                                  .deadline_ns = q->deadline_ns };
    for (size_t i = 0; i < q->n_messages; i++)
        messages[i] = &q->messages[i];
    *a = (struct answer){ .cancelled = a->cancelled, .ctx = a->ctx };
    a->sink = sink_for(a);
    a->stats.struct_size = sizeof a->stats;
    a->err.struct_size = sizeof a->err;
    a->status = cls->generate(model, &request, &a->sink, &a->stats, &a->err);
}

static llm_message message_of(int32_t role, const char *content)
{
    return (
        llm_message){ .struct_size = sizeof(llm_message), .role = role, .content = str(content) };
}

#endif
