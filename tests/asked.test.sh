#!/usr/bin/env bash
# What the fuzzers, their scripts and the benchmarks are asked for is looked at before anything is begun, and what they say in
# the end is a verdict.
set -u
cd "$(dirname "$0")/.." || exit 1

failures=0
fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

refuses() { # TEXT COMMAND...
    local said status
    said=$("${@:2}" 2>&1)
    status=$?
    [[ $status == 2 && $said == *"$1"* && $(wc -l <<<"$said") == 1 ]] || fail "${*:2}: gives $status: $said"
}

nowhere=$(mktemp -d)
trap 'rm -rf "$nowhere"' EXIT

for script in libfuzzer afl campaign; do
    refuses "there is no target 'nope'; there are: orders address" fuzz/scripts/$script.sh "$nowhere" 1 1 token nope
    refuses "TIME=abc: a whole number" fuzz/scripts/$script.sh "$nowhere" abc 1 token
    refuses "TIME=0: a whole number" fuzz/scripts/$script.sh "$nowhere" 0 1 token
    refuses "JOBS=-1: a whole number" fuzz/scripts/$script.sh "$nowhere" 1 -1 token
done
refuses "there is no target 'common'" fuzz/scripts/run.sh "$nowhere" 1 100 common
refuses "RUNS=010: a whole number" fuzz/scripts/run.sh "$nowhere" 1 010 token
refuses "RUNS=: a whole number" fuzz/scripts/run.sh "$nowhere" 1 '' token
refuses "no target; there are: orders" fuzz/scripts/asked.sh RUNS=1 --
refuses "there is no target 'to*'" fuzz/scripts/asked.sh RUNS=1 -- 'to*'
fuzz/scripts/asked.sh RUNS=1 TIME=60 JOBS=2 -- orders token || fail "what is well is refused"

# Few runs are some, but not without an end.
for name in fuzzer fuzz-token; do
    printf '#!/bin/sh\necho "$@" >>"%s"\n' "$nowhere/asked" >"$nowhere/$name"
    chmod +x "$nowhere/$name"
done
fuzz/scripts/run.sh "$nowhere" 1 5 orders token || fail "run.sh gives $?"
grep -q -- '--networks --seed 1 --runs 1$' "$nowhere/asked" || fail "no networks were run"
! grep -q -- '--runs 0' "$nowhere/asked" || fail "runs without an end"

# A replay ends with a verdict. What is there needs not be made.
mkdir "$nowhere/bin"
printf '#!/bin/sh\n' >"$nowhere/bin/make"
printf '#!/bin/sh\necho a story\nexit "$(cat "$1")"\n' >"$nowhere/fuzzer"
chmod +x "$nowhere/bin/make"
replays() { # STATUS LAST-LINE
    local said status
    echo "$1" >"$nowhere/input"
    said=$(PATH=$nowhere/bin:$PATH BUILD=$nowhere TARGET=orders fuzz/scripts/replay.sh "$nowhere/input" 2>&1)
    status=$?
    [[ $status == "$1" && $(tail -n 1 <<<"$said") == "$2" ]] || fail "a replay with status $1 gives $status: $said"
}
replays 0 "as expected"
replays 1 "not as expected"
replays 134 "not as expected"
replays 2 "a story" # it could not be read

# So does a mutant that is named, and it says of which class it is.
mkdir "$nowhere/mutants"
printf '#!/bin/sh\n[ "$OSR_MUTANT" != one ] || { echo "program 3 of seed 1: it differs"; exit 1; }\n' >"$nowhere/mutants/fuzzer"
chmod +x "$nowhere/mutants/fuzzer"
printf '%s\n' 'one [time] a.c' '    - {{a}}' '    + b' 'two [queues] a.c' '    - {{a}}' '    + b' \
    'three [time] a.c' '    - {{a}}' '    + b' '    same: nobody sees it' >"$nowhere/list"
