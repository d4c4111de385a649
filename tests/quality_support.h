/* quality_support.h - how far compressed weights or caches move a model's next-token distributions:
 * Kullback-Leibler divergence and agreement of the likeliest token; for a test and a benchmark. */
#ifndef AIRLOCK_TESTS_QUALITY_SUPPORT_H
#define AIRLOCK_TESTS_QUALITY_SUPPORT_H

#include "common/json.h"
#include "engine/tokenizer.h"
#include "forward_support.h"
#include "ops/quant.h"

#include <math.h>
#include <stdio.h>

enum { QUALITY_MAX_IDS = 256, QUALITY_MAX_TEXTS = 600 };

/* What models are asked: token sequences, each read from its first token. */
struct quality_texts {
    int32_t ids[QUALITY_MAX_TEXTS][QUALITY_MAX_IDS];
    size_t length[QUALITY_MAX_TEXTS], n;
};

static inline void quality_random_texts(struct quality_texts *t, size_t n, size_t length,
                                        size_t vocab)
{
    uint64_t s = 88172645463325252u;
    t->n = n;
    for (size_t i = 0; i < n; i++) {
        t->length[i] = length;
        for (size_t k = 0; k < length; k++) {
            s ^= s << 13, s ^= s >> 7, s ^= s << 17;
            t->ids[i][k] = (int32_t)(s % vocab);
        }
    }
}

static inline void quality_add_part(char *text, size_t size, const char *role, const char *content)
{
    const size_t used = strlen(text);
    snprintf(text + used, size - used, "<|%s|>%s<|end|>", role, content);
}

/* A line of demo/heldout.jsonl as the chat that the model sees, with its answer. */
static inline int quality_chat(const char *line, char *text, size_t size)
{
    struct airlock_error err;
    struct json_object *o = json_parse(line, strlen(line), &err), *messages = NULL;
    if (!o)
        return -1;
    text[0] = 0;
    json_object_object_get_ex(o, "messages", &messages);
    for (size_t i = 0; messages && i < json_object_array_length(messages); i++) {
        struct json_object *m = json_object_array_get_idx(messages, i);
        quality_add_part(text, size, json_object_get_string(json_object_object_get(m, "role")),
                         json_object_get_string(json_object_object_get(m, "content")));
    }
    quality_add_part(text, size, "assistant",
                     json_object_get_string(json_object_object_get(o, "answer")));
    json_object_put(o);
    return 0;
}

/* Every step-th chat of a file of held-out questions.  0, or -1 with err. */
static inline int quality_chats(struct quality_texts *t, const char *dir, const char *path,
                                size_t step, struct airlock_error *err)
{
    char *line = NULL, text[8192];
    size_t capacity = 0;
    struct tokenizer *tokenizer = tokenizer_open(dir, err);
    FILE *f = fopen(path, "r");
    t->n = 0;
    for (size_t i = 0; f && tokenizer && t->n < QUALITY_MAX_TEXTS; i++) {
        struct token_list ids = { 0 };
        if (getline(&line, &capacity, f) < 0)
            break;
        if (i % step || quality_chat(line, text, sizeof text) ||
            tokenizer_encode(tokenizer, text, strlen(text), TOKENIZER_SPECIAL, false, &ids, err))
            continue;
        t->length[t->n] = ids.n < QUALITY_MAX_IDS ? ids.n : QUALITY_MAX_IDS;
        memcpy(t->ids[t->n], ids.ids, t->length[t->n] * sizeof *ids.ids);
        t->n++;
        free(ids.ids);
    }
    free(line);
    if (f)
        fclose(f);
    tokenizer_close(tokenizer);
    return t->n > 0 ? 0
                    : airlock_error_set(err, AIRLOCK_E_IO, "%s: no chats, or no tokenizer", path);
}

