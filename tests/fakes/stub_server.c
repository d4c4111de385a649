/*
 * stub_server.c - a model server that answers at once, late, or wrongly, as the request's model
 * says; for tests and benchmarks.
 *
 * usage: stub_server 127.0.0.1:0 | unix:PATH      prints the address it listens on
 *
 * POST /generate, /tokenize, /detokenize or /v1/... with "model":"..." (in JSON or in a form):
 *   echo          " the body that came "      sleep:MS      "slept" after MS milliseconds
 *   cancel        waits for the caller to hang up, at most 30 s
 *   close         closes without an answer    die           _exit(1), the whole server
 *   half          half of the promised body   status:CODE   that status, a JSON body
 *   wait:MS       early head, body after MS   stream:N      N server-sent events, 20 ms apart
 *   body:N        N bytes of 'x'              raw:HEX       these bytes, then close
 *   headers       headers without end         endless       a body without end
 *   twice         two answers to one          head          the head of the request, as text
 * and streams, of events on /v1/... and of text elsewhere, in chunks of one byte each:
 *   bytes:HEX     these bytes                 cut:HEX       these bytes, then the connection dies
 *   hang:HEX      these bytes, then silence until the caller hangs up
 *   repeat:HEX    these bytes again and again for ever, in chunks of 8 KiB
 *   chat          chat.completion.chunk events that say the last content back, a word each
 *   tools         a chat completion of two tool calls, whole or as events
 * GET /counts answers "requests R cancelled C connections N\n".
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { HEAD_MAX = 64 << 10, CANCEL_LIMIT_MS = 30000 };

static atomic_int requests, cancelled, connections;

struct message {
    char head[HEAD_MAX];
    char *body;
    size_t size;
};

static int write_all(int fd, const char *data, size_t n)
{
    while (n) {
        ssize_t put = send(fd, data, n, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return -1;
        data += put;
        n -= (size_t)put;
    }
    return 0;
}

static void say(int fd, const char *text)
{
    write_all(fd, text, strlen(text));
}

/* A whole answer with its length, in one write. */
static void answer(int fd, int status, const char *type, const char *body, size_t size)
{
    char *all = malloc(size + 256);
    int n = sprintf(all,
                    "HTTP/1.1 %d Stub\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                    "X-Stub-Secret: inside\r\nSet-Cookie: stub=1\r\n\r\n",
                    status, type, size);
    memcpy(all + n, body, size);
    write_all(fd, all, (size_t)n + size);
    free(all);
}

/* Sleeps; 1 when the caller hung up meanwhile. */
static int wait_hangup(int fd, int ms)
{
    struct pollfd p = { fd, POLLIN | POLLRDHUP, 0 };
    if (poll(&p, 1, ms) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR))) {
        cancelled++;
        return 1;
    }
    return 0;
}

/* One request.  0, or -1: the connection has ended. */
static int read_message(int fd, struct message *m)
{
    size_t used = 0;
    char *end = NULL;
    m->body = NULL;
    m->size = 0;
    while (!end) {
        if (used == sizeof m->head - 1)
            return -1;
        ssize_t got = recv(fd, m->head + used, sizeof m->head - 1 - used, 0);
        if (got <= 0)
            return -1;
        used += (size_t)got;
        m->head[used] = 0;
        end = strstr(m->head, "\r\n\r\n");
    }
    size_t extra = used - (size_t)(end + 4 - m->head);
    char *length = strcasestr(m->head, "\r\nContent-Length:");
    m->size = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    m->body = malloc(m->size + 1);
    if (extra > m->size)
        extra = m->size;
    memcpy(m->body, end + 4, extra);
    if (strcasestr(m->head, "Expect: 100-continue"))
        say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    while (extra < m->size) {
        ssize_t got = recv(fd, m->body + extra, m->size - extra, 0);
        if (got <= 0) {
            free(m->body);
            return -1;
        }
        extra += (size_t)got;
    }
    m->body[m->size] = 0;
    end[2] = 0;
    return 0;
}

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* The bytes of hexadecimal text in out; their number. */
static size_t unhex(const char *text, char *out, size_t max)
{
    size_t n = 0;
    for (; n < max && text[0] && text[1] && text[0] != '"' && text[0] != '\r'; text += 2)
        out[n++] = (char)(hex(text[0]) << 4 | hex(text[1]));
    return n;
}

