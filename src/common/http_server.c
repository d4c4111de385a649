/* http_server.c - libmicrohttpd in one place: connections, bodies, answers, deadlines. */
#include "http_server.h"

#include "http_listen.h"
#include "io.h"
#include "json.h"
#include "limits.h"
#include "log.h"

#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECTION_MEMORY = 64 << 10, /* request line, headers and one piece of body or answer */
    THREAD_STACK = 2 << 20,       /* generate() runs on these threads */
    STREAM_PIECE = 16 << 10,      /* most bytes of one read() of a streamed body */
    WATCH_MS = 250                /* how late a deadline may be noticed */
};

enum phase { PHASE_IDLE, PHASE_HEADERS, PHASE_BODY, PHASE_HANDLING, PHASE_SENDING };

/* One open socket; on the server's list from accept to close, under its lock. */
struct connection {
    struct connection *next, **link;
    struct http_server *server;
    int fd;
    enum phase phase;
    uint64_t since_ns; /* of the phase */
};

/* One request on a connection. */
struct call {
    char id[LIMIT_REQUEST_ID_BYTES + 1];
    struct bytes body;
    bool judged, too_large;
    const struct http_route *route;
};

struct http_server {
    struct http_server_options options;
    struct MHD_Daemon *daemon;
    struct http_listener listener;
    pthread_t watcher;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t wake;  /* tells the watcher that stopping changed */
    struct connection *connections;
    unsigned n_connections, n_active;
    bool quiescing, stopping;
};

/* ---- connections and their deadlines -------------------------------------------------------- */

static void set_phase(struct connection *c, enum phase phase)
{
    struct http_server *server = c->server;
    pthread_mutex_lock(&server->lock);
    server->n_active += (phase >= PHASE_HANDLING) - (c->phase >= PHASE_HANDLING);
    c->phase = phase;
    c->since_ns = io_now_ns();
    pthread_mutex_unlock(&server->lock);
}

/* Makes room for a new connection: the one that has been idle longest goes.  Lock held. */
static void evict_idle(struct http_server *server)
{
    struct connection *oldest = NULL;
    for (struct connection *c = server->connections; c; c = c->next)
        if (c->phase == PHASE_IDLE && (!oldest || c->since_ns < oldest->since_ns))
            oldest = c;
    if (oldest) {
        shutdown(oldest->fd, SHUT_RDWR);
        oldest->since_ns = UINT64_MAX; /* not chosen twice */
    }
}

static void connection_open(struct http_server *server, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *c = calloc(1, sizeof *c);
    *context = c;
    if (!c || !info) {
        if (info) /* no memory to watch it with */
            shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    c->server = server;
    c->fd = info->connect_fd;
    c->since_ns = io_now_ns();
    pthread_mutex_lock(&server->lock);
    if (server->n_connections >= server->options.max_connections / 8 * 7)
        evict_idle(server);
    c->next = server->connections;
    c->link = &server->connections;
    if (c->next)
        c->next->link = &c->next;
    server->connections = c;
    server->n_connections++;
    pthread_mutex_unlock(&server->lock);
}

static void connection_closed(struct http_server *server, struct connection *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&server->lock);
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    server->n_connections--;
    server->n_active -= c->phase >= PHASE_HANDLING;
    pthread_mutex_unlock(&server->lock);
    free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_open(cls, mhd, context);
    else
        connection_closed(cls, *context);
}

/* Seconds that a phase may last; 0: no limit. */
static unsigned phase_limit(const struct http_server *server, enum phase phase)
{
    switch (phase) {
    case PHASE_IDLE:
        return server->options.idle_seconds;
    case PHASE_HEADERS:
        return server->options.header_seconds;
    case PHASE_BODY:
        return server->options.body_seconds;
    case PHASE_SENDING:
        return server->options.send_seconds;
    case PHASE_HANDLING:
        break;
    }
    return 0;
}

/* Ends connections that are late.  Lock held. */
static void end_late(struct http_server *server, uint64_t now)
{
    for (struct connection *c = server->connections; c; c = c->next) {
        uint64_t limit = (uint64_t)phase_limit(server, c->phase) * 1000000000u;
        bool late = limit && now > c->since_ns && now - c->since_ns > limit;
        if (late || (server->quiescing && c->phase == PHASE_IDLE))
            shutdown(c->fd, SHUT_RDWR);
    }
}

