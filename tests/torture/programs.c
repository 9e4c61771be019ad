#include "programs.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <osier.h>
#include <osier/attach.h>

static int first_error(int first, int second) { return first < 0 ? first : second; }
static int only_errors(int rc) { return rc < 0 ? rc : 0; }

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }
OSR_TASK(give_number, int, number) { return *number; }

/* ---- A program of groups, scopes and handles ----------------------------------------------------------- */

OSR_TASK(nap, int, number)
{
    struct osr_scope soon, shield;
    int rc;

    rc = osr_move_on_open(&soon, osr_ms(1 + *number));
    rc = osr_scope_close(&soon, rc == 0 ? osr_sleep(OSR_NEVER) : rc);
    if (rc == 0)
        rc = osr_yield();
    osr_shield_open(&shield, osr_ms(100));
    rc = osr_scope_close(&shield, first_error(rc, osr_sleep(osr_ms(1))));
    return rc < 0 ? rc : *number;
}

OSR_TASK(join_it, struct osr_task, target)
{
    return only_errors(osr_task_join(*target));
}

OSR_TASK(own_a_group, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    int number = 3, rc;

    osr_group_open(&group, .name = "a group of a child's");
    rc = osr_spawn(&group, nap, &number);
    if (rc == 0)
        rc = osr_spawn(&group, nap, &number, .eager = true);
    osr_timeout_open(&limit, osr_s(1));
    (void)osr_scope_set_deadline(&limit, osr_time_add(osr_now(), osr_s(2)));
    rc = osr_scope_close(&limit, first_error(rc, osr_check()));
    return osr_group_close(&group, rc);
}

OSR_TASK(use_groups, void, unused)
{
    struct osr_group group, inner;
    struct osr_scope limit;
    struct osr_task handles[6];
    int rc = 0, i;

    osr_timeout_open(&limit, osr_s(5));
    osr_group_open(&group, .name = "outer", .limit = 3);
    for (i = 0; i < 6 && rc == 0; i++)
        rc = osr_spawn_copy(&group, nap, &i, .name = "napper", .handle = &handles[i], .eager = i % 2 == 0);
    for (i = 0; i < 6 && rc == 0; i++)
        rc = only_errors(osr_task_join(handles[i]));
    if (rc == 0)
        rc = osr_task_release(&handles[0]);
    osr_group_open(&inner, .name = "inner");
    if (rc == 0)
        rc = osr_spawn(&inner, own_a_group, NULL);
    if (rc == 0)
        rc = osr_spawn(&inner, sleep_forever, NULL, .handle = &handles[0]);
    if (rc == 0)
        rc = osr_spawn(&inner, sleep_forever, NULL);
    if (rc == 0)
        rc = osr_sleep(osr_ms(20));
    if (rc == 0)
        rc = osr_task_cancel(handles[0], "not needed");
    if (rc == 0)
        rc = osr_task_join(handles[0]) == -OSR_ETASKCANCELED ? 0 : -EPROTO;
    (void)osr_tree_format(NULL, 0);
    osr_group_cancel(&inner, "enough");
    rc = osr_group_close(&inner, rc == -ECANCELED ? 0 : rc);
    rc = osr_group_close(&group, rc);
    return osr_scope_close(&limit, rc);
}

/* ---- A program of many tasks --------------------------------------------------------------------------- */

OSR_TASK(use_many_tasks, void, unused)
{
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < 150 && rc == 0; i++)
        rc = osr_spawn_copy(&group, nap, &i);
    return osr_group_close(&group, rc);
}

/* ---- A program of errors ------------------------------------------------------------------------------- */

OSR_TASK(fail_with, int, code)
{
    int rc = osr_sleep(OSR_NEVER);

    if (*code == -EIO)
        rc = osr_fail(*code, "failed with %s", osr_strcode(*code));
    else if (*code == -EPROTO)
        rc = osr_wrap(osr_fail(-ENOENT, "the cause"), "the effect");
    else
        rc = *code;
    return rc;
}

OSR_TASK(fail_in_a_group, void, unused)
{
    int codes[] = {-EIO, -EPROTO, -EDOM};
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group, .name = "failing");
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, fail_with, &codes[i]);
    if (rc == 0)
        rc = osr_yield();
    return osr_group_close(&group, rc < 0 ? rc : osr_fail(-ENOSPC, "the body failed"));
}

static int examine(struct osr_error *error)
{
    struct osr_error *matching = NULL, *rest = NULL, *derived = NULL;
    int wanted = EIO, rc;

    (void)osr_error_format(error, NULL, 0);
    rc = osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest);
    if (rc == 0 && matching && rest) {
        derived = osr_error_derive(error, &matching, 1);
        if (!derived)
            rc = -ENOMEM;
    }
    osr_error_release(matching);
    osr_error_release(rest);
    osr_error_release(derived);
    return rc;
}

OSR_TASK(use_errors, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    struct osr_error *error;
    int rc;

    rc = osr_timeout_open(&limit, osr_ms(5));
    if (rc == 0)
        (void)osr_sleep(OSR_NEVER);
    rc = osr_scope_close(&limit, rc == 0 ? osr_fail(-EIO, "real and late") : rc);
    if (rc != -EIO)
        return rc < 0 ? rc : -EPROTO;
    osr_group_open(&group, .name = "all");
    rc = osr_spawn(&group, fail_in_a_group, NULL);
    rc = osr_group_close(&group, rc);
    if (rc != -OSR_EGROUP)
        return rc < 0 ? rc : -EPROTO;
    error = osr_error_take();
    if (osr_error_count(error) < 1)
        rc = -EBADE;
    else if (osr_error_find(error, ENOMEM))
        rc = -ENOMEM;
    else
        rc = examine(error);
    osr_error_release(error);
    return rc;
}

