/* test_model_config.c - tests of src/server/model_config.c: the original's file, ours, and one
 * sentence for each mistake. */
#include "server/model_config.h"
#include "suite.h"
#include "tmpdir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES "\"name\":\"m\",\"class_name\":\"C\",\"model_path\":\"p\""

static void load(const char *text, struct server_config *c)
{
    struct airlock_error err;
    ck_assert_msg(config_parse(text, strlen(text), "/", c, &err) == 0, "%s: %s", text, err.text);
}

START_TEST(the_originals_file_loads)
{
    struct server_config c;
    load("{\n  \"models\": [\n    {\n      \"name\": \"phi4MiniInstruct\",\n"
         "      \"class_name\": \"LLMModelPhi4MiniInstruct\",\n"
         "      \"model_path\": \"microsoft/Phi-4-mini-instruct\",\n"
         "      \"adapter_map\": {\n        \"sql\": \"/path/to/adapter/saved_model\"\n      },\n"
         "      \"max_concurrent_per_adapter\": 1\n    }\n  ]\n}\n",
         &c);
    ck_assert_uint_eq(c.n_models, 1);
    struct model_config *m = &c.models[0];
    ck_assert_str_eq(m->name, "phi4MiniInstruct");
    ck_assert_str_eq(m->class_name, "LLMModelPhi4MiniInstruct");
    ck_assert_str_eq(m->model_path, "microsoft/Phi-4-mini-instruct"); /* a Hub id stays one */
    ck_assert_uint_eq(m->n_adapters, 1);
    ck_assert_str_eq(m->adapters[0].name, "sql");
    ck_assert_str_eq(m->adapters[0].path, "/path/to/adapter/saved_model");
    ck_assert_uint_eq(m->max_concurrent_per_adapter, 1);
    ck_assert_ptr_null(m->plugin);
    config_free(&c);
}
END_TEST

START_TEST(every_key_of_ours_is_read)
{
    struct server_config c;
    load("{\"models\":[{" NAMES ",\"plugin\":\"x/y.so\",\"plugin_sha256\":"
         "\"00112233445566778899AABBccddeeff00112233445566778899aabbccddeeff\","
         "\"adapter_plugin\":\"other\",\"device\":\"cuda:1\",\"dtype\":\"bf16\","
         "\"max_context\":4096,\"max_batch\":8,\"kv_memory\":\"1.5GiB\",\"threads\":3,"
         "\"queue\":0,\"max_concurrent_per_adapter\":1024,\"options\":{\"a\":[1]}}]}",
         &c);
    struct model_config *m = &c.models[0];
    ck_assert_str_eq(m->plugin, "//x/y.so");
    ck_assert_str_eq(m->adapter_plugin, "other");
    ck_assert(m->has_sha256);
    ck_assert_uint_eq(m->sha256[1], 0x11);
    ck_assert_uint_eq(m->sha256[10], 0xaa);
    ck_assert_str_eq(m->device, "cuda:1");
    ck_assert_str_eq(m->dtype, "bf16");
    ck_assert_uint_eq(m->max_context, 4096);
    ck_assert_uint_eq(m->max_batch, 8);
    ck_assert_uint_eq(m->kv_memory, 3ull << 29);
    ck_assert_uint_eq(m->threads, 3);
    ck_assert_uint_eq(m->queue, 0);
    ck_assert_uint_eq(m->max_concurrent_per_adapter, 1024);
    ck_assert_str_eq(m->options_json, "{\"a\":[1]}");
    config_free(&c);
}
END_TEST

