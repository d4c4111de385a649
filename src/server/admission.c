/* admission.c - see admission.h. */
#include "server/admission.h"

#include <stddef.h>
#include <string.h>
#include <time.h>

enum { ASK_MS = 50 };

void admission_init(struct admission *a, unsigned max_running, unsigned max_waiting)
{
    *a = (struct admission){ .max_running = max_running, .max_waiting = max_waiting };
    pthread_mutex_init(&a->lock, NULL);
}

void admission_destroy(struct admission *a)
{
    pthread_mutex_destroy(&a->lock);
}

/* ---- under the lock -------------------------------------------------------------------------- */

static void append(struct admission_place **list, struct admission_place *p)
{
    while (*list)
        list = &(*list)->next;
    p->next = NULL;
    *list = p;
}

static void take_out(struct admission_place **list, const struct admission_place *p)
{
    while (*list != p)
        list = &(*list)->next;
    *list = p->next;
}

static unsigned places_of(const struct admission_place *list, const char *caller)
{
    unsigned n = 0;
    for (; list; list = list->next)
        n += strcmp(list->caller, caller) == 0;
    return n;
}

static void go_in(struct admission *a, struct admission_place *p)
{
    append(&a->in, p);
    a->running++;
    p->decided = true;
    p->result = ADMISSION_IN;
}

static void stop_waiting(struct admission *a, struct admission_place *p)
{
    take_out(&a->first, p);
    a->waiting--;
}

/* Whose turn it is; NULL: nobody waits. */
static struct admission_place *next_turn(const struct admission *a)
{
    struct admission_place *best = NULL;
    unsigned least = 0;
    for (struct admission_place *p = a->first; p; p = p->next) {
        const unsigned n = places_of(a->in, p->caller);
        if (!best || n < least) {
            best = p;
            least = n;
        }
    }
    return best;
}

/* The queue is full: sends away the last to come of whoever has the most in it, if that leaves him
 * no fewer than the caller then has. */
static bool make_room(struct admission *a, const char *caller)
{
    struct admission_place *last = NULL;
    unsigned most = places_of(a->first, caller) + 1;
    for (struct admission_place *p = a->first; p; p = p->next) {
        const unsigned n = places_of(a->first, p->caller);
        if (n > most || (last && n == most)) {
            last = p;
            most = n;
        }
    }
    if (!last)
        return false;
    stop_waiting(a, last);
    last->decided = true;
    last->result = ADMISSION_FULL;
    pthread_cond_signal(&last->turn);
    return true;
}

static void wait_a_while(struct admission *a, struct admission_place *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ASK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&p->turn, &a->lock, &until);
}

static void wait_turn(struct admission *a, struct admission_place *p, bool (*give_up)(void *),
                      void *ctx)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->turn, &attr);
    pthread_condattr_destroy(&attr);
    append(&a->first, p);
    a->waiting++;
    while (!p->decided) {
        wait_a_while(a, p);
        if (p->decided)
            break;
        pthread_mutex_unlock(&a->lock);
        bool gone = give_up(ctx);
        pthread_mutex_lock(&a->lock);
        if (gone && !p->decided) { /* a turn that came meanwhile is taken: it must be given on */
            stop_waiting(a, p);
            p->decided = true;
            p->result = ADMISSION_GAVE_UP;
        }
    }
    pthread_cond_destroy(&p->turn);
}

/* ---- what others call ------------------------------------------------------------------------ */

enum admission_result admission_enter(struct admission *a, struct admission_place *place,
                                      const char *caller, bool (*give_up)(void *ctx), void *ctx)
{
    *place = (struct admission_place){ .caller = caller, .result = ADMISSION_FULL };
    pthread_mutex_lock(&a->lock);
    if (!a->first && (a->max_running == 0 || a->running < a->max_running))
        go_in(a, place);
    else if (a->waiting < a->max_waiting || make_room(a, caller))
        wait_turn(a, place, give_up, ctx);
    pthread_mutex_unlock(&a->lock);
    return place->result;
}

void admission_leave(struct admission *a, struct admission_place *place)
{
    pthread_mutex_lock(&a->lock);
    take_out(&a->in, place);
    a->running--;
    struct admission_place *next = next_turn(a);
    if (next) {
        stop_waiting(a, next);
        go_in(a, next);
        pthread_cond_signal(&next->turn);
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
