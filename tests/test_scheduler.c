/* test_scheduler.c - who is computed when: cancellation, deadlines, turns of callers, shares of a
 * step, and the counters. */
#include "engine_support.h"

#include "common/io.h"

#include <semaphore.h>

/* ---- cancellation ---------------------------------------------------------------------------- */

/* A hook that stops the engine's thread in the first step with an adapter until it may go on. */
static sem_t entered;
static bool was_entered;

static int gate_hook(void *ctx, size_t site, const void *x, void *y, size_t rows,
                     const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    (void)ctx, (void)site, (void)x, (void)y, (void)rows, (void)segments, (void)n, (void)err;
    if (!was_entered) {
        was_entered = true;
        sem_post(&entered);
        sem_wait(&go_on);
    }
    return 0;
}

START_TEST(a_cancelled_request_gives_its_blocks_back_and_others_go_on)
{
    static const struct linear_hook gate = { .apply = gate_hook };
    const void *adapter = &gate;
    sem_init(&entered, 0, 0);
    sem_init(&go_on, 0, 0);
    struct engine *e = open_with((struct engine_options){ .hook = &gate });
    struct job gone, other, alone;
    struct airlock_error err;
    struct scheduler_news news = { 0 };
    struct scheduler_stats stats;
    job_init(&alone, e, 4);
    job_run(&alone);
    job_init(&gone, e, 8);
    gone.request.max_new_tokens = 0;
    gone.request.adapters = &adapter;
    gone.request.n_adapters = 1;
    struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &gone.request, &err);
    ck_assert_ptr_nonnull(t);
    sem_wait(&entered); /* its prompt is being read */
    scheduler_cancel(t);
    job_init(&other, e, 4);
    ck_assert_int_eq(pthread_create(&other.thread, NULL, job_run, &other), 0);
    sem_post(&go_on);
    while (!news.done)
        scheduler_take(t, 1000, &news);
    ck_assert_int_eq(scheduler_result(t, &stats, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_CANCELLED);
    ck_assert_uint_eq(stats.tokens_out, 0); /* the step itself was given up */
    scheduler_release(t);
    pthread_join(other.thread, NULL);
    assert_same(&alone, &other, "beside a cancelled one", 4);
    assert_nothing_held(e);
    job_free(&alone);
    job_free(&other);
    engine_close(e);
}
END_TEST

START_TEST(a_request_whose_deadline_has_passed_ends)
{
    struct engine *e = open_with((struct engine_options){ 0 });
    struct job j;
    job_init(&j, e, 8);
    j.request.deadline_ns = io_now_ns() - 1;
    job_run(&j);
    ck_assert_int_eq(j.answer.status, -1);
    ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_CANCELLED);
    assert_nothing_held(e);
    engine_close(e);
}
END_TEST

static void *cancel_at_random(void *arg)
{
    struct job *j = arg;
    unsigned state = (unsigned)j->request.sampling.seed * 2654435761u;
    struct scheduler_news news = { 0 };
    struct scheduler_ticket *t =
        scheduler_submit(engine_scheduler(j->engine), &j->request, &j->answer.err);
    ck_assert_ptr_nonnull(t);
    for (unsigned i = 0; !news.done && i < state % 9; i++)
        scheduler_take(t, state % 3, &news);
    if (state % 2)
        scheduler_cancel(t);
    scheduler_release(t); /* in the middle, unless it was done */
    return NULL;
}

START_TEST(a_hundred_requests_left_at_random_leak_nothing)
{
    struct engine *e = open_with(
        (struct engine_options){ .max_context = 72, .kv_memory = 9 * 4096, .max_batch = 5 });
    struct job *jobs = calloc(100, sizeof *jobs);
    for (unsigned i = 0; i < 100; i++) {
        job_init(&jobs[i], e, i);
        ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, cancel_at_random, &jobs[i]), 0);
    }
    for (unsigned i = 0; i < 100; i++)
        pthread_join(jobs[i].thread, NULL);
    assert_nothing_held(e);
    struct job last;
    job_init(&last, e, 7);
    job_run(&last);
    ck_assert_int_eq(last.answer.status, 0);
    job_free(&last);
    free(jobs);
    engine_close(e);
}
END_TEST

