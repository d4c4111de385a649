/* test_residents.c - hundreds of adapters share a budget of the device's memory, and each adds what
 * it adds wherever it lies. */
#include "phi4-common/adapters.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HIDDEN = 16, RANK = 8, N = 300, FIT = 5, ROWS = 6, SITE = LINEAR_O, MATRIX = RANK * HIDDEN };
/* Two matrices of 256 bytes on one site. */
enum { ADAPTER_BYTES = 2 * MATRIX * 2 };

struct fake {
    llm_adapter adapter;
    llm_lora_target target;
    uint16_t *a, *b; /* host memory that the device reads */
    const void *binding;
};

static const struct ops *ops;
static struct ops_device *dev;
static struct adapters adapters;
static struct model_sites sites;
static struct fake fakes[N];

static const llm_lora_target *target_of(llm_adapter_inst *inst, const char *module)
{
    return strstr(module, ".o_proj") ? &((struct fake *)inst)->target : NULL;
}

static llm_status refuse(llm_adapter_inst *inst, const llm_lora_target *t, const llm_lora_io *io,
                         llm_error *err)
{
    (void)inst, (void)t, (void)io, (void)err;
    return LLM_E_INTERNAL; /* the model multiplies by itself */
}

static const llm_adapter_class fake_class = { .struct_size = sizeof fake_class,
                                              .target = target_of,
                                              .apply = refuse };

