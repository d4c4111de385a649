/* test_engine.c - many requests at once: the same bits as alone, in any chunks, after preemption;
 * where answers end, and adapters. */
#include "engine_support.h"

/* The answers of n requests, each alone on an engine with these options. */
static void run_alone(struct engine_options o, struct job *jobs, size_t n)
{
    struct engine *e = open_with(o);
    for (unsigned i = 0; i < n; i++) {
        job_init(&jobs[i], e, i);
        job_run(&jobs[i]);
    }
    assert_nothing_held(e);
    engine_close(e);
}

/* ---- the same bits --------------------------------------------------------------------------- */

#define MANY 9

static void compare_together(struct engine_options o, const char *what, bool preempts)
{
    struct job *alone = calloc(MANY, sizeof *alone), *together = calloc(MANY, sizeof *together);
    run_alone((struct engine_options){ .dtype = o.dtype, .kv_dtype = o.kv_dtype }, alone, MANY);
    o.hook = &number_adapters;
    struct engine *e = open_with(o);
    for (unsigned i = 0; i < MANY; i++)
        job_init(&together[i], e, i);
    run_at_once(e, together, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_same(&alone[i], &together[i], what, i);
    struct scheduler_load load;
    scheduler_load(engine_scheduler(e), &load);
    if (preempts)
        ck_assert_uint_gt(load.preemptions, 0);
    assert_nothing_held(e);
    engine_close(e);
    for (unsigned i = 0; i < MANY; i++) {
        job_free(&alone[i]);
        job_free(&together[i]);
    }
    free(alone);
    free(together);
}

START_TEST(an_answer_has_the_same_bits_alone_and_among_eight_others)
{
    compare_together((struct engine_options){ 0 }, "among eight others", false);
}
END_TEST

/* _i: fp8, int8, int4 weights, each with keys and values in fp8. */
START_TEST(compressed_answers_have_the_same_bits_in_company_and_any_chunks)
{
    static const enum ops_dtype forms[] = { OPS_FP8, OPS_INT8, OPS_INT4 };
    compare_together((struct engine_options){ .dtype = forms[_i],
                                              .kv_dtype = OPS_FP8,
                                              .prefill_chunk = 3,
                                              .device = { .threads = 2 } },
                     "compressed", false);
}
END_TEST

START_TEST(an_answer_has_the_same_bits_whatever_the_chunks_and_threads)
{
    static const size_t chunks[] = { 1, 3, 500 };
    for (size_t i = 0; i < 3; i++)
        compare_together((struct engine_options){ .prefill_chunk = chunks[i],
                                                  .device = { .threads = i == 1 ? 3 : 1 } },
                         "other chunks", false);
}
END_TEST

START_TEST(an_answer_has_the_same_bits_when_its_memory_was_taken_and_it_was_computed_again)
{
    /* 2 layers, 2 KV heads of 16, bf16: 4096 bytes a block; 5 blocks for requests of up to 4. */
    compare_together((struct engine_options){ .max_context = 72, .kv_memory = 5 * 4096 },
                     "after preemption", true);
}
END_TEST

START_TEST(one_at_a_time_is_the_same_too)
{
    compare_together((struct engine_options){ .max_batch = 1 }, "max_batch 1", false);
}
END_TEST

START_TEST(sampling_with_a_seed_is_the_same_among_others)
{
    struct job one, again[4];
    struct engine *e = open_with((struct engine_options){ 0 });
    job_init(&one, e, 5);
    one.request.sampling.do_sample = true;
    one.request.sampling.temperature = 1.5;
    one.request.sampling.top_k = 50;
    job_run(&one);
    for (int i = 0; i < 4; i++) {
        job_init(&again[i], e, i == 2 ? 5 : 6);
        again[i].request.sampling = one.request.sampling;
    }
    run_together(again, 4);
    assert_same(&one, &again[2], "with a seed", 5);
    job_free(&one);
    for (int i = 0; i < 4; i++)
        job_free(&again[i]);
    engine_close(e);
}
END_TEST

/* ---- ends ------------------------------------------------------------------------------------ */

START_TEST(an_end_token_stops_the_answer_and_is_counted_but_not_text)
{
    struct job plain, stopped;
    struct engine *e = open_with((struct engine_options){ 0 });
    job_init(&plain, e, 3);
    job_run(&plain);
    ck_assert_int_eq(plain.answer.stats.finish, SCHEDULER_FINISH_LENGTH);
    ck_assert_uint_eq(plain.answer.stats.tokens_out, plain.request.max_new_tokens);
    ck_assert_uint_eq(plain.answer.stats.tokens_in, plain.request.n_prompt);

    job_init(&stopped, e, 3);
    int32_t eos[] = { 9999, plain.answer.tokens[4].id };
    size_t first = 0;
    while (plain.answer.tokens[first].id != eos[1])
        first++;
    stopped.request.eos = eos;
    stopped.request.n_eos = 2;
    job_run(&stopped);
    ck_assert_int_eq(stopped.answer.stats.finish, SCHEDULER_FINISH_STOP);
    ck_assert_uint_eq(stopped.answer.stats.tokens_out, first + 1);
    size_t size = 0, want = 0;
    for (size_t i = 0; i < first; i++) {
        int32_t id = plain.answer.tokens[i].id;
        tokenizer_bytes(engine_tokenizer(e), id, &size);
        want += tokenizer_is_special(engine_tokenizer(e), id) ? 0 : size;
    }
    ck_assert_uint_eq(stopped.answer.text.size, want);
    job_free(&plain);
    job_free(&stopped);
    engine_close(e);
}
END_TEST

START_TEST(special_tokens_are_left_out_of_the_text_and_others_kept)
{
    struct engine *e = open_with((struct engine_options){ 0 });
    int32_t special = tokenizer_added(engine_tokenizer(e), "<|user|>", NULL);
    int32_t kept = tokenizer_added(engine_tokenizer(e), "<|tool|>", NULL);
    ck_assert_int_ge(special, 0);
    ck_assert_int_ge(kept, 0);
    for (int i = 0; i < 2; i++) {
        struct job j;
        struct sampler_bias bias = { i ? kept : special, 100 };
        job_init(&j, e, 1);
        j.request.bias = &bias;
        j.request.n_bias = 1;
        j.request.max_new_tokens = 2;
        job_run(&j);
        ck_assert_int_eq(j.answer.tokens[0].id, bias.id);
        ck_assert_uint_eq(j.answer.text.size, i ? 2 * strlen("<|tool|>") : 0);
        job_free(&j);
    }
    engine_close(e);
}
END_TEST

START_TEST(a_stop_string_ends_the_answer_before_it)
{
    struct job plain, stopped;
    struct engine *e = open_with((struct engine_options){ 0 });
    job_init(&plain, e, 3);
    job_run(&plain);
    const struct bytes *text = &plain.answer.text;
    ck_assert_uint_gt(text->size, 6);
    struct stop_string stop = { text->data + 3, 3 };
    size_t at = (size_t)((char *)memmem(text->data, text->size, stop.text, 3) - text->data);
    job_init(&stopped, e, 3);
    stopped.request.stop = &stop;
    stopped.request.n_stop = 1;
    job_run(&stopped);
    ck_assert_int_eq(stopped.answer.stats.finish, SCHEDULER_FINISH_STOP);
    ck_assert_uint_eq(stopped.answer.text.size, at);
    if (at > 0)
        ck_assert_mem_eq(stopped.answer.text.data, text->data, at);
    ck_assert_uint_lt(stopped.answer.stats.tokens_out, plain.answer.stats.tokens_out);
    job_free(&plain);
    job_free(&stopped);
    engine_close(e);
}
END_TEST

START_TEST(an_answer_ends_where_the_context_ends)
{
    struct job j;
    struct engine *e = open_with((struct engine_options){ .max_context = 45 });
    job_init(&j, e, 1);
    j.request.max_new_tokens = 0;
    job_run(&j);
    ck_assert_int_eq(j.answer.status, 0);
    ck_assert_int_eq(j.answer.stats.finish, SCHEDULER_FINISH_LENGTH);
    ck_assert_uint_eq(j.request.n_prompt + j.answer.stats.tokens_out, 45);
    job_free(&j);
    engine_close(e);
}
END_TEST

START_TEST(a_prompt_beyond_the_context_is_refused_with_both_numbers)
{
    struct job j;
    struct engine *e = open_with((struct engine_options){ .max_context = 20 });
    job_init(&j, e, 2); /* 25 tokens */
    job_run(&j);
    ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_REQUEST);
    ck_assert_ptr_nonnull(strstr(j.answer.err.text, "25"));
    ck_assert_ptr_nonnull(strstr(j.answer.err.text, "20"));
    j.request.n_prompt = 19; /* room for one token */
    job_run(&j);
    ck_assert_int_eq(j.answer.status, 0);
    ck_assert_uint_eq(j.answer.stats.tokens_out, 1);
    job_free(&j);
    engine_close(e);
}
END_TEST

