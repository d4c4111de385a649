/*
 * attention_full.c - bidirectional attention within segments, in chunks of CPU_CHUNK_TOKENS keys.
 *
 * For one query the result is defined as in attention.c, over the keys of its segment that are
 * seen, in their order: chunks of CPU_CHUNK_TOKENS of them, folded from left to right.  Keys and
 * values of a head lie apart in memory; each chunk is gathered once for QUERIES queries.
 */
#include "cpu_ops.h"

#include "convert.h"

enum { QUERIES = 24, MAX_DIM = OPS_FULL_MAX_DIM };

/* One task's memory. */
struct scratch {
    _Alignas(64) float q[QUERIES * MAX_DIM];    /* packed, in tiles */
    float gathered[CPU_CHUNK_TOKENS * MAX_DIM]; /* keys, then values: [chunk, head_dim] */
    float scores[QUERIES][CPU_CHUNK_TOKENS];
    float chunk[QUERIES][MAX_DIM]; /* weighted values of the chunk */
    float o[QUERIES][MAX_DIM];     /* of all chunks so far */
    float max[QUERIES], sum[QUERIES];
    size_t key[CPU_CHUNK_TOKENS]; /* the chunk's rows */
};
_Static_assert(sizeof(struct scratch) <= CPU_TASK_SCRATCH, "scratch of a task");

struct full {
    const struct cpu_kernels *kernels;
    const struct ops_full *a;
};

/* Queries done together: rows of one segment, one head. */
struct queries {
    size_t begin, end; /* rows of the segment */
    size_t first, n;   /* rows of the queries */
    size_t head;
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t row_tiles(const struct ops_full *a, size_t segment)
{
    const size_t rows = (size_t)(a->first_row[segment + 1] - a->first_row[segment]);
    return (rows + QUERIES - 1) / QUERIES;
}

/* The next seen keys of the segment from row *next on; 0: there are no more. */
static size_t next_keys(const struct ops_full *a, const struct queries *q, size_t *next,
                        size_t *key)
{
    size_t n = 0, row = *next;
    for (; row < q->end && n < CPU_CHUNK_TOKENS; row++)
        if (!a->key_seen || a->key_seen[row])
            key[n++] = row;
    *next = row;
    return n;
}

static void gather(float *out, const float *from, size_t stride, const struct ops_full *a,
                   const struct queries *q, const size_t *key, size_t n)
{
    for (size_t j = 0; j < n; j++)
        memcpy(out + j * a->head_dim, from + key[j] * stride + q->head * a->head_dim,
               a->head_dim * sizeof *out);
}

/* scores = scale q k^T + bias */
static void score(const struct full *f, const struct queries *q, struct scratch *s, size_t n)
{
    const struct ops_full *a = f->a;
    const size_t tile = f->kernels->tile;
    struct cpu_dot d = { .y_stride = CPU_CHUNK_TOKENS,
                         .w = s->gathered,
                         .dtype = OPS_F32,
                         .w_rows = n,
                         .k = a->head_dim };
    for (size_t i = 0; i < q->n; i += tile) {
        d.y = s->scores[i];
        d.tile = s->q + i * cpu_padded(a->head_dim);
        d.tokens = min_size(tile, q->n - i);
        f->kernels->dot(&d);
    }
    if (!a->relative)
        return;
    const ptrdiff_t reach = (ptrdiff_t)a->reach;
    for (size_t i = 0; i < q->n; i++) {
        for (size_t j = 0; j < n; j++) {
            ptrdiff_t distance = (ptrdiff_t)s->key[j] - (ptrdiff_t)(q->first + i);
            distance = distance < -reach ? -reach : distance >= reach ? reach - 1 : distance;
            s->scores[i][j] = s->scores[i][j] * a->scale +
                              a->relative[(size_t)(distance + reach) * a->n_heads + q->head];
        }
    }
}

static void do_chunk(const struct full *f, const struct queries *q, struct scratch *s, size_t n)
{
    const struct ops_full *a = f->a;
    const size_t padded = cpu_padded(a->head_dim);
    float max[QUERIES], sum[QUERIES];

    gather(s->gathered, a->k, a->k_stride, a, q, s->key, n);
    score(f, q, s, n);
    for (size_t i = 0; i < q->n; i++) {
        f->kernels->softmax(s->scores[i], n, a->relative ? 1.0f : a->scale, &max[i], &sum[i]);
        memset(s->chunk[i], 0, padded * sizeof(float));
    }
    gather(s->gathered, a->v, a->v_stride, a, q, s->key, n);
    const struct cpu_mix m = { .o = s->chunk[0],
                               .o_stride = MAX_DIM,
                               .p = s->scores[0],
                               .p_stride = CPU_CHUNK_TOKENS,
                               .queries = q->n,
                               .v = s->gathered,
                               .dtype = OPS_F32,
                               .tokens = n,
                               .dim = a->head_dim };
    f->kernels->mix(&m);
    for (size_t i = 0; i < q->n; i++)
        cpu_softmax_fold(s->o[i], &s->max[i], &s->sum[i], s->chunk[i], max[i], sum[i], padded);
}

static void attend(const struct full *f, const struct queries *q, struct scratch *s)
{
    const struct ops_full *a = f->a;
    const size_t dim = a->head_dim, tile = f->kernels->tile;
    const float *queries = (const float *)a->q + q->first * a->q_stride + q->head * dim;
    for (size_t i = 0; i < q->n; i += tile)
        f->kernels->pack(s->q + i * cpu_padded(dim), queries + i * a->q_stride, a->q_stride,
                         min_size(tile, q->n - i), dim, OPS_F32);
    for (size_t i = 0; i < q->n; i++) {
        memset(s->o[i], 0, sizeof s->o[i]);
        s->max[i] = -INFINITY;
        s->sum[i] = 0.0f;
    }
    for (size_t next = q->begin, n; (n = next_keys(a, q, &next, s->key)) > 0;)
        do_chunk(f, q, s, n);
    for (size_t i = 0; i < q->n; i++) {
        float *out = (float *)a->o + (q->first + i) * a->o_stride + q->head * dim;
        f->kernels->unpack(out, s->o[i], dim, OPS_F32);
        for (size_t d = 0; d < dim && s->sum[i] != 0.0f; d++)
            out[d] /= s->sum[i];
    }
}

/* Item: a tile of rows of a segment x a head. */
static void attention_item(void *arg, size_t item, void *scratch)
{
    const struct full *f = arg;
    const struct ops_full *a = f->a;
    size_t tile = item / a->n_heads, segment = 0;
    for (; tile >= row_tiles(a, segment); segment++)
        tile -= row_tiles(a, segment);
    struct queries q = { .begin = (size_t)a->first_row[segment],
                         .end = (size_t)a->first_row[segment + 1],
                         .head = item % a->n_heads };
    q.first = q.begin + tile * QUERIES;
    q.n = min_size(QUERIES, q.end - q.first);
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

enum ops_status cpu_attention_full(struct ops_device *dev, const struct ops_full *a)
{
    if (!shapes_ok(a))
        return OPS_E_SHAPE;
    size_t tiles = 0;
    double scores = 0;
    for (size_t s = 0; s < a->n_segments; s++) {
        const double rows = (double)(a->first_row[s + 1] - a->first_row[s]);
        tiles += row_tiles(a, s);
        scores += rows * rows;
    }
    struct full f = { dev->kernels, a };
    cpu_parallel(dev, tiles * a->n_heads, 2.0 * scores * (double)(a->n_heads * a->head_dim),
                 attention_item, &f);
    return OPS_OK;
}
