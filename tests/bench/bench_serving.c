/* bench_serving.c - many callers at once: throughput of 8 against 1, the cost of 8 adapters, a
 * short request beside a long prompt, and a follow-up question. */
#include "engine/engine.h"

#include "common/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CALLERS = 8, RANK = 16, LONG_PROMPT = 4000, SHORT_PROMPT = 32, SHARED = 2000, TURN = 20 };

static void die(const char *what)
{
    fprintf(stderr, "bench_serving: %s\n", what);
    exit(1);
}

/* Processor time of all threads: what remains comparable while others use the machine, too. */
static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- adapters: rank 16 on every linear layer --------------------------------------------------
 */

struct site {
    size_t in, out;
    uint16_t *a, *b; /* [RANK, in], [out, RANK] bf16 */
};

struct adapters {
    struct ops_device *dev;
    struct site *sites[CALLERS]; /* [n_sites] of each adapter */
};

static struct adapters adapters;

static int apply(void *ctx, size_t site, const void *x, void *y, size_t rows,
                 const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    struct ops_lora_segment some[CALLERS];
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        const struct site *s = &(*(struct site *const *)segments[i].adapter)[site];
        some[i] = (struct ops_lora_segment){
            segments[i].first_row, segments[i].rows, s->a, s->b, OPS_BF16, RANK, 1
        };
    }
    const struct site *first = &adapters.sites[0][site];
    if (ops_cpu()->lora(adapters.dev, y, x, rows, first->in, first->out, some, n) == OPS_OK)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_INTERNAL, "lora");
}

static const struct linear_hook hook = { .apply = apply };

/* Small random numbers: 0x3c00 is 2^-7 in bf16. */
static uint16_t *random_matrix(size_t numbers)
{
    static uint32_t state = 1;
    uint16_t *m = malloc(numbers * sizeof *m);
    if (!m)
        die("out of memory");
    for (size_t i = 0; i < numbers; i++) {
        state = state * 1664525 + 1013904223;
        m[i] = (uint16_t)(0x3c00 | (state >> 16 & 0x807f));
    }
    return m;
}

static void adapters_init(struct engine *e)
{
    const struct phi4_config *c = engine_config(e);
    const char *why = "";
    size_t q = c->num_attention_heads * c->head_dim, kv = c->num_key_value_heads * c->head_dim;
    const size_t in[] = { c->hidden_size, q, c->hidden_size, c->intermediate_size };
    const size_t out[] = { q + 2 * kv, c->hidden_size, 2 * c->intermediate_size, c->hidden_size };
    size_t n = c->num_hidden_layers * LINEAR_SITES;
    for (size_t i = 0; i < CALLERS; i++) {
        struct site *sites = adapters.sites[i] = calloc(n, sizeof *sites);
        for (size_t s = 0; sites && s < n; s++) {
            sites[s].in = in[s % LINEAR_SITES];
            sites[s].out = out[s % LINEAR_SITES];
            sites[s].a = random_matrix(RANK * sites[s].in);
            sites[s].b = random_matrix(RANK * sites[s].out);
        }
    }
    adapters.dev = ops_cpu()->open(&(struct ops_open){ .lent = engine_threads(e) }, &why);
    if (!adapters.dev)
        die(why);
}

/* ---- requests -------------------------------------------------------------------------------- */

static int32_t prompt[8192];

/* Tokens that no other number's prompt begins with. */
static void make_prompt(size_t n, unsigned number)
{
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)((i * 7919 + number * 104729 + 11) % 100000);
}

static struct scheduler_ticket *submit(struct engine *e, size_t n, size_t new_tokens, int adapter)
{
    struct airlock_error err;
    const void *which = adapter < 0 ? NULL : &adapters.sites[adapter];
    struct scheduler_request r = { .prompt = prompt,
                                   .n_prompt = n,
                                   .sampling = { .repetition_penalty = 1 },
                                   .max_new_tokens = new_tokens,
                                   .adapters = &which,
                                   .n_adapters = adapter >= 0,
                                   .logprobs = -1 };
    struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &r, &err);
    if (!t)
        die(err.text);
    return t;
}

