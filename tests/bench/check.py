#!/usr/bin/env python3
"""Counts the instructions of osier's common paths under callgrind, and compares them with those recorded.

    check.py PROGRAM RECORDED [--record]

PROGRAM is peers/counts. 0 if no path takes more than the tolerance above what is recorded; 1 if one does; 77 if nothing
could be compared, since the compiler, the C library or libev are not those that it was recorded with, or there is no
valgrind. Unlike times, the counts are the same on a machine that is busy.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOLERANCE = 0.03
SKIPPED = 77
# So that the C library chooses the same functions on every processor.
PLAIN = ("glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-AVX_Fast_Unaligned_Load,-AVX2_Usable,"
         "-AVX512F_Usable")
HEAD = """# Instructions for each time that a common path is taken, as counted by callgrind in a release build: made and compared by
# `make bench-check`, made anew by `make bench-check RECORD=1`.
"""


def built_with(program):
    output = subprocess.run([program, "--built-with"], capture_output=True, text=True, check=True).stdout
    return f"{' '.join(output.split()).replace(' ,', ',')}, {os.uname().machine}"


def count(program):
    """A dictionary of paths."""
    counts = {}
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={directory}/out", program]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "GLIBC_TUNABLES": PLAIN})
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
        for dump in sorted(pathlib.Path(directory).iterdir(), key=lambda path: (len(path.name), path.name)):
            text = dump.read_text()
            name = re.search(r"^desc: Trigger: Client Request: (\S+) (\d+)$", text, re.M)
            if name:
                total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
                counts[name[1]] = int(total[1]) / int(name[2])
    if not counts:
        sys.exit("callgrind gave no counts")
    return counts


def read(path):
    """What it was recorded with, and the counts; None and nothing if there is no record."""
    if not path.exists():
        return None, {}
    lines = path.read_text().splitlines()
    with_ = next((line.removeprefix("built with: ") for line in lines if line.startswith("built with: ")), None)
    rows = (line.rsplit(None, 1) for line in lines if line and not line.startswith(("#", "built with: ")))
    return with_, {name: float(value) for name, value in rows}


def write(path, with_, counts):
    path.write_text(HEAD + f"built with: {with_}\n" + "".join(f"{name:28}{value:10.1f}\n" for name, value in counts.items()))


def verdict(name, counted, recorded):
    """What is said beside a path, and whether it is a fault."""
    if name not in recorded:
        return "not recorded: make bench-check RECORD=1", True
    if name not in counted:
        return "no longer counted: make bench-check RECORD=1", True
    change = counted[name] / recorded[name] - 1
    if change > TOLERANCE:
        return f"{change:+.1%}: MORE than the {TOLERANCE:.0%} that are tolerated", True
    if change < -TOLERANCE:
        return f"{change:+.1%}: better; to keep it, make bench-check RECORD=1", False
    return f"{change:+.1%}", False


def compare(counted, recorded):
    faults = 0
    print(f"{'instructions of':28}{'recorded':>10}{'now':>10}")
    for name in [*recorded, *(name for name in counted if name not in recorded)]:
        words, fault = verdict(name, counted, recorded)
        faults += fault
        numbers = "".join(f"{of[name]:10.1f}" if name in of else f"{'-':>10}" for of in (recorded, counted))
        print(f"{name:28}{numbers}   {words}")
    print(f"{len(counted)} paths, {faults} at fault")
    return faults


def skip(why):
    print(f"SKIPPED, nothing was compared: {why}", file=sys.stderr)
    return SKIPPED


def main(program, path, *options):
    if not shutil.which("valgrind"):
        return skip("there is no valgrind")
    with_, path = built_with(program), pathlib.Path(path)
    recorded_with, recorded = read(path)
    if options == ("--record",):
        write(path, with_, count(program))
        print(f"recorded in {path}")
        return 0
    if recorded_with != with_:
        return skip(f"recorded with {recorded_with or 'nothing'}; this is {with_}")
    return 1 if compare(count(program), recorded) else 0


sys.exit(main(*sys.argv[1:]))
