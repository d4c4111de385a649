/* fuzz_safetensors.c - any bytes as a safetensors file: refused with a sentence, or every view lies
 * in the file. */
#include "engine/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_views(const struct safetensors *st, size_t size)
{
    uint64_t sum = 0;
    volatile unsigned char touched = 0;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct safetensors_view *v = safetensors_at(st, i);
        const unsigned char *p = v->data;
        if (v->bytes)
            touched = (unsigned char)(touched + p[0] + p[v->bytes - 1]);
        sum += v->bytes;
        if (safetensors_find(st, v->name) != v || v->n_dims > SAFETENSORS_MAX_DIMS)
            abort();
    }
    if (sum > size || safetensors_total_bytes(st) != size)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    struct airlock_error err = { 0 };
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct safetensors *st = safetensors_open_file(path, &err);
    if (st) {
        check_views(st, size);
        if (safetensors_prefault(st, NULL, NULL, &err) < 0)
            abort();
    } else if (!err.text[0]) {
        abort();
    }
    safetensors_close(st);
    close(fd);
    return 0;
}
