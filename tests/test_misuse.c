/* Misuse: what stops the program and what it says, what gives a code; deadlocks, overflows; guards. */
#include "harness.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <osier/attach.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

OSR_TASK(end_at_once, void, unused) { return 0; }
OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }

/* ---- Programs that are stopped ------------------------------------------------------------------------- */

/* Two places, noted by the child process that dies in between: shared memory, so that the parent knows them. */
static struct {
    char opened[64], closed[64];
} *noted;

static const char *last_part(const char *where)
{
    const char *slash = strrchr(where, '/');

    return slash ? slash + 1 : where;
}

/* To be written on the line of the call whose place it notes. */
#define NOTE(which) snprintf(noted->which, sizeof(noted->which), "%s", last_part(OSR_HERE))

static void assert_stops_naming_both_places(void (*program)(void))
{
    noted = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(noted != MAP_FAILED);
    assert_dies(program, SIGABRT, "");
    assert_string_not_equal(noted->opened, "");
    assert_string_not_equal(noted->closed, "");
    assert_dies(program, SIGABRT, noted->opened);
    assert_dies(program, SIGABRT, noted->closed);
    munmap(noted, sizeof(*noted));
}

OSR_TASK(close_outer_scope_first, void, unused)
{
    struct osr_scope outer, inner;

    osr_scope_open(&outer);
    NOTE(opened), osr_scope_open(&inner);
    NOTE(closed), osr_scope_close(&outer, 0);
    return 0;
}

static void run_close_outer_scope_first(void) { osr_run(close_outer_scope_first, NULL); }

TEST(closing_a_scope_around_an_open_one_stops_the_program)
{
    assert_stops_naming_both_places(run_close_outer_scope_first);
}

OSR_TASK(close_scope_around_group, void, unused)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_scope_open(&outer);
    NOTE(opened), osr_group_open(&group);
    NOTE(closed), osr_scope_close(&outer, 0);
    return 0;
}

static void run_close_scope_around_group(void) { run_simulated(close_scope_around_group, NULL); }

TEST(closing_a_scope_around_an_open_group_stops_the_program)
{
    assert_stops_naming_both_places(run_close_scope_around_group);
}

OSR_TASK(close_group_around_scope, void, unused)
{
    struct osr_scope inner;
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, end_at_once, NULL);
    NOTE(opened), osr_scope_open(&inner);
    NOTE(closed), osr_group_close(&group, 0);
    return 0;
}

static void run_close_group_around_scope(void) { run_simulated(close_group_around_scope, NULL); }

TEST(closing_a_group_around_an_open_scope_stops_the_program)
{
    assert_stops_naming_both_places(run_close_group_around_scope);
}

OSR_TASK(close_outer_group_first, void, unused)
{
    struct osr_group outer, inner;

    osr_group_open(&outer);
    NOTE(opened), osr_group_open(&inner);
    osr_spawn(&inner, sleep_forever, NULL);
    NOTE(closed), osr_group_close(&outer, 0);
    return 0;
}

static void run_close_outer_group_first(void) { osr_run(close_outer_group_first, NULL); }

TEST(closing_a_group_around_an_open_group_stops_the_program)
{
    assert_stops_naming_both_places(run_close_outer_group_first);
}

OSR_TASK(return_with_an_open_scope, void, unused)
{
    struct osr_scope scope;

    NOTE(opened), osr_scope_open(&scope);
    return 0;
}

OSR_TASK(return_with_an_open_group, void, unused)
{
    struct osr_group group;

    NOTE(opened), osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    return 0;
}

OSR_TASK(spawn_one_that_forgets_its_scope, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    NOTE(closed), osr_spawn(&group, return_with_an_open_scope, NULL);
    return osr_group_close(&group, 0);
}

OSR_TASK(spawn_one_that_forgets_its_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    NOTE(closed), osr_spawn(&group, return_with_an_open_group, NULL);
    return osr_group_close(&group, 0);
}

static void run_one_that_forgets_its_scope(void) { osr_run(spawn_one_that_forgets_its_scope, NULL); }
static void run_one_that_forgets_its_group(void) { osr_run(spawn_one_that_forgets_its_group, NULL); }

TEST(a_task_that_returns_with_an_open_scope_stops_the_program)
{
    assert_stops_naming_both_places(run_one_that_forgets_its_scope);
}

TEST(a_task_that_returns_with_an_open_group_stops_the_program)
{
    assert_stops_naming_both_places(run_one_that_forgets_its_group);
}

/* What was opened inside it and closed again is not what is named. */
OSR_TASK(return_with_an_outer_scope_open, void, unused)
{
    struct osr_scope outer, middle, inner;
    struct osr_group group;

    NOTE(opened), osr_scope_open(&outer);
    osr_timeout_open(&middle, osr_s(1));
    osr_scope_open(&inner);
    osr_scope_close(&inner, 0);
    osr_group_open(&group);
    osr_group_close(&group, 0);
    osr_scope_close(&middle, 0);
    return 0;
}

static void run_one_that_forgets_its_outer_scope(void)
{
    NOTE(closed), osr_run(return_with_an_outer_scope_open, NULL);
}

TEST(a_task_that_returns_with_an_outer_scope_open_is_told_of_that_one)
{
    assert_stops_naming_both_places(run_one_that_forgets_its_outer_scope);
}

static void run_a_root_that_forgets_its_scope(void)
{
    NOTE(closed), osr_run(return_with_an_open_scope, NULL);
}

TEST(a_root_that_returns_with_an_open_scope_stops_the_program)
{
    assert_stops_naming_both_places(run_a_root_that_forgets_its_scope);
}

static void write_diagnosis(void *arg, enum osr_diagnosis kind, const char *text)
{
    dprintf(STDERR_FILENO, "%s %d: %s", (const char *)arg, (int)kind, text);
}

static void run_with_a_diagnostic_hook(void)
{
    static char prefix[] = "diagnosis";

    NOTE(closed), osr_run(return_with_an_open_scope, NULL, .diagnose = write_diagnosis, .diagnose_arg = prefix);
}

TEST(the_diagnostic_hook_hears_of_misuse_before_the_program_stops)
{
    char text[32];

    noted = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    snprintf(text, sizeof(text), "diagnosis %d: ", OSR_DIAGNOSIS_MISUSE);
    assert_dies(run_with_a_diagnostic_hook, SIGABRT, text);
    munmap(noted, sizeof(*noted));
}

/* ---- Deadlocks ----------------------------------------------------------------------------------------- */

struct pair {
    struct osr_task a, b;
};

OSR_TASK(join_a, struct pair, pair) { return osr_task_join(pair->a); }
OSR_TASK(join_b, struct pair, pair) { return osr_task_join(pair->b); }

OSR_TASK(wait_for_each_other, void, unused)
{
    struct osr_group group;
    struct pair pair;

    osr_group_open(&group, .name = "the couple");
    osr_spawn(&group, join_b, &pair, .name = "anna", .handle = &pair.a);
    osr_spawn(&group, join_a, &pair, .name = "boris", .handle = &pair.b);
    return osr_group_close(&group, 0);
}

static void assert_last_contains(const char *part)
{
    const char *message = osr_error_message(osr_error_last());

    if (!strstr(message, part))
        fail_msg("no \"%s\" in:\n%s", part, message);
}

TEST(tasks_that_wait_for_each_other_end_the_run_with_the_tree)
{
    assert_int_equal(run_simulated(wait_for_each_other, NULL), -OSR_EDEADLOCK);
    assert_int_equal(osr_error_code(osr_error_last()), -OSR_EDEADLOCK);
    assert_last_contains("anna");
    assert_last_contains("boris");
    assert_last_contains("the couple");
    assert_last_contains("osr_task_join");
    assert_last_contains("osr_group_close");
    assert_last_contains("test_misuse.c:");
    osr_error_clear();
}

TEST(a_deadlock_is_seen_under_the_real_clock_too)
{
    assert_int_equal(osr_run(wait_for_each_other, NULL), -OSR_EDEADLOCK);
    assert_last_contains("anna");
    osr_error_clear();
}

TEST(a_lone_sleep_without_end_is_a_deadlock)
{
    assert_int_equal(run_simulated(sleep_forever, NULL, .name = "dornröschen"), -OSR_EDEADLOCK);
    assert_last_contains("dornröschen");
    assert_last_contains("osr_sleep");
    osr_error_clear();
}

OSR_TASK(swallow_the_deadlock, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    return 0;
}

TEST(a_deadlock_comes_out_of_the_run_even_if_the_root_ignores_it)
{
    assert_int_equal(run_simulated(swallow_the_deadlock, NULL), -OSR_EDEADLOCK);
    assert_checked();
    osr_error_clear();
}

OSR_TASK(clean_up_after_deadlock, void, unused)
{
    struct osr_scope shield;
    int rc = osr_sleep(OSR_NEVER);

    osr_shield_open(&shield, osr_s(1));
    check_int(osr_sleep(osr_ms(3)), 0);
    check_int(osr_scope_close(&shield, 0), 0);
    tell("cleaned up");
    return rc;
}

TEST(clean_up_runs_after_a_deadlock)
{
    assert_int_equal(run_simulated(clean_up_after_deadlock, NULL), -OSR_EDEADLOCK);
    assert_checked();
    assert_story("cleaned up\n");
    osr_error_clear();
}

OSR_TASK(sleep_long, void, unused) { return osr_sleep(osr_s(3600)); }

OSR_TASK(join_one_that_sleeps, void, unused)
{
    struct osr_group group;
    struct osr_task handle;
    int rc;

    osr_group_open(&group);
    osr_spawn(&group, sleep_long, NULL, .handle = &handle);
    rc = osr_task_join(handle);
    return osr_group_close(&group, rc);
}

TEST(while_a_deadline_is_ahead_nothing_is_a_deadlock)
{
    assert_int_equal(run_simulated(join_one_that_sleeps, NULL), 0);
}

OSR_TASK(wait_under_a_deadline, void, unused)
{
    struct osr_scope limit;

    osr_move_on_open(&limit, osr_s(3600));
    return osr_scope_close(&limit, osr_sleep(OSR_NEVER));
}

