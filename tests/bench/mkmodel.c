/* mkmodel.c - writes a random model in Phi-4-mini's real shape (7.7 GB), or with fewer layers, for
 * benchmarks. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    HIDDEN = 3072,
    HEADS = 24,
    KV_HEADS = 8,
    HEAD_DIM = 128,
    INTERMEDIATE = 8192,
    VOCAB = 200064,
    PAIRS = 48,
    MAX_TENSORS = 1024,
    POOL = 1 << 22, /* random numbers; a row is a piece of them from a place of its own */
    SHARDS = 2
};

struct tensor {
    char name[80];
    size_t rows, cols; /* rows 0: a vector of cols */
};

static struct tensor tensors[MAX_TENSORS];
static size_t n_tensors;
static uint16_t pool[POOL + INTERMEDIATE];
static uint64_t state = 88172645463325252u;

static void die(const char *what)
{
    fprintf(stderr, "mkmodel: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t next_random(void) /* xorshift64 */
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint16_t to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void add(size_t rows, size_t cols, const char *format, size_t layer)
{
    struct tensor *t = &tensors[n_tensors++];
    snprintf(t->name, sizeof t->name, format, layer);
    t->rows = rows;
    t->cols = cols;
}

static void list_tensors(size_t layers)
{
    add(VOCAB, HIDDEN, "model.embed_tokens.weight", 0);
    for (size_t l = 0; l < layers; l++) {
        add(0, HIDDEN, "model.layers.%zu.input_layernorm.weight", l);
        add((HEADS + 2 * KV_HEADS) * HEAD_DIM, HIDDEN, "model.layers.%zu.self_attn.qkv_proj.weight",
            l);
        add(HIDDEN, HEADS * HEAD_DIM, "model.layers.%zu.self_attn.o_proj.weight", l);
        add(0, HIDDEN, "model.layers.%zu.post_attention_layernorm.weight", l);
        add(2 * INTERMEDIATE, HIDDEN, "model.layers.%zu.mlp.gate_up_proj.weight", l);
        add(HIDDEN, INTERMEDIATE, "model.layers.%zu.mlp.down_proj.weight", l);
    }
    add(0, HIDDEN, "model.norm.weight", 0);
}

static size_t tensor_bytes(const struct tensor *t)
{
    return (t->rows ? t->rows : 1) * t->cols * 2;
}

static FILE *create(const char *dir, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        die(path);
    return f;
}

static void close_file(FILE *f, const char *name)
{
    if (ferror(f) || fclose(f))
        die(name);
}

static void write_values(FILE *f, const struct tensor *t)
{
    static uint16_t ones[INTERMEDIATE];
    for (size_t i = 0; i < t->cols; i++)
        ones[i] = to_bf16(1);
    if (t->rows == 0) {
        fwrite(ones, 2, t->cols, f);
        return;
    }
    for (size_t r = 0; r < t->rows; r++)
        fwrite(pool + next_random() % POOL, 2, t->cols, f);
}

static void shard_name(char *out, size_t size, size_t shard)
{
    snprintf(out, size, "model-%05zu-of-%05d.safetensors", shard + 1, SHARDS);
}

static void write_shard(const char *dir, size_t shard, size_t first, size_t last)
{
    char name[64], *header = calloc(1, 1 << 20);
    shard_name(name, sizeof name, shard);
    if (!header)
        die("header");
    size_t used = (size_t)sprintf(header, "{\"__metadata__\":{\"format\":\"pt\"}"), at = 0;
    for (size_t i = first; i < last; i++) {
        const struct tensor *t = &tensors[i];
        char shape[48];
        if (t->rows)
            snprintf(shape, sizeof shape, "%zu,%zu", t->rows, t->cols);
        else
            snprintf(shape, sizeof shape, "%zu", t->cols);
        used += (size_t)sprintf(header + used,
                                ",\"%s\":{\"dtype\":\"BF16\",\"shape\":[%s],"
                                "\"data_offsets\":[%zu,%zu]}",
                                t->name, shape, at, at + tensor_bytes(t));
        at += tensor_bytes(t);
    }
    header[used++] = '}';
    while (used % 8)
        header[used++] = ' ';
    uint64_t length = used;
    FILE *f = create(dir, name);
    fwrite(&length, 8, 1, f);
    fwrite(header, 1, used, f);
    for (size_t i = first; i < last; i++)
        write_values(f, &tensors[i]);
    close_file(f, name);
    free(header);
}

static void write_index(const char *dir, size_t cut)
{
    FILE *f = create(dir, "model.safetensors.index.json");
    size_t total = 0;
    for (size_t i = 0; i < n_tensors; i++)
        total += tensor_bytes(&tensors[i]);
    fprintf(f, "{\"metadata\":{\"total_size\":%zu},\"weight_map\":{", total);
    for (size_t i = 0; i < n_tensors; i++) {
        char name[64];
        shard_name(name, sizeof name, i >= cut);
        fprintf(f, "%s\"%s\":\"%s\"", i ? "," : "", tensors[i].name, name);
    }
    fprintf(f, "}}\n");
    close_file(f, "model.safetensors.index.json");
}

static void write_factors(FILE *f, const char *name, double step, const char *end)
{
    fprintf(f, "\"%s\":[", name);
    for (int i = 0; i < PAIRS; i++)
        fprintf(f, "%s%.2f", i ? "," : "", 1 + step * i);
    fprintf(f, "]%s", end);
}

static void write_config(const char *dir, size_t layers)
{
    FILE *f = create(dir, "config.json");
    fprintf(f,
            "{\"architectures\":[\"Phi3ForCausalLM\"],\"model_type\":\"phi3\",\"hidden_size\":%d,"
            "\"intermediate_size\":%d,\"num_hidden_layers\":%zu,\"num_attention_heads\":%d,"
            "\"num_key_value_heads\":%d,\"vocab_size\":%d,\"hidden_act\":\"silu\","
            "\"rms_norm_eps\":1e-05,\"rope_theta\":10000.0,\"partial_rotary_factor\":0.75,"
            "\"max_position_embeddings\":131072,\"original_max_position_embeddings\":4096,"
            "\"sliding_window\":262144,\"tie_word_embeddings\":true,\"torch_dtype\":\"bfloat16\","
            "\"bos_token_id\":199999,\"eos_token_id\":199999,\"pad_token_id\":199999,"
            "\"rope_scaling\":{\"type\":\"longrope\",",
            HIDDEN, INTERMEDIATE, layers, HEADS, KV_HEADS, VOCAB);
    write_factors(f, "short_factor", 0, ",");
    write_factors(f, "long_factor", 0.8, "}}\n");
    close_file(f, "config.json");
    f = create(dir, "generation_config.json");
    fprintf(f, "{\"bos_token_id\":199999,\"eos_token_id\":[200020,199999],"
               "\"pad_token_id\":199999}\n");
    close_file(f, "generation_config.json");
}

static void copy_tokenizer(const char *dir, const char *from)
{
    static char buffer[1 << 20];
    char path[1024];
    snprintf(path, sizeof path, "%s/tokenizer.json", from);
    FILE *in = fopen(path, "rb"), *out = create(dir, "tokenizer.json");
    if (!in)
        die(path);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, in)) > 0;)
        fwrite(buffer, 1, n, out);
    fclose(in);
    close_file(out, "tokenizer.json");
}

int main(int argc, char **argv)
{
    size_t layers = argc > 3 ? strtoul(argv[3], NULL, 10) : 32;
    if (argc < 3 || layers < 1 || layers > 100) {
        fputs("usage: mkmodel DIR TOKENIZER_DIR [LAYERS]\n"
              "  Writes DIR (7.7 GB with the real 32 layers); tokenizer.json is copied.\n",
              stderr);
        return 2;
    }
    /* Uniform, of standard deviation 0.02 */
    for (size_t i = 0; i < sizeof pool / sizeof pool[0]; i++)
        pool[i] = to_bf16(((float)(next_random() >> 40) * 0x1p-23f - 1) * 0.02f * sqrtf(3));
    if (mkdir(argv[1], 0755) && errno != EEXIST)
        die(argv[1]);
    list_tensors(layers);
    size_t cut = n_tensors * 3 / 5;
    write_shard(argv[1], 0, 0, cut);
    write_shard(argv[1], 1, cut, n_tensors);
    write_index(argv[1], cut);
    write_config(argv[1], layers);
    copy_tokenizer(argv[1], argv[2]);
    return 0;
}
