/* Errors: the slot, messages and causes, exception groups, fatal errors, what is kept when memory is short. */
#include "harness.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <wchar.h>

#define TEST(name) static void name(void **state OSR_MAYBE_UNUSED_)

static void assert_slot(int code, const char *message)
{
    struct osr_error *error = osr_error_last();

    assert_non_null(error);
    assert_int_equal(osr_error_code(error), code);
    assert_string_equal(osr_error_message(error), message);
}

static void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

/* The whole text of `error`, to be freed. */
static char *text_of(const struct osr_error *error)
{
    size_t size = osr_error_format(error, NULL, 0) + 1;
    char *text = malloc(size);

    assert_int_equal(osr_error_format(error, text, size), size - 1);
    assert_int_equal(strlen(text), size - 1);
    return text;
}

static void assert_text_contains(const struct osr_error *error, const char *part)
{
    char *text = text_of(error);

    assert_contains(text, part);
    free(text);
}

OSR_TASK(sleep_forever, void, unused) { return osr_sleep(OSR_NEVER); }

/* ---- The slot, outside tasks --------------------------------------------------------------------------- */

TEST(failing_fills_the_slot_and_gives_the_code_back)
{
    const char *here;

    here = OSR_HERE, assert_int_equal(osr_fail(-EPROTO, "line %d is no header", 7), -EPROTO);
    assert_slot(-EPROTO, "line 7 is no header");
    assert_string_equal(osr_error_where(osr_error_last()), here);
    assert_string_equal(osr_error_task(osr_error_last()), "");
    assert_null(osr_error_cause(osr_error_last()));
    assert_false(osr_error_is_group(osr_error_last()));
    assert_false(osr_error_is_fatal(osr_error_last()));
    osr_error_clear();
    assert_null(osr_error_last());
    osr_error_clear();
}

TEST(failing_with_no_error_code_is_an_invalid_argument)
{
    assert_int_equal(osr_fail(0, "nothing wrong"), -EINVAL);
    assert_slot(-EINVAL, "nothing wrong");
    assert_int_equal(osr_fail(EIO, "the sign forgotten"), -EINVAL);
    assert_slot(-EINVAL, "the sign forgotten");
    osr_error_clear();
}

TEST(failing_with_a_cancellation_empties_the_slot)
{
    osr_fail(-EIO, "before");
    assert_int_equal(osr_fail(-ECANCELED, "a message that nobody carries"), -ECANCELED);
    assert_null(osr_error_last());
}

TEST(wrapping_adds_a_place_and_a_message_and_keeps_the_cause)
{
    const char *failed, *wrapped;
    struct osr_error *error;

    failed = OSR_HERE, (void)osr_fail(-EIO, "the disk is on fire");
    wrapped = OSR_HERE, assert_int_equal(osr_wrap(-EIO, "reading %s", "config"), -EIO);
    error = osr_error_last();
    assert_slot(-EIO, "reading config");
    assert_string_equal(osr_error_where(error), wrapped);
    assert_int_equal(osr_error_code(osr_error_cause(error)), -EIO);
    assert_string_equal(osr_error_message(osr_error_cause(error)), "the disk is on fire");
    assert_string_equal(osr_error_where(osr_error_cause(error)), failed);
    assert_null(osr_error_cause(osr_error_cause(error)));
    osr_error_clear();
}

TEST(wrapping_may_change_the_code)
{
    osr_fail(-ENOENT, "no such file");
    assert_int_equal(osr_wrap(-EPROTO, "no configuration"), -EPROTO);
    assert_slot(-EPROTO, "no configuration");
    assert_int_equal(osr_error_code(osr_error_cause(osr_error_last())), -ENOENT);
    osr_error_clear();
    assert_int_equal(osr_wrap(-EIO, "nothing below"), -EIO);
    assert_slot(-EIO, "nothing below");
    assert_null(osr_error_cause(osr_error_last()));
    osr_error_clear();
}

TEST(results_and_cancellations_pass_through_a_wrap_untouched)
{
    assert_int_equal(osr_wrap(0, "fine"), 0);
    assert_int_equal(osr_wrap(42, "fine"), 42);
    assert_int_equal(osr_wrap(-ECANCELED, "cancelled"), -ECANCELED);
    assert_null(osr_error_last());
}

TEST(an_error_can_be_taken_and_raised_again)
{
    struct osr_error *error;

    osr_fail(-EIO, "mine");
    error = osr_error_take();
    assert_null(osr_error_last());
    assert_null(osr_error_take());
    osr_fail(-EPROTO, "another");
    assert_int_equal(osr_raise(error), -EIO);
    assert_ptr_equal(osr_error_last(), error);
    assert_slot(-EIO, "mine");
    assert_int_equal(osr_raise(NULL), -EINVAL);
    osr_error_clear();
}

TEST(a_message_may_quote_the_error_that_it_replaces)
{
    osr_fail(-EIO, "the disk");
    osr_fail(-EPROTO, "%s failed", osr_error_message(osr_error_last()));
    assert_slot(-EPROTO, "the disk failed");
    osr_wrap(-EPROTO, "%s again", osr_error_message(osr_error_last()));
    assert_slot(-EPROTO, "the disk failed again");
    osr_error_clear();
}

TEST(errors_are_counted_references)
{
    struct osr_error *error;

    osr_fail(-EIO, "mine");
    error = osr_error_retain(osr_error_last());
    osr_error_clear();
    assert_string_equal(osr_error_message(error), "mine");
    assert_ptr_equal(osr_error_retain(error), error);
    osr_error_release(error);
    assert_string_equal(osr_error_message(error), "mine");
    osr_error_release(error);
    assert_null(osr_error_retain(NULL));
    osr_error_release(NULL);
}

TEST(a_cause_lives_as_long_as_its_error)
{
    struct osr_error *error;

    osr_fail(-EIO, "first");
    osr_wrap(-EIO, "second");
    error = osr_error_take();
    osr_fail(-EPROTO, "something else");
    assert_string_equal(osr_error_message(osr_error_cause(error)), "first");
    osr_error_release(error);
    osr_error_clear();
}

TEST(messages_are_taken_as_they_are)
{
    const char *odd = "100% sure of %s %n\nand a second line";
    char *long_text = malloc(100001);

    osr_fail(-EIO, "%s", odd);
    assert_slot(-EIO, odd);
    assert_text_contains(osr_error_last(), "100% sure of %s %n");
    osr_fail(-EIO, "%s", "");
    assert_non_null(osr_error_message(osr_error_last()));
    memset(long_text, 'x', 100000);
    long_text[100000] = '\0';
    osr_fail(-EIO, "%s", long_text);
    assert_slot(-EIO, long_text);
    osr_wrap(-EIO, "again: %s", long_text);
    assert_int_equal(strlen(osr_error_message(osr_error_last())), 100007);
    assert_true(osr_error_format(osr_error_last(), NULL, 0) > 200000);
    osr_error_clear();
    free(long_text);
}

TEST(asking_nothing_gives_nothing)
{
    struct osr_leaves walk;

    assert_int_equal(osr_error_code(NULL), 0);
    assert_non_null(osr_error_message(NULL));
    assert_non_null(osr_error_where(NULL));
    assert_non_null(osr_error_task(NULL));
    assert_non_null(osr_error_group(NULL));
    assert_null(osr_error_cause(NULL));
    assert_false(osr_error_is_group(NULL));
    assert_false(osr_error_is_fatal(NULL));
    assert_int_equal(osr_error_cancelled(NULL), 0);
    assert_int_equal(osr_error_count(NULL), 0);
    assert_null(osr_error_find(NULL, EIO));
    osr_leaves_init(&walk, NULL);
    assert_null(osr_leaves_next(&walk));
    assert_int_equal(osr_error_format(NULL, NULL, 0), 0);
}

TEST(codes_have_texts_and_symbols)
{
    assert_string_equal(osr_strcode(-ECONNREFUSED), "ECONNREFUSED");
    assert_string_equal(osr_strcode(ECONNREFUSED), "ECONNREFUSED");
    assert_string_equal(osr_strcode(-OSR_EGROUP), "OSR_EGROUP");
    assert_string_equal(osr_strcode(OSR_ETASKCANCELED), "OSR_ETASKCANCELED");
    assert_string_equal(osr_strcode(OSR_ESCOPECANCELED), "OSR_ESCOPECANCELED");
    assert_string_equal(osr_strcode(OSR_ESPURIOUS), "OSR_ESPURIOUS");
    assert_string_equal(osr_strcode(OSR_ECLOSED), "OSR_ECLOSED");
    assert_string_equal(osr_strcode(OSR_EDEADLOCK), "OSR_EDEADLOCK");
    assert_string_equal(osr_strcode(0), "0");
    assert_string_equal(osr_strcode(999999), "?");
    assert_string_equal(osr_strcode(INT32_MIN), "?");
    assert_string_equal(osr_strerror(-ENOENT), strerror(ENOENT));
    assert_string_equal(osr_strerror(ENOENT), strerror(ENOENT));
    assert_non_null(osr_strerror(-OSR_EGROUP));
    assert_non_null(osr_strerror(0));
    assert_non_null(osr_strerror(999999));
    assert_non_null(osr_strerror(INT32_MIN));
    assert_string_equal(osr_version(), OSR_VERSION);
}

TEST(an_error_without_a_message_has_the_text_of_its_code)
{
    assert_int_equal(osr_yield(), -EPERM);
    if (osr_error_last())
        assert_int_equal(osr_error_code(osr_error_last()), -EPERM);
    osr_error_clear();
}

/* ---- The slot, inside tasks ---------------------------------------------------------------------------- */

/* After a call that gave `gave`, the slot is empty or belongs to that code. */
static void check_slot(int gave, const char *where)
{
    struct osr_error *error = osr_error_last();

    check_that(gave < 0, "the call fails", where);
    check_that(!error || osr_error_code(error) == gave, "the slot belongs to the code", where);
    check_that(gave != -ECANCELED || !error, "a cancellation empties the slot", where);
    osr_fail(-EXDEV, "left over");
}

#define SLOT(call) check_slot((call), OSR_HERE)

OSR_TASK(fail_in_all_ways, void, unused)
{
    const struct osr_task nothing = {0};
    struct osr_task_wait wait;
    struct osr_address address;
    struct osr_error *part;
    struct osr_group closed;
    struct osr_scope scope, refused;
    char byte;
    int rc;

    osr_group_open(&closed);
    osr_group_close(&closed, 0);
    osr_fail(-EXDEV, "left over");
    SLOT(osr_sleep(OSR_TIME_INVALID));
    SLOT(osr_sleep_until(OSR_TIME_INVALID));
    SLOT(osr_task_join(nothing));
    SLOT(osr_task_join(osr_self()));
    SLOT(osr_task_cancel(nothing, NULL));
    SLOT(osr_task_state(nothing));
    SLOT(osr_task_result(nothing, &rc));
    SLOT(osr_task_where(nothing, &wait));
    SLOT(osr_task_release(&(struct osr_task){0}));
    SLOT(osr_spawn(&closed, sleep_forever, NULL));
    SLOT(osr_group_close(&closed, 0));
    SLOT(osr_group_cancel(&closed, NULL));
    SLOT(osr_group_open(NULL));
    SLOT(osr_scope_open(NULL));
    SLOT(osr_scope_close(NULL, 0));
    SLOT(osr_scope_cancel(&closed.scope, NULL));
    SLOT(osr_scope_set_deadline(&closed.scope, 5));
    SLOT(osr_scope_unshield(&closed.scope));
    SLOT(osr_read(-1, &byte, 1));
    SLOT(osr_write(-1, &byte, 1));
    SLOT(osr_write_all(-1, &byte, 1, NULL));
    SLOT(osr_fd_readable(-1));
    SLOT(osr_fd_writable(-1));
    SLOT(osr_fd_close(-1));
    SLOT(osr_accept(-1, NULL));
    SLOT(osr_connect(NULL));
    SLOT(osr_listen(NULL, 0));
    SLOT(osr_socket_address(-1, &address));
    SLOT(osr_address_ip(&address, "no address", 1));
    SLOT(osr_error_split(NULL, osr_error_has_code, &rc, &part, NULL));
    SLOT(osr_run(sleep_forever, NULL));
    SLOT(osr_raise(NULL));
    osr_timeout_open(&refused, OSR_TIME_INVALID);
    SLOT(osr_scope_close(&refused, 0));
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    osr_fail(-EXDEV, "left over");
    SLOT(osr_check());
    SLOT(osr_yield());
    SLOT(osr_sleep(1));
    SLOT(osr_read(0, &byte, 1));
    SLOT(osr_scope_close(&scope, -ECANCELED));
    osr_error_clear();
    return 0;
}

TEST(every_call_that_fails_takes_the_slot)
{
    assert_int_equal(run_simulated(fail_in_all_ways, NULL), 0);
    assert_checked();
}

/* What takes something back, or ends it, may be said on the way out, when it may be over. */
static void check_late(int gave, int code, const char *where)
{
    check_that(gave == code, "it comes too late", where);
    check_that(osr_error_code(osr_error_last()) == -EXDEV, "the slot is left alone", where);
    check_that(osr_fail(-EXDEV, "what is returned") == -EXDEV, "and can be filled", where);
}

#define LATE(call, code) check_late((call), (code), OSR_HERE)

static void do_nothing(void *unused) { (void)unused; }
static int clean_nothing(void *unused) { (void)unused; return 0; }

