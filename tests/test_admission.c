/* test_admission.c - tests of src/server/admission.c: how many are in, whose turn it is, who gives
 * up, who makes room. */
#include "server/admission.h"
#include "suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static struct admission a;
static atomic_int inside, most, order[64], n_order;
static atomic_bool give_all_up;

static bool never(void *ctx)
{
    (void)ctx;
    return atomic_load(&give_all_up);
}

static unsigned waiting(void)
{
    unsigned running, n;
    admission_count(&a, &running, &n);
    return n;
}

static void *visit_of(void *arg, const char *caller)
{
    struct admission_place place;
    if (admission_enter(&a, &place, caller, never, NULL) != ADMISSION_IN)
        return NULL;
    int now = atomic_fetch_add(&inside, 1) + 1, max = atomic_load(&most);
    while (now > max && !atomic_compare_exchange_weak(&most, &max, now))
        ;
    atomic_store(&order[atomic_fetch_add(&n_order, 1)], (int)(intptr_t)arg);
    usleep(2000);
    atomic_fetch_sub(&inside, 1);
    admission_leave(&a, &place);
    return arg;
}

static void *visit(void *arg)
{
    return visit_of(arg, "");
}

static void *visit_of_another(void *arg)
{
    return visit_of(arg, "another");
}

static void enter_one(struct admission_place *place)
{
    ck_assert_int_eq(admission_enter(&a, place, "", never, NULL), ADMISSION_IN);
}

/* Starts a visit that waits, as the one after `before` others. */
static pthread_t wait_as(void *(*who)(void *), intptr_t number, unsigned before)
{
    pthread_t t;
    pthread_create(&t, NULL, who, (void *)number);
    while (waiting() != before + 1)
        usleep(100);
    return t;
}

START_TEST(no_more_than_allowed_are_in)
{
    pthread_t t[32];
    struct admission_place place[3];
    admission_init(&a, 3, 64);
    for (int i = 0; i < 3; i++) /* as many as allowed come in at once */
        enter_one(&place[i]);
    for (intptr_t i = 0; i < 32; i++)
        pthread_create(&t[i], NULL, visit, (void *)(i + 1));
    while (waiting() != 32 && atomic_load(&n_order) == 0)
        usleep(100);
    ck_assert_int_eq(atomic_load(&n_order), 0); /* and nobody else */
    for (int i = 0; i < 3; i++)
        admission_leave(&a, &place[i]);
    for (int i = 0; i < 32; i++) {
        void *result;
        pthread_join(t[i], &result);
        ck_assert_ptr_nonnull(result);
    }
    ck_assert_int_le(atomic_load(&most), 3);
    unsigned running, n;
    admission_count(&a, &running, &n);
    ck_assert_uint_eq(running, 0);
    ck_assert_uint_eq(n, 0);
    admission_destroy(&a);
}
END_TEST

START_TEST(turns_come_in_the_order_of_arrival)
{
    pthread_t t[10];
    struct admission_place place;
    admission_init(&a, 1, 64);
    enter_one(&place);
    for (intptr_t i = 0; i < 10; i++)
        t[i] = wait_as(visit, i + 1, (unsigned)i);
    admission_leave(&a, &place);
    for (int i = 0; i < 10; i++)
        pthread_join(t[i], NULL);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(atomic_load(&order[i]), i + 1);
    admission_destroy(&a);
}
END_TEST

START_TEST(beyond_the_queue_nobody_waits)
{
    struct admission_place in, out;
    admission_init(&a, 1, 0);
    enter_one(&in);
    ck_assert_int_eq(admission_enter(&a, &out, "", never, NULL), ADMISSION_FULL);
    ck_assert_int_eq(admission_enter(&a, &out, "another", never, NULL), ADMISSION_FULL);
    admission_leave(&a, &in);
    enter_one(&in);
    admission_leave(&a, &in);
    admission_destroy(&a);
}
END_TEST

START_TEST(who_has_the_fewest_in_is_next)
{
    pthread_t t[6];
    struct admission_place place[2];
    admission_init(&a, 2, 64);
    enter_one(&place[0]);
    enter_one(&place[1]);
    for (intptr_t i = 0; i < 5; i++)
        t[i] = wait_as(visit, i + 1, (unsigned)i);
    t[5] = wait_as(visit_of_another, 6, 5);
    admission_leave(&a, &place[0]);
    while (atomic_load(&order[0]) == 0)
        usleep(100);
    ck_assert_int_eq(atomic_load(&order[0]), 6); /* came last, and has none in */
    admission_leave(&a, &place[1]);
    for (int i = 0; i < 6; i++)
        pthread_join(t[i], NULL);
    admission_destroy(&a);
}
END_TEST

