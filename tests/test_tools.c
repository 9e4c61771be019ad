/*
 * What AddressSanitizer, LeakSanitizer and ThreadSanitizer are told. Their functions are stood in for by a model of what they
 * demand, which notes the first thing that is not so; whether the real ones are content, the suites under them show.
 */
#include "told.h"

#include <pthread.h>

#include <osier/test.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* ---- The model ------------------------------------------------------------------------------------------ */

enum { MOST = 1024, SWITCHES = 1 << 14 };

/* A stack that AddressSanitizer keeps a fake one for, from when it is first left until it is left for good. */
static struct fake {
    bool live;
} fakes[SWITCHES];

static struct {
    const char *wrong; /* the first thing */
    /* AddressSanitizer */
    bool leaving;
    const char *low; /* of where it goes; NULL: that is not known */
    size_t size;
    int fakes, left_for_good, switches;
    /* LeakSanitizer */
    const char *regions[MOST];
    int region_count, most_regions;
    /* ThreadSanitizer */
    char fibers[MOST], *current;
    int fiber_count, made, most_fibers;
} model;

static char first_fiber; /* the one that a thread has from the start */

static bool keeps_no_fakes; /* as without detect_stack_use_after_return */

static void wrong(const char *what)
{
    if (!model.wrong)
        model.wrong = what;
}

static int begin_model(void **state)
{
    memset(&model, 0, sizeof(model));
    memset(fakes, 0, sizeof(fakes));
    model.current = &first_fiber;
    return begin_test(state);
}

/* Nothing was wrong, and all that was said to be there has been said to be gone. */
static void assert_content(void)
{
    if (model.wrong)
        fail_msg("%s", model.wrong);
    assert_false(model.leaving);
    assert_int_equal(model.region_count, 0);
    assert_int_equal(model.fiber_count, 0);
    assert_ptr_equal(model.current, &first_fiber);
    assert_true(model.switches > 0);
}

void __sanitizer_start_switch_fiber(void **fake, const void *low, size_t size);
void __sanitizer_finish_switch_fiber(void *fake, const void **low, size_t *size);
void __asan_unpoison_memory_region(void const volatile *low, size_t size);
void __lsan_register_root_region(const void *low, size_t size);
void __lsan_unregister_root_region(const void *low, size_t size);
void *__tsan_create_fiber(unsigned flags);
void *__tsan_get_current_fiber(void);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);

void __sanitizer_start_switch_fiber(void **fake, const void *low, size_t size)
{
    if (model.leaving)
        wrong("a stack is left twice");
    model.leaving = true;
    model.low = low;
    model.size = size;
    model.switches++;
    model.left_for_good += !fake;
    if (fake)
        *fake = NULL;
    if (fake && !keeps_no_fakes && model.fakes < SWITCHES) {
        fakes[model.fakes].live = true;
        *fake = &fakes[model.fakes++];
    }
}

void __sanitizer_finish_switch_fiber(void *fake, const void **low, size_t *size)
{
    char here;

    (void)low, (void)size;
    if (!model.leaving)
        wrong("a stack is entered that nobody went to");
    model.leaving = false;
    if (model.low && (&here < model.low || &here >= model.low + model.size))
        wrong("another stack is entered than was said");
    if (fake && !((struct fake *)fake)->live)
        wrong("a stack is entered with what belongs to another time");
    if (fake)
        ((struct fake *)fake)->live = false;
}

void __asan_unpoison_memory_region(void const volatile *low, size_t size)
{
    if (!low || size == 0)
        wrong("nothing is made usable");
}

void __lsan_register_root_region(const void *low, size_t size)
{
    if (size == 0 || model.region_count == MOST)
        wrong("a region that is none");
    else
        model.regions[model.region_count++] = low;
    if (model.region_count > model.most_regions)
        model.most_regions = model.region_count;
}

void __lsan_unregister_root_region(const void *low, size_t size)
{
    int i;

    (void)size;
    for (i = 0; i < model.region_count && model.regions[i] != low; i++)
        continue;
    if (i == model.region_count)
        wrong("a region goes that was not there");
    else
        model.regions[i] = model.regions[--model.region_count];
}

void *__tsan_create_fiber(unsigned flags)
{
    char *fiber = &model.fibers[model.made++ % MOST];

    (void)flags;
    *fiber = 1;
    model.fiber_count++;
    if (model.fiber_count > model.most_fibers)
        model.most_fibers = model.fiber_count;
    return fiber;
}

void *__tsan_get_current_fiber(void)
{
    return model.current;
}

void __tsan_destroy_fiber(void *fiber)
{
    if (fiber == model.current)
        wrong("the fiber goes that runs");
    if (!*(char *)fiber)
        wrong("a fiber goes twice");
    *(char *)fiber = 0;
    model.fiber_count--;
}

void __tsan_switch_to_fiber(void *fiber, unsigned flags)
{
    (void)flags;
    if (fiber != &first_fiber && !*(char *)fiber)
        wrong("a fiber runs that is gone");
    model.current = fiber;
}

/* What a sanitizer calls before it ends the process. */
static void (*on_death)(void);

void __sanitizer_set_death_callback(void (*callback)(void));

void __sanitizer_set_death_callback(void (*callback)(void))
{
    on_death = callback;
}

/* What the C library says of a thread's own stack; where it does not, that is left open. */
static bool hides_attributes, hides_stack;

int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
    (void)thread;
    return hides_attributes ? ENOMEM : pthread_attr_init(attributes);
}

