#!/bin/bash
# The small examples tell the stories in examples/expected/, byte for byte, in simulated time; one of them on the clock of
# the machine too. bank_test is a test itself, of a program in simulated time. (attach and probe have tests of their own.) UPDATE=1 writes the stories down anew.
#
# BUILD names the build directory; RUN, if set, is a command to run the programs under, such as valgrind.
set -u
cd "$(dirname "$0")/.." || exit 1

bin=${BUILD:?BUILD must name the build directory}/examples
run=${RUN:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# Runs an example; its story is left in $work/story, without what valgrind has to say about system calls that it does not
# know; its exit status in $status.
tell() {
    # shellcheck disable=SC2086
    timeout 60 $run "$bin/$1" "${@:2}" >"$work/told" 2>&1
    status=$?
    grep -Ev '^--[0-9]+-- ' "$work/told" >"$work/story"
}

without_times() { sed -E 's/^ *[0-9.]+ s  //' "$1"; }
same_but_for_times() { diff -u <(without_times "examples/expected/$1.txt") <(without_times "$work/story"); }

simulated() { # NAME
    tell "$1" --simulated
    [ "$status" = 0 ] || fail "$1: exit status $status"
    [ -z "${UPDATE:-}" ] || cp "$work/story" "examples/expected/$1.txt"
    if [[ ${TOOL:-} == valgrind && $1 == blocking ]]; then # without pidfds workers are asked after, which takes time
        same_but_for_times "$1"
    else
        diff -u "examples/expected/$1.txt" "$work/story"
    fi || fail "$1 tells another story"
}

# On the real clock the times are not exact, and a machine that is busy may be late: three attempts.
real() { # NAME
    for _ in 1 2 3; do
        tell "$1"
        [ "$status" = 0 ] && same_but_for_times "$1" && return
    done
    fail "$1 tells another story on the real clock"
}

# A test of the kit's: as a program that tells what it finds, and in the dresses of cmocka and of a fuzzer, if clang has
# one. The libraries may be made for a tool, whose flags its compiler would have to know.
dressed() { # NAME
    local build=(-Iinclude -g "examples/$1.c" "$BUILD/libosier-test.a" "$BUILD/libosier.a" -pthread -lev -lm)

    simulated "$1"
    [ -z "${TOOL:-}" ] || return
    "${CC:-gcc}" -DWITH_CMOCKA "${build[@]}" -lcmocka -o "$work/$1-cmocka" && "$work/$1-cmocka" >"$work/told" 2>&1 ||
        fail "$1 in cmocka's dress"
    if echo 'int LLVMFuzzerTestOneInput() { return 0; }' |
        clang -fsanitize=fuzzer -x c - -o "$work/probe" 2>"$work/told"; then
        clang -DWITH_FUZZER -fsanitize=fuzzer "${build[@]}" -o "$work/$1-fuzzer" &&
            "$work/$1-fuzzer" -runs=5000 >"$work/told" 2>&1 || fail "$1 in the fuzzer's dress"
    fi
}

for source in examples/*.c; do
    name=$(basename "$source" .c)
    case $name in
    attach | probe | probe_targets) ;;
    bank_test) dressed "$name" ;;
    *) simulated "$name" ;;
    esac
done

real phases

tell phases --no-such-option
[ "$status" = 2 ] || fail "a wrong option: exit status $status instead of 2"
grep -q '^usage: ' "$work/story" || fail 'a wrong option: no word on how to use it'

[ "$failures" = 0 ]
