/* What is asked in a play, and who answers: the script, what the test ordered, a strategy. */
#include "9_test/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of a run, where the test does not say. */
enum { STEPS = 100000 };

/* ---- The script ---- */

static void part(struct play *play, const struct line *line, const char *format, ...) OSR_PRINTF_(3, 4);

static void part(struct play *play, const struct line *line, const char *format, ...)
{
    char text[256];
    va_list list;

    if (play->parted)
        return;
    play->parted = true;
    play->missed = line;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    snprintf(play->parting, sizeof(play->parting), "%c%lu: %s", KIND_LETTERS[line->kind], line->first, text);
}

/* Whether this is the question that the line was written for. */
static bool fits(struct play *play, const struct line *line, unsigned n, const char *what)
{
    if (line->n && line->n != n)
        part(play, line, "the program now offers %u alternatives (%s), and not %u", n, what, line->n);
    else if (line->what && line->what != osri_kit_hash_of(line->kind, what))
        part(play, line, "the program now asks about \"%s\", which is something else", what);
    else if (line->answer >= n)
        part(play, line, "the program now offers no more than %u alternatives (%s)", n, what);
    else
        return true;
    return false;
}

/* The line for this question, NULL if there is none. */
static const struct line *line_for(struct play *play, unsigned kind, unsigned long ordinal)
{
    const struct script *script = play->script;
    size_t i;

    for (i = play->at[kind]; i < script->count; i++) {
        const struct line *line = &script->lines[i];

        if (line->kind != kind || line->onwards || line->last < ordinal)
            continue;
        play->at[kind] = i;
        return line->first <= ordinal ? line : NULL;
    }
    play->at[kind] = i;
    return NULL;
}

static const struct line *onwards_for(const struct play *play, unsigned kind, unsigned long ordinal, unsigned n,
                                      const char *what)
{
    const struct script *script = play->script;
    size_t i;

    for (i = 0; i < script->count; i++) {
        const struct line *line = &script->lines[i];

        if (line->onwards && line->kind == kind && line->first <= ordinal && line->answer < n &&
            (!line->what || kind == OSR_CHOICE_SHORT || line->what == osri_kit_hash(what)))
            return line;
    }
    return NULL;
}

static unsigned from_script(struct play *play, struct question *question, bool *found)
{
    const struct line *line = line_for(play, question->kind, question->ordinal);

    *found = line != NULL;
    if (line)
        return fits(play, line, question->n, question->what) ? line->answer : 0;
    line = onwards_for(play, question->kind, question->ordinal, question->n, question->what);
    *found = question->onwards = line != NULL;
    return line ? line->answer : 0;
}

/* ---- Orders ---- */

static bool has_orders(const struct play *play)
{
    unsigned i;

    for (i = 0; i < ORDERS; i++)
        if (play->orders[i].given)
            return true;
    return false;
}

static bool is_ordered(const struct play *play, const char *what)
{
    unsigned i;

    for (i = 0; i < ORDERS; i++)
        if (play->orders[i].given && strcmp(play->orders[i].point, what) == 0)
            return true;
    return false;
}

static bool from_order(struct play *play, struct question *question)
{
    unsigned i;

    for (i = 0; i < ORDERS; i++) {
        struct order *order = &play->orders[i];

        if (!order->given || strcmp(order->point, question->what) != 0 || order->skip-- > 0)
            continue;
        order->given = false;
        question->answer = order->pick < question->n ? order->pick : 0;
        return question->ordered = true;
    }
    return false;
}

/* A run that takes too long is cancelled, from where that is possible: not by the observer. */
static bool from_length(const struct play *play, struct question *question)
{
    if (!play->is_long || question->kind != OSR_CHOICE_CANCEL)
        return false;
    question->answer = 2;
    return question->ordered = true;
}

/* ---- Asking ---- */

static struct question *new_question(struct play *play)
{
    if (play->asked == play->questions_room) {
        play->questions_room = play->questions_room ? play->questions_room * 2 : 256;
        play->questions = osri_kit_resize(play->questions, play->questions_room * sizeof(*play->questions));
    }
    return &play->questions[play->asked++];
}

/* Before a choice of who runs: a task that runs and neither waits nor ends has yielded, and is the last in the queue. */
static void settle_queue(struct play *play)
{
    if (play->runs && play->queued < sizeof(play->queue) / sizeof(play->queue[0]))
        play->queue[play->queued++] = play->current;
    play->runs = false;
}