/* ---- A program of guards, and one that is interrupted -------------------------------------------------- */

static int use_guards_inside(void)
{
    int code = -EIO, rc;
    OSR_GUARD_TIMEOUT(limit, osr_s(1));
    OSR_GUARD_GROUP(workers, .name = "workers");

    rc = osr_spawn(&workers, fail_with, &code);
    return rc < 0 ? rc : osr_yield();
}

OSR_TASK(use_guards, void, unused)
{
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    rc = use_guards_inside();
    rc = osr_scope_close(&scope, rc);
    return rc == -OSR_EGROUP && !osr_error_find(osr_error_last(), ENOMEM) ? 0 : rc < 0 ? rc : -EPROTO;
}

OSR_TASK(interrupt, void, unused) { return osr_fail_fatal(-EINTR, "interrupted"); }

OSR_TASK(be_interrupted, void, unused)
{
    struct osr_group group;
    int rc, number = 5;

    osr_group_open(&group);
    rc = osr_spawn(&group, nap, &number);
    if (rc == 0)
        rc = osr_spawn(&group, interrupt, NULL);
    return osr_group_close(&group, rc);
}

OSR_TASK(be_stuck, void, unused)
{
    struct osr_group group;
    struct osr_task handle;
    int rc;

    osr_group_open(&group);
    rc = osr_spawn(&group, sleep_forever, NULL, .handle = &handle);
    if (rc == 0)
        rc = osr_spawn(&group, join_it, &handle);
    return osr_group_close(&group, rc);
}

/* ---- Programs of sockets and pipes --------------------------------------------------------------------- */

OSR_TASK(echo, int, fd)
{
    char bytes[64];
    int n, rc = 0;

    while (rc == 0 && (n = osr_read(*fd, bytes, sizeof(bytes))) != 0)
        rc = n < 0 ? n : osr_write_all(*fd, bytes, (size_t)n, NULL);
    return first_error(rc, osr_fd_close(*fd));
}

OSR_TASK(serve_two, int, listener)
{
    struct osr_group group;
    struct osr_address peer;
    int rc = 0, i, fd;

    osr_group_open(&group, .name = "connections");
    for (i = 0; i < 2 && rc == 0; i++) {
        rc = fd = osr_accept(*listener, &peer);
        if (fd >= 0)
            rc = osr_spawn_copy(&group, echo, &fd);
        if (fd >= 0 && rc < 0)
            (void)osr_fd_close(fd);
    }
    return osr_group_close(&group, rc);
}

OSR_TASK(be_a_client, struct osr_address, address)
{
    char bytes[8];
    size_t written;
    int fd = osr_connect(address), rc, n = 0;

    if (fd < 0)
        return fd;
    rc = osr_fd_writable(fd);
    if (rc == 0)
        rc = osr_write_all(fd, "hello", 5, &written);
    if (rc == 0)
        rc = osr_fd_readable(fd);
    while (rc == 0 && n < 5) {
        rc = osr_read(fd, bytes, sizeof(bytes));
        n += rc > 0 ? rc : 5;
        rc = only_errors(rc);
    }
    return first_error(rc, osr_fd_close(fd));
}

/* Under a deadline: where accept() fails for ever because connections are gone, there is nothing else to end it. */
OSR_TASK(use_sockets, void, unused)
{
    struct osr_address address;
    struct osr_group group;
    struct osr_scope limit;
    int listener, rc, i;

    rc = osr_address_ip(&address, "127.0.0.1", 0);
    if (rc < 0)
        return rc;
    listener = osr_listen(&address, 0);
    if (listener < 0)
        return listener;
    osr_timeout_open(&limit, osr_s(2));
    rc = osr_socket_address(listener, &address);
    osr_group_open(&group, .name = "server and clients");
    if (rc == 0)
        rc = osr_spawn(&group, serve_two, &listener);
    for (i = 0; i < 2 && rc == 0; i++)
        rc = osr_spawn(&group, be_a_client, &address);
    rc = osr_scope_close(&limit, osr_group_close(&group, rc));
    return first_error(rc, osr_fd_close(listener));
}

OSR_TASK(connect_in_vain, void, unused)
{
    struct osr_address address;
    struct osr_scope limit;
    int rc = osr_address_unix(&address, "/tmp/there-is-no-such-directory/socket");

    if (rc == 0)
        rc = osr_connect(&address);
    if (rc != -ENOENT)
        return rc < 0 ? rc : -EPROTO;
    rc = osr_move_on_open(&limit, 0);
    return osr_scope_close(&limit, rc == 0 ? osr_connect(&address) : rc);
}

static int zeros_fd[2];

OSR_TASK(read_all, int, fd)
{
    static char sink[65536];
    int n;

    do
        n = osr_read(*fd, sink, sizeof(sink));
    while (n > 0);
    return n;
}

static int pour(int a, int b)
{
    static const char zeros[300000];
    struct osr_group group;
    int rc, closed;

    osr_group_open(&group);
    rc = osr_spawn(&group, read_all, &a);
    if (rc == 0)
        rc = osr_write_all(b, zeros, sizeof(zeros), NULL);
    closed = osr_fd_close(b);
    rc = osr_group_close(&group, first_error(rc, closed));
    return first_error(rc, osr_fd_close(a));
}

OSR_TASK(use_blocking_pipe, void, unused)
{
    return pipe(zeros_fd) < 0 ? osr_fail(-errno, "no pipe") : pour(zeros_fd[0], zeros_fd[1]);
}

OSR_TASK(use_blocking_sockets, void, unused)
{
    return socketpair(AF_UNIX, SOCK_STREAM, 0, zeros_fd) < 0 ? osr_fail(-errno, "no pair")
                                                              : pour(zeros_fd[0], zeros_fd[1]);
}

