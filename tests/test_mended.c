/* Faults that this library once had, each as a test of what must happen instead. */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Descriptors that the system refuses to watch ------------------------------------------------------ */

static int refusals; /* how many epoll_ctl(ADD) fail next */
static int watched, polled; /* how often the system was told what to watch, and asked */

/* In the place of the C library's, for libev. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    watched++;
    if (refusals > 0 && operation == EPOLL_CTL_ADD) {
        refusals--;
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout)
{
    polled++;
    return (int)syscall(SYS_epoll_pwait, epoll, events, most, timeout, NULL, 8);
}

OSR_TASK(read_what_cannot_be_watched, void, unused)
{
    int ends[2];
    char byte;

    check_int(pipe2(ends, O_NONBLOCK), 0);
    refusals = 1;
    check_int(osr_read(ends[0], &byte, 1), -ENOMEM);
    check_int(osr_write(ends[1], "x", 1), 1);
    check_int(osr_read(ends[0], &byte, 1), 1);
    check_int(osr_fd_close(ends[0]), 0);
    return osr_fd_close(ends[1]);
}

static void who_waits_for_what_the_system_cannot_watch_is_told(void **state)
{
    (void)state;
    assert_int_equal(osr_run(read_what_cannot_be_watched, NULL, .debug = true), 0);
    assert_checked();
}

OSR_JOB(give_seven, void, unused) { return 7; }

OSR_TASK(offload_unwatched, void, unused)
{
    refusals = 3;
    return osr_offload(give_seven, NULL);
}

static void where_the_inbox_cannot_be_watched_the_loop_tries_again(void **state)
{
    (void)state;
    assert_int_equal(osr_run(offload_unwatched, NULL), 7);
    assert_true(refusals < 3); /* how often it looked until the job was done */
    refusals = 0;
}

struct ends {
    int of[2];
};

OSR_TASK(write_to_an_end, struct ends, ends)
{
    check_int(osr_yield(), 0);
    check_int(osr_write(ends->of[1], "x", 1), 1);
    return 0;
}

OSR_TASK(read_until_cut, struct ends, ends)
{
    char byte;

    check_int(osr_read(ends->of[0], &byte, 1), -ECANCELED);
    return -ECANCELED;
}

OSR_TASK(wait_again_for_what_could_not_be_watched, void, unused)
{
    struct osr_group group;
    struct ends ends;
    char byte;

    check_int(pipe2(ends.of, O_NONBLOCK), 0);
    refusals = 1;
    osr_group_open(&group);
    osr_spawn(&group, read_until_cut, &ends);
    check_int(osr_yield(), 0);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_sleep(osr_ms(1)), 0); /* the loop tries to watch it for nobody */
    check_int(refusals, 0);
    osr_group_open(&group);
    osr_spawn(&group, write_to_an_end, &ends);
    check_int(osr_read(ends.of[0], &byte, 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_fd_close(ends.of[0]), 0);
    return osr_fd_close(ends.of[1]);
}

static void who_was_cut_leaves_no_refusal_to_the_next(void **state)
{
    (void)state;
    assert_int_equal(osr_run(wait_again_for_what_could_not_be_watched, NULL, .debug = true), 0);
    assert_checked();
}

OSR_TASK(read_an_end, struct ends, ends)
{
    char byte;

    check_int(osr_read(ends->of[0], &byte, 1), -EBADF);
    return 0;
}

OSR_TASK(close_behind_a_reader, void, unused)
{
    struct osr_group group;
    struct ends ends;

    check_int(pipe2(ends.of, O_NONBLOCK), 0);
    osr_group_open(&group);
    osr_spawn(&group, read_an_end, &ends);
    osr_yield();
    close(ends.of[0]);
    check_int(osr_group_close(&group, 0), 0);
    close(ends.of[1]);
    return 0;
}

static void a_raw_close_before_the_loop_looks_does_not_abort(void **state)
{
    (void)state;
    assert_int_equal(osr_run(close_behind_a_reader, NULL), 0);
    assert_checked();
}

static int own_epoll(void)
{
    char path[64], target[64];
    ssize_t n;
    int fd;

    for (fd = 0; fd < 1000; fd++) {
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        if (strstr(target, "eventpoll"))
            return fd;
    }
    return -1;
}

