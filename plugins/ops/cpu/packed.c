/* packed.c - compressed matrices: made of a checkpoint's weights, looked up, and multiplied. */
#include "packed.h"

#include "cpu_ops.h"

#include <sys/mman.h>

/* ---- making ---------------------------------------------------------------------------------- */

struct packing {
    struct cpu_packed p;
    const void *host;
    enum ops_dtype dtype;
    size_t cols;
};

/* A group of a row, rounded to bf16, as floats, filled up with zeros.  How many it has. */
static size_t load_group(float w[QUANT_GROUP], const struct packing *a, size_t row, size_t k)
{
    const size_t first = k * QUANT_GROUP, left = a->cols - first, at = row * a->cols + first;
    const size_t n = left < QUANT_GROUP ? left : QUANT_GROUP;
    if (a->dtype == OPS_BF16 && n == QUANT_GROUP) { /* in vectors */
        for (size_t i = 0; i < QUANT_GROUP; i++)
            w[i] = bf16_to_float(((const uint16_t *)a->host)[at + i]);
        return n;
    }
    memset(w, 0, QUANT_GROUP * sizeof *w);
    for (size_t i = 0; i < n; i++)
        w[i] = bf16_to_float(float_to_bf16(load_float(a->host, a->dtype, at + i)));
    return n;
}

static void pack_fp8_row(const struct packing *a, size_t group, size_t i)
{
    float w[QUANT_GROUP], largest = 0.0f;
    const size_t row = group * PACKED_ROWS + i;
    for (size_t k = 0; k < a->p.k_groups; k++) {
        load_group(w, a, row, k);
        const float m = quant_group_largest(w);
        largest = m > largest ? m : largest;
    }
    const float scale = quant_fp8_scale(largest);
    ((float *)a->p.scales)[row] = scale;
    for (size_t k = 0; k < a->p.k_groups; k++) {
        uint8_t *block = packed_block(&a->p, group, k);
        const size_t n = load_group(w, a, row, k);
        for (size_t c = 0; c < n; c++)
            block[c * PACKED_ROWS + i] = quant_fp8_code(w[c], scale);
    }
}

static void pack_int_row(const struct packing *a, size_t group, size_t i)
{
    float w[QUANT_GROUP];
    int8_t code[QUANT_GROUP];
    for (size_t k = 0; k < a->p.k_groups; k++) {
        uint8_t *block = packed_block(&a->p, group, k);
        load_group(w, a, group * PACKED_ROWS + i, k);
        const float scale = a->p.form == OPS_INT4 ? quant_int4(code, w) : quant_int8(code, w);
        ((uint16_t *)a->p.scales)[(group * a->p.k_groups + k) * PACKED_ROWS + i] =
            float_to_bf16(scale); /* exact */
        if (a->p.form == OPS_INT8)
            for (size_t c = 0; c < QUANT_GROUP; c++)
                block[c * PACKED_ROWS + i] = (uint8_t)code[c];
        else
            for (size_t c = 0; c < QUANT_GROUP; c += 2)
                block[(c / 8 * PACKED_ROWS + i) * 4 + c % 8 / 2] =
                    (uint8_t)((code[c] & 15) | (code[c + 1] & 15) << 4);
    }
}

/* Item: 16 rows. */
static void pack_rows(void *arg, size_t group, void *scratch)
{
    (void)scratch;
    const struct packing *a = arg;
    for (size_t i = 0; i < PACKED_ROWS && group * PACKED_ROWS + i < a->p.rows; i++) {
        if (a->p.form == OPS_FP8)
            pack_fp8_row(a, group, i);
        else
            pack_int_row(a, group, i);
    }
}

/* Weights are read from end to end: fewer pages to look up.  A wish, nothing more. */
static void ask_for_huge_pages(void *data, size_t bytes)
{
    enum { PAGE = 4096 };
    const size_t skip = (PAGE - (uintptr_t)data % PAGE) % PAGE;
    if (bytes > 2 * PAGE + skip)
        (void)madvise((char *)data + skip, (bytes - skip) / PAGE * PAGE, MADV_HUGEPAGE);
}

