/* tensor.c - checks a tensor of a checkpoint and places it on a device; see tensor.h. */
#include "tensor.h"

#include "ops/cpu/convert.h"

#include <stdio.h>
#include <string.h>

int tensor_dtype(const struct safetensors_view *v, enum ops_dtype *out, struct airlock_error *err)
{
    static const struct {
        const char *name;
        enum ops_dtype dtype;
    } known[] = { { "BF16", OPS_BF16 }, { "F16", OPS_F16 }, { "F32", OPS_F32 } };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(v->dtype, known[i].name) == 0) {
            *out = known[i].dtype;
            return 0;
        }
    return airlock_error_set(err, AIRLOCK_E_CONFIG,
                             "tensor %s: dtype %s, expected BF16, F16 or F32", v->name, v->dtype);
}

/* "5120x3072"; a scalar is "1". */
static void print_shape(char *out, size_t size, size_t n, const uint64_t *shape)
{
    size_t used = 0;
    snprintf(out, size, "%s", n ? "" : "1");
    for (size_t i = 0; i < n && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%llu", i ? "x" : "",
                                 (unsigned long long)shape[i]);
}

static int check_shape(const struct safetensors_view *v, size_t n_dims, const uint64_t *shape,
                       struct airlock_error *err)
{
    if (v->n_dims == n_dims && memcmp(v->shape, shape, n_dims * sizeof *shape) == 0)
        return 0;
    char found[SAFETENSORS_MAX_DIMS * 21], want[TENSOR_MAX_DIMS * 21];
    print_shape(found, sizeof found, v->n_dims, v->shape);
    print_shape(want, sizeof want, n_dims, shape);
    return airlock_error_set(err, AIRLOCK_E_CONFIG, "tensor %.120s: shape %s, expected %s", v->name,
                             found, want);
}

int tensor_load_as(struct ops_matrix *m, const struct safetensors_view *v, size_t n_dims,
                   const uint64_t *shape, enum ops_dtype form, const struct ops *ops,
                   struct ops_device *dev, struct airlock_error *err)
{
    enum ops_dtype dtype;
    size_t cols = n_dims == 1 ? (size_t)shape[0] : 1;
    *m = (struct ops_matrix){ 0 };
    if (check_shape(v, n_dims, shape, err) < 0 || tensor_dtype(v, &dtype, err) < 0)
        return -1;
    if ((uintptr_t)v->data % ops_dtype_size(dtype))
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "tensor %s: its data is not aligned to its dtype in the file: "
                                 "save the checkpoint again with a current safetensors library",
                                 v->name);
    for (size_t i = 1; i < n_dims; i++)
        cols *= (size_t)shape[i];
    const size_t rows = n_dims == 1 ? 1 : (size_t)shape[0];
    enum ops_status status = form ? ops->matrix_quantize(dev, m, v->data, dtype, rows, cols, form)
                                  : ops->matrix_load(dev, m, v->data, dtype, rows, cols);
    if (status == OPS_OK)
        return 0;
    *m = (struct ops_matrix){ 0 };
    return airlock_error_set(
        err, status == OPS_E_MEMORY ? AIRLOCK_E_NO_MEMORY : AIRLOCK_E_DEVICE, "tensor %s: %s",
        v->name, status == OPS_E_MEMORY ? "out of memory on the device" : "the device refused it");
}

int tensor_load(struct ops_matrix *m, const struct safetensors_view *v, size_t n_dims,
                const uint64_t *shape, const struct ops *ops, struct ops_device *dev,
                struct airlock_error *err)
{
    return tensor_load_as(m, v, n_dims, shape, 0, ops, dev, err);
}

void tensor_read(const struct safetensors_view *v, float *out, size_t n)
{
    enum ops_dtype dtype = OPS_F32;
    tensor_dtype(v, &dtype, NULL);
    const size_t size = ops_dtype_size(dtype);
    for (size_t i = 0; i < n; i++) {
        uint32_t number; /* aligned, whatever the file is */
        memcpy(&number, (const char *)v->data + i * size, size);
        out[i] = load_float(&number, dtype, 0);
    }
}
