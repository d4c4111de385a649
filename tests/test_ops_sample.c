/* test_ops_sample.c - tokens chosen on the device are those that the CPU's sampler chooses, in any
 * company. */
#include "engine/sampler.h"
#include "ops_fixture.h"

#include <math.h>
#include <stdio.h>

enum { MAX_ROWS = 8, MOST_LIST = 64 };

/* A row to choose from, and what chooses on the CPU. */
struct row {
    struct sampler sampler;
    const float *logits;
    const uint32_t *allowed; /* NULL: all */
    int logprobs;
};

static struct ops_device *dev;
static struct sampler_work work;
static const uint64_t *uniforms; /* not NULL: [rows] instead of the samplers' random numbers */

static const struct sampler_params plain = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 5
};

static void *device_copy(const void *host, size_t bytes)
{
    const struct ops *ops = ops_tested();
    void *p = ops->alloc(dev, bytes + 1);
    ck_assert_ptr_nonnull(p);
    ck_assert_int_eq(ops->upload(dev, p, host, bytes), OPS_OK);
    ck_assert_int_eq(ops->sync(dev), OPS_OK);
    return p;
}

/* The host's side of one call. */
struct call {
    struct ops_choice choices[MAX_ROWS];
    struct ops_bias bias[MOST_LIST];
    struct ops_seen seen[MOST_LIST];
    size_t n_bias, n_seen, n_masks;
    float *logits;
    uint32_t *masks;
};

static void describe(struct call *c, const struct row *rows, size_t n, size_t vocab)
{
    const size_t words = (vocab + 31) / 32;
    memset(c, 0, sizeof *c);
    c->logits = malloc(n * vocab * sizeof *c->logits);
    c->masks = calloc(n * words, sizeof *c->masks);
    for (size_t r = 0; r < n; r++) {
        const struct sampler *s = &rows[r].sampler;
        struct ops_choice *choice = &c->choices[r];
        ck_assert_uint_le(c->n_bias + s->n_bias, MOST_LIST);
        ck_assert_uint_le(c->n_seen + s->n_seen, MOST_LIST);
        sampler_describe(s, choice, c->bias + c->n_bias, c->seen + c->n_seen);
        choice->first_bias = (int32_t)c->n_bias;
        choice->n_bias = (int32_t)s->n_bias;
        choice->first_seen = (int32_t)c->n_seen;
        choice->n_seen = (int32_t)s->n_seen;
        choice->logprobs = rows[r].logprobs;
        choice->uniform = uniforms ? uniforms[r] : choice->uniform;
        choice->mask = -1;
        if (rows[r].allowed) {
            choice->mask = (int32_t)c->n_masks;
            memcpy(c->masks + c->n_masks++ * words, rows[r].allowed, words * sizeof *c->masks);
        }
        c->n_bias += s->n_bias;
        c->n_seen += s->n_seen;
        memcpy(c->logits + r * vocab, rows[r].logits, vocab * sizeof *c->logits);
    }
}

/* What the device chooses; the samplers stay as they are. */
static void choose(const struct row *rows, size_t n, size_t vocab, size_t limit,
                   struct ops_chosen *out)
{
    const struct ops *ops = ops_tested();
    struct call c;
    const size_t words = (vocab + 31) / 32;
    describe(&c, rows, n, vocab);
    struct ops_sampling s = { .rows = n,
                              .vocab = vocab,
                              .limit = limit,
                              .logits = device_copy(c.logits, n * vocab * sizeof *c.logits),
                              .choices = device_copy(c.choices, n * sizeof *c.choices),
                              .bias = device_copy(c.bias, c.n_bias * sizeof *c.bias),
                              .seen = device_copy(c.seen, c.n_seen * sizeof *c.seen),
                              .masks = device_copy(c.masks, c.n_masks * words * sizeof *c.masks),
                              .room_bias = c.n_bias,
                              .room_seen = c.n_seen,
                              .mask_words = words,
                              .chosen = ops->alloc(dev, n * sizeof *out) };
    for (size_t r = 0; r < n; r++) {
        s.any_scores |= c.choices[r].n_bias > 0 || c.choices[r].n_seen > 0;
        s.any_draws |= c.choices[r].sample != 0;
        s.any_logprobs |= rows[r].logprobs >= 0;
    }
    ck_assert_int_eq(ops->sample(dev, &s), OPS_OK);
    ck_assert_int_eq(ops->download(dev, out, s.chosen, n * sizeof *out), OPS_OK);
    const void *all[] = { s.logits, s.choices, s.bias, s.seen, s.masks, s.chosen };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ops->free(dev, (void *)(uintptr_t)all[i]);
    free(c.logits);
    free(c.masks);
}