START_TEST(closing_ends_what_runs)
{
    struct engine *e = open_with((struct engine_options){ 0 });
    struct job j;
    struct airlock_error err;
    for (unsigned i = 0; i < 5; i++) {
        job_init(&j, e, i);
        struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &j.request, &err);
        ck_assert_ptr_nonnull(t);
        scheduler_release(t);
    }
    engine_close(e);
}
END_TEST

START_TEST(an_adapter_is_forgotten_when_no_step_uses_it_any_more)
{
    struct engine *e = open_with((struct engine_options){ .hook = &number_adapters });
    struct job j;
    struct airlock_error err;
    for (unsigned i = 0; i < 20; i++) {
        job_init(&j, e, i);
        j.request.adapters = &adapter_numbers()[1];
        j.request.n_adapters = 1;
        struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &j.request, &err);
        ck_assert_ptr_nonnull(t);
        if (i % 2)
            usleep(500);
        scheduler_release(t);
        scheduler_forget(engine_scheduler(e), j.request.adapters[0]);
        struct scheduler_load load;
        scheduler_load(engine_scheduler(e), &load);
        ck_assert_uint_eq(load.running + load.waiting, 0);
    }
    engine_close(e);
}
END_TEST

/* ---- a hook that sees every step ---------------------------------------------------------------
 */

/* What was computed, per adapter number. */
struct watch {
    size_t steps;               /* of all */
    size_t seen[NUMBERS];       /* steps with rows of it */
    size_t rows[NUMBERS][256];  /* in the step of that number */
    size_t first_seen[NUMBERS]; /* the step's number, from 1 */
    size_t stop_at;             /* the engine's thread waits in this step */
};

static struct watch watch;

static int watch_hook(void *ctx, size_t site, const void *x, void *y, size_t rows,
                      const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    (void)ctx, (void)x, (void)y, (void)rows, (void)err;
    if (site != 0)
        return 0;
    watch.steps++;
    for (size_t i = 0; i < n; i++) {
        size_t number = (size_t)(uintptr_t)segments[i].adapter;
        if (watch.rows[number][watch.steps % 256] == 0)
            watch.seen[number]++;
        watch.rows[number][watch.steps % 256] += segments[i].rows;
        if (!watch.first_seen[number])
            watch.first_seen[number] = watch.steps;
    }
    if (watch.steps == watch.stop_at) {
        sem_post(&entered);
        sem_wait(&go_on);
    }
    return 0;
}

static const struct linear_hook watching = { .apply = watch_hook };

/* The engine's thread will stop in its first step, until go_on. */
static struct engine *open_watched(struct engine_options o)
{
    memset(&watch, 0, sizeof watch);
    sem_init(&entered, 0, 0);
    sem_init(&go_on, 0, 0);
    watch.stop_at = 1;
    o.hook = &watching;
    return open_with(o);
}

static struct scheduler_ticket *submit(struct engine *e, struct job *j, size_t adapter,
                                       const char *salt)
{
    struct airlock_error err = { 0 };
    j->request.adapters = &adapter_numbers()[adapter];
    j->request.n_adapters = 1;
    j->request.salt = salt;
    j->request.n_salt = strlen(salt);
    struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &j->request, &err);
    ck_assert_msg(t != NULL, "%s", err.text);
    return t;
}

static void wait_for(struct scheduler_ticket *t)
{
    struct scheduler_news news = { 0 };
    while (!news.done)
        scheduler_take(t, 1000, &news);
}

/* ---- prefill beside others ------------------------------------------------------------------- */

