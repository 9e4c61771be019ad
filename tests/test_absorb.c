/*
 * Who takes a cancellation up. Two or three nested scopes, of every form, are cancelled in every way and in every
 * order, round a body that gives every kind of result; what comes out of each close is compared with a model
 * that is written from the rules alone. Then the cases that a row of nested scopes cannot say: groups between
 * them, errors beside cancellations, and what becomes of a timeout that an error beats.
 */
#include "harness.h"

/* Waits although everything around is cancelled. */
static void linger_until(int64_t at)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep_until(at), 0);
    check_int(osr_scope_close(&shield, 0), 0);
}

/* ---- The cases ----------------------------------------------------------------------------------------- */

enum form { TIMEOUT, MOVE_ON, SHIELD, FORMS };
enum how { LEFT_ALONE, BY_DEADLINE, BY_HAND, HOWS };

/* When the cancellations come, seen from the one call that the body makes. */
enum way {
    BEFORE,     /* all of them, one after the other, before the call begins, which is refused */
    TOGETHER,   /* all of them at one instant, while the call waits */
    ONE_BY_ONE, /* the first that the call can feel cuts it, the others come before the first close */
    WAYS
};

enum { DEEPEST = 3 };

/* Outermost first. */
struct nest {
    int depth;
    enum form form[DEEPEST];
    enum how how[DEEPEST];
    int turn[DEEPEST]; /* the place of each in the order of cancelling, from 0 */
    enum way way;
    int body; /* what the body gives, whatever became of its call */
};

/* What is to be expected, and what was seen. */
struct outcome {
    int call;
    int close[DEEPEST];
    bool caught[DEEPEST];
    bool timed_out_below; /* the final error must carry the timeout as its last cause */
};

/* ---- The model ----------------------------------------------------------------------------------------- */

static bool is_cancelled(const struct nest *nest, int scope)
{
    return nest->how[scope] != LEFT_ALONE;
}

/* Whether what stands in scope `from` can see scope `at`: a shield hides all that is outside of it. */
static bool sees(const struct nest *nest, int from, int at)
{
    for (; from > at; from--)
        if (nest->form[from] == SHIELD)
            return false;
    return true;
}

/* The outermost cancelled scope that can be seen from inside `from`, -1 if there is none. */
static int outermost(const struct nest *nest, int from)
{
    int at;

    for (at = 0; at <= from; at++)
        if (is_cancelled(nest, at) && sees(nest, from, at))
            return at;
    return -1;
}

/* Whether the body's call was cut or refused on account of this scope. */
static bool cut_the_call(const struct nest *nest, int scope)
{
    int innermost = nest->depth - 1, other;

    if (!is_cancelled(nest, scope) || !sees(nest, innermost, scope))
        return false;
    if (nest->way != ONE_BY_ONE)
        return true;
    for (other = 0; other < nest->depth; other++)
        if (is_cancelled(nest, other) && sees(nest, innermost, other) && nest->turn[other] < nest->turn[scope])
            return false;
    return true;
}

static int expected_close(const struct nest *nest, int scope, int rc, struct outcome *expected)
{
    bool cut = cut_the_call(nest, scope);
    int absorber = outermost(nest, scope);

    if (rc != -ECANCELED && (rc < 0 || !cut))
        return rc;
    if (absorber != scope)
        return -ECANCELED;
    expected->caught[scope] = true;
    if (nest->form[scope] == MOVE_ON)
        return 0;
    return nest->how[scope] == BY_DEADLINE ? -ETIMEDOUT : -OSR_ESCOPECANCELED;
}

static struct outcome expected_outcome(const struct nest *nest)
{
    struct outcome expected = {0};
    int scope, rc = nest->body, absorber = outermost(nest, nest->depth - 1);

    expected.call = absorber < 0 ? 0 : -ECANCELED;
    for (scope = nest->depth - 1; scope >= 0; scope--) {
        rc = expected_close(nest, scope, rc, &expected);
        expected.close[scope] = rc;
    }
    expected.timed_out_below = nest->body == -EIO && absorber >= 0 && nest->form[absorber] == TIMEOUT &&
                               nest->how[absorber] == BY_DEADLINE && cut_the_call(nest, absorber);
    return expected;
}

/* ---- What really happens ------------------------------------------------------------------------------- */

static const char *in_words(const struct nest *nest)
{
    static const char *const forms[] = {"timeout", "move-on", "shield"};
    static const char *const hows[] = {"left alone", "deadline", "by hand"};
    static const char *const ways[] = {"before", "together", "one by one"};
    static char text[256];
    int length = 0, scope;

    for (scope = 0; scope < nest->depth; scope++)
        length += snprintf(text + length, sizeof(text) - (size_t)length, "%s%s (%s, turn %d)", scope ? " > " : "",
                           forms[nest->form[scope]], hows[nest->how[scope]], nest->turn[scope]);
    snprintf(text + length, sizeof(text) - (size_t)length, ", cancelled %s, body gives %d", ways[nest->way],
             nest->body);
    return text;
}

#define check_case(nest, actual, expected, what, number) \
    check_case_is((nest), (actual), (expected), (what), (number), OSR_HERE)

static void check_case_is(const struct nest *nest, long long actual, long long expected, const char *what, int number,
                          const char *here)
{
    char text[512];

    if (actual != expected)
        snprintf(text, sizeof(text), "[%s]: %s %d", in_words(nest), what, number);
    check_equal(actual, expected, actual == expected ? what : text, here);
}

