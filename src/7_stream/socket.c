/* Stream sockets: made, listened on, accepted from, connected. */
#include <osier/socket.h>

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "0_base/sys.h"
#include "6_ready/fd.h"

static const struct sockaddr *any(const struct osr_address *address)
{
    return (const struct sockaddr *)&address->storage;
}

static bool is_address(const struct osr_address *address)
{
    return address && address->size >= sizeof(sa_family_t) && address->size <= sizeof(address->storage);
}

/* Sets it, which only those of IP addresses have. */
static int option(struct sched *sched, int fd, const struct osr_address *address, int level, int name)
{
    const sa_family_t family = any(address)->sa_family;

    return family == AF_INET || family == AF_INET6 ? osri_sys_set_option(&sched->door, fd, level, name, 1) : 0;
}

/* What is written goes out at once, as with asyncio: else a small write waits for the answer to the one before, which the peer
 * holds back for 40 ms. Accepted sockets take it over from the one that listens. */
static int send_at_once(struct sched *sched, int fd, const struct osr_address *address)
{
    return option(sched, fd, address, IPPROTO_TCP, TCP_NODELAY);
}

/* ---- Listening ---- */

static int bind_and_listen(struct sched *sched, int fd, const struct osr_address *address, int backlog)
{
    int rc = option(sched, fd, address, SOL_SOCKET, SO_REUSEADDR);

    if (rc == 0)
        rc = send_at_once(sched, fd, address);
    if (rc == 0)
        rc = osri_sys_bind(&sched->door, fd, any(address), address->size);
    if (rc == 0)
        rc = osri_sys_listen(&sched->door, fd, backlog ? backlog : SOMAXCONN);
    return rc;
}

int osr_listen_here(const struct osr_address *address, int backlog, const char *where)
{
    struct sched *sched = osri_sched;
    int fd, rc;

    if (!sched || !sched->current)
        return osri_failed(-EPERM, where);
    if (!is_address(address) || backlog < 0)
        return osri_failed(-EINVAL, where);
    fd = osri_sys_socket(&sched->door, any(address)->sa_family, SOCK_STREAM);
    if (fd < 0)
        return osri_failed(fd, where);
    rc = bind_and_listen(sched, fd, address, backlog);
    if (rc < 0) {
        (void)osri_sys_close(&sched->door, fd);
        return osri_failed(rc, where);
    }
    osri_descriptor_made(sched, fd, where);
    return fd;
}

/* ---- Accepting ---- */

/* So many connections that were gone before they could be accepted are passed over at a time. */
enum { MOST_ABORTED = 64 };

static ssize_t accept_now(struct sched *sched, struct descriptor *descriptor, void *operation)
{
    struct osr_address *peer = operation;
    int fd, aborted = 0;

    do {
        peer->size = sizeof(peer->storage);
        fd = osri_sys_accept(&sched->door, descriptor->fd, (struct sockaddr *)&peer->storage, &peer->size,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);
    } while (fd == -ECONNABORTED && ++aborted < MOST_ABORTED);
    return fd;
}

/* A listener of somebody else's may be blocking: it is asked only when a connection is there. */
static ssize_t accept_when_ready(struct sched *sched, struct descriptor *descriptor, void *operation)
{
    struct pollfd poll = {descriptor->fd, POLLIN, 0};

    if (!descriptor->nonblocking && osri_sys_poll(&sched->door, &poll, 1, 0) == 0)
        return -EAGAIN;
    return accept_now(sched, descriptor, operation);
}

int osr_accept_here(int listener, struct osr_address *peer, const char *where)
{
    struct osr_address ignored;
    ssize_t fd;

    fd = osri_operate(listener, WATCH_READ, accept_when_ready, peer ? peer : &ignored, "osr_accept", where);
    if (fd >= 0)
        osri_descriptor_made(osri_sched, (int)fd, where);
    return (int)fd;
}

/* ---- Connecting ---- */

/* Where the attempt stands: begun by connect(), ended by what the socket says when it can be written. */
static ssize_t connected(struct sched *sched, struct descriptor *descriptor, void *operation)
{
    struct pollfd poll = {descriptor->fd, POLLOUT, 0};
    int rc, error = 0;

    (void)operation;
    rc = osri_sys_poll(&sched->door, &poll, 1, 0);
    if (rc == 0)
        return -EAGAIN;
    if (rc > 0)
        rc = osri_sys_get_option(&sched->door, descriptor->fd, SOL_SOCKET, SO_ERROR, &error);
    return rc < 0 ? rc : -error;
}

static int connect_on(struct sched *sched, int fd, const struct osr_address *address, const char *where)
{
    int rc = send_at_once(sched, fd, address);

    if (rc == 0)
        rc = osri_sys_connect(&sched->door, fd, any(address), address->size);
    osri_descriptor_made(sched, fd, where);
    if (rc == -EINPROGRESS || rc == -EINTR)
        rc = (int)osri_operate(fd, WATCH_WRITE, connected, NULL, "osr_connect", where);
    else
        osri_at_once(sched);
    return rc;
}

int osr_connect_here(const struct osr_address *address, const char *where)
{
    struct sched *sched = osri_sched;
    int rc = osri_enter(sched, where), fd;

    if (rc < 0)
        return rc;
    if (!is_address(address))
        return osri_failed(-EINVAL, where);
    fd = osri_sys_socket(&sched->door, any(address)->sa_family, SOCK_STREAM);
    if (fd < 0) {
        osri_at_once(sched);
        return osri_failed(fd, where);
    }
    rc = connect_on(sched, fd, address, where);
    if (rc == 0)
        return fd;
    (void)osr_fd_close_here(fd, where);
    return osri_failed(rc, where);
}

int osr_socket_address(int fd, struct osr_address *address)
{
    static const struct door closed;
    struct sched *sched = osri_sched;

    int rc = -EINVAL;

    if (address) {
        address->size = sizeof(address->storage);
        rc = osri_sys_name(sched ? &sched->door : &closed, fd, (struct sockaddr *)&address->storage, &address->size);
    }
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}
