/*
 * bench_first_token.c - a picture or a sound to the first token, through the phi4-multimodal
 * plugin.
 *
 *   bench_first_token PLUGIN.so WORKER DIR image|audio FILE [ROUNDS [THREADS]]
 *
 * tests/bench/first_token_hf.py makes DIR, runs transformers and this program in turn.  Each round
 * is another caller's, so that nothing is found in a cache.
 */
#include "../null_host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "bench_first_token: %s: %s\n", what, why);
    exit(1);
}

static void host_log(const llm_host *host, int32_t level, const char *text, uint64_t size)
{
    (void)host, (void)level;
    printf("airlock: %.*s\n", (int)size, text);
}

static char *read_file(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    char *data = NULL;
    if (!f || fseek(f, 0, SEEK_END))
        fail(path, "cannot be read");
    *size = (size_t)ftell(f);
    rewind(f);
    data = malloc(*size);
    if (!data || fread(data, 1, *size, f) != *size)
        fail(path, "cannot be read");
    fclose(f);
    return data;
}

static llm_model *load(const llm_model_class *cls, char **argv, unsigned threads,
                       const llm_sink *sink)
{
    static const llm_host host = { sizeof host, 0, NULL, host_log, null_service };
    static char options[4200];
    llm_error err = { .struct_size = sizeof err };
    llm_model *model;
    snprintf(options, sizeof options, "{\"media_worker\":\"%.4000s\"}", argv[2]);
    const llm_config config = { .struct_size = sizeof config,
                                .name = str("bench"),
                                .path = str(argv[3]),
                                .threads = threads,
                                .options_json = str(options) };
    if (cls->create(&host, &config, &model, &err) != LLM_OK ||
        cls->load(model, sink, &err) != LLM_OK)
        fail(argv[3], err.text);
    return model;
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: bench_first_token PLUGIN.so WORKER DIR image|audio FILE [ROUNDS "
                        "[THREADS]]\n");
        return 2;
    }
    const llm_sink sink = { .struct_size = sizeof sink,
                            .emit = null_emit,
                            .cancelled = never_cancelled };
    const llm_model_class *cls = model_class_of(argv[1]);
    if (!cls)
        fail(argv[1], dlerror());
    llm_model *model = load(cls, argv, argc > 7 ? (unsigned)atoi(argv[7]) : 0, &sink);
    const int image = strcmp(argv[4], "image") == 0, rounds = argc > 6 ? atoi(argv[6]) : 3;
    llm_media media = { .struct_size = sizeof media };
    size_t size;
    media.bytes.ptr = read_file(argv[5], &size);
    media.bytes.len = size;
    const llm_media *list[] = { &media };
    const llm_message message = { .struct_size = sizeof message,
                                  .role = LLM_ROLE_USER,
                                  .content = str(image ? "<|image_1|>what is it"
                                                       : "<|audio_1|>what is it") };
    const llm_message *messages[] = { &message };
    const llm_params params = { .struct_size = sizeof params,
                                .set = LLM_P_MAX_NEW_TOKENS,
                                .max_new_tokens = 1 };
    llm_stats stats = { .struct_size = sizeof stats };
    double best = 1e9, least = 1e9;
    for (int i = 0; i < rounds; i++) {
        char salt[16];
        snprintf(salt, sizeof salt, "%d", i);
        const llm_request request = { .struct_size = sizeof request,
                                      .messages = messages,
                                      .n_messages = 1,
                                      .images = list,
                                      .n_images = (uint64_t)image,
                                      .audios = list,
                                      .n_audios = (uint64_t)!image,
                                      .params = &params,
                                      .cache_salt = str(salt) };
        llm_error err = { .struct_size = sizeof err };
        const double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_PROCESS_CPUTIME_ID);
        if (cls->generate(model, &request, &sink, &stats, &err) != LLM_OK)
            fail(argv[5], err.text);
        const double w = now(CLOCK_MONOTONIC) - wall, c = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        best = w < best ? w : best;
        least = c < least ? c : least;
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf(
        "airlock: %.3f s, processor %.3f s to the first token of %llu; at most %ld MiB resident\n",
        best, least, (unsigned long long)stats.tokens_in, usage.ru_maxrss / 1024);
    cls->destroy(model);
    return 0;
}
