/*
 * engine_metrics.h - what model plugins tell of themselves (LLM_EXT_METRICS), as Prometheus text
 * under airlock_engine_*.
 */
#ifndef AIRLOCK_ENGINE_METRICS_H
#define AIRLOCK_ENGINE_METRICS_H

#include "server/models.h"

/* Samples of one name stand together, whichever models they are of, as the format wants it; a name
 * that is not [a-z_]+, or has another kind elsewhere, is left out.  0, or -1: out is full or out of
 * memory.  [any] */
int engine_metrics_write(struct models *models, struct bytes *out);

#endif
