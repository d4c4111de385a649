/* test_vision_encoder.c - the vision tower and its projection compute what transformers computes,
 * for tiny random models of the real architecture. */
#include "encoder_device.h"
#include "golden_file.h"
#include "phi4-multimodal/media_bytes.h"
#include "phi4-multimodal/vision_encoder.h"
#include "suite.h"
#include "tmpdir.h"

#include "common/json.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct airlock_error err;
static const char *const cases[] = { "hub_bf16", "native_f32" };

struct model {
    struct ops_device *dev;
    struct safetensors *st;
    struct vision_config config;
    struct vision_weights weights;
    struct vision_encoder *encoder;
};

static void golden_path(char *out, size_t size, const char *name, const char *file)
{
    const char *top = getenv("top_srcdir");
    snprintf(out, size, "%s/tests/golden/vision/%s/%s", top ? top : ".", name, file);
}

static int read_config(const char *text, struct vision_config *out)
{
    struct json_object *config = json_parse(text, strlen(text), &err);
    ck_assert_msg(config != NULL, "%s", err.text);
    int status = vision_config_parse(config, out, &err);
    json_object_put(config);
    return status;
}

static void model_open(struct model *m, const char *name)
{
    char path[1024];
    memset(m, 0, sizeof *m);
    m->dev = encoder_device_open();
    golden_path(path, sizeof path, name, "config.json");
    struct json_object *config = json_parse_file(path, 1 << 20, &err);
    ck_assert_msg(config && vision_config_parse(config, &m->config, &err) == 0, "%s", err.text);
    json_object_put(config);
    golden_path(path, sizeof path, name, "model.safetensors");
    m->st = safetensors_open_file(path, &err);
    ck_assert_msg(m->st && vision_weights_load(&m->weights, &m->config, m->st, encoder_ops(),
                                               m->dev, &err) == 0,
                  "%s", err.text);
    m->encoder = vision_encoder_new(&m->config, &m->weights, encoder_ops(), m->dev, &err);
    ck_assert_msg(m->encoder != NULL, "%s", err.text);
}

static void model_close(struct model *m)
{
    vision_encoder_free(m->encoder);
    vision_weights_free(&m->weights, encoder_ops(), m->dev);
    safetensors_close(m->st);
    encoder_ops()->close(m->dev);
}

/* The picture of tests/oracle/image_crops_golden.py as embeddings. */
static float *embed(struct model *m, size_t w, size_t h, size_t *tokens)
{
    struct image_canvas c;
    uint8_t *rgb = malloc(3 * w * h);
    for (size_t y = 0; y < h; y++)
        for (size_t x = 0; x < w; x++)
            for (size_t k = 0; k < 3; k++)
                rgb[3 * (y * w + x) + k] = (uint8_t)(7 * x + 13 * y + 29 * k + x * y / 8);
    ck_assert_int_eq(image_canvas_make(&c, rgb, w, h, &err), 0);
    *tokens = c.plan.tokens;
    const size_t n = *tokens * m->config.text_hidden;
    void *out = encoder_alloc(m->dev, n);
    struct vision_job job;
    ck_assert_int_eq(vision_job_begin(&job, m->encoder, &c, out, &err), 0);
    int more;
    while ((more = vision_encoder_step(m->encoder, &job, &err)) > 0)
        ;
    ck_assert_msg(more == 0, "%s", err.text);
    ck_assert_int_eq(vision_encoder_step(m->encoder, &job, &err),
                     0); /* and nothing is done again */
    vision_job_end(&job);
    image_canvas_free(&c);
    free(rgb);
    return encoder_take(m->dev, out, n);
}

/* tolerance: of the row's largest number. */
static void check_row(const float *got, size_t n, char *values, size_t row, double tolerance)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)got[i]));
    for (size_t i = 0; i < n; i++) {
        const double want = strtod(values, &values);
        ck_assert_msg(fabs((double)got[i] - want) <= largest * tolerance,
                      "row %zu, number %zu: %.7g, not %.7g", row, i, (double)got[i], want);
    }
}

/* Of the row's largest number.  Exact: float32 sums in another order, through some layers. Rounded:
 * transformers in bf16 is off by 2^-6.5 here.  bf16 in all places on CUDA, where the emulated ops
 * are 0.009 away. */
static double tolerance_of(bool rounded)
{
    return encoder_on_cuda() ? 0.02 : rounded ? 0x1p-7 : 0x1p-14;
}

