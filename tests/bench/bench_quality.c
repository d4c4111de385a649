/*
 * bench_quality.c - what compressed weights and caches cost in quality: how far next-token
 * distributions move from those of the weights as stored.
 *
 *   bench_quality DIR [HELDOUT.jsonl]     without a file: 16 texts of 128 random tokens
 */
#include "quality_support.h"

static struct quality_texts texts;

static int fail(const struct airlock_error *err)
{
    fprintf(stderr, "bench_quality: %s\n", err->text);
    return 1;
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum ops_dtype weights, kv;
        bool fp8_activations; /* as CUDA has them, for all rows of a chunk of more than 8 */
    } forms[] = { { "int8", OPS_INT8, 0, false },
                  { "fp8", OPS_FP8, 0, false },
                  { "fp8, activations", OPS_FP8, 0, true },
                  { "int4", OPS_INT4, 0, false },
                  { "as stored, kv fp8", 0, OPS_FP8, false },
                  { "int8, kv fp8", OPS_INT8, OPS_FP8, false },
                  { "int4, kv fp8", OPS_INT4, OPS_FP8, false } };
    struct airlock_error err = { 0 };
    struct phi4_config config;
    size_t vocab, rows;
    if (argc < 2 || argc > 3) {
        fputs("usage: bench_quality DIR [HELDOUT.jsonl]\n", stderr);
        return 2;
    }
    if (phi4_config_read(argv[1], &config, &err))
        return fail(&err);
    quality_random_texts(&texts, 16, 128, config.vocab_size);
    if (argc > 2 && quality_chats(&texts, argv[1], argv[2], 1, &err))
        return fail(&err);
    float *want = quality_logits(&texts, argv[1], 0, 0, &vocab, &rows, &err);
    if (!want)
        return fail(&err);
    printf("%zu texts, %zu tokens\n%-18s %12s %12s %12s %10s\n", texts.n, rows, "weights",
           "mean KL", "99 % below", "worst", "same top");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        forward_by = forms[i].fp8_activations ? quality_fp8_ops() : NULL;
        float *got =
            quality_logits(&texts, argv[1], forms[i].weights, forms[i].kv, &vocab, &rows, &err);
        if (!got)
            return fail(&err);
        const struct quality q = quality_compare(want, got, rows, vocab);
        printf("%-18s %12.6f %12.6f %12.6f %9.2f%%\n", forms[i].name, q.mean_kl, q.p99_kl,
               q.worst_kl, 100 * q.agree);
        free(got);
    }
    free(want);
    return 0;
}
