/* logits_tool.c - prints the logits of a token sequence, or its greedy continuation, for comparison
 * with other implementations. */
#include "engine/engine.h"
#include "forward_support.h"
#include "lora_support.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char help[] =
    "usage: logits_tool -d DIR [-c CHUNK] [-k f32|bf16|f16|fp8] [-w fp8|int8|int4] [-g N] [-l "
    "PLUGIN -a ADAPTER] ID...\n"
    "  Writes float32 [IDs, vocab] to stdout, or with -g the N token ids that follow greedily.\n"
    "  -c  prompt rows per step   -k  type of the KV cache   -w  form of the weights\n"
    "  -l  lora.so                -a  directory of a PEFT adapter\n";

struct arguments {
    const char *dir, *lora, *adapter;
    size_t chunk, greedy, n;
    enum ops_dtype kv;
    int32_t *ids;
};

static int fail(const struct airlock_error *err)
{
    fprintf(stderr, "logits_tool: %s\n", err->text);
    return 1;
}

static enum ops_dtype dtype_of(const char *name)
{
    static const char *const names[] = { "", "f32", "bf16", "f16", "fp8", "int8", "int4" };
    for (int i = OPS_F32; i <= OPS_INT4; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum ops_dtype)i;
    return 0;
}

static int parse(int argc, char **argv, struct arguments *a)
{
    *a = (struct arguments){ .chunk = 64 };
    for (int option; (option = getopt(argc, argv, "d:c:k:w:g:l:a:")) != -1;) {
        if (option == 'd')
            a->dir = optarg;
        else if (option == 'c')
            a->chunk = strtoul(optarg, NULL, 10);
        else if (option == 'k')
            a->kv = dtype_of(optarg);
        else if (option == 'w')
            forward_dtype = dtype_of(optarg);
        else if (option == 'g')
            a->greedy = strtoul(optarg, NULL, 10);
        else if (option == 'l')
            a->lora = optarg;
        else if (option == 'a')
            a->adapter = optarg;
        else
            return -1;
    }
    a->n = (size_t)(argc - optind);
    a->ids = calloc(a->n + 1, sizeof *a->ids);
    for (size_t i = 0; a->ids && i < a->n; i++)
        a->ids[i] = (int32_t)strtol(argv[optind + (int)i], NULL, 10);
    return a->dir && a->n > 0 && a->chunk > 0 && a->ids ? 0 : -1;
}

static int print_logits(const struct arguments *a)
{
    struct airlock_error err = { 0 };
    struct forward_model m;
    struct lora_fixture lora = { 0 };
    float *logits = NULL;
    int status = lora_fixture_init(&lora, &err);
    if (status == 0)
        status =
            forward_model_open(&m, a->dir, a->chunk, a->n + 1, a->kv, 0, &lora.adapters.hook, &err);
    if (status == 0 && a->adapter)
        status =
            lora_fixture_open(&lora, a->lora, a->adapter, a->dir, &m.config, m.ops, m.dev, &err);
    if (status == 0) {
        const void *adapter = lora.binding;
        logits = malloc(a->n * m.config.vocab_size * sizeof *logits);
        status = forward_model_logits(&m, a->ids, a->n, a->chunk, &adapter, a->adapter ? 1 : 0,
                                      logits, &err);
    }
    if (status == 0)
        fwrite(logits, sizeof *logits, a->n * m.config.vocab_size, stdout);
    free(logits);
    lora_fixture_close(&lora);
    forward_model_close(&m);
    return status ? fail(&err) : 0;
}

static int print_greedy(const struct arguments *a)
{
    struct airlock_error err = { 0 };
    struct engine_options options = { .dir = a->dir,
                                      .ops = ops_cpu(),
                                      .prefill_chunk = a->chunk,
                                      .kv_dtype = a->kv,
                                      .dtype = forward_dtype };
    struct engine *e = engine_open(&options, &err);
    if (!e)
        return fail(&err);
    struct scheduler_request request = {
        .prompt = a->ids,
        .n_prompt = a->n,
        .sampling = { .temperature = 1, .top_p = 1, .repetition_penalty = 1 },
        .max_new_tokens = a->greedy,
        .logprobs = 0
    };
    struct scheduler_ticket *t = scheduler_submit(engine_scheduler(e), &request, &err);
    struct scheduler_news news = { 0 };
    struct scheduler_stats stats;
    if (t) {
        while (!news.done) {
            scheduler_take(t, 1000, &news);
            for (size_t i = 0; i < news.n_tokens; i++)
                printf("%d ", news.tokens[i].id);
        }
        if (scheduler_result(t, &stats, &err)) {
            scheduler_release(t);
            t = NULL;
        } else {
            scheduler_release(t);
        }
    }
    engine_close(e);
    printf("\n");
    return t ? 0 : fail(&err);
}

int main(int argc, char **argv)
{
    struct arguments a;
    if (parse(argc, argv, &a)) {
        fputs(help, stderr);
        return 2;
    }
    int status = a.greedy ? print_greedy(&a) : print_logits(&a);
    free(a.ids);
    return status;
}
