"""What the peers in Python share: each is a program `PEER WORKLOAD N`, as in peer.h."""

import os
import sys
import time

YIELDS, TIMEOUTS, ITEMS, TURNS, JOBS = 40000, 2000, 10000, 1000, 200
LONG = 1000


def say(name, value):
    print(f"{name} {value:.3f}", flush=True)


def memory():
    with open("/proc/self/status") as file:
        return 1024 * sum(int(line.split()[1]) for line in file if line.startswith(("VmRSS:", "VmPTE:")))


async def repeat(batch, operations):
    budget = float(os.environ.get("BENCH_SECONDS", "0.1")) * 1e9
    await batch()
    batches, start = 0, time.monotonic_ns()
    while batches == 0 or time.monotonic_ns() - start < budget:
        await batch()
        batches += 1
    say("ns", (time.monotonic_ns() - start) / (batches * operations))


def delay(i):
    """In seconds, between 0 and 100 ms."""
    return (i * 2654435761 & 0xFFFFFFFF) % 100000 * 1e-6


class Parts:
    """What is measured of many sleepers."""

    def __init__(self, n):
        self.n, self.before, self.start = n, memory(), time.monotonic_ns()

    def asleep(self):
        pause = time.monotonic_ns()
        say("bytes", (memory() - self.before) / self.n)
        self.middle = time.monotonic_ns()
        self.start += self.middle - pause

    def end(self):
        now = time.monotonic_ns()
        say("ns", (now - self.start) / self.n)
        say("cancel-ns", (now - self.middle) / self.n)


class Waking:
    def __init__(self):
        self.start, self.cpu = time.monotonic_ns(), time.process_time_ns()

    def end(self):
        say("beyond-ms", (time.monotonic_ns() - self.start) * 1e-6 - 100)
        say("cpu-ms", (time.process_time_ns() - self.cpu) * 1e-6)


def choose(workloads):
    """The workload that was asked for, and its number; ends the program with 77 if there is none."""
    if sys.argv[1] not in workloads:
        sys.exit(77)
    return workloads[sys.argv[1]], int(sys.argv[2])
