/* turns.c - a lock that is handed on in the order of asking; see turns.h. */
#include "turns.h"

#include <time.h>

/* On the stack of a thread that waits. */
struct turn_waiter {
    struct turn_waiter *next;
};

void turns_init(struct turns *t)
{
    pthread_condattr_t attr;
    *t = (struct turns){ .taken = false };
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attr);
    pthread_condattr_destroy(&attr);
}

void turns_destroy(struct turns *t)
{
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
}

static void join(struct turns *t, struct turn_waiter *w)
{
    w->next = NULL;
    if (t->last)
        t->last->next = w;
    else
        t->first = w;
    t->last = w;
    t->n_waiting++;
}

static void leave(struct turns *t, struct turn_waiter *w)
{
    struct turn_waiter *before = NULL;
    for (struct turn_waiter *at = t->first; at != w; at = at->next)
        before = at;
    if (before)
        before->next = w->next;
    else
        t->first = w->next;
    if (t->last == w)
        t->last = before;
    t->n_waiting--;
}

/* Waits for news, at most TURNS_POLL_MS when somebody may give up. */
static void wait_for_news(struct turns *t, bool poll)
{
    struct timespec until;
    if (!poll) {
        pthread_cond_wait(&t->changed, &t->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TURNS_POLL_MS * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&t->changed, &t->lock, &until);
}

int turns_take_unless(struct turns *t, bool (*give_up)(void *ctx), void *ctx)
{
    struct turn_waiter w;
    bool over = false;
    pthread_mutex_lock(&t->lock);
    join(t, &w);
    while (t->taken || t->first != &w) {
        wait_for_news(t, give_up != NULL);
        if (!give_up)
            continue;
        pthread_mutex_unlock(&t->lock); /* it may take its time */
        over = give_up(ctx);
        pthread_mutex_lock(&t->lock);
        if (over)
            break;
    }
    leave(t, &w);
    t->taken = t->taken || !over;
    if (over)
        pthread_cond_broadcast(&t->changed); /* somebody else may be the first now */
    pthread_mutex_unlock(&t->lock);
    return over ? -1 : 0;
}

void turns_take(struct turns *t)
{
    turns_take_unless(t, NULL, NULL);
}

void turns_give(struct turns *t)
{
    pthread_mutex_lock(&t->lock);
    t->taken = false;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

size_t turns_waiting(struct turns *t)
{
    pthread_mutex_lock(&t->lock);
    const size_t n = t->n_waiting;
    pthread_mutex_unlock(&t->lock);
    return n;
}
