/* Posts and portals: entering a run from other threads and from signal handlers. */
#include "harness.h"

#include <osier/wait.h>

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

#define run_real(...) osr_run(__VA_ARGS__, .debug = true)

static int descriptors_before;

static int begin_post_test(void **state)
{
    descriptors_before = open_descriptors();
    alarm(60);
    return begin_test(state);
}

static int end_post_test(void **state)
{
    int after = open_descriptors();

    (void)state;
    alarm(0);
    osr_error_clear();
    if (after == descriptors_before)
        return 0;
    print_error("%d descriptors before the test, %d after it\n", descriptors_before, after);
    return -1;
}

#define post_test(function) cmocka_unit_test_setup_teardown(function, begin_post_test, end_post_test)

/* A gate that a callback opens, with a count of what it was told. */
struct gate {
    struct osr_waiters waiters;
    unsigned long count;
    unsigned calls, wanted;
};

static void gate_init(struct gate *gate, unsigned wanted)
{
    osr_waiters_init(&gate->waiters);
    gate->count = gate->calls = 0;
    gate->wanted = wanted;
}

static void count_posted(void *arg, unsigned count)
{
    struct gate *gate = arg;

    gate->count += count;
    gate->calls++;
    if (gate->count >= gate->wanted)
        osr_unpark(&gate->waiters, 0);
}

static int gate_wait(struct gate *gate)
{
    struct osr_wait wait = {.call = "gate_wait"};

    return gate->count >= gate->wanted ? 0 : osr_park(&gate->waiters, &wait);
}

/* ---- Posts --------------------------------------------------------------------------------------------- */

SIMULATED_TEST(a_post_that_is_fired_several_times_is_told_once_with_the_count)
{
    struct osr_post post;
    struct gate gate;

    gate_init(&gate, 3);
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    check_int(osr_post_fire(post), 0);
    check_int(osr_post_fire(post), 0);
    check_int(osr_post_fire(post), 0);
    check_int(gate.count, 0);
    check_int(gate_wait(&gate), 0);
    check_int(gate.count, 3);
    check_int(gate.calls, 1);
    check_int(osr_post_fire(post), 0);
    check_int(osr_sleep(1), 0);
    check_int(gate.count, 4);
    check_int(osr_post_close(&post), 0);
    return 0;
}

static void *fire_after_a_while(void *arg)
{
    struct osr_post *post = arg;

    usleep(20000);
    check_int(osr_post_fire(*post), 0);
    return NULL;
}

REAL_TEST(a_fire_from_a_thread_wakes_a_loop_that_waits)
{
    struct osr_post post;
    struct gate gate;
    pthread_t thread;

    gate_init(&gate, 1);
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    check_int(pthread_create(&thread, NULL, fire_after_a_while, &post), 0);
    check_int(gate_wait(&gate), 0);
    check_int(pthread_join(thread, NULL), 0);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        post_test(a_post_that_is_fired_several_times_is_told_once_with_the_count),
        post_test(a_fire_from_a_thread_wakes_a_loop_that_waits),
    };

    return cmocka_run_group_tests_name("post", tests, NULL, NULL) != 0;
}
