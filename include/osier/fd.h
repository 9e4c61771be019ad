/*
 * Descriptors: waiting until one is ready, reading, writing, closing. They work on any descriptor that can
 * be polled: sockets, pipes, terminals, those of other libraries; and on files, which never wait. Nothing here changes
 * a descriptor's flags.
 *
 * Blocking ones block nobody: they are read and written only when the system says that they can be, and as much at a time
 * as it takes then. (Unless another process takes it away just before: of what several processes read or write, have
 * descriptors with O_NONBLOCK.) Whether a pipe or terminal has O_NONBLOCK is looked at when it is first seen, so that must
 * not change afterwards, in a child process that shares it neither.
 *
 * A descriptor that one of these calls has seen is registered with the runtime: close it with osr_fd_close(),
 * never with a bare close(), which would leave its number registered (named in debug runs). It may be closed in
 * another thread's run than the one that has used it, but who waits for it here may not be told of that until the
 * next call for its number.
 */
#ifndef OSIER_FD_H
#define OSIER_FD_H

#include <sys/types.h>

#include <osier/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Waits until `fd` can be read (or a peer hung up), or written. A cancellation point. One task at a time may
 * wait for each direction.
 *
 * 0; -ECANCELED; -EBUSY if another task is at the same; -EBADF for a descriptor that is not open, not open for
 * this, or that osr_fd_close() closes meanwhile, and for an epoll descriptor that the loop cannot watch, as its own;
 * -ENOMEM, also where the system cannot watch one more; -EPERM.
 */
#define osr_fd_readable(fd) osr_fd_readable_here((fd), OSR_HERE)
#define osr_fd_writable(fd) osr_fd_writable_here((fd), OSR_HERE)
OSR_API int osr_fd_readable_here(int fd, const char *where);
OSR_API int osr_fd_writable_here(int fd, const char *where);

/*
 * Reads what there is, at most `size` bytes; waits while there is nothing. A cancellation point; cancelled, it
 * has read nothing.
 *
 * The number of bytes; 0 at the end of the stream (and for a `size` of 0); -ECANCELED; -EBUSY, -EBADF as above;
 * -EINVAL for a `size` over INT_MAX or no buffer; what read() or recv() failed with; -ENOMEM; -EPERM.
 */
#define osr_read(fd, buffer, size) osr_read_here((fd), (buffer), (size), OSR_HERE)
OSR_API int osr_read_here(int fd, void *buffer, size_t size, const char *where);

/*
 * Writes what fits, at least one byte; waits while nothing fits. A cancellation point; cancelled, it has written
 * nothing. A socket whose peer is gone gives -EPIPE, never a signal; a pipe still raises SIGPIPE unless the
 * program ignores it.
 *
 * The number of bytes (0 for a `size` of 0); -ECANCELED; -EBUSY, -EBADF, -EINVAL as above; what write() or send() failed
 * with; -ENOMEM; -EPERM.
 */
#define osr_write(fd, data, size) osr_write_here((fd), (data), (size), OSR_HERE)
OSR_API int osr_write_here(int fd, const void *data, size_t size, const char *where);

/*
 * Writes all `size` bytes, of which there may be any number. A cancellation point, before the first part and between the
 * others. `*written`, which may be NULL, says how many went out, whatever the outcome.
 *
 * 0; codes as for osr_write().
 */
#define osr_write_all(fd, data, size, written) osr_write_all_here((fd), (data), (size), (written), OSR_HERE)
OSR_API int osr_write_all_here(int fd, const void *data, size_t size, size_t *written, const char *where);

/*
 * Closes `fd` and forgets it. Tasks that wait for it get -EBADF. Never waits, but for what close() itself may wait for. The
 * descriptor is closed even where close() fails.
 *
 * 0; -EBADF if it is not open; what close() failed with; -EPERM outside a task, and then it stays open.
 */
#define osr_fd_close(fd) osr_fd_close_here((fd), OSR_HERE)
OSR_API int osr_fd_close_here(int fd, const char *where);

#ifdef __cplusplus
}
#endif

#endif
