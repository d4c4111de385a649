/* matmul_rounded.c - matrix products whose activations may be rounded to bf16: panels of weights
 * over the threads, each packed once for all rows. */
#include "cpu_ops.h"

#include "rounded.h"

enum {
    WIDTH = CPU_ROUNDED_WIDTH,
    ROWS = CPU_ROUNDED_ROWS,
    PAIRS = CPU_TASK_SCRATCH / (WIDTH * 4) /* of a panel, at most: it lies in a task's scratch */
};

struct product {
    const struct cpu_rounded_kernels *kernels;
    const float *x;
    const uint16_t *w;
    float *y;
    uint32_t *packed; /* [tiles][pairs, ROWS] */
    size_t rows, n, k;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t pairs_of(const struct product *p)
{
    return (p->k + 1) / 2;
}

/* Item: a tile of rows of x. */
static void pack_tile(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct product *p = arg;
    const size_t first = item * ROWS;
    p->kernels->pack_tile(p->packed + first * pairs_of(p), p->x + first * p->k, p->k,
                          min_size(ROWS, p->rows - first), p->k);
}

/* Item: a panel of w against all of x; in parts of PAIRS pairs, one after the other. */
static void multiply_panel(void *arg, size_t item, void *scratch)
{
    const struct product *p = arg;
    const size_t first = item * WIDTH, pairs = pairs_of(p);
    struct cpu_rounded_dot d = { .y_stride = p->n,
                                 .panel = scratch,
                                 .width = min_size(WIDTH, p->n - first) };
    for (size_t begin = 0; begin < pairs; begin += PAIRS) {
        d.pairs = min_size(PAIRS, pairs - begin);
        d.add = begin > 0;
        p->kernels->pack_panel(scratch, p->w + first * p->k + 2 * begin, p->k, d.width,
                               min_size(2 * d.pairs, p->k - 2 * begin));
        for (size_t r = 0; r < p->rows; r += ROWS) {
            d.y = p->y + r * p->n + first;
            d.rows = min_size(ROWS, p->rows - r);
            d.tile = p->packed + r * pairs + begin * ROWS;
            p->kernels->dot(&d);
        }
    }
}

enum ops_status cpu_matmul_rounded(struct ops_device *dev, void *y, const void *x,
                                   const struct ops_matrix *m, size_t rows)
{
    if (!dev->rounded || m->dtype != OPS_BF16)
        return cpu_matmul(dev, y, x, m, rows);
    if (m->rows == 0 || m->cols == 0)
        return OPS_E_SHAPE;
    struct product p = { .kernels = dev->rounded,
                         .x = x,
                         .w = m->data,
                         .y = y,
                         .rows = rows,
                         .n = m->rows,
                         .k = m->cols };
    const size_t tiles = rows / ROWS + (rows % ROWS != 0);
    if (p.k > SIZE_MAX / 64 || (tiles && pairs_of(&p) > SIZE_MAX / 4 / ROWS / tiles) ||
        !cpu_scratch_reserve(&dev->packed, tiles * ROWS * pairs_of(&p) * sizeof *p.packed))
        return OPS_E_MEMORY;
    p.packed = dev->packed.data;
    const double numbers = (double)rows * (double)p.k;
    cpu_parallel(dev, tiles, numbers, pack_tile, &p);
    if (rows > 0)
        cpu_parallel(dev, p.n / WIDTH + (p.n % WIDTH != 0), numbers * (double)p.n / 2,
                     multiply_panel, &p);
    return OPS_OK;
}
