/* admission.c - see admission.h. */
#include "server/admission.h"

#include <stddef.h>
#include <time.h>

enum { ASK_MS = 50 };

struct admission_waiter {
    struct admission_waiter *next;
    pthread_cond_t turn;
    bool in;
};

void admission_init(struct admission *a, unsigned max_running, unsigned max_waiting)
{
    *a = (struct admission){ .max_running = max_running, .max_waiting = max_waiting };
    pthread_mutex_init(&a->lock, NULL);
    a->end = &a->first;
}

void admission_destroy(struct admission *a)
{
    pthread_mutex_destroy(&a->lock);
}

/* Takes w out of the queue.  Lock held. */
static void unlink_waiter(struct admission *a, struct admission_waiter *w)
{
    struct admission_waiter **link = &a->first;
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    if (!*link)
        a->end = link;
    a->waiting--;
}

/* Lock held, and again on return. */
static enum admission_result wait_turn(struct admission *a, bool (*give_up)(void *), void *ctx)
{
    struct admission_waiter w = { 0 };
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w.turn, &attr);
    pthread_condattr_destroy(&attr);
    *a->end = &w;
    a->end = &w.next;
    a->waiting++;

    enum admission_result result = ADMISSION_IN;
    while (!w.in) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += ASK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&w.turn, &a->lock, &until);
        if (w.in)
            break;
        pthread_mutex_unlock(&a->lock);
        bool gone = give_up(ctx);
        pthread_mutex_lock(&a->lock);
        if (gone && !w.in) { /* a turn that came meanwhile is taken: it must be given on */
            unlink_waiter(a, &w);
            result = ADMISSION_GAVE_UP;
            break;
        }
    }
    pthread_cond_destroy(&w.turn);
    return result;
}

enum admission_result admission_enter(struct admission *a, bool (*give_up)(void *ctx), void *ctx)
{
    enum admission_result result = ADMISSION_IN;
    pthread_mutex_lock(&a->lock);
    if (!a->first && (a->max_running == 0 || a->running < a->max_running))
        a->running++;
    else if (a->waiting >= a->max_waiting)
        result = ADMISSION_FULL;
    else
        result = wait_turn(a, give_up, ctx);
    pthread_mutex_unlock(&a->lock);
    return result;
}

void admission_leave(struct admission *a)
{
    pthread_mutex_lock(&a->lock);
    struct admission_waiter *next = a->first;
    if (next) { /* the place is handed over: running stays */
        unlink_waiter(a, next);
        next->in = true;
        pthread_cond_signal(&next->turn);
    } else {
        a->running--;
    }
    pthread_mutex_unlock(&a->lock);
}

void admission_count(struct admission *a, unsigned *running, unsigned *waiting)
{
    pthread_mutex_lock(&a->lock);
    *running = a->running;
    *waiting = a->waiting;
    pthread_mutex_unlock(&a->lock);
}