TEST(a_scopes_deadline_is_one_that_is_ahead)
{
    assert_int_equal(run_simulated(wait_under_a_deadline, NULL), 0);
}

OSR_TASK(sleep_forever_behind_a_shield, void, unused)
{
    struct osr_scope shield;
    int rc;

    osr_shield_open_unlimited(&shield);
    NOTE(opened), rc = osr_sleep(OSR_NEVER);
    return osr_scope_close(&shield, rc);
}

static void run_shielded_deadlock(void)
{
    run_simulated(sleep_forever_behind_a_shield, NULL, .name = "the unreachable");
}

TEST(what_cannot_move_even_when_cancelled_stops_the_program_with_the_tree)
{
    noted = mmap(NULL, sizeof(*noted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_dies(run_shielded_deadlock, SIGABRT, "the unreachable");
    assert_dies(run_shielded_deadlock, SIGABRT, "osr_sleep");
    assert_dies(run_shielded_deadlock, SIGABRT, noted->opened);
    munmap(noted, sizeof(*noted));
}

/* ---- Stack overflow ------------------------------------------------------------------------------------ */

static int __attribute__((noinline)) recurse(volatile int depth)
{
    volatile char frame[512];

    frame[0] = (char)depth;
    frame[511] = frame[0];
    return depth > 100000000 ? frame[511] : recurse(depth + 1) + frame[511];
}

OSR_TASK(overflow, void, unused) { return recurse(0); }

OSR_TASK(spawn_the_overflow, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, overflow, NULL, .name = "the bottomless");
    return osr_group_close(&group, 0);
}

static void run_overflow(void)
{
    osr_run(spawn_the_overflow, NULL);
}

/* As a function of another library's does with a buffer of 16 KB, whose frame is not probed page by page: glibc takes 8 KB
 * to print to standard error. */
static int __attribute__((noinline)) leap(const char *frame)
{
    volatile char *end = (volatile char *)(uintptr_t)(frame - 16384);

    *end = 1;
    return *end;
}

static int __attribute__((noinline)) go_down_and_leap(const char *top, size_t size)
{
    const char *here = __builtin_frame_address(0);
    volatile char frame[256];

    frame[0] = 1;
    return ((size_t)(top - here) < size ? go_down_and_leap(top, size) : leap(here)) + frame[0];
}

OSR_TASK(leap_near_the_end, void, unused)
{
    return go_down_and_leap(__builtin_frame_address(0), 61000) == 0;
}

OSR_TASK(spawn_the_leap, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, leap_near_the_end, NULL, .name = "the leaper");
    return osr_group_close(&group, 0);
}

static void run_leap(void)
{
    osr_run(spawn_the_leap, NULL);
}

/* Far below all stacks. */
OSR_TASK(follow_a_stray_pointer, void, unused)
{
    volatile int *volatile nowhere = (volatile int *)8;

    return *nowhere;
}

static void die_of_being_called_an_overflow(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)text;
    if (kind == OSR_DIAGNOSIS_OVERFLOW)
        raise(SIGKILL);
}

static void fault_in_a_task(void)
{
    osr_run(follow_a_stray_pointer, NULL, .diagnose = die_of_being_called_an_overflow);
}

static void run_large_overflow(void)
{
    osr_run(spawn_the_overflow, NULL, .stack_size = 262144);
}

static void run_unnamed_overflow(void)
{
    osr_run(spawn_the_overflow, NULL, .no_overflow_handler = true);
}

TEST(another_fault_of_a_task_is_no_stack_overflow)
{
    assert_dies(fault_in_a_task, SIGSEGV, "");
}

TEST(a_stack_overflow_names_the_task_and_the_size)
{
    assert_dies(run_overflow, SIGSEGV, "the bottomless");
    assert_dies(run_overflow, SIGSEGV, "65536");
    assert_dies(run_large_overflow, SIGSEGV, "262144");
}

TEST(a_large_frame_does_not_leap_over_the_guard_into_the_next_stack)
{
    assert_dies(run_leap, SIGSEGV, "stack overflow in task \"the leaper\"");
}

TEST(a_stack_overflow_is_fatal_without_the_handler_too)
{
    assert_dies(run_unnamed_overflow, SIGSEGV, "");
}

static int overflows;

static void count_overflows(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg;
    overflows += kind == OSR_DIAGNOSIS_OVERFLOW && strstr(text, "\"the bottomless\", spawned at tests/test_misuse.c:");
}

static void report_the_fault(int number, siginfo_t *info, void *context)
{
    char text[64];

    (void)context;
    osr_fault_report(info->si_addr);
    snprintf(text, sizeof(text), "told %d times\n", overflows);
    if (write(STDERR_FILENO, text, strlen(text)) > 0)
        die_of(number);
}

static void report_faults(void)
{
    static char spare[1 << 16];
    const stack_t stack = {.ss_sp = spare, .ss_size = sizeof(spare)};
    const struct sigaction action = {.sa_sigaction = report_the_fault, .sa_flags = SA_ONSTACK | SA_SIGINFO};

    sigaltstack(&stack, NULL);
    sigaction(SIGSEGV, &action, NULL);
}

static void overflow_with_a_handler_that_reports(void)
{
    report_faults();
    osr_run(spawn_the_overflow, NULL, .diagnose = count_overflows, .no_overflow_handler = true);
}

static void overflow_with_both_handlers(void)
{
    report_faults();
    osr_run(spawn_the_overflow, NULL, .diagnose = count_overflows);
}

static void fault_with_a_handler_that_reports(void)
{
    report_faults();
    osr_run(follow_a_stray_pointer, NULL, .diagnose = count_overflows, .no_overflow_handler = true);
}

TEST(a_handler_of_the_programs_own_has_an_overflow_named)
{
    assert_dies(overflow_with_a_handler_that_reports, SIGSEGV, "told 1 times\n");
    assert_dies(overflow_with_both_handlers, SIGSEGV, "told 1 times\n");
    assert_dies(fault_with_a_handler_that_reports, SIGSEGV, "told 0 times\n");
}

static void write_own_words_and_die(int number)
{
    static const char words[] = "the program's own handler\n";

    if (write(STDERR_FILENO, words, sizeof(words) - 1) > 0)
        die_of(number);
}

/* A fault that is no stack overflow. */
OSR_TASK(have_another_fault, void, unused) { return raise(SIGSEGV); }

static void run_with_own_handler(void)
{
    signal(SIGSEGV, write_own_words_and_die);
    osr_run(have_another_fault, NULL);
}

TEST(other_faults_go_to_the_handler_that_was_there_before)
{
    assert_dies(run_with_own_handler, SIGSEGV, "the program's own handler");
}

OSR_TASK(do_nothing, void, unused) { return 0; }

TEST(a_run_puts_the_previous_handler_back)
{
    struct sigaction before, after;

    sigaction(SIGSEGV, NULL, &before);
    assert_int_equal(osr_run(do_nothing, NULL), 0);
    sigaction(SIGSEGV, NULL, &after);
    assert_ptr_equal(before.sa_handler, after.sa_handler);
}

/* ---- Codes, not crashes -------------------------------------------------------------------------------- */

OSR_TASK(run_inside_a_run, void, unused)
{
    check_int(osr_run(do_nothing, NULL), -EBUSY);
    check_int(run_simulated(do_nothing, NULL), -EBUSY);
    check_int(osr_check(), 0);
    return 7;
}

TEST(a_run_inside_a_run_is_refused)
{
    assert_int_equal(osr_run(run_inside_a_run, NULL), 7);
    assert_checked();
}

/* Every public call, outside a task: refused, and nothing done. */
static void check_refused_outside_tasks(void)
{
    const struct osr_task nothing = {0};
    struct osr_task handle = {0};
    struct osr_task_wait wait;
    struct osr_address address;
    struct osr_group group;
    struct osr_scope scope;
    char byte = 0;
    int rc, pipes[2];

    check_int(pipe(pipes), 0);
    check_int(osr_address_ip(&address, "127.0.0.1", 0), 0);

    osr_fault_report(&byte);
    check_int(osr_yield(), -EPERM);
    check_int(osr_check(), -EPERM);
    check_int(osr_sleep(0), -EPERM);
    check_int(osr_sleep_until(0), -EPERM);
    check_int(osr_task_join(nothing), -EPERM);
    check_int(osr_task_cancel(nothing, NULL), -EPERM);
    check_int(osr_task_state(nothing), -EPERM);
    check_int(osr_task_result(nothing, &rc), -EPERM);
    check_int(osr_task_where(nothing, &wait), -EPERM);
    check_int(osr_task_release(&handle), -EPERM);
    check(osr_task_name(nothing) == NULL);
    check(osr_task_error(nothing) == NULL);
    handle = osr_self();
    check(memcmp(&handle, &nothing, sizeof(handle)) == 0);

    check_int(osr_scope_open(&scope), -EPERM);
    check_int(osr_scope_cancel(&scope, NULL), -EPERM);
    check_int(osr_scope_set_deadline(&scope, 5), -EPERM);
    check_int(osr_scope_unshield(&scope), -EPERM);
    check_int(osr_scope_close(&scope, 0), -EPERM);
    check_int(osr_timeout_open(&scope, 5), -EPERM);
    check_int(osr_move_on_open(&scope, 5), -EPERM);
    check_int(osr_shield_open(&scope, 5), -EPERM);
    check(!osr_scope_cancelled(&scope));
    check(!osr_scope_caught(&scope));
    check(osr_scope_reason(&scope) == NULL);
    check(osr_deadline() == OSR_NEVER);
    check(!osr_cancelled());

    check_int(osr_group_open(&group), -EPERM);
    check_int(osr_spawn(&group, do_nothing, NULL), -EPERM);
    check_int(osr_spawn_copy(&group, do_nothing, &byte), -EPERM);
    check_int(osr_group_cancel(&group, NULL), -EPERM);
    check_int(osr_group_running(&group), 0);
    check_int(osr_group_close(&group, 0), -EPERM);

    check_int(osr_fd_readable(pipes[1]), -EPERM);
    check_int(osr_fd_writable(pipes[1]), -EPERM);
    check_int(osr_read(pipes[0], &byte, 1), -EPERM);
    check_int(osr_write(pipes[1], &byte, 1), -EPERM);
    check_int(osr_write_all(pipes[1], &byte, 1, NULL), -EPERM);
    check_int(osr_fd_close(pipes[1]), -EPERM);
    check_int(osr_listen(&address, 0), -EPERM);
    check_int(osr_accept(pipes[0], NULL), -EPERM);
    check_int(osr_connect(&address), -EPERM);

    check_int(osr_fail_fatal(-EINTR, "outside"), -EPERM);
    check_int(osr_tree_print(stdout), -EPERM);
    check_int(osr_tree_format(NULL, 0), 0);
    check_int(osr_leaks_report(), -EPERM);

    check_int(write(pipes[1], "x", 1), 1);
    check_int(read(pipes[0], &byte, 1), 1);
    check_int(byte, 'x');
    close(pipes[0]);
    close(pipes[1]);
    osr_error_clear();
}

