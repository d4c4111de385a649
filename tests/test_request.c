/* test_request.c - tests of src/common/request.c: what POST /generate accepts, refuses and writes.
 */
#include "common/json.h"
#include "common/limits.h"
#include "common/request.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BASE "\"model\":\"M\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static int parse(const char *text, size_t size, bool bridge, struct request *r, struct bytes *why)
{
    return request_parse(text, size, bridge, r, why);
}

/* Expects 422 and that the answer, valid JSON, has loc and type of its first entry as given. */
static void refused(const char *text, const char *loc, const char *type)
{
    struct request r;
    struct bytes why = BYTES_INIT(64 << 10);
    int rc = parse(text, strlen(text), false, &r, &why);
    ck_assert_msg(rc == 422, "%s: %d", text, rc);
    struct json_object *o = json_parse(why.data, why.size, NULL);
    ck_assert_msg(o != NULL, "%s", why.data);
    struct json_object *entry = json_object_array_get_idx(json_object_object_get(o, "detail"), 0);
    ck_assert_ptr_nonnull(entry);
    ck_assert_str_eq(json_object_to_json_string_ext(json_object_object_get(entry, "loc"),
                                                    JSON_C_TO_STRING_PLAIN),
                     loc);
    ck_assert_str_eq(json_object_get_string(json_object_object_get(entry, "type")), type);
    ck_assert_ptr_nonnull(json_object_object_get(entry, "msg"));
    json_object_put(o);
    bytes_free(&why);
}

static void accepted(const char *text, bool bridge, struct request *r)
{
    struct bytes why = BYTES_INIT(64 << 10);
    int rc = parse(text, strlen(text), bridge, r, &why);
    ck_assert_msg(rc == 0, "%s: %d %s", text, rc, why.data);
    bytes_free(&why);
}

START_TEST(a_full_request_is_read)
{
    struct request r;
    accepted(
        "{\"model\":\"M\",\"adapter\":\"sql\",\"container_name\":\"phi\",\"images\":[\"AA==\"],"
        "\"audios\":[\"BB==\",\"CC==\"],\"stream\":true,\"extra\":{\"ignored\":1},"
        "\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"tool\","
        "\"content\":\"b\\u0000c\"}],\"parameters\":{\"temperature\":0.5,\"top_k\":7,"
        "\"top_p\":null,\"do_sample\":false,\"max_new_tokens\":12}}",
        true, &r);
    ck_assert_str_eq(r.model.data, "M");
    ck_assert_str_eq(r.adapter.data, "sql");
    ck_assert_str_eq(r.container_name.data, "phi");
    ck_assert_uint_eq(r.n_messages, 2);
    ck_assert_int_eq(r.messages[0].role, ROLE_SYSTEM);
    ck_assert_int_eq(r.messages[1].role, ROLE_TOOL);
    ck_assert_uint_eq(r.messages[1].content.size, 3);
    ck_assert_uint_eq(r.n_images, 1);
    ck_assert_uint_eq(r.n_audios, 2);
    ck_assert(r.stream);
    ck_assert_uint_eq(r.parameters.set, PARAMETER_TEMPERATURE | PARAMETER_TOP_K |
                                            PARAMETER_DO_SAMPLE | PARAMETER_MAX_NEW_TOKENS);
    ck_assert(r.parameters.temperature == 0.5);
    ck_assert_int_eq(r.parameters.top_k, 7);
    ck_assert(!r.parameters.do_sample);
    request_free(&r);
}
END_TEST

START_TEST(null_is_the_same_as_absent)
{
    struct request r;
    accepted("{" BASE ",\"adapter\":null,\"images\":null,\"audios\":null,\"stream\":null,"
             "\"parameters\":null}",
             false, &r);
    ck_assert_ptr_null(r.adapter.data);
    ck_assert_uint_eq(r.n_images, 0);
    ck_assert(!r.stream);
    ck_assert_uint_eq(r.parameters.set, 0);
    request_free(&r);
}
END_TEST

