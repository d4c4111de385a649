/*
 * safetensors_header.h - reads the JSON header of one safetensors file into a list of tensors,
 * without trusting a byte of it.
 *
 * A parser of its own beside common/json.h, because the header is the one document here that may
 * be 100 MB long, where a generic tree costs gigabytes and hides a name that occurs twice.  Grammar
 * and verdicts are those of the reference reader (the safetensors crate); where this is stricter,
 * tests/oracle/safetensors_verdicts.py lists the case with its reason.
 */
#ifndef AIRLOCK_SAFETENSORS_HEADER_H
#define AIRLOCK_SAFETENSORS_HEADER_H

#include "common/error.h"
#include "safetensors.h"

#include <stddef.h>
#include <stdint.h>

/* The reference reader's own limit for the header of a file, in bytes. */
enum { SAFETENSORS_MAX_HEADER = 100000000 };

struct safetensors_entry {
    struct safetensors_view view; /* data is not set; bytes is what shape and dtype say */
    uint64_t begin, end;          /* in the data that follows the header */
};

struct safetensors_header {
    struct safetensors_entry *entries; /* in the order of the data */
    size_t n;
    char *names; /* what view.name points into */
};

/*
 * Parses text, the header without its length, of a file whose data is data_bytes long.  On success
 * every entry's size equals what its shape and dtype say, and the entries cover the data exactly
 * once.  Errors (AIRLOCK_E_CONFIG) name the tensor.  The caller frees with
 * safetensors_header_free(), which may also be called on a zeroed struct.
 */
int safetensors_header_parse(struct safetensors_header *out, const char *text, size_t size,
                             uint64_t data_bytes, struct airlock_error *err);
void safetensors_header_free(struct safetensors_header *h);

#endif
