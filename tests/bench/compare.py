#!/usr/bin/python3
"""Measures osier beside its peers: the same workloads in each, one after the other, in rounds. See README.md here.

    compare.py BUILD [--rounds N] [--minutes M] [--seconds S] [--only PART] [--peers NAME,NAME] [--json FILE] [--new]

BUILD holds what the Makefile has built: peers/osier, raw, libev, load, shards. What has been measured is kept there in
peers/measured.jsonl, so that a run that was broken off goes on where it was; --new forgets that.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SOURCES = HERE / "peers"
PYTHON = "/usr/bin/python3"  # Debian's, whose packages these are
OPTIMIZED = ["-O2", "-DNDEBUG", "-pthread"]
REGISTRY = "/usr/share/cargo/registry"
TIME_LIMIT = 20  # seconds for one measurement; who takes longer is not asked again
SLOW = 6  # seconds; who takes longer is asked once
UNDISTURBED = 2  # percent of the time of a load in which the server may have waited for its core; else it is measured again,
TRIES = 4  # so often, and the least disturbed one counts

# ---- Peers ---------------------------------------------------------------------------------------------------------


class Peer:
    """`needs`: commands and files, and the packages that have them. `build` and `run` are commands; {out} is the program
    that is built, {programs} where the Makefile builds, {sources} where the peers are."""

    def __init__(self, name, run=("{out}",), build=None, source=None, needs=(), version=None):
        self.name, self.run, self.build, self.source = name, run, build, source
        self.needs, self.version = needs, version
        self.missing, self.command, self.said = None, None, ""

    def prepare(self, directory):
        """Builds it, if its source is newer. Afterwards `missing` says why it is left out, if it is."""
        lacks = [package for what, package in self.needs if not (shutil.which(what) or os.path.exists(what))]
        if lacks:
            self.missing = "not installed: apt-get install " + " ".join(lacks)
            return
        out = directory / self.name.lower().replace(" ", "-").replace(".", "-")
        values = {"out": str(out), "programs": str(directory), "sources": str(SOURCES)}
        self.command = [part.format(**values) for part in self.run]
        if self.build:
            self.missing = build(self, [part.format(**values) for part in self.build], out)
        if self.version and not self.missing:
            output = subprocess.run(self.version, shell=True, capture_output=True, text=True).stdout
            self.said = " ".join(output.split())


def build(peer, command, out):
    newest = max(SOURCES.joinpath(name).stat().st_mtime for name in (peer.source, "peer.h"))
    if out.exists() and out.stat().st_mtime > newest:
        return None
    print(f"building {peer.name}", file=sys.stderr)
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GO111MODULE": "off"})
    return None if done.returncode == 0 else "cannot be built: " + last_line(done.stderr)


def debian_version(package):
    return f"dpkg-query -W -f '${{Version}}' {package}"


def boost(name, source, libraries, packages):
    build = ["g++", "-std=c++20", "-D_GNU_SOURCE", *OPTIMIZED, "{sources}/" + source, "-o", "{out}", *libraries]
    return Peer(name, build=build, source=source, needs=[("g++", "g++"), *packages], version=debian_version("libboost-dev"))


BOOST = ("/usr/include/boost/asio.hpp", "libboost-dev")
OSIER, RAW, LIBEV = "osier", "raw limit", "libev"

PEERS = [
    Peer(OSIER, run=["{out}"]),
    Peer(RAW, run=["{programs}/raw"]),
    Peer(LIBEV, run=["{out}"]),
    Peer(
        "State Threads",
        build=["gcc", "-std=gnu11", "-D_GNU_SOURCE", *OPTIMIZED, "{sources}/st.c", "-o", "{out}", "-lst"],
        source="st.c",
        needs=[("gcc", "gcc"), ("/usr/include/st.h", "libst-dev")],
        version=debian_version("libst-dev"),
    ),
    boost("Boost.Fiber", "fiber.cc", ["-lboost_fiber", "-lboost_context"],
          [("/usr/include/boost/fiber/all.hpp", "libboost-fiber-dev"),
           ("/usr/include/boost/context/fiber.hpp", "libboost-context-dev")]),
    boost("Boost.Asio", "asio.cc", [], [BOOST]),
    Peer(
        "tokio",
        run=["{out}"],
        build=["sh", "{sources}/tokio.sh", "{sources}/tokio.rs", REGISTRY, "{out}"],
        source="tokio.rs",
        needs=[("cargo", "cargo"), ("rustc", "rustc"), ("/usr/share/doc/librust-tokio-dev", "librust-tokio-dev")],
        version="rustc --version; " + debian_version("librust-tokio-dev"),
    ),
    Peer("Go", build=["go", "build", "-o", "{out}", "{sources}/peer.go"], source="peer.go", needs=[("go", "golang-go")],
         version="go version"),
    Peer("Node", run=["node", "{sources}/node.mjs"], needs=[("node", "nodejs")], version="node --version"),
    Peer("uvloop", run=[PYTHON, "{sources}/aio.py", "{workload}", "{n}", "uvloop"],
         needs=[(PYTHON, "python3"), ("/usr/lib/python3/dist-packages/uvloop", "python3-uvloop")],
         version=debian_version("python3-uvloop")),
    Peer("asyncio", run=[PYTHON, "{sources}/aio.py"], needs=[(PYTHON, "python3")], version=PYTHON + " --version"),
    Peer("Trio", run=[PYTHON, "{sources}/trio_peer.py"],
         needs=[(PYTHON, "python3"), ("/usr/lib/python3/dist-packages/trio", "python3-trio")],
         version=debian_version("python3-trio")),
]
for peer in PEERS:  # what the command of the program ends with, if it does not say so itself
    if "{workload}" not in peer.run:
        peer.run = [*peer.run, "{workload}", "{n}"]
    peer.run = [part.replace("{workload}", "{{workload}}").replace("{n}", "{{n}}") for part in peer.run]

# ---- Workloads -----------------------------------------------------------------------------------------------------

NS = [("ns", "", "ns")]
SLEEPERS = [("ns", "spawn, cancel, join", "ns/task"), ("cancel-ns", "cancel and join alone", "ns/task"),
            ("bytes", "memory", "bytes/task")]
WAKE = [("beyond-ms", "time beyond 100 ms", "ms"), ("cpu-ms", "CPU", "ms")]
ECHO = [("cpu-ns", "CPU of the server", "ns/request"), ("per-second", "requests", "1/s"),
        ("p99-us", "99th percentile", "us")]
MORE_IS_BETTER = {"per-second"}


class Workload:
    def __init__(self, title, name, n, rows=None, unit=None, rounds=1000):
        self.title, self.name, self.n, self.rounds = title, name, n, rounds
        self.rows = rows or [("ns", "", unit)]
        self.key = f"{name} {n}"


def of_each(name, numbers, title, **rest):
    return [Workload(title.format(f"{n:,}"), name, n, **rest) for n in numbers]


WORKLOADS = [
    *of_each("spawn", [1, 1000], "spawn and join, {} at a time", unit="ns/task"),
    *of_each("spawn-yield", [1, 1000], "spawn, yield and join, {} at a time", unit="ns/task"),
    *of_each("yield", [2, 1000], "yield among {} tasks", unit="ns/yield"),
    *of_each("sleepers", [10000, 100000], "{} sleepers, cancelled and joined", rows=SLEEPERS),
    *of_each("sleepers", [1000000], "{} sleepers, cancelled and joined", rows=SLEEPERS, rounds=3),
    *of_each("timeout", [0, 10000], "a timeout that does not fire, beside {} sleepers", unit="ns"),
    *of_each("timeout-yield", [0, 10000], "the same with a yield inside, beside {} sleepers", unit="ns"),
    *of_each("nested-groups", [250, 1000, 10000], "{} nested groups, made and cancelled from outside", unit="ns/level"),
    *of_each("nested-timeouts", [250, 1000, 10000], "{} nested timeouts, opened and cancelled from outside",
             unit="ns/level"),
    *of_each("fail-one", [1000], "{} tasks, one fails, the others are cancelled", unit="ns/task"),
    *of_each("fail-all", [1000], "{} tasks, all fail, all errors are kept", unit="ns/task"),
    *of_each("queue", [64], "a queue of {}", unit="ns/item"),
    *of_each("queue", [0], "a queue that hands over", unit="ns/item"),
    *of_each("lock", [10], "a lock that {} tasks hold over a yield", unit="ns/turn"),
    *of_each("semaphore", [10], "3 permits that {} tasks hold over a yield", unit="ns/turn"),
    *of_each("wake", [100000], "{} sleepers, 0 to 100 ms each", rows=WAKE),
    *of_each("offload", [1], "a job in another thread, and back", unit="ns"),
    *of_each("echo", [50, 1000, 10000], "TCP echo of 64 bytes, {} connections", rows=ECHO),
]

# ---- Measuring -----------------------------------------------------------------------------------------------------


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if "Error" in line] or lines  # exceptions say more behind or before that
    return lines[-1][:100] if lines else "no word of why"


def values_of(output):
    """Lines `name value` as a dictionary."""
    return {name: float(value) for name, value in (line.split() for line in output.splitlines() if " " in line)}


class Failed(Exception):
    pass


class NoSuchThing(Exception):
    pass


class Bench:
    def __init__(self, directory, seconds):
        cores = sorted(os.sched_getaffinity(0))
        self.directory, self.core, self.other = directory, cores[0], cores[-1]
        self.environment = {**os.environ, "BENCH_SECONDS": str(seconds)}
        self.seconds = max(0.3, 4 * seconds)

    def start(self, command, core, **rest):
        def pin():
            os.sched_setaffinity(0, {core})
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=self.environment, preexec_fn=pin,
                                **rest)

    def measure(self, peer, workload):
        command = [part.format(workload=workload.name, n=workload.n) for part in peer.command]
        if workload.name == "echo":
            return self.echo_undisturbed(command, workload.n)
        process = self.start(command, self.core, stderr=subprocess.PIPE)
        try:
            output, errors = process.communicate(timeout=TIME_LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Failed(f"took more than {TIME_LIMIT} s") from None
        except BaseException:
            process.kill()
            raise
        return self.judge(process.returncode, output, errors)

    @staticmethod
    def judge(code, output, errors):
        if code == 77:
            raise NoSuchThing
        if code != 0:
            raise Failed(f"signal {-code}" if code < 0 else last_line(errors))
        return values_of(output)

    def echo_undisturbed(self, command, connections):
        """Two processes that each need a core of their own say nothing while others take it from one of them."""
        tries = []
        while len(tries) < TRIES and (not tries or tries[-1]["waited"] > UNDISTURBED):
            tries.append(self.echo(command, connections))
        return min(tries, key=lambda values: values["waited"])

    def echo(self, command, connections, watch=None):
        with tempfile.TemporaryFile("w+") as errors:
            server = self.start(command, self.core, stderr=errors)
            try:
                first = server.stdout.readline()
                if not first:
                    server.wait()
                    errors.seek(0)
                    return self.judge(server.returncode or 1, "", errors.read())
                return self.load(server.pid, int(float(first.split()[1])), connections, watch)
            except Failed:
                if server.poll() is None:
                    raise
                errors.seek(0)  # it knows better what has happened
                return self.judge(server.returncode or 1, "", errors.read())
            finally:
                server.kill()
                server.communicate()

    def load(self, pid, port, connections, watch):
        """Has the load put on the server; `watch` is called with its number when the counting begins, and what that
        gives when it ends."""
        load = [str(self.directory / "load"), str(port), str(connections), str(self.seconds)]
        process = self.start(load, self.other, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        timer = signal.signal(signal.SIGALRM, lambda *_: process.kill())
        signal.alarm(TIME_LIMIT)
        try:
            answer(process)
            stop = watch(pid) if watch else None
            before, begun = of_core(pid), time.monotonic()
            proceed(process)
            answer(process)
            used, waited = (after - first for after, first in zip(of_core(pid), before))
            waited *= 1e-7 / (time.monotonic() - begun)
            if stop:
                stop()
            proceed(process)
        except (BrokenPipeError, EOFError, FileNotFoundError):
            pass
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, timer)
        output, errors = process.communicate()
        values = self.judge(process.returncode, output, errors)
        return {**values, "cpu-ns": used / values["requests"], "waited": waited}


def answer(process):
    if not process.stdout.readline():
        raise EOFError


def proceed(process):
    process.stdin.write("\n")
    process.stdin.flush()


def of_core(pid):
    """Nanoseconds of the processor that all of its threads have used, and in which they were ready and waited for it."""
    lines = [(task / "schedstat").read_text().split() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]
    return sum(int(line[0]) for line in lines), sum(int(line[1]) for line in lines)


# ---- System calls for each request -----------------------------------------------------------------------------------

KINDS = {"read": ("read", "readv", "recvfrom", "recvmsg"), "write": ("write", "writev", "sendto", "sendmsg"),
         "wait": ("epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "select", "pselect6"), "epoll_ctl": ("epoll_ctl",)}


def count_calls(bench, peer, connections):
    """How many of each kind, by strace; None if that cannot be."""
    with tempfile.NamedTemporaryFile("r") as file:

        def watch(pid):
            strace = subprocess.Popen(["strace", "-c", "-f", "-o", file.name, "-p", str(pid)], stderr=subprocess.PIPE,
                                      text=True)
            strace.stderr.readline()  # attached

            def stop():
                strace.send_signal(signal.SIGINT)
                strace.wait()

            return stop

        command = [part.format(workload="echo", n=connections) for part in peer.command]
        values = bench.echo(command, connections, watch)
        counts = {}
        for line in file.read().splitlines():
            fields = line.split()
            if len(fields) >= 5 and fields[3].isdigit() and fields[-1] != "total":
                kind = next((kind for kind, names in KINDS.items() if fields[-1] in names), "others")
                counts[kind] = counts.get(kind, 0) + int(fields[3])
        return {kind: count / values["requests"] for kind, count in counts.items()}


# ---- Rounds --------------------------------------------------------------------------------------------------------


class Record:
    """What has been measured: a line of JSON for each, the first of which says of what."""

    def __init__(self, path, identity, anew):
        self.path, self.lines = path, []
        if path.exists() and not anew:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            if lines and lines[0] == identity:
                self.lines = lines[1:]
        if not self.lines:
            path.write_text(json.dumps(identity) + "\n")
        self.done = {(line["workload"], line["peer"], line["round"]) for line in self.lines}

    def add(self, **line):
        self.lines.append(line)
        self.done.add((line["workload"], line["peer"], line["round"]))
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def of(self, workload, peer):
        return [line for line in self.lines if line["workload"] == workload.key and line["peer"] == peer.name]

    def is_enough(self, workload, peer, number):
        if (workload.key, peer.name, number) in self.done or number >= workload.rounds:
            return True
        return any("values" not in line or line["took"] > SLOW for line in self.of(workload, peer))


def has_memory_for(workload):
    """A million sleepers take up to 16 GB; where they would make the machine swap they are left out."""
    if workload.n < 1000000:
        return True
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    return available > 18 * 1024 * 1024


def foresee(record, workload, peer):
    """A million sleepers are not waited for where 100,000 tell that they would take too long, or did not end."""
    smaller = next((other for other in WORKLOADS if other.name == workload.name and other.n * 10 == workload.n), None)
    lines = record.of(smaller, peer) if smaller and workload.n >= 1000000 else []
    if any("values" not in line or line["took"] * 10 > TIME_LIMIT for line in lines):
        raise Failed(f"left out: would take more than {TIME_LIMIT} s" if "values" in lines[0] else "as with 100,000")


def measure_once(bench, record, workload, peer, number):
    begun = time.monotonic()
    line = {"workload": workload.key, "peer": peer.name, "round": number}
    try:
        if not has_memory_for(workload):
            raise Failed("left out: less than 18 GB of memory are free")
        foresee(record, workload, peer)
        line["values"] = bench.measure(peer, workload)
    except NoSuchThing:
        line["nothing"] = True
    except Failed as failure:
        line["failed"] = str(failure)
    record.add(**line, took=time.monotonic() - begun)


def touch_memory(bench, workload, peers):
    """A virtual machine is slow to give memory that it has not given for a while, which whoever comes first would pay for."""
    raw = next(peer for peer in peers if peer.name == RAW)
    if workload.n >= 1000000 and has_memory_for(workload):
        bench.measure(raw, workload)


def measure_all(bench, record, workloads, peers, rounds, minutes):
    """Gives the number of rounds that there was time for."""
    begun = time.monotonic()
    for number in range(rounds):
        if number > 0 and (time.monotonic() - begun) * (number + 1) / number > minutes * 60:
            return number
        for index, workload in enumerate(workloads):
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {rounds}, {workload.title}\033[K", end="", file=sys.stderr)
            if not all(record.is_enough(workload, peer, number) for peer in peers):
                touch_memory(bench, workload, peers)
            turned = peers[(number + index) % len(peers):] + peers[: (number + index) % len(peers)]
            for peer in turned:
                if not record.is_enough(workload, peer, number):
                    measure_once(bench, record, workload, peer, number)
    return rounds


# ---- Telling -------------------------------------------------------------------------------------------------------


def figure(value):
    """With as many digits as mean something."""
    return f"{value:,.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


class Table:
    """The results of one row of one workload."""

    def __init__(self, record, workload, row, peers):
        self.name, self.label, self.unit = row
        self.workload = workload
        self.title = workload.title + (f": {self.label}" if self.label else "")
        self.values, self.failures = {}, {}
        for peer in peers:
            lines = record.of(workload, peer)
            values = [line["values"][self.name] for line in lines if self.name in line.get("values", {})]
            if values:
                self.values[peer.name] = sorted(values)
            elif any("failed" in line for line in lines):
                self.failures[peer.name] = next(line["failed"] for line in lines if "failed" in line)

    def median(self, name):
        return statistics.median(self.values[name])

    def ratio(self, name):
        """How many times what osier takes; None where that says nothing."""
        if OSIER not in self.values or self.median(OSIER) <= 0 or self.median(name) <= 0:
            return None
        return self.median(name) / self.median(OSIER)

    def order(self):
        return sorted(self.values, key=self.median, reverse=self.name in MORE_IS_BETTER)

    def lines(self):
        yield f"{self.title}, {self.unit}"
        for name in self.order():
            low, high, ratio = self.values[name][0], self.values[name][-1], self.ratio(name)
            yield (f"    {name:14}{figure(self.median(name)):>12}   {figure(low) + ' - ' + figure(high):25}"
                   f"{'' if ratio is None else f'{figure(ratio)} x osier':>16}").rstrip()
        for name, failure in self.failures.items():
            yield f"    {name:14}{'-':>12}   {failure}"

    def markdown(self, peers):
        cells = [self.cell(peer.name) for peer in peers]
        return f"| {self.title}, {self.unit} | " + " | ".join(cells) + " |"

    def cell(self, name):
        if name not in self.values:
            return "fails" if name in self.failures else ""
        text = figure(self.median(name))
        return f"**{text}**" if name == OSIER else text


def markdown(tables, peers, machine):
    yield "| | " + " | ".join(peer.name for peer in peers) + " |"
    yield "| --- |" + " ---: |" * len(peers)
    for table in tables:
        yield table.markdown(peers)
    failures = sorted({f"{table.title.split(':')[0]}, {name}: {why}"
                       for table in tables for name, why in table.failures.items()})
    if failures:
        yield "\nWhat fails:\n"
        yield from (f"- {failure}" for failure in failures)
    yield "\n" + machine


def processor():
    with open("/proc/cpuinfo") as file:
        names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else "an unknown processor"


def describe(peers, rounds):
    versions = ", ".join(f"{peer.name} {peer.said}" for peer in peers if peer.said)
    return (f"Medians of {rounds} rounds, {datetime.date.today()}, on {processor()}, {os.cpu_count()} cores, Linux "
            f"{platform.release()}, load {os.getloadavg()[1]:.1f}; each on one core, the load of the servers on another. "
            f"{versions}.")


COLOURS = ["black", "#888888", "#000000", "#1b9e77", "#66c2a5", "#7570b3", "#d95f02", "#00a0e0", "#55aa00", "#e7298a", "#c00000",
           "#8b4513"]


def plot(tables, peers, path):
    """Each peer's costs in those of osier, as an SVG."""
    if not shutil.which("gnuplot"):
        return "no plot: apt-get install gnuplot-nox"
    shown = [table for table in tables if OSIER in table.values and table.median(OSIER) > 0]
    lines = ["$data << end"]
    for number, table in enumerate(shown):
        ratios = [table.ratio(peer.name) if peer.name in table.values else None for peer in peers]
        if table.name in MORE_IS_BETTER:
            ratios = [ratio and 1 / ratio for ratio in ratios]
        title = table.title.replace("_", " ").replace('"', "'")
        lines.append(f'{number} "{title}" ' + " ".join("NaN" if ratio is None else f"{ratio:.4f}" for ratio in ratios))
    lines += ["end", f'set terminal svg size 1400,{80 + 22 * len(shown)} background "white" font "sans,11"',
              f'set output "{path}"', "set logscale x", 'set format x "%g"', "set grid x", "set key outside right top",
              "set lmargin 72", 'set title "What others take, in terms of osier (less is better)"',
              f"set yrange [{len(shown)}:-1]", f"set arrow from 1,-1 to 1,{len(shown)} nohead lw 2"]
    series = [f'$data using {index + 3}:1:ytic(2) with points pt {index % 12 + 4} lc rgb "{COLOURS[index % len(COLOURS)]}" '
              f'ps 0.8 title "{peer.name}"' for index, peer in enumerate(peers) if peer.name != OSIER]
    lines.append("plot " + ", ".join(series))
    done = subprocess.run(["gnuplot"], input="\n".join(lines), capture_output=True, text=True)
    return f"plot: {path}" if done.returncode == 0 else "no plot: " + last_line(done.stderr)