START_TEST(each_wrong_field_is_named)
{
    refused("{\"messages\":[]}", "[\"body\",\"model\"]", "missing");
    refused("{\"model\":null,\"messages\":[]}", "[\"body\",\"model\"]", "string_type");
    refused("{\"model\":7,\"messages\":[]}", "[\"body\",\"model\"]", "string_type");
    refused("{\"model\":\"M\"}", "[\"body\",\"messages\"]", "missing");
    refused("{\"model\":\"M\",\"messages\":null}", "[\"body\",\"messages\"]", "list_type");
    refused("{\"model\":\"M\",\"messages\":{}}", "[\"body\",\"messages\"]", "list_type");
    refused("{\"model\":\"M\",\"messages\":[3]}", "[\"body\",\"messages\",0]",
            "model_attributes_type");
    refused("{\"model\":\"M\",\"messages\":[{\"content\":\"x\"}]}",
            "[\"body\",\"messages\",0,\"role\"]", "missing");
    refused("{\"model\":\"M\",\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}",
            "[\"body\",\"messages\",0,\"role\"]", "enum");
    refused("{\"model\":\"M\",\"messages\":[{\"role\":\"user\\u0000\",\"content\":\"x\"}]}",
            "[\"body\",\"messages\",0,\"role\"]", "enum");
    refused("{\"model\":\"M\",\"messages\":[{\"role\":\"user\",\"content\":null}]}",
            "[\"body\",\"messages\",0,\"content\"]", "string_type");
    refused("{" BASE ",\"adapter\":[]}", "[\"body\",\"adapter\"]", "string_type");
    refused("{" BASE ",\"images\":\"AA==\"}", "[\"body\",\"images\"]", "list_type");
    refused("{" BASE ",\"images\":[1]}", "[\"body\",\"images\",0]", "string_type");
    refused("{" BASE ",\"audios\":[null]}", "[\"body\",\"audios\",0]", "string_type");
    refused("{" BASE ",\"stream\":\"maybe\"}", "[\"body\",\"stream\"]", "bool_parsing");
    refused("{" BASE ",\"parameters\":[]}", "[\"body\",\"parameters\"]", "model_attributes_type");
    refused("{" BASE ",\"parameters\":{\"do_sample\":2}}",
            "[\"body\",\"parameters\",\"do_sample\"]", "bool_parsing");
    refused("[]", "[\"body\"]", "model_attributes_type");
}
END_TEST

START_TEST(the_bridge_needs_a_container_name)
{
    struct request r;
    struct bytes why = BYTES_INIT(64 << 10);
    static const char text[] = "{" BASE "}";
    ck_assert_int_eq(parse(text, sizeof text - 1, true, &r, &why), 422);
    ck_assert_ptr_nonnull(strstr(why.data, "[\"body\",\"container_name\"]"));
    bytes_free(&why);
}
END_TEST

/* Which of the values each numeric parameter takes; everything else is 422 naming it. */
START_TEST(absurd_numbers_are_refused_by_name)
{
    static const char *const values[] = { "-1",     "0",     "2147483648", "9223372036854775808",
                                          "1e308",  "NaN",   "\"1\"",      "null",
                                          "1e-320", "1e400", "\"x\"",      "[]",
                                          "1.5",    "true",  "\"\"",       "-1e400" };
    static const struct {
        const char *name, *takes; /* one letter per value: y taken, n refused, d bad JSON */
    } fields[] = {
        { "temperature", "nynnndyyynnnyynn" },        { "top_p", "nynnndyyynnnnynn" },
        { "repetition_penalty", "nnnnndyynnnnyynn" }, { "presence_penalty", "yynnndyyynnnyynn" },
        { "frequency_penalty", "yynnndyyynnnyynn" },  { "top_k", "nynnndyynnnnnynn" },
        { "max_new_tokens", "nnnnndyynnnnnynn" },
    };
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            char text[256], loc[128];
            snprintf(text, sizeof text, "{" BASE ",\"parameters\":{\"%s\":%s}}", fields[f].name,
                     values[v]);
            snprintf(loc, sizeof loc, "[\"body\",\"parameters\",\"%s\"]", fields[f].name);
            struct request r;
            struct bytes why = BYTES_INIT(64 << 10);
            int rc = parse(text, strlen(text), false, &r, &why);
            char want = fields[f].takes[v];
            ck_assert_msg((rc == 0) == (want == 'y'), "%s: %d", text, rc);
            if (want == 'n')
                ck_assert_msg(strstr(why.data, loc) != NULL, "%s: %s", text, why.data);
            if (rc == 0)
                request_free(&r);
            bytes_free(&why);
        }
    }
}
END_TEST