/* The task that a choice is about; 0 if that is not known. */
static uint64_t task_of(const struct play *play, const struct question *question)
{
    if (question->kind == OSR_CHOICE_CANCEL)
        return play->current;
    return question->kind == OSR_CHOICE_READY && play->queued == question->n ? play->queue[question->answer] : 0;
}

struct moment osri_kit_moment(const struct play *play)
{
    if (play->runs)
        return (struct moment){.task = play->current, .seen = play->actors[play->current].seen};
    return (struct moment){.words = play->steps == 0 ? "before the program has begun"
                                    : play->inside   ? "while no task runs"
                                                     : "after the run"};
}

/* Where the task that runs has come to. */
static void note_seen(struct play *play, const char *place)
{
    play->actors[play->current].seen = place;
    if (play->awaiting && play->awaiting == play->current) {
        play->next = place;
        play->awaiting = 0;
    }
}

static void note_those_before(const struct play *play, struct question *question)
{
    unsigned i;

    for (i = 0; i < BEFORE && i < question->answer; i++)
        question->before[i] = (uint32_t)play->queue[i];
}

static void note_injection(struct play *play, struct question *question)
{
    if (question->kind == OSR_CHOICE_CANCEL && question->ordered)
        return; /* by the kit itself */
    play->cancels += question->kind == OSR_CHOICE_CANCEL;
    play->faults += question->kind == OSR_CHOICE_FAULT;
    question->task = task_of(play, question);
    question->moment = osri_kit_moment(play);
    if (question->kind == OSR_CHOICE_FAULT && question->ordinal == play->campaign->next_of && question->moment.task)
        question->moment.next = play->campaign->next;
    question->moment.there = question->moment.seen && (question->kind == OSR_CHOICE_SHORT ||
                                                       question->moment.next == question->moment.seen);
    if (question->kind == OSR_CHOICE_READY && question->task)
        note_those_before(play, question);
    if (!play->told)
        return;
    osri_kit_scene_choice(play, question);
    if (question->kind == OSR_CHOICE_CANCEL ||
        ((question->kind == OSR_CHOICE_FAULT || question->kind == OSR_CHOICE_SHORT) && !question->onwards))
        osri_kit_scene_actors(play);
}

/* Memory is nobody's, unless a fault is ordered there; all other calls of the system, and points of the test's own, are
 * about something that tasks may share. */
static bool is_memory(const char *what)
{
    return strcmp(what, "memory") == 0 || strcmp(what, "mmap") == 0 || strcmp(what, "madvise") == 0 ||
           strcmp(what, "mprotect") == 0 || strcmp(what, "allocation") == 0;
}

static void show(const struct play *play, const struct question *question)
{
    osri_kit_say(play->test, "%c%lu=%u/%u %s%s%s%s\n", KIND_LETTERS[question->kind], question->ordinal, question->answer,
                 question->n, question->what, question->errors ? " (" : "", question->errors ? question->errors : "",
                 question->errors ? ")" : "");
}

static unsigned ask(struct play *play, unsigned kind, unsigned n, const char *what, const char *errors)
{
    struct question *question;
    struct osr_test_watch_ *watch;
    bool found = false;

    if (kind == OSR_CHOICE_FAULT && play->explored && (!is_memory(what) || is_ordered(play, what)))
        osri_kit_orders_touched(play->explored, OSR_TOUCH_ALL, NULL, 0);
    if (kind == OSR_CHOICE_FAULT && play->runner && !has_orders(play))
        return 0;
    question = new_question(play);
    *question = (struct question){.kind = kind, .ordinal = ++play->ordinals[kind], .n = n, .what = what,
                                  .errors = errors};
    if (kind == OSR_CHOICE_READY)
        settle_queue(play);
    if (kind == OSR_CHOICE_CANCEL && play->current)
        note_seen(play, what);
    if (kind == OSR_CHOICE_FAULT && question->ordinal == play->awaited && play->runs)
        play->awaiting = play->current;
    for (watch = kind == OSR_CHOICE_CANCEL ? play->watch : NULL; watch; watch = watch->outer)
        watch->points += watch->task == play->current && osr_shields() <= watch->shields;
    if (!(kind == OSR_CHOICE_FAULT && from_order(play, question)) && !from_length(play, question)) {
        if (play->script)
            question->answer = from_script(play, question, &found);
        if (!found && play->improvise)
            question->answer = play->improvise(play, kind, n, what);
    }
    if (play->shows)
        show(play, question);
    if (question->answer)
        note_injection(play, question);
    return question->answer;
}

