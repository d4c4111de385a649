/* test_constrained_answers.c - the phi4-mini plugin holds answers to schemas and tools, however
 * randomly it samples. */
#include "common/json.h"
#include "null_host.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS = 8 };

static const llm_model_class *cls;

static const llm_host host = { sizeof host, 0, NULL, null_log, null_service };

static void open_plugin(void)
{
    char path[512];
    const char *build = getenv("top_builddir");
    snprintf(path, sizeof path, "%s/plugins/.libs/phi4-mini.so", build ? build : ".");
    cls = model_class_of(path);
    ck_assert_msg(cls != NULL, "%s", cls ? "" : dlerror());
}

struct answer {
    llm_sink sink;
    char text[8192], calls[8192];
    size_t size, n_calls, calls_size;
    llm_stats stats;
    llm_error err;
    llm_status status;
};

static int32_t emit(const llm_sink *sink, const char *bytes, uint64_t n)
{
    struct answer *a = sink->ctx;
    ck_assert_uint_lt(a->size + n, sizeof a->text);
    memcpy(a->text + a->size, bytes, n);
    a->size += n;
    a->text[a->size] = 0;
    return 0;
}

static int32_t tool_call(const llm_sink *sink, const llm_tool_call *call)
{
    struct answer *a = sink->ctx;
    ck_assert_uint_eq(call->index, a->n_calls);
    a->n_calls++;
    a->calls_size += (size_t)snprintf(a->calls + a->calls_size, sizeof a->calls - a->calls_size,
                                      "%.*s %.*s\n", (int)call->name.len, call->name.ptr,
                                      (int)call->arguments.len, call->arguments.ptr);
    return 0;
}

static llm_model *load(const char *dir)
{
    char path[512];
    llm_model *m = NULL;
    llm_error err = { .struct_size = sizeof err };
    struct answer a = { .sink = { .struct_size = sizeof a.sink,
                                  .ctx = &a,
                                  .emit = emit,
                                  .cancelled = never_cancelled } };
    const char *src = getenv("top_srcdir");
    snprintf(path, sizeof path, "%s/%s", src ? src : ".", dir);
    llm_config config = {
        .struct_size = sizeof config, .name = str("test"), .path = str(path), .threads = 1
    };
    ck_assert_msg(cls->create(&host, &config, &m, &err) == LLM_OK, "%s", err.text);
    ck_assert_msg(cls->load(m, &a.sink, &err) == LLM_OK, "%s", err.text);
    return m;
}

/* Asks at temperature 5; r: what is asked besides. */
static void ask(llm_model *m, llm_request r, int64_t seed, int64_t most, struct answer *a)
{
    const llm_message message = { .struct_size = sizeof message,
                                  .role = LLM_ROLE_USER,
                                  .content = str("what is it?") };
    const llm_message *const list[] = { &message };
    const llm_params params = { .struct_size = sizeof params,
                                .set = LLM_P_TEMPERATURE | LLM_P_DO_SAMPLE | LLM_P_SEED |
                                       LLM_P_MAX_NEW_TOKENS | LLM_P_TOP_P | LLM_P_TOP_K,
                                .temperature = 5,
                                .top_p = 1,
                                .do_sample = 1,
                                .seed = seed,
                                .max_new_tokens = most };
    memset(a, 0, sizeof *a);
    a->sink = (llm_sink){ .struct_size = sizeof a->sink,
                          .ctx = a,
                          .emit = emit,
                          .cancelled = never_cancelled,
                          .tool_call = tool_call };
    a->stats.struct_size = sizeof a->stats;
    a->err.struct_size = sizeof a->err;
    r.struct_size = sizeof r;
    r.params = &params;
    if (!r.messages) {
        r.messages = list;
        r.n_messages = 1;
    }
    a->status = cls->generate(m, &r, &a->sink, &a->stats, &a->err);
}

static const char schema[] = "{\"type\":\"object\",\"properties\":{\"n\":{\"type\":\"integer\","
                             "\"minimum\":-5,\"maximum\":99},"
                             "\"c\":{\"enum\":[\"red\",\"blue\"]}},\"required\":[\"n\",\"c\"],"
                             "\"additionalProperties\":false}";

static void assert_of_schema(const char *text)
{
    struct airlock_error err = { 0 };
    int64_t n;
    struct json_object *o = json_parse(text, strlen(text), &err), *c;
    ck_assert_msg(o != NULL, "%s: %s", text, err.text);
    ck_assert_int_eq(json_object_object_length(o), 2);
    ck_assert_int_eq(json_get_int(o, "", "n", -5, 99, &n, NULL), 1);
    ck_assert(json_object_object_get_ex(o, "c", &c));
    ck_assert(strcmp(json_object_get_string(c), "red") == 0 ||
              strcmp(json_object_get_string(c), "blue") == 0);
    json_object_put(o);
}

START_TEST(at_temperature_5_every_answer_is_of_the_schema)
{
    llm_model *m = load("tests/golden/logits/longrope_bf16_gqa3");
    llm_constraint constraint = { sizeof constraint, LLM_CONSTRAINT_JSON_SCHEMA, str(schema) };
    ck_assert_uint_ne(cls->caps & LLM_CAP_CONSTRAINT, 0);
    struct answer first = { .size = 0 };
    int different = 0;
    for (int seed = 0; seed < SEEDS; seed++) {
        struct answer a;
        ask(m, (llm_request){ .constraint = &constraint }, seed, 60, &a);
        ck_assert_msg(a.status == LLM_OK, "%s", a.err.text);
        ck_assert_int_eq(a.stats.finish, LLM_FINISH_STOP);
        assert_of_schema(a.text);
        if (seed == 0)
            first = a;
        different += strcmp(first.text, a.text) != 0;
    }
    ck_assert_int_gt(different, 0);
    cls->destroy(m);
}
END_TEST

