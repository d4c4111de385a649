/* emu_counts.h - what the calling thread asked of the emulated runtime, for tests to count. */
#ifndef AIRLOCK_CUDA_EMU_COUNTS_H
#define AIRLOCK_CUDA_EMU_COUNTS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct emu_counts {
    uint64_t allocations; /* and frees, of the device's memory and the host's page-locked */
    uint64_t waits;       /* for a stream or an event */
    uint64_t enqueued;    /* launches, copies and graphs */
    uint64_t products[4]; /* of cuBLASLt, by algorithm */
};

struct emu_counts emu_counts_now(void);

#ifdef __cplusplus
}
#endif

#endif