START_TEST(each_mistake_is_one_sentence_with_its_place)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        { "", "JSON: " },
        { "[]", "the document must be an object" },
        { "{}", "models is missing" },
        { "{\"models\":{}}", "models must be an array" },
        { "{\"models\":[]}", "models must have 1 to 64 entries, not 0" },
        { "{\"models\":[7]}", "models[0] must be an object" },
        { "{\"model\":[]}", "model is not a known key" },
        { "{\"models\":[{}]}", "models[0].name is missing" },
        { "{\"models\":[{\"name\":\"m\"}]}", "models[0].class_name is missing" },
        { "{\"models\":[{\"name\":\"m\",\"class_name\":\"C\"}]}",
          "models[0].model_path is missing" },
        { "{\"models\":[{\"name\":7}]}", "models[0].name must be a string" },
        { "{\"models\":[{\"name\":\"a:b\",\"class_name\":\"C\",\"model_path\":\"p\"}]}",
          "models[0].name must have 1 to 128 bytes" },
        { "{\"models\":[{\"name\":\"\",\"class_name\":\"C\",\"model_path\":\"p\"}]}",
          "models[0].name must have" },
        { "{\"models\":[{\"name\":\"m\",\"class_name\":\"C\",\"model_path\":\"\"}]}",
          "models[0].model_path must not be empty" },
        { "{\"models\":[{\"name\":\"m\",\"class_name\":\"C\",\"model_path\":\"a\\u0000b\"}]}",
          "models[0].model_path must be a string without NUL" },
        { "{\"models\":[{" NAMES ",\"modle\":1}]}", "models[0].modle is not a known key" },
        { "{\"models\":[{" NAMES "},{" NAMES "}]}",
          "models[1].name is the same as models[0].name" },
        { "{\"models\":[{" NAMES ",\"adapter_map\":[]}]}",
          "models[0].adapter_map must be an object" },
        { "{\"models\":[{" NAMES ",\"adapter_map\":{\"base\":\"x\"}}]}",
          "models[0].adapter_map.base: the name base is reserved" },
        { "{\"models\":[{" NAMES ",\"adapter_map\":{\"a\":7}}]}",
          "models[0].adapter_map.a must be a string" },
        { "{\"models\":[{" NAMES ",\"adapter_map\":{\"a\":\"\"}}]}",
          "models[0].adapter_map.a must not be empty" },
        { "{\"models\":[{" NAMES ",\"adapter_map\":{\"\":\"x\"}}]}",
          "models[0].adapter_map has a name that is empty" },
        { "{\"models\":[{" NAMES ",\"adapter_map\":{\"a\\u001b\":\"x\"}}]}",
          "models[0].adapter_map has a name that is empty" },
        { "{\"models\":[{" NAMES ",\"max_concurrent_per_adapter\":0}]}",
          "models[0].max_concurrent_per_adapter must be from 1 to 1024, not 0" },
        { "{\"models\":[{" NAMES ",\"max_concurrent_per_adapter\":9223372036854775808}]}",
          "models[0].max_concurrent_per_adapter must be from" },
        { "{\"models\":[{" NAMES ",\"max_concurrent_per_adapter\":\"1\"}]}",
          "models[0].max_concurrent_per_adapter must be an integer" },
        { "{\"models\":[{" NAMES ",\"queue\":-1}]}", "models[0].queue must be from 0 to 4096" },
        { "{\"models\":[{" NAMES ",\"max_context\":0}]}", "models[0].max_context must be from 1" },
        { "{\"models\":[{" NAMES ",\"max_batch\":1.5}]}",
          "models[0].max_batch must be an integer" },
        { "{\"models\":[{" NAMES ",\"kv_memory\":\"2 GB\"}]}",
          "models[0].kv_memory must be a size" },
        { "{\"models\":[{" NAMES ",\"kv_memory\":\"1e3MiB\"}]}",
          "models[0].kv_memory must be a size" },
        { "{\"models\":[{" NAMES ",\"kv_memory\":\"..GiB\"}]}",
          "models[0].kv_memory must be a size" },
        { "{\"models\":[{" NAMES ",\"kv_memory\":\"99999999999TiB\"}]}",
          "models[0].kv_memory must be a size" },
        { "{\"models\":[{" NAMES ",\"kv_memory\":true}]}", "models[0].kv_memory must be a number" },
        { "{\"models\":[{" NAMES ",\"kv_memory\":0}]}", "models[0].kv_memory must be from 1" },
        { "{\"models\":[{" NAMES ",\"device\":\"gpu\"}]}",
          "models[0].device must be auto, cpu, cuda" },
        { "{\"models\":[{" NAMES ",\"device\":\"cuda:\"}]}", "models[0].device must be" },
        { "{\"models\":[{" NAMES ",\"device\":\"cuda:1x\"}]}", "models[0].device must be" },
        { "{\"models\":[{" NAMES ",\"plugin\":\"\"}]}", "models[0].plugin must be a module name" },
        { "{\"models\":[{" NAMES ",\"plugin\":\"..\"}]}",
          "models[0].plugin must be a module name" },
        { "{\"models\":[{" NAMES ",\"plugin_sha256\":\"x\"}]}",
          "models[0].plugin_sha256 must be 64" },
        { "{\"models\":[{" NAMES ",\"plugin_sha256\":"
          "\"0000000000000000000000000000000000000000000000000000000000000000\"}]}",
          "models[0].plugin_sha256 needs plugin" },
        { "{\"models\":[{" NAMES ",\"options\":[]}]}", "models[0].options must be an object" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct server_config c;
        struct airlock_error err = { 0 };
        int rc = config_parse(cases[i].text, strlen(cases[i].text), "/", &c, &err);
        ck_assert_msg(rc == -1, "%s", cases[i].text);
        ck_assert_msg(strncmp(err.text, cases[i].sentence, strlen(cases[i].sentence)) == 0,
                      "%s: %s", cases[i].text, err.text);
        ck_assert_int_eq(err.code, AIRLOCK_E_CONFIG);
        ck_assert_ptr_null(strchr(err.text, '\n'));
    }
}
END_TEST

