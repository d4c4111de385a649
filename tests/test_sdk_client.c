/*
 * test_sdk_client.c - libairlock against a server that answers whatever the test wants, rightly or
 * wrongly.
 */
#include "sdk_stub.h"
#include "suite.h"

#include <airlock/airlock.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define OK(text) "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " text
static const char GOOD[] = OK("9\r\n\r\nI am well");
static const airlock_message HELLO = { "user", "hello" };

/* call_airlock_model_server with one message; what the stub saw stays until stub_stop(). */
static char *call(const struct stub *s, airlock_error *err)
{
    return airlock_call_model_server("phi", "M", &HELLO, 1, NULL, 0, NULL, NULL, s->host, err);
}

START_TEST(an_answer_comes_back_and_what_is_unset_is_not_sent)
{
    struct stub s;
    airlock_error err;
    stub_start(&s, GOOD, 0);
    char *answer = call(&s, &err);
    ck_assert_str_eq(answer, "I am well");
    pthread_join(s.thread, NULL);
    ck_assert_str_eq(body_of(&s),
                     "{\"model\":\"M\",\"messages\":[{\"role\":\"user\",\"content\":\"hello\"}],"
                     "\"container_name\":\"phi\"}");
    ck_assert_ptr_nonnull(strstr(s.seen, "POST /generate HTTP/1.1\r\n"));
    ck_assert_ptr_nonnull(strstr(s.seen, "Content-Type: application/json\r\n"));
    ck_assert_ptr_null(strstr(s.seen, "Authorization"));
    ck_assert_ptr_null(strstr(s.seen, "Expect"));
    airlock_free(answer);
    close(s.listener);
    free(s.seen);
}
END_TEST

START_TEST(everything_that_is_set_is_sent_in_any_locale)
{
    struct stub s;
    airlock_error err;
    airlock_parameters p = { .set = 0xff,
                             .do_sample = 1,
                             .temperature = 0.7,
                             .top_p = 0.5,
                             .repetition_penalty = 1.25,
                             .presence_penalty = -2,
                             .frequency_penalty = 1e-7,
                             .top_k = 40,
                             .max_new_tokens = 17 };
    airlock_message messages[] = { { "system", "q\"b\\n\n\x01" },
                                   { "user", "\xc3\xa9\xf0\x9f\x98\x80" } };
    airlock_image image = { "\x89PNG", 4 };
    setlocale(LC_ALL, "de_DE.UTF-8"); /* a comma in numbers, where it is installed */
    stub_start(&s, GOOD, 0);
    char *answer =
        airlock_call_model_server("phi", "M", messages, 2, &image, 1, "sql", &p, s.host, &err);
    ck_assert_str_eq(answer, "I am well");
    pthread_join(s.thread, NULL);
    ck_assert_str_eq(
        body_of(&s),
        "{\"model\":\"M\",\"adapter\":\"sql\",\"messages\":[{\"role\":\"system\",\"content\":"
        "\"q\\u0022b\\u005cn\\u000a\\u0001\"},{\"role\":\"user\",\"content\":"
        "\"\xc3\xa9\xf0\x9f\x98\x80\"}],"
        "\"images\":[\"iVBORw==\"],\"container_name\":\"phi\",\"parameters\":{"
        "\"temperature\":0.69999999999999996,\"top_p\":0.5,\"repetition_penalty\":1.25,"
        "\"presence_penalty\":-2,\"frequency_penalty\":9.9999999999999995e-08,\"top_k\":40,"
        "\"max_new_tokens\":17,\"do_sample\":true}}");
    airlock_free(answer);
    close(s.listener);
    free(s.seen);
}
END_TEST

START_TEST(an_empty_answer_is_an_empty_string)
{
    struct stub s;
    airlock_error err;
    stub_start(&s, OK("0\r\n\r\n"), 0);
    char *answer = call(&s, &err);
    ck_assert_str_eq(answer, "");
    airlock_free(answer);
    stub_stop(&s);
}
END_TEST

