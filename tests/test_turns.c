/* test_turns.c - turns go round in the order of asking, and the engine's steps are such turns. */
#include "engine_support.h"

#include "engine/turns.h"

#include <stdatomic.h>

static struct turns turns;

static void wait_until_waiting(struct turns *t, size_t n)
{
    for (int i = 0; i < 5000 && turns_waiting(t) != n; i++)
        usleep(1000);
    ck_assert_uint_eq(turns_waiting(t), n);
}

/* Takes turns, and notes its name at each. */
struct worker {
    pthread_t thread;
    char name;
    size_t turns;
};

static char order[64];
static size_t n_order; /* under the turn */

static void *work(void *arg)
{
    const struct worker *w = arg;
    for (size_t i = 0; i < w->turns; i++) {
        turns_take(&turns);
        order[n_order++] = w->name;
        /* the others want one, too: without this a thread could be done before they ask */
        while (n_order < 9 && turns_waiting(&turns) < 2)
            usleep(100);
        turns_give(&turns);
    }
    return NULL;
}

START_TEST(nobody_waits_for_two_turns_of_another)
{
    struct worker w[] = { { .name = 'a', .turns = 10 },
                          { .name = 'b', .turns = 3 },
                          { .name = 'c', .turns = 4 } };
    turns_init(&turns);
    n_order = 0;
    memset(order, 0, sizeof order);
    turns_take(&turns);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_int_eq(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
        wait_until_waiting(&turns, i + 1);
    }
    turns_give(&turns);
    for (size_t i = 0; i < 3; i++)
        pthread_join(w[i].thread, NULL);
    ck_assert_msg(strncmp(order, "abcabcabc", 9) == 0, "%s", order);
    ck_assert_uint_eq(n_order, 17);
    turns_destroy(&turns);
}
END_TEST

static bool flag_is_up(void *ctx)
{
    return *(atomic_bool *)ctx;
}

struct impatient {
    pthread_t thread;
    atomic_bool up;
    int status;
};

static void *wait_impatiently(void *arg)
{
    struct impatient *i = arg;
    i->status = turns_take_unless(&turns, flag_is_up, &i->up);
    return NULL;
}

START_TEST(who_gives_up_leaves_the_queue_and_holds_nobody_up)
{
    struct impatient i[3] = { { .status = 7 }, { .status = 7 }, { .status = 7 } };
    turns_init(&turns);
    turns_take(&turns);
    for (size_t k = 0; k < 3; k++) {
        ck_assert_int_eq(pthread_create(&i[k].thread, NULL, wait_impatiently, &i[k]), 0);
        wait_until_waiting(&turns, k + 1);
    }
    atomic_store(&i[0].up, true); /* the first, and the last */
    atomic_store(&i[2].up, true);
    pthread_join(i[0].thread, NULL);
    pthread_join(i[2].thread, NULL);
    ck_assert(i[0].status == -1 && i[2].status == -1);
    ck_assert_uint_eq(turns_waiting(&turns), 1);
    turns_give(&turns);
    pthread_join(i[1].thread, NULL);
    ck_assert_int_eq(i[1].status, 0);
    turns_give(&turns);
    turns_take(&turns); /* it is free */
    turns_give(&turns);
    turns_destroy(&turns);
}
END_TEST

static uint64_t steps_of(struct engine *e)
{
    struct scheduler_load load;
    scheduler_load(engine_scheduler(e), &load);
    return load.steps;
}

/* Two who take every second turn of twelve, with the engine's between them. */
enum { OBSERVED = 12 };

struct observers {
    struct engine *engine;
    atomic_uint
        next; /* who may ask for a turn: only once the engine has asked, so that it comes first */
    uint64_t steps[OBSERVED];
};

struct observer {
    pthread_t thread;
    struct observers *all;
    unsigned first;
};

static void *observe(void *arg)
{
    const struct observer *o = arg;
    struct turns *t = engine_turns(o->all->engine);
    for (unsigned i = o->first; i < OBSERVED; i += 2) {
        while (atomic_load(&o->all->next) != i)
            usleep(100);
        turns_take(t);
        wait_until_waiting(t, 1); /* the engine stands behind us */
        o->all->steps[i] = steps_of(o->all->engine);
        atomic_store(&o->all->next, i + 1);
        if (i + 1 < OBSERVED)
            wait_until_waiting(t, 2); /* and the other one behind the engine */
        turns_give(t);
    }
    return NULL;
}

START_TEST(the_engine_computes_only_in_its_turn_and_once_in_each)
{
    struct engine *e = open_with((struct engine_options){ 0 });
    struct turns *t = engine_turns(e);
    struct observers all = { .engine = e };
    struct observer o[2] = { { .all = &all, .first = 0 }, { .all = &all, .first = 1 } };
    struct job j, alone;
    job_init(&alone, e, 9);
    job_run(&alone);
    job_init(&j, e, 10);
    j.request.max_new_tokens = 20;
    turns_take(t);
    const uint64_t before = steps_of(e);
    ck_assert_int_eq(pthread_create(&j.thread, NULL, job_run, &j), 0);
    wait_until_waiting(t, 1);
    for (size_t i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&o[i].thread, NULL, observe, &o[i]), 0);
    wait_until_waiting(t, 2);
    ck_assert_uint_eq(steps_of(e), before);
    turns_give(t);
    for (size_t i = 0; i < 2; i++)
        pthread_join(o[i].thread, NULL);
    for (size_t i = 0; i < OBSERVED; i++)
        ck_assert_uint_eq(all.steps[i], before + i + 1);
    pthread_join(j.thread, NULL);
    ck_assert_int_eq(j.answer.status, 0);
    job_free(&alone);
    job_free(&j);
    engine_close(e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("turns");
    TCase *t = tcase_create("turns");
    tcase_set_timeout(t, 60);
    tcase_add_test(t, nobody_waits_for_two_turns_of_another);
    tcase_add_test(t, who_gives_up_leaves_the_queue_and_holds_nobody_up);
    tcase_add_test(t, the_engine_computes_only_in_its_turn_and_once_in_each);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