static const char *const places[] = {"outer.c:1", "middle.c:2", "inner.c:3"};

/* The scope whose turn it is. */
static int whose_turn(const struct nest *nest, int turn)
{
    int scope;

    for (scope = 0; scope < nest->depth; scope++)
        if (nest->turn[scope] == turn)
            return scope;
    return -1;
}

/* The moment at which a scope is cancelled, in a case that began at `start`. */
static int64_t moment(const struct nest *nest, int scope, int64_t start)
{
    return start + osr_ms(nest->way == TOGETHER ? 5 : 1 + nest->turn[scope]);
}

struct hands {
    const struct nest *nest;
    struct osr_scope *scopes;
    int64_t start;
};

/* Cancels what is to be cancelled by hand, each in its turn. */
OSR_TASK(hands, struct hands, h)
{
    int turn, scope;

    for (turn = 0; turn < h->nest->depth; turn++) {
        scope = whose_turn(h->nest, turn);
        if (h->nest->how[scope] != BY_HAND)
            continue;
        if (osr_now() < moment(h->nest, scope, h->start))
            check_int(osr_sleep_until(moment(h->nest, scope, h->start)), 0);
        check_int(osr_scope_cancel(&h->scopes[scope], places[scope]), 0);
    }
    return 0;
}

static void open_scopes(const struct nest *nest, struct osr_scope *scopes, int64_t start)
{
    static const int forms[] = {OSR_SCOPE_TIMEOUT, OSR_SCOPE_MOVE_ON, OSR_SCOPE_SHIELD};
    int scope, turn;

    for (scope = 0; scope < nest->depth; scope++)
        check_int(osr_scope_open_here(&scopes[scope], forms[nest->form[scope]], OSR_NEVER, places[scope]), 0);
    for (turn = 0; turn < nest->depth; turn++) {
        scope = whose_turn(nest, turn);
        if (nest->how[scope] == BY_DEADLINE)
            check_int(osr_scope_set_deadline(&scopes[scope], moment(nest, scope, start)), 0);
    }
}

static int make_the_call(const struct nest *nest, int64_t end)
{
    int rc;

    if (nest->way == BEFORE) {
        linger_until(end);
        return osr_check();
    }
    rc = osr_sleep_until(end);
    linger_until(end);
    return rc;
}

static void check_slot(const struct nest *nest, int rc)
{
    if (rc >= 0)
        check_case(nest, osr_error_last() == NULL, 1, "the slot is empty after a success,", rc);
    else if (osr_error_last())
        check_case(nest, osr_error_code(osr_error_last()), rc, "the slot's code, for", rc);
    if (rc < 0 && nest->body == rc && rc != -ECANCELED)
        check_case(nest, strcmp(osr_error_message(osr_error_last()), "the body's own"), 0, "the error's message,", rc);
}

static void check_reasons(const struct nest *nest, const struct osr_scope *scopes)
{
    const struct osr_reason *reason;
    int scope;

    for (scope = 0; scope < nest->depth; scope++) {
        reason = osr_scope_reason(&scopes[scope]);
        check_case(nest, osr_scope_cancelled(&scopes[scope]), is_cancelled(nest, scope), "cancelled", scope);
        check_case(nest, reason != NULL, is_cancelled(nest, scope), "has a reason", scope);
        if (!reason)
            continue;
        check_case(nest, reason->code, nest->how[scope] == BY_HAND ? -ECANCELED : -ETIMEDOUT, "reason's code", scope);
        check_text(reason->who, nest->how[scope] == BY_HAND ? "hands" : "");
        if (nest->how[scope] == BY_HAND)
            check_text(reason->text, places[scope]);
        else
            check_text(reason->where, places[scope]);
    }
}

/* The end of an error's causes. */
static const struct osr_error *first_cause(const struct osr_error *error)
{
    while (osr_error_cause(error))
        error = osr_error_cause(error);
    return error;
}

static void close_and_compare(const struct nest *nest, struct osr_scope *scopes, int rc)
{
    struct outcome expected = expected_outcome(nest);
    int scope;

    for (scope = nest->depth - 1; scope >= 0; scope--) {
        rc = osr_scope_close(&scopes[scope], rc);
        check_case(nest, rc, expected.close[scope], "close of scope", scope);
        check_case(nest, osr_scope_caught(&scopes[scope]), expected.caught[scope], "caught by scope", scope);
        check_slot(nest, rc);
        rc = expected.close[scope];
    }
    if (expected.timed_out_below)
        check_case(nest, osr_error_code(first_cause(osr_error_last())), -ETIMEDOUT, "the last cause", 0);
    check_reasons(nest, scopes);
}

static void run_case(const struct nest *nest)
{
    struct osr_scope scopes[DEEPEST];
    struct osr_group others;
    int64_t start = osr_now();
    struct hands cancels = {nest, scopes, start};
    int rc;

    osr_group_open(&others);
    osr_spawn(&others, hands, &cancels);
    open_scopes(nest, scopes, start);
    rc = make_the_call(nest, start + osr_ms(10));
    check_case(nest, rc, expected_outcome(nest).call, "the call", 0);
    rc = nest->body == -EIO ? osr_fail(-EIO, "the body's own") : nest->body;
    close_and_compare(nest, scopes, rc);
    check_case(nest, osr_check(), 0, "a call after all is closed", 0);
    check_case(nest, osr_group_close(&others, 0), 0, "the group around", 0);
}

