/*
 * ops.h - the arithmetic of the engine: each operation once, with its formula, shapes, dtypes and
 * allowed error.
 *
 * The engine includes this file and no other of this folder, so it cannot tell devices apart.
 * Tensors are dense and row-major.  "act" is the device's type of activations (struct ops.act).  An
 * op allocates nothing and keeps no pointer; on CUDA it only enqueues on the device's stream.  All
 * addresses but those marked host are the device's (on the CPU there is no difference).
 *
 * Row invariance: every op computes each row from that row alone (attention: from its sequence
 * alone), with the same order of additions whatever the number of rows, the thread count or the
 * company.  So an answer has the same bits alone, in a batch, in chunks or recomputed.
 * On CUDA that holds for every op but matmul and logits.  Theirs holds for all numbers of rows up
 * to 8 (own kernels), and within each class 9..16, 17..32, 33..64 and so on, for which cuBLASLt's
 * algorithm is chosen once.  Between classes the order of float32 additions differs: products
 * differ by at most their allowed error, mostly by nothing after rounding to bf16, and greedy
 * answers are the same but for near ties.
 *
 * CUDA: weights of any stored type become bf16, caches are bf16, and what arrays on the device say
 * (ids, slots, lengths, blocks) is the caller's to check.
 *
 * One thread at a time per ops_device.  Shapes that break a contract give OPS_E_SHAPE and touch
 * nothing; zero rows are OPS_OK.
 */
#ifndef AIRLOCK_OPS_H
#define AIRLOCK_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ops_status {
    OPS_OK,
    OPS_E_SHAPE,  /* caller's mistake */
    OPS_E_MEMORY, /* host or device memory is out */
    OPS_E_DEVICE  /* the device is lost */
};

/*
 * The first three are types of numbers.  The others are forms that matrix_quantize makes (quant.h
 * has their numbers): a matrix of one of them is a bf16 matrix that takes fewer bytes, so what
 * matmul, logits and embedding promise of bf16 holds.  OPS_FP8 is also a type of keys and values.
 */
enum ops_dtype {
    OPS_F32 = 1,
    OPS_BF16 = 2,
    OPS_F16 = 3,
    OPS_FP8 = 4,  /* E4M3, one scale per row; as keys and values E4M3 without a scale */
    OPS_INT8 = 5, /* one scale per QUANT_GROUP columns of a row */
    OPS_INT4 = 6
};

/* Bytes of one number; of OPS_FP8 as keys and values.  See ops_matrix_bytes for matrices. */
static inline size_t ops_dtype_size(enum ops_dtype t)
{
    return t == OPS_F32 ? 4 : t == OPS_FP8 ? 1 : 2;
}

static inline bool ops_quantized(enum ops_dtype t)
{
    return t == OPS_FP8 || t == OPS_INT8 || t == OPS_INT4;
}

/* At most so many bytes does a matrix of this form take on a device; what is not quantized takes
 * exactly so many where it is copied. */
static inline uint64_t ops_matrix_bytes(enum ops_dtype t, size_t rows, size_t cols)
{
    const uint64_t r = ((uint64_t)rows + 15) / 16 * 16, groups = ((uint64_t)cols + 31) / 32;
    if (t == OPS_FP8)
        return r * (groups * 32 + 4);
    if (t == OPS_INT8)
        return r * groups * (32 + 2);
    if (t == OPS_INT4)
        return r * groups * (16 + 2);
    return (uint64_t)rows * cols * ops_dtype_size(t);
}

enum {
    OPS_KV_BLOCK = 16 /* tokens of one block of keys or values */
};

struct ops_device; /* the device's own: thread pool, or CUDA context and stream */
struct ops_graph;  /* enqueued ops, to be enqueued again */

/* Threads of somebody else, used instead of an own pool: runs fn(arg, i) for i < n, returns when
 * all are done. */
struct ops_threads {
    unsigned count;
    void *ctx;
    void (*run)(const struct ops_threads *threads, size_t n, void (*fn)(void *arg, size_t i),
                void *arg);
};

