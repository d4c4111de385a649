/* row_tile.cuh - which rows of which sequence or segment a block computes, when only the device
 * knows how many each has. */
#ifndef AIRLOCK_OPS_CUDA_ROW_TILE_CUH
#define AIRLOCK_OPS_CUDA_ROW_TILE_CUH

#include "kernel.cuh"

/* Rows first_row .. first_row + rows - 1 of sequence seq, whose rows are begin .. end - 1. */
struct row_tile {
    uint32_t seq, first_row, rows, begin, end;
    bool found;
};

/* The tile-th tile of rows_at_once rows, counted over the sequences with `least` rows or more:
 * sequence s has rows first_row[s] .. first_row[s+1] - 1.  All lanes of a warp get it; 32 sequences
 * are looked at together. */
static __device__ row_tile find_tile(const int32_t *first_row, uint32_t n_seqs, uint32_t least,
                                     uint32_t tile, uint32_t rows_at_once)
{
    const uint32_t lane = threadIdx.x % WARP_LANES;
    row_tile t = {};
    for (uint32_t base = 0; base < n_seqs; base += WARP_LANES) {
        const uint32_t seq = base + lane;
        const uint32_t rows = seq < n_seqs ? (uint32_t)(first_row[seq + 1] - first_row[seq]) : 0;
        const uint32_t own = rows >= least ? (rows + rows_at_once - 1) / rows_at_once : 0;
        uint32_t before = own; /* tiles of the lanes up to this one */
#pragma unroll
        for (int by = 1; by < WARP_LANES; by *= 2) {
            const uint32_t other = __shfl_up_sync(~0u, before, by);
            before += lane >= (uint32_t)by ? other : 0;
        }
        const uint32_t all = __shfl_sync(~0u, before, WARP_LANES - 1);
        if (tile >= all) {
            tile -= all;
            continue;
        }
        const int owner = __ffs((int)__ballot_sync(~0u, before > tile)) - 1;
        const uint32_t within = tile - __shfl_sync(~0u, before - own, owner);
        t.seq = base + (uint32_t)owner;
        t.begin = (uint32_t)first_row[t.seq];
        t.end = (uint32_t)first_row[t.seq + 1];
        t.first_row = t.begin + within * rows_at_once;
        t.rows = t.end - t.first_row < rows_at_once ? t.end - t.first_row : rows_at_once;
        t.found = true;
        break;
    }
    return t;
}

#endif
