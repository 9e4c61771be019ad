#include "4_group/record.h"

#include <assert.h>
#include <pthread.h>

#include "0_base/sys.h"
#include "0_base/text.h"
#include "2_sched/wait.h"
#include "3_scope/call.h"
#include "4_group/child.h"

/* ---- The table ---- */

enum { CHUNK = 128, MOST_CHUNKS = 1 << 15 };

/* Chunks of the process: never unmapped; those that no run holds are idle. */
static _Atomic(struct record *) chunks[MOST_CHUNKS];
static uint32_t chunks_made;
static uint32_t idle_chunks[MOST_CHUNKS];
static uint32_t idle_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What a run holds. */
struct records {
    struct osr_list_ idle;
    uint32_t *chunks;
    uint32_t count, capacity;
};

static struct records *records_of(struct sched *sched)
{
    return sched->floors[4];
}

/* A forked child must not find the table as another thread has half changed it. */
static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static void prepare_process(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork);
}

int osri_records_open(struct sched *sched)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct records *records = osri_alloc(&sched->memory, sizeof(*records));

    if (!records)
        return -ENOMEM;
    pthread_once(&once, prepare_process);
    *records = (struct records){0};
    list_init(&records->idle);
    sched->floors[4] = records;
    return 0;
}

/* Makes a chunk nobody has used; the lock is held. Its number, or -ENOMEM. */
static int64_t make_chunk(void)
{
    static const struct door closed; /* add_chunk() has asked already */
    struct record *chunk;
    uint32_t i;
    int code;

    if (chunks_made == MOST_CHUNKS)
        return -ENOMEM;
    chunk = osri_sys_map(&closed, CHUNK * sizeof(*chunk), &code);
    if (!chunk)
        return code;
    for (i = 0; i < CHUNK; i++)
        chunk[i].index = chunks_made * CHUNK + i;
    atomic_store_explicit(&chunks[chunks_made], chunk, memory_order_release);
    return chunks_made++;
}

