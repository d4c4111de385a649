/* sampler.c - penalties, temperature, top_k and top_p by partial selection, and the draw. */
#include "sampler.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A token that may still be drawn. */
struct sampler_candidate {
    float score;
    int32_t id;
    double weight; /* exp(score - best) */
};

enum { HEAP_MAX_K = 512 }; /* below this a heap finds the k-th best faster than selection */

/* ---- random numbers -------------------------------------------------------------------------- */

static uint64_t rotate_left(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t xoshiro256ss(uint64_t s[4])
{
    uint64_t result = rotate_left(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Uniform in [0, 1). */
static double uniform(struct sampler *s)
{
    return (double)(xoshiro256ss(s->rng) >> 11) * 0x1p-53;
}

/* The next number of uniform(), in units of 2^-53, which stays the next. */
static uint64_t peek_uniform(const struct sampler *s)
{
    uint64_t rng[4];
    memcpy(rng, s->rng, sizeof rng);
    return xoshiro256ss(rng) >> 11;
}

/* ---- what was seen --------------------------------------------------------------------------- */

static bool counts(const struct sampler_params *p)
{
    return p->presence_penalty != 0 || p->frequency_penalty != 0;
}

/* The first place whose id is not below id. */
static size_t seen_at(const struct sampler *s, int32_t id)
{
    size_t low = 0, high = s->n_seen;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (s->seen[mid].id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static int seen_add(struct sampler *s, int32_t id, uint32_t times)
{
    size_t at = seen_at(s, id);
    if (at < s->n_seen && s->seen[at].id == id) {
        s->seen[at].generated += times;
        return 0;
    }
    if (s->n_seen == s->seen_capacity) {
        size_t capacity = s->seen_capacity ? 2 * s->seen_capacity : 64;
        struct sampler_seen *seen = realloc(s->seen, capacity * sizeof *seen);
        if (!seen)
            return -1;
        s->seen = seen;
        s->seen_capacity = capacity;
    }
    memmove(&s->seen[at + 1], &s->seen[at], (s->n_seen - at) * sizeof *s->seen);
    s->seen[at] = (struct sampler_seen){ id, times };
    s->n_seen++;
    return 0;
}

static int by_id(const void *a, const void *b)
{
    int32_t x = ((const struct sampler_seen *)a)->id, y = ((const struct sampler_seen *)b)->id;
    return (x > y) - (x < y);
}

/* Fills an empty list with the distinct ids of the prompt. */
static int seen_prompt(struct sampler *s, const int32_t *prompt, size_t n)
{
    s->seen = malloc((n + 64) * sizeof *s->seen);
    if (!s->seen)
        return -1;
    s->seen_capacity = n + 64;
    for (size_t i = 0; i < n; i++)
        s->seen[i] = (struct sampler_seen){ prompt[i], 0 };
    qsort(s->seen, n, sizeof *s->seen, by_id);
    for (size_t i = 0; i < n; i++)
        if (s->n_seen == 0 || s->seen[s->n_seen - 1].id != s->seen[i].id)
            s->seen[s->n_seen++] = s->seen[i];
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

int sampler_work_init(struct sampler_work *w, size_t vocab)
{
    w->vocab = vocab;
    w->scores = malloc(vocab * sizeof *w->scores);
    w->order = malloc(vocab * sizeof *w->order);
    if (w->scores && w->order)
        return 0;
    sampler_work_free(w);
    return -1;
}

void sampler_work_free(struct sampler_work *w)
{
    free(w->scores);
    free(w->order);
    memset(w, 0, sizeof *w);
}

int sampler_init(struct sampler *s, const struct sampler_params *params,
                 const struct sampler_bias *bias, size_t n_bias, const int32_t *prompt,
                 size_t n_prompt)
{
    memset(s, 0, sizeof *s);
    s->params = *params;
    uint64_t state = params->seed;
    for (int i = 0; i < 4; i++)
        s->rng[i] = splitmix64(&state);
    if (n_bias > 0) {
        s->bias = malloc(n_bias * sizeof *bias);
        if (!s->bias)
            return -1;
        memcpy(s->bias, bias, n_bias * sizeof *bias);
        s->n_bias = n_bias;
    }
    if (params->repetition_penalty != 1 && seen_prompt(s, prompt, n_prompt)) {
        sampler_free(s);
        return -1;
    }
    return 0;
}

void sampler_free(struct sampler *s)
{
    free(s->bias);
    free(s->seen);
    memset(s, 0, sizeof *s);
}

/* ---- scores ---------------------------------------------------------------------------------- */

/* Repetition penalty (Keskar et al. 2019) and OpenAI's two, on the tokens that were seen. */
static void penalise(const struct sampler *s, float *scores, size_t limit)
{
    const struct sampler_params *p = &s->params;
    for (size_t i = 0; i < s->n_seen; i++) {
        struct sampler_seen seen = s->seen[i];
        if ((size_t)seen.id >= limit)
            continue;
        float *score = &scores[seen.id];
        if (p->repetition_penalty != 1)
            *score = *score < 0 ? *score * (float)p->repetition_penalty
                                : *score / (float)p->repetition_penalty;
        if (seen.generated > 0)
            *score -= (float)(p->presence_penalty + p->frequency_penalty * (double)seen.generated);
    }
}

/* The logits with bias and penalties: logits itself when there are none. */
static const float *adjusted(const struct sampler *s, const float *logits, size_t limit,
                             const uint32_t *allowed, struct sampler_work *work)
{
    if (s->n_bias == 0 && s->n_seen == 0 && !allowed)
        return logits;
    float *scores = work->scores;
    memcpy(scores, logits, limit * sizeof *scores);
    for (size_t i = 0; i < s->n_bias; i++)
        if ((size_t)s->bias[i].id < limit)
            scores[s->bias[i].id] += s->bias[i].bias;
    penalise(s, scores, limit);
    for (size_t id = 0; allowed && id < limit; id++)
        if (!(allowed[id / 32] >> (id % 32) & 1))
            scores[id] = -INFINITY;
    return scores;
}

/* The id of the greatest score, the lowest of equals; -1: none is above minus infinity. */
static int32_t argmax(const float *scores, size_t n)
{
    float best = -INFINITY;
    int32_t at = -1;
    for (size_t i = 0; i < n; i++)
        if (scores[i] > best) {
            best = scores[i];
            at = (int32_t)i;
        }
    return at;
}

/* ---- selection ------------------------------------------------------------------------------- */

static void sift_down(float *heap, size_t n, size_t at)
{
    for (;;) {
        size_t least = at, left = 2 * at + 1;
        for (size_t c = left; c < n && c <= left + 1; c++)
            if (heap[c] < heap[least])
                least = c;
        if (least == at)
            return;
        float t = heap[at];
        heap[at] = heap[least];
        heap[least] = t;
        at = least;
    }
}

/* The k-th greatest of scores, 1 <= k <= n, with a heap of the k best so far. */
static float kth_by_heap(const float *scores, size_t n, size_t k)
{
    float heap[HEAP_MAX_K];
    memcpy(heap, scores, k * sizeof *heap);
    for (size_t i = 0; i < k; i++)
        if (isnan(heap[i]))
            heap[i] = -INFINITY;
    for (size_t i = k / 2; i-- > 0;)
        sift_down(heap, k, i);
    for (size_t i = k; i < n; i++)
        if (scores[i] > heap[0]) {
            heap[0] = scores[i];
            sift_down(heap, k, 0);
        }
    return heap[0];
}

static bool before(const struct sampler_candidate *a, const struct sampler_candidate *b)
{
    return a->score > b->score || (a->score == b->score && a->id < b->id);
}

static void swap(struct sampler_candidate *c, size_t i, size_t j)
{
    struct sampler_candidate t = c[i];
    c[i] = c[j];
    c[j] = t;
}

/* Moves the candidates of [low, high) that come before the middle one to the front, that one
 * behind them; its new place. */
static size_t partition(struct sampler_candidate *c, size_t low, size_t high)
{
    size_t mid = low + (high - low) / 2, last = high - 1, at = low;
    if (before(&c[mid], &c[low]))
        swap(c, mid, low);
    if (before(&c[last], &c[low]))
        swap(c, last, low);
    if (before(&c[last], &c[mid]))
        swap(c, last, mid); /* the median of the three is in the middle */
    swap(c, mid, last);
    for (size_t i = low; i < last; i++)
        if (before(&c[i], &c[last]))
            swap(c, i, at++);
    swap(c, at, last);
    return at;
}

/* Puts the smallest leading set whose weights, best first, reach `mass` in front; its size.  As
 * selection, not sorting: linear on average. */
static size_t select_mass(struct sampler_candidate *c, size_t n, double mass)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t at = partition(c, low, high);
        double above = 0;
        for (size_t i = low; i < at; i++)
            above += c[i].weight;
        if (above >= mass) {
            high = at;
        } else if (above + c[at].weight >= mass) {
            return at + 1;
        } else {
            mass -= above + c[at].weight;
            low = at + 1;
        }
    }
    return high > 0 ? high : 1;
}

/* The k-th best score, 1 <= k <= n; moves candidates. */
static float kth_by_selection(struct sampler_candidate *c, size_t n, size_t k)
{
    size_t low = 0, high = n;
    while (high - low > 1) {
        size_t at = partition(c, low, high);
        if (at == k - 1)
            break;
        if (at > k - 1)
            high = at;
        else
            low = at + 1;
    }
    return c[k - 1].score;
}

/* ---- the draw -------------------------------------------------------------------------------- */

/* All candidates with a finite score of at least threshold. */
static size_t collect(const float *scores, size_t n, float threshold, struct sampler_candidate *out)
{
    size_t kept = 0;
    for (size_t id = 0; id < n; id++)
        if (scores[id] >= threshold && scores[id] > -INFINITY)
            out[kept++] = (struct sampler_candidate){ scores[id], (int32_t)id, 0 };
    return kept;
}

/* The candidates after top_k, by id; at least one. */
static size_t keep_top_k(const struct sampler *s, const float *scores, size_t limit,
                         struct sampler_candidate *order)
{
    size_t k =
        s->params.top_k > 0 && (uint64_t)s->params.top_k < limit ? (size_t)s->params.top_k : 0;
    if (k > 0 && k <= HEAP_MAX_K)
        return collect(scores, limit, kth_by_heap(scores, limit, k), order);
    size_t n = collect(scores, limit, -INFINITY, order);
    if (k == 0 || k >= n)
        return n;
    return collect(scores, limit, kth_by_selection(order, n, k), order);
}

/* Gives each its weight, exp((score - best) / temperature); their sum. */
static double weigh(struct sampler_candidate *c, size_t n, double best, double temperature)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        c[i].weight = exp(((double)c[i].score - best) / temperature);
        total += c[i].weight;
    }
    return total;
}

/* The candidates that top_p leaves, again by id; how many. */
static size_t keep_top_p(const float *scores, size_t limit, struct sampler_candidate *c, size_t n,
                         double mass)
{
    n = select_mass(c, n, mass);
    struct sampler_candidate last = c[0];
    for (size_t i = 1; i < n; i++)
        if (before(&last, &c[i]))
            last = c[i];
    n = collect(scores, limit, last.score, c);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!before(&last, &c[i]))
            c[kept++] = c[i];
    return kept;
}

/* Candidates stand in order of their ids, so that a drawn number means the same token whoever
 * looks it up (ops.sample does). */
static int32_t draw(struct sampler *s, const float *scores, size_t limit, float best,
                    struct sampler_work *work)
{
    struct sampler_candidate *c = work->order;
    size_t n = keep_top_k(s, scores, limit, c);
    double total = weigh(c, n, best, s->params.temperature);
    if (s->params.top_p < 1) {
        n = keep_top_p(scores, limit, c, n, s->params.top_p * total);
        total = weigh(c, n, best, s->params.temperature);
    }
    double mark = uniform(s) * total;
    for (size_t i = 0; i < n; i++) {
        mark -= c[i].weight;
        if (mark < 0)
            return c[i].id;
    }
    /* Rounding left a rest: the last that has any weight. */
    while (n > 1 && c[n - 1].weight == 0)
        n--;
    return c[n - 1].id;
}

int32_t sampler_pick(struct sampler *s, const float *logits, size_t limit, const uint32_t *allowed,
                     struct sampler_work *work)
{
    const float *scores = adjusted(s, logits, limit, allowed, work);
    int32_t id = argmax(scores, limit);
    if (id < 0)
        return -1;
    if (s->params.do_sample && isfinite(scores[id]))
        id = draw(s, scores, limit, scores[id], work);
    if ((s->params.repetition_penalty != 1 || counts(&s->params)) && seen_add(s, id, 1))
        return -2;
    return id;
}

/* ---- choosing on the device ------------------------------------------------------------------ */

void sampler_describe(const struct sampler *s, struct ops_choice *choice, struct ops_bias *bias,
                      struct ops_seen *seen)
{
    const struct sampler_params *p = &s->params;
    const float temperature = (float)p->temperature;
    choice->sample = p->do_sample;
    choice->uniform = peek_uniform(s);
    choice->temperature = temperature < FLT_MIN   ? FLT_MIN
                          : temperature > FLT_MAX ? FLT_MAX
                                                  : temperature;
    choice->top_p = p->top_p;
    choice->top_k = p->top_k > 0 && p->top_k <= INT32_MAX ? (int32_t)p->top_k : 0;
    choice->repetition_penalty = (float)p->repetition_penalty;
    for (size_t i = 0; i < s->n_bias; i++)
        bias[i] = (struct ops_bias){ s->bias[i].id, s->bias[i].bias };
    for (size_t i = 0; i < s->n_seen; i++) {
        double times = s->seen[i].generated;
        float subtract =
            times > 0 ? (float)(p->presence_penalty + p->frequency_penalty * times) : 0.0f;
        seen[i] = (struct ops_seen){ s->seen[i].id, subtract };
    }
}

int sampler_accept(struct sampler *s, int32_t id, bool drawn)
{
    if (drawn)
        xoshiro256ss(s->rng);
    bool remember = s->params.repetition_penalty != 1 || counts(&s->params);
    return remember && seen_add(s, id, 1) ? -1 : 0;
}

/* ---- log-probabilities ----------------------------------------------------------------------- */

double sampler_log_sum_exp(const float *logits, size_t vocab)
{
    int32_t best = argmax(logits, vocab);
    if (best < 0)
        return -INFINITY;
    float top = logits[best];
    double sum = 0;
    for (size_t i = 0; i < vocab; i++)
        sum += (double)expf(logits[i] - top);
    return (double)top + log(sum);
}

size_t sampler_top_logprobs(const float *logits, size_t limit, double log_sum_exp, size_t n,
                            struct sampler_logprob *out)
{
    size_t kept = 0;
    if (n > SAMPLER_MAX_LOGPROBS)
        n = SAMPLER_MAX_LOGPROBS;
    /* Ordered by logit: two of them may have the same logarithm in float. */
    for (size_t id = 0; n > 0 && id < limit; id++) {
        float logit = logits[id];
        if (isnan(logit) || (kept == n && !(logit > out[n - 1].logprob)))
            continue;
        size_t at = kept < n ? kept++ : n - 1;
        for (; at > 0 && logit > out[at - 1].logprob; at--)
            out[at] = out[at - 1];
        out[at] = (struct sampler_logprob){ (int32_t)id, logit };
    }
    for (size_t i = 0; i < kept; i++)
        out[i].logprob = (float)((double)out[i].logprob - log_sum_exp);
    return kept;
}
