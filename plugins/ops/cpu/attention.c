/*
 * attention.c - causal grouped-query attention over the paged cache, in chunks of
 * CPU_CHUNK_TOKENS tokens.
 *
 * For one query the result is defined as follows, whatever is computed beside it: the context is
 * cut at multiples of CPU_CHUNK_TOKENS; each chunk gives its maximum m, its sum l of e^(s - m) and
 * its weighted values o; the chunks are folded from left to right (Milakov and Gimelshein 2018;
 * Dao et al. 2022).  Queries that share keys (the heads of a group, rows of a sequence one after
 * the other) are done together, so that keys and values are read once for all of them.
 */
#include "cpu_ops.h"

#include "convert.h"

enum {
    MAX_QUERIES = 24, /* done together; also the heads of a group that are done together */
    MAX_DIM = 256,
    BLOCKS = CPU_CHUNK_TOKENS / OPS_KV_BLOCK
};

/* One task's memory. */
struct scratch {
    _Alignas(64) float q[MAX_QUERIES * MAX_DIM]; /* packed, in tiles */
    float scores[MAX_QUERIES][CPU_CHUNK_TOKENS];
    float chunk[MAX_QUERIES][MAX_DIM]; /* weighted values of the chunk */
    float o[MAX_QUERIES][MAX_DIM];     /* of all chunks so far */
    float max[MAX_QUERIES], sum[MAX_QUERIES];
    float rows[MAX_QUERIES][MAX_DIM]; /* queries gathered before packing */
};
_Static_assert(sizeof(struct scratch) <= CPU_TASK_SCRATCH, "scratch of a task");

struct attention {
    const struct cpu_kernels *kernels;
    float *o;
    const float *qkv;
    const struct ops_batch *batch;
    const struct ops_heads *heads;
    const struct ops_kv *kv;
    float scale;
    size_t group;         /* query heads of a kv head */
    size_t heads_at_once; /* of a group */
    size_t head_parts;    /* parts of a group */
    size_t rows_at_once;
};

/* Queries done together: rows x heads of one group of one sequence. */
struct queries {
    size_t seq, first_row, rows; /* rows of the batch */
    size_t first_head, heads;    /* query heads */
    size_t kv_head;
    size_t position; /* of first_row in its sequence */
    size_t n;        /* rows * heads */
};

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void gather_queries(const struct attention *a, const struct queries *q, struct scratch *s)
{
    const size_t dim = a->heads->head_dim, tile = a->kernels->tile;
    const size_t width = (a->heads->n_heads + 2 * a->heads->n_kv_heads) * dim;
    for (size_t i = 0; i < q->n; i++)
        memcpy(s->rows[i],
               a->qkv + (q->first_row + i / q->heads) * width +
                   (q->first_head + i % q->heads) * dim,
               dim * sizeof(float));
    for (size_t i = 0; i < q->n; i += tile)
        a->kernels->pack(s->q + i * cpu_padded(dim), s->rows[i], MAX_DIM, min_size(tile, q->n - i),
                         dim, a->kv->dtype);
}

/* Tokens of the chunk at first that query i sees. */
static size_t visible(const struct queries *q, size_t i, size_t first)
{
    const size_t end = q->position + i / q->heads + 1;
    return end <= first ? 0 : min_size(end - first, CPU_CHUNK_TOKENS);
}

static const char *block_of(const struct attention *a, const struct queries *q, const void *cache,
                            size_t token)
{
    const int32_t *table = a->batch->block_table + q->seq * a->batch->table_stride;
    const size_t block = (size_t)table[token / OPS_KV_BLOCK];
    const size_t bytes = OPS_KV_BLOCK * a->heads->head_dim * ops_dtype_size(a->kv->dtype);
    return (const char *)cache + (block * a->heads->n_kv_heads + q->kv_head) * bytes;
}

/* Values of tokens from .. to - 1 of a block, to queries first .. first + n - 1. */
static void mix_tokens(const struct attention *a, struct scratch *s, size_t first, size_t n,
                       const char *v, size_t in_chunk, size_t from, size_t to, ptrdiff_t ahead)
{
    const size_t dim = a->heads->head_dim;
    const struct cpu_mix m = { .o = s->chunk[first],
                               .o_stride = MAX_DIM,
                               .p = s->scores[first] + in_chunk + from,
                               .p_stride = CPU_CHUNK_TOKENS,
                               .queries = n,
                               .v = v + from * dim * ops_dtype_size(a->kv->dtype),
                               .dtype = a->kv->dtype,
                               .tokens = to - from,
                               .dim = dim,
                               .ahead = ahead };
    if (to > from)
        a->kernels->mix(&m);
}

