/*
 * Stream sockets, TCP and Unix: listen, accept, connect. They give plain descriptors, non-blocking and closed
 * on exec, for osr_read(), osr_write() and osr_fd_close() (fd.h). The caller owns them.
 */
#ifndef OSIER_SOCKET_H
#define OSIER_SOCKET_H

#include <sys/socket.h>

#include <osier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * An address of any family. It may be filled and read by hand, as from what getaddrinfo() has found:
 *
 *     address.size = found->ai_addrlen;
 *     memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
 */
struct osr_address {
    socklen_t size; /* of what is used of the storage */
    struct sockaddr_storage storage;
};

/*
 * Makes an address from a numeric host, "127.0.0.1" or "::1" (a scope such as "fe80::1%eth0" is allowed), and a
 * port, at most 65535. Names are not looked up. 0, -EINVAL, -ENOMEM. May be called from anywhere.
 */
OSR_API int osr_address_ip(struct osr_address *address, const char *host, unsigned port);

/*
 * Makes the address of a Unix socket; a path that begins with '@' names one of Linux's abstract sockets. 0;
 * -EINVAL for an empty path; -ENAMETOOLONG. May be called from anywhere.
 */
OSR_API int osr_address_unix(struct osr_address *address, const char *path);

/*
 * The address in words, "127.0.0.1:80", "[::1]:80", "unix:/run/x" or "unix:@name", into `buffer`, cut at `size`
 * bytes; "?" for what is no address. Gives the length of the whole text, like snprintf(). May be called from anywhere.
 */
OSR_API size_t osr_address_format(const struct osr_address *address, char *buffer, size_t size);

/* The port of an IP address, -EINVAL for another one. May be called from anywhere. */
OSR_API int osr_address_port(const struct osr_address *address);

/*
 * A listening socket on `address`. On an IP address with SO_REUSEADDR, and with TCP_NODELAY, which accepted sockets take
 * over: what is written goes out at once, as with asyncio. Port 0 lets the system choose one, which osr_socket_address()
 * tells. `backlog` of 0 means the system's maximum. Never waits.
 *
 * The descriptor; what socket(), setsockopt(), bind() or listen() failed with; -EINVAL, also for a negative `backlog`;
 * -EPERM outside a task.
 */
#define osr_listen(address, backlog) osr_listen_here((address), (backlog), OSR_HERE)
OSR_API int osr_listen_here(const struct osr_address *address, int backlog, const char *where);

/*
 * Waits for a connection. A cancellation point; cancelled, the connection stays in the backlog for the next
 * accept. `peer` receives the other side's address and may be NULL. Connections that were gone before they could be
 * accepted are passed over.
 *
 * The descriptor; -ECANCELED; -EBUSY if another task accepts on `listener`; -EBADF; -EMFILE or -ENFILE when
 * there are too many descriptors, and the connection stays in the backlog: wait before the next call;
 * -ECONNABORTED after 64 in a row that were gone; -EINVAL if it does not listen, and what accept() fails with otherwise,
 * such as -ENOTSOCK; -ENOMEM; -EPERM.
 */
#define osr_accept(listener, peer) osr_accept_here((listener), (peer), OSR_HERE)
OSR_API int osr_accept_here(int listener, struct osr_address *peer, const char *where);

/*
 * Connects to `address`, on an IP address with TCP_NODELAY. A cancellation point; cancelled or failed, the descriptor it
 * made is closed, and the peer may have seen a connection that ends at once.
 *
 * The descriptor; -ECANCELED; what socket(), setsockopt() or connect() failed with, such as -ECONNREFUSED (-EAGAIN for a Unix
 * socket whose backlog is full); -EINVAL; -ENOMEM; -EPERM.
 */
#define osr_connect(address) osr_connect_here((address), OSR_HERE)
OSR_API int osr_connect_here(const struct osr_address *address, const char *where);

/*
 * The address that `fd` is bound to (with the port that the system chose). 0; -EINVAL; what getsockname() gives. May be
 * called from anywhere.
 */
OSR_API int osr_socket_address(int fd, struct osr_address *address);

#ifdef __cplusplus
}
#endif

#endif
