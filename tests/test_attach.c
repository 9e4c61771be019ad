/*
 * Runs inside a libev loop of the program's: tasks and plain watchers on one loop, in both directions.
 */
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <osier/attach.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static struct ev_loop *loop;
static struct osr_attachment tasks;
static int descriptors;

/* ---- The program --------------------------------------------------------------------------------------- */

static void ended(void *arg, int rc)
{
    tell("ended: %s %s", rc < 0 ? osr_strcode(rc) : "0", rc < 0 ? osr_error_message(osr_error_last()) : "");
    check(arg == NULL || arg == loop);
    check_int(tasks.run_ == NULL, true);
}

#define attach(...) osr_attach(&tasks, loop, __VA_ARGS__, .run.debug = true, .run.allocator = &counting_allocator)
#define attach_told(...) assert_int_equal(attach(__VA_ARGS__, .done = ended), 0)

static int make_loop(void **state)
{
    begin_test(state);
    descriptors = open_descriptors();
    tasks = (struct osr_attachment){0};
    loop = ev_loop_new(EVFLAG_AUTO);
    return loop ? 0 : -1;
}

/* How many watchers keep the loop going. */
static int active(void)
{
    return ev_run(loop, EVRUN_NOWAIT);
}

/* What every test comes to: nothing of ours is on the loop, in memory, or open. */
static int destroy_loop(void **state)
{
    (void)state;
    osr_error_clear();
    if (ev_pending_count(loop) > 0 || active() > 0 || tasks.run_)
        return -1;
    ev_loop_destroy(loop);
    return counting.live == 0 && (descriptors < 0 || open_descriptors() == descriptors) ? 0 : -1;
}

/* A timer of the program's. */
struct alarm {
    ev_timer timer;
    void (*ring)(void);
};

static void rings(struct ev_loop *on, ev_timer *timer, int events)
{
    (void)on, (void)events;
    ((struct alarm *)(void *)timer)->ring();
}

static void set_alarm(struct alarm *alarm, double after, void (*ring)(void))
{
    ev_timer_init(&alarm->timer, rings, after, 0);
    alarm->ring = ring;
    ev_now_update(loop);
    ev_timer_start(loop, &alarm->timer);
}

static struct alarm first_alarm, second_alarm;
static struct osr_event event;

static void set_event(void)
{
    tell("set");
    check_int(osr_event_set(&event), 0);
}

static void busy_until(int64_t at)
{
    while (osr_now() < at)
        continue;
}

OSR_TASK(give, int, number) { return *number; }
OSR_TASK(nothing, void, unused) { return 0; }
OSR_TASK(nap, int, ms) { return osr_sleep(osr_ms(*ms)); }
OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }

/* ---- From the beginning to the end ---------------------------------------------------------------------- */

OSR_TASK(nap_and_fail, void, unused)
{
    int rc = osr_sleep(osr_ms(2));

    return rc < 0 ? rc : osr_fail(-EIO, "lost");
}

TEST(a_root_runs_inside_the_programs_loop_and_its_end_is_told_there)
{
    assert_int_equal(attach(nap_and_fail, NULL, .done = ended, .done_arg = loop), 0);
    assert_story("");
    ev_run(loop, 0);
    assert_story("ended: EIO lost\n");
    assert_int_equal(osr_error_code(osr_error_last()), -EIO);
    assert_string_equal(osr_error_task(osr_error_last()), "nap_and_fail");
    assert_checked();
}

TEST(after_the_end_nothing_is_left_to_do)
{
    int number = 7;

    attach_told(give, &number);
    ev_run(loop, 0);
    assert_int_equal(osr_detach(&tasks, "late"), 7);
    assert_int_equal(osr_attachment_cancel(&tasks, "late"), -ESTALE);
    attach_told(nap_and_fail, NULL);
    ev_run(loop, 0);
    assert_int_equal(osr_detach(&tasks, "late"), -EIO);
    assert_string_equal(osr_error_message(osr_error_last()), "Input/output error");
    assert_story("ended: 0 \nended: EIO lost\n");
    assert_checked();
}

OSR_TASK(say_name, void, unused)
{
    tell("%s", osr_task_name(osr_self()));
    return 0;
}

TEST(nobody_need_be_told_and_the_root_may_have_a_name)
{
    assert_int_equal(attach(say_name, NULL, .run.name = "main"), 0);
    ev_run(loop, 0);
    assert_story("main\n");
}

TEST(the_root_is_queued_and_begins_in_the_second_iteration)
{
    assert_int_equal(attach(say_name, NULL), 0);
    assert_story("");
    ev_run(loop, EVRUN_NOWAIT);
    assert_story("");
    ev_run(loop, EVRUN_NOWAIT);
    assert_story("say_name\n");
}

static void attach_again(void *arg, int rc)
{
    static int number = 4;

    (void)arg;
    tell("ended: %d", rc);
    check_int(osr_run(give, &number), 4);
    if (rc == 0)
        check_int(osr_attach(&tasks, loop, give, &number, .done = attach_again), 0);
}

TEST(when_the_end_is_told_the_next_may_be_attached)
{
    assert_int_equal(attach(nothing, NULL, .done = attach_again), 0);
    ev_run(loop, 0);
    assert_story("ended: 0\nended: 4\n");
    assert_checked();
}

OSR_TASK(fail_fatally, void, unused)
{
    (void)osr_fail_fatal(-EINTR, "the end");
    return 0;
}

TEST(a_fatal_error_ends_it_as_it_ends_any_run)
{
    attach_told(fail_fatally, NULL);
    ev_run(loop, 0);
    assert_story("ended: EINTR the end\n");
    assert_checked();
}

/* ---- Watchers and tasks --------------------------------------------------------------------------------- */

struct traffic {
    struct osr_queue queue;
    ev_timer timer;
    ev_io io;
    ev_async async;
    ev_signal signal;
    ev_timer started_by_task;
    struct osr_event started;
    int pipe[2];
};

static struct traffic traffic;

static void put(uint64_t word)
{
    check_int(osr_queue_try_put(&traffic.queue, &word), 0);
}

static void timer_came(struct ev_loop *on, ev_timer *timer, int events)
{
    (void)on, (void)timer, (void)events;
    put(1);
}

static void io_came(struct ev_loop *on, ev_io *io, int events)
{
    char byte;

    (void)on, (void)events;
    check_int(read(io->fd, &byte, 1), 1);
    put(2);
}

static void async_came(struct ev_loop *on, ev_async *async, int events)
{
    (void)on, (void)async, (void)events;
    put(3);
}

static void signal_came(struct ev_loop *on, ev_signal *watcher, int events)
{
    (void)on, (void)watcher, (void)events;
    put(4);
}

static void set_started(struct ev_loop *on, ev_timer *timer, int events)
{
    (void)on, (void)timer, (void)events;
    check_int(osr_event_set(&traffic.started), 0);
}

static void *send_async(void *arg)
{
    (void)arg;
    ev_async_send(loop, &traffic.async);
    return NULL;
}

