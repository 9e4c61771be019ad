#include "3_scope/error.h"

#include <assert.h>
#include <string.h>

#include "0_base/text.h"

/* ---- The pool ---- */

/* Chunks grow with what is promised, from few errors, so that a small program takes little, to so many that a large one asks
 * for memory now and then only. */
enum { FIRST_CHUNK = 32, MOST_CHUNK = 1024 };

struct error_chunk {
    struct errors *pool; /* NULL: the run is over, and the last error frees the chunk */
    struct memory memory;
    struct error_chunk *next;
    size_t count, used; /* those behind have not been handed out yet, and nothing of them is set */
    atomic_uint held;
    struct osr_error errors[];
};

int osri_errors_open(struct sched *sched)
{
    struct errors *errors = osri_alloc(&sched->memory, sizeof(*errors));

    if (!errors)
        return -ENOMEM;
    *errors = (struct errors){.memory = &sched->memory};
    sched->floors[3] = errors;
    return 0;
}

int osri_fatal_promise(struct sched *sched)
{
    int rc = osri_errors_promise(sched, 1);

    osri_errors(sched)->fatal_promised = rc == 0;
    return rc;
}

void osri_fatal_prepare(struct sched *sched)
{
    struct errors *errors = osri_errors(sched);

    if (errors->fatal_promised)
        osri_errors_unpromise(sched, 1);
    errors->fatal_promised = false;
}

void osri_fatal_remember(struct sched *sched, struct osr_error *error)
{
    struct errors *errors = osri_errors(sched);

    if (errors->fatal)
        osr_error_release(error);
    else
        errors->fatal = error;
}

struct osr_error *osri_fatal_take(struct sched *sched)
{
    struct errors *errors = osri_errors(sched);
    struct osr_error *fatal = errors->fatal;

    errors->fatal = NULL;
    return fatal;
}

static struct error_chunk *new_chunk(const struct memory *memory, size_t count)
{
    struct error_chunk *chunk = osri_alloc(memory, sizeof(*chunk) + count * sizeof(chunk->errors[0]));

    if (!chunk)
        return NULL;
    chunk->pool = NULL;
    chunk->memory = (struct memory){.from = memory->from};
    chunk->next = NULL;
    chunk->count = count;
    chunk->used = 0;
    atomic_init(&chunk->held, 0);
    return chunk;
}

static int grow(struct errors *errors)
{
    size_t count = errors->promised < FIRST_CHUNK ? FIRST_CHUNK : errors->promised;
    struct error_chunk *chunk = new_chunk(errors->memory, count < MOST_CHUNK ? count : MOST_CHUNK);

    if (!chunk)
        return -ENOMEM;
    chunk->pool = errors;
    chunk->next = errors->chunks;
    errors->chunks = chunk;
    errors->idle_count += chunk->count;
    return 0;
}

int osri_errors_set_aside(struct errors *errors, size_t count)
{
    while (errors->idle_count < count)
        if (grow(errors) < 0)
            return -ENOMEM;
    return 0;
}

/* ---- Who holds what ---- */

/* The errors of the run's pool that somebody holds, one after the other: the first after NULL, NULL after the last. */
static struct osr_error *next_held(struct sched *sched, const struct osr_error *at)
{
    struct error_chunk *chunk = at ? at->chunk : osri_errors(sched)->chunks;
    size_t i = at ? (size_t)(at - chunk->errors) + 1 : 0;

    for (; chunk; chunk = chunk->next, i = 0)
        for (; i < chunk->used && atomic_load(&chunk->held) > 0; i++)
            if (chunk->errors[i].refs > 0)
                return &chunk->errors[i];
    return NULL;
}

/* What was made outside of the run, by a job, is not gone through for itself, and may have causes that were made
 * inside. */
void osri_error_explain(struct sched *sched, struct osr_error *error)
{
    for (; error; error = error->cause) {
        error->explained++;
        if (error->chunk->pool == osri_errors(sched))
            return;
    }
}

static void explain_others(struct sched *sched, const struct osr_error *error)
{
    struct osr_error *child;

    osri_error_explain(sched, error->cause);
    osri_error_explain(sched, error->origin);
    for (child = error->first; child; child = error->kind == ERROR_LINK ? NULL : child->next)
        osri_error_explain(sched, child);
}

void osri_errors_explain(struct sched *sched)
{
    struct osr_error *error;

    for (error = next_held(sched, NULL); error; error = next_held(sched, error))
        error->explained = 0;
    for (error = next_held(sched, NULL); error; error = next_held(sched, error))
        explain_others(sched, error);
}

size_t osri_errors_unexplained(struct sched *sched, void (*visit)(struct sched *sched, const struct osr_error *error))
{
    const struct osr_error *error;
    size_t count = 0;

    for (error = next_held(sched, NULL); error; error = next_held(sched, error))
        if (error->refs > error->explained) {
            visit(sched, error);
            count++;
        }
    return count;
}

/* ---- Closing the pool ---- */

void osri_errors_close(struct sched *sched)
{
    struct errors *errors = osri_errors(sched);
    struct error_chunk *chunk;

    assert(errors->promised == 0);
    while ((chunk = errors->chunks) != NULL) {
        errors->chunks = chunk->next;
        chunk->pool = NULL;
        if (atomic_load(&chunk->held) == 0)
            osri_free(errors->memory, chunk);
    }
    osri_free(errors->memory, errors);
}

/* The next one of a chunk that has some which were never handed out. */
static struct osr_error *take_fresh(struct error_chunk *chunk)
{
    struct osr_error *error = &chunk->errors[chunk->used++];

    error->chunk = chunk;
    return error;
}

