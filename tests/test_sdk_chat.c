/* test_sdk_chat.c - libairlock's streams, chats and lists against a server that answers rightly, in
 * pieces, wrongly, or not to the end. */
#include "suite.h"

#include <airlock/airlock.h>
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Answers one connection with a head and a body, in pieces, then closes or waits for a hang-up. */
struct stub {
    const char *type, *body;
    size_t size, piece; /* bytes of one write; 0: all */
    int endless;        /* the body again and again */
    int hang;           /* waits for the hang-up at the end */
    int chunked;        /* and ends cleanly; otherwise the end of the connection is the body's */
    int hung_up;
    int listener;
    char host[64], seen[65536];
    pthread_t thread;
};

static void read_request(struct stub *s, int fd)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, s->seen + n, sizeof s->seen - 1 - n, 0);
        if (got <= 0)
            return;
        n += (size_t)got;
        s->seen[n] = 0;
        const char *end = strstr(s->seen, "\r\n\r\n"),
                   *length = strcasestr(s->seen, "Content-Length:");
        if (end && (!length || n >= (size_t)(end + 4 - s->seen) + strtoul(length + 15, NULL, 10)))
            return;
    }
}

static int put(int fd, const char *data, size_t n)
{
    return send(fd, data, n, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -1;
}

static int put_piece(const struct stub *s, int fd, const char *data, size_t n)
{
    char head[32];
    if (!s->chunked)
        return put(fd, data, n);
    int size = sprintf(head, "%zx\r\n", n);
    return put(fd, head, (size_t)size) < 0 || put(fd, data, n) < 0 || put(fd, "\r\n", 2) < 0 ? -1
                                                                                             : 0;
}

static void *serve(void *arg)
{
    struct stub *s = arg;
    char head[256];
    int fd = accept(s->listener, NULL, NULL), rc = 0;
    read_request(s, fd);
    int n = sprintf(head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n", s->type,
                    s->chunked ? "Transfer-Encoding: chunked\r\n" : "Connection: close\r\n");
    put(fd, head, (size_t)n);
    do
        for (size_t at = 0; at < s->size && rc == 0;) {
            size_t piece = s->piece && s->piece < s->size - at ? s->piece : s->size - at;
            rc = put_piece(s, fd, s->body + at, piece);
            at += piece;
        }
    while (s->endless && rc == 0);
    struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };
    if (rc < 0 || (s->hang && poll(&p, 1, 20000) == 1))
        s->hung_up = 1;
    if (s->chunked && !s->hang)
        put(fd, "0\r\n\r\n", 5);
    close(fd);
    return NULL;
}

static void stub_start(struct stub *s, const char *type, const char *body)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t n = sizeof a;
    s->type = type;
    s->body = body;
    s->size = s->size ? s->size : strlen(body);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&a, sizeof a), 0);
    getsockname(s->listener, (struct sockaddr *)&a, &n);
    snprintf(s->host, sizeof s->host, "http://127.0.0.1:%d", ntohs(a.sin_port));
    ck_assert_int_eq(listen(s->listener, 4), 0);
    ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stub_stop(struct stub *s)
{
    pthread_join(s->thread, NULL);
    close(s->listener);
}

/* What a callback has got. */
struct got {
    char text[65536];
    size_t size, calls, stop_after;
    int broken;
    airlock_client *cancel; /* from another thread, after the first piece */
    pthread_t thread;
};

static void *cancel(void *arg)
{
    usleep(50000);
    airlock_client_cancel(arg);
    return NULL;
}

static int on_text(void *ctx, const char *text, size_t size)
{
    struct got *g = ctx;
    if (g->size + size < sizeof g->text)
        memcpy(g->text + g->size, text, size);
    if (size == 0 || ((unsigned char)text[0] & 0xc0) == 0x80)
        g->broken = 1; /* nothing, or not the beginning of a character */
    g->size += size;
    g->calls++;
    if (g->cancel && g->calls == 1)
        pthread_create(&g->thread, NULL, cancel, g->cancel);
    return g->stop_after && g->calls >= g->stop_after;
}

