/* audio_resample.c - rates become 16000 Hz: multiples as the reference does it, others by libsoxr.
 */
#include "audio_resample.h"

#include <math.h>
#include <soxr.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    RATE_OUT = 16000,
    PIECE = 4096,       /* samples handed on at a time */
    HALF_PER_STEP = 10, /* resample_poly: the filter reaches 10 k samples to each side */
};

struct audio_resampler {
    audio_sink *sink;
    void *ctx;
    soxr_t soxr; /* NULL: not the second way */
    unsigned rate;
    uint64_t taken, made; /* samples so far */

    /* The first way; step 1: the samples pass as they are. */
    size_t step; /* k */
    size_t n_taps, held;
    double *taps; /* [n_taps] */
    double *line; /* [n_taps + PIECE]: held samples, those before the sound are 0 */
    double out[PIECE];
};

/* The modified Bessel function I0 by its power series, for the x of a window (0 .. beta). */
static double bessel_i0(double x)
{
    double sum = 1, term = 1;
    for (int i = 1; term > sum * 1e-18; i++) {
        term *= (x / 2 / i) * (x / 2 / i);
        sum += term;
    }
    return sum;
}

static void design_filter(double *taps, size_t n_taps, size_t step)
{
    const double pi = 3.14159265358979323846, beta = 5, half = (double)(n_taps / 2);
    double gain = 0;
    for (size_t i = 0; i < n_taps; i++) {
        const double t = (double)i - half, angle = pi * t / (double)step;
        const double sinc = t == 0 ? 1 : sin(angle) / angle, at = t / half;
        taps[i] = sinc * bessel_i0(beta * sqrt(fmax(0, 1 - at * at))) / bessel_i0(beta);
        gain += taps[i];
    }
    for (size_t i = 0; i < n_taps; i++)
        taps[i] /= gain;
}

static int open_soxr(struct audio_resampler *r, unsigned rate, struct airlock_error *err)
{
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT64_I, SOXR_FLOAT64_I);
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_HQ, 0);
    soxr_error_t why = NULL;
    r->rate = rate;
    r->soxr = soxr_create(rate, RATE_OUT, 1, &why, &io, &quality, NULL);
    if (r->soxr)
        return 0;
    return airlock_error_set(err, AIRLOCK_E_INTERNAL, "libsoxr cannot go from %u to %d Hz: %.100s",
                             rate, RATE_OUT, why ? why : "out of memory");
}

static int open_filter(struct audio_resampler *r, unsigned rate, struct airlock_error *err)
{
    r->step = rate / RATE_OUT;
    r->n_taps = 2 * HALF_PER_STEP * r->step + 1;
    r->held = HALF_PER_STEP * r->step;
    r->taps = calloc(r->n_taps, sizeof *r->taps);
    r->line = calloc(r->n_taps + PIECE, sizeof *r->line);
    if (!r->taps || !r->line)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a low-pass filter");
    design_filter(r->taps, r->n_taps, r->step);
    return 0;
}

struct audio_resampler *audio_resampler_new(unsigned rate, audio_sink *sink, void *ctx,
                                            struct airlock_error *err)
{
    struct audio_resampler *r = calloc(1, sizeof *r);
    if (!r) {
        airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a resampler");
        return NULL;
    }
    r->sink = sink;
    r->ctx = ctx;
    int rc = 0;
    if (rate == RATE_OUT)
        r->step = 1;
    else if (rate % RATE_OUT == 0 && rate > 0)
        rc = open_filter(r, rate, err);
    else
        rc = open_soxr(r, rate, err);
    if (rc < 0) {
        audio_resampler_free(r);
        return NULL;
    }
    return r;
}

void audio_resampler_free(struct audio_resampler *r)
{
    if (!r)
        return;
    soxr_delete(r->soxr);
    free(r->taps);
    free(r->line);
    free(r);
}

/* samples NULL: no more will come.  Of what it makes, what is beyond `most` in all is dropped. */
static int push_soxr(struct audio_resampler *r, const double *samples, size_t n, uint64_t most,
                     struct airlock_error *err)
{
    size_t used = 0, made = 1;
    while (used < n || made > 0) {
        size_t took = 0;
        soxr_error_t why = soxr_process(r->soxr, samples ? samples + used : NULL, n - used, &took,
                                        r->out, PIECE, &made);
        if (why || (took == 0 && made == 0 && used < n))
            return airlock_error_set(err, AIRLOCK_E_INTERNAL, "libsoxr failed: %.100s",
                                     why ? why : "it takes no more samples");
        used += took;
        const size_t wanted = made < most - r->made ? made : (size_t)(most - r->made);
        r->made += wanted;
        const int rc = wanted ? r->sink(r->ctx, r->out, wanted) : 0;
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* libsoxr rounds the number of samples to nearest; with silence behind the sound there are enough
 * for any rounding. */
static int finish_soxr(struct audio_resampler *r, struct airlock_error *err)
{
    static const double silence[PIECE];
    const uint64_t most = (r->taken * RATE_OUT + r->rate - 1) / r->rate;
    size_t rest = 2 + r->rate / RATE_OUT;
    for (size_t n; rest > 0; rest -= n) {
        n = rest < PIECE ? rest : PIECE;
        const int rc = push_soxr(r, silence, n, most, err);
        if (rc != 0)
            return rc;
    }
    return push_soxr(r, NULL, 0, most, err);
}

static double filtered(const double *taps, const double *samples, size_t n)
{
    double lane[4] = { 0 };
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t l = 0; l < 4; l++)
            lane[l] += taps[i + l] * samples[i + l];
    for (; i < n; i++)
        lane[0] += taps[i] * samples[i];
    return lane[0] + lane[1] + (lane[2] + lane[3]);
}

/* Output m is centred on input k m: the line begins at input k m - 10 k.  n is at most PIECE;
 * samples NULL: zeros. */
static int push_filter(struct audio_resampler *r, const double *samples, size_t n)
{
    size_t first = 0, made = 0;
    if (samples)
        memcpy(r->line + r->held, samples, n * sizeof *samples);
    else
        memset(r->line + r->held, 0, n * sizeof *r->line);
    r->held += n;
    for (; first + r->n_taps <= r->held; first += r->step)
        r->out[made++] = filtered(r->taps, r->line + first, r->n_taps);
    r->held -= first;
    memmove(r->line, r->line + first, r->held * sizeof *r->line);
    return made ? r->sink(r->ctx, r->out, made) : 0;
}

int audio_resample_push(struct audio_resampler *r, const double *samples, size_t n,
                        struct airlock_error *err)
{
    int rc = 0;
    if (n == 0)
        return 0;
    if (r->soxr) {
        r->taken += n;
        return push_soxr(r, samples, n, UINT64_MAX, err);
    }
    if (r->step == 1)
        return r->sink(r->ctx, samples, n);
    for (size_t i = 0; rc == 0 && i < n; i += PIECE)
        rc = push_filter(r, samples + i, n - i < PIECE ? n - i : PIECE);
    return rc;
}

int audio_resample_finish(struct audio_resampler *r, struct airlock_error *err)
{
    if (r->soxr)
        return finish_soxr(r, err);
    return r->step == 1 ? 0 : push_filter(r, NULL, HALF_PER_STEP * r->step);
}
