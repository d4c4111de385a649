/* cuda_ops.c - the table of the CUDA device's operations. */
#include "cuda_ops.h"

static const struct ops_threads *cuda_threads(struct ops_device *dev)
{
    (void)dev;
    return NULL;
}

const struct ops *ops_cuda(const char **why)
{
    static const struct ops table = {
        .name = "cuda",
        .act = OPS_BF16,
        .missing = cuda_missing,
        .open = cuda_open,
        .close = cuda_close,
        .describe = cuda_describe,
        .threads = cuda_threads,
        .stream = cuda_stream,
        .memory = cuda_memory,
        .alloc = cuda_alloc,
        .free = cuda_free,
        .upload = cuda_upload,
        .download = cuda_download,
        .sync = cuda_sync,
        .host_alloc = cuda_host_alloc,
        .host_free = cuda_host_free,
        .matrix_load = cuda_matrix_load,
        .matrix_quantize = cuda_matrix_quantize,
        .matrix_free = cuda_matrix_free,
        .embedding = cuda_embedding,
        .rmsnorm = cuda_rmsnorm,
        .add_rmsnorm = cuda_add_rmsnorm,
        .matmul = cuda_matmul,
        .matmul_rounded = cuda_matmul, /* activations are bf16 */
        .logits = cuda_logits,
        .tune = cuda_tune,
        .rope_kv = cuda_rope_kv,
        .attention = cuda_attention,
        .swiglu = cuda_swiglu,
        .lora = cuda_lora,
        .sample = cuda_sample,
        .graph_begin = cuda_graph_begin,
        .graph_end = cuda_graph_end,
        .graph_run = cuda_graph_run,
        .graph_current = cuda_graph_current,
        .graph_free = cuda_graph_free,
        .layernorm = cuda_layernorm,
        .add_bias = cuda_add_bias,
        .add = cuda_add,
        .gelu = cuda_gelu,
        .attention_full = cuda_attention_full,
        .depthwise_conv = cuda_depthwise_conv,
        .relu = cuda_relu,
        .silu = cuda_silu,
        .glu = cuda_glu,
        .transpose = cuda_transpose,
    };
    *why = NULL;
    return &table;
}