/* ---- All of them --------------------------------------------------------------------------------------- */

/* The first of them are those of one and of two scopes. */
static const int orders[][DEEPEST] = {{0, 1, 2}, {1, 0, 2}, {0, 2, 1}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
static const int orders_of[] = {0, 1, 2, 6};

static void run_in_every_order(struct nest *nest)
{
    int order;

    for (order = 0; order < orders_of[nest->depth]; order++) {
        memcpy(nest->turn, orders[order], sizeof(nest->turn));
        run_case(nest);
    }
}

static void run_all(int depth, enum way way, int body)
{
    struct nest nest = {.depth = depth, .way = way, .body = body};
    int kinds = FORMS * HOWS, count = 1, number, rest, scope;

    for (scope = 0; scope < depth; scope++)
        count *= kinds;
    for (number = 0; number < count; number++) {
        for (scope = 0, rest = number; scope < depth; scope++, rest /= kinds) {
            nest.form[scope] = (enum form)(rest % kinds / HOWS);
            nest.how[scope] = (enum how)(rest % kinds % HOWS);
        }
        run_in_every_order(&nest);
    }
}

struct sweep {
    enum way way;
    int body;
};

OSR_TASK(sweeps, struct sweep, s)
{
    run_all(1, s->way, s->body);
    run_all(2, s->way, s->body);
    run_all(3, s->way, s->body);
    return 0;
}

static void sweep(enum way way, int body)
{
    struct sweep s = {way, body};

    assert_int_equal(run_simulated(sweeps, &s), 0);
    assert_checked();
}

#define SWEEP(test, way, body)     \
    static void test(void **state) \
    {                              \
        (void)state;               \
        sweep(way, body);          \
    }

SWEEP(test_a_refusal_passed_on_is_taken_up_by_the_outermost, BEFORE, -ECANCELED)
SWEEP(test_a_refusal_ignored_is_taken_up_all_the_same, BEFORE, 0)
SWEEP(test_a_refusal_ignored_with_a_count_is_taken_up_all_the_same, BEFORE, 7)
SWEEP(test_an_error_after_a_refusal_goes_up, BEFORE, -EIO)
SWEEP(test_a_cut_by_all_at_once_passed_on_is_taken_up_by_the_outermost, TOGETHER, -ECANCELED)
SWEEP(test_a_cut_by_all_at_once_ignored_is_taken_up_all_the_same, TOGETHER, 0)
SWEEP(test_a_cut_by_all_at_once_ignored_with_a_count_is_taken_up_all_the_same, TOGETHER, 7)
SWEEP(test_an_error_after_a_cut_by_all_at_once_goes_up, TOGETHER, -EIO)
SWEEP(test_a_cut_by_one_after_the_other_passed_on_is_taken_up_by_the_outermost, ONE_BY_ONE, -ECANCELED)
SWEEP(test_a_cut_by_one_after_the_other_ignored_is_taken_up_all_the_same, ONE_BY_ONE, 0)
SWEEP(test_a_cut_by_one_after_the_other_ignored_with_a_count_is_taken_up_all_the_same, ONE_BY_ONE, 7)
SWEEP(test_an_error_after_a_cut_by_one_after_the_other_goes_up, ONE_BY_ONE, -EIO)

/* ---- The order of cancelling ---------------------------------------------------------------------------- */

/* What came of a wait in two scopes that were both cancelled before its task ran on. */
struct both {
    struct osr_scope outer, inner;
    bool outer_first;
    int body, between; /* what the body gives, and the code between the two closes; 1: the inner close's result */
    int inner_close, outer_close, last_cause;
};

OSR_TASK(cancels_both, struct both, b)
{
    struct osr_scope *first = b->outer_first ? &b->outer : &b->inner, *second = b->outer_first ? &b->inner : &b->outer;

    check_int(osr_sleep(osr_ms(1)), 0);
    osr_scope_cancel(first, NULL);
    osr_scope_cancel(second, NULL);
    return 0;
}

/* The same with two deadlines of one instant, which fire in the order in which they were set. */
static void set_both_deadlines(struct both *b)
{
    int64_t at = osr_time_add(osr_now(), osr_ms(1));

    osr_scope_set_deadline(b->outer_first ? &b->outer : &b->inner, at);
    osr_scope_set_deadline(b->outer_first ? &b->inner : &b->outer, at);
}

static void wait_in_both(struct both *b, bool by_deadline)
{
    struct osr_group others;
    int rc;

    osr_group_open(&others);
    osr_scope_open(&b->outer);
    osr_scope_open(&b->inner);
    if (by_deadline)
        set_both_deadlines(b);
    else
        osr_spawn(&others, cancels_both, b);
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check(osr_scope_cancelled(&b->outer) && osr_scope_cancelled(&b->inner));
    rc = b->body == -EIO ? osr_fail(-EIO, "the body's own") : b->body;
    b->inner_close = osr_scope_close(&b->inner, rc);
    b->outer_close = osr_scope_close(&b->outer, b->between == 1 ? b->inner_close : b->between);
    b->last_cause = osr_error_code(first_cause(osr_error_last()));
    check_int(osr_group_close(&others, 0), 0);
}

/* Whichever comes first, all must come out alike. */
static void compare_orders(int body, int between, bool by_deadline)
{
    struct both *one = calloc(2, sizeof(*one)), *other = one + 1;

    one->body = other->body = body;
    one->between = other->between = between;
    one->outer_first = true;
    wait_in_both(one, by_deadline);
    wait_in_both(other, by_deadline);
    check_int(one->inner_close, other->inner_close);
    check_int(one->outer_close, other->outer_close);
    check_int(one->last_cause, other->last_cause);
    check_int(osr_scope_caught(&one->inner), osr_scope_caught(&other->inner));
    check_int(osr_scope_caught(&one->outer), osr_scope_caught(&other->outer));
    free(one);
}

SIMULATED_TEST(test_a_cut_passed_on_comes_out_alike_in_whichever_order_its_scopes_were_cancelled)
{
    compare_orders(-ECANCELED, 1, false);
    compare_orders(-ECANCELED, 1, true);
    return 0;
}

SIMULATED_TEST(test_a_cut_ignored_comes_out_alike_in_whichever_order_its_scopes_were_cancelled)
{
    compare_orders(0, 1, false);
    compare_orders(0, 1, true);
    return 0;
}

SIMULATED_TEST(test_a_cut_ignored_twice_comes_out_alike_in_whichever_order_its_scopes_were_cancelled)
{
    compare_orders(-ECANCELED, 0, false);
    compare_orders(-ECANCELED, 0, true);
    return 0;
}

SIMULATED_TEST(test_an_error_after_a_cut_comes_out_alike_in_whichever_order_its_scopes_were_cancelled)
{
    compare_orders(-EIO, 1, false);
    compare_orders(-EIO, 1, true);
    return 0;
}

/* ---- Forms, one by one --------------------------------------------------------------------------------- */

SIMULATED_TEST(test_only_the_form_chosen_by_name_turns_a_cut_into_a_success)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(1));
    check_int(osr_scope_close(&scope, osr_sleep(OSR_NEVER)), -ETIMEDOUT);
    osr_shield_open(&scope, osr_ms(1));
    check_int(osr_scope_close(&scope, osr_sleep(OSR_NEVER)), -ETIMEDOUT);
    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_scope_close(&scope, osr_check()), -OSR_ESCOPECANCELED);
    osr_move_on_open(&scope, osr_ms(1));
    check_int(osr_scope_close(&scope, osr_sleep(OSR_NEVER)), 0);
    check(osr_scope_caught(&scope));
    return 0;
}

