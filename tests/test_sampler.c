/* test_sampler.c - the sampler's parameters: order and meaning as in Hugging Face's generate(), and
 * OpenAI's penalties. */
#include "engine/sampler.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VOCAB 8

static const struct sampler_params greedy = { .temperature = 1,
                                              .top_p = 1,
                                              .repetition_penalty = 1 };
static const struct sampler_params sampling = {
    .do_sample = true, .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 7
};
static const float logits[VOCAB] = { 1, 3, 2.5f, -1, 0, 2.9f, -4, 0.5f };

static struct sampler_work work;

static void setup(void)
{
    ck_assert_int_eq(sampler_work_init(&work, VOCAB), 0);
}

static void teardown(void)
{
    sampler_work_free(&work);
}

static struct sampler make(struct sampler_params params, const int32_t *prompt, size_t n)
{
    struct sampler s;
    ck_assert_int_eq(sampler_init(&s, &params, NULL, 0, prompt, n), 0);
    return s;
}

static int32_t pick_once(struct sampler_params params, const int32_t *prompt, size_t n)
{
    struct sampler s = make(params, prompt, n);
    int32_t id = sampler_pick(&s, logits, VOCAB, NULL, &work);
    sampler_free(&s);
    return id;
}

/* How often each id is drawn in n draws. */
static void draw(struct sampler_params params, const float *from, size_t n, double *share)
{
    struct sampler s = make(params, NULL, 0);
    memset(share, 0, VOCAB * sizeof *share);
    for (size_t i = 0; i < n; i++) {
        int32_t id = sampler_pick(&s, from, VOCAB, NULL, &work);
        ck_assert_int_ge(id, 0);
        ck_assert_int_lt(id, VOCAB);
        share[id] += 1.0 / (double)n;
    }
    sampler_free(&s);
}

/* ---- greedy ---------------------------------------------------------------------------------- */

START_TEST(greedy_takes_the_likeliest_and_the_lowest_of_equals)
{
    static const float ties[VOCAB] = { 0, 5, 5, 1, 5, 0, 0, 0 };
    struct sampler s = make(greedy, NULL, 0);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1);
    ck_assert_int_eq(sampler_pick(&s, ties, VOCAB, NULL, &work), 1);
    sampler_free(&s);
}
END_TEST

START_TEST(greedy_ignores_temperature_top_k_and_top_p_as_the_original_does)
{
    struct sampler_params p = greedy;
    p.temperature = 1e9;
    p.top_k = 3;
    p.top_p = 0.01;
    ck_assert_int_eq(pick_once(p, NULL, 0), 1);
}
END_TEST

START_TEST(padding_rows_of_the_head_are_never_chosen)
{
    static const float padded[VOCAB] = { 0, 1, 2, 3, 9, 9, 9, 9 };
    struct sampler s = make(greedy, NULL, 0);
    ck_assert_int_eq(sampler_pick(&s, padded, 4, NULL, &work), 3);
    sampler_free(&s);
}
END_TEST

START_TEST(numbers_that_are_none_are_never_chosen)
{
    float odd[VOCAB] = { NAN, -INFINITY, 1, NAN, -5, NAN, NAN, NAN };
    struct sampler s = make(greedy, NULL, 0), r = make(sampling, NULL, 0);
    ck_assert_int_eq(sampler_pick(&s, odd, VOCAB, NULL, &work), 2);
    for (int i = 0; i < 100; i++) {
        int32_t id = sampler_pick(&r, odd, VOCAB, NULL, &work);
        ck_assert(id == 2 || id == 4);
    }
    for (int i = 0; i < VOCAB; i++)
        odd[i] = NAN;
    ck_assert_int_eq(sampler_pick(&s, odd, VOCAB, NULL, &work), -1);
    ck_assert_int_eq(sampler_pick(&r, odd, VOCAB, NULL, &work), -1);
    sampler_free(&s);
    sampler_free(&r);
}
END_TEST

START_TEST(only_allowed_ids_are_chosen)
{
    uint32_t allowed = 1u << 3 | 1u << 6;
    struct sampler s = make(greedy, NULL, 0);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, &allowed, &work), 3);
    allowed = 0;
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, &allowed, &work), -1);
    sampler_free(&s);
}
END_TEST

