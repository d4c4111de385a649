/*
 * bridge_config.h - what the bridge is told: its configuration file, and the command line, which
 * wins.
 */
#ifndef AIRLOCK_BRIDGE_BRIDGE_CONFIG_H
#define AIRLOCK_BRIDGE_BRIDGE_CONFIG_H

#include "pool.h"
#include "runtimes.h"

#include "common/error.h"

#include <stdbool.h>

enum { CONFIG_CONTAINERS_MAX = 64, CONFIG_HOSTS_MAX = 8 };

struct bridge_config {
    const char *listen; /* default 127.0.0.1:8000 */
    const char *token_file;
    bool allow_remote;
    const char *hosts[CONFIG_HOSTS_MAX]; /* more values that Host may have */
    unsigned n_hosts;
    unsigned request_seconds; /* for a whole request; 0: no limit */
    unsigned max_connections;
    unsigned stream_bytes; /* the most that one streamed answer may have */
    struct pool_limits limits;
    struct container containers[CONFIG_CONTAINERS_MAX];
    unsigned n_containers;

    struct json_object *root;                     /* owned: what the texts above point into */
    const char **commands[CONFIG_CONTAINERS_MAX]; /* owned */
    unsigned n_commands;
};

/* Defaults for everything. */
void bridge_config_init(struct bridge_config *config);

/* Reads a file over the defaults.  0, or -1 with one sentence that names the place. */
int bridge_config_read(struct bridge_config *config, const char *path, struct airlock_error *err);

/* Enrols one more container.  0, or -1: its name is wrong or taken, or there are too many. */
int bridge_config_add(struct bridge_config *config, const char *name, enum runtime runtime,
                      struct airlock_error *err);

/* Judges the whole: something is enrolled, and listening for others needs leave and a token. */
int bridge_config_check(const struct bridge_config *config, struct airlock_error *err);

void bridge_config_free(struct bridge_config *config);

#endif
