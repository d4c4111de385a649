/* test_bridge_headers.c - what of a request gets into the container and into the log: paths, names
 * of containers, ids, callers, secrets; attack cases A2, A14 and A42. */
#include "bridge_fixture.h"

#include "common/io.h"

#include <arpa/inet.h>
#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define JSON "Content-Type: application/json\r\n"
#define HEAD "{\"model\":\"head\",\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
#define ALICE "alice-alice-alice-alice"
#define ALICE_ID "1b43ccdad650853bb77e554fa235b579"
#define NOBODY "nobody-nobody-nobody-nobody"
#define ADMIN "Airlock-Admin: admin-canary-0123456789\r\n"

static const char *const posts[] = {
    "/v1/chat/completions",     "/v1/completions", "/v1/load_lora_adapter",
    "/v1/unload_lora_adapter",  "/tokenize",       "/detokenize",
    "/v1/audio/transcriptions",
};
enum { N_POSTS = sizeof posts / sizeof *posts };

static void up(void)
{
    fixture_up();
    bridge_up("");
}

static void up_with_tokens(void)
{
    char path[128], extra[160];
    fixture_up();
    snprintf(path, sizeof path, "%s/token", fixture.dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    dprintf(fd, "# callers\nalice " ALICE "\n" NOBODY "\n");
    close(fd);
    snprintf(extra, sizeof extra, ",\"token_file\":\"%s\"", path);
    bridge_up(extra);
}

static bool has_line(const char *text, const char *line)
{
    char whole[512];
    snprintf(whole, sizeof whole, "\r\n%s\r\n", line);
    return strcasestr(text, whole) != NULL;
}

/* ---- paths and containers -------------------------------------------------------------------- */

START_TEST(every_path_reaches_the_servers_own_of_that_name_and_no_other)
{
    struct answer a;
    char line[128];
    for (int i = 0; i < N_POSTS; i++) {
        ask("POST", posts[i], JSON, HEAD, &a);
        ck_assert_int_eq(a.status, 200);
        snprintf(line, sizeof line, "POST %s HTTP/1.1\r\n", posts[i]);
        ck_assert_msg(strncmp(a.body, line, strlen(line)) == 0, "%s", a.body);
        ck_assert(has_line(a.body, "Content-Type: application/json"));
        ck_assert_ptr_null(strcasestr(a.body, "Authorization"));
        ck_assert_ptr_null(strcasestr(a.body, "Airlock-"));
    }
    long before = count_of("requests ");
    static const char *const unknown[] = { "/v1/embeddings", "/v1/chat/completions/x",
                                           "/v1/chat/completions%00", "/v1/../tokenize", "/v1/" };
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        ask("POST", unknown[i], JSON, HEAD, &a);
        ck_assert_int_eq(a.status, 404);
        ck_assert_ptr_nonnull(strstr(a.body, "{\"error\":{\"message\":\"Not Found\""));
    }
    ck_assert_int_eq(count_of("requests "), before);
}
END_TEST

/* Two containers, both behind the same stub. */
static void up_with_two(void)
{
    char path[128], *args[] = { "--config", path, NULL };
    fixture_up();
    snprintf(path, sizeof path, "%s/two.json", fixture.dir);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "{\"listen\":\"127.0.0.1:0\",\"containers\":[{\"name\":\"phi\",\"program\":"
            "\"%s/docker\"},{\"name\":\"other.one\",\"program\":\"%s/docker\"}]}",
            fixture.dir, fixture.dir);
    ck_assert_int_eq(fclose(f), 0);
    bridge_up_args(args);
}

/* Sends a body to a path; what the stub's "echo" got. */
static void echo(const char *path, const char *headers, const char *body, struct answer *out)
{
    ask("POST", path, headers, body, out);
}

START_TEST(a_model_names_its_container_on_every_path)
{
    struct answer a;
    for (int i = 0; i < N_POSTS; i++) {
        echo(posts[i], JSON, "{\"model\":\"other.one/echo:dates\",\"seed\":9007199254740993}", &a);
        ck_assert_msg(a.status == 200, "%s: %d %s", posts[i], a.status, a.body);
        ck_assert_ptr_nonnull(
            strstr(a.body, "{\"model\":\"echo:dates\",\"seed\":9007199254740993}"));
        ck_assert_ptr_nonnull(strstr(bridge_log(), "other.one 200"));
        static const char *const nowhere[] = { "echo",  "third/echo", "other/echo",
                                               "/echo", "other.one",  "other.one\\u0000/echo" };
        for (size_t k = 0; k < sizeof nowhere / sizeof *nowhere; k++) {
            char body[128];
            snprintf(body, sizeof body, "{\"model\":\"%s\"}", nowhere[k]);
            echo(posts[i], JSON, body, &a);
            ck_assert_msg(a.status == 404, "%s: %s: %d", posts[i], nowhere[k], a.status);
        }
    }
    ask("GET", "/v1/models", "", NULL, &a);
    ck_assert_str_eq(a.body, "{\"object\":\"list\",\"data\":[{\"id\":\"phi/echo\"},"
                             "{\"id\":\"other.one/echo\"}]}");
}
END_TEST

