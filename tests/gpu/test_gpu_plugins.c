/* test_gpu_plugins.c - two CUDA plugins in one process, at once, and a plugin that is loaded and
 * destroyed many times: the same answers, and no memory is lost. */
#include "ops/ops.h"

#include "../null_host.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* KV_BYTES: the model is tiny, so that it is keys and values that a leak would show. */
enum { ROUNDS = 20, SETTLED = 5, TOKENS = 6, ASKED = 4, KV_BYTES = 64 << 20 };

static void die(const char *what, const char *why)
{
    fprintf(stderr, "test_gpu_plugins: %s: %s\n", what, why);
    exit(1);
}

static const llm_host host = { sizeof host, 0, NULL, null_log, null_service };

/* ---- answers --------------------------------------------------------------------------------- */

struct answer {
    llm_sink sink;
    size_t n;
    int64_t ids[TOKENS];
    float logprobs[TOKENS];
};

static void token(const llm_sink *s, const llm_token *t)
{
    struct answer *a = s->ctx;
    if (a->n < TOKENS) {
        a->ids[a->n] = t->id;
        a->logprobs[a->n++] = t->logprob;
    }
}

static void answer_init(struct answer *a)
{
    memset(a, 0, sizeof *a);
    a->sink = (llm_sink){ .struct_size = sizeof a->sink,
                          .ctx = a,
                          .emit = null_emit,
                          .cancelled = never_cancelled,
                          .token = token };
}

struct loaded {
    const llm_model_class *cls;
    llm_model *model;
};

static struct loaded load(const llm_model_class *cls, const char *dir, const char *device)
{
    struct loaded l = { .cls = cls };
    struct answer nobody;
    llm_error err = { .struct_size = sizeof err };
    const llm_config config = { .struct_size = sizeof config,
                                .name = str("test"),
                                .path = str(dir),
                                .device = str(device),
                                .threads = 2,
                                .kv_memory = KV_BYTES };
    answer_init(&nobody);
    if (cls->create(&host, &config, &l.model, &err) || cls->load(l.model, &nobody.sink, &err))
        die("load", err.text);
    return l;
}

static struct answer ask(const struct loaded *l, const char *text)
{
    struct answer a;
    llm_error err = { .struct_size = sizeof err };
    llm_stats stats = { .struct_size = sizeof stats };
    const llm_message message = { .struct_size = sizeof message,
                                  .role = LLM_ROLE_USER,
                                  .content = str(text) };
    const llm_message *messages[] = { &message };
    const llm_params params = { .struct_size = sizeof params,
                                .set = LLM_P_MAX_NEW_TOKENS | LLM_P_LOGPROBS,
                                .max_new_tokens = TOKENS };
    const llm_request request = {
        .struct_size = sizeof request, .messages = messages, .n_messages = 1, .params = &params
    };
    answer_init(&a);
    if (l->cls->generate(l->model, &request, &a.sink, &stats, &err))
        die("generate", err.text);
    if (a.n == 0)
        die("generate", "no tokens");
    return a;
}

static int same(const struct answer *a, const struct answer *b)
{
    return a->n == b->n && memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0 &&
           memcmp(a->logprobs, b->logprobs, a->n * sizeof *a->logprobs) == 0;
}

/* ---- two at once ----------------------------------------------------------------------------- */

static const char *const questions[ASKED] = { "who are you", "what is it", "why", "and then" };

struct caller {
    const struct loaded *model;
    struct answer answers[ASKED];
};

static void *ask_all(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < ASKED; i++)
        c->answers[i] = ask(c->model, questions[i]);
    return NULL;
}

static void two_at_once(const llm_model_class *one, const llm_model_class *two, const char *dir,
                        const char *device)
{
    struct loaded a = load(one, dir, device), b = load(two, dir, device);
    struct caller alone = { .model = &a }, first = { .model = &a }, second = { .model = &b };
    pthread_t threads[2];
    ask_all(&alone);
    if (pthread_create(&threads[0], NULL, ask_all, &first) ||
        pthread_create(&threads[1], NULL, ask_all, &second))
        die("pthread_create", "failed");
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    for (int i = 0; i < ASKED; i++)
        if (!same(&alone.answers[i], &first.answers[i]) ||
            !same(&alone.answers[i], &second.answers[i]))
            die(questions[i], "another answer beside the other plugin than alone");
    one->destroy(a.model);
    struct answer last = ask(&b, questions[0]); /* the other lives on */
    if (!same(&last, &alone.answers[0]))
        die(questions[0], "another answer after the other plugin's model was destroyed");
    two->destroy(b.model);
    printf("two plugins at once: the same %d answers\n", ASKED);
}

/* ---- again and again ------------------------------------------------------------------------- */

static uint64_t host_bytes(void)
{
    unsigned long long kib = 0;
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmRSS: %llu", &kib) == 1)
            break;
    if (f)
        fclose(f);
    return (uint64_t)kib << 10;
}

static void again_and_again(const llm_model_class *cls, const char *dir, const char *device,
                            const struct ops *ops, struct ops_device *dev)
{
    enum { ALLOWED = 2 << 20, HOST_ALLOWED = 6 << 20 }; /* the driver gives memory by 2 MiB */
    uint64_t left = 0, total = 0, left_before = 0, host_before = 0;
    for (int i = 1; i <= ROUNDS; i++) {
        struct loaded l = load(cls, dir, device);
        ask(&l, questions[0]);
        cls->destroy(l.model);
        if (ops->memory(dev, &left, &total) != OPS_OK)
            die("memory", "the device failed");
        if (i == SETTLED) {
            left_before = left;
            host_before = host_bytes();
        }
    }
    const uint64_t host_after = host_bytes();
    printf("loaded and destroyed %d times: device %+lld KiB, host %+lld KiB since the %dth\n",
           ROUNDS, ((long long)left_before - (long long)left) / 1024,
           ((long long)host_after - (long long)host_before) / 1024, SETTLED);
    if (left + ALLOWED < left_before)
        die("loaded and destroyed", "the device lost memory");
    if (host_before + HOST_ALLOWED < host_after)
        die("loaded and destroyed", "the host lost memory");
}

int main(int argc, char **argv)
{
    const char *why = "";
    if (argc != 4) {
        fputs("usage: test_gpu_plugins PLUGIN COPY_OF_PLUGIN MODEL_DIR\n", stderr);
        return 2;
    }
    const struct ops *ops = ops_cuda(&why);
    if (ops)
        why = ops->missing(0);
    if (why) {
        printf("# skipped: %s\n", why);
        return 77;
    }
    const struct ops_open how = { .no_products = true };
    struct ops_device *dev = ops->open(&how, &why);
    if (!dev)
        die("open", why);
    const llm_model_class *one = model_class_of(argv[1]), *two = model_class_of(argv[2]);
    if (!one || !two)
        die("dlopen", dlerror());
    if (one == two)
        die(argv[2], "is the same plugin once more, not a copy");
    two_at_once(one, two, argv[3], "cuda");
    again_and_again(one, argv[3], "cuda", ops, dev);
    ops->close(dev);
    return 0;
}
