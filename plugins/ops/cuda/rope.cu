/* rope.cu - rotary position embedding of Q and K in place, and K and V into the cache. */
#include "device.cuh"
#include "heads.cuh"
#include "kernel.cuh"

#include "../quant.h"

enum { ROPE_THREADS = 64 };

struct rope_args {
    bf16 *qkv;
    const float *cos, *sin;
    const int32_t *slot;
    void *k, *v;
    bool fp8; /* the cache */
    unsigned n_heads, n_kv_heads, head_dim, half;
};

/* Where dim 0 of a head of the row's token lies in the cache. */
static __device__ size_t place_of(const rope_args &a, unsigned row, unsigned kv_head)
{
    const size_t slot = (size_t)a.slot[row];
    return ((slot / OPS_KV_BLOCK * a.n_kv_heads + kv_head) * OPS_KV_BLOCK + slot % OPS_KV_BLOCK) *
           a.head_dim;
}

static __device__ __forceinline__ void to_cache(const rope_args &a, void *cache, size_t i, bf16 v)
{
    if (a.fp8)
        static_cast<uint8_t *>(cache)[i] = quant_fp8(__bfloat162float(v));
    else
        static_cast<bf16 *>(cache)[i] = v;
}

/* Grid: rows x heads, first those of Q, then K, then V. */
static __global__ void __launch_bounds__(ROPE_THREADS) rope_heads(rope_args a)
{
    after_previous();
    const unsigned row = blockIdx.x, head = blockIdx.y;
    const unsigned all = a.n_heads + 2 * a.n_kv_heads;
    bf16 *x = a.qkv + ((size_t)row * all + head) * a.head_dim;
    const bool is_k = head >= a.n_heads && head < a.n_heads + a.n_kv_heads;
    const bool is_v = head >= a.n_heads + a.n_kv_heads;
    void *cache = a.slot[row] < 0 ? NULL : is_k ? a.k : is_v ? a.v : NULL;
    const size_t place = !cache ? 0
                         : is_k ? place_of(a, row, head - a.n_heads)
                                : place_of(a, row, head - a.n_heads - a.n_kv_heads);
    const unsigned pairs = is_v ? 0 : a.half;
    for (unsigned i = threadIdx.x; i < pairs; i += ROPE_THREADS) {
        const float c = a.cos[(size_t)row * a.half + i], s = a.sin[(size_t)row * a.half + i];
        const float p = __bfloat162float(x[i]), q = __bfloat162float(x[i + a.half]);
        const bf16 first = __float2bfloat16_rn(p * c - q * s);
        const bf16 second = __float2bfloat16_rn(q * c + p * s);
        x[i] = first;
        x[i + a.half] = second;
        if (cache) {
            to_cache(a, cache, place + i, first);
            to_cache(a, cache, place + i + a.half, second);
        }
    }
    if (cache) {
        for (unsigned i = 2 * pairs + threadIdx.x; i < a.head_dim; i += ROPE_THREADS)
            to_cache(a, cache, place + i, x[i]);
    }
}

enum ops_status cuda_rope_kv(struct ops_device *dev, void *qkv, const float *cos, const float *sin,
                             const int32_t *slot, size_t rows, const struct ops_heads *heads,
                             const struct ops_kv *kv)
{
    if (!cuda_heads_ok(heads, kv) || rows > CUDA_MAX_ROWS)
        return OPS_E_SHAPE;
    if (rows == 0)
        return OPS_OK;
    rope_args a = {};
    a.qkv = static_cast<bf16 *>(qkv);
    a.cos = cos;
    a.sin = sin;
    a.slot = slot;
    a.k = kv->k;
    a.v = kv->v;
    a.fp8 = kv->dtype == OPS_FP8;
    a.n_heads = (unsigned)heads->n_heads;
    a.n_kv_heads = (unsigned)heads->n_kv_heads;
    a.head_dim = (unsigned)heads->head_dim;
    a.half = (unsigned)heads->rotary_dim / 2;
    return cuda_launch(dev, rope_heads,
                       dim3((unsigned)rows, (unsigned)(heads->n_heads + 2 * heads->n_kv_heads)),
                       ROPE_THREADS, 0, a);
}