OSR_TASK(use_epoll_descriptors, void, unused)
{
    struct epoll_event event = {.events = EPOLLIN};
    int own = own_epoll(), other = epoll_create1(0), mark = eventfd(1, 0);

    check(own >= 0 && other >= 0 && mark >= 0);
    check_int(osr_fd_readable(own), -EBADF);
    check_int(osr_fd_close(own), -EBADF);
    check_int(epoll_ctl(other, EPOLL_CTL_ADD, mark, &event), 0);
    check_int(osr_fd_readable(other), 0);
    check_int(osr_fd_close(other), 0);
    check_int(osr_fd_close(mark), 0);
    return osr_sleep(osr_ms(1));
}

static void only_the_runs_own_epoll_descriptor_is_out_of_reach(void **state)
{
    (void)state;
    assert_int_equal(osr_run(use_epoll_descriptors, NULL), 0);
    assert_checked();
}

/* Until the loop can tell its own descriptor, none of that kind is let near it. */
OSR_TASK(use_one_while_the_loop_cannot_be_marked, void, unused)
{
    struct epoll_event event = {.events = EPOLLIN};
    int other = epoll_create1(0), mark = eventfd(1, 0);

    check_int(epoll_ctl(other, EPOLL_CTL_ADD, mark, &event), 0);
    refusals = 1;
    check_int(osr_fd_readable(other), -EBADF);
    check_int(refusals, 0);
    check_int(osr_fd_readable(other), 0);
    check_int(osr_fd_close(other), 0);
    return osr_fd_close(mark);
}

static void a_loop_that_could_not_be_marked_is_marked_later(void **state)
{
    (void)state;
    assert_int_equal(osr_run(use_one_while_the_loop_cannot_be_marked, NULL), 0);
    assert_checked();
}

OSR_TASK(close_an_epoll_descriptor_without_any_left, void, unused)
{
    static int taken[1 << 16];
    int other = epoll_create1(0), own = own_epoll(), count = 0;

    while (count < 1 << 16 && (taken[count] = dup(other)) >= 0)
        count++;
    check_int(errno, EMFILE);
    check_int(osr_fd_close(own), -EBADF);
    check_int(osr_fd_close(other), 0);
    check_int(fcntl(other, F_GETFD), -1);
    while (count > 0)
        check_int(osr_fd_close(taken[--count]), 0);
    return osr_sleep(osr_ms(1));
}

static void close_epoll_descriptors_without_any_left(void)
{
    struct rlimit limit;

    check_int(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = 200;
    check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
    check_int(osr_run(close_an_epoll_descriptor_without_any_left, NULL), 0);
}

static void an_epoll_descriptor_can_be_closed_when_there_are_no_more(void **state)
{
    (void)state;
    if (under_tools())
        skip(); /* valgrind keeps descriptors in store for itself */
    assert_child_succeeds(close_epoll_descriptors_without_any_left);
}

OSR_TASK(use_wrong_ends, void, unused)
{
    int ends[2];
    char byte;

    check_int(pipe(ends), 0);
    check_int(osr_read(ends[1], &byte, 1), -EBADF);
    check_int(osr_write(ends[0], "x", 1), -EBADF);
    check_int(osr_write(ends[1], "x", 1), 1);
    check_int(osr_read(ends[0], &byte, 1), 1);
    check_int(osr_fd_close(ends[0]), 0);
    return osr_fd_close(ends[1]);
}

static void a_descriptor_that_is_not_open_for_it_is_a_bad_one(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(use_wrong_ends, NULL), 0);
    assert_checked();
}

OSR_TASK(first_reader, struct ends, ends)
{
    char byte;

    check_int(osr_read(ends->of[0], &byte, 1), 1);
    return 0;
}

OSR_TASK(second_reader, struct ends, ends)
{
    char byte;

    check_int(osr_read(ends->of[0], &byte, 1), -EBUSY);
    return 0;
}

/* The entry check of a passed deadline looks at the world: the first reader is woken, and has not run yet. */
OSR_TASK(read_between_wake_and_step, void, unused)
{
    struct osr_group group;
    struct osr_scope late;
    struct ends ends;

    check_int(pipe2(ends.of, O_NONBLOCK), 0);
    osr_group_open(&group);
    osr_spawn(&group, first_reader, &ends);
    osr_yield();
    check_int(osr_write(ends.of[1], "x", 1), 1);
    osr_move_on_open(&late, 0);
    check_int(osr_scope_close(&late, osr_check()), 0);
    osr_spawn(&group, second_reader, &ends, .eager = true);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_fd_close(ends.of[0]), 0);
    return osr_fd_close(ends.of[1]);
}

