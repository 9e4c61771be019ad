/* What went wrong, in words. Nothing here takes memory: it may be told by a program that dies. */
#include "9_test/kit.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A variable of the environment has no more room than such a token. */
enum { TOKEN_SIZE = 1 << 17 };

static char story[TOKEN_SIZE + (1 << 15)], token[TOKEN_SIZE];
static size_t token_length; /* of the whole */

const char *osr_test_token(void)
{
    return token;
}

const char *osr_test_story(void)
{
    return story;
}

void osri_kit_forget_story(void)
{
    story[0] = token[0] = '\0';
}

/* ---- Saying ---- */

static void say_text(const struct osr_test *test, const char *text)
{
    size_t left = strlen(text);

    if (test->tell) {
        test->tell(test->tell_arg, text);
        return;
    }
    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, text, left);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        text += n;
        left -= (size_t)n;
    }
}

void osri_kit_say(const struct osr_test *test, const char *format, ...)
{
    char text[1024];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    say_text(test, text);
}

const char *osri_kit_outcome(int rc)
{
    static char numbers[2][16];
    static unsigned turn;

    if (rc <= 0 && *osr_strcode(rc) != '?')
        return osr_strcode(rc);
    turn = !turn;
    snprintf(numbers[turn], sizeof(numbers[turn]), "%d", rc);
    return numbers[turn];
}

/* ---- Scenes ---- */

static const char no_room[] = "  … and more, which there is no room for\n";
enum { END_ROOM = 4096 };

/* Adds whole lines, or says once that there is no room for them. */
static void scene(struct play *play, const char *format, ...) OSR_PRINTF_(2, 3);

static void scene(struct play *play, const char *format, ...)
{
    const size_t room = sizeof(play->scene) - (play->scene_ends ? sizeof(no_room) : END_ROOM);
    const size_t left = room > play->scene_length ? room - play->scene_length : 0;
    va_list list;
    int n;

    if (play->scene_is_full)
        return;
    va_start(list, format);
    n = vsnprintf(play->scene + play->scene_length, left, format, list);
    va_end(list);
    play->scene_is_full = (size_t)n >= left;
    if (play->scene_is_full) {
        memcpy(play->scene + play->scene_length, no_room, sizeof(no_room));
        play->scene_length += sizeof(no_room) - 1;
    } else {
        play->scene_length += (size_t)n;
    }
}

static void end_row(struct play *play)
{
    if (play->row_more)
        scene(play, "  … and %lu more, up to %c%lu\n", play->row_more, play->row[0], play->row_last);
    play->row_more = 0;
    play->row[0] = '\0';
}

void osri_kit_add(char *text, size_t size, const char *format, ...)
{
    size_t length = strlen(text);
    va_list list;

    va_start(list, format);
    vsnprintf(text + length, size - length, format, list);
    va_end(list);
}

static void add_place(const struct play *play, const char *place, char *text, size_t size)
{
    const char *call = osri_kit_call_at(play->campaign, place);

    if (call)
        osri_kit_add(text, size, "in %s ", call);
    osri_kit_add(text, size, "at %s", place);
}

/* It may have gone on since, to calls that no cancellation can come before. */
static void add_last_seen(const struct play *play, const char *seen, char *text, size_t size)
{
    if (!seen)
        return;
    osri_kit_add(text, size, ", last seen ");
    add_place(play, seen, text, size);
}

void osri_kit_add_moment(const struct play *play, const struct moment *moment, char *text, size_t size)
{
    if (!moment->task) {
        osri_kit_add(text, size, "%s", moment->words);
        return;
    }
    osri_kit_add(text, size, "in task %llu \"%s\"", (unsigned long long)moment->task, play->actors[moment->task].name);
    if (moment->there) {
        osri_kit_add(text, size, ", ");
        add_place(play, moment->seen, text, size);
        return;
    }
    add_last_seen(play, moment->seen, text, size);
    if (moment->next) {
        osri_kit_add(text, size, moment->seen ? ", and no further than " : ", no further than ");
        add_place(play, moment->next, text, size);
    }
}

static void describe_cancel(const struct play *play, const struct question *question, char *text, size_t size)
{
    const char *call = osri_kit_call_at(play->campaign, question->what), *name = play->actors[question->task].name;
    const unsigned long long number = question->task;
    const bool itself = question->answer == 1;

    if (call)
        snprintf(text, size, "at %s task %llu \"%s\" is about to call %s, and %s is cancelled", question->what, number, name,
                 call, itself ? "it" : "the root task");
    else if (itself)
        snprintf(text, size, "task %llu \"%s\" is cancelled before its call at %s", number, name, question->what);
    else
        snprintf(text, size, "the root task is cancelled before the call of task %llu \"%s\" at %s", number, name,
                 question->what);
}