# ---- Many cores ------------------------------------------------------------------------------------------------------


def shards(directory, rounds):
    """One runtime for each thread, on one core and on all: what each does by itself, and an echo server they share."""
    program = str(directory / "shards")
    results = {}
    for _ in range(rounds):
        for what in ("spawn", "echo"):
            for cores in sorted({1, min(2, os.cpu_count())}):
                done = subprocess.run([program, what, str(cores)], capture_output=True, text=True, timeout=60)
                if done.returncode == 0:
                    results.setdefault((what, cores), []).append(values_of(done.stdout))
    return {key: {name: statistics.median(line[name] for line in lines) for name in lines[0]}
            for key, lines in results.items()}


def tell_shards(results):
    yield f"one runtime for each thread{'1/s':>45}{'':17}{'CPU, ns':>10}"
    for (what, cores), values in results.items():
        title = {"spawn": "tasks spawned and joined", "echo": "echoes, SO_REUSEPORT, the load on the same cores"}[what]
        more = f"{values['per-second'] / results[(what, 1)]['per-second']:.2f} x one core" if cores > 1 else ""
        yield (f"    {title + f', {cores} core' + 's' * (cores > 1):57}{figure(values['per-second']):>11}   {more:14}"
               f"{figure(values['cpu-ns']):>10}")