SIMULATED_TEST(test_the_error_of_a_timeout_is_in_the_slot)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(1));
    check_int(osr_scope_close(&scope, osr_sleep(OSR_NEVER)), -ETIMEDOUT);
    check_int(osr_error_code(osr_error_last()), -ETIMEDOUT);
    check_text(osr_error_task(osr_error_last()), "root");

    osr_scope_open(&scope);
    osr_scope_cancel(&scope, NULL);
    check_int(osr_scope_close(&scope, osr_check()), -OSR_ESCOPECANCELED);
    check_int(osr_error_code(osr_error_last()), -OSR_ESCOPECANCELED);

    osr_move_on_open(&scope, 0);
    check_int(osr_scope_close(&scope, osr_check()), 0);
    check(osr_error_last() == NULL);
    return 0;
}

SIMULATED_TEST(test_being_late_without_having_cut_anything_is_a_success)
{
    struct osr_scope scope;

    osr_timeout_open(&scope, osr_ms(10));
    linger_until(osr_ms(50));
    check(osr_scope_cancelled(&scope));
    check_int(osr_scope_close(&scope, 7), 7);
    check(!osr_scope_caught(&scope));

    osr_move_on_open(&scope, osr_ms(10));
    linger_until(osr_ms(100));
    check_int(osr_scope_close(&scope, 7), 7);
    check(!osr_scope_caught(&scope));
    return 0;
}

SIMULATED_TEST(test_an_outer_deadline_that_passes_after_the_cut_takes_it_from_the_inner_scope)
{
    struct osr_scope outer, inner;

    osr_timeout_open(&outer, osr_ms(20));
    osr_timeout_open(&inner, osr_ms(10));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    linger_until(osr_ms(30));
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    check(!osr_scope_caught(&inner));
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_what_was_absorbed_inside_is_not_felt_outside)
{
    struct osr_scope outer, inner;

    osr_timeout_open(&outer, osr_ms(20));
    osr_move_on_open(&inner, osr_ms(10));
    check_int(osr_scope_close(&inner, osr_sleep(OSR_NEVER)), 0);
    check_int(osr_sleep(osr_ms(5)), 0);
    check_int(osr_scope_close(&outer, 0), 0);
    check(!osr_scope_cancelled(&outer));
    return 0;
}

/* ---- With tasks and groups between --------------------------------------------------------------------- */

OSR_TASK(waits, void, unused) { return osr_sleep(OSR_NEVER); }

OSR_TASK(waits_and_ignores_the_cut, void, unused)
{
    osr_sleep(OSR_NEVER);
    return 5;
}

OSR_TASK(waits_and_fails_when_cut, void, unused)
{
    osr_sleep(OSR_NEVER);
    return osr_fail(-EIO, "could not clean up");
}

