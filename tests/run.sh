#!/usr/bin/env bash
# Runs tests and adds up what came out: tests/run.sh TEST...
#
# A program test_* is one of cmocka's and counts as many tests as it says; one that crashes, hangs, leaks or
# runs nothing is a failure more. Any other program, and a script *.test.sh, is one test: 0 passed, 77
# skipped, anything else failed. The last line is "N passed, N failed", or with ", N skipped" behind it.
#
# From the environment: BUILD (logs go to BUILD/log), TOOL (asan, tsan, valgrind, coverage or nothing), RUN
# (a command in front of every program), JOBS (how many at a time, 2), TIMEOUT (seconds for each, 300; ten
# times that under valgrind, three times under sanitizers).
set -u

export BUILD=${BUILD:-build/gcc} TOOL=${TOOL:-} RUN=${RUN:-}
export LC_ALL=C
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES # scripts that call make start afresh

logs=$BUILD/log

# The shadow memory of older sanitizers collides with strongly randomized addresses.
fixed_addresses() {
    [[ $TOOL == asan || $TOOL == tsan ]] && setarch -R true 2>/dev/null && RUN="setarch -R $RUN"
}

seconds_allowed() {
    local seconds=${TIMEOUT:-300}

    case $TOOL in
    valgrind) seconds=$((seconds * 10)) ;;
    asan | tsan) seconds=$((seconds * 3)) ;;
    esac
    echo "$seconds"
}

# ---- One test ------------------------------------------------------------------------------------------

# Adds up the numbers that stand before or in the place of N in cmocka's lines "... N ...".
sum_of() { # SED-PATTERN LOG
    sed -n -E "s/^$1.*/\\1/p" "$2.out" "$2.err" | awk '{ sum += $1 } END { print sum + 0 }'
}

# Sets passed, failed, skipped and trouble of one of cmocka's programs from its logs and its exit status.
count_cmocka() { # LOG STATUS
    local announced groups

    announced=$(sum_of '\[=+\] Running ([0-9]+) test' "$1")
    passed=$(sum_of '\[  PASSED  \] ([0-9]+) test' "$1")
    skipped=$(sum_of '\[  SKIPPED \] ([0-9]+) test' "$1")
    failed=$(sum_of ' ([0-9]+) FAILED TEST' "$1")
    groups=$(grep -c '^\[  FAILED  \] GROUP' "$1.err")
    ((failed += groups))

    if (($2 != 0 && failed == 0)); then
        trouble="exit status $2"
    elif ((passed + failed + skipped == 0)); then
        trouble="no test ran"
    elif ((passed + failed + skipped < announced)); then
        trouble="$((announced - passed - failed - skipped)) of its tests did not run"
    fi
    [[ -n $trouble ]] && ((failed += 1))
}

count_plain() { # STATUS
    case $1 in
    0) passed=1 ;;
    77) skipped=1 ;;
    *)
        failed=1
        trouble="exit status $1"
        ;;
    esac
}

report() { # NAME LOG SECONDS
    local line

    line=$(printf '%-28s %4d passed, %d failed' "$1" "$passed" "$failed")
    ((skipped > 0)) && line+=", $skipped skipped"
    line+=" ($3 s)"
    [[ -n $trouble ]] && line+=": $trouble"
    {
        flock 9
        echo "$line"
        if ((failed > 0)); then
            cat "$2.out" "$2.err"
            echo "---- end of $1"
        elif ((skipped > 0)); then
            grep -h -i skip "$2.out" "$2.err" | sed 's/^/    /'
        fi
    } 9>"$logs/lock"
}

run_one() { # PROGRAM
    local name log started status seconds limit
    local passed=0 failed=0 skipped=0 trouble='' command=()

    name=$(basename "$1")
    log=$logs/$name
    limit=$(seconds_allowed)
    started=$SECONDS
    # shellcheck disable=SC2206 # RUN is a command with its arguments
    [[ $1 == *.sh ]] || command=($RUN)
    {
        timeout -k 10 "$limit" "${command[@]}" "$1" >"$log.out" 2>"$log.err" </dev/null
    } 2>/dev/null # the shell's own word on who was killed
    status=$?
    seconds=$((SECONDS - started))

    case $name in
    test_*) count_cmocka "$log" "$status" ;;
    *) count_plain "$status" ;;
    esac
    ((seconds >= limit && failed > 0)) && trouble="timed out after $limit s"
    report "$name" "$log" "$seconds"
    echo "$passed $failed $skipped" >"$log.counts"
}

# ---- All of them ---------------------------------------------------------------------------------------

if [[ ${1:-} == --one ]]; then
    run_one "$2"
    exit 0
fi

fixed_addresses
rm -rf "$logs"
mkdir -p "$logs"
(($# > 0)) && printf '%s\0' "$@" | xargs -0 -n 1 -P "${JOBS:-2}" "$0" --one

# A test without its counts is one that the runner itself lost.
total_passed=0 total_failed=0 total_skipped=0
for test; do
    read -r passed failed skipped <"$logs/$(basename "$test").counts" || { passed=0 failed=1 skipped=0; }
    ((total_passed += passed, total_failed += failed, total_skipped += skipped))
done

line="$total_passed passed, $total_failed failed"
((total_skipped > 0)) && line+=", $total_skipped skipped"
((total_passed + total_failed == 0)) && echo "no test ran" >&2
echo "$line"
((total_failed == 0 && total_passed > 0))