OSR_TASK(come_too_late, void, unused)
{
    struct osr_future future;
    struct osr_portal portal = {0};
    struct osr_cleanup cleanup;
    struct osr_queue queue;
    struct osr_scope scope;
    struct osr_post post = {0};
    struct osr_call call = {0};

    osr_queue_init(&queue, sizeof(int), 1);
    osr_future_init(&future, NULL, NULL);
    check_int(osr_queue_shutdown(&queue, true), 0);
    check_int(osr_future_complete(&future, NULL), 0);
    check_int(osr_call_soon(&call, do_nothing, NULL), 0);
    check_int(osr_yield(), 0);
    osr_scope_open(&scope);
    check_int(osr_defer(&cleanup, clean_nothing, NULL, osr_s(1)), 0);
    check_int(osr_scope_close(&scope, 0), 0);

    osr_fail(-EXDEV, "what is returned");
    LATE(osr_call_cancel(&call), -ESTALE);
    LATE(osr_defer_cancel(&cleanup), -ESTALE);
    LATE(osr_queue_shutdown(&queue, false), -EALREADY);
    LATE(osr_queue_shutdown(&queue, true), -EALREADY);
    LATE(osr_future_complete(&future, NULL), -EALREADY);
    LATE(osr_future_fail(&future, -EIO, "too late"), -EALREADY);
    LATE(osr_future_cancel(&future), -EALREADY);
    LATE(osr_post_close(&post), -ESTALE);
    LATE(osr_portal_close(&portal), -ESTALE);

    SLOT(osr_call_cancel(NULL));
    SLOT(osr_queue_shutdown(NULL, true));
    SLOT(osr_future_cancel(NULL));
    SLOT(osr_post_close(NULL));
    SLOT(osr_portal_close(NULL));
    osr_queue_destroy(&queue);
    osr_error_clear();
    return 0;
}

TEST(what_comes_too_late_leaves_the_slot_alone)
{
    assert_int_equal(run_simulated(come_too_late, NULL), 0);
    assert_checked();
}

OSR_TASK(close_well, void, unused)
{
    struct osr_scope scope, moved_on;
    struct osr_group group;

    osr_scope_open(&scope);
    osr_fail(-EIO, "handled");
    check_int(osr_scope_close(&scope, 0), 0);
    check(osr_error_last() == NULL);
    osr_group_open(&group);
    osr_fail(-EIO, "handled");
    check_int(osr_group_close(&group, 5), 5);
    check(osr_error_last() == NULL);
    osr_move_on_open(&moved_on, osr_ms(1));
    (void)osr_sleep(OSR_NEVER);
    osr_fail(-EIO, "handled");
    check_int(osr_scope_close(&moved_on, -ECANCELED), 0);
    check(osr_error_last() == NULL);
    return 0;
}

TEST(a_closer_that_gives_no_error_empties_the_slot)
{
    assert_int_equal(run_simulated(close_well, NULL), 0);
    assert_checked();
}

OSR_TASK(close_with_a_bare_code, void, unused)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    osr_fail(-EIO, "the disk is on fire");
    check_int(osr_scope_close(&scope, -EPROTO), -EPROTO);
    check_int(osr_error_code(osr_error_last()), -EPROTO);
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -EIO);
    osr_scope_open(&scope);
    osr_fail(-EIO, "the disk is on fire");
    check_int(osr_scope_close(&scope, -EIO), -EIO);
    check_text(osr_error_message(osr_error_last()), "the disk is on fire");
    check(osr_error_cause(osr_error_last()) == NULL);
    return 0;
}

TEST(a_scope_closed_with_another_code_than_the_slots_makes_that_the_cause)
{
    assert_int_equal(run_simulated(close_with_a_bare_code, NULL), 0);
    assert_checked();
}

OSR_TASK(say_where_it_fails, void, unused)
{
    osr_fail(-EIO, "in a task");
    check_text(osr_error_task(osr_error_last()), "say_where_it_fails");
    check_int(osr_wrap(-EIO, "wrapped"), -EIO);
    check_text(osr_error_task(osr_error_last()), "say_where_it_fails");
    return -EIO;
}

TEST(an_error_names_its_task_and_comes_out_of_the_run)
{
    assert_int_equal(run_simulated(say_where_it_fails, NULL), -EIO);
    assert_checked();
    assert_slot(-EIO, "wrapped");
    assert_string_equal(osr_error_message(osr_error_cause(osr_error_last())), "in a task");
    osr_error_clear();
}

OSR_TASK(fail_apart, int, code)
{
    osr_fail(*code, "of %s", osr_strcode(*code));
    osr_yield();
    check_int(osr_error_code(osr_error_last()), *code);
    return *code;
}

OSR_TASK(fill_three_slots, void, unused)
{
    int codes[] = {-EIO, -EPROTO};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_apart, &codes[0]);
    osr_spawn(&group, fail_apart, &codes[1]);
    osr_fail(-ENOSPC, "of the root");
    osr_yield();
    check_int(osr_error_code(osr_error_last()), -ENOSPC);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return 0;
}

TEST(every_task_has_a_slot_of_its_own)
{
    assert_int_equal(run_simulated(fill_three_slots, NULL), 0);
    assert_checked();
}

TEST(a_run_that_gives_no_error_empties_the_slot)
{
    osr_fail(-EIO, "from before the run");
    assert_int_equal(run_simulated(close_well, NULL), 0);
    assert_null(osr_error_last());
}

/* ---- Leaves -------------------------------------------------------------------------------------------- */

static const char *spawned_at, *failed_at;

OSR_TASK(return_a_bare_code, void, unused) { return -EPROTO; }

OSR_TASK(return_another_code, void, unused)
{
    failed_at = OSR_HERE, osr_fail(-EIO, "the disk is on fire");
    return -EPROTO;
}

OSR_TASK(return_an_old_error, void, unused)
{
    osr_fail(-EIO, "handled");
    return 0;
}

OSR_TASK(return_a_failed_calls_code, void, unused)
{
    int rc;

    failed_at = OSR_HERE, rc = osr_sleep(OSR_TIME_INVALID);
    return rc;
}

struct spawned {
    const struct osr_routine *routine;
    struct osr_error *error;
};

OSR_TASK(spawn_and_take_error, struct spawned, s)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group, .unwrap = true);
    spawned_at = OSR_HERE;
    osr_spawn_with(&group, s->routine, NULL,
                   &(const struct osr_spawn_options){.size = sizeof(struct osr_spawn_options), .where = spawned_at});
    rc = osr_group_close(&group, 0);
    s->error = osr_error_take();
    return rc;
}

static struct osr_error *error_of(const struct osr_routine *routine, int code)
{
    struct spawned spawned = {routine, NULL};

    assert_int_equal(run_simulated(spawn_and_take_error, &spawned), code);
    osr_error_clear();
    return spawned.error;
}

TEST(a_bare_code_becomes_a_leaf_with_the_place_of_the_spawn)
{
    struct osr_error *error = error_of(&return_a_bare_code.routine_, -EPROTO);

    assert_int_equal(osr_error_code(error), -EPROTO);
    assert_string_equal(osr_error_message(error), osr_strerror(EPROTO));
    assert_string_equal(osr_error_where(error), spawned_at);
    assert_string_equal(osr_error_task(error), "return_a_bare_code");
    assert_null(osr_error_cause(error));
    osr_error_release(error);
}

TEST(a_code_that_differs_from_the_slots_becomes_a_leaf_with_that_as_its_cause)
{
    struct osr_error *error = error_of(&return_another_code.routine_, -EPROTO);

    assert_int_equal(osr_error_code(error), -EPROTO);
    assert_string_equal(osr_error_where(error), spawned_at);
    assert_string_equal(osr_error_task(error), "return_another_code");
    assert_int_equal(osr_error_code(osr_error_cause(error)), -EIO);
    assert_string_equal(osr_error_message(osr_error_cause(error)), "the disk is on fire");
    assert_string_equal(osr_error_where(osr_error_cause(error)), failed_at);
    osr_error_release(error);
}

TEST(an_error_that_was_handled_is_no_error_of_the_task)
{
    assert_null(error_of(&return_an_old_error.routine_, 0));
}

TEST(a_failed_call_is_a_leaf_with_the_place_of_the_call)
{
    struct osr_error *error = error_of(&return_a_failed_calls_code.routine_, -EINVAL);

    assert_int_equal(osr_error_code(error), -EINVAL);
    assert_string_equal(osr_error_where(error), failed_at);
    assert_string_equal(osr_error_task(error), "return_a_failed_calls_code");
    osr_error_release(error);
}

OSR_TASK(close_group_with_bare_codes, void, unused)
{
    struct osr_group group;
    const struct osr_error *leaf;

    osr_group_open(&group);
    check_int(osr_group_close(&group, -EPROTO), -OSR_EGROUP);
    leaf = osr_error_find(osr_error_last(), EPROTO);
    check_text(osr_error_task(leaf), "close_group_with_bare_codes");
    check(strstr(osr_error_where(leaf), "test_error.c:") != NULL);
    check(osr_error_cause(leaf) == NULL);
    osr_group_open(&group);
    osr_fail(-EIO, "the disk is on fire");
    check_int(osr_group_close(&group, -EPROTO), -OSR_EGROUP);
    leaf = osr_error_find(osr_error_last(), EPROTO);
    check_int(osr_error_code(osr_error_cause(leaf)), -EIO);
    check(osr_error_find(osr_error_last(), EIO) == NULL);
    return 0;
}

TEST(a_bodys_bare_code_is_a_leaf_of_the_owners)
{
    assert_int_equal(run_simulated(close_group_with_bare_codes, NULL), 0);
    assert_checked();
}

/* ---- Exception groups ---------------------------------------------------------------------------------- */

struct failing {
    int64_t clean_up; /* how long after being cancelled */
    int code;
    const char *message;
};

OSR_TASK(fail_after_clean_up, struct failing, f)
{
    struct osr_scope shield;

    (void)osr_sleep(OSR_NEVER);
    osr_shield_open(&shield, osr_s(60));
    (void)osr_sleep(f->clean_up);
    (void)osr_scope_close(&shield, 0);
    return osr_fail(f->code, "%s", f->message);
}

OSR_TASK(fail_first, void, unused)
{
    osr_sleep(osr_ms(1));
    return osr_fail(-EIO, "first");
}

OSR_TASK(own_the_inner_group, void, unused)
{
    struct failing second = {osr_ms(2), -EPROTO, "second"}, third = {osr_ms(4), -EIO, "third"};
    struct osr_group inner;

    osr_group_open(&inner, .name = "inner");
    osr_spawn(&inner, fail_after_clean_up, &second, .name = "b");
    osr_spawn(&inner, fail_after_clean_up, &third, .name = "c");
    return osr_group_close(&inner, 0);
}

/* outer { EIO first, inner { EPROTO second, EIO third }, ENOSPC fourth }, and one was cancelled */
OSR_TASK(grow_a_tree, struct osr_error *, tree)
{
    struct failing fourth = {osr_ms(10), -ENOSPC, "fourth"};
    struct osr_group outer;

    osr_group_open(&outer, .name = "outer");
    osr_spawn(&outer, fail_first, NULL, .name = "a");
    osr_spawn(&outer, own_the_inner_group, NULL, .name = "i");
    osr_spawn(&outer, sleep_forever, NULL);
    check_int(osr_group_close(&outer, fail_after_clean_up.routine_.run(&fourth)), -OSR_EGROUP);
    *tree = osr_error_take();
    check(osr_error_last() == NULL);
    return 0;
}

static struct osr_error *tree(void)
{
    struct osr_error *error = NULL;

    assert_int_equal(run_simulated(grow_a_tree, &error, .name = "root", .allocator = &counting_allocator), 0);
    assert_checked();
    return error;
}

static void tell_leaves(const struct osr_error *error)
{
    struct osr_leaves walk;
    const struct osr_error *leaf;

    osr_leaves_init(&walk, error);
    while ((leaf = osr_leaves_next(&walk)) != NULL)
        tell("%s %s in %s", osr_strcode(osr_error_code(leaf)), osr_error_message(leaf), osr_error_task(leaf));
    assert_null(osr_leaves_next(&walk));
}

TEST(the_leaves_are_walked_in_the_order_in_which_they_happened)
{
    struct osr_error *error = tree();

    assert_int_equal(osr_error_code(error), -OSR_EGROUP);
    assert_true(osr_error_is_group(error));
    assert_string_equal(osr_error_group(error), "outer");
    assert_string_equal(osr_error_task(error), "root");
    assert_contains(osr_error_where(error), "test_error.c:");
    assert_int_equal(osr_error_cancelled(error), 1);
    assert_int_equal(osr_error_count(error), 4);
    tell_leaves(error);
    assert_story("EIO first in a\nEPROTO second in b\nEIO third in c\nENOSPC fourth in root\n");
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

TEST(a_leaf_is_its_own_only_leaf)
{
    osr_fail(-EIO, "alone");
    assert_int_equal(osr_error_count(osr_error_last()), 1);
    assert_ptr_equal(osr_error_find(osr_error_last(), EIO), osr_error_last());
    assert_null(osr_error_find(osr_error_last(), INT_MIN)); /* which has no negative */
    tell_leaves(osr_error_last());
    assert_story("EIO alone in \n");
    osr_error_clear();
}

TEST(finding_gives_the_first_leaf_with_a_code)
{
    struct osr_error *error = tree();

    assert_string_equal(osr_error_message(osr_error_find(error, -EIO)), "first");
    assert_string_equal(osr_error_message(osr_error_find(error, EIO)), "first");
    assert_string_equal(osr_error_message(osr_error_find(error, ENOSPC)), "fourth");
    assert_null(osr_error_find(error, EPIPE));
    assert_null(osr_error_find(error, OSR_EGROUP));
    assert_null(osr_error_find(error, ECANCELED));
    osr_error_release(error);
}

TEST(splitting_divides_the_leaves_and_keeps_the_shape)
{
    struct osr_error *error = tree(), *matching, *rest;
    int wanted = EIO;

    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest), 0);
    tell_leaves(matching);
    assert_story("EIO first in a\nEIO third in c\n");
    tell_leaves(rest);
    assert_story("EPROTO second in b\nENOSPC fourth in root\n");
    assert_true(osr_error_is_group(matching));
    assert_true(osr_error_is_group(rest));
    assert_string_equal(osr_error_group(matching), "outer");
    assert_string_equal(osr_error_group(rest), "outer");
    assert_string_equal(osr_error_where(matching), osr_error_where(error));
    assert_string_equal(osr_error_task(rest), "root");
    assert_ptr_equal(osr_error_find(matching, EIO), osr_error_find(error, EIO));
    assert_ptr_equal(osr_error_find(rest, EPROTO), osr_error_find(error, EPROTO));
    assert_text_contains(matching, "inner");
    assert_text_contains(rest, "inner");
    tell_leaves(error);
    assert_story("EIO first in a\nEPROTO second in b\nEIO third in c\nENOSPC fourth in root\n");
    osr_error_release(error);
    tell_leaves(rest);
    assert_story("EPROTO second in b\nENOSPC fourth in root\n");
    osr_error_release(matching);
    osr_error_release(rest);
    assert_int_equal(counting.live, 0);
}

