/* ops_cuda_face.h - the CUDA ops behind the CPU's face, so that the tests of the ops run on both.
 */
#ifndef OPS_CUDA_FACE_H
#define OPS_CUDA_FACE_H

#include "ops/ops.h"

/* Takes host memory and float32 activations as ops_cpu() does: copies them to the device as bf16,
 * runs the op there, copies the results back.  Every array on the device has its exact size.  A
 * cache of any dtype but fp8 is bf16 on the device.  NULL where ops_cuda() is. */
const struct ops *ops_cuda_face(void);

#endif
