#!/usr/bin/env bash
# libFuzzer on each target in turn, begun with what is kept: libfuzzer.sh BUILD SECONDS JOBS TARGET...
# What is new goes to BUILD/corpus/TARGET, what is found to BUILD/found. With several JOBS, libFuzzer forks and merges by
# itself, and goes on after a finding.
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
build=$1 seconds=$2 jobs=$3 failed=0
shift 3
check_numbers "TIME=$seconds" "JOBS=$jobs"
check_targets "$@"
mkdir -p "$build/found"

for name in "$@"; do
    options=(-max_total_time="$seconds" -max_len=400 -entropic=0 -print_final_stats=1 -artifact_prefix="$build/found/$name-")
    dictionary=$(dictionary_of "$name")
    [[ -n $dictionary ]] && options+=(-dict="$dictionary")
    ((jobs > 1)) && options+=(-fork="$jobs" -ignore_crashes=1)
    kept=()
    for directory in "$(corpus_of "$name")" "$(regressions_of "$name")"; do
        [[ -d $directory ]] && kept+=("$directory")
    done

    mkdir -p "$build/corpus/$name"
    touch "$build/started"
    "$build/entry-$name" "${options[@]}" "$build/corpus/$name" "${kept[@]}" || failed=1
    # Forking, it says nothing in its exit status.
    [[ -z $(find "$build/found" -name "$name-*" -newer "$build/started") ]] || failed=1
done
((failed == 0)) || echo "libfuzzer: see $build/found" >&2
exit "$failed"