static struct scheduler_stats finish(struct scheduler_ticket *t)
{
    struct scheduler_stats stats;
    struct scheduler_news news = { 0 };
    struct airlock_error err;
    while (!news.done)
        scheduler_take(t, 1000, &news);
    if (scheduler_result(t, &stats, &err))
        die(err.text);
    scheduler_release(t);
    return stats;
}

static double first_token(const struct scheduler_stats *s)
{
    return (double)(s->queue_ns + s->prefill_ns) * 1e-9;
}

static double ttft(struct engine *e, size_t n, unsigned number)
{
    make_prompt(n, number);
    struct scheduler_stats s = finish(submit(e, n, 1, -1));
    return first_token(&s);
}

static unsigned next_number(void)
{
    static unsigned number;
    return ++number;
}

static double best(double a, double b)
{
    return a == 0 || b < a ? b : a;
}

/* ---- a and b: throughput --------------------------------------------------------------------- */

/* Seconds of a decode step with n callers: time from the first to the last token of all. */
static double decode_step(struct engine *e, size_t n, size_t tokens, bool with_adapters,
                          double *processor)
{
    struct scheduler_ticket *tickets[CALLERS];
    double slowest = 0, before = processor_seconds();
    for (size_t i = 0; i < n; i++) {
        make_prompt(15, next_number());
        tickets[i] = submit(e, 15, tokens, with_adapters ? (int)i : -1);
    }
    for (size_t i = 0; i < n; i++) {
        struct scheduler_stats s = finish(tickets[i]);
        double seconds = (double)s.decode_ns * 1e-9;
        slowest = seconds > slowest ? seconds : slowest;
    }
    *processor = best(*processor, processor_seconds() - before);
    return slowest / (double)(tokens - 1);
}

static void bench_throughput(struct engine *e, size_t tokens, int rounds)
{
    double one = 0, eight = 0, adapted = 0, cpu_one = 0, cpu_eight = 0, cpu_adapted = 0;
    for (int i = 0; i < rounds; i++) { /* side by side, so that a busy machine hits all alike */
        one = best(one, decode_step(e, 1, tokens, false, &cpu_one));
        eight = best(eight, decode_step(e, CALLERS, tokens, false, &cpu_eight));
        adapted = best(adapted, decode_step(e, CALLERS, tokens, true, &cpu_adapted));
    }
    printf("decode, best of %d rounds of %zu tokens:\n", rounds, tokens);
    printf("  1 caller          %.3f s a step, %6.2f tokens/s\n", one, 1 / one);
    printf("  8 callers         %.3f s a step, %6.2f tokens/s: %.2f times one\n", eight,
           CALLERS / eight, CALLERS * one / eight);
    printf("  8 with 8 adapters %.3f s a step, %6.2f tokens/s: %+.1f %%\n", adapted,
           CALLERS / adapted, 100 * (adapted / eight - 1));
    printf(
        "  processor time with the prompts of 15 tokens: %.2f, %.2f, %.2f s; adapters %+.1f %%\n",
        cpu_one, cpu_eight, cpu_adapted, 100 * (cpu_adapted / cpu_eight - 1));
}

/* ---- c: a short request beside a long prompt ------------------------------------------------- */

/* The first step of a prompt of LONG_PROMPT tokens: seconds. */
static double wait_for_step(struct engine *e, const struct scheduler_load *before)
{
    struct scheduler_load now;
    do {
        usleep(1000);
        scheduler_load(engine_scheduler(e), &now);
    } while (now.steps == before->steps);
    return now.step_seconds.sum - before->step_seconds.sum;
}

/* Each time: alone, then at another moment of a step of the long prompt.  In seconds and in
 * processor seconds. */
