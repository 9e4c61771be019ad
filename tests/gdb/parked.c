/* A program to be looked at with gdb, stopped in stop_here(): its tasks wait in different calls, one has not begun. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <osier.h>

/* A name that the library uses as well, for something else. */
struct child {
    int own;
};

static volatile int stopped;

__attribute__((noinline)) void stop_here(struct child *child)
{
    stopped += child->own;
    if (getenv("ABORT"))
        abort();
}

__attribute__((noinline)) static int sleep_deep(int depth)
{
    int rc = depth > 0 ? sleep_deep(depth - 1) : osr_sleep(osr_s(1000)); /* SLEEPS */

    return rc < 0 ? rc : depth;
}

OSR_TASK(sleeper, void, unused)
{
    int rc = sleep_deep(3);

    return rc < 0 ? rc : 0;
}

OSR_TASK(reader, int, fd)
{
    char byte;
    ssize_t n = osr_read(*fd, &byte, 1); /* READS */

    return n < 0 ? (int)n : 0;
}

OSR_TASK(owner, void, unused)
{
    struct osr_group group;
    struct osr_scope limit;
    int rc;

    osr_timeout_open(&limit, osr_s(500));
    osr_group_open(&group, .name = "inner", .limit = 3);
    rc = osr_spawn(&group, sleeper, NULL, .name = "the deep one");
    rc = osr_group_close(&group, rc); /* CLOSES */
    return osr_scope_close(&limit, rc);
}

OSR_TASK(late, void, unused)
{
    return osr_yield();
}

OSR_TASK(program, void, unused)
{
    struct child child = {.own = 1};
    struct osr_group group;
    int ends[2], rc;

    if (pipe(ends) < 0)
        return -errno;
    osr_group_open(&group, .name = "outer");
    rc = osr_spawn(&group, owner, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, reader, &ends[0]);
    if (rc == 0)
        rc = osr_sleep(osr_ms(1));
    if (rc == 0)
        rc = osr_spawn(&group, late, NULL);
    stop_here(&child);
    osr_group_cancel(&group, "seen enough");
    stop_here(&child);
    rc = osr_group_close(&group, rc);
    osr_fd_close(ends[0]);
    osr_fd_close(ends[1]);
    return rc;
}

OSR_TASK(other, int, fd)
{
    return osr_fd_readable(*fd);
}

static void *run_other(void *fd)
{
    osr_run(other, (int *)fd, .name = "of another thread");
    return NULL;
}

int main(void)
{
    pthread_t thread;
    int ends[2], rc;

    if (pipe(ends) < 0 || pthread_create(&thread, NULL, run_other, &ends[0]) != 0)
        return 2;
    usleep(50000); /* until it waits */
    rc = osr_run(program, NULL);
    close(ends[1]);
    pthread_join(thread, NULL);
    return rc < 0;
}