static const airlock_chat_message HELLO = { .role = "user", .content = "hello" };

/* A chat with one message; got NULL: not streamed. */
static airlock_chat_answer *chat(const struct stub *s, struct got *got, airlock_error *err)
{
    airlock_client *c = airlock_client_new(s->host, err);
    airlock_chat_request r = { .struct_size = sizeof r,
                               .model = "phi:dates",
                               .messages = &HELLO,
                               .n_messages = 1,
                               .on_text = got ? on_text : NULL,
                               .ctx = got };
    airlock_chat_answer *answer = airlock_client_chat(c, &r, err);
    airlock_client_free(c);
    return answer;
}

#define EVENT(json) "data: " json "\n\n"
#define DELTA(members) EVENT("{\"choices\":[{\"index\":0,\"delta\":{" members "}}]}")
#define SSE "text/event-stream"

static const char EVENTS[] =
    ": ping\n\n" DELTA("\"role\":\"assistant\",\"content\":\"caf\xc3\xa9 \"")
        DELTA("\"content\":\"\xf0\x9f\x98\x80\\u001b[31m\"")
            DELTA("\"tool_calls\":[{\"index\":0,"
                  "\"id\":\"call_1\",\"function\":{\"name\":\"add\",\"arguments\":\"{"
                  "\\\"a\\\"\"}}]")
                DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}},{"
                      "\"index\":1,"
                      "\"id\":\"call_2\",\"function\":{\"name\":\"now\",\"arguments\":\"{}\"}}"
                      "]") "data: "
                           "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_"
                           "calls\"}]}\r\n\r\n" EVENT("{\"choices\":[],\"usage\":{\"prompt_"
                                                      "tokens\":7,\"completion_tokens\":3,"
                                                      "\"prompt_tokens_details\":{\"cached_"
                                                      "tokens\":2}}}") EVENT("[DONE]");

START_TEST(events_in_pieces_of_any_size_are_the_same_answer)
{
    for (size_t piece = 1; piece <= sizeof EVENTS; piece = piece < 8 ? piece + 1 : piece * 5) {
        struct stub s = { .piece = piece, .chunked = piece % 2 == 0 };
        struct got got = { .size = 0 };
        airlock_error err = { 0 };
        stub_start(&s, SSE, EVENTS);
        airlock_chat_answer *a = chat(&s, &got, &err);
        ck_assert_msg(a != NULL, "piece %zu: %s", piece, err.text);
        ck_assert_str_eq(a->text, "caf\xc3\xa9 \xf0\x9f\x98\x80\x1b[31m");
        ck_assert_uint_eq(a->text_size, strlen(a->text));
        ck_assert_str_eq(got.text, a->text);
        ck_assert_uint_eq(got.calls, 2);
        ck_assert_uint_eq(a->n_tool_calls, 2);
        ck_assert_str_eq(a->tool_calls[0].id, "call_1");
        ck_assert_str_eq(a->tool_calls[0].name, "add");
        ck_assert_str_eq(a->tool_calls[0].arguments, "{\"a\":1}");
        ck_assert_str_eq(a->tool_calls[1].name, "now");
        ck_assert_str_eq(a->finish_reason, "tool_calls");
        ck_assert_int_eq(a->prompt_tokens, 7);
        ck_assert_int_eq(a->completion_tokens, 3);
        ck_assert_int_eq(a->cached_tokens, 2);
        airlock_chat_answer_free(a);
        stub_stop(&s);
    }
}
END_TEST

static const char WHOLE[] =
    "{\"choices\":[{\"message\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":"
    "\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
    "\"finish_reason\":\"tool_calls\"}]}";

START_TEST(a_whole_answer_is_taken_streamed_or_not)
{
    for (int streamed = 0; streamed < 2; streamed++) {
        struct stub s = { .chunked = 1 };
        struct got got = { .size = 0 };
        airlock_error err = { 0 };
        stub_start(&s, "application/json", WHOLE);
        airlock_chat_answer *a = chat(&s, streamed ? &got : NULL, &err);
        ck_assert_msg(a != NULL, "%s", err.text);
        ck_assert_str_eq(a->text, "");
        ck_assert_str_eq(a->tool_calls[0].id, "c");
        ck_assert_int_eq(a->prompt_tokens, -1);
        airlock_chat_answer_free(a);
        stub_stop(&s);
        ck_assert_int_eq(strstr(s.seen, ",\"stream\":true,") != NULL, streamed);
    }
}
END_TEST

