/* channel.c - drives libcurl over the socket of a relay that it has started; see channel.h. */
#include "channel.h"

#include "child.h"

#include "common/bytes.h"
#include "common/io.h"
#include "common/log.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    HEAD_BYTES_MAX = 32 << 10,   /* all headers of one answer; ours have below 1 KiB */
    PENDING_BYTES_MAX = 4 << 20, /* read from the container and not yet asked for: libcurl hands
                                    over at most about 1.6 MB at a time */
    GONE_CHECK_MS = 100,         /* how late a caller's hang-up may be noticed */
    DIAL_TRIES = 20
};

struct channel {
    const struct container *container;
    struct enrolment *enrolment; /* its container's, shared */
    CURLM *multi;
    CURL *easy;
    struct curl_slist *headers; /* of the request in progress */
    char path[PATH_MAX];        /* of the listening socket, while there is one */
    int listener;               /* -1: none */
    int fd;                     /* libcurl's end of the channel, -1: none; libcurl owns it */
    bool started;               /* its relay was */
    bool dialled;               /* a channel connects once: no silent second try of a request */
    struct child *child;

    /* of the request in progress */
    const struct channel_request *request;
    bool running, complete, failed;
    CURLcode result;
    size_t head_bytes;
    bool head_done, head_too_large;
    struct channel_answer answer;
    struct bytes pending;
};

static char directory[PATH_MAX]; /* 0700, ours: sockets, and an empty HOME for children */
static atomic_ulong next_number;

int channels_init(struct airlock_error *err)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    if (!base || base[0] != '/' || access(base, W_OK) < 0)
        base = "/tmp";
    snprintf(directory, sizeof directory, "%s/airlock-bridge-XXXXXX", base);
    if (strlen(directory) > 70) /* a socket's path has 108 bytes */
        snprintf(directory, sizeof directory, "/tmp/airlock-bridge-XXXXXX");
    if (!mkdtemp(directory)) {
        airlock_error_errno(err, errno, "%s", directory);
        directory[0] = 0;
        return -1;
    }
    if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "libcurl cannot be initialised");
    return 0;
}

void channels_exit(void)
{
    if (directory[0])
        rmdir(directory);
    directory[0] = 0;
    curl_global_cleanup();
}

/* ---- what libcurl asks of us ----------------------------------------------------------------- */

static curl_socket_t open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct channel *ch = ctx;
    (void)purpose;
    if (ch->dialled || address->family != AF_UNIX)
        return CURL_SOCKET_BAD;
    ch->dialled = true;
    ch->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return ch->fd < 0 ? CURL_SOCKET_BAD : ch->fd;
}

static int close_socket(void *ctx, curl_socket_t fd)
{
    struct channel *ch = ctx;
    if (fd == ch->fd)
        ch->fd = -1;
    return close(fd);
}

static bool value_is(const char *value, const char *type)
{
    size_t n = strlen(type);
    return strncasecmp(value, type, n) == 0 &&
           (value[n] == 0 || value[n] == ';' || value[n] == ' ');
}

static enum channel_content content_of(const char *value)
{
    return value_is(value, "application/json")                   ? CONTENT_JSON
           : value_is(value, "text/event-stream")                ? CONTENT_EVENTS
           : strncasecmp(value, "text/plain; version=", 20) == 0 ? CONTENT_METRICS
           : value_is(value, "text/plain")                       ? CONTENT_TEXT
                                                                 : CONTENT_OTHER;
}

/* The two headers that mean something here, from one line without its end. */
static void take_header(struct channel *ch, const char *line)
{
    const char *colon = strchr(line, ':');
    if (!colon)
        return;
    size_t name = (size_t)(colon - line);
    const char *value = colon + 1 + strspn(colon + 1, " \t");
    if (name == 12 && strncasecmp(line, "Content-Type", name) == 0)
        ch->answer.content = content_of(value);
    if (name == 11 && strncasecmp(line, "Retry-After", name) == 0 && strlen(value) < 6)
        ch->answer.retry_after = (unsigned)strtoul(value, NULL, 10);
}

