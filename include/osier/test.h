/*
 * Testing programs written with osier: the library libosier-test (pkg-config osier-test).
 *
 * A test is a root task with what it works on. The kit runs it under the simulated clock, many times, and decides each
 * time what is not the program's to decide: which ready task goes first, when a cancellation comes, which allocation or
 * system call fails, how short a read is. After each run it asks whether all is as it must be.
 *
 *     struct bank { … };                                      // what the program works on
 *
 *     OSR_TASK(transfers, struct bank, bank) { … }            // the program
 *
 *     static void bank_open(void *arg) { … }                  // before each run: everything as new
 *
 *     static void bank_check(void *arg, const struct osr_test_result *result)       // after each run
 *     {
 *         struct bank *bank = arg;
 *
 *         osr_test_check(!bank->is_locked);
 *         osr_test_check(total(bank) == 100);
 *     }
 *
 *     static struct bank bank;
 *     static const struct osr_test test = OSR_TEST("transfers", transfers, &bank, .begin = bank_open, .check = bank_check);
 *
 *     static void transfers_stand_everything(void **state)    // a test of cmocka's
 *     {
 *         assert_int_equal(osr_test_sweep(&test), 0);         // every cancellation, every failure, one run each
 *         assert_int_equal(osr_test_explore(&test), 0);       // every order
 *         assert_int_equal(osr_test_random(&test, 10000, 1), 0);
 *     }
 *
 *     int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                  // libFuzzer, AFL++
 *     {
 *         return osr_test_fuzz(&test, data, size);
 *     }
 *
 * What goes wrong is shrunk and told as a short story, which ends with a token: all that the kit chose, in one word.
 * `OSR_REPLAY=token ./test` runs that again (twice, to compare) and nothing else, for a debugger; with OSR_TRACE=file
 * besides, the file shows the whole run, also what happened after the injection. examples/bank_test.c is such a test from
 * its beginning to its end.
 *
 * In each run is looked for: a check that failed; a deadlock; misuse that stops the program, and crashes, also of a task
 * whose stack is used up; descriptors, errors and memory that are left; a run that does not end; two runs that differ though
 * the kit chose the same, because the program asks a clock, a source of randomness, or the addresses of things.
 *
 * Crashes are seen by a handler of the kit's, on a stack of its own, for SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT. It
 * tells the story, and goes on to the handler that was there before the call. A handler that is installed during a run has
 * the signal to itself. What a sanitizer stops is told behind its report: but for osr_test_fuzz(), where fuzzers ask for
 * that themselves, the kit takes the sanitizers' one callback (__sanitizer_set_death_callback()) when a run begins, also
 * from a program that had set it.
 *
 * Jobs run on the loop's thread in a test, so races between the thread of a job and tasks are not seen: for those run the
 * program itself, on the real clock, with ThreadSanitizer.
 *
 * Begin with osr_test_sweep(), which takes one run for each place and finds most; then osr_test_random(); then
 * osr_test_explore(), for small programs: it is depth first, so that what the sweep finds in a hundred runs may come very
 * late in it, or not at all (short reads and writes it does not try).
 *
 * That a run does not end is seen by the number of its steps (osr_test.steps), and by the calls in a row that a task makes
 * though they are refused. A task that computes for ever and calls nothing makes no step, and is not seen: give the test
 * program a time limit from outside (`timeout 60 ./test`).
 *
 * A run in which all that tasks wait for are ends of the kit's own streams (osr_test_streams()) is a deadlock, since nobody
 * else can write to them; where somebody could, because there is another thread, a child, or was a fork() since they were
 * made, they count as the world outside. (A signal handler of the program's own that writes to one is not thought of.) A
 * run that waits for the world, in real time, may do so for 10 seconds (osr_test.patience), also for a worker whose
 * deadline comes later; then that is the violation. It takes as long again until that is told, and it is not shrunk.
 *
 * exit() while a run is on is told, too, and stops the program by abort(), so that exit(0) is no success. _exit() and
 * quick_exit() cannot be seen; what a forked child does is its own.
 *
 * The calls that run a test are made outside runs, one at a time, on any thread. Those "in a test" are made by its tasks,
 * jobs, callbacks, and by begin(), end() and check() where that makes sense; outside tests they do nothing, and give 0.
 */
#ifndef OSIER_TEST_H
#define OSIER_TEST_H

#include <osier/base.h>
#include <osier/debug.h>
#include <osier/run.h>
#include <osier/task.h>
#include <osier/time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct osr_error;

/* ---- Tests --------------------------------------------------------------------------------------------- */