static struct row make_row(struct sampler_params params, const float *logits)
{
    struct row r = { .logits = logits, .logprobs = -1 };
    ck_assert_int_eq(sampler_init(&r.sampler, &params, NULL, 0, NULL, 0), 0);
    return r;
}

/* About normal with this spread; steps > 0: rounded to multiples of 1 / steps, so that many are
 * equal. */
static float *make_logits(size_t n, unsigned seed, float spread, int steps)
{
    float *v = malloc(n * sizeof *v);
    srand(seed);
    for (size_t i = 0; i < n; i++) {
        double sum = -6;
        for (int k = 0; k < 12; k++)
            sum += rand() / (RAND_MAX + 1.0);
        sum *= spread;
        v[i] = (float)(steps ? floor(sum * steps) / steps : sum);
    }
    return v;
}

/* The device's choice, n times one after the other, is the CPU's, whose sampler goes on with it. */
static void follow(struct row *r, size_t vocab, size_t limit, size_t n, const char *what)
{
    ck_assert_int_eq(sampler_work_init(&work, vocab), 0);
    for (size_t i = 0; i < n; i++) {
        struct ops_chosen got;
        uint64_t rng[4];
        choose(r, 1, vocab, limit, &got);
        memcpy(rng, r->sampler.rng, sizeof rng);
        const int32_t want = sampler_pick(&r->sampler, r->logits, limit, r->allowed, &work);
        ck_assert_msg(got.id == want, "%s, choice %zu: %d, the CPU takes %d", what, i, got.id,
                      want);
        ck_assert_int_eq(got.drawn, memcmp(rng, r->sampler.rng, sizeof rng) != 0);
    }
    sampler_work_free(&work);
}

/* ---- the likeliest --------------------------------------------------------------------------- */

START_TEST(the_likeliest_is_taken_and_the_lowest_of_equals)
{
    enum { N = 9000 }; /* three pieces */
    static const size_t best[][2] = { { 0, 1 }, { 4095, 4096 }, { 255, 8999 }, { 8191, 8192 } };
    for (size_t k = 0; k < 4; k++) {
        float *v = make_logits(N, 1, 1, 0);
        v[best[k][0]] = v[best[k][1]] = 50;
        struct row r = make_row(plain, v);
        follow(&r, N, N, 1, "two equals");
        v[best[k][0]] = 49;
        follow(&r, N, N, 1, "the second");
        follow(&r, N, best[k][1] > 1 ? best[k][1] : 2, 1, "below the limit");
        sampler_free(&r.sampler);
        free(v);
    }
}
END_TEST

