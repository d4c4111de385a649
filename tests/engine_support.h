/* engine_support.h - an engine on a tiny model, and requests that run in threads of their own and
 * are compared bit by bit. */
#ifndef AIRLOCK_TESTS_ENGINE_SUPPORT_H
#define AIRLOCK_TESTS_ENGINE_SUPPORT_H

#include "engine/engine.h"

#include <check.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TOKENS = 64, TOP = 20 };

struct answer {
    size_t n;
    struct scheduler_token tokens[MAX_TOKENS];
    struct bytes text;
    struct scheduler_stats stats;
    struct airlock_error err;
    int status;
};

static inline const char *model_dir(const char *name)
{
    static char path[512];
    const char *srcdir = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/tests/golden/logits/%s", srcdir ? srcdir : ".", name);
    return path;
}

static inline struct engine *open_with(struct engine_options o)
{
    struct airlock_error err = { 0 };
    o.dir = o.dir ? o.dir : model_dir("longrope_bf16_gqa3");
    o.ops = ops_cpu();
    struct engine *e = engine_open(&o, &err);
    ck_assert_msg(e != NULL, "%s", err.text);
    return e;
}

/* ---- requests -------------------------------------------------------------------------------- */

struct job {
    struct engine *engine;
    int32_t prompt[64];
    struct scheduler_request request;
    struct answer answer;
    pthread_t thread;
};

/* A prompt and length of its own for each number; some grow beyond 32, where the factors change. */
static inline void job_init(struct job *j, struct engine *e, unsigned number)
{
    memset(j, 0, sizeof *j);
    j->engine = e;
    unsigned state = number * 7919 + 17;
    size_t n = 3 + number * 11 % 38;
    for (size_t i = 0; i < n; i++) {
        state = state * 1103515245 + 12345;
        j->prompt[i] = (int32_t)(state >> 16) % 264;
    }
    j->request = (struct scheduler_request){
        .prompt = j->prompt,
        .n_prompt = n,
        .sampling = { .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = number },
        .max_new_tokens = 6 + number % 20,
        .logprobs = TOP
    };
}

static inline void *job_run(void *arg)
{
    struct job *j = arg;
    struct answer *a = &j->answer;
    struct scheduler_news news = { 0 };
    a->text = (struct bytes)BYTES_INIT(1 << 16);
    struct scheduler_ticket *t =
        scheduler_submit(engine_scheduler(j->engine), &j->request, &a->err);
    if (!t) {
        a->status = -1;
        return NULL;
    }
    while (!news.done) {
        scheduler_take(t, 200, &news);
        for (size_t i = 0; i < news.n_tokens && a->n < MAX_TOKENS; i++)
            a->tokens[a->n++] = news.tokens[i];
        if (news.size > 0)
            bytes_add(&a->text, news.text, news.size);
    }
    a->status = scheduler_result(t, &a->stats, &a->err);
    scheduler_release(t);
    return NULL;
}

static inline void job_free(struct job *j)
{
    bytes_free(&j->answer.text);
}

static inline void run_together(struct job *jobs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]), 0);
    for (size_t i = 0; i < n; i++)
        pthread_join(jobs[i].thread, NULL);
}

static inline void assert_same(const struct job *a, const struct job *b, const char *what,
                               unsigned number)
{
    ck_assert_msg(a->answer.status == 0 && b->answer.status == 0, "%s: request %u: %s %s", what,
                  number, a->answer.err.text, b->answer.err.text);
    ck_assert_uint_eq(a->answer.n, b->answer.n);
    for (size_t i = 0; i < a->answer.n; i++)
        ck_assert_msg(
            memcmp(&a->answer.tokens[i], &b->answer.tokens[i], sizeof a->answer.tokens[i]) == 0,
            "%s: request %u differs at token %zu: %d (%.9g) and %d (%.9g)", what, number, i,
            a->answer.tokens[i].id, (double)a->answer.tokens[i].logprob, b->answer.tokens[i].id,
            (double)b->answer.tokens[i].logprob);
    ck_assert_uint_eq(a->answer.text.size, b->answer.text.size);
}

static inline void assert_nothing_held(struct engine *e)
{
    struct scheduler_load load = { 0 };
    for (int i = 0; i < 500; i++) {
        scheduler_load(engine_scheduler(e), &load);
        if (load.running + load.waiting == 0)
            break;
        usleep(10000);
    }
    ck_assert_uint_eq(load.running + load.waiting, 0);
    ck_assert_uint_eq(load.kv_blocks_free + load.kv_blocks_cached, load.kv_blocks);
}

/* ---- adapters as the engine sees them ---- */

enum { NUMBERS = 20, FAILING = 13, HOLDING = 19 };

static sem_t holds, go_on; /* see run_at_once() */

/* A hook whose adapters are numbers: adds the number times 0.01 to the rows of every o_proj; the
 * number FAILING fails, and HOLDING makes the engine's thread wait. */
static inline int number_hook(void *ctx, size_t site, const void *x, void *y, size_t rows,
                              const struct linear_segment *segments, size_t n,
                              struct airlock_error *err)
{
    enum { HIDDEN = 96 };
    (void)ctx, (void)x, (void)rows;
    for (size_t s = 0; s < n; s++) {
        size_t number = (size_t)(uintptr_t)segments[s].adapter;
        if (number == HOLDING) {
            if (site == 0) {
                sem_post(&holds);
                sem_wait(&go_on);
            }
            continue;
        }
        if (number == FAILING)
            return airlock_error_set(err, AIRLOCK_E_INTERNAL, "adapter 13");
        float *row = (float *)y + segments[s].first_row * HIDDEN;
        for (size_t i = 0; site % LINEAR_SITES == LINEAR_O && i < segments[s].rows * HIDDEN; i++)
            row[i] += 0.01f * (float)number * (float)(i % HIDDEN);
    }
    return 0;
}

static const struct linear_hook number_adapters = { .apply = number_hook };

/* numbers[n] is adapter n. */
static inline const void *const *adapter_numbers(void)
{
    static const void *numbers[NUMBERS];
    for (size_t n = 0; n < NUMBERS; n++)
        numbers[n] = (void *)(uintptr_t)n;
    return numbers;
}

/* Runs the jobs so that all of them wait before the first is admitted; the engine has
 * number_adapters. */
static inline void run_at_once(struct engine *e, struct job *jobs, size_t n)
{
    struct job holder;
    struct scheduler_load load = { 0 };
    sem_init(&holds, 0, 0);
    sem_init(&go_on, 0, 0);
    job_init(&holder, e, 0); /* 3 tokens */
    holder.request.max_new_tokens = 1;
    holder.request.adapters = &adapter_numbers()[HOLDING];
    holder.request.n_adapters = 1;
    ck_assert_int_eq(pthread_create(&holder.thread, NULL, job_run, &holder), 0);
    sem_wait(&holds);
    for (size_t i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&jobs[i].thread, NULL, job_run, &jobs[i]), 0);
    while (load.waiting < n) {
        usleep(500);
        scheduler_load(engine_scheduler(e), &load);
    }
    sem_post(&go_on);
    for (size_t i = 0; i < n; i++)
        pthread_join(jobs[i].thread, NULL);
    pthread_join(holder.thread, NULL);
    job_free(&holder);
}

#endif
