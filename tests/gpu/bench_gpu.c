/* bench_gpu.c - decoding, prompts, adapters, compressed forms and loading of a model on a GPU, each
 * beside the limit that the same run measured: one line for each figure. */
#include "ceilings.h"
#include "engine/engine.h"
#include "engine/phi4_weights.h"

#include "common/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 256, ADAPTERS = 8, ADAPTED_ROWS = 32, RANK = 16, SIZES = 8 };

static void die(const char *what)
{
    fprintf(stderr, "bench_gpu: %s\n", what);
    exit(1);
}

static double seconds_since(uint64_t start)
{
    return (double)(io_now_ns() - start) * 1e-9;
}

/* What to measure. */
struct plan {
    size_t context, tokens; /* of the decoding */
    size_t batch[SIZES], n_batch, prompt[SIZES], n_prompt;
    size_t ceiling_bytes, ceiling_side;
};

/* How weights, keys and values are kept. */
struct form {
    const char *name;
    enum ops_dtype dtype, kv_dtype; /* 0: as stored */
    bool fp8_activations;
    double must; /* times bf16 with one row; 0: nothing is asked */
};

static const struct form stored = { .name = "bf16" };
static const struct form forms[] = {
    { .name = "fp8", .dtype = OPS_FP8, .must = 1.5 },
    { .name = "fp8 with activations", .dtype = OPS_FP8, .fp8_activations = true },
    { .name = "int8", .dtype = OPS_INT8 },
    { .name = "int4", .dtype = OPS_INT4, .must = 2 },
    { .name = "bf16 with fp8 kv", .kv_dtype = OPS_FP8 }
};

/* ---- the model's work ------------------------------------------------------------------------ */

/* Numbers of the matrices that every row is multiplied with, without the head. */
static double layer_numbers(const struct phi4_config *c)
{
    const double h = (double)c->hidden_size, q = (double)(c->num_attention_heads * c->head_dim);
    const double kv = (double)(c->num_key_value_heads * c->head_dim);
    const double inner = (double)c->intermediate_size;
    return (double)c->num_hidden_layers * h * (q + 2 * kv + q + 3 * inner);
}

static double head_numbers(const struct phi4_config *c)
{
    return (double)c->vocab_size * (double)c->hidden_size;
}

static double kv_bytes_per_token(const struct phi4_config *c)
{
    return 2.0 * 2.0 * (double)(c->num_hidden_layers * c->num_key_value_heads * c->head_dim);
}

/* ---- adapters on the device ------------------------------------------------------------------ */

struct site {
    size_t in, out;
    void *a, *b; /* device: [RANK, in], [out, RANK] bf16 */
};

static const struct ops *ops;
static struct ops_device *dev; /* the engine's */
static struct site *adapters[ADAPTERS];
static size_t n_sites;

static int apply(void *ctx, size_t site, const void *x, void *y, size_t rows,
                 const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    struct ops_lora_segment some[MOST_ROWS];
    (void)ctx;
    for (size_t i = 0; i < n; i++) {
        const struct site *s = &(*(struct site *const *)segments[i].adapter)[site];
        some[i] = (struct ops_lora_segment){
            segments[i].first_row, segments[i].rows, s->a, s->b, OPS_BF16, RANK, 1
        };
    }
    const struct site *first = &adapters[0][site];
    if (ops->lora(dev, y, x, rows, first->in, first->out, some, n) == OPS_OK)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_INTERNAL, "lora");
}

static const struct linear_hook hook = { .apply = apply };

/* Small random numbers: 0x3c00 is 2^-7 in bf16. */
static void *random_on_device(size_t numbers)
{
    static uint32_t state = 1;
    uint16_t *m = malloc(numbers * sizeof *m);
    void *p = ops->alloc(dev, numbers * sizeof *m);
    if (!m || !p)
        die("out of memory for adapters");
    for (size_t i = 0; i < numbers; i++) {
        state = state * 1664525 + 1013904223;
        m[i] = (uint16_t)(0x3c00 | (state >> 16 & 0x807f));
    }
    if (ops->upload(dev, p, m, numbers * sizeof *m) != OPS_OK || ops->sync(dev) != OPS_OK)
        die("the device failed");
    free(m);
    return p;
}

