/* bridge_fixture.c - starts, asks and ends the programs that the bridge's tests need; see
 * bridge_fixture.h. */
#include "bridge_fixture.h"

#include "common/io.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct fixture fixture;

static char server_address[128];

static void write_file(const char *name, const char *format, ...)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", fixture.dir, name);
    FILE *f = fopen(path, "we");
    ck_assert_ptr_nonnull(f);
    va_list args;
    va_start(args, format);
    vfprintf(f, format, args);
    va_end(args);
    ck_assert_int_eq(fclose(f), 0);
}

static void copy_fake_docker(void)
{
    char command[512];
    snprintf(command, sizeof command,
             "cp '%s/tests/fakes/docker' '%s/docker' && chmod 755 '%s/docker'", SOURCE_DIR,
             fixture.dir, fixture.dir);
    ck_assert_int_eq(system(command), 0);
}

/* argv[0] started with stdout (fd 1) and stderr (fd 2) as given, -1: inherited. */
static pid_t spawn(char *const *argv, int out, int err)
{
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 0);
        if (out >= 0)
            dup2(out, 1);
        if (err >= 0)
            dup2(err, 2);
        for (int fd = 3; fd < 256; fd++)
            close(fd);
        execv(argv[0], argv);
        _exit(127);
    }
    return pid;
}

static void start_server(void)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    char *argv[] = { BUILD_DIR "/tests/fakes/stub_server", "127.0.0.1:0", NULL };
    fixture.server = spawn(argv, fds[1], -1);
    close(fds[1]);
    ssize_t got = io_read(fds[0], server_address, sizeof server_address - 1);
    ck_assert_int_gt(got, 1);
    server_address[got - 1] = 0;
    close(fds[0]);
}

void set_mode(const char *mode)
{
    write_file("mode", "%s\n", mode);
}

void fixture_up(void)
{
    signal(SIGPIPE, SIG_IGN);
    fixture = (struct fixture){ .bridge = -1, .server = -1 };
    strcpy(fixture.dir, "/tmp/airlock-bridge-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture.dir));
    copy_fake_docker();
    start_server();
    write_file("client", "%s\n", BUILD_DIR "/airlock-client");
    write_file("address", "%s\n", server_address);
}

void fixture_down(void)
{
    if (fixture.bridge > 0)
        bridge_down();
    if (fixture.server > 0) {
        kill(fixture.server, SIGKILL);
        waitpid(fixture.server, NULL, 0);
    }
    if (getenv("KEEP"))
        return;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fixture.dir);
    ck_assert_int_eq(system(command), 0);
}

const char *bridge_log(void)
{
    static char text[1 << 20];
    char path[256];
    snprintf(path, sizeof path, "%s/log", fixture.dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ssize_t got = io_read(fd, text, sizeof text - 1);
    close(fd);
    text[got > 0 ? got : 0] = 0;
    return text;
}

void bridge_up_args(char *const *args)
{
    char path[256], *argv[24] = { BUILD_DIR "/airlock-bridge" };
    for (int i = 0; args[i]; i++)
        argv[i + 1] = args[i];
    snprintf(path, sizeof path, "%s/log", fixture.dir);
    int log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    ck_assert_int_ge(log, 0);
    fixture.bridge = spawn(argv, -1, log);
    close(log);
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        const char *line = strstr(bridge_log(), "listening on ");
        if (line && strchr(line, '\n')) {
            sscanf(line, "listening on %63s", fixture.address);
            const char *colon = strrchr(fixture.address, ':');
            fixture.port = colon ? atoi(colon + 1) : 0;
            return;
        }
        usleep(5000);
    }
    ck_abort_msg("the bridge did not start: %s", bridge_log());
}

void bridge_up(const char *extra)
{
    char path[256];
    write_file("config.json",
               "{\"listen\":\"127.0.0.1:0\",\"containers\":[{\"name\":\"phi\",\"program\":"
               "\"%s/docker\"}]%s}",
               fixture.dir, extra);
    snprintf(path, sizeof path, "%s/config.json", fixture.dir);
    char *args[] = { "--config", path, NULL };
    bridge_up_args(args);
}

