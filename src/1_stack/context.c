#include "1_stack/context.h"

#if !defined(OSR_CONTEXT_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))

#include <stdint.h>
#include <string.h>

/* The first code that a new context runs, in assembly: calls the entry that the registers below name. */
void osri_context_start(void);

/* What osri_context_switch() takes off the stack, lowest address first. */
struct saved {
#if defined(__x86_64__)
    uint64_t r15, r14, r13, r12, rbx, rbp, rip;
#else
    uint64_t x19, x20, x21, x22, x23, x24, x25, x26, x27, x28, x29, x30;
    uint64_t d8_d15[8];
#endif
};

void *osri_context_make(char *low, char *high, void (*entry)(void *arg), void *arg)
{
    struct saved *saved = (struct saved *)(void *)(high - sizeof(*saved));

    (void)low;
    memset(saved, 0, sizeof(*saved));
#if defined(__x86_64__)
    saved->r12 = (uint64_t)(uintptr_t)arg;
    saved->rbx = (uint64_t)(uintptr_t)entry;
    saved->rip = (uint64_t)(uintptr_t)osri_context_start;
#else
    saved->x19 = (uint64_t)(uintptr_t)arg;
    saved->x20 = (uint64_t)(uintptr_t)entry;
    saved->x30 = (uint64_t)(uintptr_t)osri_context_start;
#endif
    return saved;
}

#endif
