/* bench_constraint.c - what constrained decoding costs per token with a real vocabulary: building
 * its tree, compiling schemas, and the masks of answers that are made of random allowed tokens. */
#include "engine/json_schema.h"
#include "engine/token_mask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_STEPS = 1 << 16, ANSWERS = 20, ANSWER_TOKENS = 200 };

static const struct {
    const char *name, *schema;
} cases[] = {
    { "any object", "{\"type\":\"object\"}" },
    { "person",
      "{\"type\":\"object\",\"properties\":{\"name\":{\"type\":\"string\"},\"age\":{\"type\":"
      "\"integer\",\"minimum\":0,\"maximum\":150},\"tags\":{\"type\":\"array\",\"items\":{\"type\":"
      "\"string\"},\"maxItems\":8},\"born\":{\"type\":\"string\",\"format\":\"date\"}},"
      "\"required\":[\"name\",\"age\",\"tags\",\"born\"],\"additionalProperties\":false}" },
    { "bounded string", "{\"type\":\"string\",\"minLength\":100,\"maxLength\":2000}" },
    { "short strings",
      "{\"type\":\"array\",\"items\":{\"type\":\"string\",\"maxLength\":40},\"minItems\":50}" },
    { "pattern", "{\"type\":\"string\",\"pattern\":\"^([A-Z][a-z]+ ){1,40}[0-9,;]{3,100}$\"}" },
    { "three branches",
      "{\"type\":\"array\",\"minItems\":20,\"items\":{\"anyOf\":[{\"type\":\"object\","
      "\"properties\":"
      "{\"k\":{\"const\":\"a\"},\"text\":{\"type\":\"string\"}},\"required\":[\"k\",\"text\"]},"
      "{\"type\":\"object\",\"properties\":{\"k\":{\"const\":\"b\"},\"n\":{\"type\":\"number\"}},"
      "\"required\":[\"k\",\"n\"]},{\"type\":\"string\"}]}}" },
};

/* This thread's processor time: a busy machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static double ms(uint64_t ns)
{
    return (double)ns / 1e6;
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t state = 88172645463325252u;

static uint64_t random_number(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* A random one of the allowed tokens, or -1. */
static int32_t pick(const uint32_t *mask, size_t words)
{
    size_t n = 0;
    for (size_t i = 0; i < words; i++)
        n += (size_t)__builtin_popcount(mask[i]);
    if (n == 0)
        return -1;
    size_t k = random_number() % n;
    for (size_t i = 0; i < words; i++) {
        size_t here = (size_t)__builtin_popcount(mask[i]);
        if (k >= here) {
            k -= here;
            continue;
        }
        for (int32_t bit = 0; bit < 32; bit++)
            if (mask[i] >> bit & 1 && k-- == 0)
                return (int32_t)i * 32 + bit;
    }
    return -1;
}

static size_t answer(struct token_masks *m, const struct tokenizer *t, uint32_t *mask, size_t words,
                     uint64_t *times, size_t n)
{
    const struct json_tables *tables = token_masks_tables(m);
    struct json_config c, next;
    json_automaton_start(tables, &c);
    for (int i = 0; i < ANSWER_TOKENS && n < MAX_STEPS; i++) {
        uint64_t before = cpu_ns();
        if (token_masks_fill(m, &c, mask, NULL))
            exit(1);
        times[n++] = cpu_ns() - before;
        int32_t id = pick(mask, words);
        if (id < 0)
            break;
        size_t size = 0;
        const char *bytes = tokenizer_bytes(t, id, &size);
        for (size_t k = 0; k < size; k++) {
            if (!json_automaton_step(tables, &c, (uint8_t)bytes[k], &next))
                exit(1);
            c = next;
        }
    }
    return n;
}

static void run(const struct tokenizer *t, const struct token_strings *strings, size_t which)
{
    static uint64_t times[MAX_STEPS];
    struct airlock_error err;
    uint64_t before = cpu_ns();
    struct json_tables *tables =
        json_schema_compile(cases[which].schema, strlen(cases[which].schema), &err);
    uint64_t compiled = cpu_ns() - before;
    if (!tables) {
        printf("%s: %s\n", cases[which].name, err.text);
        return;
    }
    struct token_masks *m = token_masks_new(tables, strings, &err);
    size_t words = token_mask_words(strings), n = 0;
    uint32_t *mask = malloc(words * sizeof *mask);
    for (int i = 0; i < ANSWERS; i++)
        n = answer(m, t, mask, words, times, n);
    uint64_t first = times[0], sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += times[i];
    qsort(times, n, sizeof *times, by_value);
    struct token_mask_counts counts;
    token_masks_counts(m, &counts);
    printf("%-16s %8.3f %9.3f %8.3f %8.3f %8.3f %8.3f %7zu %6llu %8zu\n", cases[which].name,
           ms(compiled), ms(first), ms(times[n / 2]), ms(sum / n), ms(times[n * 99 / 100]),
           ms(times[n - 1]), n, (unsigned long long)(counts.fills - counts.hits), counts.configs);
    free(mask);
    token_masks_free(m);
}

int main(int argc, char **argv)
{
    struct airlock_error err;
    if (argc != 2) {
        fprintf(stderr, "usage: bench_constraint FOLDER_OF_TOKENIZER_JSON\n");
        return 2;
    }
    struct tokenizer *t = tokenizer_open(argv[1], &err);
    if (!t) {
        fprintf(stderr, "bench_constraint: %s\n", err.text);
        return 1;
    }
    uint64_t before = cpu_ns();
    struct token_strings *strings = token_strings_new(t, &err);
    if (!strings)
        return 1;
    const struct token_trie *all = strings->all, *closing = strings->closing;
    printf("tree of %zu tokens: %.1f ms, %zu nodes, and %zu of tokens that end a string; %zu MiB\n",
           all->vocab, ms(cpu_ns() - before), all->n, closing->n,
           ((all->n + closing->n) * sizeof *all->nodes + 2 * all->vocab * sizeof *all->twins) >>
               20);
    printf("%-16s %8s %9s %8s %8s %8s %8s %7s %6s %8s\n", "milliseconds", "compile", "1st mask",
           "median", "mean", "p99", "worst", "tokens", "made", "configs");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run(t, strings, i);
    token_strings_free(strings);
    tokenizer_close(t);
    return 0;
}
