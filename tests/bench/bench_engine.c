/* bench_engine.c - load time against read time, resident memory, decode and prefill speed of a
 * model, with this machine's read bandwidth beside them. */
#include "engine/engine.h"
#include "engine/phi4_weights.h"

#include "common/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static double seconds_since(uint64_t start)
{
    return (double)(io_now_ns() - start) * 1e-9;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Calls visit for each *.safetensors; the sum of what it gives. */
static uint64_t for_files(const char *dir, uint64_t (*visit)(int fd))
{
    uint64_t sum = 0;
    DIR *d = opendir(dir);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char path[1024];
        size_t n = strlen(entry->d_name);
        if (n < 12 || strcmp(entry->d_name + n - 12, ".safetensors") != 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", dir, entry->d_name);
        int fd = open(path, O_RDONLY);
        if (fd >= 0)
            sum += visit(fd);
        close(fd);
    }
    if (d)
        closedir(d);
    return sum;
}

static uint64_t forget(int fd)
{
    fdatasync(fd);
    return (uint64_t)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static uint64_t read_through(int fd)
{
    static char buffer[8 << 20];
    uint64_t sum = 0;
    for (ssize_t n; (n = io_read(fd, buffer, sizeof buffer)) > 0;)
        sum += (uint64_t)n;
    return sum;
}

/* ---- bandwidth ------------------------------------------------------------------------------- */

struct stream {
    const uint64_t *words;
    size_t n_words, parts;
    uint64_t sums[256];
};

static void stream_part(void *arg, size_t i)
{
    struct stream *s = arg;
    size_t n = s->n_words / s->parts / 8 * 8;
    const uint64_t *p = s->words + i * n;
    uint64_t a[8] = { 0 };
    for (size_t k = 0; k < n; k += 8)
        for (size_t j = 0; j < 8; j++)
            a[j] += p[k + j];
    s->sums[i] = a[0] + a[1] + a[2] + a[3] + a[4] + a[5] + a[6] + a[7];
}

enum { ROUNDS = 5, PARTS = 64 };

/* Best of three reads of a file's mapping (at most 2 GiB of the largest), by all threads: bytes/s.
 * In many parts, because a thread may lose its core for a while to others. */
static double best_bandwidth;
static const struct ops_threads *bandwidth_threads;

static uint64_t measure_bandwidth(int fd)
{
    struct stat st;
    if (fstat(fd, &st) || st.st_size < 1 << 20)
        return 0;
    size_t bytes = (size_t)st.st_size < (size_t)2 << 30 ? (size_t)st.st_size : (size_t)2 << 30;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (map == MAP_FAILED)
        return 0;
    struct stream s = { map, bytes / 8, PARTS, { 0 } };
    for (int i = 0; i < 3; i++) {
        uint64_t start = io_now_ns();
        bandwidth_threads->run(bandwidth_threads, s.parts, stream_part, &s);
        double rate = (double)bytes / seconds_since(start);
        best_bandwidth = rate > best_bandwidth ? rate : best_bandwidth;
    }
    munmap(map, bytes);
    return s.sums[0] & 0;
}

static double bandwidth(const char *dir)
{
    best_bandwidth = 0;
    for_files(dir, measure_bandwidth);
    return best_bandwidth;
}

static size_t resident_kib(void)
{
    size_t kib = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %zu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return kib;
}

/* ---- generation ------------------------------------------------------------------------------ */

static int no_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    return 0;
}

/* n answers at once, of `tokens` tokens to prompts of `prompt` tokens; the slowest's counts. */
static struct scheduler_stats generate(struct engine *e, size_t n, size_t prompt, size_t tokens)
{
    struct scheduler_ticket *tickets[64];
    struct scheduler_stats last = { 0 };
    struct airlock_error err;
    int32_t *ids = malloc(prompt * sizeof *ids);
    for (size_t i = 0; i < n; i++) {
        for (size_t p = 0; p < prompt; p++)
            ids[p] = (int32_t)((p * 7919 + i * 104729) % 100000 % engine_config(e)->vocab_size);
        struct scheduler_request r = { .prompt = ids,
                                       .n_prompt = prompt,
                                       .sampling = { .repetition_penalty = 1 },
                                       .max_new_tokens = tokens,
                                       .logprobs = -1 };
        tickets[i] = scheduler_submit(engine_scheduler(e), &r, &err);
        if (!tickets[i]) {
            fprintf(stderr, "bench_engine: %s\n", err.text);
            exit(1);
        }
    }
    for (size_t i = 0; i < n; i++) {
        struct scheduler_news news = { 0 };
        struct scheduler_stats stats;
        while (!news.done)
            scheduler_take(tickets[i], 1000, &news);
        scheduler_result(tickets[i], &stats, &err);
        if (stats.decode_ns > last.decode_ns)
            last = stats;
        scheduler_release(tickets[i]);
    }
    free(ids);
    return last;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Memory is shared with whoever else uses the machine and its speed changes within seconds; so each
 * round compares with the mean of what was measured before and after it. */
static void bench_decode(struct engine *e, const char *dir, size_t at_once, size_t tokens,
                         double weight_bytes)
{
    double steps[ROUNDS], parts[ROUNDS], before = bandwidth(dir), least = before, most = before;
    for (int i = 0; i < ROUNDS; i++) {
        struct scheduler_stats s = generate(e, at_once, 16, tokens);
        steps[i] = (double)(tokens - 1) / ((double)s.decode_ns * 1e-9);
        double after = bandwidth(dir);
        parts[i] = steps[i] * weight_bytes / ((before + after) / 2);
        least = after < least ? after : least;
        most = after > most ? after : most;
        before = after;
    }
    qsort(steps, ROUNDS, sizeof *steps, by_size);
    qsort(parts, ROUNDS, sizeof *parts, by_size);
    printf("decode, %zu at once: %.2f tokens/s (%.2f to %.2f); of the read bandwidth (%.1f to %.1f "
           "GB/s) %.0f %% (%.0f to %.0f)\n",
           at_once, steps[ROUNDS / 2] * (double)at_once, steps[0] * (double)at_once,
           steps[ROUNDS - 1] * (double)at_once, least * 1e-9, most * 1e-9, 100 * parts[ROUNDS / 2],
           100 * parts[0], 100 * parts[ROUNDS - 1]);
}

static void bench_prefill(struct engine *e, size_t prompt, double matrix_elements)
{
    struct scheduler_stats s = generate(e, 1, prompt, 1);
    double rate = (double)prompt / ((double)s.prefill_ns * 1e-9);
    printf("prefill of %zu tokens: %.1f tokens/s, %.1f Gflop/s\n", prompt, rate,
           rate * 2 * matrix_elements * 1e-9);
}

int main(int argc, char **argv)
{
    const char *form = getenv("DTYPE");
    if (argc < 2) {
        fputs("usage: [DTYPE=fp8|int8|int4] bench_engine DIR [TOKENS [PROMPT [AT_ONCE...]]]\n",
              stderr);
        return 2;
    }
    size_t tokens = argc > 2 ? strtoul(argv[2], NULL, 10) : 16;
    size_t prompt = argc > 3 ? strtoul(argv[3], NULL, 10) : 256;

    for_files(argv[1], forget);
    uint64_t start = io_now_ns();
    double bytes = (double)for_files(argv[1], read_through);
    double read_time = seconds_since(start);
    for_files(argv[1], forget);
    printf("read: %.2f GB in %.2f s\n", bytes * 1e-9, read_time);

    struct airlock_error err;
    struct engine_options o = { .dir = argv[1], .ops = ops_cpu(), .progress = no_progress };
    if (form)
        o.dtype = strcmp(form, "fp8") == 0    ? OPS_FP8
                  : strcmp(form, "int8") == 0 ? OPS_INT8
                                              : OPS_INT4;
    start = io_now_ns();
    struct engine *e = engine_open(&o, &err);
    if (!e) {
        fprintf(stderr, "bench_engine: %s\n", err.text);
        return 1;
    }
    double load_time = seconds_since(start);
    printf("load: %.2f s, %.2f of the time to read\n%s\n", load_time, load_time / read_time,
           engine_describe(e));

    bandwidth_threads = engine_threads(e);
    const struct phi4_config *c = engine_config(e);
    double head = (double)c->vocab_size * (double)c->hidden_size;
    const double elements = bytes / 2;
    if (form)
        bytes = (double)phi4_weights_bytes(c, o.dtype, OPS_BF16);
    bench_decode(e, argv[1], 1, tokens, bytes);
    for (int i = 4; i < argc; i++)
        bench_decode(e, argv[1], strtoul(argv[i], NULL, 10), tokens, bytes);
    bench_prefill(e, prompt, elements - head);
    printf("resident: %zu MiB, weights %.0f MiB\n", resident_kib() >> 10, bytes / (1 << 20));
    engine_close(e);
    return 0;
}