static const struct {
    const char *answer;
    int code, status;
    const char *words;
} refusals[] = {
    { "HTTP/1.1 400 Bad\r\nContent-Length: 24\r\n\r\nUnrecognized model 'no'\n", AIRLOCK_ERR_HTTP,
      400, "answered 400: Unrecognized model 'no'" },
    { "HTTP/1.1 500 Oops\r\nContent-Length: 22\r\n\r\nInternal server error.", AIRLOCK_ERR_HTTP,
      500, "answered 500: Internal server error." },
    { "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", AIRLOCK_ERR_HTTP, 503, "(no words)" },
    { "HTTP/1.1 302 Elsewhere\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n",
      AIRLOCK_ERR_HTTP, 302, "answered 302" },
    { "HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nred\x1b[31m\n", AIRLOCK_ERR_HTTP, 400,
      "answered 400: red [31m" },
    { "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut", AIRLOCK_ERR_ANSWER, 0, "broke off" },
    { "hello, I am not HTTP\r\n\r\n", AIRLOCK_ERR_ANSWER, 0, "broke off" },
    { "", AIRLOCK_ERR_ANSWER, 0, "broke off" },
};

START_TEST(a_refusal_or_broken_answer_is_told)
{
    struct stub s;
    airlock_error err = { 0 };
    stub_start(&s, refusals[_i].answer, 0);
    ck_assert_ptr_null(call(&s, &err));
    ck_assert_int_eq(err.code, refusals[_i].code);
    ck_assert_int_eq(err.http_status, refusals[_i].status);
    ck_assert_msg(strstr(err.text, refusals[_i].words) != NULL, "text is: %s", err.text);
    stub_stop(&s);
}
END_TEST

START_TEST(a_refusal_of_a_megabyte_is_cut)
{
    struct stub s;
    airlock_error err = { 0 };
    char *text = malloc(1 << 20);
    int n = sprintf(text, "HTTP/1.1 400 Bad\r\nContent-Length: 1000000\r\n\r\n");
    memset(text + n, 'x', 1000000);
    text[n + 1000000] = 0;
    stub_start(&s, text, 0);
    ck_assert_ptr_null(call(&s, &err));
    ck_assert_int_eq(err.code, AIRLOCK_ERR_HTTP);
    ck_assert_uint_eq(strlen(err.text), sizeof err.text - 1);
    stub_stop(&s);
    free(text);
}
END_TEST

START_TEST(an_answer_larger_than_the_limit_is_refused_and_one_of_its_size_is_not)
{
    for (size_t limit = 8; limit <= 9; limit++) {
        struct stub s;
        airlock_error err = { 0 };
        airlock_request r = { .struct_size = sizeof r, .container = "phi", .model = "M" };
        char *answer;
        stub_start(&s, GOOD, 0);
        airlock_client *c = airlock_client_new(s.host, &err);
        airlock_client_set_max_answer(c, limit);
        int rc = airlock_client_generate(c, &r, &answer, NULL, &err);
        ck_assert_int_eq(rc, limit == 9 ? 0 : -1);
        if (rc != 0) {
            ck_assert_int_eq(err.code, AIRLOCK_ERR_ANSWER);
            ck_assert_ptr_nonnull(strstr(err.text, "larger than 8 bytes"));
        }
        airlock_free(answer);
        airlock_client_free(c);
        stub_stop(&s);
    }
}
END_TEST

START_TEST(a_server_that_says_nothing_is_a_time_out)
{
    struct stub s;
    airlock_error err = { 0 };
    airlock_request r = { .struct_size = sizeof r, .container = "phi", .model = "M" };
    char *answer;
    stub_start(&s, GOOD, 0);
    s.silent_ms = 600;
    airlock_client *c = airlock_client_new(s.host, &err);
    airlock_client_set_timeout(c, 200, 200);
    ck_assert_int_eq(airlock_client_generate(c, &r, &answer, NULL, &err), -1);
    ck_assert_ptr_null(answer);
    ck_assert_int_eq(err.code, AIRLOCK_ERR_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(err.text, "no answer in time"));
    airlock_client_free(c);
    stub_stop(&s);
}
END_TEST