mutant() { # NAME STATUS LAST-LINE
    local said status
    said=$(fuzz/mutants/run.py "$nowhere/list" "$nowhere/mutants" "$1" 2>&1)
    status=$?
    [[ $status == "$2" && $(tail -n 1 <<<"$said") == "$3" ]] || fail "mutant $1 gives $status: $said"
}
mutant one 0 "one, of class time: killed by 1 of 1 programs"
mutant two 1 "two, of class queues: SURVIVES: nothing has found it out"
mutant three 0 "three, of class time: survives, as one that nobody can tell from the original"

# A fuzzer that is asked nothing, or what it does not know, says how it is used; and what it finds it writes beside itself.
mkdir "$nowhere/programs" "$nowhere/elsewhere"
compile() { # PROGRAM FILE...
    local how=()
    [[ ${CONTEXT:-} != ucontext ]] || how=(-DOSR_CONTEXT_UCONTEXT)
    "${CC:-gcc}" "${how[@]}" -std=gnu11 -D_GNU_SOURCE -pthread -Iinclude -Isrc -Ifuzz -o "$nowhere/programs/$1" "${@:2}" "$BUILD/libosier-test.a" \
        "$BUILD/libosier.a" -lev -lm || fail "$1 cannot be compiled"
}
mapfile -t of_orders < <(find fuzz fuzz/model fuzz/interpreter -maxdepth 1 -name '*.c' ! -name entry.c ! -name explore.c)
compile fuzzer "${of_orders[@]}"
compile fuzz-token fuzz/targets/{driver,token,common,actors}.c fuzz/blocks.c fuzz/keep.c
says() { # STATUS FIRST-LINE COMMAND...
    local said status
    said=$("${@:3}" 2>&1)
    status=$?
    [[ $status == "$1" && $(head -n 1 <<<"$said") == $2 ]] || fail "${*:3}: gives $status: $said"
}
for name in fuzzer fuzz-token; do
    says 2 "usage: $name *" "$nowhere/programs/$name"
    says 0 "usage: $name *" "$nowhere/programs/$name" --help
    says 2 "*: what is --nope?" "$nowhere/programs/$name" --nope
done
(cd "$nowhere/elsewhere" && "$nowhere/programs/fuzzer" --wrong 1 --campaign --runs 100000) >"$nowhere/said" 2>&1 &&
    fail "a wrong model is not found out"
[[ -z $(ls "$nowhere/elsewhere") && -n $(ls "$nowhere/programs/found" 2>&1 | grep '^found-') ]] ||
    fail "what was found is not beside the fuzzer: $(cat "$nowhere/said")"

# Benchmarks of which there are none are no empty table.
compile bench -Itests tests/bench/*.c
says 2 "bench: no workload has 'nosuch' in the name of a row*" "$nowhere/programs/bench" 1 nosuch
says 2 "usage: *" "$nowhere/programs/bench" often

# Figures are those of all targets.
readme=$nowhere/README.md
mkdir "$nowhere/logs"
printf '%s\n' '<!-- figures: make fuzz-report -->' '<!-- end of figures -->' >"$readme"
for called in 'make afl TIME=1 TARGET="token"' 'make afl TIME=1 TOOL=asan'; do
    printf '%s\n' "# abc 2026-01-02 $called" 'afl++ token: 55 inputs' >"$nowhere/logs/afl"
    fuzz/scripts/report.py "$readme" "$nowhere/logs" >"$nowhere/said" || fail "report.py gives $?"
    ! grep -q 55 "$readme" || fail "$called has made a figure"
done
printf '%s\n' '# abc 2026-01-02 make afl TIME=1' 'afl++ token: 55 inputs, 11.0 a second' >"$nowhere/logs/afl"
fuzz/scripts/report.py "$readme" "$nowhere/logs" >"$nowhere/said" || fail "report.py gives $?"
grep -q '| inputs under AFL++ | 55 |' "$readme" || fail "all targets have made no figure"
grep -q '| inputs under AFL++ a second | 11 (token) to 11 (token) |' "$readme" || fail "nor how fast they are"

[ "$failures" = 0 ]
