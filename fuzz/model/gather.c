/* Many at once: a group, a task for each argument, and its close, in one call. */
#include "model/state.h"

static void go_on(struct task *task);

/* No more are spawned: what the spawn came to is what the body came to. */
static void close_with(struct task *task, int rc)
{
    top_frame(task)->rc = rc;
    end_group_body(task);
}

static void refused(struct task *task)
{
    mark_cut(task->inner);
    close_with(task, slot_note(task, -ECANCELED, task->where));
}

static struct outcome_cell *new_cell(unsigned options)
{
    struct outcome_cell *cell = &model.cells[model.cell_count++];

    *cell = (struct outcome_cell){.options = options, .gathered = true, .rc = -OSR_ETASKCANCELED};
    return cell;
}

static void spawn_one(struct task *task)
{
    const struct statement *at = statement_at(task);
    unsigned options = keeps_results(at) ? WITH_RESULT : keeps_outcomes(at) ? WITH_OUTCOME : 0;
    struct frame *frame = top_frame(task);
    struct task *child = make_child(task, frame->group, &frame->group->scope, 0);

    child->options = options;
    child->home = frame->home;
    if (options)
        child->cell = &model.cells[frame->cells + gathered_of(at) - frame->to_spawn];
    frame->to_spawn--;
    make_ready(child);
    go_on(task);
}

static void got_place(struct task *task)
{
    if (task->was_cut)
        refused(task);
    else
        spawn_one(task);
}

static void go_on(struct task *task)
{
    struct frame *frame = top_frame(task);
    short place = place_at(task, false);

    task->was_cut = false;
    if (frame->to_spawn == 0)
        close_with(task, 0);
    else if (takes_place(frame->group))
        spawn_one(task);
    else if (enter_or(task, place, refused))
        park(task, &frame->group->spawners, "osr_spawn", place, got_place);
}

void do_gather(struct task *task)
{
    const struct statement *at = statement_at(task);
    unsigned count = gathered_of(at), i;
    struct group *home;
    struct frame *frame;

    if (model.attempts + count > MOST_TASKS) {
        finish(task, 0);
        return;
    }
    model.attempts += count;
    home = group_meant(task, 0);
    frame = push_group(task, FOR_GATHER);
    frame->home = home;
    frame->at = frame->statement;
    frame->next = -1;
    frame->to_spawn = count;
    frame->cells = model.cell_count;
    for (i = 0; i < count && (keeps_results(at) || keeps_outcomes(at)); i++)
        (void)new_cell(keeps_outcomes(at) ? WITH_OUTCOME : WITH_RESULT);
    go_on(task);
}

/* The group is closed: tells what was kept, in the order of the arguments. */
void end_gather(struct task *task)
{
    const struct frame *frame = top_frame(task);
    const struct statement *at = statement_at(task);
    unsigned i;

    for (i = 0; i < gathered_of(at) && (keeps_results(at) || keeps_outcomes(at)); i++) {
        unsigned place = wrong(WRONG_GATHER_ORDER) ? gathered_of(at) - 1 - i : i;
        const struct outcome_cell *cell = &model.cells[frame->cells + place];

        tell_value(VALUE_OUTCOME, cell->options & WITH_OUTCOME, cell->rc);
        if (cell->error)
            error_tell(cell->error);
    }
}
