/* log_mel.c - frames, window, Fourier transform, mel bank, logarithm; see log_mel.h. */
#include "log_mel.h"

#include <math.h>

enum {
    MAX_FFT = 512,
    HALF_FFT = MAX_FFT / 2,
    BINS = MAX_FFT / 2 + 1, /* of the spectrum that the mel bank reads, at either rate */
    MAX_FRAME = 400,
    FIRST_BIN = 1,  /* that any triangle reads */
    LAST_BIN = 245, /* below the bin nearest to 7690 Hz */
    MAX_TAPS = 32   /* bins of the widest triangle: 30 */
};

#define PI 3.14159265358979323846
#define BIN_HZ 31.25
#define TOP_HZ 7690.0

/* The lengths that depend on the rate. */
struct frame {
    size_t length, hop, fft;
};

struct front_end {
    struct frame frame;
    double window[MAX_FRAME];
    double cosine[HALF_FFT], sine[HALF_FFT]; /* e^(-2 pi i k / fft), k < fft / 2 */
    struct triangle {
        size_t first, n; /* bins */
        float weight[MAX_TAPS];
    } mel[LOG_MEL_BINS];
};

static struct frame frame_of(unsigned rate)
{
    if (rate == 16000)
        return (struct frame){ 400, 160, 512 };
    if (rate == 8000)
        return (struct frame){ 200, 80, 256 };
    return (struct frame){ 0 };
}

size_t log_mel_frames(size_t n_samples, unsigned rate)
{
    const struct frame f = frame_of(rate);
    return f.length == 0 || n_samples < f.length ? 0 : (n_samples - f.length) / f.hop + 1;
}

size_t log_mel_tokens(size_t frames)
{
    return frames / LOG_MEL_TOKEN_FRAMES + (frames % LOG_MEL_TOKEN_FRAMES != 0);
}

static double mel_of(double hz)
{
    return 1127.0 * log(1.0 + hz / 700.0);
}

static void design(struct front_end *fe, struct frame frame)
{
    fe->frame = frame;
    for (size_t i = 0; i < frame.length; i++)
        fe->window[i] = 0.54 - 0.46 * cos(2 * PI * (double)i / (double)(frame.length - 1));
    for (size_t k = 0; k < frame.fft / 2; k++) {
        fe->cosine[k] = cos(2 * PI * (double)k / (double)frame.fft);
        fe->sine[k] = -sin(2 * PI * (double)k / (double)frame.fft);
    }
    const double width = mel_of(TOP_HZ) / (LOG_MEL_BINS + 1);
    for (size_t m = 0; m < LOG_MEL_BINS; m++) {
        struct triangle *t = &fe->mel[m];
        *t = (struct triangle){ 0 };
        for (size_t bin = FIRST_BIN; bin <= LAST_BIN; bin++) {
            const double height =
                1 - fabs(mel_of((double)bin * BIN_HZ) - (double)(m + 1) * width) / width;
            if (height <= 0 || t->n == MAX_TAPS)
                continue;
            if (t->n == 0)
                t->first = bin;
            t->weight[t->n++] = (float)height;
        }
    }
}

/* In place, n a power of two; step: of the twiddle factors, which are those of the n step-th roots
 * (Cooley and Tukey 1965, decimation in time). */
static void complex_fft(const struct front_end *fe, double *re, double *im, size_t n, size_t step)
{
    for (size_t i = 1, j = 0; i < n; i++) { /* bit reversal */
        size_t bit = n / 2;
        for (; j & bit; bit /= 2)
            j ^= bit;
        j ^= bit;
        if (i < j) {
            const double r = re[i], m = im[i];
            re[i] = re[j], im[i] = im[j];
            re[j] = r, im[j] = m;
        }
    }
    for (size_t half = 1; half < n; half *= 2) {
        const size_t stride = step * (n / 2 / half);
        for (size_t first = 0; first < n; first += 2 * half) {
            for (size_t k = 0; k < half; k++) {
                const double c = fe->cosine[k * stride], s = fe->sine[k * stride];
                const size_t a = first + k, b = a + half;
                const double r = re[b] * c - im[b] * s, m = re[b] * s + im[b] * c;
                re[b] = re[a] - r, im[b] = im[a] - m;
                re[a] += r, im[a] += m;
            }
        }
    }
}

/*
 * power[k] = |X[k]|^2 of the real x[0 .. fft-1], k < fft / 2, by a complex transform of half the
 * length: z[t] = x[2t] + i x[2t+1] has Z = E + iO, where E and O are the spectra of the even and
 * the odd samples, and X[k] = E[k] + e^(-2 pi i k / fft) O[k].  (Bin fft / 2 is not needed.)
 */
static void power_spectrum(const struct front_end *fe, const double *x, float *power)
{
    double re[HALF_FFT], im[HALF_FFT];
    const size_t half = fe->frame.fft / 2;
    for (size_t i = 0; i < half; i++) {
        re[i] = x[2 * i];
        im[i] = x[2 * i + 1];
    }
    complex_fft(fe, re, im, half, 2);
    for (size_t k = 0; k < half; k++) {
        const size_t mirror = (half - k) % half;
        const double even_re = (re[k] + re[mirror]) / 2, even_im = (im[k] - im[mirror]) / 2;
        const double odd_re = (im[k] + im[mirror]) / 2, odd_im = (re[mirror] - re[k]) / 2;
        const double r = even_re + fe->cosine[k] * odd_re - fe->sine[k] * odd_im;
        const double m = even_im + fe->cosine[k] * odd_im + fe->sine[k] * odd_re;
        power[k] = (float)(r * r + m * m);
    }
}

static void do_frame(const struct front_end *fe, const float *samples, float *out)
{
    double x[MAX_FFT] = { 0 };
    float power[BINS] = { 0 };
    for (size_t t = 0; t < fe->frame.length; t++) {
        const float before = samples[t ? t - 1 : 0];
        x[t] = (double)((samples[t] - 0.97f * before) * 32768.0f) * fe->window[t];
    }
    power_spectrum(fe, x, power);
    for (size_t m = 0; m < LOG_MEL_BINS; m++) {
        const struct triangle *t = &fe->mel[m];
        double energy = 0;
        for (size_t i = 0; i < t->n; i++)
            energy += (double)t->weight[i] * (double)power[t->first + i];
        out[m] = (float)log(energy > 1 ? energy : 1);
    }
}

int log_mel(const float *samples, size_t n_samples, unsigned rate, float *features,
            struct airlock_error *err)
{
    struct front_end fe;
    const size_t frames = log_mel_frames(n_samples, rate);
    if (frame_of(rate).length == 0)
        return airlock_error_set(err, AIRLOCK_E_INVALID, "audio features: a rate of %u Hz", rate);
    if (frames == 0)
        return airlock_error_set(err, AIRLOCK_E_REQUEST,
                                 "shorter than 25 ms, the length of one frame");
    design(&fe, frame_of(rate));
    for (size_t i = 0; i < frames; i++)
        do_frame(&fe, samples + i * fe.frame.hop, features + i * LOG_MEL_BINS);
    return 0;
}
