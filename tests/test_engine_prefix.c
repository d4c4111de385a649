/* test_engine_prefix.c - prefixes are shared only between those who may, an answer has the same
 * bits with a hit or without, and no request reads what another one wrote. */
#include "engine_support.h"

#include "forward_support.h"

static void give_prompt(struct job *j, struct engine *e, unsigned number, size_t n_prompt,
                        size_t new_tokens)
{
    job_init(j, e, number);
    for (size_t i = 0; i < n_prompt; i++)
        j->prompt[i] = (int32_t)((number * 31 + i * 7) % 264);
    j->request.n_prompt = n_prompt;
    j->request.max_new_tokens = new_tokens;
}

/* The same request on an engine that has seen nothing. */
static void run_fresh(struct job *j, struct engine_options o)
{
    struct engine *used = j->engine;
    struct engine *fresh = open_with(o);
    j->engine = fresh;
    job_run(j);
    ck_assert_uint_eq(j->answer.stats.tokens_cached, 0);
    engine_close(fresh);
    j->engine = used;
}

/* Runs the request; how many of its tokens were found. */
static size_t hits(struct job *j)
{
    job_run(j);
    ck_assert_msg(j->answer.status == 0, "%s", j->answer.err.text);
    return j->answer.stats.tokens_cached;
}

/* ---- the same bits --------------------------------------------------------------------------- */

START_TEST(an_answer_has_the_same_bits_with_a_prefix_found_or_computed)
{
    static const size_t lengths[] = { 15, 16, 17, 31, 32, 33, 48, 63 };
    static const size_t found[] = { 0, 0, 16, 16, 16, 32, 32, 48 };
    struct engine *e = open_with((struct engine_options){ .max_context = 128 });
    for (unsigned i = 0; i < 8; i++) {
        struct job fresh, first, again;
        give_prompt(&fresh, e, i, lengths[i], 20);
        run_fresh(&fresh, (struct engine_options){ 0 });
        give_prompt(&first, e, i, lengths[i], 20);
        ck_assert_uint_eq(hits(&first), 0);
        assert_same(&fresh, &first, "first", i);
        give_prompt(&again, e, i, lengths[i], 20);
        ck_assert_uint_eq(hits(&again), found[i]);
        assert_same(&fresh, &again, "with a prefix found", i);
        job_free(&fresh);
        job_free(&first);
        job_free(&again);
    }
    assert_nothing_held(e);
    engine_close(e);
}
END_TEST

START_TEST(a_follow_up_finds_question_and_answer_and_has_the_same_bits)
{
    struct engine *e = open_with((struct engine_options){ .dir = model_dir("plain_f32_untied") });
    struct job turn, next, fresh;
    give_prompt(&turn, e, 1, 20, 14);
    ck_assert_uint_eq(hits(&turn), 0);
    give_prompt(&next, e, 1, 20, 10);
    for (size_t i = 0; i < 14; i++)
        next.prompt[20 + i] = turn.answer.tokens[i].id;
    for (size_t i = 34; i < 45; i++)
        next.prompt[i] = (int32_t)i;
    next.request.n_prompt = 45;
    fresh = next;
    run_fresh(&fresh, (struct engine_options){ .dir = model_dir("plain_f32_untied") });
    ck_assert_uint_eq(hits(&next), 32); /* 33 of the 34 tokens were computed */
    assert_same(&fresh, &next, "a follow-up", 1);
    job_free(&turn);
    job_free(&next);
    job_free(&fresh);
    engine_close(e);
}
END_TEST

enum { MIXED = 17 };

/* Base and sixteen adapters, prompts that begin alike, some short and some long. */
static void mixed_init(struct job *j, struct engine *e, unsigned i)
{
    give_prompt(j, e, i % 3, 18 + i * 5 % 40, 10 + i % 7);
    j->request.adapters = &adapter_numbers()[i + (i > 12)];
    j->request.n_adapters = i > 0;
}