/* Has each watcher come by turns, and waits for what it puts. */
OSR_TASK(exchange, void, unused)
{
    pthread_t thread;
    uint64_t word;

    check_int(osr_queue_get(&traffic.queue, &word), 0);
    check_int(word, 1);
    check_int(osr_write(traffic.pipe[1], "x", 1), 1);
    check_int(osr_queue_get(&traffic.queue, &word), 0);
    check_int(word, 2);
    pthread_create(&thread, NULL, send_async, NULL);
    check_int(osr_queue_get(&traffic.queue, &word), 0);
    pthread_join(thread, NULL);
    check_int(word, 3);
    raise(SIGUSR1);
    check_int(osr_queue_get(&traffic.queue, &word), 0);
    check_int(word, 4);
    ev_timer_start(loop, &traffic.started_by_task);
    check_int(osr_event_wait(&traffic.started), 0);
    ev_io_stop(loop, &traffic.io);
    ev_async_stop(loop, &traffic.async);
    ev_signal_stop(loop, &traffic.signal);
    return 0;
}

TEST(watchers_wake_tasks_and_tasks_start_watchers)
{
    osr_queue_init(&traffic.queue, sizeof(uint64_t), 4);
    osr_event_init(&traffic.started);
    assert_return_code(pipe(traffic.pipe), errno);
    ev_timer_init(&traffic.timer, timer_came, 0.003, 0);
    ev_io_init(&traffic.io, io_came, traffic.pipe[0], EV_READ);
    ev_async_init(&traffic.async, async_came);
    ev_signal_init(&traffic.signal, signal_came, SIGUSR1);
    ev_timer_init(&traffic.started_by_task, set_started, 0.002, 0);
    ev_timer_start(loop, &traffic.timer);
    ev_io_start(loop, &traffic.io);
    ev_async_start(loop, &traffic.async);
    ev_signal_start(loop, &traffic.signal);
    attach_told(exchange, NULL);
    ev_run(loop, 0);
    osr_queue_destroy(&traffic.queue);
    close(traffic.pipe[0]), close(traffic.pipe[1]);
    assert_story("ended: 0 \n");
    assert_checked();
}

static struct osr_future future;
static struct osr_call call, never;

static void called(void *arg) { tell("called: %s", (const char *)arg); }

static void use_what_callbacks_may(void)
{
    static int answer = 42, number = 1;
    int64_t now = osr_now();

    check(osr_self().id_ == 0);
    check(now <= osr_now() && osr_now() - now < osr_s(5));
    check_int(osr_sleep(1), -EPERM);
    check_int(osr_yield(), -EPERM);
    check_int(osr_run(give, &number), -EBUSY);
    check_int(osr_call_soon(&call, called, (void *)"soon"), 0);
    check_int(osr_call_later(&never, osr_s(100), called, (void *)"never"), 0);
    check_int(osr_future_complete(&future, &answer), 0);
}

OSR_TASK(await_future, void, unused)
{
    void *value;

    check_int(osr_future_wait(&future, &value), 0);
    check_int(*(int *)value, 42);
    return osr_yield();
}

TEST(callbacks_are_on_no_task_and_may_do_what_callbacks_of_a_run_may)
{
    osr_future_init(&future, NULL, NULL);
    attach_told(await_future, NULL);
    set_alarm(&first_alarm, 0.002, use_what_callbacks_may);
    ev_run(loop, 0);
    assert_story("called: soon\nended: 0 \n");
    assert_false(osr_call_pending(&never));
    assert_checked();
}

OSR_TASK(wait_for_event, void, unused)
{
    int rc = osr_event_wait(&event);

    tell("woken: %d", rc);
    return rc;
}

TEST(between_runs_of_the_loop_tasks_may_be_woken_too)
{
    osr_event_init(&event);
    attach_told(wait_for_event, NULL);
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT); /* nothing can ever run again, for all that the run knows */
    set_event();
    ev_run(loop, EVRUN_NOWAIT);
    assert_story("set\nwoken: 0\nended: 0 \n");
    assert_checked();
}

/* ---- When nothing happens ------------------------------------------------------------------------------- */

static int64_t cpu_time(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return osr_time_add(osr_s(time.tv_sec), time.tv_nsec);
}

static unsigned iterations;
static int64_t spent;

static void begin_idling(void)
{
    iterations = ev_iteration(loop);
    spent = cpu_time();
}

static void end_idling(void)
{
    iterations = ev_iteration(loop) - iterations;
    spent = cpu_time() - spent;
    set_event();
}

OSR_TASK(wait_in_company, int, fd)
{
    static int hour = 3600000;
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    osr_spawn(&group, nap, &hour, .daemon = true);
    rc = osr_spawn(&group, wait_for_event, NULL);
    (void)fd;
    return osr_group_close(&group, rc);
}

TEST(an_idle_run_makes_no_iterations_and_takes_no_time)
{
    osr_event_init(&event);
    attach_told(wait_in_company, NULL);
    set_alarm(&first_alarm, 0.02, begin_idling);
    set_alarm(&second_alarm, 0.12, end_idling);
    ev_run(loop, 0);
    assert_story("set\nwoken: 0\nended: 0 \n");
    assert_true(iterations <= 1);
    assert_true(spent < osr_ms(sized(5, 50)));
    assert_checked();
}

OSR_TASK(sleep_on_time, void, unused)
{
    int64_t begin = osr_now(), late;
    int i;

    for (i = 1; i <= 5; i++) {
        int64_t at = osr_time_add(begin, osr_ms(4 * i));

        check_int(osr_sleep_until(at), 0);
        late = osr_now() - at;
        check(late >= 0 && late < osr_ms(sized(200, 2000)));
    }
    return 0;
}

TEST(deadlines_come_on_time)
{
    unsigned before = ev_iteration(loop);

    attach_told(sleep_on_time, NULL);
    ev_run(loop, 0);
    assert_true(ev_iteration(loop) - before < 30);
    assert_checked();
}

OSR_TASK(keep_on_until, int64_t, at)
{
    busy_until(*at);
    return osr_event_wait(&event);
}

OSR_TASK(sleep_beside_a_long_step, void, unused)
{
    struct osr_group group;
    int64_t at = osr_time_add(osr_now(), osr_ms(2));

    osr_event_init(&event);
    osr_group_open(&group);
    check_int(osr_spawn(&group, keep_on_until, &at), 0);
    check_int(osr_sleep_until(at), 0);
    check_int(osr_event_set(&event), 0);
    return osr_group_close(&group, 0);
}

TEST(a_deadline_that_passes_in_the_very_turn_is_not_forgotten)
{
    attach_told(sleep_beside_a_long_step, NULL);
    ev_run(loop, 0);
    assert_story("ended: 0 \n");
    assert_checked();
}

static void cut_as_overdue(void *arg)
{
    tell("called");
    check_int(osr_scope_set_deadline(arg, -OSR_NEVER), 0);
}

OSR_TASK(be_overdue_since_ever, void, unused)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    check_int(osr_spawn(&group, sleep_forever, NULL), 0);
    check_int(osr_yield(), 0);
    check_int(osr_call_at(&call, -OSR_NEVER, cut_as_overdue, &group.scope), 0);
    rc = osr_group_close(&group, 0);
    ev_timer_stop(loop, &first_alarm.timer);
    return rc;
}

