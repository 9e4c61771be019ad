"""Commands for gdb that know the tasks of osier: `source osier-gdb.py`, then `help osier`.

They read the library's structures through its debug information, so the library must have been built with -g, as
it is by its Makefile. They work on a running process and on a core file, and change neither.
"""
import re
import time

import gdb
from gdb.unwinder import Unwinder

# Of include/osier/scope.h and src/3_scope/scope.h; include/osier/time.h.
TIMEOUT, MOVE_ON, SHIELD, TASK, GROUP = 1, 2, 3, 8, 9
NEVER = 2**63 - 1
AWAY_BRIEF = 1  # enum scope_away


# ---- Reading the library's structures ----


def library_block():
    """Where the library's own types are looked up: the program may have others of the same names."""
    for function in ("osri_child_begin", "osr_run_with"):
        symbol = gdb.lookup_global_symbol(function)
        if symbol is not None and symbol.symtab is not None:
            return symbol.symtab.static_block()
    raise gdb.GdbError("osier: no debug information of the library: it has to be built with -g and not stripped")


def type_of(name, block=None):
    """A struct, as the source file with this block knows it."""
    symbol = gdb.lookup_symbol(name, block or library_block(), gdb.SYMBOL_STRUCT_DOMAIN)[0]
    if symbol is None:
        raise gdb.GdbError(f"osier: no debug information about struct {name}")
    return symbol.type


def pointer(value, name, block=None):
    return value.cast(type_of(name, block).pointer())


def container(value, name, member):
    """What holds `*value` as its `member`."""
    struct = type_of(name)
    offset = next(field.bitpos for field in struct.fields() if field.name == member) // 8
    return (value.cast(gdb.lookup_type("char").pointer()) - offset).cast(struct.pointer())


def string(value):
    """The text of a char pointer or array, or what stands for one that cannot be read."""
    try:
        if value.type.code == gdb.TYPE_CODE_PTR and int(value) == 0:
            return "?"
        return value.string(errors="replace")
    except gdb.error:
        return "?"


def children(scope):
    head = scope["children_"].address
    node = head["next"]
    while node != head:
        yield container(node, "osr_scope", "sibling_")
        node = node["next"]


def scopes(scope, depth=0):
    """The scopes of a tree with their depths, parents first. Trees may be deeper than Python recurses."""
    left = [(scope, depth)]
    while left:
        scope, depth = left.pop()
        yield scope, depth
        left.extend((child, depth + 1) for child in reversed(list(children(scope))))


# ---- Runs ----


class Run:
    """The run of a thread."""

    def __init__(self, thread, sched):
        self.thread = thread
        self.sched = sched
        self.root = pointer(sched["floors"][8], "child")
        if int(self.root) and self.root["task"]["sched"] != sched.address:
            raise gdb.GdbError("osier: the stacks are not in this core file: gdb's own generate-core-file stops at "
                               "their guards; take one that the system wrote")

    @staticmethod
    def of_selected_thread():
        thread = gdb.selected_thread()
        if thread is None:
            raise gdb.GdbError("osier: there is no process, and no core file")
        sched = selected_sched()
        return Run(thread, sched) if sched is not None else None

    def scopes(self):
        return scopes(self.root["scope"].address) if int(self.root) else []

    def tasks(self):
        found = (Task(self, container(scope, "child", "scope")) for scope, _ in self.scopes() if scope["form_"] == TASK)
        return sorted(found, key=lambda task: task.number)

    def title(self):
        return f"run of thread {self.thread.num}"


def selected_sched():
    """The scheduler of the selected thread, or None."""
    try:
        sched = gdb.parse_and_eval("osri_sched")
    except gdb.error as problem:
        sched = sched_of_frames()
        if sched is None and "thread-local" not in str(problem) and "TLS" not in str(problem):
            library_block()
        return sched
    return sched.dereference() if int(sched) else None


def sched_of_frames():
    """Where gdb cannot read thread-local variables: the stack of a thread shows whose run it is in."""
    frame = gdb.newest_frame()
    while frame is not None:
        try:
            if frame.name() == "osri_sched_run":
                return frame.read_var("sched").dereference()
            if frame.name() == "osri_child_begin" and frame.older() and frame.older().name() == "osri_context_end":
                return frame.read_var("child")["task"]["sched"].dereference()
        except (gdb.error, ValueError):
            pass
        frame = frame.older()
    return None


class Place:
    """Remembers what is selected, and selects it again."""

    def __enter__(self):
        self.thread = gdb.selected_thread()
        self.level = 0
        try:
            frame = gdb.selected_frame()
            while frame.newer() is not None:
                self.level, frame = self.level + 1, frame.newer()
        except gdb.error:
            pass
        return self

    def __exit__(self, *_):
        if self.thread is not None and self.thread.is_valid():
            self.thread.switch()
            gdb.execute(f"frame level {self.level}", to_string=True)


