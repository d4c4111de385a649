/* test_json_schema.c - the automaton of a schema accepts what Python's json and jsonschema accept,
 * and what cannot be compiled is refused quickly, with its JSON pointer: attack case A11. */
#include "engine/json_schema.h"

#include "common/bytes.h"
#include "common/io.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_tables *compile(const char *schema)
{
    struct airlock_error err = { 0 };
    struct json_tables *t = json_schema_compile(schema, strlen(schema), &err);
    ck_assert_msg(t != NULL, "%s: %s", schema, err.text);
    return t;
}

static bool accepts_text(const struct json_tables *t, const char *text, size_t size)
{
    struct json_config c, next;
    json_automaton_start(t, &c);
    for (size_t i = 0; i < size; i++) {
        if (!json_automaton_step(t, &c, (uint8_t)text[i], &next))
            return false;
        c = next;
    }
    return json_automaton_complete(t, &c);
}

static bool accepts(const char *schema, const char *text)
{
    struct json_tables *t = compile(schema);
    bool yes = accepts_text(t, text, strlen(text));
    json_tables_free(t);
    return yes;
}

static void assert_refused(const char *schema, size_t size, const char *says)
{
    struct airlock_error err = { 0 };
    uint64_t before = io_now_ns();
    struct json_tables *t = json_schema_compile(schema, size, &err);
    ck_assert_msg(t == NULL, "%.80s was compiled", schema);
    ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    ck_assert_msg(strstr(err.text, says) != NULL, "\"%s\" says nothing of \"%s\"", err.text, says);
    ck_assert_uint_lt(io_now_ns() - before, UINT64_C(20000000000)); /* a hang, not a slow machine */
}

/* ---- the oracle ------------------------------------------------------------------------------ */