static void *watch(void *arg)
{
    struct http_server *server = arg;
    pthread_mutex_lock(&server->lock);
    while (!server->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += WATCH_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&server->wake, &server->lock, &until);
        end_late(server, io_now_ns());
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static struct connection *connection_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* ---- what a handler sees --------------------------------------------------------------------- */

const char *http_request_header(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

struct header_count {
    const char *name;
    unsigned n;
};

static enum MHD_Result count_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                    const char *value)
{
    struct header_count *count = cls;
    (void)kind, (void)value;
    count->n += strcasecmp(key, count->name) == 0;
    return MHD_YES;
}

unsigned http_request_header_count(const struct http_request *request, const char *name)
{
    struct header_count count = { name, 0 };
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, count_header, &count);
    return count.n;
}

int http_request_fd(const struct http_request *request)
{
    return connection_of(request->connection)->fd;
}

bool http_fd_gone(int fd)
{
    struct pollfd p = { fd, POLLRDHUP, 0 };
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

bool http_request_gone(const struct http_request *request)
{
    return http_fd_gone(http_request_fd(request));
}

/* ---- answers --------------------------------------------------------------------------------- */

void http_reply_set(struct http_reply *reply, unsigned status, const char *content_type,
                    const char *data, size_t n)
{
    bytes_free(&reply->body);
    reply->body.max = SIZE_MAX / 2;
    reply->status = status;
    reply->content_type = content_type;
    if (n && bytes_add(&reply->body, data, n) < 0)
        reply->status = 503;
}

void http_reply_text(struct http_reply *reply, unsigned status, const char *text)
{
    http_reply_set(reply, status, "text/plain; charset=utf-8", text, strlen(text));
}

void http_reply_detail(struct http_reply *reply, unsigned status, const char *text)
{
    struct json_object *o = json_object_new_object();
    json_object_object_add(o, "detail", json_object_new_string(text));
    const char *json =
        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    http_reply_set(reply, status, "application/json", json ? json : "", json ? strlen(json) : 0);
    json_object_put(o);
}

void http_reply_header(struct http_reply *reply, const char *name, const char *value)
{
    if (reply->n_headers == HTTP_HEADERS_MAX || strlen(name) >= HTTP_HEADER_NAME_MAX ||
        strlen(value) >= HTTP_HEADER_VALUE_MAX)
        return;
    for (const unsigned char *p = (const unsigned char *)value; *p; p++)
        if (*p < 0x20 || *p == 0x7f)
            return;
    strcpy(reply->headers[reply->n_headers].name, name);
    strcpy(reply->headers[reply->n_headers].value, value);
    reply->n_headers++;
}

/* A streamed body: the handler's functions and whose connection it is. */
struct stream {
    ssize_t (*read)(void *ctx, char *buf, size_t max);
    void (*done)(void *ctx);
    void *ctx;
    struct connection *connection;
};

static ssize_t stream_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct stream *s = cls;
    (void)pos;
    set_phase(s->connection, PHASE_HANDLING);
    ssize_t n = s->read(s->ctx, buf, max);
    set_phase(s->connection, PHASE_SENDING);
    return n > 0    ? n
           : n == 0 ? MHD_CONTENT_READER_END_OF_STREAM
                    : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void stream_done(void *cls)
{
    struct stream *s = cls;
    if (s->done)
        s->done(s->ctx);
    free(s);
}

static struct MHD_Response *stream_response(struct http_reply *reply, struct connection *c)
{
    struct stream *s = malloc(sizeof *s);
    struct MHD_Response *response = NULL;
    if (s) {
        *s = (struct stream){ reply->read, reply->done, reply->ctx, c };
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_PIECE, stream_read, s,
                                                     stream_done);
    }
    if (!response) {
        free(s);
        if (reply->done)
            reply->done(reply->ctx);
    }
    return response;
}

