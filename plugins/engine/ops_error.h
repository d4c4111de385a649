/* ops_error.h - the failure of an op as an error of the request. */
#ifndef AIRLOCK_OPS_ERROR_H
#define AIRLOCK_OPS_ERROR_H

#include "common/error.h"
#include "ops/ops.h"

/* Returns -1 and sets *err to "PART: OP: what went wrong".  part: of the model ("audio"), or NULL
 * for its text path; op: the name of the op or of what it computes.  Any thread. */
int ops_error(enum ops_status status, const char *part, const char *op, struct airlock_error *err);

#endif
