/* media_bytes.c - see media_bytes.h. */
#include "media_bytes.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t file_bytes(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    return snprintf(path, sizeof path, "%s/%s", dir, name) < (int)sizeof path &&
                   stat(path, &st) == 0
               ? (uint64_t)st.st_size
               : 0;
}

uint64_t media_weights_bytes(const struct safetensors *st, const char *dir, enum ops_dtype act)
{
    uint64_t numbers = 0;
    bool adapters = false;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct safetensors_view *v = safetensors_at(st, i);
        const bool adapter = strstr(v->name, ".lora_") != NULL;
        uint64_t n = adapter || strstr(v->name, "embed_tokens_extend.");
        adapters = adapters || adapter;
        for (size_t d = 0; d < v->n_dims; d++)
            n *= v->shape[d]; /* of a tensor that is in the file */
        numbers += n;
    }
    return numbers * ops_dtype_size(act) +
           (adapters ? 0
                     : file_bytes(dir, "vision-lora/adapter_model.safetensors") +
                           file_bytes(dir, "speech-lora/adapter_model.safetensors"));
}
