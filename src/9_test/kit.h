/*
 * The test kit, a library of its own on the public headers alone: it decides at the door of a run, looks at what is left
 * after it, and tells what went wrong.
 *
 * One run is a play: script first, then whoever improvises (a strategy), then 0. Everything that was asked is logged, so
 * that any play, however it was made, is a script that can be played again, shrunk and written down as a token.
 */
#ifndef OSIER_TEST_KIT_H
#define OSIER_TEST_KIT_H

#include <osier/error.h>
#include <osier/scope.h>
#include <osier/test.h>

#include "9_test/orders.h"

/* The kinds of choices: those of runs, and one more. */
enum { KIND_TEST = OSR_CHOICE_SHORT + 1, KINDS };

#define KIND_LETTERS "RDEJFCST" /* in their order */

/* ---- Scripts: token.c ---- */

/* What is answered to the questions `first` to `last` of a kind, counted from 1; asked for others, 0 is. */
struct line {
    unsigned kind;
    unsigned long first, last;
    unsigned answer;
    unsigned n;    /* how many alternatives there were; 0: not known */
    uint16_t what; /* hash of what for; 0: not known */
    bool onwards;  /* from `first` on, to every one of that kind and name (of the kind alone, for short transfers) */
};

struct script {
    struct line *lines;
    size_t count, capacity;
};

void osri_kit_script_add(struct script *script, struct line line);
void osri_kit_script_copy(struct script *to, const struct script *from);
void osri_kit_script_free(struct script *script);

uint16_t osri_kit_hash(const char *what);

/* The same of what a question is about. Of places without their directories, which are others in other builds. */
uint16_t osri_kit_hash_of(unsigned kind, const char *what);

/* Writes a token, cut at `size`, line by line; the end gives the length of the whole. Takes no memory. */
struct token_writer {
    char *buffer;
    size_t size, length;
    unsigned long lines; /* written */
    struct line last;    /* added, but not written, since the next one may go on with it; none: its answer is 0 */
};

void osri_kit_token_begin(struct token_writer *writer, const char *name, char *buffer, size_t size);
void osri_kit_token_add(struct token_writer *writer, const struct line *line);
size_t osri_kit_token_end(struct token_writer *writer);

/* Writes the script as a token, in the same way. */
size_t osri_kit_token_format(const char *name, const struct script *script, char *buffer, size_t size);

/* Reads a token. 0, or -EINVAL with why and where in `why`, or -ENOENT for one of another test. */
int osri_kit_token_parse(const char *name, const char *token, struct script *script, char *why, size_t size);

/* ---- Plays: play.c, door.c ---- */

enum violation {
    VIOLATION_NONE,
    VIOLATION_CHECK,     /* osr_test_check() in the run */
    VIOLATION_INVARIANT, /* and after it */
    VIOLATION_DEADLOCK,
    VIOLATION_OUTSIDE,     /* it waits for the world outside, in real time */
    VIOLATION_STEPS,       /* the run does not end */
    VIOLATION_RUNAWAY,     /* a task calls on and on in a cancelled scope */
    VIOLATION_LEAK,        /* the library names something */
    VIOLATION_MEMORY,
    VIOLATION_DESCRIPTORS,
    VIOLATION_DIFFERS,     /* from the same choices two runs came */
    VIOLATION_DEATH        /* the program was stopped */
};

/* Who runs, as far as that is known. */
struct moment {
    uint64_t task;     /* 0: none */
    const char *seen;  /* the place of the last call of that task that has been told; or NULL */
    bool there;        /* it is in that call */
    const char *next;  /* the place where that task is seen next if this goes well; NULL: not known */
    const char *words; /* what moment this is if no task runs */
};

enum { BEFORE = 3 };

struct question {
    unsigned kind;
    unsigned long ordinal;
    unsigned n, answer;
    const char *what;
    const char *errors; /* names of what a call may fail with */
    bool onwards; /* answered by such a line */
    bool ordered; /* answered as the test has said */
    uint64_t task; /* that calls, or that goes first; 0: not known */
    struct moment moment; /* of a fault and a short transfer */
    uint32_t before[BEFORE]; /* those that were ready before it, as far as there is room */
};

