/* media_bytes.h - what towers, projections and the model's own adapters take of a device's memory.
 */
#ifndef AIRLOCK_MEDIA_BYTES_H
#define AIRLOCK_MEDIA_BYTES_H

#include "engine/safetensors.h"
#include "ops/ops.h"

/* Bytes of their weights in the type `act`: everything in the checkpoint that is not the text
 * model's, and the folders vision-lora and speech-lora of dir where the checkpoint has no adapters.
 * An estimate from above, made before anything is read.  Any thread. */
uint64_t media_weights_bytes(const struct safetensors *st, const char *dir, enum ops_dtype act);

#endif
