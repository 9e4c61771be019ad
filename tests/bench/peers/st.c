/*
 * State Threads: threads of its own, joined one by one, st_thread_interrupt() to cancel each, mutexes and conditions of
 * its own. A yield is st_usleep(0), which goes through its event system: it has no other. It has no groups, no
 * timeouts around a piece of code and no semaphores: a group here is a list of its threads, a semaphore a condition on a
 * number; a nest hands the interrupt on from each level to the next. Timeouts, and threads that work, are left out. It is
 * asked for epoll; Debian's build has none, waits with select(), and so ends at a thousand connections.
 */
#include "peer.h"

#include <errno.h>
#include <st.h>
#include <stdbool.h>

#define LONG (1000 * 1000000ULL)

static st_thread_t *threads;

static st_thread_t start(void *(*function)(void *), void *arg)
{
    st_thread_t thread = st_thread_create(function, arg, 1, 0);

    peer_need(thread != NULL, "no more threads");
    return thread;
}

static void need_threads(long n)
{
    threads = malloc((size_t)n * sizeof(*threads));
    peer_need(threads != NULL, "no memory");
}

static void start_all(void *(*function)(void *), void *arg, long n)
{
    long i;

    for (i = 0; i < n; i++)
        threads[i] = start(function, arg);
}

static void interrupt_all(long n)
{
    while (n-- > 0)
        st_thread_interrupt(threads[n]);
}

static void join_all(long n)
{
    while (n-- > 0)
        st_thread_join(threads[n], NULL);
}

/* ---- Tasks ---- */

static void *nothing(void *arg)
{
    return arg;
}

static void *one_yield(void *arg)
{
    st_usleep(0);
    return arg;
}

static void *many_yields(void *arg)
{
    long n = (long)arg;

    while (n-- > 0)
        st_usleep(0);
    return NULL;
}

static void spawn_batch(long n)
{
    start_all(nothing, NULL, n);
    join_all(n);
}

static void spawn_yield_batch(long n)
{
    start_all(one_yield, NULL, n);
    join_all(n);
}

static void yield_batch(long n)
{
    start_all(many_yields, (void *)(PEER_YIELDS / n), n);
    join_all(n);
}

static void spawn(long n)
{
    need_threads(n);
    peer_repeat(spawn_batch, n, n);
}

static void spawn_yield(long n)
{
    need_threads(n);
    peer_repeat(spawn_yield_batch, n, n);
}

static void yield(long n)
{
    need_threads(n);
    peer_repeat(yield_batch, n, PEER_YIELDS);
}

/* ---- Sleepers ---- */

static void *sleeper(void *arg)
{
    st_usleep(LONG);
    return arg;
}

static void *nap(void *arg)
{
    st_usleep((st_utime_t)peer_delay((long)arg) / 1000);
    return arg;
}

static void sleepers(long n)
{
    struct peer_parts parts = peer_begin();

    need_threads(n);
    start_all(sleeper, NULL, n);
    st_usleep(0);
    peer_asleep(&parts, n);
    interrupt_all(n);
    join_all(n);
    peer_end(&parts, n);
}

static void wake(long n)
{
    int64_t begin = peer_clock(), cpu = peer_cpu();
    long i;

    need_threads(n);
    for (i = 0; i < n; i++)
        threads[i] = start(nap, (void *)i);
    join_all(n);
    peer_woken(begin, cpu);
}

/* ---- Nests ---- */

struct nest {
    long left;
    st_cond_t complete;
};

static void *level(void *arg)
{
    struct nest *nest = arg;
    st_thread_t next;

    if (--nest->left == 0) {
        st_cond_signal(nest->complete);
        st_usleep(LONG);
        return NULL;
    }
    next = start(level, nest);
    while (st_thread_join(next, NULL) < 0 && errno == EINTR)
        st_thread_interrupt(next);
    return NULL;
}

static void nested_groups_batch(long depth)
{
    struct nest nest = {depth, st_cond_new()};
    st_thread_t outer = start(level, &nest);

    st_cond_wait(nest.complete);
    st_thread_interrupt(outer);
    st_thread_join(outer, NULL);
    st_cond_destroy(nest.complete);
}

static void nested_groups(long depth)
{
    peer_repeat(nested_groups_batch, depth, depth);
}

/* ---- Failing: the first error interrupts the others; all are kept in an array. ---- */

static long failures, started;
static int *codes;

static void *fails(void *arg)
{
    codes[failures++] = EIO;
    if (failures == 1)
        interrupt_all(started - 1);
    return arg;
}

static void fail_batch(long n, bool all)
{
    failures = 0;
    started = n;
    start_all(all ? fails : sleeper, NULL, n - 1);
    threads[n - 1] = start(fails, NULL);
    join_all(n);
    peer_need(failures == (all ? n : 1), "wrong failures");
}

static void fail_one_batch(long n) { fail_batch(n, false); }
static void fail_all_batch(long n) { fail_batch(n, true); }

