/*
 * Testing a program with the kit (osier/test.h): a small bank, whose accounts have a lock each. Transfers take two of
 * them, an audit takes all. Whoever audits may be cancelled, and the first form of the audit then forgets to give back
 * what it holds. No run of the program shows that, until somebody cancels at the right moment: the sweep does.
 *
 *     cc bank_test.c $(pkg-config --cflags --libs osier-test) && ./a.out
 *     OSR_REPLAY='osr1:forgetful:…' ./a.out               # the run that it found, once more, for a debugger
 *
 * The same tests as a program of cmocka's, and as a fuzz target for libFuzzer and AFL++:
 *
 *     cc -DWITH_CMOCKA bank_test.c … -lcmocka
 *     clang -DWITH_FUZZER -fsanitize=fuzzer,address bank_test.c …
 *     afl-clang-fast -DWITH_FUZZER -fsanitize=fuzzer bank_test.c …
 */
#include <stdio.h>

#include <osier.h>
#include <osier/test.h>

/* ---- The program --------------------------------------------------------------------------------------- */

enum { ACCOUNTS = 3, EACH = 100 };

struct account {
    struct osr_lock lock;
    int money;
};

struct bank {
    struct account accounts[ACCOUNTS];
    bool forgetful; /* the first form of the audit */
};

struct transfer {
    struct bank *bank;
    int from, to, amount;
};

/* Both locks are held here; the book is somewhere where writing takes time. */
static int write_down(struct account *from, struct account *to, int amount)
{
    int rc = osr_sleep(osr_ms(1));

    if (rc == 0) {
        from->money -= amount;
        to->money += amount;
    }
    return rc;
}

/* Locks are taken in the order of the accounts, so that no two wait for each other. */
OSR_TASK(transfer, struct transfer, t)
{
    struct account *from = &t->bank->accounts[t->from], *to = &t->bank->accounts[t->to];
    struct account *first = from < to ? from : to, *second = from < to ? to : from;
    int rc = osr_lock_acquire(&first->lock);

    if (rc < 0)
        return rc;
    rc = osr_lock_acquire(&second->lock);
    if (rc == 0) {
        rc = write_down(from, to, t->amount);
        osr_lock_release(&second->lock);
    }
    osr_lock_release(&first->lock);
    return rc;
}

OSR_TASK(audit, struct bank, bank)
{
    int held, sum = 0, rc = 0;

    for (held = 0; held < ACCOUNTS; held++) {
        rc = osr_lock_acquire(&bank->accounts[held].lock);
        if (rc < 0)
            break;
        sum += bank->accounts[held].money;
    }
    if (rc < 0 && bank->forgetful)
        return rc; /* and the locks? */
    if (rc == 0)
        osr_test_check(sum == ACCOUNTS * EACH); /* in tests; elsewhere it would be an assertion */
    while (held-- > 0)
        osr_lock_release(&bank->accounts[held].lock);
    return rc;
}

OSR_TASK(business, struct bank, bank)
{
    struct transfer transfers[] = {{bank, 0, 1, 30}, {bank, 2, 0, 50}};
    struct osr_group day;
    int rc;

    osr_group_open(&day, .name = "day");
    rc = osr_spawn(&day, transfer, &transfers[0], .name = "rent");
    if (rc == 0)
        rc = osr_spawn(&day, audit, bank);
    if (rc == 0)
        rc = osr_spawn(&day, transfer, &transfers[1], .name = "wages");
    return osr_group_close(&day, rc);
}

/* ---- Its tests ----------------------------------------------------------------------------------------- */

/* Before each run all is as new. */
static void open_bank(void *arg)
{
    struct bank *bank = arg;
    int i;

    for (i = 0; i < ACCOUNTS; i++) {
        osr_lock_init(&bank->accounts[i].lock);
        bank->accounts[i].money = EACH;
    }
}

/* After each run, whatever was cancelled or failed in it, this must be so. */
static void check_bank(void *arg, const struct osr_test_result *result)
{
    const struct bank *bank = arg;
    int i, sum = 0;

    for (i = 0; i < ACCOUNTS; i++) {
        osr_test_check(!osr_lock_held(&bank->accounts[i].lock));
        sum += bank->accounts[i].money;
    }
    osr_test_check(sum == ACCOUNTS * EACH);
    if (result->rc == 0 && result->cancels == 0)
        osr_test_check(bank->accounts[0].money == EACH - 30 + 50);
}

static void print(void *arg, const char *text)
{
    (void)arg;
    fputs(text, stdout);
}

static struct bank forgetful_bank = {.forgetful = true}, sound_bank;

static const struct osr_test forgetful OSR_MAYBE_UNUSED_ =
    OSR_TEST("forgetful", business, &forgetful_bank, .begin = open_bank, .check = check_bank, .tell = print);

static const struct osr_test mended =
    OSR_TEST("mended", business, &sound_bank, .begin = open_bank, .check = check_bank, .cancels = true, .faults = true,
             .pairs = 200, .tell = print);

#ifdef WITH_FUZZER

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    return osr_test_fuzz(&mended, data, size);
}

#elif defined(WITH_CMOCKA)

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void the_sweep_finds_what_the_audit_forgets(void **state)
{
    (void)state;
    assert_int_equal(osr_test_run(&forgetful), 0); /* alone it does not show */
    assert_int_equal(osr_test_sweep(&forgetful), 1);
}

static void the_bank_stands_every_cancellation_and_failure(void **state)
{
    (void)state;
    assert_int_equal(osr_test_sweep(&mended), 0);
}

static void the_bank_stands_every_order(void **state)
{
    (void)state;
    assert_int_equal(osr_test_explore(&mended), 0);
    assert_int_equal(osr_test_random(&mended, 2000, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sweep_finds_what_the_audit_forgets),
        cmocka_unit_test(the_bank_stands_every_cancellation_and_failure),
        cmocka_unit_test(the_bank_stands_every_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL) != 0;
}

#else

int main(void)
{
    int found = osr_test_run(&forgetful), left;

    if (found == 0)
        found = osr_test_sweep(&forgetful);
    left = osr_test_sweep(&mended);
    if (left == 0)
        left = osr_test_explore(&mended);
    if (left == 0)
        left = osr_test_random(&mended, 2000, 1);
    return found != 1 || left != 0;
}

#endif
