/* exchange.c - see exchange.h. */
#include "server/exchange.h"

#include "common/io.h"
#include "common/log.h"
#include "common/utf8.h"
#include "server/adapters.h"

#include <stdio.h>
#include <string.h>

enum {
    CLIENT_HUNG_UP = 499,   /* nobody reads it: for the log and the metrics */
    RETRY_AFTER_SECONDS = 1 /* a place in the queue is free as soon as one answer ends */
};

void exchange_init(struct exchange *x, const struct http_request *request, struct service *service,
                   const char *route)
{
    *x = (struct exchange){ .service = service, .route = route };
    snprintf(x->id, sizeof x->id, "%s", request->id ? request->id : "-");
    x->fd = http_request_fd(request);
    x->start_ns = io_now_ns();
    abi_request_init(&x->request);
}

int exchange_caller(struct exchange *x, const struct http_request *request)
{
    const char *caller = http_request_header(request, "Airlock-Caller");
    if (!caller)
        return 0;
    size_t n = strlen(caller);
    if (n == 0 || n > LIMIT_CALLER_BYTES || strspn(caller, "0123456789abcdefABCDEF") != n ||
        http_request_header_count(request, "Airlock-Caller") != 1)
        return -1;
    memcpy(x->request.salt, caller, n + 1);
    return 0;
}

int exchange_start(struct exchange *x, struct answer_order *order)
{
    struct airlock_error err = { 0 };
    unsigned seconds = x->service->answer_seconds;
    order->model = x->model;
    order->adapter = x->adapter;
    order->request = &x->request;
    order->fd = x->fd;
    order->abort = &x->service->abort;
    order->ids = &x->service->ids;
    order->start_ns = x->start_ns;
    order->deadline_ns = seconds ? x->start_ns + seconds * 1000000000ull : 0;
    if (abi_request_finish(&x->request, &err) < 0 || answer_start(order, &x->answer, &err) < 0) {
        exchange_fail(x, &err);
        return -1;
    }
    return 0;
}

/* A plugin's sentence is the client's, but may hold any bytes. */
static void clean(const char *text, char *out, size_t size)
{
    struct bytes clean_text = BYTES_INIT(size - 1);
    struct utf8_cleaner cleaner = { { 0 }, 0 };
    utf8_clean(&cleaner, text, strlen(text), &clean_text); /* what does not fit is left out */
    snprintf(out, size, "%s", clean_text.data ? clean_text.data : "");
    bytes_free(&clean_text);
}

static void tell(struct failure *f, unsigned status, const char *text)
{
    f->status = status;
    snprintf(f->text, sizeof f->text, "%s", text);
}

/* What is not the client's fault is told in general terms. */
void exchange_fail(struct exchange *x, const struct airlock_error *err)
{
    struct failure *f = &x->failure;
    switch (err->code) {
    case AIRLOCK_E_REQUEST:
        f->status = 400;
        clean(err->text, f->text, sizeof f->text);
        break;
    case AIRLOCK_E_UNSUPPORTED:
        tell(f, 501, "The model does not support this request.");
        break;
    case AIRLOCK_E_BUSY:
        tell(f, 503, "Too many requests are waiting, try again.");
        break;
    case AIRLOCK_E_NO_MEMORY:
        tell(f, 503, "Out of memory, try again.");
        break;
    case AIRLOCK_E_TIMEOUT:
        tell(f, 504, "The answer took too long.");
        break;
    case AIRLOCK_E_CANCELLED:
        if (atomic_load(&x->service->abort))
            tell(f, 503, "The server is stopping.");
        else
            tell(f, CLIENT_HUNG_UP, "");
        break;
    default:
        tell(f, 500, "Internal server error.");
        break;
    }
    /* the text of a client's own fault is not logged: it may quote the prompt */
    if (err->code != AIRLOCK_E_REQUEST)
        snprintf(x->why, sizeof x->why, "%s", err->text);
}

void exchange_failed(struct exchange *x)
{
    exchange_fail(x, answer_error(x->answer));
}

void exchange_retry_after(const struct exchange *x, struct http_reply *reply)
{
    char seconds[16];
    if (x->failure.status != 503 || atomic_load(&x->service->abort))
        return;
    snprintf(seconds, sizeof seconds, "%d", RETRY_AFTER_SECONDS);
    http_reply_header(reply, "Retry-After", seconds);
}

static void log_answer(const struct exchange *x, unsigned status)
{
    llm_stats stats = { 0 };
    uint64_t wait_ns = 0, run_ns = 0;
    if (x->answer)
        answer_totals(x->answer, &stats, &wait_ns, &run_ns);
    double seconds = (double)run_ns / 1e9;
    log_line(
        status == 500 ? LOG_LEVEL_ERROR : LOG_LEVEL_INFO,
        "%s %u %s[%s] %s: %llu tokens in, %llu tokens out, %llu cached, %.3f s, %.1f tokens/s, "
        "waited %.3f s%s%s",
        x->route, status, x->model->config->name, x->adapter ? x->adapter->name : "base", x->id,
        (unsigned long long)stats.tokens_in, (unsigned long long)stats.tokens_out,
        (unsigned long long)stats.tokens_cached, seconds,
        seconds > 0 ? (double)stats.tokens_out / seconds : 0, (double)wait_ns / 1e9,
        *x->why ? ": " : "", x->why);
}

void exchange_end(struct exchange *x, unsigned status)
{
    if (x->answer)
        answer_stop(x->answer);
    if (x->model)
        log_answer(x, status);
    else
        log_info("%s %u %s: not a request, or for a model that is not here", x->route, status,
                 x->id);
    metrics_request(x->model ? &x->model->metrics : &x->service->unknown, status);
    answer_free(x->answer);
    x->answer = NULL;
    if (x->model)
        adapter_drop(x->model, x->adapter);
    abi_request_free(&x->request);
}