TEST(calls_outside_a_task_are_refused)
{
    int before = open_descriptors();

    check_refused_outside_tasks();
    assert_checked();
    assert_int_equal(open_descriptors(), before);
}

static void *call_from_a_thread(void *unused)
{
    check_refused_outside_tasks();
    return unused;
}

struct exposed {
    struct osr_scope *scope;
    struct osr_group *group;
    struct osr_task task;
};

static void *meddle_from_a_thread(void *arg)
{
    struct exposed *exposed = arg;

    check_int(osr_scope_cancel(exposed->scope, "from a thread"), -EPERM);
    check_int(osr_scope_set_deadline(exposed->scope, 0), -EPERM);
    check_int(osr_scope_unshield(exposed->scope), -EPERM);
    check_int(osr_scope_close(exposed->scope, 0), -EPERM);
    check_int(osr_group_cancel(exposed->group, "from a thread"), -EPERM);
    check_int(osr_spawn(exposed->group, do_nothing, NULL), -EPERM);
    check_int(osr_group_close(exposed->group, 0), -EPERM);
    check_int(osr_task_cancel(exposed->task, "from a thread"), -EPERM);
    osr_error_clear();
    return NULL;
}

OSR_TASK(let_threads_call, void, unused)
{
    struct osr_group group;
    struct osr_scope scope;
    struct exposed exposed = {&scope, &group, osr_self()};
    pthread_t thread;
    int rc;

    osr_group_open(&group);
    osr_scope_open(&scope);
    rc = pthread_create(&thread, NULL, call_from_a_thread, NULL);
    pthread_join(thread, NULL);
    check_int(rc, 0);
    rc = pthread_create(&thread, NULL, meddle_from_a_thread, &exposed);
    pthread_join(thread, NULL);
    check_int(rc, 0);
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return osr_group_close(&group, 0);
}

TEST(calls_from_a_thread_beside_the_run_are_refused)
{
    assert_int_equal(osr_run(let_threads_call, NULL), 0);
    assert_checked();
}

OSR_TASK(fork_inside, void, unused)
{
    struct osr_scope scope;
    struct osr_group group;
    int status = -1;
    pid_t pid;

    osr_group_open(&group);
    osr_scope_open(&scope);
    pid = fork();
    if (pid == 0) {
        bool refused = osr_check() == -EPERM && osr_yield() == -EPERM && osr_sleep(1) == -EPERM &&
                       osr_spawn(&group, do_nothing, NULL) == -EPERM && osr_group_close(&group, 0) == -EPERM &&
                       osr_scope_cancel(&scope, NULL) == -EPERM && osr_scope_close(&scope, 0) == -EPERM &&
                       osr_task_join(osr_self()) == -EPERM && !osr_cancelled();

        leave_child(!refused ? 1 : osr_run(end_at_once, NULL) != 0 ? 2 : 0);
    }
    check(pid > 0);
    check_int(waitpid(pid, &status, 0), pid);
    check_int(status, 0);
    check_int(osr_sleep(osr_us(1)), 0);
    check_int(osr_scope_close(&scope, 0), 0);
    return osr_group_close(&group, 0);
}

TEST(in_a_forked_child_every_call_is_refused_until_a_run_of_its_own)
{
    assert_int_equal(osr_run(fork_inside, NULL), 0);
    assert_checked();
}

OSR_TASK(call_with_null, void, unused)
{
    const struct osr_task nothing = {0};
    struct osr_task here = osr_self();
    struct osr_address address;
    struct osr_group group, other;
    struct osr_scope scope;
    size_t written = 99;
    char byte;
    int pipes[2];

    check_int(pipe(pipes), 0);
    osr_group_open(&group);

    check_int(osr_scope_open(NULL), -EINVAL);
    check_int(osr_timeout_open(NULL, 5), -EINVAL);
    check_int(osr_move_on_open(NULL, 5), -EINVAL);
    check_int(osr_shield_open(NULL, 5), -EINVAL);
    check_int(osr_scope_close(NULL, 0), -EINVAL);
    check_int(osr_scope_cancel(NULL, NULL), -EINVAL);
    check_int(osr_scope_set_deadline(NULL, 5), -EINVAL);
    check_int(osr_scope_unshield(NULL), -EINVAL);
    check(!osr_scope_cancelled(NULL));
    check(!osr_scope_caught(NULL));
    check(osr_scope_reason(NULL) == NULL);
    check(osr_scope_deadline(NULL) == OSR_NEVER);

    check_int(osr_group_open(NULL), -EINVAL);
    check_int(osr_group_open_with(&other, NULL), 0);
    check_int(osr_spawn_with(&other, &do_nothing.routine_, NULL, NULL), 0);
    check_int(osr_group_close(&other, 0), 0);
    check_int(osr_group_close(NULL, 0), -EINVAL);
    check_int(osr_group_cancel(NULL, NULL), -EINVAL);
    check_int(osr_group_running(NULL), 0);
    check_int(osr_spawn(NULL, do_nothing, NULL), -EINVAL);
    check_int(osr_spawn_with(&group, NULL, NULL,
                             &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options)}),
              -EINVAL);
    check_int(osr_spawn_with(&group, &(const struct osr_routine){.name = "hollow"}, NULL,
                             &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options)}),
              -EINVAL);
    check_int(osr_spawn(&group, do_nothing, NULL, .copy = 8), -EINVAL);
    check_int(osr_group_running(&group), 0);

    check_int(osr_task_result(here, NULL), -EINVAL);
    check_int(osr_task_where(here, NULL), -EINVAL);
    check_int(osr_task_release(NULL), -EINVAL);
    check_int(osr_task_cancel(nothing, NULL), -ESTALE);

    check_int(osr_read(pipes[0], NULL, 1), -EINVAL);
    check_int(osr_write(pipes[1], NULL, 1), -EINVAL);
    check_int(osr_write_all(pipes[1], NULL, 1, &written), -EINVAL);
    check_int(written, 0);
    check_int(osr_read(pipes[0], &byte, (size_t)INT32_MAX + 1), -EINVAL);
    check_int(osr_write(pipes[1], &byte, (size_t)INT32_MAX + 1), -EINVAL);
    check_int(osr_address_ip(NULL, "127.0.0.1", 1), -EINVAL);
    check_int(osr_address_ip(&address, NULL, 1), -EINVAL);
    check_int(osr_address_unix(NULL, "/run/x"), -EINVAL);
    check_int(osr_address_unix(&address, NULL), -EINVAL);
    check_int(osr_address_port(NULL), -EINVAL);
    (void)osr_address_format(NULL, &byte, 1);
    check_int(osr_listen(NULL, 0), -EINVAL);
    check_int(osr_connect(NULL), -EINVAL);
    check_int(osr_socket_address(pipes[0], NULL), -EINVAL);

    check_int(osr_tree_print(NULL), -EINVAL);
    check(osr_tree_format(NULL, 0) > 0);
    check_int(osr_run_with(NULL, NULL, NULL) < 0, true);

    /* Without a place, and without a text, all goes on. */
    check_int(osr_yield_here(NULL), 0);
    check_int(osr_sleep_here(1, NULL), 0);
    check_int(osr_scope_open_here(&scope, OSR_SCOPE_TIMEOUT, OSR_NEVER, NULL), 0);
    check_int(osr_scope_cancel_here(&scope, NULL, NULL), 0);
    check(osr_scope_reason(&scope)->text != NULL);
    check(osr_scope_reason(&scope)->where != NULL);
    check(osr_tree_format(NULL, 0) > 0);
    check_int(osr_check_here(NULL), -ECANCELED);
    check_int(osr_scope_close_here(&scope, 0, NULL), -OSR_ESCOPECANCELED);
    check_int(osr_fail_here(NULL, -EIO, "%s", "placeless"), -EIO);
    check(osr_error_where(osr_error_last()) != NULL);
    check(osr_error_format(osr_error_last(), NULL, 0) > 0);
    check_int(osr_spawn_with(&group, &(const struct osr_routine){.run = do_nothing.routine_.run}, NULL,
                             &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options)}),
              0);
    check(osr_tree_format(NULL, 0) > 0);
    check_int(osr_group_close_here(&group, 0, NULL), 0);
    close(pipes[0]);
    close(pipes[1]);
    osr_error_clear();
    return 0;
}

TEST(nulls_give_a_code_or_do_no_harm)
{
    int before = open_descriptors();

    assert_int_equal(run_simulated(call_with_null, NULL), 0);
    assert_checked();
    assert_int_equal(osr_run_with(NULL, NULL, &(const struct osr_run_options){.size = sizeof(struct osr_run_options)}),
                     -EINVAL);
    assert_int_equal(osr_run_with(&do_nothing.routine_, NULL, NULL), 0);
    assert_int_equal(open_descriptors(), before);
}

