#!/usr/bin/python3
"""Runs the fuzzer's programs on Trio and compares with what the fuzzer's model says of them: on_trio.py FUZZER SEED RUNS

First with models that are wrong on purpose, which must be found out, then with the right one.

    --first N     begins with the N-th program of the seed
    --wrong N     only with a model that is wrong on purpose (`enum model_error`)
    --tell        tells what is expected of each program, and what Trio did

Each program runs up to three times: with the ready tasks of Trio in the order of coming; in the order that Trio takes, if the
order makes no difference; and on Trio as it is, if neither do calls that let others run, and no two times are the same. Where
osier's rules differ from Trio's on purpose is told in README.md ("Against Trio"); each such difference has its place here,
which names the rule."""
import argparse
import errno
import json
import random
import subprocess
import sys

import trio
from trio._core import _run
from trio.testing import MockClock

CANARY_SEED, CANARY_RUNS, MOST_TOLD = "2", 30000, 3
ORDERS, MANY_ORDERS = 32, 20000  # of which each is to come to the same
CODES = {}  # osier's own, as the fuzzer says
NEVER = float("inf")
NOWHERE = None


class Failure(Exception):
    """A real error: a code, and the place where it happened."""

    def __init__(self, code, place):
        super().__init__(code, place)
        self.code, self.place = code, place


# ---- Differences of scheduling ---------------------------------------------------------------------------

real_switch = trio.lowlevel.cancel_shielded_checkpoint


async def no_switch():
    """R12: a call that can finish at once need not switch, and closing an empty group is no cancellation point."""


class Fifo:
    """R2: ready tasks run in the order of coming; Trio takes each batch from the one end or the other."""

    @staticmethod
    def random():
        return 0


class Timers:
    """R19: what is due at one reading of the clock is delivered first, sleeps before scopes, in the order of setting; and
    not before all tasks wait. In Trio a sleep is a scope with a deadline, and equal deadlines come in any order."""

    def __init__(self, run):
        self.run, self.entries, self.set = run, {}, 0

    def add(self, at, what):
        self.set += 1
        self.entries[what] = (at, self.set)

    def remove(self, at, what):
        self.entries.pop(what, None)

    def next_deadline(self):
        if not self.entries and not _run.GLOBAL_RUN_CONTEXT.runner.runq:
            self.run.give_up()
        return min((at for at, _ in self.entries.values()), default=NEVER)

    def expire(self, now):
        return not _run.GLOBAL_RUN_CONTEXT.runner.runq and self.deliver(now)

    def deliver(self, now):
        due = sorted((when, what) for what, when in self.entries.items() if when[0] <= now) if self.entries else []
        for _, what in due:
            if isinstance(what, Sleeper):
                self.remove(None, what)
                trio.lowlevel.reschedule(what.task)
        for _, what in due:
            if isinstance(what, trio.CancelScope):
                self.run.mirrored[what].fire()
        return bool(due)


@property
def cancel_called(scope):
    """R19: closers and cancels read no clock; in Trio a deadline that has passed is noticed by whatever looks at its scope."""
    return scope._cancel_called


class Sleeper:
    def __init__(self, task):
        self.task = task


def recalculate(status):
    """R15: a cancel wakes those below from the outside in, side by side in the order of coming; in Trio they are sets."""
    ready = _run.GLOBAL_RUN_CONTEXT.runner.runq
    before = len(ready)
    real_recalculate(status)
    if len(ready) > before + 1:
        woken = [ready.pop() for _ in range(len(ready) - before)]
        ready.extend(sorted(woken, key=Run.current.path_of))


real_recalculate = _run.CancelStatus.recalculate

WAYS = IN_ORDER, IN_ANY_ORDER, AS_IT_IS = "in the order of coming", "in its own order", "as it is"

# What is replaced in Trio, unless it is to be as it is.
REPLACED = [(trio.lowlevel, "checkpoint", no_switch), (trio.lowlevel, "cancel_shielded_checkpoint", no_switch),
            (_run, "checkpoint", no_switch), (_run.CancelStatus, "recalculate", recalculate),
            (trio.CancelScope, "cancel_called", cancel_called)]
