/* test_phi4_multimodal.c - the phi4-multimodal plugin through its ABI: text, pictures, sound and
 * both give the answers of transformers; attack case A32. */
#include "golden_file.h"

#include <airlock/llm_model.h>
#include <dlfcn.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static const llm_model_class *cls;
static llm_model *model;
static char options[1200], dir[512];

static llm_str str(const char *text)
{
    return (llm_str){ text, strlen(text) };
}

static void host_log(const llm_host *host, int32_t level, const char *text, uint64_t size)
{
    (void)host, (void)level, (void)text, (void)size;
}

static const void *host_service(const llm_host *host, const char *id)
{
    (void)host, (void)id;
    return NULL;
}

static const llm_host host = { sizeof host, 0, NULL, host_log, host_service };

struct answer {
    llm_sink sink;
    size_t n;
    int64_t ids[16];
    double logprobs[16];
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
    (void)s;
    return 0;
}

static void token(const llm_sink *s, const llm_token *t)
{
    struct answer *a = s->ctx;
    ck_assert_uint_lt(a->n, 16);
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

static void setup(void)
{
    char path[512], worker[PATH_MAX];
    const char *build = getenv("top_builddir"), *src = getenv("top_srcdir");
    struct answer nobody = { .sink = sink_for(&nobody) };
    llm_error err = { .struct_size = sizeof err };
    snprintf(path, sizeof path, "%s/plugins/.libs/phi4-multimodal.so", build ? build : ".");
    snprintf(dir, sizeof dir, "%s/tests/golden/multimodal", src ? src : ".");
    void *so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ck_assert_msg(so != NULL, "%s", so ? "" : dlerror());
    const llm_plugin *(*query)(void) = (const llm_plugin *(*)(void))dlsym(so, "llm_plugin_query_1");
    ck_assert_str_eq(query()->classes[0]->name, "LLMModelPhi4MultimodalInstruct");
    cls = query()->classes[0]->impl;
    snprintf(path, sizeof path, "%s/airlock-media-worker", build ? build : ".");
    ck_assert_ptr_nonnull(realpath(path, worker));
    snprintf(options, sizeof options, "{\"media_worker\":\"%.1000s\"}", worker);
    const llm_config config = { .struct_size = sizeof config,
                                .name = str("test"),
                                .path = str(dir),
                                .threads = 2,
                                .options_json = str(options) };
    ck_assert_msg(cls->create(&host, &config, &model, &err) == LLM_OK, "%s", err.text);
    ck_assert_msg(cls->load(model, &nobody.sink, &err) == LLM_OK, "%s", err.text);
}

static void teardown(void)
{
    cls->destroy(model);
}

/* names: golden files of pictures and of a sound; NULL: none. */
static void ask(struct answer *a, const char *content, const char *image_1, const char *image_2,
                const char *audio)
{
    const char *const images[] = { image_1, image_2 };
    llm_media media[3];
    const llm_media *list[3];
    size_t size, n_images = 0;
    void *files[3] = { NULL };
    for (size_t i = 0; i < 3; i++) {
        const char *name = i < 2 ? images[i] : audio;
        list[i] = &media[i];
        if (!name)
            continue;
        files[i] = golden_file(i < 2 ? "images" : "audio", name, &size);
        media[i] = (llm_media){ .struct_size = sizeof media[i], .bytes = { files[i], size } };
        n_images += i < 2;
    }
    const llm_message message = { .struct_size = sizeof message,
                                  .role = LLM_ROLE_USER,
                                  .content = str(content) };
    const llm_message *messages[] = { &message };
    const llm_params params = { .struct_size = sizeof params,
                                .set = LLM_P_MAX_NEW_TOKENS | LLM_P_LOGPROBS,
                                .max_new_tokens = 5 };
    const llm_request request = { .struct_size = sizeof request,
                                  .messages = messages,
                                  .n_messages = 1,
                                  .images = list,
                                  .n_images = n_images,
                                  .audios = list + 2,
                                  .n_audios = audio != NULL,
                                  .params = &params };
    memset(a, 0, sizeof *a);
    a->sink = sink_for(a);
    a->stats.struct_size = sizeof a->stats;
    a->err.struct_size = sizeof a->err;
    a->status = cls->generate(model, &request, &a->sink, &a->stats, &a->err);
    for (size_t i = 0; i < 3; i++)
        free(files[i]);
}

/* float32 in another order through all of the model: 1e-3 of a log-probability. */
static void same_as_reference(const char *name, const struct answer *a)
{
    size_t size;
    ck_assert_msg(a->status == LLM_OK, "%s: %s", name, a->err.text);
    char *text = golden_file("multimodal", "expected.txt", &size), *line = text;
    text[size] = 0;
    while (line && strncmp(line, name, strlen(name)) != 0) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    ck_assert_msg(line != NULL, "no %s", name);
    line += strlen(name);
    for (size_t i = 0; i < a->n; i++) {
        const long id = strtol(line, &line, 10);
        const double logprob = strtod(line, &line);
        ck_assert_msg(a->ids[i] == id && fabs(a->logprobs[i] - logprob) < 1e-3,
                      "%s: token %zu is %ld (%g), not %ld (%g)", name, i, (long)a->ids[i],
                      a->logprobs[i], id, logprob);
    }
    ck_assert_uint_eq(a->n, 5);
    free(text);
}

START_TEST(every_mode_answers_as_the_reference_does)
{
    struct answer a;
    for (int round = 0; round < 2; round++) { /* the second time from the prefix cache */
        ask(&a, "who are you", NULL, NULL, NULL);
        same_as_reference("text", &a);
        ask(&a, "<|image_1|>what is it", "rgb.png", NULL, NULL);
        same_as_reference("image", &a);
        ask(&a, "<|image_1|>or <|image_2|>which", "rgb.png", "palette.gif", NULL);
        same_as_reference("two", &a);
        ask(&a, "<|audio_1|>what was said", NULL, NULL, "wav16k_s16.wav");
        same_as_reference("audio", &a);
        ask(&a, "<|image_1|><|audio_1|>", "palette.gif", NULL, "wav16k_s16.wav");
        same_as_reference("both", &a);
        ck_assert(round == 0 || a.stats.tokens_cached > 400);
    }
}
END_TEST

static void refused(const struct answer *a, const char *words)
{
    ck_assert_int_eq(a->status, LLM_E_REQUEST);
    ck_assert_msg(strstr(a->err.text, words) != NULL, "\"%s\" does not say \"%s\"", a->err.text,
                  words);
}

START_TEST(placeholders_and_media_must_agree)
{
    struct answer a;
    ask(&a, "<|image_1|><|image_2|>", "rgb.png", NULL, NULL);
    refused(&a, "2");
    ask(&a, "no placeholder", "rgb.png", NULL, NULL);
    refused(&a, "0");
    ask(&a, "<|image_1|>", NULL, NULL, NULL);
    refused(&a, "1");
    ask(&a, "<|image_2|><|image_1|>", "rgb.png", "bit.png", NULL);
    refused(&a, "another number where <|image_1|> should be");
    ask(&a, "<|audio_1|>", "rgb.png", NULL, NULL);
    refused(&a, "1");
}
END_TEST

START_TEST(files_that_are_none_are_named_by_their_place)
{
    struct answer a;
    ask(&a, "<|image_1|><|image_2|>", "rgb.png", "rgb.png.rgb", NULL);
    refused(&a, "images[1]");
    ask(&a, "<|audio_1|>", NULL, NULL, "wav16k_s16.mel");
    refused(&a, "audios[0]");
    ask(&a, "who are you", NULL, NULL, NULL); /* and the model lives */
    same_as_reference("text", &a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("phi4-multimodal");
    TCase *t = tcase_create("phi4-multimodal");
    tcase_set_timeout(t, 300);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, every_mode_answers_as_the_reference_does);
    tcase_add_test(t, placeholders_and_media_must_agree);
    tcase_add_test(t, files_that_are_none_are_named_by_their_place);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