OSR_TASK(fails, void, unused) { return osr_fail(-EPROTO, "no header"); }

SIMULATED_TEST(test_a_cut_that_a_child_ignored_is_still_a_timeout)
{
    struct osr_scope limit;
    struct osr_group group;

    osr_timeout_open(&limit, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, waits_and_ignores_the_cut, NULL);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_scope_close(&limit, 0), -ETIMEDOUT);
    check(osr_scope_caught(&limit));
    return 0;
}

SIMULATED_TEST(test_a_group_cancelled_by_hand_takes_up_what_it_cut)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_timeout_open(&outer, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, waits, NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_group_cancel(&group, NULL);
    check_int(osr_check(), -ECANCELED);
    check_int(osr_group_close(&group, -ECANCELED), 0);
    check(osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&outer, 0), 0);
    check(!osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_a_group_passes_a_cancellation_from_outside_on)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_timeout_open(&outer, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, waits, NULL);
    check_int(osr_group_close(&group, 3), -ECANCELED);
    check(!osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&outer, -ECANCELED), -ETIMEDOUT);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_a_group_cancelled_first_still_leaves_it_to_the_scope_outside)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_scope_open(&outer);
    osr_group_open(&group);
    osr_spawn(&group, waits, NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_group_cancel(&group, NULL);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_group_close(&group, 0), -ECANCELED);
    check(!osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&outer, -ECANCELED), -OSR_ESCOPECANCELED);
    return 0;
}

static void check_tree(int code, size_t leaves, unsigned cancelled)
{
    const struct osr_error *tree = osr_error_last();

    check_int(osr_error_is_group(tree), true);
    check_int(osr_error_count(tree), leaves);
    check_int(osr_error_cancelled(tree), cancelled);
    check(osr_error_find(tree, code) != NULL);
}

SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_an_error_in_a_group)
{
    static const int forms[] = {OSR_SCOPE_TIMEOUT, OSR_SCOPE_MOVE_ON, OSR_SCOPE_SHIELD};
    struct osr_scope outer;
    struct osr_group group;
    int i;

    for (i = 0; i < 3; i++) {
        osr_scope_open_here(&outer, forms[i], OSR_NEVER, OSR_HERE);
        osr_group_open(&group);
        osr_spawn(&group, waits_and_fails_when_cut, NULL);
        osr_spawn(&group, waits, NULL);
        check_int(osr_sleep(osr_ms(1)), 0);
        osr_scope_cancel(&outer, NULL);
        check_int(osr_group_close(&group, 0), -OSR_EGROUP);
        check_tree(-EIO, 1, 1);
        check(!osr_scope_caught(&group.scope));
        check_int(osr_scope_close(&outer, -OSR_EGROUP), -OSR_EGROUP);
        check_tree(-EIO, 1, 1);
        check(osr_scope_caught(&outer));
    }
    return 0;
}

SIMULATED_TEST(test_of_two_cancelled_scopes_the_outer_one_has_caught_what_stood_beside_an_error)
{
    struct osr_scope outer, inner;
    struct osr_group group;

    osr_move_on_open(&outer, OSR_NEVER);
    osr_move_on_open(&inner, OSR_NEVER);
    osr_group_open(&group);
    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    osr_spawn(&group, waits, NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_scope_cancel(&inner, NULL);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_scope_close(&inner, -OSR_EGROUP), -OSR_EGROUP);
    check(!osr_scope_caught(&inner));
    check_int(osr_scope_close(&outer, -OSR_EGROUP), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

OSR_TASK(runs_a_mixed_group, void, unused)
{
    struct osr_group group;

    osr_group_open(&group);
    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    osr_spawn(&group, waits, NULL);
    return osr_group_close(&group, 0);
}

SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_an_error_two_groups_down)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_move_on_open(&outer, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, runs_a_mixed_group, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_error_count(osr_error_last()), 1);
    check(!osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&outer, -OSR_EGROUP), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

OSR_TASK(wraps_what_a_mixed_group_gave, void, unused)
{
    return osr_wrap(runs_a_mixed_group.routine_.run(NULL), "fetching");
}

SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_an_error_that_was_wrapped)
{
    struct osr_scope outer;
    struct osr_group group;
    int rc;

    osr_move_on_open(&outer, osr_ms(10));
    rc = osr_wrap(runs_a_mixed_group.routine_.run(NULL), "fetching");
    check_int(rc, -OSR_EGROUP);
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check_text(osr_error_message(osr_error_last()), "fetching");
    check(osr_scope_caught(&outer));

    osr_move_on_open(&outer, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, wraps_what_a_mixed_group_gave, NULL);
    rc = osr_group_close(&group, 0);
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_a_lone_error)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_move_on_open(&outer, osr_ms(10));
    osr_group_open(&group, .unwrap = true);
    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    osr_spawn(&group, waits, NULL);
    check_int(osr_group_close(&group, 0), -EIO);
    check_int(osr_scope_close(&outer, -EIO), -EIO);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_a_scope_has_caught_nothing_where_every_child_made_its_cut_an_error)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_move_on_open(&outer, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_tree(-EIO, 1, 0);
    check_int(osr_scope_close(&outer, -OSR_EGROUP), -OSR_EGROUP);
    check(!osr_scope_caught(&outer));
    return 0;
}