static struct osr_error *take_of_no_run(void)
{
    const struct memory memory = {.from = osri_malloc_allocator};
    struct error_chunk *chunk = new_chunk(&memory, 1);

    return chunk ? take_fresh(chunk) : NULL;
}

static struct osr_error *take_error(struct sched *sched)
{
    struct errors *errors = sched ? osri_errors(sched) : NULL;
    struct error_chunk *chunk;
    struct osr_error *error;

    if (!errors)
        return take_of_no_run();
    if (errors->idle_count <= errors->promised && grow(errors) < 0)
        return NULL;
    errors->idle_count--;
    error = errors->idle;
    if (error) {
        errors->idle = error->next;
        return error;
    }
    for (chunk = errors->chunks; chunk->used == chunk->count; chunk = chunk->next)
        continue;
    return take_fresh(chunk);
}

static void give_error(struct osr_error *error)
{
    struct error_chunk *chunk = error->chunk;
    struct errors *errors = chunk->pool;
    unsigned held;

    osri_free(&chunk->memory, error->message);
    held = atomic_fetch_sub(&chunk->held, 1) - 1;
    if (errors) {
        error->next = errors->idle;
        errors->idle = error;
        errors->idle_count++;
    } else if (held == 0) {
        osri_free(&chunk->memory, chunk);
    }
}

struct osr_error *osri_error_new(struct sched *sched, int code, const char *where, const char *task)
{
    struct osr_error *error = take_error(sched);

    if (!error)
        return NULL;
    atomic_fetch_add_explicit(&error->chunk->held, 1, memory_order_relaxed);
    error->refs = 1;
    error->code = code;
    error->kind = ERROR_LEAF;
    error->fatal = error->linked = error->counted = error->riding = false;
    error->cancelled = error->explained = 0;
    error->where = place_or_unknown(where);
    error->message = NULL;
    error->cause = error->parent = error->next = error->first = error->last = NULL;
    error->origin = NULL;
    osri_name_copy(error->task, task);
    error->group[0] = '\0';
    return error;
}

struct osr_error *osri_error_new_group(struct sched *sched, const char *where, const char *task, const char *name)
{
    struct osr_error *error = osri_error_new(sched, -OSR_EGROUP, where, task);

    if (!error)
        return NULL;
    error->kind = ERROR_GROUP;
    osri_name_copy(error->group, name);
    return error;
}

void osri_error_vsay(struct osr_error *error, const char *format, va_list list)
{
    const struct memory *memory = error->chunk->pool ? error->chunk->pool->memory : &error->chunk->memory;
    char small[512], *message; /* most messages are, and so are formatted once */
    va_list again;
    int length;

    va_copy(again, list);
    length = osri_format(small, sizeof(small), format, again);
    va_end(again);
    message = length < 0 ? NULL : osri_alloc(memory, (size_t)length + 1);
    if (!message)
        return;
    if ((size_t)length < sizeof(small))
        memcpy(message, small, (size_t)length + 1);
    else
        (void)osri_format(message, (size_t)length + 1, format, list);
    osri_free(memory, error->message);
    error->message = message;
}

void osri_error_say(struct osr_error *error, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    osri_error_vsay(error, format, list);
    va_end(list);
}

void osri_error_say_count(struct osr_error *group, unsigned count, const char *behind)
{
    osri_error_say(group, "%u %s%s", count, count == 1 ? "error" : "errors", behind);
    group->counted = group->message != NULL;
}

/* ---- References ---- */

struct osr_error *osr_error_retain(struct osr_error *error)
{
    if (error)
        error->refs++;
    return error;
}

/* Puts the error on the list of those to be freed if this was its last reference. The list runs through `parent`,
 * so that a tree or a chain of any depth is freed without recursion. */
static void drop(struct osr_error *error, struct osr_error **dead)
{
    if (!error || --error->refs > 0)
        return;
    error->parent = *dead;
    *dead = error;
}

void osr_error_release(struct osr_error *error)
{
    struct osr_error *dead = NULL;

    drop(error, &dead);
    while ((error = dead) != NULL) {
        struct osr_error *child, *next;

        dead = error->parent;
        for (child = error->first; child; child = next) {
            next = error->kind == ERROR_LINK ? NULL : child->next;
            if (error->kind == ERROR_GROUP)
                child->parent = child->next = NULL; /* who still holds it holds it by itself */
            drop(child, &dead);
        }
        drop(error->cause, &dead);
        drop(error->origin, &dead);
        give_error(error);
    }
}

/* ---- Reading ---- */

int osr_error_code(const struct osr_error *error)
{
    return error ? error->code : 0;
}

const char *osr_error_message(const struct osr_error *error)
{
    if (!error)
        return "";
    return error->message ? error->message : osr_strerror(error->code);
}

const char *osr_error_where(const struct osr_error *error)
{
    return error ? error->where : "";
}

const char *osr_error_task(const struct osr_error *error)
{
    return error ? error->task : "";
}

const char *osr_error_group(const struct osr_error *error)
{
    return error ? error->group : "";
}

struct osr_error *osr_error_cause(const struct osr_error *error)
{
    return error ? error->cause : NULL;
}

bool osr_error_is_group(const struct osr_error *error)
{
    return error && error->kind == ERROR_GROUP;
}

bool osr_error_is_fatal(const struct osr_error *error)
{
    return error && error->fatal;
}

unsigned osr_error_cancelled(const struct osr_error *error)
{
    return error ? error->cancelled : 0;
}

void osri_error_append_cause(struct osr_error *error, struct osr_error *cause)
{
    while (error->cause)
        error = error->cause;
    error->cause = cause;
}
