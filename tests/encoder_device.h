/* encoder_device.h - the ops that a test of an encoder runs on: the CPU's, or in a second program
 * of the same source CUDA's, whose numbers it turns to and from float32. */
#ifndef ENCODER_DEVICE_H
#define ENCODER_DEVICE_H

#include "ops/cpu/convert.h"
#include "ops/ops.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#ifndef ENCODER_DEVICE
#define ENCODER_DEVICE "cpu"
#endif

static inline bool encoder_on_cuda(void)
{
    return strcmp(ENCODER_DEVICE, "cuda") == 0;
}

static inline const struct ops *encoder_ops(void)
{
    const char *why = NULL;
    return encoder_on_cuda() ? ops_cuda(&why) : ops_cpu();
}

static inline struct ops_device *encoder_device_open(void)
{
    const struct ops_open how = { .threads = 2 };
    const char *why = NULL;
    struct ops_device *dev = encoder_ops()->open(&how, &why);
    ck_assert_msg(dev != NULL, "%s", why);
    return dev;
}

/* Room for n activations on the device. */
static inline void *encoder_alloc(struct ops_device *dev, size_t n)
{
    void *p = encoder_ops()->alloc(dev, n * ops_dtype_size(encoder_ops()->act));
    ck_assert_ptr_nonnull(p);
    return p;
}

/* n activations of the device as float32; the device's are freed.  The caller frees the result. */
static inline float *encoder_take(struct ops_device *dev, void *from, size_t n)
{
    const struct ops *ops = encoder_ops();
    const enum ops_dtype act = ops->act;
    void *raw = malloc(n * ops_dtype_size(act) + 1);
    float *out = malloc(n * sizeof *out + 1);
    ck_assert_int_eq(ops->download(dev, raw, from, n * ops_dtype_size(act)), OPS_OK);
    for (size_t i = 0; i < n; i++)
        out[i] = load_float(raw, act, i);
    free(raw);
    ops->free(dev, from);
    return out;
}

#endif
