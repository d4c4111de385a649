/* test_lora.c - tests of plugins/lora through its vtable, against what peft computes. */
#include "airlock/llm_adapter.h"
#include "common/bytes.h"
#include "common/json.h"
#include "engine/safetensors.h"
#include "tmpdir.h"

#include <check.h>
#include <math.h>
#include <pthread.h>

/* ---- a model of two layers, as the host would describe it ---- */

enum { LAYERS = 2, SITES = 4 * LAYERS };

static llm_site sites[SITES];
static llm_site_part parts[SITES][3];
static const llm_site_part *part_list[SITES][3];
static char names[SITES * 4][64];
static size_t n_names;
static const char *base_model;
static bool no_service;

static const char *name(int layer, const char *last)
{
    snprintf(names[n_names], sizeof names[0], "model.layers.%d.%s", layer, last);
    return names[n_names++];
}

static void add_part(llm_site *s, size_t i, int layer, const char *last, uint32_t rows)
{
    llm_site_part *p = &parts[i][s->n_parts];
    uint32_t first = s->n_parts ? p[-1].first_row + p[-1].rows : 0;
    *p = (llm_site_part){ sizeof *p, first, rows, 0, name(layer, last) };
    part_list[i][s->n_parts++] = p;
}

static void make_model(void)
{
    n_names = 0;
    base_model = "/models/tiny";
    no_service = false;
    for (int l = 0; l < LAYERS; l++) {
        llm_site *s = &sites[4 * l];
        size_t i = 4 * (size_t)l;
        s[0] = (llm_site){ sizeof *s, 0, 16, 32, name(l, "self_attn.qkv_proj"), part_list[i] };
        add_part(&s[0], i, l, "self_attn.q_proj", 16);
        add_part(&s[0], i, l, "self_attn.k_proj", 8);
        add_part(&s[0], i, l, "self_attn.v_proj", 8);
        s[1] = (llm_site){ sizeof *s, 0, 16, 16, name(l, "self_attn.o_proj"), NULL };
        s[2] = (llm_site){ sizeof *s, 0, 16, 48, name(l, "mlp.gate_up_proj"), part_list[i + 2] };
        add_part(&s[2], i + 2, l, "mlp.gate_proj", 24);
        add_part(&s[2], i + 2, l, "mlp.up_proj", 24);
        s[3] = (llm_site){ sizeof *s, 0, 24, 16, name(l, "mlp.down_proj"), NULL };
    }
}

static const llm_site *site_at(const llm_host *host, uint64_t i)
{
    (void)host;
    return i < SITES ? &sites[i] : NULL;
}

static const char *site_base(const llm_host *host)
{
    (void)host;
    return base_model;
}

static const void *service(const llm_host *host, const char *id)
{
    static const llm_svc_sites svc = { sizeof svc, 0, site_at, site_base };
    (void)host;
    return !no_service && strcmp(id, LLM_SVC_SITES) == 0 ? &svc : NULL;
}

static void host_log(const llm_host *host, int32_t level, const char *text, uint64_t len)
{
    (void)host, (void)level, (void)text, (void)len;
}

static const llm_host host = { sizeof host, 0, NULL, host_log, service };

/* ---- the plugin ---- */

static llm_error err;

static const llm_adapter_class *lora(void)
{
    return llm_plugin_query_1()->classes[0]->impl;
}

static llm_str str(const char *s)
{
    return (llm_str){ s, strlen(s) };
}

static llm_status open_at(const char *path, const char *device, llm_adapter_inst **out)
{
    llm_config config = {
        .struct_size = sizeof config, .name = str("test"), .path = str(path), .device = str(device)
    };
    err = (llm_error){ .struct_size = sizeof err };
    return lora()->open(&host, &config, out, &err);
}

static llm_adapter_inst *open_golden(const char *adapter)
{
    char path[512];
    llm_adapter_inst *inst = NULL;
    snprintf(path, sizeof path, "%s/tests/golden/lora/%s", getenv("top_srcdir"), adapter);
    ck_assert_msg(open_at(path, "cpu", &inst) == LLM_OK, "%s: %s", adapter, err.text);
    return inst;
}

