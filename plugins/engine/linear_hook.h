/*
 * linear_hook.h - where adapters come in: after each linear layer, for the rows that have one.
 *
 * The engine knows no adapter; it carries an opaque pointer per sequence and tells the hook which
 * rows of a step belong to which.
 */
#ifndef AIRLOCK_LINEAR_HOOK_H
#define AIRLOCK_LINEAR_HOOK_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

/* Linear layers that adapters may change; site = layer * LINEAR_SITES + one of these. */
enum { LINEAR_QKV, LINEAR_O, LINEAR_GATE_UP, LINEAR_DOWN, LINEAR_SITES };

enum { LINEAR_MAX_ADAPTERS = 8 }; /* on one sequence, applied one after the other */

/* Rows [first_row, first_row + rows) that share an adapter; segments of a call do not overlap. */
struct linear_segment {
    size_t first_row, rows;
    const void *adapter;
};

struct linear_hook {
    void *ctx;
    /* y += what each segment's adapter makes of x.  x: [rows, in of site], y: [rows, out of site],
     * of ops.act, on the device.  Called by the engine's thread.  0, or -1 with err. */
    int (*apply)(void *ctx, size_t site, const void *x, void *y, size_t rows,
                 const struct linear_segment *segments, size_t n_segments,
                 struct airlock_error *err);
    /*
     * Called before each step with the adapters of its rows, each once; rows: of the step.  Sees to
     * it that apply() for them enqueues and no more: memory is there, copies are on their way.
     * *epoch is another number whenever apply() would enqueue something else than before for the
     * same segments.  NULL: nothing is to be made ready, and steps with adapters are not recorded.
     */
    int (*begin)(void *ctx, const void *const *adapters, size_t n, size_t rows, uint64_t *epoch,
                 struct airlock_error *err);
};

/* The rows of one sequence in a step. */
struct linear_rows {
    size_t rows;
    const void *const *adapters;
    size_t n_adapters;
};

/*
 * Fills out ([n_seqs] at least) with the segments of the level-th adapter of each sequence; rows of
 * sequences follow each other.  Neighbours with the same adapter are one segment.  The number of
 * segments.
 */
size_t linear_segments(const struct linear_rows *seqs, size_t n_seqs, size_t level,
                       struct linear_segment *out);

#endif