OSR_TASK(open_with_wrong_sizes, void, unused)
{
    struct osr_group group;
    size_t sizes[] = {0, 1, sizeof(struct osr_group_options) + 1, SIZE_MAX};
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        check_int(osr_group_open_with(&group, &(const struct osr_group_options){.size = sizes[i]}), -EINVAL);
        check_int(osr_group_close(&group, 0), -EINVAL);
    }
    osr_group_open(&group);
    for (i = 0; i < 2; i++)
        check_int(osr_spawn_with(&group, &do_nothing.routine_, NULL,
                                 &(const struct osr_spawn_options){.size = sizes[i]}),
                  -EINVAL);
    return osr_group_close(&group, 0);
}

TEST(options_of_an_unknown_size_are_refused)
{
    size_t sizes[] = {0, 1, sizeof(struct osr_run_options) + 1, SIZE_MAX};
    size_t i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_int_equal(osr_run_with(&do_nothing.routine_, NULL, &(const struct osr_run_options){.size = sizes[i]}),
                         -EINVAL);
    assert_int_equal(run_simulated(open_with_wrong_sizes, NULL), 0);
    assert_checked();
}

OSR_TASK(use_a_little_stack, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, do_nothing, NULL);
    return osr_group_close(&group, 7);
}

OSR_TASK(use_ten_thousand_bytes, void, unused)
{
    volatile char array[10000];
    size_t i;

    for (i = 0; i < sizeof(array); i++)
        array[i] = 7;
    return array[0];
}

TEST(run_options_that_make_no_sense_are_refused)
{
    int rc, shift;

    assert_int_equal(osr_run(do_nothing, NULL, .clock = (enum osr_clock)99), -EINVAL);
    assert_int_equal(osr_run(do_nothing, NULL, .dump_signal = -1), -EINVAL);
    assert_int_equal(osr_run(do_nothing, NULL, .dump_signal = 9999), -EINVAL);
    assert_int_equal(osr_run(do_nothing, NULL, .allocator = &(const struct osr_allocator){NULL, NULL}), -EINVAL);
    rc = osr_run(do_nothing, NULL, .stack_size = SIZE_MAX);
    assert_true(rc == -EINVAL || rc == -ENOMEM);
    rc = osr_run(do_nothing, NULL, .stack_size = SIZE_MAX / 2);
    assert_true(rc == -EINVAL || rc == -ENOMEM);
    for (shift = 63; shift > 46; shift--) { /* products of it wrap around, for some to a small number; none can be mapped */
        rc = osr_run(do_nothing, NULL, .stack_size = (size_t)1 << shift);
        assert_true(rc == -EINVAL || rc == -ENOMEM);
    }
    assert_int_equal(osr_run(use_ten_thousand_bytes, NULL, .stack_size = 1), 7); /* there are 16384 at least */
    assert_int_equal(osr_run(use_a_little_stack, NULL, .stack_size = 100000), 7);
    assert_int_equal(osr_run(use_a_little_stack, NULL, .stack_size = 1 << 20), 7);
    osr_error_clear();
}

OSR_TASK(close_anothers_scope, struct osr_scope, scope)
{
    check_int(osr_scope_close(scope, 5), -EPERM);
    check_int(osr_check(), 0);
    return 0;
}

OSR_TASK(let_another_close_the_scope, void, unused)
{
    struct osr_scope scope;
    struct osr_group group;

    osr_timeout_open(&scope, osr_s(1));
    osr_group_open(&group);
    osr_spawn(&group, close_anothers_scope, &scope);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_deadline(), osr_s(1));
    check_int(osr_scope_close(&scope, 6), 6);
    return 0;
}

TEST(only_its_owner_closes_a_scope)
{
    assert_int_equal(run_simulated(let_another_close_the_scope, NULL), 0);
    assert_checked();
}

OSR_TASK(use_closed_scope, void, unused)
{
    struct osr_scope scope, never_opened = {0};

    osr_scope_open(&scope);
    check_int(osr_scope_close(&scope, 0), 0);
    check_int(osr_scope_close(&scope, 0), -EINVAL);
    check_int(osr_scope_cancel(&scope, NULL), -OSR_ECLOSED);
    check_int(osr_scope_set_deadline(&scope, 5), -OSR_ECLOSED);
    check_int(osr_scope_unshield(&scope), -OSR_ECLOSED);
    check_int(osr_scope_close(&never_opened, 0), -EINVAL);
    check_int(osr_check(), 0);
    return 0;
}

TEST(a_closed_scope_does_nothing_more)
{
    assert_int_equal(run_simulated(use_closed_scope, NULL), 0);
    assert_checked();
}

/* ---- Guards -------------------------------------------------------------------------------------------- */

enum way_out { by_return, by_break, by_goto, by_the_end };

OSR_TASK(sleep_until_cut, char, name)
{
    int rc = osr_sleep(OSR_NEVER);

    tell("%s cut", name);
    return rc;
}

static char worker_name[] = "worker";

static int leave_a_guarded_group(enum way_out way)
{
    int i;

    for (i = 0; i < 1; i++) {
        OSR_GUARD_GROUP(workers, .name = "workers", .limit = 4);

        check_int(osr_spawn(&workers, sleep_until_cut, worker_name), 0);
        osr_yield();
        tell("leaving");
        if (way == by_return)
            return 5;
        if (way == by_break)
            break;
        if (way == by_goto)
            goto out;
    }
out:
    tell("left");
    return 5;
}

OSR_TASK(leave_guarded_groups, enum way_out, way)
{
    check_int(leave_a_guarded_group(*way), 5);
    tell("after");
    check_int(osr_check(), 0);
    return 3;
}

TEST(leaving_a_guarded_group_by_any_way_cancels_and_joins)
{
    enum way_out ways[] = {by_return, by_break, by_goto, by_the_end};
    size_t i;

    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        assert_int_equal(run_simulated(leave_guarded_groups, &ways[i]), 3);
        assert_checked();
        assert_story(ways[i] == by_return ? "leaving\nworker cut\nafter\n" : "leaving\nworker cut\nleft\nafter\n");
    }
}

OSR_TASK(fail_when_cut, void, unused)
{
    (void)osr_sleep(OSR_NEVER);
    return osr_fail(-EIO, "failed in the clean-up");
}

static void leave_a_failing_group(void)
{
    OSR_GUARD_GROUP(workers, .name = "workers");

    osr_spawn(&workers, fail_when_cut, NULL);
    osr_yield();
}

OSR_TASK(leave_error_pending_on_a_scope, void, unused)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    leave_a_failing_group();
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&scope, 0), -OSR_EGROUP);
    check_text(osr_error_group(osr_error_last()), "workers");
    check_text(osr_error_message(osr_error_find(osr_error_last(), EIO)), "failed in the clean-up");
    return 0;
}

TEST(an_error_that_a_guard_could_not_return_comes_out_of_the_scope_around)
{
    assert_int_equal(run_simulated(leave_error_pending_on_a_scope, NULL), 0);
    assert_checked();
}

OSR_TASK(leave_error_pending_on_a_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group, .name = "around");
    leave_a_failing_group();
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), EIO) != NULL);
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

TEST(an_error_that_a_guard_could_not_return_comes_out_of_the_group_around)
{
    assert_int_equal(run_simulated(leave_error_pending_on_a_group, NULL), 0);
    assert_checked();
}

OSR_TASK(leave_error_pending_on_the_task, void, unused)
{
    leave_a_failing_group();
    return 0;
}

TEST(an_error_that_a_guard_could_not_return_comes_out_at_the_tasks_end)
{
    assert_int_equal(run_simulated(leave_error_pending_on_the_task, NULL), -OSR_EGROUP);
    assert_string_equal(osr_error_group(osr_error_last()), "workers");
    osr_error_clear();
}

OSR_TASK(spawn_one_with_a_pending_error, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, leave_error_pending_on_the_task, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), EIO) != NULL);
    return 0;
}

TEST(a_childs_pending_error_fails_the_child)
{
    assert_int_equal(run_simulated(spawn_one_with_a_pending_error, NULL), 0);
    assert_checked();
}

static void leave_an_expired_timeout(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_ms(1));

    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
}

OSR_TASK(leave_timeout_pending, void, unused)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    leave_an_expired_timeout();
    check_int(osr_check(), 0);
    check_int(osr_scope_close(&scope, 0), -ETIMEDOUT);
    leave_an_expired_timeout();
    return 0;
}

TEST(a_timeout_that_a_guard_could_not_return_comes_out_later)
{
    assert_int_equal(run_simulated(leave_timeout_pending, NULL), -ETIMEDOUT);
    assert_checked();
    osr_error_clear();
}

static void leave_an_expired_move_on(void)
{
    OSR_GUARD_MOVE_ON(limit, osr_ms(1));

    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
}

static void leave_a_shield(void)
{
    OSR_GUARD_SHIELD(shield, osr_s(1));

    check_int(osr_sleep(osr_ms(1)), 0);
}

OSR_TASK(leave_harmless_guards, void, unused)
{
    struct osr_scope scope;

    leave_an_expired_move_on();
    check_int(osr_check(), 0);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_check(), -ECANCELED);
    leave_a_shield();
    check_int(osr_check(), -ECANCELED);
    check_int(osr_scope_close(&scope, 0), -OSR_ESCOPECANCELED);
    return 4;
}

TEST(a_guard_that_has_nothing_to_say_leaves_nothing_pending)
{
    assert_int_equal(run_simulated(leave_harmless_guards, NULL), 4);
    assert_checked();
}

static int work_without_the_limit(void)
{
    OSR_GUARD_TIMEOUT(limit, OSR_TIME_INVALID);
    OSR_GUARD_GROUP(workers, .limit = -1);

    return osr_spawn_with(&workers, NULL, NULL, NULL) < 0 ? 7 : -EIO;
}

OSR_TASK(leave_refused_guards, void, unused)
{
    struct osr_scope around;

    osr_scope_open(&around);
    check_int(work_without_the_limit(), 7);
    check_int(osr_scope_close(&around, 0), -EINVAL);
    osr_error_clear();
    check_int(work_without_the_limit(), 7);
    return 0;
}

static void leave_a_refused_timeout(void) { OSR_GUARD_TIMEOUT(limit, OSR_TIME_INVALID); }

