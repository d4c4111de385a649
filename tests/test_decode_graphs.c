/* test_decode_graphs.c - decode steps that are recorded and run again compute what plain ones do,
 * to the last bit, whatever changes between them. */
#include "engine/sample_batch.h"
#include "forward_support.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

#ifdef COUNTED_BY_EMULATION
#include "cuda_emu/emu_counts.h"
#endif

enum {
    CONTEXT = 700,
    SEQS = 7, /* not a power of two: the largest kind has no padding */
    SITE_WIDTH = 512,
    RANK = 8,
    SHORTEST = 32
};

/* Two forward passes on one device, each with keys and values of its own. */
struct twin {
    struct kv_cache kv;
    struct phi4_forward *forward;
};

/* y += B (A x) on every layer, of any width up to SITE_WIDTH. */
struct adapter {
    void *a, *b; /* device, bf16 */
    unsigned seed;
};

struct sequence {
    int32_t last;
    size_t position; /* of the last token, whose keys are not there yet */
    struct kv_table tables[2];
    const void *adapters[LINEAR_MAX_ADAPTERS];
    size_t n_adapters;
    struct sampler sampler;
};

static struct forward_model model;
static struct twin twins[2]; /* plain, recorded */
static struct adapter adapters[3];
static struct sequence seqs[SEQS];
static struct sample_batch batches[2];
static float *logits[2];
static uint64_t epoch;
static void *left[64]; /* where adapters lay; freed at the end, so that nothing lies there again */
static size_t n_left;

/* ---- adapters -------------------------------------------------------------------------------- */

static void *random_bf16(size_t n, unsigned seed, float amplitude)
{
    uint16_t *host = malloc(n * sizeof *host);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        float f = ((float)(seed >> 8) / (float)(1 << 24) - 0.5f) * amplitude;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        host[i] = (uint16_t)(bits >> 16);
    }
    void *p = model.ops->alloc(model.dev, n * sizeof *host);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(model.ops->upload(model.dev, p, host, n * sizeof *host), OPS_OK);
    ck_assert_int_eq(model.ops->sync(model.dev), OPS_OK);
    free(host);
    return p;
}

static void adapter_place(struct adapter *a)
{
    a->a = random_bf16(RANK * SITE_WIDTH, a->seed, 0.3f);
    a->b = random_bf16(SITE_WIDTH * RANK, a->seed + 1, 0.3f);
}

/* To another place; the old one holds other numbers from then on. */
static void adapter_move(struct adapter *a)
{
    void *old[] = { a->a, a->b };
    const size_t bytes = RANK * SITE_WIDTH * 2;
    adapter_place(a);
    uint16_t *noise = malloc(bytes);
    memset(noise, 0x3d, bytes);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(model.ops->upload(model.dev, old[i], noise, bytes), OPS_OK);
        ck_assert_int_eq(model.ops->sync(model.dev), OPS_OK);
    }
    free(noise);
    ck_assert_uint_lt(n_left + 1, sizeof left / sizeof *left);
    left[n_left++] = old[0];
    left[n_left++] = old[1];
}

static size_t in_of(size_t site)
{
    const struct phi4_config *c = &model.config;
    switch (site % LINEAR_SITES) {
    case LINEAR_O:
        return c->num_attention_heads * c->head_dim;
    case LINEAR_DOWN:
        return c->intermediate_size;
    default:
        return c->hidden_size;
    }
}

static size_t out_of(size_t site)
{
    const struct phi4_config *c = &model.config;
    switch (site % LINEAR_SITES) {
    case LINEAR_QKV:
        return (c->num_attention_heads + 2 * c->num_key_value_heads) * c->head_dim;
    case LINEAR_GATE_UP:
        return 2 * c->intermediate_size;
    default:
        return c->hidden_size;
    }
}

static int hook_apply(void *ctx, size_t site, const void *x, void *y, size_t rows,
                      const struct linear_segment *segments, size_t n, struct airlock_error *err)
{
    (void)ctx;
    struct ops_lora_segment s[SEQS];
    for (size_t i = 0; i < n; i++) {
        const struct adapter *a = segments[i].adapter;
        s[i] = (struct ops_lora_segment){ .first_row = segments[i].first_row,
                                          .rows = segments[i].rows,
                                          .a = a->a,
                                          .b = a->b,
                                          .dtype = OPS_BF16,
                                          .rank = RANK,
                                          .scale = 0.5f };
    }
    return model.ops->lora(model.dev, y, x, rows, in_of(site), out_of(site), s, n) == OPS_OK
               ? 0
               : airlock_error_set(err, AIRLOCK_E_INTERNAL, "lora");
}

