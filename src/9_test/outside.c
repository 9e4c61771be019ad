/* What becomes of the process of a run. */
#include "9_test/kit.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
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

static void watch(void)
{
    (void)atexit(exits);
}

void osri_kit_watch_process(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    process = getpid();
    pthread_once(&once, watch);
}
