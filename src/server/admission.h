/*
 * admission.h - lets at most so many in at once, the others wait in order, and beyond a length
 * nobody waits.
 */
#ifndef AIRLOCK_ADMISSION_H
#define AIRLOCK_ADMISSION_H

#include <pthread.h>
#include <stdbool.h>

struct admission_waiter;

struct admission {
    pthread_mutex_t lock;
    unsigned max_running, max_waiting;
    unsigned running, waiting; /* read them with admission_count() */
    struct admission_waiter *first, **end;
};

enum admission_result { ADMISSION_IN, ADMISSION_FULL, ADMISSION_GAVE_UP };

/* max_running 0: any number. */
void admission_init(struct admission *a, unsigned max_running, unsigned max_waiting);
void admission_destroy(struct admission *a); /* nobody is in or waits */

/*
 * [any] Blocks until it is this caller's turn: in the order of arrival.  give_up(ctx) is asked at
 * least every 50 ms while waiting.  After ADMISSION_IN, and only then, admission_leave() follows.
 */
enum admission_result admission_enter(struct admission *a, bool (*give_up)(void *ctx), void *ctx);
void admission_leave(struct admission *a); /* [any] */

void admission_count(struct admission *a, unsigned *running, unsigned *waiting); /* [any] */

#endif