def runs(every):
    """The run of the selected thread; those of all threads if that has none, or if all are asked for."""
    own = Run.of_selected_thread()
    if own is not None and not every:
        return [own]
    found = []
    with Place():
        for thread in sorted(gdb.selected_inferior().threads(), key=lambda thread: thread.num):
            thread.switch()
            run = Run.of_selected_thread()
            if run is not None:
                found.append(run)
    if not found:
        raise gdb.GdbError("osier: no thread is in a run")
    return found


# ---- Tasks ----


class Task:
    def __init__(self, run, child):
        self.run = run
        self.child = child
        self.task = child["task"]
        self.number = int(self.task["number"])
        self.name = string(self.task["name"])
        self.where = string(self.task["where"])

    def is_running(self):
        return self.run.sched["current"] == self.task.address

    def has_begun(self):
        if self.is_running() or not has_own_switch(self):
            return True
        return registers_of(self)["pc"] not in (address_of("osri_child_begin"), address_of("osri_context_start"))

    def state(self):
        wait = self.task["wait"]
        if int(wait):
            return f"waits in {string(wait['call'])} at {string(wait['where_'])}"
        if self.is_running():
            return "runs"
        return "is ready" if self.has_begun() else "has not begun"

    def function(self):
        return re.sub(r"^.*<(.*)>$", r"\1", str(self.task["run"]))

    def line(self):
        return f'{self.number} task "{self.name}", spawned at {self.where}, {self.state()}'


# ---- Stacks ----


def architecture():
    name = gdb.selected_frame().architecture().name()
    if name.startswith("i386:x86-64"):
        return "x86-64"
    if name.startswith("aarch64"):
        return "aarch64"
    raise gdb.GdbError(f"osier: the stacks of tasks are known for x86-64 and aarch64, not for {name}")


def address_of(function):
    """None if there is none of that name."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long long)&{function}"))
    except gdb.error:
        return None


def has_own_switch(task):
    """Whether the library was not built with ucontext: struct context is in src/1_stack/context.h."""
    return any(field.name == "stack" for field in task.task["fiber"]["context"].type.fields())


def registers_of(task):
    """What a parked task goes on with, by the names of the architecture; "pc" beside them."""
    if not has_own_switch(task):
        raise gdb.GdbError("osier: the stacks of tasks are known for its own context switch, not for ucontext")
    saved = task.task["fiber"]["context"]
    pc, frame, stack = (int(saved[name]) for name in ("next", "frame", "stack"))
    if architecture() == "x86-64":
        return {"pc": pc, "rip": pc, "rbp": frame, "rsp": stack}
    return {"pc": pc, "x29": frame, "sp": stack}


class Identity:
    def __init__(self, sp, pc):
        self.sp = sp
        self.pc = pc


class ParkedStack(Unwinder):
    """While it is used, the stack of a parked task follows the thread's newest frame, in the place of the thread's
    own older ones. Nothing is written, so that it works on a core file as well."""

    def __init__(self):
        super().__init__("osier: parked tasks")
        self.enabled = False

    def __call__(self, pending):
        if not self.enabled or int(pending.read_register(self.stack_pointer)) != self.newest:
            return None
        word = gdb.lookup_type("unsigned long long")
        stack, pc = (gdb.Value(self.registers[name]).cast(word) for name in (self.stack_pointer, "pc"))
        # The frames of the task lie above this one, as a stack that is sound would have it.
        info = pending.create_unwind_info(Identity(stack - 16, pc))
        for name, value in self.registers.items():
            if name != "pc" or self.stack_pointer == "sp":
                info.add_saved_register(name, gdb.Value(value).cast(word))
        return info

    def show(self, task):
        self.registers = registers_of(task)
        self.stack_pointer = "rsp" if "rsp" in self.registers else "sp"
        gdb.newest_frame().select()
        self.newest = int(gdb.selected_frame().read_register(self.stack_pointer))
        self.enabled = True
        gdb.invalidate_cached_frames()

    def hide(self):
        self.enabled = False
        gdb.invalidate_cached_frames()


parked = ParkedStack()
gdb.unwinder.register_unwinder(None, parked, replace=True)


def without_newest(backtrace):
    """A backtrace without the frame that is the thread's own, the others counted from 0."""
    lines = backtrace.splitlines()
    first = next((i for i, line in enumerate(lines) if re.match(r"#1\s", line)), len(lines))
    return "\n".join(re.sub(r"^#(\d+)(\s*)", lambda m: f"#{int(m[1]) - 1}".ljust(4), line) for line in lines[first:])


def backtrace(task, options):
    """The backtrace of a task; its thread is selected."""
    command = "backtrace " + options
    if task.is_running():
        return gdb.execute(command, to_string=True).rstrip("\n")
    if not task.has_begun():
        return f"#0  {task.function()} is still to be called"
    parked.show(task)
    try:
        return without_newest(gdb.execute(command, to_string=True))
    finally:
        parked.hide()


