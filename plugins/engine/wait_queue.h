/*
 * wait_queue.h - the requests that wait for their turn: a queue for each caller, and the callers in
 * turn.
 *
 * A caller is whoever sends the same salt.  One request of each caller that waits is taken before a
 * second one of any, so a hundred of one caller do not hold up another's single one; within a
 * caller first come is first served.  Requests that already ran and lost their memory come before
 * all others, the one that lost it last first.  Links lie in the tickets; under the scheduler's
 * lock.
 */
#ifndef AIRLOCK_WAIT_QUEUE_H
#define AIRLOCK_WAIT_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct scheduler_ticket;

/* Zero-initialise. */
struct wait_queue {
    struct scheduler_ticket *again;   /* preempted, by next */
    struct scheduler_ticket *callers; /* the first of each caller, by next_caller */
    size_t n;
};

/* A ticket's place in the queue. */
struct wait_links {
    struct scheduler_ticket *next;        /* of the same caller */
    struct scheduler_ticket *last;        /* of the same caller; in its first */
    struct scheduler_ticket *next_caller; /* in the first of a caller */
};

void wait_queue_add(struct wait_queue *q, struct scheduler_ticket *t);
void wait_queue_add_preempted(struct wait_queue *q, struct scheduler_ticket *t);
/* Whose turn it is; NULL: nobody waits. */
struct scheduler_ticket *wait_queue_first(const struct wait_queue *q);
/* Takes out who wait_queue_first() names; the caller's next request goes to the end of the turns.
 */
struct scheduler_ticket *wait_queue_take(struct wait_queue *q);
/* Takes out all of whom out says so; they follow each other by links.next.  NULL: none. */
struct scheduler_ticket *
wait_queue_take_if(struct wait_queue *q, bool (*out)(const struct scheduler_ticket *t, void *ctx),
                   void *ctx);
/* Whether any request in it is one of these. */
bool wait_queue_any(const struct wait_queue *q,
                    bool (*is)(const struct scheduler_ticket *t, void *ctx), void *ctx);

#endif