START_TEST(everything_that_is_set_is_sent)
{
    static const airlock_tool_call call = { "call_1", "add", "{\"a\":1}" };
    static const char *const stop[] = { "\n", "END" };
    airlock_chat_message messages[] = {
        { .role = "user", .content = "1+1?" },
        { .role = "assistant", .tool_calls = &call, .n_tool_calls = 1 },
        { .role = "tool", .content = "2", .tool_call_id = "call_1" }
    };
    airlock_parameters p = { .set = AIRLOCK_SET_TEMPERATURE | AIRLOCK_SET_MAX_NEW_TOKENS,
                             .temperature = 0.5,
                             .max_new_tokens = 9 };
    airlock_chat_request r = { .struct_size = sizeof r,
                               .model = "phi/M:dates",
                               .messages = messages,
                               .n_messages = 3,
                               .parameters = &p,
                               .stop = stop,
                               .n_stop = 2,
                               .use_seed = 1,
                               .seed = -5,
                               .tools = "[{\"type\":\"function\"}]",
                               .tool_choice = "add",
                               .schema = "{\"type\":\"object\"}" };
    struct stub s = { .chunked = 1 };
    airlock_error err = { 0 };
    stub_start(&s, "application/json", WHOLE);
    airlock_client *c = airlock_client_new(s.host, &err);
    airlock_chat_answer *a = airlock_client_chat(c, &r, &err);
    ck_assert_msg(a != NULL, "%s", err.text);
    airlock_chat_answer_free(a);
    airlock_client_free(c);
    stub_stop(&s);
    ck_assert_ptr_nonnull(strstr(s.seen, "POST /v1/chat/completions HTTP/1.1\r\n"));
    ck_assert_str_eq(
        strstr(s.seen, "\r\n\r\n") + 4,
        "{\"model\":\"phi/M:dates\",\"messages\":[{\"role\":\"user\",\"content\":\"1+1?\"},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"type\":\"function\",\"id\":"
        "\"call_1\",\"function\":{\"name\":\"add\",\"arguments\":\"{\\u0022a\\u0022:1}\"}}]},"
        "{\"role\":\"tool\",\"content\":\"2\",\"tool_call_id\":\"call_1\"}],\"temperature\":0.5,"
        "\"max_completion_tokens\":9,\"stop\":[\"\\u000a\",\"END\"],\"tools\":[{\"type\":"
        "\"function\"}],"
        "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"add\"}},"
        "\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"answer\","
        "\"strict\":true,\"schema\":{\"type\":\"object\"}}},\"seed\":-5}");
}
END_TEST

static const struct {
    const char *type, *body;
    int chunked;
    const char *words;
} wrong[] = {
    { SSE, DELTA("\"content\":\"a\"") EVENT("{\"error\":{\"message\":\"it died\"}}"), 1,
      "it died" },
    { SSE, DELTA("\"content\":\"a\""), 1, "broke off" },
    { SSE, DELTA("\"content\":\"a\"") "data: {\"cho", 1, "broke off" },
    { SSE, DELTA("\"content\":\"a\"") "data: {\"cho", 0, "broke off" },
    { SSE, "", 1, "broke off" },
    { SSE, EVENT("not json"), 1, "the answer is wrong" },
    { SSE, EVENT("[]"), 1, "it has no choices" },
    { SSE, EVENT("{\"choices\":{}}"), 1, "it has no choices" },
    { SSE, EVENT("{\"choices\":[1]}"), 1, "choices[0]" },
    { SSE, DELTA("\"content\":7"), 1, "content" },
    { SSE, DELTA("\"content\":\"a\\u0000b\""), 1, "the answer is wrong" },
    { SSE, DELTA("\"content\":\"\xff\""), 1, "the answer is wrong" },
    { SSE, DELTA("\"tool_calls\":[{\"index\":5}]"), 1, "tool_calls" },
    { SSE, DELTA("\"tool_calls\":[{\"index\":-1}]"), 1, "tool_calls" },
    { SSE, DELTA("\"tool_calls\":[7]"), 1, "tool_calls" },
    { "application/json", "{", 1, "the answer is wrong" },
    { "text/html", "<h1>no</h1>", 1, "the answer is wrong" },
};