REPLACED = [(where, name, getattr(where, name), new) for where, name, new in REPLACED]


def prepare(how):
    for where, name, old, new in REPLACED:
        setattr(where, name, old if how == AS_IT_IS else new)
    _run._r = Fifo if how == IN_ORDER else random


class Line(dict):
    """Those who wait for an event, in the order of coming; in Trio they are a set."""
    add = dict.setdefault
    remove = discard = dict.pop


# ---- Scopes ----------------------------------------------------------------------------------------------

class Scope:
    """What the program knows of a scope of Trio's, a nursery's or a task."""

    def __init__(self, run, parent, owner, place, trio_scope=None, nursery=None):
        self.run, self.owner, self.place = run, owner, place
        self.scope, self.nursery = trio_scope, nursery
        self.first_reason = None
        self.cut = self.passed_on = False
        self.starting = 0  # of a group: those below their starters
        if nursery and run.timers:
            nursery._pending_starts = Starting(self)
        if trio_scope:
            run.mirrored[trio_scope] = self
        self.attach(parent)

    def attach(self, parent):
        self.run.attached += 1
        self.parent, self.number = parent, self.run.attached

    @property
    def path(self):
        return (*self.parent.path, self.number) if self.parent else ()

    @property
    def reason(self):
        """That a child was cancelled is none, though a nursery is cancelled by it in Trio."""
        timed_out = self.scope and self.scope._cancel_called and self.scope.deadline <= trio.current_time()
        return self.first_reason or (errno.ETIMEDOUT if timed_out else None)

    def cancel(self, reason=errno.ECANCELED):
        self.first_reason = self.reason or reason
        self.scope.cancel()

    def fire(self):
        self.cancel(errno.ETIMEDOUT)

    def set_deadline(self, when):
        self.scope.deadline = NEVER  # so that it counts as set anew
        self.scope.deadline = when


class Starting:
    """R8: a child that has started is its group's alone; a nursery of Trio's counts it until the starter has come back."""

    def __init__(self, group):
        self.group = group

    def __iadd__(self, one):
        return self

    __isub__ = __iadd__

    def __bool__(self):
        return self.group.starting > 0


def mark_cut(scope):
    """R22: a call in `scope` was refused or cut by every cancelled scope that it could see."""
    while scope:
        scope.cut |= scope.reason is not None
        scope = None if scope.scope and scope.scope.shield else scope.parent


def is_cancelled():
    return trio.lowlevel.current_task()._cancel_status.effectively_cancelled


# ---- Errors ----------------------------------------------------------------------------------------------

ERRORS = (Failure, trio.Cancelled, BaseExceptionGroup)


def leaves_of(error):
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves_of(inner)]
    return [] if isinstance(error, trio.Cancelled) else [error]


