/*
 * lora.c - low-rank adapters: y += scale * B (A x) for segments of rows.
 *
 * All segments are done in three rounds of the threads (pack x; A x; B times that), because with an
 * adapter for each row the products are so small that waking the threads for each would cost more.
 * Bit by bit it is what the row would get alone: a kernel's output depends on its row only.
 */
#include "cpu_ops.h"

#include "convert.h"

enum { CHUNK_BYTES = 128 * 1024, MIN_CHUNK = 16, MAX_CHUNK = 512 }; /* rows of A or B in an item */
/* A and B are asked for so far ahead, as in matmul.c; and reading them costs as much as multiplying
 * this many rows. */
enum { AHEAD_BYTES = 2048, READING_ROWS = 8 };
_Static_assert(CPU_MAX_TILE *OPS_LORA_MAX_RANK * sizeof(float) <= CPU_TASK_SCRATCH, "packed A x");

struct lora {
    const struct cpu_kernels *kernels;
    const struct ops_lora_segment *segments;
    size_t n_segments, in, out;
    const float *x;
    float *y;
    float *packed; /* tiles of x, one segment after the other */
    float *low;    /* A x: rows as in x, low_stride floats apart */
    size_t low_stride;
};

static size_t tiles_of(const struct lora *l, const struct ops_lora_segment *s)
{
    return (s->rows + l->kernels->tile - 1) / l->kernels->tile;
}

/* Rows of a matrix with k columns that one item takes. */
static size_t chunk_of(const struct ops_lora_segment *s, size_t k)
{
    size_t rows = CHUNK_BYTES / (k * ops_dtype_size(s->dtype)) / MIN_CHUNK * MIN_CHUNK;
    return rows < MIN_CHUNK ? MIN_CHUNK : rows > MAX_CHUNK ? MAX_CHUNK : rows;
}

