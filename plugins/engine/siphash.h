/*
 * siphash.h - SipHash-2-4, a hash that nobody can aim at a bucket without knowing its key.
 *
 * Aumasson and Bernstein 2012, "SipHash: a fast short-input PRF".  Any thread.
 */
#ifndef AIRLOCK_SIPHASH_H
#define AIRLOCK_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t k0, k1; /* the sixteen bytes of the key as two little-endian words */
};

/* bytes: [size], NULL allowed when size is 0. */
uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t size);

#endif
