/* health.c - /livez, /readyz, /metrics, and the thread that keeps channels warm; see health.h. */
#include "health.h"

#include "exchange.h"

#include "common/io.h"
#include "common/json.h"
#include "common/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

enum {
    PROBE_SECONDS = 5, /* a relay's start and a server that answers at once */
    TIDY_MS = 1000,
    RETRY_MAX_SECONDS = 30, /* between attempts to warm a container that does not answer */
    METRICS_BYTES_MAX = 1 << 20
};

/* Asks a container's server whether it is ready.  0: it is; -1 with why not. */
static int probe(struct pool *pool, int caller_fd, struct airlock_error *err)
{
    struct pool_counts counts;
    pool_count(pool, &counts);
    if (counts.waiting > 0)
        return 0; /* every channel is at work */
    struct exchange x;
    const struct exchange_ask ask = {
        .method = "GET", .path = "/readyz", .seconds = PROBE_SECONDS, .caller_fd = caller_fd
    };
    if (exchange_begin(&x, pool, &ask, err) < 0)
        return -1;
    struct bytes body = BYTES_INIT(64 << 10);
    int rc = exchange_read_all(&x, &body, err);
    if (rc == 0 && x.answer.status != 200)
        rc = airlock_error_set(err, AIRLOCK_E_UPSTREAM,
                               "The server in container '%s' is not ready (HTTP %u)",
                               pool_container(pool)->name, x.answer.status);
    bytes_free(&body);
    exchange_end(&x);
    return rc;
}

void health_livez(const struct http_request *request, struct http_reply *reply, void *arg)
{
    (void)request, (void)arg;
    http_reply_text(reply, 200, "ok\n");
}

void health_readyz(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct bridge *bridge = arg;
    struct json_object *o = json_object_new_object(), *containers = json_object_new_object();
    bool ready = !bridge->stopping;
    for (unsigned i = 0; i < bridge->config->n_containers; i++) {
        struct airlock_error err = { 0 };
        const char *state = "ready";
        if (probe(bridge->pools[i], http_request_fd(request), &err) < 0) {
            ready = false;
            state = err.code == AIRLOCK_E_UPSTREAM || err.code == AIRLOCK_E_TIMEOUT
                        ? err.text
                        : "cannot be reached; the bridge's log says why";
        }
        json_object_object_add(containers, bridge->config->containers[i].name,
                               json_object_new_string(state));
    }
    json_object_object_add(o, "ready", json_object_new_boolean(ready));
    json_object_object_add(o, "containers", containers);
    const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN);
    http_reply_set(reply, ready ? 200 : 503, content_type_name(CONTENT_JSON), text ? text : "",
                   text ? strlen(text) : 0);
    json_object_put(o);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static void add_channels(struct bridge *bridge, struct bytes *out)
{
    static const char *const about[][3] = {
        { "channels", "gauge", "Channels: busy with a request, idle, or both together (open)." },
        { "waiting", "gauge", "Requests that wait for a channel." },
        { "channel_starts_total", "counter", "Relays started." },
        { "channel_restarts_total", "counter", "Of them, in the place of a channel that broke." },
        { "channel_failures_total", "counter", "Relays that did not start or ended by failing." },
        { "channel_ends_total", "counter", "Channels that broke or were given up." },
        { "refused_total", "counter", "Requests refused because all channels were busy." },
    };
    for (size_t i = 0; i < sizeof about / sizeof *about; i++)
        bytes_printf(out, "# HELP airlock_bridge_%s %s\n# TYPE airlock_bridge_%s %s\n", about[i][0],
                     about[i][2], about[i][0], about[i][1]);
    for (unsigned i = 0; i < bridge->config->n_containers; i++) {
        const char *name = bridge->config->containers[i].name;
        struct pool_counts c;
        pool_count(bridge->pools[i], &c);
        const struct {
            const char *key, *label;
            unsigned long value;
        } lines[] = {
            { "channels", ",state=\"open\"", c.open },
            { "channels", ",state=\"busy\"", c.open - c.idle },
            { "channels", ",state=\"idle\"", c.idle },
            { "waiting", "", c.waiting },
            { "channel_starts_total", "", c.started },
            { "channel_restarts_total", "", c.restarted },
            { "channel_failures_total", "", c.failed },
            { "channel_ends_total", "", c.broken },
            { "refused_total", "", c.refused },
        };
        for (size_t k = 0; k < sizeof lines / sizeof *lines; k++)
            bytes_printf(out, "airlock_bridge_%s{container=\"%s\"%s} %lu\n", lines[k].key, name,
                         lines[k].label, lines[k].value);
    }
}

void health_metrics(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct bridge *bridge = arg;
    struct bytes out = BYTES_INIT(METRICS_BYTES_MAX);
    (void)request;
    metrics_write(&bridge->metrics, &out);
    add_channels(bridge, &out);
    http_reply_set(reply, 200, content_type_name(CONTENT_METRICS), out.data ? out.data : "",
                   out.size);
    bytes_free(&out);
}

/* ---- the keeper ------------------------------------------------------------------------------ */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool running, stop;
    struct bridge *bridge;
    uint64_t next_try_ns[CONFIG_CONTAINERS_MAX];
    unsigned retry_seconds[CONFIG_CONTAINERS_MAX];
} keeper = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* Opens a first channel, less and less often while that fails. */
static void warm_up(unsigned i)
{
    struct airlock_error err = { 0 };
    uint64_t now = io_now_ns();
    if (now < keeper.next_try_ns[i])
        return;
    unsigned *wait = &keeper.retry_seconds[i];
    if (probe(keeper.bridge->pools[i], -1, &err) == 0) {
        log_info("container '%s' is ready", keeper.bridge->config->containers[i].name);
        *wait = 0;
        return;
    }
    *wait = *wait == 0 ? 1 : *wait * 2 > RETRY_MAX_SECONDS ? RETRY_MAX_SECONDS : *wait * 2;
    keeper.next_try_ns[i] = io_now_ns() + *wait * 1000000000ull;
    log_warning("container '%s' is not ready: %s", keeper.bridge->config->containers[i].name,
                err.text);
}

static void *keep(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&keeper.lock);
    while (!keeper.stop) {
        pthread_mutex_unlock(&keeper.lock);
        for (unsigned i = 0; i < keeper.bridge->config->n_containers; i++)
            if (pool_tidy(keeper.bridge->pools[i]) && !keeper.bridge->stopping)
                warm_up(i);
        pthread_mutex_lock(&keeper.lock);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += TIDY_MS / 1000;
        if (!keeper.stop)
            pthread_cond_timedwait(&keeper.wake, &keeper.lock, &until);
    }
    pthread_mutex_unlock(&keeper.lock);
    return NULL;
}

int keeper_start(struct bridge *bridge, struct airlock_error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&keeper.wake, &attr);
    pthread_condattr_destroy(&attr);
    keeper.bridge = bridge;
    sigset_t all, before; /* signals are the main thread's */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    keeper.running = pthread_create(&keeper.thread, NULL, keep, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return keeper.running ? 0
                          : airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "cannot start a thread");
}

void keeper_stop(void)
{
    if (!keeper.running)
        return;
    pthread_mutex_lock(&keeper.lock);
    keeper.stop = true;
    pthread_cond_signal(&keeper.wake);
    pthread_mutex_unlock(&keeper.lock);
    pthread_join(keeper.thread, NULL);
    keeper.running = false;
}
