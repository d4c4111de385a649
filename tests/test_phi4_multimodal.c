/* test_phi4_multimodal.c - the phi4-multimodal plugin through its ABI: text, pictures, sound and
 * both give the answers of transformers; attack case A32. */
#include "multimodal_support.h"
#include "tmpdir.h"

/* names: golden files of pictures and of a sound; NULL: none. */
static void ask(struct answer *a, const char *content, const char *image_1, const char *image_2,
                const char *audio)
{
    const char *const names[] = { image_1, image_2, audio };
    const llm_message message = message_of(LLM_ROLE_USER, content);
    struct query q = { .messages = &message, .n_messages = 1 };
    void *files[3];
    size_t n = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t size;
        if (!names[i])
            continue;
        files[n] = golden_file(i < 2 ? "images" : "audio", names[i], &size);
        q.media[n] = (llm_media){ .struct_size = sizeof q.media[n], .bytes = { files[n], size } };
        n++;
        *(i < 2 ? &q.n_images : &q.n_audios) += 1;
    }
    memset(a, 0, sizeof *a);
    ask_query(a, &q);
    while (n > 0)
        free(files[--n]);
}

static bool on_cuda(void)
{
    return strcmp(PHI4_DEVICE, "cuda") == 0;
}

/* float32 in another order through all of the model; and bf16 everywhere on CUDA, where the
 * emulated ops are up to 0.15 away (the towers' own tests are closer). */
static double tolerance(void)
{
    return on_cuda() ? 0.25 : 1e-3;
}

/* Our log-probability of a token. */
static double logprob_of(const struct answer *a, size_t place, int64_t id)
{
    for (size_t i = 0; i < a->n_top[place]; i++)
        if (a->top_ids[place][i] == id)
            return a->top_logprobs[place][i];
    return -INFINITY;
}

/* The reference's tokens, each with its log-probability, for as long as ours are the same: in bf16
 * a near tie may fall the other way. */
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
        ck_assert_msg(fabs(logprob_of(a, i, id) - logprob) < tolerance() &&
                          a->logprobs[i] - logprob < 2 * tolerance() &&
                          (on_cuda() || a->ids[i] == id),
                      "%s: token %zu is %ld (%g), not %ld (%g here, %g there)", name, i,
                      (long)a->ids[i], a->logprobs[i], id, logprob_of(a, i, id), logprob);
        if (a->ids[i] != id)
            break;
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

/* The same, less of it: an emulated picture takes a while. */
START_TEST(every_encoder_answers_as_the_reference_does)
{
    struct answer a;
    ask(&a, "who are you", NULL, NULL, NULL);
    same_as_reference("text", &a);
    ask(&a, "<|audio_1|>what was said", NULL, NULL, "wav16k_s16.wav");
    same_as_reference("audio", &a);
    ask(&a, "<|image_1|>what is it", "rgb.png", NULL, NULL);
    same_as_reference("image", &a);
    ck_assert_str_eq(cls->device(model), on_cuda() ? "cuda:0" : "cpu");
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

START_TEST(the_layout_of_transformers_with_its_adapters_folders_gives_the_same_answers)
{
    struct answer a;
    llm_error err = { .struct_size = sizeof err };
    ck_assert_int_eq(warnings, 0);
    teardown();
    ck_assert_msg(open_model_of("multimodal_native", "", &err) == LLM_OK, "%s", err.text);
    ck_assert_int_eq(warnings, 0);
    ask(&a, "who are you", NULL, NULL, NULL);
    same_as_reference("text", &a);
    ask(&a, "<|image_1|>what is it", "rgb.png", NULL, NULL);
    same_as_reference("image", &a);
    ask(&a, "<|audio_1|>what was said", NULL, NULL, "wav16k_s16.wav");
    same_as_reference("audio", &a);
    ask(&a, "<|image_1|><|audio_1|>", "palette.gif", NULL, "wav16k_s16.wav");
    same_as_reference("both", &a);
}
END_TEST

/* A folder with links to the golden files of the native layout but for one adapter's. */
static void link_files(const char *to, const char *const *names)
{
    char from[PATH_MAX], link[PATH_MAX], real[PATH_MAX];
    for (; *names; names++) {
        const char *src = getenv("top_srcdir");
        snprintf(from, sizeof from, "%s/tests/golden/multimodal_native/%s", src ? src : ".",
                 *names);
        ck_assert_ptr_nonnull(realpath(from, real));
        snprintf(link, sizeof link, "%s/%s", to, *names);
        ck_assert_int_eq(symlink(real, link), 0);
    }
}

START_TEST(a_forgotten_folder_is_a_warning_and_a_broken_one_an_error)
{
    static const char *const files[] = { "config.json",    "generation_config.json",
                                         "tokenizer.json", "model.safetensors",
                                         "speech-lora",    NULL };
    struct answer a;
    tmpdir_make();
    llm_error err = { .struct_size = sizeof err };
    link_files(tmpdir, files);
    teardown();
    ck_assert_msg(open_model_of(tmpdir, "", &err) == LLM_OK, "%s", err.text);
    ck_assert_int_eq(warnings, 1); /* of pictures */
    ask(&a, "<|audio_1|>what was said", NULL, NULL, "wav16k_s16.wav");
    same_as_reference("audio", &a);
    teardown();
    ck_assert_int_eq(mkdir(tmpdir_path("vision-lora"), 0700), 0);
    ck_assert_int_ne(open_model_of(tmpdir, "", &err), LLM_OK);
    ck_assert_msg(strstr(err.text, "vision-lora") != NULL, "%s", err.text);
    tmpdir_remove();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("phi4-multimodal");
    TCase *t = tcase_create("phi4-multimodal");
    tcase_set_timeout(t, on_cuda() ? 900 : 300); /* emulated, on a busy machine */
    tcase_add_checked_fixture(t, setup, teardown);
    if (!on_cuda())
        tcase_add_test(t, every_mode_answers_as_the_reference_does);
    tcase_add_test(t, every_encoder_answers_as_the_reference_does);
    tcase_add_test(t, placeholders_and_media_must_agree);
    tcase_add_test(t, files_that_are_none_are_named_by_their_place);
    tcase_add_test(t, the_layout_of_transformers_with_its_adapters_folders_gives_the_same_answers);
    tcase_add_test(t, a_forgotten_folder_is_a_warning_and_a_broken_one_an_error);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