static void compare_mixed(struct engine_options o, const char *what, bool preempts)
{
    struct job *alone = calloc(MIXED, sizeof *alone), *both = calloc(2 * MIXED, sizeof *both);
    struct engine_options simple = { .hook = &number_adapters };
    o.hook = &number_adapters;
    struct engine *e = open_with(o);
    for (unsigned i = 0; i < MIXED; i++) {
        mixed_init(&alone[i], e, i);
        run_fresh(&alone[i], simple);
        mixed_init(&both[i], e, i);
        mixed_init(&both[MIXED + i], e, i);
    }
    run_at_once(e, both, MIXED);
    run_at_once(e, both + MIXED, MIXED); /* now there are prefixes to find */
    size_t cached = 0;
    for (unsigned i = 0; i < 2 * MIXED; i++) {
        assert_same(&alone[i % MIXED], &both[i], what, i);
        cached += both[i].answer.stats.tokens_cached;
    }
    struct scheduler_load load;
    scheduler_load(engine_scheduler(e), &load);
    ck_assert_uint_eq(load.prefix_hits, cached);
    if (preempts)
        ck_assert_uint_gt(load.preemptions, 0);
    else
        ck_assert_uint_gt(cached, 0);
    ck_assert_int_ne(memcmp(&alone[0].answer.tokens[0], &alone[3].answer.tokens[0],
                            sizeof(struct scheduler_token)),
                     0);
    assert_nothing_held(e);
    engine_close(e);
    for (unsigned i = 0; i < 2 * MIXED; i++) {
        job_free(&both[i]);
        if (i < MIXED)
            job_free(&alone[i]);
    }
    free(alone);
    free(both);
}

START_TEST(an_answer_has_the_same_bits_among_sixteen_with_other_adapters)
{
    compare_mixed((struct engine_options){ 0 }, "among sixteen with other adapters", false);
}
END_TEST

START_TEST(an_answer_has_the_same_bits_among_adapters_in_chunks_with_hits_and_preemption)
{
    compare_mixed((struct engine_options){ .prefill_chunk = 3,
                                           .max_context = 80,
                                           .kv_memory = 9 * 4096,
                                           .device = { .threads = 3 } },
                  "in chunks, preempted", true);
}
END_TEST

START_TEST(a_preempted_request_goes_on_from_the_blocks_that_are_left)
{
    struct engine_options o = { .dir = model_dir("plain_f32_untied"),
                                .max_context = 72,
                                .hook = &number_adapters };
    struct job *alone = calloc(2, sizeof *alone), *both = calloc(2, sizeof *both);
    /* 2 layers, keys and values, 2 heads of 24 numbers, float32; six blocks */
    o.kv_memory = 6 * (2 * 2 * 16 * 2 * 24 * 4);
    struct engine *e = open_with(o);
    for (unsigned i = 0; i < 2; i++) {
        give_prompt(&alone[i], e, 2 + i, i ? 33 : 20, i ? 30 : 40);
        run_fresh(&alone[i], o);
        give_prompt(&both[i], e, 2 + i, i ? 33 : 20, i ? 30 : 40);
    }
    run_at_once(e, both, 2);
    struct scheduler_load load;
    scheduler_load(engine_scheduler(e), &load);
    ck_assert_uint_eq(load.kv_blocks, 6);
    ck_assert_uint_gt(load.preemptions, 0);
    /* The second had 48 tokens when the first needed its memory; a block of them at most is lost.
     */
    ck_assert_uint_gt(load.prefill_rows, 3 + 20 + 33);
    ck_assert_uint_le(load.prefill_rows, 3 + 20 + 33 + load.preemptions * 17);
    for (unsigned i = 0; i < 2; i++) {
        assert_same(&alone[i], &both[i], "preempted", i);
        ck_assert_uint_eq(both[i].answer.stats.tokens_cached, 0); /* its own are no hits */
        job_free(&alone[i]);
        job_free(&both[i]);
    }
    free(alone);
    free(both);
    engine_close(e);
}
END_TEST