/* _i: the model, exactly or with what the fastest products round. */
START_TEST(embeddings_of_pictures_are_those_of_transformers)
{
    const char *name = cases[_i / 2];
    const double tolerance = tolerance_of(_i == 1);
    char path[64];
    size_t size, tokens = 0, w, h, want, row, checked = 0;
    struct model m;
    float *out = NULL;
    if (_i % 2 == 0)
        setenv("AIRLOCK_CPU", "avx512", 1); /* at most */
    model_open(&m, name);
    unsetenv("AIRLOCK_CPU");
    snprintf(path, sizeof path, "%s/expected.txt", name);
    char *text = golden_file("vision", path, &size);
    text[size] = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        int used;
        if (sscanf(line, "image %zu %zu %zu", &w, &h, &want) == 3) {
            tokens = 0;
            if (encoder_on_cuda() && w != 100) /* an emulated crop takes seconds */
                continue;
            free(out);
            out = embed(&m, w, h, &tokens);
            ck_assert_uint_eq(tokens, want);
        } else {
            ck_assert_int_eq(sscanf(line, "row %zu%n", &row, &used), 1);
            if (tokens == 0) /* left out */
                continue;
            ck_assert_uint_lt(row, tokens);
            check_row(out + row * m.config.text_hidden, m.config.text_hidden, line + used, row,
                      tolerance);
            checked++;
        }
    }
    ck_assert_uint_ge(checked, encoder_on_cuda() ? 15 : 50);
    free(out);
    free(text);
    model_close(&m);
}
END_TEST

START_TEST(pictures_may_take_turns_after_each_crop)
{
    size_t n, again;
    struct model m;
    struct image_canvas c;
    struct vision_job job;
    int more = 1, visits = 0;
    uint8_t rgb[2 * 3] = { 1, 2, 3, 200, 100, 0 };
    model_open(&m, "native_f32");
    const size_t width = m.config.text_hidden;
    float *first = embed(&m, 500, 450, &n);
    ck_assert_int_eq(image_canvas_make(&c, rgb, 2, 1, &err), 0);
    float *whole = malloc(c.plan.tokens * width * sizeof *whole);
    float *parts = malloc(c.plan.tokens * width * sizeof *parts);
    ck_assert_int_eq(vision_job_begin(&job, m.encoder, &c, whole, &err), 0);
    while (vision_encoder_step(m.encoder, &job, &err) > 0)
        ;
    vision_job_end(&job);
    ck_assert_int_eq(vision_job_begin(&job, m.encoder, &c, parts, &err), 0);
    for (; more > 0; more = vision_encoder_step(m.encoder, &job, &err)) {
        if (!vision_job_between(&job))
            continue;
        float *second = embed(&m, 500, 450, &again);
        ck_assert_mem_eq(first, second, n * width * sizeof *first);
        free(second);
        visits++;
    }
    vision_job_end(&job);
    ck_assert_int_ge(visits, 3); /* at the start, and behind two crops */
    ck_assert_mem_eq(whole, parts, c.plan.tokens * width * sizeof *whole);
    image_canvas_free(&c);
    free(first);
    free(whole);
    free(parts);
    model_close(&m);
}
END_TEST

START_TEST(a_picture_that_is_given_up_leaves_no_trace_in_the_next)
{
    size_t n, again;
    struct vision_job job;
    struct model m;
    struct image_canvas c;
    uint8_t white[3] = { 255, 255, 255 };
    model_open(&m, "native_f32");
    float *first = embed(&m, 100, 100, &n), *scratch = malloc(545 * 20 * sizeof *scratch);
    ck_assert_int_eq(image_canvas_make(&c, white, 1, 1, &err), 0);
    ck_assert_int_eq(vision_job_begin(&job, m.encoder, &c, scratch, &err), 0);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(vision_encoder_step(m.encoder, &job, &err), 1);
    vision_job_end(&job);
    float *second = embed(&m, 100, 100, &again);
    ck_assert_uint_eq(n, again);
    ck_assert(memcmp(first, second, n * m.config.text_hidden * sizeof *first) == 0);
    image_canvas_free(&c);
    free(first);
    free(second);
    free(scratch);
    model_close(&m);
}
END_TEST