struct ops_open {
    int ordinal;                    /* CUDA device */
    unsigned threads;               /* CPU: 0 is one per core this process may use */
    const struct ops_threads *lent; /* CPU: not NULL: no own threads; must outlive the device */
    /* CUDA: not NULL: enqueue on this stream of somebody else, which must outlive the device. */
    void *stream;
    bool no_products; /* CUDA: no cuBLASLt is opened; matmul and logits are slow then */
    /*
     * CUDA: matmul and logits of an OPS_FP8 matrix and more than 8 rows round x to E4M3 first, each
     * row with a scale that is a power of two, where the GPU multiplies fp8 (compute
     * capability 8.9) and the shape allows it.  Such rows are other numbers than those of 1 to 8
     * rows, by up to 2^-4 sum_k |x_k m_k|; against exact products of the rounded numbers the error
     * is what the tensor cores' sums have, taken to be 2^-10 sum_k |x_k m_k|, and half a bf16 step.
     */
    bool fp8_activations;
};

/* A weight matrix [rows, cols] on the device; made by matrix_load, read by the ops. */
struct ops_matrix {
    const void *data;
    enum ops_dtype dtype;
    size_t rows, cols;
    void *prepared; /* the device's own, or NULL */
};

/* Geometry of attention. */
struct ops_heads {
    size_t n_heads, n_kv_heads; /* n_kv_heads divides n_heads */
    size_t head_dim;            /* even, at most 256 */
    size_t rotary_dim;          /* even, <= head_dim: dims that rope turns */
};

/*
 * Keys and values of one layer, in blocks of OPS_KV_BLOCK tokens:
 *   k, v: [block][n_kv_heads][OPS_KV_BLOCK][head_dim] of dtype; keys are stored after rope.
 * OPS_FP8: what is beyond 448 in magnitude, or not a number, is stored as 448.
 */
struct ops_kv {
    void *k, *v;
    enum ops_dtype dtype;
    size_t n_blocks;
};

/*
 * The rows of one step: row r of sequence s are rows first_row[s] .. first_row[s+1]-1, in order of
 * position; they are the last tokens of a sequence of length[s] tokens (these rows included).
 */
struct ops_batch {
    size_t n_seqs;
    const int32_t *first_row;   /* [n_seqs + 1] */
    const int32_t *length;      /* [n_seqs] */
    const int32_t *block_table; /* [n_seqs, table_stride]: block of tokens 16 i .. 16 i + 15 */
    size_t table_stride;
    size_t rows;       /* host copy of first_row[n_seqs] */
    size_t max_length; /* host copy of the largest length */
    size_t most_rows;  /* host copy of the most rows of one sequence; 0: not known */
};

/* Rows [first_row, first_row + rows) get y += scale * B (A x).  a: [rank, in], b: [out, rank]. */
struct ops_lora_segment {
    size_t first_row, rows;
    const void *a, *b;
    enum ops_dtype dtype;
    size_t rank;
    float scale;
};

/* The two forms of GELU (Hendrycks and Gimelshein 2016). */
enum ops_gelu {
    OPS_GELU_TANH, /* x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) */
    OPS_GELU_ERF   /* x / 2 (1 + erf(x / sqrt 2)) */
};

/*
 * One call of attention_full.  Row r, head h of q begins at q + r * q_stride + h * head_dim, and so
 * do k, v and o, so that q, k and v may be parts of one product's rows.  Segment s is rows
 * first_row[s] .. first_row[s+1]-1: each of its rows sees the rows of its own segment only.
 */
struct ops_full {
    size_t n_heads, head_dim;                      /* head_dim at most OPS_FULL_MAX_DIM */
    const void *q, *k, *v;                         /* [rows] of act */
    void *o;                                       /* [rows] of act; not q, k or v */
    size_t q_stride, k_stride, v_stride, o_stride; /* numbers, not bytes */
    size_t n_segments;
    const int32_t *first_row; /* [n_segments + 1], begins with 0 */
    size_t rows;              /* host copy of first_row[n_segments] */
    size_t max_rows;          /* host copy of the rows of the longest segment */
    const uint8_t *key_seen;  /* [rows]: 0 is a key that no row sees; NULL: all are seen */
    /* Relative position bias (Shaw et al. 2018; the table form of T5), float32 on every device:
     * relative[clamp(j - i, -reach, reach - 1) + reach][h] is added to the scaled score of query i
     * and key j of a segment.  [2 reach, n_heads]; NULL: none. */
    const float *relative;
    size_t reach;
    float scale;
    bool rounded; /* q, k, v and the probabilities may be rounded to bf16, as they are on CUDA */
};

enum { OPS_FULL_MAX_DIM = 128 };

