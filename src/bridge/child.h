/*
 * child.h - the processes behind channels: started with nothing of ours, listened to, ended for
 * certain.
 *
 * One thread (the warden) drains every child's standard error into the log, a bounded part of it,
 * reaps children that end, and ends those whose channel was closed: first by the end of file they
 * see, then SIGTERM, then SIGKILL, each to the whole process group.
 */
#ifndef AIRLOCK_BRIDGE_CHILD_H
#define AIRLOCK_BRIDGE_CHILD_H

#include "common/error.h"

#include <stdbool.h>

struct child;

/* Starts the warden.  Once in a program, before the first child.  0, or -1. */
int child_warden_start(struct airlock_error *err);

/* Ends all children, those still in use included, and the warden. */
void child_warden_stop(void);

/*
 * Starts argv[0], an absolute path, with `socket` as its standard input and output, no other open
 * descriptor, the environment envp, and a process group of its own.  name is copied for the log.
 * The caller closes its copy of socket.  [any thread]
 */
int child_start(char *const *argv, char *const *envp, int socket, const char *name,
                struct child **out, struct airlock_error *err);

/* True when the child has ended, waiting for at most wait_ms; *status is then its exit status, or
 * 128 + the signal.  [any thread] */
bool child_ended(struct child *child, int wait_ms, int *status);

/* The channel is closed: the child sees end of file and has to go.  The pointer is no longer the
 * caller's.  NULL is fine.  [any thread] */
void child_release(struct child *child);

#endif
