/* matmul_rounded.c - the encoders' matrix products, whose activations may be rounded to bf16:
 * panels of weights over the threads, each packed once for all rows. */
#include "cpu_ops.h"

#include "panels.h"

enum {
    WIDTH = CPU_PANEL_WIDTH,
    ROWS = CPU_PANEL_ROWS,
    WORDS = CPU_TASK_SCRATCH / (WIDTH * 4) /* of a panel at a time: it lies in a task's scratch */
};

struct product {
    const struct cpu_panel_kernels *kernels;
    const float *x;
    const uint16_t *w;
    float *y;
    uint32_t *packed; /* [tiles][words, ROWS] */
    size_t rows, n, k;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t words_of(const struct product *p)
{
    return cpu_panel_words(p->kernels, p->k);
}

/* Item: a tile of rows of x. */
static void pack_tile(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct product *p = arg;
    const size_t first = item * ROWS;
    p->kernels->pack_tile(p->packed + first * words_of(p), p->x + first * p->k, p->k,
                          min_size(ROWS, p->rows - first), p->k);
}

/* Item: a panel of w against all of x; in parts of WORDS words, one after the other. */
static void multiply_panel(void *arg, size_t item, void *scratch)
{
    const struct product *p = arg;
    const size_t first = item * WIDTH, words = words_of(p), numbers = p->kernels->numbers;
    struct cpu_panel_dot d = { .y_stride = p->n,
                               .panel = scratch,
                               .width = min_size(WIDTH, p->n - first) };
    for (size_t begin = 0; begin < words; begin += WORDS) {
        d.words = min_size(WORDS, words - begin);
        d.add = begin > 0;
        p->kernels->pack_panel(scratch, p->w + first * p->k + numbers * begin, p->k, d.width,
                               min_size(numbers * d.words, p->k - numbers * begin));
        for (size_t r = 0; r < p->rows; r += ROWS) {
            d.y = p->y + r * p->n + first;
            d.rows = min_size(ROWS, p->rows - r);
            d.tile = p->packed + r * words + begin * ROWS;
            d.next = d.rows < p->rows - r ? d.tile + ROWS * words : d.tile;
            p->kernels->dot(&d);
        }
    }
}

enum ops_status cpu_matmul_rounded(struct ops_device *dev, void *y, const void *x,
                                   const struct ops_matrix *m, size_t rows)
{
    if (!dev->panels || m->dtype != OPS_BF16)
        return cpu_matmul(dev, y, x, m, rows);
    if (m->rows == 0 || m->cols == 0)
        return OPS_E_SHAPE;
    struct product p = { .kernels = dev->panels,
                         .x = x,
                         .w = m->data,
                         .y = y,
                         .rows = rows,
                         .n = m->rows,
                         .k = m->cols };
    const size_t tiles = rows / ROWS + (rows % ROWS != 0);
    if (p.k > SIZE_MAX / 64 || (tiles && words_of(&p) > SIZE_MAX / 4 / ROWS / tiles) ||
        !cpu_scratch_reserve(&dev->packed, tiles * ROWS * words_of(&p) * sizeof *p.packed))
        return OPS_E_MEMORY;
    p.packed = dev->packed.data;
    const double numbers = (double)rows * (double)p.k;
    cpu_parallel(dev, tiles, numbers, pack_tile, &p);
    if (rows > 0)
        cpu_parallel(dev, p.n / WIDTH + (p.n % WIDTH != 0), numbers * (double)p.n / 2,
                     multiply_panel, &p);
    return OPS_OK;
}
