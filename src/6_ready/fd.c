#include "6_ready/fd.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "0_base/sys.h"
#include "0_base/text.h"

/* ---- Closes in other runs ---- */

atomic_uint osri_closes[CLOSES];

/* Before it is closed: as soon as it is, the number may stand for something else. */
static void count_close(int fd)
{
    if (fd < CLOSES)
        atomic_fetch_add_explicit(&osri_closes[fd], 1, memory_order_release);
}

static bool was_closed_elsewhere(const struct descriptor *descriptor)
{
    return descriptor->closes != osri_closes_of(descriptor->fd);
}

/* ---- The table ---- */

static struct descriptors *descriptors_of(struct sched *sched)
{
    return sched->floors[6];
}

int osri_descriptors_open(struct sched *sched)
{
    struct descriptors *descriptors = osri_alloc(&sched->memory, sizeof(*descriptors));

    if (!descriptors)
        return -ENOMEM;
    *descriptors = (struct descriptors){0};
    list_init(&descriptors->blocks);
    sched->floors[6] = descriptors;
    return 0;
}

static struct watch *watch_of(struct descriptor *descriptor, enum watch_for what)
{
    return what == WATCH_READ ? &descriptor->reading : &descriptor->writing;
}

static struct descriptor *descriptor_of(struct watch *watch)
{
    return watch->what == WATCH_READ ? container_of(watch, struct descriptor, reading)
                                     : container_of(watch, struct descriptor, writing);
}

static struct descriptor *known(struct sched *sched, int fd)
{
    struct descriptors *descriptors = descriptors_of(sched);

    return fd < descriptors->capacity ? descriptors->table[fd] : NULL;
}

static int grow(struct sched *sched, struct descriptors *descriptors, int fd)
{
    int capacity = descriptors->capacity ? descriptors->capacity : 64;
    struct descriptor **table;

    while (capacity <= fd)
        capacity *= 2; /* descriptors are small numbers: the system limits them far below where this overflows */
    table = osri_resize(&sched->memory, descriptors->table, (size_t)capacity * sizeof(struct descriptor *));
    if (!table)
        return -ENOMEM;
    memset(table + descriptors->capacity, 0,
           (size_t)(capacity - descriptors->capacity) * sizeof(struct descriptor *));
    descriptors->table = table;
    descriptors->capacity = capacity;
    descriptors->quick = sched->debug ? 0 : (unsigned)(capacity < CLOSES ? capacity : CLOSES);
    return 0;
}

enum { LINE = 64 }; /* of the cache */

/* All zeros, from the beginning of a line on; NULL without memory. */
static struct descriptor *new_descriptor(struct sched *sched)
{
    struct osr_list_ *block = osri_alloc(&sched->memory, sizeof(*block) + sizeof(struct descriptor) + LINE - 1);
    struct descriptor *descriptor;

    if (!block)
        return NULL;
    list_append(&descriptors_of(sched)->blocks, block);
    descriptor = (void *)(((uintptr_t)(block + 1) + LINE - 1) / LINE * LINE);
    *descriptor = (struct descriptor){.block = block};
    return descriptor;
}

static void free_descriptor(struct sched *sched, struct descriptor *descriptor)
{
    list_unlink(descriptor->block);
    osri_free(&sched->memory, descriptor->block);
}

static void dismiss(struct sched *sched, struct watch *watch)
{
    osri_watch_disarm(sched, watch);
    if (watch_is_awaited(watch))
        osri_wake(sched, watch->wait, -EBADF);
}

/* The run no longer knows the descriptor; whoever waits for it is told, and the last one of them frees it. */
static void forget(struct sched *sched, struct descriptor *descriptor)
{
    descriptors_of(sched)->table[descriptor->fd] = NULL;
    descriptor->closed = true;
    dismiss(sched, &descriptor->reading);
    dismiss(sched, &descriptor->writing);
    if (!descriptor->busy)
        free_descriptor(sched, descriptor);
}

void osri_descriptors_close(struct sched *sched)
{
    struct descriptors *descriptors = descriptors_of(sched);
    int fd;

    for (fd = 0; fd < descriptors->capacity; fd++)
        if (descriptors->table[fd])
            forget(sched, descriptors->table[fd]);
    osri_free(&sched->memory, descriptors->table);
    osri_free(&sched->memory, descriptors);
}

/* ---- Readiness ---- */

/* Who has been woken may not have run yet when the loop looks again; the watch stays armed for the wait after that. */
static void watch_ready(struct watch *watch)
{
    osri_descriptor_spent(descriptor_of(watch), watch->what, false);
    if (watch_is_awaited(watch))
        osri_wake(osri_sched, watch->wait, 0);
    else if (!watch->wait)
        osri_watch_disarm(osri_sched, watch);
}

/* ---- Knowing descriptors ---- */

