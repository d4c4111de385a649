/* rope.c - rotary embedding of Q and K in place, and K and V into the cache. */
#include "cpu_ops.h"

#include "convert.h"

struct rope {
    float *qkv;
    const float *cos, *sin;
    const int32_t *slot;
    const struct ops_heads *heads;
    const struct ops_kv *kv;
};

bool cpu_heads_ok(const struct ops_heads *h, const struct ops_kv *kv)
{
    return h->n_heads > 0 && h->n_kv_heads > 0 && h->n_heads % h->n_kv_heads == 0 &&
           h->head_dim > 0 && h->head_dim <= 256 && h->head_dim % 2 == 0 &&
           h->rotary_dim <= h->head_dim && h->rotary_dim % 2 == 0 && kv_dtype_known(kv->dtype);
}

static void turn(float *x, const float *cos, const float *sin, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        const float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = b * cos[i] + a * sin[i];
    }
}

static void store_head(void *to, enum ops_dtype dtype, size_t first, const float *from, size_t n)
{
    if (dtype == OPS_BF16) {
        uint16_t *out = (uint16_t *)to + first;
        for (size_t i = 0; i < n; i++)
            out[i] = float_to_bf16(from[i]);
    } else {
        for (size_t i = 0; i < n; i++)
            store_float(to, dtype, first + i, from[i]);
    }
}

/* Item: a row. */
static void rope_row(void *arg, size_t row, void *scratch)
{
    (void)scratch;
    const struct rope *r = arg;
    const struct ops_heads *heads = r->heads;
    const size_t dim = heads->head_dim, half = heads->rotary_dim / 2, n_kv = heads->n_kv_heads;
    float *q = r->qkv + row * (heads->n_heads + 2 * n_kv) * dim, *k = q + heads->n_heads * dim;
    for (size_t h = 0; h < heads->n_heads + n_kv; h++)
        turn(q + h * dim, r->cos + row * half, r->sin + row * half, half);

    const size_t slot = (size_t)r->slot[row];
    for (size_t h = 0; h < n_kv; h++) {
        const size_t token = (slot / OPS_KV_BLOCK * n_kv + h) * OPS_KV_BLOCK + slot % OPS_KV_BLOCK;
        store_head(r->kv->k, r->kv->dtype, token * dim, k + h * dim, dim);
        store_head(r->kv->v, r->kv->dtype, token * dim, k + (n_kv + h) * dim, dim);
    }
}

enum ops_status cpu_rope_kv(struct ops_device *dev, void *qkv, const float *cos, const float *sin,
                            const int32_t *slot, size_t rows, const struct ops_heads *heads,
                            const struct ops_kv *kv)
{
    if (!cpu_heads_ok(heads, kv))
        return OPS_E_SHAPE;
    for (size_t r = 0; r < rows; r++) {
        if (slot[r] < 0 || (size_t)slot[r] / OPS_KV_BLOCK >= kv->n_blocks)
            return OPS_E_SHAPE;
    }
    struct rope r = { qkv, cos, sin, slot, heads, kv };
    const size_t width = (heads->n_heads + 2 * heads->n_kv_heads) * heads->head_dim;
    cpu_parallel(dev, rows, 2.0 * (double)rows * (double)width, rope_row, &r);
    return OPS_OK;
}
