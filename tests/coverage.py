#!/usr/bin/env python3
"""The verdict of `make coverage`: coverage.py COLLECTED LIST. The first is what gcovr has collected (--json), the second
uncovered.txt, which says what need not run and why. Gives 1 if something else did not run, or the list is not true."""
import json
import os
import re
import sys

ENTRY = re.compile(r"(?P<file>\S+) (?P<function>[\w*]+): (?P<code>.*?)(?: \[(?P<what>[^]]*)\])?$")


class Entry:
    """A place that need not run: a line of a function, found by a piece of its text. `branches` of it, 1 if nothing is
    said, are never taken, and `lines` from it on never run; `*` is all of a function."""

    def __init__(self, text, reason, number):
        found = ENTRY.match(text)
        if not found:
            sys.exit(f"coverage: line {number} of the list cannot be read: {text}")
        self.text, self.reason, self.number = text, reason, number
        self.file, self.function, self.code = found["file"], found["function"], found["code"]
        self.sometimes = reason.startswith("Sometimes")
        what = dict(reversed(part.split(" ", 1)) for part in re.split(", *", found["what"] or "1 branch"))
        self.branches = int(what.get("branches", what.get("branch", 0)))
        self.lines = int(what.get("lines", what.get("line", 0)))
        self.found = False
        self.branches_excluded = self.lines_excluded = 0


def read_list(path):
    """Paragraphs: the reason in words, and below it, indented, the places."""
    entries, reason, places = [], "", False
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.startswith("#"):
                continue
            if line.startswith("    "):
                entries.append(Entry(line.strip(), reason, number))
                places = True
            elif line.strip():
                reason = line.strip() if places or not reason else f"{reason} {line.strip()}"
                places = False
            else:
                reason, places = "", False
    return entries


class Source:
    """A file: its lines that are code, and which function each is in."""

    def __init__(self, collected):
        self.name = collected["file"]
        with open(self.name, encoding="utf-8") as file:
            self.text = file.read().split("\n")
        self.lines = [line for line in sorted(collected["lines"], key=lambda line: line["line_number"])
                      if not line.get("gcovr/noncode") and not line.get("gcovr/excluded")]
        functions = sorted((f["lineno"], f["name"]) for f in collected.get("functions", []))
        for line in self.lines:
            line["missed"] = sum(branch["count"] == 0 for branch in line.get("branches", []))
            line["function"] = next((name for at, name in reversed(functions) if at <= line["line_number"]), "")
            line["code"] = self.text[line["line_number"] - 1].strip()
            line["branches_excused"], line["excused"] = 0, False


def excuse_function(source, entry):
    for line in source.lines:
        if line["function"] != entry.function:
            continue
        entry.found = True
        entry.lines_excluded += line["count"] == 0 and not line["excused"]
        entry.branches_excluded += line["missed"] - line["branches_excused"]
        line["excused"], line["branches_excused"] = line["count"] == 0, line["missed"]


def excuse_line(source, entry):
    for at, line in enumerate(source.lines):
        if line["function"] != entry.function or entry.code not in line["code"]:
            continue
        entry.found = True
        if line["excused"] or line["missed"] == line["branches_excused"] and line["count"]:
            continue  # it has run, or has an entry of its own; there may be another one with the same text
        if line["missed"] and line["count"]:
            line["branches_excused"] = entry.branches_excluded = min(entry.branches, line["missed"])
        not_run = [other for other in source.lines[at:] if other["count"] == 0 and other["function"] == line["function"]]
        for other in not_run[:entry.lines]:
            other["excused"], other["branches_excused"] = True, other["missed"]
            entry.lines_excluded += 1
            entry.branches_excluded += other["missed"]
        return


def excuse(sources, entry):
    source = sources.get(entry.file)
    if source:
        (excuse_function if entry.code == "*" else excuse_line)(source, entry)


def stale(entry):
    """What of the entry is not so, or not any more."""
    if not entry.found:
        return "there is no such place"
    if entry.sometimes:
        return None
    if entry.code == "*":
        return None if entry.lines_excluded else "it has run"
    if entry.lines_excluded < entry.lines:
        return f"only {entry.lines_excluded} lines have not run"
    if entry.branches_excluded < entry.branches:
        return f"only {entry.branches_excluded} branches have not been taken"
    return None


def show_excluded(entries):
    reasons = {}
    for entry in entries:
        reasons.setdefault(entry.reason, []).append(entry)
    print("\nExcluded, and why:")
    for reason, places in reasons.items():
        lines, branches = sum(e.lines_excluded for e in places), sum(e.branches_excluded for e in places)
        print(f"{lines:5d} lines {branches:4d} branches  {reason}")
    return len(reasons)


def percent(part, whole):
    return f"{100 * part / whole:.2f} %" if whole else "-"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        sources = {f["file"]: Source(f) for f in json.load(file)["files"] if os.path.exists(f["file"])}
    entries = read_list(sys.argv[2])
    for entry in entries:
        excuse(sources, entry)

    reasons = show_excluded(entries)
    wrong = 0
    for source in sources.values():
        for line in source.lines:
            place = f"{source.name}:{line['line_number']}: {line['function']}()"
            if line["count"] == 0 and not line["excused"]:
                print(f"not run: {place}: {line['code']}")
                wrong += 1
            elif line["missed"] > line["branches_excused"]:
                print(f"{line['missed'] - line['branches_excused']} of {len(line['branches'])} branches not taken: "
                      f"{place}: {line['code']}")
                wrong += 1
    untrue = 0
    for entry in entries:
        if stale(entry):
            print(f"{sys.argv[2]}:{entry.number}: {stale(entry)}: {entry.text}")
            untrue += 1

    lines = [line for source in sources.values() for line in source.lines]
    run = sum(line["count"] > 0 for line in lines)
    branches = sum(len(line.get("branches", [])) for line in lines)
    taken = branches - sum(line["missed"] for line in lines)
    lines_excluded = sum(e.lines_excluded for e in entries)
    branches_excluded = sum(e.branches_excluded for e in entries)
    print(f"\nlines {percent(run, len(lines))} ({run} of {len(lines)}), branches {percent(taken, branches)} "
          f"({taken} of {branches}); excluded {lines_excluded} lines and {branches_excluded} branches, for {reasons} "
          f"reasons; so lines {percent(run + lines_excluded, len(lines))}, "
          f"branches {percent(taken + branches_excluded, branches)}")
    print(f"coverage: {'all that is not excluded has run' if not wrong else f'{wrong} lines are not as they should be'}"
          f"{f', and {untrue} entries of the list are not true' if untrue else ''}")
    return 1 if wrong or untrue else 0


sys.exit(main())
