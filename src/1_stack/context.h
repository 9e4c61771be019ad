/*
 * Switching between stacks. The callee-saved registers go onto the stack that is left; the floating-point control
 * words stay as they are, for the thread as a whole: saving them would cost many times the switch.
 */
#ifndef OSIER_STACK_CONTEXT_H
#define OSIER_STACK_CONTEXT_H

/*
 * Prepares a context that, when it is first switched to, calls entry(arg) on the stack that ends at `high`
 * (aligned to 16) and begins at `low`. `entry` never returns. Gives what osri_context_switch() takes.
 */
void *osri_context_make(char *low, char *high, void (*entry)(void *arg), void *arg);

/* Saves the running context in `*from`, and goes on with `to`. */
void osri_context_switch(void **from, void *to);

#endif