# ---- The tree ----


def time_now(sched):
    """What the clock of the run shows, None if that cannot be known."""
    simulated = gdb.lookup_global_symbol("osri_driver_sim")
    if simulated is not None and sched["driver"] == simulated.value().address:
        return int(pointer(sched["loop"], "simulation", simulated.symtab.static_block())["now"])
    connection = getattr(gdb.selected_inferior(), "connection", None)
    if connection is not None and connection.type == "native":
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    return None


def is_cancelled(scope):
    return int(scope["away_"]) != AWAY_BRIEF and int(scope["cancelled_at_"]) != 0


def describe_deadline(sched, scope):
    at = int(scope["timer_"]["at"])
    if at == NEVER or is_cancelled(scope):
        return ""
    now = time_now(sched)
    if now is None:
        return f", due at {at / 1e9:.6f} s"
    return f", due in {(at - now) / 1e6:.3f} ms" if at > now else ", overdue"


def describe_reason(scope):
    if not is_cancelled(scope):
        return ""
    reason = scope["reason_"]
    who, text = string(reason["who"]), string(reason["text"])
    by = f' by task "{who}"' if who else ""
    return f", cancelled{by} at {string(reason['where'])}" + (f": {text}" if text else "")


def describe_scope(run, scope):
    form = int(scope["form_"])
    if form == TASK:
        return Task(run, container(scope, "child", "scope")).line()
    where = string(scope["where_"])
    if form != GROUP:
        name = {TIMEOUT: "scope", MOVE_ON: "move-on scope", SHIELD: "shield"}.get(form, "scope")
        return f"{name}, opened at {where}"
    group = container(scope, "osr_group", "scope")
    name = string(group["name_"]) if int(group["named_"]) else ""
    limit = f" (at most {int(group['limit_'])})" if int(group["limit_"]) else ""
    failed = f", {int(group['errors_'])} failed" if int(group["errors_"]) else ""
    title = f'group "{name}"' if name else "group"
    return f"{title} with {int(group['running_'])} running{limit}, opened at {where}{failed}"


# ---- Commands ----


def wants_all(argument, usage):
    if argument.strip() not in ("", "all"):
        raise gdb.GdbError(f"usage: {usage}")
    return argument.strip() == "all"


def for_each_run(every, show):
    """Calls show(run) with the thread of each run selected, under its title if there are several."""
    found = runs(every)
    with Place():
        for run in found:
            run.thread.switch()
            if len(found) > 1:
                print(f"{run.title()}:")
            show(run)


class Osier(gdb.Command):
    """The tasks of programs that use osier."""

    def __init__(self):
        super().__init__("osier", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class OsierTasks(gdb.Command):
    """List the tasks: number, name, where each was spawned, and what it does or in which call and place it waits.

Usage: osier tasks [all]

Of the selected thread's run; with "all", or if that thread has none, of the runs of all threads."""

    def __init__(self):
        super().__init__("osier tasks", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        for_each_run(wants_all(argument, "osier tasks [all]"), self.show)

    @staticmethod
    def show(run):
        for task in run.tasks():
            print(("* " if task.is_running() else "  ") + task.line())


class OsierTree(gdb.Command):
    """Show tasks, groups and scopes as a tree: waits, deadlines, and what is cancelled and why.

Usage: osier tree [all]

Of the selected thread's run; with "all", or if that thread has none, of the runs of all threads."""

    def __init__(self):
        super().__init__("osier tree", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        for_each_run(wants_all(argument, "osier tree [all]"), self.show)

    @staticmethod
    def show(run):
        for scope, depth in run.scopes():
            line = describe_scope(run, scope) + describe_deadline(run.sched, scope) + describe_reason(scope)
            print("  " * min(depth, 40) + line)


class OsierBacktrace(gdb.Command):
    """Print the backtraces of tasks, also of those that are parked.

Usage: osier bt [NUMBER|all] [OPTIONS]

NUMBER is a task's number, as `osier tasks` shows it, in the run of the selected thread. Without it all tasks of that
run are shown, with "all" those of all threads. OPTIONS are those of `backtrace`, such as "full" or a count."""

    def __init__(self):
        super().__init__("osier bt", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        first, _, rest = argument.strip().partition(" ")
        number = int(first) if first.isdigit() else None
        options = rest if number is not None or first == "all" else argument
        self.found = False
        for_each_run(first == "all", lambda run: self.show(run, number, options))
        if not self.found:
            raise gdb.GdbError("osier: there is no such task" if number is not None else "osier: there are no tasks")

    def show(self, run, number, options):
        for task in run.tasks():
            if number in (None, task.number):
                self.found = True
                print(task.line())
                print(backtrace(task, options), end="\n\n")


Osier()
OsierTasks()
OsierTree()
OsierBacktrace()
