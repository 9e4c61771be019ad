/*
 * Puts a load on an echo server: `load PORT CONNECTIONS SECONDS`. On each connection there is one request of 64 bytes
 * on its way at any time; the next one is sent when the answer has come. Each has had two answers on average before the
 * counting begins, and has at least three while it lasts; when it begins and ends, nothing is on its way. Prints requests
 * for each second, the median and the 99th percentile of the time to an answer in microseconds, and how many there were.
 */
#include "peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>

/* Times to an answer, in steps of 1/32 of a power of two. */
enum { STEPS = 32, BUCKETS = 40 * STEPS };

static struct {
    long buckets[BUCKETS];
    long count;
} times;

static unsigned bucket_of(int64_t time)
{
    unsigned power = 63 - (unsigned)__builtin_clzll((uint64_t)time | STEPS);

    return (power - 5) * STEPS + (unsigned)(time >> (power - 5));
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

struct connection {
    int fd;
    size_t got;
    int64_t sent;
};

static struct connection *connections;
static int connected, on_the_way; /* and how many of them have a request there */
static bool asking;
static char message[PEER_MESSAGE];

static void ask(struct connection *connection)
{
    connection->got = 0;
    connection->sent = peer_clock();
    on_the_way++;
    peer_need(send(connection->fd, message, sizeof(message), MSG_NOSIGNAL) == sizeof(message), "cannot send");
}

static void take(struct connection *connection)
{
    char buffer[PEER_MESSAGE];
    ssize_t n = recv(connection->fd, buffer, sizeof(buffer) - connection->got, MSG_DONTWAIT);

    peer_need(n > 0 || (n < 0 && errno == EAGAIN), "the server has closed a connection");
    connection->got += n > 0 ? (size_t)n : 0;
    if (connection->got < sizeof(message))
        return;
    times.buckets[bucket_of(peer_clock() - connection->sent)]++;
    times.count++;
    on_the_way--;
    if (asking)
        ask(connection);
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

/* Asks on all connections until the moment `until`, and until `least` answers have come; then takes those that are still to
 * come. So whoever looks before and after sees all that the server does for these requests, and nothing else. */
static void ask_and_answer(int epoll, int64_t until, long least)
{
    struct epoll_event events[256];
    int i;

    for (i = 0; i < connected; i++)
        ask(&connections[i]);
    while (on_the_way > 0) {
        int ready = epoll_wait(epoll, events, 256, 5000);

        peer_need(ready > 0, "the server has not answered for five seconds");
        asking = peer_clock() < until || times.count < least;
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
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};

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
    start = peer_clock();
    ask_and_answer(epoll, start + (int64_t)(seconds * 1e9), 3L * connected);
    seconds = (double)(peer_clock() - start) * 1e-9;
    tell("end");
    peer_say("requests", (double)times.count);
    peer_say("per-second", (double)times.count / seconds);
    peer_say("median-us", percentile(.5));
    peer_say("p99-us", percentile(.99));
    return 0;
}
