/* test_phi4_weights.c - tests of plugins/engine/phi4_weights.c, on a device that only counts. */
#include "common/bytes.h"
#include "engine/phi4_weights.h"
#include "tmpdir.h"

#include <check.h>

static struct airlock_error err;
static int loaded, fail_at;

static enum ops_status load(struct ops_device *dev, struct ops_matrix *m, const void *host,
                            enum ops_dtype dtype, size_t rows, size_t cols)
{
    (void)dev;
    if (fail_at && loaded + 1 == fail_at)
        return OPS_E_MEMORY;
    loaded++;
    *m = (struct ops_matrix){ host, dtype, rows, cols, NULL };
    return OPS_OK;
}

static void unload(struct ops_device *dev, struct ops_matrix *m)
{
    (void)dev;
    ck_assert_ptr_nonnull(m->data);
    loaded--;
    *m = (struct ops_matrix){ 0 };
}

static const struct ops counting = { .name = "count", .matrix_load = load, .matrix_free = unload };

static const struct phi4_config config = { .hidden_size = 4,
                                           .intermediate_size = 6,
                                           .num_hidden_layers = 1,
                                           .num_attention_heads = 2,
                                           .num_key_value_heads = 1,
                                           .head_dim = 2,
                                           .vocab_size = 10,
                                           .tie_word_embeddings = true };

struct tensor {
    const char *name, *dtype, *shape;
    size_t bytes;
};

static struct tensor tensors[10];
static size_t n_tensors;

static void reset(void)
{
    static const struct tensor all[] = {
        { "model.embed_tokens.weight", "BF16", "10,4", 80 },
        { "model.norm.weight", "F32", "4", 16 },
        { "model.layers.0.input_layernorm.weight", "BF16", "4", 8 },
        { "model.layers.0.self_attn.qkv_proj.weight", "F16", "8,4", 64 },
        { "model.layers.0.self_attn.o_proj.weight", "BF16", "4,4", 32 },
        { "model.layers.0.post_attention_layernorm.weight", "BF16", "4", 8 },
        { "model.layers.0.mlp.gate_up_proj.weight", "BF16", "12,4", 96 },
        { "model.layers.0.mlp.down_proj.weight", "BF16", "4,6", 48 },
    };
    memcpy(tensors, all, sizeof all);
    n_tensors = 8;
    loaded = fail_at = 0;
}

static void setup(void)
{
    reset();
    tmpdir_make();
}

/* pad: spaces at the end of the header, to move the data. */
static struct safetensors *write_and_open(int pad)
{
    struct bytes b = BYTES_INIT(1 << 16);
    size_t at = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        bytes_printf(&b, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                     i ? "," : "{", tensors[i].name, tensors[i].dtype, tensors[i].shape, at,
                     at + tensors[i].bytes);
        at += tensors[i].bytes;
    }
    bytes_add_text(&b, "}");
    while (b.size % 8 != (size_t)pad)
        bytes_add_text(&b, " ");
    tmpdir_write_safetensors("model.safetensors", b.data, at);
    bytes_free(&b);
    struct safetensors *st = safetensors_open_dir(tmpdir, &err);
    ck_assert_msg(st != NULL, "%s", err.text);
    return st;
}

static void refused(const struct phi4_config *c, int pad, const char *word1, const char *word2)
{
    struct phi4_weights w;
    struct safetensors *st = write_and_open(pad);
    err = (struct airlock_error){ 0 };
    ck_assert_int_eq(phi4_weights_load(&w, c, 0, st, &counting, NULL, &err), -1);
    ck_assert_msg(strstr(err.text, word1) && strstr(err.text, word2), "%s", err.text);
    ck_assert_int_eq(loaded, 0);
    safetensors_close(st);
}

START_TEST(weights_point_into_the_mapping_with_their_own_dtypes)
{
    struct phi4_weights w;
    struct safetensors *st = write_and_open(0);
    ck_assert_msg(phi4_weights_load(&w, &config, 0, st, &counting, NULL, &err) == 0, "%s",
                  err.text);
    ck_assert_int_eq(loaded, 8);
    ck_assert_uint_eq(w.n_layers, 1);
    ck_assert_ptr_eq(w.lm_head.data, w.embed_tokens.data);
    ck_assert_int_eq(w.norm.dtype, OPS_F32);
    ck_assert_uint_eq(w.norm.rows, 1);
    ck_assert_uint_eq(w.norm.cols, 4);
    ck_assert_int_eq(w.layers[0].qkv_proj.dtype, OPS_F16);
    ck_assert_uint_eq(w.layers[0].qkv_proj.rows, 8);
    ck_assert_ptr_eq(w.layers[0].down_proj.data,
                     safetensors_find(st, "model.layers.0.mlp.down_proj.weight")->data);
    ck_assert_uint_eq(w.n_unused, 0);
    phi4_weights_free(&w, &counting, NULL);
    ck_assert_int_eq(loaded, 0);
    safetensors_close(st);
}
END_TEST