static void adapters_make(const struct phi4_config *c)
{
    const size_t q = c->num_attention_heads * c->head_dim;
    const size_t kv = c->num_key_value_heads * c->head_dim;
    const size_t in[] = { c->hidden_size, q, c->hidden_size, c->intermediate_size };
    const size_t out[] = { q + 2 * kv, c->hidden_size, 2 * c->intermediate_size, c->hidden_size };
    n_sites = c->num_hidden_layers * LINEAR_SITES;
    for (size_t i = 0; i < ADAPTERS; i++) {
        adapters[i] = calloc(n_sites, sizeof *adapters[i]);
        for (size_t s = 0; adapters[i] && s < n_sites; s++) {
            struct site *at = &adapters[i][s];
            at->in = in[s % LINEAR_SITES];
            at->out = out[s % LINEAR_SITES];
            at->a = random_on_device(RANK * at->in);
            at->b = random_on_device(RANK * at->out);
        }
    }
}

static void adapters_drop(void)
{
    for (size_t i = 0; i < ADAPTERS; i++) {
        for (size_t s = 0; adapters[i] && s < n_sites; s++) {
            ops->free(dev, adapters[i][s].a);
            ops->free(dev, adapters[i][s].b);
        }
        free(adapters[i]);
    }
}

/* ---- requests -------------------------------------------------------------------------------- */

/* A prompt that begins like no other number's. */
static struct scheduler_ticket *submit(struct engine *e, size_t n, size_t tokens, size_t number,
                                       bool adapted)
{
    struct airlock_error err;
    const size_t vocab = engine_config(e)->vocab_size;
    const void *which = &adapters[number % ADAPTERS];
    int32_t *prompt = malloc(n * sizeof *prompt);
    if (!prompt)
        die("out of memory");
    for (size_t i = 0; i < n; i++)
        prompt[i] = (int32_t)((i * 7919 + number * 104729 + 11) % 100000 % vocab);
    const struct scheduler_request r = { .prompt = prompt,
                                         .n_prompt = n,
                                         .sampling = { .repetition_penalty = 1 },
                                         .max_new_tokens = tokens,
                                         .adapters = &which,
                                         .n_adapters = adapted,
                                         .logprobs = -1 };
    struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &r, &err);
    free(prompt);
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

/* Seconds of a step that decodes n rows.  The prompts are computed before and found again, so that
 * the answers begin together; the last to begin has the others beside it all the time. */
static double decode_step(struct engine *e, size_t n, size_t context, size_t tokens, bool adapted)
{
    struct scheduler_ticket *t[MOST_ROWS];
    double least = 1e30;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < n; i++)
            t[i] = submit(e, context, round ? tokens : 1, i, adapted);
        for (size_t i = 0; i < n; i++) {
            const struct scheduler_stats s = finish(t[i]);
            const double seconds = (double)s.decode_ns * 1e-9 / (double)(tokens - 1);
            least = round && seconds < least ? seconds : least;
        }
    }
    return least;
}

/* ---- the figures ----------------------------------------------------------------------------- */

/* A row of the table: what, its value, and what part it is of what. */
static void tell(const char *what, double value, const char *unit, const char *more)
{
    printf("%-44s %10.4g %-9s %s\n", what, value, unit, more);
    fflush(stdout);
}

static void tell_ceilings(const struct ceilings *c)
{
    tell("ceiling: read", c->read * 1e-9, "GB/s", "");
    tell("ceiling: copy, read and written", c->copy * 1e-9, "GB/s", "");
    tell("ceiling: bf16 matrix product", c->matrix * 1e-12, "TFLOP/s", "");
}

static size_t largest(const size_t *v, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        most = v[i] > most ? v[i] : most;
    return most;
}

static struct engine *open_engine(const char *dir, const struct plan *p, const struct form *f)
{
    struct airlock_error err;
    struct phi4_config config;
    if (phi4_config_read(dir, &config, &err))
        die(err.text);
    size_t context = largest(p->prompt, p->n_prompt);
    const size_t grown = 8 * p->context, rows = largest(p->batch, p->n_batch);
    context = (context > grown ? context : grown) + p->tokens + 1;
    if (context > config.max_position_embeddings)
        context = config.max_position_embeddings;
    const size_t each = p->context + p->tokens + 2 * OPS_KV_BLOCK;
    const size_t at_once = (rows > ADAPTED_ROWS ? rows : ADAPTED_ROWS) * each;
    const struct engine_options o = { .dir = dir,
                                      .ops = ops,
                                      .hook = &hook,
                                      .device = { .fp8_activations = f->fp8_activations },
                                      .dtype = f->dtype,
                                      .kv_dtype = f->kv_dtype,
                                      .max_context = context,
                                      .max_batch = rows > ADAPTED_ROWS ? rows : ADAPTED_ROWS,
                                      .prefill_chunk = 1024,
                                      .kv_memory = (uint64_t)((double)(at_once + context) * 1.1 *
                                                              kv_bytes_per_token(&config)) };
    const uint64_t start = io_now_ns();
    struct engine *e = engine_open(&o, &err);
    if (!e)
        die(err.text);
    const double opened = seconds_since(start);
    finish(submit(e, 4, 1, 5000, false));
    char what[64], more[96];
    snprintf(what, sizeof what, "load, %s", f->name);
    snprintf(more, sizeof more, "first token after %.2f s%s", seconds_since(start),
             f == &stored ? " (must 3, from the page cache)" : "");
    tell(what, opened, "s", more);
    printf("%s\n", engine_describe(e));
    return e;
}