static void a_reader_that_was_woken_keeps_its_place(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(read_between_wake_and_step, NULL), 0);
    assert_checked();
}

/* ---- Cancellations beside what a guard left ------------------------------------------------------------ */

OSR_TASK(fail_soon, void, unused)
{
    (void)osr_sleep(1);
    return osr_fail(-EIO, "boom");
}

static void leave_an_error_pending(void)
{
    OSR_GUARD_GROUP(guarded);

    osr_spawn(&guarded, fail_soon, NULL);
    (void)osr_sleep(1);
    (void)osr_sleep(1);
}

OSR_TASK(cut_beside_pending_errors, void, unused)
{
    struct osr_scope limit;
    struct osr_group group;
    int rc;

    osr_timeout_open(&limit, osr_s(1));
    leave_an_error_pending();
    check_int(osr_scope_close(&limit, osr_sleep(osr_s(100))), -OSR_EGROUP);
    check(osr_scope_caught(&limit));
    osr_move_on_open(&limit, osr_s(1));
    osr_group_open(&group);
    leave_an_error_pending();
    rc = osr_group_close(&group, osr_sleep(osr_s(100)));
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    check_int(osr_scope_close(&limit, rc), -OSR_EGROUP);
    check(osr_scope_caught(&limit));
    return 0;
}

static void a_cancellation_beside_a_pending_error_is_taken_up(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(cut_beside_pending_errors, NULL), 0);
    assert_checked();
}

static int take_and_raise(int rc)
{
    struct osr_error *error = osr_error_take();

    (void)rc;
    return osr_raise(error);
}

static int retain_and_raise(int rc)
{
    struct osr_error *error = osr_error_retain(osr_error_last());

    (void)rc;
    check_int(osr_scope_close(NULL, 0), -EINVAL); /* of the others, while it looks at it, one fails */
    return osr_raise(error);
}

/* Some errors are dealt with, and the others passed on. */
static int split_and_raise(int rc)
{
    struct osr_error *rest;
    int code = -EPROTO;

    (void)rc;
    check_int(osr_error_split(osr_error_last(), osr_error_has_code, &code, NULL, &rest), 0);
    return osr_raise(rest);
}

/* The same inside a shield. */
static int take_and_raise_shielded(int rc)
{
    struct osr_scope shield;

    osr_shield_open(&shield, osr_s(1));
    return osr_scope_close(&shield, take_and_raise(rc));
}

/* One task fails while another is cut by the limit outside; the body looks at the error and passes it on. */
OSR_TASK(fail_when_cut, void, unused)
{
    int rc = osr_sleep(osr_s(100));

    return rc == -ECANCELED ? osr_fail(-EIO, "clean-up failed") : rc;
}

OSR_TASK(sleep_until_cut, void, unused)
{
    return osr_sleep(osr_s(100));
}

static void look_at_errors_with(int (*raise_in)(int rc))
{
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, fail_when_cut, NULL);
    osr_spawn(&group, sleep_until_cut, NULL);
    check_int(osr_scope_close(&limit, raise_in(osr_group_close(&group, 0))), -OSR_EGROUP);
    check(osr_scope_caught(&limit));
}

OSR_TASK(look_at_errors, void, unused)
{
    look_at_errors_with(take_and_raise);
    look_at_errors_with(retain_and_raise);
    look_at_errors_with(split_and_raise);
    look_at_errors_with(take_and_raise_shielded);
    return 0;
}

static void a_cancellation_rides_on_beside_an_error_that_was_looked_at_and_raised(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(look_at_errors, NULL), 0);
    assert_checked();
}

/* The scope that had cut is closed: what it took up does not come back with the error. */
OSR_TASK(raise_when_all_is_over, void, unused)
{
    struct osr_error *error;
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, fail_when_cut, NULL);
    osr_spawn(&group, sleep_until_cut, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    error = osr_error_take();
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    osr_group_open(&group);
    check_int(osr_group_close(&group, osr_raise(error)), -OSR_EGROUP);
    check_int(osr_error_cancelled(osr_error_last()), 0);
    check(!osr_scope_caught(&group.scope));
    return 0;
}

OSR_TASK(raise_when_its_own_is_over, void, unused)
{
    struct osr_error *error;
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, fail_when_cut, NULL);
    osr_spawn(&group, sleep_until_cut, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    error = osr_error_take();
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    return osr_raise(error);
}