static void give_up(void)
{
    tell("nothing came");
    osr_attachment_cancel(&tasks, NULL);
}

TEST(the_earliest_moment_of_all_is_over_too)
{
    attach_told(be_overdue_since_ever, NULL);
    set_alarm(&first_alarm, 1, give_up);
    ev_run(loop, 0);
    assert_story("called\nended: 0 \n");
    assert_checked();
}

static unsigned count_polls(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    unsigned *polls = arg;

    (void)n;
    *polls += kind == OSR_CHOICE_FAULT && strcmp(what, "poll") == 0;
    return 0;
}

OSR_TASK(read_twice, int, fd)
{
    char byte;
    int rc = osr_read(*fd, &byte, 1);

    return rc < 0 ? rc : osr_read(*fd, &byte, 1);
}

static int ends[2];

static void write_to_end(void)
{
    check_int(write(ends[1], "x", 1), 1);
}

TEST(as_long_as_nothing_is_due_libev_alone_says_what_is_ready)
{
    unsigned polls = 0;

    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), errno);
    assert_int_equal(attach(read_twice, &ends[0], .run.choose = count_polls, .run.choose_arg = &polls), 0);
    set_alarm(&first_alarm, 0.002, write_to_end);
    set_alarm(&second_alarm, 0.004, write_to_end);
    ev_run(loop, 0);
    close(ends[0]), close(ends[1]);
    assert_int_equal(osr_detach(&tasks, NULL), 1);
    assert_int_equal(polls, 0);
    assert_checked();
}

/* ---- Turns ---------------------------------------------------------------------------------------------- */

OSR_TASK(yield_until_event, void, unused)
{
    long yields = 0;
    int rc = 0;

    while (rc == 0 && !osr_event_is_set(&event)) {
        rc = osr_yield();
        yields++;
    }
    check(yields > 256);
    return rc;
}

TEST(a_task_that_yields_for_ever_does_not_starve_watchers)
{
    osr_event_init(&event);
    attach_told(yield_until_event, NULL);
    set_alarm(&first_alarm, 0.01, set_event);
    ev_run(loop, 0);
    assert_story("set\nended: 0 \n");
    assert_checked();
}

static unsigned idled;

static void idle_came(struct ev_loop *on, ev_idle *idle, int events)
{
    (void)on, (void)idle, (void)events;
    idled++;
}

OSR_TASK(take_many_steps, void, unused)
{
    int rc = 0, i;

    for (i = 0; i < 2560 && rc == 0; i++)
        rc = osr_yield();
    return rc;
}

TEST(a_watcher_that_always_comes_does_not_starve_tasks_nor_they_it)
{
    ev_idle idle;

    idled = 0;
    ev_idle_init(&idle, idle_came);
    ev_set_priority(&idle, EV_MAXPRI);
    ev_idle_start(loop, &idle);
    attach_told(take_many_steps, NULL);
    while (tasks.run_ && idled < 1000)
        ev_run(loop, EVRUN_ONCE);
    ev_idle_stop(loop, &idle);
    assert_story("ended: 0 \n");
    assert_in_range(idled, 10, 14); /* a turn is 256 steps */
    assert_checked();
}

static void run_inside(void)
{
    int i;

    for (i = 0; i < 3; i++)
        ev_run(loop, EVRUN_NOWAIT);
    tell("inside");
}

OSR_TASK(tell_twice, void, unused)
{
    int rc = osr_event_wait(&event);

    tell("one");
    rc = rc < 0 ? rc : osr_yield();
    tell("two");
    return rc;
}

static void set_event_and_run_inside(void)
{
    set_event();
    run_inside();
}

TEST(tasks_advance_in_a_nested_run_of_the_loop)
{
    osr_event_init(&event);
    attach_told(tell_twice, NULL);
    set_alarm(&first_alarm, 0.002, set_event_and_run_inside);
    ev_run(loop, 0);
    assert_story("set\none\ntwo\nended: 0 \ninside\n");
    assert_checked();
}

static void run_inside_a_call(void *arg)
{
    (void)arg;
    run_inside();
}

OSR_TASK(make_a_call_that_runs_the_loop, void, unused)
{
    check_int(osr_call_soon(&call, run_inside_a_call, NULL), 0);
    check_int(osr_yield(), 0);
    tell("after it");
    return 0;
}

TEST(a_turn_is_not_taken_inside_of_another)
{
    attach_told(make_a_call_that_runs_the_loop, NULL);
    ev_run(loop, 0);
    assert_story("inside\nafter it\nended: 0 \n");
    assert_checked();
}

static void break_loop(void) { ev_break(loop, EVBREAK_ONE); }

TEST(the_loop_may_be_broken_and_run_again)
{
    osr_event_init(&event);
    attach_told(wait_for_event, NULL);
    set_alarm(&first_alarm, 0.002, break_loop);
    ev_run(loop, 0);
    assert_story("");
    set_alarm(&first_alarm, 0.002, set_event);
    ev_run(loop, 0);
    assert_story("set\nwoken: 0\nended: 0 \n");
    assert_checked();
}

/* ---- A deadline that an entry check notices -------------------------------------------------------------- */

enum { READERS = 127 }; /* with a writer a whole number of questions */

struct crowd {
    int pipes[READERS][2];
    int64_t due;
    bool came;
};

static struct crowd crowd;

static void note_alarm(void) { crowd.came = true; }

static int read_by(int fd, int64_t due)
{
    struct osr_scope limit;
    char byte;
    int rc;

    osr_timeout_open_at(&limit, due);
    rc = osr_scope_close(&limit, osr_read(fd, &byte, 1));
    return rc == -ETIMEDOUT ? 0 : rc;
}

OSR_TASK(read_under_deadline, int, fd) { return read_by(*fd, crowd.due); }

/* Waits to write what does not fit: nobody reads. */
OSR_TASK(write_under_deadline, int, fd)
{
    static char much[1 << 20];
    struct osr_scope limit;
    int rc;

    osr_timeout_open_at(&limit, crowd.due);
    rc = osr_scope_close(&limit, osr_write_all(*fd, much, sizeof(much), NULL));
    return rc == -ETIMEDOUT ? 2 : rc;
}

OSR_TASK(run_into_the_deadline, void, unused)
{
    struct osr_task readers[READERS], writer;
    struct osr_group group;
    struct osr_scope limit;
    int full[2], i;

    crowd.due = osr_time_add(osr_now(), osr_ms(sized(100, 1000)));
    osr_group_open(&group);
    for (i = 0; i < READERS; i++)
        check_int(osr_spawn(&group, read_under_deadline, &crowd.pipes[i][0], .handle = &readers[i]), 0);
    check_int(pipe2(full, O_NONBLOCK), 0);
    check_int(osr_spawn(&group, write_under_deadline, &full[1], .handle = &writer), 0);
    for (i = 0; i < 100; i++)
        check_int(osr_yield(), 0);
    osr_timeout_open_at(&limit, crowd.due);
    check_int(write(crowd.pipes[0][1], "x", 1), 1);
    check_int(write(crowd.pipes[READERS - 1][1], "x", 1), 1);
    busy_until(osr_time_add(crowd.due, osr_ms(3)));
    check_int(osr_check(), -ECANCELED);
    check(!crowd.came); /* the program's timer is due as well, but a task runs */
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    for (i = 0; i < READERS; i++)
        check_int(osr_task_join(readers[i]), i == 0 || i == READERS - 1);
    check_int(osr_task_join(writer), 2);
    check_int(osr_fd_close(full[0]), 0);
    check_int(osr_fd_close(full[1]), 0);
    return osr_group_close(&group, 0);
}

