/*
 * tensor.h - one tensor of a checkpoint becomes a matrix on a device, after its shape, its dtype
 * and its alignment have been checked.
 */
#ifndef AIRLOCK_TENSOR_H
#define AIRLOCK_TENSOR_H

#include "ops/ops.h"
#include "safetensors.h"

enum { TENSOR_MAX_DIMS = 4 };

/* Makes m of v: [shape[0], product of the others], or [1, shape[0]] when n_dims is 1.  The shape of
 * v must be shape: [n_dims], n_dims 1 .. TENSOR_MAX_DIMS.  The mapping of v must stay until
 * matrix_free.  0, or -1 with *m zeroed and err, which names the tensor. */
int tensor_load(struct ops_matrix *m, const struct safetensors_view *v, size_t n_dims,
                const uint64_t *shape, const struct ops *ops, struct ops_device *dev,
                struct airlock_error *err);

/* The same in a form that ops_quantized knows; 0: as tensor_load. */
int tensor_load_as(struct ops_matrix *m, const struct safetensors_view *v, size_t n_dims,
                   const uint64_t *shape, enum ops_dtype form, const struct ops *ops,
                   struct ops_device *dev, struct airlock_error *err);

/* The dtype of v among those that ops know.  0, or -1 with err. */
int tensor_dtype(const struct safetensors_view *v, enum ops_dtype *out, struct airlock_error *err);

/* The first n numbers of v as float32, host memory.  v has so many, of a dtype that tensor_dtype
 * knows; any alignment. */
void tensor_read(const struct safetensors_view *v, float *out, size_t n);

#endif
