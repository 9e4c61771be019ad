/*
 * Floor 1 alone, as a plain program without cmocka and libev, so that it can be built for another machine and run
 * there under emulation: contexts keep their registers and stacks, stacks are pooled and guarded.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "1_stack/stack.h"

enum { FIBERS = 100, ROUNDS = 1000, SIZE = 1 << 16 };

static struct door no_choice;
static struct memory memory;
static struct stacks stacks;
static struct fiber hub;
static struct lining hub_lining;
static int failures;

static void expect(int holds, const char *what)
{
    if (!holds) {
        failures++;
        printf("not so: %s\n", what);
    }
}

struct worker {
    struct fiber fiber; /* first: on top of its stack */
    struct lining lining;
    double value;
    uint64_t sum;
    int number, rounds;
};

static void back(struct worker *worker)
{
    osri_fiber_switch(&worker->fiber, &hub, stacks.tools);
}

__attribute__((used)) static int leave_and_add(struct worker *worker, int one, int two, int three, int four, int five)
{
    char aligned[64] __attribute__((aligned(16)));

    expect((uintptr_t)aligned % 16 == 0, "the stack is aligned below a return by jump");
    back(worker);
    return one + 10 * two + 100 * three + 1000 * four + 10000 * five;
}

int back_by_jump(struct worker *worker, int one, int two, int three, int four, int five);
OSRI_RETURN_BY_JUMP(back_by_jump, leave_and_add);

static void back_somehow(struct worker *worker)
{
    if (worker->number % 2 == 0)
        back(worker);
    else
        expect(back_by_jump(worker, 1, 2, 3, 4, 5) == 54321, "arguments and result pass a return by jump");
}

/* Keeps values in many registers, integers and floating-point numbers, over many switches. */
static void work(void *arg)
{
    struct worker *worker = arg;
    uint64_t a = (uint64_t)worker->number, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;
    double x = worker->number, y = x * 2, z = x * 3;
    char aligned[64] __attribute__((aligned(16)));

    osri_fiber_begin(&worker->fiber, stacks.tools);
    expect((uintptr_t)aligned % 16 == 0, "the stack is aligned");
    memset(aligned, worker->number, sizeof(aligned));
    for (worker->rounds = 0; worker->rounds < ROUNDS; worker->rounds++) {
        back_somehow(worker);
        a += 1, b += a, c += b, d ^= c, e += d, f ^= e;
        x += 1, y += x, z += y;
    }
    expect(aligned[0] == (char)worker->number && aligned[63] == (char)worker->number, "the stack is kept");
    worker->sum = a + b + c + d + e + f;
    worker->value = x + y + z;
    back(worker);
}

static void expect_as_computed(const struct worker *worker)
{
    uint64_t a = (uint64_t)worker->number, b = a + 1, c = a + 2, d = a + 3, e = a + 4, f = a + 5;
    double x = worker->number, y = x * 2, z = x * 3;
    int i;

    for (i = 0; i < ROUNDS; i++) {
        a += 1, b += a, c += b, d ^= c, e += d, f ^= e;
        x += 1, y += x, z += y;
    }
    expect(worker->sum == a + b + c + d + e + f, "integers are kept over switches");
    expect(worker->value == x + y + z, "floating-point numbers are kept over switches");
}

static void run_all(void)
{
    struct worker *workers[FIBERS];
    int i, round, code;

    for (i = 0; i < FIBERS; i++) {
        workers[i] = (struct worker *)(void *)osri_stack_take(&stacks, &code);
        workers[i]->number = i;
        osri_fiber_make(&workers[i]->fiber, 0, work);
    }
    for (round = 0; round <= ROUNDS; round++)
        for (i = 0; i < FIBERS; i++)
            osri_fiber_switch(&hub, &workers[i]->fiber, stacks.tools);
    for (i = 0; i < FIBERS; i++) {
        expect(workers[i]->rounds == ROUNDS, "every fiber runs to its end");
        expect_as_computed(workers[i]);
        osri_stack_give(&stacks, &workers[i]->fiber);
    }
}

static void expect_reuse(void)
{
    int code;
    struct fiber *first = osri_stack_take(&stacks, &code), *again;

    osri_stack_give(&stacks, first);
    again = osri_stack_take(&stacks, &code);
    expect(first == again, "the stack given back last is taken first");
    osri_stack_give(&stacks, again);
}

static void expect_guard_of(struct fiber *fiber)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        *(volatile char *)(fiber->lining->low - 1) = 1;
        _exit(0);
    }
    waitpid(pid, &status, 0);
    expect(!(WIFEXITED(status) && WEXITSTATUS(status) == 0), "below the stack lies a guard");
}

static int resident(const char *page)
{
    unsigned char is;

    return mincore((void *)((uintptr_t)page & ~(uintptr_t)4095), 1, &is) == 0 && is & 1;
}

/* All stacks have been given back. */
static void expect_trimming(void)
{
    struct fiber *first = stacks.idle[1], *last = stacks.idle[stacks.count];
    size_t all = stacks.count;

    expect(all == FIBERS && stacks.bare == 0, "all stacks are in the pool");
    expect(!osri_stacks_trim(&stacks, 0, all) && stacks.bare == 0, "those that were in use are left alone");
    expect(osri_stacks_trim(&stacks, 10, 1) && stacks.bare == 1, "no more than asked for at once");
    expect(!osri_stacks_trim(&stacks, 10, all) && osri_stacks_idle(&stacks) == 10, "some are kept");
    expect(!resident((char *)first) && resident((char *)last), "the memory of the others is gone");
    run_all();
    expect(stacks.bare == 0 && stacks.count == all && stacks.total == all, "the same stacks are used again");
    osri_stacks_trim(&stacks, 0, all); /* they were in use in between */
    expect(stacks.bare == 0, "those that were in use are left alone, again");
}

/* Whichever way they were installed. */
static void expect_guards(void)
{
    size_t i;

    for (i = 1; i <= stacks.count; i += 7)
        expect_guard_of(stacks.idle[i]);
}

int main(void)
{
    memory = (struct memory){.from = osri_malloc_allocator, .door = &no_choice};
    osri_stacks_open(&stacks, SIZE, sizeof(struct worker), offsetof(struct worker, lining), &memory, &no_choice);
    osri_fiber_adopt(&hub, &hub_lining, stacks.tools);
    run_all();
    run_all();
    expect_reuse();
    expect_trimming();
    expect_guards();
    osri_stacks_close(&stacks);
    printf("%s: %d passed, %d failed\n", "cross_context", failures == 0, failures != 0);
    return failures != 0;
}
