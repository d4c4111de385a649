/* test_phi4_config.c - tests of plugins/engine/phi4_config.c and hub_cache.c. */
#include "common/json.h"
#include "engine/phi4_config.h"
#include "tmpdir.h"

#include <check.h>
#include <math.h>
#include <unistd.h>

static struct airlock_error err;
static struct phi4_config c;

static const char base[] =
    "{\"model_type\":\"phi3\",\"hidden_size\":64,\"intermediate_size\":96,"
    "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"num_key_value_heads\":2,"
    "\"vocab_size\":128,\"partial_rotary_factor\":0.75,\"max_position_embeddings\":256,"
    "\"original_max_position_embeddings\":32,\"rope_scaling\":{\"type\":\"longrope\","
    "\"short_factor\":[1,1,1,1,1,1],\"long_factor\":[2,2,2,2,2,2]},\"bos_token_id\":1,"
    "\"eos_token_id\":2,\"tie_word_embeddings\":true}";

static struct json_object *parse(const char *text)
{
    struct json_object *o = json_parse(text, strlen(text), &err);
    ck_assert_msg(o != NULL, "%s: %s", text, err.text);
    return o;
}

/* base with the members of patch put over it; "-KEY" takes KEY out. */
static int read_patched(const char *patch, const char *generation)
{
    struct json_object *o = parse(base), *p = parse(patch);
    struct json_object *g = generation ? parse(generation) : NULL;
    json_object_object_foreach(p, key, value)
    {
        if (*key == '-')
            json_object_object_del(o, key + 1);
        else
            json_object_object_add(o, key, json_object_get(value));
    }
    err = (struct airlock_error){ 0 };
    int rc = phi4_config_parse(o, g, &c, &err);
    json_object_put(o);
    json_object_put(p);
    json_object_put(g);
    return rc;
}

static void good(const char *patch)
{
    ck_assert_msg(read_patched(patch, NULL) == 0, "%s: %s", patch, err.text);
}