OSR_TASK(close_under_a_reader, void, unused)
{
    struct osr_group group;
    int rc, fds[2];

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return osr_fail(-errno, "no pair");
    osr_group_open(&group, .unwrap = true);
    rc = osr_spawn(&group, read_all, &fds[0]);
    if (rc == 0)
        rc = osr_sleep(osr_us(100));
    rc = first_error(rc, osr_fd_close(fds[0]));
    rc = osr_group_close(&group, rc);
    (void)osr_fd_close(fds[1]);
    return rc == -EBADF ? 0 : rc < 0 ? rc : -EPROTO;
}

/* ---- A program of every primitive ---------------------------------------------------------------------- */

struct primitives {
    struct osr_event event;
    struct osr_lock lock;
    struct osr_condition condition;
    struct osr_semaphore semaphore, bounded;
    struct osr_limiter limiter;
    struct osr_barrier barrier;
    struct osr_queue queue, sorted;
    struct osr_future future;
    struct osr_call call, later, done;
    int count;
};

static int by_number(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
static void set_event(void *arg) { (void)osr_event_set(arg); }
static void complete(void *arg) { (void)osr_future_complete(arg, arg); }
static void count(void *arg) { ++*(int *)arg; }

OSR_TASK(be_the_other, struct primitives, p)
{
    struct osr_permit permit;
    int rc = osr_event_wait(&p->event), item;

    if (rc == 0)
        rc = osr_lock_acquire(&p->lock);
    if (rc == 0) {
        p->count++;
        (void)osr_condition_notify(&p->condition, 1);
        rc = osr_lock_release(&p->lock);
    }
    if (rc == 0)
        rc = osr_limiter_acquire(&p->limiter, &permit);
    if (rc == 0)
        rc = osr_limiter_release(&p->limiter, &permit);
    if (rc == 0)
        rc = osr_semaphore_release(&p->semaphore);
    if (rc == 0)
        rc = only_errors(osr_barrier_wait(&p->barrier));
    while (rc == 0 && (rc = osr_queue_get(&p->queue, &item)) == 0)
        rc = osr_queue_task_done(&p->queue);
    return rc == -ESHUTDOWN ? 0 : rc;
}

static int put_and_select(struct primitives *p)
{
    int item = 7, other = 0, rc = 0, i;
    struct osr_case cases[] = {OSR_GET(&p->sorted, &other), OSR_PUT(&p->queue, &item)};

    for (i = 0; i < 20 && rc == 0; i++)
        rc = osr_queue_put(&p->sorted, &i);
    if (rc == 0)
        rc = osr_queue_try_get(&p->sorted, &other);
    for (i = 0; i < 4 && rc == 0; i++)
        rc = osr_queue_put(&p->queue, &i);
    if (rc == 0)
        rc = only_errors(osr_select(cases, 2, OSR_NEVER));
    if (rc == 0)
        rc = only_errors(osr_try_select(cases, 1));
    return rc == 0 ? osr_queue_join(&p->queue) : rc;
}

static int use_with_the_other(struct primitives *p)
{
    struct osr_scope soon;
    void *value;
    int rc = osr_lock_acquire(&p->lock);

    while (rc == 0 && p->count == 0)
        rc = osr_condition_wait(&p->condition);
    if (osr_lock_is_mine(&p->lock))
        (void)osr_lock_release(&p->lock);
    if (rc == 0)
        rc = osr_semaphore_acquire(&p->semaphore);
    if (rc == 0)
        rc = only_errors(osr_barrier_wait(&p->barrier));
    if (rc == 0)
        rc = osr_future_wait(&p->future, &value);
    if (rc == 0)
        rc = put_and_select(p);
    rc = first_error(rc, osr_move_on_open(&soon, osr_ms(1)));
    rc = osr_scope_close(&soon, rc < 0 ? rc : osr_semaphore_acquire(&p->semaphore));
    return first_error(rc, osr_queue_shutdown(&p->queue, false));
}

static int open_primitives(struct primitives *p)
{
    int rc = osr_queue_init(&p->queue, sizeof(int), 2);

    if (rc == 0)
        rc = osr_queue_init(&p->sorted, sizeof(int), OSR_UNBOUNDED, .order = OSR_QUEUE_PRIORITY, .compare = by_number);
    osr_event_init(&p->event);
    osr_lock_init(&p->lock);
    osr_condition_init(&p->condition, &p->lock);
    osr_semaphore_init(&p->semaphore, 0);
    osr_semaphore_init_bounded(&p->bounded, 2);
    osr_limiter_init(&p->limiter, 1);
    osr_barrier_init(&p->barrier, 2);
    osr_future_init(&p->future, NULL, NULL);
    return rc;
}

OSR_TASK(use_primitives, void, unused)
{
    struct primitives p = {.count = 0};
    struct osr_group group;
    struct osr_task other;
    int rc = open_primitives(&p);

    osr_group_open(&group, .unwrap = true);
    if (rc == 0)
        rc = osr_spawn(&group, be_the_other, &p, .handle = &other);
    if (rc == 0)
        rc = osr_task_on_done(other, &p.done, count, &p.count);
    if (rc == 0)
        rc = osr_future_on_done(&p.future, &p.call, count, &p.count);
    if (rc == 0)
        rc = osr_call_later(&p.later, osr_ms(1), complete, &p.future);
    (void)osr_event_set(&p.event);
    if (rc == 0)
        rc = use_with_the_other(&p);
    rc = osr_group_close(&group, rc);
    (void)osr_queue_destroy(&p.queue);
    (void)osr_queue_destroy(&p.sorted);
    return rc;
}

/* The event that the other one waits for is set from a call. */
OSR_TASK(use_calls, void, unused)
{
    struct osr_event event;
    struct osr_call soon, later, never;
    int rc;

    osr_event_init(&event);
    rc = osr_call_later(&later, osr_ms(2), set_event, &event);
    if (rc == 0)
        rc = osr_call_soon(&soon, set_event, &event);
    if (rc == 0)
        rc = osr_event_wait(&event);
    (void)osr_event_clear(&event);
    if (rc == 0)
        rc = osr_call_at(&never, osr_time_add(osr_now(), osr_s(9)), set_event, &event);
    if (rc == 0)
        rc = osr_event_wait(&event);
    return rc == 0 ? osr_call_cancel(&never) : rc;
}

/* ---- Programs of groups' finer points ------------------------------------------------------------------ */

static char key;

static int take_a_nap(void *arg)
{
    (void)arg;
    return osr_sleep(osr_ms(1));
}

static int fail_to_clean_up(void *arg)
{
    (void)arg;
    return osr_fail(-ENOTEMPTY, "something is left");
}

OSR_TASK(start_up, void, unused)
{
    int rc = osr_sleep(osr_ms(1));

    if (rc == 0)
        rc = osr_value(&key) ? osr_started() : -EPROTO;
    return rc == 0 ? osr_sleep(osr_ms(1)) : rc;
}

static int clean_up_and_fail(void)
{
    struct osr_cleanup first, second;
    struct osr_scope scope;
    int rc;

    osr_scope_open(&scope);
    rc = osr_defer(&first, take_a_nap, NULL, osr_s(1));
    if (rc == 0)
        rc = osr_defer_unlimited(&second, fail_to_clean_up, NULL);
    rc = osr_scope_close(&scope, rc);
    if (rc != -OSR_EGROUP || osr_error_find(osr_error_last(), ENOMEM))
        return rc < 0 ? rc : -EPROTO;
    osr_error_clear();
    return 0;
}

static int gather_outcomes(void)
{
    int numbers[3] = {1, -EIO, 3}, results[2], rc, i;
    struct osr_outcome outcomes[3];

    rc = osr_gather(give_number, numbers, 3, .outcomes = outcomes);
    for (i = 0; i < 3; i++) {
        if (rc == 0 && outcomes[i].rc != numbers[i])
            rc = outcomes[i].rc < 0 ? outcomes[i].rc : -EPROTO;
        osr_error_release(outcomes[i].error);
    }
    numbers[1] = 2;
    return rc == 0 ? osr_gather(give_number, numbers, 2, .results = results, .limit = 1) : rc;
}

static int race(enum osr_policy policy)
{
    int numbers[] = {-EIO, 2, 3}, rc = 0, i;
    struct osr_group group;
    struct osr_task ended;

    osr_group_open(&group, .policy = policy);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, give_number, &numbers[i], .daemon = i == 2);
    if (rc == 0)
        rc = only_errors(osr_group_next(&group, &ended));
    if (rc == 0)
        (void)osr_task_error(ended);
    (void)osr_group_winner(&group);
    (void)osr_group_losses(&group);
    rc = osr_group_close(&group, rc);
    return rc == -OSR_EGROUP && policy != OSR_FIRST_SUCCESS && !osr_error_find(osr_error_last(), ENOMEM) ? 0 : rc;
}

