#include "1_stack/context.h"

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
        "\tpopq %rax\n"
        "\tpopq %rdi\n"
        "\tcall *%rax\n"
        "\tud2\n"
        "\t.cfi_endproc\n"
        ".size osri_context_start, . - osri_context_start\n");

#elif defined(__aarch64__)

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
