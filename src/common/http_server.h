/*
 * http_server.h - a small HTTP/1.1 server over libmicrohttpd: a table of routes, bodies within a
 * limit, one thread per connection.
 *
 * A handler runs on its connection's own thread and may block as long as it likes; the others go
 * on.  While it blocks it asks http_request_gone() whether anybody still waits for the answer.
 * What is ambiguous about where a message ends (two lengths, a length and chunks, a body on GET) is
 * refused with 400 and the connection closed.  Header names are compared without case.
 */
#ifndef AIRLOCK_HTTP_SERVER_H
#define AIRLOCK_HTTP_SERVER_H

#include "bytes.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HTTP_HEADERS_MAX = 8, HTTP_HEADER_NAME_MAX = 32, HTTP_HEADER_VALUE_MAX = 512 };

/* Borrowed by a handler until it returns. */
struct http_request {
    const char *method;
    const char *path; /* as sent: not decoded, not normalised, without the query */
    const char *body; /* NUL-terminated; never NULL */
    size_t body_size;
    const char *id;   /* with options.request_ids: X-Request-Id as sent, or a new one; else NULL */
    void *connection; /* http_server.c's own */
};

/* First header of that name, or NULL. */
const char *http_request_header(const struct http_request *request, const char *name);
/* How many headers of that name were sent. */
unsigned http_request_header_count(const struct http_request *request, const char *name);
/* [any thread, until the handler returns] True when the client has closed its side: stop working
 * for it.  Half-closing counts.  One poll(2). */
bool http_request_gone(const struct http_request *request);
/* Its socket, for poll(2) beside others; for a stream it stays valid until done().  Never read,
 * write or close it. */
int http_request_fd(const struct http_request *request);
bool http_fd_gone(int fd); /* http_request_gone() for a kept descriptor */

/* The answer.  A handler gets it as 500 with an empty body and fills it with the calls below. */
struct http_reply {
    unsigned status;
    const char *content_type; /* static text; NULL: none */
    struct bytes body;        /* handed over: the server frees it */
    struct {
        char name[HTTP_HEADER_NAME_MAX], value[HTTP_HEADER_VALUE_MAX];
    } headers[HTTP_HEADERS_MAX];
    unsigned n_headers;
    bool close; /* end the connection after this answer */

    /*
     * A body made while it is sent, instead of `body`: read() blocks until it has 1 to max bytes
     * for buf and returns their number, 0 at the end, -1 to break off (the client sees a cut
     * answer).  Each return is sent at once.  done() is called once when the connection needs it no
     * more, sent or not.  Both on the connection's thread.
     */
    ssize_t (*read)(void *ctx, char *buf, size_t max);
    void (*done)(void *ctx);
    void *ctx;
};

/* Text or JSON of n bytes, copied.  Never fails: out of memory becomes an empty 503. */
void http_reply_set(struct http_reply *reply, unsigned status, const char *content_type,
                    const char *data, size_t n);
void http_reply_text(struct http_reply *reply, unsigned status, const char *text); /* text/plain */
/* {"detail":"text"} with text escaped. */
void http_reply_detail(struct http_reply *reply, unsigned status, const char *text);
/* Values with control characters, or too long ones, are left out. */
void http_reply_header(struct http_reply *reply, const char *name, const char *value);

typedef void (*http_handler)(const struct http_request *request, struct http_reply *reply,
                             void *arg);

/* path ending in '*' matches any path with what is before it in front.  GET answers HEAD too. */
struct http_route {
    const char *method, *path;
    http_handler handle;
    void *arg;
};

/* Zero or NULL: the default in brackets. */
struct http_server_options {
    const char *listen; /* "127.0.0.1:8000", "[::1]:8000" or "unix:PATH"; port 0: any */
    const struct http_route *routes; /* ends with method NULL; kept as a pointer */
    /* Judges the headers of every request, unknown paths included, before its body is read: false
     * with *reply set refuses it.  May be NULL. */
    bool (*admit)(const struct http_request *request, struct http_reply *reply, void *arg);
    void *admit_arg;
    size_t max_body;          /* bytes [LIMIT_REQUEST_BYTES]; more gets 413 */
    unsigned max_connections; /* [256]; idle ones make room for new ones */
    unsigned header_seconds;  /* from a request's first line to the end of its headers [10] */
    unsigned body_seconds;    /* from there to the end of its body [60] */
    unsigned send_seconds;    /* an answer that nobody reads [60] */
    unsigned idle_seconds;    /* nothing asked [0: no limit] */
    mode_t socket_mode;       /* of a unix socket [0600] */
    bool request_ids;         /* give each request an id, and tell it in each answer's header */
};

struct http_server;

/*
 * Binds, listens and serves until http_server_stop().  A unix socket left by a dead process is
 * replaced; one that answers, or a path that is no socket, is an error.  Signals are not touched
 * but SIGPIPE, which the program must ignore.
 */
int http_server_start(const struct http_server_options *options, struct http_server **out,
                      struct airlock_error *err);

/* "127.0.0.1:41234" or "unix:PATH", as bound; lives as long as the server. */
const char *http_server_address(const struct http_server *server);

/* Accepts no more connections, answers what comes on open ones with "Connection: close", and drops
 * idle ones. */
void http_server_quiesce(struct http_server *server);

/* Requests being handled now. */
unsigned http_server_active(struct http_server *server);

/* Closes every connection (http_request_gone() becomes true), waits for handlers to return, removes
 * a unix socket, frees the server.  NULL is fine. */
void http_server_stop(struct http_server *server);

/* True for "unix:..." and loopback addresses; what needs no token. */
bool http_listen_is_local(const char *listen);

#endif
