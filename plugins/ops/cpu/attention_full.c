/*
 * attention_full.c - bidirectional attention within segments, in chunks of CPU_CHUNK_TOKENS keys.
 *
 * For one query the result is defined as in attention.c, over the keys of its segment that are
 * seen, in their order: chunks of CPU_CHUNK_TOKENS of them, folded from left to right.  Keys and
 * values are packed once for all queries, the keys of a chunk turned to [head_dim, keys], so that
 * both products are sums over rows, which need no folding of lanes.
 *
 * Where rounding is allowed and there are kernels for it (panels.h) keys are the weights of the
 * first product, values those of the second, and both are in panels; softmax and the folding of
 * chunks are the same.
 */
#include "cpu_ops.h"

#include "convert.h"
#include "panels.h"

enum {
    QUERIES = 42, /* whole tiles of either kind */
    MAX_DIM = OPS_FULL_MAX_DIM,
    KEYS = CPU_CHUNK_TOKENS,
    WIDTH = CPU_PANEL_WIDTH,
    ROWS = CPU_PANEL_ROWS
};

/* One task's memory. */
struct scratch {
    _Alignas(64) float scores[QUERIES][KEYS];
    float chunk[QUERIES][MAX_DIM]; /* weighted values of the chunk */
    float o[QUERIES][MAX_DIM];     /* of all chunks so far */
    float max[QUERIES], sum[QUERIES];
    uint32_t q[QUERIES * MAX_DIM], p[QUERIES * KEYS]; /* tiles for panels */
};
_Static_assert(sizeof(struct scratch) <= CPU_TASK_SCRATCH, "scratch of a task");
_Static_assert(MAX_DIM % CPU_BLOCK == 0 && KEYS % CPU_BLOCK == 0, "whole blocks");
_Static_assert(QUERIES % ROWS == 0 && MAX_DIM % 2 == 0 && KEYS % WIDTH == 0, "whole tiles");

struct full {
    const struct cpu_kernels *kernels;
    const struct cpu_panel_kernels *panels; /* NULL: what follows is not in panels */
    const struct ops_full *a;
    size_t padded;   /* head_dim, in blocks */
    size_t n_chunks; /* of all segments */
    size_t *chunk;   /* [n_chunks][1 + KEYS]: how many keys, and their rows */
    size_t *first;   /* [n_segments + 1] chunk of a segment */
    float *k;        /* [n_heads][n_chunks][head_dim, KEYS] */
    float *v;        /* [n_heads][n_chunks][KEYS, padded] */
    /* with panels instead */
    uint32_t *keys;   /* [n_heads][n_chunks][KEYS / WIDTH][words of head_dim, WIDTH] */
    uint32_t *values; /* [n_heads][n_chunks][padded / WIDTH][words of KEYS, WIDTH] */
};

