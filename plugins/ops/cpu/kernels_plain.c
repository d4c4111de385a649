/* kernels_plain.c - the inner loops in plain C: the reference, and what runs where there is no
 * AVX2. */
#include "kernels.h"

#include "convert.h"
#include "packed.h"

enum { LANES = 16 }; /* partial sums, so that rounding errors grow with k / 16 */

static float sum_lanes(const float *lane)
{
    float sum = 0.0f;
    for (size_t i = 0; i < LANES; i++)
        sum += lane[i];
    return sum;
}

static void pack(float *out, const float *x, size_t x_stride, size_t tokens, size_t k,
                 enum ops_dtype dtype)
{
    (void)dtype;
    const size_t padded = cpu_padded(k);
    for (size_t t = 0; t < tokens; t++) {
        memcpy(out + t * padded, x + t * x_stride, k * sizeof *x);
        memset(out + t * padded + k, 0, (padded - k) * sizeof *x);
    }
}

/* Up to CPU_BLOCK numbers as floats; zeros follow them. */
static void load_block(float *out, const void *data, enum ops_dtype dtype, size_t first, size_t n)
{
    memset(out, 0, CPU_BLOCK * sizeof *out);
    if (dtype == OPS_F32)
        memcpy(out, (const float *)data + first, n * sizeof *out);
    else if (dtype == OPS_BF16)
        for (size_t i = 0; i < n; i++)
            out[i] = bf16_to_float(((const uint16_t *)data)[first + i]);
    else if (dtype == OPS_FP8)
        for (size_t i = 0; i < n; i++)
            out[i] = quant_fp8_value(((const uint8_t *)data)[first + i]);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = f16_to_float(((const uint16_t *)data)[first + i]);
}

static void dot(const struct cpu_dot *d)
{
    const size_t padded = cpu_padded(d->k);
    for (size_t n = 0; n < d->w_rows; n++) {
        float lane[CPU_MAX_TILE][LANES] = { { 0 } }, block[CPU_BLOCK];
        for (size_t k = 0; k < d->k; k += CPU_BLOCK) {
            const size_t count = d->k - k < CPU_BLOCK ? d->k - k : CPU_BLOCK;
            load_block(block, d->w, d->dtype, n * d->k + k, count);
            for (size_t t = 0; t < d->tokens; t++) {
                const float *x = d->tile + t * padded + k;
                for (size_t i = 0; i < LANES; i++)
                    lane[t][i] += block[i] * x[i];
                for (size_t i = 0; i < LANES; i++)
                    lane[t][i] += block[LANES + i] * x[LANES + i];
            }
        }
        for (size_t t = 0; t < d->tokens; t++) {
            float *out = d->y + t * d->y_stride + n;
            const float sum = sum_lanes(lane[t]);
            *out = d->add ? *out + d->scale * sum : sum;
        }
    }
}

/* Column c of a block for its 16 rows, without their scales. */
static void packed_column(float out[PACKED_ROWS], const uint8_t *block, enum ops_dtype form,
                          size_t c)
{
    for (size_t i = 0; i < PACKED_ROWS; i++)
        out[i] = packed_number(block, form, i, c);
}

static void packed_dot(const struct cpu_packed_dot *d)
{
    const struct cpu_packed *p = d->packed;
    for (size_t g = d->first_group; g < d->first_group + d->row_groups; g++) {
        float acc[CPU_MAX_TILE][PACKED_ROWS] = { { 0 } }, w[PACKED_ROWS];
        for (size_t k = 0; k < p->k_groups; k++) {
            const uint8_t *block = packed_block(p, g, k);
            float sum[CPU_MAX_TILE][PACKED_ROWS] = { { 0 } };
            for (size_t c = 0; c < QUANT_GROUP; c++) {
                packed_column(w, block, p->form, c);
                for (size_t t = 0; t < d->tokens; t++)
                    for (size_t i = 0; i < PACKED_ROWS; i++)
                        sum[t][i] += w[i] * d->x[(k * QUANT_GROUP + c) * d->tokens + t];
            }
            for (size_t i = 0; i < PACKED_ROWS; i++) {
                const float scale = packed_group_scale(p, g, k, i);
                for (size_t t = 0; t < d->tokens; t++)
                    acc[t][i] += sum[t][i] * scale;
            }
        }
        for (size_t i = 0; i < PACKED_ROWS && g * PACKED_ROWS + i < p->rows; i++)
            for (size_t t = 0; t < d->tokens; t++)
                d->y[t * d->y_stride + g * PACKED_ROWS + i] = acc[t][i] * packed_row_scale(p, g, i);
    }
}

static void softmax(float *s, size_t n, float scale, float *max, float *sum)
{
    float m = -INFINITY, total = 0.0f;
    for (size_t j = 0; j < n; j++) {
        s[j] *= scale;
        m = s[j] > m ? s[j] : m;
    }
    for (size_t j = 0; j < n; j++) {
        s[j] = expf(s[j] - m);
        total += s[j];
    }
    *max = m;
    *sum = total;
}

static void mix(const struct cpu_mix *m)
{
    for (size_t i0 = 0; i0 < m->dim; i0 += CPU_BLOCK) {
        const size_t n = m->dim - i0 < CPU_BLOCK ? m->dim - i0 : CPU_BLOCK;
        for (size_t j = 0; j < m->tokens; j++) {
            float block[CPU_BLOCK];
            load_block(block, m->v, m->dtype, j * m->dim + i0, n);
            for (size_t q = 0; q < m->queries; q++)
                for (size_t i = 0; i < n; i++)
                    m->o[q * m->o_stride + i0 + i] += m->p[q * m->p_stride + j] * block[i];
        }
    }
}

static void unpack(float *out, const float *o, size_t dim, enum ops_dtype dtype)
{
    (void)dtype;
    memcpy(out, o, dim * sizeof *out);
}

static void swiglu(float *y, const float *gate, const float *up, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = up[i] * (gate[i] / (1.0f + expf(-gate[i])));
}

/* 1 + tanh u = 2 / (1 + e^(-2 u)), without the cancellation of the sum. */
static void gelu_tanh(float *y, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float minus_2u = -0x1.988454p+0f * (x[i] + 0.044715f * x[i] * x[i] * x[i]);
        y[i] = x[i] / (1.0f + expf(minus_2u));
    }
}

const struct cpu_kernels cpu_kernels_plain = {
    .name = "plain C",
    .tile = 4,
    .pack = pack,
    .dot = dot,
    .packed_dot = packed_dot,
    .softmax = softmax,
    .mix = mix,
    .unpack = unpack,
    .swiglu = swiglu,
    .gelu_tanh = gelu_tanh,
};
