/* test_ops_device.c - opening the CPU device: its threads, its memory and what it says of itself.
 */
#include "ops_fixture.h"

#include "ops/cpu/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

static void count_run(void *arg, size_t i)
{
    atomic_fetch_add(&((atomic_uchar *)arg)[i], 1);
}

START_TEST(every_task_is_run_once_however_many_there_are)
{
    static atomic_uchar runs[200000];
    const size_t counts[] = { 0, 1, 2, 3, 100, 65534, 65535, 65536, 200000 };
    struct thread_pool *pool = thread_pool_open((unsigned)_i);
    ck_assert_ptr_nonnull(pool);
    const struct ops_threads *threads = thread_pool_threads(pool);
    ck_assert_uint_eq(threads->count, (unsigned)_i);
    for (size_t c = 0; c < 9; c++) {
        memset(runs, 0, sizeof runs);
        threads->run(threads, counts[c], count_run, runs);
        size_t wrong = 0;
        for (size_t i = 0; i < 200000; i++)
            wrong += runs[i] != (i < counts[c]);
        ck_assert_uint_eq(wrong, 0);
    }
    thread_pool_close(pool);
}
END_TEST

static void add_index(void *arg, size_t i)
{
    atomic_fetch_add((atomic_size_t *)arg, i + 1);
}

START_TEST(many_short_jobs_with_and_without_sleep_between_them_all_end)
{
    struct thread_pool *pool = thread_pool_open(4);
    const struct ops_threads *threads = thread_pool_threads(pool);
    for (size_t job = 0; job < 5000; job++) {
        atomic_size_t sum = 0;
        const size_t n = job % 7;
        threads->run(threads, n, add_index, &sum);
        ck_assert_uint_eq(sum, n * (n + 1) / 2);
        if (job % 500 == 0)
            usleep(2000); /* the workers fall asleep */
    }
    thread_pool_close(pool);
}
END_TEST

struct signal_note {
    pthread_t caller;
    atomic_uint workers, open_to_signals;
};

static void note_signals(void *arg, size_t i)
{
    struct signal_note *note = arg;
    sigset_t set;
    (void)i;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    if (!pthread_equal(pthread_self(), note->caller)) {
        atomic_fetch_add(&note->workers, 1);
        if (!sigismember(&set, SIGTERM) || !sigismember(&set, SIGHUP))
            atomic_fetch_add(&note->open_to_signals, 1);
    }
    usleep(1000); /* so that every thread gets tasks */
}

START_TEST(workers_block_all_signals_and_the_caller_keeps_its_own)
{
    sigset_t term, before, after;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    pthread_sigmask(SIG_SETMASK, &term, &before);
    struct thread_pool *pool = thread_pool_open(4);
    pthread_sigmask(SIG_SETMASK, &before, &after);
    ck_assert(sigismember(&after, SIGTERM) && !sigismember(&after, SIGHUP));
    struct signal_note note = { .caller = pthread_self() };
    while (note.workers == 0) /* they may be late */
        thread_pool_threads(pool)->run(thread_pool_threads(pool), 40, note_signals, &note);
    ck_assert_uint_eq(note.open_to_signals, 0);
    thread_pool_close(pool);
}
END_TEST

START_TEST(a_process_may_use_the_cores_of_its_affinity_mask_at_most)
{
    cpu_set_t all, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof all, &all), 0);
    const unsigned cores = thread_pool_usable_cores();
    ck_assert_uint_ge(cores, 1);
    ck_assert_uint_le(cores, (unsigned)CPU_COUNT(&all));
    int first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    ck_assert_uint_eq(thread_pool_usable_cores(), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof all, &all), 0);
}
END_TEST

/* Threads of somebody else: they run the tasks backwards and count the calls. */
struct lender {
    unsigned calls;
    size_t largest;
};

static void run_backwards(const struct ops_threads *threads, size_t n,
                          void (*fn)(void *arg, size_t i), void *arg)
{
    struct lender *lender = threads->ctx;
    lender->calls++;
    lender->largest = n > lender->largest ? n : lender->largest;
    while (n-- > 0)
        fn(arg, n);
}

START_TEST(lent_threads_do_the_work_and_give_the_same_bits)
{
    enum { N = 700, K = 2000 };
    struct lender lender = { 0 };
    const struct ops_threads lent = { 3, &lender, run_backwards };
    const struct ops_open how = { .lent = &lent, .threads = 99 };
    const char *why = NULL;
    struct ops_device *own = open_set(0, 2), *dev;
    setenv("AIRLOCK_CPU", "plain", 1);
    dev = ops_cpu()->open(&how, &why);
    unsetenv("AIRLOCK_CPU");
    ck_assert_ptr_nonnull(dev);
    ck_assert_ptr_eq(ops_cpu()->threads(dev), &lent);
    struct ops_matrix m = random_matrix(dev, N, K, OPS_BF16, 1);
    float *x = random_floats(2 * K, 2, 1), *a = fenced(2 * N * 4), *b = fenced(2 * N * 4);
    ck_assert_int_eq(ops_cpu()->matmul(dev, a, x, &m, 2), OPS_OK);
    ck_assert_int_eq(ops_cpu()->matmul(own, b, x, &m, 2), OPS_OK);
    assert_same_floats(a, b, 2 * N, "y");
    ck_assert_uint_ge(lender.calls, 1);
    ck_assert_uint_ge(lender.largest, 2);
    ck_assert_uint_le(lender.largest, 3);
    fence_free(x);
    fence_free(a);
    fence_free(b);
    matrix_drop(dev, &m);
    ops_cpu()->close(dev);
    ops_cpu()->close(own);
}
END_TEST