/* id: of the request, or NULL. */
static enum MHD_Result send_reply(struct MHD_Connection *mhd, struct connection *c, const char *id,
                                  struct http_reply *reply)
{
    struct MHD_Response *response;
    if (reply->read) {
        bytes_free(&reply->body);
        response = stream_response(reply, c);
    } else {
        response = MHD_create_response_from_buffer(reply->body.size, reply->body.data,
                                                   MHD_RESPMEM_MUST_FREE);
        if (!response)
            bytes_free(&reply->body);
    }
    if (!response)
        return MHD_NO;
    if (reply->content_type)
        MHD_add_response_header(response, "Content-Type", reply->content_type);
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (id)
        MHD_add_response_header(response, "X-Request-Id", id);
    for (unsigned i = 0; i < reply->n_headers; i++)
        MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    pthread_mutex_lock(&c->server->lock);
    bool closing = reply->close || c->server->quiescing;
    pthread_mutex_unlock(&c->server->lock);
    if (closing)
        MHD_add_response_header(response, "Connection", "close");
    set_phase(c, PHASE_SENDING);
    enum MHD_Result rc = MHD_queue_response(mhd, reply->status, response);
    MHD_destroy_response(response);
    return rc;
}

static void refuse(struct http_reply *reply, unsigned status, const char *why)
{
    http_reply_detail(reply, status, why);
    reply->close = true;
}

/* ---- requests -------------------------------------------------------------------------------- */

/* What is wrong with the headers, if anything. */
struct header_check {
    const char *wrong;
    unsigned hosts, lengths, encodings;
    bool empty_length;
};

static bool is_token(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] <= 0x20 || s[i] == 0x7f || strchr("\"(),/:;<=>?@[\\]{}", s[i]))
            return false;
    return n > 0;
}

static enum MHD_Result check_header(void *cls, enum MHD_ValueKind kind, const char *key,
                                    size_t key_size, const char *value, size_t value_size)
{
    struct header_check *check = cls;
    (void)kind;
    value = value ? value : "";
    if (!is_token(key, key_size))
        check->wrong = "A header name is malformed";
    for (size_t i = 0; i < value_size; i++)
        if (((unsigned char)value[i] < 0x20 && value[i] != '\t') || value[i] == 0x7f)
            check->wrong = "A header value has control characters";
    if (strcasecmp(key, "Host") == 0) {
        check->hosts++;
    } else if (strcasecmp(key, "Content-Length") == 0) {
        check->lengths++;
        check->empty_length = value_size == 1 && value[0] == '0';
        if (value_size == 0 || value_size > 18 || strspn(value, "0123456789") != value_size)
            check->wrong = "Content-Length is malformed";
    } else if (strcasecmp(key, "Transfer-Encoding") == 0) {
        check->encodings++;
        if (strcasecmp(value, "chunked") != 0)
            check->wrong = "Transfer-Encoding is not supported";
    } else if (strncasecmp(key, "Content-Length", 14) == 0 ||
               strncasecmp(key, "Transfer-Encoding", 17) == 0) {
        check->wrong = "A header line is folded"; /* libmicrohttpd joins an empty value's fold to
                                                     the name */
    }
    return MHD_YES;
}

/* NULL, or why the headers leave room for doubt about what was asked. */
static const char *doubtful(struct MHD_Connection *mhd, const char *method, const char *version)
{
    struct header_check check = { 0 };
    bool http11 = strcmp(version, "HTTP/1.1") == 0;
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, check_header, &check);
    if (check.wrong)
        return check.wrong;
    if (!is_token(method, strlen(method)))
        return "The method is malformed";
    if (check.hosts > 1 || (http11 && check.hosts == 0))
        return "There must be one Host header";
    if (check.lengths + check.encodings > 1)
        return "The length of the body is given twice";
    if (check.encodings && !http11)
        return "Transfer-Encoding needs HTTP/1.1";
    if (strcmp(method, "POST") != 0 && strcmp(method, "PUT") != 0 &&
        (check.encodings || (check.lengths && !check.empty_length)))
        return "This method takes no body";
    return NULL;
}

static bool path_matches(const char *pattern, const char *path)
{
    size_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*')
        return strncmp(pattern, path, n - 1) == 0;
    return strcmp(pattern, path) == 0;
}

