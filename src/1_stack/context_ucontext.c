/* The context switch for all other machines, on POSIX's ucontext. It makes system calls for the signal mask, and
 * costs about a hundred times the switches of our own. */
#if defined(OSR_CONTEXT_UCONTEXT) || !(defined(__x86_64__) || defined(__aarch64__))

#include "1_stack/context.h"

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* Lies at the top of the stack of a new context; a running one's is in the frame that switches. */
struct made {
    ucontext_t context;
    void (*entry)(void *context);
    struct context *self;
};

static void start(unsigned high, unsigned low)
{
    struct made *made = (struct made *)(((uintptr_t)high << 16 << 16) | low);

    made->entry(made->self);
    __builtin_trap();
}

void osri_context_make(struct context *context, char *low, char *high, void (*entry)(void *context))
{
    uintptr_t top = ((uintptr_t)high - sizeof(struct made)) & ~(uintptr_t)63;
    struct made *made = (struct made *)top;

    getcontext(&made->context);
    made->entry = entry;
    made->self = context;
    made->context.uc_stack.ss_sp = low;
    made->context.uc_stack.ss_size = top - (uintptr_t)low;
    made->context.uc_link = NULL;
    makecontext(&made->context, (void (*)(void))start, 2, (unsigned)((uint64_t)top >> 32), (unsigned)top);
    context->left = &made->context;
}

void osri_context_switch(struct context *from, struct context *to)
{
    ucontext_t here;

    from->left = &here;
    swapcontext(&here, to->left);
}

_Noreturn void osri_context_leave(struct context *to)
{
    setcontext(to->left);
    __builtin_unreachable();
}

#endif