OSR_TASK(passes_a_cut_on_through_a_scope, void, unused)
{
    struct osr_scope scope;
    int rc;

    osr_timeout_open(&scope, osr_s(1));
    rc = osr_scope_close(&scope, osr_sleep(OSR_NEVER));
    check_int(rc, -ECANCELED);
    check(!osr_scope_caught(&scope));
    return rc;
}

SIMULATED_TEST(test_a_cancelled_task_takes_up_what_its_scopes_pass_on)
{
    struct osr_group group;
    struct osr_task child;

    osr_group_open(&group);
    osr_spawn(&group, passes_a_cut_on_through_a_scope, NULL, .handle = &child);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_task_cancel(child, NULL);
    check_int(osr_task_join(child), -OSR_ETASKCANCELED);
    check_int(osr_group_close(&group, 0), 0);
    check(!osr_scope_caught(&group.scope)); /* the task's own scope took it up */
    return 0;
}

SIMULATED_TEST(test_what_an_error_cancelled_is_the_groups_own_affair)
{
    struct osr_scope outer;
    struct osr_group group;

    osr_timeout_open(&outer, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, waits, NULL);
    osr_spawn(&group, fails, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_tree(-EPROTO, 1, 1);
    check(osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&outer, -OSR_EGROUP), -OSR_EGROUP);
    check(!osr_scope_caught(&outer));
    check(!osr_scope_cancelled(&outer));
    return 0;
}

/* ---- An error beats the timeout ------------------------------------------------------------------------ */

SIMULATED_TEST(test_an_error_keeps_the_timeout_that_it_beat_at_the_end_of_its_causes)
{
    struct osr_scope limit;
    const struct osr_error *error;
    int rc;

    osr_timeout_open(&limit, osr_ms(10));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    rc = osr_wrap(osr_fail(-EIO, "the disk is gone"), "saving");
    check_int(osr_scope_close(&limit, rc), -EIO);

    error = osr_error_last();
    check_text(osr_error_message(error), "saving");
    error = osr_error_cause(error);
    check_text(osr_error_message(error), "the disk is gone");
    error = osr_error_cause(error);
    check_int(osr_error_code(error), -ETIMEDOUT);
    check(osr_error_cause(error) == NULL);
    check(osr_error_find(osr_error_last(), -ETIMEDOUT) == NULL); /* find looks at leaves, not at causes */
    check_int(osr_error_count(osr_error_last()), 1);
    return 0;
}

SIMULATED_TEST(test_a_bare_code_that_beats_a_timeout_has_it_as_its_cause)
{
    struct osr_scope limit;
    const struct osr_error *error;

    osr_timeout_open(&limit, osr_ms(10));
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    check_int(osr_scope_close(&limit, -EIO), -EIO);
    error = osr_error_last();
    check_int(osr_error_code(error), -EIO);
    check_int(osr_error_code(osr_error_cause(error)), -ETIMEDOUT);
    return 0;
}

SIMULATED_TEST(test_an_error_in_a_scope_that_cut_nothing_has_no_timeout_below)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_ms(10));
    linger_until(osr_ms(20));
    check_int(osr_scope_close(&limit, osr_fail(-EIO, "the disk is gone")), -EIO);
    check_int(osr_error_code(osr_error_last()), -EIO);
    check(osr_error_cause(osr_error_last()) == NULL);
    return 0;
}

SIMULATED_TEST(test_a_groups_errors_that_beat_a_timeout_have_it_as_their_cause)
{
    struct osr_scope limit;
    struct osr_group group;
    const struct osr_error *tree;

    osr_timeout_open(&limit, osr_ms(10));
    osr_group_open(&group);
    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    osr_spawn(&group, waits, NULL);
    check_int(osr_group_close(&group, 0), -OSR_EGROUP);
    check_int(osr_scope_close(&limit, -OSR_EGROUP), -OSR_EGROUP);
    tree = osr_error_last();
    check_tree(-EIO, 1, 1);
    check_int(osr_error_code(first_cause(tree)), -ETIMEDOUT);
    check(osr_error_find(tree, -ETIMEDOUT) == NULL);
    check(osr_scope_caught(&limit));
    return 0;
}

SIMULATED_TEST(test_a_scope_is_cut_by_a_close_inside_that_tells_of_its_cancellation)
{
    struct osr_scope outer, inner;

    osr_timeout_open(&outer, OSR_NEVER);
    osr_timeout_open(&inner, OSR_NEVER);
    osr_scope_cancel(&inner, NULL);
    check_int(osr_sleep(osr_ms(1)), -ECANCELED);
    osr_scope_cancel(&outer, NULL);
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, 0), -OSR_ESCOPECANCELED);
    check(osr_scope_caught(&outer));

    osr_timeout_open(&outer, OSR_NEVER);
    osr_scope_open(&inner);
    osr_scope_cancel(&outer, NULL);
    check(osr_cancelled());
    check_int(osr_scope_close(&inner, -ECANCELED), -ECANCELED);
    check_int(osr_scope_close(&outer, 0), -OSR_ESCOPECANCELED);
    return 0;
}

SIMULATED_TEST(test_a_scope_has_caught_what_a_body_passed_on_beside_an_error)
{
    struct osr_scope outer;
    struct osr_group group;
    int rc;

    osr_timeout_open(&outer, osr_ms(10));
    osr_group_open(&group);
    rc = osr_group_close(&group, runs_a_mixed_group.routine_.run(NULL));
    check_int(rc, -OSR_EGROUP);
    check(!osr_scope_caught(&group.scope));
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    return 0;
}