START_TEST(a_wrong_or_broken_answer_is_told)
{
    struct stub s = { .chunked = wrong[_i].chunked };
    struct got got = { .size = 0 };
    airlock_error err = { 0 };
    stub_start(&s, wrong[_i].type, wrong[_i].body);
    ck_assert_ptr_null(chat(&s, &got, &err));
    ck_assert_int_eq(err.code, AIRLOCK_ERR_ANSWER);
    ck_assert_msg(strstr(err.text, wrong[_i].words) != NULL, "text is: %s", err.text);
    stub_stop(&s);
}
END_TEST

START_TEST(a19_an_endless_answer_and_a_huge_event_are_refused)
{
    static const char *const bodies[] = { DELTA("\"content\":\"0123456789\""),
                                          "data: xxxxxxxxxxxxxxxx" };
    static const char *const words[] = { "larger than the limit", "an event is too large" };
    for (int i = 0; i < 2; i++) {
        struct stub s = { .endless = 1, .chunked = 1, .piece = 0 };
        char *big = malloc(65536 + 64);
        size_t n = strlen(bodies[i]);
        for (s.size = 0; s.size + n <= 65536; s.size += n)
            memcpy(big + s.size, bodies[i], n);
        airlock_error err = { 0 };
        stub_start(&s, SSE, big);
        airlock_client *c = airlock_client_new(s.host, &err);
        airlock_client_set_max_answer(c, 100000);
        airlock_chat_request r = {
            .struct_size = sizeof r, .model = "m", .messages = &HELLO, .n_messages = 1
        };
        ck_assert_ptr_null(airlock_client_chat(c, &r, &err));
        ck_assert_int_eq(err.code, AIRLOCK_ERR_ANSWER);
        ck_assert_msg(strstr(err.text, words[i]) != NULL, "text is: %s", err.text);
        airlock_client_free(c);
        stub_stop(&s);
        ck_assert_int_eq(s.hung_up, 1);
        free(big);
    }
}
END_TEST

START_TEST(a_callback_and_another_thread_can_end_an_answer)
{
    for (int by_thread = 0; by_thread < 2; by_thread++) {
        struct stub s = { .chunked = 1, .hang = 1 };
        struct got got = { .stop_after = !by_thread };
        airlock_error err = { 0 };
        stub_start(&s, SSE, DELTA("\"content\":\"a\""));
        airlock_client *c = airlock_client_new(s.host, &err);
        airlock_client_cancel(c); /* nothing runs: nothing happens */
        got.cancel = by_thread ? c : NULL;
        airlock_chat_request r = { .struct_size = sizeof r,
                                   .model = "m",
                                   .messages = &HELLO,
                                   .n_messages = 1,
                                   .on_text = on_text,
                                   .ctx = &got };
        ck_assert_ptr_null(airlock_client_chat(c, &r, &err));
        ck_assert_msg(err.code == AIRLOCK_ERR_CANCELLED, "%d %s", err.code, err.text);
        ck_assert_str_eq(got.text, "a");
        if (by_thread)
            pthread_join(got.thread, NULL);
        stub_stop(&s); /* it saw the hang-up before the client was freed */
        ck_assert_int_eq(s.hung_up, 1);
        airlock_client_free(c);
    }
}
END_TEST