/*
 * One call of depthwise_conv: images of height x width places with channels numbers each, dense in
 * this order (a sequence is an image of width 1).  in_channels is out_channels, or 1: then each
 * channel that comes out sees the one that goes in.
 */
struct ops_conv {
    size_t images;
    size_t in_height, in_width, in_channels;
    size_t out_height, out_width, out_channels;
    size_t kernel_height, kernel_width; /* at most OPS_CONV_MAX_TAPS places */
    size_t stride_height, stride_width;
    size_t pad_top, pad_left; /* rows and columns of zeros before the image; behind it are as many
                                 as out_height and out_width ask for */
};

enum { OPS_CONV_MAX_TAPS = 81 };

/* ---- choosing tokens ---- */

enum { OPS_MAX_LOGPROBS = 20 };

/* Logit bias: score[id] += value. */
struct ops_bias {
    int32_t id;
    float value;
};

/* A token that was seen: score[id] is divided by the repetition penalty, or multiplied when it is
 * negative, and subtract is taken off. */
struct ops_seen {
    int32_t id;
    float subtract;
};

/* How the next token of one row is chosen: engine/sampler.h has the order and the meaning. */
struct ops_choice {
    double top_p;     /* (0, 1] */
    uint64_t uniform; /* the random number, in units of 2^-53 */
    float temperature;
    float repetition_penalty;
    int32_t sample;             /* 0: the likeliest token; what stands above means nothing */
    int32_t top_k;              /* 0: no limit */
    int32_t logprobs;           /* alternatives to tell, at most OPS_MAX_LOGPROBS; -1: tell none */
    int32_t mask;               /* which of the masks says what is permitted; -1: all is */
    int32_t first_bias, n_bias; /* its part of the biases, of one id in their order */
    int32_t first_seen, n_seen; /* its part of the seen, each id once */
};

struct ops_chosen {
    int32_t id;    /* -1: no permitted logit is a number */
    int32_t drawn; /* 1: uniform was used */
    float logprob; /* of id, when logprobs >= 0: log of the softmax over all vocab logits */
    int32_t n_top;
    int32_t top_id[OPS_MAX_LOGPROBS]; /* [n_top] likeliest below limit, best first, equals by id */
    float top_logprob[OPS_MAX_LOGPROBS];
};

/* One call of sample; arrays are on the device. */
struct ops_sampling {
    size_t rows, vocab;
    size_t limit;                     /* only ids below are chosen; 1 .. vocab */
    float *logits;                    /* [rows, vocab]; rows with biases or seen are changed */
    const struct ops_choice *choices; /* [rows] */
    const struct ops_bias *bias;      /* [room_bias] */
    const struct ops_seen *seen;      /* [room_seen] */
    const uint32_t *masks;            /* [masks, mask_words]: bit id % 32 of word id / 32 */
    size_t room_bias, room_seen, mask_words;
    struct ops_chosen *chosen;    /* [rows] out */
    bool any_scores;              /* host: some row has biases or seen */
    bool any_draws, any_logprobs; /* host: some row samples; some row wants logprobs */
};

struct ops {
    const char *name;   /* "cpu" or "cuda" */
    enum ops_dtype act; /* CPU: OPS_F32; CUDA: OPS_BF16 */

    /* NULL: a device can be opened.  Otherwise a static sentence says why not.  Reserves nothing.
     */
    const char *(*missing)(int ordinal);
    /* NULL on failure; why: a static sentence.  close(NULL) is allowed. */
    struct ops_device *(*open)(const struct ops_open *how, const char **why);
    void (*close)(struct ops_device *dev);
    /* One line about the device for the log, eg: "cpu, 2 threads, avx512".  Valid until close. */
    const char *(*describe)(struct ops_device *dev);
    /* The threads that the device works with, to lend on; NULL: none (CUDA). */
    const struct ops_threads *(*threads)(struct ops_device *dev);
    /* CUDA: the CUstream that ops are enqueued on, for ops_open.stream of another; NULL: none. */
    void *(*stream)(struct ops_device *dev);
    /* Bytes of the device's own memory, free and in all.  NULL: it has none but the host's. */
    enum ops_status (*memory)(struct ops_device *dev, uint64_t *left, uint64_t *total);

