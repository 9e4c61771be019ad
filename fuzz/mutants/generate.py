#!/usr/bin/env python3
"""Copies the sources with all mutants in them: generate.py LIST SRC OUT.

Each place chooses by a number, that of the mutant which the environment asks for: OUT/src is like SRC, OUT/mutant.h
comes before every source, OUT/mutant.c reads the environment. Files that are as before are left alone. A mutant that
no longer fits its source is named, and the build fails."""
import pathlib
import re
import sys

import mutants as descriptions
from mutants import Misfit

HEADER = """/* Made by fuzz/mutants/generate.py. */
extern unsigned osri_mutant;
"""

PROGRAM = """/* Made by fuzz/mutants/generate.py. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned osri_mutant;

static const struct {
    const char *name;
    unsigned number;
} mutants[] = {
%s};

__attribute__((constructor(101))) static void choose_mutant(void)
{
    const char *name = getenv("OSR_MUTANT");
    size_t i;

    if (!name)
        return;
    setvbuf(stdout, NULL, _IOLBF, 0); /* so that it is known in which test the program fails */
    for (i = 0; i < sizeof(mutants) / sizeof(mutants[0]); i++)
        if (strcmp(name, mutants[i].name) == 0) {
            osri_mutant = mutants[i].number;
            return;
        }
    if (!*name)
        return;
    fprintf(stderr, "OSR_MUTANT: there is no mutant %%s\\n", name);
    abort();
}
"""


def pattern_of(text):
    """White space in the description stands for any in the source."""
    return r"\s*".join(re.escape(word) for word in text.split())


def find(mutant, original, source):
    """Where in the source the mutated part stands: from, to."""
    before, marked, after = re.fullmatch(r"(.*?)\{\{(.*?)\}\}(.*)", original, re.S).groups() \
        if "{{" in original else ("", original, "")
    spaces = r"\s*" if before.strip() else ""
    pattern = pattern_of(before) + spaces + "(?P<marked>" + pattern_of(marked) + ")" + r"\s*" + pattern_of(after)
    found = list(re.finditer(pattern, source))
    if len(found) != 1:
        raise Misfit(f"mutant {mutant.name}: its text stands {len(found)} times in {mutant.file}, and not once:\n"
                     f"{original.rstrip()}")
    return found[0].span("marked")


def choose(number, original, mutated):
    if not original or original[-1] in ";}":
        return f"{{ if (osri_mutant == {number}u) {{ {mutated} }} else {{ {original} }} }}"
    return f"(osri_mutant == {number}u ? ({mutated}) : ({original}))"


def render(source, start, end, edits):
    """The source from `start` to `end`; edits are sorted, the outer ones first, and either nested or apart."""
    out, at = [], start
    while edits:
        first, last, number, mutated, name = edits[0]
        inner = [edit for edit in edits[1:] if edit[0] < last or (edit[0], edit[1]) == (first, last)]
        for edit in inner:
            if edit[1] > last:
                raise Misfit(f"mutants {name} and {edit[4]} overlap")
        out.append(source[at:first])
        out.append(choose(number, render(source, first, last, inner), mutated))
        edits, at = edits[1 + len(inner):], last
    out.append(source[at:end])
    return "".join(out)


def write(path, text):
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main(listed, src, out):
    src, out = pathlib.Path(src), pathlib.Path(out)
    mutants, misfits, edits = descriptions.read(listed), [], {}
    for mutant in mutants:
        for original, mutated in mutant.places:
            try:
                start, end = find(mutant, original, (src / mutant.file).read_text(encoding="utf-8"))
                edits.setdefault(mutant.file, []).append((start, end, mutant.number, mutated.strip(), mutant.name))
            except (OSError, Misfit) as misfit:
                misfits.append(str(misfit))
    if misfits:
        raise Misfit("\n".join(misfits))
    for path in sorted(src.glob("*/*.[chS]")):
        name = path.relative_to(src).as_posix()
        source = path.read_text(encoding="utf-8")
        here = sorted(edits.get(name, []), key=lambda edit: (edit[0], edit[0] < edit[1], -edit[1]))
        write(out / "src" / name, render(source, 0, len(source), here))
    write(out / "mutant.h", HEADER)
    write(out / "mutant.c", PROGRAM % "".join(f'    {{"{m.name}", {m.number}u}},\n' for m in mutants))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Misfit as misfit:
        sys.exit(f"fuzz/mutants: {misfit}")
