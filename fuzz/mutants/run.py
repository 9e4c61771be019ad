#!/usr/bin/env python3
"""Has the fuzzer and the tests find the mutants out: run.py LIST DIRECTORY [NAME...].

DIRECTORY holds the programs, linked to the library with all mutants in it. Without a mutant all of them must succeed;
then each mutant is tried with one after the other until one fails. Succeeds if exactly those survive that the list
says nobody can tell from the original. With names: only those mutants, which of all programs kill each, its class, and
whether that is as the list says.

From the environment: JOBS (2), SEED (1) and RUNS (20000), for the fuzzer; SLICE=k/n tries only each n-th mutant."""
import concurrent.futures
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import mutants as descriptions

JOBS = int(os.environ.get("JOBS") or 2)
SEED = os.environ.get("SEED") or "1"
RUNS = os.environ.get("RUNS") or "20000"
SLICE = os.environ.get("SLICE") or "0/1"
SHORTEST_LIMIT, TIMES_USUAL = 2.0, 4.0  # seconds; how much longer than usual a program may say nothing
BUSY = 0.7  # seconds of a processor that it may take meanwhile, and
IDLE = 0.5  # seconds for which it may do nothing at all either, if it usually does not wait so long
QUICK = 1.0  # what those that cannot be told from the original need not live through takes longer
FUZZER = "fuzzer"


def is_fuzzer(name):
    """The fuzzer of orders, or another target."""
    return name == FUZZER or name.startswith("fuzz-")


class Program:
    """A program, or one test of it alone: "test_fd/a_name"."""

    def __init__(self, directory, name):
        self.name, self.usual, self.silence = name, 0.0, 60.0 / TIMES_USUAL
        name, _, test = name.partition("/")
        self.command, self.environment = [str(directory / name)], {"OSR_TEST": test} if test else {}
        if is_fuzzer(name):
            self.command += ["--campaign", "--seed", SEED, "--runs", RUNS, "--out", str(directory / "found")]

    def gives_up(self, said):
        """Whether what it has said so far means failure: no need to wait for its end."""
        return b"program " in said or b"written: " in said if is_fuzzer(self.name) else b"[  ERROR   ]" in said

    def run(self, mutant):
        """What was wrong ("" for nothing), what it has said, and for how long it was silent at most."""
        limit, busy_limit = (max(least, self.silence * TIMES_USUAL) for least in (SHORTEST_LIMIT, BUSY))
        idle_limit = max(IDLE, self.silence * 2)
        heard, silence, said, wrong = time.monotonic(), 0.0, b"", None
        busy, used = heard, 0.0
        process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, start_new_session=True,
                                   env=dict(os.environ, **self.environment, OSR_MUTANT=mutant))
        os.set_blocking(process.stdout.fileno(), False)
        while wrong is None:
            status = process.poll()
            more, now = process.stdout.read(), time.monotonic()
            silence = max(silence, now - heard)
            if more:
                said, heard = said + more, now
            if more or not is_idle(process.pid):
                busy = now
            if more:
                used = seconds_used(process.pid)
            if self.gives_up(said):
                wrong = "fails"
            elif status is not None:
                wrong = "" if status == 0 else f"exit {status}" if status > 0 else name_of(-status)
            elif now - heard > limit or now - busy > idle_limit or seconds_used(process.pid) - used > busy_limit:
                wrong = "hangs"
            else:
                time.sleep(0.002)
        end(process)
        return wrong, said.decode(errors="replace"), silence


def name_of(number):
    """Of a signal; those for real time have none."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def is_idle(pid):
    """Whether it waits, and so do all that it has started."""
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        states = [(task / "stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0] for task in tasks]
        children = [child for task in tasks for child in (task / "children").read_text(encoding="ascii").split()]
    except (OSError, IndexError):
        return False
    return all(state == "S" for state in states) and all(is_idle(child) for child in children)


def seconds_used(pid):
    """Of a processor, by the program itself."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end(process):
    """With all that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    process.stdout.close()


class Trial:
    """What became of one mutant."""

    def __init__(self, mutant):
        self.mutant, self.killer, self.how, self.runs, self.seconds = mutant, "", "", 0, 0.0


def try_mutant(mutant, programs):
    trial, began = Trial(mutant), time.monotonic()
    for program in in_order(mutant, programs):
        trial.runs += 1
        wrong, said, _ = program.run(mutant.name)
        if wrong and not is_fuzzer(program.name) and program.name[5:] not in mutant.first:
            wrong, said, _ = program.run(mutant.name)  # nobody expected that: once more
        if wrong:
            trial.killer, trial.how = program.name, how(program, wrong, said)
            break
    trial.seconds = time.monotonic() - began
    return trial


def names_of_first(mutant):
    return [name if is_fuzzer(name) else "test_" + name for name in mutant.first]


def is_whole(program):
    return "/" not in program.name


def in_order(mutant, programs):
    named = {program.name: program for program in programs}
    names = names_of_first(mutant)
    for name in names:
        if name not in named:
            raise descriptions.Misfit(f"mutant {mutant.name}: there is no program {name}")
    others = [p for p in programs if p.name not in names and is_whole(p) and (not mutant.same or p.usual <= QUICK)]
    return [named[name] for name in names] + sorted(others, key=lambda p: (p.name != FUZZER, p.usual))


def how(program, wrong, said):
    """In a few words: after how many programs of the fuzzer's, or in which test."""
    test = ""
    for line in said.splitlines():
        words = line.split()
        if program.name == FUZZER and line.startswith("program "):
            return f"program {words[1]}"
        if line.startswith("[ RUN      ] "):
            test = words[3]
        elif "[  ERROR   ]" in line:
            return test
    return f"{wrong} in {test}" if test else wrong