START_TEST(what_several_ask_at_once_is_computed_once)
{
    enum { N = 8, PROMPT = 60 };
    struct job jobs[N], fresh;
    struct engine *e = open_with((struct engine_options){ .max_context = 96 });
    give_prompt(&fresh, e, 5, PROMPT, 8);
    run_fresh(&fresh, (struct engine_options){ 0 });
    for (unsigned i = 0; i < N; i++)
        give_prompt(&jobs[i], e, 5, PROMPT, 8);
    run_together(jobs, N);
    struct scheduler_load load;
    scheduler_load(engine_scheduler(e), &load);
    /* A prompt's last row counts as decoding where a step had no room for it, so all are counted.
     */
    size_t rows = PROMPT + (N - 1) * (PROMPT - 48);
    for (unsigned i = 0; i < N; i++)
        rows += jobs[i].answer.n - 1;
    ck_assert_uint_eq(load.prefill_rows + load.decode_rows, rows);
    for (unsigned i = 0; i < N; i++) {
        assert_same(&fresh, &jobs[i], "computed once", i);
        job_free(&jobs[i]);
    }
    job_free(&fresh);
    engine_close(e);
}
END_TEST

START_TEST(many_prompts_in_little_memory_evict_each_other_and_keep_their_bits)
{
    struct engine *e =
        open_with((struct engine_options){ .max_context = 80, .kv_memory = 12 * 4096 });
    struct scheduler_load load;
    for (unsigned i = 0; i < 24; i++) {
        struct job fresh, j;
        give_prompt(&fresh, e, i % 5, 50, 4);
        give_prompt(&j, e, i % 5, 50, 4);
        job_run(&j);
        run_fresh(&fresh, (struct engine_options){ 0 });
        assert_same(&fresh, &j, "after evictions", i);
        job_free(&fresh);
        job_free(&j);
    }
    scheduler_load(engine_scheduler(e), &load);
    ck_assert_uint_gt(load.evictions, 10);
    ck_assert_uint_eq(load.preemptions, 0); /* what is only cached never keeps anybody out */
    assert_nothing_held(e);
    engine_close(e);
}
END_TEST

/* ---- who shares ------------------------------------------------------------------------------ */

START_TEST(only_equal_salts_media_and_adapters_in_one_version_share)
{
    struct engine *e = open_with((struct engine_options){ .hook = &number_adapters });
    uint64_t version = 1;
    static const struct prefix_media one = { 3, { 1 } }, two = { 3, { 2 } };
    const struct scheduler_request differences[] = {
        { 0 },
        { .salt = "alice", .n_salt = 5 },
        { .salt = "bob", .n_salt = 3 },
        { .media = &one, .n_media = 1 },
        { .media = &two, .n_media = 1 },
        { .adapters = &adapter_numbers()[1], .n_adapters = 1, .adapter_versions = &version },
        { .adapters = &adapter_numbers()[2], .n_adapters = 1, .adapter_versions = &version },
        { .adapters = &adapter_numbers()[1], .n_adapters = 2 },
    };
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof differences / sizeof differences[0]; i++) {
            const struct scheduler_request *d = &differences[i];
            struct job j;
            uint64_t versions[2] = { 1, 1 };
            give_prompt(&j, e, 1, 24, 2);
            j.request.salt = d->salt;
            j.request.n_salt = d->n_salt;
            j.request.media = d->media;
            j.request.n_media = d->n_media;
            j.request.adapters = d->adapters;
            j.request.n_adapters = d->n_adapters;
            j.request.adapter_versions = versions;
            ck_assert_msg(hits(&j) == (round ? 16 : 0), "round %d, %zu: %zu", round, i,
                          (size_t)j.answer.stats.tokens_cached);
            job_free(&j);
        }
    engine_close(e);
}
END_TEST

START_TEST(an_adapter_loaded_where_another_lay_finds_nothing_of_it)
{
    struct engine *e = open_with((struct engine_options){ .hook = &number_adapters });
    for (uint64_t version = 1; version < 4; version++) {
        struct job j;
        give_prompt(&j, e, 1, 24, 2);
        j.request.adapters = &adapter_numbers()[1]; /* the same address each time */
        j.request.adapter_versions = &version;
        j.request.n_adapters = 1;
        ck_assert_uint_eq(hits(&j), 0);
        job_free(&j);
        ck_assert_uint_eq(hits(&j), 16);
        job_free(&j);
        if (version < 3)
            continue;
        scheduler_forget(engine_scheduler(e), adapter_numbers()[1]);
        struct scheduler_load load;
        scheduler_load(engine_scheduler(e), &load);
        ck_assert_uint_eq(load.kv_blocks_cached, 0); /* of any version */
        ck_assert_uint_eq(hits(&j), 0);              /* even in the same one */
        job_free(&j);
    }
    engine_close(e);
}
END_TEST

