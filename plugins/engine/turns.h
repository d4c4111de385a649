/*
 * turns.h - several threads that need the same thing take turns, first come, first served.
 *
 * Unlike a mutex, who gives a turn back and wants another one stands behind all that wait: nobody
 * waits for more than one turn of each of the others.
 */
#ifndef AIRLOCK_TURNS_H
#define AIRLOCK_TURNS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

struct turn_waiter;

/* All members are private. */
struct turns {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct turn_waiter *first, *last; /* who waits */
    size_t n_waiting;
    bool taken;
};

void turns_init(struct turns *t);
void turns_destroy(struct turns *t); /* nobody has or wants a turn */

/* Waits for the turn and has it until turns_give().  Any thread, several at once. */
void turns_take(struct turns *t);
/* The same, but asks give_up every TURNS_POLL_MS while it waits; 0, or -1 without a turn. */
int turns_take_unless(struct turns *t, bool (*give_up)(void *ctx), void *ctx);
void turns_give(struct turns *t);
/* How many wait; for tests, and to see whether a turn may as well be kept. */
size_t turns_waiting(struct turns *t);

enum { TURNS_POLL_MS = 20 };

#endif