enum ops_status cpu_matrix_quantize(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                    enum ops_dtype dtype, size_t rows, size_t cols,
                                    enum ops_dtype form)
{
    if (!host || rows == 0 || cols == 0 || !dtype_known(dtype) || !ops_quantized(form) ||
        rows > INT32_MAX || cols > INT32_MAX || (uintptr_t)host % ops_dtype_size(dtype))
        return OPS_E_SHAPE;
    struct ops_matrix made = { .dtype = form, .rows = rows, .cols = cols };
    const uint64_t bytes = ops_matrix_bytes(form, rows, cols);
    made.prepared = bytes < SIZE_MAX / 2 ? cpu_alloc(dev, (size_t)bytes) : NULL;
    if (!made.prepared)
        return OPS_E_MEMORY;
    made.data = made.prepared;
    ask_for_huge_pages(made.prepared, (size_t)bytes);
    struct packing a = { packed_of(&made, made.prepared), host, dtype, cols };
    const double each = form == OPS_INT4 ? 40.0 : 10.0;
    cpu_parallel(dev, a.p.row_groups, each * (double)rows * (double)cols, pack_rows, &a);
    *m = made;
    return OPS_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

void cpu_packed_row(float *out, const struct ops_matrix *m, size_t row)
{
    const struct cpu_packed p = packed_of(m, m->prepared);
    const size_t group = row / PACKED_ROWS, i = row % PACKED_ROWS;
    for (size_t c = 0; c < m->cols; c++) {
        const size_t k = c / QUANT_GROUP;
        out[c] = packed_number(packed_block(&p, group, k), p.form, i, c % QUANT_GROUP) *
                 packed_group_scale(&p, group, k, i) * packed_row_scale(&p, group, i);
    }
}

/* ---- multiplying ----------------------------------------------------------------------------- */

/* As in matmul.c: what of the weights stays in a core's cache, what of x in the shared one. */
enum { CHUNK_BYTES = 256 * 1024, PANEL_BYTES = 4 * 1024 * 1024 };

struct packed_product {
    const struct cpu_kernels *kernels;
    struct cpu_packed p;
    const float *x;
    float *turned, *y; /* turned: tiles of rows of x, [padded columns][rows of the tile] */
    size_t cols, padded, rows, chunk;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Item: a tile of rows of x. */
static void turn_tile(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct packed_product *a = arg;
    const size_t first = item * a->kernels->tile;
    const size_t n = min_size(a->kernels->tile, a->rows - first);
    float *to = a->turned + first * a->padded;
    for (size_t t = 0; t < n; t++) {
        const float *from = a->x + (first + t) * a->cols;
        for (size_t k = 0; k < a->cols; k++)
            to[k * n + t] = from[k];
    }
    memset(to + a->cols * n, 0, (a->padded - a->cols) * n * sizeof *to);
}

/* Item: a chunk of groups of rows against all of x. */
static void multiply_packed(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct packed_product *a = arg;
    const size_t first = item * a->chunk;
    struct cpu_packed_dot d = { .y_stride = a->p.rows,
                                .packed = &a->p,
                                .first_group = first,
                                .row_groups = min_size(a->chunk, a->p.row_groups - first),
                                .ahead = true };
    for (size_t r = 0; r < a->rows; r += a->kernels->tile) {
        d.y = a->y + r * a->p.rows;
        d.x = a->turned + r * a->padded;
        d.tokens = min_size(a->kernels->tile, a->rows - r);
        a->kernels->packed_dot(&d);
        d.ahead = false; /* now the chunk is in the cache */
    }
}

static size_t groups_of_a_chunk(const struct ops_device *dev, const struct packed_product *a)
{
    size_t n = CHUNK_BYTES / (a->p.k_groups * a->p.block_bytes);
    n = min_size(n, a->p.row_groups / (4 * (size_t)dev->threads->count));
    return n < 4 ? 4 : n / 4 * 4;
}

enum ops_status cpu_multiply_packed(struct ops_device *dev, float *y, const float *x,
                                    const struct ops_matrix *m, size_t rows)
{
    struct packed_product a = { .kernels = dev->kernels,
                                .p = packed_of(m, m->prepared),
                                .cols = m->cols };
    const size_t tile = a.kernels->tile;
    a.padded = a.p.k_groups * QUANT_GROUP;
    a.chunk = groups_of_a_chunk(dev, &a);
    size_t panel = PANEL_BYTES / (a.padded * sizeof(float));
    panel = panel < tile ? tile : panel / tile * tile;
    if (!cpu_scratch_reserve(&dev->packed, min_size(rows, panel) * a.padded * sizeof(float)))
        return OPS_E_MEMORY;
    a.turned = dev->packed.data;
    for (size_t r = 0; r < rows; r += panel) {
        a.x = x + r * m->cols;
        a.y = y + r * m->rows;
        a.rows = min_size(panel, rows - r);
        const double numbers = (double)a.rows * (double)m->cols;
        cpu_parallel(dev, (a.rows + tile - 1) / tile, numbers, turn_tile, &a);
        cpu_parallel(dev, (a.p.row_groups + a.chunk - 1) / a.chunk, numbers * (double)m->rows,
                     multiply_packed, &a);
    }
    return OPS_OK;
}
