/* packed.h - what the CUDA ops do with compressed matrices besides making them; quant.h has the
 * formats, packed.cuh the layout. */
#ifndef AIRLOCK_OPS_CUDA_PACKED_H
#define AIRLOCK_OPS_CUDA_PACKED_H

#include "matmul.h"

enum { PACKED_SPREAD_BYTES = 32 * 1024 * 1024 }; /* little enough to stay in the L2 cache */

/* packed_gemv.cu: as gemv_run, with m in the place of p's weights. */
enum ops_status packed_gemv(struct ops_device *dev, const struct product *p,
                            const struct ops_matrix *m);

/* y[r] = row ids[r] of m. */
enum ops_status packed_embedding(struct ops_device *dev, void *y, const struct ops_matrix *m,
                                 const int32_t *ids, size_t rows);

/* Rows from first on as bf16 in the device's scratch memory, until the next call: *out, and how
 * many in *rows, at least 8 unless m ends. */
enum ops_status packed_spread(struct ops_device *dev, const struct ops_matrix *m, size_t first,
                              size_t *rows, const void **out);

/* fp8.cu: *done: p's product, made of m's codes and of x rounded to E4M3 with a scale for each row.
 * Not done: the library or the GPU has no such product of this shape.  p->x as lt_takes wants it.
 */
enum ops_status packed_fp8_product(struct ops_device *dev, const struct product *p,
                                   const struct ops_matrix *m, bool *done);

#endif