/* What a run came to, for check(). */
struct osr_test_result {
    int rc;                  /* what osr_run() gave; a test whose check failed in a task has been cancelled */
    struct osr_error *error; /* behind it, or NULL; the kit's: it is gone after check() */
    int64_t now;             /* the simulated clock at the end */
    unsigned long steps;     /* of tasks */
    unsigned cancels;        /* cancellations that were injected */
    unsigned faults;         /* allocations and calls that were made to fail, also those that the test ordered */
};

struct osr_test {
    size_t size;       /* of this struct; the macro sets it */
    const char *where; /* the place; the macro sets it */
    const char *name;  /* one word of letters, digits, '_', '-' and '.': it stands in tokens */
    const struct osr_routine *routine;
    void *arg;

    /* Before each run: makes everything as new; or NULL. All that check() looks at is made here: where an allocation or a
     * call fails before the program has begun, the run ends with that, and check() comes all the same. */
    void (*begin)(void *arg);
    void (*check)(void *arg, const struct osr_test_result *result); /* after each run: what must be so now; or NULL */
    void (*end)(void *arg);   /* after that: gives back what begin() took; or NULL */

    /* Besides what the program is tested for, one cancellation (fault) a run may also come in osr_test_explore(), any
     * number of them in osr_test_random() and osr_test_fuzz(). */
    bool cancels, faults;

    /* osr_test_explore() runs one of those orders that come to the same. Only for programs whose tasks share nothing but
     * through osier's calls, or say what: see there. */
    bool reduce;

    unsigned long steps;  /* of tasks, that no run should need; 0: 100,000 */
    unsigned long runs;   /* that osr_test_explore() makes at most; 0: 1,000,000 */
    unsigned depth;       /* choices of a run that it varies, from the first one on; 0: all */
    unsigned pairs;       /* of injections that osr_test_sweep() tries besides, drawn at random; 0: none */
    unsigned patience;    /* milliseconds of real time, for which a run may wait for the world outside; 0: 10,000 */
    bool quiet;           /* says only what went wrong, not how many runs were made */
    bool keeps_memory;    /* the program keeps errors or memory over a run: what is left is no leak */
    size_t stack_size;    /* as for osr_run() */

    void (*tell)(void *arg, const char *text); /* told counts and stories, in whole lines; NULL: standard error */
    void *tell_arg;

    size_t reserved_; /* 0; the last one */
};

/* A test that runs a task, whose argument's type is checked: OSR_TEST("transfers", transfers, &bank, .check = …). It may
 * initialize a variable in a file or in a function. That the root task fails is no violation unless .check says so; where
 * neither a cancellation nor a fault was injected, the last line tells how often it did, and whether a check() let that
 * pass. */
#define OSR_TEST(...) OSR_TEST_(__VA_ARGS__, .reserved_ = 0)
#define OSR_TEST_(name_, task_, argument_, ...)                                                                \
    {.size = sizeof(struct osr_test) + 0 * sizeof(1 ? (argument_) : (task_).arg_), .where = OSR_HERE,           \
     .name = (name_), .routine = &(task_).routine_, .arg = (argument_), __VA_ARGS__}

/*
 * All of these give 0 if every run was as it should be; the number of violations, 1, if one was not: they stop at the
 * first, having told its story; -EINVAL for a test that makes no sense, having told why; -EBUSY inside a run, the kit's or
 * another of this thread; -ENOMEM. (Memory that the kit itself lacks later on stops the program, having said so.)
 *
 * If the environment variable OSR_REPLAY holds a token, all but osr_test_fuzz() run that instead, and only that: the first
 * call for the test of that name replays it, the later ones give what that gave, and calls for other tests are skipped,
 * which the first of them says, and give 0. One that cannot be read gives -EINVAL.
 */

/* One run, in which nothing fails and all is first come first served. */
OSR_API int osr_test_run(const struct osr_test *test);

/*
 * One run for each place where something can come in between: at each cancellation point the calling task is cancelled,
 * in another run the root; each allocation and each system call of the library fails, with each of its errors, once, and
 * from there on. And `pairs` runs with two of these.
 */
OSR_API int osr_test_sweep(const struct osr_test *test);

