/* ops_cuda_face.c - copies to the device and back around each op; see ops_cuda_face.h. */
#include "ops_cuda_face.h"

#include "ops/cpu/convert.h"

#include <stdbool.h>

#include <stdio.h>
#include <stdlib.h>

static const struct ops *cuda(void)
{
    const char *why;
    return ops_cuda(&why);
}

static void must(enum ops_status status, const char *what)
{
    if (status != OPS_OK) {
        fprintf(stderr, "ops_cuda_face: %s: status %d\n", what, (int)status);
        abort();
    }
}

/* ---- arrays ---- */

/* NULL stays NULL. */
static void *to_device(struct ops_device *dev, const void *host, size_t bytes)
{
    if (!host)
        return NULL;
    void *p = cuda()->alloc(dev, bytes);
    must(p ? OPS_OK : OPS_E_MEMORY, "alloc");
    must(cuda()->upload(dev, p, host, bytes), "upload");
    must(cuda()->sync(dev), "sync");
    return p;
}

/* n numbers of any dtype as bf16. */
static void *numbers_to_device(struct ops_device *dev, const void *host, enum ops_dtype dtype,
                               size_t n)
{
    if (!host)
        return NULL;
    uint16_t *b = malloc(n * sizeof *b + 1);
    must(b ? OPS_OK : OPS_E_MEMORY, "malloc");
    for (size_t i = 0; i < n; i++)
        b[i] = float_to_bf16(load_float(host, dtype, i));
    void *p = to_device(dev, b, n * sizeof *b);
    free(b);
    return p;
}

static void numbers_from_device(struct ops_device *dev, void *host, enum ops_dtype dtype,
                                const void *from, size_t n)
{
    uint16_t *b = malloc(n * sizeof *b + 1);
    must(b ? OPS_OK : OPS_E_MEMORY, "malloc");
    must(cuda()->download(dev, b, from, n * sizeof *b), "download");
    for (size_t i = 0; i < n; i++)
        store_float(host, dtype, i, bf16_to_float(b[i]));
    free(b);
}

/* An activation that an op writes: there and, when the op succeeded, back again. */
struct both {
    float *host;
    void *device;
    size_t n;
};

static struct both act(struct ops_device *dev, const void *host, size_t n)
{
    return (struct both){ (float *)(uintptr_t)host, numbers_to_device(dev, host, OPS_F32, n), n };
}

static void give_back(struct ops_device *dev, struct both *b, enum ops_status status)
{
    if (status == OPS_OK && b->host)
        numbers_from_device(dev, b->host, OPS_F32, b->device, b->n);
    cuda()->free(dev, b->device);
}

static struct ops_matrix inner(const struct ops_matrix *m)
{
    const struct ops_matrix *on_device = m->prepared;
    struct ops_matrix i = *m;
    i.data = on_device->data;
    i.dtype = dtype_known(m->dtype) ? OPS_BF16 : m->dtype;
    i.prepared = on_device->prepared;
    return i;
}

/* ---- the table ---- */

static struct ops_device *face_open(const struct ops_open *how, const char **why)
{
    return cuda()->open(how, why);
}

static enum ops_status face_matrix_load(struct ops_device *dev, struct ops_matrix *m,
                                        const void *host, enum ops_dtype dtype, size_t rows,
                                        size_t cols)
{
    struct ops_matrix *on_device = calloc(1, sizeof *on_device);
    must(on_device ? OPS_OK : OPS_E_MEMORY, "calloc");
    const enum ops_status status = cuda()->matrix_load(dev, on_device, host, dtype, rows, cols);
    if (status != OPS_OK) {
        free(on_device);
        return status;
    }
    must(cuda()->sync(dev), "sync");
    *m = (struct ops_matrix){ host, dtype, rows, cols, on_device };
    return OPS_OK;
}

