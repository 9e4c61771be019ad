"""The list of mutants, and what the list says of each. See README.md."""
import re
import zlib


class Mutant:
    def __init__(self, name, kind, file, line):
        self.name, self.kind, self.file, self.line = name, kind, file, line
        self.number = zlib.crc32(name.encode()) | 1  # of the name, so that others do not change with the list
        self.places = []  # [original, mutated]
        self.first = []  # programs that are tried before the others
        self.same = ""  # why it changes nothing that anybody can see


class Misfit(Exception):
    pass


def read(path):
    mutants, pair_open = [], False
    for number, line in enumerate(open(path, encoding="utf-8"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if not line[0].isspace():
            head = re.fullmatch(r"(\S+) \[(.+)\] (\S+)", text)
            if not head:
                raise Misfit(f"{path}:{number}: not 'name [class] file'")
            mutants.append(Mutant(*head.groups(), number))
            pair_open = False
        elif text[0] == "-":
            if not pair_open:
                mutants[-1].places.append(["", None])
            mutants[-1].places[-1][0] += text[1:].strip() + "\n"
            pair_open = True
        elif text[0] == "+":
            place = mutants[-1].places[-1]
            place[1] = (place[1] or "") + text[1:].strip() + "\n"
            pair_open = False
        elif text.startswith("first:"):
            mutants[-1].first = text[6:].split()
        elif text.startswith("same:") or mutants[-1].same:
            mutants[-1].same += text.removeprefix("same:").strip() + " "
        else:
            raise Misfit(f"{path}:{number}: what is this?")
    check(path, mutants)
    return mutants


def check(path, mutants):
    for key in "name", "number":
        seen = set()
        for mutant in mutants:
            if getattr(mutant, key) in seen:
                raise Misfit(f"{path}:{mutant.line}: mutant {mutant.name}: there is another one of this {key}")
            seen.add(getattr(mutant, key))
    for mutant in mutants:
        if not mutant.places or any(place[1] is None for place in mutant.places):
            raise Misfit(f"{path}:{mutant.line}: mutant {mutant.name}: '-' and '+' are missing")