/* Queries done together: rows of one segment, one head. */
struct queries {
    size_t segment, head;
    size_t first, n; /* rows of the queries */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* With panels. */
static size_t words_of(const struct full *f, size_t n)
{
    return cpu_panel_words(f->panels, n);
}

static size_t segment_rows(const struct ops_full *a, size_t segment)
{
    return (size_t)(a->first_row[segment + 1] - a->first_row[segment]);
}

static size_t row_tiles(const struct ops_full *a, size_t segment)
{
    return (segment_rows(a, segment) + QUERIES - 1) / QUERIES;
}

/* ---- keys and values ------------------------------------------------------------------------- */

/* The seen keys of each segment, in chunks. */
static void list_keys(struct full *f)
{
    const struct ops_full *a = f->a;
    size_t n = 0;
    for (size_t s = 0; s < a->n_segments; s++) {
        f->first[s] = n;
        size_t *chunk = NULL;
        for (size_t r = (size_t)a->first_row[s]; r < (size_t)a->first_row[s + 1]; r++) {
            if (a->key_seen && !a->key_seen[r])
                continue;
            if (!chunk || chunk[0] == KEYS) {
                chunk = f->chunk + n++ * (1 + KEYS);
                chunk[0] = 0;
            }
            chunk[++chunk[0]] = r;
        }
    }
    f->first[a->n_segments] = n;
}

/* Item: a chunk x a head. */
static void pack_item(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct full *f = arg;
    const struct ops_full *a = f->a;
    const size_t dim = a->head_dim, head = item / f->n_chunks, *chunk;
    chunk = f->chunk + item % f->n_chunks * (1 + KEYS);
    float *k = f->k + item * dim * KEYS, *v = f->v + item * f->padded * KEYS;
    for (size_t j = 0; j < KEYS; j++, v += f->padded) {
        const bool there = j < chunk[0];
        const float *key = (const float *)a->k + (there ? chunk[1 + j] * a->k_stride : 0);
        const float *value = (const float *)a->v + (there ? chunk[1 + j] * a->v_stride : 0);
        for (size_t d = 0; d < dim; d++)
            k[d * KEYS + j] = there ? key[head * dim + d] : 0.0f;
        memset(v, 0, f->padded * sizeof *v);
        if (there)
            memcpy(v, value + head * dim, dim * sizeof *v);
    }
}

/* The same, in panels. */
static void pack_panels_item(void *arg, size_t item, void *scratch)
{
    (void)scratch;
    const struct full *f = arg;
    const struct ops_full *a = f->a;
    const size_t dim = a->head_dim, head = item / f->n_chunks;
    const size_t *chunk = f->chunk + item % f->n_chunks * (1 + KEYS), n = chunk[0];
    uint32_t *keys = f->keys + item * words_of(f, dim) * KEYS;
    uint32_t *values = f->values + item * f->padded * words_of(f, KEYS);
    const float *row[KEYS] = { NULL };
    for (size_t j = 0; j < n; j++)
        row[j] = (const float *)a->k + chunk[1 + j] * a->k_stride + head * dim;
    for (size_t j = 0; j < n; j += WIDTH, keys += words_of(f, dim) * WIDTH)
        f->panels->pack_keys(keys, row + j, min_size(WIDTH, n - j), dim);
    for (size_t d = 0; d < dim; d += WIDTH, values += WIDTH * words_of(f, KEYS)) {
        for (size_t j = 0; j < n; j++)
            row[j] = (const float *)a->v + chunk[1 + j] * a->v_stride + head * dim + d;
        f->panels->pack_values(values, row, n, min_size(WIDTH, dim - d));
    }
}

/* ---- queries --------------------------------------------------------------------------------- */

/* y = tiles x panels, width columns of them; y_stride floats between its rows. */
static void multiply_panels(const struct full *f, float *y, size_t y_stride, size_t rows,
                            const uint32_t *tiles, const uint32_t *panels, size_t panel_words,
                            size_t words, size_t width)
{
    struct cpu_panel_dot d = { .y_stride = y_stride, .words = words };
    for (size_t n = 0; n < width; n += WIDTH) {
        d.panel = panels + n * panel_words;
        d.width = min_size(WIDTH, width - n);
        for (size_t r = 0; r < rows; r += ROWS) {
            d.y = y + r * y_stride + n;
            d.tile = d.next = tiles + r * words;
            d.rows = min_size(ROWS, rows - r);
            f->panels->dot(&d);
        }
    }
}

static void pack_tiles(const struct full *f, uint32_t *tiles, const float *x, size_t x_stride,
                       size_t rows, size_t k)
{
    for (size_t r = 0; r < rows; r += ROWS)
        f->panels->pack_tile(tiles + r * words_of(f, k), x + r * x_stride, x_stride,
                             min_size(ROWS, rows - r), k);
}

static const float *first_query(const struct ops_full *a, const struct queries *q)
{
    return (const float *)a->q + q->first * a->q_stride + q->head * a->head_dim;
}

/* scores = q k^T of the n keys of a chunk */
static void multiply_keys(const struct full *f, const struct queries *q, struct scratch *s,
                          size_t c, size_t n)
{
    const struct ops_full *a = f->a;
    const size_t packed = q->head * f->n_chunks + c;
    if (f->panels) {
        const size_t words = words_of(f, a->head_dim);
        multiply_panels(f, s->scores[0], KEYS, q->n, s->q, f->keys + packed * words * KEYS, words,
                        words, n);
        return;
    }
    const struct cpu_mix m = { .o = s->scores[0],
                               .o_stride = KEYS,
                               .p = first_query(a, q),
                               .p_stride = a->q_stride,
                               .queries = q->n,
                               .v = f->k + packed * a->head_dim * KEYS,
                               .dtype = OPS_F32,
                               .tokens = a->head_dim,
                               .dim = KEYS };
    memset(s->scores, 0, q->n * sizeof s->scores[0]);
    f->kernels->mix(&m);
}

/* The same, and with a bias scale q k^T + bias. */
static void score(const struct full *f, const struct queries *q, struct scratch *s, size_t c)
{
    const struct ops_full *a = f->a;
    const size_t *chunk = f->chunk + c * (1 + KEYS);
    multiply_keys(f, q, s, c, chunk[0]);
    if (!a->relative)
        return;
    const ptrdiff_t reach = (ptrdiff_t)a->reach;
    for (size_t i = 0; i < q->n; i++) {
        for (size_t j = 0; j < chunk[0]; j++) {
            ptrdiff_t distance = (ptrdiff_t)chunk[1 + j] - (ptrdiff_t)(q->first + i);
            distance = distance < -reach ? -reach : distance >= reach ? reach - 1 : distance;
            s->scores[i][j] = s->scores[i][j] * a->scale +
                              a->relative[(size_t)(distance + reach) * a->n_heads + q->head];
        }
    }
}

/* chunk = probabilities x values */
static void multiply_values(const struct full *f, const struct queries *q, struct scratch *s,
                            size_t c, size_t n)
{
    const size_t packed = q->head * f->n_chunks + c, dim = f->a->head_dim;
    if (f->panels) {
        pack_tiles(f, s->p, s->scores[0], KEYS, q->n, n);
        multiply_panels(f, s->chunk[0], MAX_DIM, q->n, s->p,
                        f->values + packed * f->padded * words_of(f, KEYS), words_of(f, KEYS),
                        words_of(f, n), dim);
        return;
    }
    const struct cpu_mix m = { .o = s->chunk[0],
                               .o_stride = MAX_DIM,
                               .p = s->scores[0],
                               .p_stride = KEYS,
                               .queries = q->n,
                               .v = f->v + packed * f->padded * KEYS,
                               .dtype = OPS_F32,
                               .tokens = n,
                               .dim = f->padded };
    for (size_t i = 0; i < q->n; i++)
        memset(s->chunk[i], 0, f->padded * sizeof(float));
    f->kernels->mix(&m);
}

static void do_chunk(const struct full *f, const struct queries *q, struct scratch *s, size_t c)
{
    const struct ops_full *a = f->a;
    const size_t n = f->chunk[c * (1 + KEYS)];
    float max[QUERIES], sum[QUERIES];

    score(f, q, s, c);
    for (size_t i = 0; i < q->n; i++)
        f->kernels->softmax(s->scores[i], n, a->relative ? 1.0f : a->scale, &max[i], &sum[i]);
    multiply_values(f, q, s, c, n);
    for (size_t i = 0; i < q->n; i++)
        cpu_softmax_fold(s->o[i], &s->max[i], &s->sum[i], s->chunk[i], max[i], sum[i], a->head_dim);
}

static void attend(const struct full *f, const struct queries *q, struct scratch *s)
{
    const struct ops_full *a = f->a;
    const size_t dim = a->head_dim;
    for (size_t i = 0; i < q->n; i++) {
        memset(s->o[i], 0, sizeof s->o[i]);
        s->max[i] = -INFINITY;
        s->sum[i] = 0.0f;
    }
    if (f->panels)
        pack_tiles(f, s->q, first_query(a, q), a->q_stride, q->n, dim);
    for (size_t c = f->first[q->segment]; c < f->first[q->segment + 1]; c++)
        do_chunk(f, q, s, c);
    for (size_t i = 0; i < q->n; i++) {
        float *out = (float *)a->o + (q->first + i) * a->o_stride + q->head * dim;
        for (size_t d = 0; d < dim; d++)
            out[d] = s->sum[i] != 0.0f ? s->o[i][d] / s->sum[i] : s->o[i][d];
    }
}

/* Item: a head x a tile of rows of a segment: a head's keys stay in the cache. */
static void attention_item(void *arg, size_t item, void *scratch)
{
    const struct full *f = arg;
    const struct ops_full *a = f->a;
    size_t tiles = 0;
    for (size_t s = 0; s < a->n_segments; s++)
        tiles += row_tiles(a, s);
    struct queries q = { .head = item / tiles };
    size_t tile = item % tiles;
    for (; tile >= row_tiles(a, q.segment); q.segment++)
        tile -= row_tiles(a, q.segment);
    q.first = (size_t)a->first_row[q.segment] + tile * QUERIES;
    q.n = min_size(QUERIES, (size_t)a->first_row[q.segment + 1] - q.first);
    attend(f, &q, scratch);
}

static bool shapes_ok(const struct ops_full *a)
{
    if (a->n_heads == 0 || a->head_dim == 0 || a->head_dim > OPS_FULL_MAX_DIM ||
        a->n_heads > SIZE_MAX / a->head_dim)
        return false;
    const size_t width = a->n_heads * a->head_dim;
    if (a->q_stride < width || a->k_stride < width || a->v_stride < width || a->o_stride < width ||
        (a->relative && (a->reach == 0 || a->reach > PTRDIFF_MAX)))
        return false;
    if (a->n_segments == 0)
        return a->rows == 0;
    if (a->first_row[0] != 0)
        return false;
    for (size_t s = 0; s < a->n_segments; s++)
        if (a->first_row[s + 1] < a->first_row[s])
            return false;
    return (size_t)a->first_row[a->n_segments] == a->rows;
}

/* Places what is packed in the device's scratch memory; false: out of memory. */
static bool reserve(struct ops_device *dev, struct full *f, size_t chunks)
{
    const struct ops_full *a = f->a;
    const size_t keys = a->n_heads * chunks * KEYS; /* below the bytes of q, k and v */
    const size_t lists = chunks * (1 + KEYS) + a->n_segments + 1;
    const size_t k_bytes = keys * (f->panels ? words_of(f, a->head_dim) : a->head_dim) * 4;
    const size_t v_bytes =
        f->padded * a->n_heads * chunks * (f->panels ? words_of(f, KEYS) : KEYS) * 4;
    if (!cpu_scratch_reserve(&dev->packed, k_bytes + v_bytes + lists * sizeof(size_t)))
        return false;
    char *at = dev->packed.data;
    f->k = (float *)(void *)at;
    f->v = (float *)(void *)(at + k_bytes);
    f->keys = (uint32_t *)(void *)at;
    f->values = (uint32_t *)(void *)(at + k_bytes);
    f->chunk = (size_t *)(void *)(at + k_bytes + v_bytes);
    f->first = f->chunk + chunks * (1 + KEYS);
    return true;
}

enum ops_status cpu_attention_full(struct ops_device *dev, const struct ops_full *a)
{
    if (!shapes_ok(a))
        return OPS_E_SHAPE;
    size_t tiles = 0, chunks = 0;
    double scores = 0;
    for (size_t s = 0; s < a->n_segments; s++) {
        const double rows = (double)segment_rows(a, s);
        tiles += row_tiles(a, s);
        chunks += (segment_rows(a, s) + KEYS - 1) / KEYS;
        scores += rows * rows;
    }
    struct full f = { .kernels = dev->kernels,
                      .panels = a->rounded ? dev->panels : NULL,
                      .a = a,
                      .padded = cpu_padded(a->head_dim) };
    if (!reserve(dev, &f, chunks))
        return OPS_E_MEMORY;
    const double width = (double)(a->n_heads * a->head_dim);
    list_keys(&f);
    f.n_chunks = f.first[a->n_segments];
    cpu_parallel(dev, f.n_chunks * a->n_heads, 2.0 * (double)a->rows * width,
                 f.panels ? pack_panels_item : pack_item, &f);
    cpu_parallel(dev, tiles * a->n_heads, 2.0 * scores * width, attention_item, &f);
    return OPS_OK;
}
