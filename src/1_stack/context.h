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

/* Where a context was left. Nothing of it is on the stack, so whoever goes on need not wait for that. */
struct context {
    uint64_t stack, frame, next;
};

/* The frames that it goes on with, for whoever wants to fetch them ahead. */
static inline const char *osri_context_frames(const struct context *context)
{
    return (const char *)(uintptr_t)context->stack;
}

/* Where a backtrace ends: the first function of a context seems to have been called from here. */
void osri_context_end(void);

/* The first code that a new context runs: finds the entry in the place of the frame pointer, and calls it. */
void osri_context_start(void);

/*
 * Prepares a context that, when it is first switched to, calls entry(context) on the stack that ends at `high`
 * (aligned to 16) and begins at `low`. `entry` never returns. The stack itself is not touched yet.
 */
static inline void osri_context_make(struct context *context, char *low, char *high, void (*entry)(void *context))
{
    (void)low;
    context->stack = (uint64_t)(uintptr_t)high;
    context->frame = (uint64_t)(uintptr_t)entry;
    context->next = (uint64_t)(uintptr_t)osri_context_start;
}

#if defined(__x86_64__)

#ifdef __AVX512F__
#define OSRI_MORE_REGISTERS                                                                                       \
    "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27",   \
        "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7",
#else
#define OSRI_MORE_REGISTERS
#endif

/* Saves the running context in `from`, and goes on with `to`. */
static inline __attribute__((always_inline)) void osri_context_switch(struct context *from, struct context *to)
{
    __asm__ volatile("leaq 1f(%%rip), %%rax\n\t"
                     "movq %%rsp, (%%rsi)\n\t"
                     "movq %%rbp, 8(%%rsi)\n\t"
                     "movq %%rax, 16(%%rsi)\n\t"
                     "movq (%%rdi), %%rsp\n\t"
                     "movq 8(%%rdi), %%rbp\n\t"
                     "jmpq *16(%%rdi)\n"
                     "1:"
                     : "+D"(to), "+S"(from)
                     :
                     : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0",
                       "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15", OSRI_MORE_REGISTERS "cc", "memory");
}

/* Goes on with `to`, and saves nothing: the running context is left for good. */
_Noreturn static inline __attribute__((always_inline)) void osri_context_leave(struct context *to)
{
    __asm__ volatile("movq (%%rdi), %%rsp\n\t"
                     "movq 8(%%rdi), %%rbp\n\t"
                     "jmpq *16(%%rdi)"
                     :
                     : "D"(to)
                     : "memory");
    __builtin_unreachable();
}

#else

/* Under branch protection (-mbranch-protection=bti) a jump may only arrive where it is said that one may. */
#ifdef __ARM_FEATURE_BTI_DEFAULT
#define OSRI_LANDING "\thint #36\n" /* bti j */
#else
#define OSRI_LANDING ""
#endif

static inline __attribute__((always_inline)) void osri_context_switch(struct context *from, struct context *to)
{
    register struct context *x0 __asm__("x0") = to;
    register struct context *x1 __asm__("x1") = from;

    __asm__ volatile("adr x9, 1f\n\t"
                     "mov x10, sp\n\t"
                     "stp x10, x29, [x1]\n\t"
                     "str x9, [x1, #16]\n\t"
                     "ldp x10, x29, [x0]\n\t"
                     "ldr x9, [x0, #16]\n\t"
                     "mov sp, x10\n\t"
                     "br x9\n"
                     "1:\n" OSRI_LANDING
                     : "+r"(x0), "+r"(x1)
                     :
                     : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16",
                       "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "v0", "v1",
                       "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
                       "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", "v27", "v28", "v29",
                       "v30", "v31", "cc", "memory");
}

_Noreturn static inline __attribute__((always_inline)) void osri_context_leave(struct context *to)
{
    register struct context *x0 __asm__("x0") = to;

    __asm__ volatile("ldp x10, x29, [x0]\n\t"
                     "ldr x9, [x0, #16]\n\t"
                     "mov sp, x10\n\t"
                     "br x9"
                     :
                     : "r"(x0)
                     : "memory");
    __builtin_unreachable();
}

#endif
#else

struct context {
    void *left;          /* a ucontext_t, on the stack of the context */
    uint64_t unused_[2]; /* as large as the other, so that tasks have their lines as there */
};

static inline const char *osri_context_frames(const struct context *context)
{
    return context->left;
}

void osri_context_make(struct context *context, char *low, char *high, void (*entry)(void *context));
void osri_context_switch(struct context *from, struct context *to);
_Noreturn void osri_context_leave(struct context *to);

#endif

/*
 * Defines `int name(...)`, of up to six arguments, as a call of `int body(...)` that returns by a jump, for what is the
 * last thing that a call which waits does: switching, in `body`. The processor takes a return to go to where the latest
 * call came from, and after a switch that was the task that has left; a jump it predicts from where jumps went before.
 * Where branches are protected no jump may arrive behind a call, so there it is `body` itself.
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
#elif !defined(OSR_CONTEXT_UCONTEXT) && defined(__aarch64__) && !defined(__ARM_FEATURE_BTI_DEFAULT)
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
