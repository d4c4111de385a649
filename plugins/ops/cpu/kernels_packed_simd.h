/*
 * kernels_packed_simd.h - products with compressed matrices, written once over vectors of 16
 * floats; included by kernels_simd.h.
 *
 * A vector is one column of 16 rows of the weights and meets one number of x, so a lane is an
 * output.  Besides what kernels_simd.h asks for, the including file defines vec_bits (16 words of
 * 32 bits) and the vec_ functions for it, and GROUPS_FOR(tokens): groups of 16 rows done together.
 */
#include "packed.h"

enum { MAX_GROUPS = 4, PACKED_AHEAD = 2048 };

/* One column of 16 rows, without their scales; fp8 times 2^-8. */
VEC_FN vec packed_weights(const uint8_t *block, vec_bits words, const enum ops_dtype form,
                          const int column)
{
    if (form == OPS_INT4)
        return vec_nibble(words, column % 8);
    return form == OPS_INT8 ? vec_int8(block + column * PACKED_ROWS)
                            : vec_fp8(block + column * PACKED_ROWS);
}

/* The sums of 32 columns. */
VEC_FN void packed_sum(vec sum[MAX_GROUPS][TILE], const uint8_t *const *w, const float *x,
                       const enum ops_dtype form, const int groups, const int tokens)
{
    for (int eight = 0; eight < QUANT_GROUP; eight += 8, x += 8 * tokens) {
        vec_bits words[MAX_GROUPS];
        if (form == OPS_INT4)
            UNROLL
        for (int r = 0; r < groups; r++)
            words[r] = vec_bits_load(w[r] + eight / 8 * 4 * PACKED_ROWS);
        UNROLL
        for (int c = 0; c < 8; c++) {
            vec v[MAX_GROUPS];
            UNROLL
            for (int r = 0; r < groups; r++)
                v[r] = packed_weights(w[r] + eight * PACKED_ROWS, words[r], form, c);
            UNROLL
            for (int t = 0; t < tokens; t++) {
                const vec xt = vec_set1(x[c * tokens + t]);
                UNROLL
                for (int r = 0; r < groups; r++)
                    sum[r][t] = vec_fma(v[r], xt, sum[r][t]);
            }
        }
    }
}

VEC_FN void packed_ask_ahead(const uint8_t *block, const enum ops_dtype form)
{
    const char *line = (const char *)((uintptr_t)block + PACKED_AHEAD); /* any address will do */
    for (int i = 0; i < (form == OPS_INT4 ? 4 : 8); i++)
        __builtin_prefetch(line + i * 64, 0, 2);
}

VEC_FN void packed_store(const struct cpu_packed_dot *d, size_t group, int t, vec v)
{
    const size_t first = group * PACKED_ROWS, left = d->packed->rows - first;
    float *to = d->y + (size_t)t * d->y_stride + first;
    if (left >= PACKED_ROWS) {
        vec_store(to, v);
        return;
    }
    float last[PACKED_ROWS];
    vec_store(last, v);
    memcpy(to, last, left * sizeof *to);
}

/* Groups first, first + step, ... of rows against the tile. */
VEC_FN void packed_groups(const struct cpu_packed_dot *d, size_t first, size_t step,
                          const enum ops_dtype form, const int groups, const int tokens)
{
    const struct cpu_packed *p = d->packed;
    const float *x = d->x;
    const uint8_t *w[MAX_GROUPS];
    const uint16_t *scale[MAX_GROUPS];
    vec acc[MAX_GROUPS][TILE];
    UNROLL
    for (int r = 0; r < groups; r++) {
        const size_t group = first + (size_t)r * step;
        w[r] = packed_block(p, group, 0);
        scale[r] = form == OPS_FP8
                       ? NULL
                       : (const uint16_t *)p->scales + group * p->k_groups * PACKED_ROWS;
        UNROLL
        for (int t = 0; t < tokens; t++)
            acc[r][t] = vec_set1(0.0f);
    }
    for (size_t k = 0; k < p->k_groups; k++, x += QUANT_GROUP * tokens) {
        vec sum[MAX_GROUPS][TILE];
        UNROLL
        for (int r = 0; r < groups; r++) {
            if (d->ahead)
                packed_ask_ahead(w[r], form);
            UNROLL
            for (int t = 0; t < tokens; t++)
                sum[r][t] = vec_set1(0.0f);
        }
        packed_sum(sum, w, x, form, groups, tokens);
        UNROLL
        for (int r = 0; r < groups; r++) {
            const vec s = form == OPS_FP8 ? vec_set1(1.0f) : vec_bf16(scale[r] + k * PACKED_ROWS);
            UNROLL
            for (int t = 0; t < tokens; t++)
                acc[r][t] = form == OPS_FP8 ? vec_add(acc[r][t], sum[r][t])
                                            : vec_fma(sum[r][t], s, acc[r][t]);
            w[r] += form == OPS_INT4 ? 16 * PACKED_ROWS : 32 * PACKED_ROWS;
        }
    }
    UNROLL
    for (int r = 0; r < groups; r++) {
        const size_t group = first + (size_t)r * step;
        vec s = vec_set1(1.0f);
        if (form == OPS_FP8) /* vec_fp8 left out 2^8 */
            s = vec_mul(vec_load((const float *)p->scales + group * PACKED_ROWS), vec_set1(256.0f));
        UNROLL
        for (int t = 0; t < tokens; t++)
            packed_store(d, group, t, form == OPS_FP8 ? vec_mul(acc[r][t], s) : acc[r][t]);
    }
}

/* Groups that lie a quarter apart are done together, for unbroken streams: see dot_all. */
VEC_FN void packed_all(const struct cpu_packed_dot *d, const enum ops_dtype form, const int tokens)
{
    const size_t step = d->row_groups / GROUPS_FOR(tokens);
    for (size_t n = 0; n < step; n++)
        packed_groups(d, d->first_group + n, step, form, GROUPS_FOR(tokens), tokens);
    for (size_t n = step * GROUPS_FOR(tokens); n < d->row_groups; n++)
        packed_groups(d, d->first_group + n, 0, form, 1, tokens);
}

VEC_FN void packed_tokens(const struct cpu_packed_dot *d, const enum ops_dtype form)
{
    switch (d->tokens) {
    case 1:
        packed_all(d, form, 1);
        break;
    case 2:
        packed_all(d, form, 2);
        break;
    case 3:
        packed_all(d, form, 3);
        break;
#if TILE == 6
    case 4:
        packed_all(d, form, 4);
        break;
    case 5:
        packed_all(d, form, 5);
        break;
    case 6:
        packed_all(d, form, 6);
        break;
#endif
    default:
        break;
    }
}

VEC_KERNEL void packed_fp8(const struct cpu_packed_dot *d)
{
    packed_tokens(d, OPS_FP8);
}

VEC_KERNEL void packed_int8(const struct cpu_packed_dot *d)
{
    packed_tokens(d, OPS_INT8);
}

VEC_KERNEL void packed_int4(const struct cpu_packed_dot *d)
{
    packed_tokens(d, OPS_INT4);
}

static void packed_dot(const struct cpu_packed_dot *d)
{
    if (d->packed->form == OPS_INT4)
        packed_int4(d);
    else if (d->packed->form == OPS_INT8)
        packed_int8(d);
    else
        packed_fp8(d);
}