START_TEST(nobody_there_is_a_connection_error)
{
    struct stub s;
    airlock_error err = { 0 };
    stub_start(&s, GOOD, 0);
    airlock_free(call(&s, &err));
    close(s.listener); /* the port is free and nobody's now */
    ck_assert_ptr_null(call(&s, &err));
    ck_assert_int_eq(err.code, AIRLOCK_ERR_CONNECT);
    ck_assert_ptr_nonnull(strstr(err.text, s.host));
    ck_assert_ptr_nonnull(strstr(err.text, "is airlock-bridge running?"));
    pthread_join(s.thread, NULL);
    free(s.seen);
    ck_assert_ptr_null(airlock_call_model_server("phi", "M", &HELLO, 1, NULL, 0, NULL, NULL,
                                                 "unix:/nonexistent/socket", &err));
    ck_assert_int_eq(err.code, AIRLOCK_ERR_CONNECT);
}
END_TEST

static const char *const bad_hosts[] = { "",
                                         "localhost:8000",
                                         "ftp://127.0.0.1",
                                         "unix:relative",
                                         "file:///etc/passwd",
                                         "http://",
                                         "http://a b/",
                                         "unix:" };

START_TEST(a_bad_address_is_an_argument_error)
{
    airlock_error err = { 0 };
    ck_assert_ptr_null(
        airlock_call_model_server("phi", "M", &HELLO, 1, NULL, 0, NULL, NULL, bad_hosts[_i], &err));
    ck_assert_msg(err.code == AIRLOCK_ERR_ARGUMENT, "'%s': %d %s", bad_hosts[_i], err.code,
                  err.text);
    ck_assert_ptr_nonnull(strstr(err.text, "is no "));
}
END_TEST

START_TEST(a_unix_socket_and_a_token_are_used)
{
    struct stub s;
    airlock_error err = { 0 };
    airlock_request r = { .struct_size = sizeof r, .container = "phi", .model = "M" };
    char *answer;
    size_t size = 0;
    stub_start(&s, GOOD, 1);
    airlock_client *c = airlock_client_new(s.host, &err);
    ck_assert_int_eq(airlock_client_set_token(c, "s3cret", &err), 0);
    ck_assert_int_eq(airlock_client_generate(c, &r, &answer, &size, &err), 0);
    ck_assert_uint_eq(size, 9);
    airlock_free(answer);
    pthread_join(s.thread, NULL);
    ck_assert_ptr_nonnull(strstr(s.seen, "Authorization: Bearer s3cret\r\n"));
    ck_assert_ptr_nonnull(strstr(s.seen, "Host: localhost\r\n"));
    airlock_client_free(c);
    close(s.listener);
    unlink(s.path);
    free(s.seen);
}
END_TEST

START_TEST(a_token_with_a_line_end_is_refused_and_the_old_one_stays)
{
    airlock_error err = { 0 };
    airlock_client *c = airlock_client_new(NULL, &err);
    ck_assert_int_eq(airlock_client_set_token(c, "good", &err), 0);
    ck_assert_int_eq(airlock_client_set_token(c, "bad\r\nX-Evil: 1", &err), -1);
    ck_assert_int_eq(err.code, AIRLOCK_ERR_ARGUMENT);
    airlock_client_free(c);
}
END_TEST

