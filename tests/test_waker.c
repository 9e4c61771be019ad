/* How the loop waits, and is told by other threads: on a futex if it watches nothing else, else by libev. And in which order
 * it tells of what is ready. */
#include "harness.h"

#include <fcntl.h>
#include <osier/attach.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static int polled; /* how often libev has asked the system */

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    polled++;
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, timeout, NULL, 8);
}

OSR_JOB(nothing, void, unused) { return 0; }

struct bell {
    struct osr_post post;
    struct osr_event heard;
};

static void hear(void *arg, unsigned times)
{
    struct bell *bell = arg;

    (void)times;
    osr_event_set(&bell->heard);
}

static void open_bell(struct bell *bell)
{
    osr_event_init(&bell->heard);
    check_int(osr_post_open(&bell->post, hear, bell), 0);
    check_int(osr_sleep(osr_ms(1)), 0); /* the loop has heard what may have come before */
}

/* Waits until it has been heard once; not for ever, if that is never told. */
static int await(struct bell *bell)
{
    struct osr_scope limit;
    int rc;

    osr_timeout_open(&limit, osr_s(20));
    rc = osr_scope_close(&limit, osr_event_wait(&bell->heard));
    osr_event_clear(&bell->heard);
    return rc;
}

static void *fire_after_a_moment(void *arg)
{
    struct bell *bell = arg;

    usleep(2000);
    (void)osr_post_fire(bell->post);
    return NULL;
}

static void hear_a_thread(struct bell *bell)
{
    pthread_t thread;

    check_int(pthread_create(&thread, NULL, fire_after_a_moment, bell), 0);
    check_int(await(bell), 0);
    check_int(pthread_join(thread, NULL), 0);
}

/* A task that waits for a descriptor for as long as the group is open. */
OSR_TASK(read_for_ever, int, fd)
{
    char byte;

    return osr_read(*fd, &byte, 1);
}