static void leave_a_timeout_without_memory(void)
{
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    {
        OSR_GUARD_TIMEOUT(limit, osr_ms(1));
    }
    counting.fail_at = 0;
}

enum { ROOM_FOR_TIMERS = 64 };

static void check_both_are_heard_of(int rc)
{
    check_int(rc, -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 2);
    check(osr_error_find(osr_error_last(), -EINVAL) != NULL);
    check(osr_error_find(osr_error_last(), -ENOMEM) != NULL);
}

/* Another limit than these needs memory. */
OSR_TASK(leave_guards_refused_for_different_reasons, void, unused)
{
    struct osr_scope scopes[ROOM_FOR_TIMERS], around;
    int i;

    for (i = 0; i < ROOM_FOR_TIMERS; i++)
        check_int(osr_timeout_open(&scopes[i], osr_s(1)), 0);
    osr_scope_open(&around);
    leave_a_refused_timeout();
    leave_a_timeout_without_memory();
    check_both_are_heard_of(osr_scope_close(&around, 0));
    osr_scope_open(&around);
    leave_a_timeout_without_memory();
    leave_a_refused_timeout();
    check_both_are_heard_of(osr_scope_close(&around, 0));
    while (i-- > 0)
        check_int(osr_scope_close(&scopes[i], 0), 0);
    return 0;
}

TEST(of_several_guards_that_could_not_be_opened_all_are_heard_of)
{
    assert_int_equal(run_simulated(leave_guards_refused_for_different_reasons, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

TEST(a_guard_that_could_not_be_opened_is_heard_of_later)
{
    assert_int_equal(run_simulated(leave_refused_guards, NULL), -EINVAL);
    assert_checked();
}

static int close_guards_explicitly(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_ms(1));
    OSR_GUARD_GROUP(workers);
    int rc;

    osr_spawn(&workers, sleep_forever, NULL);
    rc = osr_group_close(&workers, 0);
    check_int(rc, -ECANCELED);
    return osr_scope_close(&limit, rc);
}

OSR_TASK(disarm_guards, void, unused)
{
    check_int(close_guards_explicitly(), -ETIMEDOUT);
    check_int(osr_check(), 0);
    return 8;
}

TEST(an_explicit_close_disarms_a_guard)
{
    assert_int_equal(run_simulated(disarm_guards, NULL), 8);
    assert_checked();
}

OSR_TASK(fail_beside_a_pending_error, void, unused)
{
    struct osr_scope scope;
    char text[4096];

    osr_scope_open(&scope);
    leave_a_failing_group();
    check(osr_scope_close(&scope, osr_fail(-EPROTO, "failed by itself")) < 0);
    osr_error_format(osr_error_last(), text, sizeof(text));
    check(strstr(text, "failed by itself") != NULL);
    check(strstr(text, "failed in the clean-up") != NULL);
    return 0;
}

TEST(neither_a_pending_error_nor_the_bodys_own_is_dropped)
{
    assert_int_equal(run_simulated(fail_beside_a_pending_error, NULL), 0);
    assert_checked();
}

OSR_TASK(leave_two_errors_pending, void, unused)
{
    struct osr_scope scope;
    char text[4096];

    osr_scope_open(&scope);
    leave_a_failing_group();
    leave_an_expired_timeout();
    check(osr_scope_close(&scope, 0) < 0);
    osr_error_format(osr_error_last(), text, sizeof(text));
    check(strstr(text, "failed in the clean-up") != NULL);
    check(strstr(text, "ETIMEDOUT") != NULL);
    return 0;
}

TEST(several_pending_errors_all_come_out)
{
    assert_int_equal(run_simulated(leave_two_errors_pending, NULL), 0);
    assert_checked();
}

OSR_TASK(leave_guards_outside_a_run, void, unused) { return 0; }

static void guard_outside_a_task(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_ms(1));
    OSR_GUARD_GROUP(workers);

    assert_int_equal(osr_spawn(&workers, leave_guards_outside_a_run, NULL), -EPERM);
}

TEST(guards_outside_a_task_do_nothing)
{
    guard_outside_a_task();
    osr_error_clear();
}

/* ---- More of guards ------------------------------------------------------------------------------------ */

static int fail_inside_a_guarded_scope(void)
{
    OSR_GUARD_MOVE_ON(limit, osr_s(1));

    return osr_fail(-EPROTO, "line %d is no header", 7);
}

static int fail_inside_a_guarded_group(void)
{
    OSR_GUARD_GROUP(workers);

    osr_spawn(&workers, sleep_forever, NULL);
    osr_yield();
    return osr_fail(-EPROTO, "line %d is no header", 8);
}

OSR_TASK(return_out_of_guards, void, unused)
{
    check_int(fail_inside_a_guarded_scope(), -EPROTO);
    check_int(osr_error_code(osr_error_last()), -EPROTO);
    check_text(osr_error_message(osr_error_last()), "line 7 is no header");
    check_int(fail_inside_a_guarded_group(), -EPROTO);
    check_int(osr_error_code(osr_error_last()), -EPROTO);
    check_text(osr_error_message(osr_error_last()), "line 8 is no header");
    return 0;
}

TEST(the_error_with_which_a_guarded_block_is_left_keeps_its_message)
{
    assert_int_equal(run_simulated(return_out_of_guards, NULL), 0);
    assert_checked();
}

/* ---- More of deadlocks --------------------------------------------------------------------------------- */

static void note_cancel(void *arg, const struct osr_trace_event *event)
{
    int *code = arg;

    if (event->kind == OSR_TRACE_CANCEL && *code == 0)
        *code = event->code;
}

TEST(a_deadlock_is_the_reason_for_which_the_root_is_cancelled)
{
    int code = 0;

    assert_int_equal(run_simulated(sleep_forever, NULL, .observe = note_cancel, .observe_arg = &code), -OSR_EDEADLOCK);
    assert_int_equal(code, -OSR_EDEADLOCK);
    osr_error_clear();
}

OSR_TASK(sleep_forever_in_company_behind_a_shield, void, unused)
{
    struct osr_scope shield;
    struct osr_group group;
    int i;

    osr_shield_open_unlimited(&shield);
    osr_group_open(&group);
    for (i = 0; i < 40; i++)
        osr_spawn(&group, sleep_forever, NULL, .name = "one of many");
    osr_spawn(&group, sleep_forever, NULL, .name = "the very last");
    return osr_scope_close(&shield, osr_group_close(&group, 0));
}

static void run_large_shielded_deadlock(void)
{
    run_simulated(sleep_forever_in_company_behind_a_shield, NULL);
}

TEST(a_large_tree_is_told_to_its_end)
{
    assert_dies(run_large_shielded_deadlock, SIGABRT, "the very last");
}

/* ---- More of faults ------------------------------------------------------------------------------------ */

static void tell_where_it_was_and_die(int number, siginfo_t *info, void *context)
{
    static const char words[] = "the program's own handler of three arguments\n";

    (void)context;
    if (info->si_addr == noted && write(STDERR_FILENO, words, sizeof(words) - 1) > 0)
        die_of(number);
    else
        _exit(1);
}

OSR_TASK(write_where_it_may_not, void, unused)
{
    noted->opened[0] = 'x';
    return 0;
}

static void make_a_page_that_may_not_be_written(void)
{
    noted = mmap(NULL, sizeof(*noted), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void run_with_own_large_handler(void)
{
    struct sigaction action = {.sa_sigaction = tell_where_it_was_and_die, .sa_flags = SA_SIGINFO};

    make_a_page_that_may_not_be_written();
    sigaction(SIGSEGV, &action, NULL);
    osr_run(write_where_it_may_not, NULL);
}

TEST(a_fault_reaches_the_previous_handler_with_all_that_is_known_of_it)
{
    assert_dies(run_with_own_large_handler, SIGSEGV, "the program's own handler of three arguments");
}

static void say_only_that(void *arg, enum osr_diagnosis kind, const char *text)
{
    (void)arg, (void)text;
    if (kind == OSR_DIAGNOSIS_OVERFLOW)
        _exit(1);
}

static void run_into_a_fault_that_is_no_overflow(void)
{
    signal(SIGSEGV, SIG_DFL);
    make_a_page_that_may_not_be_written();
    osr_run(write_where_it_may_not, NULL, .diagnose = say_only_that);
}

TEST(another_fault_is_not_called_an_overflow)
{
    assert_dies(run_into_a_fault_that_is_no_overflow, SIGSEGV, "");
}

static void run_raising(void)
{
    signal(SIGSEGV, SIG_DFL);
    osr_run(have_another_fault, NULL);
}

TEST(a_signal_that_was_sent_ends_the_program_as_it_would_have)
{
    assert_dies(run_raising, SIGSEGV, "");
}

static void (*handler_now(void))(int)
{
    struct sigaction action;

    sigaction(SIGSEGV, NULL, &action);
    return action.sa_handler;
}

static void (*handler_seen)(int);

OSR_TASK(see_the_handler, void, unused)
{
    handler_seen = handler_now();
    return 0;
}

TEST(a_run_leaves_the_signal_alone_where_it_is_told_to)
{
    void (*before)(int) = handler_now();

    assert_int_equal(osr_run(see_the_handler, NULL), 0);
    assert_ptr_not_equal(handler_seen, before);
    assert_int_equal(osr_run(see_the_handler, NULL, .no_overflow_handler = true), 0);
    assert_ptr_equal(handler_seen, before);
}

OSR_TASK(install_a_handler, void, unused)
{
    signal(SIGSEGV, write_own_words_and_die);
    return 0;
}

TEST(a_handler_that_was_installed_during_a_run_stays)
{
    struct sigaction before;

    sigaction(SIGSEGV, NULL, &before);
    assert_int_equal(osr_run(install_a_handler, NULL), 0);
    assert_ptr_equal(handler_now(), write_own_words_and_die);
    sigaction(SIGSEGV, &before, NULL);
}

static void *run_nothing(void *arg)
{
    *(int *)arg = osr_run(do_nothing, NULL);
    return NULL;
}

OSR_TASK(run_another_in_a_thread, void, unused)
{
    pthread_t thread;
    int rc = -1;

    check_int(pthread_create(&thread, NULL, run_nothing, &rc), 0);
    pthread_join(thread, NULL);
    check_int(rc, 0);
    return 0;
}

TEST(the_last_of_several_runs_puts_the_previous_handler_back)
{
    void (*before)(int) = handler_now();

    assert_int_equal(osr_run(run_another_in_a_thread, NULL), 0);
    assert_checked();
    assert_ptr_equal(handler_now(), before);
}

static void *signal_stack_now(void)
{
    stack_t stack;

    sigaltstack(NULL, &stack);
    return stack.ss_flags & SS_DISABLE ? NULL : stack.ss_sp;
}

static void *signal_stack_seen;

OSR_TASK(see_the_signal_stack, void, unused)
{
    signal_stack_seen = signal_stack_now();
    return 0;
}

static void *run_with_own_signal_stack(void *arg)
{
    static char memory[1 << 16];
    stack_t stack = {.ss_sp = memory, .ss_size = sizeof(memory)}, none = {.ss_flags = SS_DISABLE};

    sigaltstack(&stack, NULL);
    if (osr_run(see_the_signal_stack, NULL) == 0)
        *(bool *)arg = signal_stack_seen == memory && signal_stack_now() == memory;
    sigaltstack(&none, NULL);
    return NULL;
}

static char stack_of_the_task[1 << 16];

OSR_TASK(set_a_signal_stack, void, unused)
{
    return sigaltstack(&(stack_t){.ss_sp = stack_of_the_task, .ss_size = sizeof(stack_of_the_task)}, NULL);
}

static void *run_who_sets_a_signal_stack(void *arg)
{
    stack_t none = {.ss_flags = SS_DISABLE}, before;

    sigaltstack(&none, &before);
    if (osr_run(set_a_signal_stack, NULL) == 0)
        *(bool *)arg = signal_stack_now() == stack_of_the_task;
    sigaltstack(&before, NULL);
    return NULL;
}

TEST(a_signal_stack_that_a_task_gives_its_thread_stays_there)
{
    bool kept = false;
    pthread_t thread;

    pthread_create(&thread, NULL, run_who_sets_a_signal_stack, &kept);
    pthread_join(thread, NULL);
    assert_true(kept);
}

TEST(a_thread_keeps_the_signal_stack_that_it_has)
{
    bool kept = false;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, run_with_own_signal_stack, &kept), 0);
    pthread_join(thread, NULL);
    assert_true(kept);
}

/* ---- Handlers that call each other --------------------------------------------------------------------- */

static void (*handler_of_the_run)(int, siginfo_t *, void *);

static void call_the_runs_handler(int number, siginfo_t *info, void *context)
{
    static int calls;

    if (++calls > 3)
        _exit(1);
    handler_of_the_run(number, info, context);
}

OSR_TASK(fault_between_two_handlers, void, unused)
{
    struct sigaction now;

    sigaction(SIGSEGV, NULL, &now);
    handler_of_the_run = now.sa_sigaction;
    return write_where_it_may_not.routine_.run(NULL);
}

static void run_with_handlers_in_a_circle(void)
{
    struct sigaction action = {.sa_sigaction = call_the_runs_handler, .sa_flags = SA_SIGINFO};

    make_a_page_that_may_not_be_written();
    sigaction(SIGSEGV, &action, NULL);
    osr_run(fault_between_two_handlers, NULL);
}

TEST(handlers_that_chain_in_a_circle_come_to_an_end)
{
    assert_dies(run_with_handlers_in_a_circle, SIGSEGV, "");
}

/* ---- What the handler of a run does, told by itself ---------------------------------------------------- */

static void end_by_hand(int code, void (*previous)(int))
{
    struct sigaction now;
    siginfo_t info = {.si_signo = SIGSEGV, .si_code = code};
    sigset_t set;

    check(handler_now() == handler_seen && handler_seen != previous);
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGSEGV, NULL, &now);
    now.sa_sigaction(SIGSEGV, &info, NULL);
    sigpending(&set);
    check_int(sigismember(&set, SIGSEGV), code == SI_USER); /* a fault comes again by itself */
    check(handler_now() == SIG_DFL);
}