/* The id that the client gave, when it is one that can stand in a log, or a new one. */
static void choose_id(struct MHD_Connection *mhd, char id[LIMIT_REQUEST_ID_BYTES + 1])
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    const struct http_request request = { .connection = mhd };
    const char *given = http_request_header(&request, "X-Request-Id");
    size_t n = given ? strlen(given) : 0;
    if (http_request_header_count(&request, "X-Request-Id") == 1 && n > 0 &&
        n <= LIMIT_REQUEST_ID_BYTES && strspn(given, allowed) == n) {
        memcpy(id, given, n + 1);
        return;
    }
    uint64_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random)
        random = io_now_ns();
    snprintf(id, LIMIT_REQUEST_ID_BYTES + 1, "req-%016llx", (unsigned long long)random);
}

/* The route, or NULL with the refusal in reply. */
static const struct http_route *find_route(const struct http_server *server, const char *method,
                                           const char *path, struct http_reply *reply)
{
    char allow[HTTP_HEADER_VALUE_MAX] = "OPTIONS";
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    bool known = false;
    for (const struct http_route *r = server->options.routes; r->method; r++) {
        if (!path_matches(r->path, path))
            continue;
        if (strcmp(r->method, wanted) == 0)
            return r;
        known = true;
        size_t used = strlen(allow);
        snprintf(allow + used, sizeof allow - used, ", %s%s", r->method,
                 strcmp(r->method, "GET") == 0 ? ", HEAD" : "");
    }
    if (!known) {
        http_reply_detail(reply, 404, "Not Found");
        return NULL;
    }
    if (strcmp(method, "OPTIONS") == 0)
        http_reply_set(reply, 204, NULL, "", 0);
    else
        http_reply_detail(reply, 405, "Method Not Allowed");
    http_reply_header(reply, "Allow", allow);
    return NULL;
}

/* Headers are complete, the body is not read yet.  False with a refusal in reply. */
static bool judge(struct http_server *server, struct MHD_Connection *mhd,
                  const struct http_request *request, const char *version, struct call *call,
                  struct http_reply *reply)
{
    const char *why = doubtful(mhd, request->method, version);
    if (why) {
        refuse(reply, 400, why);
        return false;
    }
    if (server->options.admit && !server->options.admit(request, reply, server->options.admit_arg))
        return false;
    call->route = find_route(server, request->method, request->path, reply);
    if (!call->route)
        return false;
    const char *length = http_request_header(request, "Content-Length");
    if (length && strtoull(length, NULL, 10) > server->options.max_body) {
        refuse(reply, 413, "The body is too large");
        return false;
    }
    return true;
}

/* Another piece of the body.  MHD_NO ends the connection. */
static enum MHD_Result take_body(struct http_server *server, struct call *call, const char *data,
                                 size_t n)
{
    if (call->too_large)
        return n > server->options.max_body ? MHD_NO : MHD_YES; /* read on: then say why */
    call->body.max = server->options.max_body;
    if (bytes_add(&call->body, data, n) < 0) {
        bytes_free(&call->body);
        call->too_large = true;
    }
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **context)
{
    struct http_server *server = cls;
    struct call *call = *context;
    struct connection *c = connection_of(mhd);
    if (!call || !c)
        return MHD_NO;
    if (!call->judged && server->options.request_ids)
        choose_id(mhd, call->id);
    const char *id = server->options.request_ids ? call->id : NULL;
    struct http_request request = { method, url, "", 0, id, mhd };
    struct http_reply reply = { .status = 500, .body = BYTES_INIT(SIZE_MAX / 2) };
    if (!call->judged) {
        call->judged = true;
        if (!judge(server, mhd, &request, version, call, &reply))
            return send_reply(mhd, c, id, &reply);
        set_phase(c, PHASE_BODY);
        return MHD_YES;
    }
    if (*upload_size) {
        enum MHD_Result rc = take_body(server, call, upload, *upload_size);
        *upload_size = 0;
        return rc;
    }
    if (call->too_large) {
        refuse(&reply, 413, "The body is too large");
        return send_reply(mhd, c, id, &reply);
    }
    if (call->body.data) {
        request.body = call->body.data;
        request.body_size = call->body.size;
    }
    set_phase(c, PHASE_HANDLING);
    call->route->handle(&request, &reply, call->route->arg);
    bytes_free(&call->body); /* not needed while the answer is sent */
    return send_reply(mhd, c, id, &reply);
}