START_TEST(zeros_are_equal_whatever_their_sign_and_what_is_no_number_is_never_chosen)
{
    float odd[40], none[40];
    for (int i = 0; i < 40; i++) {
        odd[i] = i % 2 ? NAN : -INFINITY;
        none[i] = i % 2 ? NAN : -INFINITY;
    }
    odd[20] = -0.0f;
    odd[31] = 0.0f;
    struct sampler_params sampling = plain;
    sampling.do_sample = true;
    struct row greedy = make_row(plain, odd), drawn = make_row(sampling, odd);
    follow(&greedy, 40, 40, 1, "minus zero");
    follow(&drawn, 40, 40, 20, "drawn among few");
    greedy.logits = drawn.logits = none;
    follow(&greedy, 40, 40, 1, "no number");
    follow(&drawn, 40, 40, 1, "no number to draw");
    odd[7] = INFINITY;
    drawn.logits = odd;
    follow(&drawn, 40, 40, 2, "an infinity is taken without a draw");
    sampler_free(&greedy.sampler);
    sampler_free(&drawn.sampler);
}
END_TEST

START_TEST(bias_penalties_and_masks_are_the_samplers)
{
    enum { N = 5003 };
    float *v = make_logits(N, 2, 1, 4);
    uint32_t allowed[(N + 31) / 32];
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        allowed[i] = (uint32_t)rand() | (uint32_t)rand() << 16;
    const struct sampler_bias bias[] = { { 17, 3.1f }, { 5002, 1e-3f }, { 17, 0.7f }, { 3, -2 } };
    const int32_t prompt[] = { 17, 40, 40, 5002, 3, 4097 };
    for (int k = 0; k < 16; k++) {
        struct sampler_params p = plain;
        p.do_sample = k & 1;
        p.repetition_penalty = k & 2 ? 1.3 : 1;
        p.presence_penalty = k & 4 ? 0.4 : 0;
        p.frequency_penalty = k & 4 ? 0.15 : 0;
        struct row r = { .logits = v, .allowed = k & 8 ? allowed : NULL, .logprobs = -1 };
        ck_assert_int_eq(sampler_init(&r.sampler, &p, bias, 4, prompt, 6), 0);
        follow(&r, N, N - 1, 8, "bias, penalties and a mask");
        sampler_free(&r.sampler);
    }
    free(v);
}
END_TEST

/* ---- draws ----------------------------------------------------------------------------------- */

/* Spread and steps of the logits. */
static const struct {
    float spread;
    int steps;
} shapes[] = { { 2.5f, 0 }, { 2.5f, 8 }, { 0.02f, 0 }, { 30, 2 } };

START_TEST(draws_are_the_samplers)
{
    enum { N = 5007 };
    static const int64_t ks[] = { 0, 1, 40, 600, N };
    static const double ps[] = { 1, 0.95, 0.4, 1e-3 }, temperatures[] = { 0.3, 1, 2 };
    struct sampler_params p = plain;
    p.do_sample = true;
    for (size_t s = 0; s < 4; s++) {
        float *v = make_logits(N, 10 + _i, shapes[s].spread, shapes[s].steps);
        for (size_t k = 0; k < 5; k++)
            for (size_t q = 0; q < 4; q++) {
                p.top_k = ks[k];
                p.top_p = ps[q];
                p.temperature = temperatures[_i];
                p.seed = s * 100 + k * 10 + q;
                struct row r = make_row(p, v);
                char what[100];
                snprintf(what, sizeof what, "logits %zu, top_k %d, top_p %g", s, (int)ks[k], ps[q]);
                follow(&r, N, N, 1, what);
                sampler_free(&r.sampler);
            }
        free(v);
    }
}
END_TEST

/* Many draws from one distribution, near every border between tokens. */
START_TEST(draws_go_along_the_ids)
{
    enum { N = 700 };
    float *v = make_logits(N, 4, 1, 0);
    struct sampler_params p = plain;
    p.do_sample = true;
    p.top_p = 0.9;
    struct row r = make_row(p, v);
    follow(&r, N, N, 150, "one of many draws");
    sampler_free(&r.sampler);
    free(v);
}
END_TEST