static llm_lora_io make_io(const float *x, float *y, size_t rows)
{
    return (llm_lora_io){ .struct_size = sizeof(llm_lora_io),
                          .dtype = LLM_F32,
                          .x = (uint64_t)(uintptr_t)x,
                          .y = (uint64_t)(uintptr_t)y,
                          .rows = rows };
}

static void apply(llm_adapter_inst *inst, const llm_lora_target *t, const float *x, float *y,
                  size_t rows)
{
    llm_lora_io io = make_io(x, y, rows);
    ck_assert_msg(lora()->apply(inst, t, &io, &err) == LLM_OK, "%s", err.text);
}

static struct safetensors *open_expect(const char *adapter)
{
    char path[512];
    struct airlock_error why = { 0 };
    snprintf(path, sizeof path, "%s/tests/golden/lora/%s/expect.safetensors", getenv("top_srcdir"),
             adapter);
    struct safetensors *st = safetensors_open_file(path, &why);
    ck_assert_msg(st != NULL, "%s", why.text);
    return st;
}

static const float *input(const struct safetensors *st, uint32_t width)
{
    return safetensors_find(st, width == 16 ? "x16" : "x24")->data;
}

static void check_site(llm_adapter_inst *inst, const struct safetensors *st, const llm_site *s,
                       const char *adapter, int *changed)
{
    const struct safetensors_view *want = safetensors_find(st, s->module);
    const llm_lora_target *t = lora()->target(inst, s->module);
    float y[3 * 48];
    ck_assert_msg((t != NULL) == (want != NULL), "%s: %s is %schanged", adapter, s->module,
                  t ? "" : "not ");
    if (!t)
        return;
    ck_assert_uint_eq(t->in_dim, s->in_dim);
    ck_assert_uint_eq(t->out_dim, s->out_dim);
    for (size_t i = 0; i < 3 * s->out_dim; i++)
        y[i] = 1;
    apply(inst, t, input(st, s->in_dim), y, 3);
    for (size_t i = 0; i < 3 * s->out_dim; i++) {
        double w = (double)((const float *)want->data)[i] + 1, bound = 4e-6 * (fabs(w) + 4);
        ck_assert_msg(fabs((double)y[i] - w) <= bound, "%s: %s[%zu] is %.8g, expected %.8g",
                      adapter, s->module, i, (double)y[i], w);
    }
    ++*changed;
}

static const char *const cases[] = { "all-linear", "bf16",           "f16",        "rslora",
                                     "patterns",   "layers",         "regex",      "exclude",
                                     "recipe",     "layers-pattern", "split",      "names",
                                     "minimal",    "split-bf16",     "split-some", "split-one" };

START_TEST(each_adapter_adds_what_peft_adds)
{
    const char *adapter = cases[_i];
    int changed = 0;
    llm_adapter_inst *inst = open_golden(adapter);
    struct safetensors *st = open_expect(adapter);
    for (size_t i = 0; i < SITES; i++)
        check_site(inst, st, &sites[i], adapter, &changed);
    ck_assert_int_eq((size_t)changed + 2, safetensors_count(st));
    ck_assert_uint_gt(lora()->memory(inst), 0);
    ck_assert_ptr_null(lora()->target(inst, "model.layers.0.self_attn.q_proj"));
    safetensors_close(st);
    lora()->close(inst);
}
END_TEST

START_TEST(weights_stay_as_stored_where_one_product_allows_it)
{
    llm_adapter_inst *a = open_golden("split-bf16"), *b = open_golden("split-some");
    const char *qkv = sites[0].module;
    ck_assert_uint_eq(lora()->target(a, qkv)->dtype, LLM_BF16);
    ck_assert_uint_eq(lora()->target(a, qkv)->rank, 6);
    ck_assert(lora()->target(a, qkv)->scale == 2);
    ck_assert_uint_eq(lora()->target(b, qkv)->dtype, LLM_F32); /* unequal scales */
    ck_assert_uint_eq(lora()->target(b, qkv)->rank, 4);
    lora()->close(a);
    lora()->close(b);
}
END_TEST

/* ---- rows and threads ---- */