unsigned osri_kit_ask(struct play *play, unsigned kind, unsigned n, const char *what)
{
    return ask(play, kind, n, what, NULL);
}

unsigned osri_kit_ask_fault(struct play *play, unsigned n, const char *what, const char *errors)
{
    return ask(play, OSR_CHOICE_FAULT, n, what, errors);
}

void osri_kit_play_script(const struct play *play, struct script *script)
{
    size_t i;

    script->count = 0;
    for (i = 0; play->script && i < play->script->count; i++)
        if (play->script->lines[i].onwards)
            osri_kit_script_add(script, play->script->lines[i]);
    for (i = 0; i < play->asked; i++) {
        const struct question *question = &play->questions[i];
        struct line line = {.kind = question->kind, .first = question->ordinal, .last = question->ordinal,
                            .answer = question->answer, .n = question->n};

        if (!question->answer || question->onwards || question->ordered)
            continue;
        line.what = question->kind >= OSR_CHOICE_FAULT ? osri_kit_hash_of(question->kind, question->what) : 0;
        osri_kit_script_add(script, line);
    }
}

/* ---- Watching ---- */

static struct event *new_event(struct play *play)
{
    if (play->happened == play->events_room) {
        play->events_room = play->events_room ? play->events_room * 2 : 256;
        play->events = osri_kit_resize(play->events, play->events_room * sizeof(*play->events));
    }
    return &play->events[play->happened++];
}

static struct actor *actor_of(struct play *play, const struct osr_trace_event *event)
{
    struct actor *actor;

    if (event->task >= play->actors_room) {
        play->actors_room = event->task * 2 + 16;
        play->actors = osri_kit_resize(play->actors, play->actors_room * sizeof(*play->actors));
    }
    while (play->cast < event->task)
        play->actors[++play->cast] = (struct actor){.name = "?", .last = OSR_TRACE_END};
    actor = &play->actors[event->task];
    if (event->kind == OSR_TRACE_SPAWN)
        *(char *)mempcpy(actor->name, event->name, strnlen(event->name, sizeof(actor->name) - 1)) = '\0';
    return actor;
}

static void enqueue(struct play *play, uint64_t task)
{
    if (play->queued < sizeof(play->queue) / sizeof(play->queue[0]))
        play->queue[play->queued++] = task;
}

/* Says whether it was there. */
static bool dequeue(struct play *play, uint64_t task)
{
    unsigned i;

    for (i = 0; i < play->queued; i++)
        if (play->queue[i] == task) {
            memmove(&play->queue[i], &play->queue[i + 1], (play->queued - i - 1) * sizeof(play->queue[0]));
            play->queued--;
            return true;
        }
    return false;
}

/* Without a question, a task that still runs has spawned this one eagerly, or was spawned so by it and yields. */
static void note_step(struct play *play, const struct osr_trace_event *event)
{
    const unsigned long most = play->test->steps ? play->test->steps : STEPS;
    bool was_queued = dequeue(play, event->task);

    if (play->runs && play->current != event->task && !was_queued)
        enqueue(play, play->current);
    play->current = event->task;
    play->runs = true;
    if (++play->steps == most) {
        play->is_long = true;
        osri_kit_violated(play, VIOLATION_STEPS, NULL, "the run has not ended after %lu steps of tasks; now it is cancelled",
                          play->steps);
    }
    if (play->steps > 2 * most)
        osri_kit_stop(play, VIOLATION_STEPS, "the run did not end when it was cancelled either; there is no way out of it");
}

void osri_kit_observe(void *arg, const struct osr_trace_event *event)
{
    struct play *play = arg;
    struct actor *actor = actor_of(play, event);

    *new_event(play) = (struct event){event->kind, event->at, event->task, event->call, event->where, event->code};
    play->now = event->at;
    if (event->kind == OSR_TRACE_CANCEL)
        return;
    actor->last = event->kind;
    if (event->kind == OSR_TRACE_STEP)
        note_step(play, event);
    if (event->kind == OSR_TRACE_SPAWN || event->kind == OSR_TRACE_WAKE)
        enqueue(play, event->task);
    if (event->kind == OSR_TRACE_SPAWN || event->kind == OSR_TRACE_WAIT) {
        actor->call = event->call;
        actor->where = event->where;
    }
    if (play->runs && (event->kind == OSR_TRACE_WAIT || event->kind == OSR_TRACE_SPAWN))
        note_seen(play, event->where);
    if (event->kind == OSR_TRACE_WAIT || event->kind == OSR_TRACE_END)
        play->runs = false;
}
