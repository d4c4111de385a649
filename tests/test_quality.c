/* test_quality.c - compressed weights and caches move next-token distributions by no more than was
 * measured (docs/quantization.md), and the measure tells wrong weights from compressed ones. */
#include "quality_support.h"

#include <check.h>

static struct airlock_error err;
static struct quality_texts texts;
static float *want;
static size_t vocab, rows;

static const char *source(const char *name)
{
    static char path[2][512];
    static int turn;
    const char *srcdir = getenv("top_srcdir");
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", srcdir ? srcdir : ".", name);
    return path[turn];
}

static void demo_setup(void)
{
    const char *dir = source("demo/model");
    forward_on_cpu = true;
    ck_assert_msg(quality_chats(&texts, dir, source("demo/heldout.jsonl"), 35, &err) == 0, "%s",
                  err.text);
    want = quality_logits(&texts, dir, 0, 0, &vocab, &rows, &err);
    ck_assert_msg(want != NULL, "%s", err.text);
}

static void demo_teardown(void)
{
    free(want);
}

static struct quality demo_quality(enum ops_dtype weights, enum ops_dtype kv, const struct ops *by)
{
    forward_by = by;
    float *got = quality_logits(&texts, source("demo/model"), weights, kv, &vocab, &rows, &err);
    forward_by = NULL;
    ck_assert_msg(got != NULL, "%s", err.text);
    const struct quality q = quality_compare(want, got, rows, vocab);
    printf("# weights %d, kv %d: mean KL %.6f, same top %.4f of %zu\n", (int)weights, (int)kv,
           q.mean_kl, q.agree, rows);
    free(got);
    return q;
}

/* Bounds are about twice what bench_quality finds over all held-out chats; the least says that
 * something was compressed at all. */
static const struct {
    enum ops_dtype weights, kv;
    bool fp8_activations;
    double least_kl, most_kl, least_agree;
} bounds[] = {
    { OPS_INT8, 0, false, 1e-5, 0.0009, 0.98 }, { OPS_FP8, 0, false, 5e-4, 0.007, 0.96 },
    { OPS_FP8, 0, true, 0.004, 0.02, 0.94 },    { OPS_INT4, 0, false, 5e-3, 0.06, 0.90 },
    { 0, OPS_FP8, false, 3e-4, 0.0065, 0.96 },
};

START_TEST(the_demo_model_answers_nearly_as_with_its_own_weights)
{
    const struct quality q = demo_quality(bounds[_i].weights, bounds[_i].kv,
                                          bounds[_i].fp8_activations ? quality_fp8_ops() : NULL);
    ck_assert_double_ge(q.mean_kl, bounds[_i].least_kl);
    ck_assert_double_le(q.mean_kl, bounds[_i].most_kl);
    ck_assert_double_ge(q.agree, bounds[_i].least_agree);
}
END_TEST

/* The same logits moved by one row, as a wrong position would have it. */
START_TEST(the_measure_tells_wrong_logits_from_compressed_ones)
{
    const struct quality same = quality_compare(want, want, rows, vocab);
    ck_assert_double_le(fabs(same.mean_kl) + fabs(same.worst_kl), 1e-9);
    ck_assert_double_ge(same.agree, 1 - 1e-9);
    const struct quality moved = quality_compare(want, want + vocab, rows - 1, vocab);
    ck_assert_double_ge(moved.mean_kl, 1);
    ck_assert_double_le(moved.agree, 0.5);
}
END_TEST

/* A distribution of two tokens against another, by hand: 0.75 log(0.75 / 0.5) + 0.25 log 0.5. */
START_TEST(the_measure_is_the_divergence_that_it_says)
{
    const float p[] = { 1.0986123f, 0.0f }, q[] = { 2.0f, 2.0f }, r[] = { 0.0f, 1.0986123f };
    const struct quality a = quality_compare(p, q, 1, 2), b = quality_compare(p, r, 1, 2);
    ck_assert_double_le(fabs(a.mean_kl - 0.130812), 1e-6);
    ck_assert_double_le(fabs(b.mean_kl - 0.549306), 1e-6);
    ck_assert(a.agree == 1 && b.agree == 0);
}
END_TEST

static const char *const random_models[] = { "longrope_bf16_gqa3", "plain_f32_untied",
                                             "longrope_f16_gqa4_sharded" };
enum { N_RANDOM = 3 };

/* Tied and untied heads, checkpoints of bf16, f32 and f16, on the device that this program is for:
 * the fewer bits, the larger the distance, and chunks do not matter. */
START_TEST(random_models_of_every_kind_are_compressed)
{
    static const enum ops_dtype forms[] = { OPS_INT8, OPS_FP8, OPS_INT4 };
    char name[128];
    double before = 0;
    struct phi4_config c;
    forward_on_cpu = false;
    snprintf(name, sizeof name, "tests/golden/logits/%s", random_models[_i]);
    ck_assert_int_eq(phi4_config_read(source(name), &c, &err), 0);
    quality_random_texts(&texts, 2, 20, c.vocab_size);
    float *ref = quality_logits(&texts, source(name), 0, 0, &vocab, &rows, &err);
    ck_assert_msg(ref != NULL, "%s", err.text);
    for (size_t f = 0; f < 3; f++) {
        float *got = quality_logits(&texts, source(name), forms[f], 0, &vocab, &rows, &err);
        ck_assert_msg(got != NULL, "%s", err.text);
        const struct quality q = quality_compare(ref, got, rows, vocab);
        printf("# %s, weights %d: mean KL %.6f\n", random_models[_i], (int)forms[f], q.mean_kl);
        ck_assert_double_gt(q.mean_kl, before);
        ck_assert_double_lt(q.mean_kl, 3);
        before = q.mean_kl;
        free(got);
    }
    free(ref);
}
END_TEST

