#!/usr/bin/env bash
# The example of a task inside a libev program: what it prints at the end of its input, and when it is interrupted.
#
# BUILD names the build directory; RUN, if set, is a command to run the program under, such as valgrind.
set -u

program=${BUILD:?BUILD must name the build directory}/examples/attach
run=${RUN:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

same() { # WHAT
    diff "$work/expected" "$work/out" && return
    echo "FAILED: $1"
    failures=$((failures + 1))
}

works_off_its_input() {
    # shellcheck disable=SC2086 # RUN is a command with its arguments
    printf 'one\ntwo\n' | timeout 60 $run "$program" >"$work/out" 2>&1
    cat >"$work/expected" <<'END'
working on "one"
done with "one"
working on "two"
done with "two"
2 lines; the clock has ticked
END
    same 'the end of the input'
}

ends_when_interrupted() {
    local pid

    mkfifo "$work/input"
    # shellcheck disable=SC2086
    timeout 60 $run "$program" <"$work/input" >"$work/out" 2>&1 &
    pid=$!
    exec 3>"$work/input"
    echo one >&3
    for _ in $(seq 600); do
        grep -q 'done with' "$work/out" && break
        sleep 0.05
    done
    kill -INT "$pid" # which timeout passes on
    wait "$pid"
    exec 3>&-
    cat >"$work/expected" <<'END'
working on "one"
done with "one"
interrupted
1 lines; the clock has ticked
END
    same 'an interrupt'
}

works_off_its_input
ends_when_interrupted
exit "$failures"
