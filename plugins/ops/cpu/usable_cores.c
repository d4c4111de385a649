/* usable_cores.c - how many cores this process may use: affinity mask and cgroup quota. */
#include "thread_pool.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

/* cgroup v2: "max 100000" or "QUOTA PERIOD" in microseconds.  0: no limit, or not readable. */
static unsigned quota_v2(void)
{
    unsigned long quota, period;
    unsigned cores = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%lu %lu", &quota, &period) == 2 && period > 0)
        cores = (unsigned)((quota + period - 1) / period);
    fclose(f);
    return cores;
}

static long read_number(const char *path)
{
    long number = -1;
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    if (fscanf(f, "%ld", &number) != 1)
        number = -1;
    fclose(f);
    return number;
}

static unsigned quota_v1(void)
{
    const long quota = read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    const long period = read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    return quota > 0 && period > 0 ? (unsigned)((quota + period - 1) / period) : 0;
}

unsigned thread_pool_usable_cores(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    unsigned cores = 1;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        cores = (unsigned)CPU_COUNT(&set);
    unsigned quota = quota_v2();
    if (!quota)
        quota = quota_v1();
    if (quota && quota < cores)
        cores = quota;
    return cores ? cores : 1;
}