int pthread_attr_getstack(const pthread_attr_t *attributes, void **low, size_t *size)
{
    char here;

    (void)attributes;
    if (hides_stack)
        return EINVAL;
    *size = 1 << 16;
    *low = (void *)((uintptr_t)&here - *size / 2);
    return 0;
}

/* ---- Stories -------------------------------------------------------------------------------------------- */

OSR_TASK(yields, void, unused)
{
    int i, rc = 0;

    for (i = 0; i < 5 && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

OSR_TASK(spawns, void, unused)
{
    struct osr_group group;
    int round, i, rc = 0;

    for (round = 0; round < 2 && rc == 0; round++) { /* the second time on the same stacks */
        osr_group_open(&group);
        for (i = 0; i < 3 && rc == 0; i++)
            rc = osr_spawn(&group, yields, NULL, .eager = i == 1);
        rc = osr_group_close(&group, rc);
    }
    return rc;
}

TEST(every_switch_is_told_and_every_stack_is_given_back)
{
    assert_int_equal(run_simulated(spawns, NULL), 0);
    assert_content();
    assert_int_equal(model.made, 4); /* three tasks, and the root */
    assert_int_equal(model.most_regions, 4);
    assert_int_equal(model.left_for_good, 4); /* each fake stack goes with its own */
    assert_true(model.switches > 2 * 3 * 5);
    assert_int_equal(run_simulated(spawns, NULL), 0); /* another run begins as the first */
    assert_content();
}

TEST(where_no_fake_stacks_are_kept_none_is_left_for_good)
{
    keeps_no_fakes = true;
    assert_int_equal(run_simulated(spawns, NULL), 0);
    keeps_no_fakes = false;
    assert_content();
    assert_int_equal(model.left_for_good, 0);
}

enum { CROWD = 200 };

OSR_TASK(sleeps, void, unused) { return osr_sleep(osr_ms(1)); }

/* So that fewer of the spare ones are idle when the loop is looked at. */
static int use_a_few(void)
{
    struct osr_group group;
    int i, rc = 0;

    osr_group_open(&group);
    for (i = 0; i < 4 && rc == 0; i++)
        rc = osr_spawn(&group, sleeps, NULL);
    return osr_group_close(&group, rc);
}

OSR_TASK(comes_and_goes, void, unused)
{
    struct osr_group group;
    int round, i, rc = 0;

    for (round = 0; round < 2 && rc == 0; round++) {
        osr_group_open(&group);
        for (i = 0; i < CROWD && rc == 0; i++)
            rc = osr_spawn(&group, yields, NULL);
        rc = osr_group_close(&group, rc);
        if (rc == 0 && round == 0)
            rc = osr_sleep(osr_ms(2200));
        if (rc == 0 && round == 0)
            rc = use_a_few();
        check(round == 1 || (model.fiber_count < CROWD && model.region_count == model.fiber_count));
    }
    return rc;
}

TEST(stacks_that_are_idle_for_long_are_given_back_before_the_end)
{
    assert_int_equal(osr_run(comes_and_goes, NULL, .spare_stacks = 8), 0);
    assert_checked();
    assert_content();
    assert_true(model.most_fibers > CROWD);
    assert_true(model.made > model.most_fibers); /* those that came back are new ones to it */
}

static void *run_on_a_thread(void *rc)
{
    *(int *)rc = run_simulated(spawns, NULL);
    return NULL;
}

static int run_where_the_stack_is_hidden(void)
{
    pthread_t thread;
    int rc = -1;

    assert_int_equal(pthread_create(&thread, NULL, run_on_a_thread, &rc), 0);
    pthread_join(thread, NULL);
    return rc;
}

TEST(a_thread_whose_stack_is_not_known_runs_all_the_same)
{
    hides_attributes = true;
    assert_int_equal(run_where_the_stack_is_hidden(), 0);
    assert_content();
    hides_attributes = false;
    hides_stack = true;
    assert_int_equal(run_where_the_stack_is_hidden(), 0);
    assert_content();
    hides_stack = false;
    assert_int_equal(run_where_the_stack_is_hidden(), 0);
    assert_content();
}

OSR_TASK(is_stopped_by_a_sanitizer, void, unused)
{
    int rc = osr_sleep(osr_ms(1));

    if (rc < 0) {
        on_death();
        on_death();
    }
    return 0;
}

TEST(a_play_that_a_sanitizer_ends_is_told_once)
{
    static int nothing;
    const struct osr_test test = OSR_TEST("stopped", is_stopped_by_a_sanitizer, &nothing, .tell = note, .quiet = true);
    const char *at;

    told[0] = '\0';
    assert_int_equal(osr_test_sweep(&test), 0); /* a real one does not come back */
    at = strstr(told, "again: OSR_REPLAY='osr1:stopped:C1=2;"); /* of the third run, which is not played again */
    assert_non_null(at);
    assert_null(strstr(at + 1, "again: OSR_REPLAY='osr1:stopped:C1=2;"));
    assert_non_null(strstr(told, "\"stopped\": the program is stopped\n  a sanitizer stops the program; what it has found"));
    told[0] = '\0';
    on_death(); /* outside plays there is nothing to tell */
    assert_string_equal(told, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_switch_is_told_and_every_stack_is_given_back, begin_model),
        cmocka_unit_test_setup(where_no_fake_stacks_are_kept_none_is_left_for_good, begin_model),
        cmocka_unit_test_setup(stacks_that_are_idle_for_long_are_given_back_before_the_end, begin_model),
        cmocka_unit_test_setup(a_thread_whose_stack_is_not_known_runs_all_the_same, begin_model),
        cmocka_unit_test_setup(a_play_that_a_sanitizer_ends_is_told_once, begin_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