static int hook_begin(void *ctx, const void *const *used, size_t n, size_t rows, uint64_t *out,
                      struct airlock_error *err)
{
    (void)ctx, (void)used, (void)err;
    ck_assert_uint_ge(n, 1);
    ck_assert_uint_ge(rows, 1);
    *out = epoch;
    return 0;
}

static const struct linear_hook hook = { .apply = hook_apply, .begin = hook_begin };

/* ---- set up ---------------------------------------------------------------------------------- */

/* Keys and values of a past that nobody computed, the same for both. */
static void fill_cache(struct kv_cache *kv)
{
    struct ops_heads heads = phi4_heads(&model.config);
    size_t n = kv->n_blocks * OPS_KV_BLOCK * heads.n_kv_heads * heads.head_dim;
    for (size_t l = 0; l < kv->n_layers; l++) {
        void *const to[] = { kv->layers[l].k, kv->layers[l].v };
        for (unsigned i = 0; i < 2; i++) {
            void *from = random_bf16(n, (unsigned)l * 2 + i, 1);
            uint16_t *host = malloc(n * sizeof *host);
            model.ops->download(model.dev, host, from, n * sizeof *host);
            model.ops->upload(model.dev, to[i], host, n * sizeof *host);
            model.ops->sync(model.dev);
            model.ops->free(model.dev, from);
            free(host);
        }
    }
}

static void twin_open(struct twin *t, bool no_graphs)
{
    struct airlock_error err;
    struct ops_heads heads = phi4_heads(&model.config);
    ck_assert_int_eq(kv_cache_init(&t->kv, model.ops, model.dev, model.config.num_hidden_layers,
                                   &heads, OPS_BF16, SEQS * kv_cache_blocks_for(CONTEXT), &err),
                     0);
    fill_cache(&t->kv);
    struct phi4_forward_options o = { .config = &model.config,
                                      .weights = &model.weights,
                                      .kv = &t->kv,
                                      .ops = model.ops,
                                      .dev = model.dev,
                                      .max_rows = 64,
                                      .max_seqs = SEQS,
                                      .max_logits = SEQS,
                                      .max_context = CONTEXT,
                                      .hook = &hook,
                                      .no_graphs = no_graphs,
                                      .graph_min_length = SHORTEST };
    t->forward = phi4_forward_new(&o, &err);
    ck_assert_msg(t->forward != NULL, "%s", err.text);
}

static void sequence_start(size_t i, size_t position)
{
    struct sequence *q = &seqs[i];
    for (int t = 0; t < 2; t++)
        kv_table_release(&twins[t].kv, &q->tables[t]);
    q->last = (int32_t)(i * 31 % 250);
    q->position = position;
}

static void setup(void)
{
    struct airlock_error err = { 0 };
    char dir[600];
    const char *srcdir = getenv("top_srcdir");
    snprintf(dir, sizeof dir, "%s/tests/golden/logits/longrope_bf16_gqa3", srcdir ? srcdir : ".");
    ck_assert_msg(forward_model_open(&model, dir, 16, 64, OPS_BF16, 1, NULL, &err) == 0, "%s",
                  err.text);
    for (int t = 0; t < 2; t++) {
        twin_open(&twins[t], t == 0);
        ck_assert_int_eq(sample_batch_init(&batches[t], &model.config, SEQS, 264), 0);
        logits[t] = calloc(SEQS * model.config.vocab_size, sizeof(float));
    }
    for (size_t i = 0; i < 3; i++) {
        adapters[i].seed = 100 * (unsigned)i;
        adapter_place(&adapters[i]);
    }
    for (size_t i = 0; i < SEQS; i++) {
        struct sampler_params p = { .temperature = 0.8, .top_p = 0.9, .repetition_penalty = 1 };
        p.do_sample = i % 2;
        p.seed = i;
        p.frequency_penalty = i == 3 ? 0.2 : 0;
        memset(&seqs[i], 0, sizeof seqs[i]);
        ck_assert_int_eq(sampler_init(&seqs[i].sampler, &p, NULL, 0, NULL, 0), 0);
        sequence_start(i, 5 + 20 * i);
    }
}

