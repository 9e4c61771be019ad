/*
 * What the sanitizers and valgrind must be told about stacks and switches. They are found when the program runs,
 * through weak symbols, so that a program built with a sanitizer is seen through also by a library that was not.
 */
#ifndef OSIER_BASE_TOOLS_H
#define OSIER_BASE_TOOLS_H

#include <stdbool.h>
#include <stddef.h>

enum tools { TOOL_ASAN = 1, TOOL_LSAN = 2, TOOL_TSAN = 4 };

/* Those that are in this process. */
unsigned osri_tools(void);

/* AddressSanitizer: around a switch; `fake` keeps the fake stack of the one that leaves. */
void osri_asan_leave(void **fake, const void *low, size_t size);
void osri_asan_enter(void *fake);
void osri_asan_unpoison(const void *low, size_t size);

/* LeakSanitizer: a stack that may hold the only pointers to live memory. */
void osri_lsan_add(const void *low, size_t size);
void osri_lsan_drop(const void *low, size_t size);

/* ThreadSanitizer: its own notion of a fiber. */
void *osri_tsan_new(void);
void *osri_tsan_current(void);
/* Inlined, because a function that switches must be left on the fiber that entered it. */
void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));
static inline __attribute__((always_inline)) void osri_tsan_switch(void *fiber)
{
    __tsan_switch_to_fiber(fiber, 0);
}
void osri_tsan_free(void *fiber);
/* What the thread has done comes before what follows in whoever takes the same thing over: for what goes from thread to thread
 * by atomic steps, which are not seen in a library that was not built for it. */
void osri_tsan_hand_over(void *thing);
void osri_tsan_take_over(void *thing);

/* Valgrind: costs a few instructions outside it. */
bool osri_valgrind_runs(void);
unsigned osri_valgrind_add(const void *low, const void *high);
void osri_valgrind_drop(unsigned id);
/* Memory of a stack that the one before has left is written to from elsewhere. */
void osri_valgrind_open(void *low, size_t size);

#endif