/* ---- penalties and bias ---------------------------------------------------------------------- */

START_TEST(the_repetition_penalty_counts_prompt_and_answer_and_divides_or_multiplies)
{
    struct sampler_params p = greedy;
    p.repetition_penalty = 2;
    int32_t prompt[] = { 1, 1, 5 }; /* 3 -> 1.5, 2.9 -> 1.45; once each, however often they came */
    struct sampler s = make(p, prompt, 3);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 2);
    /* now 2.5 -> 1.25 too */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1);
    static const float negative[VOCAB] = { -9, -2, -9, -3, -9, -9, -9, -9 }; /* -2 -> -4 */
    ck_assert_int_eq(sampler_pick(&s, negative, VOCAB, NULL, &work), 3);
    sampler_free(&s);
}
END_TEST

START_TEST(frequency_and_presence_penalty_count_the_answer_only)
{
    struct sampler_params p = greedy;
    p.frequency_penalty = 0.3;
    int32_t prompt[] = { 1, 1, 1, 1 };
    struct sampler s = make(p, prompt, 4);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1); /* 3.0 -> 2.7 */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 5); /* 2.9 -> 2.6 */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1); /* 2.7 -> 2.4 */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 5); /* 2.6 -> 2.3 */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 2);
    sampler_free(&s);

    p = greedy;
    p.presence_penalty = 0.2; /* once, however often */
    s = make(p, prompt, 4);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1); /* 3.0 -> 2.8 */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 5); /* 2.9 -> 2.7 */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1); /* 2.8 stays */
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 1);
    sampler_free(&s);
}
END_TEST

START_TEST(logit_bias_comes_first)
{
    struct sampler_bias bias[] = { { 6, 8 }, { 1, -100 } }; /* -4 + 8 = 4 */
    struct sampler_params p = greedy;
    struct sampler s;
    ck_assert_int_eq(sampler_init(&s, &p, bias, 2, NULL, 0), 0);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 6);
    sampler_free(&s);
    p.repetition_penalty = 2; /* the penalty sees 4 and halves it; alone it would double -4 */
    int32_t prompt[] = { 6 };
    ck_assert_int_eq(sampler_init(&s, &p, bias, 2, prompt, 1), 0);
    ck_assert_int_eq(sampler_pick(&s, logits, VOCAB, NULL, &work), 5);
    sampler_free(&s);
}
END_TEST

START_TEST(the_logits_given_are_not_changed)
{
    float copy[VOCAB];
    memcpy(copy, logits, sizeof copy);
    struct sampler_bias bias = { 0, 3 };
    struct sampler_params p = sampling;
    p.repetition_penalty = 1.5;
    p.temperature = 0.5;
    struct sampler s;
    ck_assert_int_eq(sampler_init(&s, &p, &bias, 1, NULL, 0), 0);
    for (int i = 0; i < 10; i++)
        sampler_pick(&s, copy, VOCAB, NULL, &work);
    ck_assert_mem_eq(copy, logits, sizeof copy);
    sampler_free(&s);
}
END_TEST

/* ---- sampling -------------------------------------------------------------------------------- */

#define DRAWS 40000
#define CLOSE 0.015 /* six standard deviations of a share of a half */

static void softmax(const float *from, double temperature, double *out)
{
    double sum = 0;
    for (int i = 0; i < VOCAB; i++)
        sum += out[i] = exp(from[i] / temperature);
    for (int i = 0; i < VOCAB; i++)
        out[i] /= sum;
}

START_TEST(draws_follow_the_softmax_at_the_temperature)
{
    double share[VOCAB], want[VOCAB];
    for (double t = 0.5; t <= 2; t *= 2) {
        struct sampler_params p = sampling;
        p.temperature = t;
        draw(p, logits, DRAWS, share);
        softmax(logits, t, want);
        for (int i = 0; i < VOCAB; i++)
            ck_assert_double_eq_tol(share[i], want[i], CLOSE);
    }
}
END_TEST

