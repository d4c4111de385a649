/*
 * io.h - reads and writes that finish: EINTR, short counts and deadlines end here.
 */
#ifndef AIRLOCK_IO_H
#define AIRLOCK_IO_H

#include "bytes.h"
#include "error.h"

#include <stdint.h>
#include <sys/types.h>

uint64_t io_now_ns(void); /* CLOCK_MONOTONIC */

/* Reads a whole regular file to the end of out; its max is the file's limit.  0, or -1 with err
 * naming path. */
int io_read_file(const char *path, struct bytes *out, struct airlock_error *err);

/* Blocking descriptor: writes all n bytes.  0, or -1 with errno. */
int io_write_all(int fd, const void *data, size_t n);

/* Blocking descriptor: one read, again after EINTR.  As read(2). */
ssize_t io_read(int fd, void *data, size_t n);

#endif