START_TEST(a_wrong_shape_names_tensor_found_and_expected)
{
    tensors[3].shape = "4,8";
    refused(&config, 0, "tensor model.layers.0.self_attn.qkv_proj.weight: shape 4x8, expected 8x4",
            "");
    reset();
    tensors[1].shape = "1,4";
    refused(&config, 0, "tensor model.norm.weight: shape 1x4, expected 4", "");
    reset();
    tensors[1].shape = "";
    tensors[1].bytes = 4;
    refused(&config, 0, "tensor model.norm.weight: shape 1, expected 4", "");
}
END_TEST

START_TEST(a_vocabulary_that_does_not_fit_is_refused)
{
    struct phi4_config c = config;
    c.vocab_size = 11;
    refused(&c, 0, "model.embed_tokens.weight", "shape 10x4, expected 11x4");
}
END_TEST

START_TEST(a_missing_tensor_is_named)
{
    struct phi4_config c = config;
    c.num_hidden_layers = 2;
    refused(&c, 0, "tensor model.layers.1.input_layernorm.weight is missing", "");
    c = config;
    c.tie_word_embeddings = false;
    refused(&c, 0, "tensor lm_head.weight is missing", "");
}
END_TEST

START_TEST(an_untied_head_is_its_own_matrix)
{
    struct phi4_weights w;
    struct phi4_config c = config;
    c.tie_word_embeddings = false;
    tensors[n_tensors++] = (struct tensor){ "lm_head.weight", "F32", "10,4", 160 };
    struct safetensors *st = write_and_open(0);
    ck_assert_msg(phi4_weights_load(&w, &c, 0, st, &counting, NULL, &err) == 0, "%s", err.text);
    ck_assert_ptr_ne(w.lm_head.data, w.embed_tokens.data);
    phi4_weights_free(&w, &counting, NULL);
    ck_assert_int_eq(loaded, 0);
    safetensors_close(st);
}
END_TEST

START_TEST(tensors_of_no_use_are_counted_and_one_is_named)
{
    struct phi4_weights w;
    tensors[n_tensors++] = (struct tensor){ "model.vision.weight", "I8", "3", 3 };
    tensors[n_tensors++] = (struct tensor){ "lm_head.weight", "I8", "5", 5 };
    struct safetensors *st = write_and_open(0);
    ck_assert_msg(phi4_weights_load(&w, &config, 0, st, &counting, NULL, &err) == 0, "%s",
                  err.text);
    ck_assert_uint_eq(w.n_unused, 2);
    ck_assert_str_eq(w.first_unused, "model.vision.weight");
    phi4_weights_free(&w, &counting, NULL);
    safetensors_close(st);
}
END_TEST

START_TEST(names_beside_built_in_adapters_are_found)
{
    struct phi4_weights w;
    tensors[3].name = "model.layers.0.self_attn.qkv_proj.base_layer.weight";
    struct safetensors *st = write_and_open(0);
    ck_assert_msg(phi4_weights_load(&w, &config, 0, st, &counting, NULL, &err) == 0, "%s",
                  err.text);
    phi4_weights_free(&w, &counting, NULL);
    safetensors_close(st);
}
END_TEST

START_TEST(a_dtype_that_is_no_float_is_refused)
{
    tensors[4].dtype = "I16";
    refused(&config, 0, "self_attn.o_proj.weight: dtype I16", "");
}
END_TEST

START_TEST(misaligned_data_is_refused)
{
    refused(&config, 1, "not aligned", "model.embed_tokens.weight");
}
END_TEST

START_TEST(a_device_that_runs_out_leaves_nothing_behind)
{
    for (int i = 1; i <= 8; i++) {
        fail_at = i;
        refused(&config, 0, "tensor model.", "out of memory");
        ck_assert_int_eq(err.code, AIRLOCK_E_NO_MEMORY);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("phi4_weights");
    TCase *t = tcase_create("phi4_weights");
    tcase_add_checked_fixture(t, setup, tmpdir_remove);
    tcase_add_test(t, weights_point_into_the_mapping_with_their_own_dtypes);
    tcase_add_test(t, a_wrong_shape_names_tensor_found_and_expected);
    tcase_add_test(t, a_vocabulary_that_does_not_fit_is_refused);
    tcase_add_test(t, a_missing_tensor_is_named);
    tcase_add_test(t, an_untied_head_is_its_own_matrix);
    tcase_add_test(t, tensors_of_no_use_are_counted_and_one_is_named);
    tcase_add_test(t, names_beside_built_in_adapters_are_found);
    tcase_add_test(t, a_dtype_that_is_no_float_is_refused);
    tcase_add_test(t, misaligned_data_is_refused);
    tcase_add_test(t, a_device_that_runs_out_leaves_nothing_behind);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
