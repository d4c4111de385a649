/*
 * admission.h - lets at most so many in at once, the others wait their turn, and beyond a length
 * nobody waits.
 *
 * Fair between callers: the next turn is that of the waiting caller who has the fewest in, and
 * among equals of who came first.  When the queue is full, the last to come of the caller with the
 * most waiting makes room for a caller with fewer.
 */
#ifndef AIRLOCK_ADMISSION_H
#define AIRLOCK_ADMISSION_H

#include <pthread.h>
#include <stdbool.h>

enum admission_result { ADMISSION_IN, ADMISSION_FULL, ADMISSION_GAVE_UP };

/* One that waits or is in; its owner's memory until it has left. */
struct admission_place {
    const char *caller; /* borrowed */
    struct admission_place *next;
    pthread_cond_t turn;
    bool decided; /* result is final */
    enum admission_result result;
};

struct admission {
    pthread_mutex_t lock;
    unsigned max_running, max_waiting;
    unsigned running, waiting;          /* read them with admission_count() */
    struct admission_place *in, *first; /* who is in; who waits, in the order of arrival */
};

/* max_running 0: any number. */
void admission_init(struct admission *a, unsigned max_running, unsigned max_waiting);
void admission_destroy(struct admission *a); /* nobody is in or waits */

/*
 * [any] Blocks until it is place's turn.  caller: whose it is, a string that lives as long as place
 * is used.  give_up(ctx) is asked at least every 50 ms while waiting.  After ADMISSION_IN, and only
 * then, admission_leave() follows.
 */
enum admission_result admission_enter(struct admission *a, struct admission_place *place,
                                      const char *caller, bool (*give_up)(void *ctx), void *ctx);
void admission_leave(struct admission *a, struct admission_place *place); /* [any] */

void admission_count(struct admission *a, unsigned *running, unsigned *waiting); /* [any] */

#endif
