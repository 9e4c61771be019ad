#!/usr/bin/env bash
# AFL++ on each target in turn, in persistent mode, begun with what is kept: afl.sh BUILD SECONDS JOBS TARGET...
# With several JOBS, the first one is the main fuzzer (-M), the others are secondary ones (-S), which exchange what they
# find; so they do with other machines whose directories are copied beside theirs. Fails if something is found, or if an
# input does not do the same each time.
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
build=$1 seconds=$2 jobs=$3 failed=0
shift 3
check_numbers "TIME=$seconds" "JOBS=$jobs"
check_targets "$@"
export AFL_NO_UI=1 AFL_SKIP_CPUFREQ=1 AFL_NO_AFFINITY=1 AFL_AUTORESUME=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1

start() { # NAME ROLE...
    local name=$1 options=(-i "$build/seeds/$1" -o "$build/found/$1" -V "$seconds" -G 400)
    local dictionary
    shift
    dictionary=$(dictionary_of "$name")
    [[ -n $dictionary ]] && options+=(-x "$dictionary")
    # The fuzzer and its target wait for each other: on one core they are four times as fast as on two.
    taskset -c $((${#pids[@]} % $(nproc))) afl-fuzz "${options[@]}" "$@" -- "$build/entry-$name" >"$build/$name-$2.log" 2>&1 &
    pids+=($!)
}

tell() { # NAME: of each of its fuzzers
    local stats found stability
    for stats in "$build/found/$1"/{main,second*}/fuzzer_stats; do
        [[ -e $stats ]] || continue
        found=$(sed -n 's/^saved_crashes *: //p' "$stats")
        stability=$(sed -n 's/^stability *: //p' "$stats")
        echo "afl++ $1: $(sed -n 's/^execs_done *: //p' "$stats") inputs," \
            "$(sed -n 's/^execs_per_sec *: //p' "$stats") a second, stability $stability, $found found"
        [[ $found == 0 ]] || failed=1
        [[ $stability == 100.00% ]] && continue
        echo "afl++ $1: stability is below 100 %: the target keeps something from one input to the next"
        failed=1
    done
    [[ -e $build/found/$1/main/fuzzer_stats ]] && return
    echo "afl++ $1: it has not begun: see $build/$1-main.log" >&2
    failed=1
}

for name in "$@"; do
    pids=()
    mkdir -p "$build/seeds/$name" "$build/found/$name"
    [[ -n $(kept_of "$name") ]] || printf '\0' >"$build/seeds/$name/empty"
    kept_of "$name" | xargs -r cp -t "$build/seeds/$name"
    start "$name" -M main
    for ((job = 1; job < jobs; job++)); do
        start "$name" -S "second$job"
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || { echo "afl++: see $build/$name-*.log" >&2 && failed=1; }
    done
    tell "$name"
done
((failed == 0)) || echo "afl++: see $build/found" >&2
exit "$failed"
