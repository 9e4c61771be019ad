/*
 * turns: tasks that wait for each other. A lock goes from guest to guest, a chair is brought by a timer, an event wakes
 * all who wait for it, a barrier lets three go on together.
 *
 *     make examples && build/gcc/examples/turns [--simulated]
 *     cc turns.c $(pkg-config --cflags --libs osier)
 *
 * Data that is changed between two waits needs no lock: nothing else runs meanwhile. These are for what must stay whole
 * over a wait, and for news.
 */
#include "example.h"

enum { GUESTS = 3 };

struct table {
    struct osr_lock salt;
    struct osr_semaphore chairs;
    struct osr_event dinner;
    struct osr_barrier glasses;
};

struct guest {
    const char *name;
    int64_t late; /* by how much */
    struct table *table;
};

/* ---- A lock -------------------------------------------------------------------------------------------- */

OSR_TASK(use_salt, struct guest, guest)
{
    int rc;

    say("%s asks for the salt", guest->name);
    rc = osr_lock_acquire(&guest->table->salt);
    if (rc < 0)
        return rc; /* cancelled: then it does not hold the lock */
    say("%s has it", guest->name);
    rc = osr_sleep(osr_s(1));
    say("%s hands it on", guest->name);
    osr_lock_release(&guest->table->salt); /* to the one who has waited longest */
    return rc;
}

/* ---- A semaphore --------------------------------------------------------------------------------------- */

OSR_TASK(sit_down, struct guest, guest)
{
    int rc = osr_semaphore_acquire(&guest->table->chairs);

    if (rc < 0)
        return rc;
    say("%s sits down", guest->name);
    rc = osr_sleep(osr_s(1));
    osr_semaphore_release(&guest->table->chairs);
    return rc;
}

/* Called by the loop, on no task. A lock belongs to the task that took it; a permit to nobody, so a timer can give one. */
static void bring_chair(void *table)
{
    say("a chair is brought");
    osr_semaphore_release(&((struct table *)table)->chairs);
}

static int share_chairs(struct table *table, struct guest guests[GUESTS])
{
    struct osr_call timer = {0};
    int rc = osr_call_later(&timer, osr_ms(500), bring_chair, table);

    if (rc == 0)
        rc = osr_gather(sit_down, guests, GUESTS);
    osr_call_cancel(&timer); /* if it has not come, it must not: nobody sits here any more */
    return rc;
}

/* ---- An event ------------------------------------------------------------------------------------------ */

OSR_TASK(wait_for_dinner, struct guest, guest)
{
    int rc = osr_event_wait(&guest->table->dinner);

    if (rc == 0)
        say("%s comes to the table", guest->name);
    return rc;
}

static void ring_bell(void *table)
{
    say("the bell rings");
    osr_event_set(&((struct table *)table)->dinner);
}

static int have_dinner(struct table *table, struct guest guests[GUESTS])
{
    struct osr_call timer = {0};
    int rc = osr_call_later(&timer, osr_s(1), ring_bell, table);

    if (rc == 0)
        rc = osr_gather(wait_for_dinner, guests, GUESTS);
    osr_call_cancel(&timer);
    return rc;
}

/* ---- A barrier ----------------------------------------------------------------------------------------- */

OSR_TASK(raise_glass, struct guest, guest)
{
    int rc = osr_sleep(guest->late);

    if (rc < 0)
        return rc;
    say("%s raises a glass", guest->name);
    rc = osr_barrier_wait(&guest->table->glasses);
    if (rc >= 0)
        say("%s drinks; came as number %d", guest->name, rc + 1);
    return rc;
}

/* ---- All of them --------------------------------------------------------------------------------------- */

static int program(void)
{
    struct table table;
    struct guest guests[GUESTS] = {{"Ann", osr_s(1), &table}, {"Ben", 0, &table}, {"Cid", osr_s(2), &table}};
    int rc;

    osr_lock_init(&table.salt);
    osr_semaphore_init(&table.chairs, 1);
    osr_event_init(&table.dinner);
    rc = osr_barrier_init(&table.glasses, GUESTS);

    if (rc == 0) {
        say("-- one salt cellar: a lock");
        rc = osr_gather(use_salt, guests, GUESTS);
    }
    if (rc == 0) {
        say("-- one chair, then two: a semaphore");
        rc = share_chairs(&table, guests);
    }
    if (rc == 0) {
        say("-- dinner: an event");
        rc = have_dinner(&table, guests);
    }
    if (rc == 0) {
        say("-- cheers: a barrier");
        rc = osr_gather(raise_glass, guests, GUESTS);
    }
    return rc;
}

int main(int argc, char **argv) { return example_run(argc, argv, program); }
