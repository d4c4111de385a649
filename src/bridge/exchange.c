/* exchange.c - borrows a channel for one request; see exchange.h. */
#include "exchange.h"

#include "common/io.h"
#include "common/json.h"
#include "common/log.h"

#include <stdio.h>
#include <string.h>

enum { READ_BYTES = 16 << 10, RETRY_SECONDS = 2 };

static bool caller_gone(void *arg)
{
    const struct exchange *x = arg;
    return http_fd_gone(x->fd);
}

int exchange_begin(struct exchange *x, struct pool *pool, const struct exchange_ask *ask,
                   struct airlock_error *err)
{
    x->pool = pool;
    x->fd = ask->caller_fd;
    x->request = (struct channel_request){
        .method = ask->method,
        .path = ask->path,
        .body = ask->body,
        .body_size = ask->body_size,
        .lines = ask->lines,
        .form = ask->form,
        .deadline_ns = ask->seconds ? io_now_ns() + ask->seconds * 1000000000ull : 0,
        .gone = x->fd >= 0 ? caller_gone : NULL,
        .gone_arg = x,
    };
    x->channel = pool_take(pool, x->request.gone, x, err);
    if (!x->channel)
        return -1;
    int rc = channel_begin(x->channel, &x->request, &x->answer, err);
    x->request.lines = NULL; /* the caller's again */
    if (rc < 0)
        exchange_end(x);
    return rc;
}

ssize_t exchange_read(struct exchange *x, char *data, size_t max, struct airlock_error *err)
{
    return channel_read(x->channel, data, max, err);
}

int exchange_read_all(struct exchange *x, struct bytes *out, struct airlock_error *err)
{
    for (;;) {
        size_t room = out->max - out->size < READ_BYTES ? out->max - out->size : READ_BYTES;
        char one;
        if (room && bytes_reserve(out, room) < 0)
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
        ssize_t got = room ? exchange_read(x, out->data + out->size, room, err)
                           : exchange_read(x, &one, 1, err);
        if (got <= 0)
            return (int)got;
        if (room == 0)
            return airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                                     "The answer from container '%s' is too large",
                                     pool_container(x->pool)->name);
        out->size += (size_t)got;
        out->data[out->size] = 0;
    }
}

void exchange_end(struct exchange *x)
{
    if (x->channel)
        pool_give(x->pool, x->channel, channel_end(x->channel));
    x->channel = NULL;
}

const char *content_type_name(enum channel_content content)
{
    switch (content) {
    case CONTENT_JSON:
        return "application/json";
    case CONTENT_EVENTS:
        return "text/event-stream";
    case CONTENT_METRICS:
        return "text/plain; version=0.0.4; charset=utf-8";
    case CONTENT_TEXT:
    case CONTENT_OTHER:
        break;
    }
    return "text/plain; charset=utf-8";
}

/* {"error":{...}} of OpenAI's form; the caller's to put. */
static struct json_object *openai_error(unsigned status, const char *text)
{
    struct json_object *o = json_object_new_object(), *e = json_object_new_object();
    json_object_object_add(e, "message", json_object_new_string(text));
    json_object_object_add(
        e, "type",
        json_object_new_string(status >= 500 ? "server_error" : "invalid_request_error"));
    json_object_object_add(e, "param", NULL);
    json_object_object_add(e, "code", NULL);
    json_object_object_add(o, "error", e);
    return o;
}

static const char *json_text(struct json_object *o)
{
    const char *text =
        json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    return text ? text : "";
}

static void reply_openai(struct http_reply *reply, unsigned status, const char *text)
{
    struct json_object *o = openai_error(status, text);
    const char *json = json_text(o);
    http_reply_set(reply, status, "application/json", json, strlen(json));
    json_object_put(o);
}

void reply_failure(struct http_reply *reply, bool openai, unsigned status, const char *text)
{
    if (openai)
        reply_openai(reply, status, text);
    else
        http_reply_detail(reply, status, text);
    if (status == 503) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", RETRY_SECONDS);
        http_reply_header(reply, "Retry-After", seconds);
    }
}

/* Kinds whose text was written for the caller; that of the others may name paths and is logged. */
static bool for_caller(enum airlock_status code)
{
    return code == AIRLOCK_E_UPSTREAM || code == AIRLOCK_E_TIMEOUT || code == AIRLOCK_E_BUSY ||
           code == AIRLOCK_E_NOT_FOUND || code == AIRLOCK_E_REQUEST;
}

/* What the caller is told of a failure, with its status; what only the operator may know is
 * logged. */
static const char *told(const struct airlock_error *err, unsigned *status)
{
    *status = (unsigned)airlock_status_http(err->code);
    if (for_caller(err->code))
        return err->text;
    log_error("%s", err->text);
    if (err->code != AIRLOCK_E_CONFIG && err->code != AIRLOCK_E_IO && err->code != AIRLOCK_E_DENIED)
        return "Internal server error.";
    *status = 502;
    return "The container cannot be reached; the bridge's log says why";
}

void reply_error(struct http_reply *reply, bool openai, const struct airlock_error *err)
{
    unsigned status;
    if (err->code == AIRLOCK_E_CANCELLED) {
        reply->close = true; /* nobody reads this */
        http_reply_detail(reply, 500, "cancelled");
        return;
    }
    const char *text = told(err, &status);
    reply_failure(reply, openai, status, text);
}

void failure_event(const struct airlock_error *err, struct bytes *out)
{
    unsigned status;
    const char *text = told(err, &status);
    struct json_object *o = openai_error(status, text);
    bytes_printf(out, "data: %s\n\n", json_text(o));
    json_object_put(o);
}
