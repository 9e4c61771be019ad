// A user's program in C++11: options by name are C, so it calls the functions behind the macros.
#include <osier.h>

#include <cstdio>
#include <string>

namespace {

struct Greeting {
    const char *name;
    std::string text;
};

int greet(void *arg)
{
    Greeting *greeting = static_cast<Greeting *>(arg);

    greeting->text = std::string("hello ") + greeting->name;
    return osr_yield();
}

int nap(void *)
{
    return osr_sleep(OSR_NEVER);
}

// The type of the argument is checked for C; the macro must also define a task here.
OSR_TASK(end_of_line, std::string, text)
{
    *text += "\n";
    return 0;
}

const osr_routine greet_routine = {greet, "greet", OSR_HERE};
const osr_routine nap_routine = {nap, "nap", OSR_HERE};

int spawn(osr_group *group, const osr_routine &routine, void *arg, const std::string &name)
{
    osr_spawn_options options = osr_spawn_options();

    options.size = sizeof(options);
    options.where = OSR_HERE;
    options.name = name.c_str();
    return osr_spawn_with(group, &routine, arg, &options);
}

// What there is to select is made by macros.
int select_something()
{
    osr_queue_options options = osr_queue_options();
    osr_queue numbers;
    int put = 7, got = 0, rc;

    options.size = sizeof(options);
    rc = osr_queue_init_with(&numbers, sizeof(int), 1, &options);
    if (rc == 0) {
        osr_case cases[] = {OSR_GET(&numbers, &got), OSR_PUT(&numbers, &put)};

        rc = osr_select(cases, 2, OSR_NEVER);
        if (rc == 1)
            rc = osr_select(cases, 2, OSR_NEVER);
    }
    osr_queue_destroy(&numbers);
    return rc < 0 ? rc : got == 7 ? 0 : -EPROTO;
}

int program(void *arg)
{
    Greeting *greetings = static_cast<Greeting *>(arg);
    osr_group_options options = osr_group_options();
    osr_scope limit;
    osr_group group;
    int rc;

    options.size = sizeof(options);
    options.where = OSR_HERE;
    options.name = "greetings";
    osr_group_open_with(&group, &options);
    rc = spawn(&group, greet_routine, &greetings[0], "one");
    if (rc == 0)
        rc = spawn(&group, greet_routine, &greetings[1], "two");
    rc = osr_group_close(&group, rc);
    if (rc == 0)
        rc = select_something();
    if (rc != 0)
        return rc;

    osr_timeout_open(&limit, osr_ms(20));
    osr_group_open_with(&group, &options);
    rc = spawn(&group, end_of_line.routine_, &greetings[0].text, "end");
    if (rc == 0)
        rc = spawn(&group, nap_routine, nullptr, "sleeper");
    rc = osr_group_close(&group, rc);
    return osr_scope_close(&limit, rc);
}

} // namespace

int main()
{
    Greeting greetings[2] = {{"one", ""}, {"two", ""}};
    osr_routine routine = {program, "program", OSR_HERE};
    osr_run_options options = osr_run_options();
    int rc;

    options.size = sizeof(options);
    options.where = OSR_HERE;
    options.debug = true;
    rc = osr_run_with(&routine, greetings, &options);
    if (rc != -ETIMEDOUT || greetings[0].text != "hello one\n" || greetings[1].text != "hello two") {
        std::fprintf(stderr, "%s: '%s', '%s'\n", osr_strcode(rc), greetings[0].text.c_str(),
                     greetings[1].text.c_str());
        osr_error_print(osr_error_last(), stderr);
        return 1;
    }
    std::puts("hello");
    osr_error_clear();
    return 0;
}