OSR_TASK(have_a_signal_sent, void, unused)
{
    handler_seen = handler_now();
    end_by_hand(SI_USER, SIG_DFL);
    return 0;
}

OSR_TASK(have_a_fault, void, unused)
{
    handler_seen = handler_now();
    end_by_hand(SEGV_MAPERR, SIG_DFL);
    return 0;
}

static void run_and_have_a_signal_sent(void) { check_int(osr_run(have_a_signal_sent, NULL), 0); }

static void run_and_have_a_fault(void) { check_int(osr_run(have_a_fault, NULL), 0); }

static void run_and_have_a_fault_though_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    check_int(osr_run(have_a_fault, NULL), 0);
}

TEST(without_a_previous_handler_the_next_signal_is_deadly)
{
#ifdef OSR_CONTEXT_UCONTEXT
    skip(); /* it holds the signal back with a mask, and there every context has a mask of its own */
#endif
    if (under_tools())
        skip(); /* they have handlers and masks of their own */
    assert_child_succeeds(run_and_have_a_signal_sent);
    assert_child_succeeds(run_and_have_a_fault);
    assert_child_succeeds(run_and_have_a_fault_though_ignored);
}

OSR_TASK(have_an_ignored_signal_sent, void, unused)
{
    check_int(kill(getpid(), SIGSEGV), 0);
    check_int(raise(SIGSEGV), 0);
    check(handler_now() != SIG_DFL && handler_now() != SIG_IGN);
    return 0;
}

static void run_and_have_an_ignored_signal_sent(void)
{
    signal(SIGSEGV, SIG_IGN);
    check_int(osr_run(have_an_ignored_signal_sent, NULL), 0);
    check_int(kill(getpid(), SIGSEGV), 0);
}

static void run_into_a_fault_though_ignored(void)
{
    make_a_page_that_may_not_be_written();
    signal(SIGSEGV, SIG_IGN);
    osr_run(write_where_it_may_not, NULL);
}

TEST(a_signal_that_the_program_ignores_stays_ignored_but_a_fault_does_not)
{
    assert_child_succeeds(run_and_have_an_ignored_signal_sent);
    if (under_tools())
        skip(); /* they have handlers of their own for faults */
    assert_dies(run_into_a_fault_though_ignored, SIGSEGV, "");
}

static void call_the_runs_handler_once_more(int number, siginfo_t *info, void *context)
{
    handler_of_the_run(number, info, context);
    check(handler_now() == SIG_DFL);
    leave_child(handler_now() == SIG_DFL ? 0 : 1);
}

static void run_with_a_handler_that_calls_back(void)
{
    struct sigaction action = {.sa_sigaction = call_the_runs_handler_once_more, .sa_flags = SA_SIGINFO};

    make_a_page_that_may_not_be_written();
    sigaction(SIGSEGV, &action, NULL);
    osr_run(fault_between_two_handlers, NULL);
    leave_child(1);
}

TEST(a_handler_that_is_called_again_while_it_runs_gives_up)
{
    assert_child_succeeds(run_with_a_handler_that_calls_back);
}

static void let_the_page_be_written(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    if ((char *)info->si_addr - (char *)noted < (ptrdiff_t)sizeof(*noted))
        mprotect(noted, sizeof(*noted), PROT_READ | PROT_WRITE);
}

OSR_TASK(write_twice_where_it_may_not, void, unused)
{
    noted->opened[0] = 'x';
    mprotect(noted, sizeof(*noted), PROT_READ);
    noted->opened[1] = 'y';
    check_text(noted->opened, "xy");
    return 0;
}

static void run_with_a_handler_that_mends(void)
{
    struct sigaction action = {.sa_sigaction = let_the_page_be_written, .sa_flags = SA_SIGINFO};

    make_a_page_that_may_not_be_written();
    sigaction(SIGSEGV, &action, NULL);
    check_int(osr_run(write_twice_where_it_may_not, NULL), 0);
}

TEST(a_task_goes_on_after_a_fault_that_the_previous_handler_has_mended)
{
    assert_child_succeeds(run_with_a_handler_that_mends);
}

static sigjmp_buf way_out;

static void jump_out(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info, (void)context;
    siglongjmp(way_out, 1);
}

/* The volatile count outlives the jumps. */
OSR_TASK(write_where_it_may_not_and_be_thrown_out, void, unused)
{
    volatile int thrown_out = 0;

    if (sigsetjmp(way_out, 1))
        thrown_out++;
    if (thrown_out < 3)
        noted->opened[0] = 'x';
    check_int(thrown_out, 3);
    return 0;
}

static void run_with_a_handler_that_jumps_out(void)
{
    struct sigaction action = {.sa_sigaction = jump_out, .sa_flags = SA_SIGINFO};

    make_a_page_that_may_not_be_written();
    sigaction(SIGSEGV, &action, NULL);
    check_int(osr_run(write_where_it_may_not_and_be_thrown_out, NULL), 0);
}

TEST(a_previous_handler_may_jump_out_of_a_fault_as_often_as_it_likes)
{
    if (under_tools())
        skip(); /* a jump off the signal stack puzzles them */
    assert_child_succeeds(run_with_a_handler_that_jumps_out);
}

static void large_handler(int number, siginfo_t *info, void *context) { (void)number, (void)info, (void)context; }

OSR_TASK(install_a_large_handler, void, unused)
{
    const struct sigaction action = {.sa_sigaction = large_handler, .sa_flags = SA_SIGINFO};

    return sigaction(SIGSEGV, &action, NULL);
}

TEST(a_handler_of_three_arguments_that_was_installed_during_a_run_stays)
{
    struct sigaction before, after;

    sigaction(SIGSEGV, NULL, &before);
    assert_int_equal(osr_run(install_a_large_handler, NULL), 0);
    sigaction(SIGSEGV, NULL, &after);
    sigaction(SIGSEGV, &before, NULL);
    assert_ptr_equal(after.sa_sigaction, large_handler);
}