static void watch_something(struct osr_group *group, int ends[2])
{
    check_int(pipe2(ends, O_NONBLOCK), 0);
    osr_group_open(group);
    check_int(osr_spawn(group, read_for_ever, &ends[0]), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
}

static void watch_nothing(struct osr_group *group, int ends[2])
{
    osr_group_cancel(group, NULL);
    check_int(osr_group_close(group, 0), 0);
    check_int(osr_fd_close(ends[0]), 0);
    check_int(osr_fd_close(ends[1]), 0);
}

/* ---- Nothing else is watched ---- */

REAL_TEST(who_waits_for_other_threads_alone_asks_the_system_about_no_descriptors)
{
    struct bell bell;
    int i;

    open_bell(&bell);
    check_int(osr_offload(nothing, NULL), 0);
    polled = 0;
    for (i = 0; i < 10; i++) {
        hear_a_thread(&bell);
        check_int(osr_offload(nothing, NULL), 0);
        check_int(osr_sleep(osr_ms(1)), 0);
    }
    check(polled == 0 || under_thread_sanitizer()); /* which would keep signals back */
    return osr_post_close(&bell.post);
}

REAL_TEST(a_deadline_is_kept_there_too)
{
    struct bell bell;
    int64_t begun, took;

    open_bell(&bell);
    begun = osr_now();
    check_int(osr_sleep(osr_ms(20)), 0);
    took = osr_now() - begun;
    check(took >= osr_ms(20));
    check(took < osr_ms(sized(150, 2000)));
    return osr_post_close(&bell.post);
}

/* ---- Something else is ---- */

REAL_TEST(beside_a_descriptor_others_are_heard_and_the_loop_comes_to_rest)
{
    struct osr_group group;
    struct bell bell;
    int ends[2], i;

    open_bell(&bell);
    watch_something(&group, ends);
    for (i = 0; i < 10; i++) {
        check_int(osr_post_fire(bell.post), 0); /* while it does not wait */
        check_int(await(&bell), 0);
        hear_a_thread(&bell);
    }
    polled = 0;
    check_int(osr_sleep(osr_ms(20)), 0);
    check(polled < 10);
    watch_nothing(&group, ends);
    return osr_post_close(&bell.post);
}

/* ---- In which order ---- */

enum { READERS = 5 };

struct reader {
    int ends[2];
    char name;
};

OSR_TASK(read_and_tell, struct reader, reader)
{
    char byte;

    check_int(osr_read(reader->ends[0], &byte, 1), 1);
    tell("%c", reader->name);
    return osr_fd_close(reader->ends[0]);
}

REAL_TEST(make_some_ready)
{
    static const int order[READERS] = {3, 0, 4, 1, 2};
    struct reader readers[READERS];
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < READERS; i++) {
        readers[i].name = (char)('a' + i);
        check_int(pipe2(readers[i].ends, O_NONBLOCK), 0);
        check_int(osr_spawn(&group, read_and_tell, &readers[i]), 0);
    }
    check_int(osr_sleep(osr_ms(1)), 0); /* all are watched */
    for (i = 0; i < READERS; i++)
        check_int(write(readers[order[i]].ends[1], "x", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < READERS; i++)
        check_int(close(readers[i].ends[1]), 0);
    return 0;
}

static void those_who_are_ready_run_in_the_order_in_which_they_became_so(void **state)
{
    make_some_ready(state);
    assert_story("d\na\ne\nb\nc\n");
}

/* ---- Many at any moment ---- */

enum { SHOTS = 20000, FEW_SHOTS = 1000 };

struct gun {
    struct bell *bell;
    atomic_int ready; /* to fire again */
    int shots;
};

static void *fire_when_ready(void *arg)
{
    struct gun *gun = arg;
    int i;
    volatile int pause;

    for (i = 0; i < gun->shots; i++) {
        while (!atomic_exchange(&gun->ready, 0))
            sched_yield();
        for (pause = i % 512; pause > 0; pause--) /* at other moments of its falling asleep */
            continue;
        (void)osr_post_fire(gun->bell->post);
    }
    return NULL;
}

static void hear_each(struct bell *bell)
{
    struct gun gun = {bell, 0, (int)sized(SHOTS, FEW_SHOTS)};
    pthread_t thread;
    int i, rc = 0;

    check_int(pthread_create(&thread, NULL, fire_when_ready, &gun), 0);
    for (i = 0; i < gun.shots && rc == 0; i++) {
        atomic_store(&gun.ready, 1);
        rc = await(bell);
    }
    check_int(rc, 0);
    check_int(pthread_join(thread, NULL), 0);
}

REAL_TEST(whoever_comes_while_the_loop_falls_asleep_is_heard)
{
    struct osr_group group;
    struct bell bell;
    int ends[2];

    open_bell(&bell);
    hear_each(&bell);
    watch_something(&group, ends);
    hear_each(&bell);
    watch_nothing(&group, ends);
    return osr_post_close(&bell.post);
}

/* ---- The loop of a runner ---- */

static struct osr_runner *runner;

OSR_TASK(fire_and_share, bool, fire_first)
{
    struct bell bell;

    open_bell(&bell);
    check_int(osr_post_fire(bell.post), 0);
    check_int(await(&bell), 0);
    if (*fire_first)
        check_int(osr_post_fire(bell.post), 0);
    check(osr_runner_loop(runner) != NULL);
    if (*fire_first)
        check_int(await(&bell), 0);
    hear_a_thread(&bell);
    polled = 0;
    check_int(osr_sleep(osr_ms(20)), 0);
    check(polled < 10);
    return osr_post_close(&bell.post);
}

TEST(what_came_before_a_loop_was_shared_is_heard_and_what_comes_then)
{
    static bool fire_first[] = {true, false};
    int i;

    for (i = 0; i < 2; i++) {
        assert_int_equal(osr_runner_new(&runner), 0);
        assert_int_equal(osr_runner_run(runner, fire_and_share, &fire_first[i]), 0);
        assert_int_equal(osr_runner_free(runner), 0);
    }
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(who_waits_for_other_threads_alone_asks_the_system_about_no_descriptors),
        story_test(a_deadline_is_kept_there_too),
        story_test(beside_a_descriptor_others_are_heard_and_the_loop_comes_to_rest),
        story_test(those_who_are_ready_run_in_the_order_in_which_they_became_so),
        story_test(whoever_comes_while_the_loop_falls_asleep_is_heard),
        story_test(what_came_before_a_loop_was_shared_is_heard_and_what_comes_then),
    };

    return cmocka_run_group_tests_name("waker", tests, NULL, NULL) != 0;
}