/* Logits on both devices, of weights in a form: their distance. */
static double between_devices(const char *dir, enum ops_dtype form, enum ops_dtype kv)
{
    forward_on_cpu = true;
    float *cpu = quality_logits(&texts, dir, form, kv, &vocab, &rows, &err);
    ck_assert_msg(cpu != NULL, "%s", err.text);
    forward_on_cpu = false;
    float *cuda = quality_logits(&texts, dir, form, kv, &vocab, &rows, &err);
    ck_assert_msg(cuda != NULL, "%s", err.text);
    const struct quality q = quality_compare(cpu, cuda, rows, vocab);
    printf("# %s, weights %d, kv %d, from cpu to cuda: mean KL %.6f\n", dir, (int)form, (int)kv,
           q.mean_kl);
    free(cpu);
    free(cuda);
    return q.mean_kl;
}

/* Both devices hold the same numbers, so they are no farther apart than with the stored ones, but
 * for what rounding does to other numbers. */
START_TEST(devices_agree_about_compressed_weights_and_caches)
{
    static const struct {
        enum ops_dtype weights, kv;
    } forms[] = { { OPS_INT8, 0 }, { OPS_FP8, 0 }, { OPS_INT4, 0 } };
    char name[128];
    struct phi4_config c;
    snprintf(name, sizeof name, "tests/golden/logits/%s", random_models[_i]);
    ck_assert_int_eq(phi4_config_read(source(name), &c, &err), 0);
    quality_random_texts(&texts, 2, 20, c.vocab_size);
    snprintf(name, sizeof name, "%s", source(name));
    const double stored = between_devices(name, 0, OPS_BF16);
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++)
        ck_assert_double_le(between_devices(name, forms[f].weights, OPS_BF16), 3 * stored + 1e-4);
    /* An e4m3 number on the border between two may fall to either side. */
    ck_assert_double_le(between_devices(name, OPS_INT8, OPS_FP8), 20 * stored + 1e-2);
}
END_TEST

/* How far activations in fp8 move a model with fp8 weights: mean KL. */
static double by_activations(const char *dir, const struct ops *by, bool on_cuda)
{
    forward_on_cpu = !on_cuda;
    float *before = quality_logits(&texts, dir, OPS_FP8, OPS_BF16, &vocab, &rows, &err);
    forward_by = by;
    forward_fp8_activations = on_cuda;
    float *after = quality_logits(&texts, dir, OPS_FP8, OPS_BF16, &vocab, &rows, &err);
    forward_by = NULL;
    forward_fp8_activations = false;
    ck_assert_msg(before && after, "%s", err.text);
    const double kl = quality_compare(before, after, rows, vocab).mean_kl;
    free(before);
    free(after);
    return kl;
}

/* What is measured on the CPU, by its own rounding of the rows, is what CUDA does: the same size;
 * single numbers are often on the border between two of E4M3. */
START_TEST(devices_agree_what_activations_in_fp8_cost)
{
    char dir[512];
    struct phi4_config c;
    snprintf(dir, sizeof dir, "%s", source("tests/golden/logits/plain_f32_untied"));
    ck_assert_int_eq(phi4_config_read(dir, &c, &err), 0);
    quality_random_texts(&texts, 4, 40, c.vocab_size);
    const double cpu = by_activations(dir, quality_fp8_ops(), false);
    const double cuda = by_activations(dir, NULL, true);
    printf("# activations in fp8: mean KL %.6f on the cpu, %.6f on cuda\n", cpu, cuda);
    ck_assert_double_gt(cuda, 1e-4);
    ck_assert_double_lt(fabs(log(cuda / cpu)), log(2));
}
END_TEST

static TCase *demo_case(void)
{
    TCase *t = tcase_create("demo");
    tcase_set_timeout(t, 0);
    tcase_add_unchecked_fixture(t, demo_setup, demo_teardown);
    tcase_add_loop_test(t, the_demo_model_answers_nearly_as_with_its_own_weights, 0,
                        sizeof bounds / sizeof *bounds);
    tcase_add_test(t, the_measure_tells_wrong_logits_from_compressed_ones);
    return t;
}

static TCase *random_case(void)
{
    TCase *t = tcase_create("random");
    tcase_set_timeout(t, 0);
    tcase_add_test(t, the_measure_is_the_divergence_that_it_says);
    tcase_add_loop_test(t, random_models_of_every_kind_are_compressed, 0, N_RANDOM);
    if (forward_on_cuda())
        tcase_add_loop_test(t, devices_agree_about_compressed_weights_and_caches, 0, N_RANDOM);
    if (forward_on_cuda())
        tcase_add_test(t, devices_agree_what_activations_in_fp8_cost);
    return t;
}

int main(void)
{
    const char *missing = forward_ops()->missing(0);
    if (missing) {
        printf("# skipped: %s\n", missing);
        return 77;
    }
    Suite *suite = suite_create("quality");
    if (!forward_on_cuda())
        suite_add_tcase(suite, demo_case());
    suite_add_tcase(suite, random_case());
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
