/* matmul.h - the two ways to a matrix product: own kernels for few rows, cuBLASLt for many. */
#ifndef AIRLOCK_OPS_CUDA_MATMUL_H
#define AIRLOCK_OPS_CUDA_MATMUL_H

#include "../ops.h"

enum { GEMV_MAX_ROWS = 8 };

/* y = x w^T.  x: [rows, k] bf16, w: [n, k] bf16, y: [rows, n] bf16 or float32, rows y_stride
 * numbers apart (gemv_run: n). */
struct product {
    void *y;
    const void *x, *w;
    size_t rows, n, k, y_stride;
    bool float_out;
    bool fp8; /* cublaslt.cu only: x and w are E4M3, each row of either times its scale */
    const float *x_scale, *w_scale; /* fp8: [rows], [n]; powers of two */
};

/* gemv.cu: any shape, rows at most GEMV_MAX_ROWS.  A row's bits do not depend on rows. */
enum ops_status gemv_run(struct ops_device *dev, const struct product *p);

/* ---- cublaslt.cu ---- */

struct lt; /* the library, a handle, the workspace, and a plan per shape; see lt_open */

/* NULL: the library is there.  Otherwise a sentence. */
const char *lt_missing(void);
/* NULL: why is a sentence. */
struct lt *lt_open(const char **why);
void lt_close(struct lt *lt); /* NULL allowed */
/* The library's version, eg 130002. */
size_t lt_version(const struct lt *lt);
/* Whether cuBLASLt takes this shape and these addresses: 16-byte aligned rows. */
bool lt_takes(const struct product *p);
/* What of an fp8 product the library does on this GPU. */
enum lt_scaling {
    LT_SCALED,     /* all of it (CUDA 12.9, compute capability 9.0) */
    LT_UNSCALED,   /* all but the scales: y is what x's and w's codes give */
    LT_NOT_OFFERED /* nothing: before compute capability 8.9 */
};
/* Asks the library once for each class, as lt_run() does. */
enum ops_status lt_fp8_scaling(struct lt *lt, const struct product *p, enum lt_scaling *out);
/* The most rows of the class that this number of rows belongs to. */
size_t lt_class_rows(size_t rows);
/* Times the candidates for the products' class on the stream and keeps the fastest in the plan.
 * products: of one shape, with different weights that take turns.  Waits. */
enum ops_status lt_tune(struct lt *lt, const struct product *products, size_t n, void *stream);
/*
 * Enqueues the product on stream.  The plan (descriptors and the algorithm) is made once for each
 * n, k, stride and type of y, and power of two that rows is rounded up to, and kept: the same
 * algorithm, hence the same order of additions, for all numbers of rows of one such class.  It is
 * the one that lt_tune() found, or the library's first choice.
 */
enum ops_status lt_run(struct lt *lt, const struct product *p, void *stream);

#endif