OSR_TASK(use_policies, void, unused)
{
    struct osr_binding binding;
    struct osr_group group;
    int value = 1, rc;

    rc = osr_bind(&binding, &key, &value);
    osr_group_open(&group);
    if (rc == 0)
        rc = only_errors(osr_start(&group, start_up, NULL));
    if (rc == 0)
        rc = clean_up_and_fail();
    if (rc == 0)
        rc = gather_outcomes();
    if (rc == 0)
        rc = race(OSR_COLLECT);
    if (rc == 0)
        rc = race(OSR_FIRST_DONE);
    if (rc == 0)
        rc = race(OSR_FIRST_SUCCESS);
    return osr_group_close(&group, rc);
}

/* ---- Programs that look at themselves ------------------------------------------------------------------ */

OSR_TASK(look_at_it, void, unused)
{
    FILE *sink = fopen("/dev/null", "w");
    struct osr_group group;
    int number = 1, fds[2], rc;
    char byte;

    if (!sink)
        return -errno;
    if (pipe(fds) < 0) {
        rc = -errno;
        fclose(sink);
        return rc;
    }
    osr_group_open(&group, .name = "looked at");
    rc = osr_spawn(&group, nap, &number);
    if (rc == 0)
        rc = osr_yield();
    (void)osr_tree_print(sink);
    (void)osr_leaks_report();
    osr_fault_report(NULL);
    if (rc == 0)
        rc = osr_sleep(osr_ms(1));
    rc = osr_group_close(&group, rc);
    (void)osr_error_print(osr_error_last(), sink);
    fclose(sink);
    if (rc == 0)
        rc = only_errors(osr_write(fds[1], "x", 1));
    if (rc == 0)
        rc = only_errors(osr_read(fds[0], &byte, 1));
    (void)osr_fd_close(fds[0]);
    (void)osr_fd_close(fds[1]);
    return rc;
}

/* ---- Programs of threads ------------------------------------------------------------------------------- */

OSR_JOB(square, int, number)
{
    if (*number < 0)
        return osr_fail(-EDOM, "%d is no number to be squared", *number);
    *number *= *number;
    return osr_job_check();
}

static void drop(void *arg, int rc)
{
    (void)rc;
    free(arg);
}

OSR_JOB(dawdle, int, number)
{
    while (osr_job_check() == 0)
        usleep(100);
    return *number;
}