static size_t chunks_of(const struct ops_lora_segment *s, size_t rows, size_t k)
{
    size_t chunk = chunk_of(s, k);
    return (rows + chunk - 1) / chunk;
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Where a tile lies. */
struct place {
    const struct ops_lora_segment *s;
    size_t row, rows;  /* of the batch */
    size_t packed_row; /* of packed */
};

static struct place tile_at(const struct lora *l, const struct ops_lora_segment *s,
                            size_t tiles_before, size_t tile)
{
    size_t first = tile * l->kernels->tile;
    return (struct place){ s, s->first_row + first, min_size(l->kernels->tile, s->rows - first),
                           tiles_before * l->kernels->tile + first };
}

/* Item: a tile of x. */
static void pack_item(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct lora *l = arg;
    const struct ops_lora_segment *s = l->segments;
    size_t before = 0;
    for (; item >= tiles_of(l, s); s++) {
        item -= tiles_of(l, s);
        before += tiles_of(l, s);
    }
    const struct place p = tile_at(l, s, before, item);
    l->kernels->pack(l->packed + p.packed_row * cpu_padded(l->in), l->x + p.row * l->in, l->in,
                     p.rows, l->in, s->dtype);
}

/* Item: a chunk of rows of A with a tile of x; the tiles of a chunk follow each other. */
static void a_item(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct lora *l = arg;
    const struct ops_lora_segment *s = l->segments;
    size_t before = 0;
    for (size_t n; item >= (n = tiles_of(l, s) * chunks_of(s, s->rank, l->in)); s++) {
        item -= n;
        before += tiles_of(l, s);
    }
    const struct place p = tile_at(l, s, before, item % tiles_of(l, s));
    const size_t first = item / tiles_of(l, s) * chunk_of(s, l->in);
    const struct cpu_dot d = { .y = l->low + p.row * l->low_stride + first,
                               .y_stride = l->low_stride,
                               .tile = l->packed + p.packed_row * cpu_padded(l->in),
                               .tokens = p.rows,
                               .w = (const char *)s->a + first * l->in * ops_dtype_size(s->dtype),
                               .dtype = s->dtype,
                               .w_rows = min_size(chunk_of(s, l->in), s->rank - first),
                               .k = l->in,
                               .ahead = item % tiles_of(l, s) == 0 ? AHEAD_BYTES : 0,
                               .scale = 1.0f };
    l->kernels->dot(&d);
}

/* Item: a chunk of rows of B with all tiles of its segment, which it packs for itself: that is
 * little beside the product. */
static void b_item(void *arg, size_t item, void *scratch)
{
    const struct lora *l = arg;
    const struct ops_lora_segment *s = l->segments;
    for (size_t n; item >= (n = s->rows ? chunks_of(s, l->out, s->rank) : 0); s++)
        item -= n;
    const size_t first = item * chunk_of(s, s->rank);
    struct cpu_dot d = { .y_stride = l->out,
                         .tile = scratch,
                         .w = (const char *)s->b + first * s->rank * ops_dtype_size(s->dtype),
                         .dtype = s->dtype,
                         .w_rows = min_size(chunk_of(s, s->rank), l->out - first),
                         .k = s->rank,
                         .ahead = AHEAD_BYTES,
                         .add = true,
                         .scale = s->scale };
    for (size_t tile = 0; tile < tiles_of(l, s); tile++) {
        const struct place p = tile_at(l, s, 0, tile);
        l->kernels->pack(scratch, l->low + p.row * l->low_stride, l->low_stride, p.rows, s->rank,
                         s->dtype);
        d.y = l->y + p.row * l->out + first;
        d.tokens = p.rows;
        l->kernels->dot(&d);
        d.ahead = 0; /* now the chunk is in the cache */
    }
}

/* How many items and how many multiplications each round has. */
struct rounds {
    size_t tiles, a_items, b_items, rows, max_rank;
    double a_work, b_work;
};

static struct rounds measure(const struct lora *l)
{
    struct rounds r = { 0 };
    for (size_t i = 0; i < l->n_segments; i++) {
        const struct ops_lora_segment *s = &l->segments[i];
        r.tiles += tiles_of(l, s);
        r.a_items += tiles_of(l, s) * chunks_of(s, s->rank, l->in);
        r.b_items += s->rows ? chunks_of(s, l->out, s->rank) : 0;
        r.rows = s->first_row + s->rows > r.rows ? s->first_row + s->rows : r.rows;
        r.max_rank = s->rank > r.max_rank ? s->rank : r.max_rank;
        const double of_rank =
            (double)(s->rows < READING_ROWS ? READING_ROWS : s->rows) * (double)s->rank;
        r.a_work += of_rank * (double)l->in;
        r.b_work += of_rank * (double)l->out;
    }
    return r;
}

enum ops_status cpu_lora(struct ops_device *dev, void *y, const void *x, size_t rows, size_t in,
                         size_t out, const struct ops_lora_segment *segments, size_t n_segments)
{
    if (in == 0 || out == 0)
        return OPS_E_SHAPE;
    for (size_t i = 0; i < n_segments; i++) {
        const struct ops_lora_segment *s = &segments[i];
        if (s->rank == 0 || s->rank > OPS_LORA_MAX_RANK || !dtype_known(s->dtype) ||
            s->first_row > rows || s->rows > rows - s->first_row)
            return OPS_E_SHAPE;
    }
    struct lora l = { .kernels = dev->kernels,
                      .segments = segments,
                      .n_segments = n_segments,
                      .in = in,
                      .out = out,
                      .x = x,
                      .y = y };
    const struct rounds r = measure(&l);
    if (r.tiles == 0)
        return OPS_OK;
    const size_t packed = r.tiles * dev->kernels->tile;
    if (in > SIZE_MAX / 64 / sizeof(float) / packed ||
        r.max_rank > SIZE_MAX / sizeof(float) / r.rows ||
        !cpu_scratch_reserve(&dev->packed, packed * cpu_padded(in) * sizeof(float)) ||
        !cpu_scratch_reserve(&dev->low_rank, r.rows * r.max_rank * sizeof(float)))
        return OPS_E_MEMORY;
    l.packed = dev->packed.data;
    l.low = dev->low_rank.data;
    l.low_stride = r.max_rank;
    cpu_parallel(dev, r.tiles, (double)packed * (double)in, pack_item, &l);
    cpu_parallel(dev, r.a_items, r.a_work, a_item, &l);
    cpu_parallel(dev, r.b_items, r.b_work, b_item, &l);
    return OPS_OK;
}