/* Tokens of the block that begins in_chunk tokens after the chunk's first that query i sees. */
static size_t visible_in_block(const struct queries *q, size_t i, size_t chunk, size_t in_chunk)
{
    const size_t n = visible(q, i, chunk);
    return n > in_chunk ? min_size(n - in_chunk, OPS_KV_BLOCK) : 0;
}

/* Adds the values of a block to the queries that see them.  A row sees one token more than the row
 * before, so only the last blocks of a sequence are not the same for all. */
static void mix_block(const struct attention *a, const struct queries *q, struct scratch *s,
                      const char *v, size_t chunk, size_t in_chunk, ptrdiff_t ahead)
{
    const size_t all = visible_in_block(q, 0, chunk, in_chunk);
    mix_tokens(a, s, 0, q->n, v, in_chunk, 0, all, ahead);
    if (all == OPS_KV_BLOCK)
        return;
    for (size_t i = 0; i < q->n; i++)
        mix_tokens(a, s, i, 1, v, in_chunk, all, visible_in_block(q, i, chunk, in_chunk), 0);
}

static ptrdiff_t distance(const char *from, const char *to)
{
    return (ptrdiff_t)((uintptr_t)to - (uintptr_t)from);
}

/* Scores of all queries with the keys of a block. */
static void score_block(const struct attention *a, const struct queries *q, struct scratch *s,
                        const char *k, size_t in_chunk, ptrdiff_t ahead)
{
    const size_t dim = a->heads->head_dim, tile = a->kernels->tile;
    struct cpu_dot d = { .y_stride = CPU_CHUNK_TOKENS,
                         .w = k,
                         .dtype = a->kv->dtype,
                         .w_rows = OPS_KV_BLOCK,
                         .k = dim,
                         .ahead = ahead };
    for (size_t i = 0; i < q->n; i += tile) {
        d.y = s->scores[i] + in_chunk;
        d.tile = s->q + i * cpu_padded(dim);
        d.tokens = min_size(tile, q->n - i);
        a->kernels->dot(&d);
        d.ahead = 0;
    }
}

/*
 * The chunk of tokens that begins at first, for all queries.  Blocks may lie anywhere, which
 * hardware cannot guess; so with each line of keys the same line of the values is asked for, and
 * with each line of values that of the next chunk's keys.
 */
static void do_chunk(const struct attention *a, const struct queries *q, struct scratch *s,
                     size_t first)
{
    const size_t padded = cpu_padded(a->heads->head_dim);
    const size_t tokens = visible(q, q->n - 1, first), end = q->position + q->rows;
    float max[MAX_QUERIES], sum[MAX_QUERIES];

    for (size_t j = 0; j < tokens; j += OPS_KV_BLOCK) {
        const char *k = block_of(a, q, a->kv->k, first + j);
        score_block(a, q, s, k, j, distance(k, block_of(a, q, a->kv->v, first + j)));
    }
    for (size_t i = 0; i < q->n; i++) {
        const size_t n = visible(q, i, first);
        if (n)
            a->kernels->softmax(s->scores[i], n, a->scale, &max[i], &sum[i]);
        memset(s->chunk[i], 0, padded * sizeof(float));
    }
    for (size_t j = 0; j < tokens; j += OPS_KV_BLOCK) {
        const char *v = block_of(a, q, a->kv->v, first + j);
        const size_t next = first + j + CPU_CHUNK_TOKENS;
        mix_block(a, q, s, v, first, j,
                  next < end ? distance(v, block_of(a, q, a->kv->k, next)) : 0);
    }
    for (size_t i = 0; i < q->n; i++) {
        if (visible(q, i, first))
            cpu_softmax_fold(s->o[i], &s->max[i], &s->sum[i], s->chunk[i], max[i], sum[i], padded);
    }
}

