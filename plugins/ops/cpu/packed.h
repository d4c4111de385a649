/*
 * packed.h - where the numbers of a compressed matrix lie in the CPU's memory.
 *
 * 16 rows lie side by side, so that a vector holds one column of 16 rows and a product needs no
 * sums over lanes.  codes: [rows / 16][cols / 32] blocks; a block of int8 or fp8 is [32 columns][16
 * rows] bytes, one of int4 [4][16 rows] words of 8 columns, 4 bits each, the first lowest, two's
 * complement.  Behind them are the scales: int8, int4: bf16 [rows / 16][cols / 32][16]; fp8: float
 * [rows / 16][16].  Rows and columns are filled up with zeros.
 */
#ifndef AIRLOCK_OPS_CPU_PACKED_H
#define AIRLOCK_OPS_CPU_PACKED_H

#include "convert.h"

enum { PACKED_ROWS = 16 };

struct cpu_packed {
    uint8_t *codes; /* 64-byte aligned */
    void *scales;
    enum ops_dtype form;
    size_t rows, row_groups, k_groups, block_bytes;
};

/* The layout of a matrix at data (m.data, or memory to be filled). */
static inline struct cpu_packed packed_of(const struct ops_matrix *m, void *data)
{
    struct cpu_packed p = { .codes = data,
                            .form = m->dtype,
                            .rows = m->rows,
                            .row_groups = (m->rows + PACKED_ROWS - 1) / PACKED_ROWS,
                            .k_groups = (m->cols + QUANT_GROUP - 1) / QUANT_GROUP };
    p.block_bytes = QUANT_GROUP * PACKED_ROWS / (m->dtype == OPS_INT4 ? 2 : 1);
    p.scales = p.codes + p.row_groups * p.k_groups * p.block_bytes;
    return p;
}

static inline uint8_t *packed_block(const struct cpu_packed *p, size_t group, size_t k)
{
    return p->codes + (group * p->k_groups + k) * p->block_bytes;
}

/* Row i, column c of a block without its scale. */
static inline float packed_number(const uint8_t *block, enum ops_dtype form, size_t i, size_t c)
{
    if (form == OPS_FP8)
        return quant_fp8_value(block[c * PACKED_ROWS + i]);
    if (form == OPS_INT8)
        return (float)(int8_t)block[c * PACKED_ROWS + i];
    const uint8_t two = block[(c / 8 * PACKED_ROWS + i) * 4 + c % 8 / 2];
    const int q = c % 2 ? two >> 4 : two & 15;
    return (float)(q < 8 ? q : q - 16);
}

static inline float packed_group_scale(const struct cpu_packed *p, size_t group, size_t k, size_t i)
{
    if (p->form == OPS_FP8)
        return 1.0f;
    return bf16_to_float(
        ((const uint16_t *)p->scales)[(group * p->k_groups + k) * PACKED_ROWS + i]);
}

static inline float packed_row_scale(const struct cpu_packed *p, size_t group, size_t i)
{
    return p->form == OPS_FP8 ? ((const float *)p->scales)[group * PACKED_ROWS + i] : 1.0f;
}

#endif