/* What is cancelled outside of another task's shield has not reached the task. */
OSR_TASK(raise_behind_the_shield_of_another, void, unused)
{
    struct osr_scope outer, shield;
    struct osr_group group;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    osr_spawn(&group, raise_when_its_own_is_over, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_cancelled(osr_error_last()), 0);
    osr_error_clear();
    check_int(osr_scope_close(&shield, 0), 0);
    return osr_scope_close(&outer, 0);
}

static void a_cancellation_that_was_taken_up_does_not_come_back_with_an_error(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(raise_when_all_is_over, NULL), 0);
    assert_int_equal(run_simulated(raise_behind_the_shield_of_another, NULL), 0);
    assert_checked();
}

/* The grace cuts; then the shield is lifted. The scope outside, cancelled all the while, has cut nothing. */
OSR_TASK(lift_after_the_grace, void, unused)
{
    struct osr_scope outer, shield;

    osr_scope_open(&outer);
    osr_scope_cancel(&outer, NULL);
    osr_shield_open(&shield, osr_ms(1));
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    check_int(osr_scope_unshield(&shield), 0);
    check_int(osr_scope_close(&shield, osr_fail(-EIO, "its own")), -EIO);
    check_int(osr_scope_close(&outer, 0), 0);
    return 0;
}

static void what_a_shield_hid_was_not_cut_from_outside(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(lift_after_the_grace, NULL), 0);
    assert_checked();
}

/* ---- Codes without memory ------------------------------------------------------------------------------ */

OSR_TASK(be_interrupted_without_memory, void, unused)
{
    hoard_errors();
    check_int(osr_fail_fatal(-EINTR, "interrupted"), -EINTR);
    release_hoard();
    return 0;
}

OSR_TASK(deadlock_without_memory, void, unused)
{
    hoard_errors();
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    release_hoard();
    return -ECANCELED;
}

static void fatal_errors_and_deadlocks_keep_their_codes_without_memory(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(be_interrupted_without_memory, NULL, .allocator = &counting_allocator), -EINTR);
    assert_int_equal(run_simulated(deadlock_without_memory, NULL, .allocator = &counting_allocator), -OSR_EDEADLOCK);
    osr_error_clear();
    assert_int_equal(counting.live, 0);
    assert_checked();
}

/* ---- The rest ------------------------------------------------------------------------------------------ */

static char asked[8192];

static unsigned note_questions(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)kind, (void)n;
    strncat(asked, what, sizeof(asked) - strlen(asked) - 2);
    strcat(asked, " ");
    return 0;
}

OSR_TASK(ask_for_a_handle, void, unused)
{
    check(osr_self().id_ != 0);
    return 0;
}

static void a_run_asks_the_door_the_same_whatever_ran_before(void **state)
{
    char first[sizeof(asked)];

    (void)state;
    asked[0] = '\0';
    run_simulated(ask_for_a_handle, NULL, .choose = note_questions);
    memcpy(first, asked, sizeof(first));
    asked[0] = '\0';
    run_simulated(ask_for_a_handle, NULL, .choose = note_questions);
    assert_string_equal(asked, first);
    assert_checked();
}

static int runaways;

static void count_runaways(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)text;
    runaways += kind == OSR_DIAGNOSIS_RUNAWAY;
}

OSR_TASK(time_out_often, void, unused)
{
    struct osr_scope limit;
    int i;

    for (i = 0; i < 20000; i++) {
        osr_move_on_open(&limit, 0);
        osr_scope_close(&limit, osr_check());
    }
    return 0;
}

static void many_timeouts_each_taken_up_are_no_runaway(void **state)
{
    (void)state;
    runaways = 0;
    assert_int_equal(osr_run(time_out_often, NULL, .clock = OSR_CLOCK_SIMULATED, .diagnose = count_runaways), 0);
    assert_int_equal(runaways, 0);
}

static struct sigaction ours;

static void call_ours(int number, siginfo_t *info, void *context)
{
    ours.sa_sigaction(number, info, context);
}