static void run_into_it_with(int (*run)(void))
{
    int i;

    crowd.came = false;
    for (i = 0; i < READERS; i++)
        assert_return_code(pipe(crowd.pipes[i]), errno);
    assert_int_equal(run(), 0);
    for (i = 0; i < READERS; i++)
        close(crowd.pipes[i][0]), close(crowd.pipes[i][1]);
    assert_checked();
}

static int attached(void)
{
    set_alarm(&first_alarm, sized(60, 600) * 1e-3, note_alarm);
    assert_int_equal(attach(run_into_the_deadline, NULL), 0);
    ev_run(loop, 0);
    assert_true(crowd.came);
    return osr_detach(&tasks, NULL);
}

TEST(a_check_delivers_what_is_complete_and_calls_no_watcher)
{
    run_into_it_with(attached);
}

/* The program keeps the thread until data has come and the deadline has passed. */
static void keep_the_thread(void)
{
    check_int(write(crowd.pipes[0][1], "x", 1), 1);
    busy_until(osr_time_add(crowd.due, osr_ms(3)));
}

static int write_by(int fd, int64_t due)
{
    struct osr_scope limit;
    int rc;

    osr_timeout_open_at(&limit, due);
    rc = osr_scope_close(&limit, osr_write(fd, "x", 1));
    return rc == -ETIMEDOUT ? 0 : rc;
}

/* The time counts from the task's beginning, which a machine with much to do puts off. */
OSR_TASK(read_soon, int, fd) { return read_by(*fd, crowd.due = osr_time_add(osr_now(), osr_ms(sized(60, 1000)))); }
OSR_TASK(write_soon, int, fd) { return write_by(*fd, crowd.due = osr_time_add(osr_now(), osr_ms(sized(60, 1000)))); }

TEST(what_is_complete_comes_before_a_deadline_that_passed_in_a_callback)
{
    assert_return_code(pipe(crowd.pipes[0]), errno);
    attach_told(read_soon, &crowd.pipes[0][0]);
    set_alarm(&first_alarm, 0.005, keep_the_thread);
    ev_run(loop, 0);
    close(crowd.pipes[0][0]), close(crowd.pipes[0][1]);
    assert_int_equal(osr_detach(&tasks, NULL), 1);
    assert_checked();
}

static void make_room_and_keep_the_thread(void)
{
    static char sink[4096];

    while (read(crowd.pipes[0][0], sink, sizeof(sink)) > 0)
        continue;
    busy_until(osr_time_add(crowd.due, osr_ms(3)));
}

TEST(room_that_was_made_comes_before_a_deadline_that_passed_in_a_callback)
{
    assert_return_code(pipe2(crowd.pipes[0], O_NONBLOCK), errno);
    while (write(crowd.pipes[0][1], "x", 1) == 1)
        continue;
    attach_told(write_soon, &crowd.pipes[0][1]);
    set_alarm(&first_alarm, 0.005, make_room_and_keep_the_thread);
    ev_run(loop, 0);
    close(crowd.pipes[0][0]), close(crowd.pipes[0][1]);
    assert_int_equal(osr_detach(&tasks, NULL), 1);
    assert_checked();
}

/* ---- Detaching ------------------------------------------------------------------------------------------ */

static struct osr_queue empty;
static struct osr_semaphore taken;
static struct osr_lock held;
static int quiet[2];

OSR_TASK(wait_in_event, void, unused) { return osr_event_wait(&event); }
OSR_TASK(wait_in_future, void, unused) { return osr_future_wait(&future, NULL); }
OSR_TASK(wait_in_semaphore, void, unused) { return osr_semaphore_acquire(&taken); }
OSR_TASK(wait_in_lock, void, unused) { return osr_lock_acquire(&held); }
OSR_TASK(wait_in_fd, void, unused) { return osr_fd_readable(quiet[0]); }
OSR_TASK(wait_in_join, struct osr_task, task) { return osr_task_join(*task); }

OSR_TASK(wait_in_queue, void, unused)
{
    uint64_t item;

    return osr_queue_get(&empty, &item);
}

OSR_TASK(wait_in_everything, void, unused)
{
    static struct osr_task sleeper;
    struct osr_scope shield;
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    check_int(osr_lock_acquire(&held), 0);
    osr_spawn(&group, sleep_forever, NULL, .handle = &sleeper);
    osr_spawn(&group, wait_in_event, NULL);
    osr_spawn(&group, wait_in_future, NULL);
    osr_spawn(&group, wait_in_semaphore, NULL);
    osr_spawn(&group, wait_in_lock, NULL);
    osr_spawn(&group, wait_in_fd, NULL);
    osr_spawn(&group, wait_in_queue, NULL);
    osr_spawn(&group, wait_in_join, &sleeper);
    check_int(osr_yield(), 0);
    check_int(osr_event_set(&traffic.started), 0);
    rc = osr_group_close(&group, 0);
    check_int(osr_lock_release(&held), 0);
    osr_shield_open(&shield, osr_ms(500));
    check_int(osr_scope_close(&shield, osr_sleep(osr_ms(3))), 0);
    return rc;
}

static void attach_to_everything(void)
{
    osr_event_init(&event);
    osr_event_init(&traffic.started);
    osr_future_init(&future, NULL, NULL);
    osr_semaphore_init(&taken, 0);
    osr_lock_init(&held);
    osr_queue_init(&empty, sizeof(uint64_t), 0);
    assert_return_code(pipe(quiet), errno);
    attach_told(wait_in_everything, NULL);
}

static void leave_everything(void)
{
    close(quiet[0]), close(quiet[1]);
    osr_queue_destroy(&empty);
}

TEST(detaching_cancels_tasks_that_wait_in_anything_and_gives_the_result)
{
    attach_to_everything();
    while (!osr_event_is_set(&traffic.started))
        ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(osr_detach(&tasks, "enough"), -OSR_ETASKCANCELED);
    assert_int_equal(osr_error_code(osr_error_last()), -OSR_ETASKCANCELED);
    leave_everything();
    assert_story("ended: OSR_ETASKCANCELED the root task was cancelled: enough\n");
    assert_checked();
}

static void detach_here(void)
{
    tell("detaching");
    check_int(osr_detach(&tasks, "enough"), -OSR_ETASKCANCELED);
    tell("detached");
}

static void say_meanwhile(void) { tell("meanwhile"); }