START_TEST(who_has_the_most_waiting_makes_room_for_others)
{
    pthread_t t[3], another;
    struct admission_place place;
    void *result;
    admission_init(&a, 1, 3);
    enter_one(&place);
    for (intptr_t i = 0; i < 3; i++)
        t[i] = wait_as(visit, i + 1, (unsigned)i);
    struct admission_place more;
    ck_assert_int_eq(admission_enter(&a, &more, "", never, NULL), ADMISSION_FULL);

    pthread_create(&another, NULL, visit_of_another, (void *)4);
    pthread_join(t[2], &result); /* the last of three is sent away */
    ck_assert_ptr_null(result);
    ck_assert_uint_eq(waiting(), 3);
    /* now two and one: a second of the other would have as many as it drives out */
    ck_assert_int_eq(admission_enter(&a, &more, "another", never, NULL), ADMISSION_FULL);

    admission_leave(&a, &place);
    for (int i = 0; i < 2; i++) {
        pthread_join(t[i], &result);
        ck_assert_ptr_nonnull(result);
    }
    pthread_join(another, &result);
    ck_assert_ptr_nonnull(result);
    admission_destroy(&a);
}
END_TEST

START_TEST(who_gives_up_leaves_the_queue_and_blocks_nobody)
{
    pthread_t t[3];
    void *result;
    struct admission_place place;
    admission_init(&a, 1, 64);
    enter_one(&place);
    for (intptr_t i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, visit, (void *)(i + 1));
    while (waiting() != 3)
        usleep(100);
    atomic_store(&give_all_up, true);
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], &result);
        ck_assert_ptr_null(result);
    }
    ck_assert_uint_eq(waiting(), 0);
    atomic_store(&give_all_up, false);
    pthread_create(&t[0], NULL, visit, (void *)1);
    while (waiting() != 1)
        usleep(100);
    admission_leave(&a, &place);
    pthread_join(t[0], &result);
    ck_assert_ptr_nonnull(result);
    admission_destroy(&a);
}
END_TEST

static bool sometimes(void *ctx)
{
    unsigned *seed = ctx;
    return rand_r(seed) % 2;
}

static void *come_and_go(void *arg)
{
    unsigned seed = (unsigned)(intptr_t)arg;
    for (int i = 0; i < 30; i++) {
        struct admission_place place;
        const char *caller = i % 2 ? "odd" : "even";
        if (admission_enter(&a, &place, caller, sometimes, &seed) != ADMISSION_IN)
            continue;
        if (atomic_fetch_add(&inside, 1) >= 2)
            atomic_store(&most, 99);
        usleep((unsigned)rand_r(&seed) % 40000); /* about as long as between two questions */
        atomic_fetch_sub(&inside, 1);
        admission_leave(&a, &place);
    }
    return NULL;
}

START_TEST(no_turn_is_lost_between_giving_up_and_getting_it)
{
    pthread_t t[16];
    atomic_store(&most, 0);
    admission_init(&a, 2, 8);
    for (intptr_t i = 0; i < 16; i++)
        pthread_create(&t[i], NULL, come_and_go, (void *)(i + 1));
    for (int i = 0; i < 16; i++)
        pthread_join(t[i], NULL);
    ck_assert_int_ne(atomic_load(&most), 99);
    unsigned running, n;
    admission_count(&a, &running, &n);
    ck_assert_uint_eq(running, 0);
    ck_assert_uint_eq(n, 0);
    admission_destroy(&a);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { no_more_than_allowed_are_in,
                                   turns_come_in_the_order_of_arrival,
                                   beyond_the_queue_nobody_waits,
                                   who_has_the_fewest_in_is_next,
                                   who_has_the_most_waiting_makes_room_for_others,
                                   who_gives_up_leaves_the_queue_and_blocks_nobody,
                                   no_turn_is_lost_between_giving_up_and_getting_it,
                                   NULL };
    return suite_run("admission", tests);
}
