/*
 * fiber.cc - switches stacks: a dozen instructions on x86-64, ucontext elsewhere; tells the
 * sanitizers.
 */
#include "fiber.h"

#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN 1
#elif __has_feature(thread_sanitizer)
#define EMU_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define EMU_TSAN 1
#endif
#if defined(EMU_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(EMU_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace emu
{

enum { STACK = 256 * 1024, GUARD = 4096 };

struct fiber {
    void (*fn)(void *arg);
    void *arg;
    char *stack; /* GUARD bytes without access, then STACK */
    bool returned;
#if defined(__x86_64__)
    void *sp, *caller_sp;
#else
    ucontext_t ctx, caller;
#endif
    void *fake, *caller_fake; /* AddressSanitizer's own */
    const void *caller_stack;
    size_t caller_size;
    void *tsan, *caller_tsan;
};

static thread_local fiber *running;

#if defined(__x86_64__)
/* Saves what a call preserves on the stack and changes it: *from = old stack pointer. */
extern "C" void emu_switch_stack(void **from, void *to);
__asm__(".text\n"
        ".type emu_switch_stack,@function\n"
        "emu_switch_stack:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size emu_switch_stack, .-emu_switch_stack\n");
#endif

static void announce_entry(fiber *f)
{
#if defined(EMU_ASAN)
    __sanitizer_finish_switch_fiber(f->fake, &f->caller_stack, &f->caller_size);
#else
    (void)f;
#endif
}

static void yield_from(fiber *f)
{
#if defined(EMU_ASAN)
    __sanitizer_start_switch_fiber(&f->fake, f->caller_stack, f->caller_size);
#endif
#if defined(EMU_TSAN)
    __tsan_switch_to_fiber(f->caller_tsan, 0);
#endif
#if defined(__x86_64__)
    emu_switch_stack(&f->sp, f->caller_sp);
#else
    swapcontext(&f->ctx, &f->caller);
#endif
    announce_entry(f);
}

void fiber_yield()
{
    yield_from(running);
}

/* Launches may come from different host threads, and this frame outlives a launch: it must not read
 * `running` twice. */
static void loop()
{
    fiber *const f = running;
    announce_entry(f);
    for (;;) {
        f->fn(f->arg);
        f->returned = true;
        yield_from(f);
    }
}

bool fiber_resume(fiber *f)
{
    fiber *outer = running;
    running = f;
    f->returned = false;
#if defined(EMU_ASAN)
    __sanitizer_start_switch_fiber(&f->caller_fake, f->stack + GUARD, STACK);
#endif
#if defined(EMU_TSAN)
    f->caller_tsan = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f->tsan, 0);
#endif
#if defined(__x86_64__)
    emu_switch_stack(&f->caller_sp, f->sp);
#else
    swapcontext(&f->caller, &f->ctx);
#endif
#if defined(EMU_ASAN)
    __sanitizer_finish_switch_fiber(f->caller_fake, nullptr, nullptr);
#endif
    running = outer;
    return f->returned;
}

fiber *fiber_new(void (*fn)(void *arg), void *arg)
{
    fiber *f = static_cast<fiber *>(calloc(1, sizeof *f));
    void *stack = mmap(nullptr, GUARD + STACK, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (!f || stack == MAP_FAILED || mprotect(stack, GUARD, PROT_NONE) != 0) {
        fprintf(stderr, "cuda_emu: no memory for the stack of a thread\n");
        abort();
    }
    f->fn = fn;
    f->arg = arg;
    f->stack = static_cast<char *>(stack);
#if defined(EMU_TSAN)
    f->tsan = __tsan_create_fiber(0);
#endif
#if defined(__x86_64__)
    /* As if loop() had been called from address 0, which lies at a multiple of 16 plus 8. */
    void **top = reinterpret_cast<void **>(f->stack + GUARD + STACK) - 1;
    *--top = reinterpret_cast<void *>(loop);
    for (int i = 0; i < 6; i++)
        *--top = nullptr;
    f->sp = top;
#else
    getcontext(&f->ctx);
    f->ctx.uc_stack.ss_sp = f->stack + GUARD;
    f->ctx.uc_stack.ss_size = STACK;
    f->ctx.uc_link = nullptr;
    makecontext(&f->ctx, loop, 0);
#endif
    return f;
}

void fiber_free(fiber *f)
{
    if (!f)
        return;
#if defined(EMU_TSAN)
    __tsan_destroy_fiber(f->tsan);
#endif
    munmap(f->stack, GUARD + STACK);
    free(f);
}

} // namespace emu
