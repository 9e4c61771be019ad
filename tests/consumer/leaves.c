/* Leaves from within a task, in the middle of everything: what is in use then must be found by Valgrind to be in use. */
#include <osier.h>
#include <stdlib.h>
#include <sys/socket.h>

OSR_TASK(wait_for_bytes, int, fd)
{
    char bytes[8];

    return osr_read(*fd, bytes, sizeof(bytes));
}

OSR_TASK(wait_in_vain, struct osr_queue, queue)
{
    int item;

    return osr_queue_get(queue, &item);
}

static int clean_up(void *arg)
{
    (void)arg;
    return 0;
}

OSR_TASK(program, void, unused)
{
    static struct osr_queue queue;
    struct osr_cleanup cleanup;
    struct osr_group group;
    int fds[2], i;

    (void)unused;
    osr_queue_init(&queue, sizeof(int), 4);
    osr_group_open(&group);
    (void)osr_defer(&cleanup, clean_up, NULL, 0);
    for (i = 0; i < 5; i++) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
            return -1;
        osr_spawn_copy(&group, wait_for_bytes, &fds[0]);
        osr_spawn(&group, wait_in_vain, &queue);
    }
    osr_sleep(osr_ms(1));
    osr_wrap(-5, "which is kept");
    exit(0);
}

int main(void)
{
    return osr_run(program, NULL);
}
