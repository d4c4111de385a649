/*
 * arena.h - memory that a plugin is handed: copies placed so that reading too far, writing or
 * keeping them is noticed.
 */
#ifndef AIRLOCK_PLUGIN_CHECK_ARENA_H
#define AIRLOCK_PLUGIN_CHECK_ARENA_H

#include <stddef.h>

enum placement {
    PLAIN,  /* as an ordinary host */
    LONGER, /* structs are 64 bytes longer than the plugin knows, filled with poison */
    GUARDED /* ends at a page that faults; read-only when sealed; gone when released */
};

struct arena_piece;
struct arena {
    enum placement placement;
    struct arena_piece *pieces;
};

/* A copy of a struct that begins with struct_size; never NULL (out of memory ends the check). */
void *arena_struct(struct arena *a, const void *data, size_t size);
void *arena_bytes(struct arena *a, const void *data, size_t size);
void arena_seal(struct arena *a);    /* GUARDED: what was placed so far is read-only from here */
void arena_release(struct arena *a); /* the plugin may not touch it any more */

#endif