static int leave_a_job_behind(void)
{
    int *number = malloc(sizeof(*number)), rc;
    struct osr_scope soon;
    bool left = false;

    if (!number)
        return -ENOMEM;
    *number = 3;
    rc = osr_move_on_open(&soon, osr_ms(1));
    if (rc == 0)
        rc = osr_offload(dawdle, number, .abandon = drop, .left = &left);
    if (!left)
        free(number);
    return osr_scope_close(&soon, rc);
}

OSR_TASK(use_threads, void, unused)
{
    int numbers[3] = {1, 2, 3}, results[3], bad = -1, rc;

    rc = osr_offload(square, &numbers[0]);
    if (rc == 0)
        rc = osr_map(square, numbers, 3, .results = results);
    if (rc == 0 && (rc = osr_offload(square, &bad)) == -EDOM)
        rc = 0;
    return rc;
}

OSR_TASK(leave_jobs_behind, void, unused) { return leave_a_job_behind(); }

struct outside {
    struct osr_portal portal;
    struct osr_post post;
    struct osr_event rung;
    int rc;
};

static void ring(void *arg, unsigned times)
{
    (void)times;
    (void)osr_event_set(arg);
}

static void nothing(void *arg) { (void)arg; }

OSR_TASK(fail_for_outside, void, unused) { return osr_fail(-EDOM, "an error whose words come back"); }

/* In a thread of the program's own. */
static void *come_from_outside(void *arg)
{
    struct outside *outside = arg;
    int number = 5;

    outside->rc = osr_portal_post(outside->portal, nothing, NULL);
    if (outside->rc == 0)
        outside->rc = osr_portal_call(outside->portal, give_number, &number);
    if (outside->rc == number && (outside->rc = osr_portal_call(outside->portal, fail_for_outside, NULL)) == -EDOM)
        outside->rc = 0;
    (void)osr_post_fire(outside->post);
    osr_error_clear();
    return NULL;
}

OSR_TASK(let_others_in, void, unused)
{
    struct outside outside = {.rc = 0};
    struct osr_group group;
    pthread_t thread;
    int rc;

    osr_event_init(&outside.rung);
    osr_group_open(&group);
    rc = osr_portal_open(&outside.portal, &group);
    if (rc == 0)
        rc = osr_post_open(&outside.post, ring, &outside.rung);
    if (rc == 0) {
        if (pthread_create(&thread, NULL, come_from_outside, &outside) != 0)
            abort();
        rc = osr_event_wait(&outside.rung);
        rc = osr_group_close(&group, rc);
        pthread_join(thread, NULL);
        return rc < 0 ? rc : only_errors(outside.rc);
    }
    return osr_group_close(&group, rc);
}

OSR_TASK(cancel_by_post, void, unused)
{
    struct osr_scope scope;
    struct osr_post post;
    int rc;

    osr_move_on_open(&scope, OSR_NEVER);
    rc = osr_post_open_cancel(&post, &scope, "from outside");
    if (rc == 0)
        rc = osr_post_fire(post);
    if (rc == 0)
        rc = osr_sleep(osr_s(100));
    return osr_scope_close(&scope, rc);
}

/* ---- Programs of signals and processes ----------------------------------------------------------------- */

OSR_TASK(use_signals, void, unused)
{
    struct osr_signals signals;
    unsigned times;
    int rc = osr_signals_open(&signals, SIGUSR1, SIGRTMIN + 1);

    if (rc < 0)
        return rc;
    raise(SIGUSR1);
    rc = osr_signal_wait(&signals, &times);
    return first_error(only_errors(rc), osr_signals_close(&signals));
}

OSR_TASK(interrupt_oneself, void, unused)
{
    raise(SIGINT);
    return osr_sleep(osr_s(100));
}

OSR_JOB(give_much, int, bytes)
{
    static char zeros[5000];

    return osr_worker_give(zeros, (size_t)*bytes);
}

OSR_JOB(fail_there, void, unused) { return osr_wrap(osr_fail(-EBADMSG, "in another process"), "worker"); }

OSR_JOB(die_there, void, unused)
{
    raise(SIGKILL);
    return 0;
}

OSR_JOB(hang_there, void, unused)
{
    pause();
    return 0;
}

OSR_TASK(use_workers, void, unused)
{
    static char room[5000];
    int bytes = sizeof(room), rc;
    size_t got;

    rc = osr_worker(give_much, &bytes, .result = room, .room = sizeof(room), .got = &got);
    if (rc == 0 && got != sizeof(room))
        rc = -EPROTO;
    if (rc == 0 && (rc = osr_worker(fail_there, NULL)) == -EBADMSG)
        rc = 0;
    if (rc == 0 && (rc = osr_worker(die_there, NULL)) == -OSR_EWORKER)
        rc = 0;
    return rc;
}

OSR_TASK(cut_a_worker, void, unused)
{
    struct osr_scope soon;
    int rc = osr_move_on_open(&soon, osr_ms(2));

    return osr_scope_close(&soon, rc == 0 ? osr_worker(hang_there, NULL, .grace = osr_ms(20)) : rc);
}

/* ---- Programs of a wait of one's own ------------------------------------------------------------------- */

OSR_TASK(pass_a_gate, struct osr_waiters, gate)
{
    struct osr_wait wait = {.call = "pass_a_gate"};
    int rc = osr_enter();

    return rc < 0 ? rc : osr_park(gate, &wait);
}

