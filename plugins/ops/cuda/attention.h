/* attention.h - what attention needs once per device. */
#ifndef AIRLOCK_OPS_CUDA_ATTENTION_H
#define AIRLOCK_OPS_CUDA_ATTENTION_H

/* Each asks for the shared memory of its kernels on the current device.  0, or -1: refused. */
int attention_prepare(void);
int attention_full_prepare(void);

#endif
