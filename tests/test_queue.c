/* Queues and select: orders, capacities, handing over, finishing, shutting down; what broke other queues. */
#include "harness.h"

#include <stdlib.h>
#include <time.h>

/* ---- Tasks at a queue ---------------------------------------------------------------------------------- */

struct user {
    const char *name;
    struct osr_queue *queue;
    bool puts;
    long item;
    struct osr_task task;
    int rc;
    bool returned;
};

OSR_TASK(user, struct user, u)
{
    u->rc = u->puts ? osr_queue_put(u->queue, &u->item) : osr_queue_get(u->queue, &u->item);
    u->returned = true;
    if (u->name && u->rc == 0)
        tell("%s %s %ld", u->name, u->puts ? "put" : "got", u->item);
    else if (u->name)
        tell("%s: %s", u->name, osr_strcode(u->rc));
    return u->rc == -ECANCELED ? -ECANCELED : 0;
}

static void bring(struct osr_group *group, struct user *u, const char *name, struct osr_queue *queue, bool puts,
                  long item)
{
    *u = (struct user){.name = name, .queue = queue, .puts = puts, .item = item};
    osr_spawn(group, user, u, .handle = &u->task);
}

static int put(struct osr_queue *queue, long item) { return osr_queue_try_put(queue, &item); }

/* The item, or a code. */
static long get(struct osr_queue *queue)
{
    long item = -1;
    int rc = osr_queue_try_get(queue, &item);

    return rc < 0 ? rc : item;
}

static int by_tens(const void *a, const void *b)
{
    long x = *(const long *)a / 10, y = *(const long *)b / 10;

    return (x > y) - (x < y);
}

static long disposed;

static void dispose(void *item)
{
    disposed++;
    tell("disposed of %ld", *(long *)item);
}

/* ---- Orders -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(items_come_out_in_the_order_in_which_they_were_put_in)
{
    struct osr_queue queue;
    long i;

    check_int(osr_queue_init(&queue, sizeof(long), 4), 0);
    check_int(osr_queue_capacity(&queue), 4);
    for (i = 0; i < 4; i++)
        check_int(put(&queue, i), 0);
    check_int(put(&queue, 4), -EAGAIN);
    check_int(osr_queue_count(&queue), 4);
    for (i = 0; i < 100; i++) {
        check_int(get(&queue), i);
        check_int(put(&queue, i + 4), 0);
    }
    for (i = 100; i < 104; i++)
        check_int(get(&queue), i);
    check_int(get(&queue), -EAGAIN);
    return osr_queue_destroy(&queue);
}

SIMULATED_TEST(the_last_comes_out_first_of_a_lifo)
{
    struct osr_queue queue;

    check_int(osr_queue_init(&queue, sizeof(long), 3, .order = OSR_QUEUE_LIFO), 0);
    put(&queue, 1), put(&queue, 2), put(&queue, 3);
    check_int(get(&queue), 3);
    put(&queue, 4);
    check_int(put(&queue, 5), -EAGAIN);
    check_int(get(&queue), 4);
    check_int(get(&queue), 2);
    check_int(get(&queue), 1);
    return osr_queue_destroy(&queue);
}

SIMULATED_TEST(the_smallest_comes_out_first_of_a_priority_queue_and_equal_ones_in_order)
{
    static const long in[] = {31, 10, 32, 20, 11, 33, 12, 21, 0, 34, 13},
                      out[] = {0, 10, 11, 12, 13, 20, 21, 31, 32, 33, 34};
    struct osr_queue queue;
    size_t i;

    check_int(osr_queue_init(&queue, sizeof(long), OSR_UNBOUNDED, .order = OSR_QUEUE_PRIORITY, .compare = by_tens), 0);
    for (i = 0; i < 11; i++)
        check_int(put(&queue, in[i]), 0);
    for (i = 0; i < 11; i++)
        check_int(get(&queue), out[i]);
    return osr_queue_destroy(&queue);
}

enum { CLASS = 100000 };

static int by_class(const void *a, const void *b)
{
    long x = *(const long *)a / CLASS, y = *(const long *)b / CLASS;

    return (x > y) - (x < y);
}

/* Against a plain array, with many equal ones, and items coming and going. */
SIMULATED_TEST(a_priority_queue_stays_stable_whatever_comes_and_goes)
{
    long left[512], count = 0, serial = 0, i, j, best;
    struct osr_queue queue;
    uint32_t dice = 12345;

    osr_queue_init(&queue, sizeof(long), OSR_UNBOUNDED, .order = OSR_QUEUE_PRIORITY, .compare = by_class);
    for (i = 0; i < 20000; i++) {
        dice = dice * 1664525 + 1013904223;
        if (count < 512 && (count == 0 || dice >> 31)) {
            left[count] = (long)((dice >> 16) % 7) * CLASS + serial++;
            check_int(put(&queue, left[count++]), 0);
        } else {
            for (best = 0, j = 1; j < count; j++)
                if (left[j] / CLASS < left[best] / CLASS)
                    best = j;
            check_int(get(&queue), left[best]);
            memmove(&left[best], &left[best + 1], (size_t)(--count - best) * sizeof(long));
        }
    }
    check_int(osr_queue_count(&queue), count);
    return osr_queue_destroy(&queue);
}

struct odd {
    char text[13];
};

static int compare_odd(const void *a, const void *b)
{
    return strcmp(((const struct odd *)a)->text, ((const struct odd *)b)->text);
}

SIMULATED_TEST(items_may_be_of_any_size)
{
    static const char *const words[] = {"willow", "ash", "oak", "birch", "elm"},
                             *const sorted[] = {"ash", "birch", "elm", "oak", "willow"};
    struct osr_queue queue;
    struct odd item;
    int order, i;
    char byte = 7;

    for (order = OSR_QUEUE_FIFO; order <= OSR_QUEUE_PRIORITY; order++) {
        check_int(osr_queue_init(&queue, sizeof(struct odd), 5, .order = (enum osr_queue_order)order,
                                 .compare = order == OSR_QUEUE_PRIORITY ? compare_odd : NULL),
                  0);
        for (i = 0; i < 5; i++) {
            snprintf(item.text, sizeof(item.text), "%s", words[i]);
            check_int(osr_queue_put(&queue, &item), 0);
        }
        for (i = 0; i < 5; i++) {
            check_int(osr_queue_get(&queue, &item), 0);
            check_text(item.text, order == OSR_QUEUE_FIFO   ? words[i]
                                  : order == OSR_QUEUE_LIFO ? words[4 - i]
                                                            : sorted[i]);
        }
        check_int(osr_queue_destroy(&queue), 0);
    }
    osr_queue_init(&queue, 1, OSR_UNBOUNDED);
    check_int(osr_queue_put(&queue, &byte), 0);
    byte = 0;
    check_int(osr_queue_get(&queue, &byte), 0);
    check_int(byte, 7);
    return osr_queue_destroy(&queue);
}

/* ---- Capacities ---------------------------------------------------------------------------------------- */