OSR_TASK(use_a_gate, void, unused)
{
    struct osr_waiters gate;
    struct osr_group group;
    int rc = 0, i;

    osr_waiters_init(&gate);
    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, pass_a_gate, &gate);
    if (rc == 0)
        rc = osr_yield();
    if (rc == 0)
        (void)osr_unpark_one(osr_waiters_first(&gate), 0);
    while (rc == 0 && osr_unpark(&gate, 0) == 1)
        continue;
    return osr_group_close(&group, rc == 0 ? osr_pass() : rc);
}

/* ---- Descriptors that need to be asked about ----------------------------------------------------------- */

/* While one task waits for a descriptor, another finds a deadline passed: then the system is asked what is complete. */
OSR_TASK(look_early, void, unused)
{
    struct osr_scope at_once;
    int rc = osr_sleep(osr_ms(1));

    if (rc == 0)
        rc = osr_move_on_open(&at_once, 0);
    return rc == 0 ? osr_scope_close(&at_once, osr_check()) : rc;
}

static int wait_for_it(int fd, int other)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group, .unwrap = true);
    rc = osr_spawn(&group, look_early, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, read_all, &fd);
    if (rc == 0)
        rc = osr_sleep(osr_ms(2));
    rc = first_error(rc, osr_fd_close(other));
    return osr_group_close(&group, rc);
}

OSR_TASK(wait_beside_a_deadline, void, unused)
{
    int fds[2], rc;

    if (pipe(fds) < 0)
        return -errno;
    rc = wait_for_it(fds[0], fds[1]);
    return first_error(rc, osr_fd_close(fds[0]));
}

OSR_TASK(read_in_vain, void, unused)
{
    struct osr_scope soon;
    int fds[2], rc;
    char byte;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
        return -errno;
    rc = osr_move_on_open(&soon, osr_ms(1));
    rc = osr_scope_close(&soon, rc == 0 ? osr_read(fds[0], &byte, 1) : rc);
    (void)osr_fd_close(fds[0]);
    (void)osr_fd_close(fds[1]);
    return rc;
}

/* Of another loop, in which nothing ever happens. */
OSR_TASK(wait_for_another_loop, void, unused)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), rc;
    struct osr_scope soon;

    if (epoll < 0)
        return -errno;
    rc = osr_move_on_open(&soon, osr_ms(1));
    rc = osr_scope_close(&soon, rc == 0 ? osr_fd_readable(epoll) : rc);
    if (osr_fd_close(epoll) == -EBADF) /* it could be the run's own, as far as could be asked */
        close(epoll);
    return rc;
}

static int blocking_listener(struct osr_address *address)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address->storage, address->size) < 0 || listen(fd, 1) < 0)
        return -errno;
    return fd;
}

/* A listener that was made by somebody else. */
OSR_TASK(accept_on_a_blocking_one, void, unused)
{
    struct osr_address address, six;
    int listener, client, served, rc = osr_address_ip(&address, "127.0.0.1", 0);

    if (rc == 0)
        rc = osr_address_ip(&six, "::1", 1);
    if (rc < 0)
        return rc;
    listener = blocking_listener(&address);
    if (listener < 0)
        return listener;
    rc = osr_socket_address(listener, &address);
    client = rc < 0 ? rc : osr_connect(&address);
    served = client < 0 ? client : osr_accept(listener, &address);
    if (client >= 0)
        (void)osr_fd_close(client);
    if (served >= 0)
        (void)osr_fd_close(served);
    (void)osr_fd_close(listener);
    return only_errors(served);
}

/* ---- Odds and ends ------------------------------------------------------------------------------------- */

static int look_around(struct osr_task self, struct osr_scope *scope)
{
    struct osr_address address;
    struct osr_task_wait wait;
    char text[100];
    int rc = osr_address_unix(&address, "/tmp/somewhere"), result;

    if (rc < 0)
        return rc;
    (void)osr_address_format(&address, text, sizeof(text));
    (void)osr_address_port(&address);
    (void)osr_task_state(self);
    (void)osr_task_name(self);
    (void)osr_task_where(self, &wait);
    (void)osr_task_result(self, &result);
    (void)osr_cancelled();
    (void)osr_cancel_reason();
    (void)osr_deadline();
    (void)osr_scope_cancelled(scope);
    (void)osr_scope_caught(scope);
    (void)osr_scope_deadline(scope);
    (void)osr_scope_reason(scope);
    (void)osr_strerror(-EIO);
    (void)osr_seconds(1.5);
    (void)osr_version();
    (void)osr_pool_set_size(osr_pool_size());
    return osr_settle();
}

static int handle_errors(void)
{
    struct osr_error *error, *part;
    int codes[] = {-EIO, -EPROTO}, wanted = EPROTO, rc;

    rc = osr_gather(give_number, codes, 2, .policy = OSR_COLLECT);
    error = osr_error_take();
    if (rc != -OSR_EGROUP || osr_error_find(error, ENOMEM)) {
        rc = osr_error_find(error, ENOMEM) ? -ENOMEM : rc < 0 ? rc : -EPROTO;
        osr_error_release(error);
        return rc;
    }
    (void)osr_error_is_group(error);
    part = osr_error_subgroup(error, osr_error_has_code, &wanted);
    rc = part ? 0 : -ENOMEM;
    (void)osr_error_group(error);
    (void)osr_error_cancelled(error);
    (void)osr_error_is_fatal(error);
    (void)osr_error_where(error);
    (void)osr_error_task(error);
    (void)osr_error_message(error);
    osr_error_release(part);
    osr_error_release(osr_error_retain(error));
    if (rc < 0) {
        osr_error_release(error);
        return rc;
    }
    rc = osr_raise(error);
    osr_error_clear();
    return rc == -OSR_EGROUP ? 0 : -EPROTO;
}