/* What happened: as the run tells it, but for the name, which lives only as long as its task. */
struct event {
    enum osr_trace_kind kind;
    int64_t at;
    uint64_t task;
    const char *call, *where;
    int code;
};

/* A task of the run, as the story needs it. */
struct actor {
    char name[OSR_NAME_SIZE];
    enum osr_trace_kind last; /* what it did last, of SPAWN, STEP, WAIT, WAKE, END */
    const char *call, *where; /* of its wait, or where it was spawned */
    const char *seen;         /* the place of its last call that has been told: a cancellation point, a wait, or a spawn */
};

struct order {
    const char *point;
    unsigned skip, pick;
    bool given;
};

enum { ORDERS = 8 };

/* One end of a pair of streams that the kit has made. */
struct stream {
    int fd;
    uint64_t inode; /* which it is, whatever its number */
    const char *where;
    bool is_shared; /* another process may have it, too */
};

struct campaign;

struct play {
    /* Stays from play to play. */
    const struct campaign *campaign; /* whose play it is */
    /* Runs it, and others after it: faster, but not for faults, which are not asked for then, since there are fewer of
     * them from the second run on. NULL: a run of its own. */
    struct osr_runner *runner;
    struct orders *explored; /* is told what steps touch; or NULL */
    bool told;               /* the story is wanted */
    bool shows;              /* all questions are printed */
    unsigned long awaited;   /* of this fault is to be found out where the task that makes the call is seen next; 0: of none */
    uint64_t awaiting;       /* that task, from then on until it is */
    const char *next;        /* where it was */
    struct question *questions;
    struct event *events;
    struct actor *actors; /* by number, from 1 on */
    struct stream *streams;
    size_t questions_room, events_room, actors_room, streams_room;
    int descriptors_from; /* those that are looked at, whether one is left; 0: not known yet */

    /* Is anew in each: from here to the texts all is 0 when it begins. */
    const struct osr_test *test;
    const struct script *script;
    size_t at[KINDS]; /* the line that comes next */
    /* Answers what the script does not; NULL: 0. */
    unsigned (*improvise)(struct play *play, unsigned kind, unsigned n, const char *what);

    bool parted;      /* from the script, as `parting` says */
    const struct line *missed; /* the line that was not for what was asked there, or not asked for; or NULL */
    size_t shown;     /* how much had happened when the scene last showed who was where */

    size_t asked, happened, cast; /* questions, events, and actors of it */
    size_t made;                  /* streams */
    size_t given_up;              /* how much had happened when the world outside was given up */
    unsigned long ordinals[KINDS];

    uint64_t current; /* the task that runs, as far as has been told; 0: none yet */
    bool runs;        /* it has neither waited nor ended since */
    unsigned queued;  /* in `queue` */

    struct osr_scope scope; /* around the root's function */
    bool inside;            /* the run is on */
    bool scope_open;
    struct order orders[ORDERS];
    struct osr_test_watch_ *watch; /* calls that are looked at, the latest first */
    unsigned long steps;
    bool is_long;        /* there have been too many: it is cancelled */
    uint64_t runaway;    /* the task of which was told last that it calls on and on; 0: none */
    unsigned cancels, faults;

    enum violation violation;
    const char *violated_at; /* place, or NULL */
    bool scene_is_full;      /* something is left out, which is said */
    bool scene_ends;         /* what comes now may have the room that is kept for it */
    size_t row_end;          /* the scene's length behind `row` */
    unsigned long row_more;  /* like choices that came right after it, and the last one's ordinal */
    unsigned long row_last;
    size_t actors_begin, actors_end; /* of who was where, as it was shown last */
    int64_t actors_at;               /* and when that was */
    size_t scene_length;
    int rc;
    int64_t now;

    /* Texts, of which only the first byte is cleared; and what `queued` counts. */
    char parting[512];
    char said[2048]; /* what was found wrong */
    char row[512];   /* what the last line of the scene says of a choice: its letter, then what makes another one like it */
    char errors[4096]; /* what the run failed with: in told plays */
    char scene[16384]; /* what was injected, and who was where: in told plays */
    uint64_t queue[256]; /* the ready ones, as far as can be told from events: for strategies, which may err */
};

