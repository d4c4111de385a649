/* test_wait_queue.c - callers take turns, first come is first served within one, and whoever lost
 * its memory goes first. */
#include "engine/ticket.h"

#include "suite.h"

#include <string.h>

enum { MAX = 12 };

static struct scheduler_ticket tickets[MAX]; /* told apart by max_new_tokens */

static struct scheduler_ticket *ticket(size_t number, const char *salt)
{
    struct scheduler_ticket *t = &tickets[number];
    memset(t, 0, sizeof *t);
    t->max_new_tokens = number;
    t->root.salt = salt;
    t->root.n_salt = strlen(salt);
    return t;
}

static void assert_order(struct wait_queue *q, const char *numbers)
{
    for (; *numbers; numbers++) {
        struct scheduler_ticket *first = wait_queue_first(q), *t = wait_queue_take(q);
        ck_assert_ptr_nonnull(t);
        ck_assert_ptr_eq(first, t);
        ck_assert_uint_eq(t->max_new_tokens, (size_t)(*numbers - '0'));
    }
    ck_assert_uint_eq(q->n, 0);
    ck_assert_ptr_null(wait_queue_take(q));
}

START_TEST(callers_take_turns_and_each_ones_requests_stay_in_order)
{
    struct wait_queue q = { 0 };
    for (size_t i = 0; i < 4; i++)
        wait_queue_add(&q, ticket(i, "greedy"));
    wait_queue_add(&q, ticket(4, "b"));
    wait_queue_add(&q, ticket(5, "b"));
    wait_queue_add(&q, ticket(6, ""));
    ck_assert_uint_eq(q.n, 7);
    assert_order(&q, "0461523");
}
END_TEST

START_TEST(a_caller_who_comes_back_goes_to_the_end_of_the_turns)
{
    struct wait_queue q = { 0 };
    wait_queue_add(&q, ticket(0, "a"));
    wait_queue_add(&q, ticket(1, "b"));
    ck_assert_uint_eq(wait_queue_take(&q)->max_new_tokens, 0);
    wait_queue_add(&q, ticket(2, "a"));
    assert_order(&q, "12");
}
END_TEST

START_TEST(the_preempted_come_first_the_last_one_before_the_others)
{
    struct wait_queue q = { 0 };
    wait_queue_add(&q, ticket(0, "a"));
    wait_queue_add_preempted(&q, ticket(1, "b"));
    wait_queue_add_preempted(&q, ticket(2, "a"));
    assert_order(&q, "210");
}
END_TEST

static bool odd(const struct scheduler_ticket *t, void *ctx)
{
    (void)ctx;
    return t->max_new_tokens % 2;
}

static bool is(const struct scheduler_ticket *t, void *ctx)
{
    return t->max_new_tokens == *(size_t *)ctx;
}

START_TEST(whoever_gives_up_waiting_is_taken_out_from_any_place)
{
    struct wait_queue q = { 0 };
    static const char *const salts[] = { "a", "a", "a", "b", "c", "c", "c", "a" };
    for (size_t i = 0; i < 8; i++)
        wait_queue_add(&q, ticket(i, salts[i]));
    wait_queue_add_preempted(&q, ticket(8, "d"));
    wait_queue_add_preempted(&q, ticket(9, "d"));
    size_t n = 0, seven = 7, eight = 8;
    ck_assert(wait_queue_any(&q, is, &seven));
    for (struct scheduler_ticket *t = wait_queue_take_if(&q, odd, NULL); t; t = t->links.next) {
        ck_assert(odd(t, NULL));
        n++;
    }
    ck_assert_uint_eq(n, 5);
    ck_assert_uint_eq(q.n, 5);
    ck_assert(!wait_queue_any(&q, is, &seven));
    ck_assert(wait_queue_any(&q, is, &eight));
    ck_assert_ptr_null(wait_queue_take_if(&q, odd, NULL));
    wait_queue_add(&q, ticket(7, "a")); /* behind 2, though 7 was the last one before */
    assert_order(&q, "804267");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { callers_take_turns_and_each_ones_requests_stay_in_order,
                                   a_caller_who_comes_back_goes_to_the_end_of_the_turns,
                                   the_preempted_come_first_the_last_one_before_the_others,
                                   whoever_gives_up_waiting_is_taken_out_from_any_place, NULL };
    return suite_run("wait_queue", tests);
}
