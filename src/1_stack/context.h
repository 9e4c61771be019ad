/*
 * Switching between stacks.
 *
 * The switch is inlined assembly. A function of its own would leave its return address on the processor's stack of
 * predicted returns, and every return after it would be mispredicted; here a switch neither calls nor returns, and
 * the calls that wait return by a jump. It tells the compiler that all registers are lost, so that only those in use are
 * saved, and saves by itself the frame pointer and the address to go on at. The floating-point control words stay as
 * they are, for the thread as a whole: saving them would cost many times the switch.
 */
#ifndef OSIER_STACK_CONTEXT_H
#define OSIER_STACK_CONTEXT_H

#include <stdint.h>

#if !defined(OSR_CONTEXT_UCONTEXT) && (defined(__x86_64__) || defined(__aarch64__))

/* What a new context begins with, as if it had been switched away from; lowest address first. */
struct context_made {
#if defined(__x86_64__)
    uint64_t next, frame;
#else
    uint64_t frame, next;
#endif
    uint64_t entry, arg;
};

/* The first code that a new context runs: takes entry and argument off the stack, and calls. Backtraces end here. */
void osri_context_start(void);

/*
 * Prepares a context that, when it is first switched to, calls entry(arg) on the stack that ends at `high`
 * (aligned to 16) and begins at `low`. `entry` never returns. Gives what osri_context_switch() takes.
 */
static inline void *osri_context_make(char *low, char *high, void (*entry)(void *arg), void *arg)
{
    struct context_made *made = (struct context_made *)(void *)(high - sizeof(*made));

    (void)low;
    made->next = (uint64_t)(uintptr_t)osri_context_start;
    made->frame = 0;
    made->entry = (uint64_t)(uintptr_t)entry;
    made->arg = (uint64_t)(uintptr_t)arg;
    return made;
}

#else

void *osri_context_make(char *low, char *high, void (*entry)(void *arg), void *arg);

#endif

/* Saves the running context in `*from`, and goes on with `to`. */
#if !defined(OSR_CONTEXT_UCONTEXT) && defined(__x86_64__)

#ifdef __AVX512F__
#define OSRI_MORE_REGISTERS                                                                                       \
    "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",   \
        "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#else
#define OSRI_MORE_REGISTERS
#endif

static inline __attribute__((always_inline)) void osri_context_switch(void **from, void *to)
{
    __asm__ volatile("subq $128, %%rsp\n\t" /* past what a function may keep below its stack pointer */
                     "pushq %%rbp\n\t"
                     "leaq 1f(%%rip), %%rax\n\t"
                     "pushq %%rax\n\t"
                     "movq %%rsp, (%%rdi)\n\t"
                     "movq %%rsi, %%rsp\n\t"
                     "popq %%rax\n\t"
                     "popq %%rbp\n\t"
                     "jmpq *%%rax\n"
                     "1:\n\t"
                     "addq $128, %%rsp"
                     : "+D"(from), "+S"(to)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15", OSRI_MORE_REGISTERS "cc", "memory");
}

#elif !defined(OSR_CONTEXT_UCONTEXT) && defined(__aarch64__)

static inline __attribute__((always_inline)) void osri_context_switch(void **from, void *to)
{
    register void **x0 __asm__("x0") = from;
    register void *x1 __asm__("x1") = to;

    __asm__ volatile("adr x9, 1f\n\t"
                     "stp x29, x9, [sp, #-16]!\n\t"
                     "mov x10, sp\n\t"
                     "str x10, [x0]\n\t"
                     "mov sp, x1\n\t"
                     "ldp x29, x9, [sp], #16\n\t"
                     "br x9\n"
                     "1:"
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
                       "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1",
                       "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
                       "v30", "v31", "cc", "memory");
}

#else

void osri_context_switch(void **from, void *to);

#endif

/*
 * Defines `int name(...)`, of up to six arguments, as a call of `int body(...)` that returns by a jump, for what is the
 * last thing that a call which waits does: switching, in `body`. The processor takes a return to go to where the latest
 * call came from, and after a switch that was the task that has left; a jump it predicts from where jumps went before.
 */
#if !defined(OSR_CONTEXT_UCONTEXT) && defined(__x86_64__)
#define OSRI_RETURN_BY_JUMP(name, body)                                                                               \
    __asm__(".text\n"                                                                                                 \
            ".p2align 4\n"                                                                                            \
            ".globl " #name "\n"                                                                                      \
            ".hidden " #name "\n"                                                                                     \
            ".type " #name ", @function\n"                                                                            \
            #name ":\n"                                                                                               \
            "\t.cfi_startproc\n"                                                                                      \
            "\tsubq $8, %rsp\n" /* calls are aligned */                                                               \
            "\t.cfi_adjust_cfa_offset 8\n"                                                                            \
            "\tcall " #body "\n"                                                                                      \
            "\taddq $8, %rsp\n"                                                                                       \
            "\t.cfi_adjust_cfa_offset -8\n"                                                                           \
            "\tpopq %rcx\n"                                                                                           \
            "\t.cfi_adjust_cfa_offset -8\n"                                                                           \
            "\t.cfi_register rip, rcx\n"                                                                              \
            "\tjmpq *%rcx\n"                                                                                          \
            "\t.cfi_endproc\n"                                                                                        \
            ".size " #name ", . - " #name "\n")
#elif !defined(OSR_CONTEXT_UCONTEXT) && defined(__aarch64__)
#define OSRI_RETURN_BY_JUMP(name, body)                                                                               \
    __asm__(".text\n"                                                                                                 \
            ".p2align 4\n"                                                                                            \
            ".globl " #name "\n"                                                                                      \
            ".hidden " #name "\n"                                                                                     \
            ".type " #name ", %function\n"                                                                            \
            #name ":\n"                                                                                               \
            "\t.cfi_startproc\n"                                                                                      \
            "\tstp x29, x30, [sp, #-16]!\n"                                                                           \
            "\t.cfi_adjust_cfa_offset 16\n"                                                                           \
            "\t.cfi_rel_offset x29, 0\n"                                                                              \
            "\t.cfi_rel_offset x30, 8\n"                                                                              \
            "\tbl " #body "\n"                                                                                        \
            "\tldp x29, x16, [sp], #16\n"                                                                             \
            "\t.cfi_adjust_cfa_offset -16\n"                                                                          \
            "\t.cfi_restore x29\n"                                                                                    \
            "\t.cfi_register x30, x16\n"                                                                              \
            "\tbr x16\n"                                                                                              \
            "\t.cfi_endproc\n"                                                                                        \
            ".size " #name ", . - " #name "\n")
#else
#define OSRI_RETURN_BY_JUMP(name, body) \
    __asm__(".globl " #name "\n.hidden " #name "\n.set " #name ", " #body "\n")
#endif

#endif
