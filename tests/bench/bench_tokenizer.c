/* bench_tokenizer.c - how long a tokenizer takes to open, to encode a text, and to encode the worst
 * runs. */
#include "common/bytes.h"
#include "common/io.h"
#include "engine/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 256 << 20, RUN_BYTES = 1 << 20, REPEATS = 5 };

static double seconds_since(uint64_t start)
{
    return (double)(io_now_ns() - start) / 1e9;
}

/* The ids of text, and the seconds of the fastest of several runs. */
static size_t measure(const struct tokenizer *t, const char *text, size_t size, int repeats,
                      double *best)
{
    struct token_list ids = { 0 };
    struct airlock_error err;
    *best = 1e9;
    for (int i = 0; i < repeats; i++) {
        const uint64_t start = io_now_ns();
        ids.n = 0;
        if (tokenizer_encode(t, text, size, TOKENIZER_SPECIAL, false, &ids, &err) < 0) {
            fprintf(stderr, "bench_tokenizer: %s\n", err.text);
            exit(1);
        }
        const double seconds = seconds_since(start);
        *best = seconds < *best ? seconds : *best;
    }
    free(ids.ids);
    return ids.n;
}

static void measure_run(const struct tokenizer *t, const char *name, const char *unit)
{
    struct bytes text = BYTES_INIT(4 * RUN_BYTES);
    double one, two;
    while (text.size < 2 * RUN_BYTES && bytes_add_text(&text, unit) == 0)
        continue;
    measure(t, text.data, text.size / 2 / strlen(unit) * strlen(unit), 3, &one);
    measure(t, text.data, text.size, 3, &two);
    printf("  %-12s 1 MiB %.3f s, 2 MiB %.3f s: x %.2f\n", name, one, two, two / one);
    bytes_free(&text);
}

static void measure_texts(const struct tokenizer *t, int n, char **files)
{
    for (int i = 0; i < n; i++) {
        struct bytes text = BYTES_INIT(TEXT_MAX);
        struct airlock_error err;
        double best;
        if (io_read_file(files[i], &text, &err) < 0) {
            fprintf(stderr, "bench_tokenizer: %s\n", err.text);
            exit(1);
        }
        const size_t ids = measure(t, text.data, text.size, REPEATS, &best);
        printf("%s: %zu bytes, %zu ids, %.4f s, %.1f MB/s\n", files[i], text.size, ids, best,
               (double)text.size / best / 1e6);
        bytes_free(&text);
    }
}

static void measure_runs(const struct tokenizer *t)
{
    static const char *const runs[][2] = { { "a", "a" },
                                           { "_", "_" },
                                           { "space", " " },
                                           { "newline", "\n" },
                                           { "ZWJ", "\xe2\x80\x8d" },
                                           { "one ideograph", "\xe6\xbc\xa2" },
                                           { "ideographs",
                                             "\xe6\xbc\xa2\xe5\xad\x97\xe7\xa9\xba\xe6\xb0\x94" } };
    printf("runs of one word:\n");
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
        measure_run(t, runs[i][0], runs[i][1]);
}

int main(int argc, char **argv)
{
    struct airlock_error err;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_tokenizer MODEL-FOLDER [TEXT-FILE...]\n");
        return 2;
    }
    double best = 1e9;
    struct tokenizer *t = NULL;
    for (int i = 0; i < REPEATS; i++) {
        tokenizer_close(t);
        const uint64_t start = io_now_ns();
        t = tokenizer_open(argv[1], &err);
        if (!t) {
            fprintf(stderr, "bench_tokenizer: %s\n", err.text);
            return 1;
        }
        const double seconds = seconds_since(start);
        printf("%s %.3f s", i ? "," : "open:", seconds);
        best = seconds < best ? seconds : best;
    }
    printf("; best %.3f s\n", best);
    measure_texts(t, argc - 2, argv + 2);
    measure_runs(t);
    tokenizer_close(t);
    return 0;
}