/* The play that is on, NULL between plays. */
extern struct play *osri_kit_play;

/* Plays once. `script` and `improvise` may be NULL. What is left in `play` is good until the next. */
void osri_kit_play_once(struct play *play, const struct osr_test *test, const struct script *script,
                        unsigned (*improvise)(struct play *, unsigned, unsigned, const char *));

/* The answers that were not 0, as a script. */
void osri_kit_play_script(const struct play *play, struct script *script);
void osri_kit_play_free(struct play *play);

/* The runner of a play, NULL if there is none to be had. */
struct osr_runner *osri_kit_runner_new(struct play *play, const struct osr_test *test);

/* Asks the play's door, for the run or for the test itself. */
unsigned osri_kit_ask(struct play *play, unsigned kind, unsigned n, const char *what);

/* The same about a fault, whose errors have these names: "ECONNRESET, ENOMEM". */
unsigned osri_kit_ask_fault(struct play *play, unsigned n, const char *what, const char *errors);

struct moment osri_kit_moment(const struct play *play);

void osri_kit_observe(void *play, const struct osr_trace_event *event);

/* Notes what is wrong, unless something is already. */
void osri_kit_violated(struct play *play, enum violation violation, const char *where, const char *format, ...)
    OSR_PRINTF_(4, 5);

/* Tells that there is no way out of this run, and stops the program; `found`: what that is, if it is no news. */
_Noreturn void osri_kit_stop(const struct play *play, enum violation found, const char *why);

/* ---- Memory: count.c ---- */

/* Blocks that are in use: of the library's, and of the program's own. */
extern long osri_kit_blocks, osri_kit_own_blocks;
extern const struct osr_allocator osri_kit_counting;

/* Of told plays it is known what each block is and when it was made: begins anew, and adds that of those that are left. */
void osri_kit_forget_blocks(void);
void osri_kit_describe_blocks(const struct play *play, char *text, size_t size);

/* Like realloc(), but says so and stops the program if there is no memory. */
void *osri_kit_resize(void *memory, size_t size);

/* The number that the next descriptor will have. */
int osri_kit_next_descriptor(void);
/* Which of so many from there on there are, as a set; all, where that cannot be told. */
enum { KIT_DESCRIPTORS = 8 };
unsigned osri_kit_descriptors_from(int first);

/* ---- Telling: story.c ---- */

void osri_kit_say(const struct osr_test *test, const char *format, ...) OSR_PRINTF_(2, 3);

/* What makes a plural of a word. */
static inline const char *osri_kit_s(unsigned long count)
{
    return count == 1 ? "" : "s";
}

/* What a task or a run gave, in words; a number that is no code as one. Good until the next call but one. */
const char *osri_kit_outcome(int rc);

/* Adds words, cut where there is no more room. */
void osri_kit_add(char *text, size_t size, const char *format, ...) OSR_PRINTF_(3, 4);

/* Adds which task it was, and where. */
void osri_kit_add_moment(const struct play *play, const struct moment *moment, char *text, size_t size);

/* Adds to the play's scene what was chosen; like choices in a row are counted. */
void osri_kit_scene_choice(struct play *play, const struct question *question);

/* Adds who is where, unless that stands there already. */
void osri_kit_scene_actors(struct play *play);

/* The same where it went wrong in this way, for which there is room in any case. */
void osri_kit_scene_end(struct play *play, enum violation violation);

/* Tells the play, whose script is `script`, in which something went wrong, and keeps it for osr_test_story(). `how`: in
 * which campaign. */
void osri_kit_tell(struct play *play, const struct script *script, const char *how);
void osri_kit_forget_story(void);

/* Tells that the program is about to die, or is dying, in the play that is on. */
void osri_kit_tell_death(const char *why);

/* While this is on, which is as long as a campaign lasts, signals of crashes in a play are told before they go to whoever
 * handled them. */