static int try_primitives(void)
{
    struct osr_semaphore semaphore;
    struct osr_limiter limiter;
    struct osr_permit permit;
    struct osr_barrier barrier;
    struct osr_lock lock;
    struct osr_condition condition;
    struct osr_future future, failed;
    struct osr_queue queue;
    int item = 1, rc = osr_queue_init(&queue, sizeof(item), OSR_UNBOUNDED);

    osr_semaphore_init(&semaphore, 1);
    osr_limiter_init(&limiter, 1);
    osr_barrier_init(&barrier, 2);
    osr_lock_init(&lock);
    osr_condition_init(&condition, &lock);
    osr_future_init(&future, NULL, NULL);
    osr_future_init(&failed, NULL, NULL);
    (void)osr_semaphore_try_acquire(&semaphore);
    (void)osr_limiter_try_acquire(&limiter, &permit);
    (void)osr_limiter_set_total(&limiter, 2);
    (void)osr_lock_try_acquire(&lock);
    (void)osr_condition_notify_all(&condition);
    (void)osr_lock_release(&lock);
    (void)osr_barrier_waiting(&barrier);
    (void)osr_barrier_reset(&barrier);
    (void)osr_barrier_abort(&barrier);
    (void)osr_future_cancel(&future);
    if (rc == 0)
        rc = osr_future_fail(&failed, -EIO, "no value");
    if (rc == 0 && osr_future_result(&failed, NULL) != -EIO)
        rc = -EPROTO;
    if (rc == 0)
        rc = osr_queue_try_put(&queue, &item);
    (void)osr_future_destroy(&future);
    (void)osr_future_destroy(&failed);
    (void)osr_queue_destroy(&queue);
    return rc;
}

static int open_and_close(struct osr_group *group)
{
    struct osr_portal portal;
    struct osr_post post;
    struct osr_call call = {.record_ = NULL};
    struct osr_cleanup cleanup;
    struct osr_scope shield;
    int rc = osr_post_open(&post, ring, NULL);

    if (rc == 0)
        rc = osr_post_close(&post);
    if (rc == 0)
        rc = osr_portal_open(&portal, group);
    if (rc == 0)
        rc = osr_portal_close(&portal);
    if (rc == 0)
        rc = osr_defer(&cleanup, take_a_nap, NULL, osr_s(1));
    if (rc == 0)
        rc = osr_defer_cancel(&cleanup);
    if (rc == 0)
        rc = osr_call_soon(&call, nothing, NULL);
    if (rc == 0 && osr_call_pending(&call))
        rc = osr_call_cancel(&call);
    rc = first_error(rc, osr_shield_open(&shield, osr_s(1)));
    if (rc == 0)
        rc = osr_scope_unshield(&shield);
    rc = osr_scope_close(&shield, rc);
    return rc == 0 ? osr_sleep_until(osr_now()) : rc;
}

static void release_job(void *arg)
{
    (void)arg;
    (void)osr_jobs_allow(UINT32_MAX);
    (void)osr_shields();
}

static int hold_a_job(void)
{
    struct osr_call later = {.record_ = NULL};
    int number = 2, rc = osr_call_later(&later, osr_ms(1), release_job, NULL);

    if (rc == 0)
        rc = osr_jobs_allow(0);
    return rc == 0 ? only_errors(osr_offload(square, &number)) : rc;
}

struct referred {
    struct osr_waiters waiters;
    struct osr_wait_ref ref;
};

static void unpark_it(void *arg)
{
    struct referred *referred = arg;

    (void)osr_unpark_ref(referred->ref, 0);
}

static int park_with_a_reference(void)
{
    struct referred referred;
    struct osr_wait wait = {.call = "park_with_a_reference"};
    struct osr_call soon = {.record_ = NULL};
    int rc;

    osr_waiters_init(&referred.waiters);
    (void)osr_waiters_count(&referred.waiters);
    rc = osr_call_soon(&soon, unpark_it, &referred);
    if (rc < 0)
        return rc;
    referred.ref = osr_wait_refer(&wait);
    return osr_park_uncut(&referred.waiters, &wait);
}

OSR_TASK(use_odds_and_ends, void, unused)
{
    struct osr_portal portal;
    struct osr_group group;
    struct osr_scope scope;
    int rc = osr_scope_open(&scope);

    rc = first_error(rc, osr_group_open(&group));
    if (rc == 0)
        rc = look_around(osr_self(), &scope);
    if (rc == 0)
        rc = handle_errors();
    if (rc == 0)
        rc = try_primitives();
    if (rc == 0)
        rc = open_and_close(&group);
    if (rc == 0)
        rc = hold_a_job();
    if (rc == 0)
        rc = park_with_a_reference();
    (void)osr_group_running(&group);
    if (rc == 0)
        rc = osr_portal_open(&portal, &group);
    if (rc == 0)
        rc = osr_portal_cancel(portal, "from outside");
    rc = osr_group_close(&group, rc);
    (void)osr_scope_cancel(&scope, "enough");
    return osr_scope_close(&scope, rc);
}

/* ---- How they are run ---------------------------------------------------------------------------------- */

static int run_plainly(const struct program *program, const struct osr_run_options *options)
{
    return osr_run_with(program->routine, NULL, options);
}

/* Of the first two runs, what failed. */
static int run_by_runner(const struct program *program, const struct osr_run_options *options)
{
    struct osr_runner *runner;
    int rc = osr_runner_new_with(&runner, options);

    if (rc == 0)
        rc = osr_runner_run_here(runner, program->routine, NULL, OSR_HERE);
    if (rc == program->gives) {
        (void)osr_runner_loop(runner); /* there may be no descriptor for it */
        rc = osr_runner_run_here(runner, program->routine, NULL, OSR_HERE);
    }
    (void)osr_runner_free(runner);
    return rc;
}

