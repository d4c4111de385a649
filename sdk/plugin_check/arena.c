/*
 * arena.c - places copies of what a plugin is handed: plainly, too long, or at the edge of a fault.
 */
#include "arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TAIL = 64, POISON = 0xa5 };

struct arena_piece {
    struct arena_piece *next;
    void *map; /* NULL: data is from malloc */
    size_t map_size;
    void *data;
};

static void out_of_memory(void)
{
    fputs("airlock-plugin-check: out of memory\n", stderr);
    _exit(2);
}

/* size bytes that end exactly where a page without access begins. */
static void *place_guarded(struct arena_piece *piece, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (size + page - 1) / page * page;
    piece->map_size = room + page;
    piece->map =
        mmap(NULL, piece->map_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (piece->map == MAP_FAILED || mprotect((char *)piece->map + room, page, PROT_NONE) != 0)
        out_of_memory();
    return (char *)piece->map + room - size;
}

void *arena_bytes(struct arena *a, const void *data, size_t size)
{
    struct arena_piece *piece = calloc(1, sizeof *piece);
    if (!piece)
        out_of_memory();
    piece->data = a->placement == GUARDED ? place_guarded(piece, size) : malloc(size + TAIL);
    if (!piece->data)
        out_of_memory();
    if (size > 0)
        memcpy(piece->data, data, size);
    if (a->placement == LONGER)
        memset((char *)piece->data + size, POISON, TAIL);
    piece->next = a->pieces;
    a->pieces = piece;
    return piece->data;
}

void *arena_struct(struct arena *a, const void *data, size_t size)
{
    void *copy = arena_bytes(a, data, size);
    uint32_t struct_size = (uint32_t)(a->placement == LONGER ? size + TAIL : size);
    memcpy(copy, &struct_size, sizeof struct_size);
    return copy;
}

void arena_seal(struct arena *a)
{
    for (struct arena_piece *p = a->pieces; p; p = p->next) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        if (p->map && mprotect(p->map, p->map_size - page, PROT_READ) != 0)
            out_of_memory();
    }
}

void arena_release(struct arena *a)
{
    while (a->pieces) {
        struct arena_piece *p = a->pieces;
        a->pieces = p->next;
        if (p->map)
            munmap(p->map, p->map_size);
        else
            free(p->data);
        free(p);
    }
}
