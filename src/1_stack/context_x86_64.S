/* The context switch of x86-64 (System V). It ends in an indirect jump: a `ret` to another stack's caller is
   mispredicted every time. */
#if defined(__x86_64__) && !defined(OSR_CONTEXT_UCONTEXT)

        .text

        .globl  osri_context_switch
        .hidden osri_context_switch
        .type   osri_context_switch, @function
        .p2align 4
osri_context_switch:                    /* (void **from: rdi, void *to: rsi) */
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset r15, 0
        movq    %rsp, (%rdi)
        movq    %rsi, %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register rip, rcx
        jmp     *%rcx
        .cfi_endproc
        .size   osri_context_switch, . - osri_context_switch

        .globl  osri_context_start
        .hidden osri_context_start
        .type   osri_context_start, @function
        .p2align 4
osri_context_start:                     /* entry: rbx, its argument: r12 */
        .cfi_startproc
        .cfi_undefined rip              /* the outermost frame: backtraces end here */
        movq    %r12, %rdi
        call    *%rbx
        ud2
        .cfi_endproc
        .size   osri_context_start, . - osri_context_start

#endif
        .section .note.GNU-stack, "", @progbits
