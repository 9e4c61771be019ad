/*
 * What the smaller targets share. Each is one file that defines `target`; any bytes are an input of it. What it finds
 * it says through check(), which ends the process, as fuzzers want it; what it does it tells through tell(), which is
 * silent but for the story of an input.
 */
#ifndef OSIER_FUZZ_TARGET_H
#define OSIER_FUZZ_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <osier/run.h>

struct target {
    const char *name;
    void (*begin)(void); /* before the first input; or NULL */
    void (*run)(const unsigned char *bytes, size_t size);
    /* Makes an input at random: its size. NULL: bytes at random, `longest` of them at most. */
    size_t (*generate)(uint64_t *state, unsigned char *bytes, size_t room);
    size_t longest;
    const char *const *wrongs; /* what it is wrong about when asked to be, and has to find out; ends with NULL */
};
extern const struct target target;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* Which of the target's `wrongs` is on, counted from 1: set by OSR_FUZZ_WRONG in the environment. 0: none. */
extern unsigned wrong;

/* ---- Findings and stories ---- */

#define check(condition, ...) ((condition) ? (void)0 : found(OSR_HERE, __VA_ARGS__))
_Noreturn void found(const char *where, const char *format, ...) OSR_PRINTF_(2, 3);

/* Called with the place before found() ends the process; or NULL. */
extern void (*on_finding)(const char *where);

extern FILE *story; /* or NULL */
#define tell(...) ((void)(story && fprintf(story, __VA_ARGS__)))

/* ---- Inputs ---- */

struct input {
    const unsigned char *at, *end;
};

/* The next byte; 0 where the bytes end. */
static inline unsigned take_byte(struct input *input)
{
    return input->at < input->end ? *input->at++ : 0;
}

/* A number below `n`, which is 256 at most. */
static inline unsigned take(struct input *input, unsigned n)
{
    return take_byte(input) % n;
}

/* Of two bytes, in this order, whatever the compiler thinks of several calls in one expression. */
static inline unsigned take_word(struct input *input)
{
    unsigned first = take_byte(input);

    return first << 8 | take_byte(input);
}

static inline bool is_over(const struct input *input)
{
    return input->at == input->end;
}

/* A random number below `n`. */
unsigned draw(uint64_t *state, unsigned n);

/* The input of a campaign, always the same one: its size. */
enum { MOST_BYTES = 1 << 14 };
size_t make_input(unsigned long seed, unsigned long run, unsigned char bytes[MOST_BYTES]);

/* ---- Runs ---- */

/* Memory that can be made to fail: the `refuse_at`-th allocation from now on (0: none), and all after it with
 * `refuse_onwards`. */
extern const struct osr_allocator failing_memory;
extern unsigned refuse_at, refused;
extern bool refuse_onwards;
extern bool lets_leak; /* what is left when a run ends is no finding */

/* Runs `routine` as the root of a run under the simulated clock; everything that the library has to diagnose is a
 * finding. The loop and the stacks are kept for the next one. */
int run_simulated(const struct osr_routine *routine, void *arg);

#endif
