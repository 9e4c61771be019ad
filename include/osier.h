/*
 * osier: structured concurrency for C, on libev.
 *
 * Every concurrent task lives in a group that waits for it, every wait sits under scopes that can time
 * out and cancel, and every failure comes out as an exception group. This header includes all the others;
 * each of them covers one subject and can be read on its own:
 *
 *   osier/base.h    error codes and what every other header needs
 *   osier/time.h    durations, the clock, sleeping
 *   osier/error.h   errors, causes, exception groups
 *   osier/scope.h   timeouts, cancellation, shields
 *   osier/group.h   groups of tasks, spawning
 *   osier/task.h    the running task, handles to tasks, joining
 *   osier/wait.h    parking: for primitives of your own
 *   osier/event.h   events
 *   osier/lock.h    locks and conditions
 *   osier/semaphore.h  semaphores and limiters
 *   osier/barrier.h barriers
 *   osier/queue.h   queues, and a select over several
 *   osier/future.h  futures
 *   osier/call.h    functions that the loop calls, soon or later
 *   osier/post.h    entering a run from other threads and from signal handlers
 *   osier/thread.h  offloading to threads what blocks or computes
 *   osier/fd.h      waiting for descriptors, reading, writing, closing
 *   osier/socket.h  stream sockets: listen, accept, connect
 *   osier/process.h functions in worker processes
 *   osier/signal.h  signals as events
 *   osier/run.h     running a program, its options; runners
 *   osier/debug.h   the tree of tasks, diagnostics, leaks, observers
 *
 * Two are not included here, the first since it brings libev's header with it, the second since its library is another
 * one, libosier-test:
 *
 *   osier/attach.h  running inside a libev loop that the program has already
 *   osier/test.h    testing programs that are written with osier
 *
 * Words used in every contract:
 *
 *   waits                  the call may park the calling task, and other tasks run meanwhile;
 *   cancellation point     a call that waits and gives -ECANCELED, before any side effect, when a scope
 *                          around it is cancelled or its deadline has passed, and that is cut short by a
 *                          cancellation that comes while it is parked;
 *   waits, uncancelled     a call that waits and cannot be refused or cut.
 *
 * Every call that gives a code gives 0 (or a count) or a negative one: an errno value or an OSR_E… code.
 * Any call made outside a task, unless its contract says otherwise, gives -EPERM and does nothing. A NULL
 * where an object is needed gives -EINVAL. `errno` is never the channel.
 */
#ifndef OSIER_H
#define OSIER_H

#include <osier/base.h>
#include <osier/time.h>
#include <osier/error.h>
#include <osier/scope.h>
#include <osier/task.h>
#include <osier/group.h>
#include <osier/wait.h>
#include <osier/event.h>
#include <osier/lock.h>
#include <osier/semaphore.h>
#include <osier/barrier.h>
#include <osier/queue.h>
#include <osier/future.h>
#include <osier/call.h>
#include <osier/post.h>
#include <osier/thread.h>
#include <osier/fd.h>
#include <osier/socket.h>
#include <osier/process.h>
#include <osier/signal.h>
#include <osier/run.h>
#include <osier/debug.h>

#endif