/*
 * All orders: depth first over which task runs, which of equal times and of ready descriptors comes first, which job
 * runs, and over what the test chooses itself, until there are no more or `runs` are made, which is said.
 *
 * With `.reduce`, orders that come to the same are run once: those that differ in the order of steps that touch nothing
 * in common (a step goes from where a task runs to where the next one does). Then a hundred runs may do where millions
 * would be needed. What a step touches is told by the library: events, locks, semaphores, queues, barriers, futures,
 * groups, handles, and tasks that are woken or cancelled. A step that does more than is known (callbacks, descriptors,
 * jobs, posts, osr_start(), values, primitives of the program's own on osr_park()) counts as one that touches everything.
 *
 * What is not seen is memory that tasks share without osier, and what functions of the headers read without a call
 * (osr_event_is_set(), osr_lock_held(), osr_queue_count(), …). Under a lock of osier's that is well: the lock is touched.
 * Else a program says osr_test_touches() in each step that reads or writes it, or goes without `.reduce`; or orders
 * are left out in which it would fail. Of primitives outside static data, which lie elsewhere in each run, those that
 * are first touched in steps that could be exchanged count as one, which costs runs: osr_test_touches() before their
 * tasks are spawned tells them apart. With `.depth` nothing is reduced.
 */
OSR_API int osr_test_explore(const struct osr_test *test);

/*
 * `runs` runs at random, the same ones for the same seed. In turns: every choice at random; by priorities that change at
 * few moments (PCT), which finds what needs few coincidences in long runs; first come first served but for a few that
 * are delayed; and going on with the same task for long.
 */
OSR_API int osr_test_random(const struct osr_test *test, unsigned long runs, uint64_t seed);

/*
 * One run along the bytes of a fuzzer: what the test chooses itself is read from the front, all else from the back, and
 * what is missing is 0. A violation is told, and aborts the process, which is what fuzzers look for; a crash is told and
 * goes on to the fuzzer's handler. Between inputs the kit's stays, until another test is run. Gives 0. For the function
 * LLVMFuzzerTestOneInput(), which both libFuzzer and AFL++ (afl-clang-fast -fsanitize=fuzzer) call. It does not look at
 * OSR_REPLAY: the input runs it again, the token does in a program that calls one of the others for this test.
 */
OSR_API int osr_test_fuzz(const struct osr_test *test, const uint8_t *data, size_t size);

/* ---- Tokens -------------------------------------------------------------------------------------------- */

/*
 * A token holds a version, the test's name, the choices that were not 0, and a check sum, such as
 *
 *     osr1:transfers:C7=1/3.5e0c,R12-15=1;93af
 *
 * at the 7th question for a cancellation (C), one of 3 that was asked at a certain place, the answer was 1; at the 12th
 * to the 15th choice of a ready task (R) it was 1. D: equal times; E: descriptors; J: jobs; F: faults ("F5+=1": from
 * there on, each of its name); S: short reads and writes; T: the test's own. What was asked about goes along as four digits:
 * of a cancellation that is the place of the call, "bank.c:74", without the file's directory. So a token holds in every
 * build of the same sources, wherever they lie; a line that is added above that place makes the program part from it.
 */

/*
 * Runs the test along a token, twice: that they differ is a violation. A token that is cut short, damaged, of another
 * version or another test, or has something behind it but white space, is refused, and told why and where: -EINVAL. A
 * program that has changed meanwhile may ask other questions: then is told where it parted from the token, and what that
 * has there; the rest is first come first served, and is not the token's run.
 */
OSR_API int osr_test_replay(const struct osr_test *test, const char *token);

/* The token, and the whole story, of the last violation that was found; "" if there was none. Until the next call. A token
 * of 128 KB and more is cut, and no good, which the story says. */
OSR_API const char *osr_test_token(void);
OSR_API const char *osr_test_story(void);

/* ---- Checks -------------------------------------------------------------------------------------------- */

/*
 * In a test: what must be so. If it is not, that is noted (the first one counts), everything is cancelled, and the task
 * goes on, so that the run ends in order and the call that runs the test tells. Gives the condition.
 */
#define osr_test_check(condition) osr_test_check_here(!!(condition), #condition, OSR_HERE)
OSR_API bool osr_test_check_here(bool holds, const char *condition, const char *where);

/* The same, failed, in words of one's own. */
#define osr_test_fail(...) osr_test_fail_here(OSR_HERE, __VA_ARGS__)
OSR_API void osr_test_fail_here(const char *where, const char *format, ...) OSR_PRINTF_(2, 3);

/*
 * In a task: checks that a call, which gives an int, is a cancellation point (is none), whatever it gives:
 * rc = osr_test_point(queue_push(&queue, item)). Points behind a shield that is opened inside the call are not counted:
 * no cancellation of the caller reaches them. Where the task is cancelled already that cannot be seen, and is let be.
 */