static void teardown(void)
{
    for (size_t i = 0; i < SEQS; i++) {
        sequence_start(i, 0);
        sampler_free(&seqs[i].sampler);
    }
    for (int t = 0; t < 2; t++) {
        phi4_forward_free(twins[t].forward);
        kv_cache_free(&twins[t].kv);
        sample_batch_free(&batches[t]);
        free(logits[t]);
    }
    for (size_t i = 0; i < 3; i++) {
        model.ops->free(model.dev, adapters[i].a);
        model.ops->free(model.dev, adapters[i].b);
    }
    while (n_left > 0)
        model.ops->free(model.dev, left[--n_left]);
    forward_model_close(&model);
}

/* ---- steps ----------------------------------------------------------------------------------- */

/* One step of the first n sequences by one of the twins. */
static void step_of(int t, size_t n, int logprobs, bool keep)
{
    struct airlock_error err = { 0 };
    struct forward_seq steps[SEQS];
    sample_batch_clear(&batches[t]);
    for (size_t i = 0; i < n; i++) {
        struct sequence *q = &seqs[i];
        ck_assert_int_eq(kv_table_grow(&twins[t].kv, &q->tables[t], q->position + 1), KV_OK);
        steps[i] = (struct forward_seq){ .ids = &q->last,
                                         .rows = 1,
                                         .position = q->position,
                                         .table = &q->tables[t],
                                         .long_rope = q->position >= 32,
                                         .logits = FORWARD_LAST_LOGITS,
                                         .adapters = q->adapters,
                                         .n_adapters = q->n_adapters };
        sample_batch_add(&batches[t], &q->sampler, NULL, i == 0 ? logprobs : -1);
        batches[t].keep[i] = keep;
    }
    ck_assert_msg(
        phi4_forward_choose(twins[t].forward, steps, n, &batches[t].sampling, logits[t], &err) == 0,
        "%s", err.text);
}

static bool same_choice(const struct ops_chosen *a, const struct ops_chosen *b, bool logprobs)
{
    const size_t n = (size_t)a->n_top;
    return a->id == b->id && a->drawn == b->drawn &&
           (!logprobs ||
            (a->n_top == b->n_top && memcmp(&a->logprob, &b->logprob, sizeof(float)) == 0 &&
             memcmp(a->top_id, b->top_id, n * sizeof(int32_t)) == 0 &&
             memcmp(a->top_logprob, b->top_logprob, n * sizeof(float)) == 0));
}

/* Both compute the step; whether they agree, to the last bit.  The sequences go on. */
static bool step(size_t n, int logprobs)
{
    bool same = true;
    for (int t = 0; t < 2; t++)
        step_of(t, n, logprobs, true);
    for (size_t i = 0; i < n; i++) {
        const struct ops_chosen *a = &batches[0].chosen[i], *b = &batches[1].chosen[i];
        same = same && same_choice(a, b, i == 0 && logprobs >= 0);
        ck_assert_int_eq(sampler_accept(&seqs[i].sampler, a->id, a->drawn), 0);
        seqs[i].last = a->id;
        if (++seqs[i].position == CONTEXT)
            sequence_start(i, 3);
    }
    return same && memcmp(logits[0], logits[1], n * model.config.vocab_size * sizeof(float)) == 0;
}

static void wear(size_t i, size_t adapter)
{
    seqs[i].adapters[0] = &adapters[adapter % 3];
    seqs[i].adapters[1] = &adapters[(adapter + 1) % 3];
    seqs[i].n_adapters = adapter % 3;
}

