/* proxy.c - takes requests to their containers and shapes what comes back; see proxy.h. */
#include "proxy.h"

#include "addressing.h"
#include "bridge.h"
#include "exchange.h"
#include "model_list.h"
#include "record.h"
#include "stream.h"

#include "common/limits.h"
#include "common/request.h"
#include "common/strip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A status that may be passed on: the answer itself, or a refusal.  There are no redirects. */
static bool status_passes(unsigned status)
{
    return status == 200 || (status >= 400 && status < STATUS_MAX);
}

static void reply_odd_status(struct http_reply *reply, bool openai, const struct exchange *x)
{
    char text[256];
    snprintf(text, sizeof text, "Container '%s' gave an answer of the unexpected kind %u",
             pool_container(x->pool)->name, x->answer.status);
    reply_failure(reply, openai, 502, text);
}

static void pass_retry_after(struct http_reply *reply, const struct channel_answer *answer)
{
    char seconds[16];
    if (answer->retry_after == 0)
        return;
    snprintf(seconds, sizeof seconds, "%u", answer->retry_after);
    http_reply_header(reply, "Retry-After", seconds);
}

/* The whole answer; stripped: without white space around a 200's text. */
static int reply_whole(struct exchange *x, struct http_reply *reply, bool stripped,
                       struct airlock_error *err)
{
    struct bytes body = BYTES_INIT(LIMIT_ANSWER_BYTES);
    if (exchange_read_all(x, &body, err) < 0) {
        bytes_free(&body);
        return -1;
    }
    const char *text = body.data ? body.data : "";
    size_t size = body.size;
    const char *type = content_type_name(x->answer.content);
    if (stripped && x->answer.status == 200) {
        strip_space(&text, &size);
        type = content_type_name(CONTENT_TEXT);
    }
    http_reply_set(reply, x->answer.status, type, text, size);
    pass_retry_after(reply, &x->answer);
    bytes_free(&body);
    return 0;
}

/* How the answers of a path look to their caller. */
struct manner {
    bool openai;   /* failures in OpenAI's form */
    bool stripped; /* without white space around a 200's text */
    bool events;   /* server-sent events are passed on as they come */
    bool text;     /* so is text */
};

/* ---- one request ----------------------------------------------------------------------------- */

static void ask_of(const struct record *record, const struct http_request *request,
                   const struct bytes *body, const char **lines, struct exchange_ask *out)
{
    carried_list(&record->carried, lines);
    *out = (struct exchange_ask){
        .method = routes[record->route].method,
        .path = routes[record->route].path,
        .body = body ? body->data : NULL,
        .body_size = body ? body->size : 0,
        .lines = lines,
        .form = record->carried.form,
        .seconds = record->bridge->config->request_seconds,
        .caller_fd = http_request_fd(request),
    };
}

/* Sends the request with the stream's body to the record's container.  True: the answer streams,
 * and the stream is the connection's; false: it is whole in reply. */
static bool pass(struct stream *s, struct pool *pool, const struct http_request *request,
                 const struct manner *manner, struct http_reply *reply)
{
    struct airlock_error err = { 0 };
    struct exchange *x = &s->exchange;
    struct exchange_ask ask;
    const char *lines[CARRIED_LINES_MAX + 1];
    ask_of(&s->record, request, &s->body, lines, &ask);
    if (exchange_begin(x, pool, &ask, &err) < 0) {
        reply_error(reply, manner->openai, &err);
        return false;
    }
    bool good = x->answer.status == 200;
    if (good && manner->events && x->answer.content == CONTENT_EVENTS) {
        stream_start(s, STREAM_EVENTS, reply);
        return true;
    }
    if (good && manner->text && x->answer.content == CONTENT_TEXT) {
        stream_start(s, STREAM_TEXT, reply);
        return true;
    }
    record_first_byte(&s->record);
    if (!status_passes(x->answer.status))
        reply_odd_status(reply, manner->openai, x);
    else if (reply_whole(x, reply, manner->stripped, &err) < 0)
        reply_error(reply, manner->openai, &err);
    exchange_end(x);
    return false;
}

static struct stream *stream_new(struct http_reply *reply, bool openai)
{
    struct stream *s = calloc(1, sizeof *s);
    if (s)
        s->body.max = (size_t)LIMIT_REQUEST_BYTES * 2;
    else
        reply_failure(reply, openai, 503, "The bridge is out of memory");
    return s;
}

/* The request is over, its whole answer in reply. */
static void stream_over(struct stream *s, const struct http_reply *reply)
{
    record_reply(&s->record, reply);
    bytes_free(&s->body);
    free(s);
}

/* ---- POST /generate -------------------------------------------------------------------------- */

/* True: it streams. */
static bool generate(struct stream *s, const struct http_request *request,
                     const struct request *parsed, struct http_reply *reply)
{
    const struct manner manner = { .stripped = true, .text = parsed->stream };
    struct pool *pool =
        bridge_pool(s->record.bridge, parsed->container_name.data, parsed->container_name.size);
    if (!pool) {
        reply_failure(reply, false, 404,
                      "No container of that name is enrolled with this bridge; start "
                      "airlock-bridge with --container NAME");
        return false;
    }
    s->record.pool = pool;
    if (request_write(parsed, &s->body) < 0) {
        reply_failure(reply, false, 503, "The bridge is out of memory");
        return false;
    }
    return pass(s, pool, request, &manner, reply);
}

void proxy_generate(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct stream *s = stream_new(reply, false);
    if (!s)
        return;
    struct request parsed;
    struct bytes refusal = BYTES_INIT(64 << 10);
    bool streams = false;
    if (record_begin(&s->record, arg, ROUTE_GENERATE, request, reply)) {
        int status = request_parse(request->body, request->body_size, true, &parsed, &refusal);
        if (status != 0) {
            http_reply_set(reply, (unsigned)status, "application/json",
                           refusal.data ? refusal.data : "", refusal.size);
        } else {
            streams = generate(s, request, &parsed, reply);
            request_free(&parsed);
        }
    }
    bytes_free(&refusal);
    if (!streams)
        stream_over(s, reply);
}

/* ---- the server's other paths ---------------------------------------------------------------- */

void proxy_pass(const struct http_request *request, struct http_reply *reply, void *arg)
{
    const struct manner manner = { .openai = true, .events = true };
    struct bridge *bridge = arg;
    struct stream *s = stream_new(reply, true);
    if (!s)
        return;
    enum bridge_route route = route_find(request->path);
    if (record_begin(&s->record, bridge, route, request, reply)) {
        struct pool *pool = NULL;
        if (route == N_ROUTES)
            reply_failure(reply, true, 404, "Not Found");
        else
            pool = address(bridge, request, s->record.carried.form, &s->body, reply);
        s->record.pool = pool;
        if (pool && pass(s, pool, request, &manner, reply))
            return;
    }
    stream_over(s, reply);
}

void proxy_models(const struct http_request *request, struct http_reply *reply, void *arg)
{
    const struct manner manner = { .openai = true };
    struct bridge *bridge = arg;
    struct stream *s = stream_new(reply, true);
    if (!s)
        return;
    if (record_begin(&s->record, bridge, ROUTE_MODELS, request, reply)) {
        if (bridge->config->n_containers == 1) {
            s->record.pool = bridge->pools[0];
            pass(s, bridge->pools[0], request, &manner, reply); /* never streams */
        } else {
            struct exchange_ask ask;
            const char *lines[CARRIED_LINES_MAX + 1];
            ask_of(&s->record, request, NULL, lines, &ask);
            model_list_merged(bridge, &ask, reply);
        }
    }
    stream_over(s, reply);
}
