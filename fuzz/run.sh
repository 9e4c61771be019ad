#!/usr/bin/env bash
# A short, bounded run of the fuzzer: inputs that are kept, wrong models that must be found out, and new programs, a tenth
# of them under libev too, and networks.
#   run.sh FUZZER SEED RUNS
set -u
shopt -s nullglob # there may be no corpus
cd "$(dirname "$0")/.." || exit 1
fuzzer=$1 seed=$2 runs=$3
out=$(dirname "$fuzzer")/found
mkdir -p "$out"

"$fuzzer" --hybrid --check fuzz/corpus/* fuzz/regressions/* || exit 1
"$fuzzer" --canaries --seed "$seed" || exit 1
"$fuzzer" --campaign --seed "$seed" --runs "$runs" --out "$out" || exit 1
"$fuzzer" --hybrid --campaign --seed "$seed" --runs $((runs / 10)) --out "$out" || exit 1
"$fuzzer" --networks --seed "$seed" --runs $((runs / 500)) || exit 1
"$fuzzer" --faults --check fuzz/corpus/* fuzz/regressions/* || exit 1
"$fuzzer" --faults --campaign --seed "$seed" --runs $((runs / 200)) --out "$out"
