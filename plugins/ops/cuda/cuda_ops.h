/* cuda_ops.h - the operations that stand in the CUDA table; see ops.h for what each promises. */
#ifndef AIRLOCK_OPS_CUDA_OPS_H
#define AIRLOCK_OPS_CUDA_OPS_H

#include "../ops.h"

#ifdef __cplusplus
extern "C" {
#endif

const char *cuda_missing(int ordinal);
struct ops_device *cuda_open(const struct ops_open *how, const char **why);
void cuda_close(struct ops_device *dev);
const char *cuda_describe(struct ops_device *dev);
void *cuda_stream(struct ops_device *dev);

enum ops_status cuda_memory(struct ops_device *dev, uint64_t *left, uint64_t *total);

void *cuda_alloc(struct ops_device *dev, size_t bytes);
void cuda_free(struct ops_device *dev, void *p);
enum ops_status cuda_upload(struct ops_device *dev, void *to, const void *host, size_t bytes);
enum ops_status cuda_download(struct ops_device *dev, void *host, const void *from, size_t bytes);
enum ops_status cuda_sync(struct ops_device *dev);
void *cuda_host_alloc(struct ops_device *dev, size_t bytes);
void cuda_host_free(struct ops_device *dev, void *p);

enum ops_status cuda_matrix_load(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                 enum ops_dtype dtype, size_t rows, size_t cols);
enum ops_status cuda_matrix_quantize(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                     enum ops_dtype dtype, size_t rows, size_t cols,
                                     enum ops_dtype form);
void cuda_matrix_free(struct ops_device *dev, struct ops_matrix *m);

enum ops_status cuda_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                               const int32_t *ids, size_t rows);
enum ops_status cuda_rmsnorm(struct ops_device *dev, void *y, const void *x,
                             const struct ops_matrix *w, size_t rows, size_t dim, float eps);
enum ops_status cuda_add_rmsnorm(struct ops_device *dev, void *h, const void *delta, void *y,
                                 const struct ops_matrix *w, size_t rows, size_t dim, float eps);
enum ops_status cuda_matmul(struct ops_device *dev, void *y, const void *x,
                            const struct ops_matrix *m, size_t rows);
enum ops_status cuda_logits(struct ops_device *dev, float *y, const void *x,
                            const struct ops_matrix *m, size_t rows);
enum ops_status cuda_tune(struct ops_device *dev, const struct ops_matrix *const *m, size_t n,
                          size_t max_rows, bool logits);
enum ops_status cuda_rope_kv(struct ops_device *dev, void *qkv, const float *cos, const float *sin,
                             const int32_t *slot, size_t rows, const struct ops_heads *heads,
                             const struct ops_kv *kv);
enum ops_status cuda_attention(struct ops_device *dev, void *o, const void *qkv,
                               const struct ops_batch *batch, const struct ops_heads *heads,
                               const struct ops_kv *kv, float scale);
enum ops_status cuda_swiglu(struct ops_device *dev, void *y, const void *gate_up, size_t rows,
                            size_t dim);
enum ops_status cuda_lora(struct ops_device *dev, void *y, const void *x, size_t rows, size_t in,
                          size_t out, const struct ops_lora_segment *segments, size_t n_segments);
enum ops_status cuda_sample(struct ops_device *dev, const struct ops_sampling *s);

enum ops_status cuda_graph_begin(struct ops_device *dev);
enum ops_status cuda_graph_end(struct ops_device *dev, struct ops_graph **graph);
enum ops_status cuda_graph_run(struct ops_device *dev, struct ops_graph *graph);
bool cuda_graph_current(struct ops_device *dev, const struct ops_graph *graph);
void cuda_graph_free(struct ops_device *dev, struct ops_graph *graph);

enum ops_status cuda_layernorm(struct ops_device *dev, void *y, const void *x,
                               const struct ops_matrix *w, const struct ops_matrix *b, size_t rows,
                               size_t dim, float eps);
enum ops_status cuda_add_bias(struct ops_device *dev, void *y, const struct ops_matrix *b,
                              size_t rows, size_t dim);
enum ops_status cuda_add(struct ops_device *dev, void *y, const void *x, size_t n, float scale);
enum ops_status cuda_gelu(struct ops_device *dev, void *y, const void *x, size_t n,
                          enum ops_gelu kind);
enum ops_status cuda_attention_full(struct ops_device *dev, const struct ops_full *a);
enum ops_status cuda_depthwise_conv(struct ops_device *dev, void *y, const void *x,
                                    const struct ops_matrix *w, const struct ops_matrix *b,
                                    const struct ops_conv *conv);
enum ops_status cuda_relu(struct ops_device *dev, void *y, const void *x, size_t n);
enum ops_status cuda_silu(struct ops_device *dev, void *y, const void *x, size_t n);
enum ops_status cuda_glu(struct ops_device *dev, void *y, const void *x, size_t rows, size_t dim);
enum ops_status cuda_transpose(struct ops_device *dev, void *y, const void *x, size_t rows,
                               size_t a, size_t b);

#ifdef __cplusplus
}
#endif

#endif