START_TEST(relative_paths_are_of_the_files_folder)
{
    struct server_config c;
    struct airlock_error err;
    tmpdir_make();
    mkdir(tmpdir_path("model"), 0700);
    mkdir(tmpdir_path("adapter"), 0700);
    FILE *f = fopen(tmpdir_path("c.json"), "w");
    fputs("{\"models\":[{\"name\":\"m\",\"class_name\":\"C\",\"model_path\":\"model\",\"plugin\":"
          "\"./x.so\",\"adapter_map\":{\"a\":\"adapter\",\"b\":\"org/none\"}}]}",
          f);
    fclose(f);
    ck_assert_msg(config_load(tmpdir_path("c.json"), &c, &err) == 0, "%s", err.text);
    char *real = realpath(tmpdir, NULL), wanted[4096];
    snprintf(wanted, sizeof wanted, "%s/model", real);
    ck_assert_str_eq(c.models[0].model_path, wanted);
    ck_assert_str_eq(c.models[0].written_path, "model");
    snprintf(wanted, sizeof wanted, "%s/adapter", real);
    ck_assert_str_eq(c.models[0].adapters[0].path, wanted);
    ck_assert_str_eq(c.models[0].adapters[1].path, "org/none");
    snprintf(wanted, sizeof wanted, "%s/./x.so", real);
    ck_assert_str_eq(c.models[0].plugin, wanted);
    config_free(&c);
    free(real);
    f = fopen(tmpdir_path("c.json"), "w");
    fputs("{\"models\":7}", f);
    fclose(f);
    ck_assert_int_eq(config_load(tmpdir_path("c.json"), &c, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "c.json: models must be an array"));
    ck_assert_int_eq(config_load(tmpdir_path("none.json"), &c, &err), -1);
    ck_assert_int_eq(config_load(tmpdir, &c, &err), -1);
    tmpdir_remove();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { the_originals_file_loads, every_key_of_ours_is_read,
                                   each_mistake_is_one_sentence_with_its_place,
                                   relative_paths_are_of_the_files_folder, NULL };
    return suite_run("model_config", tests);
}
