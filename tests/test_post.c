/* Posts and portals: entering a run from other threads and from signal handlers. */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <osier/wait.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "6_ready/source.h"

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

/* A gate that opens when it has been told often enough. Threads other than the run's must not use check(). */
struct gate {
    struct osr_waiters waiters;
    unsigned long count, wanted;
    unsigned calls;
};

static void gate_init(struct gate *gate, unsigned long wanted)
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

static void *words(const char *text)
{
    return (void *)(uintptr_t)text;
}

OSR_TASK(do_nothing, void, unused) { return 0; }
OSR_TASK(sleep_for_ever, void, unused) { return osr_sleep(OSR_NEVER); }

/* Lets the loop look at the world once or twice. */
static void let_the_loop_look(void)
{
    check_int(osr_sleep(1), 0);
    check_int(osr_sleep(1), 0);
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
    let_the_loop_look();
    check_int(gate.count, 4);
    check_int(osr_post_close(&post), 0);
    return 0;
}

static void tell_posted(void *arg, unsigned count)
{
    tell("%s %u", (const char *)arg, count);
}

OSR_TASK(fire_in_turn, void, unused)
{
    struct osr_post a, b, c;

    osr_post_open(&a, tell_posted, words("a"));
    osr_post_open(&b, tell_posted, words("b"));
    osr_post_open(&c, tell_posted, words("c"));
    osr_post_fire(c);
    osr_post_fire(a);
    osr_post_fire(c);
    osr_post_fire(b);
    return osr_sleep(1);
}

TEST(posts_are_told_in_the_order_in_which_they_came)
{
    assert_int_equal(run_simulated(fire_in_turn, NULL), 0);
    assert_story("c 2\na 1\nb 1\n");
}

struct shot {
    struct osr_post post;
    int after, rc, error;
};

static void *fire_once(void *arg)
{
    struct shot *shot = arg;

    usleep((unsigned)shot->after);
    errno = 1234;
    shot->rc = osr_post_fire(shot->post);
    shot->error = errno;
    return NULL;
}

REAL_TEST(a_fire_from_a_thread_wakes_a_loop_that_waits_and_leaves_errno_alone)
{
    struct shot shot = {.after = 20000};
    struct gate gate;
    pthread_t thread;

    gate_init(&gate, 1);
    check_int(osr_post_open(&shot.post, count_posted, &gate), 0);
    check_int(pthread_create(&thread, NULL, fire_once, &shot), 0);
    check_int(gate_wait(&gate), 0);
    check_int(pthread_join(thread, NULL), 0);
    check_int(shot.rc, 0);
    check_int(shot.error, 1234);
    return 0;
}

enum { FIRERS = 4 };

struct volley {
    struct osr_post post;
    long shots, failed;
};

static void *fire_many(void *arg)
{
    struct volley *volley = arg;
    long i;

    for (i = 0; i < volley->shots; i++)
        volley->failed += osr_post_fire(volley->post) != 0;
    return NULL;
}

REAL_TEST(a_hundred_thousand_posts_from_four_threads_lose_nothing)
{
    struct volley volleys[FIRERS];
    pthread_t threads[FIRERS];
    struct osr_post post;
    struct gate gate;
    long each = sized(25000, 2500);
    int i;

    gate_init(&gate, (unsigned long)(each * FIRERS));
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    for (i = 0; i < FIRERS; i++) {
        volleys[i] = (struct volley){post, each, 0};
        check_int(pthread_create(&threads[i], NULL, fire_many, &volleys[i]), 0);
    }
    check_int(gate_wait(&gate), 0);
    for (i = 0; i < FIRERS; i++) {
        check_int(pthread_join(threads[i], NULL), 0);
        check_int(volleys[i].failed, 0);
    }
    let_the_loop_look();
    check_int(gate.count, each * FIRERS);
    return 0;
}

static struct osr_post post_of_handler;
static atomic_int handled;

static void fire_in_handler(int number)
{
    (void)number;
    (void)osr_post_fire(post_of_handler);
    atomic_fetch_add(&handled, 1);
}

struct storm {
    pthread_t target;
    int until; /* so many have been handled: those that are sent while one is pending are one */
};

static void *storm(void *arg)
{
    struct storm *s = arg;

    while (atomic_load(&handled) < s->until)
        (void)pthread_kill(s->target, SIGUSR2);
    return NULL;
}

REAL_TEST(fires_from_signal_handlers_that_interrupt_the_loop_add_up)
{
    struct sigaction action = {.sa_handler = fire_in_handler}, before;
    struct storm storms[2];
    pthread_t threads[2];
    struct gate gate;
    int i;

    gate_init(&gate, 0);
    check_int(osr_post_open(&post_of_handler, count_posted, &gate), 0);
    atomic_store(&handled, 0);
    sigaction(SIGUSR2, &action, &before);
    for (i = 0; i < 2; i++) {
        storms[i] = (struct storm){pthread_self(), (int)sized(5000, 500)};
        check_int(pthread_create(&threads[i], NULL, storm, &storms[i]), 0);
    }
    while (atomic_load(&handled) < storms[0].until)
        check_int(osr_sleep(osr_us(10)), 0);
    for (i = 0; i < 2; i++)
        check_int(pthread_join(threads[i], NULL), 0);
    let_the_loop_look(); /* a signal that is pending is handled at the latest here */
    check_int(gate.count, atomic_load(&handled));
    sigaction(SIGUSR2, &before, NULL);
    check_int(osr_post_close(&post_of_handler), 0);
    return 0;
}

SIMULATED_TEST(a_closed_post_is_stale_and_what_was_fired_before_is_dropped)
{
    struct osr_post post, copy;
    struct gate gate;

    gate_init(&gate, 1);
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    copy = post;
    check_int(osr_post_fire(post), 0);
    check_int(osr_post_close(&post), 0);
    check_int(post.id_, 0);
    let_the_loop_look();
    check_int(gate.count, 0);
    check_int(osr_post_fire(post), -ESTALE);
    check_int(osr_post_fire(copy), -ESTALE);
    check_int(osr_post_close(&copy), -ESTALE);
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    check(post.id_ != copy.id_);
    check_int(osr_post_fire(copy), -ESTALE);
    let_the_loop_look();
    check_int(gate.count, 0);
    return 0;
}

SIMULATED_TEST(a_post_that_was_fired_when_it_was_closed_is_used_again_only_when_it_was_heard)
{
    struct osr_post old, fresh;
    struct gate gate;

    gate_init(&gate, 1);
    osr_post_open(&old, count_posted, &gate);
    osr_post_fire(old);
    osr_post_close(&old);
    osr_post_open(&fresh, count_posted, &gate);
    let_the_loop_look();
    check_int(gate.count, 0);
    check_int(osr_post_fire(fresh), 0);
    let_the_loop_look();
    check_int(gate.count, 1);
    return 0;
}

OSR_TASK(read_a_byte, int, fd)
{
    char byte;

    return osr_read(*fd, &byte, 1) == 1 ? 0 : -EIO;
}

/* The check below finds its deadline passed, looks at the loop, and finds what was fired. Nobody has to be told of that, but
 * the loop has the next turn. */
