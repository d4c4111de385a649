/*
 * thread_pool.h - worker threads that run short jobs, spin for a moment after each and then sleep.
 *
 * One thread at a time may give jobs; it works too.  Tasks are claimed, not assigned: when the
 * workers are not awake yet, the caller does their share instead of waiting for them.
 */
#ifndef AIRLOCK_OPS_CPU_THREAD_POOL_H
#define AIRLOCK_OPS_CPU_THREAD_POOL_H

#include "../ops.h"

struct thread_pool;

/* count: threads that work on a job, the caller included.  Starts count - 1 threads with all
 * signals blocked.  NULL: no memory, or no threads. */
struct thread_pool *thread_pool_open(unsigned count);
void thread_pool_close(struct thread_pool *pool); /* NULL allowed */

/* The pool in the form that ops.h lends; valid until close. */
const struct ops_threads *thread_pool_threads(struct thread_pool *pool);

/* Cores that this process may use: its affinity mask, and the CPU quota of its cgroup rounded up.
 * At least 1. */
unsigned thread_pool_usable_cores(void);

#endif