#define FORM_TYPE "Content-Type: multipart/form-data; boundary=b0\r\n"
#define FORM(model)                                                                                \
    "--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\nRIFF\r\n"    \
    "--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n" model "\r\n--b0--\r\n"

START_TEST(a_form_names_its_container_too)
{
    struct answer a;
    echo("/v1/audio/transcriptions", FORM_TYPE "Authorization: Bearer x\r\n",
         FORM("other.one/echo"), &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "name=\"model\"\r\n\r\necho\r\n--b0--"));
    ck_assert_ptr_nonnull(strstr(a.body, "RIFF"));
    echo("/v1/audio/transcriptions", FORM_TYPE "Authorization: Bearer x\r\n", FORM("echo"), &a);
    ck_assert_int_eq(a.status, 404);
}
END_TEST

/* What a recording holds is never taken for a part of the form, and reaches the container byte by
 * byte; of two models none is chosen. */
START_TEST(a_recording_cannot_name_a_container)
{
    static const char sound[] = "RIFF\0\xff\r\n\r\n--b\r\nContent-Disposition: form-data; "
                                "name=\"model\"\r\n\r\nother.one/echo\r\n--b1\r\n\0";
    static const char head[] = "\r\nContent-Disposition: form-data; name=\"file\"; "
                               "filename=\"; name=\\\"model\\\"\"\r\n\r\n";
    static const char model[] =
        "\r\n--b0\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n%s";
    static const char *const models[] = { "phi/echo", "echo",
                                          ("phi/echo\r\n--b0\r\nContent-Disposition: form-data; "
                                           "name=\"model\"\r\n\r\nphi/echo") };
    for (size_t i = 0; i < 3; i++) {
        struct answer a;
        char body[1024], text[2048];
        size_t n = (size_t)sprintf(body, "--b0%s", head);
        memcpy(body + n, sound, sizeof sound - 1);
        n += sizeof sound - 1;
        n += (size_t)sprintf(body + n, model, models[i]);
        n += (size_t)sprintf(body + n, "\r\n--b0--\r\n");
        size_t size = (size_t)sprintf(text,
                                      "POST /v1/audio/transcriptions HTTP/1.1\r\nHost: "
                                      "127.0.0.1:%d\r\n" FORM_TYPE "Authorization: x\r\n"
                                      "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                                      fixture.port, n);
        memcpy(text + size, body, n);
        exchange_raw(text, size + n, &a);
        ck_assert_msg(a.status == (i == 0 ? 200 : 404), "%s: %d %s", models[i], a.status, a.body);
        if (i == 0)
            ck_assert_ptr_nonnull(memmem(a.body, a.size, sound, sizeof sound - 1));
    }
    ck_assert_ptr_nonnull(strstr(bridge_log(), "/v1/audio/transcriptions phi 200"));
    ck_assert_ptr_null(strstr(bridge_log(), "other.one 200"));
}
END_TEST

START_TEST(a2_a_form_is_taken_where_sounds_are_sent_and_only_with_what_no_page_can_send)
{
    struct answer a;
    for (int i = 0; i < N_POSTS; i++) {
        bool sounds = strcmp(posts[i], "/v1/audio/transcriptions") == 0;
        ask("POST", posts[i], FORM_TYPE, FORM("head"), &a);
        ck_assert_int_eq(a.status, 415);
        ask("POST", posts[i], FORM_TYPE "Authorization: Bearer x\r\n", FORM("head"), &a);
        ck_assert_int_eq(a.status, sounds ? 200 : 415);
        ask("POST", posts[i], FORM_TYPE "Authorization: Bearer x\r\nOrigin: null\r\n", FORM("head"),
            &a);
        ck_assert_int_eq(a.status, 403);
    }
    ck_assert_int_eq(count_of("requests "), 1);
    ask("POST", "/v1/audio/transcriptions",
        "Content-Type: multipart/form-data; x=y; boundary=\"b0\"\r\nAuthorization: x\r\n",
        FORM("head"), &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert(has_line(a.body, "Content-Type: multipart/form-data; boundary=b0"));
    static const char *const odd[] = {
        "multipart/form-data; boundary=", "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=a;X: y", "multipart/form-data; charset=x",
        ("multipart/form-data; boundary=0123456789012345678901234567890"
         "1234567890123456789012345678901234567890")
    };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        char headers[256];
        snprintf(headers, sizeof headers, "Content-Type: %s\r\nAuthorization: x\r\n", odd[i]);
        ask("POST", "/v1/audio/transcriptions", headers, FORM("head"), &a);
        ck_assert_msg(a.status == 400, "%s: %d", odd[i], a.status);
    }
}
END_TEST

/* ---- callers, admin, ids --------------------------------------------------------------------- */

START_TEST(each_token_is_a_caller_of_its_own_and_nobody_can_name_another)
{
    struct answer a;
    /* printf alice-alice-alice-alice | sha256sum | cut -c 1-32 */
    ask("POST", "/v1/completions",
        JSON "Authorization: Bearer " ALICE "\r\n"
             "Airlock-Caller: 00000000000000000000000000000000\r\n",
        HEAD, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_msg(has_line(a.body, "Airlock-Caller: " ALICE_ID), "%s", a.body);
    ck_assert_ptr_null(strstr(a.body, "0000000000000000"));
    ck_assert_ptr_null(strstr(a.body, ALICE));
    ask("POST", "/tokenize", JSON "Authorization: Bearer " NOBODY "\r\n", HEAD, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strcasestr(a.body, "\r\nAirlock-Caller: "));
    ck_assert(!has_line(a.body, "Airlock-Caller: " ALICE_ID));
    ck_assert_ptr_nonnull(strstr(bridge_log(), "caller=alice"));
    ck_assert_ptr_null(strstr(bridge_log(), ALICE));
    ck_assert_ptr_null(strstr(bridge_log(), NOBODY));
}
END_TEST

START_TEST(without_tokens_no_caller_is_named)
{
    struct answer a;
    ask("POST", "/v1/completions",
        JSON "Authorization: Bearer " ALICE "\r\n"
             "Airlock-Caller: 00000000000000000000000000000000\r\n",
        HEAD, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_null(strcasestr(a.body, "Airlock-Caller"));
}
END_TEST

START_TEST(the_admin_token_goes_to_the_adapter_paths_only)
{
    struct answer a;
    for (int i = 0; i < N_POSTS; i++) {
        bool admin = strstr(posts[i], "lora_adapter") != NULL;
        ask("POST", posts[i], JSON ADMIN, HEAD, &a);
        ck_assert_int_eq(a.status, 200);
        ck_assert_int_eq(has_line(a.body, "Airlock-Admin: admin-canary-0123456789"), admin);
        static const char *const odd[] = { ADMIN ADMIN, "Airlock-Admin: a b\r\n",
                                           "Airlock-Admin: caf\xc3\xa9\r\n" };
        for (int k = 0; k < 3; k++) {
            char headers[256];
            snprintf(headers, sizeof headers, JSON "%s", odd[k]);
            ask("POST", posts[i], headers, HEAD, &a);
            ck_assert_int_eq(a.status, admin ? 400 : 200);
        }
    }
    ck_assert_ptr_null(strstr(bridge_log(), "canary"));
}
END_TEST

START_TEST(a_good_request_id_is_carried_answered_and_logged)
{
    struct answer a;
    ask("POST", "/v1/completions", JSON "X-Request-Id: My.id_1-2\r\n", HEAD, &a);
    ck_assert(has_line(a.body, "X-Request-Id: My.id_1-2"));
    ck_assert(has_line(a.head, "X-Request-Id: My.id_1-2"));
    ck_assert_ptr_nonnull(strstr(bridge_log(), " id=My.id_1-2 "));
    ask("POST", "/v1/completions", JSON "X-Request-Id: s-1\r\n", "{\"model\":\"stream:2\"}", &a);
    ck_assert(has_line(a.head, "X-Request-Id: s-1"));
    ask("POST", "/generate", JSON "X-Request-Id: bad-1\r\n", "{", &a);
    ck_assert(has_line(a.head, "X-Request-Id: bad-1"));
}
END_TEST

START_TEST(a42_a_bad_request_id_is_replaced_everywhere)
{
    static const char *const bad[] = {
        "",
        "X-Request-Id: \r\n",
        "X-Request-Id: a b\r\n",
        "X-Request-Id: a\"},{\"level\":\"error\r\n",
        "X-Request-Id: caf\xc3\xa9\r\n",
        ("X-Request-Id: a\xc2\x9b"
         "31m\r\n"),
        "X-Request-Id: one\r\nX-Request-Id: two\r\n",
        "X-Request-Id: 01234567890123456789012345678901234567890123456789012345678901234\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct answer a;
        char headers[256], line[64];
        snprintf(headers, sizeof headers, JSON "%s", bad[i]);
        ask("POST", "/v1/completions", headers, HEAD, &a);
        ck_assert_msg(a.status == 200, "%s: %d", bad[i], a.status);
        const char *id = strcasestr(a.head, "\r\nX-Request-Id: ");
        ck_assert_ptr_nonnull(id);
        ck_assert_int_eq(strncmp(id + 16, "req-", 4), 0);
        ck_assert_uint_eq(strspn(id + 20, "0123456789abcdef"), 16);
        ck_assert_int_eq(id[36], '\r');
        snprintf(line, sizeof line, "X-Request-Id: %.20s", id + 16);
        ck_assert(has_line(a.body, line));
    }
}
END_TEST

/* ---- A14, A42 -------------------------------------------------------------------------------- */

/* A listener of the test's own. */
static int trap(int *port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, size), 0);
    ck_assert_int_eq(listen(fd, 8), 0);
    getsockname(fd, (struct sockaddr *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

START_TEST(a14_no_url_in_a_request_makes_the_bridge_connect_anywhere)
{
    static const char *const urls[] = { "http://127.0.0.1:%d/a.png", "//127.0.0.1:%d/a.png",
                                        "https://127.0.0.1:%d/",     "ftp://127.0.0.1:%d/a",
                                        "gopher://127.0.0.1:%d/_x",  "file:///etc/passwd?%d" };
    int port, fd = trap(&port);
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char url[64], body[512];
        struct answer a;
        snprintf(url, sizeof url, urls[i], port);
        snprintf(body, sizeof body,
                 "{\"model\":\"echo\",\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":"
                 "\"image_url\",\"image_url\":{\"url\":\"%s\"}}]}]}",
                 url);
        ask("POST", "/v1/chat/completions", JSON, body, &a);
        ck_assert_int_eq(a.status, 200);
        ck_assert_msg(strstr(a.body, body) != NULL, "%s", a.body); /* untouched, for the server */
        snprintf(
            body, sizeof body,
            "{\"model\":\"echo\",\"messages\":[],\"images\":[\"%s\"],\"container_name\":\"%s\"}",
            url, url);
        ask("POST", "/generate", JSON, body, &a);
        ck_assert_int_eq(a.status, 404);
    }
    ck_assert_int_eq(accept4(fd, NULL, NULL, SOCK_CLOEXEC), -1);
    struct sockaddr_in at = { .sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                              .sin_port = htons((uint16_t)port) };
    int control = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* the control: one is seen */
    ck_assert_int_eq(connect(control, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_ge(accept4(fd, NULL, NULL, SOCK_CLOEXEC), 0);
    close(control);
    close(fd);
}
END_TEST

START_TEST(a42_no_prompt_key_or_escape_gets_into_the_log_at_any_level)
{
    char config[160],
        *args[] = { "--config",           config, "--log-level", "debug", "--log-format",
                    _i ? "json" : "text", NULL };
    ck_assert_int_eq(bridge_down(), 0);
    snprintf(config, sizeof config, "%s/config.json", fixture.dir);
    bridge_up_args(args);
    struct answer a;
    for (int i = 0; i < N_POSTS; i++)
        ask("POST", posts[i],
            JSON "Authorization: Bearer " ALICE "\r\nX-Request-Id: marker\r\n"
                 "User-Agent: ua-canary\x1b[31m\r\nReferer: canary\r\n" ADMIN,
            "{\"model\":\"mod-canary\\u001b[31m\\r\\nforged\",\"messages\":[{\"role\":\"user\","
            "\"content\":\"prompt-canary\"}]}",
            &a);
    ask("POST", "/v1/completions",
        JSON "Authorization: Bearer " ALICE "\r\nX-Request-Id: marker\r\n"
             "User-Agent: ua-canary\r\n" ADMIN,
        "{\"model\":\"stream:2\",\"prompt\":\"prompt-canary\"}", &a);
    ck_assert_int_eq(a.status, 200);
    ask("POST", "/generate", JSON "Authorization: Bearer " ALICE "\r\n",
        "{\"model\":\"cut:63616e617279\",\"messages\":[{\"role\":\"user\",\"content\":"
        "\"prompt-canary\"}],\"stream\":true,\"container_name\":\"phi\"}",
        &a);
    ask("POST", "/generate", JSON "Authorization: Bearer " ALICE "\r\n",
        "{\"model\":\"echo\",\"messages\":[],\"container_name\":\"canary\\r\\n\\u001b[2J\"}", &a);
    ck_assert_int_eq(a.status, 404);
    ask("POST", "/v1/canary%0d%0aforged", JSON "Authorization: Bearer " ALICE "\r\n", "{}", &a);
    const char *log = bridge_log();
    ck_assert_ptr_nonnull(strstr(log, "marker")); /* the control: these requests are in it */
    ck_assert_msg(!strstr(log, "canary"), "%s", log);
    ck_assert_ptr_null(strstr(log, ALICE));
    ck_assert_ptr_null(strstr(log, "forged"));
    ck_assert_ptr_null(strchr(log, 0x1b));
    ck_assert_ptr_null(strchr(log, '\r'));
}
END_TEST

static bool none_busy(void)
{
    return metric("airlock_bridge_channels{container=\"phi\",state=\"busy\"} ") == 0;
}

START_TEST(metrics_tell_requests_times_bytes_and_refusals)
{
    struct answer a;
    long in = metric("airlock_bridge_bytes_total{direction=\"in\"} ");
    ask("POST", "/v1/completions", JSON, HEAD, &a);
    ask("POST", "/v1/completions", JSON, "{\"model\":\"stream:3\"}", &a);
    ask("POST", "/v1/completions", "Content-Type: text/plain\r\n", HEAD, &a);
    ask("POST", "/v1/nothing", JSON, HEAD, &a);
#define NAME "airlock_bridge_"
    ck_assert_int_eq(metric_wait(NAME "requests_total{route=\"/v1/completions\",code=\"200\"} ", 2),
                     2);
    ck_assert_int_eq(metric(NAME "requests_total{route=\"other\",code=\"404\"} "), 1);
    ck_assert_int_eq(metric(NAME "edge_refusals_total{code=\"415\"} "), 1);
    ck_assert_int_eq(metric(NAME "ttfb_seconds_count{route=\"/v1/completions\"} "), 2);
    ck_assert_int_eq(metric(NAME "ttfb_seconds_bucket{route=\"/v1/completions\",le=\"+Inf\"} "), 2);
    ck_assert_int_eq(metric(NAME "bytes_total{direction=\"in\"} ") - in,
                     (long)(2 * strlen(HEAD) + strlen("{\"model\":\"stream:3\"}")));
    ck_assert_int_ge(metric(NAME "bytes_total{direction=\"out\"} "), 27);
    ck_assert_int_eq(metric(NAME "stream_aborts_total{reason=\"caller\"} "), 0);
    long open = metric(NAME "channels{container=\"phi\",state=\"open\"} ");
    ck_assert_int_ge(open, 1);
    ck_assert(eventually(none_busy)); /* the keeper may be asking whether the server is ready */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bridge headers");
    TCase *open = tcase_create("open"), *tokens = tcase_create("tokens"),
          *two = tcase_create("two");
    tcase_add_checked_fixture(open, up, fixture_down);
    tcase_add_checked_fixture(tokens, up_with_tokens, fixture_down);
    tcase_add_checked_fixture(two, up_with_two, fixture_down);
    tcase_set_timeout(open, 300);
    tcase_set_timeout(tokens, 300);
    tcase_set_timeout(two, 300);
    suite_add_tcase(suite, open);
    suite_add_tcase(suite, tokens);
    suite_add_tcase(suite, two);
    tcase_add_test(open, every_path_reaches_the_servers_own_of_that_name_and_no_other);
    tcase_add_test(two, a_model_names_its_container_on_every_path);
    tcase_add_test(two, a_form_names_its_container_too);
    tcase_add_test(two, a_recording_cannot_name_a_container);
    tcase_add_test(open,
                   a2_a_form_is_taken_where_sounds_are_sent_and_only_with_what_no_page_can_send);
    tcase_add_test(tokens, each_token_is_a_caller_of_its_own_and_nobody_can_name_another);
    tcase_add_test(open, without_tokens_no_caller_is_named);
    tcase_add_test(open, the_admin_token_goes_to_the_adapter_paths_only);
    tcase_add_test(open, a_good_request_id_is_carried_answered_and_logged);
    tcase_add_test(open, a42_a_bad_request_id_is_replaced_everywhere);
    tcase_add_test(open, a14_no_url_in_a_request_makes_the_bridge_connect_anywhere);
    tcase_add_loop_test(tokens, a42_no_prompt_key_or_escape_gets_into_the_log_at_any_level, 0, 2);
    tcase_add_test(open, metrics_tell_requests_times_bytes_and_refusals);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