OSR_TASK(put_a_handler_before_ours, void, unused)
{
    struct sigaction action = {.sa_sigaction = call_ours, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    return sigaction(SIGSEGV, &action, &ours);
}

static volatile int *volatile nowhere;

OSR_TASK(touch_nothing, void, unused)
{
    *nowhere = 1;
    return 0;
}

static void crash_with_chained_handlers(void)
{
    signal(SIGSEGV, SIG_DFL);
    osr_run(put_a_handler_before_ours, NULL);
    osr_run(touch_nothing, NULL);
}

static void handlers_that_call_each_other_come_to_an_end(void **state)
{
    (void)state;
    if (under_tools())
        skip();
    assert_dies(crash_with_chained_handlers, SIGSEGV, "");
}

OSR_TASK(open_far_away, void, unused)
{
    struct osr_scope scope;
    char text[1024];

    (void)osr_sleep(1);
    osr_timeout_open_at(&scope, -OSR_NEVER);
    osr_tree_format(text, sizeof(text));
    check(strstr(text, "overdue") != NULL);
    osr_scope_close(&scope, 0);
    return 0;
}

static void a_deadline_in_the_deep_past_is_overdue(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(open_far_away, NULL), 0);
    assert_checked();
}

OSR_TASK(print_to_nowhere, void, unused)
{
    osr_fail(-EIO, "old");
    return osr_tree_print(NULL);
}

static void a_print_that_fails_takes_the_slot(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(print_to_nowhere, NULL), -EINVAL);
    assert_null(osr_error_cause(osr_error_last()));
    osr_error_clear();
}

/* ---- What comes too late ------------------------------------------------------------------------------- */

static void told_of_it(void *arg, unsigned count)
{
    (void)arg;
    tell("told %u times", count);
}

OSR_TASK(look_at_the_world_and_end, void, unused)
{
    struct osr_scope scope;
    struct osr_post post;

    check_int(osr_post_open(&post, told_of_it, NULL), 0);
    check_int(osr_post_fire(post), 0);
    osr_move_on_open(&scope, 0);
    check_int(osr_check(), -ECANCELED); /* it looks, and finds that the post was fired */
    return osr_scope_close(&scope, 0);  /* and the root ends before anybody could be told */
}

static void a_run_ends_though_a_post_is_still_to_be_told(void **state)
{
    (void)state;
    assert_int_equal(osr_run(look_at_the_world_and_end, NULL, .debug = true), 0);
    assert_int_equal(run_simulated(look_at_the_world_and_end, NULL), 0);
    assert_checked();
    assert_story("");
}

/* ---- Functions of the program's that call back --------------------------------------------------------- */

static struct osr_queue disposed;

static void destroy_meanwhile(void *item)
{
    tell("%d: %d", *(int *)item, osr_queue_destroy(&disposed));
}

static void fill(int items)
{
    int i;

    check_int(osr_queue_init(&disposed, sizeof(int), 4, .dispose = destroy_meanwhile), 0);
    for (i = 1; i <= items; i++)
        check_int(osr_queue_try_put(&disposed, &i), 0);
}

OSR_TASK(destroy_while_disposing, void, unused)
{
    fill(2);
    check_int(osr_queue_destroy(&disposed), 0);
    fill(1);
    check_int(osr_queue_shutdown(&disposed, true), 0);
    return osr_queue_destroy(&disposed);
}

static void a_queue_that_disposes_of_its_items_is_not_destroyed_meanwhile(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(destroy_while_disposing, NULL), 0);
    assert_checked();
    assert_story("1: -16\n2: -16\n1: -16\n");
}

/* ---- Forks while other threads have runs --------------------------------------------------------------- */

static atomic_bool enough_runs;

OSR_TASK(have_a_handle, void, unused) { return osr_self().id_ ? 0 : -ENOMEM; }

static void *run_again_and_again(void *unused)
{
    while (!atomic_load(&enough_runs))
        (void)osr_run(have_a_handle, NULL, .clock = OSR_CLOCK_SIMULATED);
    return unused;
}

/* Whether a forked child can have a run. */
static bool child_runs(void)
{
    pid_t child = fork();
    int status = -1;

    if (child == 0) {
        alarm(5);
        leave_child(osr_run(have_a_handle, NULL, .clock = OSR_CLOCK_SIMULATED) != 0);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

static void a_child_that_is_forked_while_other_threads_begin_and_end_runs_can_have_one(void **state)
{
    pthread_t threads[3];
    int i;
    bool fine = true;

    (void)state;
    if (under_tools())
        skip();
    atomic_store(&enough_runs, false);
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_again_and_again, NULL), 0);
    for (i = 0; i < 300 && fine; i++)
        fine = child_runs();
    atomic_store(&enough_runs, true);
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_true(fine);
}

/* ---- Many that are ready at once ----------------------------------------------------------------------- */

enum { READERS = 600, ROUNDS = 5 }; /* more than there are steps between two looks */