/* Growth at every place of the beginning in the round. */
SIMULATED_TEST(an_unbounded_fifo_that_has_gone_round_grows_in_order)
{
    long turn, i, in, out;
    struct osr_queue queue;

    for (turn = 0; turn <= 16; turn++) {
        osr_queue_init(&queue, sizeof(long), OSR_UNBOUNDED);
        check_int(osr_queue_capacity(&queue) == OSR_UNBOUNDED, 1);
        in = out = 0;
        for (i = 0; i < 16; i++)
            put(&queue, in++);
        for (i = 0; i < turn; i++)
            check_int(get(&queue), out++);
        for (i = 0; i < 100; i++) /* over 16, 32 and 64 */
            check_int(put(&queue, in++), 0);
        while (out < in)
            check_int(get(&queue), out++);
        check_int(get(&queue), -EAGAIN);
        check_int(osr_queue_destroy(&queue), 0);
    }
    return 0;
}

TOLD_TEST(without_room_items_go_from_hand_to_hand, "getter got 1\nputter put 2\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct user getter, putter;

    check_int(osr_queue_init(&queue, sizeof(long), 0), 0);
    check_int(put(&queue, 1), -EAGAIN);
    check_int(get(&queue), -EAGAIN);
    osr_group_open(&group);
    bring(&group, &getter, "getter", &queue, false, 0);
    osr_yield();
    check_int(put(&queue, 1), 0);
    check_int(put(&queue, 1), -EAGAIN);
    osr_sleep(1);
    bring(&group, &putter, "putter", &queue, true, 2);
    osr_yield();
    check_int(osr_queue_count(&queue), 0);
    check_int(get(&queue), 2);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(who_waits_to_put_goes_in_in_order_as_room_comes, "a put 1\nb put 2\nc put 3\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct user users[3];

    osr_queue_init(&queue, sizeof(long), 1);
    put(&queue, 0);
    osr_group_open(&group);
    bring(&group, &users[0], "a", &queue, true, 1);
    bring(&group, &users[1], "b", &queue, true, 2);
    bring(&group, &users[2], "c", &queue, true, 3);
    osr_yield();
    check_int(get(&queue), 0);
    check_int(osr_queue_count(&queue), 1);
    check_int(put(&queue, 9), -EAGAIN);
    check_int(get(&queue), 1);
    check_int(get(&queue), 2);
    check_int(get(&queue), 3);
    check_int(get(&queue), -EAGAIN);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(who_waits_to_get_is_served_in_order, "a got 1\nb got 2\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct user users[2];

    osr_queue_init(&queue, sizeof(long), 5, .order = OSR_QUEUE_LIFO);
    osr_group_open(&group);
    bring(&group, &users[0], "a", &queue, false, 0);
    bring(&group, &users[1], "b", &queue, false, 0);
    osr_yield();
    put(&queue, 1);
    put(&queue, 2);
    put(&queue, 3);
    check_int(osr_queue_count(&queue), 1);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

/* What a waiting put brings is put in when there is room: it is the newest of its equals. */
SIMULATED_TEST(what_waited_to_be_put_in_takes_its_place_by_the_order_of_the_queue)
{
    struct osr_queue queue;
    struct osr_group group;
    struct user one;

    osr_queue_init(&queue, sizeof(long), 2, .order = OSR_QUEUE_PRIORITY, .compare = by_tens);
    put(&queue, 10), put(&queue, 21);
    osr_group_open(&group);
    bring(&group, &one, NULL, &queue, true, 20);
    osr_yield();
    check_int(get(&queue), 10);
    check_int(get(&queue), 21);
    check_int(get(&queue), 20);
    osr_group_close(&group, 0);
    osr_queue_destroy(&queue);
    osr_queue_init(&queue, sizeof(long), 2, .order = OSR_QUEUE_LIFO);
    put(&queue, 1), put(&queue, 2);
    osr_group_open(&group);
    bring(&group, &one, NULL, &queue, true, 3);
    osr_yield();
    check_int(get(&queue), 2);
    check_int(get(&queue), 3);
    check_int(get(&queue), 1);
    osr_group_close(&group, 0);
    return osr_queue_destroy(&queue);
}

OSR_TASK(note_that_it_ran, bool, ran)
{
    *ran = true;
    return 0;
}

static void use_without_waiting(struct osr_queue *queue, int which)
{
    long item = 1;
    struct osr_case one = OSR_GET(queue, &item);

    switch (which) {
    case 0:
        check_int(osr_queue_put(queue, &item), 0);
        break;
    case 1:
        check_int(osr_queue_get(queue, &item), 0);
        check_int(osr_queue_task_done(queue), 0);
        break;
    case 2:
        check_int(put(queue, 1), 0);
        check_int(osr_select(&one, 1, OSR_NEVER), 0);
        check_int(osr_queue_task_done(queue), 0);
        break;
    default:
        while (get(queue) >= 0)
            osr_queue_task_done(queue);
        check_int(osr_queue_join(queue), 0);
    }
}

SIMULATED_TEST(a_task_whose_puts_and_gets_never_wait_lets_others_run)
{
    struct osr_queue queue;
    int which, i;

    osr_queue_init(&queue, sizeof(long), OSR_UNBOUNDED);
    for (which = 0; which < 4; which++) {
        struct osr_group group;
        bool ran = false;

        osr_group_open(&group);
        osr_spawn(&group, note_that_it_ran, &ran);
        for (i = 0; i < 300 && !ran; i++)
            use_without_waiting(&queue, which);
        check(ran);
        osr_group_close(&group, 0);
    }
    return osr_queue_destroy(&queue);
}

/* ---- Memory -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(the_callers_buffer_serves_instead_of_memory)
{
    long room[3];
    struct osr_queue queue;
    long made = counting.made;

    check_int(osr_queue_init(&queue, sizeof(long), 3, .buffer = room), 0);
    put(&queue, 1), put(&queue, 2), put(&queue, 3);
    check_int(put(&queue, 4), -EAGAIN);
    check_int(room[0], 1);
    check_int(get(&queue), 1);
    check_int(put(&queue, 4), 0);
    check_int(room[0], 4);
    check_int(osr_queue_destroy(&queue), 0);
    check_int(counting.made, made);
    check_int(osr_queue_init(&queue, sizeof(long), 0, .buffer = room), 0);
    check_int(put(&queue, 4), -EAGAIN);
    return osr_queue_destroy(&queue);
}

/* Every allocation in turn fails, and everything is whole afterwards. */
OSR_TASK(fill_without_memory, void, unused)
{
    static const size_t capacities[] = {5, OSR_UNBOUNDED};
    int order, which;
    long fail_at, i, made, live = counting.live;

    for (order = OSR_QUEUE_FIFO; order <= OSR_QUEUE_PRIORITY; order++)
        for (which = 0; which < 2; which++)
            for (fail_at = 1; fail_at <= 9; fail_at++) {
                struct osr_queue queue;
                long refused = 0;

                counting = (struct counting){.live = counting.live, .fail_at = fail_at};
                made = osr_queue_init(&queue, sizeof(long), capacities[which], .order = (enum osr_queue_order)order,
                                      .compare = order == OSR_QUEUE_PRIORITY ? by_tens : NULL);
                if (made < 0) {
                    check_int(made, -ENOMEM);
                    check_int(put(&queue, 1), -EINVAL);
                    check_int(osr_queue_destroy(&queue), -EINVAL);
                    check_int(counting.live, live);
                    continue;
                }
                for (i = 0; i < (which ? 40 : 5);) {
                    long item = i * 10;
                    int rc = i % 2 ? osr_queue_put(&queue, &item) : osr_queue_try_put(&queue, &item);

                    check(rc == 0 || (rc == -ENOMEM && which == 1));
                    refused += rc < 0;
                    i += rc == 0;
                }
                check(refused <= 1);
                for (i = 0; i < (which ? 40 : 5); i++)
                    check_int(get(&queue), order == OSR_QUEUE_LIFO ? ((which ? 39 : 4) - i) * 10 : i * 10);
                check_int(osr_queue_destroy(&queue), 0);
                check_int(counting.live, live);
            }
    counting.fail_at = 0;
    return 0;
}

SIMULATED_TEST(items_too_large_for_any_memory_are_refused_when_they_come)
{
    struct osr_queue queue;
    char item = 1; /* is not looked at */

    check_int(osr_queue_init(&queue, SIZE_MAX / 8, OSR_UNBOUNDED), 0);
    check_int(osr_queue_put(&queue, &item), -ENOMEM);
    check_int(osr_queue_count(&queue), 0);
    return osr_queue_destroy(&queue);
}

static void without_memory_a_queue_says_so_and_keeps_what_it_has(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(fill_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

OSR_TASK(select_without_memory, void, unused)
{
    struct osr_queue queue, other;
    long item = 1, got;
    struct osr_case cases[] = {OSR_PUT(&queue, &item), OSR_GET(&other, &got)}, wait = OSR_GET(&queue, &got);
    struct osr_case second[] = {OSR_GET(&other, &got), OSR_PUT(&queue, &item)};

    osr_queue_init(&queue, sizeof(long), OSR_UNBOUNDED);
    osr_queue_init(&other, sizeof(long), 1);
    counting.fail_at = counting.made + 1;
    check_int(osr_select(cases, 2, OSR_NEVER), -ENOMEM);
    counting.fail_at = counting.made + 1;
    check_int(osr_try_select(cases, 2), -ENOMEM);
    counting.fail_at = counting.made + 1;
    check_int(osr_try_select(second, 2), -ENOMEM);
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    check_int(osr_select(&wait, 1, osr_s(1)), -ENOMEM); /* for the moment */
    check(osr_waiters_empty(&queue.getters_));
    counting.fail_at = 0;
    check_int(osr_select(cases, 2, OSR_NEVER), 0);
    check_int(osr_queue_destroy(&other), 0);
    return osr_queue_destroy(&queue);
}

static void without_memory_a_select_does_nothing(void **state)
{
    (void)state;
    assert_int_equal(run_simulated(select_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
}

OSR_TASK(leave_a_queue_behind, struct osr_queue, queue)
{
    check_int(osr_queue_init(queue, sizeof(long), 2), 0);
    return put(queue, 5);
}

static void a_queue_may_outlive_its_run(void **state)
{
    struct osr_queue queue;
    long item = 1;

    (void)state;
    assert_int_equal(run_simulated(leave_a_queue_behind, &queue, .allocator = &counting_allocator), 0);
    assert_int_equal(osr_queue_try_put(&queue, &item), -EPERM);
    assert_int_equal(osr_queue_try_get(&queue, &item), -EPERM);
    assert_int_equal(osr_queue_count(&queue), 1);
    assert_int_equal(counting.live, 1);
    assert_int_equal(osr_queue_destroy(&queue), 0);
    assert_int_equal(counting.live, 0);
    assert_int_equal(osr_queue_init(&queue, sizeof(long), 2), 0);
    assert_int_equal(counting.live, 0);
    assert_int_equal(osr_queue_destroy(&queue), 0);
    assert_checked();
}

/* ---- Cancelling: items are in exactly one place -------------------------------------------------------- */

/* 17: bpo23812. */
TOLD_TEST(an_item_that_was_handed_to_a_getter_who_is_then_cancelled_has_arrived, "a got 1\nb got 2\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct user users[2];

    osr_queue_init(&queue, sizeof(long), 1);
    osr_group_open(&group);
    bring(&group, &users[0], "a", &queue, false, 0);
    bring(&group, &users[1], "b", &queue, false, 0);
    osr_yield();
    put(&queue, 1);
    osr_task_cancel(users[0].task, NULL);
    put(&queue, 2);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_queue_count(&queue), 0);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(an_item_for_a_getter_who_was_cancelled_goes_to_the_next, "a: ECANCELED\nb got 1\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct user users[2];

    osr_queue_init(&queue, sizeof(long), 1);
    osr_group_open(&group);
    bring(&group, &users[0], "a", &queue, false, 0);
    bring(&group, &users[1], "b", &queue, false, 0);
    osr_yield();
    osr_task_cancel(users[0].task, NULL);
    put(&queue, 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(users[0].item, 0);
    return osr_queue_destroy(&queue);
}

/* 19. */
TOLD_TEST(room_that_a_cancelled_putter_would_have_taken_goes_to_the_next, "a: ECANCELED\nb put 2\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct user users[2];

    osr_queue_init(&queue, sizeof(long), 1);
    put(&queue, 0);
    osr_group_open(&group);
    bring(&group, &users[0], "a", &queue, true, 1);
    bring(&group, &users[1], "b", &queue, true, 2);
    osr_yield();
    osr_task_cancel(users[0].task, NULL);
    check_int(get(&queue), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(get(&queue), 2);
    check_int(get(&queue), -EAGAIN);
    return osr_queue_destroy(&queue);
}

/* 18: asyncio 201. */
struct race {
    struct osr_queue queue;
    long count, wrong, timeouts;
};

OSR_TASK(produce_all, struct race, race)
{
    long i;
    int rc = 0;

    for (i = 0; i < race->count && rc == 0; i++) {
        rc = osr_sleep(1 + i % 3);
        if (rc == 0)
            rc = osr_queue_put(&race->queue, &i);
    }
    return rc;
}

/* Each get gives up at the very moment at which the next item may come. */
OSR_TASK(consume_all, struct race, race)
{
    long next = 0, item;

    while (next < race->count) {
        struct osr_scope limit;
        int rc;

        osr_move_on_open(&limit, 1);
        rc = osr_queue_get(&race->queue, &item);
        race->timeouts += rc < 0;
        if (rc == 0)
            race->wrong += item != next++;
        osr_scope_close(&limit, rc);
    }
    return 0;
}

OSR_TASK(race_with_the_clock, struct race, race)
{
    struct osr_group group;

    osr_queue_init(&race->queue, sizeof(long), 1);
    osr_group_open(&group);
    osr_spawn(&group, consume_all, race);
    osr_spawn(&group, produce_all, race);
    check_int(osr_group_close(&group, 0), 0);
    check(race->timeouts > race->count / 3);
    check_int(race->wrong, 0);
    check_int(osr_queue_count(&race->queue), 0);
    return osr_queue_destroy(&race->queue);
}

static void all_items_arrive_in_order_though_gets_give_up_as_they_come(void **state)
{
    struct race race = {.count = sized(100000, 1000)};

    (void)state;
    assert_int_equal(osr_run(race_with_the_clock, &race, .clock = OSR_CLOCK_SIMULATED), 0);
    assert_checked();
}

/* ---- Work that is finished ----------------------------------------------------------------------------- */

OSR_TASK(join_the_queue, struct osr_queue, queue)
{
    int rc = osr_queue_join(queue);

    tell("joined: %d", rc);
    return rc;
}

TOLD_TEST(a_join_waits_until_every_item_is_done, "--\njoined: 0\n")
{
    struct osr_queue queue;
    struct osr_group group;

    osr_queue_init(&queue, sizeof(long), 3);
    check_int(osr_queue_join(&queue), 0);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    put(&queue, 1), put(&queue, 2);
    check_int(osr_queue_task_done(&queue), -EINVAL); /* nobody has got one */
    osr_group_open(&group);
    osr_spawn(&group, join_the_queue, &queue);
    osr_yield();
    check_int(osr_queue_destroy(&queue), -EBUSY);
    check_int(get(&queue), 1);
    check_int(osr_queue_task_done(&queue), 0);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    check_int(get(&queue), 2);
    osr_sleep(1);
    tell("--");
    check_int(osr_queue_task_done(&queue), 0);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

SIMULATED_TEST(what_was_handed_over_has_to_be_done_too)
{
    struct osr_queue queue;
    struct osr_group group;
    struct user one;

    osr_queue_init(&queue, sizeof(long), 0);
    osr_group_open(&group);
    bring(&group, &one, NULL, &queue, false, 0);
    osr_yield();
    put(&queue, 1);
    check_int(osr_queue_task_done(&queue), 0);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    bring(&group, &one, NULL, &queue, true, 0);
    osr_sleep(1);
    check_int(osr_queue_task_done(&queue), -EINVAL); /* it is still with its putter */
    get(&queue);
    check_int(osr_queue_task_done(&queue), 0);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

/* ---- Shutting down ------------------------------------------------------------------------------------- */

TOLD_TEST(a_queue_that_is_shut_down_is_emptied_and_then_says_so, "")
{
    struct osr_queue queue;
    long item = 3;

    osr_queue_init(&queue, sizeof(long), 3, .dispose = dispose);
    put(&queue, 1), put(&queue, 2);
    check_int(osr_queue_shutdown(&queue, false), 0);
    check_int(put(&queue, 3), -ESHUTDOWN);
    check_int(osr_queue_put(&queue, &item), -ESHUTDOWN);
    check_int(osr_queue_get(&queue, &item), 0);
    check_int(item, 1);
    check_int(get(&queue), 2);
    check_int(get(&queue), -ESHUTDOWN);
    check_int(osr_queue_get(&queue, &item), -ESHUTDOWN);
    check_int(osr_queue_shutdown(&queue, false), -EALREADY);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(shut_down_at_once_it_disposes_of_what_is_there_and_that_counts_as_done,
          "disposed of 2\ndisposed of 3\njoined: 0\n")
{
    struct osr_queue queue;
    struct osr_group group;

    osr_queue_init(&queue, sizeof(long), 3, .dispose = dispose);
    put(&queue, 1), put(&queue, 2), put(&queue, 3);
    check_int(get(&queue), 1);
    osr_queue_task_done(&queue);
    osr_group_open(&group);
    osr_spawn(&group, join_the_queue, &queue);
    osr_yield();
    check_int(osr_queue_shutdown(&queue, false), 0);
    check_int(osr_queue_count(&queue), 2);
    check_int(osr_queue_shutdown(&queue, true), 0);
    check_int(osr_queue_shutdown(&queue, true), -EALREADY);
    check_int(osr_queue_shutdown(&queue, false), -EALREADY);
    check_int(osr_queue_count(&queue), 0);
    check_int(get(&queue), -ESHUTDOWN);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

SIMULATED_TEST(what_was_got_before_a_shutdown_still_has_to_be_done)
{
    struct osr_queue queue;

    osr_queue_init(&queue, sizeof(long), 3);
    put(&queue, 1), put(&queue, 2);
    get(&queue);
    check_int(osr_queue_shutdown(&queue, true), 0);
    check_int(osr_queue_task_done(&queue), 0);
    check_int(osr_queue_join(&queue), 0);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(who_waits_is_told_of_the_shutdown, "a: ESHUTDOWN\nb: ESHUTDOWN\nc: ESHUTDOWN\n")
{
    struct osr_queue full, empty;
    struct osr_group group;
    struct user users[3];

    osr_queue_init(&full, sizeof(long), 1);
    osr_queue_init(&empty, sizeof(long), 1);
    put(&full, 1);
    osr_group_open(&group);
    bring(&group, &users[0], "a", &full, true, 2);
    bring(&group, &users[1], "b", &full, true, 3);
    bring(&group, &users[2], "c", &empty, false, 0);
    osr_yield();
    check_int(osr_queue_destroy(&full), -EBUSY);
    check_int(osr_queue_destroy(&empty), -EBUSY);
    check_int(osr_queue_shutdown(&full, false), 0);
    check_int(osr_queue_shutdown(&empty, true), 0);
    check_int(osr_queue_count(&full), 1);
    check_int(osr_group_close(&group, 0), 0);
    check_int(get(&full), 1);
    check_int(osr_queue_destroy(&empty), 0);
    return osr_queue_destroy(&full);
}

TOLD_TEST(destroying_a_queue_disposes_of_what_is_there, "disposed of 2\ndisposed of 3\ndisposed of 4\n")
{
    struct osr_queue queue;

    osr_queue_init(&queue, sizeof(long), 3, .dispose = dispose);
    put(&queue, 1), put(&queue, 2), put(&queue, 3);
    get(&queue);
    put(&queue, 4);
    check_int(osr_queue_destroy(&queue), 0);
    check_int(osr_queue_destroy(&queue), -EINVAL);
    check_int(put(&queue, 1), -EINVAL);
    return 0;
}

static struct osr_queue *meddled_with;

/* Disposes of an item, and uses the queue all the same. */
static void dispose_and_meddle(void *item)
{
    long other;
    int rc;

    dispose(item);
    rc = osr_queue_try_put(meddled_with, item);
    check(rc == -ESHUTDOWN);
    if (osr_queue_count(meddled_with) > 0)
        check_int(osr_queue_task_done(meddled_with), -EINVAL); /* nobody has got one yet */
    if (osr_queue_try_get(meddled_with, &other) == 0)
        tell("got %ld", other);
}

TOLD_TEST(who_uses_the_queue_while_it_disposes_of_items_finds_it_whole,
          "disposed of 1\ngot 2\ndisposed of 3\n--\ndisposed of 3\ngot 2\ndisposed of 1\n--\ndisposed of 1\ngot 2\n")
{
    struct osr_queue queue;
    int i;

    meddled_with = &queue;
    for (i = 0; i < 2; i++) {
        osr_queue_init(&queue, sizeof(long), 3, .dispose = dispose_and_meddle,
                       .order = i ? OSR_QUEUE_LIFO : OSR_QUEUE_FIFO);
        put(&queue, 1), put(&queue, 2), put(&queue, 3);
        check_int(osr_queue_shutdown(&queue, true), 0);
        check_int(queue.unfinished_, 1);
        check_int(osr_queue_destroy(&queue), 0);
        tell("--");
    }
    osr_queue_init(&queue, sizeof(long), 3, .dispose = dispose_and_meddle);
    put(&queue, 1), put(&queue, 2);
    return osr_queue_destroy(&queue);
}

static struct osr_task joins;

static void look_at_who_joins(void *item)
{
    (void)item;
    tell("disposed of while the joiner %s", osr_task_state(joins) == OSR_TASK_WAITING ? "waits" : "goes on");
}

OSR_TASK(join_and_tell, struct osr_queue, queue)
{
    tell("join: %s", osr_strcode(osr_queue_join(queue)));
    return 0;
}

OSR_TASK(put_and_tell, struct osr_queue, queue)
{
    long item = 2;

    tell("put: %s", osr_strcode(osr_queue_put(queue, &item)));
    return 0;
}

TOLD_TEST(a_shutdown_tells_those_who_put_then_disposes_of_items_then_tells_those_who_join,
          "disposed of while the joiner waits\nput: ESHUTDOWN\njoin: 0\n")
{
    struct osr_queue queue;
    struct osr_group group;

    osr_queue_init(&queue, sizeof(long), 1, .dispose = look_at_who_joins);
    put(&queue, 1);
    osr_group_open(&group);
    osr_spawn(&group, join_and_tell, &queue, .handle = &joins);
    osr_spawn(&group, put_and_tell, &queue);
    osr_yield();
    check_int(osr_queue_shutdown(&queue, true), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

OSR_TASK(shut_down_from_another_run, struct osr_queue, queue)
{
    check_int(osr_queue_shutdown(queue, true), -EPERM);
    check_int(osr_queue_task_done(queue), -EPERM);
    return 0;
}

OSR_JOB(shut_down_elsewhere, struct osr_queue, queue) { return run_simulated(shut_down_from_another_run, queue); }

OSR_TASK(join_from_here, struct osr_queue, queue) { return osr_queue_join(queue); }

SIMULATED_TEST(a_queue_that_tasks_of_another_run_join_is_not_shut_down)
{
    struct osr_queue queue;
    struct osr_group group;
    int item = 1;

    osr_queue_init(&queue, sizeof(int), 1);
    check_int(osr_queue_put(&queue, &item), 0);
    osr_group_open(&group);
    osr_spawn(&group, join_from_here, &queue);
    check_int(osr_yield(), 0);
    check_int(osr_offload(shut_down_elsewhere, &queue), 0);
    check_int(osr_queue_shutdown(&queue, true), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

/* ---- Select -------------------------------------------------------------------------------------------- */

struct two_queues {
    struct osr_queue here, there;
};

OSR_TASK(select_from_another_run, struct two_queues, queues)
{
    int item = 1;
    struct osr_case cases[] = {OSR_PUT(&queues->there, &item), OSR_PUT(&queues->here, &item)};

    check_int(osr_select(cases, 2, OSR_NEVER), -EPERM);
    check_int(osr_try_select(cases, 2), -EPERM);
    check_int(osr_queue_count(&queues->here), 0);
    return 0;
}

OSR_JOB(select_elsewhere, struct two_queues, queues) { return run_simulated(select_from_another_run, queues); }

OSR_TASK(get_from_here, struct osr_queue, queue)
{
    int item;

    return osr_queue_get(queue, &item);
}

SIMULATED_TEST(a_select_does_nothing_where_tasks_of_another_run_wait)
{
    struct two_queues queues;
    struct osr_group group;

    osr_queue_init(&queues.there, sizeof(int), 1);
    osr_queue_init(&queues.here, sizeof(int), 1);
    osr_group_open(&group);
    osr_spawn(&group, get_from_here, &queues.there);
    check_int(osr_yield(), 0);
    check_int(osr_offload(select_elsewhere, &queues), 0);
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    osr_queue_destroy(&queues.here);
    return osr_queue_destroy(&queues.there);
}

SIMULATED_TEST(of_several_cases_that_can_be_done_the_first_is_and_no_other)
{
    struct osr_queue a, b;
    long one = 1, two = 2, got = 0;
    struct osr_case cases[] = {OSR_GET(&a, &got), OSR_PUT(&b, &one), OSR_PUT(&a, &two)};

    osr_queue_init(&a, sizeof(long), 2);
    osr_queue_init(&b, sizeof(long), 1);
    check_int(osr_select(cases, 3, OSR_NEVER), 1);
    check_int(cases[1].rc, 0);
    check_int(osr_select(cases, 3, OSR_NEVER), 2);
    check_int(osr_select(cases, 3, OSR_NEVER), 0);
    check_int(got, 2);
    check_int(osr_queue_count(&a), 0);
    check_int(get(&b), 1);
    check_int(osr_try_select(cases, 1), -EAGAIN);
    check_int(osr_try_select(cases, 2), 1);
    osr_queue_destroy(&a);
    return osr_queue_destroy(&b);
}

struct selector {
    struct osr_queue *get, *put;
    int64_t until;
    long got, item;
    int rc, case_rc;
    struct osr_task task;
};

OSR_TASK(selector, struct selector, s)
{
    struct osr_case cases[] = {OSR_GET(s->get, &s->got), OSR_PUT(s->put, &s->item)};

    s->rc = osr_select(cases, 2, s->until);
    s->case_rc = s->rc >= 0 ? cases[s->rc].rc : 0;
    tell("select: %d", s->rc);
    return s->rc == -ECANCELED ? s->rc : 0;
}

TOLD_TEST(a_select_that_waited_does_one_case_and_leaves_all_queues, "select: 0\nselect: 1\n")
{
    struct osr_queue a, b;
    struct osr_group group;
    struct selector s = {.get = &a, .put = &b, .until = OSR_NEVER, .item = 7};

    osr_queue_init(&a, sizeof(long), 1);
    osr_queue_init(&b, sizeof(long), 1);
    put(&b, 1);
    osr_group_open(&group);
    osr_spawn(&group, selector, &s);
    osr_yield();
    check_int(put(&a, 5), 0);
    check(osr_waiters_empty(&a.getters_) && osr_waiters_empty(&b.putters_));
    check_int(get(&b), 1); /* too late for the other case */
    check_int(get(&b), -EAGAIN);
    osr_sleep(1);
    check_int(s.got, 5);
    put(&b, 1);
    osr_spawn(&group, selector, &s);
    osr_sleep(1);
    check_int(get(&b), 1);
    check_int(get(&b), 7);
    check_int(put(&a, 6), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(get(&a), 6);
    osr_queue_destroy(&a);
    return osr_queue_destroy(&b);
}

TOLD_TEST(two_selects_meet_at_a_queue_without_room, "select: 0\nselect: 1\n")
{
    struct osr_queue a, b;
    struct osr_group group;
    struct selector first = {.get = &a, .put = &b, .until = OSR_NEVER, .item = 1},
                    second = {.get = &b, .put = &a, .until = OSR_NEVER, .item = 2};

    osr_queue_init(&a, sizeof(long), 0);
    osr_queue_init(&b, sizeof(long), 0);
    osr_group_open(&group);
    osr_spawn(&group, selector, &first);
    osr_yield();
    osr_spawn(&group, selector, &second, .eager = true);
    check_int(second.got, 1);
    osr_sleep(1);
    check_int(osr_group_close(&group, 0), 0);
    check(osr_waiters_empty(&a.getters_) && osr_waiters_empty(&a.putters_) && osr_waiters_empty(&b.getters_) &&
          osr_waiters_empty(&b.putters_));
    osr_queue_destroy(&a);
    return osr_queue_destroy(&b);
}

TOLD_TEST(a_select_never_meets_itself, "select: 1\n")
{
    struct osr_queue queue;
    struct osr_group group;
    struct selector s = {.get = &queue, .put = &queue, .until = OSR_NEVER, .item = 1};

    osr_queue_init(&queue, sizeof(long), 0);
    osr_group_open(&group);
    osr_spawn(&group, selector, &s);
    osr_sleep(1);
    check(!osr_waiters_empty(&queue.getters_) && !osr_waiters_empty(&queue.putters_));
    check_int(get(&queue), 1);
    check(osr_waiters_empty(&queue.getters_) && osr_waiters_empty(&queue.putters_));
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(a_select_gives_up_at_its_moment, "select: ETIMEDOUT at 5 ms\n")
{
    struct osr_queue queue;
    long item;
    struct osr_case one = OSR_GET(&queue, &item);
    int rc;

    osr_queue_init(&queue, sizeof(long), 1);
    rc = osr_select(&one, 1, osr_ms(5));
    tell("select: %s at %d ms", osr_strcode(rc), (int)(osr_now() / osr_ms(1)));
    check_int(osr_select(&one, 1, osr_ms(5)), -ETIMEDOUT);
    check_int(osr_select(&one, 1, 0), -ETIMEDOUT);
    put(&queue, 3);
    check_int(osr_select(&one, 1, 0), 0); /* what can be done at once comes before the moment */
    check(osr_waiters_empty(&queue.getters_));
    return osr_queue_destroy(&queue);
}

/* Those who wait to put are told first. */
OSR_TASK(put_or_get, struct osr_queue, queue)
{
    long in, out = 1;
    struct osr_case cases[] = {OSR_GET(queue, &in), OSR_PUT(queue, &out)};

    check_int(osr_select(cases, 2, OSR_NEVER), 1);
    check_int(cases[1].rc, -ESHUTDOWN);
    return 0;
}

SIMULATED_TEST(a_select_that_waits_to_put_and_to_get_is_told_of_a_shutdown_as_who_puts)
{
    struct osr_queue queue;
    struct osr_group group;

    osr_queue_init(&queue, sizeof(long), 0);
    osr_group_open(&group);
    osr_spawn(&group, put_or_get, &queue);
    osr_yield();
    check_int(osr_queue_shutdown(&queue, false), 0);
    check_int(osr_group_close(&group, 0), 0);
    return osr_queue_destroy(&queue);
}

TOLD_TEST(a_select_is_told_of_a_shutdown, "select: 0\nselect: 1\nselect: 0\n")
{
    struct osr_queue a, b;
    struct osr_group group;
    struct selector s = {.get = &a, .put = &b, .until = osr_s(1)};

    osr_queue_init(&a, sizeof(long), 1);
    osr_queue_init(&b, sizeof(long), 1);
    put(&b, 1);
    osr_group_open(&group);
    osr_spawn(&group, selector, &s);
    osr_yield();
    osr_queue_shutdown(&a, false);
    osr_sleep(1);
    check_int(s.case_rc, -ESHUTDOWN);
    osr_queue_destroy(&a);
    osr_queue_init(&a, sizeof(long), 1);
    osr_spawn(&group, selector, &s);
    osr_sleep(1);
    osr_queue_shutdown(&b, false);
    osr_sleep(1);
    check_int(s.case_rc, -ESHUTDOWN);
    osr_queue_shutdown(&a, false);
    osr_spawn(&group, selector, &s);
    check_int(osr_group_close(&group, 0), 0);
    check_int(s.case_rc, -ESHUTDOWN);
    osr_queue_destroy(&a);
    return osr_queue_destroy(&b);
}

/* ---- On the loop --------------------------------------------------------------------------------------- */

static void use_on_the_loop(void *arg)
{
    struct osr_queue *queue = arg;
    long item = 4;
    struct osr_case one = OSR_GET(queue, &item);

    check_int(osr_queue_put(queue, &item), -EPERM);
    check_int(osr_queue_get(queue, &item), -EPERM);
    check_int(osr_queue_join(queue), -EPERM);
    check_int(osr_select(&one, 1, OSR_NEVER), -EPERM);
    check_int(put(queue, 4), 0);
    check_int(osr_try_select(&one, 1), 0);
    check_int(osr_queue_task_done(queue), 0);
    check_int(put(queue, 5), 0);
    check_int(osr_queue_shutdown(queue, false), 0);
}

SIMULATED_TEST(a_callback_uses_a_queue_without_waiting)
{
    struct osr_queue queue;

    osr_queue_init(&queue, sizeof(long), 1);
    call_on_the_loop(use_on_the_loop, &queue);
    check_int(get(&queue), 5);
    check_int(get(&queue), -ESHUTDOWN);
    return osr_queue_destroy(&queue);
}

/* ---- Misuse -------------------------------------------------------------------------------------------- */

SIMULATED_TEST(a_queue_that_makes_no_sense_is_refused)
{
    const struct osr_queue_options unknown = {.size = 1};
    struct osr_queue queue;
    long item = 1, room[2];

    check_int(osr_queue_init(NULL, sizeof(long), 1), -EINVAL);
    check_int(osr_queue_init_with(&queue, sizeof(long), 1, &unknown), -EINVAL);
    check_int(osr_queue_init(&queue, sizeof(long), 1, .order = (enum osr_queue_order)3), -EINVAL);
    check_int(osr_queue_init(&queue, sizeof(long), 1, .order = OSR_QUEUE_PRIORITY), -EINVAL);
    check_int(osr_queue_init(&queue, sizeof(long), 1, .compare = by_tens), -EINVAL);
    check_int(osr_queue_init(&queue, sizeof(long), OSR_UNBOUNDED, .buffer = room), -EINVAL);
    check_int(osr_queue_init(&queue, sizeof(long), 2, .buffer = room, .order = OSR_QUEUE_PRIORITY,
                             .compare = by_tens),
              -EINVAL);
    check_int(osr_queue_init(&queue, sizeof(long), SIZE_MAX / 4), -EOVERFLOW);
    check_int(osr_queue_init(&queue, 1, SIZE_MAX / 4, .order = OSR_QUEUE_PRIORITY, .compare = by_tens), -ENOMEM);
    check_int(osr_queue_init(&queue, 0, 1), -EINVAL);
    check_int(osr_queue_put(&queue, &item), -EINVAL);
    check_int(osr_queue_get(&queue, &item), -EINVAL);
    check_int(osr_queue_try_put(&queue, &item), -EINVAL);
    check_int(osr_queue_try_get(&queue, &item), -EINVAL);
    check_int(osr_queue_task_done(&queue), -EINVAL);
    check_int(osr_queue_join(&queue), -EINVAL);
    check_int(osr_queue_shutdown(&queue, true), -EINVAL);
    check_int(osr_queue_destroy(&queue), -EINVAL);
    check_int(osr_queue_init_with(&queue, sizeof(long), 1, NULL), 0);
    return osr_queue_destroy(&queue);
}

SIMULATED_TEST(nothing_is_answered_with_a_code)
{
    struct osr_queue queue;
    long item = 1;
    struct osr_case none = OSR_GET(NULL, &item), nowhere = OSR_GET(&queue, NULL), fine = OSR_GET(&queue, &item);

    osr_queue_init(&queue, sizeof(long), 1);
    check_int(osr_queue_put(NULL, &item), -EINVAL);
    check_int(osr_queue_put(&queue, NULL), -EINVAL);
    check_int(osr_queue_get(NULL, &item), -EINVAL);
    check_int(osr_queue_get(&queue, NULL), -EINVAL);
    check_int(osr_queue_try_put(NULL, &item), -EINVAL);
    check_int(osr_queue_try_get(&queue, NULL), -EINVAL);
    check_int(osr_queue_task_done(NULL), -EINVAL);
    check_int(osr_queue_join(NULL), -EINVAL);
    check_int(osr_queue_shutdown(NULL, false), -EINVAL);
    check_int(osr_queue_destroy(NULL), -EINVAL);
    check_int(osr_queue_count(NULL), 0);
    check_int(osr_queue_capacity(NULL), 0);
    check_int(osr_select(NULL, 1, OSR_NEVER), -EINVAL);
    check_int(osr_select(&fine, 0, OSR_NEVER), -EINVAL);
    check_int(osr_select(&fine, SIZE_MAX, OSR_NEVER), -EINVAL);
    check_int(osr_select(&none, 1, OSR_NEVER), -EINVAL);
    check_int(osr_select(&nowhere, 1, OSR_NEVER), -EINVAL);
    check_int(osr_select(&fine, 1, OSR_TIME_INVALID), -EINVAL);
    check_int(osr_try_select(&none, 1), -EINVAL);
    check_int(osr_try_select(NULL, 1), -EINVAL);
    check_int(osr_queue_destroy(&queue), 0);
    check_int(osr_select(&fine, 1, OSR_NEVER), -EINVAL);
    check_int(osr_try_select(&fine, 1), -EINVAL);
    check_int(osr_queue_init(&queue, 0, 1), -EINVAL);
    check_int(osr_select(&fine, 1, OSR_NEVER), -EINVAL);
    return 0;
}

static void outside_a_run_a_queue_can_be_made_and_not_used(void **state)
{
    struct osr_queue queue;
    long item = 1;
    struct osr_case one = OSR_GET(&queue, &item);

    (void)state;
    assert_int_equal(osr_queue_init(&queue, sizeof(long), 1), 0);
    assert_int_equal(osr_queue_put(&queue, &item), -EPERM);
    assert_int_equal(osr_queue_get(&queue, &item), -EPERM);
    assert_int_equal(osr_queue_try_put(&queue, &item), -EPERM);
    assert_int_equal(osr_queue_try_get(&queue, &item), -EPERM);
    assert_int_equal(osr_queue_task_done(&queue), -EPERM);
    assert_int_equal(osr_queue_join(&queue), -EPERM);
    assert_int_equal(osr_queue_shutdown(&queue, false), -EPERM);
    assert_int_equal(osr_select(&one, 1, OSR_NEVER), -EPERM);
    assert_int_equal(osr_try_select(&one, 1), -EPERM);
    assert_int_equal(osr_queue_destroy(&queue), 0);
}

/* ---- Crowds -------------------------------------------------------------------------------------------- */

struct crowd {
    struct osr_queue queue, other;
    long count;
    bool selects;
    struct osr_task *tasks;
    long *order, cut;
};

OSR_TASK(one_of_many, struct crowd, crowd)
{
    long item;
    struct osr_case cases[] = {OSR_GET(&crowd->queue, &item), OSR_GET(&crowd->other, &item)};
    int rc = crowd->selects ? osr_select(cases, 2, osr_s(1)) : osr_queue_get(&crowd->queue, &item);

    crowd->cut += rc == -ECANCELED;
    return rc;
}

OSR_TASK(come_and_be_cancelled, struct crowd, crowd)
{
    struct osr_group group;
    long i;

    osr_group_open(&group);
    for (i = 0; i < crowd->count; i++)
        osr_spawn(&group, one_of_many, crowd, .handle = &crowd->tasks[i]);
    osr_sleep(1);
    for (i = 0; i < crowd->count; i++)
        osr_task_cancel(crowd->tasks[crowd->order[i]], NULL);
    check(osr_waiters_empty(&crowd->queue.getters_) && osr_waiters_empty(&crowd->other.getters_));
    return osr_group_close(&group, 0);
}

static double time_crowd(bool selects, long count)
{
    struct crowd crowd = {.count = count, .selects = selects};
    struct timespec began, ended;

    crowd.tasks = calloc((size_t)count, sizeof(*crowd.tasks));
    crowd.order = calloc((size_t)count, sizeof(*crowd.order));
    shuffle(crowd.order, count);
    assert_int_equal(osr_queue_init(&crowd.queue, sizeof(long), 1), 0);
    assert_int_equal(osr_queue_init(&crowd.other, sizeof(long), 1), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    assert_int_equal(osr_run(come_and_be_cancelled, &crowd, .clock = OSR_CLOCK_SIMULATED, .stack_size = 1 << 14), 0);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    assert_checked();
    assert_int_equal(crowd.cut, count);
    assert_int_equal(osr_queue_destroy(&crowd.queue), 0);
    assert_int_equal(osr_queue_destroy(&crowd.other), 0);
    free(crowd.tasks);
    free(crowd.order);
    return (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) * 1e-9;
}

static void a_hundred_thousand_waiters_are_cancelled_in_linear_time(void **state)
{
    int selects;

    (void)state;
    for (selects = 0; selects < 2; selects++) {
        double few = time_crowd(selects, sized(10000, 100)), many = time_crowd(selects, sized(100000, 1000));

        if (!under_tools() && many > 40 * few + 0.1)
            fail_msg("%.3f s for 10,000 and %.3f s for 100,000", few, many);
    }
}

/* ---- Random courses ------------------------------------------------------------------------------------ */

enum { QUEUES = 4, ACTORS = 8 };

struct play {
    uint64_t dice;
    long acts, serial, in, out, sum_in, sum_out;
    struct osr_queue queues[QUEUES]; /* hand to hand, FIFO, LIFO, unbounded priority */
    const char *broken;
};

static unsigned roll(struct play *play, unsigned n)
{
    play->dice ^= play->dice << 13, play->dice ^= play->dice >> 7, play->dice ^= play->dice << 17;
    return (unsigned)(play->dice >> 33) % n;
}

static unsigned choose_any(void *play, enum osr_choice kind, unsigned n, const char *what)
{
    (void)what;
    return kind == OSR_CHOICE_FAULT ? 0 : roll(play, n);
}

static void look_between_steps(void *arg, const struct osr_trace_event *event)
{
    struct play *play = arg;
    int i;

    for (i = 0; i < QUEUES && event->kind == OSR_TRACE_STEP && !play->broken; i++) {
        const struct osr_queue *queue = &play->queues[i];

        if (!osr_waiters_empty(&queue->getters_) && queue->count_ > 0)
            play->broken = "a getter waits though there is an item";
        if (!osr_waiters_empty(&queue->putters_) && queue->count_ < queue->capacity_)
            play->broken = "a putter waits though there is room";
        if (queue->count_ > queue->unfinished_)
            play->broken = "what is in the queue is not counted";
    }
}

static void count_put(struct play *play, long item)
{
    play->in++;
    play->sum_in += item;
}

static void count_get(struct play *play, struct osr_queue *queue, long item)
{
    play->out++;
    play->sum_out += item;
    if (osr_queue_task_done(queue) != 0)
        play->broken = "what was got cannot be done";
}

static int select_some(struct play *play)
{
    struct osr_queue *to = &play->queues[roll(play, QUEUES)], *from = &play->queues[roll(play, QUEUES)],
                     *also = &play->queues[roll(play, QUEUES)];
    long item = play->serial++, got, other;
    struct osr_case cases[] = {OSR_GET(from, &got), OSR_PUT(to, &item), OSR_GET(also, &other)};
    int rc = osr_select(cases, 3, roll(play, 2) ? OSR_NEVER : osr_now() + roll(play, 4));

    if (rc == 0)
        count_get(play, from, got);
    if (rc == 1)
        count_put(play, item);
    if (rc == 2)
        count_get(play, also, other);
    return rc == -ECANCELED ? rc : 0;
}

static int act(struct play *play)
{
    struct osr_queue *queue = &play->queues[roll(play, QUEUES)];
    unsigned what = roll(play, 6);
    long item = play->serial++;
    int rc;

    if (what < 2) {
        rc = osr_queue_put(queue, &item);
        if (rc == 0)
            count_put(play, item);
    } else if (what < 4) {
        rc = osr_queue_get(queue, &item);
        if (rc == 0)
            count_get(play, queue, item);
    } else if (what == 4) {
        rc = select_some(play);
    } else {
        rc = osr_sleep(roll(play, 3));
    }
    return rc;
}

OSR_TASK(actor, struct play, play)
{
    long i;

    for (i = 0; i < play->acts; i++) {
        struct osr_scope limit;

        osr_move_on_open(&limit, (int64_t)roll(play, 5));
        if (osr_scope_close(&limit, act(play)) != 0)
            play->broken = "an act failed";
    }
    return 0;
}

OSR_TASK(stage, struct play, play)
{
    struct osr_group group;
    int i;

    osr_group_open(&group);
    for (i = 0; i < ACTORS; i++)
        osr_spawn(&group, actor, play);
    check_int(osr_group_close(&group, 0), 0);
    for (i = 0; i < QUEUES; i++) {
        long item;

        while ((item = get(&play->queues[i])) >= 0)
            count_get(play, &play->queues[i], item);
        check_int(osr_queue_join(&play->queues[i]), 0);
        check_int(osr_queue_destroy(&play->queues[i]), 0);
    }
    return 0;
}

static void in_random_courses_every_item_arrives_once(void **state)
{
    uint64_t seed;
    int i;

    (void)state;
    for (seed = 1; seed <= (uint64_t)sized(40, 3); seed++) {
        struct play play = {.dice = seed * 0x9e3779b97f4a7c15u, .acts = sized(400, 60)};

        for (i = 0; i < QUEUES; i++)
            assert_int_equal(osr_queue_init(&play.queues[i], sizeof(long), i < 3 ? (size_t)i : OSR_UNBOUNDED,
                                            .order = i < 2    ? OSR_QUEUE_FIFO
                                                     : i == 2 ? OSR_QUEUE_LIFO
                                                              : OSR_QUEUE_PRIORITY,
                                            .compare = i == 3 ? by_tens : NULL),
                             0);
        assert_int_equal(run_simulated(stage, &play, .choose = choose_any, .choose_arg = &play,
                                       .observe = look_between_steps, .observe_arg = &play),
                         0);
        if (play.broken)
            fail_msg("seed %d: %s", (int)seed, play.broken);
        assert_int_equal(play.in, play.out);
        assert_int_equal(play.sum_in, play.sum_out);
        assert_true(play.in > play.acts);
    }
    assert_checked();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(items_come_out_in_the_order_in_which_they_were_put_in),
        story_test(the_last_comes_out_first_of_a_lifo),
        story_test(the_smallest_comes_out_first_of_a_priority_queue_and_equal_ones_in_order),
        story_test(a_priority_queue_stays_stable_whatever_comes_and_goes),
        story_test(items_may_be_of_any_size),
        story_test(an_unbounded_fifo_that_has_gone_round_grows_in_order),
        story_test(without_room_items_go_from_hand_to_hand),
        story_test(who_waits_to_put_goes_in_in_order_as_room_comes),
        story_test(who_waits_to_get_is_served_in_order),
        story_test(what_waited_to_be_put_in_takes_its_place_by_the_order_of_the_queue),
        story_test(a_task_whose_puts_and_gets_never_wait_lets_others_run),
        story_test(the_callers_buffer_serves_instead_of_memory),
        story_test(without_memory_a_queue_says_so_and_keeps_what_it_has),
        story_test(items_too_large_for_any_memory_are_refused_when_they_come),
        story_test(without_memory_a_select_does_nothing),
        story_test(a_queue_may_outlive_its_run),
        story_test(an_item_that_was_handed_to_a_getter_who_is_then_cancelled_has_arrived),
        story_test(an_item_for_a_getter_who_was_cancelled_goes_to_the_next),
        story_test(room_that_a_cancelled_putter_would_have_taken_goes_to_the_next),
        story_test(all_items_arrive_in_order_though_gets_give_up_as_they_come),
        story_test(a_join_waits_until_every_item_is_done),
        story_test(what_was_handed_over_has_to_be_done_too),
        story_test(a_queue_that_is_shut_down_is_emptied_and_then_says_so),
        story_test(shut_down_at_once_it_disposes_of_what_is_there_and_that_counts_as_done),
        story_test(a_shutdown_tells_those_who_put_then_disposes_of_items_then_tells_those_who_join),
        story_test(what_was_got_before_a_shutdown_still_has_to_be_done),
        story_test(who_waits_is_told_of_the_shutdown),
        story_test(destroying_a_queue_disposes_of_what_is_there),
        story_test(who_uses_the_queue_while_it_disposes_of_items_finds_it_whole),
        story_test(of_several_cases_that_can_be_done_the_first_is_and_no_other),
        story_test(a_select_that_waited_does_one_case_and_leaves_all_queues),
        story_test(two_selects_meet_at_a_queue_without_room),
        story_test(a_select_never_meets_itself),
        story_test(a_select_gives_up_at_its_moment),
        story_test(a_select_is_told_of_a_shutdown),
        story_test(a_select_that_waits_to_put_and_to_get_is_told_of_a_shutdown_as_who_puts),
        story_test(a_queue_that_tasks_of_another_run_join_is_not_shut_down),
        story_test(a_select_does_nothing_where_tasks_of_another_run_wait),
        story_test(a_callback_uses_a_queue_without_waiting),
        story_test(a_queue_that_makes_no_sense_is_refused),
        story_test(nothing_is_answered_with_a_code),
        story_test(outside_a_run_a_queue_can_be_made_and_not_used),
        story_test(a_hundred_thousand_waiters_are_cancelled_in_linear_time),
        story_test(in_random_courses_every_item_arrives_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
