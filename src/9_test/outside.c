/* What a run has to do with the world outside: the process that it is in, and what it waits for there. */
#include "9_test/kit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- The process ---- */

static pid_t process; /* whose runs these are */

/* exit() while a run is on. What would give success is stopped, too. */
static void exits(void)
{
    if (!osri_kit_play || !osri_kit_play->inside || getpid() != process)
        return;
    osri_kit_tell_death("exit() is called while the run is on");
    fflush(NULL);
    abort();
}

/* The child has all descriptors, too. */
static void forks(void)
{
    size_t i;

    for (i = 0; osri_kit_play && i < osri_kit_play->made; i++)
        osri_kit_play->streams[i].is_shared = true;
}

static void watch(void)
{
    (void)atexit(exits);
    (void)pthread_atfork(NULL, forks, NULL);
}

void osri_kit_watch_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    process = getpid();
    pthread_once(&once, watch);
}

/* Whether nobody but the tasks of the run does anything here: there is no other thread, and no child. A child of which the
 * program has made a stranger at once, by forking twice, is known by the streams that it may have. */
static bool is_alone(void)
{
    struct stat tasks = {0};
    siginfo_t child;

    (void)stat("/proc/self/task", &tasks); /* as many links as there are threads, and two */
    return tasks.st_nlink == 3 && waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0;
}

/* ---- Streams ---- */

static uint64_t inode_of(int fd)
{
    struct stat status = {0};

    (void)fstat(fd, &status);
    return S_ISSOCK(status.st_mode) ? status.st_ino : 0;
}

void osri_kit_stream_made(struct play *play, int fd, const char *where)
{
    if (play->made == play->streams_room) {
        play->streams_room = play->streams_room ? play->streams_room * 2 : 16;
        play->streams = osri_kit_resize(play->streams, play->streams_room * sizeof(*play->streams));
    }
    play->streams[play->made++] = (struct stream){.fd = fd, .inode = inode_of(fd), .where = where};
}

const struct stream *osri_kit_stream_of(const struct play *play, int fd)
{
    const uint64_t inode = fd >= 0 ? inode_of(fd) : 0;
    size_t i;

    for (i = 0; inode && i < play->made; i++)
        if (play->streams[i].inode == inode)
            return &play->streams[i];
    return NULL;
}

/* ---- Waiting ---- */

/* Of real time in milliseconds, where the test does not say. */
enum { PATIENCE = 10000 };

/* Whether only the tasks of the run can make it ready: all ends of the kit's streams are theirs. */
static bool is_within(const struct play *play, int fd)
{
    const struct stream *stream = osri_kit_stream_of(play, fd);

    return stream && !stream->is_shared && is_alone();
}

/* Says what is waited for; what is told of at the same moment comes into the same words. */
static void give_up(struct play *play, int fd, const char *where, int64_t most)
{
    const size_t length = strlen(play->said);
    char what[256] = "a signal, a post, a thread or a worker";

    if (fd >= 0)
        snprintf(what, sizeof(what), "descriptor %d at %s", fd, where);
    if (!play->violation)
        osri_kit_violated(play, VIOLATION_OUTSIDE, NULL,
                          "after %lld.%03lld s of real time it still waits for the outside world: %s",
                          (long long)(most / 1000000000), (long long)(most / 1000000 % 1000), what);
    else if (play->violation == VIOLATION_OUTSIDE && play->given_up == play->happened)
        snprintf(play->said + length, sizeof(play->said) - length, ", %s", what);
    play->given_up = play->happened;
}

int64_t osri_kit_patience(void *arg, int fd, const char *where, int64_t waited)
{
    struct play *play = arg;
    const int64_t most = osr_ms(play->test->patience ? play->test->patience : PATIENCE);

    if (is_within(play, fd))
        return 0;
    if (waited < most)
        return most - waited;
    give_up(play, fd, where, most);
    return 0;
}
