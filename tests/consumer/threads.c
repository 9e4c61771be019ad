/* What threads and a run give each other: each side reads what the other has written, and takes no lock for it. */
#include <assert.h>
#include <osier.h>
#include <pthread.h>

static int written[2], returned, told;
static struct osr_post post;
static struct osr_portal portal;
static struct osr_event all_told;

OSR_JOB(write_it, int, to)
{
    *to = 1;
    return 0;
}

OSR_TASK(add_one, int, to)
{
    ++*to;
    return 0;
}

static void read_it(void *arg, unsigned count)
{
    (void)arg;
    assert(written[0] == 1);
    told += (int)count;
    if (told < 2)
        return;
    assert(written[1] == 1);
    osr_event_set(&all_told);
}

static void *write_and_fire(void *arg)
{
    int mine = 1;

    (void)arg;
    written[0] = 1;
    osr_post_fire(post);
    written[1] = 1;
    osr_post_fire(post); /* perhaps before the first is told */
    assert(osr_portal_call(portal, add_one, &mine) == 0);
    assert(mine == 2);
    returned = mine;
    return NULL;
}

OSR_TASK(program, void, unused)
{
    struct osr_group group;
    pthread_t thread;
    int by_job = 0, rc;

    assert(osr_offload(write_it, &by_job) == 0);
    assert(by_job == 1);
    osr_event_init(&all_told);
    osr_group_open(&group);
    assert(osr_post_open(&post, read_it, NULL) == 0);
    assert(osr_portal_open(&portal, &group) == 0);
    assert(pthread_create(&thread, NULL, write_and_fire, NULL) == 0);
    rc = osr_event_wait(&all_told);
    assert(rc == 0);
    assert(osr_sleep(osr_ms(20)) == 0); /* the call goes on meanwhile */
    rc = osr_group_close(&group, rc);
    pthread_join(thread, NULL);
    assert(returned == 2);
    return rc;
}

int main(void)
{
    return osr_run(program, NULL) == 0 ? 0 : 1;
}