SIMULATED_TEST(test_what_one_scope_has_caught_beside_an_error_no_other_catches)
{
    struct osr_scope outer, inner;
    int rc;

    osr_timeout_open(&outer, OSR_NEVER);
    osr_move_on_open(&inner, osr_ms(10));
    rc = osr_scope_close(&inner, runs_a_mixed_group.routine_.run(NULL));
    check_int(rc, -OSR_EGROUP);
    check(osr_scope_caught(&inner));
    osr_scope_cancel(&outer, NULL);
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(!osr_scope_caught(&outer));
    check(osr_error_cause(osr_error_last()) == NULL);
    return 0;
}

OSR_TASK(fails_after_a_clean_up, void, unused)
{
    (void)osr_sleep(OSR_NEVER);
    linger_until(osr_ms(20));
    return osr_fail(-EIO, "failed while cleaning up");
}

/* The middle scope cuts, the outer deadline passes while a child cleans up: the outer one takes up what was cut. */
SIMULATED_TEST(test_a_timeout_that_takes_up_what_another_scope_cut_is_named_below_the_error)
{
    struct osr_scope outer, middle;
    struct osr_group group;
    int rc;

    osr_timeout_open(&outer, osr_ms(10));
    osr_move_on_open(&middle, osr_ms(5));
    osr_group_open(&group);
    osr_spawn(&group, waits, NULL);
    osr_spawn(&group, fails_after_a_clean_up, NULL);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    rc = osr_scope_close(&middle, rc);
    check_int(rc, -OSR_EGROUP);
    check(!osr_scope_caught(&middle));
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_scope_caught(&outer));
    check_int(osr_error_code(osr_error_cause(osr_error_last())), -ETIMEDOUT);
    return 0;
}

static void leaves_a_mixed_group_to_its_guard(struct osr_scope *outer)
{
    OSR_GUARD_GROUP(group);

    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    osr_spawn(&group, waits, NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_scope_cancel(outer, NULL);
}

SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_an_error_that_a_guard_left)
{
    struct osr_scope outer;

    osr_move_on_open(&outer, OSR_NEVER);
    leaves_a_mixed_group_to_its_guard(&outer);
    check_int(osr_scope_close(&outer, 0), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), -EIO) != NULL);
    check(osr_scope_caught(&outer));
    return 0;
}

static void leaves_a_failing_child_to_its_guard(struct osr_scope *outer)
{
    OSR_GUARD_GROUP(group);

    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_scope_cancel(outer, NULL);
}

SIMULATED_TEST(test_a_scope_has_caught_the_bodys_cut_beside_an_error_that_a_guard_left)
{
    struct osr_scope outer;
    int rc;

    osr_move_on_open(&outer, OSR_NEVER);
    leaves_a_failing_child_to_its_guard(&outer);
    rc = osr_sleep(osr_ms(1));
    check_int(rc, -ECANCELED);
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), -EIO) != NULL);
    check(osr_scope_caught(&outer));
    return 0;
}

static void leaves_a_failure_to_its_guard(void)
{
    OSR_GUARD_GROUP(group);

    osr_spawn(&group, fails, NULL);
    osr_yield();
}

SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_the_bodys_errors_where_a_guard_left_one_before)
{
    struct osr_scope outer;
    struct osr_group group;
    int rc;

    osr_move_on_open(&outer, OSR_NEVER);
    leaves_a_failure_to_its_guard();
    osr_group_open(&group);
    osr_spawn(&group, waits_and_fails_when_cut, NULL);
    osr_spawn(&group, waits, NULL);
    check_int(osr_sleep(osr_ms(1)), 0);
    osr_scope_cancel(&outer, NULL);
    rc = osr_group_close(&group, 0);
    check_int(rc, -OSR_EGROUP);
    check_int(osr_scope_close(&outer, rc), -OSR_EGROUP);
    check(osr_error_find(osr_error_last(), EPROTO) != NULL);
    check(osr_error_find(osr_error_last(), EIO) != NULL);
    check(osr_scope_caught(&outer));
    return 0;
}

/* Of two guards, whichever comes first. */
SIMULATED_TEST(test_a_scope_has_caught_what_stood_beside_the_errors_of_one_guard_of_two)
{
    struct osr_scope outer;
    int first;

    for (first = 0; first < 2; first++) {
        osr_move_on_open(&outer, OSR_NEVER);
        if (first == 0)
            leaves_a_failure_to_its_guard();
        leaves_a_mixed_group_to_its_guard(&outer);
        if (first == 1)
            leaves_a_failure_to_its_guard();
        check_int(osr_scope_close(&outer, 0), -OSR_EGROUP);
        check(osr_error_find(osr_error_last(), EPROTO) != NULL);
        check(osr_error_find(osr_error_last(), EIO) != NULL);
        check(osr_scope_caught(&outer));
    }
    return 0;
}

/* ---- Cuts that come up in another order than they were made ------------------------------------------------ */

OSR_TASK(is_cut_and_says_nothing, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    return 0;
}

OSR_TASK(was_cut_long_ago_and_says_nothing, void, unused)
{
    check_int(osr_sleep(OSR_NEVER), -ECANCELED);
    linger_until(osr_ms(10));
    return 0;
}

