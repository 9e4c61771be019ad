/* Offloading: jobs in threads, their races with cancellation, the pool. */
#include "harness.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

#define run_real(...) osr_run(__VA_ARGS__, .debug = true)

static int descriptors_before;

static int begin_thread_test(void **state)
{
    descriptors_before = open_descriptors();
    alarm(60);
    return begin_test(state);
}

static int end_thread_test(void **state)
{
    int after = open_descriptors();

    (void)state;
    alarm(0);
    osr_error_clear();
    assert_int_equal(osr_pool_set_size(4), 0);
    if (after == descriptors_before)
        return 0;
    print_error("%d descriptors before the test, %d after it\n", descriptors_before, after);
    return -1;
}

#define thread_test(function) cmocka_unit_test_setup_teardown(function, begin_thread_test, end_thread_test)

/* ---- Running ------------------------------------------------------------------------------------------- */

struct seen {
    pthread_t thread;
    char name[32];
    bool usr1_blocked;
};

OSR_JOB(look_around, struct seen, seen)
{
    sigset_t blocked;

    seen->thread = pthread_self();
    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    seen->usr1_blocked = sigismember(&blocked, SIGUSR1) == 1;
    return 7;
}

REAL_TEST(a_job_runs_in_a_thread_of_the_pool_and_gives_its_result)
{
    struct seen seen = {0};

    check_int(osr_offload(look_around, &seen), 7);
    check(!pthread_equal(seen.thread, pthread_self()));
    check_text(seen.name, "osier-pool");
    check(seen.usr1_blocked);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        thread_test(a_job_runs_in_a_thread_of_the_pool_and_gives_its_result),
    };

    return cmocka_run_group_tests_name("thread", tests, NULL, NULL) != 0;
}
