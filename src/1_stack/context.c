#include "1_stack/context.h"

#if !defined(OSR_CONTEXT_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))

#include <stdint.h>

/* The first code that a new context runs: takes the rest of `struct made` off the stack and calls the entry. Backtraces
 * end here. */
void osri_context_start(void);

/* What a new context begins with, as if it had been switched away from; lowest address first. */
#if defined(__x86_64__)

struct made {
    uint64_t rip, rbp, entry, arg;
};

__asm__(".text\n"
        ".globl osri_context_start\n"
        ".hidden osri_context_start\n"
        ".type osri_context_start, @function\n"
        "osri_context_start:\n"
        "\t.cfi_startproc\n"
        "\t.cfi_undefined rip\n"
        "\tpopq %rax\n"
        "\tpopq %rdi\n"
        "\tcall *%rax\n"
        "\tud2\n"
        "\t.cfi_endproc\n"
        ".size osri_context_start, . - osri_context_start\n");

#else

struct made {
    uint64_t x29, pc, entry, arg;
};

__asm__(".text\n"
        ".globl osri_context_start\n"
        ".hidden osri_context_start\n"
        ".type osri_context_start, %function\n"
        "osri_context_start:\n"
        "\t.cfi_startproc\n"
        "\t.cfi_undefined x30\n"
        "\tldp x1, x0, [sp], #16\n"
        "\tblr x1\n"
        "\tbrk #0\n"
        "\t.cfi_endproc\n"
        ".size osri_context_start, . - osri_context_start\n");

#endif

void *osri_context_make(char *low, char *high, void (*entry)(void *arg), void *arg)
{
    struct made *made = (struct made *)(void *)(high - sizeof(*made));

    (void)low;
    *made = (struct made){
#if defined(__x86_64__)
        .rip = (uint64_t)(uintptr_t)osri_context_start,
#else
        .pc = (uint64_t)(uintptr_t)osri_context_start,
#endif
        .entry = (uint64_t)(uintptr_t)entry,
        .arg = (uint64_t)(uintptr_t)arg,
    };
    return made;
}

#endif