START_TEST(what_cannot_be_sent_is_named)
{
    airlock_error err = { 0 };
    airlock_message bad_text = { "user", "caf\xe9" }, no_role = { NULL, "x" };
    airlock_image empty = { "", 0 };
    airlock_parameters nan_p = { .set = AIRLOCK_SET_TEMPERATURE, .temperature = NAN };
    airlock_request r = { .container = "phi", .model = "M" };
    char *answer = NULL;
#define REFUSED(words, ...)                                                                        \
    ck_assert_ptr_null(airlock_call_model_server(__VA_ARGS__, NULL, &err));                        \
    ck_assert_int_eq(err.code, AIRLOCK_ERR_ARGUMENT);                                              \
    ck_assert_msg(strstr(err.text, words) != NULL, "text is: %s", err.text)
    REFUSED("messages[0].content is not valid UTF-8", "phi", "M", &bad_text, 1, NULL, 0, NULL,
            NULL);
    REFUSED("messages[0].role is missing", "phi", "M", &no_role, 1, NULL, 0, NULL, NULL);
    REFUSED("container_name is missing", NULL, "M", &HELLO, 1, NULL, 0, NULL, NULL);
    REFUSED("model is missing", "phi", NULL, &HELLO, 1, NULL, 0, NULL, NULL);
    REFUSED("messages is NULL", "phi", "M", NULL, 1, NULL, 0, NULL, NULL);
    REFUSED("images is NULL", "phi", "M", &HELLO, 1, NULL, 2, NULL, NULL);
    REFUSED("images[0] is empty", "phi", "M", &HELLO, 1, &empty, 1, NULL, NULL);
    REFUSED("temperature is not a finite number", "phi", "M", &HELLO, 1, NULL, 0, NULL, &nan_p);
    airlock_client *c = airlock_client_new(NULL, &err);
    ck_assert_int_eq(airlock_client_generate(c, &r, &answer, NULL, &err), -1);
    ck_assert_ptr_nonnull(strstr(err.text, "struct_size"));
    airlock_client_free(c);
}
END_TEST

START_TEST(a_client_asks_again_and_errors_may_be_ignored)
{
    struct stub s;
    airlock_request r = { .struct_size = sizeof r, .container = "phi", .model = "M" };
    char *answer;
    stub_start(&s, GOOD, 0);
    s.times = 3;
    airlock_client *c = airlock_client_new(s.host, NULL);
    for (int i = 0; i < 3; i++) { /* the stub closes after each: a new connection every time */
        ck_assert_int_eq(airlock_client_generate(c, &r, &answer, NULL, NULL), 0);
        airlock_free(answer);
    }
    airlock_client_free(c);
    stub_stop(&s);
    airlock_client_free(NULL);
    airlock_free(NULL);
    ck_assert_str_eq(airlock_version(), AIRLOCK_VERSION);
}
END_TEST

START_TEST(two_megabytes_of_image_arrive_whole)
{
    struct stub s;
    airlock_error err = { 0 };
    enum { SIZE = 2 << 20 };
    airlock_image image = { calloc(1, SIZE), SIZE };
    stub_start(&s, GOOD, 0);
    char *answer =
        airlock_call_model_server("phi", "M", &HELLO, 1, &image, 1, NULL, NULL, s.host, &err);
    ck_assert_msg(answer != NULL, "%s", err.text);
    pthread_join(s.thread, NULL);
    const char *base64 = strstr(body_of(&s), "\"images\":[\"");
    ck_assert_uint_eq(strspn(base64 + 11, "A"), (SIZE + 2) / 3 * 4 - 1);
    airlock_free(answer);
    free((void *)image.data);
    close(s.listener);
    free(s.seen);
}
END_TEST

int main(void)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1); /* must not be used */
    Suite *suite = suite_create("sdk_client");
    TCase *t = tcase_create("sdk_client");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, an_answer_comes_back_and_what_is_unset_is_not_sent);
    tcase_add_test(t, everything_that_is_set_is_sent_in_any_locale);
    tcase_add_test(t, an_empty_answer_is_an_empty_string);
    tcase_add_loop_test(t, a_refusal_or_broken_answer_is_told, 0,
                        sizeof refusals / sizeof *refusals);
    tcase_add_test(t, a_refusal_of_a_megabyte_is_cut);
    tcase_add_test(t, an_answer_larger_than_the_limit_is_refused_and_one_of_its_size_is_not);
    tcase_add_test(t, a_server_that_says_nothing_is_a_time_out);
    tcase_add_test(t, nobody_there_is_a_connection_error);
    tcase_add_loop_test(t, a_bad_address_is_an_argument_error, 0,
                        sizeof bad_hosts / sizeof *bad_hosts);
    tcase_add_test(t, a_unix_socket_and_a_token_are_used);
    tcase_add_test(t, a_token_with_a_line_end_is_refused_and_the_old_one_stays);
    tcase_add_test(t, what_cannot_be_sent_is_named);
    tcase_add_test(t, a_client_asks_again_and_errors_may_be_ignored);
    tcase_add_test(t, two_megabytes_of_image_arrive_whole);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