/* One line of the head, interim answers and trailers included. */
static size_t on_header(char *data, size_t one, size_t n, void *ctx)
{
    struct channel *ch = ctx;
    char line[256];
    (void)one;
    ch->head_bytes += n;
    if (ch->head_bytes > HEAD_BYTES_MAX) {
        ch->head_too_large = true;
        return 0;
    }
    if (ch->head_done) /* a trailer */
        return n;
    size_t keep = n < sizeof line ? n : sizeof line - 1;
    memcpy(line, data, keep);
    while (keep && (line[keep - 1] == '\r' || line[keep - 1] == '\n'))
        keep--;
    line[keep] = 0;
    if (keep) {
        take_header(ch, line);
        return n;
    }
    long status = 0;
    curl_easy_getinfo(ch->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200) {
        ch->answer.status = (unsigned)status;
        ch->head_done = true;
    } else {
        ch->answer = (struct channel_answer){ 0 };
    }
    return n;
}

static size_t on_body(char *data, size_t one, size_t n, void *ctx)
{
    struct channel *ch = ctx;
    (void)one;
    return bytes_add(&ch->pending, data, n) < 0 ? 0 : n;
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Options that hold for every request of a channel. */
static bool set_up(struct channel *ch)
{
    CURL *e = ch->easy;
    return curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HTTP09_ALLOWED, 0L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10) == CURLE_OK &&
           /* an idle connection is kept, however old */
           curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, LONG_MAX / 1000) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, ch) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETFUNCTION, close_socket) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_CLOSESOCKETDATA, ch) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_HEADERDATA, ch) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
           curl_easy_setopt(e, CURLOPT_WRITEDATA, ch) == CURLE_OK &&
           curl_multi_setopt(ch->multi, CURLMOPT_MAXCONNECTS, 1L) == CURLM_OK;
}

struct channel *channel_new(const struct container *container, struct enrolment *enrolment,
                            struct airlock_error *err)
{
    struct channel *ch = calloc(1, sizeof *ch);
    if (ch) {
        ch->container = container;
        ch->enrolment = enrolment;
        ch->listener = ch->fd = -1;
        ch->pending.max = PENDING_BYTES_MAX;
        ch->multi = curl_multi_init();
        ch->easy = curl_easy_init();
        if (ch->multi && ch->easy && set_up(ch))
            return ch;
        channel_free(ch);
    }
    airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory for a channel");
    return NULL;
}

static void close_listener(struct channel *ch)
{
    if (ch->listener < 0)
        return;
    close(ch->listener);
    ch->listener = -1;
    unlink(ch->path);
}

void channel_free(struct channel *ch)
{
    if (!ch)
        return;
    if (ch->running)
        curl_multi_remove_handle(ch->multi, ch->easy);
    child_release(ch->child);      /* first, so that its end is expected */
    curl_multi_cleanup(ch->multi); /* closes the connection: the relay sees end of file */
    curl_easy_cleanup(ch->easy);
    curl_slist_free_all(ch->headers);
    close_listener(ch);
    bytes_free(&ch->pending);
    free(ch);
}

bool channel_alive(const struct channel *ch)
{
    if (!ch->dialled)
        return true;
    struct pollfd p = { ch->fd, POLLIN | POLLRDHUP, 0 };
    return ch->fd >= 0 && poll(&p, 1, 0) == 0;
}

/* ---- dialling -------------------------------------------------------------------------------- */

/* A socket of our own for libcurl to connect to. */
static int open_listener(struct channel *ch, struct airlock_error *err)
{
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    int n = snprintf(a.sun_path, sizeof a.sun_path, "%s/%lu", directory, next_number++);
    if (n < 0 || (size_t)n >= sizeof a.sun_path)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "%s: too long a path", directory);
    ch->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (ch->listener < 0)
        return airlock_error_errno(err, errno, "socket");
    strcpy(ch->path, a.sun_path);
    if (bind(ch->listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(ch->listener, 1) < 0) {
        int reason = errno;
        close_listener(ch);
        return airlock_error_errno(err, reason, "%s", a.sun_path);
    }
    curl_easy_setopt(ch->easy, CURLOPT_UNIX_SOCKET_PATH, ch->path);
    return 0;
}

