/* carried.c - judges the headers that go on, and writes them anew; see carried.h. */
#include "carried.h"

#include "exchange.h"

#include "common/multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { ADMIN_MAX = 256 };

static void add_line(struct carried *out, const char *name, const char *value)
{
    char *line = out->line[out->n++]; /* longer than any name and value that were judged */
    strcpy(line, name);
    strcat(line, ": ");
    strcat(line, value);
}

static bool take_admin(const struct http_request *request, struct carried *out)
{
    const char *given = http_request_header(request, "Airlock-Admin");
    if (!given)
        return true;
    if (http_request_header_count(request, "Airlock-Admin") != 1 || strlen(given) > ADMIN_MAX)
        return false;
    for (const char *p = given; *p; p++)
        if (*p <= ' ' || *p > '~')
            return false;
    add_line(out, "Airlock-Admin", given);
    return true;
}

/* multipart/form-data with its boundary, written anew.  False: the boundary is missing or odd. */
static bool take_form(const struct http_request *request, struct carried *out)
{
    const char *type = http_request_header(request, "Content-Type");
    char boundary[MULTIPART_BOUNDARY_MAX + 1], text[MULTIPART_BOUNDARY_MAX + 64];
    if (!type || !edge_is_form(type))
        return true;
    if (multipart_boundary(type, boundary) < 0)
        return false;
    snprintf(text, sizeof text, "multipart/form-data; boundary=%s", boundary);
    add_line(out, "Content-Type", text);
    out->form = true;
    return true;
}

bool carried_read(const struct edge *edge, const struct http_request *request,
                  enum bridge_route route, struct carried *out, struct http_reply *reply)
{
    bool openai = route != ROUTE_GENERATE;
    *out = (struct carried){ .caller = edge_caller(edge, request) };
    snprintf(out->id, sizeof out->id, "%s", request->id);
    add_line(out, "X-Request-Id", out->id);
    if (out->caller)
        add_line(out, "Airlock-Caller", out->caller->id);
    if (route == N_ROUTES)
        return true;
    if (routes[route].admin && !take_admin(request, out)) {
        reply_failure(reply, openai, 400, "Airlock-Admin is malformed");
        return false;
    }
    if (routes[route].form && !take_form(request, out)) {
        reply_failure(reply, openai, 400, "Content-Type has no usable boundary");
        return false;
    }
    return true;
}

void carried_list(const struct carried *carried, const char *out[CARRIED_LINES_MAX + 1])
{
    for (unsigned i = 0; i < carried->n; i++)
        out[i] = carried->line[i];
    out[carried->n] = NULL;
}

void carried_wipe(struct carried *carried)
{
    explicit_bzero(carried->line, sizeof carried->line);
}