/* The request line has arrived: a request begins. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    (void)cls, (void)uri;
    struct connection *c = connection_of(mhd);
    if (c)
        set_phase(c, PHASE_HEADERS);
    return calloc(1, sizeof(struct call));
}

static void on_completed(void *cls, struct MHD_Connection *mhd, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)cls, (void)code;
    struct call *call = *context;
    struct connection *c = connection_of(mhd);
    if (c)
        set_phase(c, PHASE_IDLE);
    if (call)
        bytes_free(&call->body);
    free(call);
    *context = NULL;
}

/* Paths are compared as sent, so that no two spellings reach one route. */
static size_t keep_escapes(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls, (void)mhd;
    return strlen(text);
}

__attribute__((format(printf, 2, 0))) static void on_log(void *cls, const char *format,
                                                         va_list args)
{
    (void)cls;
    log_linev(LOG_LEVEL_DEBUG, format, args);
}

/* ---- the server ------------------------------------------------------------------------------ */

static unsigned or_default(unsigned value, unsigned otherwise)
{
    return value ? value : otherwise;
}

static struct http_server *server_new(const struct http_server_options *options)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server)
        return NULL;
    struct http_server_options *o = &server->options;
    *o = *options;
    o->max_body = o->max_body ? o->max_body : LIMIT_REQUEST_BYTES;
    o->max_connections = or_default(o->max_connections, 256);
    o->header_seconds = or_default(o->header_seconds, 10);
    o->body_seconds = or_default(o->body_seconds, 60);
    o->send_seconds = or_default(o->send_seconds, 60);
    o->socket_mode = or_default(o->socket_mode, 0600);
    server->listener.fd = -1;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&server->wake, &attr);
    pthread_condattr_destroy(&attr);
    return server;
}

static void server_free(struct http_server *server)
{
    http_listen_close(&server->listener);
    pthread_cond_destroy(&server->wake);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static int start_threads(struct http_server *server, struct airlock_error *err)
{
    if (pthread_create(&server->watcher, NULL, watch, server) != 0)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "HTTP server: cannot start a thread");
    server->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC | MHD_USE_ERROR_LOG,
        0, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, server->listener.fd, MHD_OPTION_CONNECTION_LIMIT,
        server->options.max_connections, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_THREAD_STACK_SIZE,
        (size_t)THREAD_STACK, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server,
        MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_UNESCAPE_CALLBACK,
        keep_escapes, NULL, MHD_OPTION_END);
    if (server->daemon)
        return 0;
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_cond_signal(&server->wake);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->watcher, NULL);
    return airlock_error_set(err, AIRLOCK_E_INTERNAL, "HTTP server: libmicrohttpd did not start");
}

int http_server_start(const struct http_server_options *options, struct http_server **out,
                      struct airlock_error *err)
{
    struct http_server *server = server_new(options);
    if (!server)
        return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "HTTP server: out of memory");
    if (http_listen_open(options->listen, server->options.socket_mode, &server->listener, err) <
        0) {
        server_free(server);
        return -1;
    }
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = start_threads(server, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0) {
        server_free(server);
        return -1;
    }
    *out = server;
    return 0;
}

const char *http_server_address(const struct http_server *server)
{
    return server->listener.address;
}

void http_server_quiesce(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool again = server->quiescing;
    server->quiescing = true;
    pthread_cond_signal(&server->wake);
    pthread_mutex_unlock(&server->lock);
    if (!again)
        MHD_quiesce_daemon(server->daemon); /* the socket stays ours: closed in server_free() */
}

unsigned http_server_active(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned n = server->n_active;
    pthread_mutex_unlock(&server->lock);
    return n;
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    http_server_quiesce(server);
    MHD_stop_daemon(server->daemon);
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_cond_signal(&server->wake);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->watcher, NULL);
    server_free(server);
}