void osri_kit_watch_crashes(void);
void osri_kit_unwatch_crashes(void);

/* From now on the play that is on is told as well when a sanitizer ends the process, which needs no signal for that. */
void osri_kit_watch_sanitizers(void);

/* ---- The world: outside.c ---- */

/* What becomes of the whole process while a run is on is told from now on. */
void osri_kit_watch_process(void);

/* Takes note of a stream's end. */
void osri_kit_stream_made(struct play *play, int fd, const char *where);

/* The stream that has this descriptor now, NULL if it is none of the kit's. */
const struct stream *osri_kit_stream_of(const struct play *play, int fd);

/* How long a run waits for the world. */
osr_patience osri_kit_patience;

/* ---- Campaigns: campaign.c ---- */

typedef unsigned osri_kit_improvise(struct play *play, unsigned kind, unsigned n, const char *what);

/* Which call is made at a place. */
struct site {
    const char *where, *call;
};

enum { SITES = 256 };

/* The runs of one call, which end with the first that is not as it should be. */
struct campaign {
    const struct osr_test *test;
    const char *name;
    bool is_fuzzer;     /* it is one that has the test run, along bytes of its own */
    const char *detail; /* how the run that is tried came about, in words; NULL: none is tried */
    const char *stage;  /* what is done about it now, in words */
    unsigned long tried; /* its number */
    struct site sites[SITES]; /* as far as runs have told */
    unsigned sites_known;
    const char *next;      /* where the task is seen next if the `next_of`-th fault does not come */
    unsigned long next_of; /* 0: that is not known of any */
    unsigned long runs;
    unsigned long failed; /* of them, runs whose root failed though nothing was injected that fails it */
    int failure;          /* of the first of them */
    struct play play;  /* the last one */
    struct play again; /* it, played again */
    struct script script;
    int rc; /* what the call gives */
};

/* 0; -EINVAL for a test that makes no sense; -EBUSY inside a run. */
int osri_kit_check_test(const struct osr_test *test);

/* Begins one, and ends a fuzzer's, which is kept from input to input. NULL if there is nothing to do, of which is told why:
 * then `*rc` is what the call gives. */
struct campaign *osri_kit_begin(const struct osr_test *test, const char *name, int *rc);

/* Whether the environment has a token: then it has been dealt with. */
bool osri_kit_is_replayed(const struct osr_test *test, int *rc);

/* Gives what the call gives. */
int osri_kit_end(struct campaign *campaign);

/* Plays once more; says whether all was well. If it was not, that has been shrunk and told, and the campaign is over.
 * `detail`: how this run came about, in words. */
bool osri_kit_try(struct campaign *campaign, const struct script *script, osri_kit_improvise *improvise,
                  const char *detail);

/* The call that is made at a place, NULL if none has waited there. */
const char *osri_kit_call_at(const struct campaign *campaign, const char *where);

/* From now on the runs are made by a runner, if no fault is to be injected. */
void osri_kit_hurry(struct campaign *campaign);

/* What was done, unless the test is a quiet one. */
void osri_kit_count(const struct campaign *campaign, const char *format, ...) OSR_PRINTF_(2, 3);

/* Ends the one that osr_test_fuzz() keeps, if there is one: random.c. */
void osri_kit_end_fuzzing(void);

/* ---- Shrinking: shrink.c ---- */

/* Makes campaign->script, which leads to the violation of campaign->play, as short as it gets. */
void osri_kit_shrink(struct campaign *campaign);

/* ---- Randomness: strategy.c ---- */

/* Sets up one run. `asked`: how many questions of each kind a run has, about; `steps`: how many it takes. */
void osri_kit_strategy_begin(uint64_t seed, unsigned long run, const unsigned long asked[KINDS], unsigned long steps);
osri_kit_improvise osri_kit_strategy;
const char *osri_kit_strategy_name(void);

/* From 0 to n - 1, and the state goes on. */
unsigned osri_kit_draw(uint64_t *state, unsigned n);
void osri_kit_seed(uint64_t *state, uint64_t seed, uint64_t more);

#endif
