/* test_json.c - tests of src/common/json.c: strictness, limits, getters that name the place. */
#include "common/json.h"
#include "suite.h"

#include <string.h>

static struct json_object *parsed(const char *text)
{
    struct airlock_error err;
    struct json_object *o = json_parse(text, strlen(text), &err);
    ck_assert_msg(o != NULL, "%s: %s", text, err.text);
    return o;
}

START_TEST(plain_documents_are_read)
{
    static const char *const texts[] = { "{}",
                                         "[]",
                                         "7",
                                         "-0.5e3",
                                         "\"x\"",
                                         "true",
                                         " [1 , 2] \n",
                                         "{\"a\":{\"b\":[null]}}",
                                         "\"\\u00e9\\\"\\\\\"" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        json_object_put(parsed(texts[i]));
}
END_TEST

START_TEST(what_is_not_json_is_refused_with_the_byte)
{
    static const char *const texts[] = { "",
                                         " ",
                                         "{",
                                         "[1",
                                         "[1,]",
                                         "{\"a\"}",
                                         "{a:1}",
                                         "{'a':1}",
                                         "[01]",
                                         "[+1]",
                                         "[1.]",
                                         "[.5]",
                                         "[1e]",
                                         "[NaN]",
                                         "[Infinity]",
                                         "[0x1]",
                                         "[nul]",
                                         "[True]",
                                         "\"a\nb\"",
                                         "\"\\x\"",
                                         "1 2",
                                         "[] []",
                                         "// c\n[]",
                                         "null",
                                         "\"\xff\"",
                                         "\"\xc3\"",
                                         "\"\xed\xa0\x80\"",
                                         "\"\xf4\x90\x80\x80\"",
                                         "\"abc" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct airlock_error err = { 0 };
        ck_assert_msg(json_parse(texts[i], strlen(texts[i]), &err) == NULL, "%s", texts[i]);
        ck_assert_int_eq(err.code, AIRLOCK_E_SHAPE);
        ck_assert_msg(strncmp(err.text, "JSON", 4) == 0, "%s", err.text);
    }
    struct airlock_error err = { 0 };
    ck_assert_ptr_null(json_parse("[1]\0[2]", 7, &err));
    ck_assert_ptr_null(json_parse("[1, ?]", 6, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "byte 4"));
}
END_TEST

START_TEST(nesting_and_number_of_values_are_limited)
{
    struct airlock_error err = { 0 };
    char deep[2 * 40 + 1] = { 0 };
    memset(deep, '[', 40);
    memset(deep + 40, ']', 40);
    ck_assert_ptr_null(json_parse(deep, 80, &err));
    json_object_put(parsed("[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]"));
    ck_assert_ptr_null(json_parse_max("[1,2,3]", 7, 3, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "more than 3 values"));
    struct json_object *o = json_parse_max("[1,\",[{\"]", 9, 3, &err); /* commas in text are free */
    ck_assert_ptr_nonnull(o);
    json_object_put(o);
}
END_TEST

START_TEST(getters_tell_found_from_absent_and_name_the_place)
{
    struct json_object *o = parsed("{\"s\":\"x\",\"i\":7,\"d\":0.5,\"b\":true,\"o\":{},\"a\":[],"
                                   "\"n\":null,\"z\":\"a\\u0000b\",\"inf\":1e999}");
    struct airlock_error err = { 0 };
    const char *s = NULL;
    size_t size = 0;
    int64_t i = 0;
    double d = 0;
    bool b = false;
    struct json_object *inner = NULL;
    ck_assert_int_eq(json_get_string(o, "f.", "s", &s, NULL, &err), 1);
    ck_assert_str_eq(s, "x");
    ck_assert_int_eq(json_get_string(o, "f.", "z", &s, &size, &err), 1);
    ck_assert_uint_eq(size, 3);
    ck_assert_int_eq(json_get_string(o, "f.", "z", &s, NULL, &err), -1);
    ck_assert_int_eq(json_get_int(o, "f.", "i", 0, 9, &i, &err), 1);
    ck_assert_int_eq(json_get_double(o, "f.", "d", 0, 1, &d, &err), 1);
    ck_assert_int_eq(json_get_double(o, "f.", "i", 0, 9, &d, &err), 1);
    ck_assert_int_eq(json_get_bool(o, "f.", "b", &b, &err), 1);
    ck_assert_int_eq(json_get_object(o, "f.", "o", &inner, &err), 1);
    ck_assert_int_eq(json_get_array(o, "f.", "a", &inner, &err), 1);
    ck_assert_int_eq(json_get_int(o, "f.", "n", 0, 9, &i, &err), 0);
    ck_assert_int_eq(json_get_int(o, "f.", "absent", 0, 9, &i, &err), 0);

    ck_assert_int_eq(json_get_int(o, "models[0].", "i", 8, 9, &i, &err), -1);
    ck_assert_str_eq(err.text, "models[0].i must be from 8 to 9, not 7");
    ck_assert_int_eq(json_get_double(o, "f.", "inf", 0, 1, &d, &err), -1);
    ck_assert_str_eq(err.text, "f.inf must be a finite number");
    ck_assert_int_eq(json_get_bool(o, "f.", "i", &b, &err), -1);
    ck_assert_int_eq(json_get_object(o, "f.", "a", &inner, &err), -1);
    ck_assert_int_eq(json_get_array(o, "f.", "o", &inner, &err), -1);
    ck_assert_int_eq(json_get_string(o, "f.", "i", &s, NULL, &err), -1);
    ck_assert_int_eq(json_require(0, "f.", "x", &err), -1);
    ck_assert_str_eq(err.text, "f.x is missing");
    static const char *const keys[] = { "s", "i", NULL };
    ck_assert_int_eq(json_only_keys(o, "f.", keys, &err), -1);
    ck_assert_str_eq(err.text, "f.d is not a known key");
    json_object_put(o);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { plain_documents_are_read,
                                   what_is_not_json_is_refused_with_the_byte,
                                   nesting_and_number_of_values_are_limited,
                                   getters_tell_found_from_absent_and_name_the_place, NULL };
    return suite_run("json", tests);
}