/* Lengths, blocks, batch sizes, parameters and adapters change. */
START_TEST(recorded_steps_are_plain_steps_to_the_last_bit)
{
    static const size_t sizes[] = { 1, 1, 2, 3, 3, 4, 5, 7, 7, 6, 2, 1 };
    enum { N = sizeof sizes / sizeof *sizes, EACH = 5 };
    for (size_t k = 0; k < N; k++) {
        if (k % 3 == 2)
            sequence_start(k % SEQS, 10 + 45 * k); /* up to 505 tokens: more chunks of attention */
        for (size_t i = 0; i < SEQS; i++)
            wear(i, k % 4 == 0 ? 0 : i + k);
        for (size_t j = 0; j < EACH; j++)
            ck_assert_msg(step(sizes[k], k % 5 == 4 ? 3 : -1), "step %zu of %zu rows", k * EACH + j,
                          sizes[k]);
    }
    const struct forward_graph_counts c = phi4_forward_graph_counts(twins[1].forward);
    printf("# %d steps: %llu plain, %llu recorded, %llu run again\n", N * EACH,
           (unsigned long long)c.plain, (unsigned long long)c.recorded,
           (unsigned long long)c.replayed);
    ck_assert_uint_eq(c.plain + c.recorded + c.replayed, N * EACH);
    ck_assert_uint_ge(c.replayed, N * EACH / 3);
    ck_assert_uint_eq(phi4_forward_graph_counts(twins[0].forward).replayed, 0);
}
END_TEST

START_TEST(an_adapter_that_moved_is_recorded_again)
{
    for (size_t k = 0; k < 6; k++) {
        for (size_t i = 0; i < 3; i++)
            wear(i, i);
        for (size_t j = 0; j < 4; j++)
            ck_assert_msg(step(3, -1), "after %zu moves, step %zu", k, j);
        adapter_move(&adapters[k % 3]);
        epoch++;
    }
    const struct forward_graph_counts c = phi4_forward_graph_counts(twins[1].forward);
    ck_assert_uint_ge(c.recorded, 6);
    ck_assert_uint_ge(c.replayed, 12);
}
END_TEST

/* The negative control: were the epoch to stay, the old place would be read, and this test sees
 * it. */
START_TEST(a_recording_of_the_old_place_would_be_noticed)
{
    bool same = true;
    wear(0, 1);
    for (size_t j = 0; j < 4; j++)
        ck_assert(step(1, -1));
    for (int i = 0; i < 3; i++)
        adapter_move(&adapters[i]);
    for (size_t j = 0; j < 3; j++)
        same = step(1, -1) && same;
    ck_assert(!same);
}
END_TEST

#ifdef COUNTED_BY_EMULATION
START_TEST(where_nothing_can_be_recorded_steps_are_plain)
{
    setenv("AIRLOCK_EMU_NO_CAPTURE", "1", 1);
    for (size_t j = 0; j < 12; j++)
        ck_assert(step(2, -1));
    unsetenv("AIRLOCK_EMU_NO_CAPTURE");
    const struct forward_graph_counts c = phi4_forward_graph_counts(twins[1].forward);
    ck_assert_uint_eq(c.plain, 12);
    ck_assert_uint_eq(c.recorded + c.replayed, 0);
}
END_TEST

/* One copy to the device, one graph, one copy back, one wait. */
START_TEST(a_recorded_step_allocates_nothing_and_waits_once)
{
    for (size_t i = 0; i < SEQS; i++)
        wear(i, i);
    for (size_t j = 0; j < 6; j++) {
        const struct emu_counts before = emu_counts_now();
        step_of(1, 6, -1, false);
        const struct emu_counts after = emu_counts_now();
        if (j < 2)
            continue;
        ck_assert_uint_eq(after.allocations, before.allocations);
        ck_assert_uint_eq(after.waits, before.waits + 1);
        ck_assert_uint_eq(after.enqueued, before.enqueued + 3);
    }
}
END_TEST
#endif

int main(void)
{
    const char *why = "";
    if (!forward_ops() || forward_ops()->missing(0)) {
        printf("# skipped: %s\n", forward_ops() ? forward_ops()->missing(0) : why);
        return 77;
    }
    Suite *suite = suite_create("decode graphs");
    TCase *t = tcase_create("steps");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, recorded_steps_are_plain_steps_to_the_last_bit);
    tcase_add_test(t, an_adapter_that_moved_is_recorded_again);
    tcase_add_test(t, a_recording_of_the_old_place_would_be_noticed);
#ifdef COUNTED_BY_EMULATION
    tcase_add_test(t, where_nothing_can_be_recorded_steps_are_plain);
    tcase_add_test(t, a_recorded_step_allocates_nothing_and_waits_once);
#endif
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
