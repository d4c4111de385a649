/* progress.c - see progress.h. */
#include "server/progress.h"

#include "common/io.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { REDRAW_NS = 100000000 };

void progress_init(struct progress *p)
{
    *p = (struct progress){ .terminal = isatty(STDERR_FILENO) };
    pthread_mutex_init(&p->lock, NULL);
}

static void draw(struct progress *p, uint64_t now, uint64_t done, uint64_t total)
{
    char line[160];
    double seconds = (double)(now - p->start_ns) / 1e9, mb = 1e6;
    int n = snprintf(line, sizeof line, "\r%.60s: %.0f of %.0f MB (%.0f %%), %.0f MB/s\033[K",
                     p->name, (double)done / mb, (double)total / mb,
                     total ? 100.0 * (double)done / (double)total : 0.0,
                     seconds > 0 ? (double)done / mb / seconds : 0.0);
    io_write_all(STDERR_FILENO, line, (size_t)n);
    p->shown = true;
    p->last_ns = now;
}

void progress_show(void *ctx, const char *name, uint64_t done, uint64_t total)
{
    struct progress *p = ctx;
    uint64_t now = io_now_ns();
    if (!p->terminal)
        return;
    pthread_mutex_lock(&p->lock);
    if (strncmp(p->name, name, sizeof p->name - 1) != 0) {
        snprintf(p->name, sizeof p->name, "%s", name);
        p->start_ns = now;
        p->last_ns = 0;
    }
    if (now - p->last_ns >= REDRAW_NS || done == total)
        draw(p, now, done, total);
    pthread_mutex_unlock(&p->lock);
}

void progress_end(struct progress *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->shown)
        io_write_all(STDERR_FILENO, "\n", 1);
    p->shown = false;
    pthread_mutex_unlock(&p->lock);
}