START_TEST(each_wrong_value_is_refused_by_a_sentence_with_its_key)
{
    static const struct {
        const char *patch, *word;
    } cases[] = {
        { "{\"num_attention_heads\":0}", "num_attention_heads" },
        { "{\"num_attention_heads\":-4}", "num_attention_heads" },
        { "{\"num_attention_heads\":5}", "num_attention_heads 5 does not divide" },
        { "{\"num_attention_heads\":128}", "num_attention_heads 128 does not divide" },
        { "{\"num_attention_heads\":\"4\"}", "num_attention_heads must be an integer" },
        { "{\"num_key_value_heads\":3}", "num_key_value_heads 3 does not divide" },
        { "{\"num_key_value_heads\":0}", "num_key_value_heads" },
        { "{\"num_key_value_heads\":8}", "num_key_value_heads 8 does not divide" },
        { "{\"hidden_size\":0}", "hidden_size" },
        { "{\"hidden_size\":9223372036854775807}", "hidden_size" },
        { "{\"hidden_size\":99999999999999999999}", "hidden_size" },
        { "{\"hidden_size\":64.5}", "hidden_size must be an integer" },
        { "{\"-hidden_size\":0}", "hidden_size is missing" },
        { "{\"hidden_size\":null}", "hidden_size is missing" },
        { "{\"-vocab_size\":0}", "vocab_size is missing" },
        { "{\"vocab_size\":0}", "vocab_size" },
        { "{\"num_hidden_layers\":1000000}", "num_hidden_layers" },
        { "{\"head_dim\":15}", "head_dim 15 must be even" },
        { "{\"head_dim\":512}", "head_dim" },
        { "{\"partial_rotary_factor\":0.7}", "partial_rotary_factor" },
        { "{\"partial_rotary_factor\":1.5}", "partial_rotary_factor" },
        { "{\"partial_rotary_factor\":0}", "partial_rotary_factor" },
        { "{\"partial_rotary_factor\":-1}", "partial_rotary_factor" },
        { "{\"partial_rotary_factor\":1e400}", "partial_rotary_factor" },
        { "{\"partial_rotary_factor\":\"x\"}", "partial_rotary_factor must be a number" },
        { "{\"rope_theta\":0}", "rope_theta" },
        { "{\"rope_theta\":1e999}", "rope_theta" },
        { "{\"rope_theta\":-1}", "rope_theta" },
        { "{\"rms_norm_eps\":-1}", "rms_norm_eps" },
        { "{\"rms_norm_eps\":1e999}", "rms_norm_eps" },
        { "{\"hidden_act\":\"gelu\"}", "hidden_act \"gelu\"" },
        { "{\"attention_bias\":true}", "attention_bias" },
        { "{\"mlp_bias\":true}", "mlp_bias" },
        { "{\"lm_head_bias\":true}", "lm_head_bias" },
        { "{\"attention_bias\":1}", "attention_bias must be true or false" },
        { "{\"sliding_window\":128}", "sliding_window 128 is below" },
        { "{\"sliding_window\":0}", "sliding_window" },
        { "{\"model_type\":\"llama\"}", "model_type \"llama\"" },
        { "{\"quantization_config\":{}}", "quantization_config" },
        { "{\"max_position_embeddings\":0}", "max_position_embeddings" },
        { "{\"original_max_position_embeddings\":0}", "original_max_position_embeddings" },
        { "{\"original_max_position_embeddings\":1}", "original_max_position_embeddings" },
        { "{\"tie_word_embeddings\":\"yes\"}", "tie_word_embeddings" },
        { "{\"eos_token_id\":\"x\"}", "eos_token_id" },
        { "{\"eos_token_id\":[1.5]}", "eos_token_id" },
        { "{\"eos_token_id\":[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", "eos_token_id" },
        { "{\"rope_scaling\":[]}", "rope_scaling must be an object" },
        { "{\"rope_scaling\":{\"type\":\"yarn2\"}}", "rope_type \"yarn2\"" },
        { "{\"rope_scaling\":{\"type\":\"longrope\"}}", "short_factor is missing" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1]}}",
          "long_factor is missing" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1],\"long_factor\":["
          "2,2,"
          "2,2,2,2]}}",
          "short_factor has 5 numbers, expected 6" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1],\"long_factor\":"
          "[2,"
          "2,2,2,2,2,2]}}",
          "long_factor has 7 numbers, expected 6" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,0],\"long_factor\":"
          "[2,"
          "2,2,2,2,2]}}",
          "short_factor[5]" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1],\"long_factor\":"
          "[2,"
          "2,2,1e999,2,2]}}",
          "long_factor[3]" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1],\"long_factor\":"
          "[2,"
          "2,1e300,2,2,2]}}",
          "long_factor[2]" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,1,1,1,1,1],\"long_factor\":"
          "["
          "\"2\",2,2,2,2,2]}}",
          "long_factor[0]" },
        { "{\"rope_scaling\":{\"type\":\"longrope\",\"attention_factor\":-1,\"short_factor\":[1,1,"
          "1,1,"
          "1,1],\"long_factor\":[2,2,2,2,2,2]}}",
          "attention_factor" },
        { "{\"-rope_scaling\":0,\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2}}",
          "rope_parameters.rope_type \"linear\"" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(read_patched(cases[i].patch, NULL) == -1, "%s passes", cases[i].patch);
        ck_assert_msg(strstr(err.text, cases[i].word) != NULL, "%s: %s", cases[i].patch, err.text);
        ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
    }
}
END_TEST