/* The relay's end of the connection that libcurl has made, or -1.  Nobody else can have made it,
 * because the directory is ours alone; that is checked all the same. */
static int accept_own(struct channel *ch, struct airlock_error *err)
{
    int fd = -1;
    for (int i = 0; i < DIAL_TRIES && fd < 0; i++) {
        int running;
        curl_multi_perform(ch->multi, &running);
        fd = accept4(ch->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && errno != EAGAIN && errno != EINTR)
            break;
        if (fd < 0)
            curl_multi_poll(ch->multi, NULL, 0, 10, NULL);
    }
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
        peer.pid == getpid() && peer.uid == geteuid())
        return fd;
    if (fd >= 0)
        close(fd);
    airlock_error_set(err, AIRLOCK_E_INTERNAL, "a channel's own socket did not connect");
    return -1;
}

/* Connects libcurl, with the request already added, to a new relay. */
static int dial(struct channel *ch, struct airlock_error *err)
{
    struct command command;
    char target[ENROLMENT_TARGET_SIZE];
    if (enrolment_target(ch->enrolment, ch->container, directory, target, err) < 0 ||
        runtime_command(ch->container, target, directory, &command, err) < 0)
        return -1;
    int fd = accept_own(ch, err);
    close_listener(ch);
    if (fd < 0)
        return -1;
    int rc = child_start(command.argv, command.envp, fd, ch->container->name, &ch->child, err);
    close(fd);
    ch->started = rc == 0;
    return rc;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* Why a transfer failed, as far as the caller may know; the rest goes to the log. */
static int failure(struct channel *ch, struct airlock_error *err)
{
    const char *name = ch->container->name;
    if (ch->head_too_large || ch->result == CURLE_WRITE_ERROR)
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                 "The answer from container '%s' is too large", name);
    if (ch->result == CURLE_WEIRD_SERVER_REPLY || ch->result == CURLE_UNSUPPORTED_PROTOCOL ||
        ch->result == CURLE_BAD_CONTENT_ENCODING)
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                 "What came from container '%s' is not HTTP", name);
    int status;
    if (ch->child && child_ended(ch->child, GONE_CHECK_MS, &status) && status != 0) {
        enrolment_doubt(ch->enrolment);
        return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                 "The channel to container '%s' could not be opened or broke "
                                 "(exit status %d); the bridge's log says why",
                                 name, status);
    }
    return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                             "The channel to container '%s' closed before the answer was complete",
                             name);
}

/* One step of the transfer, waiting for at most GONE_CHECK_MS.  0, or -1.  A transfer that failed
 * is complete: what came before is still to be had. */
static int step(struct channel *ch, bool wait, struct airlock_error *err)
{
    const struct channel_request *r = ch->request;
    if (wait) {
        int ms = GONE_CHECK_MS;
        if (r->deadline_ns) {
            uint64_t now = io_now_ns();
            if (now >= r->deadline_ns)
                return airlock_error_set(err, AIRLOCK_E_TIMEOUT,
                                         "Container '%s' did not answer in time",
                                         ch->container->name);
            if (r->deadline_ns - now < GONE_CHECK_MS * 1000000ull)
                ms = (int)((r->deadline_ns - now) / 1000000) + 1;
        }
        int ready = 0;
        curl_multi_poll(ch->multi, NULL, 0, ms, &ready);
        if (ready == 0 && r->gone && r->gone(r->gone_arg))
            return airlock_error_set(err, AIRLOCK_E_CANCELLED, "the caller has gone");
    }
    int running = 0, left;
    if (curl_multi_perform(ch->multi, &running) != CURLM_OK)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "libcurl failed");
    for (CURLMsg *m; (m = curl_multi_info_read(ch->multi, &left));) {
        if (m->msg == CURLMSG_DONE) {
            ch->result = m->data.result;
            ch->complete = true;
        }
    }
    return 0;
}

