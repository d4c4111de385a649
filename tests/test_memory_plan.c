/* test_memory_plan.c - what a model needs of a device: Phi-4-mini in each format against the cards
 * that it must fit, and a real engine's memory against its plan. */
#include "engine_support.h"

#include "common/json.h"
#include "engine/memory_plan.h"

/* config.json of Phi-4-mini-instruct as published, but for the rope factors. */
static const char phi4_mini[] =
    "{\"model_type\":\"phi3\",\"hidden_size\":3072,\"intermediate_size\":8192,"
    "\"num_hidden_layers\":32,\"num_attention_heads\":24,\"num_key_value_heads\":8,"
    "\"vocab_size\":200064,\"partial_rotary_factor\":0.75,\"max_position_embeddings\":131072,"
    "\"original_max_position_embeddings\":4096,\"bos_token_id\":199999,\"eos_token_id\":199999,"
    "\"tie_word_embeddings\":true,\"rms_norm_eps\":1e-05,\"sliding_window\":null}";

enum { CONTEXT = 8192 };
#define MIB (1024.0 * 1024.0)
/* What a card of N GB has left: the driver's, and the context with the kernels and cuBLASLt's.
 * Neither is measured here; both are taken high. */
#define CARD(gb) ((gb)*1000.0 * 1000.0 * 1000.0 - 700 * MIB)

struct whole {
    uint64_t weights, kv, buffers, total;
};

static struct whole plan_of(enum ops_dtype dtype, enum ops_dtype kv, size_t batch)
{
    struct airlock_error err = { 0 };
    struct phi4_config c;
    struct ops bf16 = *ops_cpu(); /* activations as CUDA has them */
    bf16.act = OPS_BF16;
    struct json_object *o = json_parse(phi4_mini, strlen(phi4_mini), &err);
    ck_assert_msg(o && phi4_config_parse(o, NULL, &c, &err) == 0, "%s", err.text);
    json_object_put(o);
    const struct scheduler_options options = { .forward = { .config = &c, .ops = &bf16 },
                                               .max_context = CONTEXT,
                                               .max_batch = batch,
                                               .prefill_chunk = 64 };
    const struct memory_use use = { dtype, OPS_BF16, kv, &options };
    const struct memory_plan p = memory_plan_make(&c, &use);
    struct whole w = { p.weights, p.kv_block * (CONTEXT / OPS_KV_BLOCK), p.buffers, 0 };
    w.total = w.weights + w.kv + w.buffers;
    printf("# dtype %d, kv %d, batch %zu: %.0f MiB: weights %.0f, kv %.0f, buffers %.0f\n",
           (int)dtype, (int)kv, batch, (double)w.total / MIB, (double)w.weights / MIB,
           (double)w.kv / MIB, (double)w.buffers / MIB);
    return w;
}

START_TEST(the_weights_are_counted_one_by_one)
{
    /* Linear layers of 32 times 5120 x 3072, 3072 x 3072, 16384 x 3072 and 3072 x 8192; the head.
     */
    const uint64_t linear = 32ull * 3072 * (5120 + 3072 + 16384 + 8192), head = 200064ull * 3072;
    const uint64_t norms = 65ull * 3072 * 2;
    ck_assert_uint_eq(plan_of(0, OPS_BF16, 1).weights, 2 * (linear + head) + norms);
    ck_assert_uint_eq(plan_of(OPS_INT8, OPS_BF16, 1).weights, (linear + head) / 32 * 34 + norms);
    ck_assert_uint_eq(plan_of(OPS_INT4, OPS_BF16, 1).weights,
                      linear / 32 * 18 + head / 32 * 34 + norms);
    ck_assert_uint_eq(plan_of(OPS_FP8, OPS_BF16, 1).weights,
                      linear + 32ull * 4 * (5120 + 3072 + 16384 + 3072) + head / 32 * 34 + norms);
}
END_TEST

START_TEST(phi4_mini_with_8k_of_context_fits_8_gb_as_int8_and_6_gb_as_int4)
{
    ck_assert_double_le((double)plan_of(OPS_INT8, OPS_BF16, 4).total, CARD(8));
    ck_assert_double_le((double)plan_of(OPS_FP8, OPS_BF16, 4).total, CARD(8));
    ck_assert_double_le((double)plan_of(OPS_INT4, OPS_BF16, 4).total, CARD(6));
    /* With as many callers as are allowed when max_batch is left open, too. */
    ck_assert_double_le((double)plan_of(OPS_INT8, OPS_BF16, ENGINE_DEFAULT_BATCH).total, CARD(8));
    ck_assert_double_le((double)plan_of(OPS_INT4, OPS_BF16, ENGINE_DEFAULT_BATCH).total, CARD(6));
    /* And not otherwise. */
    ck_assert_double_gt((double)plan_of(0, OPS_BF16, 4).total, CARD(8));
    ck_assert_double_gt((double)plan_of(OPS_INT8, OPS_BF16, 4).total, CARD(5));
}
END_TEST

START_TEST(keys_and_values_take_half_as_fp8)
{
    ck_assert_uint_eq(plan_of(OPS_INT4, OPS_BF16, 1).kv, 32ull * 2 * CONTEXT * 8 * 128 * 2);
    ck_assert_uint_eq(plan_of(OPS_INT4, OPS_FP8, 1).kv, 32ull * 2 * CONTEXT * 8 * 128);
}
END_TEST

/* ---- an engine on a device that counts ---- */

static uint64_t taken, compressed, free_bytes;