START_TEST(each_wrong_generation_value_names_file_and_key)
{
    static const char *const cases[][2] = {
        { "{\"temperature\":-1}", "temperature" },
        { "{\"temperature\":\"hot\"}", "temperature" },
        { "{\"top_p\":1.5}", "top_p" },
        { "{\"top_k\":-1}", "top_k" },
        { "{\"repetition_penalty\":0}", "repetition_penalty" },
        { "{\"max_new_tokens\":0}", "max_new_tokens" },
        { "{\"do_sample\":\"no\"}", "do_sample" },
        { "{\"eos_token_id\":{}}", "eos_token_id" },
        { "[1]", "object" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(read_patched("{}", cases[i][0]) == -1, "%s passes", cases[i][0]);
        ck_assert_msg(strstr(err.text, cases[i][1]) && strstr(err.text, "generation_config.json"),
                      "%s: %s", cases[i][0], err.text);
    }
}
END_TEST

START_TEST(generation_values_come_over_the_configuration)
{
    ck_assert_int_eq(read_patched("{}",
                                  "{\"eos_token_id\":[7,2],\"temperature\":0.5,\"top_k\":null,"
                                  "\"do_sample\":true,\"max_new_tokens\":9}"),
                     0);
    ck_assert_uint_eq(c.n_eos, 2);
    ck_assert_int_eq(c.eos_token_id[0], 7);
    ck_assert_double_eq(c.temperature, 0.5);
    ck_assert_int_eq(c.top_k, 50);
    ck_assert(c.do_sample);
    ck_assert_int_eq(c.max_new_tokens, 9);
    ck_assert_int_eq(c.bos_token_id, 1);
    ck_assert_int_eq(c.pad_token_id, -1);
}
END_TEST

START_TEST(absent_generation_values_are_hugging_faces_defaults)
{
    good("{}");
    ck_assert(!c.do_sample && c.temperature == 1 && c.top_p == 1 && c.repetition_penalty == 1);
    ck_assert_int_eq(c.top_k, 50);
    ck_assert_int_eq(c.max_new_tokens, 0);
    ck_assert_uint_eq(c.n_eos, 1);
    ck_assert_int_eq(c.eos_token_id[0], 2);
}
END_TEST

START_TEST(code_in_the_checkpoint_is_reported_and_nothing_else)
{
    good("{\"auto_map\":{\"AutoModel\":\"evil.py--Model\"}}");
    ck_assert(c.ignored_code);
    good("{}");
    ck_assert(!c.ignored_code);
}
END_TEST

START_TEST(a_window_as_wide_as_the_context_passes)
{
    good("{\"sliding_window\":262144}");
    ck_assert_uint_eq(c.sliding_window, 262144);
    good("{\"sliding_window\":null}");
    ck_assert_uint_eq(c.sliding_window, 0);
}
END_TEST

START_TEST(an_absent_or_null_head_dim_is_hidden_size_by_heads)
{
    good("{\"head_dim\":null}");
    ck_assert_uint_eq(c.head_dim, 16);
    good("{}");
    ck_assert_uint_eq(c.head_dim, 16);
}
END_TEST

static void check_inv_freq(struct json_object *want, const char *key, const float *factor,
                           const char *name)
{
    struct json_object *list = NULL;
    if (json_get_array(want, "", key, &list, &err) == 0)
        return;
    ck_assert_uint_eq(json_object_array_length(list) * 2, c.rotary_dim);
    for (size_t i = 0; i < c.rotary_dim / 2; i++) {
        double exact = 1 / (factor[i] * pow(c.rope_theta, 2.0 * (double)i / (double)c.rotary_dim));
        double got = json_object_get_double(json_object_array_get_idx(list, i));
        ck_assert_msg(fabs(got - exact) <= 1e-6 * exact, "%s %s[%zu]: %g, %g", name, key, i, got,
                      exact);
    }
}

static void check_golden(struct json_object *o)
{
    struct json_object *config, *generation, *want, *eos = NULL;
    const char *name = "";
    int64_t rotary = 0, head = 0, kv = 0, original = 0;
    double factor = 0, theta = 0;
    bool longrope = false, tied = false;
    json_object_object_get_ex(o, "config", &config);
    json_object_object_get_ex(o, "generation", &generation);
    json_object_object_get_ex(o, "want", &want);
    json_get_string(o, "", "name", &name, NULL, &err);
    ck_assert_msg(phi4_config_parse(config, generation, &c, &err) == 0, "%s: %s", name, err.text);
    json_get_int(want, "", "rotary_dim", 0, 1000, &rotary, &err);
    json_get_int(want, "", "head_dim", 0, 1000, &head, &err);
    json_get_int(want, "", "kv_heads", 0, 1000, &kv, &err);
    json_get_double(want, "", "attention_factor", 0, 1000, &factor, &err);
    json_get_double(want, "", "theta", 0, 1e9, &theta, &err);
    json_get_bool(want, "", "longrope", &longrope, &err);
    json_get_bool(want, "", "tied", &tied, &err);
    ck_assert_msg(c.rotary_dim == (size_t)rotary, "%s", name);
    ck_assert_msg(c.head_dim == (size_t)head && c.num_key_value_heads == (size_t)kv, "%s", name);
    ck_assert_msg(fabs(c.attention_factor - factor) < 1e-9, "%s: %.12g, %.12g", name,
                  c.attention_factor, factor);
    ck_assert_msg(c.rope_theta == theta && c.longrope == longrope, "%s", name);
    ck_assert_msg(c.tie_word_embeddings == tied, "%s", name);
    json_get_array(want, "", "eos", &eos, &err);
    ck_assert_msg(c.n_eos == json_object_array_length(eos), "%s: %zu eos", name, c.n_eos);
    for (size_t i = 0; i < c.n_eos; i++)
        ck_assert_int_eq(c.eos_token_id[i], json_object_get_int(json_object_array_get_idx(eos, i)));
    if (json_get_int(want, "", "original", 1, 100000, &original, &err))
        ck_assert_msg(c.original_max_position_embeddings == (size_t)original, "%s", name);
    check_inv_freq(want, "inv_freq", c.short_factor, name);
    check_inv_freq(want, "long_inv_freq", c.long_factor, name);
}

START_TEST(configurations_mean_what_transformers_makes_of_them)
{
    char path[512];
    static char line[65536];
    int cases = 0;
    snprintf(path, sizeof path, "%s/tests/golden/phi4_configs.txt", getenv("top_srcdir"));
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s", path);
    while (fgets(line, sizeof line, f)) {
        struct json_object *o = parse(line);
        check_golden(o);
        json_object_put(o);
        cases++;
    }
    fclose(f);
    ck_assert_int_eq(cases, 34);
}
END_TEST

START_TEST(the_official_configuration_reads)
{
    char dir[512];
    const char *given = getenv("AIRLOCK_PHI4_FILES");
    snprintf(dir, sizeof dir, "%s/Phi-4-mini-instruct", given ? given : "");
    if (!given || access(dir, R_OK) < 0)
        return; /* the official files are not part of this repository */
    ck_assert_msg(phi4_config_read(dir, &c, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(c.rotary_dim, 96);
    ck_assert_uint_eq(c.vocab_size, 200064);
    ck_assert(fabs(c.attention_factor - 1.1902380714) < 1e-9);
    ck_assert(c.longrope && c.long_factor[47] == 47.77f && c.ignored_code);
    ck_assert_uint_eq(c.n_eos, 2);
    ck_assert_int_eq(c.eos_token_id[0], 200020);
}
END_TEST

START_TEST(files_are_read_and_errors_name_the_directory)
{
    ck_assert_int_eq(phi4_config_read(tmpdir, &c, &err), -1);
    ck_assert_msg(strstr(err.text, "config.json") && strstr(err.text, "No such file"), "%s",
                  err.text);
    tmpdir_write_text("config.json", base);
    ck_assert_msg(phi4_config_read(tmpdir, &c, &err) == 0, "%s", err.text);
    tmpdir_write_text("generation_config.json", "{\"top_k\":7}");
    ck_assert_int_eq(phi4_config_read(tmpdir, &c, &err), 0);
    ck_assert_int_eq(c.top_k, 7);
    tmpdir_write_text("generation_config.json", "{\"temperature\":NaN}");
    ck_assert_int_eq(phi4_config_read(tmpdir, &c, &err), -1);
    ck_assert_msg(strstr(err.text, "generation_config.json"), "%s", err.text);
    tmpdir_write_text("generation_config.json", "{");
    ck_assert_int_eq(phi4_config_read(tmpdir, &c, &err), -1);
    ck_assert_msg(strstr(err.text, "generation_config.json"), "%s", err.text);
}
END_TEST

/* ---- Hub cache ---- */

static const char commit[] = "0123456789abcdef0123456789abcdef01234567";

static void make_cache(const char *ref)
{
    char path[512];
    mkdir(tmpdir_path("hub"), 0700);
    mkdir(tmpdir_path("hub/models--org--name-1.0"), 0700);
    mkdir(tmpdir_path("hub/models--org--name-1.0/refs"), 0700);
    mkdir(tmpdir_path("hub/models--org--name-1.0/snapshots"), 0700);
    snprintf(path, sizeof path, "hub/models--org--name-1.0/snapshots/%s", commit);
    mkdir(tmpdir_path(path), 0700);
    tmpdir_write_text("hub/models--org--name-1.0/refs/main", ref);
    setenv("HF_HUB_CACHE", tmpdir_path("hub"), 1);
}

static void found(const char *id)
{
    char out[1024], want[1024];
    ck_assert_msg(phi4_model_dir(id, out, sizeof out, &err) == 0, "%s: %s", id, err.text);
    snprintf(want, sizeof want, "hub/models--org--name-1.0/snapshots/%s", commit);
    char *real = realpath(tmpdir_path(want), NULL);
    ck_assert_str_eq(out, real);
    free(real);
}

static void not_found(const char *id, const char *word)
{
    char out[1024] = "untouched";
    err = (struct airlock_error){ 0 };
    ck_assert_msg(phi4_model_dir(id, out, sizeof out, &err) == -1, "%s gives %s", id, out);
    ck_assert_msg(strstr(err.text, word) != NULL, "%s: %s", id, err.text);
}

START_TEST(a_hub_id_is_found_in_the_local_cache)
{
    char id[128];
    make_cache(commit);
    found("org/name-1.0");
    found("org/name-1.0@main");
    snprintf(id, sizeof id, "org/name-1.0@%s", commit);
    found(id);
    make_cache("0123456789abcdef0123456789abcdef01234567\n");
    found("org/name-1.0");
}
END_TEST

START_TEST(the_cache_is_looked_for_where_hugging_face_does)
{
    static const struct {
        const char *variable, *below;
    } cases[] = { { "HUGGINGFACE_HUB_CACHE", "hub" },
                  { "HF_HOME", "" },
                  { "XDG_CACHE_HOME", "xdg" },
                  { "HOME", "home" } };
    make_cache(commit);
    mkdir(tmpdir_path("xdg"), 0700);
    ck_assert_int_eq(symlink("..", tmpdir_path("xdg/huggingface")), 0);
    mkdir(tmpdir_path("home"), 0700);
    ck_assert_int_eq(symlink("../xdg", tmpdir_path("home/.cache")), 0);
    unsetenv("HF_HUB_CACHE");
    unsetenv("XDG_CACHE_HOME");
    for (size_t i = 0; i < 4; i++) {
        setenv(cases[i].variable, tmpdir_path(cases[i].below), 1);
        found("org/name-1.0");
        unsetenv(cases[i].variable);
    }
    not_found("org/name-1.0", "HF_HUB_CACHE");
}
END_TEST

START_TEST(a_missing_model_says_where_was_looked_and_how_to_get_it)
{
    make_cache(commit);
    not_found("org/other", "hub");
    ck_assert(strstr(err.text, "huggingface-cli download org/other") && strstr(err.text, tmpdir));
    not_found("org/name-1.0@v2", "revision v2");
    not_found("org/name-1.0@1111111111111111111111111111111111111111", "is missing");
    make_cache("../../../../etc");
    not_found("org/name-1.0", "does not hold a commit");
}
END_TEST

START_TEST(an_id_that_looks_like_a_path_is_refused)
{
    static const char *const ids[] = { "../x",   "org/..",     "../..", "org/na/me", "org",
                                       "",       "/nope",      "org/",  "/",         "org/.name",
                                       "-o/n",   "org/n@../x", "o/n@",  "o/n@a/b",   "org/n..m",
                                       "or g/n", "o/n%00",     "o\\/n" };
    make_cache(commit);
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        if (strcmp(ids[i], "../..") == 0 || strcmp(ids[i], "/") == 0)
            continue; /* these are directories */
        not_found(ids[i], "not a directory");
    }
}
END_TEST

START_TEST(a_directory_is_made_absolute)
{
    char out[1024], small[4];
    char *real = realpath(tmpdir, NULL);
    ck_assert_int_eq(chdir(tmpdir), 0);
    mkdir("sub", 0700);
    ck_assert_int_eq(phi4_model_dir("sub/..", out, sizeof out, &err), 0);
    ck_assert_str_eq(out, real);
    ck_assert_int_eq(phi4_model_dir("sub", small, sizeof small, &err), -1);
    ck_assert_int_eq(chdir("/"), 0);
    free(real);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("phi4_config");
    TCase *t = tcase_create("phi4_config");
    tcase_add_checked_fixture(t, tmpdir_make, tmpdir_remove);
    tcase_add_test(t, each_wrong_value_is_refused_by_a_sentence_with_its_key);
    tcase_add_test(t, each_wrong_generation_value_names_file_and_key);
    tcase_add_test(t, generation_values_come_over_the_configuration);
    tcase_add_test(t, absent_generation_values_are_hugging_faces_defaults);
    tcase_add_test(t, code_in_the_checkpoint_is_reported_and_nothing_else);
    tcase_add_test(t, a_window_as_wide_as_the_context_passes);
    tcase_add_test(t, an_absent_or_null_head_dim_is_hidden_size_by_heads);
    tcase_add_test(t, configurations_mean_what_transformers_makes_of_them);
    tcase_add_test(t, the_official_configuration_reads);
    tcase_add_test(t, files_are_read_and_errors_name_the_directory);
    tcase_add_test(t, a_hub_id_is_found_in_the_local_cache);
    tcase_add_test(t, the_cache_is_looked_for_where_hugging_face_does);
    tcase_add_test(t, a_missing_model_says_where_was_looked_and_how_to_get_it);
    tcase_add_test(t, an_id_that_looks_like_a_path_is_refused);
    tcase_add_test(t, a_directory_is_made_absolute);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
