/*
 * weights_reader.h - reads a checkpoint's pages in a thread of its own, while another copies what
 * has been read to a device.
 */
#ifndef AIRLOCK_WEIGHTS_READER_H
#define AIRLOCK_WEIGHTS_READER_H

#include "safetensors.h"

struct weights_reader;

/* Begins at the first byte.  NULL: err says why.  st stays open until weights_reader_stop(). */
struct weights_reader *weights_reader_start(struct safetensors *st, struct airlock_error *err);
/* Waits until the first `end` bytes of all files have been read, asking poll(ctx) at least every 50
 * ms; nonzero: AIRLOCK_E_CANCELLED.  poll NULL: never.  0, or -1 with err: also when reading has
 * failed. */
int weights_reader_wait(struct weights_reader *r, uint64_t end, int (*poll)(void *ctx), void *ctx,
                        struct airlock_error *err);
/* Ends the thread, early or late.  NULL allowed. */
void weights_reader_stop(struct weights_reader *r);

#endif