/* ---- Still more that is refused ------------------------------------------------------------------------ */

static void stop_with_nobody_listening(void)
{
    close(STDERR_FILENO);
    run_large_shielded_deadlock();
}

TEST(misuse_stops_the_program_also_where_standard_error_is_closed)
{
    assert_dies(stop_with_nobody_listening, SIGABRT, "");
}

struct between {
    struct osr_scope *scope;
    struct osr_group *group;
    bool asked;
};

/* Asked by the loop, while no task runs. */
static unsigned call_the_library_all_the_same(void *arg, enum osr_choice kind, unsigned n, const char *what)
{
    struct between *between = arg;

    (void)n, (void)what;
    if (kind == OSR_CHOICE_DEADLINE && between->scope) {
        between->asked = true;
        check_int(osr_check(), -EPERM);
        check_int(osr_scope_cancel(between->scope, NULL), -EPERM);
        check_int(osr_spawn(between->group, end_at_once, NULL), -EPERM);
        check(!osr_cancelled());
    }
    return 0;
}

OSR_TASK(nap, void, unused) { return osr_sleep(osr_ms(1)); }

OSR_TASK(nap_at_once_with_others, struct between, between)
{
    struct osr_group group;

    osr_group_open(&group);
    *between = (struct between){&group.scope, &group, false};
    osr_spawn(&group, nap, NULL);
    osr_spawn(&group, nap, NULL);
    check_int(osr_sleep(osr_ms(2)), 0);
    between->scope = NULL;
    return osr_group_close(&group, 0);
}

TEST(between_tasks_calls_are_refused)
{
    struct between between = {0};

    assert_int_equal(run_simulated(nap_at_once_with_others, &between, .choose = call_the_library_all_the_same,
                                   .choose_arg = &between),
                     0);
    assert_checked();
    assert_true(between.asked);
    osr_error_clear();
}

OSR_TASK(use_what_was_never_opened, void, unused)
{
    struct osr_scope scope = {0};
    struct osr_group group = {0};

    check_int(osr_scope_cancel(&scope, NULL), -EINVAL);
    check_int(osr_scope_set_deadline(&scope, 1), -EINVAL);
    check_int(osr_spawn(&group, end_at_once, NULL), -EINVAL);
    check_int(osr_group_cancel(&group, NULL), -EINVAL);
    check_int(osr_group_open_with(NULL, NULL), -EINVAL);
    return 0;
}

TEST(scopes_and_groups_that_were_never_opened_are_refused)
{
    assert_int_equal(run_simulated(use_what_was_never_opened, NULL), 0);
    assert_checked();
}

/* ---- Guards in a bad hour ------------------------------------------------------------------------------ */

static void leave_a_group(int limit) { OSR_GUARD_GROUP(group, .limit = limit); }

/* Of several for which nothing could be promised the first is heard of. */
static void leave_groups_without_promises(void)
{
    struct osr_scope around;

    osr_scope_open(&around);
    leave_a_group(0);
    leave_a_group(-1);
    check_int(osr_scope_close(&around, 0), -ENOMEM);
}

static void open_guards(int count, void (*innermost)(void))
{
    OSR_GUARD_TIMEOUT(guard, OSR_NEVER);

    if (count > 1)
        open_guards(count - 1, innermost);
    else if (innermost)
        innermost();
}

OSR_TASK(open_more_guards_than_memory_allows, void, unused)
{
    struct osr_scope outer;

    osr_scope_open(&outer);
    open_guards(40, NULL);
    check_int(osr_scope_close(&outer, 0), 0);
    osr_scope_open(&outer);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    open_guards(200, leave_groups_without_promises);
    check(counting.made >= counting.fail_at);
    counting.fail_at = 0;
    check_int(osr_scope_close(&outer, 0), -ENOMEM);
    return 0;
}

TEST(a_guard_for_which_there_is_no_memory_is_heard_of_later)
{
    assert_int_equal(run_simulated(open_more_guards_than_memory_allows, NULL, .stack_size = 1 << 20,
                                   .allocator = &counting_allocator),
                     0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

static void leave_a_guarded_scope_that_was_cut(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_s(1));

    osr_scope_cancel(&limit, "as well");
    check_int(osr_sleep(1), -ECANCELED);
}

static void leave_a_guarded_group_that_was_cut(void)
{
    OSR_GUARD_GROUP(workers);

    osr_spawn(&workers, sleep_forever, NULL);
    check_int(osr_sleep(1), -ECANCELED);
}

OSR_TASK(leave_guards_in_a_cancelled_scope, void, unused)
{
    void (*const leave[])(void) = {leave_a_guarded_scope_that_was_cut, leave_a_guarded_group_that_was_cut};
    struct osr_scope outer;
    int i;

    for (i = 0; i < 2; i++) {
        osr_scope_open(&outer);
        osr_scope_cancel(&outer, "enough");
        leave[i]();
        check_int(osr_scope_close(&outer, 0), -OSR_ESCOPECANCELED);
        check(!osr_error_is_group(osr_error_last()));
        check(osr_scope_caught(&outer));
    }
    return 0;
}

TEST(a_cut_inside_a_guard_belongs_to_the_scope_that_was_cancelled)
{
    assert_int_equal(run_simulated(leave_guards_in_a_cancelled_scope, NULL), 0);
    assert_checked();
}

/* In the child process the guards are left outside a run. */
static pid_t fork_inside_guards(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_s(1));
    OSR_GUARD_GROUP(workers);

    return fork();
}

OSR_TASK(leave_guards_in_two_processes, void, unused)
{
    int status;
    pid_t pid = fork_inside_guards();

    if (pid == 0)
        leave_child(osr_check() == -EPERM ? 0 : 1);
    check(pid > 0);
    check_int(waitpid(pid, &status, 0), pid);
    check_int(status, 0);
    check_int(osr_check(), 0);
    return 0;
}

TEST(guards_left_in_a_forked_child_do_nothing)
{
    assert_int_equal(osr_run(leave_guards_in_two_processes, NULL), 0);
    assert_checked();
}

OSR_TASK(fail_with_eio, void, unused) { return -EIO; }

static void leave_a_failure_to_a_guard(void)
{
    OSR_GUARD_GROUP(workers, .unwrap = true);

    osr_spawn(&workers, fail_with_eio, NULL);
    osr_yield();
}

OSR_TASK(return_what_it_did_not_get, void, unused)
{
    struct osr_scope outer;

    osr_scope_open(&outer);
    leave_a_failure_to_a_guard();
    osr_fail(-EPIPE, "of another call");
    check_int(osr_scope_close(&outer, -EPROTO), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), EIO) != NULL);
    check_int(osr_error_code(osr_error_cause(osr_error_find(osr_error_last(), EPROTO))), -EPIPE);
    osr_scope_open(&outer);
    leave_a_failure_to_a_guard();
    check_int(osr_scope_close(&outer, -ECANCELED), -EIO);
    check(!osr_scope_caught(&outer));
    return 0;
}

TEST(beside_a_pending_error_a_body_may_return_what_its_slot_does_not_hold)
{
    assert_int_equal(run_simulated(return_what_it_did_not_get, NULL), 0);
    assert_checked();
}

/* ---- Closing what somebody else could not open --------------------------------------------------------- */

OSR_TASK(close_anothers_group, struct osr_group, group)
{
    check_int(osr_group_close(group, 0), -EPERM);
    return 0;
}

OSR_TASK(keep_a_refused_group, void, unused)
{
    struct osr_group refused, group;

    check_int(osr_group_open(&refused, .limit = -1), -EINVAL);
    osr_group_open(&group);
    osr_spawn(&group, close_anothers_group, &refused);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_group_close(&refused, 7), -EINVAL);
    check_text(osr_error_message(osr_error_last()), osr_strerror(EINVAL)); /* and not that it is closed already */
    return 0;
}

TEST(a_group_that_could_not_be_opened_is_closed_by_its_own_task)
{
    assert_int_equal(run_simulated(keep_a_refused_group, NULL), 0);
    assert_checked();
}

/* ---- Opening what is open ------------------------------------------------------------------------------ */

static int fail_at_once(void *unused) { (void)unused; return osr_fail(-EIO, "the child"); }