static bool add_line(struct channel *ch, const char *line)
{
    struct curl_slist *more = curl_slist_append(ch->headers, line);
    ch->headers = more ? more : ch->headers;
    return more;
}

/* The headers of this request.  No Expect (a round trip), no Accept, no User-Agent: the server has
 * no use for them. */
static bool set_headers(struct channel *ch, const struct channel_request *r)
{
    curl_slist_free_all(ch->headers);
    ch->headers = NULL;
    if (!add_line(ch, "Expect:") || !add_line(ch, "Accept:") ||
        (!r->form && !add_line(ch, "Content-Type: application/json")))
        return false;
    for (size_t i = 0; r->lines && r->lines[i]; i++)
        if (!add_line(ch, r->lines[i]))
            return false;
    return curl_easy_setopt(ch->easy, CURLOPT_HTTPHEADER, ch->headers) == CURLE_OK;
}

/* libcurl's options for this request. */
static bool prepare(struct channel *ch, const struct channel_request *r)
{
    char url[256];
    snprintf(url, sizeof url, "http://localhost%s", r->path);
    curl_easy_setopt(ch->easy, CURLOPT_URL, url);
    if (strcmp(r->method, "POST") == 0) {
        curl_easy_setopt(ch->easy, CURLOPT_POST, 1L);
        curl_easy_setopt(ch->easy, CURLOPT_POSTFIELDS, r->body);
        curl_easy_setopt(ch->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_size);
    } else {
        curl_easy_setopt(ch->easy, CURLOPT_HTTPGET, 1L);
    }
    ch->request = r;
    ch->complete = ch->failed = false;
    ch->result = CURLE_OK;
    ch->head_bytes = 0;
    ch->head_done = ch->head_too_large = false;
    ch->answer = (struct channel_answer){ 0 };
    bytes_clear(&ch->pending);
    return set_headers(ch, r);
}

static int begin(struct channel *ch, struct airlock_error *err)
{
    if (!ch->dialled && open_listener(ch, err) < 0)
        return -1;
    if (curl_multi_add_handle(ch->multi, ch->easy) != CURLM_OK)
        return airlock_error_set(err, AIRLOCK_E_INTERNAL, "libcurl failed");
    ch->running = true;
    if (!ch->dialled && dial(ch, err) < 0)
        return -1;
    bool wait = false;
    while (!ch->head_done && !ch->complete) {
        if (step(ch, wait, err) < 0)
            return -1;
        wait = true;
    }
    return ch->head_done ? 0 : failure(ch, err);
}

int channel_begin(struct channel *ch, const struct channel_request *request,
                  struct channel_answer *answer, struct airlock_error *err)
{
    int rc = prepare(ch, request) ? begin(ch, err)
                                  : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    ch->failed = rc < 0;
    *answer = ch->answer;
    return rc;
}

ssize_t channel_read(struct channel *ch, char *data, size_t max, struct airlock_error *err)
{
    while (ch->pending.size == 0) {
        if (ch->complete && ch->result == CURLE_OK)
            return 0;
        if (ch->complete || step(ch, true, err) < 0) {
            ch->failed = true;
            return ch->complete ? failure(ch, err) : -1;
        }
    }
    size_t n = ch->pending.size < max ? ch->pending.size : max;
    memcpy(data, ch->pending.data, n);
    bytes_drop_front(&ch->pending, n);
    return (ssize_t)n;
}

bool channel_relay_failed(const struct channel *ch)
{
    int status;
    return ch->dialled && (!ch->started || (child_ended(ch->child, 0, &status) && status != 0));
}

bool channel_end(struct channel *ch)
{
    bool good = ch->complete && ch->result == CURLE_OK && !ch->failed && ch->pending.size == 0;
    if (ch->running)
        curl_multi_remove_handle(ch->multi, ch->easy);
    ch->running = false;
    ch->request = NULL;
    return good && channel_alive(ch);
}