def measure(programs, pool):
    """Without a mutant, all must succeed; the times say who is asked first."""
    def once(program):
        began = time.monotonic()
        wrong, said, program.silence = program.run("")
        program.usual = time.monotonic() - began
        if not is_whole(program) and "Running 1 test" not in said:
            wrong = wrong or "there is no such test"
        return f"{program.name}: {wrong}\n{said}" if wrong else ""

    wrong = [text for text in pool.map(once, programs) if text]
    if wrong:
        sys.exit("fuzz/mutants: without a mutant, too:\n" + "\n".join(wrong))


def print_table(trials):
    width = max(len(trial.mutant.name) for trial in trials)
    kinds = max(len(trial.mutant.kind) for trial in trials)
    print(f"{'mutant':{width}}  {'class':{kinds}}  {'killed by':18} {'in':42} programs  seconds")
    for trial in trials:
        killer = trial.killer or ("- (justified)" if trial.mutant.same else "NOBODY")
        print(f"{trial.mutant.name:{width}}  {trial.mutant.kind:{kinds}}  {killer.partition('/')[0]:18} {trial.how[:42]:42} "
              f"{trial.runs:8}  {trial.seconds:7.2f}")


def sum_up(trials, seconds):
    killed = [trial for trial in trials if trial.killer]
    alive = [trial.mutant.name for trial in trials if not trial.killer and not trial.mutant.same]
    wrongly = [trial.mutant.name for trial in killed if trial.mutant.same]
    fuzzed = sum(is_fuzzer(trial.killer) for trial in killed)
    quick = sum(trial.seconds <= 1 for trial in killed)
    classes = len({trial.mutant.kind for trial in trials})
    print(f"{len(trials)} mutants of {classes} classes: {len(killed)} killed, {fuzzed} of them by fuzzers, "
          f"{100 * quick // max(1, len(killed))} % within 1 s; {sum(bool(t.mutant.same) for t in trials)} justified; "
          f"{seconds:.0f} s, {processor_seconds():.0f} s of a processor")
    if alive:
        print("survive:", *alive)
    if wrongly:
        print("justified, but killed:", *wrongly)
    return 1 if alive or wrongly else 0


def processor_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_slice(mutant):
    which, of = (int(text, 0) for text in SLICE.split("/"))
    return mutant.number % of == which % of


def show_killers(mutants, programs, pool):
    """Gives the status: 1 if one of them lives, or does not though nobody should be able to tell."""
    status = 0
    for mutant in mutants:
        killers = 0
        for program, (wrong, said, _) in zip(programs, pool.map(lambda p: p.run(mutant.name), programs)):
            if wrong:
                killers += 1
                print(f"{mutant.name:32} {program.name:18} {program.usual:6.2f} s  {how(program, wrong, said)}")
        verdict, as_listed = verdict_on(mutant, killers, len(programs))
        print(f"{mutant.name}, of class {mutant.kind}: {verdict}")
        status |= not as_listed
    return int(status)


def verdict_on(mutant, killers, programs):
    """In words, and whether that is as it should be."""
    if killers:
        said = f"killed by {killers} of {programs} programs"
        return said + (", but it is listed as one that nobody can tell from the original" if mutant.same else ""), not mutant.same
    if mutant.same:
        return "survives, as one that nobody can tell from the original", True
    return "SURVIVES: nothing has found it out", False


def main(listed, directory, *names):
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # a shell may have them ignored, and tests look
    began, directory = time.monotonic(), pathlib.Path(directory)
    (directory / "found").mkdir(exist_ok=True)
    mutants = descriptions.read(listed)
    unknown = set(names) - {mutant.name for mutant in mutants}
    if unknown:
        sys.exit(f"fuzz/mutants: there is no mutant {' '.join(unknown)}")
    programs = [Program(directory, path.name) for path in sorted(directory.iterdir())
                if (is_fuzzer(path.name) and not path.suffix) or (path.name.startswith("test_") and not path.suffix)]
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        if names:
            measure(programs, pool)
            return show_killers([mutant for mutant in mutants if mutant.name in names], programs, pool)
        alone = {name for mutant in mutants for name in names_of_first(mutant) if "/" in name}
        programs += [Program(directory, name) for name in sorted(alone)]
        measure(programs, pool)
        # Those that live through all programs first, so that nobody waits for them alone in the end.
        ordered = sorted(filter(in_slice, mutants), key=lambda mutant: not mutant.same)
        trials = list(pool.map(lambda mutant: try_mutant(mutant, programs), ordered))
    trials.sort(key=lambda trial: trial.mutant.line)
    print_table(trials)
    return sum_up(trials, time.monotonic() - began)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except descriptions.Misfit as misfit:
        sys.exit(f"fuzz/mutants: {misfit}")