static void attend(const struct attention *a, const struct queries *q, struct scratch *s)
{
    const size_t dim = a->heads->head_dim;
    gather_queries(a, q, s);
    for (size_t i = 0; i < q->n; i++) {
        memset(s->o[i], 0, sizeof s->o[i]);
        s->max[i] = -INFINITY;
        s->sum[i] = 0.0f;
    }
    for (size_t first = 0; first < q->position + q->rows; first += CPU_CHUNK_TOKENS)
        do_chunk(a, q, s, first);
    for (size_t i = 0; i < q->n; i++) {
        const size_t row = q->first_row + i / q->heads, head = q->first_head + i % q->heads;
        float *out = a->o + (row * a->heads->n_heads + head) * dim;
        a->kernels->unpack(out, s->o[i], dim, a->kv->dtype);
        for (size_t d = 0; d < dim; d++)
            out[d] /= s->sum[i];
    }
}

static size_t row_tiles(const struct attention *a, size_t seq)
{
    const size_t rows = (size_t)(a->batch->first_row[seq + 1] - a->batch->first_row[seq]);
    return (rows + a->rows_at_once - 1) / a->rows_at_once;
}

/* Item: a tile of rows of a sequence x a part of a group of heads. */
static void attention_item(void *arg, size_t item, void *scratch)
{
    const struct attention *a = arg;
    const struct ops_batch *batch = a->batch;
    const size_t parts = a->heads->n_kv_heads * a->head_parts;
    size_t tile = item / parts, seq = 0;
    for (; tile >= row_tiles(a, seq); seq++)
        tile -= row_tiles(a, seq);

    const size_t begin = (size_t)batch->first_row[seq], end = (size_t)batch->first_row[seq + 1];
    const size_t kv_head = item % parts / a->head_parts;
    const size_t in_group = item % a->head_parts * a->heads_at_once;
    struct queries q = { .seq = seq,
                         .first_row = begin + tile * a->rows_at_once,
                         .kv_head = kv_head,
                         .first_head = kv_head * a->group + in_group,
                         .heads = min_size(a->heads_at_once, a->group - in_group) };
    q.rows = min_size(a->rows_at_once, end - q.first_row);
    q.position = (size_t)batch->length[seq] - (end - q.first_row);
    q.n = q.rows * q.heads;
    attend(a, &q, scratch);
}

/* Tokens beyond the last block of a table, or blocks beyond the cache, would be read. */
static bool batch_ok(const struct ops_batch *batch, const struct ops_kv *kv)
{
    if (batch->first_row[0] != 0)
        return false;
    for (size_t s = 0; s < batch->n_seqs; s++) {
        const int32_t rows = batch->first_row[s + 1] - batch->first_row[s];
        if (rows < 0 || batch->length[s] < rows)
            return false;
        const size_t blocks = ((size_t)batch->length[s] + OPS_KV_BLOCK - 1) / OPS_KV_BLOCK;
        if (blocks > batch->table_stride)
            return false;
        const int32_t *table = batch->block_table + s * batch->table_stride;
        for (size_t b = 0; b < blocks; b++) {
            if (table[b] < 0 || (size_t)table[b] >= kv->n_blocks)
                return false;
        }
    }
    return (size_t)batch->first_row[batch->n_seqs] == batch->rows;
}

enum ops_status cpu_attention(struct ops_device *dev, void *o, const void *qkv,
                              const struct ops_batch *batch, const struct ops_heads *heads,
                              const struct ops_kv *kv, float scale)
{
    if (!cpu_heads_ok(heads, kv))
        return OPS_E_SHAPE;
    if (batch->rows == 0 && batch->n_seqs == 0)
        return OPS_OK;
    if (!batch_ok(batch, kv))
        return OPS_E_SHAPE;

    struct attention a = { .kernels = dev->kernels,
                           .o = o,
                           .qkv = qkv,
                           .batch = batch,
                           .heads = heads,
                           .kv = kv,
                           .scale = scale,
                           .group = heads->n_heads / heads->n_kv_heads };
    a.heads_at_once = min_size(a.group, MAX_QUERIES);
    a.head_parts = (a.group + a.heads_at_once - 1) / a.heads_at_once;
    a.rows_at_once = MAX_QUERIES / a.heads_at_once;
    size_t tiles = 0;
    double tokens = 0;
    for (size_t s = 0; s < batch->n_seqs; s++) {
        tiles += row_tiles(&a, s);
        tokens += (double)(batch->first_row[s + 1] - batch->first_row[s]) * batch->length[s];
    }
    cpu_parallel(dev, tiles * heads->n_kv_heads * a.head_parts,
                 2.0 * tokens * (double)(heads->n_heads * heads->head_dim), attention_item, &a);
    return OPS_OK;
}
