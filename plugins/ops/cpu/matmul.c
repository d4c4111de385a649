/* matmul.c - matrix products: activations packed once, weight rows in cache-sized chunks over the
 * threads. */
#include "cpu_ops.h"

#include "convert.h"

enum { MAX_CHUNK_ROWS = 512 };
/* Bytes of packed activations that stay in the shared cache while all of the weights pass by. */
enum { PANEL_BYTES = 4 * 1024 * 1024 };
/* Weights are asked for so far ahead: two memory latencies at the speed of one core. */
enum { AHEAD_BYTES = 2048 };

struct product {
    const struct cpu_kernels *kernels;
    const float *x;
    float *packed, *y;
    const char *w;
    enum ops_dtype dtype;
    size_t x_stride, y_stride, rows, w_rows, k, chunk_rows;
    bool add;
    float scale;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Item: a tile of rows of x. */
static void pack_tile(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct product *p = arg;
    const size_t first = item * p->kernels->tile;
    p->kernels->pack(p->packed + first * cpu_padded(p->k), p->x + first * p->x_stride, p->x_stride,
                     min_size(p->kernels->tile, p->rows - first), p->k, p->dtype);
}

/* Item: a chunk of rows of w against all of x. */
static void multiply_chunk(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct product *p = arg;
    const size_t first = item * p->chunk_rows, n = min_size(p->chunk_rows, p->w_rows - first);
    const char *w = p->w + first * p->k * ops_dtype_size(p->dtype);
    struct cpu_dot d = { .y_stride = p->y_stride,
                         .w = w,
                         .dtype = p->dtype,
                         .w_rows = n,
                         .k = p->k,
                         .ahead = AHEAD_BYTES,
                         .add = p->add,
                         .scale = p->scale };
    for (size_t r = 0; r < p->rows; r += p->kernels->tile) {
        d.y = p->y + r * p->y_stride + first;
        d.tile = p->packed + r * cpu_padded(p->k);
        d.tokens = min_size(p->kernels->tile, p->rows - r);
        p->kernels->dot(&d);
        d.ahead = 0; /* now the chunk is in the cache */
    }
}

/* Chunks that fit the cache, and enough of them to give every thread its share. */
static size_t rows_of_a_chunk(const struct ops_device *dev, const struct product *p)
{
    size_t rows = dev->chunk_bytes / (p->k * ops_dtype_size(p->dtype));
    rows = min_size(rows, p->w_rows / (4 * (size_t)dev->threads->count));
    return min_size(rows < 16 ? 16 : rows / 16 * 16, MAX_CHUNK_ROWS);
}

/* Rows of x that are done before the weights are read again: their packed form stays in the shared
 * cache. */
static size_t rows_of_a_panel(const struct product *p)
{
    const size_t rows = PANEL_BYTES / (cpu_padded(p->k) * sizeof(float)), tile = p->kernels->tile;
    return rows < tile ? tile : rows / tile * tile;
}

enum ops_status cpu_multiply(struct ops_device *dev, float *y, size_t y_stride, const float *x,
                             size_t x_stride, size_t rows, const void *w, enum ops_dtype dtype,
                             size_t w_rows, size_t k, bool add, float scale)
{
    struct product p = { .kernels = dev->kernels,
                         .w = w,
                         .dtype = dtype,
                         .x_stride = x_stride,
                         .y_stride = y_stride,
                         .w_rows = w_rows,
                         .k = k,
                         .add = add,
                         .scale = scale };
    const size_t panel = rows_of_a_panel(&p), tile = p.kernels->tile;
    if (k > SIZE_MAX / 64 / tile ||
        !cpu_scratch_reserve(&dev->packed, min_size(rows, panel) * cpu_padded(k) * sizeof(float)))
        return OPS_E_MEMORY;
    p.packed = dev->packed.data;
    p.chunk_rows = rows_of_a_chunk(dev, &p);
    for (size_t r = 0; r < rows; r += panel) {
        p.x = x + r * x_stride;
        p.y = y + r * y_stride;
        p.rows = min_size(panel, rows - r);
        const double numbers = (double)p.rows * (double)k;
        cpu_parallel(dev, (p.rows + tile - 1) / tile, numbers, pack_tile, &p);
        cpu_parallel(dev, (w_rows + p.chunk_rows - 1) / p.chunk_rows, numbers * (double)w_rows,
                     multiply_chunk, &p);
    }
    return OPS_OK;
}

enum ops_status cpu_logits(struct ops_device *dev, float *y, const void *x,
                           const struct ops_matrix *m, size_t rows)
{
    const bool packed = ops_quantized(m->dtype);
    if ((!packed && !dtype_known(m->dtype)) || m->rows == 0 || m->cols == 0)
        return OPS_E_SHAPE;
    if (packed)
        return cpu_multiply_packed(dev, y, x, m, rows);
    return cpu_multiply(dev, y, m->rows, x, m->cols, rows, m->data, m->dtype, m->rows, m->cols,
                        false, 1.0f);
}

enum ops_status cpu_matmul(struct ops_device *dev, void *y, const void *x,
                           const struct ops_matrix *m, size_t rows)
{
    return cpu_logits(dev, y, x, m, rows); /* activations are float32 as logits are */
}
