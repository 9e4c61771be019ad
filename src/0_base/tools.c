#include "0_base/tools.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_STACK_REGISTER(low, high) 0u
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#define VALGRIND_MAKE_MEM_UNDEFINED(low, size) 0
#endif

#define WEAK __attribute__((weak))

WEAK void __sanitizer_start_switch_fiber(void **fake, const void *low, size_t size);
WEAK void __sanitizer_finish_switch_fiber(void *fake, const void **low, size_t *size);
WEAK void __asan_unpoison_memory_region(void const volatile *low, size_t size);
WEAK void __lsan_register_root_region(const void *low, size_t size);
WEAK void __lsan_unregister_root_region(const void *low, size_t size);
WEAK void *__tsan_create_fiber(unsigned flags);
WEAK void *__tsan_get_current_fiber(void);
WEAK void __tsan_destroy_fiber(void *fiber);
WEAK void __tsan_release(void *thing);
WEAK void __tsan_acquire(void *thing);

unsigned osri_tools(void)
{
    return (__sanitizer_start_switch_fiber && __asan_unpoison_memory_region ? TOOL_ASAN : 0u) |
           (__lsan_register_root_region ? TOOL_LSAN : 0u) | (__tsan_switch_to_fiber ? TOOL_TSAN : 0u);
}

void osri_asan_leave(void **fake, const void *low, size_t size)
{
    __sanitizer_start_switch_fiber(fake, low, size);
}

void osri_asan_enter(void *fake)
{
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

void osri_asan_unpoison(const void *low, size_t size)
{
    __asan_unpoison_memory_region(low, size);
}

void osri_lsan_add(const void *low, size_t size)
{
    __lsan_register_root_region(low, size);
}

void osri_lsan_drop(const void *low, size_t size)
{
    __lsan_unregister_root_region(low, size);
}

void *osri_tsan_new(void)
{
    return __tsan_create_fiber(0);
}

void *osri_tsan_current(void)
{
    return __tsan_get_current_fiber();
}

void osri_tsan_free(void *fiber)
{
    __tsan_destroy_fiber(fiber);
}

void osri_tsan_hand_over(void *thing)
{
    if (__tsan_release)
        __tsan_release(thing);
}

void osri_tsan_take_over(void *thing)
{
    if (__tsan_acquire)
        __tsan_acquire(thing);
}

bool osri_valgrind_runs(void)
{
    return RUNNING_ON_VALGRIND;
}

unsigned osri_valgrind_add(const void *low, const void *high)
{
    (void)low, (void)high;
    return VALGRIND_STACK_REGISTER(low, high);
}

void osri_valgrind_drop(unsigned id)
{
    VALGRIND_STACK_DEREGISTER(id);
    (void)id;
}

void osri_valgrind_open(void *low, size_t size)
{
    (void)low, (void)size;
    (void)VALGRIND_MAKE_MEM_UNDEFINED(low, size);
}
