/* A user's test in plain C11: it is built against the installed test kit and run by consumer.test.sh. */
#include <osier.h>
#include <osier/test.h>

#include <string.h>

static int total;

OSR_TASK(add, int, number)
{
    int rc = osr_test_point(osr_yield());

    if (rc == 0)
        total += *number;
    return rc;
}

OSR_TASK(add_all, void, unused)
{
    static int numbers[] = {1, 2, 3};
    struct osr_group group;
    int rc = 0;
    size_t i;

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, add, &numbers[i]);
    return osr_group_close(&group, rc);
}

static void begin(void *arg)
{
    (void)arg;
    total = 0;
}

static void check(void *arg, const struct osr_test_result *result)
{
    (void)arg;
    osr_test_check(result->rc < 0 || result->cancels > 0 || total == 6);
}

static void check_wrongly(void *arg, const struct osr_test_result *result)
{
    (void)arg, (void)result;
    osr_test_check(total == 6);
}

static void nothing(void *arg, const char *text)
{
    (void)arg, (void)text;
}

int main(void)
{
    static const struct osr_test bare = OSR_TEST("bare", add_all, NULL); /* without any option */
    static const struct osr_test sound = OSR_TEST("sound", add_all, NULL, .begin = begin, .check = check, .tell = nothing);
    static const struct osr_test wrong =
        OSR_TEST("wrong", add_all, NULL, .begin = begin, .check = check_wrongly, .tell = nothing);

    if (osr_test_run(&bare) != 0)
        return 3;
    if (osr_test_sweep(&sound) != 0 || osr_test_explore(&sound) != 0)
        return 1;
    if (osr_test_sweep(&wrong) != 1 || strncmp(osr_test_token(), "osr1:wrong:", 11) != 0)
        return 2;
    return 0;
}
