/* record.c - keeps a request's times and writes its line; see record.h. */
#include "record.h"

#include "common/io.h"
#include "common/log.h"

bool record_begin(struct record *r, struct bridge *bridge, enum bridge_route route,
                  const struct http_request *request, struct http_reply *reply)
{
    *r = (struct record){ .bridge = bridge, .route = route, .began_ns = io_now_ns() };
    bridge->metrics.bytes_in += request->body_size;
    return carried_read(&bridge->edge, request, route, &r->carried, reply);
}

void record_first_byte(struct record *r)
{
    if (r->first_ns || r->route == N_ROUTES)
        return;
    r->first_ns = io_now_ns();
    metrics_first_byte(&r->bridge->metrics, r->route, r->first_ns - r->began_ns);
}

static void finish(struct record *r, unsigned status, const char *how)
{
    metrics_answer(&r->bridge->metrics, r->route, status);
    log_info("%s %s %u %.3f s id=%s caller=%s%s%s",
             r->route == N_ROUTES ? "-" : routes[r->route].path,
             r->pool ? pool_container(r->pool)->name : "-", status,
             (double)(io_now_ns() - r->began_ns) / 1e9, r->carried.id,
             r->carried.caller ? r->carried.caller->name : "-", how ? " aborted by " : "",
             how ? how : "");
    carried_wipe(&r->carried);
}

void record_reply(struct record *r, const struct http_reply *reply)
{
    r->bridge->metrics.bytes_out += reply->body.size;
    finish(r, reply->status, NULL);
}

void record_stream(struct record *r, const enum stream_abort *aborted)
{
    if (aborted)
        r->bridge->metrics.aborts[*aborted]++;
    finish(r, 200, aborted ? stream_abort_name(*aborted) : NULL);
}