START_TEST(values_are_coerced_as_pydantic_does)
{
    struct request r;
    accepted("{" BASE ",\"parameters\":{\"temperature\":\" 0.5 \",\"top_k\":5.0,"
             "\"max_new_tokens\":\"7\",\"do_sample\":\"yes\"}}",
             false, &r);
    ck_assert(r.parameters.temperature == 0.5);
    ck_assert_int_eq(r.parameters.top_k, 5);
    ck_assert_int_eq(r.parameters.max_new_tokens, 7);
    ck_assert(r.parameters.do_sample);
    request_free(&r);
}
END_TEST

START_TEST(the_last_of_duplicate_keys_is_the_one_judged_and_written)
{
    struct request r;
    struct bytes out = BYTES_INIT(4096);
    accepted("{\"container_name\":\"a\",\"container_name\":\"b\",\"model\":\"X\"," BASE "}", true,
             &r);
    ck_assert_str_eq(r.container_name.data, "b");
    ck_assert_int_eq(request_write(&r, &out), 0);
    ck_assert_str_eq(out.data, "{\"model\":\"M\",\"messages\":[{\"role\":\"user\",\"content\":"
                               "\"hi\"}]}");
    bytes_free(&out);
    request_free(&r);
}
END_TEST

START_TEST(what_is_written_reads_back_the_same)
{
    struct request r, again;
    struct bytes out = BYTES_INIT(1 << 20);
    accepted("{" BASE ",\"adapter\":\"a/\\u0007\\u00e9\\ud83d\\ude00\",\"images\":[\"AA==\"],"
             "\"stream\":1,\"parameters\":{\"temperature\":0.1,\"top_p\":0.95,\"top_k\":3,"
             "\"repetition_penalty\":1.1,\"presence_penalty\":-0.3,\"frequency_penalty\":2,"
             "\"max_new_tokens\":9,\"do_sample\":true}}",
             false, &r);
    ck_assert_int_eq(request_write(&r, &out), 0);
    accepted(out.data, false, &again);
    ck_assert_uint_eq(again.adapter.size, r.adapter.size);
    ck_assert_mem_eq(again.adapter.data, r.adapter.data, r.adapter.size);
    ck_assert(again.stream);
    ck_assert_uint_eq(again.parameters.set, r.parameters.set);
    ck_assert(again.parameters.temperature == 0.1);
    ck_assert(again.parameters.presence_penalty == -0.3);
    ck_assert_int_eq(again.parameters.max_new_tokens, 9);
    bytes_free(&out);
    request_free(&r);
    request_free(&again);
}
END_TEST