START_TEST(top_k_keeps_the_k_likeliest_and_whatever_equals_the_last)
{
    static const float ties[VOCAB] = { 0, 5, 4, 4, 4, -1, -2, -3 };
    double share[VOCAB];
    struct sampler_params p = sampling;
    p.temperature = 3;
    p.top_k = 2;
    draw(p, ties, DRAWS, share);
    for (int i = 0; i < VOCAB; i++)
        ck_assert_msg((share[i] > 0.1) == (i >= 1 && i <= 4), "id %d: %g", i, share[i]);
    p.top_k = 1;
    draw(p, logits, 100, share);
    ck_assert_double_eq_tol(share[1], 1, 1e-9);
    p.top_k = 1000; /* above the vocabulary: no limit */
    p.temperature = 100;
    draw(p, logits, DRAWS, share);
    for (int i = 0; i < VOCAB; i++)
        ck_assert_double_gt(share[i], 0.05);
}
END_TEST

START_TEST(top_p_keeps_the_smallest_set_that_reaches_it)
{
    /* probabilities 0.5, 0.3, 0.15, 0.05 on ids 3, 0, 7, 5 */
    float from[VOCAB] = { logf(0.3f), -INFINITY,   -INFINITY, logf(0.5f),
                          -INFINITY,  logf(0.05f), -INFINITY, logf(0.15f) };
    double share[VOCAB];
    struct sampler_params p = sampling;
    p.top_p = 0.79;
    draw(p, from, DRAWS, share);
    ck_assert_double_eq_tol(share[3], 0.625, CLOSE);
    ck_assert_double_eq_tol(share[0], 0.375, CLOSE);
    ck_assert_double_eq_tol(share[7] + share[5], 0, 1e-9);
    p.top_p = 0.97; /* three have 0.95 */
    draw(p, from, DRAWS, share);
    ck_assert_double_gt(share[5], 0.02);
    p.top_p = 0.81;
    draw(p, from, DRAWS, share);
    ck_assert_double_gt(share[7], 0.1);
    ck_assert_double_eq_tol(share[5], 0, 1e-9);
    p.top_p = 0.55; /* the first alone has less */
    draw(p, from, DRAWS, share);
    ck_assert_double_eq_tol(share[0], 0.375, CLOSE);
    p.top_p = 1e-9; /* never empty */
    draw(p, from, 100, share);
    ck_assert_double_eq_tol(share[3], 1, 1e-9);
}
END_TEST

START_TEST(top_p_is_of_what_temperature_and_top_k_left)
{
    float from[VOCAB] = { logf(0.4f), logf(0.3f), logf(0.2f), logf(0.1f),
                          -INFINITY,  -INFINITY,  -INFINITY,  -INFINITY };
    double share[VOCAB];
    struct sampler_params p = sampling;
    p.top_k = 2;   /* 0.4, 0.3 -> 0.571, 0.429 */
    p.top_p = 0.5; /* reached by the first alone; of all four it would take two */
    draw(p, from, 200, share);
    ck_assert_double_eq_tol(share[0], 1, 1e-9);
    p.top_k = 0;
    p.temperature = 100; /* nearly flat: 0.25 each, half of it are two */
    p.top_p = 0.49;
    draw(p, from, DRAWS, share);
    ck_assert_double_gt(share[1], 0.3);
    ck_assert_double_eq_tol(share[2] + share[3], 0, 1e-9);
}
END_TEST

START_TEST(the_same_seed_draws_the_same_and_another_seed_does_not)
{
    int32_t first[64];
    int same = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct sampler_params p = sampling;
        p.temperature = 3;
        p.seed = seed == 3 ? 1 : seed;
        struct sampler s = make(p, NULL, 0);
        for (int i = 0; i < 64; i++) {
            int32_t id = sampler_pick(&s, logits, VOCAB, NULL, &work);
            if (seed == 1)
                first[i] = id;
            else if (seed == 2)
                same += first[i] == id;
            else
                ck_assert_int_eq(id, first[i]);
        }
        sampler_free(&s);
    }
    ck_assert_int_lt(same, 40);
}
END_TEST

/* ---- selection on a large vocabulary --------------------------------------------------------- */

