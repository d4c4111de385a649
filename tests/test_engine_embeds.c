/* test_engine_embeds.c - prompt rows whose embeddings are given: the same bits as the tokens they
 * stand for, in any chunks, and never shared with other media. */
#include "engine_support.h"

#include "engine/tensor.h"

enum { HIDDEN = 96, PLACEHOLDER = 5 };

/* Rows of the embedding matrix for ids [n]; from malloc. */
static float *rows_of(struct engine *e, const int32_t *ids, size_t n)
{
    const struct safetensors_view *v =
        safetensors_find(engine_checkpoint(e), "model.embed_tokens.weight");
    const size_t vocab = engine_config(e)->vocab_size;
    ck_assert_ptr_nonnull(v);
    ck_assert_uint_eq(engine_config(e)->hidden_size, HIDDEN);
    float *all = malloc(vocab * HIDDEN * sizeof *all), *out = malloc(n * HIDDEN * sizeof *out);
    tensor_read(v, all, vocab * HIDDEN);
    for (size_t i = 0; i < n; i++)
        memcpy(out + i * HIDDEN, all + (size_t)ids[i] * HIDDEN, HIDDEN * sizeof *out);
    free(all);
    return out;
}

static const struct prefix_media one[2] = { { 1, { 1 } }, { 6, { 1, 1 } } };
static const struct prefix_media two[2] = { { 1, { 2 } }, { 6, { 2, 2 } } };

/* Turns tokens 1 .. 4 and 6 .. the last but one of the job's prompt into given rows. */
static void give_rows(struct job *j, struct forward_embeds embeds[2],
                      const struct prefix_media media[2])
{
    const size_t n = j->request.n_prompt;
    embeds[0] = (struct forward_embeds){ 1, 4, rows_of(j->engine, j->prompt + 1, 4) };
    embeds[1] = (struct forward_embeds){ 6, n - 7, rows_of(j->engine, j->prompt + 6, n - 7) };
    for (size_t i = 1; i + 1 < n; i++)
        if (i != 5)
            j->prompt[i] = PLACEHOLDER;
    j->request.embeds = embeds;
    j->request.n_embeds = 2;
    j->request.media = media;
    j->request.n_media = 2;
}

START_TEST(given_rows_are_as_good_as_the_tokens_they_stand_for)
{
    const size_t chunks[] = { 0, 1, 3 };
    for (size_t c = 0; c < 3; c++) {
        struct engine *e = open_with((struct engine_options){ .prefill_chunk = chunks[c] });
        struct job plain, given;
        struct forward_embeds embeds[2];
        for (unsigned number = 2; number < 5; number++) {
            job_init(&plain, e, number);
            job_init(&given, e, number);
            give_rows(&given, embeds, one);
            job_run(&plain);
            job_run(&given);
            assert_same(&plain, &given, "given rows", number);
            job_free(&plain);
            job_free(&given);
        }
        assert_nothing_held(e);
        engine_close(e);
    }
}
END_TEST

START_TEST(the_same_placeholders_with_other_media_are_another_prompt)
{
    struct engine *e = open_with((struct engine_options){ 0 });
    struct job first, other, again;
    struct forward_embeds a[2], b[2], c[2];
    job_init(&first, e, 3);
    job_init(&other, e, 3);
    job_init(&again, e, 3);
    give_rows(&first, a, one);
    for (size_t i = 0; i < other.request.n_prompt; i++)
        other.prompt[i] = (other.prompt[i] + 100) % 264;
    give_rows(&other, b, two);
    other.prompt[0] = first.prompt[0];
    other.prompt[5] = first.prompt[5];
    other.prompt[other.request.n_prompt - 1] = first.prompt[first.request.n_prompt - 1];
    ck_assert(memcmp(first.prompt, other.prompt, sizeof first.prompt) == 0);
    give_rows(&again, c, one);
    job_run(&first);
    job_run(&other);
    job_run(&again);
    ck_assert_uint_eq(other.answer.stats.tokens_cached, 0);
    ck_assert_uint_ge(again.answer.stats.tokens_cached, 16);
    assert_same(&first, &again, "from the cache", 3);
    ck_assert(first.answer.tokens[0].logprob != other.answer.tokens[0].logprob);
    job_free(&first);
    job_free(&other);
    job_free(&again);
    engine_close(e);
}
END_TEST

START_TEST(rows_outside_the_prompt_or_out_of_order_are_refused_and_stay_the_callers)
{
    static const size_t bad[][4] = { { 0, 4, 3, 1 },
                                     { 0, 1, 8, SIZE_MAX },
                                     { 36, 1, 0, 0 },
                                     { 35, 2, 40, 0 },
                                     { SIZE_MAX, 2, 0, 0 } };
    struct engine *e = open_with((struct engine_options){ 0 });
    void *data = malloc(64);
    for (size_t i = 0; i < 5; i++) {
        struct job j;
        struct forward_embeds embeds[] = { { bad[i][0], bad[i][1], data },
                                           { bad[i][2], bad[i][3], data } };
        job_init(&j, e, 3); /* 36 tokens */
        ck_assert_uint_eq(j.request.n_prompt, 36);
        j.request.embeds = embeds;
        j.request.n_embeds = 2;
        ck_assert_ptr_null(scheduler_submit(engine_scheduler(e), &j.request, &j.answer.err));
        ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_INVALID);
    }
    free(data);
    engine_close(e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine_embeds");
    TCase *t = tcase_create("engine_embeds");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, given_rows_are_as_good_as_the_tokens_they_stand_for);
    tcase_add_test(t, the_same_placeholders_with_other_media_are_another_prompt);
    tcase_add_test(t, rows_outside_the_prompt_or_out_of_order_are_refused_and_stay_the_callers);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
