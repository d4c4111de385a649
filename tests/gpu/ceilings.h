/* ceilings.h - what a GPU can do at most, measured: the yardstick of the benchmark's figures. */
#ifndef AIRLOCK_TESTS_CEILINGS_H
#define AIRLOCK_TESTS_CEILINGS_H

#include "ops/ops.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ceilings {
    double read;   /* bytes/s that kernels read from the device's memory */
    double copy;   /* bytes/s read and written together, copying within it */
    double matrix; /* flop/s of a bf16 product of three sides of `side`, with cuBLASLt */
};

/* bytes: of memory to go through, well above the caches; the same again is used.  0, or -1: out of
 * memory, or the device failed. */
int ceilings_measure(struct ceilings *out, const struct ops *ops, struct ops_device *dev,
                     size_t bytes, size_t side);

#ifdef __cplusplus
}
#endif

#endif