OSR_TASK(clean_up_slowly, void, unused)
{
    struct osr_scope shield;
    int rc = osr_sleep(OSR_NEVER);

    osr_shield_open(&shield, osr_s(1));
    check_int(osr_scope_close(&shield, osr_sleep(osr_ms(20))), 0);
    tell("cleaned up");
    return rc;
}

TEST(in_a_callback_too_and_watchers_are_called_meanwhile)
{
    attach_told(clean_up_slowly, NULL);
    set_alarm(&first_alarm, 0.005, detach_here);
    set_alarm(&second_alarm, 0.010, say_meanwhile);
    ev_run(loop, 0);
    assert_story("detaching\nmeanwhile\ncleaned up\nended: OSR_ETASKCANCELED the root task was cancelled: enough\ndetached\n");
    assert_checked();
}

OSR_TASK(clean_up_in_three_turns, void, unused)
{
    struct osr_scope shield;
    int rc = osr_sleep(OSR_NEVER), i;

    osr_shield_open(&shield, osr_s(1));
    check_int(osr_sleep(osr_ms(200)), 0);
    for (i = 0; i < 600; i++)
        check_int(osr_yield(), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    tell("cleaned up");
    return rc;
}

static void break_it_told(void)
{
    tell("breaking");
    ev_break(loop, EVBREAK_ONE);
}

static void end_it_inside(void)
{
    unsigned before;

    busy_until(osr_time_add(osr_now(), osr_ms(250)));
    run_inside();
    set_alarm(&second_alarm, 0.005, break_it_told);
    before = ev_iteration(loop);
    ev_run(loop, 0); /* is not broken by the end of the detaching, nor kept busy */
    check(ev_iteration(loop) - before < 5);
    tell("broken");
}

TEST(the_root_may_end_in_a_nested_run_of_the_loop_while_it_is_detached)
{
    attach_told(clean_up_in_three_turns, NULL);
    set_alarm(&first_alarm, 0.005, detach_here);
    set_alarm(&second_alarm, 0.060, end_it_inside);
    ev_run(loop, 0);
    assert_story("detaching\ncleaned up\ninside\nbreaking\nbroken\nended: OSR_ETASKCANCELED the root task was cancelled: enough\ndetached\n");
    assert_checked();
}

OSR_TASK(tell_first_check, void, unused)
{
    tell("begun: %d", osr_check());
    return -EDOM;
}

TEST(a_root_that_has_not_begun_still_begins)
{
    attach_told(tell_first_check, NULL);
    assert_int_equal(osr_detach(&tasks, NULL), -EDOM);
    assert_int_equal(osr_error_code(osr_error_last()), -EDOM);
    assert_non_null(strstr(osr_error_where(osr_error_last()), "test_attach.c:"));
    assert_story("begun: -125\nended: EDOM Numerical argument out of domain\n");
    assert_checked();
}

static void fail_meanwhile(void *arg, int rc)
{
    (void)arg;
    check_int(rc, -EIO);
    (void)osr_fail(-EDOM, "another error");
}

OSR_TASK(fail_when_cancelled, void, unused)
{
    (void)osr_sleep(OSR_NEVER);
    return osr_fail(-EIO, "on the way out");
}

TEST(the_error_is_in_the_slot_whatever_was_called_at_the_end)
{
    assert_int_equal(attach(fail_when_cancelled, NULL, .done = fail_meanwhile), 0);
    assert_int_equal(osr_detach(&tasks, NULL), -EIO);
    assert_string_equal(osr_error_message(osr_error_last()), "on the way out");
    osr_error_clear();
    assert_checked();
}

static void tell_diagnosis(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)kind;
    tell("%s", text);
}

static void fail_in_a_watcher(void)
{
    (void)osr_fail(-EIO, "in a watcher");
    check_text(osr_error_message(osr_error_last()), "in a watcher");
}

TEST(what_is_in_the_slot_of_the_programs_watchers_is_no_leak)
{
    int ms = 2;

    assert_int_equal(attach(nap, &ms, .run.diagnose = tell_diagnosis), 0);
    set_alarm(&first_alarm, 0.0001, fail_in_a_watcher);
    ev_run(loop, 0);
    assert_story("");
    assert_checked();
}

static char drawn[2048];

OSR_TASK(draw_when_cancelled, void, unused)
{
    int rc = osr_sleep(OSR_NEVER);

    osr_tree_format(drawn, sizeof(drawn));
    return rc;
}

static void draw(void)
{
    check(osr_tree_format(drawn, sizeof(drawn)) > 0);
    check_int(osr_tree_print(NULL), -EINVAL);
    set_event();
}

OSR_TASK(await_the_event, void, unused) { return osr_event_wait(&event); }

TEST(a_callback_may_draw_the_tree)
{
    osr_event_init(&event);
    attach_told(await_the_event, NULL);
    set_alarm(&first_alarm, 0.002, draw);
    ev_run(loop, 0);
    assert_non_null(strstr(drawn, "await_the_event"));
    assert_non_null(strstr(drawn, "waits in osr_event_wait at tests/test_attach.c:"));
    assert_checked();
}

static void cancel_here(void)
{
    check_int(osr_attachment_cancel(&tasks, "the user is bored"), 0);
    tell("cancelled");
}

TEST(a_callback_may_cancel_the_root_with_a_reason_and_go_on)
{
    attach_told(draw_when_cancelled, NULL);
    set_alarm(&first_alarm, 0.002, cancel_here);
    ev_run(loop, 0);
    assert_non_null(strstr(drawn, "cancelled at tests/test_attach.c:"));
    assert_non_null(strstr(drawn, ": the user is bored"));
    assert_story("cancelled\nended: OSR_ETASKCANCELED the root task was cancelled: the user is bored\n");
    assert_checked();
}

OSR_TASK(cancel_from_inside, void, unused)
{
    check_int(osr_attachment_cancel(&tasks, "by a task"), 0);
    return osr_check();
}

TEST(so_may_a_task)
{
    attach_told(cancel_from_inside, NULL);
    ev_run(loop, 0);
    assert_story("ended: OSR_ETASKCANCELED the root task was cancelled: by a task\n");
    assert_checked();
}

/* ---- Breaking the loop ----------------------------------------------------------------------------------- */

static void detach_then_say(void)
{
    detach_here();
    set_alarm(&first_alarm, 0.002, say_meanwhile);
}

static void break_all(void) { ev_break(loop, EVBREAK_ALL); }

TEST(a_break_during_detaching_is_for_the_programs_own_run_of_the_loop)
{
    attach_told(clean_up_slowly, NULL);
    set_alarm(&first_alarm, 0.005, detach_then_say);
    set_alarm(&second_alarm, 0.010, break_all);
    ev_run(loop, 0);
    assert_story("detaching\ncleaned up\nended: OSR_ETASKCANCELED the root task was cancelled: enough\ndetached\n");
    ev_run(loop, 0);
    assert_story("meanwhile\n");
    assert_checked();
}

static void break_at_the_end(void *arg, int rc)
{
    (void)arg, (void)rc;
    ev_break(loop, EVBREAK_ONE);
}

