/*
 * enrolment.h - which container a name was enrolled for: its id is looked up when the first channel
 * is opened, and from then on that container is entered and no other that gets its name.
 *
 * For engines whose containers have ids (docker, podman); elsewhere the name is the target.
 */
#ifndef AIRLOCK_BRIDGE_ENROLMENT_H
#define AIRLOCK_BRIDGE_ENROLMENT_H

#include "runtimes.h"

#include "common/error.h"

#include <pthread.h>
#include <stdbool.h>

enum { ENROLMENT_TARGET_SIZE = 130 }; /* an id, or a name of 128 bytes */

struct enrolment {
    pthread_mutex_t lock;
    char id[ENROLMENT_TARGET_SIZE]; /* "": not looked up yet */
    bool doubtful;                  /* a relay has failed: look whether the name still means id */
};

void enrolment_init(struct enrolment *e);
void enrolment_free(struct enrolment *e);

/*
 * What a command has to name to enter the container.  home: as runtime_command().  0, or -1:
 * AIRLOCK_E_UPSTREAM when there is no such container, or another than the enrolled one has its
 * name.  Takes as long as the engine's CLI, at most 10 s, the first time and after
 * enrolment_doubt().  [any thread]
 */
int enrolment_target(struct enrolment *e, const struct container *container, const char *home,
                     char out[ENROLMENT_TARGET_SIZE], struct airlock_error *err);

void enrolment_doubt(struct enrolment *e);

#endif