SIMULATED_TEST(an_older_cut_does_not_take_the_place_of_a_later_one)
{
    struct osr_scope scope;
    struct osr_group group;
    struct osr_task first;

    osr_scope_open(&scope);
    osr_group_open(&group);
    check_int(osr_spawn(&group, was_cut_long_ago_and_says_nothing, NULL, .handle = &first), 0);
    check_int(osr_spawn(&group, is_cut_and_says_nothing, NULL), 0);
    check_int(osr_yield(), 0);
    check_int(osr_task_cancel(first, "it alone"), 0);
    check_int(osr_sleep(osr_ms(1)), 0);
    check_int(osr_scope_cancel(&scope, "enough"), 0);
    check_int(osr_group_close(&group, 0), 0);
    check_int(osr_now(), osr_ms(10));
    check_int(osr_scope_close(&scope, 0), -OSR_ESCOPECANCELED);
    return 0;
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        story_test(test_a_scope_has_caught_what_stood_beside_the_errors_of_one_guard_of_two),
        story_test(test_a_refusal_passed_on_is_taken_up_by_the_outermost),
        story_test(test_a_refusal_ignored_is_taken_up_all_the_same),
        story_test(test_a_refusal_ignored_with_a_count_is_taken_up_all_the_same),
        story_test(test_an_error_after_a_refusal_goes_up),
        story_test(test_a_cut_by_all_at_once_passed_on_is_taken_up_by_the_outermost),
        story_test(test_a_cut_by_all_at_once_ignored_is_taken_up_all_the_same),
        story_test(test_a_cut_by_all_at_once_ignored_with_a_count_is_taken_up_all_the_same),
        story_test(test_an_error_after_a_cut_by_all_at_once_goes_up),
        story_test(test_a_cut_by_one_after_the_other_passed_on_is_taken_up_by_the_outermost),
        story_test(test_a_cut_by_one_after_the_other_ignored_is_taken_up_all_the_same),
        story_test(test_a_cut_by_one_after_the_other_ignored_with_a_count_is_taken_up_all_the_same),
        story_test(test_an_error_after_a_cut_by_one_after_the_other_goes_up),
        story_test(test_a_cut_passed_on_comes_out_alike_in_whichever_order_its_scopes_were_cancelled),
        story_test(test_a_cut_ignored_comes_out_alike_in_whichever_order_its_scopes_were_cancelled),
        story_test(test_a_cut_ignored_twice_comes_out_alike_in_whichever_order_its_scopes_were_cancelled),
        story_test(test_an_error_after_a_cut_comes_out_alike_in_whichever_order_its_scopes_were_cancelled),
        story_test(test_only_the_form_chosen_by_name_turns_a_cut_into_a_success),
        story_test(test_the_error_of_a_timeout_is_in_the_slot),
        story_test(test_being_late_without_having_cut_anything_is_a_success),
        story_test(test_an_outer_deadline_that_passes_after_the_cut_takes_it_from_the_inner_scope),
        story_test(test_what_was_absorbed_inside_is_not_felt_outside),
        story_test(test_a_cut_that_a_child_ignored_is_still_a_timeout),
        story_test(test_a_group_cancelled_by_hand_takes_up_what_it_cut),
        story_test(test_a_group_passes_a_cancellation_from_outside_on),
        story_test(test_a_group_cancelled_first_still_leaves_it_to_the_scope_outside),
        story_test(test_a_scope_has_caught_what_stood_beside_an_error_in_a_group),
        story_test(test_of_two_cancelled_scopes_the_outer_one_has_caught_what_stood_beside_an_error),
        story_test(test_a_scope_has_caught_what_stood_beside_an_error_two_groups_down),
        story_test(test_a_scope_has_caught_what_stood_beside_an_error_that_was_wrapped),
        story_test(test_a_scope_has_caught_what_stood_beside_a_lone_error),
        story_test(test_a_scope_has_caught_nothing_where_every_child_made_its_cut_an_error),
        story_test(test_a_cancelled_task_takes_up_what_its_scopes_pass_on),
        story_test(test_what_an_error_cancelled_is_the_groups_own_affair),
        story_test(test_an_error_keeps_the_timeout_that_it_beat_at_the_end_of_its_causes),
        story_test(test_a_bare_code_that_beats_a_timeout_has_it_as_its_cause),
        story_test(test_an_error_in_a_scope_that_cut_nothing_has_no_timeout_below),
        story_test(test_a_groups_errors_that_beat_a_timeout_have_it_as_their_cause),
        story_test(test_a_scope_is_cut_by_a_close_inside_that_tells_of_its_cancellation),
        story_test(test_a_scope_has_caught_what_a_body_passed_on_beside_an_error),
        story_test(test_what_one_scope_has_caught_beside_an_error_no_other_catches),
        story_test(test_a_timeout_that_takes_up_what_another_scope_cut_is_named_below_the_error),
        story_test(test_a_scope_has_caught_what_stood_beside_an_error_that_a_guard_left),
        story_test(test_a_scope_has_caught_the_bodys_cut_beside_an_error_that_a_guard_left),
        story_test(test_a_scope_has_caught_what_stood_beside_the_bodys_errors_where_a_guard_left_one_before),
        story_test(an_older_cut_does_not_take_the_place_of_a_later_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}