static void identify(const struct descriptor *descriptor, uint64_t *device, uint64_t *inode)
{
    struct stat status = {0};

    (void)fstat(descriptor->fd, &status);
    *device = status.st_dev;
    *inode = status.st_ino;
}

static uint8_t possible_with(int flags)
{
    int access = flags & O_ACCMODE;

    return access == O_RDONLY ? WATCH_READ : access == O_WRONLY ? WATCH_WRITE : WATCH_READ | WATCH_WRITE;
}

/* Takes note of an open descriptor: 0 or a code. */
static int note(struct sched *sched, int fd, int flags, const char *where)
{
    struct descriptors *descriptors = descriptors_of(sched);
    struct descriptor *descriptor;
    int type, rc = osri_sys_get_option(&sched->door, fd, SOL_SOCKET, SO_TYPE, &type);

    if (rc < 0 && rc != -ENOTSOCK)
        return rc;
    if (rc < 0 && sched->driver->refuses(sched, fd) < 0)
        return -EBADF;
    if (fd >= descriptors->capacity && grow(sched, descriptors, fd) < 0)
        return -ENOMEM;
    descriptor = new_descriptor(sched);
    if (!descriptor)
        return -ENOMEM;
    descriptor->fd = fd;
    descriptor->closes = osri_closes_of(fd);
    descriptor->where = where;
    descriptor->possible = possible_with(flags);
    descriptor->nonblocking = flags & O_NONBLOCK;
    descriptor->socket = rc == 0;
    descriptor->terminal = !descriptor->socket && !descriptor->nonblocking && isatty(fd);
    if (sched->debug)
        identify(descriptor, &descriptor->device, &descriptor->inode);
    watch_init(&descriptor->reading, fd, WATCH_READ, watch_ready);
    watch_init(&descriptor->writing, fd, WATCH_WRITE, watch_ready);
    descriptor->reading.twin = &descriptor->writing;
    descriptor->writing.twin = &descriptor->reading;
    descriptors->table[fd] = descriptor;
    return 0;
}

static void name_raw_close(struct sched *sched, const struct descriptor *descriptor, const char *where)
{
    if (sched->debug)
        osri_diagnose(sched, OSR_DIAGNOSIS_DESCRIPTOR,
                      "osier: descriptor %d, known since %s, was closed by a bare close(), noticed at %s: use "
                      "osr_fd_close()\n",
                      descriptor->fd, place_or_unknown(descriptor->where), place_or_unknown(where));
}

/* In debug runs, where that was noted: whether the number now stands for something else. */
static bool was_replaced(const struct descriptor *descriptor)
{
    uint64_t device, inode;

    identify(descriptor, &device, &inode);
    return device != descriptor->device || inode != descriptor->inode;
}

/* Says whether it was. */
static bool drop_replaced(struct sched *sched, struct descriptor *descriptor, const char *where)
{
    if (was_closed_elsewhere(descriptor) || !was_replaced(descriptor))
        return false;
    name_raw_close(sched, descriptor, where);
    forget(sched, descriptor);
    return true;
}

int osri_descriptor_look_up(struct sched *sched, int fd, const char *where, struct descriptor **found)
{
    struct descriptor *descriptor;
    int rc;

    if (fd < 0)
        return -EBADF;
    descriptor = known(sched, fd);
    if (descriptor && was_closed_elsewhere(descriptor)) {
        forget(sched, descriptor);
        descriptor = NULL;
    } else if (descriptor && unlikely(sched->debug) && drop_replaced(sched, descriptor, where)) {
        descriptor = NULL;
    }
    if (!descriptor) {
        rc = osri_sys_flags(&sched->door, fd);
        if (rc >= 0)
            rc = note(sched, fd, rc, where);
        if (rc < 0)
            return rc;
    }
    *found = known(sched, fd);
    return 0;
}

void osri_descriptor_made(struct sched *sched, int fd, const char *where)
{
    struct descriptor *descriptor = known(sched, fd);

    if (descriptor) { /* the system would not have given the number out again otherwise */
        if (!was_closed_elsewhere(descriptor))
            name_raw_close(sched, descriptor, where);
        forget(sched, descriptor);
    }
    if (!sched->debug)
        return; /* it is noted when it is first used */
    if (note(sched, fd, O_NONBLOCK | O_RDWR, where) == 0)
        known(sched, fd)->ours = true;
}

void osri_descriptors_check(struct sched *sched, const char *where)
{
    struct descriptors *descriptors = descriptors_of(sched);
    int fd;

    for (fd = 0; fd < descriptors->capacity; fd++)
        if (descriptors->table[fd])
            drop_replaced(sched, descriptors->table[fd], where);
}