static enum ops_status face_matrix_quantize(struct ops_device *dev, struct ops_matrix *m,
                                            const void *host, enum ops_dtype dtype, size_t rows,
                                            size_t cols, enum ops_dtype form)
{
    struct ops_matrix *on_device = calloc(1, sizeof *on_device);
    must(on_device ? OPS_OK : OPS_E_MEMORY, "calloc");
    const enum ops_status status =
        cuda()->matrix_quantize(dev, on_device, host, dtype, rows, cols, form);
    if (status != OPS_OK) {
        free(on_device);
        return status;
    }
    must(cuda()->sync(dev), "sync");
    *m = (struct ops_matrix){ on_device->data, form, rows, cols, on_device };
    return OPS_OK;
}

static void face_matrix_free(struct ops_device *dev, struct ops_matrix *m)
{
    cuda()->matrix_free(dev, m->prepared);
    free(m->prepared);
    *m = (struct ops_matrix){ 0 };
}

static enum ops_status face_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                                      const int32_t *ids, size_t rows)
{
    const struct ops_matrix i = inner(m);
    struct both out = act(dev, y, rows * m->cols);
    void *at = to_device(dev, ids, rows * sizeof *ids);
    const enum ops_status status = cuda()->embedding(dev, out.device, &i, at, rows);
    give_back(dev, &out, status);
    cuda()->free(dev, at);
    return status;
}

