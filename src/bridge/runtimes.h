/*
 * runtimes.h - which command enters which container: argument vectors, never a shell line.
 */
#ifndef AIRLOCK_BRIDGE_RUNTIMES_H
#define AIRLOCK_BRIDGE_RUNTIMES_H

#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

enum runtime { RUNTIME_DOCKER, RUNTIME_PODMAN, RUNTIME_KUBECTL, RUNTIME_SANDBOX, RUNTIME_CUSTOM };

enum { COMMAND_ARGS_MAX = 48 };

/* One enrolled container.  Texts belong to the configuration, which outlives every use. */
struct container {
    const char *name; /* container_name_valid() */
    enum runtime runtime;
    const char *program;        /* absolute path of the CLI; NULL: looked for in fixed places */
    const char *client;         /* in the container; NULL: airlock-client */
    const char *connect;        /* its --connect; NULL: its default */
    const char *socket;         /* docker, podman: the engine's unix socket; NULL: the usual one */
    const char *namespace;      /* kubectl; NULL: that of its configuration */
    const char *pod;            /* kubectl; NULL: name */
    const char *kubeconfig;     /* kubectl: absolute path; NULL: none */
    const char *state_dir;      /* sandbox: where NAME.pid lies; NULL: runtime_state_dir() */
    const char *const *command; /* custom: NULL-terminated; "{name}" stands for the name */
};

/* The only judge of what may become an argument: [A-Za-z0-9][A-Za-z0-9_.-]{0,127}. */
bool container_name_valid(const char *name, size_t size);

/* "docker", "podman", "kubectl", "sandbox" or "custom".  0, or -1: no such runtime. */
int runtime_parse(const char *word, enum runtime *out);
const char *runtime_name(enum runtime runtime);

/* /run/airlock for root, else $XDG_RUNTIME_DIR/airlock, else /tmp/airlock-UID. */
void runtime_state_dir(char *out, size_t size);

/* A command ready for exec: the texts that were made for it live in `text`. */
struct command {
    char *argv[COMMAND_ARGS_MAX];
    char *envp[8];
    char text[8192];
};

/* True where containers have ids beside their names: docker, podman. */
bool runtime_has_ids(enum runtime runtime);

/*
 * The command that starts a relay in the container.  target: what names it there, an id or its
 * name; only for runtimes with ids, NULL: the name.  The program must be a regular file at an
 * absolute path that belongs to root (or to us) and that nobody else may write to; a sandbox's
 * process is checked to be the one that was recorded.  home: an empty private directory.
 */
int runtime_command(const struct container *container, const char *target, const char *home,
                    struct command *out, struct airlock_error *err);

/* The command that prints the id of the container with this name. */
int runtime_id_command(const struct container *container, const char *home, struct command *out,
                       struct airlock_error *err);

#endif