    /* Zeroed memory, 64-byte aligned; NULL: out of memory. */
    void *(*alloc)(struct ops_device *dev, size_t bytes);
    void (*free)(struct ops_device *dev, void *p);
    /* Copies host memory, which must stay as it is until the next sync or download. */
    enum ops_status (*upload)(struct ops_device *dev, void *to, const void *host, size_t bytes);
    /* Copies to host memory; everything enqueued before is done when it returns. */
    enum ops_status (*download)(struct ops_device *dev, void *host, const void *from, size_t bytes);
    enum ops_status (*sync)(struct ops_device *dev);

    /* Zeroed host memory that the device copies from and to by itself (page-locked); NULL: out of
     * memory.  Both functions NULL: any host memory is as good. */
    void *(*host_alloc)(struct ops_device *dev, size_t bytes);
    void (*host_free)(struct ops_device *dev, void *p);

    /* Makes m of host weights that stay mapped until matrix_free (the CPU uses them in place). */
    enum ops_status (*matrix_load)(struct ops_device *dev, struct ops_matrix *m, const void *host,
                                   enum ops_dtype dtype, size_t rows, size_t cols);
    /*
     * Makes m of host weights of dtype, rounded to bf16, in a form that ops_quantized knows; host
     * is needed until the next sync only.  matmul, logits and embedding take such a matrix, no
     * other op does.
     */
    enum ops_status (*matrix_quantize)(struct ops_device *dev, struct ops_matrix *m,
                                       const void *host, enum ops_dtype dtype, size_t rows,
                                       size_t cols, enum ops_dtype form);
    void (*matrix_free)(struct ops_device *dev, struct ops_matrix *m);

    /* y[r] = row ids[r] of m.  y: [rows, m.cols] act; ids: [rows], each in 0 .. m.rows-1 (checked
     * by the caller). Exact. */
    enum ops_status (*embedding)(struct ops_device *dev, void *y, const struct ops_matrix *m,
                                 const int32_t *ids, size_t rows);

    /*
     * RMSNorm (Zhang and Sennrich 2019; Phi3RMSNorm): y = x / sqrt(mean(x^2) + eps) * w
     *   x, y: [rows, dim] act, y == x allowed; w: [1, dim].  Sums in float32.
     * Error: 2^-20 relative against exact arithmetic, and half a bf16 step on CUDA.
     */
    enum ops_status (*rmsnorm)(struct ops_device *dev, void *y, const void *x,
                               const struct ops_matrix *w, size_t rows, size_t dim, float eps);

    /* h += delta; y = rmsnorm(h, w).  h, delta, y: [rows, dim] act; y may be delta. */
    enum ops_status (*add_rmsnorm)(struct ops_device *dev, void *h, const void *delta, void *y,
                                   const struct ops_matrix *w, size_t rows, size_t dim, float eps);

    /*
     * y = x m^T.  x: [rows, m.cols] act; y: [rows, m.rows] act.  float32 accumulation.
     * Error: |got - exact| <= 2^-18 * sum_k |x_k m_k|, and half an act step on CUDA.
     */
    enum ops_status (*matmul)(struct ops_device *dev, void *y, const void *x,
                              const struct ops_matrix *m, size_t rows);
    /*
     * The same for encoders, whose weights are bf16 and whose activations may be rounded to bf16
     * first, to nearest, as they are on CUDA, and on a CPU that is faster with it; else exact.
     * Error: 2^-8 * sum_k |x_k m_k|, and half an act step on CUDA.
     */
    enum ops_status (*matmul_rounded)(struct ops_device *dev, void *y, const void *x,
                                      const struct ops_matrix *m, size_t rows);
    /* The same as matmul with y: [rows, m.rows] float32 on every device: the logits. */
    enum ops_status (*logits)(struct ops_device *dev, float *y, const void *x,
                              const struct ops_matrix *m, size_t rows);

    /*
     * Times the ways to multiply by n matrices of one shape, whose numbers take turns, and keeps
     * the fastest for each class of rows up to max_rows; logits: for logits() instead of matmul().
     * Before the first step: it waits for the device, and takes some milliseconds for each class.
     * NULL: there is but one way.
     */
    enum ops_status (*tune)(struct ops_device *dev, const struct ops_matrix *const *m, size_t n,
                            size_t max_rows, bool logits);

