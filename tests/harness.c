#include "harness.h"

#include "counts.h"

#include <dirent.h>
#include <malloc.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/syscall.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/* OSR_TEST= chooses among a program's tests: a name, or a pattern. */
static __attribute__((constructor)) void choose_tests(void)
{
    if (getenv("OSR_TEST"))
        cmocka_set_test_filter(getenv("OSR_TEST"));
}

static char story[65536];
static size_t story_length;
static char failure[4096];
static long checks;

static void note(const char *where, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(const char *where, const char *format, ...)
{
    char text[2048];
    va_list list;

    if (failure[0])
        return;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    snprintf(failure, sizeof(failure), "%s: %s", where, text);
}

void check_that(bool holds, const char *condition, const char *where)
{
    checks++;
    if (!holds)
        note(where, "not so: %s", condition);
}

void check_equal(long long actual, long long expected, const char *what, const char *where)
{
    checks++;
    if (actual != expected)
        note(where, "%s is %lld, not %lld", what, actual, expected);
}

void check_same_text(const char *actual, const char *expected, const char *what, const char *where)
{
    checks++;
    if (!actual || strcmp(actual, expected) != 0)
        note(where, "%s is \"%s\", not \"%s\"", what, actual ? actual : "(null)", expected);
}

void assert_checked(void)
{
    char text[sizeof(failure)];
    long made = checks;

    memcpy(text, failure, sizeof(text));
    failure[0] = '\0';
    checks = 0;
    if (text[0])
        fail_msg("%s", text);
    if (made == 0)
        fail_msg("no check was made");
}

void tell(const char *format, ...)
{
    va_list list;
    int length;

    va_start(list, format);
    length = vsnprintf(story + story_length, sizeof(story) - story_length, format, list);
    va_end(list);
    if (length > 0)
        story_length += (size_t)length;
    if (story_length + 2 > sizeof(story))
        story_length = sizeof(story) - 2;
    story[story_length++] = '\n';
    story[story_length] = '\0';
}

void assert_story(const char *expected)
{
    char told[sizeof(story)];

    memcpy(told, story, sizeof(told));
    story_length = 0;
    story[0] = '\0';
    assert_string_equal(told, expected);
}

int begin_test(void **state)
{
    (void)state;
    story_length = 0;
    story[0] = '\0';
    failure[0] = '\0';
    checks = 0;
    counting = (struct counting){0};
    return 0;
}

void leave_child(int status)
{
    _exit(status);
}

void die_of(int number)
{
    keep_counts();
    signal(number, SIG_DFL);
    raise(number);
}

/* As in a program of its own: the runner of the tests has handlers, which a program has not. For coverage the counts
 * are written first, on the alternate stack that a run gives. */
static void die_by_default(void)
{
    struct sigaction action = {.sa_handler = counts_are_kept() ? die_of : SIG_DFL, .sa_flags = SA_ONSTACK};

    sigaction(SIGSEGV, &action, NULL);
    if (counts_are_kept())
        sigaction(SIGABRT, &action, NULL);
}

static void die_in_child(void (*body)(void), int out)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    dup2(out, STDERR_FILENO);
    close(out);
    alarm(30);
    die_by_default();
    body();
    leave_child(0);
}

void assert_dies(void (*body)(void), int signal, const char *text)
{
    static char said[1 << 18];
    size_t length = 0;
    ssize_t n;
    int pipes[2], status;
    pid_t pid;

    assert_return_code(pipe(pipes), errno);
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(pipes[0]);
        die_in_child(body, pipes[1]);
    }
    close(pipes[1]);
    while ((n = read(pipes[0], said + length, sizeof(said) - 1 - length)) > 0)
        length += (size_t)n;
    said[length] = '\0';
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!strstr(said, text))
        fail_msg("expected \"%s\" in:\n%s", text, said);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != signal) {
        /* A sanitizer turns a signal that it handles into an exit of its own. */
        if (!(under_tools() && WIFEXITED(status) && WEXITSTATUS(status) != 0))
            fail_msg("expected signal %d, got status %#x; it said:\n%s", signal, status, said);
    }
}