/* Logits of every token of the texts, [sum of lengths, vocab], freed by the caller.  NULL: err. */
static inline float *quality_logits(const struct quality_texts *t, const char *dir,
                                    enum ops_dtype weights, enum ops_dtype kv, size_t *vocab,
                                    size_t *rows, struct airlock_error *err)
{
    struct forward_model m;
    float *all = NULL;
    size_t at = 0;
    *rows = 0;
    for (size_t i = 0; i < t->n; i++)
        *rows += t->length[i];
    forward_dtype = weights;
    int status = forward_model_open(&m, dir, 64, QUALITY_MAX_IDS, kv, 0, NULL, err);
    forward_dtype = 0;
    if (status == 0) {
        *vocab = m.config.vocab_size;
        all = malloc(*rows * *vocab * sizeof *all);
        status = all ? 0 : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < t->n && status == 0; i++) {
        status =
            forward_model_logits(&m, t->ids[i], t->length[i], 64, NULL, 0, all + at * *vocab, err);
        at += t->length[i];
    }
    forward_model_close(&m);
    if (status == 0)
        return all;
    free(all);
    return NULL;
}

/* Each row of x as CUDA's fp8_activations have it (ops.h): E4M3 times a power of two. */
static inline void quality_round_rows(float *to, const float *x, size_t rows, size_t k)
{
    for (size_t r = 0; r < rows; r++) {
        uint32_t most = 0;
        for (size_t i = 0; i < k; i++) {
            const uint32_t magnitude = quant_bits(x[r * k + i]) & 0x7fffffffu;
            most = magnitude > most ? magnitude : most;
        }
        const float scale = quant_fp8_scale(quant_float(most));
        for (size_t i = 0; i < k; i++)
            to[r * k + i] = quant_fp8_value(quant_fp8_code(x[r * k + i], scale)) * scale;
    }
}

static inline enum ops_status quality_matmul(struct ops_device *dev, void *y, const void *x,
                                             const struct ops_matrix *m, size_t rows)
{
    if (m->dtype != OPS_FP8 || rows <= 8)
        return ops_cpu()->matmul(dev, y, x, m, rows);
    float *rounded = malloc(rows * m->cols * sizeof *rounded);
    if (!rounded)
        return OPS_E_MEMORY;
    quality_round_rows(rounded, (const float *)x, rows, m->cols);
    const enum ops_status status = ops_cpu()->matmul(dev, y, rounded, m, rows);
    free(rounded);
    return status;
}

/* The CPU's ops with the numbers that CUDA's fp8_activations would multiply, for forward_by. */
static inline const struct ops *quality_fp8_ops(void)
{
    static struct ops table;
    table = *ops_cpu();
    table.matmul = quality_matmul;
    return &table;
}

struct quality {
    double mean_kl, p99_kl, worst_kl; /* nats, of the reference's distribution from the other's */
    double agree;                     /* part of the rows whose likeliest token is the same */
};

static inline double quality_log_sum(const float *x, size_t n, size_t *likeliest)
{
    double sum = 0;
    *likeliest = 0;
    for (size_t i = 1; i < n; i++)
        *likeliest = x[i] > x[*likeliest] ? i : *likeliest;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)x[*likeliest]);
    return (double)x[*likeliest] + log(sum);
}

static inline int quality_by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* KL(p || q) = sum of p log(p / q) of each row, p from want and q from got. */
static inline struct quality quality_compare(const float *want, const float *got, size_t rows,
                                             size_t vocab)
{
    struct quality q = { 0 };
    double *kl = calloc(rows + 1, sizeof *kl);
    for (size_t r = 0; kl && r < rows; r++) {
        const float *a = want + r * vocab, *b = got + r * vocab;
        size_t top_a, top_b;
        const double za = quality_log_sum(a, vocab, &top_a), zb = quality_log_sum(b, vocab, &top_b);
        for (size_t i = 0; i < vocab; i++)
            kl[r] += exp((double)a[i] - za) * ((double)a[i] - za - (double)b[i] + zb);
        q.mean_kl += kl[r] / (double)rows;
        q.agree += (top_a == top_b ? 1.0 : 0.0) / (double)rows;
    }
    if (kl && rows) {
        qsort(kl, rows, sizeof *kl, quality_by_size);
        q.p99_kl = kl[rows * 99 / 100];
        q.worst_kl = kl[rows - 1];
    }
    free(kl);
    return q;
}

#endif
