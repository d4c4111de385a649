/* cpu_ops.c - the CPU device: opening it, its memory, and the table of its operations. */
#include "cpu_ops.h"

#include "convert.h"
#include "panels.h"
#include "thread_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void cpu_close(struct ops_device *dev)
{
    if (!dev)
        return;
    thread_pool_close(dev->pool);
    free(dev->packed.data);
    free(dev->low_rank.data);
    free(dev->per_task.data);
    free(dev);
}

/* Half of the L2 cache: the other is for x. */
static size_t chunk_bytes(void)
{
    const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE); /* 0: unknown */
    return l2 < 512 * 1024 ? 256 * 1024 : l2 > 2048 * 1024 ? 1024 * 1024 : (size_t)l2 / 2;
}

static struct ops_device *cpu_open(const struct ops_open *how, const char **why)
{
    const char *note;
    struct ops_device *dev = calloc(1, sizeof *dev);
    if (!dev) {
        *why = "out of memory";
        return NULL;
    }
    dev->kernels = cpu_kernels_choose(&note);
    dev->chunk_bytes = chunk_bytes();
    dev->panels = cpu_panel_kernels_choose();
    dev->threads = how->lent;
    if (!dev->threads) {
        dev->pool = thread_pool_open(how->threads ? how->threads : thread_pool_usable_cores());
        if (dev->pool)
            dev->threads = thread_pool_threads(dev->pool);
    }
    if (!dev->threads || dev->threads->count == 0) {
        *why = "the threads of the CPU device could not be started: fewer threads may help";
        cpu_close(dev);
        return NULL;
    }
    if (!cpu_scratch_reserve(&dev->per_task, (size_t)dev->threads->count * CPU_TASK_SCRATCH)) {
        *why = "out of memory";
        cpu_close(dev);
        return NULL;
    }
    snprintf(dev->description, sizeof dev->description, "cpu, %u thread%s, %s%s%s%s%s",
             dev->threads->count, dev->threads->count == 1 ? "" : "s", dev->kernels->name,
             dev->panels && dev->panels->numbers == 2 ? "bf16" : "", note ? " (" : "",
             note ? note : "", note ? ")" : "");
    return dev;
}

static const char *cpu_describe(struct ops_device *dev)
{
    return dev->description;
}

static const struct ops_threads *cpu_threads(struct ops_device *dev)
{
    return dev->threads;
}

/* From calloc, which leaves big pieces untouched until they are used: a KV cache may be reserved
 * larger than what is ever filled.  The address that calloc gave lies before the aligned one. */
void *cpu_alloc(struct ops_device *dev, size_t bytes)
{
    enum { ALIGN = 64 };
    (void)dev;
    if (bytes > SIZE_MAX / 2)
        return NULL;
    char *base = calloc(1, bytes + 2 * ALIGN);
    if (!base)
        return NULL;
    void **aligned = (void **)(((uintptr_t)base + 2 * ALIGN - 1) / ALIGN * ALIGN);
    aligned[-1] = base;
    return aligned;
}

void cpu_free(struct ops_device *dev, void *p)
{
    (void)dev;
    if (p)
        free(((void **)p)[-1]);
}

static enum ops_status cpu_upload(struct ops_device *dev, void *to, const void *host, size_t bytes)
{
    (void)dev;
    if (bytes)
        memcpy(to, host, bytes);
    return OPS_OK;
}

static enum ops_status cpu_download(struct ops_device *dev, void *host, const void *from,
                                    size_t bytes)
{
    return cpu_upload(dev, host, from, bytes);
}

static enum ops_status cpu_sync(struct ops_device *dev)
{
    (void)dev;
    return OPS_OK;
}

static enum ops_status cpu_matrix_load(struct ops_device *dev, struct ops_matrix *m,
                                       const void *host, enum ops_dtype dtype, size_t rows,
                                       size_t cols)
{
    (void)dev;
    if (!host || rows == 0 || cols == 0 || !dtype_known(dtype) ||
        (uintptr_t)host % ops_dtype_size(dtype))
        return OPS_E_SHAPE;
    *m = (struct ops_matrix){ host, dtype, rows, cols, NULL };
    return OPS_OK;
}

static void cpu_matrix_free(struct ops_device *dev, struct ops_matrix *m)
{
    cpu_free(dev, m->prepared); /* a compressed matrix; the others are the caller's memory */
    *m = (struct ops_matrix){ 0 };
}

static const char *cpu_missing(int ordinal)
{
    (void)ordinal;
    return NULL;
}

static void *cpu_stream(struct ops_device *dev)
{
    (void)dev;
    return NULL;
}

const struct ops *ops_cpu(void)
{
    static const struct ops table = {
        .name = "cpu",
        .act = OPS_F32,
        .missing = cpu_missing,
        .open = cpu_open,
        .close = cpu_close,
        .describe = cpu_describe,
        .threads = cpu_threads,
        .stream = cpu_stream,
        .alloc = cpu_alloc,
        .free = cpu_free,
        .upload = cpu_upload,
        .download = cpu_download,
        .sync = cpu_sync,
        .matrix_load = cpu_matrix_load,
        .matrix_quantize = cpu_matrix_quantize,
        .matrix_free = cpu_matrix_free,
        .embedding = cpu_embedding,
        .rmsnorm = cpu_rmsnorm,
        .add_rmsnorm = cpu_add_rmsnorm,
        .matmul = cpu_matmul,
        .matmul_rounded = cpu_matmul_rounded,
        .logits = cpu_logits,
        .rope_kv = cpu_rope_kv,
        .attention = cpu_attention,
        .swiglu = cpu_swiglu,
        .lora = cpu_lora,
        .layernorm = cpu_layernorm,
        .add_bias = cpu_add_bias,
        .add = cpu_add,
        .gelu = cpu_gelu,
        .attention_full = cpu_attention_full,
        .depthwise_conv = cpu_depthwise_conv,
        .relu = cpu_relu,
        .silu = cpu_silu,
        .glu = cpu_glu,
        .transpose = cpu_transpose,
    };
    return &table;
}