START_TEST(texts_are_accepted_and_refused_as_jsonschema_does)
{
    char path[4096];
    struct bytes file = BYTES_INIT(4 << 20);
    struct airlock_error err = { 0 };
    struct json_tables *t = NULL;
    size_t good = 0, bad = 0, wrong = 0;
    const char *schema = "";
    snprintf(path, sizeof path, "%s/tests/golden/json_schema.txt", getenv("top_srcdir"));
    ck_assert_int_eq(io_read_file(path, &file, NULL), 0);
    for (char *line = strtok(file.data, "\n"); line; line = strtok(NULL, "\n")) {
        if (line[0] == 'S') {
            json_tables_free(t);
            schema = line + 2;
            t = json_schema_compile(schema, strlen(schema), &err);
            /* a random schema may be one that nothing satisfies */
            ck_assert_msg(t || strstr(err.text, "no JSON text"), "%s: %s", schema, err.text);
            continue;
        }
        bool want = line[0] == '+', got = t && accepts_text(t, line + 2, strlen(line + 2));
        *(want ? &good : &bad) += 1;
        if (want != got && wrong++ < 10)
            fprintf(stderr, "%s %s although it is %s of %s\n", line + 2,
                    got ? "is accepted" : "is refused", want ? "one" : "none", schema);
    }
    json_tables_free(t);
    bytes_free(&file);
    ck_assert_uint_gt(good, 300);
    ck_assert_uint_gt(bad, 1000);
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

/* ---- what the form of a document is ---------------------------------------------------------- */

START_TEST(one_space_may_stand_behind_commas_and_colons_and_no_other)
{
    const char *schema = "{\"type\":\"object\",\"properties\":{\"a\":{},\"b\":{}}}";
    ck_assert(accepts(schema, "{\"a\":1,\"b\":[1,2]}"));
    ck_assert(accepts(schema, "{\"a\": 1, \"b\": [1, 2]}"));
    static const char *const refused[] = { " {\"a\":1}",    "{ \"a\":1}", "{\"a\" :1}",
                                           "{\"a\":  1}",   "{\"a\":1 }", "{\"a\":1,  \"b\":1}",
                                           "{\"a\":\n1}",   "{\"a\":1} ", "{\"b\":[1 ,2]}",
                                           "{\"b\":[ 1,2]}" };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        ck_assert_msg(!accepts(schema, refused[i]), "%s", refused[i]);
}
END_TEST

START_TEST(properties_come_in_the_order_of_the_schema_and_then_the_undeclared)
{
    const char *schema = "{\"type\":\"object\",\"properties\":{\"z\":{\"type\":\"integer\"},\"a\":{"
                         "\"type\":\"integer\"}},\"additionalProperties\":{\"type\":\"null\"}}";
    ck_assert(accepts(schema, "{\"z\":1,\"a\":2,\"k\":null}"));
    ck_assert(accepts(schema, "{\"a\":2}"));
    ck_assert(accepts(schema, "{\"k\":null}"));
    ck_assert(!accepts(schema, "{\"a\":2,\"z\":1}"));
    ck_assert(!accepts(schema, "{\"k\":null,\"a\":2}"));
    ck_assert(!accepts(schema, "{\"\\u0061\":null}")); /* "a" in disguise */
}
END_TEST

START_TEST(strings_are_utf8_with_whole_escapes_and_surrogate_pairs)
{
    const char *schema = "{\"type\":\"string\"}";
    static const char *const good[] = { "\"\"",         "\"\\ud83d\\ude00\"",   "\"\\u00E9\\n\\/\"",
                                        "\"\xc3\xa9\"", "\"\xf0\x9f\x98\x80\"", "\"\x7f\"" };
    static const char *const bad[] = {
        "\"\\ud83d\"",          "\"\\ude00\"", "\"\\ud83dx\"",     "\"\\ud83d\\n\"", "\"\\x\"",
        "\"\\u12g4\"",          "\"\xc3\"",    "\"\xed\xa0\x80\"", "\"\xc0\x80\"",   "\"\n\"",
        "\"\xf5\x80\x80\x80\"", "\""
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        ck_assert_msg(accepts(schema, good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        ck_assert_msg(!accepts(schema, bad[i]), "%s", bad[i]);
}
END_TEST

START_TEST(integer_bounds_are_exact)
{
    static const long bounds[][2] = { { 0, 0 },      { -3, 4 },   { 7, 1203 },
                                      { -1000, -1 }, { -117, 8 }, { 99, 101 },
                                      { -1, 0 },     { 10, 10 },  { 1989, 2011 } };
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        char schema[128], text[32];
        snprintf(schema, sizeof schema, "{\"type\":\"integer\",\"minimum\":%ld,\"maximum\":%ld}",
                 bounds[i][0], bounds[i][1]);
        struct json_tables *t = compile(schema);
        for (long n = -2500; n <= 2500; n++) {
            int size = snprintf(text, sizeof text, "%ld", n);
            bool want = n >= bounds[i][0] && n <= bounds[i][1];
            ck_assert_msg(accepts_text(t, text, (size_t)size) == want, "%s: %s", schema, text);
        }
        ck_assert(!accepts_text(t, "-0", 2));
        ck_assert(!accepts_text(t, "007", 3));
        json_tables_free(t);
    }
}
END_TEST

START_TEST(lengths_count_characters_and_not_bytes)
{
    const char *schema = "{\"type\":\"string\",\"minLength\":2,\"maxLength\":3}";
    ck_assert(accepts(schema, "\"\xc3\xa9\\ud83d\\ude00\""));
    ck_assert(accepts(schema, "\"\\n\\u0041x\""));
    ck_assert(!accepts(schema, "\"\xc3\xa9\""));
    ck_assert(!accepts(schema, "\"abcd\""));
}
END_TEST

START_TEST(nesting_ends_where_a_parser_would_refuse_it)
{
    char text[256];
    size_t n = 0;
    for (int depth = 1; depth < 64; depth++) {
        n = 0;
        for (int i = 0; i < depth; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "[");
        for (int i = 0; i < depth; i++)
            n += (size_t)snprintf(text + n, sizeof text - n, "]");
        ck_assert_int_eq(accepts("{}", text), depth < JSON_MAX_LEVELS);
    }
}
END_TEST

/* ---- refusals -------------------------------------------------------------------------------- */

START_TEST(what_is_not_supported_is_named_by_its_json_pointer)
{
    static const struct {
        const char *schema, *says;
    } cases[] = {
        { "{\"properties\":{\"a/b\":{\"not\":{}}}}", "#/properties/a~1b/not: " },
        { "{\"type\":\"array\",\"items\":{\"anyOf\":[{},{\"patternProperties\":{}}]}}",
          "#/items/anyOf/1/patternProperties: " },
        { "{\"type\":\"object\",\"if\":{}}", "#/if: " },
        { "{\"type\":\"array\",\"uniqueItems\":true}", "#/uniqueItems: " },
        { "{\"type\":\"string\",\"format\":\"email\"}", "#/format: \"email\" is not supported" },
        { "{\"type\":\"number\",\"minimum\":0.5}", "#/minimum: " },
        { "{\"type\":\"number\",\"multipleOf\":2}", "#/multipleOf: " },
        { "{\"type\":\"strin\"}", "#/type: \"strin\"" },
        { "{\"$ref\":\"http://example.org/x\"}", "#/$ref: " },
        { "{\"$ref\":\"#/$defs/missing\"}", "#/$ref: \"#/$defs/missing\" is not in this schema" },
        { "{\"properties\":{\"a\":7}}", "#/properties/a: must be a schema" },
        { "{\"enum\":[1],\"minimum\":0}", "#/minimum: is not supported beside enum" },
        { "{\"type\":\"object\",\"required\":[\"x\"],\"properties\":{},\"additionalProperties\":"
          "false}",
          "#/required: \"x\"" },
        { "{\"allOf\":[{\"pattern\":\"a\"},{\"pattern\":\"b\"}]}", "#/allOf/1/pattern: " },
        { "{\"type\":\"string\",\"minLength\":-1}", "#/minLength: " },
        { "[]", "#: must be a schema" },
        { "", "#: the schema is not usable JSON" },
        { "{\"type\":\"string\"", "#: the schema is not usable JSON" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].schema, strlen(cases[i].schema), cases[i].says);
}
END_TEST

START_TEST(patterns_that_have_no_automaton_are_refused_with_their_place)
{
    static const struct {
        const char *pattern, *says;
    } cases[] = {
        { "(a", "a group is not closed" },
        { "a)", "closed that was not opened" },
        { "[a", "a class is not closed" },
        { "*a", "nothing before it" },
        { "a**", "a quantifier follows another" },
        { "a{2,1}", "a quantifier in braces" },
        { "a{99999}", "a quantifier" },
        { "(?=a)", "group is not supported" },
        { "(a)\\\\1", "this escape is not supported" },
        { "\\\\p{L}", "this escape is not supported" },
        { "a^b", "^ and $ are supported only" },
        { "[z-a]", "out of order" },
        { "\\\\", "a backslash stands at the end" },
        { "(a{1000}){1000}", "too large" },
        { "((a{100}){100}){100}", "too large" },
        { "(.*a){40}.{12}a.{12}", "too many states" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char schema[256];
        snprintf(schema, sizeof schema,
                 "{\"properties\":{\"p\":{\"type\":\"string\",\"pattern\":\"%s\"}}}",
                 cases[i].pattern);
        assert_refused(schema, strlen(schema), "#/properties/p/pattern: ");
        assert_refused(schema, strlen(schema), cases[i].says);
    }
}
END_TEST

/* repeat times `open`, middle, repeat times `close`. */
static char *nested(const char *open, const char *middle, const char *close, size_t repeat)
{
    char *out = malloc(repeat * (strlen(open) + strlen(close)) + strlen(middle) + 1), *at = out;
    for (size_t i = 0; i < repeat; i++)
        at = stpcpy(at, open);
    at = stpcpy(at, middle);
    for (size_t i = 0; i < repeat; i++)
        at = stpcpy(at, close);
    return out;
}

START_TEST(a11_nesting_of_groups_and_schemas_is_refused)
{
    char *groups = nested("(", "a", ")", 60000), schema[256];
    char *text = malloc(strlen(groups) + 64);
    sprintf(text, "{\"type\":\"string\",\"pattern\":\"%s\"}", groups);
    assert_refused(text, strlen(text), "#/pattern: ");
    groups[40] = 0; /* 40 deep and not closed */
    snprintf(schema, sizeof schema, "{\"type\":\"string\",\"pattern\":\"%s\"}", groups);
    assert_refused(schema, strlen(schema), "nested more than 32 deep");
    free(text);
    free(groups);
    text = nested("{\"items\":", "{}", "}", 60000);
    assert_refused(text, strlen(text), "#: the schema is not usable JSON");
    free(text);
}
END_TEST

START_TEST(a11_schemas_that_refer_to_themselves_or_grow_are_refused)
{
    static const struct {
        const char *schema, *says;
    } cases[] = {
        { "{\"$ref\":\"#\"}", "refers to itself" },
        { "{\"anyOf\":[{\"$ref\":\"#\"},{\"$ref\":\"#\"}]}", "refers to itself" },
        { "{\"allOf\":[{\"$ref\":\"#\"}]}", "refers to itself" },
        { "{\"type\":\"object\",\"properties\":{\"x\":{\"$ref\":\"#\"}},\"required\":[\"x\"]}",
          "no JSON text" },
        { "{\"$ref\":\"#/$defs/a\",\"$defs\":{\"a\":{\"type\":\"object\",\"properties\":{\"x\":{"
          "\"allOf\":[{\"$ref\":\"#/$defs/a\"},{\"$ref\":\"#/$defs/b\"}]}}},\"b\":{\"type\":"
          "\"object\",\"properties\":{\"x\":{\"allOf\":[{\"$ref\":\"#/$defs/b\"},{\"$ref\":"
          "\"#/$defs/a\"}]}}}}}",
          "more than" },
        { "{\"enum\":[]}", "no JSON text" },
        { "false", "no JSON text" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(cases[i].schema, strlen(cases[i].schema), cases[i].says);
}
END_TEST

START_TEST(a11_huge_enums_and_properties_are_refused_or_bounded)
{
    struct bytes text = BYTES_INIT(8 << 20);
    bytes_add_text(&text, "{\"enum\":[0");
    for (int i = 1; i < 5000; i++)
        bytes_printf(&text, ",%d", i);
    bytes_add_text(&text, "]}");
    assert_refused(text.data, text.size, "#/enum: has 5000 values");
    bytes_clear(&text);
    bytes_add_text(&text, "{\"enum\":[0");
    for (int i = 1; i < 4000; i++)
        bytes_printf(&text, ",\"%d %0100d\"", i * 7919, i);
    bytes_add_text(&text, "]}");
    assert_refused(text.data, text.size, "more than 65536 states");
    bytes_clear(&text);
    bytes_add_text(&text, "{\"properties\":{\"p\":{}");
    for (int i = 0; i < 1024; i++)
        bytes_printf(&text, ",\"p%d\":{}", i);
    bytes_add_text(&text, "}}");
    assert_refused(text.data, text.size, "#/properties: has more than 1024");
    bytes_clear(&text);
    for (int i = 0; i <= SCHEMA_MAX_BYTES / 16; i++)
        bytes_add_text(&text, "                ");
    assert_refused(text.data, text.size, "bytes, at most");
    bytes_free(&text);
}
END_TEST

START_TEST(a11_a_megabyte_of_dates_compiles_in_bounded_memory_or_not_at_all)
{
    struct bytes text = BYTES_INIT(8 << 20);
    struct airlock_error err = { 0 };
    bytes_add_text(&text, "{\"properties\":{\"p\":{}");
    for (int i = 0; i < 1000; i++)
        bytes_printf(&text, ",\"p%d\":{\"type\":\"string\",\"format\":\"date-time\"}", i);
    bytes_add_text(&text, "}}");
    struct json_tables *t = json_schema_compile(text.data, text.size, &err);
    if (t)
        ck_assert_uint_lt(json_tables_bytes(t), 16 << 20);
    else
        ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
    json_tables_free(t);
    bytes_free(&text);
}
END_TEST

START_TEST(more_branches_than_can_be_followed_leave_fewer_texts_and_no_wrong_one)
{
    struct bytes text = BYTES_INIT(1 << 20);
    bytes_add_text(&text, "{\"anyOf\":[false");
    for (int i = 0; i < 200; i++)
        bytes_printf(
            &text,
            ",{\"type\":\"object\",\"properties\":{\"x\":{\"const\":%d},\"y\":{\"const\":%d}"
            "},\"required\":[\"x\",\"y\"]}",
            i, i);
    bytes_add_text(&text, "]}");
    struct json_tables *t = json_schema_compile(text.data, text.size, NULL);
    ck_assert_ptr_nonnull(t);
    ck_assert(accepts_text(t, "{\"x\":7,\"y\":7}", 13));
    ck_assert(!accepts_text(t, "{\"x\":7,\"y\":8}", 13));
    json_tables_free(t);
    bytes_free(&text);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        texts_are_accepted_and_refused_as_jsonschema_does,
        one_space_may_stand_behind_commas_and_colons_and_no_other,
        properties_come_in_the_order_of_the_schema_and_then_the_undeclared,
        strings_are_utf8_with_whole_escapes_and_surrogate_pairs,
        integer_bounds_are_exact,
        lengths_count_characters_and_not_bytes,
        nesting_ends_where_a_parser_would_refuse_it,
        what_is_not_supported_is_named_by_its_json_pointer,
        patterns_that_have_no_automaton_are_refused_with_their_place,
        a11_nesting_of_groups_and_schemas_is_refused,
        a11_schemas_that_refer_to_themselves_or_grow_are_refused,
        a11_huge_enums_and_properties_are_refused_or_bounded,
        a11_a_megabyte_of_dates_compiles_in_bounded_memory_or_not_at_all,
        more_branches_than_can_be_followed_leave_fewer_texts_and_no_wrong_one,
        NULL
    };
    return suite_run("json_schema", tests);
}