/* The first `count` of the names in "ECONNRESET, ETIMEDOUT" are passed over. */
static const char *name_behind(const char *errors, unsigned count)
{
    while (count-- > 0)
        errors += strcspn(errors, ",") + 2;
    return errors;
}

static void describe_fault(const struct question *question, char *text, size_t size)
{
    const char *name = name_behind(question->errors, question->answer - 1);

    snprintf(text, size, "\"%s\" fails with %.*s, error %u of %u%s", question->what, (int)strcspn(name, ","), name,
             question->answer, question->n - 1,
             question->ordered ? ", as the test ordered" : question->onwards ? ", as from now on always" : "");
}

/* Who goes first, before whom. */
static void describe_order(const struct play *play, const struct question *question, char *text, size_t size)
{
    const unsigned named = question->answer < BEFORE ? question->answer : BEFORE, more = question->answer - named;
    unsigned i;

    if (!question->task) {
        snprintf(text, size, "the one behind %u other%s goes first", question->answer, osri_kit_s(question->answer));
        return;
    }
    snprintf(text, size, "task %llu \"%s\" runs before", (unsigned long long)question->task,
             play->actors[question->task].name);
    for (i = 0; i < named; i++)
        osri_kit_add(text, size, "%s task %u \"%s\"", i == 0 ? "" : i + 1 == question->answer ? " and" : ",",
                     question->before[i], play->actors[question->before[i]].name);
    if (more > 0)
        osri_kit_add(text, size, " and %u other%s", more, osri_kit_s(more));
    osri_kit_add(text, size, ", which %s ready first", question->answer == 1 ? "was" : "were");
}

static void describe_choice(const struct play *play, const struct question *question, char *text, size_t size)
{
    switch (question->kind) {
    case OSR_CHOICE_CANCEL:
        describe_cancel(play, question, text, size);
        break;
    case OSR_CHOICE_FAULT:
        describe_fault(question, text, size);
        break;
    case OSR_CHOICE_READY:
        describe_order(play, question, text, size);
        break;
    case OSR_CHOICE_SHORT:
        snprintf(text, size, "\"%s\" moves %s%s", question->what,
                 question->answer == 1 ? "one byte only" : "no more than half of it",
                 question->onwards ? ", as from now on always" : "");
        break;
    default:
        snprintf(text, size, "%s: %u of 0 to %u", question->what, question->answer, question->n - 1);
    }
}

void osri_kit_scene_choice(struct play *play, const struct question *question)
{
    static const char *const names[] = {
        "a ready task", "equal times", "ready descriptors", "jobs", "a fault", "a cancellation", "a short transfer",
        "the test's choice"};
    const char letter = KIND_LETTERS[question->kind];
    char text[sizeof(play->row) - 1], row[sizeof(play->row)], moment[256] = "";

    describe_choice(play, question, text, sizeof(text));
    if (question->kind == OSR_CHOICE_FAULT || question->kind == OSR_CHOICE_SHORT)
        osri_kit_add_moment(play, &question->moment, moment, sizeof(moment));
    if (moment[0])
        osri_kit_add(moment, sizeof(moment), ", ");
    if (question->kind == OSR_CHOICE_SHORT && question->onwards)
        snprintf(row, sizeof(row), "%c%u", letter, question->answer); /* whatever its name */
    else
        snprintf(row, sizeof(row), "%c%s", letter, text);
    if (!question->onwards)
        osri_kit_add(row, sizeof(row), "%s", moment); /* those that go on and on are alike wherever they are */
    if (play->scene_length == play->row_end && strcmp(row, play->row) == 0) {
        play->row_more++;
        play->row_last = question->ordinal;
        return;
    }
    end_row(play);
    scene(play, "  %c%lu, %s: %s%s\n", letter, question->ordinal, names[question->kind], moment, text);
    memcpy(play->row, row, sizeof(row));
    play->row_end = play->scene_length;
}

/* Of a play that was not told as it went: the same without who was where. */
static void scene_choices(struct play *play)
{
    size_t i;

    for (i = 0; i < play->asked; i++) {
        const struct question *question = &play->questions[i];

        if (question->answer && !(question->kind == OSR_CHOICE_CANCEL && question->ordered))
            osri_kit_scene_choice(play, question);
    }
}

static void scene_actor(struct play *play, uint64_t number)
{
    const struct actor *actor = &play->actors[number];
    const char *where = actor->where ? actor->where : "?";
    char task[OSR_NAME_SIZE + 32], seen[256] = "";

    snprintf(task, sizeof(task), "task %llu \"%s\"", (unsigned long long)number, actor->name);
    switch (actor->last) {
    case OSR_TRACE_WAIT:
        scene(play, "        %s waits in %s at %s\n", task, actor->call, where);
        break;
    case OSR_TRACE_WAKE:
        scene(play, "        %s was woken in %s at %s\n", task, actor->call, where);
        break;
    case OSR_TRACE_SPAWN:
        scene(play, "        %s, spawned at %s, has not begun\n", task, where);
        break;
    case OSR_TRACE_STEP:
        add_last_seen(play, actor->seen, seen, sizeof(seen));
        scene(play, "        %s %s%s\n", task, number == play->current ? "runs" : "is ready", seen);
        break;
    default:
        break;
    }
}