# ---- The whole -------------------------------------------------------------------------------------------------------


def arguments():
    parser = argparse.ArgumentParser(description="measures osier beside its peers")
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5, help="at most so many")
    parser.add_argument("--minutes", type=float, default=8.5, help="begins no round that would end later")
    parser.add_argument("--seconds", type=float, default=0.05, help="for what can be repeated")
    parser.add_argument("--only", default="", help="workloads with this in their name")
    parser.add_argument("--peers", default="", help="only these beside osier, the raw limit and libev")
    parser.add_argument("--json", type=pathlib.Path, help="where the results go as JSON")
    parser.add_argument("--new", action="store_true", help="forgets what was measured before")
    return parser.parse_args()


def chosen_peers(names, directory):
    wanted = {name.strip().lower() for name in names.split(",") if name.strip()}
    unknown = wanted - {peer.name.lower() for peer in PEERS}
    if unknown:
        sys.exit(f"there is no peer {', '.join(unknown)}; there are {', '.join(peer.name for peer in PEERS)}")
    peers = [peer for peer in PEERS if not wanted or peer.name.lower() in wanted or peer.name in (OSIER, RAW, LIBEV)]
    for peer in peers:
        peer.prepare(directory)
    return peers


def identity_of(options, peers, directory):
    """A run that was broken off goes on only with the same programs and the same wishes."""
    programs = hashlib.sha256()
    for path in sorted([*SOURCES.iterdir(), directory / "osier"]):
        programs.update(path.read_bytes())
    return {"programs": programs.hexdigest(), "peers": [peer.name for peer in peers], "seconds": options.seconds,
            "only": options.only, "rounds": options.rounds}