static void bench_beside_long(struct engine *e, int times)
{
    double sum[2] = { 0 }, worst[2] = { 0 };
    for (int i = 0; i < times; i++) {
        double cpu = processor_seconds(), cpu_alone, cpu_chunk, cpu_beside;
        double alone = ttft(e, SHORT_PROMPT, next_number());
        cpu_alone = processor_seconds() - cpu;
        struct scheduler_load before;
        scheduler_load(engine_scheduler(e), &before);
        make_prompt(LONG_PROMPT, next_number());
        cpu = processor_seconds();
        struct scheduler_ticket *t = submit(e, LONG_PROMPT, 1, -1);
        double chunk = wait_for_step(e, &before);
        cpu_chunk = processor_seconds() - cpu;
        usleep((unsigned)(chunk * 1e6 * (0.05 + 0.2 * (i % 5))));
        cpu = processor_seconds();
        double beside = ttft(e, SHORT_PROMPT, next_number());
        cpu_beside = processor_seconds() - cpu;
        scheduler_cancel(t);
        scheduler_release(t);
        double ratio[2] = { beside / (2 * alone + chunk),
                            cpu_beside / (2 * cpu_alone + cpu_chunk) };
        printf("  alone %.2f s (processor %.2f), a chunk %.2f (%.2f), beside %.2f (%.2f): %.2f "
               "(%.2f) of twice alone and a chunk\n",
               alone, cpu_alone, chunk, cpu_chunk, beside, cpu_beside, ratio[0], ratio[1]);
        for (int k = 0; k < 2; k++) {
            sum[k] += ratio[k];
            worst[k] = ratio[k] > worst[k] ? ratio[k] : worst[k];
        }
    }
    printf("first token of %d tokens beside a prompt of %d, of twice alone and a chunk: mean %.2f, "
           "worst %.2f; in processor time %.2f, %.2f\n",
           SHORT_PROMPT, LONG_PROMPT, sum[0] / times, worst[0], sum[1] / times, worst[1]);
}

/* ---- d: a follow-up question ----------------------------------------------------------------- */

static void bench_follow_up(struct engine *e)
{
    make_prompt(SHARED + TURN, next_number());
    struct scheduler_stats cold = finish(submit(e, SHARED, 1, -1)), warm = { 0 };
    double least = 0;
    for (int i = 0; i < 3; i++) {
        for (size_t k = 0; k < TURN; k++)
            prompt[SHARED + k] = (int32_t)(next_number() * 31 % 1000 + k);
        warm = finish(submit(e, SHARED + TURN, 1, -1));
        least = best(least, first_token(&warm));
    }
    printf("first token of a follow-up of %d tokens to %d: cold %.3f s, with %zu found %.3f s: "
           "%.1f %%\n",
           TURN, SHARED, first_token(&cold), warm.tokens_cached, least,
           100 * least / first_token(&cold));
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("usage: bench_serving DIR [PARTS [TOKENS [ROUNDS]]]\n"
              "  PARTS: t throughput and adapters, s short beside long, f follow-up; all: tsf\n",
              stderr);
        return 2;
    }
    const char *parts = argc > 2 ? argv[2] : "tsf";
    size_t tokens = argc > 3 ? strtoul(argv[3], NULL, 10) : 9;
    int rounds = argc > 4 ? atoi(argv[4]) : 3;
    struct airlock_error err;
    struct engine_options o = { .dir = argv[1], .ops = ops_cpu(), .hook = &hook };
    struct engine *e = engine_open(&o, &err);
    if (!e)
        die(err.text);
    printf("%s\n", engine_describe(e));
    adapters_init(e);
    if (tokens < 2 || rounds < 1)
        die("TOKENS at least 2, ROUNDS at least 1");
    decode_step(e, 1, 2, false, &(double){ 0 }); /* pages the weights in */
    if (strchr(parts, 't'))
        bench_throughput(e, tokens, rounds);
    if (strchr(parts, 's'))
        bench_beside_long(e, 5);
    if (strchr(parts, 'f'))
        bench_follow_up(e);
    ops_cpu()->close(adapters.dev);
    engine_close(e);
    return 0;
}
