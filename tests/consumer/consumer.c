/* A user's program in plain C11: it is built against the installed library and run by consumer.test.sh. */
#include <osier.h>

#include <stdio.h>
#include <string.h>

struct sum {
    int from, to, result;
};

OSR_TASK(add_up, struct sum, sum)
{
    int i, rc;

    for (i = sum->from; i <= sum->to; i++) {
        sum->result += i;
        rc = osr_yield();
        if (rc < 0)
            return rc;
    }
    return 0;
}

OSR_TASK(break_down, char, what)
{
    return osr_fail(-EPROTO, "%s broke down", what);
}

OSR_TASK(nap, void, unused)
{
    return osr_sleep(osr_s(3600));
}

static int two_tasks(void)
{
    struct sum low = {1, 50, 0}, high = {51, 100, 0};
    struct osr_group group;
    int rc;

    osr_group_open(&group, .name = "sums");
    rc = osr_spawn(&group, add_up, &low);
    if (rc == 0)
        rc = osr_spawn(&group, add_up, &high, .name = "the high half");
    rc = osr_group_close(&group, rc);
    if (rc < 0)
        return rc;
    return low.result + high.result == 5050 ? 0 : osr_fail(-EDOM, "the sum is wrong");
}

static int cut_sleep(void)
{
    struct osr_scope limit;

    osr_timeout_open(&limit, osr_ms(20));
    return osr_scope_close(&limit, osr_sleep(osr_s(3600)));
}

static int cut_short(void)
{
    struct osr_scope limit;

    osr_move_on_open(&limit, osr_ms(20));
    return osr_scope_close(&limit, osr_sleep(OSR_NEVER));
}

static int failing_group(void)
{
    char first[] = "the first", second[] = "the second";
    struct osr_group group;
    int rc;

    osr_group_open(&group, .name = "doomed");
    rc = osr_spawn(&group, nap, NULL);
    if (rc == 0)
        rc = osr_spawn(&group, break_down, first);
    if (rc == 0)
        rc = osr_spawn(&group, break_down, second);
    return osr_group_close(&group, rc);
}

static int expect(const char *what, int rc, int expected)
{
    if (rc == expected)
        return 0;
    return osr_fail(-EILSEQ, "%s gave %s, not %s", what, osr_strcode(rc), osr_strcode(expected));
}

OSR_TASK(program, int, step)
{
    int rc = expect("two tasks", two_tasks(), 0);

    if (rc == 0 && ++*step)
        rc = expect("a sleep under a timeout", cut_sleep(), -ETIMEDOUT);
    if (rc == 0 && ++*step)
        rc = expect("a sleep to move on from", cut_short(), 0);
    if (rc == 0 && ++*step)
        rc = expect("a failing group", failing_group(), -OSR_EGROUP);
    return rc == 0 ? -OSR_EGROUP : rc;
}

int main(void)
{
    char text[4096];
    int step = 0;
    int rc = osr_run(program, &step, .debug = true);

    osr_error_format(osr_error_last(), text, sizeof(text));
    if (rc != -OSR_EGROUP || strcmp(osr_version(), OSR_VERSION) != 0) {
        fprintf(stderr, "after step %d: %s (%s)\n%s", step, osr_strcode(rc), osr_strerror(rc), text);
        return 1;
    }
    if (osr_error_count(osr_error_last()) != 2 || !strstr(text, "the first broke down") ||
        !strstr(text, "the second broke down")) {
        fprintf(stderr, "not the errors of this program:\n%s", text);
        return 1;
    }
    osr_error_print(osr_error_last(), stdout);
    osr_error_clear();
    return 0;
}