    /*
     * Rotary embedding in place and write to the cache.  qkv: [rows, (n_heads + 2 n_kv_heads) *
     * head_dim] act, Q then K then V.  Dims i and i + rotary_dim/2 of a Q or K head, i <
     * rotary_dim/2, turn by the row's angle (Su et al. 2021, NeoX pairing):
     *   a' = a cos - b sin,  b' = b cos + a sin;  dims from rotary_dim on stay.
     * cos, sin: [rows, rotary_dim / 2] float32, attention scaling included.  K (turned) and V of
     * row r go to token slot[r] of kv: block slot / OPS_KV_BLOCK, place slot % OPS_KV_BLOCK.  On
     * CUDA a negative slot is padding, for which the cache is not written.
     */
    enum ops_status (*rope_kv)(struct ops_device *dev, void *qkv, const float *cos,
                               const float *sin, const int32_t *slot, size_t rows,
                               const struct ops_heads *heads, const struct ops_kv *kv);

    /*
     * Causal grouped-query attention over the cache: for each row at position p of its sequence and
     * each head h, softmax over j <= p of (q . k_j * scale), times v_j; kv head = h / (n_heads /
     * n_kv_heads).  o: [rows, n_heads * head_dim] act; qkv as rope_kv left it (only Q is read).
     * Softmax and sums in float32.  Error: relative to max |v| 2^-14 on the CPU; 2^-7 on CUDA,
     * where each probability is rounded to bf16 (2^-9, in the sum as well) and the result once
     * more.  There a sequence of length 0 is padding: its row gets zeros.
     */
    enum ops_status (*attention)(struct ops_device *dev, void *o, const void *qkv,
                                 const struct ops_batch *batch, const struct ops_heads *heads,
                                 const struct ops_kv *kv, float scale);

    /* y = up * silu(gate), silu(z) = z / (1 + e^-z).  gate_up: [rows, 2 dim] act, gate first;
     * y: [rows, dim] act.  Error: half an act step on CUDA, 2^-18 relative, and |up| 2^-120 where
     * e^-z is beyond float32. */
    enum ops_status (*swiglu)(struct ops_device *dev, void *y, const void *gate_up, size_t rows,
                              size_t dim);

    /* y[rows of s] += s.scale * B (A x) for each segment s (Hu et al. 2021).  x: [rows, in] act,
     * y: [rows, out] act; segments do not overlap; rank at most OPS_LORA_MAX_RANK. */
    enum ops_status (*lora)(struct ops_device *dev, void *y, const void *x, size_t rows, size_t in,
                            size_t out, const struct ops_lora_segment *segments, size_t n_segments);

    /*
     * LayerNorm (Ba et al. 2016): y = (x - mean) / sqrt(variance + eps) * w + b, over each row
     *   x, y: [rows, dim] act, y == x allowed; w, b: [1, dim].  Mean and variance (of all dim
     *   numbers, not dim - 1) in float32 or better.
     * Error on the CPU: 2^-20 (|x - mean| / sqrt(variance + eps) |w| + |b|) + 2^-22 |w mean| /
     * sqrt(variance + eps); one act step on CUDA.
     */
    enum ops_status (*layernorm)(struct ops_device *dev, void *y, const void *x,
                                 const struct ops_matrix *w, const struct ops_matrix *b,
                                 size_t rows, size_t dim, float eps);

    /* y[r] += b for each row.  y: [rows, dim] act; b: [1, dim].  Exact but for one rounding. */
    enum ops_status (*add_bias)(struct ops_device *dev, void *y, const struct ops_matrix *b,
                                size_t rows, size_t dim);

    /* y += scale * x.  x, y: [n] act; y == x allowed.  Error: one act step of each term. */
    enum ops_status (*add)(struct ops_device *dev, void *y, const void *x, size_t n, float scale);

    /* y = gelu(x).  x, y: [n] act; y == x allowed.  Error: 2^-20 |x|, and half an act step on CUDA.
     */
    enum ops_status (*gelu)(struct ops_device *dev, void *y, const void *x, size_t n,
                            enum ops_gelu kind);

    /*
     * Bidirectional attention: for row i of a segment and each head, softmax over the seen keys j
     * of the segment of (q_i . k_j * scale + relative bias), times v_j.  A row whose segment has no
     * seen key gets zeros.  Rows whose own key is not seen are computed like the others.
     * Softmax and sums in float32.  Error: relative to max |v| 2^-14 on the CPU, 2^-7 on CUDA (see
     * attention) and with rounded (against exact sums over the rounded q, k and v).  On CUDA what
     * first_row says is the caller's to check.
     */
    enum ops_status (*attention_full)(struct ops_device *dev, const struct ops_full *a);