static void bench_decode(struct engine *e, const struct plan *p, const struct ceilings *c)
{
    char what[64], more[96];
    const struct phi4_config *config = engine_config(e);
    const double weights = 2 * (layer_numbers(config) + head_numbers(config));
    for (size_t i = 0; i < p->n_batch; i++) {
        const double n = (double)p->batch[i];
        const double step = decode_step(e, p->batch[i], p->context, p->tokens, false);
        const double kv = n * (double)p->context * kv_bytes_per_token(config);
        snprintf(what, sizeof what, "decode, %zu rows of %zu tokens: step", p->batch[i],
                 p->context);
        snprintf(more, sizeof more, "%.1f tokens/s; %.1f %% of the floor (must 65 or 60)", n / step,
                 100 * (weights + kv) / c->read / step);
        tell(what, step * 1e3, "ms", more);
    }
}

static void bench_growth(struct engine *e, const struct plan *p, const struct ceilings *c)
{
    char what[64], more[96];
    const size_t more_tokens = 8 * p->context;
    if (more_tokens + p->tokens > engine_max_context(e))
        return;
    const double small = decode_step(e, 1, p->context, p->tokens, false);
    const double large = decode_step(e, 1, more_tokens, p->tokens, false);
    const double bytes = (double)(more_tokens - p->context) * kv_bytes_per_token(engine_config(e));
    snprintf(what, sizeof what, "a step's growth, context %zu to %zu", p->context, more_tokens);
    snprintf(more, sizeof more, "%.2f times the bytes over the bandwidth (must 1.3)",
             (large - small) * c->read / bytes);
    tell(what, (large - small) * 1e3, "ms", more);
}

static void bench_prefill(struct engine *e, const struct plan *p, const struct ceilings *c)
{
    char what[64], more[96];
    const struct phi4_config *config = engine_config(e);
    const double attention =
        2.0 * (double)(config->num_hidden_layers * config->num_attention_heads * config->head_dim);
    for (size_t i = 0; i < p->n_prompt; i++) {
        double least = 1e30;
        const double n = (double)p->prompt[i];
        for (size_t k = 0; k < 3; k++) { /* prompts that nobody has computed */
            const struct scheduler_stats s =
                finish(submit(e, p->prompt[i], 1, 1000 + 10 * i + k, false));
            const double seconds = (double)s.prefill_ns * 1e-9;
            least = seconds < least ? seconds : least;
        }
        const double work = 2 * n * layer_numbers(config) + attention * n * n;
        snprintf(what, sizeof what, "prompt of %zu tokens", p->prompt[i]);
        snprintf(more, sizeof more, "%.0f tokens/s; %.1f %% of the matrix rate (must 55)",
                 n / least, 100 * work / c->matrix / least);
        tell(what, least * 1e3, "ms", more);
    }
}

static void bench_adapters(struct engine *e, const struct plan *p)
{
    char more[96];
    const double base = decode_step(e, ADAPTED_ROWS, p->context, p->tokens, false);
    adapters_make(engine_config(e));
    const double idle = decode_step(e, ADAPTED_ROWS, p->context, p->tokens, false);
    const double adapted = decode_step(e, ADAPTED_ROWS, p->context, p->tokens, true);
    snprintf(more, sizeof more, "%+.1f %% (must 12); there but unused %+.1f %% (must 0)",
             100 * (adapted / base - 1), 100 * (idle / base - 1));
    tell("32 rows with 8 adapters of rank 16: step", adapted * 1e3, "ms", more);
}