TEST(the_end_may_break_the_loop)
{
    assert_int_equal(attach(nothing, NULL, .done = break_at_the_end), 0);
    set_alarm(&first_alarm, 0.005, say_meanwhile);
    ev_run(loop, 0);
    assert_story("");
    ev_timer_stop(loop, &first_alarm.timer);
    assert_int_equal(attach(clean_up_slowly, NULL, .done = break_at_the_end), 0);
    set_alarm(&first_alarm, 0.005, detach_then_say);
    ev_run(loop, 0);
    assert_story("detaching\ncleaned up\ndetached\n");
    ev_run(loop, 0);
    assert_story("meanwhile\n");
    assert_checked();
}

/* ---- Misuse ---------------------------------------------------------------------------------------------- */

static void detach_in_a_call(void *arg)
{
    (void)arg;
    check_int(osr_detach(&tasks, NULL), -EDEADLK);
}

OSR_TASK(detach_from_inside, void, unused)
{
    check_int(osr_detach(&tasks, NULL), -EDEADLK);
    check_int(osr_call_soon(&call, detach_in_a_call, NULL), 0);
    return osr_sleep(osr_ms(1));
}

TEST(a_task_or_a_call_cannot_detach_what_it_is_part_of)
{
    attach_told(detach_from_inside, NULL);
    ev_run(loop, 0);
    assert_story("ended: 0 \n");
    assert_checked();
}

static void detach_twice(void)
{
    check_int(osr_detach(&tasks, NULL), -EALREADY);
    tell("twice");
}

TEST(detaching_is_not_done_twice_at_once)
{
    attach_told(clean_up_slowly, NULL);
    set_alarm(&first_alarm, 0.005, detach_here);
    set_alarm(&second_alarm, 0.010, detach_twice);
    ev_run(loop, 0);
    assert_story("detaching\ntwice\ncleaned up\nended: OSR_ETASKCANCELED the root task was cancelled: enough\ndetached\n");
    assert_checked();
}

static void *use_from_elsewhere(void *arg)
{
    int number = 3;

    (void)arg;
    check_int(osr_detach(&tasks, NULL), -EPERM);
    check_int(osr_attachment_cancel(&tasks, NULL), -EPERM);
    check_int(osr_run(give, &number), 3);
    return NULL;
}

TEST(other_threads_are_refused)
{
    pthread_t thread;

    attach_told(nothing, NULL);
    pthread_create(&thread, NULL, use_from_elsewhere, NULL);
    pthread_join(thread, NULL);
    ev_run(loop, 0);
    assert_story("ended: 0 \n");
    assert_checked();
}

OSR_TASK(attach_inside, void, unused)
{
    struct osr_attachment other;

    check_int(osr_attach(&other, loop, nothing, NULL), -EBUSY);
    check_int(osr_detach(&other, NULL), -EBUSY);
    return 0;
}

TEST(a_thread_has_one_run_at_a_time)
{
    struct osr_attachment other;
    struct osr_runner *runner;
    int number = 1;

    assert_int_equal(osr_runner_new(&runner, .debug = true), 0);
    attach_told(nothing, NULL);
    assert_int_equal(osr_attach(&other, loop, nothing, NULL), -EBUSY);
    assert_int_equal(osr_run(give, &number), -EBUSY);
    assert_int_equal(osr_runner_run(runner, give, &number), -EBUSY);
    assert_int_equal(osr_runner_free(runner), 0);
    ev_run(loop, 0);
    assert_int_equal(osr_run(attach_inside, NULL), 0);
    assert_checked();
}

TEST(what_makes_no_sense_is_refused)
{
    const struct osr_attach_options older = {.size = 8};
    const struct osr_routine none = {0};

    assert_int_equal(osr_attach_with(NULL, loop, &nothing.routine_, NULL, NULL), -EINVAL);
    assert_int_equal(osr_attach(&tasks, NULL, nothing, NULL), -EINVAL);
    assert_int_equal(osr_attach_with(&tasks, loop, NULL, NULL, NULL), -EINVAL);
    assert_int_equal(osr_attach_with(&tasks, loop, &none, NULL, NULL), -EINVAL);
    assert_int_equal(osr_attach_with(&tasks, loop, &nothing.routine_, NULL, &older), -EINVAL);
    assert_int_equal(attach(nothing, NULL, .run.clock = OSR_CLOCK_SIMULATED), -EINVAL);
    assert_int_equal(attach(nothing, NULL, .run.size = 8), -EINVAL);
    assert_int_equal(osr_detach(&tasks, NULL), -EINVAL);
    assert_int_equal(osr_detach(NULL, NULL), -EINVAL);
    assert_int_equal(osr_attachment_cancel(NULL, NULL), -EINVAL);
    assert_int_equal(osr_attachment_cancel(&tasks, NULL), -ESTALE);
    assert_int_equal(osr_attach_with(&tasks, loop, &nothing.routine_, NULL, NULL), 0);
    ev_run(loop, 0);
    osr_error_clear();
}

OSR_TASK(run_the_loop, void, unused)
{
    ev_run(loop, EVRUN_NOWAIT);
    return 0;
}

static void have_a_task_run_the_loop(void)
{
    (void)attach(run_the_loop, NULL);
    ev_run(loop, 0);
}

static void *run_elsewhere(void *arg)
{
    ev_run(loop, 0);
    return arg;
}

static void run_the_loop_in_another_thread(void)
{
    pthread_t thread;

    (void)attach(nothing, NULL);
    pthread_create(&thread, NULL, run_elsewhere, NULL);
    pthread_join(thread, NULL);
}

TEST(running_the_loop_where_it_must_not_be_stops_the_program)
{
    assert_dies(have_a_task_run_the_loop, SIGABRT, "osier: task \"run_the_loop\", spawned at tests/test_attach.c:");
    assert_dies(run_the_loop_in_another_thread, SIGABRT, "osier: ev_run() in another thread than osr_attach()");
}

/* ---- Descriptors ------------------------------------------------------------------------------------------ */

OSR_TASK(close_raw, int, fd)
{
    close(*fd);
    return 0;
}

OSR_TASK(read_what_is_closed, int, fd)
{
    struct osr_group group;
    char byte;

    osr_group_open(&group);
    osr_spawn(&group, close_raw, fd);
    check_int(osr_read(*fd, &byte, 1), -EBADF);
    return osr_group_close(&group, 0);
}

TEST(a_descriptor_closed_behind_our_back_is_bad_and_libev_never_hears_of_it)
{
    int pipes[2];

    assert_return_code(pipe(pipes), errno);
    attach_told(read_what_is_closed, &pipes[0]);
    ev_run(loop, 0);
    close(pipes[1]);
    assert_story("ended: 0 \n");
    assert_checked();
}

struct polled {
    int own, other;
};

/* The epoll descriptor that has been opened last. */
static int last_epoll(void)
{
    char path[64], target[64];
    int fd, last = -1;

    for (fd = 0; fd < 1000; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        if (n > 0 && (target[n] = '\0', strstr(target, "eventpoll")))
            last = fd;
    }
    return last;
}

