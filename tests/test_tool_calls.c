/* test_tool_calls.c - calls are taken out of an answer however its bytes arrive, and nothing that
 * is no call is lost. */
#include "engine/tool_calls.h"
#include "engine/tools.h"

#include "common/io.h"
#include "suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN "<|tool_call|>"
#define CLOSE "<|/tool_call|>"

/* What came out, in one line: the text, then each call as " name(arguments)". */
static void describe(const struct tool_calls *t, const struct bytes *text, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "%s", text->data ? text->data : "");
    for (size_t i = 0; i < t->n; i++)
        n += (size_t)snprintf(out + n, size - n, " %s%s", t->calls[i].name, t->calls[i].arguments);
}

/* The answer in two pieces, cut at `at`; at SIZE_MAX: byte by byte. */
static void parse(const char *answer, size_t at, char *out, size_t size)
{
    struct tool_calls t;
    struct bytes text = BYTES_INIT(1 << 20);
    size_t n = strlen(answer);
    tool_calls_init(&t);
    if (at == SIZE_MAX) {
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(tool_calls_add(&t, answer + i, 1, &text), 0);
    } else {
        ck_assert_int_eq(tool_calls_add(&t, answer, at, &text), 0);
        ck_assert_int_eq(tool_calls_add(&t, answer + at, n - at, &text), 0);
    }
    ck_assert_int_eq(tool_calls_end(&t, &text), 0);
    describe(&t, &text, out, size);
    tool_calls_free(&t);
    bytes_free(&text);
}

static const struct {
    const char *answer, *want;
} cases[] = {
    { "plain text, no call", "plain text, no call" },
    { OPEN "[{\"name\":\"f\",\"arguments\":{\"a\":1}}]" CLOSE, " f{\"a\":1}" },
    { "Let me see. " OPEN "[{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"g\", \"arguments\": "
      "{\"x\": \"</y>\"}}]" CLOSE " ok",
      "Let me see.  ok f{} g{\"x\":\"</y>\"}" },
    { OPEN "{\"name\":\"f\",\"arguments\":{}}" CLOSE, " f{}" },
    { OPEN "[{\"name\":\"f\",\"parameters\":{\"a\":[]}}]" CLOSE, " f{\"a\":[]}" },
    { OPEN "[{\"name\":\"f\",\"arguments\":{}}]", " f{}" }, /* the end marker was not written */
    { OPEN "[]" CLOSE OPEN "[{\"name\":\"f\",\"arguments\":{}}]" CLOSE, "[] f{}" },
    { OPEN "[{\"name\":\"f\",\"arguments\":{}}]" CLOSE OPEN
           "[{\"name\":\"g\",\"arguments\":{}}]" CLOSE,
      " f{} g{}" },
    { OPEN "[{\"name\":\"f\",\"arguments\":{\"s\":\"<|/tool_cal\"}}]" CLOSE,
      " f{\"s\":\"<|/tool_cal\"}" },
    /* no calls: text, without the markers */
    { OPEN "[{\"name\":\"f\",\"arguments\":{\"a\":1}" CLOSE "x",
      "[{\"name\":\"f\",\"arguments\":{\"a\":1}x" },
    { OPEN "[{\"name\":7,\"arguments\":{}}]" CLOSE, "[{\"name\":7,\"arguments\":{}}]" },
    { OPEN "[{\"name\":\"f\",\"arguments\":\"x\"}]" CLOSE,
      "[{\"name\":\"f\",\"arguments\":\"x\"}]" },
    { OPEN "[{\"name\":\"\"},{\"name\":\"f\",\"arguments\":{}}]" CLOSE,
      "[{\"name\":\"\"},{\"name\":\"f\",\"arguments\":{}}]" },
    { OPEN "[[{\"name\":\"f\",\"arguments\":{}}]]" CLOSE, "[[{\"name\":\"f\",\"arguments\":{}}]]" },
    /* a call stays one, whatever comes behind it */
    { OPEN "[{\"name\":\"f\",\"arguments\":{}},{\"name\":\"\"}]" CLOSE, "{\"name\":\"\"}] f{}" },
    { OPEN "[{\"name\":\"f\",\"arguments\":{\"s\":\"}]\\\"\\\\\"}}, {\"name\": \"g\", \"argu",
      "{\"name\": \"g\", \"argu f{\"s\":\"}]\\\"\\\\\"}" },
    { OPEN "[{\"name\":\"f\",\"arguments\":{}}, ", " f{}" },
    { OPEN "{\"name\":\"f\",\"arguments\":{}} and more" CLOSE, "and more f{}" },
    { OPEN "half", "half" },
    { OPEN, "" },
    { "<|tool_", "<|tool_" },
    { "<<|<|tool_callx|>" CLOSE, "<<|<|tool_callx|>" CLOSE },
    { "", "" },
};

START_TEST(every_split_of_an_answer_gives_the_same_text_and_calls)
{
    char got[512];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (size_t at = 0; at <= strlen(cases[i].answer); at++) {
            parse(cases[i].answer, at, got, sizeof got);
            ck_assert_msg(strcmp(got, cases[i].want) == 0, "%s cut at %zu: %s", cases[i].answer, at,
                          got);
        }
        parse(cases[i].answer, SIZE_MAX, got, sizeof got);
        ck_assert_str_eq(got, cases[i].want);
    }
}
END_TEST