START_TEST(text_that_is_not_strict_json_is_refused)
{
    static const char *const texts[] = {
        "",
        "{",
        "null",
        "{" BASE "}x",
        "{" BASE ",}",
        "{'model':1}",
        "{" BASE ",\"x\":NaN}",
        "{" BASE ",\"x\":Infinity}",
        "{" BASE ",\"x\":01}",
        "{" BASE ",\"x\":1.}",
        "{" BASE ",\"x\":\"\n\"}",
        "{" BASE ",\"x\":\"\x01\"}",
        "{" BASE ",\"x\":\"\xff\"}",
        "{" BASE ",\"x\":\"\xc0\x80\"}",
        "{" BASE ",\"x\":\"\xed\xa0\x80\"}",
        "/**/{" BASE "}",
        "\xef\xbb\xbf{" BASE "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        refused(texts[i], "[\"body\"]", "json_invalid");
    struct request r;
    struct bytes why = BYTES_INIT(4096);
    static const char nul[] = "{" BASE "}\0{}";
    ck_assert_int_eq(parse(nul, sizeof nul - 1, false, &r, &why), 422);
    bytes_free(&why);
}
END_TEST

START_TEST(a_lone_surrogate_becomes_the_replacement_character)
{
    struct request r;
    accepted("{\"model\":\"\\ud800\",\"messages\":[]}", false, &r);
    ck_assert_str_eq(r.model.data, "\xef\xbf\xbd");
    request_free(&r);
}
END_TEST

/* Fills a text of n copies of piece between head and tail; the caller frees it. */
static char *repeated(const char *head, const char *piece, size_t n, const char *tail)
{
    size_t h = strlen(head), p = strlen(piece);
    char *text = malloc(h + n * p + strlen(tail) + 1), *at = text;
    ck_assert_ptr_nonnull(text);
    at = stpcpy(at, head);
    for (size_t i = 0; i < n; i++)
        at = stpcpy(at, piece);
    strcpy(at, tail);
    return text;
}

START_TEST(depth_and_number_of_values_are_bounded)
{
    char *deep = repeated("{" BASE ",\"x\":", "[", 100000, "");
    char *wide = repeated("{" BASE ",\"x\":[0", ",0", 1000000, "]}");
    char *keys = repeated("{" BASE, ",\"k\":0", 1000000, "}");
    char *messages = repeated("{\"model\":\"M\",\"messages\":[0", ",0", 5000, "]}");
    refused(deep, "[\"body\"]", "json_invalid");
    refused(wide, "[\"body\"]", "json_invalid");
    refused(keys, "[\"body\"]", "json_invalid");
    refused(messages, "[\"body\",\"messages\"]", "too_long");
    free(deep);
    free(wide);
    free(keys);
    free(messages);
}
END_TEST

START_TEST(a_name_longer_than_its_limit_is_refused)
{
    char *model = repeated("{\"messages\":[],\"model\":\"", "m", LIMIT_NAME_BYTES + 1, "\"}");
    char *adapter = repeated("{" BASE ",\"adapter\":\"", "m", 1 << 20, "\"}");
    refused(model, "[\"body\",\"model\"]", "string_too_long");
    refused(adapter, "[\"body\",\"adapter\"]", "string_too_long");
    free(model);
    free(adapter);
}
END_TEST

START_TEST(many_faults_make_a_short_answer)
{
    char *text = repeated("{\"model\":\"M\",\"messages\":[0", ",0", 4000, "]}");
    struct request r;
    struct bytes why = BYTES_INIT(64 << 10);
    ck_assert_int_eq(parse(text, strlen(text), false, &r, &why), 422);
    struct json_object *o = json_parse(why.data, why.size, NULL);
    ck_assert_uint_eq(json_object_array_length(json_object_object_get(o, "detail")), 16);
    json_object_put(o);
    bytes_free(&why);
    free(text);
}
END_TEST

int main(void)
{
    TCase *t = tcase_create("request");
    tcase_add_test(t, a_full_request_is_read);
    tcase_add_test(t, null_is_the_same_as_absent);
    tcase_add_test(t, each_wrong_field_is_named);
    tcase_add_test(t, the_bridge_needs_a_container_name);
    tcase_add_test(t, absurd_numbers_are_refused_by_name);
    tcase_add_test(t, values_are_coerced_as_pydantic_does);
    tcase_add_test(t, the_last_of_duplicate_keys_is_the_one_judged_and_written);
    tcase_add_test(t, what_is_written_reads_back_the_same);
    tcase_add_test(t, text_that_is_not_strict_json_is_refused);
    tcase_add_test(t, a_lone_surrogate_becomes_the_replacement_character);
    tcase_add_test(t, depth_and_number_of_values_are_bounded);
    tcase_add_test(t, a_name_longer_than_its_limit_is_refused);
    tcase_add_test(t, many_faults_make_a_short_answer);
    Suite *s = suite_create("request");
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
