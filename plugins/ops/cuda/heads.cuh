/* heads.cuh - whether a geometry and a cache are what the CUDA kernels of attention and rope take.
 */
#ifndef AIRLOCK_OPS_CUDA_HEADS_CUH
#define AIRLOCK_OPS_CUDA_HEADS_CUH

#include "../ops.h"

enum { CUDA_MAX_HEAD_DIM = 256, CUDA_MAX_HEADS = 4096 };

static inline bool cuda_heads_ok(const struct ops_heads *h, const struct ops_kv *kv)
{
    return h->head_dim > 0 && h->head_dim % 2 == 0 && h->head_dim <= CUDA_MAX_HEAD_DIM &&
           h->rotary_dim % 2 == 0 && h->rotary_dim <= h->head_dim && h->n_kv_heads > 0 &&
           h->n_heads > 0 && h->n_heads <= CUDA_MAX_HEADS && h->n_heads % h->n_kv_heads == 0 &&
           (kv->dtype == OPS_BF16 || kv->dtype == OPS_FP8);
}

#endif