SIMULATED_TEST(a_post_that_was_closed_after_it_was_fired_still_brings_a_turn_of_the_loop)
{
    struct gate gate;
    struct osr_post post;
    struct osr_group group;
    struct osr_scope limit;
    struct osr_task reader;
    int fds[2];

    gate_init(&gate, 1);
    check_int(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
    osr_group_open(&group);
    osr_spawn(&group, read_a_byte, &fds[0], .handle = &reader);
    osr_yield();
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    let_the_loop_look();
    check_int(osr_post_fire(post), 0);
    check_int(osr_post_close(&post), 0);
    osr_move_on_open(&limit, 0);
    check_int(osr_check(), -ECANCELED);
    osr_scope_close(&limit, 0);
    check(write(fds[1], "x", 1) == 1);
    check_int(osr_task_state(reader), OSR_TASK_WAITING);
    osr_yield();
    check_int(osr_task_state(reader), OSR_TASK_READY);
    check_int(osr_group_close(&group, 0), 0);
    check_int(gate.calls, 0);
    close(fds[1]);
    return osr_fd_close(fds[0]);
}

SIMULATED_TEST(a_post_is_closed_with_the_scope_in_which_it_was_opened)
{
    struct osr_post in_scope, in_group;
    struct osr_group group;
    struct osr_scope scope;
    struct gate gate;

    gate_init(&gate, 1);
    osr_scope_open(&scope);
    check_int(osr_post_open(&in_scope, count_posted, &gate), 0);
    check_int(osr_post_fire(in_scope), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    check_int(osr_post_fire(in_scope), -ESTALE);
    osr_group_open(&group);
    check_int(osr_post_open(&in_group, count_posted, &gate), 0);
    osr_spawn(&group, do_nothing, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_post_fire(in_group), -ESTALE);
    check_int(gate.count, 0);
    return 0;
}

static struct osr_post left_over;

OSR_TASK(open_and_end, struct gate, gate) { return osr_post_open(&left_over, count_posted, gate); }

TEST(a_post_is_stale_after_its_run_and_in_later_ones)
{
    struct gate gate;

    gate_init(&gate, 1);
    assert_int_equal(run_simulated(open_and_end, &gate), 0);
    assert_int_equal(osr_post_fire(left_over), -ESTALE);
    assert_int_equal(osr_post_close(&left_over), -EPERM);
    assert_int_equal(run_simulated(open_and_end, &gate), 0);
    assert_int_equal(osr_post_fire(left_over), -ESTALE);
    assert_int_equal(gate.count, 0);
}

static void close_itself(void *arg, unsigned count)
{
    struct shot *shot = arg;

    (void)count;
    shot->after++;
    shot->rc = osr_post_close(&shot->post);
}

SIMULATED_TEST(a_post_may_be_closed_by_what_it_calls)
{
    struct shot shot = {.rc = 1};

    osr_post_open(&shot.post, close_itself, &shot);
    osr_post_fire(shot.post);
    let_the_loop_look();
    check_int(shot.rc, 0);
    check_int(shot.after, 1);
    check_int(osr_post_fire(shot.post), -ESTALE);
    return 0;
}

static void fire_again(void *arg, unsigned count)
{
    struct shot *shot = arg;

    (void)count;
    if (++shot->after < 3)
        shot->rc = osr_post_fire(shot->post);
}

SIMULATED_TEST(a_post_may_be_fired_by_what_it_calls)
{
    struct shot shot = {.rc = 1};

    osr_post_open(&shot.post, fire_again, &shot);
    osr_post_fire(shot.post);
    let_the_loop_look();
    let_the_loop_look();
    check_int(shot.after, 3);
    return 0;
}

struct cancelling {
    struct osr_post post;
    int gave;
};

static void *fire_a_cancel(void *arg)
{
    struct cancelling *c = arg;

    c->gave = osr_post_fire(c->post);
    return NULL;
}

REAL_TEST(a_post_cancels_a_scope_with_its_text_and_place)
{
    struct cancelling cancelling = {.gave = 1};
    const struct osr_reason *reason;
    struct osr_scope scope;
    pthread_t thread;

    osr_scope_open(&scope);
    check_int(osr_post_open_cancel(&cancelling.post, &scope, "the operator said so"), 0);
    check_int(pthread_create(&thread, NULL, fire_a_cancel, &cancelling), 0);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(pthread_join(thread, NULL), 0);
    check_int(cancelling.gave, 0);
    reason = osr_scope_reason(&scope);
    check(reason != NULL);
    check_int(reason->code, -ECANCELED);
    check_text(reason->text, "the operator said so");
    check_text(reason->who, "");
    check(strstr(reason->where, "test_post.c:") != NULL);
    check_int(osr_post_fire(cancelling.post), 0);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_post_fire(cancelling.post), -ESTALE);
    return 0;
}

SIMULATED_TEST(a_post_that_cancels_is_bound_to_the_scope_that_it_is_for)
{
    struct osr_scope outer, inner;
    struct osr_post post;

    osr_scope_open(&outer);
    osr_scope_open(&inner);
    check_int(osr_post_open_cancel(&post, &outer, NULL), 0);
    check_int(osr_scope_close(&inner, 0), 0);
    check_int(osr_post_fire(post), 0);
    check_int(osr_sleep(1), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(osr_post_open_cancel(&post, &outer, NULL), -OSR_ECLOSED);
    check(post.id_ == 0);
    return 0;
}

/* ---- What a callback may do ---------------------------------------------------------------------------- */

struct caller {
    struct osr_group *group;
    struct osr_scope *scope;
    struct osr_task task;
    int gave[12];
    bool done;
};

static void do_what_waits(void *arg, unsigned count)
{
    struct caller *c = arg;
    struct osr_scope scope;
    struct osr_group group;
    struct osr_cleanup cleanup;
    struct osr_post post;

    (void)count;
    c->gave[0] = osr_sleep(1);
    c->gave[1] = osr_check();
    c->gave[2] = osr_group_close(c->group, 0);
    c->gave[3] = osr_scope_open(&scope);
    c->gave[4] = osr_group_open(&group);
    c->gave[5] = osr_task_join(c->task);
    c->gave[6] = osr_defer(&cleanup, NULL, NULL, 0) == -EINVAL ? -EPERM : 1;
    c->gave[7] = osr_post_open(&post, count_posted, NULL);
    c->gave[8] = osr_offload(do_nothing, NULL);
    c->gave[9] = osr_self().id_ == 0 ? -EPERM : 0;
    c->gave[10] = osr_fail(-EIO, "what is left in the slot is dropped");
    c->done = true;
}

SIMULATED_TEST(in_a_callback_what_waits_or_opens_is_refused)
{
    struct caller caller = {0};
    struct osr_group group;
    struct osr_post post;
    int i;

    osr_group_open(&group);
    caller.group = &group;
    osr_spawn(&group, sleep_for_ever, NULL, .handle = &caller.task);
    osr_post_open(&post, do_what_waits, &caller);
    osr_post_fire(post);
    let_the_loop_look();
    check(caller.done);
    for (i = 0; i < 10; i++)
        check_int(caller.gave[i], -EPERM);
    check(osr_error_last() == NULL);
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

static void do_what_does_not_wait(void *arg, unsigned count)
{
    struct caller *c = arg;
    struct osr_task_wait where;
    int result;

    (void)count;
    c->gave[0] = osr_spawn(c->group, do_nothing, NULL);
    c->gave[1] = osr_spawn(c->group, do_nothing, NULL, .eager = true);
    c->gave[2] = osr_task_state(c->task) == OSR_TASK_WAITING ? 0 : 1;
    c->gave[3] = osr_task_where(c->task, &where);
    c->gave[4] = osr_task_result(c->task, &result) == -EINPROGRESS ? 0 : 1;
    c->gave[5] = osr_scope_set_deadline(c->scope, osr_s(100));
    c->gave[6] = osr_task_cancel(c->task, "by a callback");
    c->gave[7] = osr_scope_cancel(c->scope, "by a callback");
    c->gave[8] = osr_spawn(c->group, do_nothing, NULL); /* the limit is reached */
    c->done = true;
}

SIMULATED_TEST(a_callback_may_spawn_cancel_and_use_handles)
{
    struct caller caller = {0};
    struct osr_group group;
    struct osr_scope scope;
    struct osr_post post;
    int i;

    osr_scope_open(&scope);
    osr_group_open(&group, .limit = 3);
    caller.group = &group;
    caller.scope = &scope;
    osr_spawn(&group, sleep_for_ever, NULL, .handle = &caller.task);
    osr_post_open(&post, do_what_does_not_wait, &caller);
    osr_post_fire(post);
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    check(caller.done);
    for (i = 0; i < 8; i++)
        check_int(caller.gave[i], 0);
    check_int(caller.gave[8], -EAGAIN);
    check_int(osr_task_state(caller.task), OSR_TASK_CANCELED);
    check_text(osr_scope_reason(&scope)->who, "");
    check_int(osr_group_close(&group, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

/* A task that never waits notices its deadline at an entry check; callbacks come when it leaves, not in the middle. */
SIMULATED_TEST(what_was_posted_is_told_between_the_steps_of_tasks)
{
    struct caller caller = {0};
    struct osr_group group;
    struct osr_scope scope;
    struct osr_post post;

    osr_group_open(&group);
    caller.group = &group;
    osr_post_open(&post, do_what_waits, &caller);
    osr_timeout_open_at(&scope, osr_now());
    osr_post_fire(post);
    check_int(osr_check(), -ECANCELED);
    check(!caller.done);
    check_int(osr_scope_close(&scope, -ECANCELED), -ETIMEDOUT);
    check_int(osr_yield(), 0);
    check(caller.done);
    check_int(caller.gave[0], -EPERM);
    check_int(caller.gave[3], -EPERM);
    return osr_group_close(&group, 0);
}

static void fail_in_callback(void *arg, unsigned count)
{
    (void)count;
    *(int *)arg = osr_fail(-EIO, "nobody hears of this");
}

OSR_TASK(post_a_failure, int, gave)
{
    struct osr_post post;

    osr_post_open(&post, fail_in_callback, gave);
    osr_post_fire(post);
    return osr_sleep(1);
}

TEST(what_a_callback_leaves_in_the_slot_is_dropped)
{
    int gave = 0;

    assert_int_equal(run_simulated(post_a_failure, &gave), 0);
    assert_int_equal(gave, -EIO);
    assert_null(osr_error_last());
}

/* ---- Who may, and what can fail ------------------------------------------------------------------------ */

static int open_of_thread, close_of_thread;

static void *open_and_close_from_outside(void *arg)
{
    struct osr_post post = {~0ull}, *theirs = arg;

    open_of_thread = osr_post_open(&post, count_posted, NULL);
    if (post.id_ != 0)
        open_of_thread = 1;
    post = *theirs;
    close_of_thread = osr_post_close(&post);
    osr_error_clear();
    return NULL;
}

SIMULATED_TEST(posts_are_opened_and_closed_on_the_runs_own_thread)
{
    struct osr_portal portal = {1};
    struct osr_group group;
    struct osr_post post;
    pthread_t thread;

    check_int(osr_post_open(NULL, count_posted, NULL), -EINVAL);
    check_int(osr_post_open(&post, NULL, NULL), -EINVAL);
    check_int(osr_post_open_cancel(NULL, NULL, NULL), -EINVAL);
    check_int(osr_post_open_cancel(&post, NULL, NULL), -EINVAL);
    check_int(osr_post_close(NULL), -EINVAL);
    check_int(osr_portal_open(NULL, NULL), -EINVAL);
    check_int(osr_portal_open(&portal, NULL), -EINVAL);
    check_int(portal.id_, 0);
    check_int(osr_portal_close(NULL), -EINVAL);
    check_int(osr_portal_close(&portal), -ESTALE);
    check_int(osr_post_fire((struct osr_post){UINT64_MAX}), -ESTALE);
    check_int(osr_post_fire((struct osr_post){(uint64_t)1 << 32 | 0xffff}), -ESTALE);
    check_int(osr_post_open(&post, count_posted, NULL), 0);
    check_int(pthread_create(&thread, NULL, open_and_close_from_outside, &post), 0);
    check_int(pthread_join(thread, NULL), 0);
    check_int(open_of_thread, -EPERM);
    check_int(close_of_thread, -EPERM);
    osr_group_open(&group);
    osr_group_close(&group, 0);
    check_int(osr_portal_open(&portal, &group), -OSR_ECLOSED);
    osr_scope_open(&group.scope); /* no group */
    check_int(osr_portal_open(&portal, &group), -EINVAL);
    return osr_scope_close(&group.scope, 0);
}

static struct osr_post of_other_run;

OSR_TASK(close_anothers_post, int, gave)
{
    struct osr_post mine;

    *gave = osr_post_close(&of_other_run);
    if (*gave == -EPERM && osr_post_open(&mine, count_posted, NULL) == 0)
        *gave = osr_post_close(&of_other_run);
    return 0;
}

static void *run_in_thread(void *arg)
{
    (void)osr_run(close_anothers_post, (int *)arg);
    return NULL;
}

REAL_TEST(another_run_cannot_close_a_post_but_fire_it)
{
    pthread_t thread;
    struct gate gate;
    int gave = 0;

    gate_init(&gate, 1);
    check_int(osr_post_open(&of_other_run, count_posted, &gate), 0);
    check_int(pthread_create(&thread, NULL, run_in_thread, &gave), 0);
    check_int(pthread_join(thread, NULL), 0);
    check_int(gave, -EPERM);
    check_int(osr_post_fire(of_other_run), 0);
    check_int(gate_wait(&gate), 0);
    return 0;
}

static struct osr_post inherited;
static struct osr_portal inherited_portal;

OSR_TASK(use_both, struct gate, gate)
{
    struct osr_post own;

    check_int(osr_post_fire(inherited), -EPERM);
    check_int(osr_post_open(&own, count_posted, gate), 0);
    check_int(osr_post_fire(own), 0);
    check_int(gate_wait(gate), 0);
    check_int(gate->count, 1);
    return 0;
}

static void run_nothing(void *arg) { (void)arg; }

static int eventfds(void)
{
    char path[64], target[64];
    int count = 0, fd;

    for (fd = 0; fd < 256; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        count += strcmp(target, "anon_inode:[eventfd]") == 0;
    }
    return count;
}

static void use_in_child(void)
{
    struct gate gate;

    check_int(eventfds(), 1); /* what wakes the parent's loop is not the child's; the mark of the loop is left */
    check_int(osr_post_fire(inherited), -EPERM);
    check_int(osr_post_close(&inherited), -EPERM);
    check_int(osr_portal_post(inherited_portal, run_nothing, NULL), -EPERM);
    check_int(osr_portal_call(inherited_portal, do_nothing, NULL), -EPERM);
    check_int(osr_portal_cancel(inherited_portal, NULL), -EPERM);
    gate_init(&gate, 1);
    check_int(osr_run(use_both, &gate), 0);
    osr_error_clear();
}

REAL_TEST(a_forked_child_cannot_use_its_parents_posts_but_those_of_a_run_of_its_own)
{
    struct osr_group group;
    struct gate gate;

    gate_init(&gate, 1);
    osr_group_open(&group);
    check_int(osr_post_open(&inherited, count_posted, &gate), 0);
    check_int(osr_portal_open(&inherited_portal, &group), 0);
    check_int(eventfds(), 2); /* with the mark of the loop */
    assert_child_succeeds(use_in_child);
    let_the_loop_look();
    check_int(gate.count, 0);
    check_int(osr_post_fire(inherited), 0);
    check_int(gate_wait(&gate), 0);
    return osr_group_close(&group, 0);
}

struct fault {
    const char *what;
    unsigned pick, after;
};

static unsigned fail_that(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct fault *fault = arg;

    (void)n;
    return kind == OSR_CHOICE_FAULT && strcmp(what, fault->what) == 0 && fault->after-- == 0 ? fault->pick : 0;
}

OSR_TASK(open_a_post, int, gave)
{
    struct osr_post post = {1};

    *gave = osr_post_open(&post, count_posted, NULL);
    return (*gave == 0) == (post.id_ != 0) ? 0 : -EINVAL;
}

/* How often the open gave `code` when each of the calls in turn failed with the `pick`-th of its errors. */
static unsigned fail_each(const char *what, unsigned pick, int code)
{
    unsigned after, times = 0;
    int gave = 1, rc;

    for (after = 0; gave != 0; after++) {
        struct fault fault = {what, pick, after};

        gave = 1;
        rc = osr_run(open_a_post, &gave, .choose = fail_that, .choose_arg = &fault, .clock = OSR_CLOCK_SIMULATED);
        assert_true(rc == 0 || (rc == -ENOMEM && gave == 1)); /* the run itself needs memory too */
        times += gave == code;
    }
    osr_error_clear();
    return times;
}

TEST(where_the_system_or_memory_fails_there_is_a_code_and_nothing_is_left)
{
    assert_int_equal(fail_each("eventfd", 1, -EMFILE), 1);
    assert_int_equal(fail_each("eventfd", 2, -ENFILE), 1);
    assert_int_equal(fail_each("eventfd", 3, -ENOMEM), 1);
    assert_int_equal(fail_each("memory", 1, -ENOMEM), 2);
    assert_int_equal(fail_each("mmap", 1, -ENOMEM), 1);
}

static int64_t heard_at;

static void note_time(void *arg, unsigned count)
{
    (void)arg, (void)count;
    heard_at = osr_now();
}

static unsigned fail_polls(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n;
    return kind == OSR_CHOICE_FAULT && strcmp(what, "poll") == 0;
}

OSR_TASK(fire_between_sleeps, void, unused)
{
    struct osr_post post;

    check_int(osr_post_open(&post, note_time, NULL), 0);
    check_int(osr_sleep(1), 0);
    check_int(osr_post_fire(post), 0);
    check_int(osr_sleep(1), 0);
    check_int(heard_at, 1);
    return 0;
}

TEST(no_simulated_time_passes_before_a_post_is_heard_though_the_system_says_nothing)
{
    assert_int_equal(run_simulated(fire_between_sleeps, NULL, .choose = fail_polls), 0);
    assert_checked();
}

static bool short_of_all;

static unsigned fail_all(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    (void)arg, (void)n, (void)what;
    return short_of_all && kind == OSR_CHOICE_FAULT;
}

struct short_call {
    struct osr_portal portal;
    struct osr_post answered;
    int rc;
};

static void *call_without_memory(void *arg)
{
    struct short_call *call = arg;

    call->rc = osr_portal_call(call->portal, do_nothing, NULL);
    osr_error_clear();
    (void)osr_post_fire(call->answered);
    return NULL;
}

OSR_TASK(go_without_memory, void, unused)
{
    struct short_call call = {.rc = 1};
    struct osr_portal portal;
    struct osr_group group;
    struct osr_post post;
    struct gate gate;
    pthread_t thread;

    gate_init(&gate, 1);
    osr_group_open(&group);
    check_int(osr_portal_open(&call.portal, &group), 0);
    check_int(osr_post_open(&call.answered, count_posted, &gate), 0);
    short_of_all = true;
    check_int(osr_post_open_cancel(&post, &group.scope, NULL), -ENOMEM);
    check_int(osr_portal_open(&portal, &group), -ENOMEM);
    check_int(pthread_create(&thread, NULL, call_without_memory, &call), 0);
    check_int(gate_wait(&gate), 0);
    short_of_all = false;
    check_int(pthread_join(thread, NULL), 0);
    check_int(call.rc, -ENOMEM);
    return osr_group_close(&group, 0);
}

TEST(without_memory_for_its_task_a_call_through_a_portal_gives_a_code)
{
    assert_int_equal(osr_run(go_without_memory, NULL, .choose = fail_all), 0);
    assert_checked();
}

enum { CROWD = 400 };

struct crowd {
    struct osr_portal portal;
    struct osr_group group;
    struct gate gate;
    int rcs[CROWD];
};

static void *call_in_a_crowd(void *arg)
{
    struct crowd *crowd = ((struct crowd **)arg)[0];
    int *rc = ((int **)arg)[1];

    *rc = osr_portal_call(crowd->portal, do_nothing, NULL);
    osr_error_clear();
    return NULL;
}

OSR_TASK(hold_the_place, struct gate, gate) { return gate_wait(gate); }

static size_t count_placeless(const struct osr_group *group)
{
    const struct osr_list_ *node;
    size_t count = 0;

    for (node = group->spawners_.next; node != &group->spawners_; node = node->next)
        count++;
    return count;
}

/* Each of them gets the place, and cannot use it. */
OSR_TASK(go_without_memory_in_a_crowd, struct crowd, crowd)
{
    static pthread_t threads[CROWD];
    static void *args[CROWD][2];
    int i;

    gate_init(&crowd->gate, 1);
    osr_group_open(&crowd->group, .limit = 1);
    check_int(osr_portal_open(&crowd->portal, &crowd->group), 0);
    check_int(osr_spawn(&crowd->group, hold_the_place, &crowd->gate), 0);
    for (i = 0; i < CROWD; i++) {
        args[i][0] = crowd;
        args[i][1] = &crowd->rcs[i];
        check_int(pthread_create(&threads[i], NULL, call_in_a_crowd, args[i]), 0);
    }
    while (count_placeless(&crowd->group) < CROWD)
        check_int(osr_sleep(osr_us(100)), 0);
    short_of_all = true;
    count_posted(&crowd->gate, 1);
    check_int(osr_yield(), 0);
    check_int(osr_yield(), 0);
    short_of_all = false;
    check_int(osr_group_running(&crowd->group), 0);
    for (i = 0; i < CROWD; i++) {
        check_int(pthread_join(threads[i], NULL), 0);
        check_int(crowd->rcs[i], -ENOMEM);
    }
    check_int(osr_spawn(&crowd->group, do_nothing, NULL), 0);
    return osr_group_close(&crowd->group, 0);
}

TEST(a_place_that_nobody_can_use_is_passed_on_however_many_wait_for_it)
{
    static struct crowd crowd;

    assert_int_equal(osr_run(go_without_memory_in_a_crowd, &crowd, .choose = fail_all), 0);
    assert_checked();
}

/* What a post stands on may have been that of signals, which are heard in the middle of a call. */
REAL_TEST(where_signals_were_watched_before_a_post_is_still_told_between_steps)
{
    struct osr_signals signals;
    struct osr_scope scope;
    struct osr_post post;
    struct gate gate;

    gate_init(&gate, 1);
    check_int(osr_signals_open(&signals, SIGUSR1), 0);
    check_int(osr_signals_close(&signals), 0);
    check_int(osr_post_open(&post, count_posted, &gate), 0);
    check_int(osr_post_fire(post), 0);
    osr_move_on_open(&scope, 0);
    check_int(osr_check(), -ECANCELED); /* which has looked */
    check_int(gate.count, 0);
    check_int(osr_scope_close(&scope, -ECANCELED), 0);
    check_int(gate_wait(&gate), 0);
    return osr_post_close(&post);
}

/* ---- Portals ------------------------------------------------------------------------------------------- */

struct fetch {
    int number, gave;
};

OSR_TASK(fetch_one, struct fetch, f)
{
    int rc = osr_sleep(osr_us(100));

    if (rc < 0)
        return rc;
    if (f->number < 0)
        return osr_fail_here("fetch.c:1", -EPROTO, "number %d", f->number);
    return f->number * 2;
}

struct calls {
    struct osr_portal portal;
    struct osr_post done;
    int first, count, sum, stale, others;
};

static void *call_several(void *arg)
{
    struct calls *calls = arg;
    int i;

    for (i = 0; i < calls->count; i++) {
        struct fetch fetch = {calls->first + i, 0};
        int rc = osr_portal_call(calls->portal, fetch_one, &fetch);

        if (rc >= 0)
            calls->sum += rc;
        else if (rc == -ESTALE)
            calls->stale++;
        else
            calls->others++;
    }
    osr_error_clear();
    (void)osr_post_fire(calls->done);
    return NULL;
}

/* Several threads call into a group; gives the sum of what came back. */
static void call_from_threads(struct osr_group *group, int limit)
{
    struct calls calls[FIRERS];
    pthread_t threads[FIRERS];
    struct osr_portal portal;
    struct osr_post done;
    struct gate gate;
    int i, sum = 0, expected = 0, each = (int)sized(50, 10);

    gate_init(&gate, FIRERS);
    osr_group_open(group, .limit = limit);
    check_int(osr_portal_open(&portal, group), 0);
    check_int(osr_post_open(&done, count_posted, &gate), 0);
    for (i = 0; i < FIRERS; i++) {
        calls[i] = (struct calls){portal, done, 1 + i * each, each, 0, 0, 0};
        check_int(pthread_create(&threads[i], NULL, call_several, &calls[i]), 0);
    }
    check_int(gate_wait(&gate), 0);
    for (i = 0; i < FIRERS; i++) {
        check_int(pthread_join(threads[i], NULL), 0);
        sum += calls[i].sum;
        check_int(calls[i].stale + calls[i].others, 0);
    }
    for (i = 1; i <= FIRERS * each; i++)
        expected += 2 * i;
    check_int(sum, expected);
    check_int(osr_group_close(group, 0), 0);
}

REAL_TEST(tasks_that_come_through_a_portal_give_their_results_to_the_threads)
{
    struct osr_group group;

    call_from_threads(&group, 0);
    return 0;
}

REAL_TEST(under_a_limit_calls_wait_for_their_turn)
{
    struct osr_group group;

    call_from_threads(&group, 1);
    return 0;
}

struct failing_call {
    struct osr_portal portal;
    struct osr_post done;
    const struct osr_routine *routine;
    int rc;
    size_t length; /* of the message */
    char message[512], where[64];
};

OSR_TASK(fail_in_a_group, struct fetch, f)
{
    struct osr_group group;

    osr_group_open(&group, .name = "inner");
    osr_spawn(&group, fetch_one, f);
    return osr_group_close(&group, 0);
}

static void *call_what_fails(void *arg)
{
    struct failing_call *call = arg;
    struct fetch fetch = {-7, 0};

    call->rc = osr_portal_call_with(call->portal, call->routine, &fetch, OSR_HERE);
    snprintf(call->message, sizeof(call->message), "%s", osr_error_message(osr_error_last()));
    call->length = strlen(osr_error_message(osr_error_last()));
    snprintf(call->where, sizeof(call->where), "%s", osr_error_where(osr_error_last()));
    osr_error_clear();
    (void)osr_post_fire(call->done);
    return NULL;
}

/* Has another thread call it, and waits until that has its answer. */
static void fail_behind_a_portal(struct failing_call *call)
{
    struct osr_group group;
    struct gate gate;
    pthread_t thread;

    gate_init(&gate, 1);
    osr_group_open(&group);
    check_int(osr_post_open(&call->done, count_posted, &gate), 0);
    check_int(osr_portal_open(&call->portal, &group), 0);
    check_int(pthread_create(&thread, NULL, call_what_fails, call), 0);
    check_int(gate_wait(&gate), 0);
    check_int(osr_group_close(&group, 0), 0); /* nobody else has failed, or was cancelled */
    check_int(pthread_join(thread, NULL), 0);
}

REAL_TEST(an_error_behind_a_portal_comes_back_and_fails_nobody_else)
{
    struct failing_call call = {.routine = &fetch_one.routine_};

    fail_behind_a_portal(&call);
    check_int(call.rc, -EPROTO);
    check_text(call.message, "number -7");
    check_text(call.where, "fetch.c:1");
    return 0;
}

OSR_TASK(fail_fatally, struct fetch, unused) { return osr_fail_fatal(-EPROTO, "enough"); }

OSR_TASK(fail_fatally_behind_a_portal, struct failing_call, call)
{
    struct osr_scope shield;
    struct osr_group group;
    struct gate gate;
    pthread_t thread;
    int rc;

    gate_init(&gate, 1);
    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    check_int(osr_post_open(&call->done, count_posted, &gate), 0);
    check_int(osr_portal_open(&call->portal, &group), 0);
    check_int(pthread_create(&thread, NULL, call_what_fails, call), 0);
    check_int(gate_wait(&gate), -ECANCELED); /* by the error of what was called */
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check(osr_error_is_fatal(osr_error_find(osr_error_last(), EPROTO)));
    check_int(pthread_join(thread, NULL), 0);
    return osr_scope_close(&shield, rc);
}

static void a_fatal_error_behind_a_portal_counts_in_the_group_too(void **state)
{
    struct failing_call call = {.routine = &fail_fatally.routine_};

    (void)state;
    assert_int_equal(osr_run(fail_fatally_behind_a_portal, &call), -EPROTO);
    assert_int_equal(call.rc, -EPROTO);
    assert_string_equal(call.message, "enough");
    osr_error_clear();
    assert_checked();
}

REAL_TEST(an_exception_group_behind_a_portal_comes_back_in_words)
{
    struct failing_call call = {.routine = &fail_in_a_group.routine_};

    fail_behind_a_portal(&call);
    check_int(call.rc, -OSR_EGROUP);
    check(strstr(call.message, "number -7") != NULL);
    return 0;
}

OSR_TASK(win_after, struct gate, gate) { return gate_wait(gate); }

REAL_TEST(a_call_that_fails_is_not_the_first_success)
{
    struct failing_call call = {.routine = &fetch_one.routine_};
    struct osr_group group;
    struct gate gate;
    pthread_t thread;

    gate_init(&gate, 1);
    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    check_int(osr_spawn(&group, win_after, &gate), 0);
    check_int(osr_post_open(&call.done, count_posted, &gate), 0);
    check_int(osr_portal_open(&call.portal, &group), 0);
    check_int(pthread_create(&thread, NULL, call_what_fails, &call), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_winner(&group), 0);
    check(!osr_group_losses(&group)); /* it is the thread's */
    check_int(pthread_join(thread, NULL), 0);
    check_int(call.rc, -EPROTO);
    return 0;
}

OSR_TASK(fail_at_length, struct fetch, unused) { return osr_fail(-EPROTO, "%05000d", 1); }

OSR_TASK(fail_many_times, struct fetch, f)
{
    struct osr_group group;
    int i;

    osr_group_open(&group, .policy = OSR_COLLECT);
    for (i = 0; i < 100; i++)
        osr_spawn(&group, fetch_one, f);
    return osr_group_close(&group, 0);
}

REAL_TEST(the_words_of_an_error_behind_a_portal_come_back_whole)
{
    struct failing_call call = {.routine = &fail_at_length.routine_};

    fail_behind_a_portal(&call);
    check_int(call.rc, -EPROTO);
    check_int(call.length, 5000);
    call = (struct failing_call){.routine = &fail_many_times.routine_};
    fail_behind_a_portal(&call);
    check_int(call.rc, -OSR_EGROUP);
    check(call.length > 100 * strlen("EPROTO: number -7"));
    return 0;
}

struct one_call {
    struct osr_portal portal;
    int rc;
};

OSR_TASK(sleep_long, void, unused) { return osr_sleep(OSR_NEVER); }

static void *call_a_sleeper(void *arg)
{
    struct one_call *call = arg;

    call->rc = osr_portal_call(call->portal, sleep_long, NULL);
    osr_error_clear();
    return NULL;
}

REAL_TEST(a_task_behind_a_portal_that_is_cancelled_says_so)
{
    struct one_call call = {.rc = 1};
    struct osr_group group;
    pthread_t thread;

    osr_group_open(&group);
    osr_portal_open(&call.portal, &group);
    check_int(pthread_create(&thread, NULL, call_a_sleeper, &call), 0);
    while (osr_group_running(&group) == 0)
        check_int(osr_sleep(osr_us(50)), 0);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(pthread_join(thread, NULL), 0);
    check_int(call.rc, -OSR_ETASKCANCELED);
    return 0;
}

REAL_TEST(closing_a_portal_answers_those_whose_task_has_not_begun)
{
    struct one_call calls[2] = {{.rc = 1}, {.rc = 1}};
    struct osr_group group;
    struct osr_portal portal;
    pthread_t threads[2];

    osr_group_open(&group, .limit = 1);
    osr_portal_open(&portal, &group);
    calls[0].portal = calls[1].portal = portal;
    check_int(pthread_create(&threads[0], NULL, call_a_sleeper, &calls[0]), 0);
    while (osr_group_running(&group) == 0)
        check_int(osr_sleep(osr_us(50)), 0);
    check_int(pthread_create(&threads[1], NULL, call_a_sleeper, &calls[1]), 0);
    check_int(osr_sleep(osr_ms(5)), 0); /* it waits for a place, or is on its way */
    check_int(osr_portal_close(&portal), 0);
    check_int(pthread_join(threads[1], NULL), 0);
    check_int(calls[1].rc, -ESTALE);
    check_int(calls[0].rc, 1);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(pthread_join(threads[0], NULL), 0);
    check_int(calls[0].rc, -OSR_ETASKCANCELED);
    return 0;
}

OSR_TASK(sleep_and_say_so, atomic_int, slept)
{
    int rc = osr_sleep(osr_ms(5));

    atomic_fetch_add(slept, 1);
    return rc;
}

struct cancelled_thread {
    struct osr_portal portal;
    atomic_int slept, back;
};

static void *call_while_cancelled(void *arg)
{
    struct cancelled_thread *thread = arg;

    (void)osr_portal_call(thread->portal, sleep_and_say_so, &thread->slept);
    atomic_store(&thread->back, 1);
    return NULL;
}

/* Its call stands in its frame. */
REAL_TEST(a_thread_that_is_cancelled_waits_for_its_answer)
{
    struct cancelled_thread cancelled = {.slept = 0};
    struct osr_group group;
    pthread_t thread;

    osr_group_open(&group);
    check_int(osr_portal_open(&cancelled.portal, &group), 0);
    check_int(pthread_create(&thread, NULL, call_while_cancelled, &cancelled), 0);
    while (osr_group_running(&group) == 0)
        check_int(osr_sleep(osr_us(50)), 0);
    check_int(pthread_cancel(thread), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(pthread_join(thread, NULL), 0);
    check_int(atomic_load(&cancelled.slept), 1);
    check_int(atomic_load(&cancelled.back), 1);
    return 0;
}

struct answered_call {
    struct osr_portal portal;
    atomic_int rc; /* 1: not answered */
};

static void *call_and_be_answered(void *arg)
{
    struct answered_call *call = arg;

    atomic_store(&call->rc, osr_portal_call(call->portal, do_nothing, NULL));
    osr_error_clear();
    return NULL;
}

/* Without letting the loop look. */
static bool has_come(struct source *source)
{
    struct inbox *inbox = atomic_load(&source->inbox);
    bool come;

    pthread_mutex_lock(&inbox->lock);
    come = source->calls != NULL;
    pthread_mutex_unlock(&inbox->lock);
    return come;
}

static void wait_for_answers(struct answered_call *calls, int count)
{
    int i, tries;

    for (i = 0; i < count; i++)
        for (tries = 0; tries < 2000 && atomic_load(&calls[i].rc) == 1; tries++)
            usleep(100);
}

/* One waits for a place in the group, and the loop has not looked since the other came. */
REAL_TEST(closing_a_portal_answers_who_waits_for_a_place_and_who_has_just_come_in)
{
    static struct answered_call calls[2];
    struct osr_group group;
    struct osr_portal portal;
    struct source *source;
    pthread_t threads[2];
    int i, code;

    osr_group_open(&group, .limit = 1);
    check_int(osr_spawn(&group, sleep_for_ever, NULL), 0);
    check_int(osr_portal_open(&portal, &group), 0);
    source = osri_source_find(portal.id_, &code);
    for (i = 0; i < 2; i++) {
        calls[i].portal = portal;
        atomic_store(&calls[i].rc, 1);
    }
    check_int(pthread_create(&threads[0], NULL, call_and_be_answered, &calls[0]), 0);
    while (list_empty(&source->placeless))
        check_int(osr_sleep(osr_us(50)), 0);
    check_int(pthread_create(&threads[1], NULL, call_and_be_answered, &calls[1]), 0);
    while (!has_come(source))
        usleep(50);
    check_int(osr_portal_close(&portal), 0);
    wait_for_answers(calls, 2);
    for (i = 0; i < 2; i++) {
        check_int(atomic_load(&calls[i].rc), -ESTALE);
        if (atomic_load(&calls[i].rc) != 1)
            pthread_join(threads[i], NULL);
    }
    osr_group_cancel(&group, NULL);
    return osr_group_close(&group, 0);
}

REAL_TEST(many_threads_call_while_the_portal_closes_and_nobody_waits_for_ever)
{
    long rounds = sized(100, 10), round;

    for (round = 0; round < rounds; round++) {
        struct calls calls[FIRERS];
        pthread_t threads[FIRERS];
        struct osr_portal portal;
        struct osr_group group;
        int i;

        osr_group_open(&group, .limit = round % 3 == 2 ? 1 : 0);
        osr_portal_open(&portal, &group);
        for (i = 0; i < FIRERS; i++) {
            calls[i] = (struct calls){.portal = portal, .first = 1, .count = 5};
            check_int(pthread_create(&threads[i], NULL, call_several, &calls[i]), 0);
        }
        check_int(osr_sleep(osr_us(round % 7 * 50)), 0);
        if (round % 2)
            check_int(osr_portal_close(&portal), 0);
        check_int(osr_group_close(&group, 0), 0);
        for (i = 0; i < FIRERS; i++) {
            check_int(pthread_join(threads[i], NULL), 0);
            check_int(calls[i].others, 0);
        }
    }
    return 0;
}

struct late_call {
    struct osr_portal portal;
    struct osr_group *group;
    atomic_int rc;
    pthread_t thread;
};

static void *call_late(void *arg)
{
    struct late_call *late = arg;

    atomic_store(&late->rc, osr_portal_call(late->portal, do_nothing, NULL));
    osr_error_clear();
    return NULL;
}

/* Runs when all children have ended, and before the portal is closed. */
static int call_in_clean_up(void *arg)
{
    struct late_call *late = arg;

    check_int(pthread_create(&late->thread, NULL, call_late, late), 0);
    while (atomic_load(&late->rc) == 1)
        check_int(osr_sleep(osr_us(50)), 0);
    check_int(osr_spawn(late->group, do_nothing, NULL), -OSR_ECLOSED);
    return 0;
}

REAL_TEST(a_group_that_takes_no_tasks_any_more_answers_as_if_the_portal_were_closed)
{
    struct late_call late = {.rc = 1};
    struct osr_cleanup cleanup;
    struct osr_group group;

    osr_group_open(&group);
    late.group = &group;
    osr_portal_open(&late.portal, &group);
    check_int(osr_defer_unlimited(&cleanup, call_in_clean_up, &late), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(pthread_join(late.thread, NULL), 0);
    check_int(atomic_load(&late.rc), -ESTALE);
    return 0;
}

static void *post_in_turn(void *arg)
{
    struct calls *calls = arg;
    int i;

    for (i = 0; i < calls->count; i++)
        calls->others += osr_portal_post(calls->portal, run_nothing, NULL) != 0;
    (void)osr_post_fire(calls->done);
    return NULL;
}

static void say(void *arg)
{
    tell("%s", (const char *)arg);
}

OSR_TASK(post_some, void, unused)
{
    struct osr_portal portal;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_portal_open(&portal, &group), 0);
    check_int(osr_portal_post(portal, say, words("first")), 0);
    check_int(osr_portal_post(portal, say, words("second")), 0);
    check_int(osr_portal_post(portal, say, words("third")), 0);
    tell("posted");
    check_int(osr_sleep(1), 0);
    check_int(osr_portal_post(portal, say, words("never")), 0);
    check_int(osr_portal_post(portal, NULL, NULL), -EINVAL);
    check_int(osr_portal_call(portal, do_nothing, NULL), -EDEADLK);
    check_int(osr_portal_call_with(portal, NULL, NULL, NULL), -EINVAL);
    check_int(osr_portal_close(&portal), 0);
    check_int(osr_portal_post(portal, say, words("never")), -ESTALE);
    check_int(osr_portal_call(portal, do_nothing, NULL), -ESTALE);
    check_int(osr_portal_cancel(portal, NULL), -ESTALE);
    check_int(osr_sleep(1), 0);
    return osr_group_close(&group, 0);
}

TEST(what_is_posted_runs_in_the_order_of_posting_until_the_portal_closes)
{
    assert_int_equal(run_simulated(post_some, NULL), 0);
    assert_checked();
    assert_story("posted\nfirst\nsecond\nthird\n");
}

static struct osr_portal for_callback;

static void close_the_portal(void *arg)
{
    (void)arg;
    tell("closes");
    (void)osr_portal_close(&for_callback);
}

static void post_again(void *arg)
{
    tell("again");
    (void)osr_portal_post(for_callback, arg ? post_again : say, arg ? NULL : words("later"));
}

OSR_TASK(post_and_close_inside, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_portal_open(&for_callback, &group);
    osr_portal_post(for_callback, post_again, words(""));
    check_int(osr_sleep(1), 0);
    check_int(osr_sleep(1), 0);
    check_int(osr_sleep(1), 0);
    osr_portal_post(for_callback, say, words("one"));
    osr_portal_post(for_callback, close_the_portal, NULL);
    osr_portal_post(for_callback, say, words("never"));
    check_int(osr_sleep(1), 0);
    return osr_group_close(&group, 0);
}

TEST(what_is_posted_may_post_again_and_close_the_portal)
{
    assert_int_equal(run_simulated(post_and_close_inside, NULL), 0);
    assert_checked();
    assert_story("again\nagain\nlater\none\ncloses\n");
}

struct endless {
    struct osr_portal portal;
    bool stop;
};

static void post_for_ever(void *arg)
{
    struct endless *endless = arg;

    if (!endless->stop)
        (void)osr_portal_post(endless->portal, post_for_ever, endless);
}

REAL_TEST(a_post_that_posts_itself_keeps_no_task_from_running)
{
    struct endless endless = {.stop = false};
    struct osr_group group;

    osr_group_open(&group);
    osr_portal_open(&endless.portal, &group);
    check_int(osr_portal_post(endless.portal, post_for_ever, &endless), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    endless.stop = true;
    return osr_group_close(&group, 0);
}

REAL_TEST(posts_from_many_threads_may_race_with_the_close)
{
    struct calls calls[FIRERS];
    pthread_t threads[FIRERS];
    struct osr_portal portal;
    struct osr_group group;
    struct osr_post done;
    struct gate gate;
    int i;

    gate_init(&gate, FIRERS);
    osr_post_open(&done, count_posted, &gate);
    osr_group_open(&group);
    osr_portal_open(&portal, &group);
    for (i = 0; i < FIRERS; i++) {
        calls[i] = (struct calls){portal, done, 0, (int)sized(2000, 200), 0, 0, 0};
        check_int(pthread_create(&threads[i], NULL, post_in_turn, &calls[i]), 0);
    }
    check_int(osr_sleep(osr_us(300)), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(gate_wait(&gate), 0);
    for (i = 0; i < FIRERS; i++)
        check_int(pthread_join(threads[i], NULL), 0);
    return 0;
}

/* Posts that a signal handler holds up, wherever it strikes: also where a post is in the queue and the loop not told yet. */
enum { HELD_UP = 1 << 16 };

struct held_up {
    _Atomic uint64_t portal;
    atomic_bool enough;
    atomic_int stale, stale_and_called;
    atomic_bool called[HELD_UP];
};

static void hold_up(int number)
{
    const struct timespec nap = {0, 100000};
    int kept = errno;

    (void)number;
    (void)nanosleep(&nap, NULL);
    errno = kept;
}

static void note_called(void *called)
{
    atomic_store((atomic_bool *)called, true);
}

static void *post_while_held_up(void *arg)
{
    struct held_up *posts = arg;
    int i;

    for (i = 0; i < HELD_UP && !atomic_load(&posts->enough); i++) {
        struct osr_portal portal = {atomic_load(&posts->portal)};

        if (osr_portal_post(portal, note_called, &posts->called[i]) != -ESTALE)
            continue;
        atomic_fetch_add(&posts->stale, 1);
        atomic_fetch_add(&posts->stale_and_called, atomic_load(&posts->called[i]));
        (void)sched_yield();
    }
    return NULL;
}

/* The loop is told by a post of its own thread's, and takes the first in the queue. */
static void open_hear_and_close(struct held_up *posts, pthread_t thread)
{
    struct osr_portal portal;
    struct osr_group group;
    int i;

    osr_group_open(&group);
    check_int(osr_portal_open(&portal, &group), 0);
    atomic_store(&posts->portal, portal.id_);
    for (i = 0; i < 4; i++) {
        check_int(osr_sleep(osr_us(20)), 0);
        pthread_kill(thread, SIGUSR2);
        check_int(osr_portal_post(portal, run_nothing, NULL), 0);
        check_int(osr_sleep(1), 0);
    }
    check_int(osr_portal_close(&portal), 0);
    check_int(osr_group_close(&group, 0), 0);
}

REAL_TEST(what_is_posted_and_called_is_not_stale_though_the_portal_closes_meanwhile)
{
    struct sigaction action = {.sa_handler = hold_up}, before;
    struct held_up *posts = calloc(1, sizeof(*posts));
    int64_t until = osr_now() + osr_ms(sized(600, 100));
    pthread_t thread;

    sigaction(SIGUSR2, &action, &before);
    check_int(pthread_create(&thread, NULL, post_while_held_up, posts), 0);
    while (osr_now() < until && atomic_load(&posts->stale_and_called) == 0)
        open_hear_and_close(posts, thread);
    atomic_store(&posts->enough, true);
    check_int(pthread_join(thread, NULL), 0);
    sigaction(SIGUSR2, &before, NULL);
    check_int(posts->stale_and_called, 0);
    free(posts);
    return 0;
}

static atomic_bool enough_cancels;

static void *cancel_again_and_again(void *portal)
{
    while (!atomic_load(&enough_cancels))
        (void)osr_portal_cancel(*(struct osr_portal *)portal, "once more");
    return NULL;
}

REAL_TEST(cancels_from_two_threads_may_meet_while_one_is_heard) /* which ThreadSanitizer judges */
{
    struct osr_portal portal;
    struct osr_group group;
    struct osr_scope shield;
    pthread_t threads[2];
    int i;

    atomic_store(&enough_cancels, false);
    osr_group_open(&group);
    check_int(osr_portal_open(&portal, &group), 0);
    for (i = 0; i < 2; i++)
        check_int(pthread_create(&threads[i], NULL, cancel_again_and_again, &portal), 0);
    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(osr_ms(50)), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    atomic_store(&enough_cancels, true);
    for (i = 0; i < 2; i++)
        check_int(pthread_join(threads[i], NULL), 0);
    check_text(osr_scope_reason(&group.scope)->text, "once more");
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(a_portal_cancels_its_group_for_the_first_reason_given)
{
    struct osr_portal portal;
    struct osr_group group;

    osr_group_open(&group);
    check_int(osr_portal_open(&portal, &group), 0);
    check_int(osr_portal_cancel(portal, "first"), 0);
    check_int(osr_portal_cancel(portal, "second"), 0);
    check_int(osr_sleep(1), -ECANCELED);
    check_text(osr_scope_reason(&group.scope)->text, "first");
    check(strstr(osr_scope_reason(&group.scope)->where, "test_post.c:") != NULL);
    check_int(osr_portal_cancel(portal, "third"), 0);
    check_int(osr_group_close(&group, -ECANCELED), 0);
    check_int(osr_portal_cancel(portal, "too late"), -ESTALE);
    return 0;
}

/* ---- What is open keeps a run from being taken for stuck ------------------------------------------------ */

static void *fire_later(void *arg) { return fire_once(arg); }

REAL_TEST(with_a_post_open_a_run_in_which_nothing_else_can_happen_is_not_stuck)
{
    struct shot shot = {.after = 10000};
    struct gate gate;
    pthread_t thread;

    gate_init(&gate, 1);
    osr_post_open(&shot.post, count_posted, &gate);
    check_int(pthread_create(&thread, NULL, fire_later, &shot), 0);
    check_int(gate_wait(&gate), 0);
    check_int(pthread_join(thread, NULL), 0);
    return 0;
}

OSR_TASK(close_and_wait_for_ever, void, unused)
{
    struct osr_portal portal;
    struct osr_group group;
    struct osr_post post;

    osr_group_open(&group);
    osr_post_open(&post, count_posted, NULL);
    osr_portal_open(&portal, &group);
    check_int(osr_post_close(&post), 0);
    check_int(osr_portal_close(&portal), 0);
    return osr_group_close(&group, osr_sleep(OSR_NEVER));
}

TEST(when_the_last_post_and_portal_are_closed_it_is)
{
    assert_int_equal(run_simulated(close_and_wait_for_ever, NULL), -OSR_EDEADLOCK);
    osr_error_clear();
    assert_checked();
}

/* Under the simulated clock, a fire comes before the clock jumps. */
SIMULATED_TEST(the_simulated_clock_does_not_jump_over_a_post)
{
    struct osr_post post;
    struct gate gate;
    int64_t before = osr_now();

    gate_init(&gate, 1);
    osr_post_open(&post, count_posted, &gate);
    osr_post_fire(post);
    check_int(gate_wait(&gate), 0);
    check_int(osr_now(), before);
    return 0;
}

/* ---- Runs one after the other -------------------------------------------------------------------------- */

struct late {
    _Atomic uint64_t id;
    atomic_bool stop;
};

static void *fire_whatever_there_is(void *arg)
{
    struct late *late = arg;

    while (!atomic_load(&late->stop))
        (void)osr_post_fire((struct osr_post){atomic_load(&late->id)});
    return NULL;
}

OSR_TASK(open_for_a_moment, struct late, late)
{
    struct osr_post post;
    struct gate gate;
    int rc;

    gate_init(&gate, 1);
    osr_post_open(&post, count_posted, &gate);
    atomic_store(&late->id, post.id_);
    rc = gate_wait(&gate);
    osr_post_close(&post);
    return rc;
}

TEST(fires_that_come_while_runs_end_and_begin_harm_nobody)
{
    struct late late = {0};
    pthread_t threads[2];
    long i, runs = sized(300, 30);

    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, fire_whatever_there_is, &late), 0);
    for (i = 0; i < runs; i++)
        assert_int_equal(osr_run(open_for_a_moment, &late), 0);
    atomic_store(&late.stop, true);
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* ---- A cancellation beside an error behind a portal ------------------------------------------------------- */

OSR_TASK(sleep_until_cut, void, unused) { return osr_sleep(OSR_NEVER); }

OSR_TASK(fail_beside_a_cancellation, struct osr_event, begun)
{
    struct osr_group group;

    osr_event_set(begun);
    osr_group_open(&group);
    osr_spawn(&group, sleep_until_cut, NULL);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    return osr_group_close(&group, osr_fail(-EIO, "the body failed"));
}

struct cut_call {
    struct osr_portal portal;
    struct osr_event begun;
    int rc;
};

static void *call_what_is_cut(void *arg)
{
    struct cut_call *call = arg;

    call->rc = osr_portal_call(call->portal, fail_beside_a_cancellation, &call->begun);
    osr_error_clear();
    return NULL;
}

/* The error is the thread's, and the cancellation goes on to who has to know of it. */
REAL_TEST(a_cancellation_beside_an_error_behind_a_portal_goes_on)
{
    struct cut_call call;
    struct osr_group group;
    struct osr_scope scope;
    pthread_t thread;

    osr_event_init(&call.begun);
    osr_scope_open(&scope);
    osr_group_open(&group);
    check_int(osr_portal_open(&call.portal, &group), 0);
    check_int(pthread_create(&thread, NULL, call_what_is_cut, &call), 0);
    check_int(osr_event_wait(&call.begun), 0);
    check_int(osr_scope_cancel(&scope, "enough"), 0);
    check_int(osr_group_close(&group, 0), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    check_int(pthread_join(thread, NULL), 0);
    check_int(call.rc, -OSR_EGROUP);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        descriptor_test(a_post_that_is_fired_several_times_is_told_once_with_the_count),
        descriptor_test(posts_are_told_in_the_order_in_which_they_came),
        descriptor_test(a_fire_from_a_thread_wakes_a_loop_that_waits_and_leaves_errno_alone),
        descriptor_test(a_hundred_thousand_posts_from_four_threads_lose_nothing),
        descriptor_test(fires_from_signal_handlers_that_interrupt_the_loop_add_up),
        descriptor_test(a_closed_post_is_stale_and_what_was_fired_before_is_dropped),
        descriptor_test(a_post_that_was_fired_when_it_was_closed_is_used_again_only_when_it_was_heard),
        descriptor_test(a_post_that_was_closed_after_it_was_fired_still_brings_a_turn_of_the_loop),
        descriptor_test(a_post_is_closed_with_the_scope_in_which_it_was_opened),
        descriptor_test(a_post_is_stale_after_its_run_and_in_later_ones),
        descriptor_test(a_post_may_be_closed_by_what_it_calls),
        descriptor_test(a_post_may_be_fired_by_what_it_calls),
        descriptor_test(a_post_cancels_a_scope_with_its_text_and_place),
        descriptor_test(a_post_that_cancels_is_bound_to_the_scope_that_it_is_for),
        descriptor_test(in_a_callback_what_waits_or_opens_is_refused),
        descriptor_test(a_callback_may_spawn_cancel_and_use_handles),
        descriptor_test(what_was_posted_is_told_between_the_steps_of_tasks),
        descriptor_test(what_a_callback_leaves_in_the_slot_is_dropped),
        descriptor_test(posts_are_opened_and_closed_on_the_runs_own_thread),
        descriptor_test(another_run_cannot_close_a_post_but_fire_it),
        descriptor_test(a_forked_child_cannot_use_its_parents_posts_but_those_of_a_run_of_its_own),
        descriptor_test(where_the_system_or_memory_fails_there_is_a_code_and_nothing_is_left),
        descriptor_test(no_simulated_time_passes_before_a_post_is_heard_though_the_system_says_nothing),
        descriptor_test(without_memory_for_its_task_a_call_through_a_portal_gives_a_code),
        descriptor_test(a_place_that_nobody_can_use_is_passed_on_however_many_wait_for_it),
        descriptor_test(where_signals_were_watched_before_a_post_is_still_told_between_steps),
        descriptor_test(tasks_that_come_through_a_portal_give_their_results_to_the_threads),
        descriptor_test(under_a_limit_calls_wait_for_their_turn),
        descriptor_test(an_error_behind_a_portal_comes_back_and_fails_nobody_else),
        descriptor_test(a_fatal_error_behind_a_portal_counts_in_the_group_too),
        descriptor_test(an_exception_group_behind_a_portal_comes_back_in_words),
        descriptor_test(a_call_that_fails_is_not_the_first_success),
        descriptor_test(the_words_of_an_error_behind_a_portal_come_back_whole),
        descriptor_test(a_task_behind_a_portal_that_is_cancelled_says_so),
        descriptor_test(closing_a_portal_answers_those_whose_task_has_not_begun),
        descriptor_test(a_thread_that_is_cancelled_waits_for_its_answer),
        descriptor_test(closing_a_portal_answers_who_waits_for_a_place_and_who_has_just_come_in),
        descriptor_test(many_threads_call_while_the_portal_closes_and_nobody_waits_for_ever),
        descriptor_test(a_group_that_takes_no_tasks_any_more_answers_as_if_the_portal_were_closed),
        descriptor_test(what_is_posted_runs_in_the_order_of_posting_until_the_portal_closes),
        descriptor_test(what_is_posted_may_post_again_and_close_the_portal),
        descriptor_test(a_post_that_posts_itself_keeps_no_task_from_running),
        descriptor_test(posts_from_many_threads_may_race_with_the_close),
        descriptor_test(what_is_posted_and_called_is_not_stale_though_the_portal_closes_meanwhile),
        descriptor_test(a_portal_cancels_its_group_for_the_first_reason_given),
        descriptor_test(cancels_from_two_threads_may_meet_while_one_is_heard),
        descriptor_test(with_a_post_open_a_run_in_which_nothing_else_can_happen_is_not_stuck),
        descriptor_test(when_the_last_post_and_portal_are_closed_it_is),
        descriptor_test(the_simulated_clock_does_not_jump_over_a_post),
        descriptor_test(fires_that_come_while_runs_end_and_begin_harm_nobody),
        descriptor_test(a_cancellation_beside_an_error_behind_a_portal_goes_on),
    };

    return cmocka_run_group_tests_name("post", tests, NULL, NULL) != 0;
}