#define osr_test_point(call)                                                                 \
    __extension__ ({                                                                                     \
        struct osr_test_watch_ watch_;                                                       \
        int rc_;                                                                             \
        osr_test_watch_begin_(&watch_);                                                      \
        rc_ = (call);                                                                        \
        osr_test_watch_end_(&watch_, true, #call, OSR_HERE);                                 \
        rc_;                                                                                 \
    })
#define osr_test_no_point(call)                                                              \
    __extension__ ({                                                                                     \
        struct osr_test_watch_ watch_;                                                       \
        int rc_;                                                                             \
        osr_test_watch_begin_(&watch_);                                                      \
        rc_ = (call);                                                                        \
        osr_test_watch_end_(&watch_, false, #call, OSR_HERE);                                \
        rc_;                                                                                 \
    })

/* ---- Choosing ------------------------------------------------------------------------------------------ */

/*
 * In a test: a choice of its own, from 0 to `n` - 1: the size of an input, whether a peer answers. 0 is the simplest one,
 * which osr_test_run() and osr_test_sweep() always take. osr_test_explore() tries all (of the first `depth` choices, if
 * that is set), osr_test_random() draws one, osr_test_fuzz() takes a byte for it, and a replay what its token says. `what`
 * says what for, in stories; a literal.
 */
OSR_API unsigned osr_test_choose(unsigned n, const char *what);

/* In a task: this step reads or writes `object`, an address of something that tasks share, for `.reduce`. */
OSR_API void osr_test_touches(const void *object);

/* ---- Faults -------------------------------------------------------------------------------------------- */

/* In a test, in what stands in for a part of the world: whether it fails here. 0, or `code`, a negative one. The sweep
 * lets each of these fail. */
OSR_API int osr_test_fault(const char *point, int code);

/*
 * In a test: orders a fault. From now on, after `skip` questions, the next one for `point` is answered with the `pick`-th
 * error: of osr_test_fault(), or of the library's allocations ("memory", "mmap") and system calls ("read", "accept", …).
 * osr_test_run() with OSR_TEST_QUESTIONS=1 in the environment shows all questions of a run, and of each such call the errors
 * in their order: after "F33=0/4 recv (ECONNRESET, ETIMEDOUT, ENOMEM)", 2 picks ETIMEDOUT. One order at a time for each
 * point, at most 8. 0; -EINVAL, also for a `pick` of 0 or a point that has an order; -ENOSPC for the ninth.
 */
OSR_API int osr_test_order_fault(const char *point, unsigned skip, unsigned pick);

/* For memory of the program's own: counted with the run's, what is left is a leak, and each allocation may fail
 * ("allocation"). */
OSR_API const struct osr_allocator *osr_test_allocator(void);

/* ---- The world ----------------------------------------------------------------------------------------- */

/*
 * In a task: lets simulated time pass, with all that falls due, and waits until that is settled: nothing else can run at
 * this moment (osr_settle() in debug.h, which lets no time pass). A cancellation point. 0; -ECANCELED; -EINVAL; -ENOMEM;
 * -ENOTSUP on a real clock; -EPERM.
 */
#define osr_test_advance(duration) osr_test_advance_here((duration), OSR_HERE)
OSR_API int osr_test_advance_here(int64_t duration, const char *where);

/*
 * Two connected streams in memory, for osr_read(), osr_write() and osr_fd_close(). How much a read or write moves at a
 * time is chosen by the kit. (So it is of all descriptors.) The caller closes them. Never waits. May be called from
 * anywhere, also outside tests. 0; -EINVAL; what the system failed with.
 */
#define osr_test_streams(fds) osr_test_streams_here((fds), OSR_HERE)
OSR_API int osr_test_streams_here(int fds[2], const char *where);

/*
 * Jobs (thread.h) run on the loop's thread in a test. In a task: holds those that have not run; lets the next `count`, or
 * all of them, run again (osr_jobs_allow() in debug.h). Never waits. 0; -ENOTSUP on a real clock; -EPERM outside runs.
 */
OSR_API int osr_test_hold_jobs(void);
OSR_API int osr_test_release_jobs(unsigned count);
#define OSR_TEST_ALL_JOBS UINT32_MAX

/* ---- Private ------------------------------------------------------------------------------------------- */

struct osr_test_watch_ {
    struct osr_test_watch_ *outer;
    uint64_t task;
    unsigned long points;
    unsigned shields; /* around the call */
    bool blind; /* it is cancelled already */
};

OSR_API void osr_test_watch_begin_(struct osr_test_watch_ *watch);
OSR_API void osr_test_watch_end_(struct osr_test_watch_ *watch, bool expected, const char *call, const char *where);

#ifdef __cplusplus
}
#endif

#endif