OSR_TASK(wait_for_loops, struct polled, polled)
{
    check_int(osr_fd_readable(polled->own), -EBADF);
    return osr_fd_readable(polled->other);
}

static void set_up_polled(struct polled *polled, int *readable)
{
    struct epoll_event wanted = {.events = EPOLLIN};

    assert_return_code(pipe(readable), errno);
    polled->own = last_epoll();
    polled->other = epoll_create1(EPOLL_CLOEXEC);
    assert_true(polled->own >= 0 && polled->other >= 0);
    assert_return_code(epoll_ctl(polled->other, EPOLL_CTL_ADD, readable[0], &wanted), errno);
    assert_int_equal(write(readable[1], "x", 1), 1);
}

TEST(another_loops_descriptor_can_be_waited_for_the_loops_own_cannot)
{
    struct polled polled;
    int readable[2];

    set_up_polled(&polled, readable);
    attach_told(wait_for_loops, &polled);
    ev_run(loop, 0);
    close(readable[0]), close(readable[1]), close(polled.other);
    assert_story("ended: 0 \n");
    assert_checked();
}

/* ---- Faults, threads, forks ------------------------------------------------------------------------------- */

struct fault {
    unsigned asked, at;
};

static unsigned fail_once(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct fault *fault = arg;

    (void)n, (void)what;
    return kind == OSR_CHOICE_FAULT && ++fault->asked == fault->at;
}

static bool fails_to_attach(struct fault *fault)
{
    int rc = attach(nothing, NULL, .run.choose = fail_once, .run.choose_arg = fault);

    assert_true(rc == 0 || rc == -ENOMEM || rc == -EMFILE);
    assert_int_equal(osr_detach(&tasks, NULL), rc);
    assert_int_equal(active(), 0);
    assert_int_equal(counting.live, 0);
    assert_int_equal(open_descriptors(), descriptors);
    return rc < 0;
}

TEST(each_step_of_attaching_may_fail)
{
    struct fault none = {0}, fault = {0};
    int failed = 0;

    descriptors = open_descriptors();
    do {
        counting = (struct counting){.fail_at = counting.fail_at + 1};
        failed += fails_to_attach(&none);
    } while (counting.made >= counting.fail_at);
    assert_true(failed >= 5);
    counting = (struct counting){0};
    do {
        fault.at++;
        fault.asked = 0;
        failed += fails_to_attach(&fault);
    } while (fault.asked >= fault.at);
    assert_true(failed >= 7);
    descriptors = -1;
}

static void *run_a_loop_of_its_own(void *arg)
{
    struct ev_loop *own = ev_loop_new(EVFLAG_AUTO);
    struct osr_attachment attachment;
    int ms[] = {3600000, 5}, i, *ran = arg;

    for (i = 0; i < 20; i++) {
        *ran += osr_attach(&attachment, own, nap, &ms[i % 2], .run.debug = true) == 0;
        if (i % 2)
            ev_run(own, 0);
        *ran += osr_detach(&attachment, "next") == (i % 2 ? 0 : -OSR_ETASKCANCELED);
    }
    ev_loop_destroy(own);
    return NULL;
}

TEST(two_threads_may_each_run_a_loop_with_tasks)
{
    pthread_t threads[2];
    int ran[2] = {0}, i;

    for (i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, run_a_loop_of_its_own, &ran[i]);
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(ran[0], 40);
    assert_int_equal(ran[1], 40);
}

static void go_on_in_a_child(void)
{
    int number = 5;

    check_int(osr_detach(&tasks, NULL), -EPERM);
    check_int(osr_attachment_cancel(&tasks, NULL), -EPERM);
    check_int(osr_event_set(&event), -EPERM);
    ev_loop_fork(loop);
    ev_run(loop, 0); /* returns: nothing is on it */
    check_int(osr_run(give, &number), 5);
}

OSR_TASK(read_or_wait, int, fd)
{
    struct osr_group group;
    char byte;

    osr_group_open(&group);
    osr_spawn(&group, wait_for_event, NULL);
    check_int(osr_read(*fd, &byte, 1), 1);
    return osr_group_close(&group, 0);
}

static void fork_here(void) { assert_child_succeeds(go_on_in_a_child); }

TEST(in_a_forked_child_the_run_leaves_the_loop_and_goes_on_here)
{
    int pipes[2];

    assert_return_code(pipe(pipes), errno);
    osr_event_init(&event);
    attach_told(read_or_wait, &pipes[0]);
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    fork_here();
    assert_int_equal(write(pipes[1], "x", 1), 1);
    fork_here();
    set_alarm(&first_alarm, 0.001, fork_here); /* libev calls it with the task's descriptor found ready, but not told */
    busy_until(osr_time_add(osr_now(), osr_ms(3)));
    ev_run(loop, EVRUN_NOWAIT);
    set_event();
    ev_run(loop, 0);
    close(pipes[0]), close(pipes[1]);
    assert_story("set\nwoken: 0\nended: 0 \n");
    assert_checked();
}

static void attach_in_a_child(void)
{
    struct osr_attachment another;
    int ms = 2;

    ev_loop_fork(loop);
    check_int(osr_attach(&another, loop, nap, &ms), 0);
    ev_run(loop, 0);
    check_int(osr_detach(&another, NULL), 0);
}

static void fork_and_attach(void) { assert_child_succeeds(attach_in_a_child); }

TEST(what_is_ready_for_a_parents_task_is_not_told_to_a_run_that_its_forked_child_attaches)
{
    int pipes[2];

    assert_return_code(pipe(pipes), errno);
    osr_event_init(&event);
    attach_told(read_or_wait, &pipes[0]);
    ev_run(loop, EVRUN_NOWAIT);
    ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    set_alarm(&first_alarm, 0.001, fork_and_attach); /* with the task's descriptor found ready, but not told */
    busy_until(osr_time_add(osr_now(), osr_ms(3)));
    ev_run(loop, EVRUN_NOWAIT);
    set_event();
    ev_run(loop, 0);
    close(pipes[0]), close(pipes[1]);
    assert_story("set\nwoken: 0\nended: 0 \n");
    assert_checked();
}

static void use_the_default_loop(void)
{
    struct osr_attachment on_default;
    int ms = 2;

    check_int(osr_attach(&on_default, EV_DEFAULT, nap, &ms), 0);
    ev_run(EV_DEFAULT, 0);
    check_int(osr_detach(&on_default, NULL), 0);
}

TEST(the_loop_may_be_the_default_loop)
{
    assert_child_succeeds(use_the_default_loop);
}

/* ---- The loop of a runner --------------------------------------------------------------------------------- */

static struct osr_runner *runner;

static int begin_runner(void **state)
{
    make_loop(state);
    ev_loop_destroy(loop);
    loop = NULL;
    return osr_runner_new(&runner, .debug = true, .allocator = &counting_allocator);
}

static int end_runner(void **state)
{
    (void)state;
    if (osr_runner_free(runner) < 0)
        return -1;
    return counting.live == 0 && open_descriptors() == descriptors ? 0 : -1;
}