START_TEST(short_and_long_factors_share_nothing)
{
    struct engine *e = open_with((struct engine_options){ .max_context = 128 });
    struct job j, fresh;
    give_prompt(&j, e, 1, 30, 12); /* crosses 32: its blocks now have the long factors */
    give_prompt(&fresh, e, 1, 30, 12);
    ck_assert_uint_eq(hits(&j), 0);
    run_fresh(&fresh, (struct engine_options){ 0 });
    assert_same(&fresh, &j, "crossing", 1);
    struct job longer, shorter;
    give_prompt(&longer, e, 1, 30, 2);
    for (size_t i = 0; i < 12; i++)
        longer.prompt[30 + i] = j.answer.tokens[i].id;
    longer.request.n_prompt = 42;
    ck_assert_uint_eq(hits(&longer), 32); /* what was computed after the crossing */
    give_prompt(&shorter, e, 1, 17, 2);
    ck_assert_uint_eq(hits(&shorter), 16); /* and before */
    struct job other;
    give_prompt(&other, e, 2, 40, 2);
    ck_assert_uint_eq(hits(&other), 0); /* long from the start ... */
    job_free(&other);
    give_prompt(&other, e, 2, 20, 2);
    ck_assert_uint_eq(hits(&other), 0); /* ... is no beginning of a short one */
    job_free(&other);
    job_free(&longer);
    job_free(&shorter);
    job_free(&j);
    job_free(&fresh);
    engine_close(e);
}
END_TEST

/* ---- nobody reads what others wrote ---------------------------------------------------------- */

struct bare {
    struct forward_model model;
    struct tokenizer *tokenizer;
    struct scheduler *scheduler;
};

/* The scheduler over a KV cache that the test can write to. */
static void bare_open(struct bare *b)
{
    struct airlock_error err = { 0 };
    const char *dir = model_dir("longrope_bf16_gqa3");
    ck_assert_int_eq(forward_model_open(&b->model, dir, 64, 128, 0, 2, NULL, &err), 0);
    b->tokenizer = tokenizer_open(dir, &err);
    ck_assert_ptr_nonnull(b->tokenizer);
    struct scheduler_options o = { .forward = { .config = &b->model.config,
                                                .weights = &b->model.weights,
                                                .ops = b->model.ops,
                                                .dev = b->model.dev },
                                   .kv = &b->model.kv,
                                   .tokenizer = b->tokenizer,
                                   .max_context = 128,
                                   .max_batch = 8,
                                   .prefill_chunk = 8 };
    b->scheduler = scheduler_start(&o, &err);
    ck_assert_ptr_nonnull(b->scheduler);
}

static void bare_close(struct bare *b)
{
    scheduler_stop(b->scheduler);
    tokenizer_close(b->tokenizer);
    forward_model_close(&b->model);
}

/* Makes every key and value that is there NaN: whoever reads one, with whatever weight, shows it.
 */
static void poison(struct bare *b)
{
    struct scheduler_load load;
    scheduler_load(b->scheduler, &load); /* nobody runs, and takes the lock */
    ck_assert_uint_eq(load.running + load.waiting, 0);
    struct ops_heads heads = phi4_heads(&b->model.config);
    size_t numbers = load.kv_blocks * OPS_KV_BLOCK * heads.n_kv_heads * heads.head_dim;
    for (size_t l = 0; l < b->model.kv.n_layers; l++) {
        ck_assert_int_eq(b->model.kv.layers[l].dtype, OPS_BF16);
        memset(b->model.kv.layers[l].k, 0xff, numbers * 2); /* 0xffff is a NaN */
        memset(b->model.kv.layers[l].v, 0xff, numbers * 2);
    }
}

static void *bare_run(void *arg)
{
    struct job *j = arg;
    struct scheduler_news news = { 0 };
    struct scheduler *s = (void *)j->engine; /* a job's engine, here only its scheduler */
    struct scheduler_ticket *t = scheduler_submit(s, &j->request, &j->answer.err);
    ck_assert_ptr_nonnull(t);
    while (!news.done) {
        scheduler_take(t, 200, &news);
        for (size_t i = 0; i < news.n_tokens && j->answer.n < MAX_TOKENS; i++)
            j->answer.tokens[j->answer.n++] = news.tokens[i];
    }
    j->answer.status = scheduler_result(t, &j->answer.stats, &j->answer.err);
    scheduler_release(t);
    return NULL;
}