START_TEST(a_call_is_taken_as_soon_as_it_is_whole)
{
    static const char answer[] = OPEN "[{\"name\":\"f\",\"arguments\":{}}";
    struct tool_calls t;
    struct bytes text = BYTES_INIT(1 << 20);
    tool_calls_init(&t);
    ck_assert_int_eq(tool_calls_add(&t, answer, sizeof answer - 2, &text), 0);
    ck_assert_uint_eq(t.n, 0);
    ck_assert_int_eq(tool_calls_add(&t, "}", 1, &text), 0);
    ck_assert_uint_eq(t.n, 1);
    ck_assert_uint_eq(text.size, 0);
    tool_calls_free(&t);
    bytes_free(&text);
}
END_TEST

START_TEST(text_that_cannot_become_a_marker_is_passed_on_at_once)
{
    struct tool_calls t;
    struct bytes text = BYTES_INIT(1 << 20);
    tool_calls_init(&t);
    ck_assert_int_eq(tool_calls_add(&t, "hello <|to", 10, &text), 0);
    ck_assert_str_eq(text.data, "hello ");
    ck_assert_int_eq(tool_calls_add(&t, "p", 1, &text), 0);
    ck_assert_str_eq(text.data, "hello <|top");
    tool_calls_free(&t);
    bytes_free(&text);
}
END_TEST

/* The time for megabytes of a piece that come at once. */
static uint64_t time_of(const char *piece, const char *before)
{
    struct tool_calls t;
    struct bytes all = BYTES_INIT(16 << 20), text = BYTES_INIT(16 << 20);
    bytes_add_text(&all, before);
    while (all.size < 8 << 20)
        bytes_add_text(&all, piece);
    uint64_t start = io_now_ns();
    tool_calls_init(&t);
    ck_assert_int_eq(tool_calls_add(&t, all.data, all.size, &text), 0);
    ck_assert_int_eq(tool_calls_end(&t, &text), 0);
    ck_assert_uint_eq(t.n, 0);
    tool_calls_free(&t);
    bytes_free(&text);
    bytes_free(&all);
    return io_now_ns() - start;
}

START_TEST(long_answers_are_read_in_linear_time_and_bounded_memory)
{
    static const char *const pieces[] = { "<|tool_call|><|/tool_call|>", "<|tool_call|>",
                                          "<|/tool_c", "[[[[[[[[", "<<<<<<<<<<<<" };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (int inside = 0; inside < 2; inside++) /* quadratic would be minutes */
            ck_assert_uint_lt(time_of(pieces[i], inside ? OPEN : ""), UINT64_C(30000000000));
}
END_TEST

/* ---- definitions ----------------------------------------------------------------------------- */

START_TEST(definitions_are_checked_and_written_for_the_prompt)
{
    static const struct {
        const char *text, *says;
    } wrong[] = {
        { "{}", "must be a list" },
        { "[", "tools: " },
        { "[]", "0 functions" },
        { "[7]", "tools[0] must be an object" },
        { "[{\"name\":\"\"}]", "tools[0] needs a name" },
        { "[{\"name\":\"a\"},{\"name\":\"a\"}]", "two functions are named a" },
        { "[{\"name\":\"a\",\"parameters\":[]}]", "tools[0].parameters" },
    };
    struct tools t;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct airlock_error err = { 0 };
        ck_assert_int_eq(tools_parse(&t, wrong[i].text, strlen(wrong[i].text), &err), -1);
        ck_assert_int_eq(err.code, AIRLOCK_E_REQUEST);
        ck_assert_msg(strstr(err.text, wrong[i].says) != NULL, "%s", err.text);
    }
    const char *flat = "[{\"name\":\"a\",  \"description\":\"x\"}]";
    ck_assert_int_eq(tools_parse(&t, flat, strlen(flat), NULL), 0);
    ck_assert_str_eq(t.text.data, flat);
    tools_free(&t);
    const char *wrapped = "[{\"type\":\"function\",\"function\":{\"name\":\"a\",\"description\":"
                          "\"x, y: \\\"z\\\"\"}}]";
    ck_assert_int_eq(tools_parse(&t, wrapped, strlen(wrapped), NULL), 0);
    ck_assert_str_eq(t.text.data, "[{\"name\": \"a\", \"description\": \"x, y: \\\"z\\\"\"}]");
    ck_assert_int_eq(tools_find(&t, "a", 1), 0);
    ck_assert_int_eq(tools_find(&t, "b", 1), -1);
    tools_free(&t);
}
END_TEST

START_TEST(earlier_calls_are_written_as_the_model_writes_them)
{
    struct bytes out = BYTES_INIT(4096);
    struct airlock_error err = { 0 };
    const char *calls =
        "[{\"name\":\"f\",\"arguments\":{\"a\":1}},{\"id\":\"c\",\"type\":\"function\","
        "\"function\":{\"name\":\"g\",\"arguments\":\"{\\\"b\\\":[1,2]}\"}}]";
    ck_assert_int_eq(tools_write_calls(calls, strlen(calls), &out, &err), 0);
    ck_assert_str_eq(out.data, "[{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", "
                               "\"arguments\": {\"b\": [1, 2]}}]");
    bytes_clear(&out);
    ck_assert_int_eq(tools_write_calls("[{\"name\":\"f\"}]", 14, &out, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "tool_calls[0].arguments"));
    bytes_free(&out);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = { every_split_of_an_answer_gives_the_same_text_and_calls,
                                   a_call_is_taken_as_soon_as_it_is_whole,
                                   text_that_cannot_become_a_marker_is_passed_on_at_once,
                                   long_answers_are_read_in_linear_time_and_bounded_memory,
                                   definitions_are_checked_and_written_for_the_prompt,
                                   earlier_calls_are_written_as_the_model_writes_them,
                                   NULL };
    return suite_run("tool_calls", tests);
}
