/*
 * A runtime for each thread: `shards spawn|echo CORES` pins one to each of so many cores and prints what all of them
 * do in a second, and how much of the processor each of that takes, which says the same on a busy machine. `spawn` spawns
 * and joins 1,000 tasks at a time. `echo` serves connections from sockets that listen side by side (SO_REUSEPORT), each of
 * those on the core that it comes in on; the other ends are a thread with an epoll loop on each core.
 */
#include "peer.h"

#include <linux/filter.h>
#include <osier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/epoll.h>

enum { MOST = 64, CONNECTIONS = 64, TASKS = 1000, MILLISECONDS = 500 };

struct shard {
    _Alignas(64) atomic_long done; /* what this one has done; written by it alone */
    int core;
};

static struct shard shards[MOST];
static int cores;
static in_port_t port;

static void pin(int core)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(core, &set);
    peer_need(pthread_setaffinity_np(pthread_self(), sizeof(set), &set) == 0, "cannot be pinned");
}

static void count(struct shard *shard, long more)
{
    atomic_store_explicit(&shard->done, atomic_load_explicit(&shard->done, memory_order_relaxed) + more,
                          memory_order_relaxed);
}

/* ---- Tasks ---- */

OSR_TASK(nothing, void, unused) { return 0; }

OSR_TASK(spawn_and_join, struct shard, shard)
{
    int rc = 0, i;

    while (rc == 0) {
        struct osr_group group;

        osr_group_open(&group);
        for (i = 0; i < TASKS && rc == 0; i++)
            rc = osr_spawn(&group, nothing, NULL);
        rc = osr_group_close(&group, rc);
        count(shard, TASKS);
    }
    return rc;
}

static void *spawn(void *shard)
{
    pin(((struct shard *)shard)->core);
    osr_run(spawn_and_join, shard);
    return NULL;
}

/* ---- Servers ---- */

static int listen_beside_others(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    socklen_t size = sizeof(address);

    peer_need(fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes)) == 0 &&
                  bind(fd, (struct sockaddr *)&address, size) == 0 && listen(fd, 4096) == 0 &&
                  getsockname(fd, (struct sockaddr *)&address, &size) == 0,
              "cannot listen");
    port = address.sin_port;
    return fd;
}

/* By itself the system deals connections out among them at random, and most of what is then measured on some machines is one
 * core that wakes another. */
static void serve_where_they_come_in(int listener)
{
    struct sock_filter steps[1 + 2 * MOST + 1] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_CPU))};
    struct sock_fprog program = {.len = 1, .filter = steps};
    int i;

    for (i = 0; i < cores; i++) {
        steps[program.len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)shards[i].core, 0, 1);
        steps[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, (uint32_t)i); /* the i-th that listened */
    }
    steps[program.len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    peer_need(setsockopt(listener, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0,
              "cannot say where connections are served");
}

OSR_TASK(serve, int, fd)
{
    char buffer[1024];
    int n, rc = 0;

    while (rc == 0 && (n = osr_read(*fd, buffer, sizeof(buffer))) > 0)
        rc = osr_write_all(*fd, buffer, (size_t)n, NULL);
    return osr_fd_close(*fd);
}

OSR_TASK(accept_all, int, listener)
{
    struct osr_group clients;
    int fd, rc = 0;

    osr_group_open(&clients);
    while (rc == 0 && (fd = rc = osr_accept(*listener, NULL)) >= 0)
        rc = osr_spawn_copy(&clients, serve, &fd);
    return osr_group_close(&clients, rc);
}

struct server {
    int core, listener;
};

static void *run_server(void *arg)
{
    struct server *server = arg;

    pin(server->core);
    osr_run(accept_all, &server->listener);
    return NULL;
}

/* ---- The load ---- */

static void ask(int fd)
{
    char message[PEER_MESSAGE] = {0};

    peer_need(send(fd, message, sizeof(message), MSG_NOSIGNAL) == sizeof(message), "cannot send");
}

static void connect_one(int epoll)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.fd = socket(AF_INET, SOCK_STREAM, 0)};

    peer_need(connect(event.data.fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                  epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event) == 0,
              "cannot connect");
    ask(event.data.fd);
}

static void *put_load(void *arg)
{
    struct shard *shard = arg;
    int epoll = epoll_create1(0), i;
    struct epoll_event events[64];
    char buffer[1024];

    pin(shard->core);
    for (i = 0; i < CONNECTIONS; i++)
        connect_one(epoll);
    while (epoll >= 0) {
        int ready = epoll_wait(epoll, events, 64, -1);

        for (i = 0; i < ready; i++) {
            peer_need(recv(events[i].data.fd, buffer, sizeof(buffer), 0) == PEER_MESSAGE, "a wrong answer");
            ask(events[i].data.fd);
        }
        count(shard, ready);
    }
    return NULL;
}

/* ---- */

static void start(void *(*function)(void *), void *arg)
{
    pthread_t thread;

    peer_need(pthread_create(&thread, NULL, function, arg) == 0, "no thread");
}

static void start_echo(void)
{
    static struct server servers[MOST];
    int i;

    for (i = 0; i < cores; i++) { /* all listen before the first connects */
        servers[i] = (struct server){shards[i].core, listen_beside_others()};
        start(run_server, &servers[i]);
    }
    serve_where_they_come_in(servers[0].listener);
    for (i = 0; i < cores; i++)
        start(put_load, &shards[i]);
}

static void choose_cores(void)
{
    cpu_set_t set;
    int core, found = 0;

    sched_getaffinity(0, sizeof(set), &set);
    for (core = 0; core < CPU_SETSIZE && found < cores; core++)
        if (CPU_ISSET(core, &set))
            shards[found++].core = core;
    peer_need(found == cores, "so many cores there are not");
}

static long all_done(void)
{
    long sum = 0;
    int i;

    for (i = 0; i < cores; i++)
        sum += atomic_load_explicit(&shards[i].done, memory_order_relaxed);
    return sum;
}

int main(int argc, char **arguments)
{
    int64_t begin, used;
    long before;
    int i;

    cores = argc == 3 ? atoi(arguments[2]) : 0;
    peer_need(cores > 0 && cores <= MOST, "usage: shards spawn|echo CORES");
    choose_cores();
    if (strcmp(arguments[1], "echo") == 0)
        start_echo();
    else
        for (i = 0; i < cores; i++)
            start(spawn, &shards[i]);
    usleep(100000);
    before = all_done();
    begin = peer_clock();
    used = peer_cpu();
    usleep(MILLISECONDS * 1000);
    peer_say("cpu-ns", (double)(peer_cpu() - used) / (double)(all_done() - before));
    peer_say("per-second", (double)(all_done() - before) * 1e9 / (double)(peer_clock() - begin));
    _exit(0); /* what still runs has nothing to clean up */
}
