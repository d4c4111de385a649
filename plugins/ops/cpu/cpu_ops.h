/* cpu_ops.h - what the CPU ops share: the device, its scratch memory, and work spread over its
 * threads. */
#ifndef AIRLOCK_OPS_CPU_OPS_H
#define AIRLOCK_OPS_CPU_OPS_H

#include "kernels.h"

#include <math.h>

struct thread_pool;
struct cpu_panel_kernels;

/* Memory that grows with the largest step seen and is then used again. */
struct cpu_scratch {
    void *data; /* 64-byte aligned */
    size_t bytes;
};

struct ops_device {
    const struct cpu_kernels *kernels;
    const struct cpu_panel_kernels *panels; /* NULL: there are none */
    struct thread_pool *pool;               /* own threads, or NULL */
    const struct ops_threads *threads;      /* the pool's, or the lent ones */
    /* Of weights that stay in a core's L2 cache while all rows of x pass by; the larger, the
     * seldomer x comes from further away. */
    size_t chunk_bytes;
    struct cpu_scratch packed;   /* activations in the order of the dot kernels */
    struct cpu_scratch low_rank; /* A x of LoRA */
    struct cpu_scratch per_task; /* CPU_TASK_SCRATCH for each task running at once */
    char description[128];
};

/* Holds at least bytes afterwards (contents are lost); false: out of memory. */
bool cpu_scratch_reserve(struct cpu_scratch *scratch, size_t bytes);

enum { CPU_TASK_SCRATCH = 128 * 1024 }; /* attention needs the most; see attention.c */

/* Does one item of work; scratch is [CPU_TASK_SCRATCH], for this call alone. */
typedef void cpu_item_fn(void *arg, size_t item, void *scratch);

/* Does items 0 .. n-1, each once, in any order and on any thread, and returns when all are done.
 * work: about how many multiplications all of it is; little work stays on the calling thread. */
void cpu_parallel(struct ops_device *dev, size_t n, double work, cpu_item_fn *fn, void *arg);

/* y = x w^T, or y += scale x w^T with add.  The shapes have been checked. */
enum ops_status cpu_multiply(struct ops_device *dev, float *y, size_t y_stride, const float *x,
                             size_t x_stride, size_t rows, const void *w, enum ops_dtype dtype,
                             size_t w_rows, size_t k, bool add, float scale);

/* Zeroed and 64-byte aligned, as ops.alloc and ops.free. */
void *cpu_alloc(struct ops_device *dev, size_t bytes);
void cpu_free(struct ops_device *dev, void *p);

enum ops_status cpu_matrix_quantize(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                    enum ops_dtype dtype, size_t rows, size_t cols,
                                    enum ops_dtype form);
/* A row of a compressed matrix.  out: [m.cols]. */
void cpu_packed_row(float *out, const struct ops_matrix *m, size_t row);
/* y = x m^T for a compressed m.  The shapes have been checked. */
enum ops_status cpu_multiply_packed(struct ops_device *dev, float *y, const float *x,
                                    const struct ops_matrix *m, size_t rows);

enum ops_status cpu_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                              const int32_t *ids, size_t rows);
enum ops_status cpu_rmsnorm(struct ops_device *dev, void *y, const void *x,
                            const struct ops_matrix *w, size_t rows, size_t dim, float eps);
enum ops_status cpu_add_rmsnorm(struct ops_device *dev, void *h, const void *delta, void *y,
                                const struct ops_matrix *w, size_t rows, size_t dim, float eps);
enum ops_status cpu_matmul(struct ops_device *dev, void *y, const void *x,
                           const struct ops_matrix *m, size_t rows);
enum ops_status cpu_matmul_rounded(struct ops_device *dev, void *y, const void *x,
                                   const struct ops_matrix *m, size_t rows);
enum ops_status cpu_logits(struct ops_device *dev, float *y, const void *x,
                           const struct ops_matrix *m, size_t rows);
enum ops_status cpu_rope_kv(struct ops_device *dev, void *qkv, const float *cos, const float *sin,
                            const int32_t *slot, size_t rows, const struct ops_heads *heads,
                            const struct ops_kv *kv);
enum ops_status cpu_attention(struct ops_device *dev, void *o, const void *qkv,
                              const struct ops_batch *batch, const struct ops_heads *heads,
                              const struct ops_kv *kv, float scale);
enum ops_status cpu_swiglu(struct ops_device *dev, void *y, const void *gate_up, size_t rows,
                           size_t dim);
enum ops_status cpu_lora(struct ops_device *dev, void *y, const void *x, size_t rows, size_t in,
                         size_t out, const struct ops_lora_segment *segments, size_t n_segments);
enum ops_status cpu_layernorm(struct ops_device *dev, void *y, const void *x,
                              const struct ops_matrix *w, const struct ops_matrix *b, size_t rows,
                              size_t dim, float eps);
enum ops_status cpu_add_bias(struct ops_device *dev, void *y, const struct ops_matrix *b,
                             size_t rows, size_t dim);
enum ops_status cpu_add(struct ops_device *dev, void *y, const void *x, size_t n, float scale);
enum ops_status cpu_gelu(struct ops_device *dev, void *y, const void *x, size_t n,
                         enum ops_gelu kind);
enum ops_status cpu_attention_full(struct ops_device *dev, const struct ops_full *a);

/* Adds a chunk of keys to a softmax over several: o, *o_max and *o_sum become those of both. Starts
 * with zeros, -INFINITY and 0. */
static inline void cpu_softmax_fold(float *o, float *o_max, float *o_sum, const float *chunk,
                                    float max, float sum, size_t dim)
{
    const float top = max > *o_max ? max : *o_max;
    const float old = expf(*o_max - top), new = expf(max - top);
    for (size_t d = 0; d < dim; d++)
        o[d] = o[d] * old + chunk[d] * new;
    *o_sum = *o_sum * old + sum * new;
    *o_max = top;
}
enum ops_status cpu_depthwise_conv(struct ops_device *dev, void *y, const void *x,
                                   const struct ops_matrix *w, const struct ops_matrix *b,
                                   const struct ops_conv *conv);
enum ops_status cpu_relu(struct ops_device *dev, void *y, const void *x, size_t n);
enum ops_status cpu_silu(struct ops_device *dev, void *y, const void *x, size_t n);
enum ops_status cpu_glu(struct ops_device *dev, void *y, const void *x, size_t rows, size_t dim);
enum ops_status cpu_transpose(struct ops_device *dev, void *y, const void *x, size_t rows, size_t a,
                              size_t b);

/* Whether heads and kv keep the contract of ops.h. */
bool cpu_heads_ok(const struct ops_heads *heads, const struct ops_kv *kv);

#endif
