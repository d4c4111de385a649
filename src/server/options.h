/*
 * options.h - the command line of airlock-server.
 */
#ifndef AIRLOCK_SERVER_OPTIONS_H
#define AIRLOCK_SERVER_OPTIONS_H

#include "common/log.h"

#include <stdbool.h>

struct options {
    const char *config, *listen, *plugin_dir, *token_file;
    bool check, allow_remote;
    enum log_format log_format;
    enum log_level log_level;
    const char *adapter_dir, *admin_token_file; /* both or none */
    unsigned answer_seconds, drain_seconds, ping_seconds, unload_seconds, max_connections;
};

/* 0: go on; -1: exit with *status (help and version were printed, or what is wrong with the usage
 * was). */
int options_parse(int argc, char **argv, struct options *out, int *status);

#endif
