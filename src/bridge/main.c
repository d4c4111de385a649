/* main.c - airlock-bridge: HTTP on this machine's side of the airlock, until a signal ends it. */
#include "bridge.h"
#include "bridge_options.h"
#include "channel.h"
#include "child.h"
#include "health.h"
#include "page.h"
#include "proxy.h"

#include "common/http_server.h"
#include "common/io.h"
#include "common/limits.h"
#include "common/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

enum { DRAIN_SECONDS = 5 }; /* for answers on their way when a signal comes */

static int make_pools(struct bridge *bridge, struct airlock_error *err)
{
    const struct bridge_config *config = bridge->config;
    for (unsigned i = 0; i < config->n_containers; i++) {
        bridge->pools[i] = pool_new(&config->containers[i], &config->limits);
        if (!bridge->pools[i])
            return airlock_error_set(err, AIRLOCK_E_NO_MEMORY, "out of memory");
    }
    return 0;
}

/* A program that cannot be started is better known now than at the first request. */
static int check_programs(const struct bridge_config *config, struct airlock_error *err)
{
    for (unsigned i = 0; i < config->n_containers; i++) {
        struct command command;
        if (runtime_command(&config->containers[i], NULL, "/", &command, err) < 0 &&
            err->code == AIRLOCK_E_CONFIG)
            return airlock_error_wrap(err, "container '%s'", config->containers[i].name);
    }
    return 0;
}

static int set_up_edge(struct bridge *bridge, struct airlock_error *err)
{
    const struct bridge_config *config = bridge->config;
    for (unsigned i = 0; i < config->n_hosts; i++)
        if (edge_allow_host(&bridge->edge, config->hosts[i], err) < 0)
            return -1;
    return config->token_file ? bearer_load(config->token_file, &bridge->edge.tokens, err) : 0;
}

/* The edge, with its refusals counted. */
static bool admit(const struct http_request *request, struct http_reply *reply, void *arg)
{
    struct bridge *bridge = arg;
    if (edge_admit(request, reply, &bridge->edge))
        return true;
    metrics_refused(&bridge->metrics, reply->status);
    return false;
}

/* Serves until one of the signals; then lets running requests end for a while. */
static int serve(struct bridge *bridge, const sigset_t *signals, struct airlock_error *err)
{
    const struct http_route served[] = {
        { "POST", "/generate", proxy_generate, bridge },
        { "GET", "/v1/models", proxy_models, bridge },
        { "POST", "/tokenize", proxy_pass, bridge },
        { "POST", "/detokenize", proxy_pass, bridge },
        { "POST", "/v1/*", proxy_pass, bridge }, /* of these, the ones in routes.c */
        { "GET", "/", page_serve, bridge },
        { "GET", "/livez", health_livez, bridge },
        { "GET", "/readyz", health_readyz, bridge },
        { "GET", "/metrics", health_metrics, bridge },
        { NULL, NULL, NULL, NULL },
    };
    struct http_server_options options = {
        .listen = bridge->config->listen,
        .routes = served,
        .admit = admit,
        .admit_arg = bridge,
        .max_body = LIMIT_REQUEST_BYTES,
        .max_connections = bridge->config->max_connections,
        .request_ids = true,
    };
    struct http_server *server;
    if (http_server_start(&options, &server, err) < 0)
        return -1;
    edge_allow_bound(&bridge->edge, http_server_address(server)); /* the port may have been any */
    log_info("listening on %s for %u container%s", http_server_address(server),
             bridge->config->n_containers, bridge->config->n_containers == 1 ? "" : "s");

    int number;
    while (sigwait(signals, &number) != 0)
        ;
    log_info("%s: stopping", number == SIGTERM ? "SIGTERM" : "SIGINT");
    bridge->stopping = true;
    http_server_quiesce(server);
    uint64_t until = io_now_ns() + DRAIN_SECONDS * 1000000000ull;
    const struct timespec little = { 0, 20000000 };
    while (http_server_active(server) > 0 && io_now_ns() < until)
        nanosleep(&little, NULL);
    http_server_stop(server);
    return 0;
}

static int run(struct bridge *bridge, const sigset_t *signals, struct airlock_error *err)
{
    if (check_programs(bridge->config, err) < 0 || set_up_edge(bridge, err) < 0 ||
        make_pools(bridge, err) < 0 || channels_init(err) < 0)
        return -1;
    if (child_warden_start(err) < 0)
        return -1;
    int rc = keeper_start(bridge, err);
    if (rc == 0)
        rc = serve(bridge, signals, err);
    keeper_stop();
    return rc;
}

int main(int argc, char **argv)
{
    static struct bridge_config config;
    static struct bridge bridge;
    int status = bridge_options_read(argc, argv, &config);
    if (status < 0) {
        struct airlock_error err = { 0 };
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGINT);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        signal(SIGPIPE, SIG_IGN);
        prctl(PR_SET_DUMPABLE, 0); /* prompts and the token stay out of core files */

        bridge.config = &config;
        status = run(&bridge, &signals, &err) < 0;
        if (status)
            log_error("%s", err.text);
        for (unsigned i = 0; i < config.n_containers; i++)
            pool_free(bridge.pools[i]);
        child_warden_stop();
        channels_exit();
        bearer_free(&bridge.edge.tokens);
    }
    bridge_config_free(&config);
    return status;
}
