/* fiber.h - cooperative threads for the CUDA emulation: one per CUDA thread of a block. */
#ifndef AIRLOCK_CUDA_EMU_FIBER_H
#define AIRLOCK_CUDA_EMU_FIBER_H

#include <cstddef>

namespace emu
{

/* A fiber runs fn(arg) each time it is started.  Fibers are made, resumed and freed by one thread,
 * the scheduler; they hand control back with fiber_yield. */
struct fiber;

fiber *fiber_new(void (*fn)(void *arg), void *arg);
void fiber_free(fiber *f); /* one that is not in the middle of fn */

/* Runs f until it yields or fn returns.  True: fn has returned; the next resume starts it again. */
bool fiber_resume(fiber *f);
/* Inside a fiber: back to fiber_resume. */
void fiber_yield();

} // namespace emu

#endif
