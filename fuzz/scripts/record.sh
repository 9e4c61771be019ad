#!/usr/bin/env bash
# Runs a command, and keeps what it says for `make fuzz-report`, under a line that says of which commit, when, and how it
# is called: record.sh NAME 'make ...' COMMAND... What failed is no figure, and is not kept.
set -u -o pipefail
cd "$(dirname "$0")/../.." || exit 1
log=build/report/$1 called=$2
shift 2

mkdir -p build/report
echo "# $(git rev-parse --short HEAD 2>/dev/null || echo unknown) $(date +%F) $called" >"$log.new"
"$@" | tee -a "$log.new"
status=$?
((status == 0)) && mv "$log.new" "$log"
exit "$status"