/* All weights are equal, so j / N is where token j begins: at a border the token behind it. */
START_TEST(a_number_on_the_border_draws_the_token_behind_it)
{
    enum { N = 8192 };
    static const uint64_t at[MAX_ROWS] = { 0, 1, 37, 512, 1024, 4096, 4113, 8191 };
    static float equal[N];
    uint64_t numbers[MAX_ROWS];
    struct sampler_params p = plain;
    struct row rows[MAX_ROWS];
    struct ops_chosen got[MAX_ROWS];
    p.do_sample = true;
    for (size_t r = 0; r < MAX_ROWS; r++) {
        rows[r] = make_row(p, equal);
        numbers[r] = at[r] << (53 - 13);
    }
    for (int before = 0; before < 2; before++) { /* the border, and the last number before it */
        uniforms = numbers;
        choose(rows, MAX_ROWS, N, N, got);
        uniforms = NULL;
        for (size_t r = 0; r < MAX_ROWS; r++) {
            const int32_t want = (int32_t)at[r] - (before && at[r] > 0);
            ck_assert_int_eq(got[r].id, want);
            numbers[r] -= numbers[r] > 0;
        }
    }
    for (size_t r = 0; r < MAX_ROWS; r++)
        sampler_free(&rows[r].sampler);
}
END_TEST

START_TEST(a_temperature_beyond_float32_takes_the_likeliest)
{
    enum { N = 300 };
    float *v = make_logits(N, 5, 1, 0);
    struct sampler_params p = plain;
    p.do_sample = true;
    p.temperature = 1e-300;
    struct row r = make_row(p, v);
    follow(&r, N, N, 3, "cold");
    sampler_free(&r.sampler);
    free(v);
}
END_TEST

/* ---- log-probabilities ----------------------------------------------------------------------- */

static void compare_logprobs(const struct row *r, const struct ops_chosen *got, size_t vocab,
                             size_t limit)
{
    struct sampler_logprob want[SAMPLER_MAX_LOGPROBS];
    const double sum = sampler_log_sum_exp(r->logits, vocab), allowed = 0x1p-16;
    const size_t n = sampler_top_logprobs(r->logits, limit, sum, (size_t)r->logprobs, want);
    ck_assert_double_eq_tol(got->logprob, r->logits[got->id] - sum, allowed);
    ck_assert_int_eq(got->n_top, (int)n);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(got->top_id[i], want[i].id);
        if (isfinite(want[i].logprob))
            ck_assert_double_eq_tol(got->top_logprob[i], want[i].logprob, allowed);
    }
}

START_TEST(logprobs_are_of_the_logits_as_they_came)
{
    static const size_t vocabs[] = { 10, 4096, 9001 };
    const struct sampler_bias bias[] = { { 3, 60 }, { 3, 1 } };
    const int32_t prompt[] = { 3, 4 };
    for (size_t i = 0; i < 3; i++)
        for (int k = 0; k < 4; k++) {
            const size_t n = vocabs[i], limit = k & 1 ? n - 3 : n;
            float *v = make_logits(n, 6 + (unsigned)i, 3, k & 1 ? 4 : 0);
            v[n - 1] = 30; /* beyond the limit it counts in the sum only */
            v[5] = -INFINITY;
            struct sampler_params p = plain;
            p.repetition_penalty = 1.5;
            struct row r = { .logits = v, .logprobs = k == 3 ? 0 : 20 };
            ck_assert_int_eq(sampler_init(&r.sampler, &p, bias, k & 2 ? 2 : 0, prompt, 2), 0);
            struct ops_chosen got;
            choose(&r, 1, n, limit, &got);
            ck_assert(!(k & 2) || got.id == 3);
            compare_logprobs(&r, &got, n, limit);
            sampler_free(&r.sampler);
            free(v);
        }
}
END_TEST

/* ---- company --------------------------------------------------------------------------------- */

