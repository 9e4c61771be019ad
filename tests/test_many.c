/* Many descriptors that are ready at once: they are told in batches, and nobody can tell but by who runs before whom. */
#include "harness.h"

#include <ev.h>
#include <fcntl.h>
#include <osier/attach.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <osier/attach.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

enum { BATCH = 128, MANY = 400 };

/* They stand for one and the same counter, so one write makes them all ready. */
static struct crowd {
    struct osr_group group;
    int size, bell, fds[MANY], gave[MANY];
    int quiet[2];
    unsigned told;
    int64_t due;
    void (*first)(void); /* is called by whoever is told first */
} crowd;

static void open_crowd_of(int size)
{
    int i;

    crowd = (struct crowd){.size = size, .bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    for (i = 0; i < size; i++)
        check((crowd.fds[i] = fcntl(crowd.bell, F_DUPFD_CLOEXEC, 3)) >= 0);
    check_int(pipe(crowd.quiet), 0);
}

static void open_crowd(void)
{
    open_crowd_of(MANY);
}

static void close_crowd(void)
{
    int i;

    for (i = 0; i < crowd.size; i++)
        check_int(osr_fd_close(crowd.fds[i]), 0);
    check_int(osr_fd_close(crowd.bell), 0);
    check_int(osr_fd_close(crowd.quiet[0]), 0);
    check_int(osr_fd_close(crowd.quiet[1]), 0);
}

OSR_TASK(wait_in_crowd, int, number)
{
    crowd.gave[*number] = osr_fd_readable(crowd.fds[*number]);
    if (crowd.told++ == 0 && crowd.first)
        crowd.first();
    return crowd.gave[*number];
}

static void spawn_crowd(void)
{
    int i;

    crowd.told = 0;

    osr_group_open(&crowd.group);
    for (i = 0; i < crowd.size; i++)
        check_int(osr_spawn_copy(&crowd.group, wait_in_crowd, &i), 0);
}

static void ring(void)
{
    check_int(eventfd_write(crowd.bell, 1), 0);
}

/* libev asks for few events at a time at first, and for more when there were as many. */
static void have_libev_ask_for_all(void)
{
    uint64_t count;
    int i;

    for (i = 0; i < 4; i++) {
        spawn_crowd();
        check_int(osr_sleep(osr_ms(1)), 0);
        ring();
        check_int(osr_group_close(&crowd.group, 0), 0);
        check_int(eventfd_read(crowd.bell, &count), 0);
    }
}

static unsigned how_many_got(int code)
{
    unsigned count = 0;
    int i;

    for (i = 0; i < MANY; i++)
        count += crowd.gave[i] == code;
    return count;
}

/* ---- Who is told when ---- */

OSR_TASK(wake_all, void, unused)
{
    open_crowd();
    spawn_crowd();
    check_int(osr_sleep(osr_ms(1)), 0);
    ring();
    check_int(osr_group_close(&crowd.group, 0), 0);
    check_int(crowd.told, MANY);
    check_int(how_many_got(0), MANY);
    close_crowd();
    return 0;
}

TEST(all_are_told)
{
    assert_int_equal(osr_run(wake_all, NULL), 0);
    assert_int_equal(run_simulated(wake_all, NULL), 0);
    assert_checked();
}

static void cancel_the_others(void)
{
    check_int(osr_group_cancel(&crowd.group, "one is enough"), 0);
}

/* Who has been told is past cancellation; for whoever has not, it has not happened, and what was ready stays so. */
OSR_TASK(cancel_in_the_first_batch, void, unused)
{
    uint64_t count = 0;

    open_crowd();
    have_libev_ask_for_all();
    crowd.first = cancel_the_others;
    spawn_crowd();
    check_int(osr_sleep(osr_ms(1)), 0);
    ring();
    check_int(osr_group_close(&crowd.group, 0), 0);
    check_int(how_many_got(0), BATCH);
    check_int(how_many_got(-ECANCELED), MANY - BATCH);
    check_int(osr_fd_readable(crowd.fds[MANY - 1]), 0);
    check_int(eventfd_read(crowd.bell, &count), 0);
    check_int(count, 1);
    close_crowd();
    return 0;
}

TEST(who_is_in_a_later_batch_can_still_be_cancelled)
{
    assert_int_equal(osr_run(cancel_in_the_first_batch, NULL), 0);
    assert_int_equal(run_simulated(cancel_in_the_first_batch, NULL), 0);
    assert_checked();
}

OSR_TASK(wait_until_nothing_moves, void, unused)
{
    open_crowd();
    spawn_crowd();
    check_int(osr_settle(), 0);
    ring();
    check_int(osr_settle(), 0);
    check_int(crowd.told, MANY);
    check_int(osr_group_close(&crowd.group, 0), 0);
    close_crowd();
    return 0;
}

TEST(as_long_as_some_are_left_the_run_has_not_settled)
{
    assert_int_equal(run_simulated(wait_until_nothing_moves, NULL), 0);
    assert_checked();
}

OSR_TASK(wait_behind_those_whom_nobody_waits_for, void, unused)
{
    uint64_t count;

    open_crowd();
    spawn_crowd();
    check_int(osr_settle(), 0);
    ring();
    check_int(osr_group_close(&crowd.group, 0), 0);
    check_int(eventfd_read(crowd.bell, &count), 0);
    crowd.told = 0;
    osr_group_open(&crowd.group);
    check_int(osr_spawn_copy(&crowd.group, wait_in_crowd, (&(int){MANY - 1})), 0);
    check_int(osr_settle(), 0);
    ring();
    check_int(osr_settle(), 0);
    check_int(crowd.told, 1);
    check_int(osr_group_close(&crowd.group, 0), 0);
    close_crowd();
    return 0;
}

TEST(nor_has_it_if_nobody_waits_for_those_who_are_told)
{
    assert_int_equal(run_simulated(wait_behind_those_whom_nobody_waits_for, NULL), 0);
    assert_checked();
}

/* ---- Attached ---- */

/* There libev looks in each iteration, and would find those again who have not run yet. */
static unsigned first_turn, last_turn;

OSR_TASK(note_the_turn, int, number)
{
    int rc = osr_fd_readable(crowd.fds[*number]);

    last_turn = ev_iteration(EV_DEFAULT);
    if (crowd.told++ == 0)
        first_turn = last_turn;
    return rc;
}

OSR_TASK(wake_all_attached, void, unused)
{
    int i;

    open_crowd();
    have_libev_ask_for_all();
    crowd.told = 0;
    osr_group_open(&crowd.group);
    for (i = 0; i < MANY; i++)
        check_int(osr_spawn_copy(&crowd.group, note_the_turn, &i), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    ring();
    check_int(osr_group_close(&crowd.group, 0), 0);
    check_int(crowd.told, MANY);
    check_int(last_turn, first_turn);
    close_crowd();
    return 0;
}

TEST(attached_all_are_told_in_one_turn_and_run_in_it)
{
    struct osr_attachment tasks;

    assert_int_equal(osr_attach(&tasks, EV_DEFAULT, wake_all_attached, NULL), 0);
    ev_run(EV_DEFAULT, 0);
    assert_int_equal(osr_detach(&tasks, NULL), 0);
    ev_loop_destroy(EV_DEFAULT);
    assert_checked();
}

/* ---- What is due meanwhile ---- */

static void keep_the_thread_until_it_is_due(void)
{
    while (osr_now() < crowd.due)
        continue;
}

static void bring_a_byte_and_keep_the_thread(void)
{
    check_int(write(crowd.quiet[1], "x", 1), 1);
    keep_the_thread_until_it_is_due();
}

static int read_until_due(void)
{
    struct osr_scope limit;
    char byte;

    osr_timeout_open_at(&limit, crowd.due);
    return osr_scope_close(&limit, osr_read(crowd.quiet[0], &byte, 1));
}

/* What the reader waits for comes while others are still to be told, and so does its deadline. */
OSR_TASK(read_beside_the_crowd, bool, at_first)
{
    open_crowd();
    if (!*at_first)
        have_libev_ask_for_all();
    crowd.first = bring_a_byte_and_keep_the_thread;
    spawn_crowd();
    check_int(osr_sleep(osr_ms(1)), 0);
    crowd.due = osr_time_add(osr_now(), osr_ms(200));
    ring();
    check_int(read_until_due(), 1);
    check_int(osr_group_close(&crowd.group, 0), 0);
    close_crowd();
    return 0;
}

TEST(what_is_complete_comes_before_what_is_due_while_some_are_left)
{
    assert_int_equal(osr_run(read_beside_the_crowd, &(bool){false}), 0);
    assert_checked();
}

TEST(so_it_does_when_libev_asks_for_few_at_a_time)
{
    assert_int_equal(osr_run(read_beside_the_crowd, &(bool){true}), 0);
    assert_checked();
}

OSR_TASK(read_until_due_in_a_task, void, unused)
{
    check_int(read_until_due(), 1);
    return 0;
}

/* Whoever decides takes until then for the first of those that are ready. */
static unsigned take_until_it_is_due(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct timespec now;

    (void)arg, (void)n, (void)what;
    while (kind == OSR_CHOICE_EVENT && crowd.due > 0 && clock_gettime(CLOCK_MONOTONIC, &now) == 0 &&
           now.tv_sec * INT64_C(1000000000) + now.tv_nsec < crowd.due)
        continue;
    return 0;
}

/* The byte is there before the deadline, but libev has no room to say so. */
OSR_TASK(read_what_falls_due_while_others_are_told, void, unused)
{
    struct osr_group group;

    open_crowd();
    spawn_crowd();
    osr_group_open(&group);
    check_int(osr_sleep(osr_ms(1)), 0);
    crowd.due = osr_time_add(osr_now(), osr_ms(200));
    check_int(osr_spawn(&group, read_until_due_in_a_task, NULL), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    ring();
    check_int(write(crowd.quiet[1], "x", 1), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_close(&crowd.group, 0), 0);
    close_crowd();
    return 0;
}

TEST(so_it_does_when_it_falls_due_while_others_are_told)
{
    assert_int_equal(osr_run(read_what_falls_due_while_others_are_told, NULL, .choose = take_until_it_is_due), 0);
    assert_checked();
}

TEST(so_it_does_attached_when_it_falls_due_while_others_are_told)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
    struct osr_attachment tasks;

    assert_int_equal(osr_attach(&tasks, loop, read_what_falls_due_while_others_are_told, NULL,
                                .run = {.choose = take_until_it_is_due}),
                     0);
    ev_run(loop, 0);
    assert_int_equal(osr_detach(&tasks, NULL), 0);
    ev_loop_destroy(loop);
    assert_checked();
}

OSR_TASK(hold_up, void, unused)
{
    bring_a_byte_and_keep_the_thread();
    return 0;
}

/* Has all of them watched, with nobody waiting for them. */
static void watch_for_nobody(void)
{
    spawn_crowd();
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_group_cancel(&crowd.group, "nobody waits"), 0);
    check_int(osr_group_close(&crowd.group, 0), 0);
}

/* They are found ready while nobody waits for them, but for one. */
static void have_them_found(void)
{
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_spawn_copy(&group, wait_in_crowd, &(int){0}), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    ring();
    check_int(osr_group_close(&group, 0), 0);
}

/* What nobody waits for any more is told by the system once more: that takes room from the others, without a call. */
OSR_TASK(read_beside_those_whom_nobody_waits_for, void, unused)
{
    struct osr_group group;
    struct crowd first, second;

    open_crowd_of(60);
    watch_for_nobody();
    first = crowd;
    open_crowd_of(60);
    watch_for_nobody();
    second = crowd;
    crowd = first;
    have_them_found();
    crowd = second;
    ring();
    crowd.due = osr_time_add(osr_now(), osr_ms(100));
    osr_group_open(&group);
    check_int(osr_spawn(&group, hold_up, NULL), 0);
    check_int(read_until_due(), 1);
    check_int(osr_group_close(&group, 0), 0);
    close_crowd();
    crowd = first;
    close_crowd();
    return 0;
}

TEST(so_it_does_when_many_are_ready_whom_nobody_waits_for)
{
    assert_int_equal(osr_run(read_beside_those_whom_nobody_waits_for, NULL), 0);
    assert_checked();
}

static void leave_it(struct ev_loop *loop, ev_io *io, int events)
{
    (void)loop, (void)io, (void)events;
}

/* What the program's own watchers find takes room from the others, too. */
OSR_TASK(read_beside_the_programs_own, struct ev_loop *, loop)
{
    ev_io ios[MANY];
    int i;

    open_crowd();
    for (i = 0; i < MANY; i++) {
        ev_io_init(&ios[i], leave_it, crowd.fds[i], EV_READ);
        ev_io_start(*loop, &ios[i]);
    }
    check_int(osr_sleep(osr_ms(1)), 0);
    crowd.due = osr_time_add(osr_now(), osr_ms(100));
    ring();
    osr_group_open(&crowd.group);
    check_int(osr_spawn(&crowd.group, hold_up, NULL), 0);
    check_int(read_until_due(), 1);
    check_int(osr_group_close(&crowd.group, 0), 0);
    for (i = 0; i < MANY; i++)
        ev_io_stop(*loop, &ios[i]);
    close_crowd();
    return 0;
}

TEST(so_it_does_when_many_are_ready_for_the_program)
{
    struct osr_runner *runner;
    struct ev_loop *loop;

    assert_int_equal(osr_runner_new(&runner), 0);
    loop = osr_runner_loop(runner);
    assert_non_null(loop);
    assert_int_equal(osr_runner_run(runner, read_beside_the_programs_own, &loop), 0);
    assert_int_equal(osr_runner_free(runner), 0);
    assert_checked();
}

static void look_when_it_is_due(void)
{
    keep_the_thread_until_it_is_due();
    check_int(osr_check(), -ECANCELED);
}

OSR_TASK(look_from_the_crowd, void, unused)
{
    struct osr_scope limit;

    open_crowd();
    have_libev_ask_for_all();
    crowd.first = look_when_it_is_due;
    crowd.due = osr_time_add(osr_now(), osr_ms(200));
    osr_timeout_open_at(&limit, crowd.due);
    spawn_crowd();
    check_int(osr_sleep(osr_ms(1)), 0);
    ring();
    check_int(osr_group_close(&crowd.group, 0), 0);
    (void)osr_scope_close(&limit, 0);
    check_int(how_many_got(0), MANY);
    close_crowd();
    return 0;
}

TEST(a_check_that_finds_its_deadline_passed_tells_those_who_are_left_first)
{
    assert_int_equal(osr_run(look_from_the_crowd, NULL), 0);
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        descriptor_test(all_are_told),
        descriptor_test(who_is_in_a_later_batch_can_still_be_cancelled),
        descriptor_test(as_long_as_some_are_left_the_run_has_not_settled),
        descriptor_test(nor_has_it_if_nobody_waits_for_those_who_are_told),
        descriptor_test(attached_all_are_told_in_one_turn_and_run_in_it),
        descriptor_test(what_is_complete_comes_before_what_is_due_while_some_are_left),
        descriptor_test(so_it_does_when_libev_asks_for_few_at_a_time),
        descriptor_test(so_it_does_when_it_falls_due_while_others_are_told),
        descriptor_test(so_it_does_attached_when_it_falls_due_while_others_are_told),
        descriptor_test(so_it_does_when_many_are_ready_whom_nobody_waits_for),
        descriptor_test(so_it_does_when_many_are_ready_for_the_program),
        descriptor_test(a_check_that_finds_its_deadline_passed_tells_those_who_are_left_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