/* Whether all is as it was when it was shown last. */
static bool is_as_before(const struct play *play, size_t begin)
{
    size_t length = play->scene_length - begin;

    return play->now == play->actors_at && length == play->actors_end - play->actors_begin &&
           memcmp(play->scene + begin, play->scene + play->actors_begin, length) == 0;
}

/* `when` says what moment this is, and ends with ", " if it says anything. */
static void scene_actors(struct play *play, const char *when)
{
    size_t begin, first;
    uint64_t number;

    if (play->cast == 0 || play->shown == play->happened)
        return;
    play->shown = play->happened;
    end_row(play);
    begin = play->scene_length;
    scene(play, "      %sat %lld.%06lld s:\n", when, (long long)(play->now / 1000000000),
          (long long)(play->now / 1000 % 1000000));
    first = play->scene_length;
    for (number = 1; number <= play->cast && !play->scene_is_full; number++)
        scene_actor(play, number);
    if (!play->scene_is_full && is_as_before(play, first)) {
        play->scene_length = begin;
        play->scene[begin] = '\0';
        return;
    }
    play->actors_begin = first;
    play->actors_end = play->scene_length;
    play->actors_at = play->now;
}

void osri_kit_scene_actors(struct play *play)
{
    scene_actors(play, "");
}

static const char *moment_of(enum violation violation)
{
    switch (violation) {
    case VIOLATION_CHECK:
        return "when the check failed, ";
    case VIOLATION_OUTSIDE:
        return "when that was given up, ";
    case VIOLATION_DEATH:
        return "when it was stopped, ";
    default:
        return "when that was found, ";
    }
}

void osri_kit_scene_end(struct play *play, enum violation violation)
{
    end_row(play);
    play->scene_is_full = play->scene_is_full && play->scene_ends; /* it ends twice if a program that goes on dies later */
    play->scene_ends = true;
    scene_actors(play, moment_of(violation));
}

/* ---- Stories ---- */

static const char *kind_of(enum violation violation)
{
    static const char *const kinds[] = {
        [VIOLATION_CHECK] = "a check failed",
        [VIOLATION_INVARIANT] = "the invariant does not hold after the run",
        [VIOLATION_DEADLOCK] = "nothing could run any more",
        [VIOLATION_OUTSIDE] = "the run waits for the world outside",
        [VIOLATION_STEPS] = "the run does not end",
        [VIOLATION_RUNAWAY] = "a task does not stop when it is cancelled",
        [VIOLATION_LEAK] = "something is left",
        [VIOLATION_MEMORY] = "memory is left",
        [VIOLATION_DESCRIPTORS] = "a descriptor is left",
        [VIOLATION_DIFFERS] = "the program is not determined by its choices",
        [VIOLATION_DEATH] = "the program is stopped",
    };

    return kinds[violation];
}

static size_t append(size_t length, const char *format, ...) OSR_PRINTF_(2, 3);

static size_t append(size_t length, const char *format, ...)
{
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(story + length, sizeof(story) - length, format, list);
    va_end(list);
    length += (size_t)n;
    return length < sizeof(story) ? length : sizeof(story) - 1;
}

/* What the run failed with, as far as a story has room for it. */
static size_t append_errors(size_t length, const struct play *play)
{
    enum { LINES = 12 };
    const char *at = play->errors;
    int line;

    for (line = 0; *at && line < LINES; line++) {
        const size_t size = strcspn(at, "\n");

        length = append(length, "      %.*s\n", (int)size, at);
        at += size + (at[size] == '\n');
    }
    return *at ? append(length, "      … and more errors\n") : length;
}

static void compose(struct play *play, enum violation violation, const char *said, const char *how)
{
    size_t length = 0;

    end_row(play);
    length = append(length, "osier-test: \"%s\": %s\n", play->test->name, kind_of(violation));
    length = append(length, "  %s%s%s\n", play->violated_at ? play->violated_at : "", play->violated_at ? ": " : "", said);
    length = append(length, "  in %s; %lu step%s, %zu choice%s, %lld.%06lld s of simulated time\n", how, play->steps,
                    osri_kit_s(play->steps), play->asked, osri_kit_s(play->asked), (long long)(play->now / 1000000000),
                    (long long)(play->now / 1000 % 1000000));
    if (!play->scene_length)
        length = append(length, "  nothing was injected, and all was first come, first served\n");
    length = append(length, "%s", play->scene);
    if (violation != VIOLATION_DEATH) {
        length = append(length, "  the run gave %s%s\n", osri_kit_outcome(play->rc),
                        play->steps == 0 ? "; the program had not begun" : "");
        length = append_errors(length, play);
    }
    if (play->campaign->is_fuzzer)
        length = append(length, "  again: this program with the file that holds the input; or, with a program that calls "
                     "osr_test_sweep() or the like for \"%s\", OSR_REPLAY='%s'\n", play->test->name, token);
    else
        length = append(length, "  again: OSR_REPLAY='%s'\n", token);
    if (token_length >= TOKEN_SIZE)
        (void)append(length, "  that token is cut, and no good: the whole has %zu characters, and there is room for %d\n",
                     token_length, TOKEN_SIZE - 1);
}