void assert_child_succeeds(void (*body)(void))
{
    int status;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        alarm(30);
        signal(SIGSEGV, SIG_DFL);
        failure[0] = '\0';
        body();
        if (failure[0] && write(STDERR_FILENO, failure, strlen(failure)) < 0)
            leave_child(2);
        leave_child(failure[0] ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    if (!dir)
        return -1;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 3; /* ".", "..", and the directory's own */
}

struct counting counting;

/* Memory lies between its size and a fence that nobody may step on. Tools have fences of their own, and take for lost what
 * is only pointed into. */
enum { FENCE = 16 };

static size_t fence_size(void) { return under_tools() ? 0 : FENCE; }

static unsigned char *block_of(void *memory) { return (unsigned char *)memory - fence_size(); }

static size_t size_of(void *memory)
{
    size_t size;

    if (under_tools())
        return malloc_usable_size(memory);
    memcpy(&size, block_of(memory), sizeof(size));
    return size;
}

static void give_back(void *memory)
{
    static const unsigned char fence[FENCE] = {0};

    if (!memory)
        return;
    if (memcmp((char *)memory + size_of(memory), fence, fence_size()) != 0) {
        fprintf(stderr, "something was written behind %zu bytes of memory\n", size_of(memory));
        abort();
    }
    free(block_of(memory));
}

/* Always to another place, and what nobody has written is full of what nobody would write. */
static void *moved(void *memory, size_t size)
{
    size_t fence = fence_size();
    unsigned char *block = malloc(size + 2 * fence), *larger;
    size_t before = memory ? size_of(memory) : 0;

    if (!block)
        return NULL;
    if (fence > 0)
        memcpy(block, &size, sizeof(size));
    larger = block + fence;
    memset(larger, 0xa5, size);
    memset(larger + size, 0, fence);
    if (memory)
        memcpy(larger, memory, before < size ? before : size);
    give_back(memory);
    return larger;
}

static void *counting_resize(void *arg, void *memory, size_t size)
{
    (void)arg;
    if (size == 0) {
        counting.live -= memory != NULL;
        give_back(memory);
        return NULL;
    }
    counting.made++;
    if (counting.fail_at > 0 && (counting.made == counting.fail_at ||
                                 (counting.all_after && counting.made > counting.fail_at)))
        return NULL;
    counting.live += memory == NULL;
    return moved(memory, size);
}

const struct osr_allocator counting_allocator = {counting_resize, NULL};

static struct osr_error *hoard[4096];
static size_t hoarded;

void hoard_errors(void)
{
    counting.fail_at = counting.made + 1;
    counting.all_after = true;
    for (hoarded = 0; hoarded < sizeof(hoard) / sizeof(hoard[0]); hoarded++) {
        (void)osr_fail(-EPIPE, "hoarded");
        hoard[hoarded] = osr_error_take();
        if (!hoard[hoarded])
            return;
    }
    check_that(false, "there is no memory for that many errors", OSR_HERE);
}

void release_hoard(void)
{
    while (hoarded > 0)
        osr_error_release(hoard[--hoarded]);
    counting.fail_at = 0;
    counting.all_after = false;
}

void assert_survives_without_memory(const struct osr_routine *routine, bool all_after, long least)
{
    const struct osr_run_options options = {.size = sizeof(options), .clock = OSR_CLOCK_SIMULATED, .debug = true,
                                            .allocator = &counting_allocator};
    long fail_at = 0;

    do {
        int rc;

        begin_test(NULL);
        counting.fail_at = ++fail_at;
        counting.all_after = all_after;
        rc = osr_run_with(routine, NULL, &options);
        assert_true(rc == 0 || rc == -ENOMEM);
        osr_error_clear();
        assert_int_equal(counting.live, 0);
        if (rc == 0)
            assert_checked();
    } while (counting.made >= fail_at);
    assert_true(fail_at > least);
}

void linger(int64_t duration)
{
    struct osr_scope shield;

    osr_shield_open_unlimited(&shield);
    check_int(osr_sleep(duration), 0);
    check_int(osr_scope_close(&shield, 0), 0);
}

void call_on_the_loop(void (*run)(void *arg), void *arg)
{
    struct osr_call call = {.record_ = NULL};

    check_int(osr_call_soon(&call, run, arg), 0);
    osr_yield();
    check(!osr_call_pending(&call));
}

void shuffle(long *order, long count)
{
    uint64_t dice = 88172645463325252u;
    long i;

    for (i = 0; i < count; i++)
        order[i] = i;
    for (i = count - 1; i > 0; i--) {
        long j, kept = order[i];

        dice ^= dice << 13, dice ^= dice >> 7, dice ^= dice << 17;
        j = (long)(dice % (uint64_t)(i + 1));
        order[i] = order[j];
        order[j] = kept;
    }
}

static int descriptors_before;

int begin_with_descriptors(void **state)
{
    descriptors_before = open_descriptors();
    alarm(60);
    return begin_test(state);
}

int end_with_descriptors(void **state)
{
    int after = open_descriptors();

    (void)state;
    alarm(0);
    osr_error_clear();
    if (after == descriptors_before)
        return 0;
    print_error("%d descriptors before the test, %d after it\n", descriptors_before, after);
    return -1;
}

bool under_tools(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#endif
#endif
    return RUNNING_ON_VALGRIND;
}

long sized(long big, long small)
{
    return under_tools() ? small : big;
}