START_TEST(text_streams_in_whole_characters)
{
    static const char text[] = "caf\xc3\xa9 \xf0\x9f\x98\x80.";
    for (int cut = 0; cut < 2; cut++) {
        struct stub s = { .piece = 1, .chunked = 1, .hang = 0 };
        struct got got = { .size = 0 };
        airlock_error err = { 0 };
        airlock_message hello = { "user", "hello" };
        airlock_request r = { .struct_size = sizeof r,
                              .container = "phi",
                              .model = "m",
                              .messages = &hello,
                              .n_messages = 1 };
        stub_start(&s, "text/plain", text);
        airlock_client *c = airlock_client_new(s.host, &err);
        got.stop_after = cut ? 3 : 0;
        int rc = airlock_client_generate_stream(c, &r, on_text, &got, &err);
        ck_assert_int_eq(rc, cut ? -1 : 0);
        ck_assert_uint_eq(got.size, cut ? 3 : strlen(text));
        ck_assert_int_eq(got.broken, 0);
        if (cut)
            ck_assert_int_eq(err.code, AIRLOCK_ERR_CANCELLED);
        else
            ck_assert_str_eq(got.text, text);
        airlock_client_free(c);
        stub_stop(&s);
        ck_assert_ptr_nonnull(strstr(s.seen, ",\"stream\":true}"));
    }
}
END_TEST

START_TEST(models_are_listed_and_what_is_no_list_is_told)
{
    struct stub s = { .chunked = 1 };
    airlock_error err = { 0 };
    stub_start(&s, "application/json",
               "{\"data\":[{\"id\":\"M\"},{\"id\":\"M:dates\"},{\"id\":7},8],\"object\":\"list\"}");
    airlock_client *c = airlock_client_new(s.host, &err);
    char **names = airlock_client_models(c, &err);
    ck_assert_msg(names != NULL, "%s", err.text);
    ck_assert_str_eq(names[0], "M");
    ck_assert_str_eq(names[1], "M:dates");
    ck_assert_ptr_null(names[2]);
    airlock_models_free(names);
    airlock_client_free(c);
    stub_stop(&s);
    ck_assert_ptr_nonnull(strstr(s.seen, "GET /v1/models HTTP/1.1\r\n"));
    struct stub bad = { .chunked = 1 };
    stub_start(&bad, "application/json", "{\"data\":7}");
    c = airlock_client_new(bad.host, &err);
    ck_assert_ptr_null(airlock_client_models(c, &err));
    ck_assert_int_eq(err.code, AIRLOCK_ERR_ANSWER);
    airlock_client_free(c);
    stub_stop(&bad);
}
END_TEST

START_TEST(what_cannot_be_sent_is_named)
{
    airlock_error err = { 0 };
    airlock_client *c = airlock_client_new(NULL, &err);
    airlock_chat_message none = { .role = "user" };
    airlock_chat_request r = { .model = "m", .messages = &none, .n_messages = 1 };
    ck_assert_ptr_null(airlock_client_chat(c, &r, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "struct_size"));
    r.struct_size = sizeof r;
    ck_assert_ptr_null(airlock_client_chat(c, &r, &err));
    ck_assert_int_eq(err.code, AIRLOCK_ERR_ARGUMENT);
    ck_assert_str_eq(err.text, "messages[0]: content is missing");
    r.n_messages = 0;
    r.model = NULL;
    ck_assert_ptr_null(airlock_client_chat(c, &r, &err));
    ck_assert_ptr_nonnull(strstr(err.text, "model is missing"));
    airlock_client_free(c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sdk_chat");
    TCase *t = tcase_create("sdk_chat");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, events_in_pieces_of_any_size_are_the_same_answer);
    tcase_add_test(t, a_whole_answer_is_taken_streamed_or_not);
    tcase_add_test(t, everything_that_is_set_is_sent);
    tcase_add_loop_test(t, a_wrong_or_broken_answer_is_told, 0, sizeof wrong / sizeof *wrong);
    tcase_add_test(t, a19_an_endless_answer_and_a_huge_event_are_refused);
    tcase_add_test(t, a_callback_and_another_thread_can_end_an_answer);
    tcase_add_test(t, text_streams_in_whole_characters);
    tcase_add_test(t, models_are_listed_and_what_is_no_list_is_told);
    tcase_add_test(t, what_cannot_be_sent_is_named);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
