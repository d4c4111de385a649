/* main.c - airlock-server: loads, listens, waits for a signal, drains, goes. */
#include "common/bearer.h"
#include "common/http_server.h"
#include "common/io.h"
#include "server/adapters.h"
#include "server/options.h"
#include "server/progress.h"
#include "server/routes.h"
#include "server/service.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

enum { DRAIN_POLL_MS = 20, ABORT_MS = 2000 };

/* Everything that lives as long as the program. */
struct program {
    struct options options;
    struct server_config config;
    struct plugin_loader loader;
    struct bearer bearer;
    struct progress progress;
    struct service service;
    sigset_t stop_signals; /* blocked everywhere, taken by sigtimedwait() */
};

/* The plugin directory as an absolute path: plugins are loaded by nothing else. */
static char folder[PATH_MAX];

static int fail(const struct airlock_error *err)
{
    log_error("%s", err->text);
    return 1;
}

/* The stop signals are blocked: one that came is pending.  [any] */
static bool stop_asked(void *ctx)
{
    sigset_t pending;
    (void)ctx;
    sigpending(&pending);
    return sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT);
}

/* True when a stop signal arrives within ms; negative: waits for ever. */
static bool wait_signal(const struct program *p, int ms)
{
    struct timespec limit = { ms / 1000, ms % 1000 * 1000000L };
    int rc;
    do
        rc = ms < 0 ? sigwaitinfo(&p->stop_signals, NULL)
                    : sigtimedwait(&p->stop_signals, NULL, &limit);
    while (rc < 0 && errno == EINTR);
    return rc > 0;
}

static void print_adapter(void *ctx, const struct model_adapter *a)
{
    const struct model *m = ctx;
    printf("%s:%s: adapter by %s %s, %s\n", m->config->name, a->name,
           m->adapter_plugin->descriptor->id, m->adapter_plugin->descriptor->version, a->path);
}

static void print_served(const struct program *p)
{
    for (size_t i = 0; i < p->service.models.n; i++) {
        struct model *m = &p->service.models.all[i];
        printf("%s: %s of %s %s (%s), %s\n", m->config->name, m->config->class_name,
               m->plugin->descriptor->id, m->plugin->descriptor->version, m->plugin->path,
               m->config->model_path);
        adapters_each(m, print_adapter, m);
    }
}

/* Adapters at run time need both a place to come from and somebody who may. */
static int load_admin(struct program *p, struct airlock_error *err)
{
    static char adapters[PATH_MAX];
    if (!p->options.adapter_dir)
        return 0;
    if (!realpath(p->options.adapter_dir, adapters))
        return airlock_error_errno(err, errno, "adapter directory %s", p->options.adapter_dir);
    p->service.adapter_dir = adapters;
    return bearer_load(p->options.admin_token_file, &p->service.admin, err);
}

static int load(struct program *p, struct airlock_error *err)
{
    if (p->options.token_file && bearer_load(p->options.token_file, &p->bearer, err) < 0)
        return -1;
    if (load_admin(p, err) < 0)
        return -1;
    if (config_load(p->options.config, &p->config, err) < 0)
        return -1;
    if (!realpath(p->options.plugin_dir, folder))
        return airlock_error_errno(err, errno, "plugin directory %s", p->options.plugin_dir);
    if (getenv("LD_PRELOAD") || getenv("LD_LIBRARY_PATH"))
        log_warning("LD_PRELOAD or LD_LIBRARY_PATH is set: it chooses libraries that plugins load");
    if (plugin_loader_open(folder, &p->loader, err) < 0)
        return -1;
    struct models_watch watch = { progress_show, stop_asked, &p->progress };
    progress_init(&p->progress);
    int rc = models_open(&p->config, &p->loader, p->options.adapter_dir, &watch, &p->service.models,
                         err);
    progress_end(&p->progress);
    return rc;
}

/* /livez is for whoever watches the container; the rest wants the token. */
static bool admit(const struct http_request *request, struct http_reply *reply, void *arg)
{
    const struct program *p = arg;
    if (strcmp(request->path, "/livez") == 0 ||
        (bearer_matches(&p->bearer, http_request_header(request, "Authorization")) &&
         (!p->bearer.token || http_request_header_count(request, "Authorization") == 1)))
        return true;
    http_reply_detail(reply, 401, "A bearer token is needed");
    http_reply_header(reply, "WWW-Authenticate", "Bearer");
    return false;
}

/* What the process can do without from here on. */
static void give_up_privileges(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
#ifndef __SANITIZE_ADDRESS__ /* LeakSanitizer attaches to its own process */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

/* Finishes what runs, at most --drain-seconds; a second signal cuts it short. */
static void drain(struct program *p, struct http_server *server)
{
    uint64_t end = io_now_ns() + p->options.drain_seconds * 1000000000ull;
    atomic_store(&p->service.draining, true);
    http_server_quiesce(server);
    log_info("stopping: %u requests are running, they have %u s", http_server_active(server),
             p->options.drain_seconds);
    while (http_server_active(server) && io_now_ns() < end && !wait_signal(p, DRAIN_POLL_MS))
        ;
    if (!http_server_active(server))
        return;
    log_warning("stopping: %u requests are cut off", http_server_active(server));
    atomic_store(&p->service.abort, true);
    end = io_now_ns() + ABORT_MS * 1000000ull;
    while (http_server_active(server) && io_now_ns() < end)
        wait_signal(p, DRAIN_POLL_MS);
}

static int serve(struct program *p, struct airlock_error *err)
{
    struct service *s = &p->service;
    struct http_route routes[ROUTES_MAX];
    routes_fill(s, routes);
    struct http_server_options options = { .listen = p->options.listen,
                                           .routes = routes,
                                           .admit = admit,
                                           .admit_arg = p,
                                           .max_connections = p->options.max_connections,
                                           .request_ids = true };
    struct http_server *server;
    s->started = time(NULL);
    s->answer_seconds = p->options.answer_seconds;
    s->ping_seconds = p->options.ping_seconds;
    s->unload_seconds = p->options.unload_seconds;
    if (http_server_start(&options, &server, err) < 0)
        return -1;
    give_up_privileges();
    log_info("listening on %s", http_server_address(server));
    wait_signal(p, -1);
    drain(p, server);
    http_server_stop(server);
    log_info("stopped");
    return 0;
}

int main(int argc, char **argv)
{
    static struct program program;
    struct program *p = &program;
    struct airlock_error err = { 0 };
    int status;
    if (options_parse(argc, argv, &p->options, &status) < 0)
        return status;
    log_setup("airlock-server", p->options.log_format, p->options.log_level);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&p->stop_signals);
    sigaddset(&p->stop_signals, SIGTERM);
    sigaddset(&p->stop_signals, SIGINT);
    sigprocmask(SIG_BLOCK, &p->stop_signals, NULL);

    int rc = load(p, &err);
    if (rc == 0 && p->options.check)
        print_served(p);
    else if (rc == 0)
        rc = serve(p, &err);
    else if (err.code == AIRLOCK_E_CANCELLED && stop_asked(NULL)) {
        log_info("stopped while loading");
        rc = 0;
    }
    if (rc < 0)
        status = fail(&err);
    models_close(&p->service.models);
    plugin_loader_close(&p->loader);
    config_free(&p->config);
    bearer_free(&p->bearer);
    bearer_free(&p->service.admin);
    if (p->options.check && fflush(stdout) != 0)
        status = 1;
    return status;
}