def passes_on(error):
    """Whether a cancellation is in it."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(passes_on, error.exceptions))
    return isinstance(error, trio.Cancelled)


def code_of(error):
    """R6: cancellations count only if there is nothing else."""
    if isinstance(error, Failure):
        return error.code
    return -CODES["EGROUP"] if leaves_of(error) else -errno.ECANCELED


# ---- A run -----------------------------------------------------------------------------------------------

class Task:
    def __init__(self, run, name, place, home, parent):
        self.run, self.name, self.place, self.home = run, name, place, home
        self.inner = self.own = Scope(run, parent, self, place)
        self.status = None  # of one that is started, until it is: Trio's task status
        self.started, self.error = False, None
        self.spawned, self.story = 0, []
        run.stories[name] = self.story

    def say(self, text):
        self.story.append(text)

    def fail(self, code, place=NOWHERE):
        """Where no place is recorded, it is that of the spawn."""
        raise Failure(-code, self.place if place is NOWHERE else place)

    async def enter(self):
        """R12: every cancellation point checks on entry, the clock as well, and refuses without switching."""
        if not self.run.timers:
            await self.wait(trio.lowlevel.checkpoint_if_cancelled)
            return
        now = trio.current_time()
        if not is_cancelled() and trio.current_effective_deadline() <= now:
            self.run.timers.deliver(now)
        if is_cancelled():
            mark_cut(self.inner)
            raise trio.Cancelled._create()

    async def wait(self, call, *arguments):
        try:
            return await call(*arguments)
        except trio.Cancelled:
            mark_cut(self.inner)
            raise

    def own_group(self):
        scope = self.inner
        while scope and scope.owner is self:
            if scope.nursery:
                return scope
            scope = scope.parent
        return self.home

    # Statements: each gives 0 or more, or raises.

    async def run_block(self, block):
        """Gives the result, and whether the block was left by a return."""
        for at in block:
            if at["op"] == "return_":
                return at["code"], True
            await self.run_statement(at)
        return 0, False

    async def run_statement(self, at):
        try:
            code = await getattr(self, at["op"])(at)
        except ERRORS as error:
            self.say(f"{at['at']}={code_of(error)}@{int(trio.current_time())}")
            if "swallow" in at:
                return
            self.say_leaves(error)
            raise
        self.say(f"{at['at']}={code}@{int(trio.current_time())}")

    def say_leaves(self, error):
        for leaf in leaves_of(error):
            self.say(f"! {leaf.code}:{leaf.place}")

    def when(self, at):
        how, time = at["when"]
        return NEVER if how == "never" else time + trio.current_time() * (how == "after")

    async def yield_(self, at):
        await self.enter()
        await real_switch()  # R13: the result wins, and so a yield that has begun is not cut
        return 0

    async def check(self, at):
        await self.enter()
        return 0

    async def sleep(self, at):
        when = self.when(at)
        if when <= trio.current_time():
            return await self.yield_(at)
        await self.enter()
        if not self.run.timers:
            await self.wait(trio.sleep_until, when)
            return 0
        sleeper = Sleeper(trio.lowlevel.current_task())
        if when < NEVER:
            self.run.timers.add(when, sleeper)

        def abort(_):
            self.run.timers.remove(when, sleeper)
            return trio.lowlevel.Abort.SUCCEEDED

        await self.wait(trio.lowlevel.wait_task_rescheduled, abort)
        return 0

    async def fail_(self, at):
        self.fail(-at["code"], 2 * at["at"])

    def scope_meant(self, at, place=NOWHERE):
        scope = self.run.pick(at["a"], self.run.scopes)
        if scope.nursery and scope.nursery._closed:
            self.fail(CODES["ECLOSED"], place)
        return scope

    async def cancel(self, at):
        self.scope_meant(at, 2 * at["at"]).cancel()
        return 0

    async def deadline(self, at):
        scope = self.scope_meant(at)
        if scope.reason:
            self.fail(errno.EALREADY)
        scope.set_deadline(self.when(at))
        return 0

    async def unshield(self, at):
        self.scope_meant(at).scope.shield = False
        return 0

    async def repeat(self, at):
        code, left = 0, False
        for _ in range(at["times"]):
            code, left = await self.run_block(at["block"])
            if left:
                break
        return code

    def open(self, at, trio_scope, nursery=None):
        self.inner = Scope(self.run, self.inner, self, 2 * at["at"], trio_scope, nursery)
        self.run.scopes.append(self.inner)
        return self.inner

    def close(self, scope, code):
        """A close that passes a cancellation on has cut those further out (R22)."""
        if code == -errno.ECANCELED and not scope.scope.shield:
            mark_cut(scope.parent)
        self.run.scopes.remove(scope)
        self.inner = scope.parent

    async def scope(self, at):
        when = self.when(at)
        trio_scope = trio.CancelScope(shield=at["form"] == "shield")
        scope = None
        try:
            with trio_scope:
                scope = self.open(at, trio_scope)
                trio_scope.deadline = when  # R19: one that has passed is noticed later
                code, _ = await self.run_block(at["block"])
                if scope.cut:
                    raise trio.Cancelled._create()  # R22: a cut that the body ignored
        except ERRORS as error:
            self.close(scope, code_of(error))
            self.say(f"caught {int(trio_scope.cancelled_caught)}")
            raise
        self.close(scope, 0)
        self.say(f"caught {int(trio_scope.cancelled_caught)}")
        if not trio_scope.cancelled_caught:
            return code
        if at["form"] == "move on":
            return 0
        self.fail(errno.ETIMEDOUT if scope.reason == errno.ETIMEDOUT else CODES["ESCOPECANCELED"], scope.place)  # R21

    async def group(self, at):
        scope, code, passing = None, 0, None
        try:
            async with trio.open_nursery(strict_exception_groups=True) as nursery:
                scope = self.open(at, nursery.cancel_scope, nursery)
                try:
                    code, _ = await self.run_block(at["block"])
                except ERRORS as error:
                    self.note(scope, error)
                    raise
        except ERRORS as error:
            passing = error
        caught = nursery.cancel_scope.cancelled_caught and scope.passed_on
        if passing and not scope.passed_on and passes_on(passing):
            # R5, R6: closing is no cancellation point. In Trio it is, and adds a cancellation of its own.
            _, passing = passing.split(trio.Cancelled) if isinstance(passing, BaseExceptionGroup) else (None, None)
        self.close(scope, code_of(passing) if passing else 0)
        self.say(f"caught {int(caught)}")
        if passing:
            raise passing
        return code

    @staticmethod
    def note(group, error):
        """What a child of a group, or its body, ended with."""
        group.passed_on |= passes_on(error)
        if leaves_of(error):
            group.first_reason = group.reason or errno.ECANCELED

    def group_meant(self, at):
        groups = [scope for scope in self.run.scopes if scope.nursery]
        group = self.run.pick(at["a"] % 8 - 1, groups) if at["a"] % 8 else self.own_group()
        if group.nursery._closed:
            self.fail(CODES["ECLOSED"], 2 * at["at"])
        return group

    def new_child(self, at, group, parent):
        self.spawned += 1
        return Task(self.run, f"{self.name}.{self.spawned}", 2 * at["at"], group, parent)

    async def spawn(self, at):
        group = self.group_meant(at)
        group.nursery.start_soon(self.new_child(at, group, group).live, at["block"])
        return 0

    async def live(self, block, task_status=None):
        self.run.tasks[trio.lowlevel.current_task()] = self
        self.status = task_status
        try:
            await self.run_block(block)
        except ERRORS as error:
            self.error = error
            if self.started or not self.status:
                self.note(self.home, error)
            if not leaves_of(error):
                mark_cut(self.own.parent)
            raise

    async def start(self, at):
        await self.enter()
        group = self.group_meant(at)
        child = self.new_child(at, group, Scope(self.run, self.inner, self, 2 * at["at"]))
        group.starting += 1
        try:
            await group.nursery.start(child.live, at["block"])
        except RuntimeError:
            self.fail(CODES["ENOTSTARTED"], 2 * at["at"])
        except ERRORS as error:
            if leaves_of(error):
                raise child.error  # R8: as it was; in Trio there may be a cancellation of the starter's beside it
            mark_cut(self.inner)
            raise
        finally:
            group.starting -= not child.started
            group.nursery._check_nursery_closed()
        return 0

    async def started_(self, at):
        if self.started or not self.status:
            self.fail(errno.EALREADY if self.started else errno.EINVAL)
        if self.status._old_nursery._cancel_status.effectively_cancelled:
            if is_cancelled():
                mark_cut(self.inner)
            raise trio.Cancelled._create()  # R8: in Trio nothing is said
        self.started = True
        self.home.starting -= 1
        self.own.attach(self.home)
        self.status.started()
        self.home.nursery._check_nursery_closed()
        return 0

    # Primitives.

    async def wait_(self, at):
        event = self.run.events[at["a"] % 2]
        await self.enter()
        if event.is_set() and not self.run.timers:
            await real_switch()  # R13: nor is a call that is done when it lets others run
        else:
            await self.wait(event.wait)
        return 0

    async def set_(self, at):
        self.run.events[at["a"] % 2].set()
        return 0

    async def clear(self, at):
        if self.run.events[at["a"] % 2].is_set():
            self.run.renew_event(at["a"] % 2)
        return 0

    async def held(self, at, give_back):
        try:
            return (await self.run_block(at["block"]))[0]
        finally:
            give_back()

    async def lock(self, at):
        lock, place = self.run.locks[at["a"] % 2], 2 * at["at"]
        await self.enter()
        if self.owns(lock):
            self.fail(errno.EDEADLK, place)
        await self.wait(lock.acquire)
        return await self.held(at, lock.release)

    async def try_lock(self, at):
        lock = self.run.locks[at["a"] % 2]
        if self.owns(lock):
            self.fail(errno.EDEADLK)
        self.at_once(lock.acquire_nowait)
        return await self.held(at, lock.release)

    @staticmethod
    def owns(lock):
        return lock._owner is trio.lowlevel.current_task()

    def at_once(self, call, *arguments):
        try:
            return call(*arguments)
        except trio.WouldBlock:
            self.fail(errno.EAGAIN)

    async def await_(self, at):
        await self.enter()
        condition = self.run.conditions[at["a"] % 2]
        if not self.owns(condition._lock):
            self.fail(errno.EPERM, 2 * at["at"])
        await self.wait(condition.wait)
        return 0

    async def notify(self, at):
        condition = self.run.conditions[at["a"] % 2]
        if not self.owns(condition._lock):
            self.fail(errno.EPERM)
        waiting = list(condition._lot._parked)
        notified = waiting if at["b"] == 3 else waiting[:at["b"]]
        condition.notify(len(notified))
        for task in notified:  # R27: who was notified is past cancellation; in Trio not before it has the lock
            task._abort_func = lambda _: trio.lowlevel.Abort.FAILED
        return len(notified)

    async def acquire(self, at):
        await self.enter()
        await self.wait(self.run.semaphores[at["a"] % 2].acquire)
        return 0

    async def try_acquire(self, at):
        self.at_once(self.run.semaphores[at["a"] % 2].acquire_nowait)
        return 0

    async def give(self, at):
        try:
            self.run.semaphores[at["a"] % 2].release()
        except ValueError:
            self.fail(errno.EOVERFLOW)
        return 0

    async def borrow(self, at):
        limiter, permit = self.run.limiters[at["a"] % 2], object()
        await self.enter()
        await self.wait(limiter.acquire_on_behalf_of, permit)
        return await self.held(at, lambda: limiter.release_on_behalf_of(permit))

    async def try_borrow(self, at):
        limiter, permit = self.run.limiters[at["a"] % 2], object()
        self.at_once(limiter.acquire_on_behalf_of_nowait, permit)
        return await self.held(at, lambda: limiter.release_on_behalf_of(permit))

    async def total(self, at):
        self.run.limiters[at["a"] % 2].total_tokens = at["b"]
        return 0

    def new_item(self, at):
        self.run.items += 1
        return at["b"] << 32 | self.run.items

    async def put(self, at):
        item = self.new_item(at)
        await self.enter()
        await self.wait(self.run.queues[at["a"]][0].send, item)
        return 0

    async def try_put(self, at):
        self.at_once(self.run.queues[at["a"]][0].send_nowait, self.new_item(at))
        return 0

    async def get(self, at):
        await self.enter()
        self.say(f"item {await self.wait(self.run.queues[at['a']][1].receive)}")
        return 0

    async def try_get(self, at):
        self.say(f"item {self.at_once(self.run.queues[at['a']][1].receive_nowait)}")
        return 0

    async def ask(self, at):
        scope, due = self.run.pick(at["a"], self.run.scopes), trio.current_effective_deadline()
        self.say("over" if due <= trio.current_time() else "never" if due == NEVER else f"until {int(due)}")
        if scope.nursery:
            self.say(f"running {len(scope.nursery.child_tasks) + scope.starting}")
        return 0


class Run:
    current = None

    def __init__(self, program, how):
        Run.current = self
        prepare(how)
        self.program, self.stories, self.scopes, self.tasks, self.mirrored = program, {}, [], {}, {}
        self.attached = self.items = 0
        self.timers = None if how == AS_IT_IS else Timers(self)
        self.stuck = self.main = None

    def path_of(self, task):
        """Trio has tasks of its own, which end with the run."""
        return self.tasks[task].inner.path if task in self.tasks else ()

    @staticmethod
    def pick(operand, things):
        return things[len(things) - 1 - operand % len(things)]

    def renew_event(self, number):
        self.events[number] = trio.Event()
        self.events[number]._tasks = Line()

    def make_things(self):
        self.events = [None, None]
        self.renew_event(0)
        self.renew_event(1)
        self.locks = [trio.Lock(), trio.Lock()]
        self.conditions = [trio.Condition(lock) for lock in self.locks]
        self.semaphores = [trio.Semaphore(1), trio.Semaphore(2, max_value=2)]
        self.limiters = [trio.CapacityLimiter(1), trio.CapacityLimiter(2)]
        self.queues = {0: trio.open_memory_channel(0), 1: trio.open_memory_channel(2), 5: trio.open_memory_channel(NEVER)}

    def say_left(self, root):
        for semaphore in self.semaphores:
            root.say(f"left {semaphore.value}/0")
        for lock in self.locks:
            root.say(f"left {int(lock.locked())}/0")
        for limiter in self.limiters:
            root.say(f"left {limiter.borrowed_tokens}/{limiter.total_tokens}")
        for i in range(6 if self.program["queues"] else 0):
            root.say(f"left {len(self.queues[i][0]._state.data) if i in self.queues else 0}/0")

    def give_up(self):
        """All wait for nothing, which the model has not said."""
        if self.main and not self.stuck:
            self.stuck = True
            self.main.cancel()

    async def live(self):
        if self.timers:
            _run.GLOBAL_RUN_CONTEXT.runner.deadlines = self.timers
        self.make_things()
        root = Task(self, "0", 0, None, None)
        end = self.stories["end"] = []
        self.tasks[trio.lowlevel.current_task()] = root
        with trio.CancelScope() as self.main:
            try:
                code = (await root.run_block(self.program["block"]))[0]
                end.append(f"-1={code}@0")
            except ERRORS as error:
                end.append(f"-1={code_of(error)}@0")
                end.extend(f"! {leaf.code}:{leaf.place}" for leaf in leaves_of(error))
        self.main = None
        self.say_left(root)


class Watch(trio.abc.Instrument):
    """Sees that Trio waits for nothing, which goes on for ever otherwise."""
    idle = 0

    def before_task_step(self, task):
        self.idle = 0

    def before_io_wait(self, timeout):
        self.idle += 1
        if self.idle > 100:
            Run.current.give_up()


def run_on_trio(program, how):
    run = Run(program, how)
    trio.run(run.live, clock=MockClock(autojump_threshold=0), instruments=[Watch()] if how == AS_IT_IS else [])
    stories = {name: "".join(f"{word} " for word in story) for name, story in run.stories.items()}
    if run.stuck:
        stories["end"] = "all wait for nothing"
    return stories


# ---- Comparing -------------------------------------------------------------------------------------------

def programs_of(arguments, first, runs, wrong=0, orders=ORDERS):
    """What the fuzzer writes, program by program; its first line are the codes."""
    numbers = {"seed": arguments.seed, "first": first, "runs": runs, "wrong": wrong, "orders": orders}
    command = [arguments.fuzzer, "--trio", *(word for name, value in numbers.items() for word in (f"--{name}", str(value)))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fuzzer:
        CODES.update(json.loads(fuzzer.stdout.readline()))
        for line in fuzzer.stdout:
            yield json.loads(line)
    if fuzzer.returncode > 0:
        sys.exit(f"{arguments.fuzzer} has failed")


def differs(program):
    """How Trio ran when it did otherwise, and what it did; None if all is as expected."""
    for how in WAYS[:1 + program["free"]]:
        stories = run_on_trio(program, how)
        if stories != program["expected"]:
            return how, stories
    return None


def differs_indeed(arguments, program, wrong=0):
    """The same; whether the order really makes no difference is asked again, in many more orders."""
    difference = differs(program)
    if difference and difference[0] != IN_ORDER:
        for again in programs_of(arguments, program["program"], 1, wrong, MANY_ORDERS):
            if WAYS.index(difference[0]) > again["free"]:
                return None
    return difference


def print_block(block, depth=1):
    for at in block:
        rest = ", ".join(f"{key} {value}" for key, value in at.items() if key not in ("at", "op", "block"))
        print(f"{at['at']:4} {'  ' * depth}{at['op']} {rest}")
        print_block(at.get("block", ()), depth + 1)


def tell(program, difference):
    print(f"program {program['program']}")
    print_block(program["block"])
    how, stories = difference or ("each time", program["expected"])
    for name in sorted(program["expected"].keys() | stories.keys()):
        expected, got = program["expected"].get(name), stories.get(name)
        print(f"  task {name} expected: {expected}")
        if got != expected:
            print(f"  task {name} on Trio, {how}: {got}")


def campaign(arguments):
    """How many programs were as expected, and how many were not."""
    passed = failed = 0
    ways = [0, 0, 0]
    for program in programs_of(arguments, arguments.first, arguments.runs, arguments.wrong):
        difference = differs_indeed(arguments, program, arguments.wrong)
        ways[program["free"]] += 1
        passed += not difference
        failed += bool(difference)
        if difference and failed <= MOST_TOLD:
            tell(program, difference)
    print(f"seed {arguments.seed}: {passed + failed:,} programs on Trio {trio.__version__}, {ways[1] + ways[2]:,} of them also in"
          f" its own order, and {ways[2]:,} on Trio as it is")
    return passed, failed


def find_out(arguments, wrong):
    """How many programs it takes to find the wrong model out; 0 if it is not."""
    for tried, program in enumerate(programs_of(arguments, 0, CANARY_RUNS, wrong), 1):
        if differs_indeed(arguments, program, wrong):
            return tried
    return 0


def canaries(arguments):
    """The same seed each time: they are to show that the comparison compares."""
    wrongs = subprocess.run([arguments.fuzzer, "--trio-canaries"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    arguments = argparse.Namespace(fuzzer=arguments.fuzzer, seed=CANARY_SEED)
    took = {wrong: find_out(arguments, wrong) for wrong in wrongs}
    missed = [wrong for wrong in wrongs if not took[wrong]]
    print(f"{len(wrongs) - len(missed)} of {len(wrongs)} wrong models were found out, in at most {max(took.values())} programs")
    for wrong in missed:
        print(f"wrong model {wrong} was not found out")
    return len(wrongs) - len(missed), len(missed)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("fuzzer")
    parser.add_argument("seed")
    parser.add_argument("runs", type=int)
    parser.add_argument("--first", type=int, default=0, help="a program's number")
    parser.add_argument("--wrong", type=int, default=0, help="of enum model_error")
    parser.add_argument("--tell", action="store_true")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    if arguments.tell:
        for program in programs_of(arguments, arguments.first, arguments.runs, arguments.wrong):
            tell(program, differs_indeed(arguments, program, arguments.wrong))
        return 0
    results = [campaign(arguments)] if arguments.wrong else [canaries(arguments), campaign(arguments)]
    passed, failed = map(sum, zip(*results))
    print(f"{passed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