START_TEST(ids_outside_the_vocabulary_are_refused)
{
    struct job j;
    struct engine *e = open_with((struct engine_options){ 0 });
    job_init(&j, e, 2);
    j.prompt[1] = (int32_t)engine_config(e)->vocab_size;
    job_run(&j);
    ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_REQUEST);
    j.prompt[1] = -1;
    job_run(&j);
    ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_REQUEST);
    struct sampler_bias bias = { 100000, 1 };
    j.prompt[1] = 0;
    j.request.bias = &bias;
    j.request.n_bias = 1;
    job_run(&j);
    ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_REQUEST);
    engine_close(e);
}
END_TEST

START_TEST(limits_that_contradict_each_other_are_a_configuration_error)
{
    struct engine_options o = { .dir = model_dir("longrope_bf16_gqa3"), .ops = ops_cpu() };
    struct airlock_error err = { 0 };
    o.max_context = 100000; /* the model's is 128 */
    ck_assert_ptr_null(engine_open(&o, &err));
    ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
    o.max_context = 100;
    o.kv_memory = 4096;
    ck_assert_ptr_null(engine_open(&o, &err));
    ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
    ck_assert_ptr_nonnull(strstr(err.text, "kv_memory"));
    o.kv_memory = 0;
    o.dtype = OPS_F32; /* stored as bf16 */
    ck_assert_ptr_null(engine_open(&o, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "dtype f32"));
}
END_TEST

