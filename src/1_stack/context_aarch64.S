/* The context switch of aarch64 (AAPCS64): x19 to x30 and the low halves of v8 to v15 belong to the callee. */
#if defined(__aarch64__) && !defined(OSR_CONTEXT_UCONTEXT)

        .text

        .globl  osri_context_switch
        .hidden osri_context_switch
        .type   osri_context_switch, %function
        .p2align 4
osri_context_switch:                    /* (void **from: x0, void *to: x1) */
        .cfi_startproc
        sub     sp, sp, #160
        .cfi_adjust_cfa_offset 160
        stp     x19, x20, [sp, #0]
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        .cfi_rel_offset x29, 80
        .cfi_rel_offset x30, 88
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        mov     x9, sp
        str     x9, [x0]
        mov     sp, x1
        ldp     x19, x20, [sp, #0]
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        .cfi_restore x29
        .cfi_restore x30
        add     sp, sp, #160
        .cfi_adjust_cfa_offset -160
        br      x30
        .cfi_endproc
        .size   osri_context_switch, . - osri_context_switch

        .globl  osri_context_start
        .hidden osri_context_start
        .type   osri_context_start, %function
        .p2align 4
osri_context_start:                     /* entry: x20, its argument: x19 */
        .cfi_startproc
        .cfi_undefined x30              /* the outermost frame: backtraces end here */
        mov     x0, x19
        blr     x20
        brk     #0
        .cfi_endproc
        .size   osri_context_start, . - osri_context_start

#endif
        .section .note.GNU-stack, "", %progbits
