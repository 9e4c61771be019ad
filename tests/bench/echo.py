#!/usr/bin/env python3
"""Whether one echo server is cheaper than another, on a machine that is never quite at rest.

    echo.py CONNECTIONS ROUNDS SECONDS NAME=PROGRAM...

Server and load (peers/load, beside this build's servers) have a core each to themselves, with SCHED_FIFO, which takes root.
Rounds go in turned order; a measurement in which either waited for its core for more than WORST per cent of the time (1) is
made again, for at most LIMIT seconds in all (50). Prints medians, of the ratios to the first program as well. Rounds should
be short, of 0.3 to 0.5 s, or they run into the share that the system keeps for other tasks.
"""
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

WORST, LIMIT = float(os.environ.get("WORST", "1")), float(os.environ.get("LIMIT", "50"))
WHAT = ("cpu-ns", "per-second", "median-us", "p99-us")


def alone_on(core):
    def prepare():
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        os.sched_setaffinity(0, {core})
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))

    return prepare


def used(process):
    """Nanoseconds that its threads have run, and have waited for their core."""
    lines = [(task / "schedstat").read_text().split() for task in pathlib.Path(f"/proc/{process.pid}/task").iterdir()]
    return [sum(int(line[i]) for line in lines) for i in (0, 1)]


def measure(program, connections, seconds):
    load = str(pathlib.Path(program).parent / "load")
    server = subprocess.Popen([program, "echo", connections], stdout=subprocess.PIPE, text=True, preexec_fn=alone_on(0))
    try:
        port = str(int(float(server.stdout.readline().split()[1])))
        client = subprocess.Popen([load, port, connections, seconds], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  preexec_fn=alone_on(1))
        client.stdout.readline()
        before, began = (used(server), used(client)), time.monotonic()
        client.stdin.write("\n")
        client.stdin.flush()
        client.stdout.readline()
        after, took = (used(server), used(client)), time.monotonic() - began
        said = client.communicate("\n")[0]
    finally:
        server.kill()
        server.wait()
    values = {name: float(value) for name, value in (line.split() for line in said.splitlines())}
    values["cpu-ns"] = (after[0][0] - before[0][0]) / values["requests"]
    values["waited"] = max(after[i][1] - before[i][1] for i in (0, 1)) / took / 1e7
    return values


def main():
    connections, rounds, seconds, *servers = sys.argv[1:]
    servers = dict(server.split("=") for server in servers)
    names, kept, end = list(servers), [], time.monotonic() + LIMIT
    for turn in range(int(rounds)):
        row = {}
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            while name not in row and time.monotonic() < end:
                values = measure(servers[name], connections, seconds)
                if values["waited"] <= WORST:
                    row[name] = values
        if len(row) == len(names):
            kept.append(row)
    print(f"{connections} connections, {len(kept)} rounds")
    for name in names if kept else []:
        print(f"{name:12}", *(f"{what} {statistics.median(row[name][what] for row in kept):,.0f}"
                              f" ({statistics.median(row[name][what] / row[names[0]][what] for row in kept):.3f})" for what in WHAT))
    return not kept


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    sys.exit(main())