static void run_threads(const llm_threads *threads, uint64_t n, void (*fn)(void *arg, uint64_t i),
                        void *arg)
{
    ++*(int *)threads->ctx;
    for (uint64_t i = n; i-- > 0;)
        fn(arg, i);
}

START_TEST(a_row_has_the_same_bits_alone_and_in_company)
{
    llm_adapter_inst *inst = open_golden("split");
    const llm_lora_target *t = lora()->target(inst, sites[0].module);
    float x[7 * 16], together[7 * 32] = { 0 }, alone[7 * 32] = { 0 };
    for (size_t i = 0; i < 7 * 16; i++)
        x[i] = (float)sin((double)i * 1.7) * 3;
    apply(inst, t, x, together, 7);
    for (size_t r = 0; r < 7; r++)
        apply(inst, t, x + r * 16, alone + r * 32, 1);
    ck_assert_mem_eq(together, alone, sizeof alone);
    lora()->close(inst);
}
END_TEST

START_TEST(a_batch_gives_each_row_its_own_adapter_and_leaves_the_others)
{
    llm_adapter_inst *a = open_golden("split"), *b = open_golden("all-linear");
    const llm_lora_target *ta = lora()->target(a, sites[0].module);
    const llm_lora_target *tb = lora()->target(b, sites[0].module);
    float x[6 * 16], batch[6 * 32], want[6 * 32];
    for (size_t i = 0; i < 6 * 16; i++)
        x[i] = (float)cos((double)i);
    for (size_t i = 0; i < 6 * 32; i++)
        batch[i] = want[i] = (float)i;
    apply(a, ta, x + 16, want + 32, 2);
    apply(b, tb, x + 4 * 16, want + 4 * 32, 1);
    const llm_lora_segment one = { sizeof one, 0, 1, 2, a, ta };
    const llm_lora_segment two = { sizeof two, 0, 4, 1, b, tb };
    const llm_lora_segment *list[] = { &one, &two };
    int calls = 0;
    llm_threads threads = { sizeof threads, 3, &calls, run_threads };
    llm_lora_io io = make_io(x, batch, 6);
    io.threads = &threads;
    ck_assert_msg(lora()->apply_batch(&io, list, 2, &err) == LLM_OK, "%s", err.text);
    ck_assert_mem_eq(batch, want, sizeof want);
    io.threads = NULL; /* fewer threads than before, then none */
    ck_assert_int_eq(lora()->apply_batch(&io, list, 0, &err), LLM_OK);
    lora()->close(a);
    lora()->close(b);
}
END_TEST

START_TEST(more_segments_than_one_call_of_the_ops_takes)
{
    enum { N = 150 };
    llm_adapter_inst *a = open_golden("all-linear");
    const llm_lora_target *t = lora()->target(a, sites[1].module);
    static float x[N * 16], batch[N * 16], want[N * 16];
    static llm_lora_segment segments[N];
    const llm_lora_segment *list[N];
    for (size_t i = 0; i < N * 16; i++)
        x[i] = (float)cos((double)i);
    for (size_t i = 0; i < N; i++) {
        segments[i] = (llm_lora_segment){ sizeof segments[0], 0, N - 1 - i, 1, a, t };
        list[i] = &segments[i];
    }
    apply(a, t, x, want, N);
    llm_lora_io io = make_io(x, batch, N);
    ck_assert_int_eq(lora()->apply_batch(&io, list, N, &err), LLM_OK);
    ck_assert_mem_eq(batch, want, sizeof want);
    segments[149].rows = 2; /* beyond the last row */
    segments[149].first_row = N - 1;
    ck_assert_int_eq(lora()->apply_batch(&io, list, N, &err), LLM_E_INVALID);
    lora()->close(a);
}
END_TEST

struct caller {
    llm_adapter_inst *inst;
    const llm_lora_target *t;
    const float *x, *want;
    int wrong;
};

static void *call_often(void *arg)
{
    struct caller *c = arg;
    for (int k = 0; k < 200; k++) {
        float y[3 * 32] = { 0 };
        llm_lora_io io = make_io(c->x, y, 3);
        if (lora()->apply(c->inst, c->t, &io, NULL) != LLM_OK || memcmp(y, c->want, sizeof y) != 0)
            c->wrong++;
    }
    return NULL;
}

