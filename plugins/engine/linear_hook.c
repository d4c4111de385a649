/* linear_hook.c - turns the adapters of sequences into segments of rows. */
#include "linear_hook.h"

size_t linear_segments(const struct linear_rows *seqs, size_t n_seqs, size_t level,
                       struct linear_segment *out)
{
    size_t n = 0, row = 0;
    for (size_t s = 0; s < n_seqs; row += seqs[s].rows, s++) {
        if (level >= seqs[s].n_adapters || seqs[s].rows == 0)
            continue;
        const void *adapter = seqs[s].adapters[level];
        struct linear_segment *last = n > 0 ? &out[n - 1] : NULL;
        if (last && last->adapter == adapter && last->first_row + last->rows == row)
            last->rows += seqs[s].rows;
        else
            out[n++] = (struct linear_segment){ row, seqs[s].rows, adapter };
    }
    return n;
}
