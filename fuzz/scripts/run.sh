#!/usr/bin/env bash
# A short, bounded run of each target: inputs that are kept, what is wrong on purpose and must be found out, and new
# inputs; for those that are not the fuzzer of orders, a tenth as many. That one also runs a tenth of its programs under
# libev, and networks, and some without memory.
#   run.sh BUILD SEED RUNS TARGET...
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
build=$1 seed=$2 runs=$3
shift 3
check_numbers "RUNS=$runs"
check_targets "$@"
out=$build/found
mkdir -p "$out"

# A part of the runs, but one at least: 0 would be without an end.
part() { # OF
    echo $((runs >= $1 ? runs / $1 : 1))
}

for name in "$@"; do
    fuzzer=$(program_of "$build" "$name")
    mapfile -t kept < <(kept_of "$name")
    [[ $name == orders ]] && share=$runs || share=$(part 10)

    "$fuzzer" --check "${kept[@]}" || exit 1
    "$fuzzer" --canaries --seed "$seed" || exit 1
    "$fuzzer" --campaign --seed "$seed" --runs "$share" --out "$out" || exit 1
    [[ $name == orders ]] || continue
    "$fuzzer" --hybrid --check "${kept[@]}" || exit 1
    "$fuzzer" --hybrid --campaign --seed "$seed" --runs "$(part 10)" --out "$out" || exit 1
    "$fuzzer" --networks --seed "$seed" --runs "$(part 500)" || exit 1
    "$fuzzer" --faults --check "${kept[@]}" || exit 1
    "$fuzzer" --faults --campaign --seed "$seed" --runs "$(part 200)" --out "$out" || exit 1
done
