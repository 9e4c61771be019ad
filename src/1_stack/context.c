#include "1_stack/context.h"

/* The entry of a new context is entered by a jump, and what it would return to is in its place all the same: it never
 * returns, and a call would leave the processor with one return more to expect than ever comes, so that those of other
 * contexts would be mispredicted. */
#if defined(OSR_CONTEXT_UCONTEXT)
/* nothing: see context_ucontext.c */
#elif defined(__x86_64__)

__asm__(".text\n"
        ".globl osri_context_start\n"
        ".hidden osri_context_start\n"
        ".type osri_context_start, @function\n"
        "osri_context_start:\n"
        "\t.cfi_startproc\n"
        "\t.cfi_undefined rip\n"
        "\tleaq osri_context_end+1(%rip), %rax\n" /* as if behind a call */
        "\tpushq %rax\n"
        "\tmovq %rbp, %rax\n"
        "\txorl %ebp, %ebp\n"
        "\tjmpq *%rax\n"
        "\t.cfi_endproc\n"
        ".size osri_context_start, . - osri_context_start\n"
        ".globl osri_context_end\n"
        ".hidden osri_context_end\n"
        ".type osri_context_end, @function\n"
        "osri_context_end:\n"
        "\t.cfi_startproc\n"
        "\t.cfi_undefined rip\n"
        "\tnop\n"
        "\tud2\n"
        "\t.cfi_endproc\n"
        ".size osri_context_end, . - osri_context_end\n");

#elif defined(__aarch64__)

__asm__(".text\n"
        ".globl osri_context_start\n"
        ".hidden osri_context_start\n"
        ".type osri_context_start, %function\n"
        "osri_context_start:\n" OSRI_LANDING
        "\tmov x16, x29\n" /* by way of which a jump may also arrive where calls do */
        "\tmov x29, #0\n"
        "\tadr x30, osri_context_end + 4\n"
        "\tbr x16\n"
        ".size osri_context_start, . - osri_context_start\n"
        ".globl osri_context_end\n"
        ".hidden osri_context_end\n"
        ".type osri_context_end, %function\n"
        "osri_context_end:\n"
        "\t.cfi_startproc\n"
        "\t.cfi_undefined x30\n"
        "\tnop\n"
        "\tbrk #0\n"
        "\t.cfi_endproc\n"
        ".size osri_context_end, . - osri_context_end\n");

#endif