def as_json(record, tables, calls, cores, peers, left_out, machine):
    results = [{"workload": table.workload.key, "title": table.title, "what": table.name, "unit": table.unit,
                "median": {name: table.median(name) for name in table.values}, "all": table.values, "failed": table.failures}
               for table in tables]
    return {"machine": machine, "peers": {peer.name: peer.said for peer in peers}, "left out": left_out,
            "results": results, "system calls for each request": calls,
            "cores": [{"what": what, "cores": count, **values} for (what, count), values in cores.items()]}


def all_calls(bench, peers):
    if not shutil.which("strace"):
        return {}
    calls = {}
    for peer in peers:
        for connections in (50, 1000):
            try:
                calls[f"{peer.name}, {connections} connections"] = count_calls(bench, peer, connections)
            except (Failed, NoSuchThing, OSError):
                pass
    return calls


def tell_calls(calls):
    yield "system calls for each request of the echo servers (strace -c -f)"
    for name, counts in calls.items():
        parts = ", ".join(f"{kind} {counts[kind]:.3f}" for kind in (*KINDS, "others") if kind in counts)
        yield f"    {name:36}{parts}"


def main():
    options = arguments()
    directory = options.build.resolve() / "peers"
    all_peers = chosen_peers(options.peers, directory)
    peers = [peer for peer in all_peers if not peer.missing]
    left_out = {peer.name: peer.missing for peer in all_peers if peer.missing}
    workloads = [workload for workload in WORKLOADS if options.only in workload.title or options.only in workload.key]
    if not workloads:
        sys.exit(f"no workload has '{options.only}' in its name")
    bench = Bench(directory, options.seconds)
    path = directory / "measured.jsonl"
    record = Record(path, identity_of(options, peers, directory), options.new)
    rounds = measure_all(bench, record, workloads, peers, options.rounds, options.minutes)
    whole = not options.only
    calls = all_calls(bench, peers) if whole or "echo" in options.only else {}
    cores = shards(directory, 3) if whole else {}
    tables = [Table(record, workload, row, peers) for workload in workloads for row in workload.rows]
    machine = describe(peers, rounds)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    for table in tables:
        print("\n".join(table.lines()), end="\n\n")
    for lines in (tell_calls(calls) if calls else (), tell_shards(cores) if cores else ()):
        print("\n".join(lines), end="\n\n")
    for name, why in left_out.items():
        print(f"left out: {name}, {why}")
    print(machine)
    results = options.json or directory / "results.json"
    results.write_text(json.dumps(as_json(record, tables, calls, cores, peers, left_out, machine), indent=1))
    results.with_suffix(".md").write_text("\n".join(markdown(tables, peers, machine)) + "\n")
    print(f"JSON: {results}; {plot(tables, peers, results.with_suffix('.svg'))}")
    path.rename(path.with_suffix(".done"))  # the next run begins anew
    return 0


try:
    sys.exit(main())
except KeyboardInterrupt:
    sys.exit("broken off; the same command goes on from here")
