#include "6_ready/source.h"

#include "0_base/sys.h"
#include "0_base/tools.h"

/* ---- The table ---- */

enum { CHUNK = 64, MOST_CHUNKS = 1 << 14 };

static _Atomic(struct source *) chunks[MOST_CHUNKS];
static uint32_t chunks_made;
static struct source *idle;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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

static void bell_opened(struct parcel *parcel);
static void hear_bell(struct sched *sched, struct due *due);
static void hear_cancel_bell(struct sched *sched, struct due *due);

static void make_bell(struct bell *bell, void (*heard)(struct sched *sched, struct due *due))
{
    bell->parcel.open = bell_opened;
    list_init(&bell->due.node);
    bell->due.come = heard;
}

/* The lock is held. 0 or a code. */
static int make_chunk(void)
{
    static const struct door closed; /* take_idle() has asked already */
    struct source *chunk;
    uint32_t i;
    int code;

    if (chunks_made == MOST_CHUNKS)
        return -ENOMEM;
    chunk = osri_sys_map(&closed, CHUNK * sizeof(*chunk), &code);
    if (!chunk)
        return code;
    for (i = CHUNK; i-- > 0;) {
        chunk[i].index = chunks_made * CHUNK + i;
        make_bell(&chunk[i].bells[BELL], hear_bell);
        make_bell(&chunk[i].bells[CANCEL_BELL], hear_cancel_bell);
        chunk[i].next = idle;
        idle = &chunk[i];
    }
    atomic_store(&chunks[chunks_made++], chunk);
    return 0;
}

static struct source *take_idle(struct sched *sched, int *code)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct source *source = NULL;

    pthread_once(&once, prepare_process);
    /* Asked also where a source of an earlier run is used again, so that runs do not depend on earlier ones. */
    *code = osri_choose(&sched->door, OSR_CHOICE_FAULT, 2, "mmap\0ENOMEM") ? -ENOMEM : 0;
    if (*code < 0)
        return NULL;
    pthread_mutex_lock(&lock);
    if (!idle)
        *code = make_chunk();
    if (*code == 0) {
        source = idle;
        idle = source->next;
    }
    pthread_mutex_unlock(&lock);
    return source;
}

static void give_back(struct source *source)
{
    pthread_mutex_lock(&lock);
    source->next = idle;
    idle = source;
    pthread_mutex_unlock(&lock);
}

/* ---- Bells ---- */

static uint32_t generation_in(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint32_t rings_in(uint64_t word)
{
    return (uint32_t)word;
}

static const uint64_t one_generation = (uint64_t)1 << 32;

/* A closed bell that was rung keeps its count until it is heard. Gives what it was. */
static uint64_t next_generation(struct bell *bell)
{
    return atomic_fetch_add(&bell->word, one_generation);
}

/* The bell was rung, and is heard; from here on it may be rung again. */
static void hear(struct source *source, enum bell_kind kind)
{
    struct bell *bell = &source->bells[kind];
    uint64_t word;

    if (kind == CANCEL_BELL) {
        source->text = source->rung_text;
        source->where = source->rung_where;
    }
    word = atomic_fetch_and(&bell->word, ~(one_generation - 1));
    osri_tsan_take_over(bell);
    if (generation_in(word) & 1)
        source->heard(source, kind, rings_in(word)); /* which may close it */
    else if (--source->unheard == 0)
        give_back(source);
}

static void hear_bell(struct sched *sched, struct due *due)
{
    (void)sched;
    hear(container_of(due, struct source, bells[BELL].due), BELL);
}

static void hear_cancel_bell(struct sched *sched, struct due *due)
{
    (void)sched;
    hear(container_of(due, struct source, bells[CANCEL_BELL].due), CANCEL_BELL);
}

static void bell_opened(struct parcel *parcel)
{
    struct bell *bell = container_of(parcel, struct bell, parcel);

    if (bell->due.come == hear_bell && container_of(bell, struct source, bells[BELL])->wakes_only)
        bell->due.come(osri_sched, &bell->due);
    else
        osri_due(osri_sched, &bell->due);
}

int osri_source_ring(uint64_t id, enum bell_kind kind, const char *text, const char *where)
{
    int code;
    struct source *source = osri_source_find(id, &code);
    struct bell *bell;
    uint64_t word;

    osri_touch_all();
    if (!source)
        return code;
    bell = &source->bells[kind];
    osri_tsan_hand_over(bell);
    word = atomic_load(&bell->word);
    do
        if (generation_in(word) != id >> 32)
            return -ESTALE;
    while (!atomic_compare_exchange_weak(&bell->word, &word, rings_in(word) == UINT32_MAX ? word : word + 1));
    if (rings_in(word) > 0)
        return 0; /* it rings already */
    if (kind == CANCEL_BELL) {
        source->rung_text = text;
        source->rung_where = where;
    }
    osri_inbox_put(atomic_load(&source->inbox), &bell->parcel);
    return 0;
}

/* ---- References ---- */

uint64_t osri_source_id(const struct source *source)
{
    return (atomic_load(&source->bells[BELL].word) & ~(one_generation - 1)) | source->index;
}

struct source *osri_source_find(uint64_t id, int *code)
{
    uint32_t index = (uint32_t)id;
    struct source *chunk = index / CHUNK < MOST_CHUNKS ? atomic_load(&chunks[index / CHUNK]) : NULL;
    struct source *source = chunk ? &chunk[index % CHUNK] : NULL;

    *code = -ESTALE;
    if (!source || !osri_source_is(source, id))
        return NULL;
    *code = atomic_load(&source->process) == osri_process() ? 0 : -EPERM;
    return *code == 0 ? source : NULL;
}

bool osri_source_is(const struct source *source, uint64_t id)
{
    uint32_t generation = generation_in(atomic_load(&source->bells[BELL].word));

    return (generation & 1) && generation == id >> 32;
}

struct source *osri_source_of_ours(uint64_t id, int *code)
{
    struct source *source = osri_source_find(id, code);

    osri_touch_all();
    if (!osri_is_inside(osri_sched))
        *code = -EPERM;
    if (*code == 0 && atomic_load(&source->inbox) != osri_sched->inbox)
        *code = -EPERM;
    return *code == 0 ? source : NULL;
}

/* ---- Opening and closing ---- */

struct source *osri_source_open(struct sched *sched, struct osr_scope *scope, void (*leave)(struct osr_bound_ *bound),
                                int *code)
{
    struct inbox *inbox = osri_inbox(sched, code);
    struct source *source = inbox ? take_idle(sched, code) : NULL;

    osri_touch(&sched->door, OSR_TOUCH_ALL, NULL);
    if (!source)
        return NULL;
    atomic_store(&source->process, osri_process());
    atomic_store(&source->inbox, inbox);
    source->sched = sched;
    source->wakes_only = false;
    source->unheard = 0;
    source->calls = NULL;
    source->last_call = &source->calls;
    osri_bind(scope, &source->bound, leave);
    sched->outside++;
    (void)next_generation(&source->bells[BELL]);
    (void)next_generation(&source->bells[CANCEL_BELL]);
    return source;
}

void osri_source_close(struct source *source)
{
    int kind;

    osri_touch(&source->sched->door, OSR_TOUCH_ALL, NULL);
    osri_unbind(&source->bound);
    source->sched->outside--;
    for (kind = 0; kind < BELLS; kind++)
        source->unheard += rings_in(next_generation(&source->bells[kind])) > 0;
    if (source->unheard == 0)
        give_back(source);
}
