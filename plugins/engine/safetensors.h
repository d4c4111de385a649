/*
 * safetensors.h - maps safetensors files, one or sharded with an index, and gives checked views of
 * their tensors.
 *
 * Format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}},
 * then the data.  Before any view is given, every tensor's offsets have been checked against its
 * shape and dtype, against the file and against each other (no overlap, no hole, as the reference
 * reader demands).  Views point into the mapping and live until safetensors_close().  Reading is
 * thread-safe.
 */
#ifndef AIRLOCK_SAFETENSORS_H
#define AIRLOCK_SAFETENSORS_H

#include "common/error.h"

#include <stddef.h>
#include <stdint.h>

enum { SAFETENSORS_MAX_DIMS = 8 };

struct safetensors; /* all files of one checkpoint */

struct safetensors_view {
    const char *name;
    const char *dtype; /* as in the file: "BF16", "F16", "F32", "I64", ... */
    const void *data;  /* in the mapping; some writers do not align it to the dtype */
    size_t bytes;
    size_t n_dims;
    uint64_t shape[SAFETENSORS_MAX_DIMS];
};

/* Opens DIR/model.safetensors or, when that is not there, DIR/model.safetensors.index.json with its
 * shards (the order of the transformers library).  A shard may hold tensors that the index does not
 * list. */
struct safetensors *safetensors_open_dir(const char *dir, struct airlock_error *err);
/* Opens one file. */
struct safetensors *safetensors_open_file(const char *path, struct airlock_error *err);
void safetensors_close(struct safetensors *st); /* NULL allowed */

size_t safetensors_count(const struct safetensors *st);
uint64_t safetensors_total_bytes(const struct safetensors *st); /* of all files */
/* The i-th tensor, in the order of the files. */
const struct safetensors_view *safetensors_at(const struct safetensors *st, size_t i);
/* Where the tensor ends, counted as safetensors_prefault() counts: in bytes from the first byte of
 * the first file. */
uint64_t safetensors_end_of(const struct safetensors *st, const struct safetensors_view *v);
/* NULL: no such tensor. */
const struct safetensors_view *safetensors_find(const struct safetensors *st, const char *name);

/* Reads all pages in, telling progress(ctx, done, total) in bytes at least every 64 MiB; a nonzero
 * answer stops it (AIRLOCK_E_CANCELLED).  A file cut short since it was opened is an error, not a
 * SIGBUS; one cut short after this has returned is not noticed, and its use ends the process: keep
 * the files of a running model as they are.  Others may look tensors up meanwhile. */
int safetensors_prefault(struct safetensors *st,
                         int (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx,
                         struct airlock_error *err);
/* Takes the pages out of this process's memory again; using a tensor brings its pages back. */
void safetensors_release(const struct safetensors *st);

#endif
