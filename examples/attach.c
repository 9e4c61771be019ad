/*
 * attach: tasks inside a libev program that was there before them.
 *
 *     printf 'one\ntwo\n' | build/gcc/examples/attach
 *     build/gcc/examples/attach                           (type; end with Ctrl-D, or with Ctrl-C)
 *
 * The program has a loop, and watchers on it: for standard input, for a clock that ticks, for SIGINT. Into that loop a
 * task is attached. The watcher of the input puts each line into a queue, and the task takes them out and works on each
 * for a while, with sleeps and time limits as in any run, while the watchers go on.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <osier.h>
#include <osier/attach.h>

struct line {
    char text[80];
};

static struct osr_queue lines;
static struct osr_attachment tasks;
static unsigned ticks;

/* ---- The tasks ---- */

OSR_TASK(work, unsigned, done)
{
    struct line line;
    int rc;

    while ((rc = osr_queue_get(&lines, &line)) == 0) {
        printf("working on \"%s\"\n", line.text);
        rc = osr_sleep(osr_ms(30));
        if (rc < 0)
            break;
        printf("done with \"%s\"\n", line.text);
        ++*done;
    }
    return rc == -ESHUTDOWN ? 0 : rc;
}

/* ---- The watchers ---- */

static void input_came(struct ev_loop *loop, ev_io *io, int events)
{
    static struct line line;
    static size_t length;
    char c;

    (void)events;
    if (read(io->fd, &c, 1) <= 0) {
        ev_io_stop(loop, io);
        osr_queue_shutdown(&lines, false); /* the task works off what is in it */
    } else if (c == '\n') {
        line.text[length] = '\0';
        osr_queue_try_put(&lines, &line); /* a copy; without memory for it the line is lost */
        length = 0;
    } else if (length < sizeof(line.text) - 1) {
        line.text[length++] = c;
    }
}

static void clock_ticks(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)loop, (void)timer, (void)events;
    ticks++;
}

static void interrupted(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)loop, (void)watcher, (void)events;
    osr_attachment_cancel(&tasks, "interrupted"); /* the task ends in its own time, and ended() tells */
}

static void ended(void *arg, int rc)
{
    const unsigned *done = arg;

    if (rc == -OSR_ETASKCANCELED)
        printf("interrupted\n");
    else if (rc < 0)
        osr_error_print(osr_error_last(), stderr);
    printf("%u lines; the clock has %s\n", *done, ticks > 0 ? "ticked" : "stood still");
    ev_break(EV_DEFAULT, EVBREAK_ALL);
}

int main(void)
{
    struct ev_loop *loop = EV_DEFAULT;
    ev_timer clock;
    ev_signal interrupt;
    ev_io input;
    unsigned done = 0;
    int rc;

    setvbuf(stdout, NULL, _IOLBF, 0);
    osr_queue_init(&lines, sizeof(struct line), OSR_UNBOUNDED);
    ev_io_init(&input, input_came, STDIN_FILENO, EV_READ);
    ev_io_start(loop, &input);
    ev_timer_init(&clock, clock_ticks, 0.01, 0.01);
    ev_timer_start(loop, &clock);
    ev_signal_init(&interrupt, interrupted, SIGINT);
    ev_signal_start(loop, &interrupt);
    rc = osr_attach(&tasks, loop, work, &done, .done = ended, .done_arg = &done);
    if (rc == 0)
        ev_run(loop, 0);
    else
        osr_error_print(osr_error_last(), stderr);
    osr_queue_destroy(&lines);
    ev_loop_destroy(loop);
    return rc < 0;
}
