/* attention.h - what attention needs once per device. */
#ifndef AIRLOCK_OPS_CUDA_ATTENTION_H
#define AIRLOCK_OPS_CUDA_ATTENTION_H

/* Asks for the shared memory of the kernels on the current device.  0, or -1: refused. */
int attention_prepare(void);

#endif