START_TEST(a_constrained_answer_that_is_cut_off_says_so)
{
    llm_model *m = load("tests/golden/logits/longrope_bf16_gqa3");
    llm_constraint constraint = { .struct_size = sizeof constraint,
                                  .kind = LLM_CONSTRAINT_JSON_OBJECT };
    struct answer a;
    ask(m, (llm_request){ .constraint = &constraint }, 1, 1, &a);
    ck_assert_int_eq(a.status, LLM_OK);
    ck_assert_int_eq(a.stats.finish, LLM_FINISH_LENGTH);
    ck_assert_int_eq(a.text[0], '{');
    cls->destroy(m);
}
END_TEST

START_TEST(schemas_and_tools_that_cannot_be_used_are_refused)
{
    llm_model *m = load("tests/golden/logits/longrope_bf16_gqa3");
    struct answer a;
    llm_constraint constraint = { sizeof constraint, LLM_CONSTRAINT_JSON_SCHEMA,
                                  str("{\"properties\":{\"x\":{\"not\":{}}}}") };
    ask(m, (llm_request){ .constraint = &constraint }, 1, 9, &a);
    ck_assert_int_eq(a.status, LLM_E_REQUEST);
    ck_assert_ptr_nonnull(strstr(a.err.text, "#/properties/x/not"));
    ask(m, (llm_request){ .tools = str("[{\"name\":\"f\"}]") }, 1, 9, &a);
    ck_assert_int_eq(a.status, LLM_E_UNSUPPORTED);
    ck_assert_ptr_nonnull(strstr(a.err.text, "<|tool_call|>"));
    ask(m, (llm_request){ .tools = str("[{\"name\":7}]") }, 1, 9, &a);
    ck_assert_int_eq(a.status, LLM_E_REQUEST);
    ask(m, (llm_request){ .tools = str("[{\"name\":\"f\"}]"), .tool_choice = str("function:g") }, 1,
        9, &a);
    ck_assert_int_eq(a.status, LLM_E_REQUEST);
    cls->destroy(m);
}
END_TEST

/* The demo's vocabulary has the tokens for tools. */
START_TEST(a_required_call_is_told_and_not_emitted)
{
    llm_model *m = load("demo/model");
    char tools[512];
    snprintf(tools, sizeof tools,
             "[{\"name\":\"other\"},{\"type\":\"function\",\"function\":{\"name\":\"paint\","
             "\"parameters\":%s}}]",
             schema);
    for (int seed = 0; seed < SEEDS; seed++) {
        struct answer a;
        ask(m, (llm_request){ .tools = str(tools), .tool_choice = str("function:paint") }, seed,
            120, &a);
        ck_assert_msg(a.status == LLM_OK, "%s", a.err.text);
        ck_assert_int_eq(a.stats.finish, LLM_FINISH_TOOL_CALLS);
        ck_assert_uint_eq(a.size, 0);
        ck_assert_uint_eq(a.n_calls, 1);
        ck_assert(strncmp(a.calls, "paint ", 6) == 0);
        a.calls[strcspn(a.calls, "\n")] = 0;
        assert_of_schema(a.calls + 6);
    }
    cls->destroy(m);
}
END_TEST

START_TEST(tools_calls_and_results_make_the_prompt_longer_by_their_tokens)
{
    llm_model *m = load("demo/model");
    llm_message messages[] = {
        { .struct_size = sizeof(llm_message), .role = LLM_ROLE_USER, .content = str("go") },
        { .struct_size = sizeof(llm_message), .role = LLM_ROLE_ASSISTANT },
        { .struct_size = sizeof(llm_message), .role = LLM_ROLE_TOOL, .content = str("42") }
    };
    const llm_message *const list[] = { &messages[0], &messages[1], &messages[2] };
    llm_request r = { .messages = list, .n_messages = 3 };
    struct answer without, with;
    ask(m, r, 1, 1, &without);
    ck_assert_int_eq(without.status, LLM_OK);
    messages[1].tool_calls = str("[{\"name\":\"f\",\"arguments\":{}}]");
    r.tools = str("[{\"name\":\"f\"}]");
    r.tool_choice = str("none");
    ask(m, r, 1, 1, &with);
    ck_assert_msg(with.status == LLM_OK, "%s", with.err.text);
    ck_assert_uint_gt(with.stats.tokens_in, without.stats.tokens_in + 20);
    messages[1].tool_calls = str("[{\"name\":\"f\",\"arguments\":7}]");
    ask(m, r, 1, 1, &with);
    ck_assert_int_eq(with.status, LLM_E_REQUEST);
    ck_assert_ptr_nonnull(strstr(with.err.text, "messages[1]"));
    cls->destroy(m);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("constrained answers");
    TCase *t = tcase_create("abi");
    tcase_add_checked_fixture(t, open_plugin, NULL);
    tcase_set_timeout(t, 300);
    tcase_add_test(t, at_temperature_5_every_answer_is_of_the_schema);
    tcase_add_test(t, a_constrained_answer_that_is_cut_off_says_so);
    tcase_add_test(t, schemas_and_tools_that_cannot_be_used_are_refused);
    tcase_add_test(t, a_required_call_is_told_and_not_emitted);
    tcase_add_test(t, tools_calls_and_results_make_the_prompt_longer_by_their_tokens);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
