/* bench_bridge.c - asks POST /generate from many connections at once and prints how long it took.
 *
 * usage: bench_bridge ADDRESS CALLERS REQUESTS [MODEL]
 *   ADDRESS   127.0.0.1:PORT or unix:PATH, of a bridge or of a server
 *   REQUESTS  of each caller, one after the other on a kept connection
 *   MODEL     of tests/fakes/stub_server (echo)
 * Prints: CALLERS REQUESTS p50 p99 max (microseconds) requests/s
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *address, *model = "echo";
static int n_requests;
static double *times; /* [callers][n_requests], microseconds */
static pthread_barrier_t start;

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void fail(const char *why)
{
    fprintf(stderr, "bench_bridge: %s\n", why);
    exit(1);
}

static int dial(void)
{
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        snprintf(a.sun_path, sizeof a.sun_path, "%s", address + 5);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
            fail("cannot connect");
        return fd;
    }
    const char *colon = strrchr(address, ':');
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)(colon ? atoi(colon + 1) : 0)) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        fail("cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

/* Reads one answer of a stated length. */
static void read_answer(int fd)
{
    char data[65536];
    size_t have = 0, want = 0;
    while (want == 0 || have < want) {
        ssize_t got = read(fd, data + have, sizeof data - 1 - have);
        if (got <= 0)
            fail("the connection ended");
        have += (size_t)got;
        data[have] = 0;
        char *end = strstr(data, "\r\n\r\n"), *length = strcasestr(data, "\r\nContent-Length:");
        if (end && length)
            want = (size_t)(end + 4 - data) + strtoul(length + 17, NULL, 10);
        if (have == sizeof data - 1)
            fail("the answer is too large");
    }
    if (strncmp(data, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "%s\n", data);
        fail("not 200");
    }
}

static void *call(void *arg)
{
    double *mine = arg;
    char body[512], request[1024];
    int n = snprintf(body, sizeof body,
                     "{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":"
                     "\"how are you?\"}],\"container_name\":\"bench\"}",
                     model);
    const char *host = strncmp(address, "unix:", 5) == 0 ? "localhost" : address;
    n = snprintf(request, sizeof request,
                 "POST /generate HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 host, n, body);
    int fd = dial();
    pthread_barrier_wait(&start);
    for (int i = 0; i < n_requests; i++) {
        double began = now_us();
        if (write(fd, request, (size_t)n) != n)
            fail("cannot send");
        read_answer(fd);
        mine[i] = now_us() - began;
    }
    close(fd);
    return NULL;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int callers = argc > 3 ? atoi(argv[2]) : 0;
    n_requests = argc > 3 ? atoi(argv[3]) : 0;
    if (callers < 1 || callers > 1024 || n_requests < 1) {
        fputs("usage: bench_bridge ADDRESS CALLERS REQUESTS [MODEL]\n", stderr);
        return 2;
    }
    address = argv[1];
    model = argc > 4 ? argv[4] : model;
    size_t n = (size_t)callers * (size_t)n_requests;
    pthread_t *threads = calloc((size_t)callers, sizeof *threads);
    times = calloc(n, sizeof *times);
    pthread_barrier_init(&start, NULL, (unsigned)callers + 1);
    for (int i = 0; i < callers; i++)
        pthread_create(&threads[i], NULL, call, times + (size_t)i * (size_t)n_requests);
    pthread_barrier_wait(&start);
    double began = now_us();
    for (int i = 0; i < callers; i++)
        pthread_join(threads[i], NULL);
    double seconds = (now_us() - began) / 1e6;
    qsort(times, n, sizeof *times, ascending);
    printf("%d %d %.0f %.0f %.0f %.0f\n", callers, n_requests, times[n / 2], times[n * 99 / 100],
           times[n - 1], (double)n / seconds);
    free(times);
    free(threads);
    return 0;
}