static enum ops_status face_rmsnorm(struct ops_device *dev, void *y, const void *x,
                                    const struct ops_matrix *w, size_t rows, size_t dim, float eps)
{
    const struct ops_matrix i = inner(w);
    struct both out = act(dev, y, rows * dim), in = act(dev, x, rows * dim);
    const enum ops_status status =
        cuda()->rmsnorm(dev, out.device, y == x ? out.device : in.device, &i, rows, dim, eps);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static enum ops_status face_add_rmsnorm(struct ops_device *dev, void *h, const void *delta, void *y,
                                        const struct ops_matrix *w, size_t rows, size_t dim,
                                        float eps)
{
    const struct ops_matrix i = inner(w);
    struct both res = act(dev, h, rows * dim), in = act(dev, delta, rows * dim);
    struct both out = act(dev, y, rows * dim);
    const enum ops_status status = cuda()->add_rmsnorm(
        dev, res.device, y == delta ? out.device : in.device, out.device, &i, rows, dim, eps);
    give_back(dev, &res, status);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static enum ops_status face_matmul(struct ops_device *dev, void *y, const void *x,
                                   const struct ops_matrix *m, size_t rows)
{
    const struct ops_matrix i = inner(m);
    struct both out = act(dev, y, rows * m->rows), in = act(dev, x, rows * m->cols);
    const enum ops_status status = cuda()->matmul(dev, out.device, in.device, &i, rows);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static enum ops_status face_logits(struct ops_device *dev, float *y, const void *x,
                                   const struct ops_matrix *m, size_t rows)
{
    const struct ops_matrix i = inner(m);
    struct both in = act(dev, x, rows * m->cols);
    float *out = to_device(dev, y, rows * m->rows * sizeof *y);
    enum ops_status status = cuda()->logits(dev, out, in.device, &i, rows);
    if (status == OPS_OK)
        status = cuda()->download(dev, y, out, rows * m->rows * sizeof *y);
    cuda()->free(dev, out);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

/* The cache as bf16 on the device; one whose dtype is unknown is passed on for refusal. */
static struct ops_kv cache_to_device(struct ops_device *dev, const struct ops_kv *kv,
                                     const struct ops_heads *heads, size_t *n)
{
    struct ops_kv to = *kv;
    *n = kv->n_blocks * heads->n_kv_heads * OPS_KV_BLOCK * heads->head_dim;
    if (kv->dtype == OPS_FP8) {
        to.k = to_device(dev, kv->k, *n);
        to.v = to_device(dev, kv->v, *n);
        return to;
    }
    if (!dtype_known(kv->dtype))
        return to;
    to.dtype = OPS_BF16;
    to.k = numbers_to_device(dev, kv->k, kv->dtype, *n);
    to.v = numbers_to_device(dev, kv->v, kv->dtype, *n);
    return to;
}

static void cache_drop(struct ops_device *dev, const struct ops_kv *host, struct ops_kv *kv,
                       size_t n, bool back)
{
    if (!kv_dtype_known(host->dtype))
        return;
    if (back && host->dtype == OPS_FP8) {
        must(cuda()->download(dev, host->k, kv->k, n), "download");
        must(cuda()->download(dev, host->v, kv->v, n), "download");
    } else if (back) {
        numbers_from_device(dev, host->k, host->dtype, kv->k, n);
        numbers_from_device(dev, host->v, host->dtype, kv->v, n);
    }
    cuda()->free(dev, kv->k);
    cuda()->free(dev, kv->v);
}

static enum ops_status face_rope_kv(struct ops_device *dev, void *qkv, const float *cos,
                                    const float *sin, const int32_t *slot, size_t rows,
                                    const struct ops_heads *heads, const struct ops_kv *kv)
{
    size_t n;
    struct ops_kv on_device = cache_to_device(dev, kv, heads, &n);
    const size_t angles = rows * (heads->rotary_dim / 2) * sizeof *cos;
    struct both x =
        act(dev, qkv, rows * (heads->n_heads + 2 * heads->n_kv_heads) * heads->head_dim);
    float *c = to_device(dev, cos, angles), *s = to_device(dev, sin, angles);
    int32_t *at = to_device(dev, slot, rows * sizeof *slot);
    const enum ops_status status =
        cuda()->rope_kv(dev, x.device, c, s, at, rows, heads, &on_device);
    give_back(dev, &x, status);
    cache_drop(dev, kv, &on_device, n, status == OPS_OK);
    cuda()->free(dev, c);
    cuda()->free(dev, s);
    cuda()->free(dev, at);
    return status;
}

static enum ops_status face_attention(struct ops_device *dev, void *o, const void *qkv,
                                      const struct ops_batch *batch, const struct ops_heads *heads,
                                      const struct ops_kv *kv, float scale)
{
    size_t n;
    struct ops_kv on_device = cache_to_device(dev, kv, heads, &n);
    struct both out = act(dev, o, batch->rows * heads->n_heads * heads->head_dim);
    struct both in =
        act(dev, qkv, batch->rows * (heads->n_heads + 2 * heads->n_kv_heads) * heads->head_dim);
    struct ops_batch b = *batch;
    b.first_row = to_device(dev, batch->first_row, (batch->n_seqs + 1) * sizeof *b.first_row);
    b.length = to_device(dev, batch->length, batch->n_seqs * sizeof *b.length);
    b.block_table = to_device(dev, batch->block_table,
                              batch->n_seqs * batch->table_stride * sizeof *b.block_table);
    const enum ops_status status =
        cuda()->attention(dev, out.device, in.device, &b, heads, &on_device, scale);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    cache_drop(dev, kv, &on_device, n, false);
    cuda()->free(dev, (void *)(uintptr_t)b.first_row);
    cuda()->free(dev, (void *)(uintptr_t)b.length);
    cuda()->free(dev, (void *)(uintptr_t)b.block_table);
    return status;
}

static enum ops_status face_swiglu(struct ops_device *dev, void *y, const void *gate_up,
                                   size_t rows, size_t dim)
{
    struct both out = act(dev, y, rows * dim), in = act(dev, gate_up, rows * 2 * dim);
    const enum ops_status status = cuda()->swiglu(dev, out.device, in.device, rows, dim);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static bool plausible(const struct ops_lora_segment *s)
{
    return dtype_known(s->dtype) && s->rank > 0 && s->rank <= OPS_LORA_MAX_RANK;
}

static enum ops_status face_lora(struct ops_device *dev, void *y, const void *x, size_t rows,
                                 size_t in, size_t out, const struct ops_lora_segment *segments,
                                 size_t n)
{
    struct both to = act(dev, y, rows * out), from = act(dev, x, rows * in);
    struct ops_lora_segment *s = calloc(n + 1, sizeof *s);
    must(s ? OPS_OK : OPS_E_MEMORY, "calloc");
    for (size_t i = 0; i < n; i++) {
        const size_t size = dtype_known(segments[i].dtype) ? ops_dtype_size(segments[i].dtype) : 0;
        s[i] = segments[i];
        if (!plausible(&s[i]))
            continue;
        s[i].a = to_device(dev, s[i].a, s[i].rank * in * size);
        s[i].b = to_device(dev, s[i].b, s[i].rank * out * size);
    }
    const enum ops_status status = cuda()->lora(dev, to.device, from.device, rows, in, out, s, n);
    give_back(dev, &to, status);
    give_back(dev, &from, OPS_E_SHAPE);
    for (size_t i = 0; i < n; i++) {
        if (plausible(&s[i])) {
            cuda()->free(dev, (void *)(uintptr_t)s[i].a);
            cuda()->free(dev, (void *)(uintptr_t)s[i].b);
        }
    }
    free(s);
    return status;
}

/* ---- the encoders' ---- */

static enum ops_status face_layernorm(struct ops_device *dev, void *y, const void *x,
                                      const struct ops_matrix *w, const struct ops_matrix *b,
                                      size_t rows, size_t dim, float eps)
{
    const struct ops_matrix weight = inner(w), bias = inner(b);
    struct both out = act(dev, y, rows * dim), in = act(dev, x, rows * dim);
    const enum ops_status status = cuda()->layernorm(
        dev, out.device, y == x ? out.device : in.device, &weight, &bias, rows, dim, eps);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static enum ops_status face_add_bias(struct ops_device *dev, void *y, const struct ops_matrix *b,
                                     size_t rows, size_t dim)
{
    const struct ops_matrix bias = inner(b);
    struct both out = act(dev, y, rows * dim);
    const enum ops_status status = cuda()->add_bias(dev, out.device, &bias, rows, dim);
    give_back(dev, &out, status);
    return status;
}

static enum ops_status face_add(struct ops_device *dev, void *y, const void *x, size_t n,
                                float scale)
{
    struct both out = act(dev, y, n), in = act(dev, x, n);
    const enum ops_status status =
        cuda()->add(dev, out.device, y == x ? out.device : in.device, n, scale);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

/* y = f(x), n numbers each. */
typedef enum ops_status map_fn(struct ops_device *dev, void *y, const void *x, size_t n, int kind);

static enum ops_status map(map_fn *f, struct ops_device *dev, void *y, const void *x, size_t n,
                           int kind)
{
    struct both out = act(dev, y, n), in = act(dev, x, n);
    const enum ops_status status = f(dev, out.device, y == x ? out.device : in.device, n, kind);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static enum ops_status gelu(struct ops_device *dev, void *y, const void *x, size_t n, int kind)
{
    return cuda()->gelu(dev, y, x, n, (enum ops_gelu)kind);
}

static enum ops_status relu(struct ops_device *dev, void *y, const void *x, size_t n, int kind)
{
    (void)kind;
    return cuda()->relu(dev, y, x, n);
}

static enum ops_status silu(struct ops_device *dev, void *y, const void *x, size_t n, int kind)
{
    (void)kind;
    return cuda()->silu(dev, y, x, n);
}

static enum ops_status face_gelu(struct ops_device *dev, void *y, const void *x, size_t n,
                                 enum ops_gelu kind)
{
    return map(gelu, dev, y, x, n, (int)kind);
}

static enum ops_status face_relu(struct ops_device *dev, void *y, const void *x, size_t n)
{
    return map(relu, dev, y, x, n, 0);
}

static enum ops_status face_silu(struct ops_device *dev, void *y, const void *x, size_t n)
{
    return map(silu, dev, y, x, n, 0);
}

static enum ops_status face_glu(struct ops_device *dev, void *y, const void *x, size_t rows,
                                size_t dim)
{
    struct both out = act(dev, y, rows * dim), in = act(dev, x, 2 * rows * dim);
    const enum ops_status status = cuda()->glu(dev, out.device, in.device, rows, dim);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

static enum ops_status face_transpose(struct ops_device *dev, void *y, const void *x, size_t rows,
                                      size_t a, size_t b)
{
    struct both out = act(dev, y, rows * a * b), in = act(dev, x, rows * a * b);
    const enum ops_status status = cuda()->transpose(dev, out.device, in.device, rows, a, b);
    give_back(dev, &out, status);
    give_back(dev, &in, OPS_E_SHAPE);
    return status;
}

/* From the first number of the first row to the last of the last; nothing of what is to be refused.
 */
static size_t spread(const struct ops_full *a, size_t stride)
{
    const bool likely = a->rows > 0 && a->head_dim <= OPS_FULL_MAX_DIM;
    return likely ? (a->rows - 1) * stride + a->n_heads * a->head_dim : 0;
}

static enum ops_status face_attention_full(struct ops_device *dev, const struct ops_full *a)
{
    struct ops_full d = *a;
    struct both q = act(dev, a->q, spread(a, a->q_stride));
    struct both k = act(dev, a->k, spread(a, a->k_stride));
    struct both v = act(dev, a->v, spread(a, a->v_stride));
    struct both o = act(dev, a->o, spread(a, a->o_stride));
    d.q = q.device;
    d.k = k.device;
    d.v = v.device;
    d.o = o.device;
    int32_t *first_row = to_device(dev, a->first_row, (a->n_segments + 1) * sizeof *first_row);
    uint8_t *seen = to_device(dev, a->key_seen, a->rows);
    float *relative = to_device(dev, a->relative, 2 * a->reach * a->n_heads * sizeof *relative);
    d.first_row = first_row;
    d.key_seen = seen;
    d.relative = relative;
    const enum ops_status status = cuda()->attention_full(dev, &d);
    give_back(dev, &o, status);
    give_back(dev, &q, OPS_E_SHAPE);
    give_back(dev, &k, OPS_E_SHAPE);
    give_back(dev, &v, OPS_E_SHAPE);
    cuda()->free(dev, first_row);
    cuda()->free(dev, seen);
    cuda()->free(dev, relative);
    return status;
}

static enum ops_status face_depthwise_conv(struct ops_device *dev, void *y, const void *x,
                                           const struct ops_matrix *w, const struct ops_matrix *b,
                                           const struct ops_conv *c)
{
    const struct ops_matrix weight = inner(w), bias = inner(b);
    /* Others are there to be refused; what they say of x and y need not be so. */
    const bool likely = c->images <= 64 && c->in_height <= 64 && c->out_channels == w->rows;
    const size_t in = likely ? c->images * c->in_height * c->in_width * c->in_channels : 0;
    const size_t out = likely ? c->images * c->out_height * c->out_width * c->out_channels : 0;
    struct both to = act(dev, y, out), from = act(dev, x, in);
    const enum ops_status status =
        cuda()->depthwise_conv(dev, to.device, from.device, &weight, &bias, c);
    give_back(dev, &to, status);
    give_back(dev, &from, OPS_E_SHAPE);
    return status;
}

static struct ops face;

const struct ops *ops_cuda_face(void)
{
    if (!cuda())
        return NULL;
    face = *cuda(); /* what takes no arrays stays */
    face.act = OPS_F32;
    face.open = face_open;
    face.matrix_load = face_matrix_load;
    face.matrix_quantize = face_matrix_quantize;
    face.matrix_free = face_matrix_free;
    face.embedding = face_embedding;
    face.rmsnorm = face_rmsnorm;
    face.add_rmsnorm = face_add_rmsnorm;
    face.matmul = face_matmul;
    face.matmul_rounded = face_matmul; /* the same function */
    face.logits = face_logits;
    face.rope_kv = face_rope_kv;
    face.attention = face_attention;
    face.swiglu = face_swiglu;
    face.lora = face_lora;
    face.layernorm = face_layernorm;
    face.add_bias = face_add_bias;
    face.add = face_add;
    face.gelu = face_gelu;
    face.attention_full = face_attention_full;
    face.depthwise_conv = face_depthwise_conv;
    face.relu = face_relu;
    face.silu = face_silu;
    face.glu = face_glu;
    face.transpose = face_transpose;
    return &face;
}
