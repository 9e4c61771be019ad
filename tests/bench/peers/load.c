/*
 * Puts a load on an echo server: `load PORT CONNECTIONS SECONDS`. On each connection there is one request of 64 bytes
 * on its way at any time; the next one is sent when the answer has come (a closed loop). Each has had two answers on average
 * before the counting begins, and has at least three while it lasts; when it begins and ends, nothing is on its way. Prints
 * requests for each second, the median and the 99th percentile of the time to an answer in microseconds, how many there were,
 * and in how much of the time the load had nothing to do but look for answers.
 *
 * The two ends of a connection within one machine cost about the same. So that it is the server that is measured, the load
 * does as little as it can for a request: one reading of the clock, which ends one time and begins the next; each answer is
 * told of once (EPOLLET), and eight are read at a time. And it never sleeps: to wake it would be for the server to pay, and
 * more often for a slow one.
 */
#include "peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>

/* Times to an answer, in steps of 1/256 of a power of two: to 0.4 %. */
enum { STEPS_BITS = 8, STEPS = 1 << STEPS_BITS, BUCKETS = 40 * STEPS };

static struct {
    long buckets[BUCKETS];
    long count;
} times;

static unsigned bucket_of(int64_t time)
{
    unsigned power = 63 - (unsigned)__builtin_clzll((uint64_t)time | STEPS);

    return (power - STEPS_BITS) * STEPS + (unsigned)(time >> (power - STEPS_BITS));
}

static double time_of(unsigned bucket)
{
    unsigned power = bucket / STEPS;

    return power == 0 ? bucket : (double)((int64_t)(bucket % STEPS + STEPS) << (power - 1));
}

static double percentile(double part)
{
    long wanted = (long)(part * (double)times.count), seen = 0;
    unsigned i;

    for (i = 0; i < BUCKETS && seen <= wanted; i++)
        seen += times.buckets[i];
    return time_of(i - 1) * 1e-3;
}

enum { PAUSES = 500, UNREAD = 8 };

struct connection {
    int fd;
    unsigned unread; /* answers; UNREAD at most */
    int64_t sent;
};

static struct connection *connections;
static int connected, on_the_way; /* and how many of them have a request there */
static bool asking;
static int64_t idle; /* nanoseconds */
static char message[PEER_MESSAGE];

static void ask(struct connection *connection, int64_t now)
{
    connection->sent = now;
    on_the_way++;
    peer_need(send(connection->fd, message, sizeof(message), MSG_NOSIGNAL) == sizeof(message), "cannot send");
}

/* Takes the answers that have come since the last time. Each was told of when it came: so none may be missing. */
static void read_answers(struct connection *connection)
{
    char buffer[PEER_MESSAGE * UNREAD];
    size_t size = connection->unread * PEER_MESSAGE;

    peer_need(recv(connection->fd, buffer, sizeof(buffer), MSG_DONTWAIT) == (ssize_t)size, "no answer, or none in one piece");
    connection->unread = 0;
}

/* An answer has come. */
static void take(struct connection *connection)
{
    int64_t now = peer_clock();

    times.buckets[bucket_of(now - connection->sent)]++;
    times.count++;
    on_the_way--;
    if (++connection->unread == UNREAD || !asking)
        read_answers(connection);
    if (asking)
        ask(connection, now);
}

static int connect_to(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    peer_need(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "cannot connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
}

/* Waits for answers from `now` on, awake; gives how many connections have something to tell, and in `*now` when that was. */
static int look(int epoll, struct epoll_event *events, int most, int64_t *now)
{
    int64_t begun = *now;
    int ready, i;

    while ((ready = epoll_wait(epoll, events, most, 0)) == 0) {
        for (i = 0; i < PAUSES; i++) /* so that the list of what is ready stays with the one who writes it */
            __asm__ volatile("" ::: "memory");
        *now = peer_clock();
        peer_need(*now < begun + 5000000000, "the server has not answered for five seconds");
    }
    peer_need(ready > 0, "no answers to be told of");
    idle += *now - begun;
    return ready;
}

/* Asks on all connections until the moment `until`, and until `least` answers have come; then takes those that are still to
 * come. So whoever looks before and after sees all that the server does for these requests, and nothing else. */
static void ask_and_answer(int epoll, int64_t until, long least)
{
    struct epoll_event events[256];
    int64_t now;
    int i;

    asking = true;
    for (i = 0; i < connected; i++)
        ask(&connections[i], peer_clock());
    while (on_the_way > 0) {
        int ready;

        now = peer_clock();
        ready = look(epoll, events, 256, &now);
        asking = now < until || times.count < least;
        for (i = 0; i < ready; i++)
            take(events[i].data.ptr);
    }
}

/* To be told when the time that counts begins and ends: by a line, answered with a line. */
static void tell(const char *what)
{
    char line[16];

    puts(what);
    fflush(stdout);
    peer_need(fgets(line, sizeof(line), stdin) != NULL, "nobody there");
}

static void connect_all(int epoll, int port)
{
    int i;

    connections = calloc((size_t)connected, sizeof(*connections));
    peer_need(connections != NULL, "no memory");
    for (i = 0; i < connected; i++) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = &connections[i]};

        connections[i].fd = connect_to(port);
        peer_need(epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) == 0, "no watch");
    }
}

int main(int count, char **arguments)
{
    int epoll = epoll_create1(0);
    double seconds;
    int64_t start;

    peer_need(count == 4, "usage: load PORT CONNECTIONS SECONDS");
    connected = atoi(arguments[2]);
    seconds = atof(arguments[3]);
    connect_all(epoll, atoi(arguments[1]));
    ask_and_answer(epoll, peer_clock() + 100000000, 2L * connected); /* all are accepted by then */
    tell("begin");
    memset(&times, 0, sizeof(times));
    idle = 0;
    start = peer_clock();
    ask_and_answer(epoll, start + (int64_t)(seconds * 1e9), 3L * connected);
    seconds = (double)(peer_clock() - start) * 1e-9;
    tell("end");
    peer_say("requests", (double)times.count);
    peer_say("per-second", (double)times.count / seconds);
    peer_say("load-idle", (double)idle * 1e-7 / seconds);
    peer_say("median-us", percentile(.5));
    peer_say("p99-us", percentile(.99));
    return 0;
}