TEST(a_split_drops_groups_that_became_empty)
{
    struct osr_error *error = tree(), *matching, *rest;
    int wanted = -ENOSPC;
    char *text;

    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest), 0);
    assert_int_equal(osr_error_count(matching), 1);
    assert_int_equal(osr_error_count(rest), 3);
    text = text_of(matching);
    assert_null(strstr(text, "inner"));
    free(text);
    osr_error_release(matching);
    osr_error_release(rest);
    wanted = EPIPE;
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest), 0);
    assert_null(matching);
    assert_int_equal(osr_error_count(rest), 4);
    osr_error_release(rest);
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

static bool is_any(const struct osr_error *leaf, void *arg)
{
    ++*(int *)arg;
    return !osr_error_is_group(leaf);
}

TEST(a_match_is_asked_about_every_leaf_once)
{
    struct osr_error *error = tree(), *matching, *rest;
    int asked = 0;

    assert_int_equal(osr_error_split(error, is_any, &asked, &matching, &rest), 0);
    assert_int_equal(asked, 4);
    assert_int_equal(osr_error_count(matching), 4);
    assert_null(rest);
    osr_error_release(matching);
    osr_error_release(error);
}

TEST(a_split_gives_only_the_parts_that_are_wanted)
{
    struct osr_error *error = tree(), *part;
    int wanted = EIO;

    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &part, NULL), 0);
    assert_int_equal(osr_error_count(part), 2);
    osr_error_release(part);
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, NULL, &part), 0);
    assert_int_equal(osr_error_count(part), 2);
    osr_error_release(part);
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, NULL, NULL), 0);
    part = osr_error_subgroup(error, osr_error_has_code, &wanted);
    tell_leaves(part);
    assert_story("EIO first in a\nEIO third in c\n");
    osr_error_release(part);
    wanted = EPIPE;
    assert_null(osr_error_subgroup(error, osr_error_has_code, &wanted));
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

TEST(a_leaf_can_be_split)
{
    struct osr_error *matching, *rest;
    int wanted = EIO;

    osr_fail(-EIO, "alone");
    assert_int_equal(osr_error_split(osr_error_last(), osr_error_has_code, &wanted, &matching, &rest), 0);
    assert_ptr_equal(matching, osr_error_last());
    assert_null(rest);
    osr_error_release(matching);
    wanted = EPROTO;
    assert_int_equal(osr_error_split(osr_error_last(), osr_error_has_code, &wanted, &matching, &rest), 0);
    assert_ptr_equal(rest, osr_error_last());
    assert_null(matching);
    osr_error_release(rest);
    osr_error_clear();
}

OSR_TASK(sleep_for_ever, void, unused)
{
    return osr_sleep(OSR_NEVER);
}

OSR_TASK(sleep_and_fail, void, unused)
{
    int rc = osr_sleep(osr_ms(1));

    return rc < 0 ? rc : osr_fail(-EIO, "the disk");
}

OSR_TASK(fail_and_be_late, void, unused)
{
    struct osr_scope limit;
    struct osr_group group;
    int rc;

    osr_timeout_open(&limit, osr_ms(1));
    osr_group_open(&group, .name = "inner");
    osr_spawn(&group, sleep_for_ever, NULL);
    rc = osr_spawn(&group, sleep_and_fail, NULL);
    return osr_scope_close(&limit, osr_group_close(&group, rc));
}

OSR_TASK(split_with_a_group_inside, void, unused)
{
    struct osr_error *matching, *rest;
    struct osr_group group;
    int wanted = EIO;
    char text[1024];

    osr_group_open(&group, .policy = OSR_COLLECT);
    osr_spawn(&group, fail_and_be_late, NULL);
    check_int(osr_group_close(&group, osr_fail(-EPROTO, "the body")), -OSR_EGROUP);
    check_int(osr_error_split(osr_error_last(), osr_error_has_code, &wanted, &matching, &rest), 0);
    osr_error_format(matching, text, sizeof(text));
    check(strstr(text, "1 error, 1 cancelled") != NULL);
    check(strstr(text, "because of ETIMEDOUT") != NULL);
    osr_error_format(rest, text, sizeof(text));
    check(strstr(text, "the body") != NULL && strstr(text, "because of") == NULL);
    osr_error_release(matching);
    osr_error_release(rest);
    osr_error_clear();
    return 0;
}

TEST(what_is_split_keeps_the_causes_of_groups_inside)
{
    assert_int_equal(run_simulated(split_with_a_group_inside, NULL), 0);
    assert_checked();
}

TEST(a_split_without_what_it_needs_is_refused)
{
    struct osr_error *error = tree(), *part = error;
    int wanted = EIO;

    assert_int_equal(osr_error_split(NULL, osr_error_has_code, &wanted, &part, NULL), -EINVAL);
    assert_int_equal(osr_error_split(error, NULL, &wanted, NULL, NULL), -EINVAL);
    assert_null(osr_error_subgroup(NULL, osr_error_has_code, &wanted));
    osr_error_release(error);
    osr_error_clear();
}

/* Splits with no more memory to be had, until that fails: what was held in store is used up first. */
OSR_TASK(split_until_memory_is_short, struct osr_error *, error)
{
    static struct osr_error *parts[2000];
    int wanted = EIO, made = 0, rc = 0;

    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    while (rc == 0 && made < 2000) {
        rc = osr_error_split(*error, osr_error_has_code, &wanted, &parts[made], &parts[made + 1]);
        if (rc == 0)
            made += 2;
    }
    check_int(rc, -ENOMEM);
    check(parts[made] == NULL && parts[made + 1] == NULL);
    counting.fail_at = 0;
    while (made > 0)
        osr_error_release(parts[--made]);
    check_int(osr_error_split(*error, osr_error_has_code, &wanted, &parts[0], &parts[1]), 0);
    check_int(osr_error_count(parts[0]), 2);
    check_int(osr_error_count(parts[1]), 2);
    osr_error_release(parts[0]);
    osr_error_release(parts[1]);
    return 0;
}

