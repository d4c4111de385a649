/* edge.c - Host, Origin, content type and token of every request; see edge.h. */
#include "edge.h"

#include "routes.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- what is allowed ------------------------------------------------------------------------- */

static void add_host(struct edge *edge, const char *format, const char *name, const char *port)
{
    unsigned n = edge->n_hosts;
    if (n == EDGE_HOSTS_MAX)
        return;
    snprintf(edge->hosts[n], sizeof edge->hosts[n], format, name, port);
    edge->n_hosts = n + 1; /* seen only after the text is there */
}

void edge_allow_bound(struct edge *edge, const char *address)
{
    if (strncmp(address, "unix:", 5) == 0) {
        add_host(edge, "%s%s", "localhost", "");
        return;
    }
    char host[256];
    const char *colon = strrchr(address, ':');
    size_t n = colon ? (size_t)(colon - address) : 0;
    if (n == 0 || n >= sizeof host)
        return;
    memcpy(host, address, n);
    host[n] = 0;
    bool http = strcmp(colon, ":80") == 0; /* the port that clients leave out */
    const char *names[] = { host, "localhost" };
    for (int i = 0; i < 2; i++) {
        add_host(edge, "%s%s", names[i], colon);
        if (http)
            add_host(edge, "%s%s", names[i], "");
    }
}

int edge_allow_host(struct edge *edge, const char *host, struct airlock_error *err)
{
    size_t n = strlen(host);
    if (n == 0 || n > 255 || strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") != n)
        return airlock_error_set(err, AIRLOCK_E_CONFIG,
                                 "'%.64s' is no host: expected NAME or NAME:PORT in lower case",
                                 host);
    if (edge->n_hosts == EDGE_HOSTS_MAX)
        return airlock_error_set(err, AIRLOCK_E_CONFIG, "at most %d hosts can be allowed",
                                 EDGE_HOSTS_MAX);
    add_host(edge, "%s%s", host, "");
    return 0;
}

/* ---- judgement ------------------------------------------------------------------------------- */

static bool refuse(struct http_reply *reply, unsigned status, const char *why)
{
    http_reply_detail(reply, status, why);
    reply->close = true; /* whatever follows on this connection is not read */
    return false;
}

static bool host_allowed(const struct edge *edge, const struct http_request *request)
{
    const char *host = http_request_header(request, "Host");
    if (!host || http_request_header_count(request, "Host") != 1)
        return false;
    for (unsigned i = 0; i < edge->n_hosts; i++)
        if (strcmp(host, edge->hosts[i]) == 0)
            return true;
    return false;
}

/* Origin, if any, is "http://" and the Host that was allowed: the page that this bridge serves
 * under that name.  A page that another server sends under the same address has another port, and
 * one that came through another name (also of this machine) has another Host. */
static bool own_origin(const struct http_request *request)
{
    static const char scheme[] = "http://";
    unsigned n = http_request_header_count(request, "Origin");
    const char *origin = http_request_header(request, "Origin");
    if (n == 0)
        return true;
    return n == 1 && origin && strncmp(origin, scheme, sizeof scheme - 1) == 0 &&
           strcmp(origin + sizeof scheme - 1, http_request_header(request, "Host")) == 0;
}

/* Fetch metadata, which no script can set, says "none" for what the user did and "same-origin" for
 * what the bridge's own page did; programs send none. */
static bool own_site(const struct http_request *request)
{
    unsigned n = http_request_header_count(request, "Sec-Fetch-Site");
    const char *site = http_request_header(request, "Sec-Fetch-Site");
    return n == 0 ||
           (n == 1 && site && (strcmp(site, "none") == 0 || strcmp(site, "same-origin") == 0));
}

static bool is_json(const struct http_request *request)
{
    const char *type = http_request_header(request, "Content-Type");
    if (!type || http_request_header_count(request, "Content-Type") != 1 ||
        strncasecmp(type, "application/json", 16) != 0)
        return false;
    type += 16;
    type += strspn(type, " \t");
    return *type == 0 || *type == ';';
}

bool edge_is_form(const char *content_type)
{
    static const char form[] = "multipart/form-data";
    return strncasecmp(content_type, form, sizeof form - 1) == 0 &&
           content_type[sizeof form - 1] == ';';
}

/* A form is what any page can send without asking, so it must bring what no page can: an
 * Authorization header, of whatever value where no token is asked for. */
static bool is_allowed_form(const struct http_request *request)
{
    enum bridge_route route = route_find(request->path);
    const char *type = http_request_header(request, "Content-Type");
    return route != N_ROUTES && routes[route].form && type && edge_is_form(type) &&
           http_request_header_count(request, "Content-Type") == 1 &&
           http_request_header_count(request, "Authorization") == 1;
}

static bool token_right(const struct edge *edge, const struct http_request *request)
{
    return http_request_header_count(request, "Authorization") <= 1 &&
           bearer_matches(&edge->tokens, http_request_header(request, "Authorization"));
}

const struct bearer_token *edge_caller(const struct edge *edge, const struct http_request *request)
{
    return bearer_find(&edge->tokens, http_request_header(request, "Authorization"));
}

/* What needs no token: the sign of life, and the page, which asks for one. */
static bool is_open(const struct http_request *request)
{
    bool get = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    return get && (strcmp(request->path, "/livez") == 0 || strcmp(request->path, "/") == 0);
}

bool edge_admit(const struct http_request *request, struct http_reply *reply, void *arg)
{
    const struct edge *edge = arg;
    if (request->path[0] != '/')
        return refuse(reply, 400, "The request target must be a path");
    if (!host_allowed(edge, request))
        return refuse(reply, 421, "The Host header does not name this bridge");
    if (!own_origin(request) || !own_site(request))
        return refuse(reply, 403,
                      "Requests from web pages other than the bridge's own are refused");
    if (!is_open(request) && !token_right(edge, request)) {
        http_reply_header(reply, "WWW-Authenticate", "Bearer");
        return refuse(reply, 401, "A bearer token is required");
    }
    if (strcmp(request->method, "POST") == 0 && !is_json(request) && !is_allowed_form(request))
        return refuse(reply, 415, "Content-Type must be application/json");
    return true;
}
