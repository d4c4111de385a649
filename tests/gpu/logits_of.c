/* logits_of.c - the logits of a prompt and the greedy continuation of a model on CUDA, written to a
 * file for tests/gpu/compare_hf.py. */
#define FORWARD_DEVICE "cuda"
#include "forward_support.h"

#include <stdio.h>

static int fail(const char *what)
{
    fprintf(stderr, "logits_of: %s\n", what);
    return 1;
}

static int32_t argmax(const float *row, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = row[i] > row[best] ? i : best;
    return (int32_t)best;
}

/* Writes the logits [n + new, vocab] of the prompt and of what follows it; says what follows. */
static int run(struct forward_model *m, int32_t *ids, size_t n, size_t new_tokens, FILE *out,
               struct airlock_error *err)
{
    const size_t vocab = m->config.vocab_size;
    float *logits = malloc((n + new_tokens) * vocab * sizeof *logits);
    if (!logits)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    int rc = 0;
    for (size_t k = 0; rc == 0 && k <= new_tokens; k++) {
        rc = forward_model_logits(m, ids, n + k, n + k, NULL, 0, logits, err);
        if (rc == 0 && k < new_tokens) {
            ids[n + k] = argmax(logits + (n + k - 1) * vocab, vocab);
            printf("%d ", (int)ids[n + k]);
        }
    }
    printf("\n");
    if (rc == 0 && fwrite(logits, vocab * sizeof *logits, n + new_tokens, out) != n + new_tokens)
        rc = airlock_error_set(err, AIRLOCK_E_IO, "the file could not be written");
    free(logits);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("usage: logits_of DIR OUT NEW_TOKENS ID...\n", stderr);
        return 2;
    }
    struct forward_model m;
    struct airlock_error err = { 0 };
    const size_t n = (size_t)argc - 4, new_tokens = strtoul(argv[3], NULL, 10);
    int32_t *ids = malloc((n + new_tokens) * sizeof *ids);
    FILE *out = fopen(argv[2], "wb");
    if (!ids || !out)
        return fail("cannot write");
    for (size_t i = 0; i < n; i++)
        ids[i] = atoi(argv[4 + i]);
    int rc = forward_model_open(&m, argv[1], n + new_tokens, n + new_tokens, 0, 0, NULL, &err);
    if (rc == 0)
        rc = run(&m, ids, n, new_tokens, out, &err);
    if (rc != 0)
        fail(err.text);
    forward_model_close(&m);
    free(ids);
    return fclose(out) != 0 || rc != 0;
}