TEST(a_split_without_memory_gives_no_half)
{
    struct osr_error *error = tree();

    assert_int_equal(run_simulated(split_until_memory_is_short, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

TEST(a_group_can_be_derived_from_another)
{
    struct osr_error *error = tree(), *others[2], *derived;

    osr_fail(-EPIPE, "one");
    others[0] = osr_error_take();
    osr_fail(-EDOM, "two");
    others[1] = osr_error_take();
    derived = osr_error_derive(error, others, 2);
    osr_error_release(others[0]);
    osr_error_release(others[1]);
    assert_true(osr_error_is_group(derived));
    assert_int_equal(osr_error_code(derived), -OSR_EGROUP);
    assert_string_equal(osr_error_group(derived), "outer");
    assert_string_equal(osr_error_where(derived), osr_error_where(error));
    assert_memory_equal(osr_error_message(error), "3 errors, 1 cancelled by task", 29);
    assert_memory_equal(osr_error_message(derived), "2", 1);
    assert_string_equal(osr_error_message(derived) + 1, osr_error_message(error) + 1);
    assert_string_equal(osr_error_task(derived), "root");
    tell_leaves(derived);
    assert_story("EPIPE one in \nEDOM two in \n");
    assert_int_equal(osr_error_count(error), 4);
    osr_error_release(derived);
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

TEST(only_groups_can_be_derived_from_and_only_with_errors)
{
    struct osr_error *error = tree(), *nothing[] = {NULL}, *leaf;

    osr_fail(-EIO, "a leaf");
    leaf = osr_error_take();
    assert_null(osr_error_derive(leaf, &leaf, 1));
    assert_null(osr_error_derive(NULL, &leaf, 1));
    assert_null(osr_error_derive(error, &leaf, 0));
    assert_null(osr_error_derive(error, nothing, 1));
    assert_null(osr_error_derive(error, NULL, 1));
    osr_error_release(leaf);
    osr_error_release(error);
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(raise_it, struct osr_error *, error) { return osr_raise(osr_error_retain(*error)); }

OSR_TASK(raise_a_tree, struct osr_error *, error)
{
    struct osr_group group;

    osr_group_open(&group, .name = "above");
    osr_spawn(&group, raise_it, error);
    return osr_group_close(&group, 0);
}

TEST(a_tree_that_was_taken_can_be_raised_elsewhere)
{
    struct osr_error *error = tree();

    assert_int_equal(run_simulated(raise_a_tree, &error), -OSR_EGROUP);
    osr_error_release(error);
    assert_string_equal(osr_error_group(osr_error_last()), "above");
    assert_int_equal(osr_error_count(osr_error_last()), 4);
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(raise_one_error_twice, struct osr_error *, unused)
{
    struct osr_group group;
    struct osr_error *error;

    osr_group_open(&group);
    osr_fail(-EIO, "only once");
    error = osr_error_take();
    osr_spawn(&group, raise_it, &error);
    osr_spawn(&group, raise_it, &error);
    check_int(osr_group_close(&group, osr_raise(osr_error_retain(error))), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    osr_error_release(error);
    return 0;
}

TEST(an_error_raised_several_times_in_a_group_is_counted_once)
{
    assert_int_equal(run_simulated(raise_one_error_twice, NULL), 0);
    assert_checked();
}

/* ---- Depth --------------------------------------------------------------------------------------------- */

/* Trees and chains that are deep are read, printed and freed on a task's small stack. */
OSR_TASK(handle_a_long_chain, void, unused)
{
    const struct osr_error *cause;
    char *text;
    int i, depth = 0;
    size_t size;

    osr_fail(-EIO, "the first of all");
    for (i = 0; i < 3000; i++)
        osr_wrap(-EIO, "attempt %d", i);
    for (cause = osr_error_last(); cause; cause = osr_error_cause(cause))
        depth++;
    check_int(depth, 3001);
    check_int(osr_error_count(osr_error_last()), 1);
    size = osr_error_format(osr_error_last(), NULL, 0) + 1;
    text = malloc(size);
    osr_error_format(osr_error_last(), text, size);
    check(strstr(text, "the first of all") != NULL);
    free(text);
    osr_error_clear();
    return 0;
}

TEST(a_long_chain_of_causes_fits_a_small_stack)
{
    assert_int_equal(run_simulated(handle_a_long_chain, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(handle_a_deep_tree, struct osr_error *, seed)
{
    struct osr_error *error = osr_error_retain(*seed), *deeper, *matching, *rest;
    int i, wanted = EIO;

    for (i = 0; i < 2000; i++) {
        deeper = osr_error_derive(*seed, &error, 1);
        osr_error_release(error);
        error = deeper;
    }
    check_int(osr_error_count(error), 4);
    check_text(osr_error_message(osr_error_find(error, ENOSPC)), "fourth");
    check_int(osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest), 0);
    check_int(osr_error_count(matching), 2);
    check_int(osr_error_count(rest), 2);
    check(osr_error_format(error, NULL, 0) > 2000);
    osr_error_release(matching);
    osr_error_release(rest);
    osr_error_release(error);
    return 0;
}

TEST(a_deep_tree_fits_a_small_stack)
{
    struct osr_error *error = tree();

    assert_int_equal(run_simulated(handle_a_deep_tree, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

/* ---- Timeouts beside errors ---------------------------------------------------------------------------- */

OSR_TASK(fail_when_cut, void, unused)
{
    struct osr_scope limit;
    const struct osr_error *error, *cause;

    osr_timeout_open(&limit, osr_ms(1));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    osr_fail(-EPROTO, "the peer is gone");
    osr_wrap(-EIO, "saving the rest");
    check_int(osr_scope_close(&limit, -EIO), -EIO);
    error = osr_error_last();
    check_text(osr_error_message(error), "saving the rest");
    cause = osr_error_cause(error);
    check_text(osr_error_message(cause), "the peer is gone");
    cause = osr_error_cause(cause);
    check_int(osr_error_code(cause), -ETIMEDOUT);
    check(osr_error_cause(cause) == NULL);
    check(osr_error_find(error, ETIMEDOUT) == NULL);
    return 0;
}

TEST(a_timeout_that_a_real_error_beats_stands_at_the_end_of_its_causes)
{
    assert_int_equal(run_simulated(fail_when_cut, NULL), 0);
    assert_checked();
}

/* ---- Cancellations that nobody ordered ----------------------------------------------------------------- */

OSR_TASK(pretend_to_be_cancelled, void, unused) { return -ECANCELED; }

OSR_TASK(cancel_an_inner_scope_only, void, unused)
{
    struct osr_scope inner;
    int rc;

    osr_scope_open(&inner);
    osr_scope_cancel(&inner, NULL);
    rc = osr_check();
    (void)osr_scope_close(&inner, rc);
    return rc;
}

OSR_TASK(pass_a_made_up_cancellation_on, void, unused)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    return osr_scope_close(&scope, -ECANCELED);
}

TEST(a_cancellation_that_nobody_ordered_is_an_error)
{
    const struct osr_routine *routines[] = {&pretend_to_be_cancelled.routine_, &cancel_an_inner_scope_only.routine_,
                                            &pass_a_made_up_cancellation_on.routine_};
    struct osr_error *error;
    size_t i;

    for (i = 0; i < sizeof(routines) / sizeof(routines[0]); i++) {
        error = error_of(routines[i], -OSR_ESPURIOUS);
        assert_int_equal(osr_error_code(error), -OSR_ESPURIOUS);
        assert_string_equal(osr_error_task(error), routines[i]->name);
        osr_error_release(error);
    }
}

TEST(a_root_that_was_not_cancelled_and_says_so_has_failed)
{
    assert_int_equal(run_simulated(pretend_to_be_cancelled, NULL), -OSR_ESPURIOUS);
    assert_int_equal(osr_error_code(osr_error_last()), -OSR_ESPURIOUS);
    osr_error_clear();
}

OSR_TASK(close_with_a_made_up_cancellation, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    check_int(osr_group_close(&group, -ECANCELED), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check(osr_error_find(osr_error_last(), OSR_ESPURIOUS) != NULL);
    check_int(osr_error_cancelled(osr_error_last()), 1);
    return 0;
}

TEST(a_body_that_was_not_cancelled_and_says_so_has_failed)
{
    assert_int_equal(run_simulated(close_with_a_made_up_cancellation, NULL), 0);
    assert_checked();
}

OSR_TASK(return_a_genuine_cancellation, void, unused)
{
    struct osr_scope shield;
    int rc = osr_sleep(OSR_NEVER);

    osr_shield_open(&shield, OSR_NEVER);
    osr_sleep(osr_ms(1));
    osr_scope_close(&shield, 0);
    return rc;
}

OSR_TASK(cancel_genuinely, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, return_a_genuine_cancellation, NULL);
    osr_yield();
    osr_group_cancel(&group, NULL);
    check_int(osr_group_close(&group, 0), 0);
    return 0;
}

TEST(a_cancellation_from_a_scope_around_the_task_is_no_error)
{
    assert_int_equal(run_simulated(cancel_genuinely, NULL), 0);
    assert_checked();
}

/* ---- Fatal errors -------------------------------------------------------------------------------------- */

OSR_TASK(interrupt, void, unused)
{
    osr_sleep(osr_ms(1));
    return osr_fail_fatal(-EINTR, "interrupted by %s", "the user");
}

OSR_TASK(swallow_a_fatal_error, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, interrupt, NULL);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_group_close(&group, -ECANCELED), -OSR_EGROUP);
    check(osr_error_is_fatal(osr_error_find(osr_error_last(), EINTR)));
    check_int(osr_check(), -ECANCELED);
    osr_error_clear();
    return 0;
}

TEST(a_fatal_error_comes_out_of_the_run_even_if_nobody_passed_it_on)
{
    assert_int_equal(run_simulated(swallow_a_fatal_error, NULL), -EINTR);
    assert_checked();
    assert_slot(-EINTR, "interrupted by the user");
    assert_true(osr_error_is_fatal(osr_error_last()));
    osr_error_clear();
}

OSR_TASK(raise_fatal_and_return_0, void, unused)
{
    (void)osr_fail_fatal(-EINTR, "told only the root");
    check_int(osr_check(), -ECANCELED);
    return 0;
}

TEST(a_fatal_error_need_not_be_returned)
{
    assert_int_equal(run_simulated(raise_fatal_and_return_0, NULL), -EINTR);
    assert_checked();
    assert_slot(-EINTR, "told only the root");
    osr_error_clear();
}

OSR_TASK(clean_up_behind_a_shield, int64_t, grace)
{
    struct osr_scope shield;
    int rc, cleaned;

    rc = osr_sleep(OSR_NEVER);
    osr_shield_open(&shield, *grace);
    cleaned = osr_sleep(osr_ms(50));
    tell("clean-up %s at %lld", cleaned < 0 ? "cut" : "done", (long long)(osr_now() / osr_ms(1)));
    (void)osr_scope_close(&shield, cleaned);
    return rc;
}

OSR_TASK(interrupt_a_clean_up, int64_t, grace)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, clean_up_behind_a_shield, grace);
    osr_spawn(&group, interrupt, NULL);
    return osr_group_close(&group, 0);
}

TEST(a_fatal_error_respects_shields_and_their_grace)
{
    int64_t enough = osr_ms(100), little = osr_ms(10);

    assert_int_equal(run_simulated(interrupt_a_clean_up, &enough), -EINTR);
    assert_story("clean-up done at 51\n");
    assert_int_equal(run_simulated(interrupt_a_clean_up, &little), -EINTR);
    assert_story("clean-up cut at 11\n");
    osr_error_clear();
}

OSR_TASK(fail_beside_a_fatal_error, void, unused)
{
    struct failing late = {osr_ms(5), -EIO, "in the clean-up"};
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_after_clean_up, &late);
    osr_spawn(&group, interrupt, NULL);
    return osr_group_close(&group, 0);
}

TEST(a_fatal_error_keeps_its_siblings_beside_it)
{
    assert_int_equal(run_simulated(fail_beside_a_fatal_error, NULL), -EINTR);
    tell_leaves(osr_error_last());
    assert_story("EINTR interrupted by the user in interrupt\nEIO in the clean-up in fail_after_clean_up\n");
    assert_true(osr_error_is_fatal(osr_error_find(osr_error_last(), EINTR)));
    osr_error_clear();
}

OSR_TASK(fail_fatally_later, void, unused)
{
    (void)osr_sleep(OSR_NEVER);
    return osr_fail_fatal(-EDOM, "second");
}

OSR_TASK(fail_fatally_twice, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_fatally_later, NULL);
    osr_spawn(&group, interrupt, NULL);
    return osr_group_close(&group, 0);
}

TEST(the_first_fatal_error_is_the_one_that_counts)
{
    assert_int_equal(run_simulated(fail_fatally_twice, NULL), -EINTR);
    osr_error_clear();
}

OSR_TASK(fail_fatally_with, int, code) { return osr_fail_fatal(*code, "with %d", *code); }

TEST(a_fatal_error_always_has_an_error_code)
{
    int canceled = -ECANCELED, zero = 0, positive = 5, own = -EDOM;

    assert_int_equal(run_simulated(fail_fatally_with, &canceled), -EINTR);
    assert_int_equal(run_simulated(fail_fatally_with, &zero), -EINVAL);
    assert_int_equal(run_simulated(fail_fatally_with, &positive), -EINVAL);
    assert_int_equal(run_simulated(fail_fatally_with, &own), -EDOM);
    assert_int_equal(osr_fail_fatal(-EINTR, "outside"), -EPERM);
    osr_error_clear();
}

OSR_TASK(interrupt_far_below, int, depth)
{
    struct osr_group group;

    if (*depth == 0)
        return osr_fail_fatal(-EINTR, "from far below");
    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn_copy(&group, interrupt_far_below, &(int){*depth - 1});
    (void)osr_group_close(&group, 0);
    return 0;
}

OSR_TASK(run_two_branches, int, depth)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, interrupt_far_below, depth);
    return osr_group_close(&group, osr_sleep(OSR_NEVER));
}

TEST(a_fatal_error_cancels_everything_whoever_swallows_it_on_the_way)
{
    int depth = 20;

    assert_int_equal(run_simulated(run_two_branches, &depth), -EINTR);
    assert_slot(-EINTR, "from far below");
    osr_error_clear();
}

/* ---- No memory ----------------------------------------------------------------------------------------- */

static const char *places[4];

OSR_TASK(fail_without_memory, int, number)
{
    static const int codes[] = {-EIO, -EPROTO, -ENOSPC};
    int rc;

    osr_sleep(osr_ms(1));
    places[*number] = OSR_HERE, rc = osr_fail(codes[*number], "number %d, with a long message", *number);
    return rc;
}

static void run_out_of_memory(void)
{
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
}

OSR_TASK(run_short_of_memory, void, unused)
{
    static const char *const names[] = {"a", "b", "c"};
    int numbers[] = {0, 1, 2};
    struct osr_group group;
    int i;

    osr_group_open(&group, .name = "poor");
    for (i = 0; i < 3; i++)
        osr_spawn(&group, fail_without_memory, &numbers[i], .name = names[i]);
    run_out_of_memory();
    return osr_group_close(&group, 0);
}

static void assert_leaf(const struct osr_error *error, int code, const char *task, const char *where)
{
    const struct osr_error *leaf = osr_error_find(error, code);

    assert_non_null(leaf);
    assert_string_equal(osr_error_task(leaf), task);
    assert_string_equal(osr_error_where(leaf), where);
    assert_non_null(osr_error_message(leaf));
}

TEST(errors_keep_code_place_and_task_when_there_is_no_memory)
{
    struct osr_error *error;

    assert_int_equal(run_simulated(run_short_of_memory, NULL, .allocator = &counting_allocator), -OSR_EGROUP);
    error = osr_error_last();
    assert_true(osr_error_is_group(error));
    assert_int_equal(osr_error_count(error), 3);
    assert_leaf(error, -EIO, "a", places[0]);
    assert_leaf(error, -EPROTO, "b", places[1]);
    assert_leaf(error, -ENOSPC, "c", places[2]);
    assert_text_contains(error, "ENOSPC");
    counting.fail_at = 0;
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(own_a_poor_group, int, number)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group, .name = "inner");
    osr_spawn(&group, fail_without_memory, number, .name = "deep");
    rc = osr_group_close(&group, 0);
    return rc;
}

OSR_TASK(nest_poor_groups, void, unused)
{
    int numbers[] = {0, 1};
    struct osr_group group;
    int rc;

    osr_group_open(&group, .name = "outer");
    osr_spawn(&group, own_a_poor_group, &numbers[0]);
    osr_spawn(&group, fail_without_memory, &numbers[1], .name = "near");
    osr_yield();
    run_out_of_memory();
    places[2] = OSR_HERE, rc = osr_group_close(&group, osr_fail(-ENOSPC, "the body %s", "too"));
    return rc;
}

TEST(a_tree_keeps_all_its_leaves_when_there_is_no_memory)
{
    struct osr_error *error;

    assert_int_equal(run_simulated(nest_poor_groups, NULL, .name = "root", .allocator = &counting_allocator),
                     -OSR_EGROUP);
    error = osr_error_last();
    assert_int_equal(osr_error_count(error), 3);
    assert_leaf(error, -ENOSPC, "root", places[2]);
    assert_leaf(error, -EIO, "deep", places[0]);
    assert_leaf(error, -EPROTO, "near", places[1]);
    counting.fail_at = 0;
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(return_bare_without_memory, void, unused)
{
    osr_yield();
    return -EPROTO;
}

OSR_TASK(wrap_without_memory, void, unused)
{
    int rc;

    osr_yield();
    rc = osr_fail(-EIO, "below");
    places[0] = OSR_HERE, rc = osr_wrap(rc, "above");
    return rc;
}

OSR_TASK(fail_in_other_ways_without_memory, struct osr_error *, kept)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group);
    places[1] = OSR_HERE, osr_spawn(&group, return_bare_without_memory, NULL, .name = "bare");
    osr_spawn(&group, wrap_without_memory, NULL, .name = "wrapping");
    osr_spawn(&group, interrupt, NULL, .name = "fatal");
    run_out_of_memory();
    rc = osr_group_close(&group, 0);
    *kept = osr_error_retain(osr_error_last());
    return rc;
}

TEST(bare_codes_wraps_and_fatal_errors_need_no_memory)
{
    struct osr_error *kept = NULL;

    assert_int_equal(run_simulated(fail_in_other_ways_without_memory, &kept, .allocator = &counting_allocator),
                     -EINTR);
    assert_int_equal(osr_error_count(kept), 3);
    assert_leaf(kept, -EPROTO, "bare", places[1]);
    assert_leaf(kept, -EIO, "wrapping", places[0]);
    assert_true(osr_error_is_fatal(osr_error_find(kept, EINTR)));
    assert_string_equal(osr_error_task(osr_error_find(kept, EINTR)), "fatal");
    counting.fail_at = 0;
    osr_error_release(kept);
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(take_without_memory, void, unused)
{
    struct osr_error *stored[1000] = {NULL}, *error;
    int count = -1;

    (void)unused;
    counting.fail_at = 1, counting.all_after = true;
    do { /* errors that the run has in store for those that it has promised */
        count++;
        osr_event_wait(NULL);
        stored[count] = osr_error_take();
    } while (stored[count] && count < 999);
    check(count < 999);
    counting.fail_at = 0, counting.all_after = false;
    error = osr_error_take();
    check(error != NULL && osr_error_code(error) == -EINVAL);
    osr_error_release(error);
    check(osr_error_last() == NULL);
    while (count > 0)
        osr_error_release(stored[--count]);
    return 0;
}

static int open_guarded(void)
{
    OSR_GUARD_TIMEOUT(limit, osr_s(1));
    return 0;
}

OSR_TASK(open_guarded_with_little_memory, int, fail_at)
{
    int rc;

    counting.fail_at = counting.made + *fail_at;
    rc = open_guarded();
    counting.fail_at = 0;
    return rc;
}

/* Each call for memory fails once: what was set aside for the guard's errors is there no longer when the run ends. */
TEST(a_guard_that_could_not_be_opened_keeps_no_errors_in_store)
{
    int fail_at, refused = 0;

    for (fail_at = 1; fail_at < 8; fail_at++)
        refused += run_simulated(open_guarded_with_little_memory, &fail_at, .allocator = &counting_allocator) == -ENOMEM;
    osr_error_clear();
    assert_true(refused > 0);
    assert_int_equal(counting.live, 0);
}

TEST(what_cannot_be_taken_for_lack_of_memory_stays_in_the_slot)
{
    assert_int_equal(run_simulated(take_without_memory, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

/* ---- After the run ------------------------------------------------------------------------------------- */

static void *release_elsewhere(void *error)
{
    char text[200];

    osr_error_format(error, text, sizeof(text));
    osr_error_release(error);
    return NULL;
}

TEST(errors_outlive_the_run_and_may_be_handed_to_another_thread)
{
    struct osr_error *error = tree();
    pthread_t thread;

    assert_true(counting.live > 0);
    assert_text_contains(error, "fourth");
    assert_int_equal(pthread_create(&thread, NULL, release_elsewhere, error), 0);
    pthread_join(thread, NULL);
    assert_int_equal(counting.live, 0);
}

TEST(errors_left_in_the_slot_are_replaced_by_the_next_run)
{
    struct osr_error *error;
    int i;

    for (i = 0; i < 3; i++) {
        assert_int_equal(run_simulated(swallow_a_fatal_error, NULL, .allocator = &counting_allocator), -EINTR);
        error = osr_error_last();
        assert_int_equal(osr_error_code(error), -EINTR);
    }
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

/* ---- Printing ------------------------------------------------------------------------------------------ */

TEST(the_text_of_a_tree_says_all_that_is_known)
{
    struct osr_error *error = tree();
    char *text = text_of(error);

    assert_contains(text, "outer");
    assert_contains(text, "inner");
    assert_contains(text, "EIO");
    assert_contains(text, "EPROTO");
    assert_contains(text, "ENOSPC");
    assert_contains(text, "first");
    assert_contains(text, "second");
    assert_contains(text, "third");
    assert_contains(text, "fourth");
    assert_contains(text, "root");
    assert_contains(text, osr_error_where(error));
    assert_contains(text, osr_error_where(osr_error_find(error, ENOSPC)));
    free(text);
    osr_error_release(error);
}

OSR_TASK(shut_down, struct osr_group, group) { return osr_group_cancel(group, "shutting down for the night"); }

OSR_TASK(fail_after_shut_down, void, unused)
{
    struct failing late = {osr_ms(1), -EIO, "too late"};
    struct osr_group group;

    osr_group_open(&group, .name = "servers");
    osr_spawn(&group, fail_after_clean_up, &late);
    osr_spawn(&group, shut_down, &group, .name = "the_boss");
    return osr_group_close(&group, 0);
}

TEST(the_text_of_a_group_says_who_cancelled_it_and_why)
{
    assert_int_equal(run_simulated(fail_after_shut_down, NULL), -OSR_EGROUP);
    assert_text_contains(osr_error_last(), "servers");
    assert_text_contains(osr_error_last(), "too late");
    assert_text_contains(osr_error_last(), "the_boss");
    assert_text_contains(osr_error_last(), "shutting down for the night");
    osr_error_clear();
}

static const char *golden[4];

OSR_TASK(fail_for_a_reason, void, unused)
{
    int rc;

    golden[0] = OSR_HERE, (void)osr_fail(-ENOENT, "no such file");
    golden[1] = OSR_HERE, rc = osr_wrap(-EPROTO, "no configuration");
    return rc;
}

OSR_TASK(grow_a_golden_tree, void, unused)
{
    struct osr_group group;

    golden[2] = OSR_HERE, osr_group_open(&group, .name = "outer");
    osr_spawn(&group, sleep_forever, NULL);
    osr_spawn(&group, fail_for_a_reason, NULL, .name = "reader");
    (void)osr_sleep(OSR_NEVER);
    golden[3] = OSR_HERE, (void)osr_fail(-EIO, "and the body too");
    return osr_group_close(&group, -EIO);
}

TEST(the_whole_text_of_a_tree)
{
    char expected[1024], *text;

    assert_int_equal(run_simulated(grow_a_golden_tree, NULL, .name = "root"), -OSR_EGROUP);
    text = text_of(osr_error_last());
    snprintf(expected, sizeof(expected),
             "OSR_EGROUP: 2 errors, 1 cancelled by task \"reader\" at %s: it failed  "
             "[group \"outer\" of task \"root\", %s]\n"
             "+- EPROTO: no configuration  [task \"reader\", %s]\n"
             "|     because of ENOENT: no such file  [task \"reader\", %s]\n"
             "+- EIO: and the body too  [task \"root\", %s]\n",
             golden[1], golden[2], golden[1], golden[0], golden[3]);
    assert_string_equal(text, expected);
    free(text);
    osr_error_clear();
}

TEST(a_code_that_nobody_knows_is_shown_as_its_number)
{
    const char *wrapped;
    char expected[256], *text;

    (void)osr_fail(-7000, "%s", "of another library");
    wrapped = OSR_HERE, (void)osr_wrap(-505, "parsing the stream");
    text = text_of(osr_error_last());
    snprintf(expected, sizeof(expected), "-505: parsing the stream  [%s]\n", wrapped);
    assert_contains(text, expected);
    assert_contains(text, "because of -7000: of another library  [");
    free(text);
    osr_error_clear();
    assert_string_equal(osr_strcode(-505), "?");
}

OSR_TASK(give_a_strange_code, int, code) { return *code; }

TEST(a_strange_code_without_a_message_is_shown_as_its_number)
{
    int code = -7000;

    assert_int_equal(run_simulated(give_a_strange_code, &code), -7000);
    assert_text_contains(osr_error_last(), "-7000: Unknown error  [task \"give_a_strange_code\", ");
    osr_error_clear();
    code = INT_MIN;
    assert_int_equal(run_simulated(give_a_strange_code, &code), INT_MIN);
    assert_text_contains(osr_error_last(), "-2147483648: Unknown error  [");
    osr_error_clear();
}

TEST(the_text_of_an_error_holds_its_causes)
{
    osr_fail(-ENOENT, "no such file");
    osr_wrap(-EPROTO, "no configuration");
    assert_text_contains(osr_error_last(), "EPROTO");
    assert_text_contains(osr_error_last(), "no configuration");
    assert_text_contains(osr_error_last(), "ENOENT");
    assert_text_contains(osr_error_last(), "no such file");
    osr_error_clear();
}

TEST(printing_writes_the_text)
{
    struct osr_error *error = tree();
    char *text = text_of(error), *printed = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&printed, &size);

    assert_int_equal(osr_error_print(error, stream), 0);
    fclose(stream);
    assert_string_equal(printed, text);
    free(printed);
    free(text);
    osr_error_release(error);
}

TEST(printing_nothing_writes_nothing)
{
    char *printed = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&printed, &size);

    assert_int_equal(osr_error_print(NULL, stream), 0);
    fclose(stream);
    assert_int_equal(size, 0);
    free(printed);
}

TEST(printing_to_a_stream_that_fails_says_so)
{
    FILE *full = fopen("/dev/full", "w");

    assert_non_null(full);
    setvbuf(full, NULL, _IONBF, 0);
    osr_fail(-EIO, "a text");
    assert_int_equal(osr_error_print(osr_error_last(), full), -EIO);
    fclose(full);
    osr_error_clear();
}

TEST(a_text_is_cut_at_the_size_of_its_buffer)
{
    struct osr_error *error = tree();
    char *text = text_of(error), cut[12] = "###########";

    assert_int_equal(osr_error_format(error, cut, 10), strlen(text));
    assert_int_equal(strlen(cut), 9);
    assert_memory_equal(cut, text, 9);
    assert_int_equal(cut[10], '#');
    assert_int_equal(osr_error_format(error, cut, 1), strlen(text));
    assert_string_equal(cut, "");
    free(text);
    osr_error_release(error);
}

/* ---- Trees within trees -------------------------------------------------------------------------------- */

TEST(a_wrap_around_a_group_keeps_its_leaves_in_sight)
{
    struct osr_error *error = tree(), *wrapped;

    assert_int_equal(osr_raise(error), -OSR_EGROUP);
    assert_int_equal(osr_wrap(-OSR_EGROUP, "fetching %d pages", 3), -OSR_EGROUP);
    wrapped = osr_error_take();
    assert_string_equal(osr_error_message(wrapped), "fetching 3 pages");
    assert_true(osr_error_is_group(wrapped));
    assert_int_equal(osr_error_count(wrapped), 4);
    assert_string_equal(osr_error_message(osr_error_find(wrapped, EPROTO)), "second");
    osr_error_release(wrapped);
    assert_int_equal(counting.live, 0);
}

TEST(the_halves_of_a_split_say_how_many_were_cancelled)
{
    struct osr_error *error = tree(), *matching, *rest;
    int wanted = EIO;

    assert_int_equal(osr_error_cancelled(error), 1);
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest), 0);
    assert_int_equal(osr_error_cancelled(matching), 1);
    assert_int_equal(osr_error_cancelled(rest), 1);
    osr_error_release(matching);
    osr_error_release(rest);
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

/* ---- How many there are in a part ---- */

OSR_TASK(fail_now, struct failing, f) { return osr_fail(f->code, "%s", f->message); }

OSR_TASK(succeed_later, void, unused) { return osr_sleep(osr_ms(1)); }

OSR_TASK(count_errors, struct osr_error *, tree)
{
    struct failing first = {0, -EIO, "first"}, second = {0, -EPROTO, "second"}, third = {0, -EIO, "third"};
    struct osr_group outer, inner;
    int rc;

    osr_group_open(&outer, .policy = OSR_COLLECT);
    osr_spawn(&outer, fail_now, &first);
    osr_group_open(&inner);
    osr_spawn(&inner, fail_now, &second);
    osr_spawn(&inner, fail_now, &third);
    osr_spawn(&inner, sleep_forever, NULL);
    rc = osr_group_close(&inner, 0);
    check_int(osr_group_close(&outer, osr_wrap(rc, "3 errors of mine")), -OSR_EGROUP);
    *tree = osr_error_take();
    return 0;
}

/* The messages of its groups, without who cancelled. */
static void tell_messages(const struct osr_error *error)
{
    char *text = text_of(error);
    const char *at = text;

    while ((at = strstr(at, "OSR_EGROUP: ")) != NULL) {
        const char *end = strstr(at += 12, "  ["), *by = strstr(at, " by task");

        tell("%.*s", (int)((by && by < end ? by : end) - at), at);
    }
    free(text);
}

TEST(a_part_of_a_tree_says_how_many_errors_it_has_itself)
{
    struct osr_error *error = NULL, *ios, *protos, *one;
    int wanted = EIO;

    assert_int_equal(run_simulated(count_errors, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    tell_messages(error);
    assert_story("2 errors\n3 errors of mine\n2 errors, 1 cancelled\n");
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &ios, &protos), 0);
    tell_messages(ios);
    assert_story("2 errors\n3 errors of mine\n1 error, 1 cancelled\n");
    tell_messages(protos);
    assert_story("1 error\n3 errors of mine\n1 error, 1 cancelled\n");
    one = osr_error_derive(protos, &ios, 1);
    tell_messages(one);
    assert_story("1 error\n2 errors\n3 errors of mine\n1 error, 1 cancelled\n");
    osr_error_release(protos);
    protos = osr_error_derive(one, (struct osr_error *[]){ios, one}, 2);
    assert_string_equal(osr_error_message(protos), "2 errors");
    osr_error_release(one);
    osr_error_release(ios);
    osr_error_release(protos);
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(count_losses, void, unused)
{
    struct failing first = {0, -EIO, "first"}, second = {0, -EPROTO, "second"};
    struct osr_error *part;
    struct osr_group group;
    int wanted = EIO;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, fail_now, &first);
    osr_spawn(&group, fail_now, &second);
    osr_spawn(&group, succeed_later, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_text(osr_error_message(osr_group_losses(&group)), "2 errors before the first success");
    part = osr_error_subgroup(osr_group_losses(&group), osr_error_has_code, &wanted);
    check_text(osr_error_message(part), "1 error before the first success");
    osr_error_release(part);
    return 0;
}

TEST(a_part_of_the_losses_says_how_many_they_are)
{
    assert_int_equal(run_simulated(count_losses, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(leave_errors_to_guards, const char *, guarded_at)
{
    struct failing first = {0, -EIO, "first"}, second = {0, -EPROTO, "second"};

    for (int i = 0; i < 2; i++) {
        OSR_GUARD_GROUP(workers, .unwrap = true); if (i == 0) *guarded_at = OSR_HERE; /* one line, one place */

        osr_spawn(&workers, fail_now, i ? &second : &first);
        (void)osr_sleep(osr_ms(1));
    }
    return osr_fail(-ENOENT, "and the body");
}

TEST(errors_that_guards_have_left_are_counted_and_have_the_place_of_the_first_guard)
{
    const char *guarded_at;
    char expected[256];

    assert_int_equal(run_simulated(leave_errors_to_guards, &guarded_at, .name = "program"), -OSR_EGROUP);
    snprintf(expected, sizeof(expected), "OSR_EGROUP: 3 errors, 2 left by guards  [group of task \"program\", %s]\n+- EIO: first",
             guarded_at);
    assert_text_contains(osr_error_last(), expected);
    osr_error_clear();
}

OSR_TASK(run_into_a_limit_with_errors, struct osr_error *, tree)
{
    struct failing first = {0, -EIO, "first"}, second = {0, -EPROTO, "second"};
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, fail_after_clean_up, &first);
    osr_spawn(&group, fail_after_clean_up, &second);
    check_int(osr_scope_close(&limit, osr_group_close(&group, 0)), -OSR_EGROUP);
    *tree = osr_error_take();
    return 0;
}

TEST(the_halves_of_a_split_keep_the_cause)
{
    struct osr_error *error = NULL, *matching, *rest;
    int wanted = EIO;

    assert_int_equal(run_simulated(run_into_a_limit_with_errors, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(osr_error_code(osr_error_cause(error)), -ETIMEDOUT);
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, &matching, &rest), 0);
    assert_int_equal(osr_error_code(osr_error_cause(matching)), -ETIMEDOUT);
    assert_ptr_equal(osr_error_cause(rest), osr_error_cause(error));
    osr_error_release(matching);
    osr_error_release(rest);
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(fail_at_one, void, unused)
{
    osr_sleep(osr_ms(1));
    return osr_fail(-EIO, "only once");
}

OSR_TASK(join_in_a_group_of_ones_own, struct osr_task, target)
{
    struct osr_group inner;

    osr_group_open(&inner, .name = "inner");
    return osr_group_close(&inner, osr_task_join(*target));
}

OSR_TASK(put_an_error_into_two_groups, struct osr_error *, tree)
{
    struct osr_group outer;
    struct osr_task target;

    osr_group_open(&outer, .name = "outer");
    osr_spawn(&outer, fail_at_one, NULL, .name = "target", .handle = &target);
    osr_spawn(&outer, join_in_a_group_of_ones_own, &target, .name = "joiner");
    check_int(osr_group_close(&outer, 0), -OSR_EGROUP);
    *tree = osr_error_take();
    return 0;
}

TEST(an_error_may_stand_in_two_groups)
{
    const struct osr_error *first, *second;
    struct osr_error *error = NULL;
    struct osr_leaves walk;

    assert_int_equal(run_simulated(put_an_error_into_two_groups, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_leaves_init(&walk, error);
    first = osr_leaves_next(&walk);
    second = osr_leaves_next(&walk);
    assert_non_null(first);
    assert_ptr_equal(first, second);
    assert_string_equal(osr_error_message(first), "only once");
    assert_null(osr_leaves_next(&walk));
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

/* ---- A fatal error that somebody swallowed ------------------------------------------------------------- */

OSR_TASK(swallow_a_fatal_error_and_fail, void, unused)
{
    (void)osr_fail_fatal(-EINTR, "the interrupt");
    osr_error_clear();
    return osr_fail(-EIO, "the sibling");
}

TEST(a_fatal_error_that_was_swallowed_stands_beside_the_one_that_came_out)
{
    const struct osr_error *error;

    assert_int_equal(run_simulated(swallow_a_fatal_error_and_fail, NULL), -EINTR);
    error = osr_error_last();
    assert_int_equal(osr_error_count(error), 2);
    assert_string_equal(osr_error_message(osr_error_find(error, EINTR)), "the interrupt");
    assert_string_equal(osr_error_message(osr_error_find(error, EIO)), "the sibling");
    osr_error_clear();
}

/* ---- A fatal error that was wrapped on its way ---------------------------------------------------------- */

static int read_what_ends_it(void) { return osr_fail_fatal(-EINTR, "the user has had enough"); }

OSR_TASK(wrap_a_fatal_error, void, unused) { return osr_wrap(read_what_ends_it(), "while reading"); }

OSR_TASK(succeed_behind_a_shield, void, unused)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    return osr_scope_close(&shield, osr_sleep(1));
}

OSR_TASK(wrap_a_fatal_error_under_policies, void, unused)
{
    struct osr_outcome outcome;
    struct osr_group group;
    int rc;

    osr_group_open(&group, .policy = OSR_FIRST_SUCCESS);
    osr_spawn(&group, wrap_a_fatal_error, NULL);
    osr_spawn(&group, succeed_behind_a_shield, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_find(osr_error_last(), EINTR)), "while reading");
    osr_group_open(&group);
    osr_spawn(&group, wrap_a_fatal_error, NULL, .outcome = &outcome);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    osr_error_release(outcome.error);
    return rc;
}

TEST(a_fatal_error_stays_one_when_it_is_wrapped)
{
    const struct osr_error *error;

    assert_int_equal(run_simulated(wrap_a_fatal_error, NULL), -EINTR);
    error = osr_error_last();
    assert_true(osr_error_is_fatal(error));
    assert_string_equal(osr_error_message(error), "while reading"); /* and the other one does not stand beside it */
    assert_string_equal(osr_error_message(osr_error_cause(error)), "the user has had enough");
    assert_int_equal(run_simulated(wrap_a_fatal_error_under_policies, NULL), -EINTR);
    osr_error_clear();
    assert_checked();
}

OSR_TASK(wrap_a_fatal_error_as_another, void, unused) { return osr_wrap((read_what_ends_it(), -EIO), "no line"); }

TEST(an_error_that_a_fatal_one_has_caused_is_another_one)
{
    const struct osr_error *error;

    assert_int_equal(run_simulated(wrap_a_fatal_error_as_another, NULL), -EINTR);
    error = osr_error_last();
    assert_int_equal(osr_error_count(error), 2);
    assert_true(osr_error_is_fatal(osr_error_find(error, EINTR)));
    assert_false(osr_error_is_fatal(osr_error_find(error, EIO)));
    osr_error_clear();
}

/* ---- With all of the store used up --------------------------------------------------------------------- */

/* Takes errors until there is no memory for more. */
static void use_the_store_up(struct osr_error *kept[], int *count)
{
    run_out_of_memory();
    while (*count < 500) {
        osr_fail(-EPIPE, "kept");
        kept[*count] = osr_error_take();
        if (!kept[*count])
            break;
        ++*count;
    }
    check(*count < 500);
}

/* What the body of the group did not need is there for one. */
OSR_TASK(take_the_last_of_the_store, void, unused)
{
    int rc = osr_fail(-ENOSPC, "the last with a place of its own");

    osr_yield();
    return rc;
}

OSR_TASK(fail_from_an_empty_store, void, unused)
{
    int rc;

    places[0] = OSR_HERE, rc = osr_fail(-EIO, "its message is lost");
    osr_yield();
    return rc;
}

OSR_TASK(wrap_from_an_empty_store, void, unused)
{
    int rc;

    places[1] = OSR_HERE, rc = osr_wrap(-EPROTO, "its message is lost too");
    osr_yield();
    return rc;
}

OSR_TASK(fail_with_an_empty_store, void, unused)
{
    struct osr_error *kept[500], *outcome;
    struct osr_group group;
    int count = 0, rc;

    osr_group_open(&group);
    osr_spawn(&group, take_the_last_of_the_store, NULL);
    osr_spawn(&group, fail_from_an_empty_store, NULL, .name = "a");
    osr_spawn(&group, wrap_from_an_empty_store, NULL, .name = "b");
    use_the_store_up(kept, &count);
    rc = osr_group_close(&group, 0);
    outcome = osr_error_take();
    counting.fail_at = 0;
    while (count > 0)
        osr_error_release(kept[--count]);
    return outcome ? osr_raise(outcome) : rc;
}

TEST(code_place_and_task_survive_when_the_store_of_errors_is_used_up)
{
    const struct osr_error *error;

    assert_int_equal(run_simulated(fail_with_an_empty_store, NULL, .allocator = &counting_allocator), -OSR_EGROUP);
    assert_checked();
    error = osr_error_last();
    assert_leaf(error, -EIO, "a", places[0]);
    assert_leaf(error, -EPROTO, "b", places[1]);
    assert_string_equal(osr_error_message(osr_error_find(error, EIO)), osr_strerror(EIO));
    assert_int_equal(osr_error_count(error), 3);
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(pass_a_limit_with_an_empty_store, void, unused)
{
    struct osr_error *kept[500];
    struct osr_scope limit;
    int count = 0;

    osr_timeout_open(&limit, osr_ms(1));
    use_the_store_up(kept, &count);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&limit, -ECANCELED), -ETIMEDOUT);
    counting.fail_at = 0;
    while (count > 0)
        osr_error_release(kept[--count]);
    return 0;
}

TEST(a_timeout_is_a_timeout_when_the_store_of_errors_is_used_up)
{
    assert_int_equal(run_simulated(pass_a_limit_with_an_empty_store, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

/* What the run gives in the end is set aside too. Errors that are kept are released when it is over. */
struct hoard {
    struct osr_error *kept[500];
    int count;
};

static void assert_run_without_a_store(const struct osr_routine *routine, int code, size_t leaves)
{
    static struct hoard hoard;
    int rc;

    hoard = (struct hoard){.count = 0};
    rc = osr_run_with(routine, &hoard, &(const struct osr_run_options){.size = sizeof(struct osr_run_options),
                                                                     .clock = OSR_CLOCK_SIMULATED,
                                                                     .allocator = &counting_allocator});
    assert_checked();
    assert_int_equal(rc, code);
    assert_int_equal(osr_error_count(osr_error_last()), leaves);
    assert_non_null(osr_error_find(osr_error_last(), code));
    counting.fail_at = 0;
    osr_error_clear();
    while (hoard.count > 0)
        osr_error_release(hoard.kept[--hoard.count]);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(fail_fatally_without_a_store, struct hoard, hoard)
{
    use_the_store_up(hoard->kept, &hoard->count);
    (void)osr_fail_fatal(-EINTR, "the interrupt");
    osr_error_clear();
    return 0;
}

OSR_TASK(get_stuck_without_a_store, struct hoard, hoard)
{
    use_the_store_up(hoard->kept, &hoard->count);
    (void)osr_sleep(OSR_NEVER);
    return 0;
}

OSR_TASK(fail_beside_a_fatal_error_without_a_store, struct hoard, hoard)
{
    use_the_store_up(hoard->kept, &hoard->count);
    (void)osr_fail_fatal(-EINTR, "the interrupt");
    osr_error_clear();
    return -EIO;
}

OSR_TASK(fail_fatally_in_a_group, void, unused) { return osr_fail_fatal(-EINTR, "the interrupt"); }

/* The fatal error stands in a tree that somebody keeps. */
OSR_TASK(keep_a_fatal_error_without_a_store, struct hoard, hoard)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, fail_fatally_in_a_group, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    hoard->kept[hoard->count++] = osr_error_take();
    use_the_store_up(hoard->kept, &hoard->count);
    return -EIO;
}

TEST(what_a_run_gives_in_the_end_needs_no_memory)
{
    assert_run_without_a_store(&fail_fatally_without_a_store.routine_, -EINTR, 1);
    assert_run_without_a_store(&get_stuck_without_a_store.routine_, -OSR_EDEADLOCK, 1);
    assert_run_without_a_store(&fail_beside_a_fatal_error_without_a_store.routine_, -EINTR, 2);
    assert_run_without_a_store(&keep_a_fatal_error_without_a_store.routine_, -EINTR, 2);
}

/* ---- Errors that stand in two trees -------------------------------------------------------------------- */

OSR_TASK(fail_soon, void, unused)
{
    (void)osr_sleep(osr_ms(1));
    return osr_fail(-EIO, "the disk");
}

OSR_TASK(fail_at_once, struct failing, f) { return osr_fail(f->code, "%s", f->message); }

OSR_TASK(fail_soon_in_company, void, unused)
{
    struct failing first = {0, -EIO, "the disk"}, second = {0, -EPIPE, "the pipe"};
    struct osr_group group;

    (void)osr_sleep(osr_ms(1));
    osr_group_open(&group, .name = "company");
    osr_spawn(&group, fail_at_once, &first);
    osr_spawn(&group, fail_at_once, &second);
    return osr_group_close(&group, 0);
}

OSR_TASK(pass_on, struct osr_task, handle) { return osr_task_join(*handle); }

/* The error of a task in one group is passed on, by `passer`, in another: one tree for each. */
static void grow_two_trees(const struct osr_routine *failing, const struct osr_routine *passer,
                           struct osr_error *trees[2])
{
    const struct osr_spawn_options options = {.size = sizeof(options), .where = OSR_HERE};
    struct osr_spawn_options with_handle = options;
    struct osr_group first, second;
    struct osr_task handle;

    with_handle.handle = &handle;
    osr_group_open(&first);
    check_int(osr_spawn_with(&first, failing, NULL, &with_handle), 0);
    osr_group_open(&second);
    check_int(osr_spawn_with(&second, passer, &handle, &options), 0);
    check_int(osr_group_close(&second, 0), -OSR_EGROUP);
    trees[1] = osr_error_take();
    check_int(osr_group_close(&first, 0), -OSR_EGROUP);
    trees[0] = osr_error_take();
}

OSR_TASK(pass_a_leaf_on, void, unused)
{
    const struct osr_error *leaf;
    struct osr_error *trees[2];

    grow_two_trees(&fail_soon.routine_, &pass_on.routine_, trees);
    leaf = osr_error_find(trees[0], EIO);
    check(leaf != NULL && osr_error_find(trees[1], EIO) == leaf);
    check_int(osr_error_count(trees[1]), 1);
    osr_error_release(trees[0]);
    check_text(osr_error_message(osr_error_find(trees[1], EIO)), "the disk");
    osr_error_release(trees[1]);
    return 0;
}

TEST(an_error_that_stands_in_two_trees_is_a_leaf_of_both)
{
    assert_int_equal(run_simulated(pass_a_leaf_on, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(pass_a_group_on, void, unused)
{
    struct osr_error *trees[2];
    char text[2048];

    grow_two_trees(&fail_soon_in_company.routine_, &pass_on.routine_, trees);
    check_int(osr_error_count(trees[0]), 2);
    check_int(osr_error_count(trees[1]), 2);
    check(osr_error_find(trees[0], EPIPE) == osr_error_find(trees[1], EPIPE));
    osr_error_release(trees[0]);
    osr_error_format(trees[1], text, sizeof(text));
    check(strstr(text, "group \"company\"") != NULL);
    check(strstr(text, "the disk") != NULL && strstr(text, "the pipe") != NULL);
    osr_error_release(trees[1]);
    return 0;
}

TEST(a_group_of_errors_that_stands_in_two_trees_is_whole_in_both)
{
    assert_int_equal(run_simulated(pass_a_group_on, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

static struct hoard meanwhile;

static void give_the_store_back(void)
{
    counting.fail_at = 0;
    while (meanwhile.count > 0)
        osr_error_release(meanwhile.kept[--meanwhile.count]);
}

OSR_TASK(pass_on_without_a_store, struct osr_task, handle)
{
    int rc = osr_task_join(*handle);
    struct osr_error *error = osr_error_take();

    use_the_store_up(meanwhile.kept, &meanwhile.count);
    (void)osr_raise(error);
    return rc;
}

OSR_TASK(pass_a_group_on_without_a_store, void, unused)
{
    const struct osr_error *known;
    struct osr_error *trees[2];

    grow_two_trees(&fail_soon_in_company.routine_, &pass_on_without_a_store.routine_, trees);
    give_the_store_back();
    check_int(osr_error_count(trees[0]), 2);
    check_int(osr_error_count(trees[1]), 1);
    known = osr_error_find(trees[1], OSR_EGROUP);
    check_int(osr_error_code(known), -OSR_EGROUP);
    check_text(osr_error_task(known), "fail_soon_in_company");
    check(strstr(osr_error_where(known), "test_error.c:") != NULL);
    osr_error_release(trees[0]);
    osr_error_release(trees[1]);
    return 0;
}

TEST(a_group_that_cannot_be_copied_is_known_by_code_and_place)
{
    assert_int_equal(run_simulated(pass_a_group_on_without_a_store, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(pass_the_lone_one_on, struct osr_task, handle)
{
    struct osr_group group;

    osr_group_open(&group, .unwrap = true);
    osr_spawn(&group, pass_on, handle);
    check_int(osr_group_close(&group, 0), -EIO);
    check(osr_error_last() == osr_task_error(*handle));
    return -EIO;
}

OSR_TASK(unwrap_what_stands_elsewhere, void, unused)
{
    struct osr_error *trees[2];

    grow_two_trees(&fail_soon.routine_, &pass_the_lone_one_on.routine_, trees);
    check(osr_error_find(trees[0], EIO) == osr_error_find(trees[1], EIO));
    osr_error_release(trees[0]);
    osr_error_release(trees[1]);
    return 0;
}

TEST(a_lone_error_that_stands_elsewhere_comes_out_as_itself)
{
    assert_int_equal(run_simulated(unwrap_what_stands_elsewhere, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

static void leave_it_to_a_guard(struct osr_task *handle)
{
    OSR_GUARD_GROUP(guarded, .unwrap = true);

    osr_spawn(&guarded, pass_on, handle);
    (void)osr_task_join(*handle);
}

OSR_TASK(leave_what_stands_elsewhere_to_a_guard, struct osr_task, handle)
{
    struct osr_scope outer;

    osr_scope_open(&outer);
    leave_it_to_a_guard(handle);
    check_int(osr_scope_close(&outer, 0), -EIO);
    check(osr_error_last() == osr_task_error(*handle));
    return -EIO;
}

OSR_TASK(guard_what_stands_elsewhere, void, unused)
{
    struct osr_error *trees[2];

    grow_two_trees(&fail_soon.routine_, &leave_what_stands_elsewhere_to_a_guard.routine_, trees);
    check(osr_error_find(trees[0], EIO) == osr_error_find(trees[1], EIO));
    osr_error_release(trees[0]);
    osr_error_release(trees[1]);
    return 0;
}

TEST(a_lone_error_that_stands_elsewhere_comes_out_of_a_guard_as_itself)
{
    assert_int_equal(run_simulated(guard_what_stands_elsewhere, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

/* ---- Errors that come back to where they stand --------------------------------------------------------- */

static int unwrap_join(struct osr_task *handle, int levels)
{
    struct osr_group group;

    osr_group_open(&group, .unwrap = true);
    return osr_group_close(&group, levels > 1 ? unwrap_join(handle, levels - 1) : osr_task_join(*handle));
}

OSR_TASK(unwrap_once, struct osr_task, handle) { return unwrap_join(handle, 1); }

OSR_TASK(unwrap_twice, struct osr_task, handle) { return unwrap_join(handle, 2); }

OSR_TASK(unwrap_take_and_raise, struct osr_task, handle)
{
    struct osr_error *error;

    check_int(unwrap_join(handle, 1), -OSR_EGROUP);
    error = osr_error_take();
    check(error == osr_task_error(*handle));
    osr_error_clear();
    return osr_raise(error);
}

static void leave_a_join_to_a_guard(struct osr_task *handle)
{
    OSR_GUARD_GROUP(guarded, .unwrap = true);

    osr_spawn(&guarded, pass_on, handle, .eager = true);
    (void)osr_task_join(*handle);
}

OSR_TASK(unwrap_in_a_guard, struct osr_task, handle)
{
    struct osr_scope outer;

    osr_scope_open(&outer);
    leave_a_join_to_a_guard(handle);
    return osr_scope_close(&outer, 0);
}

OSR_TASK(gather_one_group_of_errors_often, void, unused)
{
    struct osr_group group;
    struct osr_error *error;
    struct osr_task handle;

    osr_group_open(&group, .name = "outer");
    osr_spawn(&group, fail_soon_in_company, NULL, .handle = &handle);
    osr_spawn(&group, unwrap_once, &handle);
    osr_spawn(&group, unwrap_twice, &handle);
    osr_spawn(&group, unwrap_take_and_raise, &handle);
    osr_spawn(&group, unwrap_in_a_guard, &handle);
    check_int(osr_group_close(&group, unwrap_join(&handle, 2)), -OSR_EGROUP);
    error = osr_error_take();
    check_text(osr_error_message(error), "1 error");
    check_int(osr_error_count(error), 2);
    osr_error_release(error);
    return 0;
}

TEST(a_group_of_errors_that_comes_back_unwrapped_is_counted_once)
{
    assert_int_equal(run_simulated(gather_one_group_of_errors_often, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

/* ---- Trees, with ever less memory ---------------------------------------------------------------------- */

/* Leaves exactly `count` errors in the store, and no memory for more. */
static void leave_in_store(int count)
{
    use_the_store_up(meanwhile.kept, &meanwhile.count);
    while (count-- > 0)
        osr_error_release(meanwhile.kept[--meanwhile.count]);
}

OSR_TASK(split_with_ever_more_in_store, struct osr_error *, error)
{
    struct osr_error *matching, *rest;
    int wanted = EIO, in_store, rc = -ENOMEM;

    for (in_store = 0; rc < 0 && in_store < 20; in_store++) {
        leave_in_store(in_store);
        rc = osr_error_split(*error, osr_error_has_code, &wanted, &matching, &rest);
        give_the_store_back();
        if (rc < 0)
            check(rc == -ENOMEM && !matching && !rest);
    }
    check_int(in_store - 1, 8); /* two groups and two leaves for each half */
    check_int(osr_error_count(matching), 2);
    check_int(osr_error_count(rest), 2);
    osr_error_release(matching);
    osr_error_release(rest);
    return 0;
}

TEST(a_split_gives_both_halves_whole_or_none)
{
    struct osr_error *error = tree();

    assert_int_equal(run_simulated(split_with_ever_more_in_store, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(derive_with_ever_more_in_store, struct osr_error *, error)
{
    struct osr_error *parts[2] = {*error, NULL}, *derived = NULL;
    int in_store;

    osr_fail(-EDOM, "beside it");
    parts[1] = osr_error_take();
    for (in_store = 0; !derived && in_store < 20; in_store++) {
        leave_in_store(in_store);
        derived = osr_error_derive(*error, parts, 2);
        give_the_store_back();
    }
    check_int(in_store - 1, 8); /* the new group, two copied ones, four leaves and the one beside them */
    check_int(osr_error_count(derived), 5);
    osr_error_release(derived);
    osr_error_release(parts[1]);
    return 0;
}

TEST(a_group_is_derived_whole_or_not_at_all)
{
    struct osr_error *error = tree();

    assert_int_equal(run_simulated(derive_with_ever_more_in_store, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

OSR_TASK(wrap_without_a_store, struct osr_error *, error)
{
    struct osr_error *mine = osr_error_retain(*error);

    use_the_store_up(meanwhile.kept, &meanwhile.count);
    (void)osr_raise(mine);
    check_int(osr_wrap(-OSR_EGROUP, "around it"), -OSR_EGROUP);
    check(osr_error_last() == mine);
    check_int(osr_wrap(-EPROTO, "as something else"), -EPROTO);
    give_the_store_back();
    check_int(osr_error_code(osr_error_last()), -EPROTO);
    osr_error_clear();
    return 0;
}

TEST(a_wrap_without_memory_gives_the_code_and_keeps_an_error_that_has_it)
{
    struct osr_error *error = tree();

    assert_int_equal(run_simulated(wrap_without_a_store, &error, .allocator = &counting_allocator), 0);
    assert_checked();
    osr_error_release(error);
    assert_int_equal(counting.live, 0);
}

/* Joined, the group stands in the tree of the target's group, so that the wrap has to copy it. */
OSR_TASK(wrap_with_ever_more_in_store, struct osr_task, handle)
{
    struct osr_error *joined;
    int in_store;

    (void)osr_task_join(*handle);
    joined = osr_error_take();
    for (in_store = 0; in_store < 8; in_store++) {
        leave_in_store(in_store);
        (void)osr_raise(osr_error_retain(joined));
        check_int(osr_wrap(-OSR_EGROUP, "around it"), -OSR_EGROUP);
        check_int(osr_error_count(osr_error_last()), 2);
        check(osr_error_find(osr_error_last(), EIO) == osr_error_find(joined, EIO));
        check((osr_error_last() == joined) == (in_store < 4)); /* two groups and two leaves */
        osr_error_clear();
        give_the_store_back();
    }
    return osr_raise(joined);
}

OSR_TASK(wrap_what_stands_elsewhere, void, unused)
{
    struct osr_error *trees[2];

    grow_two_trees(&fail_soon_in_company.routine_, &wrap_with_ever_more_in_store.routine_, trees);
    osr_error_release(trees[0]);
    osr_error_release(trees[1]);
    return 0;
}

TEST(a_wrap_keeps_the_leaves_of_a_joined_group_however_little_memory_there_is)
{
    assert_int_equal(run_simulated(wrap_what_stands_elsewhere, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(close_scopes_without_a_store, void, unused)
{
    struct osr_scope scope;

    osr_scope_open(&scope);
    use_the_store_up(meanwhile.kept, &meanwhile.count);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_sleep(1), -ECANCELED);
    check_int(osr_scope_close(&scope, -ECANCELED), -OSR_ESCOPECANCELED);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_sleep(1), -ECANCELED);
    check_int(osr_scope_close(&scope, -EIO), -EIO); /* beats what the scope would give */
    give_the_store_back();
    return 0;
}

TEST(a_scope_gives_its_code_when_the_store_of_errors_is_used_up)
{
    assert_int_equal(run_simulated(close_scopes_without_a_store, NULL, .allocator = &counting_allocator), 0);
    assert_checked();
    assert_int_equal(counting.live, 0);
}

OSR_TASK(fail_fatally_twice_without_a_store, void, unused)
{
    use_the_store_up(meanwhile.kept, &meanwhile.count);
    check_int(osr_fail_fatal(-EINTR, "the first"), -EINTR);
    check_int(osr_fail_fatal(-EIO, "the second"), -EIO);
    check(osr_cancelled());
    give_the_store_back();
    return 0;
}

TEST(a_second_fatal_error_needs_no_memory_and_changes_nothing)
{
    assert_int_equal(run_simulated(fail_fatally_twice_without_a_store, NULL, .allocator = &counting_allocator), -EINTR);
    assert_checked();
    assert_int_equal(osr_error_code(osr_error_last()), -EINTR);
    osr_error_clear();
    assert_int_equal(counting.live, 0);
}

/* Takes all that malloc() has, and gives it back. */
static void fail_where_malloc_gives_nothing(void)
{
    struct block { struct block *next; } *blocks = NULL, *block;
    struct rlimit before, none;
    struct osr_error *error;
    size_t size;
    int rc;

    getrlimit(RLIMIT_AS, &before);
    none = (struct rlimit){1 << 20, before.rlim_max};
    setrlimit(RLIMIT_AS, &none);
    for (size = 1 << 16; size >= sizeof(*block); size -= size > 4096 ? 4096 : 16)
        while ((block = malloc(size)) != NULL) {
            block->next = blocks;
            blocks = block;
        }
    rc = osr_fail(-EIO, "nobody hears this");
    error = osr_error_last();
    while ((block = blocks) != NULL) {
        blocks = block->next;
        free(block);
    }
    setrlimit(RLIMIT_AS, &before);
    check_int(rc, -EIO);
    check(!error);
    check_int(osr_error_code(osr_error_last()), -EIO);
}

TEST(an_error_outside_a_run_is_its_code_when_there_is_no_memory)
{
    if (under_tools())
        skip(); /* their allocators do not fail */
    assert_child_succeeds(fail_where_malloc_gives_nothing);
}

/* ---- Small and large texts ----------------------------------------------------------------------------- */

TEST(a_message_that_cannot_be_formatted_is_none)
{
    static const wchar_t no_character[] = {0x7fffffff, 0};

    assert_int_equal(osr_fail(-EIO, "%ls", no_character), -EIO);
    assert_slot(-EIO, osr_strerror(EIO));
    osr_error_clear();
}

/* As printf() of this C library has it. */
TEST(a_text_that_is_missing_from_a_message_is_said_to_be_null)
{
    const char *volatile nothing = NULL;

    osr_fail(-EIO, "%s, %u and %s", nothing, 3u, "more");
    assert_slot(-EIO, "(null), 3 and more");
    osr_error_clear();
}

/* One page of letters, again and again, and an end: more than a length of printf() can be. */
static char *map_endless_text(size_t size)
{
    enum { PART = 1 << 22 };
    static char letters[PART];
    int fd = memfd_create("letters", MFD_CLOEXEC);
    char *text = mmap(NULL, size + PART, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    size_t at;

    memset(letters, 'x', PART);
    assert_int_equal(write(fd, letters, PART), PART);
    assert_true(text != MAP_FAILED);
    for (at = 0; at < size; at += PART)
        assert_true(mmap(text + at, PART, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED);
    close(fd);
    return text;
}

TEST(a_message_that_has_no_length_is_none)
{
    const size_t size = (size_t)1 << 31;
    char *text;

    if (under_tools())
        skip(); /* which read slowly */
    text = map_endless_text(size);
    assert_int_equal(osr_fail(-EIO, "%s", text), -EIO);
    assert_slot(-EIO, osr_strerror(EIO));
    osr_error_clear();
    munmap(text, size + ((size_t)1 << 22));
}

TEST(characters_that_control_a_terminal_are_shown_as_numbers)
{
    char expected[128];
    const char *here;

    here = OSR_HERE, (void)osr_fail(-EIO, "one\x1b[31m\x7f\ntwo\n");
    snprintf(expected, sizeof(expected), "EIO: one\\x1b[31m\\x7f\n     two  [%s]\n", here);
    assert_text_contains(osr_error_last(), expected);
    osr_error_clear();
}

TEST(nothing_has_no_leaves_and_no_code)
{
    struct osr_leaves walk;
    int code = EIO;

    osr_fail(-EIO, "something");
    osr_leaves_init(NULL, osr_error_last());
    osr_leaves_init(&walk, NULL);
    assert_null(osr_leaves_next(&walk));
    assert_null(osr_leaves_next(NULL));
    assert_false(osr_error_has_code(NULL, &code));
    assert_false(osr_error_has_code(osr_error_last(), NULL));
    assert_true(osr_error_has_code(osr_error_last(), &code));
    osr_error_clear();
}

TEST(a_leaf_can_be_split_for_one_part_only)
{
    struct osr_error *error, *part;
    int wanted = EIO, other = EPIPE;

    osr_fail(-EIO, "alone");
    error = osr_error_take();
    assert_int_equal(osr_error_split(error, osr_error_has_code, &wanted, NULL, &part), 0);
    assert_null(part);
    assert_int_equal(osr_error_split(error, osr_error_has_code, &other, &part, NULL), 0);
    assert_null(part);
    osr_error_release(error);
}

TEST(printing_to_no_stream_is_refused)
{
    osr_fail(-EIO, "unheard");
    assert_int_equal(osr_error_print(osr_error_last(), NULL), -EINVAL);
    osr_error_clear();
}

static const char *quiet[2];

OSR_TASK(fail_without_a_name, void, unused)
{
    struct osr_group group;

    quiet[0] = OSR_HERE, osr_group_open(&group, .name = "quiet");
    quiet[1] = OSR_HERE, (void)osr_fail(-EIO, "the body");
    return osr_group_close(&group, -EIO);
}

TEST(a_task_without_a_name_is_left_out_of_the_text)
{
    char expected[512], *text;

    assert_int_equal(run_simulated(fail_without_a_name, NULL, .name = ""), -OSR_EGROUP);
    text = text_of(osr_error_last());
    snprintf(expected, sizeof(expected), "OSR_EGROUP: 1 error  [group \"quiet\" %s]\n+- EIO: the body  [%s]\n",
             quiet[0], quiet[1]);
    assert_string_equal(text, expected);
    free(text);
    osr_error_clear();
}

/* At each level a group, whose error is the cause of another one. */
OSR_TASK(fail_because_of_a_group, int, level)
{
    struct osr_group group;
    int below = *level - 1;

    if (*level == 0)
        return osr_fail(-ENOENT, "the bottom");
    osr_group_open(&group);
    osr_spawn_copy(&group, fail_because_of_a_group, &below);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    return osr_wrap(-EIO, "at level %d;", *level);
}

static struct osr_error *error_because_of_groups(int level)
{
    assert_int_equal(run_simulated(fail_because_of_a_group, &level), -EIO);
    assert_checked();
    return osr_error_take();
}

TEST(groups_that_are_causes_are_shown_whole_to_a_depth_of_eight)
{
    struct osr_error *error = error_because_of_groups(8);
    char *text;

    assert_text_contains(error, "at level 1;");
    assert_text_contains(error, "the bottom");
    osr_error_release(error);
    error = error_because_of_groups(10);
    text = text_of(error);
    assert_contains(text, "at level 2;");
    assert_contains(text, "because of OSR_EGROUP: 1 error");
    assert_null(strstr(text, "at level 1;"));
    assert_null(strstr(text, "the bottom"));
    free(text);
    osr_error_release(error);
}

TEST(the_text_moves_to_the_right_for_twenty_four_levels)
{
    struct osr_error *shape = tree(), *error = error_because_of_groups(1), *deeper;
    char margin[3 * 25 + 1] = "", *text;
    int i;

    for (i = 0; i < 40; i++) {
        deeper = osr_error_derive(shape, &error, 1);
        osr_error_release(error);
        error = deeper;
    }
    text = text_of(error);
    for (i = 0; i < 24; i++)
        strcat(margin, "|  ");
    assert_contains(text, margin);
    strcat(margin, "|  ");
    assert_null(strstr(text, margin));
    assert_contains(text, "at level 1;");
    assert_contains(text, "the bottom");
    free(text);
    osr_error_release(error);
    osr_error_release(shape);
}

/* ---- What an error must not keep of the one before in its memory ------------------------------------------ */

OSR_TASK(sleeps_until_cut, void, unused) { return osr_sleep(OSR_NEVER); }

/* Takes a group beside which a cancellation went on, and releases it. */
static void take_one_that_rides(void)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_scope_open(&outer);
    osr_group_open(&group);
    check_int(osr_spawn(&group, sleeps_until_cut, NULL), 0);
    check_int(osr_yield(), 0);
    check_int(osr_scope_cancel(&outer, "enough"), 0);
    check_int(osr_group_close(&group, osr_fail(-EIO, "the body failed")), -OSR_EGROUP);
    osr_error_release(osr_error_take());
    (void)osr_scope_close(&outer, 0);
    osr_error_clear();
}

SIMULATED_TEST(no_cancellation_rides_beside_an_error_in_memory_that_was_used_before)
{
    enum { SEVERAL = 8 };
    struct osr_error *errors[SEVERAL];
    struct osr_scope scope;
    int i;

    take_one_that_rides();
    for (i = 0; i < SEVERAL; i++) {
        osr_fail(-EPROTO, "number %d", i);
        errors[i] = osr_error_retain(osr_error_last());
        osr_error_clear();
    }
    for (i = 0; i < SEVERAL; i++) {
        osr_scope_open(&scope);
        check_int(osr_scope_cancel(&scope, "enough"), 0);
        check_int(osr_scope_close(&scope, osr_raise(errors[i])), -EPROTO);
        check(!osr_scope_caught(&scope));
    }
    return 0;
}

TEST(a_message_of_any_length_is_kept_whole)
{
    char text[1100];
    int length;

    for (length = 0; length < (int)sizeof(text); length++) {
        memset(text, 'a' + length % 26, sizeof(text));
        text[length] = '\0';
        osr_fail(-EIO, "%s", text);
        assert_string_equal(osr_error_message(osr_error_last()), length > 0 ? text : "");
    }
    osr_error_clear();
}

/* Who takes it up is behind the shield. */
SIMULATED_TEST(a_cancellation_rides_beside_what_is_raised_in_a_shield)
{
    struct osr_scope outer, shield;
    struct osr_group group;
    struct osr_error *error;
    int rc;

    osr_scope_open(&outer);
    osr_group_open(&group);
    check_int(osr_spawn(&group, sleeps_until_cut, NULL), 0);
    check_int(osr_yield(), 0);
    check_int(osr_scope_cancel(&outer, "enough"), 0);
    check_int(osr_group_close(&group, osr_fail(-EIO, "the body failed")), -OSR_EGROUP);
    error = osr_error_take();
    osr_shield_open_unlimited(&shield);
    rc = osr_scope_close(&shield, osr_raise(error));
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

OSR_TASK(fails_when_cut, void, unused)
{
    (void)osr_sleep(OSR_NEVER);
    return osr_fail(-EIO, "cut");
}

/* Of a group of errors that is itself a cause, and has one. */
SIMULATED_TEST(the_causes_of_a_cause_that_is_a_group_are_shown_once)
{
    struct osr_scope limit;
    struct osr_group group;
    char text[2048], *first;
    int rc;

    osr_timeout_open(&limit, osr_ms(1));
    osr_group_open(&group);
    check_int(osr_spawn(&group, fails_when_cut, NULL), 0);
    rc = osr_sleep(OSR_NEVER);
    rc = osr_scope_close(&limit, osr_group_close(&group, rc));
    check_int(rc, -OSR_EGROUP);
    check_int(osr_wrap(-EPROTO, "around it"), -EPROTO);
    check(osr_error_format(osr_error_last(), text, sizeof(text)) < sizeof(text));
    first = strstr(text, "the time limit passed");
    check(first && !strstr(first + 1, "the time limit passed"));
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        story_test(failing_fills_the_slot_and_gives_the_code_back),
        story_test(failing_with_no_error_code_is_an_invalid_argument),
        story_test(failing_with_a_cancellation_empties_the_slot),
        story_test(wrapping_adds_a_place_and_a_message_and_keeps_the_cause),
        story_test(wrapping_may_change_the_code),
        story_test(results_and_cancellations_pass_through_a_wrap_untouched),
        story_test(an_error_can_be_taken_and_raised_again),
        story_test(a_message_may_quote_the_error_that_it_replaces),
        story_test(errors_are_counted_references),
        story_test(a_cause_lives_as_long_as_its_error),
        story_test(messages_are_taken_as_they_are),
        story_test(asking_nothing_gives_nothing),
        story_test(codes_have_texts_and_symbols),
        story_test(an_error_without_a_message_has_the_text_of_its_code),
        story_test(every_call_that_fails_takes_the_slot),
        story_test(what_comes_too_late_leaves_the_slot_alone),
        story_test(a_closer_that_gives_no_error_empties_the_slot),
        story_test(a_scope_closed_with_another_code_than_the_slots_makes_that_the_cause),
        story_test(an_error_names_its_task_and_comes_out_of_the_run),
        story_test(every_task_has_a_slot_of_its_own),
        story_test(a_run_that_gives_no_error_empties_the_slot),
        story_test(a_bare_code_becomes_a_leaf_with_the_place_of_the_spawn),
        story_test(a_code_that_differs_from_the_slots_becomes_a_leaf_with_that_as_its_cause),
        story_test(an_error_that_was_handled_is_no_error_of_the_task),
        story_test(a_failed_call_is_a_leaf_with_the_place_of_the_call),
        story_test(a_bodys_bare_code_is_a_leaf_of_the_owners),
        story_test(the_leaves_are_walked_in_the_order_in_which_they_happened),
        story_test(a_leaf_is_its_own_only_leaf),
        story_test(finding_gives_the_first_leaf_with_a_code),
        story_test(splitting_divides_the_leaves_and_keeps_the_shape),
        story_test(a_split_drops_groups_that_became_empty),
        story_test(a_match_is_asked_about_every_leaf_once),
        story_test(a_split_gives_only_the_parts_that_are_wanted),
        story_test(a_leaf_can_be_split),
        story_test(a_split_without_what_it_needs_is_refused),
        story_test(a_split_without_memory_gives_no_half),
        story_test(a_group_can_be_derived_from_another),
        story_test(only_groups_can_be_derived_from_and_only_with_errors),
        story_test(a_tree_that_was_taken_can_be_raised_elsewhere),
        story_test(an_error_raised_several_times_in_a_group_is_counted_once),
        story_test(a_long_chain_of_causes_fits_a_small_stack),
        story_test(a_deep_tree_fits_a_small_stack),
        story_test(a_timeout_that_a_real_error_beats_stands_at_the_end_of_its_causes),
        story_test(a_cancellation_that_nobody_ordered_is_an_error),
        story_test(a_root_that_was_not_cancelled_and_says_so_has_failed),
        story_test(a_body_that_was_not_cancelled_and_says_so_has_failed),
        story_test(a_cancellation_from_a_scope_around_the_task_is_no_error),
        story_test(a_fatal_error_comes_out_of_the_run_even_if_nobody_passed_it_on),
        story_test(a_fatal_error_stays_one_when_it_is_wrapped),
        story_test(an_error_that_a_fatal_one_has_caused_is_another_one),
        story_test(a_fatal_error_need_not_be_returned),
        story_test(a_fatal_error_respects_shields_and_their_grace),
        story_test(a_fatal_error_keeps_its_siblings_beside_it),
        story_test(the_first_fatal_error_is_the_one_that_counts),
        story_test(a_fatal_error_always_has_an_error_code),
        story_test(a_fatal_error_cancels_everything_whoever_swallows_it_on_the_way),
        story_test(errors_keep_code_place_and_task_when_there_is_no_memory),
        story_test(a_tree_keeps_all_its_leaves_when_there_is_no_memory),
        story_test(bare_codes_wraps_and_fatal_errors_need_no_memory),
        story_test(a_guard_that_could_not_be_opened_keeps_no_errors_in_store),
        story_test(what_cannot_be_taken_for_lack_of_memory_stays_in_the_slot),
        story_test(errors_outlive_the_run_and_may_be_handed_to_another_thread),
        story_test(errors_left_in_the_slot_are_replaced_by_the_next_run),
        story_test(the_text_of_a_tree_says_all_that_is_known),
        story_test(the_text_of_a_group_says_who_cancelled_it_and_why),
        story_test(the_whole_text_of_a_tree),
        story_test(the_text_of_an_error_holds_its_causes),
        story_test(printing_writes_the_text),
        story_test(printing_nothing_writes_nothing),
        story_test(printing_to_a_stream_that_fails_says_so),
        story_test(a_text_is_cut_at_the_size_of_its_buffer),
        story_test(a_wrap_around_a_group_keeps_its_leaves_in_sight),
        story_test(the_halves_of_a_split_say_how_many_were_cancelled),
        story_test(the_halves_of_a_split_keep_the_cause),
        story_test(an_error_may_stand_in_two_groups),
        story_test(a_fatal_error_that_was_swallowed_stands_beside_the_one_that_came_out),
        story_test(code_place_and_task_survive_when_the_store_of_errors_is_used_up),
        story_test(a_timeout_is_a_timeout_when_the_store_of_errors_is_used_up),
        story_test(what_a_run_gives_in_the_end_needs_no_memory),
        story_test(an_error_that_stands_in_two_trees_is_a_leaf_of_both),
        story_test(a_group_of_errors_that_stands_in_two_trees_is_whole_in_both),
        story_test(a_group_that_cannot_be_copied_is_known_by_code_and_place),
        story_test(a_lone_error_that_stands_elsewhere_comes_out_as_itself),
        story_test(a_lone_error_that_stands_elsewhere_comes_out_of_a_guard_as_itself),
        story_test(a_group_of_errors_that_comes_back_unwrapped_is_counted_once),
        story_test(a_split_gives_both_halves_whole_or_none),
        story_test(a_group_is_derived_whole_or_not_at_all),
        story_test(a_wrap_without_memory_gives_the_code_and_keeps_an_error_that_has_it),
        story_test(a_wrap_keeps_the_leaves_of_a_joined_group_however_little_memory_there_is),
        story_test(a_scope_gives_its_code_when_the_store_of_errors_is_used_up),
        story_test(a_second_fatal_error_needs_no_memory_and_changes_nothing),
        story_test(an_error_outside_a_run_is_its_code_when_there_is_no_memory),
        story_test(a_message_that_cannot_be_formatted_is_none),
        story_test(a_text_that_is_missing_from_a_message_is_said_to_be_null),
        story_test(a_message_that_has_no_length_is_none),
        story_test(characters_that_control_a_terminal_are_shown_as_numbers),
        story_test(nothing_has_no_leaves_and_no_code),
        story_test(a_leaf_can_be_split_for_one_part_only),
        story_test(what_is_split_keeps_the_causes_of_groups_inside),
        story_test(printing_to_no_stream_is_refused),
        story_test(a_task_without_a_name_is_left_out_of_the_text),
        story_test(groups_that_are_causes_are_shown_whole_to_a_depth_of_eight),
        story_test(the_text_moves_to_the_right_for_twenty_four_levels),
        story_test(no_cancellation_rides_beside_an_error_in_memory_that_was_used_before),
        story_test(a_message_of_any_length_is_kept_whole),
        story_test(a_cancellation_rides_beside_what_is_raised_in_a_shield),
        story_test(the_causes_of_a_cause_that_is_a_group_are_shown_once),
        story_test(a_part_of_a_tree_says_how_many_errors_it_has_itself),
        story_test(a_part_of_the_losses_says_how_many_they_are),
        story_test(a_code_that_nobody_knows_is_shown_as_its_number),
        story_test(a_strange_code_without_a_message_is_shown_as_its_number),
        story_test(errors_that_guards_have_left_are_counted_and_have_the_place_of_the_first_guard),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
