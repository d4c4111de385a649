/*
 * base64.h - decodes base64 (RFC 4648 section 4, padding required, nothing else skipped but ASCII
 * white space) and writes it.
 */
#ifndef AIRLOCK_BASE64_H
#define AIRLOCK_BASE64_H

#include "bytes.h"

/* Appends the decoded bytes.  0, or -1 with out unchanged: not base64, beyond out->max, or out of
 * memory. */
int base64_decode(const char *text, size_t size, struct bytes *out);

/* Appends the encoded text, without line breaks. */
int base64_encode(const void *data, size_t size, struct bytes *out);

#endif