static int descending(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* The sets that top_k and top_p leave are those of a full sort: an id outside is never drawn, and
 * the mass of what is drawn is right. */
START_TEST(partial_selection_keeps_what_a_full_sort_would)
{
    enum { N = 20011 };
    static const int64_t ks[] = { 0, 1, 50, 512, 513, 5000, N };
    static const double ps[] = { 1, 0.95, 0.5, 0.02 };
    float *from = malloc(N * sizeof *from), *sorted = malloc(N * sizeof *sorted);
    struct sampler_work big;
    ck_assert_int_eq(sampler_work_init(&big, N), 0);
    srand(3);
    for (int i = 0; i < N; i++)
        sorted[i] = from[i] = (float)(rand() % 4000) / 400; /* many equals */
    qsort(sorted, N, sizeof *sorted, descending);
    for (size_t k = 0; k < sizeof ks / sizeof ks[0]; k++)
        for (size_t q = 0; q < sizeof ps / sizeof ps[0]; q++) {
            size_t n = ks[k] ? (size_t)ks[k] : N;
            while (n < N && sorted[n] == sorted[n - 1])
                n++;
            double total = 0, mass = 0;
            for (size_t i = 0; i < n; i++)
                total += exp(sorted[i] - sorted[0]);
            size_t kept = 0;
            while (kept < n && (ps[q] == 1 || mass < ps[q] * total * (1 - 1e-12)))
                mass += exp(sorted[kept++] - sorted[0]);
            float least = sorted[kept - 1], lowest = 100;
            struct sampler_params p = sampling;
            p.top_k = ks[k];
            p.top_p = ps[q];
            struct sampler s = make(p, NULL, 0);
            for (int i = 0; i < 300; i++) {
                float drawn = from[sampler_pick(&s, from, N, NULL, &big)];
                lowest = drawn < lowest ? drawn : lowest;
            }
            sampler_free(&s);
            ck_assert_msg(lowest >= least, "top_k %d top_p %g: drew %g, the last kept is %g",
                          (int)ks[k], ps[q], (double)lowest, (double)least);
        }
    sampler_work_free(&big);
    free(from);
    free(sorted);
}
END_TEST

/* ---- log-probabilities ----------------------------------------------------------------------- */

START_TEST(logprobs_are_of_the_plain_softmax_best_first)
{
    struct sampler_logprob top[SAMPLER_MAX_LOGPROBS];
    double want[VOCAB], sum = sampler_log_sum_exp(logits, VOCAB);
    softmax(logits, 1, want);
    ck_assert_uint_eq(sampler_top_logprobs(logits, VOCAB, sum, 3, top), 3);
    static const int32_t best[] = { 1, 5, 2 };
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(top[i].id, best[i]);
        ck_assert_double_eq_tol(top[i].logprob, log(want[best[i]]), 1e-6);
    }
    ck_assert_uint_eq(sampler_top_logprobs(logits, VOCAB, sum, 20, top), VOCAB);
    ck_assert_uint_eq(sampler_top_logprobs(logits, VOCAB, sum, 0, top), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sampler");
    TCase *t = tcase_create("parameters");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, greedy_takes_the_likeliest_and_the_lowest_of_equals);
    tcase_add_test(t, greedy_ignores_temperature_top_k_and_top_p_as_the_original_does);
    tcase_add_test(t, padding_rows_of_the_head_are_never_chosen);
    tcase_add_test(t, numbers_that_are_none_are_never_chosen);
    tcase_add_test(t, only_allowed_ids_are_chosen);
    tcase_add_test(t, the_repetition_penalty_counts_prompt_and_answer_and_divides_or_multiplies);
    tcase_add_test(t, frequency_and_presence_penalty_count_the_answer_only);
    tcase_add_test(t, logit_bias_comes_first);
    tcase_add_test(t, the_logits_given_are_not_changed);
    tcase_add_test(t, draws_follow_the_softmax_at_the_temperature);
    tcase_add_test(t, top_k_keeps_the_k_likeliest_and_whatever_equals_the_last);
    tcase_add_test(t, top_p_keeps_the_smallest_set_that_reaches_it);
    tcase_add_test(t, top_p_is_of_what_temperature_and_top_k_left);
    tcase_add_test(t, the_same_seed_draws_the_same_and_another_seed_does_not);
    tcase_add_test(t, partial_selection_keeps_what_a_full_sort_would);
    tcase_add_test(t, logprobs_are_of_the_plain_softmax_best_first);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
