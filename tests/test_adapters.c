/* test_adapters.c - the hook gives each segment of rows to its own adapter, in one call per class
 * or one per segment. */
#include "phi4-common/adapters.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 6, HIDDEN = 4, O_PROJ = LINEAR_O };

/* An instance is a number that its class adds to y; calls are counted. */
static int one_calls, batch_calls;
static llm_lora_target target = { .struct_size = sizeof target, .dtype = LLM_F32, .rank = 1 };

static const llm_lora_target *target_of(llm_adapter_inst *inst, const char *module)
{
    (void)inst;
    return strstr(module, ".o_proj") ? &target : NULL;
}

static void add(float *y, uint64_t first_row, uint64_t rows, llm_adapter_inst *inst)
{
    for (uint64_t i = first_row * HIDDEN; i < (first_row + rows) * HIDDEN; i++)
        y[i] += (float)(uintptr_t)inst;
}

static llm_status apply(llm_adapter_inst *inst, const llm_lora_target *t, const llm_lora_io *io,
                        llm_error *err)
{
    one_calls++;
    if (inst == (void *)99) {
        snprintf(err->text, sizeof err->text, "ninety-nine");
        return LLM_E_INTERNAL;
    }
    ck_assert_ptr_eq(t, &target);
    ck_assert_uint_eq(io->dtype, LLM_F32);
    /* x holds its row's number: the rows of x and y are the same ones. */
    for (uint64_t r = 0; r < io->rows; r++)
        ck_assert(((float *)(uintptr_t)io->x)[r * HIDDEN] ==
                  ((float *)(uintptr_t)io->x)[0] + (float)r);
    ck_assert(((float *)(uintptr_t)io->x)[0] == ((float *)(uintptr_t)io->y)[0]);
    add((float *)(uintptr_t)io->y, 0, io->rows, inst);
    return LLM_OK;
}

static llm_status apply_batch(const llm_lora_io *io, const llm_lora_segment *const *segments,
                              uint64_t n, llm_error *err)
{
    (void)err;
    batch_calls++;
    for (uint64_t i = 0; i < n; i++)
        add((float *)(uintptr_t)io->y, segments[i]->first_row, segments[i]->rows,
            segments[i]->inst);
    return LLM_OK;
}

static const llm_adapter_class singly = { .struct_size = sizeof singly,
                                          .target = target_of,
                                          .apply = apply };
static const llm_adapter_class together = {
    .struct_size = sizeof together, .target = target_of, .apply = apply, .apply_batch = apply_batch
};
/* Made before apply_batch existed. */
static const llm_adapter_class old = { .struct_size = offsetof(llm_adapter_class, apply_batch),
                                       .target = target_of,
                                       .apply = apply,
                                       .apply_batch = apply_batch };

static struct adapters adapters;
static struct model_sites sites;

static void setup(void)
{
    struct phi4_config config = { .hidden_size = HIDDEN,
                                  .intermediate_size = 8,
                                  .num_hidden_layers = 1,
                                  .num_attention_heads = 2,
                                  .num_key_value_heads = 1,
                                  .head_dim = 2 };
    one_calls = batch_calls = 0;
    target.in_dim = target.out_dim = HIDDEN;
    ck_assert_int_eq(adapters_init(&adapters), 0);
    ck_assert_int_eq(model_sites_init(&sites, &config), 0);
    adapters.sites = &sites;
    adapters.act = LLM_F32;
}

static void teardown(void)
{
    adapters_free(&adapters);
    model_sites_free(&sites);
}

static const void *attach(llm_adapter *a, const llm_adapter_class *cls, uintptr_t number)
{
    struct airlock_error err = { 0 };
    *a = (llm_adapter){ .struct_size = sizeof *a,
                        .version = number,
                        .name = "number",
                        .cls = cls,
                        .inst = (llm_adapter_inst *)number };
    ck_assert_msg(adapters_attach(&adapters, a, &err) == 0, "%s", err.text);
    return adapters_find(&adapters, a);
}

/* Applies to rows that hold their own number; what each row got is left in added. */
static int apply_to_rows(size_t site, const struct linear_segment *segments, size_t n, float *added,
                         struct airlock_error *err)
{
    float x[ROWS * HIDDEN], y[ROWS * HIDDEN];
    for (size_t i = 0; i < ROWS * HIDDEN; i++)
        x[i] = y[i] = (float)(i / HIDDEN);
    int status = adapters.hook.apply(adapters.hook.ctx, site, x, y, ROWS, segments, n, err);
    for (size_t r = 0; r < ROWS; r++) {
        added[r] = y[r * HIDDEN] - (float)r;
        for (size_t i = 1; i < HIDDEN; i++)
            ck_assert(y[r * HIDDEN + i] == y[r * HIDDEN]);
    }
    return status;
}

START_TEST(each_segment_gets_its_own_adapter_and_other_rows_none)
{
    llm_adapter a, b, c, d;
    struct airlock_error err = { 0 };
    struct linear_segment segments[] = { { 0, 1, attach(&a, &together, 10) },
                                         { 1, 2, attach(&b, &singly, 20) },
                                         { 4, 1, attach(&c, &together, 30) },
                                         { 5, 1, attach(&d, &old, 40) } };
    static const float want[ROWS] = { 10, 20, 20, 0, 30, 40 };
    float added[ROWS];
    ck_assert_int_eq(apply_to_rows(O_PROJ, segments, 4, added, &err), 0);
    for (size_t r = 0; r < ROWS; r++)
        ck_assert_msg(added[r] == want[r], "row %zu got %g", r, (double)added[r]);
    ck_assert_int_eq(batch_calls, 1);
    ck_assert_int_eq(one_calls, 2);
}
END_TEST

START_TEST(a_site_without_targets_is_left_alone)
{
    llm_adapter a, b;
    struct airlock_error err = { 0 };
    struct linear_segment segments[] = { { 0, 3, attach(&a, &together, 10) },
                                         { 3, 3, attach(&b, &singly, 20) } };
    float added[ROWS];
    ck_assert_int_eq(apply_to_rows(LINEAR_DOWN, segments, 2, added, &err), 0);
    for (size_t r = 0; r < ROWS; r++)
        ck_assert(added[r] == 0);
    ck_assert_int_eq(one_calls + batch_calls, 0);
}
END_TEST

START_TEST(a_failing_adapter_is_named_with_its_site)
{
    llm_adapter a;
    struct airlock_error err = { 0 };
    struct linear_segment segment = { 0, 1, attach(&a, &singly, 99) };
    float added[ROWS];
    ck_assert_int_eq(apply_to_rows(O_PROJ, &segment, 1, added, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "model.layers.0.self_attn.o_proj"));
    ck_assert_ptr_nonnull(strstr(err.text, "ninety-nine"));
}
END_TEST

START_TEST(an_adapter_is_found_until_it_is_detached)
{
    llm_adapter a;
    struct airlock_error err = { 0 };
    attach(&a, &singly, 1);
    ck_assert_int_eq(adapters_attach(&adapters, &a, &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_E_INVALID);
    adapter_binding_free(&adapters, adapters_detach(&adapters, &a));
    ck_assert_ptr_null(adapters_find(&adapters, &a));
    ck_assert_ptr_null(adapters_detach(&adapters, &a));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("adapters");
    TCase *t = tcase_create("hook");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, each_segment_gets_its_own_adapter_and_other_rows_none);
    tcase_add_test(t, a_site_without_targets_is_left_alone);
    tcase_add_test(t, a_failing_adapter_is_named_with_its_site);
    tcase_add_test(t, an_adapter_is_found_until_it_is_detached);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