/* Seconds for a prompt that nobody has computed. */
static double prefill_once(struct engine *e, size_t n, size_t number)
{
    return (double)finish(submit(e, n, 1, number, false)).prefill_ns * 1e-9;
}

static double decode_bytes(const struct phi4_config *c, const struct form *f, size_t context)
{
    const double kv = (double)context * kv_bytes_per_token(c);
    return (double)phi4_weights_bytes(c, f->dtype, OPS_BF16) +
           (f->kv_dtype == OPS_FP8 ? kv / 2 : kv);
}

/* bf16: seconds of a step of one row, and of the first prompt, with weights as stored. */
static void bench_form(const char *dir, const struct plan *p, const struct form *f,
                       const struct ceilings *c, const double bf16[2])
{
    char what[64], more[128], must[32] = "";
    struct engine *e = open_engine(dir, p, f);
    const double step = decode_step(e, 1, p->context, p->tokens, false);
    const double first = prefill_once(e, p->prompt[0], 1000),
                 again = prefill_once(e, p->prompt[0], 1001);
    const double prompt = first < again ? first : again;
    const double floor = decode_bytes(engine_config(e), f, p->context) / c->read;
    if (f->must > 0)
        snprintf(must, sizeof must, " (must %g)", f->must);
    snprintf(what, sizeof what, "%s, 1 row of %zu: step", f->name, p->context);
    snprintf(more, sizeof more, "%.2f times bf16%s; %.1f %% of its own floor", bf16[0] / step, must,
             100 * floor / step);
    tell(what, step * 1e3, "ms", more);
    snprintf(what, sizeof what, "%s, prompt of %zu tokens", f->name, p->prompt[0]);
    snprintf(more, sizeof more, "%.0f tokens/s; %.2f times bf16", (double)p->prompt[0] / prompt,
             bf16[1] / prompt);
    tell(what, prompt * 1e3, "ms", more);
    engine_close(e);
}

/* ---- the program ----------------------------------------------------------------------------- */

static size_t numbers(const char *list, size_t *out)
{
    size_t n = 0;
    char *end;
    for (size_t v; n < SIZES && (v = strtoul(list, &end, 10), end != list);
         list = end + (*end == ','))
        out[n++] = v;
    return n;
}

static struct plan plan_of(int argc, char **argv)
{
    struct plan p = { .ceiling_bytes = (size_t)4 << 30, .ceiling_side = 8192 };
    p.context = strtoul(argv[2], NULL, 10);
    p.tokens = strtoul(argv[3], NULL, 10);
    p.n_batch = numbers(argv[4], p.batch);
    p.n_prompt = numbers(argv[5], p.prompt);
    if (argc > 6) {
        p.ceiling_bytes = strtoul(argv[6], NULL, 10);
        p.ceiling_side = argc > 7 ? strtoul(argv[7], NULL, 10) : 256;
    }
    if (p.context == 0 || p.tokens < 2 || p.n_batch == 0 || p.n_prompt == 0 ||
        largest(p.batch, p.n_batch) > MOST_ROWS || p.ceiling_side % 8)
        die("numbers that make no sense");
    return p;
}

int main(int argc, char **argv)
{
    const char *why = "";
    if (argc < 6) {
        fputs("usage: bench_gpu DIR CONTEXT TOKENS BATCH,... PROMPT,... [CEILING_BYTES [SIDE]]\n"
              "  eg: bench_gpu /dev/shm/model 1024 64 1,8,32,128 1024,4096,32768\n",
              stderr);
        return 2;
    }
    const struct plan p = plan_of(argc, argv);
    ops = ops_cuda(&why);
    if (!ops || (why = ops->missing(0)))
        die(why);
    struct ceilings c;
    struct ops_device *own = ops->open(&(struct ops_open){ 0 }, &why);
    if (!own)
        die(why);
    if (ceilings_measure(&c, ops, own, p.ceiling_bytes, p.ceiling_side) < 0)
        die("the ceilings could not be measured");
    ops->close(own);
    tell_ceilings(&c);
    struct engine *e = open_engine(argv[1], &p, &stored);
    dev = engine_device(e);
    bench_decode(e, &p, &c);
    bench_growth(e, &p, &c);
    bench_prefill(e, &p, &c);
    bench_adapters(e, &p);
    adapters_drop();
    const double bf16[] = { decode_step(e, 1, p.context, p.tokens, false),
                            prefill_once(e, p.prompt[0], 2000) };
    engine_close(e);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        bench_form(argv[1], &p, &forms[i], &c, bf16);
    return 0;
}
