/* parallel.c - spreads items of work over the device's threads, and the scratch memory they use. */
#include "cpu_ops.h"

#include <stdatomic.h>
#include <stdlib.h>

/* Below this many multiplications (some 30 microseconds) waking a thread costs more than it
 * brings. */
#define WORK_WORTH_A_THREAD 600e3

struct job {
    atomic_size_t next;
    size_t n;
    cpu_item_fn *fn;
    void *arg;
    char *scratch;
};

/* One of the tasks working side by side: takes items until none is left. */
static void task(void *arg, size_t slot)
{
    struct job *job = arg;
    void *scratch = job->scratch + slot * CPU_TASK_SCRATCH;
    for (;;) {
        const size_t item = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (item >= job->n)
            return;
        job->fn(job->arg, item, scratch);
    }
}

void cpu_parallel(struct ops_device *dev, size_t n, double work, cpu_item_fn *fn, void *arg)
{
    struct job job = { 0, n, fn, arg, dev->per_task.data };
    size_t tasks = dev->threads->count;
    if (work < WORK_WORTH_A_THREAD * (double)tasks)
        tasks = (size_t)(work / WORK_WORTH_A_THREAD);
    if (tasks > n)
        tasks = n;
    if (tasks <= 1)
        task(&job, 0);
    else
        dev->threads->run(dev->threads, tasks, task, &job);
}

bool cpu_scratch_reserve(struct cpu_scratch *scratch, size_t bytes)
{
    if (bytes <= scratch->bytes)
        return true;
    if (bytes > SIZE_MAX / 2)
        return false;
    bytes = (bytes + bytes / 4 + 4095) / 4096 * 4096; /* some more, not to grow at each step */
    void *data = aligned_alloc(64, bytes);
    if (!data)
        return false;
    free(scratch->data);
    scratch->data = data;
    scratch->bytes = bytes;
    return true;
}