static int add_chunk(struct sched *sched, struct records *records)
{
    struct record *chunk;
    int64_t number;
    uint32_t i;

    if (records->count == records->capacity) {
        uint32_t capacity = records->capacity ? records->capacity * 2 : 4;
        uint32_t *grown = osri_resize(&sched->memory, records->chunks, capacity * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        records->chunks = grown;
        records->capacity = capacity;
    }
    /* Asked also where a chunk of an earlier run is used again, so that runs do not depend on earlier ones. */
    if (osri_choose(&sched->door, OSR_CHOICE_FAULT, 2, "mmap\0ENOMEM"))
        return -ENOMEM;
    pthread_mutex_lock(&lock);
    number = idle_count > 0 ? idle_chunks[--idle_count] : make_chunk();
    pthread_mutex_unlock(&lock);
    if (number < 0)
        return (int)number;
    records->chunks[records->count++] = (uint32_t)number;
    chunk = chunks[number];
    for (i = 0; i < CHUNK; i++)
        list_append(&records->idle, &chunk[i].node);
    return 0;
}

void osri_records_close(struct sched *sched)
{
    struct records *records = records_of(sched);
    uint32_t i;

    pthread_mutex_lock(&lock);
    for (i = 0; i < records->count; i++)
        idle_chunks[idle_count++] = records->chunks[i];
    pthread_mutex_unlock(&lock);
    osri_free(&sched->memory, records->chunks);
    osri_free(&sched->memory, records);
}

static bool in_use(unsigned generation)
{
    return generation & 1;
}

size_t osri_records_kept(struct sched *sched, void (*visit)(struct sched *sched, const struct record *record))
{
    struct records *records = records_of(sched);
    size_t kept = 0;
    uint32_t i, j;

    for (i = 0; i < records->count; i++)
        for (j = 0; j < CHUNK; j++) {
            const struct record *record = &chunks[records->chunks[i]][j];

            if (!in_use(record->generation) || !record->kept || record->child)
                continue;
            visit(sched, record);
            kept++;
        }
    return kept;
}

/* ---- Records ---- */

struct record *osri_record_new(struct sched *sched, struct child *child)
{
    struct records *records = records_of(sched);
    struct record *record;

    if (list_empty(&records->idle) && add_chunk(sched, records) < 0)
        return NULL;
    record = container_of(list_pop(&records->idle), struct record, node);
    record->sched = sched;
    record->child = child;
    record->state = record->rc = 0;
    record->error = NULL;
    record->kept = false;
    record->group = NULL;
    list_init(&record->calls);
    record->joiners_left = 0;
    list_init(&record->joiners);
    atomic_store_explicit(&record->first, record->generation + 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&record->generation, 1, memory_order_release);
    return record;
}

struct osr_task osri_record_handle(const struct record *record)
{
    return (struct osr_task){(uint64_t)record->generation << 32 | record->index};
}

static void free_if_done(struct record *record)
{
    struct osr_error *error = record->error;

    if (record->child || record->kept || record->joiners_left > 0)
        return;
    record->error = NULL;
    atomic_fetch_add_explicit(&record->generation, 1, memory_order_release);
    list_append(&records_of(record->sched)->idle, &record->node);
    osr_error_release(error);
}

void osri_record_end(struct record *record, int state, int rc, struct osr_error *error)
{
    struct osr_list_ *node;

    osri_touch(&record->sched->door, OSR_TOUCH_WRITE, record);
    osri_name_copy(record->name, record->child->task.name);
    record->where = record->child->task.where;
    record->child = NULL;
    record->state = state;
    record->rc = rc;
    record->error = osr_error_retain(error);
    while ((node = record->joiners.next) != &record->joiners)
        osri_wake(record->sched, wait_of(node), 0);
    osri_calls_due(record->sched, &record->calls);
    if (record->kept && record->group)
        osri_group_told(record->group, record);
    if (!record->kept && record->joiners_left > 0) /* nobody has the handle of an outcome that is kept for joiners only */
        atomic_fetch_add_explicit(&record->generation, 2, memory_order_release);
    free_if_done(record);
}

void osri_record_unkeep(struct record *record)
{
    /* Stale for every handle from now on, although the task may still run, or a joiner may still have to read. */
    atomic_fetch_add_explicit(&record->generation, 2, memory_order_release);
    list_remove(&record->node);
    if (record->kept && record->child && record->group)
        osri_group_gives_up(record->group);
    record->kept = false;
    free_if_done(record);
}

/* ---- Handles ---- */

/* By tasks and callbacks of the run: 0 and the record; -EPERM, -ESTALE. With `released` also by a handle that is stale,
 * but was to the task that the record is still for. */
static inline int find(struct osr_task task, bool released, struct record **found)
{
    uint32_t index = (uint32_t)task.id_, generation = (uint32_t)(task.id_ >> 32), now, first;
    struct record *chunk, *record;

    if (!osri_is_inside(osri_sched))
        return -EPERM;
    if (!in_use(generation) || index / CHUNK >= MOST_CHUNKS)
        return -ESTALE;
    chunk = atomic_load_explicit(&chunks[index / CHUNK], memory_order_acquire);
    if (!chunk)
        return -ESTALE;
    record = &chunk[index % CHUNK];
    osri_touch(&osri_sched->door, OSR_TOUCH_WRITE, record);
    now = atomic_load_explicit(&record->generation, memory_order_acquire);
    first = released ? atomic_load_explicit(&record->first, memory_order_relaxed) : now;
    if (!in_use(now) || generation - first > now - first)
        return -ESTALE;
    *found = record;
    return record->sched == osri_sched ? 0 : -EPERM;
}

static int look_up_quietly(struct osr_task task, struct record **found)
{
    return find(task, false, found);
}

static int look_up(struct osr_task task, struct record **found, const char *where)
{
    int rc = look_up_quietly(task, found);

    return rc < 0 ? osri_failed(rc, where) : 0;
}

struct osr_task osr_self(void)
{
    struct task *task = osri_current();
    struct child *child;

    if (!task)
        return (struct osr_task){0};
    child = child_of(task);
    if (!child->record) {
        child->record = osri_record_new(osri_sched, child);
        osri_scope_load(&child->scope); /* which makes its end one that is looked at closely */
    }
    return child->record ? osri_record_handle(child->record) : (struct osr_task){0};
}

/* Whether the calling task lives, at any depth, in a group of `child`'s. */
static bool is_ancestor(const struct child *child)
{
    const struct osr_scope *at = &child_of(osri_current())->scope;

    for (; at; at = at->parent_)
        if (at->owner_ == &child->task)
            return true;
    return false;
}

/* What a joiner gets, with the very error of the task in its slot. */
static int read_outcome(struct record *record, const char *where)
{
    struct task *task = osri_current();

    if (record->error) {
        osri_slot_put(&task->slot, osr_error_retain(record->error));
        task->slot.code = record->rc;
    } else if (record->rc < 0) {
        osri_task_failed(task, record->rc, where);
    }
    return record->rc;
}

int osr_task_join_here(struct osr_task handle, const char *where)
{
    struct sched *sched = osri_sched;
    struct record *record;
    struct osr_wait wait;
    int rc = osri_enter_for(sched, osri_nothing, where);

    if (rc < 0)
        return rc;
    rc = look_up_quietly(handle, &record);
    if (rc == 0 && record->child && is_ancestor(record->child))
        rc = -EDEADLK;
    if (rc < 0)
        return osri_task_failed(sched->current, rc, where);
    if (!record->child) {
        rc = read_outcome(record, where);
        osri_at_once(sched);
        return rc;
    }
    sched->current->entered = record;
    wait_begin(&wait, sched->current, &record->joiners, NULL, "osr_task_join", where);
    record->joiners_left++;
    rc = osri_wait(sched, &wait);
    osri_touch(&sched->door, OSR_TOUCH_WRITE, record);
    if (rc == 0)
        rc = read_outcome(record, where);
    record->joiners_left--;
    free_if_done(record);
    return rc;
}

int osr_task_cancel_here(struct osr_task handle, const char *text, const char *where)
{
    struct record *record;
    int rc = look_up(handle, &record, where);

    if (rc == 0 && record->child)
        osri_scope_cancel(osri_sched, &record->child->scope, -ECANCELED, osri_who(), where, text);
    return rc;
}

int osr_task_state(struct osr_task handle)
{
    struct record *record;
    int rc = look_up(handle, &record, NULL);

    if (rc < 0)
        return rc;
    if (!record->child)
        return record->state;
    osri_touch_task(osri_sched, OSR_TOUCH_TASK, &record->child->task);
    if (osri_sched->current == &record->child->task)
        return OSR_TASK_RUNNING;
    return record->child->task.wait ? OSR_TASK_WAITING : OSR_TASK_READY;
}

int osr_task_result(struct osr_task handle, int *result)
{
    struct record *record;
    int rc = look_up(handle, &record, NULL);

    if (rc < 0)
        return rc;
    if (!result)
        return osri_failed(-EINVAL, NULL);
    if (record->child)
        return osri_failed(-EINPROGRESS, NULL);
    *result = record->rc;
    return 0;
}

struct osr_error *osr_task_error(struct osr_task handle)
{
    struct record *record;

    return look_up_quietly(handle, &record) == 0 ? record->error : NULL;
}

const char *osr_task_name(struct osr_task handle)
{
    struct record *record;

    if (look_up_quietly(handle, &record) < 0)
        return NULL;
    return record->child ? record->child->task.name : record->name;
}

int osr_task_where(struct osr_task handle, struct osr_task_wait *wait)
{
    struct record *record;
    int rc = look_up(handle, &record, NULL);

    if (rc < 0)
        return rc;
    if (!wait)
        return osri_failed(-EINVAL, NULL);
    *wait = (struct osr_task_wait){0};
    if (record->child)
        osri_touch_task(osri_sched, OSR_TOUCH_TASK, &record->child->task);
    if (record->child && record->child->task.wait)
        *wait = (struct osr_task_wait){record->child->task.wait->call, record->child->task.wait->where_};
    return 0;
}

int osr_task_release(struct osr_task *handle)
{
    struct record *record;
    int rc;

    if (!handle)
        return osri_failed(-EINVAL, NULL);
    rc = look_up(*handle, &record, NULL);
    if (rc < 0)
        return rc;
    osri_record_unkeep(record);
    *handle = (struct osr_task){0};
    return 0;
}

void osri_record_forget(struct osr_task handle)
{
    struct record *record;

    if (look_up_quietly(handle, &record) == 0)
        osri_record_unkeep(record);
}

int osr_task_on_done(struct osr_task handle, struct osr_call *call, void (*run)(void *arg), void *arg)
{
    struct record *record;
    int rc = look_up_quietly(handle, &record);

    if (rc < 0)
        return osri_failed(rc, NULL);
    return osri_call_in(record->child ? &record->calls : NULL, call, run, arg);
}

/* ---- References to waits ---- */

struct osr_wait_ref osr_wait_refer(struct osr_wait *wait)
{
    struct osr_wait_ref ref = {.task_ = osr_self()};

    if (!wait || ref.task_.id_ == 0)
        return (struct osr_wait_ref){0};
    if (wait->ticket_ == 0)
        wait->ticket_ = ++osri_sched->tickets;
    ref.ticket_ = wait->ticket_;
    return ref;
}

int osr_unpark_ref(struct osr_wait_ref ref, int result)
{
    struct record *record;
    int rc = find(ref.task_, true, &record);
    struct osr_wait *wait = rc == 0 && record->child ? record->child->task.wait : NULL;

    if (rc == 0)
        osri_touch(&osri_sched->door, OSR_TOUCH_ALL, NULL);
    if (rc == 0 && (!wait || ref.ticket_ == 0 || wait->ticket_ != ref.ticket_))
        rc = -ESTALE;
    if (rc < 0)
        return osri_failed(rc, NULL);
    osri_wake(osri_sched, wait, result);
    return 0;
}
