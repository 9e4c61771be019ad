/*
 * What every test here shares. A test is a story: arrange, act, assert; it is named after the behaviour that
 * it protects. An assertion of cmocka that fails longjmps, which must not happen on a task's stack: inside
 * tasks use check() and tell(), and assert on the main stack, after osr_run() has returned.
 */
#ifndef OSIER_TESTS_HARNESS_H
#define OSIER_TESTS_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <osier.h>

/* Runs a task to its end in simulated time, with the library's own checks on. Gives what osr_run() gives. */
#define run_simulated(...) osr_run(__VA_ARGS__, .clock = OSR_CLOCK_SIMULATED, .debug = true)

/* Notes `condition` from inside a task; the first one that is false fails the test at assert_checked(). */
#define check(condition) check_that(!!(condition), #condition, OSR_HERE)
#define check_int(actual, expected) check_equal((actual), (expected), #actual, OSR_HERE)
#define check_text(actual, expected) check_same_text((actual), (expected), #actual, OSR_HERE)
void check_that(bool holds, const char *condition, const char *where);
void check_equal(long long actual, long long expected, const char *what, const char *where);
void check_same_text(const char *actual, const char *expected, const char *what, const char *where);

/* On the main stack: fails the test if a check failed since the last call, or if none was made. */
void assert_checked(void);

/* Adds a line to the test's story, from anywhere; assert_story() compares it whole and begins a new one. */
void tell(const char *format, ...) __attribute__((format(printf, 1, 2)));
void assert_story(const char *expected);

/* Forgets the story and the checks: the set-up of each test. */
int begin_test(void **state);

/* Runs `body` in a child process, which must be killed by `signal`, having written `text` to standard error. */
void assert_dies(void (*body)(void), int signal, const char *text);

/* Runs `body` in a child process, in which every check() must hold. */
void assert_child_succeeds(void (*body)(void));

/* These end a child process with its coverage counted: at once, or of a signal as if nobody handled it. */
_Noreturn void leave_child(int status);
void die_of(int signal);

/* How many descriptors this process has open. */
int open_descriptors(void);

/* An allocator that counts and can fail: the `fail_at`-th allocation from now on (1 is the next; 0 never). */
struct counting {
    long live, made, fail_at;
    bool all_after; /* every later one fails as well */
};
extern struct counting counting;
extern const struct osr_allocator counting_allocator;

/* From inside a task of a run with that allocator: takes errors until there are no more, and no memory for them either,
 * until they are released. */
void hoard_errors(void);
void release_hoard(void);

/* Runs `task` again and again in simulated time, with another allocation failing each time, and every later one as well if
 * `all_after`. It gives 0 or -ENOMEM, and nothing is left. There are more than `least` allocations. */
#define assert_survives(task, all_after, least) assert_survives_without_memory(&(task).routine_, (all_after), (least))
void assert_survives_without_memory(const struct osr_routine *routine, bool all_after, long least);

/* Inside tasks: sleeps although everything around is cancelled; has the loop call `run`, on no task. */
void linger(int64_t duration);
void call_on_the_loop(void (*run)(void *arg), void *arg);

/* The numbers from 0, in an order that is always the same and looks like none. */
void shuffle(long *order, long count);

/* The set-up and the end of a test that must end within a minute and leave no descriptor open. */
int begin_with_descriptors(void **state);
int end_with_descriptors(void **state);

/* Whether this process runs under valgrind or a sanitizer: big tests then take smaller sizes. */
bool under_tools(void);

/* Whether the tests were built for ThreadSanitizer. */
static inline bool under_thread_sanitizer(void)
{
#if defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
    return true;
#endif
#endif
    return false;
}

/* `big`, or `small` under tools. */
long sized(long big, long small);

#define SIMULATED_TEST_(test, and_then)                                        \
    static int test##_told(void);                                              \
    OSR_TASK(test##_root, void, unused) { return test##_told(); }              \
    static void test(void **state)                                             \
    {                                                                          \
        (void)state;                                                           \
        assert_int_equal(run_simulated(test##_root, NULL, .name = "root"), 0); \
        assert_checked();                                                      \
        and_then;                                                              \
    }                                                                          \
    static int test##_told(void)

/* A test whose story one task tells, in simulated time; it returns 0. */
#define SIMULATED_TEST(test) SIMULATED_TEST_(test, (void)0)

/* The same, and its story is compared. */
#define TOLD_TEST(test, story) SIMULATED_TEST_(test, assert_story(story))

/* One on the real clock. */
#define REAL_TEST(test)                                                                 \
    static int test##_told(void);                                                       \
    OSR_TASK(test##_root, void, unused) { return test##_told(); }                       \
    static void test(void **state)                                                      \
    {                                                                                   \
        (void)state;                                                                    \
        assert_int_equal(osr_run(test##_root, NULL, .name = "root", .debug = true), 0); \
        assert_checked();                                                               \
    }                                                                                   \
    static int test##_told(void)

#define story_test(function) cmocka_unit_test_setup(function, begin_test)
#define descriptor_test(function) cmocka_unit_test_setup_teardown(function, begin_with_descriptors, end_with_descriptors)

#endif