/* ---- adapters as the engine sees them -------------------------------------------------------- */

static void give_adapters(struct job *j, unsigned i)
{
    /* none, one, two: neighbours alike and not */
    j->request.adapters = &adapter_numbers()[1 + i / 2 % 3];
    j->request.n_adapters = i % 3;
}

START_TEST(every_row_gets_its_own_adapters)
{
    struct job *alone = calloc(MANY, sizeof *alone), *together = calloc(MANY, sizeof *together);
    struct engine *e = open_with((struct engine_options){ .hook = &number_adapters });
    for (unsigned i = 0; i < MANY; i++) {
        job_init(&alone[i], e, 4); /* the same prompt for all: only adapters differ */
        give_adapters(&alone[i], i);
        job_run(&alone[i]);
        job_init(&together[i], e, 4);
        give_adapters(&together[i], i);
    }
    run_together(together, MANY);
    for (unsigned i = 0; i < MANY; i++)
        assert_same(&alone[i], &together[i], "with adapters", i);
    ck_assert_int_ne(memcmp(&alone[0].answer.tokens[0], &alone[1].answer.tokens[0],
                            sizeof(struct scheduler_token)),
                     0);
    for (unsigned i = 0; i < MANY; i++) {
        job_free(&alone[i]);
        job_free(&together[i]);
    }
    free(alone);
    free(together);
    engine_close(e);
}
END_TEST

START_TEST(a_failing_adapter_fails_its_own_requests_only)
{
    struct job *jobs = calloc(MANY, sizeof *jobs);
    struct engine *e = open_with((struct engine_options){ .hook = &number_adapters });
    struct job alone;
    job_init(&alone, e, 4);
    job_run(&alone);
    give_adapters(&alone, 0);
    for (unsigned i = 0; i < MANY; i++) {
        job_init(&jobs[i], e, 4);
        if (i % 4 == 1) {
            jobs[i].request.adapters = &adapter_numbers()[FAILING];
            jobs[i].request.n_adapters = 1;
        }
    }
    run_together(jobs, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        if (i % 4 == 1)
            ck_assert_str_eq(jobs[i].answer.err.text, "adapter 13");
        else
            assert_same(&alone, &jobs[i], "beside a failing adapter", i);
        job_free(&jobs[i]);
    }
    assert_nothing_held(e);
    job_free(&alone);
    free(jobs);
    engine_close(e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("engine");
    TCase *t = tcase_create("same bits");
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, compressed_answers_have_the_same_bits_in_company_and_any_chunks, 0, 3);
    tcase_add_test(t, an_answer_has_the_same_bits_alone_and_among_eight_others);
    tcase_add_test(t, an_answer_has_the_same_bits_whatever_the_chunks_and_threads);
    tcase_add_test(t,
                   an_answer_has_the_same_bits_when_its_memory_was_taken_and_it_was_computed_again);
    tcase_add_test(t, one_at_a_time_is_the_same_too);
    tcase_add_test(t, sampling_with_a_seed_is_the_same_among_others);
    suite_add_tcase(suite, t);
    t = tcase_create("ends");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, an_end_token_stops_the_answer_and_is_counted_but_not_text);
    tcase_add_test(t, special_tokens_are_left_out_of_the_text_and_others_kept);
    tcase_add_test(t, a_stop_string_ends_the_answer_before_it);
    tcase_add_test(t, an_answer_ends_where_the_context_ends);
    tcase_add_test(t, a_prompt_beyond_the_context_is_refused_with_both_numbers);
    tcase_add_test(t, ids_outside_the_vocabulary_are_refused);
    tcase_add_test(t, limits_that_contradict_each_other_are_a_configuration_error);
    suite_add_tcase(suite, t);
    t = tcase_create("adapters");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, every_row_gets_its_own_adapters);
    tcase_add_test(t, a_failing_adapter_fails_its_own_requests_only);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