OSR_TASK(open_twice, void, unused)
{
    const struct osr_routine routine = {fail_at_once, "fail_at_once", OSR_HERE};
    struct osr_scope limit;
    struct osr_group group;
    char text[64];

    snprintf(text, sizeof(text), "it has been open since %s", OSR_HERE), osr_timeout_open(&limit, osr_ms(1));
    check_int(osr_timeout_open(&limit, osr_ms(2)), -EINVAL);
    check_text(osr_error_message(osr_error_last()), text);
    check_int(osr_sleep(osr_s(1)), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    check_int(osr_scope_close(&limit, 0), -EINVAL);
    osr_group_open(&group);
    check_int(osr_spawn_with(&group, &routine, NULL, NULL), 0);
    check_int(osr_group_open(&group), -EINVAL);
    check_int(osr_group_running(&group), 1);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

OSR_TASK(open_what_is_around, void, unused)
{
    struct osr_scope outer, inner;
    struct osr_group group;

    (void)unused;
    osr_group_open(&group);
    osr_shield_open(&outer, osr_s(1));
    osr_shield_open(&inner, osr_s(1));
    check_int(osr_shield_open(&outer, osr_s(1)), -EINVAL);
    check_int(osr_group_open(&group), -EINVAL);
    check_int(osr_scope_close(&inner, 0), 0);
    check_int(osr_scope_close(&outer, 0), 0);
    return osr_group_close(&group, 0);
}

TEST(a_debug_run_sees_what_is_opened_once_more_further_out)
{
    assert_int_equal(run_simulated(open_what_is_around, NULL), 0);
    assert_checked();
}

TEST(what_is_open_is_not_opened_once_more)
{
    assert_int_equal(run_simulated(open_twice, NULL), 0);
    assert_checked();
}

/* ---- Places ---------------------------------------------------------------------------------------------- */

/* The call fails, and the error says where: in this very line. */
#define fails_here(call)                                             \
    do {                                                             \
        osr_error_clear();                                           \
        check((call) < 0);                                           \
        check_text(osr_error_where(osr_error_last()), OSR_HERE);     \
        osr_error_clear();                                           \
    } while (0)

OSR_TASK(does_nothing_here, int, unused)
{
    (void)unused;
    return 0;
}

OSR_TASK(fails_everywhere, void, unused)
{
    struct osr_portal portal = {0};
    struct osr_task nobody = {0};
    int number = 0, *none = NULL;
    char byte;

    fails_here(osr_fail(-EIO, "here"));
    fails_here(osr_wrap(-EIO, "here"));
    fails_here(osr_future_fail(NULL, -EIO, "nowhere"));
    fails_here(osr_settle());
    fails_here(osr_sleep(OSR_TIME_INVALID));
    fails_here(osr_sleep_until(OSR_TIME_INVALID));
    fails_here(osr_task_join(nobody));
    fails_here(osr_task_cancel(nobody, NULL));
    fails_here(osr_scope_open(NULL));
    fails_here(osr_timeout_open(NULL, 1));
    fails_here(osr_timeout_open_at(NULL, 1));
    fails_here(osr_move_on_open(NULL, 1));
    fails_here(osr_move_on_open_at(NULL, 1));
    fails_here(osr_shield_open(NULL, 1));
    fails_here(osr_shield_open_unlimited(NULL));
    fails_here(osr_scope_close(NULL, 0));
    fails_here(osr_scope_cancel(NULL, NULL));
    fails_here(osr_defer(NULL, NULL, NULL, 1));
    fails_here(osr_defer_unlimited(NULL, NULL, NULL));
    fails_here(osr_group_open(NULL));
    fails_here(osr_group_close(NULL, 0));
    fails_here(osr_group_cancel(NULL, NULL));
    fails_here(osr_group_next(NULL, NULL));
    fails_here(osr_spawn(NULL, does_nothing_here, &number));
    fails_here(osr_spawn_copy(NULL, does_nothing_here, &number));
    fails_here(osr_start(NULL, does_nothing_here, &number));
    fails_here(osr_gather(does_nothing_here, none, 1));
    fails_here(osr_event_wait(NULL));
    fails_here(osr_lock_acquire(NULL));
    fails_here(osr_condition_wait(NULL));
    fails_here(osr_semaphore_acquire(NULL));
    fails_here(osr_limiter_acquire(NULL, NULL));
    fails_here(osr_barrier_wait(NULL));
    fails_here(osr_queue_put(NULL, NULL));
    fails_here(osr_queue_get(NULL, NULL));
    fails_here(osr_queue_join(NULL));
    fails_here(osr_select(NULL, 0, OSR_NEVER));
    fails_here(osr_future_wait(NULL, NULL));
    fails_here(osr_park(NULL, NULL));
    fails_here(osr_park_uncut(NULL, NULL));
    fails_here(osr_fd_readable(-1));
    fails_here(osr_fd_writable(-1));
    fails_here(osr_read(-1, &byte, 1));
    fails_here(osr_write(-1, "x", 1));
    fails_here(osr_write_all(-1, "x", 1, NULL));
    fails_here(osr_fd_close(-1));
    fails_here(osr_listen(NULL, 0));
    fails_here(osr_accept(-1, NULL));
    fails_here(osr_connect(NULL));
    fails_here(osr_signals_open(NULL, SIGUSR1));
    fails_here(osr_signal_wait(NULL, NULL));
    fails_here(osr_post_open(NULL, NULL, NULL));
    fails_here(osr_post_open_cancel(NULL, NULL, NULL));
    fails_here(osr_portal_open(NULL, NULL));
    fails_here(osr_portal_call(portal, does_nothing_here, &number));
    fails_here(osr_map(does_nothing_here, none, 1));
    fails_here(osr_worker(does_nothing_here, &number, .grace = -1));
    fails_here(osr_run(does_nothing_here, &number));
    fails_here(osr_runner_new(NULL));
    fails_here(osr_runner_run(NULL, does_nothing_here, &number));
    return 0;
}

/* Also outside tasks, where those fail that nothing else is asked of. */
TEST(each_call_that_fails_says_where)
{
    assert_int_equal(osr_run(fails_everywhere, NULL), 0);
    fails_here(osr_yield());
    fails_here(osr_check());
    fails_here(osr_enter());
    fails_here(osr_pass());
    fails_here(osr_settle());
    fails_here(osr_attachment_cancel(NULL, NULL));
    fails_here(osr_detach(NULL, NULL));
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(closing_a_scope_around_an_open_one_stops_the_program),
        story_test(closing_a_scope_around_an_open_group_stops_the_program),
        story_test(closing_a_group_around_an_open_scope_stops_the_program),
        story_test(closing_a_group_around_an_open_group_stops_the_program),
        story_test(a_task_that_returns_with_an_open_scope_stops_the_program),
        story_test(a_task_that_returns_with_an_open_group_stops_the_program),
        story_test(a_task_that_returns_with_an_outer_scope_open_is_told_of_that_one),
        story_test(a_root_that_returns_with_an_open_scope_stops_the_program),
        story_test(the_diagnostic_hook_hears_of_misuse_before_the_program_stops),
        story_test(tasks_that_wait_for_each_other_end_the_run_with_the_tree),
        story_test(a_deadlock_is_seen_under_the_real_clock_too),
        story_test(a_lone_sleep_without_end_is_a_deadlock),
        story_test(a_deadlock_comes_out_of_the_run_even_if_the_root_ignores_it),
        story_test(clean_up_runs_after_a_deadlock),
        story_test(while_a_deadline_is_ahead_nothing_is_a_deadlock),
        story_test(a_scopes_deadline_is_one_that_is_ahead),
        story_test(what_cannot_move_even_when_cancelled_stops_the_program_with_the_tree),
        story_test(another_fault_of_a_task_is_no_stack_overflow),
        story_test(a_stack_overflow_names_the_task_and_the_size),
        story_test(a_large_frame_does_not_leap_over_the_guard_into_the_next_stack),
        story_test(a_stack_overflow_is_fatal_without_the_handler_too),
        story_test(a_handler_of_the_programs_own_has_an_overflow_named),
        story_test(other_faults_go_to_the_handler_that_was_there_before),
        story_test(a_run_puts_the_previous_handler_back),
        story_test(a_run_inside_a_run_is_refused),
        story_test(calls_outside_a_task_are_refused),
        story_test(calls_from_a_thread_beside_the_run_are_refused),
        story_test(in_a_forked_child_every_call_is_refused_until_a_run_of_its_own),
        story_test(nulls_give_a_code_or_do_no_harm),
        story_test(options_of_an_unknown_size_are_refused),
        story_test(run_options_that_make_no_sense_are_refused),
        story_test(only_its_owner_closes_a_scope),
        story_test(a_closed_scope_does_nothing_more),
        story_test(leaving_a_guarded_group_by_any_way_cancels_and_joins),
        story_test(an_error_that_a_guard_could_not_return_comes_out_of_the_scope_around),
        story_test(an_error_that_a_guard_could_not_return_comes_out_of_the_group_around),
        story_test(an_error_that_a_guard_could_not_return_comes_out_at_the_tasks_end),
        story_test(a_childs_pending_error_fails_the_child),
        story_test(a_timeout_that_a_guard_could_not_return_comes_out_later),
        story_test(a_guard_that_has_nothing_to_say_leaves_nothing_pending),
        story_test(a_guard_that_could_not_be_opened_is_heard_of_later),
        story_test(of_several_guards_that_could_not_be_opened_all_are_heard_of),
        story_test(an_explicit_close_disarms_a_guard),
        story_test(neither_a_pending_error_nor_the_bodys_own_is_dropped),
        story_test(several_pending_errors_all_come_out),
        story_test(guards_outside_a_task_do_nothing),
        story_test(the_error_with_which_a_guarded_block_is_left_keeps_its_message),
        story_test(a_deadlock_is_the_reason_for_which_the_root_is_cancelled),
        story_test(a_large_tree_is_told_to_its_end),
        story_test(a_fault_reaches_the_previous_handler_with_all_that_is_known_of_it),
        story_test(another_fault_is_not_called_an_overflow),
        story_test(a_signal_that_was_sent_ends_the_program_as_it_would_have),
        story_test(a_run_leaves_the_signal_alone_where_it_is_told_to),
        story_test(a_handler_that_was_installed_during_a_run_stays),
        story_test(the_last_of_several_runs_puts_the_previous_handler_back),
        story_test(a_thread_keeps_the_signal_stack_that_it_has),
        story_test(a_signal_stack_that_a_task_gives_its_thread_stays_there),
        story_test(handlers_that_chain_in_a_circle_come_to_an_end),
        story_test(without_a_previous_handler_the_next_signal_is_deadly),
        story_test(a_signal_that_the_program_ignores_stays_ignored_but_a_fault_does_not),
        story_test(a_handler_that_is_called_again_while_it_runs_gives_up),
        story_test(a_task_goes_on_after_a_fault_that_the_previous_handler_has_mended),
        story_test(a_previous_handler_may_jump_out_of_a_fault_as_often_as_it_likes),
        story_test(a_handler_of_three_arguments_that_was_installed_during_a_run_stays),
        story_test(misuse_stops_the_program_also_where_standard_error_is_closed),
        story_test(between_tasks_calls_are_refused),
        story_test(scopes_and_groups_that_were_never_opened_are_refused),
        story_test(a_guard_for_which_there_is_no_memory_is_heard_of_later),
        story_test(a_cut_inside_a_guard_belongs_to_the_scope_that_was_cancelled),
        story_test(guards_left_in_a_forked_child_do_nothing),
        story_test(beside_a_pending_error_a_body_may_return_what_its_slot_does_not_hold),
        story_test(a_group_that_could_not_be_opened_is_closed_by_its_own_task),
        story_test(what_is_open_is_not_opened_once_more),
        story_test(a_debug_run_sees_what_is_opened_once_more_further_out),
        story_test(each_call_that_fails_says_where),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