static void *counting_alloc(struct ops_device *dev, size_t bytes)
{
    taken += bytes;
    return ops_cpu()->alloc(dev, bytes);
}

static enum ops_status counting_quantize(struct ops_device *dev, struct ops_matrix *m,
                                         const void *host, enum ops_dtype dtype, size_t rows,
                                         size_t cols, enum ops_dtype form)
{
    compressed += ops_matrix_bytes(form, rows, cols);
    return ops_cpu()->matrix_quantize(dev, m, host, dtype, rows, cols, form);
}

static enum ops_status told_memory(struct ops_device *dev, uint64_t *left, uint64_t *total)
{
    (void)dev;
    *left = free_bytes;
    *total = 2 * free_bytes;
    return OPS_OK;
}

static struct engine *open_counted(struct engine_options o, uint64_t left,
                                   struct airlock_error *err)
{
    static struct ops ops;
    ops = *ops_cpu();
    ops.alloc = counting_alloc;
    ops.matrix_quantize = counting_quantize;
    ops.memory = told_memory;
    taken = compressed = 0;
    free_bytes = left;
    o.ops = &ops;
    o.dir = model_dir("longrope_bf16_gqa3");
    return engine_open(&o, err);
}

static uint64_t number_before(const char *text, const char *word)
{
    const char *p = strstr(text, word);
    ck_assert_msg(p != NULL, "%s", text);
    for (p--; p > text && p[-1] >= '0' && p[-1] <= '9'; p--)
        ;
    return strtoull(p, NULL, 10);
}

START_TEST(an_engine_takes_what_was_planned)
{
    struct airlock_error err = { 0 };
    const struct engine_options o = { .dtype = OPS_INT4, .max_context = 128, .max_batch = 8 };
    ck_assert_ptr_null(open_counted(o, 1 << 20, &err));
    ck_assert_int_eq(err.code, AIRLOCK_E_NO_MEMORY);
    ck_assert_uint_eq(taken + compressed, 0); /* said before anything was taken */
    ck_assert_msg(strstr(err.text, "int4") && strstr(err.text, "1 of its 2 MiB"), "%s", err.text);
    const uint64_t planned = number_before(err.text, " MiB (weights") << 20;

    err = (struct airlock_error){ 0 };
    struct engine *e = open_counted(o, 1ull << 40, &err);
    ck_assert_msg(e != NULL, "%s", err.text);
    const uint64_t workspace = (64ull + 32) << 20; /* of CUDA, not taken here */
    ck_assert_uint_gt(compressed, 10000);
    ck_assert_uint_gt(taken, 100000);
    ck_assert_uint_le(taken + compressed + workspace, planned + (1 << 20));
    ck_assert_uint_ge(taken + compressed + workspace + (3 << 20), planned);
    engine_close(e);
}
END_TEST

static uint64_t towers(void *ctx, const struct safetensors *st)
{
    ck_assert_uint_gt(safetensors_count(st), 0);
    return *(const uint64_t *)ctx;
}

START_TEST(other_parts_of_the_checkpoint_are_counted)
{
    struct airlock_error err = { 0 };
    uint64_t bytes = 700ull << 20;
    struct engine_options o = { .dtype = OPS_INT4, .max_context = 128, .max_batch = 8 };
    ck_assert_ptr_null(open_counted(o, 1 << 20, &err));
    const uint64_t alone = number_before(err.text, " MiB (weights");
    o.besides = towers;
    o.besides_ctx = &bytes;
    err = (struct airlock_error){ 0 };
    ck_assert_ptr_null(open_counted(o, 1 << 20, &err));
    ck_assert_uint_eq(number_before(err.text, " MiB (weights"), alone + 700);
    ck_assert_ptr_null(open_counted(o, (alone + 600) << 20, &err));
    struct engine *e = open_counted(o, (alone + 700) << 20, &err);
    ck_assert_msg(e != NULL, "%s", err.text);
    engine_close(e);
}
END_TEST

/* A cache whose size was left open becomes smaller, down to one longest sequence. */
START_TEST(a_cache_gives_way_to_the_card)
{
    struct airlock_error err = { 0 };
    const struct engine_options open = { .dtype = OPS_INT4, .max_context = 128, .max_batch = 8 };
    struct engine *e = open_counted(open, 1ull << 40, &err);
    ck_assert_msg(e != NULL, "%s", err.text);
    const uint64_t full = number_before(engine_describe(e), " tokens of");
    ck_assert_uint_eq(full, 4 * 128);
    engine_close(e);
    uint64_t little = 1 << 20, enough = 1ull << 40; /* the least that an engine opens with */
    while (enough - little > 1) {
        const uint64_t left = little + (enough - little) / 2;
        e = open_counted(open, left, &err);
        *(e ? &enough : &little) = left;
        engine_close(e);
    }
    e = open_counted(open, enough, &err);
    ck_assert_uint_eq(number_before(engine_describe(e), " tokens of"), 128);
    engine_close(e);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("memory_plan");
    TCase *t = tcase_create("all");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, the_weights_are_counted_one_by_one);
    tcase_add_test(t, phi4_mini_with_8k_of_context_fits_8_gb_as_int8_and_6_gb_as_int4);
    tcase_add_test(t, keys_and_values_take_half_as_fp8);
    tcase_add_test(t, an_engine_takes_what_was_planned);
    tcase_add_test(t, other_parts_of_the_checkpoint_are_counted);
    tcase_add_test(t, a_cache_gives_way_to_the_card);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