static void bare_job(struct job *j, struct bare *b, unsigned number, const char *salt)
{
    give_prompt(j, (void *)b->scheduler, number, 18 + number * 7 % 40, 20);
    j->request.salt = salt;
    j->request.n_salt = strlen(salt);
}

static void wait_idle(struct bare *b)
{
    struct scheduler_load load = { .running = 1 };
    while (load.running + load.waiting > 0) {
        scheduler_load(b->scheduler, &load);
        usleep(1000);
    }
}

static void assert_bits(const struct job *want, const struct job *got, const char *what)
{
    ck_assert_msg(got->answer.status == 0, "%s: %s", what, got->answer.err.text);
    ck_assert_uint_eq(want->answer.n, got->answer.n);
    ck_assert_msg(memcmp(want->answer.tokens, got->answer.tokens,
                         want->answer.n * sizeof want->answer.tokens[0]) == 0,
                  "%s: other bits", what);
}

START_TEST(no_request_reads_a_key_or_value_that_is_not_its_own)
{
    enum { N = 6 };
    struct bare b;
    struct job *clean = calloc(N, sizeof *clean), *j = calloc(N, sizeof *j);
    bare_open(&b);
    for (unsigned i = 0; i < N; i++) { /* memory as the device gives it: zeroed */
        bare_job(&clean[i], &b, i, "alice");
        bare_run(&clean[i]);
        ck_assert_int_eq(clean[i].answer.status, 0);
    }
    wait_idle(&b);
    poison(&b);
    for (unsigned i = 0; i < N; i++) { /* bob asks what alice asked: one after the other ... */
        bare_job(&j[i], &b, i, "bob");
        bare_run(&j[i]);
        ck_assert_uint_eq(j[i].answer.stats.tokens_cached, 0);
        assert_bits(&clean[i], &j[i], "in poisoned memory");
    }
    wait_idle(&b);
    poison(&b);
    for (unsigned i = 0; i < N; i++)
        bare_job(&j[i], &b, i, "carol");
    for (unsigned i = 0; i < N; i++) /* ... carol together, in blocks of alice and bob */
        ck_assert_int_eq(pthread_create(&j[i].thread, NULL, bare_run, &j[i]), 0);
    for (unsigned i = 0; i < N; i++)
        pthread_join(j[i].thread, NULL);
    for (unsigned i = 0; i < N; i++)
        assert_bits(&clean[i], &j[i], "together in poisoned memory");
    /* The poison works: carol finds her own prefix, and it is poison now. */
    wait_idle(&b);
    poison(&b);
    bare_job(&j[0], &b, 0, "carol");
    bare_run(&j[0]);
    ck_assert_int_eq(j[0].answer.status, -1);
    ck_assert_ptr_nonnull(strstr(j[0].answer.err.text, "finite"));
    free(clean);
    free(j);
    bare_close(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("prefixes");
    TCase *t = tcase_create("prefixes");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, an_answer_has_the_same_bits_with_a_prefix_found_or_computed);
    tcase_add_test(t, a_follow_up_finds_question_and_answer_and_has_the_same_bits);
    tcase_add_test(t, an_answer_has_the_same_bits_among_sixteen_with_other_adapters);
    tcase_add_test(t,
                   an_answer_has_the_same_bits_among_adapters_in_chunks_with_hits_and_preemption);
    tcase_add_test(t, a_preempted_request_goes_on_from_the_blocks_that_are_left);
    tcase_add_test(t, what_several_ask_at_once_is_computed_once);
    tcase_add_test(t, many_prompts_in_little_memory_evict_each_other_and_keep_their_bits);
    tcase_add_test(t, only_equal_salts_media_and_adapters_in_one_version_share);
    tcase_add_test(t, an_adapter_loaded_where_another_lay_finds_nothing_of_it);
    tcase_add_test(t, short_and_long_factors_share_nothing);
    tcase_add_test(t, no_request_reads_a_key_or_value_that_is_not_its_own);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
