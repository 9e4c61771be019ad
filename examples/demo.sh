#!/bin/bash
# Shows probe at work: starts probe_targets, whose servers behave well and badly, and asks them all, twice.
#
#     examples/demo.sh BUILD_DIR
#
# Succeeds if probe ends as it should: some of these targets fail, so with 1, and with 1 again when strict.
set -eu

build=${1:?usage: demo.sh BUILD_DIR}/examples
work=$(mktemp -d)
server=

clean_up() {
    exec 3>&- # the end of its input is what the server waits for
    [ -z "$server" ] || wait "$server" || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

show() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || show() { printf '\n== %s\n' "$*"; }

# Runs probe with the given options; its exit status must be the first argument.
probe() {
    local expected=$1 status=0
    shift
    show "probe $* targets.txt"
    "$build/probe" "$@" "$work/targets.txt" 2>&1 3>&- || status=$?
    echo "(exit status $status)"
    [ "$status" = "$expected" ] || { echo "demo: exit status $expected was expected" >&2; exit 1; }
}

mkfifo "$work/input"
"$build/probe_targets" "$work/targets.txt" <"$work/input" &
server=$!
exec 3>"$work/input"

for _ in $(seq 100); do
    grep -q '^# ready' "$work/targets.txt" 2>/dev/null && break
    kill -0 "$server" 2>/dev/null || { echo 'demo: the servers did not start' >&2; exit 1; }
    sleep 0.05
done

grep -q '^# ready' "$work/targets.txt" || { echo 'demo: the servers are not ready' >&2; exit 1; }

show 'targets.txt, as probe_targets wrote it'
cat "$work/targets.txt"
probe 1 --timeout 1 --jobs 8 --deadline 10
probe 1 --timeout 1 --jobs 8 --deadline 10 --strict
