/* test_log.c - tests of src/common/log.c: nothing that is logged can forge a line or move a cursor.
 */
#include "common/json.h"
#include "common/log.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char line[16384];

/* What one log line looks like on stderr. */
static const char *logged(enum log_format format, const char *text)
{
    int ends[2], saved = dup(STDERR_FILENO);
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_setup("test", format, LOG_LEVEL_INFO);
    log_info("%s", text);
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ssize_t n = read(ends[0], line, sizeof line - 1);
    line[n > 0 ? n : 0] = 0;
    close(ends[0]);
    return line;
}

START_TEST(a_text_line_has_level_program_and_message)
{
    ck_assert_ptr_nonnull(
        strstr(logged(LOG_FORMAT_TEXT, "hello h\xc3\xa9"), "Z info test: hello h\xc3\xa9\n"));
}
END_TEST

START_TEST(control_characters_and_wrong_bytes_are_escaped)
{
    static const struct {
        const char *in, *out;
    } pairs[] = { { "a\nb", "a\\x0ab" },
                  { "a\r\x1b[2J", "a\\x0d\\x1b[2J" },
                  { "\x7f\x01", "\\x7f\\x01" },
                  { "\xc2\x9b"
                    "2J",
                    "\\u009b2J" },
                  { "\xff\xc3", "\\xff\\xc3" },
                  { "\xe2\x80\xae"
                    "x",
                    "\\u202ex" },
                  { "\xe2\x80\xa8", "\\u2028" },
                  { "\xe2\x81\xa6", "\\u2066" },
                  { "\xe2\x82\xac", "\xe2\x82\xac" } };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *message = strstr(logged(LOG_FORMAT_TEXT, pairs[i].in), "test: ") + 6;
        ck_assert_uint_eq(strlen(message), strlen(pairs[i].out) + 1);
        ck_assert_int_eq(strncmp(message, pairs[i].out, strlen(pairs[i].out)), 0);
    }
}
END_TEST

START_TEST(a_json_line_is_json_whatever_is_logged)
{
    static const char *const texts[] = { "plain",           "a\"b\\c",  "a\nb\x1b",
                                         "\xff\xfe\xc3",    "\xc2\x9b", "\xe2\x80\xae",
                                         "\",\"level\":\"x" };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *text = logged(LOG_FORMAT_JSON, texts[i]);
        struct airlock_error err;
        struct json_object *o = json_parse(text, strlen(text), &err);
        ck_assert_msg(o != NULL, "%s: %s", text, err.text);
        ck_assert_str_eq(json_object_get_string(json_object_object_get(o, "level")), "info");
        json_object_put(o);
    }
}
END_TEST

START_TEST(a_long_message_is_cut_not_overrun)
{
    static char text[10000];
    memset(text, '\x01', sizeof text - 1); /* each grows to six bytes */
    ck_assert_uint_lt(strlen(logged(LOG_FORMAT_JSON, text)), 13000);
    ck_assert_int_eq(line[strlen(line) - 1], '\n');
}
END_TEST

START_TEST(lines_below_the_level_are_not_written)
{
    int ends[2], saved = dup(STDERR_FILENO);
    char c;
    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_setup("test", LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    log_warning("no");
    dup2(saved, STDERR_FILENO);
    close(saved);
    close(ends[1]);
    ck_assert_int_eq(read(ends[0], &c, 1), 0);
    close(ends[0]);
    enum log_level level;
    enum log_format format;
    ck_assert_int_eq(log_parse_level("warning", &level), 0);
    ck_assert_int_eq(log_parse_level("loud", &level), -1);
    ck_assert_int_eq(log_parse_format("json", &format), 0);
    ck_assert_int_eq(log_parse_format("xml", &format), -1);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_text_line_has_level_program_and_message, control_characters_and_wrong_bytes_are_escaped,
        a_json_line_is_json_whatever_is_logged,    a_long_message_is_cut_not_overrun,
        lines_below_the_level_are_not_written,     NULL
    };
    return suite_run("log", tests);
}