static void fail_with(void (*batch)(long), long n)
{
    need_threads(n);
    codes = malloc((size_t)n * sizeof(*codes));
    peer_need(codes != NULL, "no memory");
    peer_repeat(batch, n, n);
}

static void fail_one(long n) { fail_with(fail_one_batch, n); }
static void fail_all(long n) { fail_with(fail_all_batch, n); }

/* ---- Queues: a ring under two conditions, as its users write them. Of room 0: an item, and a wait until it is taken. ---- */

static struct {
    st_cond_t room, item, taken;
    uint64_t ring[64];
    long head, count, capacity;
} queue_;

static void put(uint64_t item)
{
    long capacity = queue_.capacity ? queue_.capacity : 1;

    while (queue_.count == capacity)
        st_cond_wait(queue_.room);
    queue_.ring[(queue_.head + queue_.count++) % 64] = item;
    st_cond_signal(queue_.item);
    if (queue_.capacity == 0)
        st_cond_wait(queue_.taken);
}

static uint64_t get(void)
{
    uint64_t item;

    while (queue_.count == 0)
        st_cond_wait(queue_.item);
    item = queue_.ring[queue_.head++ % 64];
    queue_.count--;
    st_cond_signal(queue_.room);
    st_cond_signal(queue_.taken);
    return item;
}

static void *produce(void *arg)
{
    uint64_t i;

    for (i = 0; i < PEER_ITEMS; i++)
        put(i);
    return arg;
}

static void *consume(void *arg)
{
    uint64_t sum = 0;
    long i;

    for (i = 0; i < PEER_ITEMS; i++)
        sum += get();
    peer_need(sum == (uint64_t)PEER_ITEMS * (PEER_ITEMS - 1) / 2, "items were lost");
    return arg;
}

static void queue_batch(long capacity)
{
    queue_.capacity = capacity;
    threads[0] = start(produce, NULL);
    threads[1] = start(consume, NULL);
    join_all(2);
}

static void queue(long capacity)
{
    need_threads(2);
    queue_.room = st_cond_new();
    queue_.item = st_cond_new();
    queue_.taken = st_cond_new();
    peer_repeat(queue_batch, capacity, PEER_ITEMS);
}

/* ---- Locks and semaphores ---- */

static st_mutex_t mutex;
static st_cond_t permit_given;
static int permits = 3;

static void *take_lock(void *arg)
{
    int i;

    for (i = 0; i < PEER_TURNS; i++) {
        st_mutex_lock(mutex);
        st_usleep(0);
        st_mutex_unlock(mutex);
    }
    return arg;
}

static void *take_permit(void *arg)
{
    int i;

    for (i = 0; i < PEER_TURNS; i++) {
        while (permits == 0)
            st_cond_wait(permit_given);
        permits--;
        st_usleep(0);
        permits++;
        st_cond_signal(permit_given);
    }
    return arg;
}

static void lock_batch(long n)
{
    start_all(take_lock, NULL, n);
    join_all(n);
}

static void semaphore_batch(long n)
{
    start_all(take_permit, NULL, n);
    join_all(n);
}

static void lock(long n)
{
    need_threads(n);
    mutex = st_mutex_new();
    peer_repeat(lock_batch, n, n * PEER_TURNS);
}

static void semaphore(long n)
{
    need_threads(n);
    permit_given = st_cond_new();
    peer_repeat(semaphore_batch, n, n * PEER_TURNS);
}

/* ---- Echo ---- */

static void *serve(void *arg)
{
    st_netfd_t client = arg;
    char buffer[1024];
    ssize_t n;

    while ((n = st_read(client, buffer, sizeof(buffer), ST_UTIME_NO_TIMEOUT)) > 0)
        if (st_write(client, buffer, (size_t)n, ST_UTIME_NO_TIMEOUT) != n)
            break;
    st_netfd_close(client);
    return NULL;
}

static void echo(long n)
{
    st_netfd_t listener = st_netfd_open_socket(peer_listen(0)), client;

    (void)n;
    while ((client = st_accept(listener, NULL, NULL, ST_UTIME_NO_TIMEOUT)) != NULL)
        peer_need(st_thread_create(serve, client, 0, 0) != NULL, "no more threads");
    peer_give_up(strerror(errno));
}

static const struct peer_workload workloads[] = {
    {"spawn", spawn},
    {"spawn-yield", spawn_yield},
    {"yield", yield},
    {"sleepers", sleepers},
    {"wake", wake},
    {"nested-groups", nested_groups},
    {"fail-one", fail_one},
    {"fail-all", fail_all},
    {"queue", queue},
    {"lock", lock},
    {"semaphore", semaphore},
    {"echo", echo},
    {NULL, NULL},
};

int main(int count, char **arguments)
{
    peer_need(count == 3, "usage: st WORKLOAD N");
    peer_need(st_set_eventsys(ST_EVENTSYS_ALT) == 0 && st_init() == 0, "no state threads");
    peer_run(workloads, arguments[1], atol(arguments[2]));
    return 0;
}
