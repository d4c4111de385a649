/* launch.h - the one entry of the emulation's scheduler: run a function as a grid of threads. */
#ifndef AIRLOCK_CUDA_EMU_LAUNCH_H
#define AIRLOCK_CUDA_EMU_LAUNCH_H

#include "cuda_emu.h"

#include <functional>

namespace emu
{

/* Runs fn once per thread.  Threads of a block are a multiple of 32.  Launches of several host
 * threads come one after the other.  early: a GPU might start it while the grid before it still
 * runs, so each thread must wait_for_previous() before it does anything with others, or ends. */
void run_grid(dim3 grid, dim3 block, size_t shared, bool early, const std::function<void()> &fn);

} // namespace emu

#endif
