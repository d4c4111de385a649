/* scheduler.cc - runs the blocks of a launch: fibers, barriers, warp operations, shared memory. */
#include "launch.h"

#include "fiber.h"

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <vector>

namespace emu
{

thread_local place *here;

enum state { READY, AT_BLOCK, AT_WARP, DONE };

struct pending_copy {
    void *to;
    const void *from; /* NULL: zeros */
    size_t bytes;
};

struct cuda_thread {
    fiber *run;
    place at;
    state is;
    unsigned index;
    bool waited; /* for the grid before this one */
    warp_fn *fn;
    void *arg;
    std::vector<pending_copy> open;                /* not committed */
    std::vector<std::vector<pending_copy>> groups; /* committed, oldest first */
};

/* One launch at a time in the whole process. */
static std::mutex lock;
static std::vector<cuda_thread *> threads;
static thread_local cuda_thread *current;
static const std::function<void()> *body;
static bool is_early; /* the grid that runs */
static char *dynamic;
static uint64_t serial;
static uint32_t order = 1;

void die(const char *what)
{
    const place *p = here;
    fprintf(stderr, "cuda_emu: %s", what);
    if (p)
        fprintf(stderr, " in block (%u,%u,%u), thread (%u,%u,%u)", p->block.x, p->block.y,
                p->block.z, p->thread.x, p->thread.y, p->thread.z);
    fprintf(stderr, "\n");
    abort();
}

static void run_body(void *)
{
    (*body)();
}

void wait_for_previous()
{
    current->waited = true;
}

static void check_waited()
{
    if (is_early && !current->waited)
        die("a kernel that may start early did not wait for the one before it");
}

void block_barrier()
{
    check_waited();
    current->is = AT_BLOCK;
    fiber_yield();
}

void warp_collective(warp_fn *fn, void *arg)
{
    check_waited();
    current->fn = fn;
    current->arg = arg;
    current->is = AT_WARP;
    fiber_yield();
}

int lane()
{
    return static_cast<int>(current->index % WARP);
}

void *dynamic_shared()
{
    return dynamic;
}

uint64_t block_serial()
{
    return serial;
}

void copy_async(void *to, const void *from, size_t bytes)
{
    if (reinterpret_cast<uintptr_t>(to) % bytes || reinterpret_cast<uintptr_t>(from) % bytes)
        die("an asynchronous copy that is not aligned to its size");
    current->open.push_back({ to, from, bytes });
}

void copy_async_zero(void *to, size_t bytes)
{
    if (reinterpret_cast<uintptr_t>(to) % bytes)
        die("an asynchronous copy that is not aligned to its size");
    current->open.push_back({ to, nullptr, bytes });
}

void copy_async_commit()
{
    current->groups.push_back(std::move(current->open));
    current->open.clear();
}

void copy_async_wait(unsigned groups_left)
{
    std::vector<std::vector<pending_copy>> &groups = current->groups;
    while (groups.size() > groups_left) {
        for (const pending_copy &c : groups.front()) {
            if (c.from)
                memcpy(c.to, c.from, c.bytes);
            else
                memset(c.to, 0, c.bytes);
        }
        groups.erase(groups.begin());
    }
}

static void resume(cuda_thread *t)
{
    current = t;
    here = &t->at;
    const bool returned = fiber_resume(t->run);
    if (returned) {
        check_waited();
        if (!t->open.empty() || !t->groups.empty())
            die("a thread ended with asynchronous copies that nobody waited for");
        t->is = DONE;
    }
    here = nullptr;
}

/* True: the warp's lanes were all there and go on. */
static bool release_warp(unsigned first)
{
    void *args[WARP];
    unsigned at = 0;
    for (unsigned i = 0; i < WARP; i++)
        at += threads[first + i]->is == AT_WARP;
    if (at < WARP)
        return false;
    here = &threads[first]->at;
    for (unsigned i = 0; i < WARP; i++) {
        if (threads[first + i]->fn != threads[first]->fn)
            die("the lanes of a warp meet in different operations");
        args[i] = threads[first + i]->arg;
    }
    threads[first]->fn(args);
    here = nullptr;
    for (unsigned i = 0; i < WARP; i++)
        threads[first + i]->is = READY;
    return true;
}

static bool release_block(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (threads[i]->is != AT_BLOCK)
            return false;
    }
    for (unsigned i = 0; i < n; i++)
        threads[i]->is = READY;
    return true;
}

/* Warp w runs as far as it can, lanes in an order of the moment. */
static bool run_warp(unsigned first)
{
    bool moved = false;
    do {
        order = order * 1664525u + 1013904223u;
        const unsigned start = order >> 27, step = (order >> 20 & 15) * 2 + 1;
        for (unsigned i = 0; i < WARP; i++) {
            cuda_thread *t = threads[first + (start + i * step) % WARP];
            if (t->is == READY) {
                resume(t);
                moved = true;
            }
        }
    } while (release_warp(first));
    return moved;
}

static void run_block(unsigned n)
{
    serial++;
    for (unsigned i = 0; i < n; i++)
        threads[i]->is = READY, threads[i]->waited = false;
    for (;;) {
        bool moved = false;
        unsigned done = 0;
        order = order * 1664525u + 1013904223u;
        const unsigned warps = n / WARP, start = order >> 16;
        const bool backwards = order >> 31;
        for (unsigned w = 0; w < warps; w++)
            moved |= run_warp((start + (backwards ? warps - w : w)) % warps * WARP);
        for (unsigned i = 0; i < n; i++)
            done += threads[i]->is == DONE;
        if (done == n)
            return;
        if (!release_block(n) && !moved) {
            here = &threads[0]->at;
            die("threads wait for others that ended or wait elsewhere");
        }
    }
}

void run_grid(dim3 grid, dim3 block, size_t shared, bool early, const std::function<void()> &fn)
{
    std::lock_guard<std::mutex> one(lock);
    const unsigned n = block.x * block.y * block.z;
    while (threads.size() < n) {
        cuda_thread *t = new cuda_thread();
        t->run = fiber_new(run_body, nullptr);
        t->index = static_cast<unsigned>(threads.size());
        threads.push_back(t);
    }
    void *memory = nullptr;
    if (posix_memalign(&memory, 1024, shared ? shared : 1) != 0)
        die("no memory for dynamic shared memory");
    dynamic = static_cast<char *>(memory);
    body = &fn;
    is_early = early;
    for (unsigned i = 0; i < n; i++) {
        threads[i]->at.thread = dim3(i % block.x, i / block.x % block.y, i / (block.x * block.y));
        threads[i]->at.block_dim = block;
        threads[i]->at.grid_dim = grid;
    }
    for (unsigned z = 0; z < grid.z; z++) {
        for (unsigned y = 0; y < grid.y; y++) {
            for (unsigned x = 0; x < grid.x; x++) {
                for (unsigned i = 0; i < n; i++)
                    threads[i]->at.block = dim3(x, y, z);
                memset(dynamic, POISON, shared);
                run_block(n);
            }
        }
    }
    free(memory);
    dynamic = nullptr;
}

/* The fibers belong to the process; given back so that leaks are the kernels' alone. */
struct cleaner {
    ~cleaner()
    {
        for (cuda_thread *t : threads) {
            fiber_free(t->run);
            delete t;
        }
        threads.clear();
    }
};
static cleaner at_exit;

} // namespace emu