START_TEST(little_work_wakes_no_thread)
{
    struct lender lender = { 0 };
    const struct ops_threads lent = { 3, &lender, run_backwards };
    const struct ops_open how = { .lent = &lent };
    const char *why = NULL;
    struct ops_device *dev = ops_cpu()->open(&how, &why);
    struct ops_matrix m = random_matrix(dev, 64, 64, OPS_BF16, 1);
    float x[64] = { 1 }, y[64];
    ck_assert_int_eq(ops_cpu()->matmul(dev, y, x, &m, 1), OPS_OK);
    ck_assert_uint_eq(lender.calls, 0);
    matrix_drop(dev, &m);
    ops_cpu()->close(dev);
}
END_TEST

START_TEST(lent_threads_that_are_none_are_refused_with_a_sentence)
{
    const struct ops_threads none = { 0, NULL, run_backwards };
    const struct ops_open how = { .lent = &none };
    const char *why = NULL;
    ck_assert_ptr_null(ops_cpu()->open(&how, &why));
    ck_assert_ptr_nonnull(strstr(why, "threads"));
    ops_cpu()->close(NULL);
}
END_TEST

START_TEST(the_description_names_threads_and_instructions_and_a_wish_not_met)
{
    const struct ops *ops = ops_cpu();
    struct ops_device *dev = open_set(0, 1);
    ck_assert_str_eq(ops->describe(dev), "cpu, 1 thread, plain C");
    ops->close(dev);
    const struct ops_open how = { .threads = 3 };
    const char *why = NULL;
    setenv("AIRLOCK_CPU", "altivec", 1);
    dev = ops->open(&how, &why);
    unsetenv("AIRLOCK_CPU");
    ck_assert_ptr_nonnull(strstr(ops->describe(dev), "cpu, 3 threads"));
    ck_assert_ptr_nonnull(
        strstr(ops->describe(dev), "AIRLOCK_CPU must be plain, avx2, avx512 or avx512bf16"));
    ops->close(dev);
}
END_TEST

START_TEST(memory_is_zeroed_and_aligned_and_copies_arrive)
{
    const struct ops *ops = ops_cpu();
    struct ops_device *dev = open_set(0, 1);
    const size_t sizes[] = { 0, 1, 63, 64, 65, 100000 };
    for (size_t s = 0; s < 6; s++) {
        unsigned char *p = ops->alloc(dev, sizes[s]);
        ck_assert_ptr_nonnull(p);
        ck_assert_uint_eq((uintptr_t)p % 64, 0);
        for (size_t i = 0; i < sizes[s]; i++)
            ck_assert(p[i] == 0);
        ops->free(dev, p);
    }
    ops->free(dev, NULL);
    ck_assert_ptr_null(ops->alloc(dev, SIZE_MAX));
    char text[] = "airlock", back[sizeof text] = "", *p = ops->alloc(dev, sizeof text);
    ck_assert_int_eq(ops->upload(dev, p, text, sizeof text), OPS_OK);
    ck_assert_int_eq(ops->download(dev, back, p, sizeof text), OPS_OK);
    ck_assert_int_eq(ops->sync(dev), OPS_OK);
    ck_assert_str_eq(back, text);
    ops->free(dev, p);
    ops->close(dev);
}
END_TEST

START_TEST(without_cuda_there_is_a_sentence)
{
    const char *why = NULL;
    if (ops_cuda(&why) == NULL)
        ck_assert_ptr_nonnull(strstr(why, "CUDA"));
}
END_TEST

static void add(TCase *tc)
{
    tcase_add_loop_test(tc, every_task_is_run_once_however_many_there_are, 1, 5);
    tcase_add_test(tc, many_short_jobs_with_and_without_sleep_between_them_all_end);
    tcase_add_test(tc, workers_block_all_signals_and_the_caller_keeps_its_own);
    tcase_add_test(tc, a_process_may_use_the_cores_of_its_affinity_mask_at_most);
    tcase_add_test(tc, lent_threads_do_the_work_and_give_the_same_bits);
    tcase_add_test(tc, little_work_wakes_no_thread);
    tcase_add_test(tc, lent_threads_that_are_none_are_refused_with_a_sentence);
    tcase_add_test(tc, the_description_names_threads_and_instructions_and_a_wish_not_met);
    tcase_add_test(tc, memory_is_zeroed_and_aligned_and_copies_arrive);
    tcase_add_test(tc, without_cuda_there_is_a_sentence);
}

int main(void)
{
    return run_suite("ops_device", add);
}
