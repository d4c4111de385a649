/*
 * cuda_emu.h - what a kernel needs of the emulated GPU: its place in the grid, barriers, exchange
 * within a warp, shared memory.
 *
 * A launch runs its blocks one after the other, each thread as a fiber.  Fibers run in an order
 * that changes from block to block and from barrier to barrier, so code that relies on an order
 * fails.  All threads of a block must arrive at a barrier, all 32 of a warp at a warp operation,
 * and it must be the same one: anything else aborts with a sentence.
 */
#ifndef AIRLOCK_CUDA_EMU_H
#define AIRLOCK_CUDA_EMU_H

#include <cstddef>
#include <cstdint>
#include <cstring>

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};

namespace emu
{

enum { WARP = 32 };

struct place {
    dim3 thread, block, block_dim, grid_dim;
};
extern thread_local place *here; /* of the running fiber */

/* What a kernel that may be started early says first. */
void wait_for_previous();

/* Waits for all threads of the block. */
void block_barrier();

/* Waits for all 32 lanes of the warp; then fn is called once with what the lanes handed over,
 * which lies on their stacks: it reads and writes there. */
typedef void warp_fn(void *const *args);
void warp_collective(warp_fn *fn, void *arg);

/* The block's dynamic shared memory. */
void *dynamic_shared();
/* A number that is different for each block that is run. */
uint64_t block_serial();

/* Unset bits everywhere: NaN as a number of any width, -1 as an integer. */
enum { POISON = 0xff };

/* Static shared memory: poisoned when a block touches it first. */
template <class T, size_t N> struct shared_array {
    alignas(16) T data[N];
    uint64_t serial = 0;
    T *get()
    {
        if (serial != block_serial()) {
            serial = block_serial();
            memset(static_cast<void *>(data), POISON, sizeof data);
        }
        return data;
    }
};

/* Asynchronous copies of the running thread: they arrive when their group is waited for, not
 * earlier. */
void copy_async(void *to, const void *from, size_t bytes);
void copy_async_zero(void *to, size_t bytes);
void copy_async_commit();
void copy_async_wait(unsigned groups_left);

template <class T> struct shuffle_args {
    T value, result;
    int from;
};

template <class T> void shuffle_all(void *const *args)
{
    for (int lane = 0; lane < WARP; lane++) {
        auto *a = static_cast<shuffle_args<T> *>(args[lane]);
        a->result = static_cast<shuffle_args<T> *>(args[a->from & 31])->value;
    }
}

int lane();

template <class T> T shuffle(unsigned mask, T value, int from);
[[noreturn]] void die(const char *what);

template <class T> T shuffle(unsigned mask, T value, int from)
{
    if (mask != ~0u)
        die("a warp operation with a mask that is not full");
    shuffle_args<T> a = { value, value, from };
    warp_collective(shuffle_all<T>, &a);
    return a.result;
}

} // namespace emu

#endif
