#!/usr/bin/env bash
# What the fuzzers' scripts are asked for is looked at before anything is begun: one line says what is wrong.
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
    refuses "there is no target 'nope'; there are: orders address" fuzz/$script.sh "$nowhere" 1 1 token nope
    refuses "TIME=abc: a whole number" fuzz/$script.sh "$nowhere" abc 1 token
    refuses "TIME=0: a whole number" fuzz/$script.sh "$nowhere" 0 1 token
    refuses "JOBS=-1: a whole number" fuzz/$script.sh "$nowhere" 1 -1 token
done
refuses "there is no target 'common'" fuzz/run.sh "$nowhere" 1 100 common
refuses "RUNS=010: a whole number" fuzz/run.sh "$nowhere" 1 010 token
refuses "RUNS=: a whole number" fuzz/run.sh "$nowhere" 1 '' token
refuses "no target; there are: orders" fuzz/asked.sh RUNS=1 --
refuses "there is no target 'to*'" fuzz/asked.sh RUNS=1 -- 'to*'
fuzz/asked.sh RUNS=1 TIME=60 JOBS=2 -- orders token || fail "what is well is refused"

# Few runs are some, but not without an end.
for name in fuzzer fuzz-token; do
    printf '#!/bin/sh\necho "$@" >>"%s"\n' "$nowhere/asked" >"$nowhere/$name"
    chmod +x "$nowhere/$name"
done
fuzz/run.sh "$nowhere" 1 5 orders token || fail "run.sh gives $?"
grep -q -- '--networks --seed 1 --runs 1$' "$nowhere/asked" || fail "no networks were run"
! grep -q -- '--runs 0' "$nowhere/asked" || fail "runs without an end"

# Figures are those of all targets.
readme=$nowhere/README.md
mkdir "$nowhere/logs"
printf '%s\n' '<!-- figures: make fuzz-report -->' '<!-- end of figures -->' >"$readme"
for called in 'make afl TIME=1 TARGET="token"' 'make afl TIME=1 TOOL=asan'; do
    printf '%s\n' "# abc 2026-01-02 $called" 'afl++ token: 55 inputs' >"$nowhere/logs/afl"
    fuzz/report.py "$readme" "$nowhere/logs" >"$nowhere/said" || fail "report.py gives $?"
    ! grep -q 55 "$readme" || fail "$called has made a figure"
done
printf '%s\n' '# abc 2026-01-02 make afl TIME=1' 'afl++ token: 55 inputs, 11.0 a second' >"$nowhere/logs/afl"
fuzz/report.py "$readme" "$nowhere/logs" >"$nowhere/said" || fail "report.py gives $?"
grep -q '| inputs under AFL++ | 55 |' "$readme" || fail "all targets have made no figure"
grep -q '| inputs under AFL++ a second | 11 (token) to 11 (token) |' "$readme" || fail "nor how fast they are"

[ "$failures" = 0 ]