static void note_rc(void *arg, int rc) { *(int *)arg = rc; }

static int run_attached(const struct program *program, const struct osr_run_options *options)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    struct osr_attachment attachment;
    struct osr_attach_options how = {.size = sizeof(how), .where = OSR_HERE, .done = note_rc, .run = *options};
    int given = 0, rc;

    if (!loop)
        abort();
    how.done_arg = &given;
    rc = osr_attach_with(&attachment, loop, program->routine, NULL, &how);
    if (rc == 0)
        ev_run(loop, 0);
    ev_loop_destroy(loop);
    return rc < 0 ? rc : given;
}

/* The root is cancelled after a while. */
static int run_detached(const struct program *program, const struct osr_run_options *options)
{
    struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOENV);
    struct osr_attachment attachment;
    struct osr_attach_options how = {.size = sizeof(how), .where = OSR_HERE, .run = *options};
    int rc, i;

    if (!loop)
        abort();
    rc = osr_attach_with(&attachment, loop, program->routine, NULL, &how);
    for (i = 0; i < 3 && rc == 0; i++)
        ev_run(loop, EVRUN_NOWAIT);
    if (rc == 0)
        (void)osr_attachment_cancel(&attachment, "soon");
    if (rc == 0)
        rc = osr_detach(&attachment, "enough");
    ev_loop_destroy(loop);
    return rc;
}

/* Workers are real all the same. */
static int run_simulated(const struct program *program, const struct osr_run_options *options)
{
    struct osr_run_options how = *options;

    how.clock = OSR_CLOCK_SIMULATED;
    return osr_run_with(program->routine, NULL, &how);
}

static int run_interrupted(const struct program *program, const struct osr_run_options *options)
{
    struct osr_run_options how = *options;

    signal(SIGINT, SIG_DFL); /* a shell may have it ignored, which the library respects */
    how.interrupts = true;
    how.dump_signal = SIGUSR2;
    return osr_run_with(program->routine, NULL, &how);
}

static int run_traced(const struct program *program, const struct osr_run_options *options)
{
    int rc;

    setenv("OSR_TRACE", "/dev/null", 1);
    rc = osr_run_with(program->routine, NULL, options);
    unsetenv("OSR_TRACE");
    return rc;
}

OSR_TASK(do_nothing, void, unused) { return 0; }

#define PROGRAM(name, task, ...) {name, &task.routine_, __VA_ARGS__}

const struct program programs[] = {
    PROGRAM("nothing, simulated", do_nothing, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("nothing", do_nothing, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("groups", use_groups, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("many tasks", use_many_tasks, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("errors", use_errors, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("guards", use_guards, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("interrupted", be_interrupted, run_plainly, WORLD_SIMULATED, -EINTR, NULL),
    PROGRAM("stuck", be_stuck, run_plainly, WORLD_SIMULATED, -OSR_EDEADLOCK, NULL),
    PROGRAM("primitives", use_primitives, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("calls", use_calls, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("policies", use_policies, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("a wait of one's own", use_a_gate, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("jobs, simulated", use_threads, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("sockets, simulated", use_sockets, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("looked at", look_at_it, run_plainly, WORLD_SIMULATED, 0, "is held"),
    PROGRAM("groups under libev", use_groups, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("stuck under libev", be_stuck, run_plainly, WORLD_JUMPS, -OSR_EDEADLOCK, NULL),
    PROGRAM("primitives under libev", use_primitives, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("sockets", use_sockets, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("connecting in vain", connect_in_vain, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("a blocking pipe", use_blocking_pipe, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("blocking sockets", use_blocking_sockets, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("a close under a reader", close_under_a_reader, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("a cancelling post", cancel_by_post, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("signals", use_signals, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("an interrupt", interrupt_oneself, run_interrupted, WORLD_JUMPS, -EINTR, NULL),
    PROGRAM("a timeline", look_at_it, run_traced, WORLD_JUMPS, 0, "osier: "),
    PROGRAM("reading in vain, simulated", read_in_vain, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("odds and ends", use_odds_and_ends, run_plainly, WORLD_SIMULATED, 0, NULL),
    PROGRAM("another loop", wait_for_another_loop, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("a blocking listener", accept_on_a_blocking_one, run_plainly, WORLD_JUMPS, 0, NULL),
    PROGRAM("attached beside a deadline", wait_beside_a_deadline, run_attached, WORLD_JUMPS, 0, NULL),
    PROGRAM("attached groups", use_groups, run_attached, WORLD_JUMPS, 0, NULL),
    PROGRAM("attached sockets", use_sockets, run_attached, WORLD_JUMPS, 0, NULL),
    PROGRAM("detached", sleep_forever, run_detached, WORLD_JUMPS, -OSR_ETASKCANCELED, NULL),
    PROGRAM("a runner's groups", use_groups, run_by_runner, WORLD_JUMPS, 0, NULL),
    PROGRAM("a runner's sockets", use_sockets, run_by_runner, WORLD_JUMPS, 0, NULL),
    PROGRAM("jobs", use_threads, run_plainly, WORLD_REAL, 0, NULL),
    PROGRAM("jobs left behind", leave_jobs_behind, run_plainly, WORLD_REAL, 0, NULL),
    PROGRAM("others from outside", let_others_in, run_plainly, WORLD_REAL, 0, NULL),
    PROGRAM("a worker that is cut, simulated", cut_a_worker, run_simulated, WORLD_REAL, 0, NULL),
    PROGRAM("workers", use_workers, run_plainly, WORLD_REAL, 0, NULL),
    PROGRAM("a worker that is cut", cut_a_worker, run_plainly, WORLD_REAL, 0, NULL),
};

const size_t program_count = sizeof(programs) / sizeof(programs[0]);