START_TEST(a_long_prompt_that_is_cancelled_is_in_no_step_after_the_present_one)
{
    struct engine *e =
        open_watched((struct engine_options){ .max_context = 128, .prefill_chunk = 4 });
    struct job answering, gone;
    struct airlock_error err;
    struct scheduler_stats stats;
    job_init(&answering, e, 5);
    answering.request.max_new_tokens = 40;
    struct scheduler_ticket *other = submit(e, &answering, 1, "");
    sem_wait(&entered);
    job_init(&gone, e, 3);
    for (size_t i = 0; i < 64; i++)
        gone.prompt[i] = (int32_t)i;
    gone.request.n_prompt = 64;
    struct scheduler_ticket *t = submit(e, &gone, 2, "");
    watch.stop_at = 4; /* 4 rows a step beside the answer: its prompt would take 16 steps */
    sem_post(&go_on);
    sem_wait(&entered);
    ck_assert_uint_gt(watch.seen[2], 0);
    ck_assert_uint_eq(watch.rows[1][4], 1);
    ck_assert_uint_eq(watch.rows[2][4], 4);
    size_t before = watch.seen[2];
    scheduler_cancel(t); /* in the middle of the step */
    sem_post(&go_on);
    wait_for(t);
    ck_assert_int_eq(scheduler_result(t, &stats, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_CANCELLED);
    wait_for(other);
    ck_assert_int_eq(scheduler_result(other, &stats, &err), 0);
    ck_assert_uint_eq(watch.seen[2], before); /* no further step computed a row of it */
    ck_assert_uint_gt(watch.seen[1], before + 20);
    scheduler_release(t);
    scheduler_release(other);
    assert_nothing_held(e);
    engine_close(e);
}
END_TEST

START_TEST(a_short_prompt_is_read_in_one_step_beside_a_long_one_that_takes_no_more_rows)
{
    struct engine *e =
        open_watched((struct engine_options){ .max_context = 128, .prefill_chunk = 8 });
    struct job slow, quick;
    job_init(&slow, e, 3);
    for (size_t i = 0; i < 64; i++)
        slow.prompt[i] = (int32_t)i;
    slow.request.n_prompt = 64;
    job_init(&quick, e, 4);
    quick.request.n_prompt = 6;
    struct scheduler_ticket *t0 = submit(e, &slow, 1, ""); /* the first step: 32 rows of it */
    sem_wait(&entered);
    struct scheduler_ticket *t1 = submit(e, &quick, 2, "");
    sem_post(&go_on);
    wait_for(t1);
    ck_assert_uint_eq(watch.rows[1][1], 32);
    ck_assert_uint_eq(watch.first_seen[2], 2);
    ck_assert_uint_eq(watch.rows[2][2], 6);
    ck_assert_uint_eq(watch.rows[1][2], 6);
    wait_for(t0);
    scheduler_release(t0);
    scheduler_release(t1);
    engine_close(e);
}
END_TEST

/* ---- callers take turns ---------------------------------------------------------------------- */

START_TEST(a_hundred_requests_of_one_caller_do_not_hold_up_another_callers_one)
{
    enum { GREEDY = 100 };
    struct engine *e = open_watched((struct engine_options){ .max_batch = 1 });
    struct job j;
    struct scheduler_ticket *tickets[GREEDY + 2];
    job_init(&j, e, 2);
    j.request.max_new_tokens = 1;
    tickets[0] = submit(e, &j, 1, "greedy");
    sem_wait(&entered); /* it runs; all others queue up */
    for (size_t i = 1; i <= GREEDY; i++)
        tickets[i] = submit(e, &j, 1, "greedy");
    tickets[GREEDY + 1] = submit(e, &j, 2, "modest");
    struct scheduler_load load;
    scheduler_load(engine_scheduler(e), &load);
    ck_assert_uint_eq(load.waiting, GREEDY + 1);
    ck_assert_uint_eq(load.running, 1);
    sem_post(&go_on);
    wait_for(tickets[GREEDY + 1]);
    for (size_t i = 0; i <= GREEDY; i++)
        wait_for(tickets[i]);
    /* One of the greedy was ahead; each takes one step when nothing else runs. */
    ck_assert_uint_le(watch.first_seen[2], 3);
    ck_assert_uint_eq(watch.steps, GREEDY + 2);
    for (size_t i = 0; i <= GREEDY + 1; i++)
        scheduler_release(tickets[i]);
    engine_close(e);
}
END_TEST

/* ---- counters -------------------------------------------------------------------------------- */

static void assert_histogram(const struct scheduler_histogram *h, uint64_t count)
{
    ck_assert_uint_eq(h->count, count);
    ck_assert_uint_gt(h->n_bounds, 5);
    for (size_t i = 0; i < h->n_bounds; i++) {
        ck_assert_uint_le(h->buckets[i], h->count);
        if (i > 0) {
            ck_assert(h->bounds[i] > h->bounds[i - 1]);
            ck_assert_uint_ge(h->buckets[i], h->buckets[i - 1]);
        }
    }
}

START_TEST(steps_rows_and_hits_are_counted)
{
    struct engine *e = open_with((struct engine_options){ 0 });
    struct job j;
    struct scheduler_load load;
    job_init(&j, e, 1); /* 14 tokens, 7 new: below the change of factors */
    for (size_t i = 14; i < 20; i++)
        j.prompt[i] = (int32_t)i;
    j.request.n_prompt = 20;
    j.request.max_new_tokens = 5;
    job_run(&j);
    ck_assert_uint_eq(j.answer.stats.tokens_cached, 0);
    scheduler_load(engine_scheduler(e), &load);
    ck_assert_uint_eq(load.steps, 5);
    ck_assert_uint_eq(load.prefill_rows, 20);
    ck_assert_uint_eq(load.decode_rows, 4);
    ck_assert_uint_eq(load.prefix_queried, 20);
    ck_assert_uint_eq(load.prefix_hits, 0);
    ck_assert_uint_eq(load.kv_blocks_cached, 1); /* 24 tokens were computed: one full block */
    assert_histogram(&load.step_seconds, 5);
    assert_histogram(&load.batch_rows, 5);
    ck_assert(load.step_seconds.sum > 0);
    ck_assert(load.batch_rows.sum == 24);
    ck_assert_uint_eq(load.batch_rows.buckets[0], 4); /* steps of one row */
    job_free(&j);
    job_run(&j);
    ck_assert_uint_eq(j.answer.stats.tokens_cached, 16);
    scheduler_load(engine_scheduler(e), &load);
    ck_assert_uint_eq(load.prefill_rows, 20 + 4);
    ck_assert_uint_eq(load.prefix_queried, 40);
    ck_assert_uint_eq(load.prefix_hits, 16);
    job_free(&j);
    engine_close(e);
}
END_TEST

START_TEST(a_salt_beyond_its_limit_is_refused)
{
    static const char salt[SCHEDULER_MAX_SALT + 1];
    struct engine *e = open_with((struct engine_options){ 0 });
    struct job j;
    job_init(&j, e, 1);
    j.request.salt = salt;
    j.request.n_salt = sizeof salt;
    job_run(&j);
    ck_assert_int_eq(j.answer.err.code, AIRLOCK_E_REQUEST);
    ck_assert_ptr_nonnull(strstr(j.answer.err.text, "cache_salt"));
    j.request.n_salt--;
    job_run(&j);
    ck_assert_int_eq(j.answer.status, 0);
    job_free(&j);
    engine_close(e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scheduler");
    TCase *t = tcase_create("scheduler");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, a_cancelled_request_gives_its_blocks_back_and_others_go_on);
    tcase_add_test(t, a_request_whose_deadline_has_passed_ends);
    tcase_add_test(t, a_hundred_requests_left_at_random_leak_nothing);
    tcase_add_test(t, closing_ends_what_runs);
    tcase_add_test(t, an_adapter_is_forgotten_when_no_step_uses_it_any_more);
    tcase_add_test(t, a_long_prompt_that_is_cancelled_is_in_no_step_after_the_present_one);
    tcase_add_test(t, a_short_prompt_is_read_in_one_step_beside_a_long_one_that_takes_no_more_rows);
    tcase_add_test(t, a_hundred_requests_of_one_caller_do_not_hold_up_another_callers_one);
    tcase_add_test(t, steps_rows_and_hits_are_counted);
    tcase_add_test(t, a_salt_beyond_its_limit_is_refused);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
