/*
 * progress.h - the loading bar on a terminal: bytes, share, rate; silent when stderr is none.
 */
#ifndef AIRLOCK_PROGRESS_H
#define AIRLOCK_PROGRESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct progress {
    pthread_mutex_t lock; /* of what follows */
    bool shown;           /* a line is on the terminal that must be ended */
    bool terminal;
    char name[64];
    uint64_t start_ns, last_ns;
};

void progress_init(struct progress *p);

/* [any] ctx: struct progress *.  name: what is being loaded. */
void progress_show(void *ctx, const char *name, uint64_t done, uint64_t total);

/* Ends the line, if any; call before anything else is written. */
void progress_end(struct progress *p);

#endif
