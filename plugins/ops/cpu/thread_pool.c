/* thread_pool.c - worker threads for the CPU ops: claim tasks, spin briefly, sleep on a futex. */
#include "thread_pool.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Rounds of a pause instruction (about 40 cycles each) before sleeping: some 20 microseconds, the
 * gap between two ops of a step, and little to lose when the machine has other work. */
enum { SPINS = 1500, MAX_TASKS = 0xffff };

struct thread_pool {
    struct ops_threads lend; /* first: lend.ctx is the pool */
    /* The open job in one word, so that a claim is one compare-and-swap that fails on an old job:
     * generation << 32 | tasks << 16 | next task. */
    _Alignas(64) atomic_uint_fast64_t job;
    void (*fn)(void *arg, size_t i); /* of the open job; read only after a claim */
    void *arg;
    _Alignas(64)
        atomic_uint done; /* tasks of the open job that are finished; futex of the caller */
    atomic_uint waiting;  /* the caller sleeps on done */
    _Alignas(64) atomic_uint posts; /* jobs given so far; futex of the workers */
    atomic_uint sleepers;
    atomic_bool stop;
    unsigned n_workers;
    pthread_t workers[];
};

static void pause_core(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Sleeps unless *word has moved on from value; may wake for no reason. */
static void futex_sleep(atomic_uint *word, unsigned value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(atomic_uint *word, unsigned count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* Claims and runs tasks of the open job until none is left. */
static void work(struct thread_pool *pool)
{
    uint_fast64_t job = atomic_load_explicit(&pool->job, memory_order_acquire);
    for (;;) {
        const unsigned tasks = (unsigned)(job >> 16) & MAX_TASKS, next = (unsigned)job & MAX_TASKS;
        if (next >= tasks)
            return;
        if (!atomic_compare_exchange_weak_explicit(&pool->job, &job, job + 1, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        /* The job cannot end before this task does, so fn and arg belong to it. */
        pool->fn(pool->arg, next);
        const unsigned done = atomic_fetch_add(&pool->done, 1) + 1;
        if (done == tasks && atomic_load(&pool->waiting))
            futex_wake(&pool->done, 1);
        job = atomic_load_explicit(&pool->job, memory_order_acquire);
    }
}

static void *worker(void *arg)
{
    struct thread_pool *pool = arg;
    unsigned seen = 0; /* not the current count: a job may have been given before this thread ran */
    for (;;) {
        for (unsigned i = 0; i < SPINS && atomic_load(&pool->posts) == seen; i++)
            pause_core();
        while (atomic_load(&pool->posts) == seen) {
            atomic_fetch_add(&pool->sleepers, 1);
            futex_sleep(&pool->posts, seen);
            atomic_fetch_sub(&pool->sleepers, 1);
        }
        seen = atomic_load(&pool->posts);
        if (atomic_load(&pool->stop))
            return NULL;
        work(pool);
    }
}

static void wake_workers(struct thread_pool *pool, unsigned wanted)
{
    atomic_fetch_add(&pool->posts, 1);
    if (atomic_load(&pool->sleepers))
        futex_wake(&pool->posts, wanted);
}

static void run_job(struct thread_pool *pool, unsigned tasks, void (*fn)(void *arg, size_t i),
                    void *arg)
{
    const uint_fast64_t old = atomic_load_explicit(&pool->job, memory_order_relaxed);
    const uint_fast64_t generation = (old >> 32) + 1;
    pool->fn = fn;
    pool->arg = arg;
    atomic_store(&pool->done, 0);
    atomic_store_explicit(&pool->job, generation << 32 | (uint_fast64_t)tasks << 16,
                          memory_order_release);
    if (tasks > 1 && pool->n_workers)
        wake_workers(pool, tasks - 1);
    work(pool);

    for (unsigned i = 0; i < SPINS && atomic_load(&pool->done) != tasks; i++)
        pause_core();
    atomic_store(&pool->waiting, 1);
    for (unsigned done; (done = atomic_load(&pool->done)) != tasks;)
        futex_sleep(&pool->done, done);
    atomic_store(&pool->waiting, 0);
}

struct shifted {
    void (*fn)(void *arg, size_t i);
    void *arg;
    size_t first;
};

static void run_shifted(void *arg, size_t i)
{
    const struct shifted *s = arg;
    s->fn(s->arg, s->first + i);
}

static void pool_run(const struct ops_threads *threads, size_t n, void (*fn)(void *arg, size_t i),
                     void *arg)
{
    struct thread_pool *pool = threads->ctx;
    struct shifted s = { fn, arg, 0 };
    for (; n - s.first > MAX_TASKS; s.first += MAX_TASKS)
        run_job(pool, MAX_TASKS, run_shifted, &s);
    if (s.first < n)
        run_job(pool, (unsigned)(n - s.first), run_shifted, &s);
}

struct thread_pool *thread_pool_open(unsigned count)
{
    if (count < 1 || count > MAX_TASKS)
        return NULL;
    const size_t bytes = sizeof(struct thread_pool) + (count - 1) * sizeof(pthread_t);
    struct thread_pool *pool = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!pool)
        return NULL;
    *pool = (struct thread_pool){ .lend = { count, pool, pool_run } };

    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->n_workers < count - 1 &&
           pthread_create(&pool->workers[pool->n_workers], NULL, worker, pool) == 0)
        pool->n_workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (pool->n_workers < count - 1) {
        thread_pool_close(pool);
        return NULL;
    }
    return pool;
}

void thread_pool_close(struct thread_pool *pool)
{
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    atomic_fetch_add(&pool->posts, 1);
    futex_wake(&pool->posts, INT_MAX);
    for (unsigned i = 0; i < pool->n_workers; i++)
        pthread_join(pool->workers[i], NULL);
    free(pool);
}

const struct ops_threads *thread_pool_threads(struct thread_pool *pool)
{
    return &pool->lend;
}