struct reader {
    int ends[2];
    bool looks; /* has the loop look when it has read */
};

static int have_a_look(void)
{
    struct osr_scope limit;

    osr_move_on_open(&limit, 0);
    return osr_scope_close(&limit, osr_yield());
}

OSR_TASK(read_rounds, struct reader, reader)
{
    char byte;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        check_int(osr_read(reader->ends[0], &byte, 1), 1);
        if (reader->looks)
            check_int(have_a_look(), 0);
    }
    return 0;
}

struct crowd {
    struct reader readers[READERS];
    int count;
    bool looks;
    int watched, polled; /* after the first round */
};

static void write_rounds(struct crowd *crowd)
{
    int round, i;

    for (round = 0; round < ROUNDS; round++) {
        for (i = 0; i < crowd->count; i++)
            check_int(write(crowd->readers[i].ends[1], "x", 1), 1);
        check_int(osr_sleep(osr_ms(20)), 0);
        if (round == 0)
            watched = polled = 0;
    }
    crowd->watched = watched;
    crowd->polled = polled;
}

OSR_TASK(serve_crowd, struct crowd, crowd)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < crowd->count; i++) {
        crowd->readers[i].looks = crowd->looks;
        check_int(socketpair(AF_UNIX, SOCK_STREAM, 0, crowd->readers[i].ends), 0);
        check_int(osr_spawn(&group, read_rounds, &crowd->readers[i]), 0);
    }
    check_int(osr_yield(), 0);
    write_rounds(crowd);
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < crowd->count; i++) {
        check_int(osr_fd_close(crowd->readers[i].ends[0]), 0);
        check_int(close(crowd->readers[i].ends[1]), 0);
    }
    return 0;
}

static void a_reader_that_was_woken_stays_watched_when_the_loop_looks_before_it_runs(void **state)
{
    static struct crowd crowd = {.count = 10, .looks = true};

    (void)state;
    assert_int_equal(osr_run(serve_crowd, &crowd), 0);
    assert_checked();
    assert_int_equal(crowd.watched, 0);
}

static void all_that_are_ready_have_their_turn_before_the_loop_looks_again(void **state)
{
    static struct crowd crowd = {.count = READERS};

    (void)state;
    assert_int_equal(osr_run(serve_crowd, &crowd), 0);
    assert_checked();
    assert_int_equal(crowd.watched, 0);
    assert_in_range(crowd.polled, ROUNDS - 1, 3 * (ROUNDS - 1)); /* for the readers, the sleeper, and for those to come */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(who_waits_for_what_the_system_cannot_watch_is_told),
        story_test(who_was_cut_leaves_no_refusal_to_the_next),
        story_test(where_the_inbox_cannot_be_watched_the_loop_tries_again),
        story_test(a_raw_close_before_the_loop_looks_does_not_abort),
        story_test(only_the_runs_own_epoll_descriptor_is_out_of_reach),
        story_test(a_loop_that_could_not_be_marked_is_marked_later),
        story_test(an_epoll_descriptor_can_be_closed_when_there_are_no_more),
        story_test(a_descriptor_that_is_not_open_for_it_is_a_bad_one),
        story_test(a_reader_that_was_woken_keeps_its_place),
        story_test(a_cancellation_beside_a_pending_error_is_taken_up),
        story_test(a_cancellation_rides_on_beside_an_error_that_was_looked_at_and_raised),
        story_test(a_cancellation_that_was_taken_up_does_not_come_back_with_an_error),
        story_test(what_a_shield_hid_was_not_cut_from_outside),
        story_test(fatal_errors_and_deadlocks_keep_their_codes_without_memory),
        story_test(a_run_asks_the_door_the_same_whatever_ran_before),
        story_test(many_timeouts_each_taken_up_are_no_runaway),
        story_test(handlers_that_call_each_other_come_to_an_end),
        story_test(a_deadline_in_the_deep_past_is_overdue),
        story_test(a_print_that_fails_takes_the_slot),
        story_test(a_run_ends_though_a_post_is_still_to_be_told),
        story_test(a_queue_that_disposes_of_its_items_is_not_destroyed_meanwhile),
        story_test(a_reader_that_was_woken_stays_watched_when_the_loop_looks_before_it_runs),
        story_test(all_that_are_ready_have_their_turn_before_the_loop_looks_again),
        story_test(a_child_that_is_forked_while_other_threads_begin_and_end_runs_can_have_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