void osri_kit_tell(struct play *play, const struct script *script, const char *how)
{
    if (!play->told)
        scene_choices(play);
    token_length = osri_kit_token_format(play->test->name, script, token, sizeof(token));
    compose(play, play->violation, play->said, how);
    say_text(play->test, story);
}

/* ---- Dying ---- */

/* From what was asked. */
static void token_of_dying(const struct play *play)
{
    struct token_writer writer;
    size_t i;

    osri_kit_token_begin(&writer, play->test->name, token, sizeof(token));
    for (i = 0; play->script && i < play->script->count; i++)
        if (play->script->lines[i].onwards)
            osri_kit_token_add(&writer, &play->script->lines[i]);
    for (i = 0; i < play->asked; i++) {
        const struct question *question = &play->questions[i];
        const struct line line = {.kind = question->kind, .first = question->ordinal, .last = question->ordinal,
                                  .answer = question->answer};

        if (question->answer && !question->onwards && !question->ordered)
            osri_kit_token_add(&writer, &line);
    }
    token_length = osri_kit_token_end(&writer);
}

void osri_kit_tell_death(const char *why)
{
    struct play *play = osri_kit_play;
    const struct campaign *campaign;
    char line[1024], how[512];

    if (!play)
        return;
    osri_kit_play = NULL; /* once, whatever comes */
    campaign = play->campaign;
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(why, "\n"), why);
    token_of_dying(play);
    if (!play->told)
        scene_choices(play);
    osri_kit_scene_end(play, VIOLATION_DEATH);
    play->violated_at = NULL;
    if (campaign->detail)
        snprintf(how, sizeof(how), "%s, run %lu (%s)%s", campaign->name, campaign->tried, campaign->detail, campaign->stage);
    else
        snprintf(how, sizeof(how), "a %s", campaign->name);
    compose(play, VIOLATION_DEATH, line, how);
    say_text(play->test, story);
}

__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static void sanitized(void)
{
    osri_kit_tell_death("a sanitizer stops the program; what it has found it tells itself");
}

void osri_kit_watch_sanitizers(void)
{
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(sanitized);
}

static const int crashes[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
enum { CRASHES = sizeof(crashes) / sizeof(crashes[0]) };
static struct sigaction before[CRASHES];
static stack_t stack_before;
static char spare_stack[1 << 16]; /* for the handler, if a task's is used up */

/* If a task's stack is used up, the library tells the run's play (diagnose() in play.c), which has then told it. Back to
 * whoever was there: the instruction comes again by itself; what was sent, by abort() or raise(), is sent again. */
static void crashed(int number, siginfo_t *info, void *context)
{
    char why[64];
    int i;

    (void)context;
    if (number == SIGSEGV && info->si_code > 0)
        osr_fault_report(info->si_addr);
    snprintf(why, sizeof(why), "signal %d (%s)", number, strsignal(number));
    osri_kit_tell_death(why);
    for (i = 0; i < CRASHES; i++)
        if (crashes[i] == number) {
            sigaction(number, &before[i], NULL);
            before[i] = (struct sigaction){.sa_handler = SIG_DFL}; /* if he calls this again, he has no other */
        }
    if (info->si_code <= 0)
        raise(number);
}

void osri_kit_watch_crashes(void)
{
    struct sigaction action = {.sa_sigaction = crashed, .sa_flags = SA_ONSTACK | SA_SIGINFO};
    const stack_t stack = {.ss_sp = spare_stack, .ss_size = sizeof(spare_stack)};
    int i;

    sigaltstack(&stack, &stack_before);
    for (i = 0; i < CRASHES; i++)
        sigaction(crashes[i], &action, &before[i]);
}

/* What somebody put in our place since then stays. */
void osri_kit_unwatch_crashes(void)
{
    struct sigaction now;
    int i;

    for (i = 0; i < CRASHES; i++)
        if (sigaction(crashes[i], NULL, &now) == 0 && now.sa_sigaction == crashed)
            sigaction(crashes[i], &before[i], NULL);
    sigaltstack(&stack_before, NULL);
}