    /*
     * Convolution of each channel on its own (cross-correlation, as the libraries have it):
     *   y[n, i, j, c] = b[c] + sum over u, v of w[c, u kernel_width + v] *
     *     x[n, i stride_height + u - pad_top, j stride_width + v - pad_left, c or 0], 0 outside x
     *   x: [images, in_height, in_width, in_channels] act; y: [images, out_height, out_width,
     *   out_channels] act, not x; w: [out_channels, kernel_height kernel_width]; b:
     *   [1, out_channels].  float32 sums.
     * Error on the CPU: 2^-20 (|b| + sum |w x|); one act step on CUDA.
     */
    enum ops_status (*depthwise_conv)(struct ops_device *dev, void *y, const void *x,
                                      const struct ops_matrix *w, const struct ops_matrix *b,
                                      const struct ops_conv *conv);

    /* y = x > 0 ? x : 0; not a number stays so.  x, y: [n] act; y == x allowed.  Exact. */
    enum ops_status (*relu)(struct ops_device *dev, void *y, const void *x, size_t n);

    /* y = silu(x) = x / (1 + e^-x), also called swish.  x, y: [n] act; y == x allowed.  Error as
     * swiglu's. */
    enum ops_status (*silu)(struct ops_device *dev, void *y, const void *x, size_t n);

    /* y = value * silu(gate) (Dauphin et al. 2017 with silu).  x: [rows, 2 dim] act, the value
     * first and the gate behind it (swiglu has them the other way round); y: [rows, dim] act, not
     * x.  Error as swiglu's. */
    enum ops_status (*glu)(struct ops_device *dev, void *y, const void *x, size_t rows, size_t dim);

    /* y[r, j, i] = x[r, i, j].  x: [rows, a, b] act; y: [rows, b, a] act, not x.  Exact. */
    enum ops_status (*transpose)(struct ops_device *dev, void *y, const void *x, size_t rows,
                                 size_t a, size_t b);

    /*
     * Chooses the next token of each row as the CPU's sampler does (engine/sampler.h), so that no
     * logits leave the device.  NULL: logits are downloaded and chosen from on the CPU.
     * Guarantee: scores (bias, penalties) have the CPU's bits.  Without sample: the CPU's token.
     * With it: each weight exp((score - best) / temperature) is off by at most 2^-18 of the sum of
     * all weights taken together, so the token is the CPU's unless the random number, or top_p,
     * lies that near to the border between two tokens.  top_k, and ties in it, are exact.  Sums are
     * of integers: a row's result has the same bits in any company.  Log-probabilities: 2^-16.
     */
    enum ops_status (*sample)(struct ops_device *dev, const struct ops_sampling *s);

    /*
     * Recording: what ops enqueue between graph_begin and graph_end on this device's stream, by
     * this device or another that shares the stream, is kept instead of done; graph_run enqueues
     * all of it, as often as wanted, with the numbers and addresses that the ops were given: only
     * what lies on the device may be different then.  Between the two nothing is allocated, freed,
     * copied from or to the host, or waited for.  An op that would need more memory than it holds
     * fails: run it once without recording before.  All five are NULL where nothing is recorded.
     */
    enum ops_status (*graph_begin)(struct ops_device *dev);
    /* *graph NULL: makes one; else turns it into what was recorded, which is cheaper when that
     * consists of the same kernels.  Not OPS_OK: nothing is recorded, *graph is NULL, and the ops
     * since graph_begin were not done. */
    enum ops_status (*graph_end)(struct ops_device *dev, struct ops_graph **graph);
    enum ops_status (*graph_run)(struct ops_device *dev, struct ops_graph *graph);
    /* False: memory that the graph's ops use has moved since; record it again. */
    bool (*graph_current)(struct ops_device *dev, const struct ops_graph *graph);
    void (*graph_free)(struct ops_device *dev, struct ops_graph *graph); /* NULL allowed */
};

enum { OPS_LORA_MAX_RANK = 2048 };

const struct ops *ops_cpu(void); /* never NULL */
/* NULL: built without CUDA, and *why is a sentence that says so. */
const struct ops *ops_cuda(const char **why);

#endif