START_TEST(several_threads_may_apply_one_adapter)
{
    llm_adapter_inst *inst = open_golden("split");
    struct safetensors *st = open_expect("split");
    const llm_lora_target *t = lora()->target(inst, sites[0].module);
    float want[3 * 32] = { 0 };
    pthread_t threads[4];
    struct caller callers[4];
    apply(inst, t, input(st, 16), want, 3);
    for (int i = 0; i < 4; i++) {
        callers[i] = (struct caller){ inst, t, input(st, 16), want, 0 };
        ck_assert_int_eq(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        ck_assert_int_eq(callers[i].wrong, 0);
    }
    safetensors_close(st);
    lora()->close(inst);
}
END_TEST

START_TEST(rows_that_are_not_float32_are_the_callers_mistake)
{
    llm_adapter_inst *inst = open_golden("minimal");
    float x[16] = { 0 }, y[16] = { 0 };
    llm_lora_io io = make_io(x, y, 1);
    io.dtype = LLM_BF16;
    ck_assert_int_eq(lora()->apply(inst, lora()->target(inst, sites[1].module), &io, &err),
                     LLM_E_INVALID);
    io.dtype = LLM_F32;
    io.rows = 0;
    ck_assert_int_eq(lora()->apply(inst, lora()->target(inst, sites[1].module), &io, &err), LLM_OK);
    lora()->close(inst);
}
END_TEST

/* ---- what is refused ---- */

#define O0 "base_model.model.model.layers.0.self_attn.o_proj."

struct tensor {
    const char *name, *shape; /* F32 unless dtype says otherwise */
    size_t numbers;
    const char *dtype;
};

static const struct tensor good_a = { O0 "lora_A.weight", "2,16", 32, NULL };
static const struct tensor good_b = { O0 "lora_B.weight", "16,2", 32, NULL };

static void write_tensors(const char *file, const struct tensor *t, size_t n, float value)
{
    struct bytes b = BYTES_INIT(1 << 16), data = BYTES_INIT(1 << 20);
    for (size_t i = 0; i < n; i++) {
        size_t begin = data.size, k = t[i].dtype && strcmp(t[i].dtype, "F32") != 0 ? 2 : 4;
        for (size_t j = 0; j < t[i].numbers; j++)
            bytes_add(&data, &value, k);
        bytes_printf(&b, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                     i ? "," : "{", t[i].name, t[i].dtype ? t[i].dtype : "F32", t[i].shape, begin,
                     data.size);
    }
    bytes_add_text(&b, n ? "}" : "{}");
    tmpdir_write_safetensors(file, b.data, data.size);
    FILE *f = fopen(tmpdir_path(file), "r+b");
    fseek(f, (long)(8 + b.size), SEEK_SET);
    if (data.size)
        fwrite(data.data, 1, data.size, f);
    fclose(f);
    bytes_free(&b);
    bytes_free(&data);
}

/* The least adapter that loads, with patch's members over its configuration. */
static void write_config(const char *patch)
{
    static const char config[] = "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":4,"
                                 "\"target_modules\":[\"layers.0.self_attn.o_proj\"]}";
    struct airlock_error why = { 0 };
    struct json_object *o = json_parse(config, strlen(config), &why);
    struct json_object *p = json_parse(patch, strlen(patch), &why);
    ck_assert_msg(o && p, "%s: %s", patch, why.text);
    json_object_object_foreach(p, key, value)
        json_object_object_add(o, key, json_object_get(value));
    tmpdir_write_text("adapter_config.json", json_object_to_json_string(o));
    json_object_put(o);
    json_object_put(p);
}

static void write_good(void)
{
    const struct tensor t[] = { good_a, good_b };
    write_config("{}");
    write_tensors("adapter_model.safetensors", t, 2, 0.5f);
}

static void setup(void)
{
    make_model();
    tmpdir_make();
    write_good();
}

static void refused(const char *word1, const char *word2)
{
    llm_adapter_inst *inst = NULL;
    llm_status status = open_at(tmpdir, "cpu", &inst);
    ck_assert_msg(status == LLM_E_CONFIG, "status %d: %s", status, err.text);
    ck_assert_ptr_null(inst);
    ck_assert_msg(strstr(err.text, word1) && strstr(err.text, word2), "\"%s\" or \"%s\" not in %s",
                  word1, word2, err.text);
    ck_assert_msg(strncmp(err.text, "lora: test: ", 12) == 0 && !strchr(err.text, '\n'), "%s",
                  err.text);
    ck_assert_int_eq(err.code, LLM_E_CONFIG);
}

static void accepted(void)
{
    llm_adapter_inst *inst = NULL;
    ck_assert_msg(open_at(tmpdir, "cpu", &inst) == LLM_OK, "%s", err.text);
    lora()->close(inst);
}

static void refused_config(const char *patch, const char *word1, const char *word2)
{
    write_config(patch);
    refused(word1, word2);
}

/* The good pair with one tensor changed or added. */
static void refused_tensors(struct tensor a, struct tensor b, const char *word1, const char *word2)
{
    const struct tensor t[] = { a, b };
    write_tensors("adapter_model.safetensors", t, b.name ? 2 : 1, 0.5f);
    refused(word1, word2);
}

START_TEST(the_adapter_that_the_next_tests_break_is_accepted)
{
    accepted();
}
END_TEST

START_TEST(each_configuration_that_is_more_than_plain_lora_is_refused_by_its_key)
{
    static const char *const table[][2] = {
        { "{\"use_dora\":true}", "use_dora" },
        { "{\"modules_to_save\":[\"lm_head\"]}", "modules_to_save" },
        { "{\"bias\":\"all\"}", "bias is \"all\"" },
        { "{\"bias\":\"lora_only\"}", "bias is \"lora_only\"" },
        { "{\"lora_bias\":true}", "lora_bias" },
        { "{\"fan_in_fan_out\":true}", "fan_in_fan_out" },
        { "{\"layer_replication\":[[0,1]]}", "layer_replication" },
        { "{\"trainable_token_indices\":[1]}", "trainable_token_indices" },
        { "{\"target_parameters\":[\"x\"]}", "target_parameters" },
        { "{\"alora_invocation_tokens\":[1]}", "alora_invocation_tokens" },
        { "{\"use_qalora\":true}", "use_qalora" },
        { "{\"init_lora_weights\":\"pissa_niter_4\"}", "init_lora_weights" },
        { "{\"peft_type\":\"IA3\"}", "peft_type \"IA3\"" },
        { "{\"peft_type\":null}", "peft_type is missing" },
        { "{\"r\":0}", "r must be from 1" },
        { "{\"r\":-1}", "r must be from 1" },
        { "{\"r\":1000000}", "r must be from 1 to 2048" },
        { "{\"r\":\"2\"}", "r must be an integer" },
        { "{\"lora_alpha\":1e999}", "lora_alpha must be a finite number" },
        { "{\"lora_alpha\":1e300}", "lora_alpha" },
        { "{\"lora_alpha\":\"4\"}", "lora_alpha must be a number" },
        { "{\"use_rslora\":1}", "use_rslora" },
        { "{\"rank_pattern\":{\"o_proj\":0}}", "rank_pattern[\"o_proj\"]" },
        { "{\"rank_pattern\":{\"o_proj\":2.5}}", "rank_pattern[\"o_proj\"]" },
        { "{\"rank_pattern\":{\"o_proj\":5000}}", "rank_pattern[\"o_proj\"]" },
        { "{\"rank_pattern\":[]}", "rank_pattern must be an object" },
        { "{\"alpha_pattern\":{\"o_proj\":1e999}}", "alpha_pattern[\"o_proj\"]" },
        { "{\"alpha_pattern\":{\"(\":1}}", "alpha_pattern: \"(\" is no regular expression" },
        { "{\"target_modules\":\"(\"}", "target_modules" },
        { "{\"target_modules\":[1]}", "target_modules must be a list of strings" },
        { "{\"target_modules\":{}}", "target_modules must be a list of strings" },
        { "{\"exclude_modules\":\"[\"}", "exclude_modules" },
        { "{\"layers_to_transform\":\"all\"}", "layers_to_transform" },
        { "{\"base_model_name_or_path\":7}", "base_model_name_or_path must be a string" },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        refused_config(table[i][0], table[i][1], "adapter_config.json");
}
END_TEST

START_TEST(a_rank_other_than_the_configurations_names_tensor_and_shapes)
{
    refused_config("{\"r\":4}", "o_proj.lora_A.weight: shape 2x16, expected 4x16", "rank 4");
    refused_config("{\"rank_pattern\":{\"o_proj\":3}}", "expected 3x16", "rank 3");
}
END_TEST

START_TEST(a_matrix_of_the_wrong_width_names_tensor_found_and_wanted)
{
    struct tensor a = good_a, b = good_b;
    a.shape = "2,8";
    a.numbers = 16;
    refused_tensors(a, b, "lora_A.weight: shape 2x8, expected 2x16", "");
    b.shape = "32,2";
    b.numbers = 64;
    refused_tensors(good_a, b, "lora_B.weight: shape 32x2, expected 16x2", "");
    a.shape = "32";
    a.numbers = 32;
    refused_tensors(a, good_b, "lora_A.weight", "two dimensions");
    a.shape = "0,16";
    a.numbers = 0;
    refused_tensors(a, good_b, "shape 0x16", "");
}
END_TEST

START_TEST(a_without_b_is_refused)
{
    refused_tensors(good_a, (struct tensor){ 0 }, "o_proj has lora_A, but no lora_B", "");
    refused_tensors(good_b, (struct tensor){ 0 }, "o_proj has lora_B, but no lora_A", "");
}
END_TEST

static void refused_third(const char *tensor, const char *word1, const char *word2)
{
    const struct tensor t[] = { good_a, good_b, { tensor, "2,16", 32, NULL } };
    write_tensors("adapter_model.safetensors", t, 3, 0.5f);
    refused(word1, word2);
}

START_TEST(tensors_that_are_no_plain_lora_are_refused_by_name)
{
    refused_third(O0 "lora_magnitude_vector", "lora_magnitude_vector", "DoRA");
    refused_third(O0 "lora_B.bias", "lora_B.bias", "bias");
    refused_third("base_model.model.model.embed_tokens.lora_embedding_A", "embedding",
                  "embed_tokens");
    refused_third("base_model.model.lm_head.weight", "lm_head.weight", "no LoRA matrix");
    refused_third("base_model.model.lm_head.lora_A.weight", "no linear layer lm_head", "");
    refused_third("base_model.model.model.layers.7.self_attn.o_proj.lora_A.weight",
                  "no linear layer model.layers.7.self_attn.o_proj", "");
    refused_third("model.layers.0.self_attn.o_proj.lora_A.weight", "another name", "");
    refused_third(O0 "lora_C.weight", "neither lora_A nor lora_B", "");
    refused_third(O0 "lora_A.a.b.weight", ".weight", "");
    refused_third(O0 "lora_A", "does not end in .weight", "");
    refused_third("model.layers.1.mlp.down_proj.lora_A.weight", "down_proj has lora_A", "");
}
END_TEST

START_TEST(tensors_of_another_dtype_or_not_finite_are_refused)
{
    struct tensor a = good_a;
    const struct tensor t[] = { good_a, good_b };
    a.dtype = "I16";
    refused_tensors(a, good_b, "lora_A.weight", "dtype");
    write_tensors("adapter_model.safetensors", t, 2, NAN);
    refused("lora_A.weight", "NaN");
}
END_TEST

START_TEST(a_targeted_module_without_tensors_is_refused)
{
    refused_config("{\"target_modules\":[\"o_proj\"]}",
                   "model.layers.1.self_attn.o_proj is targeted", "no tensors");
    refused_config("{\"target_modules\":[\"layers.0.self_attn.o_proj\",\"down_proj\"]}",
                   "model.layers.0.mlp.down_proj is targeted", "no tensors");
}
END_TEST

START_TEST(a_split_name_that_only_some_layers_have_is_refused)
{
    const struct tensor t[] = {
        { "model.layers.0.self_attn.q_proj.lora_A.weight", "2,16", 32, NULL },
        { "model.layers.0.self_attn.q_proj.lora_B.weight", "16,2", 32, NULL },
    };
    write_tensors("adapter_model.safetensors", t, 2, 0.5f);
    refused_config("{\"target_modules\":[\"q_proj\"]}",
                   "model.layers.1.self_attn.q_proj is targeted", "no tensors");
}
END_TEST

START_TEST(tensors_that_the_configuration_does_not_target_are_refused)
{
    refused_config("{\"target_modules\":[\"down_proj\"]}", "o_proj has tensors", "does not target");
    refused_config("{\"exclude_modules\":[\"o_proj\"]}", "o_proj has tensors", "does not target");
    refused_config("{\"target_modules\":[\"o_proj\"],\"layers_to_transform\":[1]}",
                   "layers.0.self_attn.o_proj has tensors", "does not target");
}
END_TEST

START_TEST(without_target_modules_the_tensors_say_what_is_changed)
{
    write_config("{\"target_modules\":null}");
    accepted();
}
END_TEST

START_TEST(an_adapter_that_changes_nothing_is_refused)
{
    write_tensors("adapter_model.safetensors", NULL, 0, 0);
    refused_config("{\"target_modules\":[]}", "changes no layer", "");
    refused_config("{\"target_modules\":[\"nothing\"]}", "changes no layer", "");
}
END_TEST

START_TEST(a_layer_adapted_as_a_whole_and_in_parts_is_refused)
{
    const struct tensor t[] = {
        { "model.layers.0.self_attn.q_proj.lora_A.weight", "2,16", 32, NULL },
        { "model.layers.0.self_attn.q_proj.lora_B.weight", "16,2", 32, NULL },
        { "model.layers.0.self_attn.qkv_proj.lora_A.weight", "2,16", 32, NULL },
        { "model.layers.0.self_attn.qkv_proj.lora_B.weight", "32,2", 64, NULL },
    };
    write_tensors("adapter_model.safetensors", t, 4, 0.5f);
    refused_config("{\"target_modules\":null}", "qkv_proj has tensors as a whole and for its parts",
                   "");
}
END_TEST

START_TEST(another_base_model_is_refused_by_name)
{
    base_model = "microsoft/Phi-4-mini-instruct";
    refused_config("{\"base_model_name_or_path\":\"microsoft/phi-2\"}",
                   "base_model_name_or_path is microsoft/phi-2",
                   "this model is microsoft/Phi-4-mini-instruct");
    base_model = "/cache/models--microsoft--Phi-4-mini-instruct/snapshots/0123/";
    refused("base_model_name_or_path is microsoft/phi-2",
            "this model is microsoft/Phi-4-mini-instruct");
    base_model = "/models/phi4"; /* a directory has no name to compare */
    accepted();
    base_model = NULL;
    accepted();
    base_model = "microsoft/Phi-4-mini-instruct@main";
    write_config("{\"base_model_name_or_path\":\"Microsoft/Phi-4-mini-instruct\"}");
    accepted();
    write_config("{\"base_model_name_or_path\":\"../../etc/passwd\"}");
    accepted();
    write_config("{\"base_model_name_or_path\":\"/home/somebody/phi4\"}");
    accepted();
}
END_TEST

START_TEST(a_pickle_file_is_refused_and_never_read)
{
    remove(tmpdir_path("adapter_model.safetensors"));
    refused("adapter_model.safetensors", "No such file");
    tmpdir_write_text("adapter_model.bin", "pickle");
    refused("adapter_model.bin", "pickle");
}
END_TEST

START_TEST(broken_files_are_refused_by_name)
{
    tmpdir_write_text("adapter_model.safetensors", "rubbish, but long enough");
    refused("adapter_model.safetensors", "header length");
    write_good();
    tmpdir_write_text("adapter_config.json", "[]");
    refused("adapter_config.json", "object");
    tmpdir_write_text("adapter_config.json", "{");
    refused("adapter_config.json", "JSON");
    tmpdir_write_text("adapter_config.json", "{\"peft_type\":\"LORA\",\"lora_alpha\":NaN}");
    refused("adapter_config.json", "JSON");
    remove(tmpdir_path("adapter_config.json"));
    refused("adapter_config.json", "No such file");
}
END_TEST

START_TEST(an_expression_that_runs_away_is_stopped)
{
    refused_config("{\"target_modules\":\"(([a-z.0-9_]+)+)+[!?]\"}", "too many steps", "");
    refused_config("{\"rank_pattern\":{\"(([a-z.0-9_]+)+)+[!?]\":2}}", "too many steps", "");
}
END_TEST

START_TEST(other_devices_and_hosts_without_sites_are_refused)
{
    llm_adapter_inst *inst = NULL;
    ck_assert_int_eq(open_at(tmpdir, "cuda:0", &inst), LLM_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.text, "cuda:0") != NULL, "%s", err.text);
    no_service = true;
    ck_assert_int_eq(open_at(tmpdir, "cpu", &inst), LLM_E_UNSUPPORTED);
    ck_assert_msg(strstr(err.text, LLM_SVC_SITES) != NULL, "%s", err.text);
    no_service = false;
    ck_assert_int_eq(open_at("", "cpu", &inst), LLM_E_CONFIG);
    ck_assert_ptr_null(inst);
    lora()->close(NULL);
}
END_TEST

START_TEST(the_descriptor_names_the_class_and_the_versions)
{
    const llm_plugin *p = llm_plugin_query_1();
    ck_assert_str_eq(p->id, "airlock.lora");
    ck_assert_uint_eq(p->abi_major, LLM_ABI_MAJOR);
    ck_assert_str_eq(p->classes[0]->name, "LoraAdapter");
    ck_assert_uint_eq(p->classes[0]->kind, LLM_KIND_ADAPTER);
    ck_assert_ptr_null(p->classes[1]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lora");
    TCase *t = tcase_create("lora");
    tcase_add_checked_fixture(t, setup, tmpdir_remove);
    tcase_set_timeout(t, 300);
    tcase_add_loop_test(t, each_adapter_adds_what_peft_adds, 0, sizeof cases / sizeof *cases);
    tcase_add_test(t, weights_stay_as_stored_where_one_product_allows_it);
    tcase_add_test(t, a_row_has_the_same_bits_alone_and_in_company);
    tcase_add_test(t, a_batch_gives_each_row_its_own_adapter_and_leaves_the_others);
    tcase_add_test(t, more_segments_than_one_call_of_the_ops_takes);
    tcase_add_test(t, several_threads_may_apply_one_adapter);
    tcase_add_test(t, rows_that_are_not_float32_are_the_callers_mistake);
    tcase_add_test(t, the_adapter_that_the_next_tests_break_is_accepted);
    tcase_add_test(t, each_configuration_that_is_more_than_plain_lora_is_refused_by_its_key);
    tcase_add_test(t, a_rank_other_than_the_configurations_names_tensor_and_shapes);
    tcase_add_test(t, a_matrix_of_the_wrong_width_names_tensor_found_and_wanted);
    tcase_add_test(t, a_without_b_is_refused);
    tcase_add_test(t, tensors_that_are_no_plain_lora_are_refused_by_name);
    tcase_add_test(t, tensors_of_another_dtype_or_not_finite_are_refused);
    tcase_add_test(t, a_targeted_module_without_tensors_is_refused);
    tcase_add_test(t, a_split_name_that_only_some_layers_have_is_refused);
    tcase_add_test(t, tensors_that_the_configuration_does_not_target_are_refused);
    tcase_add_test(t, without_target_modules_the_tensors_say_what_is_changed);
    tcase_add_test(t, an_adapter_that_changes_nothing_is_refused);
    tcase_add_test(t, a_layer_adapted_as_a_whole_and_in_parts_is_refused);
    tcase_add_test(t, another_base_model_is_refused_by_name);
    tcase_add_test(t, a_pickle_file_is_refused_and_never_read);
    tcase_add_test(t, broken_files_are_refused_by_name);
    tcase_add_test(t, an_expression_that_runs_away_is_stopped);
    tcase_add_test(t, other_devices_and_hosts_without_sites_are_refused);
    tcase_add_test(t, the_descriptor_names_the_class_and_the_versions);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
