#!/usr/bin/env bash
# A campaign: so many seconds of new inputs for each target in turn, in as many processes as JOBS says, each with seeds of
# its own. What is found is written to a directory beside the programs, as it was and made small.
#   campaign.sh BUILD SECONDS JOBS TARGET...
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
build=$1 seconds=$2 jobs=$3 failed=0
shift 3
check_numbers "TIME=$seconds" "JOBS=$jobs"
check_targets "$@"
out=$build/found
mkdir -p "$out"

for name in "$@"; do
    pids=()
    for ((job = 0; job < jobs; job++)); do
        "$(program_of "$build" "$name")" --campaign --seed "$(date +%s)$job" --seconds "$seconds" --out "$out" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
done
((failed == 0)) || echo "campaign: see $out" >&2
exit "$failed"