int bridge_down(void)
{
    pid_t pid = fixture.bridge;
    fixture.bridge = -1;
    kill(pid, SIGTERM);
    for (int waited = 0; waited < PATIENCE_MS; waited += 5) {
        int status;
        if (waitpid(pid, &status, WNOHANG) == pid)
            return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
        usleep(5000);
    }
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return -1;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int dial(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

int dial_bridge(void)
{
    return dial(fixture.port);
}

/* One read with patience; 0 at the end. */
static size_t read_some(int fd, char *data, size_t max)
{
    struct pollfd p = { fd, POLLIN, 0 };
    if (poll(&p, 1, PATIENCE_MS) != 1)
        ck_abort_msg("no answer came");
    ssize_t got = read(fd, data, max);
    return got > 0 ? (size_t)got : 0;
}

void read_answer(int fd, struct answer *out)
{
    static _Thread_local char raw[sizeof out->head + sizeof out->body];
    size_t have = 0, want = SIZE_MAX;
    char *body = NULL;
    memset(out, 0, sizeof *out);
    while (have < want && have < sizeof raw - 1) {
        size_t got = read_some(fd, raw + have, sizeof raw - 1 - have);
        if (got == 0)
            break;
        have += got;
        raw[have] = 0;
        if (!body && (body = strstr(raw, "\r\n\r\n"))) {
            body += 4;
            char *length = strcasestr(raw, "\r\nContent-Length:");
            if (length && length < body)
                want = (size_t)(body - raw) + strtoul(length + 17, NULL, 10);
        }
    }
    if (!body)
        return;
    size_t head = (size_t)(body - raw);
    ck_assert_uint_lt(head, sizeof out->head);
    memcpy(out->head, raw, head);
    sscanf(raw, "HTTP/1.1 %d", &out->status);
    out->size = have - head < sizeof out->body - 1 ? have - head : sizeof out->body - 1;
    memcpy(out->body, body, out->size);
}

void exchange_raw(const char *bytes, size_t n, struct answer *out)
{
    int fd = dial_bridge();
    io_write_all(fd, bytes, n); /* a refusal may come before all of it is taken */
    read_answer(fd, out);
    close(fd);
}

void ask(const char *method, const char *path, const char *headers, const char *body,
         struct answer *out)
{
    char head[8192];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s", method, path,
                     fixture.port, headers);
    if (body)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n", strlen(body));
    n += snprintf(head + n, sizeof head - (size_t)n, "Connection: close\r\n\r\n");
    int fd = dial_bridge();
    ck_assert_int_eq(io_write_all(fd, head, (size_t)n), 0);
    if (body)
        io_write_all(fd, body, strlen(body));
    read_answer(fd, out);
    close(fd);
}

void generate(const char *model, struct answer *out)
{
    char body[4096];
    snprintf(body, sizeof body,
             "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"how are you?\"}],"
             "\"container_name\":\"phi\"}",
             model);
    ask("POST", "/generate", "Content-Type: application/json\r\n", body, out);
}

long count_of(const char *name)
{
    const char question[] = "GET /counts HTTP/1.0\r\n\r\n";
    struct answer a;
    int fd = dial(atoi(strrchr(server_address, ':') + 1));
    ck_assert_int_eq(io_write_all(fd, question, sizeof question - 1), 0);
    read_answer(fd, &a);
    close(fd);
    const char *at = strstr(a.body, name);
    ck_assert_ptr_nonnull(at);
    return strtol(at + strlen(name), NULL, 10);
}

long metric(const char *line_start)
{
    struct answer a;
    ask("GET", "/metrics", "", NULL, &a);
    ck_assert_int_eq(a.status, 200);
    const char *at = strstr(a.body, line_start);
    return at ? strtol(at + strlen(line_start), NULL, 10) : 0;
}

long metric_wait(const char *line_start, long least)
{
    long value = metric(line_start);
    for (int waited = 0; value < least && waited < PATIENCE_MS; waited += 20) {
        usleep(20000);
        value = metric(line_start);
    }
    return value;
}

bool eventually(bool (*condition)(void))
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 20) {
        if (condition())
            return true;
        usleep(20000);
    }
    return condition();
}

/* True when the process's command line or its own name for standard input leads to this test. */
static bool is_relay(const char *pid)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%.16s/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t got = io_read(fd, text, sizeof text - 1);
    close(fd);
    if (got <= 0)
        return false;
    text[got] = 0;
    bool shell = false, client = false;
    for (char *word = text; word < text + got; word += strlen(word) + 1) {
        shell = shell || strncmp(word, fixture.dir, strlen(fixture.dir)) == 0;
        client = client || strcmp(word, server_address) == 0;
    }
    return shell || (client && strstr(text, "airlock-client"));
}

int relays(void)
{
    int n = 0;
    DIR *proc = opendir("/proc");
    ck_assert_ptr_nonnull(proc);
    for (struct dirent *e; (e = readdir(proc));)
        if (e->d_name[0] >= '1' && e->d_name[0] <= '9' && atoi(e->d_name) != fixture.bridge)
            n += is_relay(e->d_name);
    closedir(proc);
    return n;
}