START_TEST(a_row_has_the_same_bits_in_any_company)
{
    enum { N = 5000, ROWS = 6 };
    struct row rows[ROWS], turned[ROWS];
    struct ops_chosen alone[ROWS], together[ROWS];
    uint32_t allowed[(N + 31) / 32];
    memset(allowed, 0x5a, sizeof allowed);
    for (int r = 0; r < ROWS; r++) {
        struct sampler_params p = plain;
        p.do_sample = r % 3 != 0;
        p.top_p = r % 2 ? 0.9 : 1;
        p.top_k = r == 4 ? 50 : 0;
        p.frequency_penalty = r == 5 ? 1 : 0;
        p.seed = (uint64_t)r;
        rows[r] = make_row(p, make_logits(N, 20 + (unsigned)r, 2, 0));
        rows[r].logprobs = r % 2 ? 5 : -1;
        rows[r].allowed = r == 2 ? allowed : NULL;
        for (int32_t id = 0; r == 5 && id < 20; id++)
            ck_assert_int_eq(sampler_accept(&rows[r].sampler, id % 7, false), 0);
        memset(&alone[r], 0, sizeof alone[r]);
        choose(&rows[r], 1, N, N, &alone[r]);
    }
    for (int by = 0; by < ROWS; by += 2) {
        for (int r = 0; r < ROWS; r++)
            turned[r] = rows[(r + by) % ROWS];
        choose(turned, ROWS, N, N, together);
        for (int r = 0; r < ROWS; r++) {
            const struct ops_chosen *a = &alone[(r + by) % ROWS], *b = &together[r];
            ck_assert_int_eq(a->id, b->id);
            ck_assert_int_eq(a->drawn, b->drawn);
            if (turned[r].logprobs < 0)
                continue;
            ck_assert_int_eq(a->n_top, b->n_top);
            assert_same_floats(&a->logprob, &b->logprob, 1, "logprob");
            assert_same_floats(a->top_logprob, b->top_logprob, (size_t)a->n_top, "top_logprob");
            ck_assert_mem_eq(a->top_id, b->top_id, (size_t)a->n_top * sizeof *a->top_id);
        }
    }
    for (int r = 0; r < ROWS; r++) {
        free((void *)(uintptr_t)rows[r].logits);
        sampler_free(&rows[r].sampler);
    }
}
END_TEST

START_TEST(shapes_that_break_the_contract_are_refused)
{
    const struct ops *ops = ops_tested();
    struct ops_sampling s = { .rows = 1, .vocab = 10, .limit = 11 };
    ck_assert_int_eq(ops->sample(dev, &s), OPS_E_SHAPE);
    s.limit = 0;
    ck_assert_int_eq(ops->sample(dev, &s), OPS_E_SHAPE);
    s.limit = 10;
    s.rows = 0;
    ck_assert_int_eq(ops->sample(dev, &s), OPS_OK);
}
END_TEST

static void setup(void)
{
    dev = open_set(0, 1);
    ck_assert_ptr_nonnull(dev);
}

static void teardown(void)
{
    ops_tested()->close(dev);
}

static void add(TCase *t)
{
    tcase_set_timeout(t, 600);
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, the_likeliest_is_taken_and_the_lowest_of_equals);
    tcase_add_test(t, zeros_are_equal_whatever_their_sign_and_what_is_no_number_is_never_chosen);
    tcase_add_test(t, bias_penalties_and_masks_are_the_samplers);
    tcase_add_loop_test(t, draws_are_the_samplers, 0, 3);
    tcase_add_test(t, draws_go_along_the_ids);
    tcase_add_test(t, a_number_on_the_border_draws_the_token_behind_it);
    tcase_add_test(t, a_temperature_beyond_float32_takes_the_likeliest);
    tcase_add_test(t, logprobs_are_of_the_logits_as_they_came);
    tcase_add_test(t, a_row_has_the_same_bits_in_any_company);
    tcase_add_test(t, shapes_that_break_the_contract_are_refused);
}

int main(void)
{
    return run_suite("ops.sample", add);
}