/* Multiples of 1/8 below 2: exact in bf16. */
static uint16_t number(unsigned *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    float f = (float)((int)(*seed >> 24) % 16 - 8) / 8;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static void fake_make(struct fake *f, unsigned i, size_t rank)
{
    struct airlock_error err = { 0 };
    unsigned seed = i + 1;
    f->a = ops->host_alloc(dev, rank * HIDDEN * 2);
    f->b = ops->host_alloc(dev, rank * HIDDEN * 2);
    for (size_t k = 0; k < rank * HIDDEN; k++) {
        f->a[k] = number(&seed);
        f->b[k] = number(&seed);
    }
    f->target = (llm_lora_target){ .struct_size = sizeof f->target,
                                   .dtype = LLM_BF16,
                                   .rank = (uint32_t)rank,
                                   .in_dim = HIDDEN,
                                   .out_dim = HIDDEN,
                                   .scale = 1,
                                   .a = (uint64_t)(uintptr_t)f->a,
                                   .b = (uint64_t)(uintptr_t)f->b };
    f->adapter = (llm_adapter){ .struct_size = sizeof f->adapter,
                                .version = i,
                                .name = "fake",
                                .cls = &fake_class,
                                .inst = (llm_adapter_inst *)f };
    ck_assert_msg(adapters_attach(&adapters, &f->adapter, &err) == 0, "%s", err.text);
    f->binding = adapters_find(&adapters, &f->adapter);
}

static void setup(void)
{
    const char *why = "";
    struct phi4_config config = { .hidden_size = HIDDEN,
                                  .intermediate_size = 16,
                                  .num_hidden_layers = 1,
                                  .num_attention_heads = 2,
                                  .num_key_value_heads = 1,
                                  .head_dim = 8 };
    ops = ops_cuda(&why);
    dev = ops->open(&(struct ops_open){ .no_products = true }, &why);
    ck_assert_msg(dev != NULL, "%s", why);
    ck_assert_int_eq(adapters_init(&adapters), 0);
    ck_assert_int_eq(model_sites_init(&sites, &config), 0);
    adapters.sites = &sites;
    adapters.act = LLM_BF16;
    adapters_use_device(&adapters, ops, dev, FIT * ADAPTER_BYTES);
    for (unsigned i = 0; i < N; i++)
        fake_make(&fakes[i], i, RANK);
}

static void teardown(void)
{
    adapters_free(&adapters);
    model_sites_free(&sites);
    for (unsigned i = 0; i < N; i++) {
        ops->host_free(dev, fakes[i].a);
        ops->host_free(dev, fakes[i].b);
    }
    ops->close(dev);
}

/* A step whose row r has adapter used[r]: y through the hook, and from the adapters' own place. */
static uint64_t run(const size_t *used, size_t n, uint16_t *got, uint16_t *want)
{
    struct airlock_error err = { 0 };
    struct linear_segment segments[ROWS];
    struct ops_lora_segment plain[ROWS];
    const void *bindings[ROWS];
    uint16_t x[ROWS * HIDDEN];
    uint64_t epoch = 0;
    unsigned seed = 77;
    for (size_t i = 0; i < n * HIDDEN; i++)
        x[i] = number(&seed);
    uint16_t *on_device[3];
    for (int i = 0; i < 3; i++) {
        on_device[i] = ops->alloc(dev, sizeof x);
        ck_assert_int_eq(ops->upload(dev, on_device[i], x, sizeof x), OPS_OK);
    }
    for (size_t r = 0; r < n; r++) {
        const struct fake *f = &fakes[used[r]];
        bindings[r] = f->binding;
        segments[r] = (struct linear_segment){ r, 1, f->binding };
        plain[r] = (struct ops_lora_segment){ r, 1, f->a, f->b, OPS_BF16, f->target.rank, 1 };
    }
    const struct linear_hook *h = &adapters.hook;
    ck_assert_int_eq(h->begin(h->ctx, bindings, n, n, &epoch, &err), 0);
    ck_assert_msg(h->apply(h->ctx, SITE, on_device[0], on_device[1], n, segments, n, &err) == 0,
                  "%s", err.text);
    ck_assert_int_eq(ops->lora(dev, on_device[2], on_device[0], n, HIDDEN, HIDDEN, plain, n),
                     OPS_OK);
    ck_assert_int_eq(ops->download(dev, got, on_device[1], n * HIDDEN * 2), OPS_OK);
    ck_assert_int_eq(ops->download(dev, want, on_device[2], n * HIDDEN * 2), OPS_OK);
    for (int i = 0; i < 3; i++)
        ops->free(dev, on_device[i]);
    return epoch;
}

static uint64_t check(const size_t *used, size_t n)
{
    uint16_t got[ROWS * HIDDEN], want[ROWS * HIDDEN];
    const uint64_t epoch = run(used, n, got, want);
    ck_assert_mem_eq(got, want, n * HIDDEN * 2);
    ck_assert_uint_le(adapters.residents.used, adapters.residents.budget);
    return epoch;
}

START_TEST(each_of_hundreds_adds_its_own_within_the_budget)
{
    unsigned seed = 5;
    for (int k = 0; k < 400; k++) {
        size_t used[ROWS], n = 1 + (size_t)k % FIT;
        for (size_t r = 0; r < n; r++) {
            seed = seed * 1664525 + 1013904223;
            used[r] = (seed >> 8) % (k % 3 ? 8 : N);
            for (size_t q = 0; q < r; q++)
                if (used[q] == used[r])
                    used[r] = N - 1 - r;
        }
        check(used, n);
    }
    const struct residents *r = &adapters.residents;
    printf("# %d adapters, room for %d: %llu loaded, %llu evicted\n", N, FIT,
           (unsigned long long)r->loads, (unsigned long long)r->evictions);
    ck_assert_uint_eq(r->misses, 0);
    ck_assert_uint_eq(r->loads, r->evictions + FIT);
}
END_TEST

START_TEST(the_least_recently_used_goes_and_what_stays_keeps_its_address)
{
    for (size_t i = 0; i < FIT; i++)
        check(&i, 1);
    const uint64_t loads = adapters.residents.loads;
    const size_t first = 0, second = 1, another = 100;
    const uint64_t epoch = check(&first, 1); /* used again: the second is now the oldest */
    ck_assert_uint_eq(check(&first, 1), epoch);
    check(&another, 1);
    ck_assert_uint_eq(adapters.residents.loads, loads + 1);
    check(&first, 1);
    ck_assert_uint_eq(adapters.residents.loads, loads + 1);
    ck_assert_uint_gt(check(&second, 1), epoch);
    ck_assert_uint_eq(adapters.residents.loads, loads + 2);
}
END_TEST

START_TEST(a_step_with_more_than_fit_uses_the_rest_where_it_is)
{
    const size_t used[ROWS] = { 3, 30, 40, 50, 60, 70 };
    check(used, ROWS);
    ck_assert_uint_eq(adapters.residents.misses, ROWS - FIT);
    ck_assert_uint_eq(adapters.residents.evictions, 0);
}
END_TEST

START_TEST(sizes_may_differ_and_who_leaves_gives_its_memory_back)
{
    struct fake big;
    fake_make(&big, 1000, 2 * RANK);
    const size_t bytes = 2 * (size_t)ADAPTER_BYTES;
    for (size_t i = 0; i < FIT; i++)
        check(&i, 1);
    struct fake kept = fakes[7];
    fakes[7] = big;
    const size_t seven = 7, three = 3;
    check(&seven, 1);
    ck_assert_uint_eq(adapters.residents.evictions, 2);
    ck_assert_uint_eq(adapters.residents.used, (FIT - 2) * (size_t)ADAPTER_BYTES + bytes);
    const uint64_t epoch = check(&three, 1);
    adapter_binding_free(&adapters, adapters_detach(&adapters, &big.adapter));
    ck_assert_uint_eq(adapters.residents.used, (FIT - 2) * (size_t)ADAPTER_BYTES);
    ck_assert_uint_gt(check(&three, 1), epoch);
    fakes[7] = kept;
    ops->host_free(dev, big.a);
    ops->host_free(dev, big.b);
}
END_TEST

int main(void)
{
    const char *why = "";
    const struct ops *cuda = ops_cuda(&why);
    if (cuda)
        why = cuda->missing(0);
    if (why) {
        printf("# skipped: %s\n", why);
        return 77;
    }
    Suite *suite = suite_create("residents");
    TCase *t = tcase_create("budget");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 600);
    tcase_add_test(t, each_of_hundreds_adds_its_own_within_the_budget);
    tcase_add_test(t, the_least_recently_used_goes_and_what_stays_keeps_its_address);
    tcase_add_test(t, a_step_with_more_than_fit_uses_the_rest_where_it_is);
    tcase_add_test(t, sizes_may_differ_and_who_leaves_gives_its_memory_back);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