static void use_and_set_event(void)
{
    check(osr_self().id_ == 0);
    check_int(osr_sleep(1), -EPERM);
    set_event();
}

TEST(a_program_may_put_watchers_of_its_own_on_a_runners_loop)
{
    loop = osr_runner_loop(runner);
    assert_non_null(loop);
    assert_ptr_equal(osr_runner_loop(runner), loop);
    osr_event_init(&event);
    set_alarm(&first_alarm, 0.002, use_and_set_event);
    assert_int_equal(osr_runner_run(runner, wait_for_event, NULL), 0); /* which is not taken for stuck */
    osr_event_init(&event);
    set_alarm(&first_alarm, 0.002, use_and_set_event);
    assert_int_equal(osr_runner_run(runner, wait_for_event, NULL), 0);
    assert_story("set\nwoken: 0\nset\nwoken: 0\n");
    assert_checked();
}

OSR_TASK(ask_for_the_loop, void, unused)
{
    loop = osr_runner_loop(runner);
    check(loop != NULL);
    set_alarm(&first_alarm, 0.002, use_and_set_event);
    return osr_event_wait(&event);
}

TEST(a_task_may_do_so_too)
{
    osr_event_init(&event);
    assert_int_equal(osr_runner_run(runner, ask_for_the_loop, NULL), 0);
    assert_story("set\n");
    assert_checked();
}

static int with_runner(void)
{
    set_alarm(&first_alarm, sized(60, 600) * 1e-3, note_alarm);
    return osr_runner_run(runner, run_into_the_deadline, NULL);
}

TEST(there_too_a_check_delivers_what_is_complete_and_calls_no_watcher)
{
    loop = osr_runner_loop(runner);
    run_into_it_with(with_runner);
    ev_timer_stop(loop, &first_alarm.timer);
}

TEST(there_too_the_loops_own_descriptor_cannot_be_waited_for)
{
    struct polled polled;
    int readable[2];

    assert_non_null(osr_runner_loop(runner));
    set_up_polled(&polled, readable);
    assert_int_equal(osr_runner_run(runner, wait_for_loops, &polled), 0);
    close(readable[0]), close(readable[1]), close(polled.other);
    assert_checked();
}

static void *ask_from_elsewhere(void *arg)
{
    check(osr_runner_loop(arg) == NULL);
    return NULL;
}

TEST(who_has_no_business_with_the_loop_gets_none)
{
    struct osr_runner *simulated;
    pthread_t thread;

    assert_null(osr_runner_loop(NULL));
    assert_int_equal(osr_runner_new(&simulated, .clock = OSR_CLOCK_SIMULATED), 0);
    assert_null(osr_runner_loop(simulated));
    assert_int_equal(osr_runner_free(simulated), 0);
    pthread_create(&thread, NULL, ask_from_elsewhere, runner);
    pthread_join(thread, NULL);
    assert_checked();
}

#define loop_test(function)   cmocka_unit_test_setup_teardown(function, make_loop, destroy_loop)
#define runner_test(function) cmocka_unit_test_setup_teardown(function, begin_runner, end_runner)

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* These fork: before there are threads. */
        loop_test(running_the_loop_where_it_must_not_be_stops_the_program),
        loop_test(in_a_forked_child_the_run_leaves_the_loop_and_goes_on_here),
        loop_test(what_is_ready_for_a_parents_task_is_not_told_to_a_run_that_its_forked_child_attaches),
        loop_test(the_loop_may_be_the_default_loop),
        /* And these need not. */
        loop_test(a_root_runs_inside_the_programs_loop_and_its_end_is_told_there),
        loop_test(after_the_end_nothing_is_left_to_do),
        loop_test(nobody_need_be_told_and_the_root_may_have_a_name),
        loop_test(the_root_is_queued_and_begins_in_the_second_iteration),
        loop_test(when_the_end_is_told_the_next_may_be_attached),
        loop_test(a_fatal_error_ends_it_as_it_ends_any_run),
        loop_test(watchers_wake_tasks_and_tasks_start_watchers),
        loop_test(callbacks_are_on_no_task_and_may_do_what_callbacks_of_a_run_may),
        loop_test(between_runs_of_the_loop_tasks_may_be_woken_too),
        loop_test(an_idle_run_makes_no_iterations_and_takes_no_time),
        loop_test(deadlines_come_on_time),
        loop_test(a_deadline_that_passes_in_the_very_turn_is_not_forgotten),
        loop_test(the_earliest_moment_of_all_is_over_too),
        loop_test(as_long_as_nothing_is_due_libev_alone_says_what_is_ready),
        loop_test(a_task_that_yields_for_ever_does_not_starve_watchers),
        loop_test(a_watcher_that_always_comes_does_not_starve_tasks_nor_they_it),
        loop_test(tasks_advance_in_a_nested_run_of_the_loop),
        loop_test(a_turn_is_not_taken_inside_of_another),
        loop_test(the_loop_may_be_broken_and_run_again),
        loop_test(a_check_delivers_what_is_complete_and_calls_no_watcher),
        loop_test(what_is_complete_comes_before_a_deadline_that_passed_in_a_callback),
        loop_test(room_that_was_made_comes_before_a_deadline_that_passed_in_a_callback),
        loop_test(detaching_cancels_tasks_that_wait_in_anything_and_gives_the_result),
        loop_test(in_a_callback_too_and_watchers_are_called_meanwhile),
        loop_test(the_root_may_end_in_a_nested_run_of_the_loop_while_it_is_detached),
        loop_test(a_root_that_has_not_begun_still_begins),
        loop_test(the_error_is_in_the_slot_whatever_was_called_at_the_end),
        loop_test(what_is_in_the_slot_of_the_programs_watchers_is_no_leak),
        loop_test(a_callback_may_draw_the_tree),
        loop_test(a_callback_may_cancel_the_root_with_a_reason_and_go_on),
        loop_test(so_may_a_task),
        loop_test(a_break_during_detaching_is_for_the_programs_own_run_of_the_loop),
        loop_test(the_end_may_break_the_loop),
        loop_test(a_task_or_a_call_cannot_detach_what_it_is_part_of),
        loop_test(detaching_is_not_done_twice_at_once),
        loop_test(other_threads_are_refused),
        loop_test(a_thread_has_one_run_at_a_time),
        loop_test(what_makes_no_sense_is_refused),
        loop_test(a_descriptor_closed_behind_our_back_is_bad_and_libev_never_hears_of_it),
        loop_test(another_loops_descriptor_can_be_waited_for_the_loops_own_cannot),
        loop_test(each_step_of_attaching_may_fail),
        loop_test(two_threads_may_each_run_a_loop_with_tasks),
        runner_test(a_program_may_put_watchers_of_its_own_on_a_runners_loop),
        runner_test(a_task_may_do_so_too),
        runner_test(there_too_a_check_delivers_what_is_complete_and_calls_no_watcher),
        runner_test(there_too_the_loops_own_descriptor_cannot_be_waited_for),
        runner_test(who_has_no_business_with_the_loop_gets_none),
    };

    return cmocka_run_group_tests_name("attaching", tests, NULL, NULL);
}
