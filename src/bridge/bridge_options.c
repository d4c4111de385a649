/* bridge_options.c - turns arguments into a bridge_config; see bridge_options.h. */
#include "config.h"

#include "bridge_options.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: airlock-bridge [OPTION]... --container NAME...\n"
    "Takes requests over HTTP on this machine and carries them into containers without network.\n"
    "\n"
    "  --container NAME         enrol a container; may be given several times\n"
    "  --runtime RUNTIME        docker (default), podman, kubectl or sandbox: of the\n"
    "                           containers named after it\n"
    "  --config FILE            JSON configuration; options win over it\n"
    "  --listen WHERE           ADDRESS:PORT or unix:PATH (127.0.0.1:8000)\n"
    "  --token-file FILE        every request but / and /livez must bring a bearer token\n"
    "                           of this file: a line each, TOKEN or NAME TOKEN\n"
    "  --allow-remote           listen beyond this machine; needs --token-file\n"
    "  --allow-host HOST        one more value that the Host header may have\n"
    "  --log-format text|json   (text)\n"
    "  --log-level LEVEL        debug, info, warning or error (info)\n"
    "  --help, --version        print and exit\n";

enum {
    OPT_CONFIG = 256,
    OPT_LISTEN,
    OPT_CONTAINER,
    OPT_RUNTIME,
    OPT_TOKEN_FILE,
    OPT_ALLOW_REMOTE,
    OPT_ALLOW_HOST,
    OPT_LOG_FORMAT,
    OPT_LOG_LEVEL,
    OPT_HELP,
    OPT_VERSION
};

static const struct option long_options[] = {
    { "config", required_argument, NULL, OPT_CONFIG },
    { "listen", required_argument, NULL, OPT_LISTEN },
    { "container", required_argument, NULL, OPT_CONTAINER },
    { "runtime", required_argument, NULL, OPT_RUNTIME },
    { "token-file", required_argument, NULL, OPT_TOKEN_FILE },
    { "allow-remote", no_argument, NULL, OPT_ALLOW_REMOTE },
    { "allow-host", required_argument, NULL, OPT_ALLOW_HOST },
    { "log-format", required_argument, NULL, OPT_LOG_FORMAT },
    { "log-level", required_argument, NULL, OPT_LOG_LEVEL },
    { "help", no_argument, NULL, OPT_HELP },
    { "version", no_argument, NULL, OPT_VERSION },
    { NULL, 0, NULL, 0 }
};

/* What is not part of the configuration, and what is remembered between options. */
struct parse {
    enum log_format log_format;
    enum log_level log_level;
    enum runtime runtime;
};

static int wrong_usage(const char *format, const char *value)
{
    fputs("airlock-bridge: ", stderr);
    fprintf(stderr, format, value);
    fputs("\nTry 'airlock-bridge --help'.\n", stderr);
    return 2;
}

/* The file comes first, wherever --config stands among the options.  -1: go on. */
static int read_file(int argc, char **argv, struct bridge_config *config)
{
    struct airlock_error err = { 0 };
    const char *path = NULL;
    int c;
    opterr = 0;
    optind = 1;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        if (c == OPT_CONFIG)
            path = optarg;
    opterr = 1;
    optind = 1;
    if (!path || bridge_config_read(config, path, &err) == 0)
        return -1;
    fprintf(stderr, "airlock-bridge: %s\n", err.text);
    return 1;
}

/* One option.  -1: go on. */
static int take(int c, struct bridge_config *config, struct parse *p)
{
    struct airlock_error err = { 0 };
    switch (c) {
    case OPT_CONFIG:
        break;
    case OPT_LISTEN:
        config->listen = optarg;
        break;
    case OPT_CONTAINER:
        if (bridge_config_add(config, optarg, p->runtime, &err) < 0)
            return wrong_usage("--container: %s", err.text);
        break;
    case OPT_RUNTIME:
        if (runtime_parse(optarg, &p->runtime) < 0 || p->runtime == RUNTIME_CUSTOM)
            return wrong_usage("--runtime '%.64s': expected docker, podman, kubectl or sandbox",
                               optarg);
        break;
    case OPT_TOKEN_FILE:
        config->token_file = optarg;
        break;
    case OPT_ALLOW_REMOTE:
        config->allow_remote = true;
        break;
    case OPT_ALLOW_HOST:
        if (config->n_hosts == CONFIG_HOSTS_MAX)
            return wrong_usage("--allow-host %.64s: too many", optarg);
        config->hosts[config->n_hosts++] = optarg;
        break;
    case OPT_LOG_FORMAT:
        if (log_parse_format(optarg, &p->log_format) < 0)
            return wrong_usage("--log-format '%.64s': expected text or json", optarg);
        break;
    case OPT_LOG_LEVEL:
        if (log_parse_level(optarg, &p->log_level) < 0)
            return wrong_usage("--log-level '%.64s': expected debug, info, warning or error",
                               optarg);
        break;
    case OPT_HELP:
        return fputs(usage, stdout) < 0;
    case OPT_VERSION:
        return puts("airlock-bridge " PACKAGE_VERSION) < 0;
    default:
        return wrong_usage("%s", "wrong usage");
    }
    return -1;
}

int bridge_options_read(int argc, char **argv, struct bridge_config *config)
{
    struct parse p = { LOG_FORMAT_TEXT, LOG_LEVEL_INFO, RUNTIME_DOCKER };
    struct airlock_error err = { 0 };
    bridge_config_init(config);
    int status = read_file(argc, argv, config);
    int c;
    while (status < 0 && (c = getopt_long(argc, argv, "", long_options, NULL)) != -1)
        status = take(c, config, &p);
    if (status >= 0)
        return status;
    if (optind < argc)
        return wrong_usage("unexpected argument '%.64s'", argv[optind]);
    if (bridge_config_check(config, &err) < 0)
        return wrong_usage("%s", err.text);
    log_setup("airlock-bridge", p.log_format, p.log_level);
    return -1;
}
