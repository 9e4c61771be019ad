#!/usr/bin/env python3
"""Rewrites the table of figures in a README: report.py README LOGS

LOGS is where record.sh keeps what commands have said; its first line names the commit, the day and the command. A line of
the table whose command has not been run since, or for some of its targets or under a tool only, stays as it was. The table stands between two lines that are comments.

To add a figure: let the Makefile run its command through record.sh, and add a row here."""
import pathlib
import re
import sys

BEGIN, END = "<!-- figures: make fuzz-report -->", "<!-- end of figures -->"
HEAD = ["| what | figure | by | commit, day |", "| --- | --- | --- | --- |"]


def number(text):
    return float(text.replace(",", ""))


def show(value):
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def total(pattern):
    """All numbers that the pattern finds, added up."""
    def figure(text):
        found = re.findall(pattern, text)
        return show(sum(map(number, found))) if found else None
    return figure


def first(pattern):
    """What the pattern finds first."""
    def figure(text):
        found = re.search(pattern, text)
        return show(number(found[1])) if found else None
    return figure


def spread(pattern):
    """The least and the most of what the pattern finds, each with whose it is."""
    def figure(text):
        found = sorted((number(value), name) for name, value in re.findall(pattern, text))
        return " to ".join(f"{show(value)} ({name})" for value, name in (found[0], found[-1])) if found else None
    return figure


def last(pattern):
    """What the pattern finds last, as it stands there."""
    def figure(text):
        found = re.findall(pattern, text)
        return found[-1] if found else None
    return figure


def least(pattern):
    """The last group of what the pattern finds, where that is least."""
    def figure(text):
        found = re.findall(pattern, text)
        return show(min(number(groups[-1]) for groups in found)) if found else None
    return figure


def survivors(text):
    if "mutants of" not in text:
        return None
    return show(sum(len(names.split()) for names in re.findall(r"^survive: (.*)", text, re.M)))


# What, in which logs (the first that has it), and how it is found there.
ROWS = [
    ("programs against the model", ["fuzz-campaign", "fuzz"], total(r"([\d,]+) programs in")),
    ("programs against the model a second", ["fuzz"], first(r"programs in [\d.]+ s \(([\d,]+) a second\)")),
    ("inputs of the other targets", ["fuzz-campaign", "fuzz"], total(r"([\d,]+) inputs in")),
    ("wrong models and canaries found out", ["fuzz"], total(r"(\d+) of \d+ (?:wrong models|canaries) were found out")),
    ("programs on Trio", ["fuzz-trio"], last(r"([\d,]+) programs on Trio")),
    ("inputs under AFL++", ["afl"], total(r"afl\+\+ \S+: ([\d,]+) inputs")),
    ("inputs under AFL++ a second", ["afl"], spread(r"afl\+\+ (\S+): [\d,]+ inputs, ([\d.,]+) a second")),
    ("schedules explored", ["explore"], total(r"([\d,]+) schedules")),
    ("schedules explored a second", ["explore"], least(r"([\d,]+) runs in [\d.]+ s \(([\d,]+) a second\)")),
    ("cancellations injected", ["explore"], total(r"([\d,]+) cancellations injected")),
    ("faults injected into system calls and memory", ["torture"], total(r"([\d,]+) injected faults")),
    ("faults injected into random programs", ["fuzz-campaign", "fuzz"], total(r"([\d,]+) injected faults")),
    ("simulated years in random programs", ["fuzz-campaign", "fuzz"], total(r"([\d,.]+) simulated years")),
    ("simulated years in exploration", ["explore"], total(r"([\d,.]+) simulated years")),
    ("mutants", ["mutants"], last(r"(\d+) mutants of")),
    ("mutants that survive, but for justified ones", ["mutants"], survivors),
    ("lines of src/ that the tests run", ["coverage"], last(r"src/ \(all\) +\d+ +([\d.]+%)")),
    ("branches of src/ that the tests take", ["coverage"], last(r"src/ \(all\) +\d+ +[\d.]+% +\d+ +([\d.]+%)")),
]


def read_log(path):
    """What was said, the command, and when; None if there is no such log, the command failed, or it was not about all."""
    if not path.exists():
        return None
    head, _, text = path.read_text(errors="replace").partition("\n")
    match = re.fullmatch(r"# (\S+) (\S+) (.*)", head)
    if not match or re.search(r" (TARGET|TOOL|SHARE|MUTANT|TORTURE)=", match[3]):
        return None
    return text, match[3], f"{match[1]}, {match[2]}"


def new_row(what, names, figure, logs):
    for name in names:
        log = read_log(logs / name)
        value = figure(log[0]) if log else None
        if value is not None:
            return f"| {what} | {value} | `{log[1]}` | {log[2]} |"
    return None


def main(readme, logs):
    readme, logs = pathlib.Path(readme), pathlib.Path(logs)
    before, begin, rest = readme.read_text().partition(BEGIN)
    table, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{readme}: there is no table between {BEGIN} and {END}")
    old = {line.split("|")[1].strip(): line for line in table.splitlines() if line.startswith("| ")}
    rows = [new_row(what, names, figure, logs) or old.get(what) for what, names, figure in ROWS]
    lines = ["", *HEAD, *filter(None, rows), ""]
    readme.write_text(before + begin + "\n".join(lines) + end + after)
    print(*lines[1:-1], sep="\n")
    missing = [what for (what, _, _), row in zip(ROWS, rows) if not row]
    if missing:
        print("no command has told yet:", ", ".join(missing))


if __name__ == "__main__":
    main(*sys.argv[1:])