START_TEST(what_the_tower_does_not_implement_is_refused_by_name)
{
    struct vision_config c;
    static const struct {
        const char *text, *key;
    } bad[] = {
        { "{}", "hidden_size" },
        { "{\"hidden_size\":8,\"vision_config\":{\"crop_size\":336}}", "vision_config.crop_size" },
        { "{\"hidden_size\":8,\"vision_config\":{\"image_size\":224}}",
          "vision_config.image_size" },
        { "{\"hidden_size\":8,\"vision_config\":{\"patch_size\":16}}", "vision_config.patch_size" },
        { "{\"hidden_size\":8,\"vision_config\":{\"feature_layer\":0}}", "feature_layer" },
        { "{\"hidden_size\":8,\"vision_config\":{\"num_attention_heads\":0}}",
          "num_attention_heads" },
        { "{\"hidden_size\":8,\"vision_config\":{\"hidden_act\":\"relu\"}}", "hidden_act" },
        { "{\"hidden_size\":8,\"embd_layer\":{\"image_embd_layer\":{\"hd_transform_order\":"
          "\"glb_sub\"}}}",
          "hd_transform_order" },
        { "{\"hidden_size\":8,\"embd_layer\":{\"image_embd_layer\":{\"use_hd_transform\":false}}}",
          "use_hd_transform" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ck_assert_int_eq(read_config(bad[i].text, &c), -1);
        ck_assert_msg(strstr(err.text, bad[i].key) != NULL, "%s", err.text);
    }
    ck_assert_int_eq(read_config("{\"hidden_size\":8}", &c), 0);
    ck_assert_uint_eq(c.num_heads, 16);
    ck_assert_int_eq(c.feature_layer, -2);
}
END_TEST

START_TEST(weights_that_do_not_fit_are_refused_by_name)
{
    char path[1024];
    struct model m;
    struct vision_weights w;
    model_open(&m, "native_f32");
    struct vision_config c = m.config;
    c.text_hidden = 21;
    ck_assert_int_eq(vision_weights_load(&w, &c, m.st, encoder_ops(), m.dev, &err), -1);
    ck_assert_msg(strstr(err.text, "image_embed.img_projection_up.weight: shape 20x24"), "%s",
                  err.text);
    c = m.config;
    c.num_heads = 7;
    ck_assert_int_eq(vision_weights_load(&w, &c, m.st, encoder_ops(), m.dev, &err), -1);
    ck_assert_msg(strstr(err.text, "cannot be cut into 7 heads"), "%s", err.text);
    c = m.config;
    c.feature_layer = -5;
    ck_assert_int_eq(vision_weights_load(&w, &c, m.st, encoder_ops(), m.dev, &err), -1);
    ck_assert_msg(strstr(err.text, "feature_layer -5"), "%s", err.text);
    golden_path(path, sizeof path, "../audio_encoder/native_f32", "model.safetensors");
    struct safetensors *other = safetensors_open_file(path, &err);
    ck_assert_msg(other != NULL, "%s", err.text);
    ck_assert_int_eq(vision_weights_load(&w, &m.config, other, encoder_ops(), m.dev, &err), -1);
    ck_assert_msg(strstr(err.text, "patch_embedding.weight is missing"), "%s", err.text);
    safetensors_close(other);
    model_close(&m);
}
END_TEST

/* What is not the text model's by its names; and folders only where the checkpoint has no adapters.
 */
START_TEST(what_is_not_the_text_models_is_counted_before_it_is_read)
{
    const char *top = getenv("top_srcdir");
    char path[1024], file[512];
    snprintf(path, sizeof path, "%s/tests/golden/multimodal", top ? top : ".");
    struct safetensors *st = safetensors_open_dir(path, &err);
    ck_assert_msg(st != NULL, "%s", err.text);
    uint64_t rest = 0;
    for (size_t i = 0; i < safetensors_count(st); i++) {
        const struct safetensors_view *v = safetensors_at(st, i);
        const bool text = strncmp(v->name, "model.layers.", 13) == 0 && !strstr(v->name, "lora");
        if (!text && strcmp(v->name, "model.norm.weight") != 0 &&
            strcmp(v->name, "model.embed_tokens.weight") != 0)
            rest += v->bytes;
    }
    ck_assert_uint_gt(rest, 100000);
    ck_assert_uint_eq(media_weights_bytes(st, path, OPS_F32), rest);
    ck_assert_uint_eq(media_weights_bytes(st, path, OPS_BF16), rest / 2);
    tmpdir_make();
    ck_assert_int_eq(mkdir(tmpdir_path("vision-lora"), 0700), 0);
    snprintf(file, sizeof file, "%s/adapter_model.safetensors", tmpdir_path("vision-lora"));
    FILE *f = fopen(file, "w");
    ck_assert(f && ftruncate(fileno(f), 5000) == 0 && fclose(f) == 0);
    ck_assert_uint_eq(media_weights_bytes(st, tmpdir, OPS_F32), rest);
    safetensors_close(st);
    golden_path(path, sizeof path, "native_f32", "model.safetensors");
    st = safetensors_open_file(path, &err);
    ck_assert_msg(st != NULL, "%s", err.text);
    const uint64_t towers = media_weights_bytes(st, "/nowhere", OPS_F32);
    ck_assert_uint_gt(towers, 1000);
    ck_assert_uint_eq(media_weights_bytes(st, tmpdir, OPS_F32), towers + 5000);
    safetensors_close(st);
    tmpdir_remove();
}
END_TEST

static void add_the_rest(TCase *tc)
{
    tcase_add_test(tc, pictures_may_take_turns_after_each_crop);
    tcase_add_test(tc, a_picture_that_is_given_up_leaves_no_trace_in_the_next);
    tcase_add_test(tc, what_the_tower_does_not_implement_is_refused_by_name);
    tcase_add_test(tc, weights_that_do_not_fit_are_refused_by_name);
    tcase_add_test(tc, what_is_not_the_text_models_is_counted_before_it_is_read);
}

int main(void)
{
    Suite *suite = suite_create("vision_encoder");
    TCase *tc = tcase_create("vision_encoder");
    tcase_set_timeout(tc, encoder_on_cuda() ? 900 : 300); /* emulated, on a busy machine */
    tcase_add_loop_test(tc, embeddings_of_pictures_are_those_of_transformers, 0,
                        encoder_on_cuda() ? 1 : 4);
    if (!encoder_on_cuda())
        add_the_rest(tc);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int n = srunner_ntests_failed(runner);
    srunner_free(runner);
    return n ? 1 : 0;
}
