/* options.c - see options.h. */
#include "config.h"

#include "server/options.h"

#include "common/http_server.h"
#include "common/limits.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "Usage: airlock-server --config FILE [OPTION]...\n"
    "Serves the models of model_config.json over HTTP inside an airlock.\n"
    "\n"
    "  --config FILE            model_config.json\n"
    "  --listen WHERE           ADDRESS:PORT or unix:PATH (127.0.0.1:8000)\n"
    "  --plugin-dir DIR         where modules are looked up (" AIRLOCK_PLUGIN_DIR ")\n"
    "  --check                  load everything, print what would be served, exit\n"
    "  --answer-seconds N       a request may take so long, 0: no limit (600)\n"
    "  --drain-seconds N        running requests may take so long after SIGTERM (30)\n"
    "  --ping-seconds N         a stream is silent for so long at most (10)\n"
    "  --adapter-dir DIR        adapters may be loaded from here while serving; needs\n"
    "  --admin-token-file FILE  what loading and unloading must bring in Airlock-Admin\n"
    "  --unload-seconds N       an adapter's requests may take so long to end (30)\n"
    "  --max-connections N      open at once (1024)\n"
    "  --allow-remote           listen beyond this machine; needs --token-file\n"
    "  --token-file FILE        every request but /livez must bring this bearer token\n"
    "  --log-format text|json   (text)\n"
    "  --log-level LEVEL        debug, info, warning or error (info)\n"
    "  --help, --version\n";

enum {
    OPT_CONFIG = 256,
    OPT_LISTEN,
    OPT_PLUGIN_DIR,
    OPT_CHECK,
    OPT_ANSWER,
    OPT_DRAIN,
    OPT_CONNECTIONS,
    OPT_PING,
    OPT_ADAPTER_DIR,
    OPT_ADMIN,
    OPT_UNLOAD,
    OPT_ALLOW_REMOTE,
    OPT_TOKEN_FILE,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    { "config", required_argument, NULL, OPT_CONFIG },
    { "listen", required_argument, NULL, OPT_LISTEN },
    { "plugin-dir", required_argument, NULL, OPT_PLUGIN_DIR },
    { "check", no_argument, NULL, OPT_CHECK },
    { "answer-seconds", required_argument, NULL, OPT_ANSWER },
    { "drain-seconds", required_argument, NULL, OPT_DRAIN },
    { "max-connections", required_argument, NULL, OPT_CONNECTIONS },
    { "ping-seconds", required_argument, NULL, OPT_PING },
    { "adapter-dir", required_argument, NULL, OPT_ADAPTER_DIR },
    { "admin-token-file", required_argument, NULL, OPT_ADMIN },
    { "unload-seconds", required_argument, NULL, OPT_UNLOAD },
    { "allow-remote", no_argument, NULL, OPT_ALLOW_REMOTE },
    { "token-file", required_argument, NULL, OPT_TOKEN_FILE },
    { "log-format", required_argument, NULL, OPT_LOG_FORMAT },
    { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 }
};

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "airlock-server: %s%s%s (see airlock-server --help)\n", what, value ? ": " : "",
            value ? value : "");
    return 2;
}

/* A number from min to max.  False: it is none. */
static bool number(const char *text, unsigned min, unsigned max, unsigned *out)
{
    char *end;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 9 || text[n])
        return false;
    unsigned long value = strtoul(text, &end, 10);
    *out = (unsigned)value;
    return value >= min && value <= max;
}

/* 0, or the exit status. */
static int take(int c, const char *value, struct options *o)
{
    switch (c) {
    case OPT_CONFIG:
        o->config = value;
        return 0;
    case OPT_LISTEN:
        o->listen = value;
        return 0;
    case OPT_PLUGIN_DIR:
        o->plugin_dir = value;
        return 0;
    case OPT_CHECK:
        o->check = true;
        return 0;
    case OPT_ALLOW_REMOTE:
        o->allow_remote = true;
        return 0;
    case OPT_TOKEN_FILE:
        o->token_file = value;
        return 0;
    case OPT_ANSWER:
        return number(value, 0, 1000000, &o->answer_seconds) ? 0 : wrong("--answer-seconds", value);
    case OPT_DRAIN:
        return number(value, 0, 1000000, &o->drain_seconds) ? 0 : wrong("--drain-seconds", value);
    case OPT_ADAPTER_DIR:
        o->adapter_dir = value;
        return 0;
    case OPT_ADMIN:
        o->admin_token_file = value;
        return 0;
    case OPT_PING:
        return number(value, 1, 3600, &o->ping_seconds)
                   ? 0
                   : wrong("--ping-seconds is from 1 to 3600", value);
    case OPT_UNLOAD:
        return number(value, 0, 3600, &o->unload_seconds)
                   ? 0
                   : wrong("--unload-seconds is from 0 to 3600", value);
    case OPT_CONNECTIONS:
        return number(value, 8, 65536, &o->max_connections)
                   ? 0
                   : wrong("--max-connections is from 8 to 65536", value);
    case OPT_LOG_FORMAT:
        return log_parse_format(value, &o->log_format) == 0 ? 0 : wrong("--log-format", value);
    case OPT_LOG_LEVEL:
        return log_parse_level(value, &o->log_level) == 0 ? 0 : wrong("--log-level", value);
    default: /* getopt_long() has said what is wrong */
        return wrong("wrong usage", NULL);
    }
}

int options_parse(int argc, char **argv, struct options *o, int *status)
{
    *o = (struct options){ .listen = "127.0.0.1:8000",
                           .plugin_dir = AIRLOCK_PLUGIN_DIR,
                           .log_level = LOG_LEVEL_INFO,
                           .answer_seconds = 600,
                           .drain_seconds = 30,
                           .ping_seconds = LIMIT_PING_SECONDS,
                           .unload_seconds = 30,
                           .max_connections = 1024 };
    int c;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (c == OPT_HELP || c == OPT_VERSION) {
            fputs(c == OPT_HELP ? usage : "airlock-server " PACKAGE_VERSION "\n", stdout);
            *status = fflush(stdout) == 0 ? 0 : 1;
            return -1;
        }
        *status = take(c, optarg, o);
        if (*status)
            return -1;
    }
    *status = 0;
    if (optind < argc)
        *status = wrong("what is this", argv[optind]);
    else if (!o->config)
        *status = wrong("--config is missing", NULL);
    else if (!o->adapter_dir != !o->admin_token_file)
        *status = wrong("--adapter-dir and --admin-token-file need each other", NULL);
    else if (o->allow_remote && !o->token_file)
        *status = wrong("--allow-remote needs --token-file", NULL);
    else if (!o->allow_remote && !http_listen_is_local(o->listen))
        *status =
            wrong("--listen beyond this machine needs --allow-remote and --token-file", o->listen);
    return *status ? -1 : 0;
}