static void send_raw(int fd, const char *text)
{
    for (; text[0] && text[1] && text[0] != '"'; text += 2) {
        char c = (char)(hex(text[0]) << 4 | hex(text[1]));
        write_all(fd, &c, 1);
    }
}

static void stream(int fd, int n)
{
    say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < n; i++) {
        char chunk[64];
        int size = snprintf(chunk, sizeof chunk, "data: %d\n\n", i);
        dprintf(fd, "%x\r\n%s\r\n", size, chunk);
        if (wait_hangup(fd, 20))
            return;
    }
    say(fd, "0\r\n\r\n");
}

static void stream_head(int fd, int events)
{
    say(fd, events ? "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Secret: inside\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n"
                   : "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n");
}

static int say_chunk(int fd, const char *data, size_t n)
{
    char head[32];
    int size = snprintf(head, sizeof head, "%zx\r\n", n);
    return write_all(fd, head, (size_t)size) < 0 || write_all(fd, data, n) < 0 ||
                   write_all(fd, "\r\n", 2) < 0
               ? -1
               : 0;
}

/* The streams that are told in hexadecimal.  0: the connection may go on. */
static int stream_bytes(int fd, const char *model, int events)
{
    static const char *const kinds[] = { "bytes:", "cut:", "hang:", "repeat:" };
    char data[8192];
    size_t kind = 0;
    while (strncmp(model, kinds[kind], strlen(kinds[kind])) != 0)
        kind++;
    size_t n = unhex(model + strlen(kinds[kind]), data, sizeof data);
    stream_head(fd, events);
    if (kind == 3) {
        size_t copies = n ? sizeof data / n : 0;
        for (size_t i = 1; i < copies; i++)
            memcpy(data + i * n, data, n);
        while (say_chunk(fd, data, copies * n) == 0)
            ;
        cancelled++;
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        say_chunk(fd, data + i, 1);
    if (kind == 0) {
        say(fd, "0\r\n\r\n");
        return 0;
    }
    if (kind == 2)
        wait_hangup(fd, CANCEL_LIMIT_MS);
    return -1;
}

static void say_event(int fd, const char *text)
{
    char event[4096];
    int n = snprintf(event, sizeof event, "data: %s\n\n", text);
    say_chunk(fd, event, (size_t)n);
}

/* The last "content" of the body, a word in an event: words are separated by spaces. */
static void chat(int fd, const char *body)
{
    const char *at = NULL, *next = body;
    while ((next = strstr(next, "\"content\":\"")))
        at = next += 11;
    stream_head(fd, 1);
    while (at && *at && *at != '"') {
        char event[2048];
        size_t n = 1;
        while (at[n] && at[n] != '"' && at[n] != ' ')
            n += at[n] == '\\' ? 2 : 1;
        snprintf(event, sizeof event,
                 "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":"
                 "{\"content\":\"%.*s\"},\"finish_reason\":null}]}",
                 (int)n, at);
        say_event(fd, event);
        if (wait_hangup(fd, strstr(body, "slowly") ? 100 : 1))
            return;
        at += n;
    }
    say_event(fd, "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":"
                  "{\"prompt_tokens\":7,\"completion_tokens\":3,\"total_tokens\":10,"
                  "\"prompt_tokens_details\":{\"cached_tokens\":2}}}");
    say_event(fd, "[DONE]");
    say(fd, "0\r\n\r\n");
}

static void tools(int fd, const char *body)
{
    static const char whole[] =
        "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
        "\"tool_calls\":[{\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"add\","
        "\"arguments\":\"{\\\"a\\\":1}\"}},{\"id\":\"call_2\",\"type\":\"function\",\"function\":"
        "{\"name\":\"now\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":"
        "{\"prompt_tokens\":5,\"completion_tokens\":4,\"total_tokens\":9}}";
    if (!strstr(body, "\"stream\":true")) {
        answer(fd, 200, "application/json", whole, sizeof whole - 1);
        return;
    }
    stream_head(fd, 1);
    say_event(fd,
              "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{"
              "\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"add\","
              "\"arguments\":\"\"}}]}}]}");
    say_event(fd,
              "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
              "\"arguments\":\"{\\\"a\\\":\"}}]}}]}");
    say_event(fd,
              "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{"
              "\"arguments\":\"1}\"}},{\"index\":1,\"id\":\"call_2\",\"function\":{\"name\":"
              "\"now\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"tool_calls\"}]}");
    say_event(fd, "[DONE]");
    say(fd, "0\r\n\r\n");
}

/* Answers that never end, until the peer has had enough. */
static void flood(int fd, const char *head, const char *piece)
{
    char block[16384];
    size_t n = strlen(piece);
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = piece[i % n];
    say(fd, head);
    while (write_all(fd, block, sizeof block - sizeof block % n) == 0)
        ;
    cancelled++;
}

/* 0: the connection may go on. */
static int misbehave(int fd, const char *model)
{
    if (strncmp(model, "close", 5) == 0) {
    } else if (strncmp(model, "die", 3) == 0) {
        _exit(1);
    } else if (strncmp(model, "half", 4) == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nhalf ");
    } else if (strncmp(model, "raw:", 4) == 0) {
        send_raw(fd, model + 4);
    } else if (strncmp(model, "headers", 7) == 0) {
        flood(fd, "HTTP/1.1 200 OK\r\n", "X-More: of the same\r\n");
    } else if (strncmp(model, "endless", 7) == 0) {
        flood(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "x");
    } else if (strncmp(model, "twice", 5) == 0) {
        const char two[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\noneHTTP/1.1 200 OK\r\n"
                           "Content-Length: 3\r\n\r\ntwo";
        write_all(fd, two, sizeof two - 1);
        return 0;
    } else {
        answer(fd, 400, "text/plain; charset=utf-8", "Unrecognized model", 18);
        return 0;
    }
    return -1;
}

/* Behind the name of the body's model; of a form the last one, for what is before it may be a
 * recording. */
static const char *model_of(const struct message *m)
{
    const char *model = NULL, *at = m->body, *end = m->body + m->size;
    while ((at = memmem(at, (size_t)(end - at), "\"model\"", 7))) {
        model = at++;
        if (strncmp(m->body, "--", 2) != 0)
            break;
    }
    return model;
}

/* 0: the connection may go on. */
static int generate(int fd, const struct message *m)
{
    const char *model = model_of(m);
    if (!model) {
        answer(fd, 422, "application/json", "{\"detail\":[]}", 13);
        return 0;
    }
    int events = strncmp(m->head, "POST /v1/", 9) == 0;
    model += 7;
    model += strspn(model, ": \"\r\n");
    const char *colon = strchr(model, ':');
    int number = colon ? atoi(colon + 1) : 0;
    if (strncmp(model, "echo", 4) == 0) {
        char *text = malloc(m->size + 4);
        text[0] = ' ';
        memcpy(text + 1, m->body, m->size);
        memcpy(text + 1 + m->size, "\n\n", 2);
        answer(fd, 200, "text/plain; charset=utf-8", text, m->size + 3);
        free(text);
    } else if (strncmp(model, "sleep:", 6) == 0) {
        if (wait_hangup(fd, number))
            return -1;
        answer(fd, 200, "text/plain; charset=utf-8", "slept", 5);
    } else if (strncmp(model, "wait:", 5) == 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\n");
        if (wait_hangup(fd, number))
            return -1;
        say(fd, "done");
    } else if (strncmp(model, "cancel", 6) == 0) {
        wait_hangup(fd, CANCEL_LIMIT_MS);
        return -1;
    } else if (strncmp(model, "status:", 7) == 0) {
        answer(fd, number, "application/json", "{\"detail\":\"as asked\"}", 21);
    } else if (strncmp(model, "stream:", 7) == 0) {
        stream(fd, number);
    } else if (strncmp(model, "head", 4) == 0 && strncmp(model, "headers", 7) != 0) {
        answer(fd, 200, "text/plain", m->head, strlen(m->head));
    } else if (strncmp(model, "bytes:", 6) == 0 || strncmp(model, "cut:", 4) == 0 ||
               strncmp(model, "hang:", 5) == 0 || strncmp(model, "repeat:", 7) == 0) {
        return stream_bytes(fd, model, events);
    } else if (strncmp(model, "chat", 4) == 0) {
        chat(fd, m->body);
    } else if (strncmp(model, "tools", 5) == 0) {
        tools(fd, m->body);
    } else if (strncmp(model, "body:", 5) == 0) {
        char *text = malloc((size_t)number + 1);
        memset(text, 'x', (size_t)number);
        answer(fd, 200, "text/plain; charset=utf-8", text, (size_t)number);
        free(text);
    } else {
        return misbehave(fd, model);
    }
    return 0;
}

static int respond(int fd, const struct message *m)
{
    char text[128];
    if (strncmp(m->head, "GET /counts ", 12) == 0) {
        int n = snprintf(text, sizeof text, "requests %d cancelled %d connections %d\n", requests,
                         cancelled, connections);
        answer(fd, 200, "text/plain", text, (size_t)n);
    } else if (strncmp(m->head, "GET /v1/models ", 15) == 0) {
        const char list[] = "{\"object\":\"list\",\"data\":[{\"id\":\"echo\"}]}";
        answer(fd, 200, "application/json", list, sizeof list - 1);
    } else if (strncmp(m->head, "GET /readyz ", 12) == 0 ||
               strncmp(m->head, "GET /livez ", 11) == 0) {
        answer(fd, 200, "text/plain", "ok\n", 3);
    } else if (strncmp(m->head, "POST /generate ", 15) == 0 ||
               strncmp(m->head, "POST /v1/", 9) == 0 ||
               strncmp(m->head, "POST /tokenize ", 15) == 0 ||
               strncmp(m->head, "POST /detokenize ", 17) == 0) {
        requests++;
        return generate(fd, m);
    } else {
        answer(fd, 404, "application/json", "{\"detail\":\"Not Found\"}", 22);
    }
    return 0;
}

static void *serve(void *arg)
{
    int fd = (int)(long)arg;
    struct message *m = malloc(sizeof *m);
    connections++;
    int go_on = 0;
    while (go_on == 0 && read_message(fd, m) == 0) {
        go_on = respond(fd, m);
        free(m->body);
    }
    free(m);
    close(fd);
    connections--;
    return NULL;
}

static int listen_on(const char *where)
{
    if (strncmp(where, "unix:", 5) == 0) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        snprintf(a.sun_path, sizeof a.sun_path, "%s", where + 5);
        unlink(a.sun_path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 512) < 0)
            return -1;
        printf("%s\n", where);
        return fd;
    }
    const char *colon = strchr(where, ':');
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0)) };
    socklen_t size = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, size) < 0 || listen(fd, 512) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &size) < 0)
        return -1;
    printf("127.0.0.1:%d\n", ntohs(a.sin_port));
    return fd;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    int fd = listen_on(argc > 1 ? argv[1] : "127.0.0.1:0");
    if (fd < 0) {
        perror("stub_server");
        return 1;
    }
    fflush(stdout);
    for (;;) {
        int one = 1, peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0)
            continue;
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, (void *)(long)peer) == 0)
            pthread_detach(thread);
        else
            close(peer);
    }
}
