/* wait_queue.c - whose turn it is among the callers that wait; see wait_queue.h. */
#include "wait_queue.h"

#include "ticket.h"

#include <string.h>

static bool same_caller(const struct scheduler_ticket *a, const struct scheduler_ticket *b)
{
    return a->root.n_salt == b->root.n_salt &&
           (a->root.n_salt == 0 || memcmp(a->root.salt, b->root.salt, a->root.n_salt) == 0);
}

/* Puts a caller at the end of the turns; t: its first request. */
static void add_caller(struct wait_queue *q, struct scheduler_ticket *t)
{
    struct scheduler_ticket **link = &q->callers;
    while (*link)
        link = &(*link)->links.next_caller;
    t->links.next_caller = NULL;
    *link = t;
}

void wait_queue_add(struct wait_queue *q, struct scheduler_ticket *t)
{
    t->links = (struct wait_links){ .last = t };
    q->n++;
    for (struct scheduler_ticket *first = q->callers; first; first = first->links.next_caller)
        if (same_caller(first, t)) {
            first->links.last->links.next = t;
            first->links.last = t;
            return;
        }
    add_caller(q, t);
}

void wait_queue_add_preempted(struct wait_queue *q, struct scheduler_ticket *t)
{
    t->links = (struct wait_links){ .next = q->again };
    q->again = t;
    q->n++;
}

struct scheduler_ticket *wait_queue_first(const struct wait_queue *q)
{
    return q->again ? q->again : q->callers;
}

struct scheduler_ticket *wait_queue_take(struct wait_queue *q)
{
    struct scheduler_ticket *t = wait_queue_first(q);
    if (!t)
        return NULL;
    q->n--;
    struct scheduler_ticket *next = t->links.next;
    if (q->again) {
        q->again = next;
        return t;
    }
    q->callers = t->links.next_caller;
    if (next) {
        next->links.last = t->links.last;
        add_caller(q, next);
    }
    return t;
}

/* Appends a list's tickets that are out to *out_end and gives what is left of the list. */
static struct scheduler_ticket *filter(struct wait_queue *q, struct scheduler_ticket *list,
                                       struct scheduler_ticket ***out_end,
                                       bool (*out)(const struct scheduler_ticket *t, void *ctx),
                                       void *ctx)
{
    struct scheduler_ticket *left = NULL, **end = &left, *last = NULL;
    for (struct scheduler_ticket *t = list, *next; t; t = next) {
        next = t->links.next;
        t->links.next = NULL;
        if (out(t, ctx)) {
            **out_end = t;
            *out_end = &t->links.next;
            q->n--;
        } else {
            *end = t;
            end = &t->links.next;
            last = t;
        }
    }
    if (left)
        left->links.last = last;
    return left;
}

struct scheduler_ticket *
wait_queue_take_if(struct wait_queue *q, bool (*out)(const struct scheduler_ticket *t, void *ctx),
                   void *ctx)
{
    struct scheduler_ticket *taken = NULL, **end = &taken;
    q->again = filter(q, q->again, &end, out, ctx);
    struct scheduler_ticket *callers = q->callers, **link = &q->callers;
    *link = NULL;
    for (struct scheduler_ticket *first = callers, *next; first; first = next) {
        next = first->links.next_caller;
        struct scheduler_ticket *left = filter(q, first, &end, out, ctx);
        if (left) {
            left->links.next_caller = NULL;
            *link = left;
            link = &left->links.next_caller;
        }
    }
    return taken;
}

static bool any(const struct scheduler_ticket *t,
                bool (*is)(const struct scheduler_ticket *t, void *ctx), void *ctx)
{
    for (; t; t = t->links.next)
        if (is(t, ctx))
            return true;
    return false;
}

bool wait_queue_any(const struct wait_queue *q,
                    bool (*is)(const struct scheduler_ticket *t, void *ctx), void *ctx)
{
    bool found = any(q->again, is, ctx);
    for (const struct scheduler_ticket *t = q->callers; t && !found; t = t->links.next_caller)
        found = any(t, is, ctx);
    return found;
}
