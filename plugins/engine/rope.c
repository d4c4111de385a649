/* rope.c - computes inverse frequencies once and cos and sin per position, rounded as transformers
 * rounds them. */
#include "rope.h"

#include <math.h>

/* inv_freq_i = 1 / (factor_i * theta^(2i / rotary_dim)).  Every step is rounded to float32 because
 * the reference does so: at position 100000 one float32 step of inv_freq is 0.006 radian. */
static void inverse_frequencies(float *out, size_t pairs, double theta, const float *factor)
{
    for (size_t i = 0; i < pairs; i++) {
        float exponent = (float)(2 * i) / (float)(2 * pairs);
        float power = (float)pow(theta, exponent);
        float scaled = factor ? factor[i] * power : power;
        out[i] = 1.0f / scaled;
    }
}

void rope_init(struct rope *r, const struct phi4_config *config)
{
    bool scaled = config->longrope;
    r->pairs = config->rotary_dim / 2;
    r->attention_factor = scaled ? config->attention_factor : 1;
    r->long_above = scaled ? config->original_max_position_embeddings : SIZE_MAX;
    inverse_frequencies(r->short_inv_freq, r->pairs, config->rope_theta,
                        scaled ? config->short_factor : NULL);
    inverse_frequencies(r->long_inv_freq, r->pairs, config->rope_theta,
                        scaled ? config->long_factor : NULL);
}

bool rope_is_long(const struct rope *r, size_t length)
{
    return length > r->long_above;
}

void rope_row(const struct rope *r, bool use_long, size_t position, float *cos_out, float *sin_out)
{
    const float *inv_freq = use_long ? r->long_inv_freq : r->short_inv_freq;
    for (size_t i = 0; i < r->pairs; i++) {
        float angle = (float)position * inv_freq[i];
        cos_out[i] = (float)(cos(angle) * r->attention_factor);
        sin_out[i] = (float)(sin(angle) * r->attention_factor);
    }
}