int osri_descriptors_ours(struct sched *sched, void (*visit)(struct sched *sched, const struct descriptor *descriptor))
{
    struct descriptors *descriptors = descriptors_of(sched);
    int fd, count = 0;

    for (fd = 0; fd < descriptors->capacity; fd++)
        if (descriptors->table[fd] && descriptors->table[fd]->ours &&
            !was_closed_elsewhere(descriptors->table[fd]) && !was_replaced(descriptors->table[fd])) {
            visit(sched, descriptors->table[fd]);
            count++;
        }
    return count;
}

/* ---- Operations ---- */

/* libev insists that what it is given to watch is open. */
static int arm(struct sched *sched, struct descriptor *descriptor, struct watch *watch)
{
    if (likely(watch->armed))
        return 0;
    if (osri_sys_flags(&sched->door, descriptor->fd) < 0)
        return -EBADF;
    watch->broken = false;
    osri_watch_arm(sched, watch);
    return 0;
}

/* A call has found it bad. Closed by this run, it is freed by the last who waited for it; by another's, or by a bare
 * close(), it is forgotten now, as the number may come to stand for something else. Gives -EBADF. */
static int is_bad(struct sched *sched, struct descriptor *descriptor)
{
    if (!descriptor->closed && (was_closed_elsewhere(descriptor) || osri_sys_flags(&sched->door, descriptor->fd) < 0))
        forget(sched, descriptor);
    else if (descriptor->closed && !descriptor->busy)
        free_descriptor(sched, descriptor);
    return -EBADF;
}

/* In a frame of its own, so that what does not wait keeps to fewer lines of the stack. */
int osri_descriptor_park(struct sched *sched, struct descriptor *descriptor, enum watch_for what, const char *call,
                         const char *where)
{
    struct watch *watch = watch_of(descriptor, what);
    struct osr_wait wait;
    int rc = arm(sched, descriptor, watch);

    if (unlikely(rc < 0))
        return is_bad(sched, descriptor);
    wait_init(&wait, sched->current, call, where);
    watch->wait = &wait;
    descriptor->busy |= (uint8_t)what;
    sched->outside++;
    osri_fetch_frames_ahead(&sched->ready);
    rc = osri_wait(sched, &wait);
    sched->outside--;
    descriptor->busy &= (uint8_t)~what;
    watch->wait = NULL;
    if (unlikely(descriptor->closed || was_closed_elsewhere(descriptor))) {
        int bad = is_bad(sched, descriptor);

        return rc < 0 ? rc : bad;
    }
    return unlikely(rc < 0) ? rc : unlikely(watch->broken) ? -ENOMEM : 0;
}

ssize_t osri_operate_on(struct sched *sched, struct descriptor *descriptor, enum watch_for what, osri_attempt *attempt,
                        void *operation, const char *call, const char *where, bool waited, ssize_t n)
{
    for (; n == -EAGAIN; waited = true) {
        if (waited) { /* there was nothing after all: before it waits again, the call is as good as new */
            n = osri_enter(sched, where);
            if (n < 0)
                return n;
        }
        n = osri_descriptor_park(sched, descriptor, what, call, where);
        if (n < 0)
            return n;
        n = attempt(sched, descriptor, operation);
    }
    return n == -EBADF ? is_bad(sched, descriptor) : n;
}

/* ---- Waiting for readiness alone ---- */

static ssize_t poll_now(struct sched *sched, struct descriptor *descriptor, void *operation)
{
    struct pollfd poll = {descriptor->fd, *(const short *)operation, 0};
    int n = osri_sys_poll(&sched->door, &poll, 1, 0);

    if (n > 0)
        return poll.revents & POLLNVAL ? -EBADF : 0;
    return n < 0 ? n : -EAGAIN;
}

int osr_fd_readable_here(int fd, const char *where)
{
    short events = POLLIN;

    return (int)osri_operate(fd, WATCH_READ, poll_now, &events, "osr_fd_readable", where);
}

int osr_fd_writable_here(int fd, const char *where)
{
    short events = POLLOUT;

    return (int)osri_operate(fd, WATCH_WRITE, poll_now, &events, "osr_fd_writable", where);
}

/* ---- Closing ---- */

int osri_descriptor_close(struct sched *sched, int fd)
{
    struct descriptor *descriptor = known(sched, fd);

    if (descriptor)
        forget(sched, descriptor);
    count_close(fd);
    return osri_sys_close(&sched->door, fd);
}

int osr_fd_close_here(int fd, const char *where)
{
    struct sched *sched = osri_sched;
    struct descriptor *descriptor;
    int rc;

    if (!sched || !sched->current)
        return osri_failed(-EPERM, where);
    osri_touch_all();
    descriptor = fd < 0 ? NULL : known(sched, fd);
    if (fd < 0 || (!descriptor && sched->driver->refuses(sched, fd) == -EBADF))
        return osri_failed(-EBADF, where);
    rc = osri_descriptor_close(sched, fd);
    return rc < 0 ? osri_failed(rc, where) : 0;
}
