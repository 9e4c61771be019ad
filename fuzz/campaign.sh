#!/usr/bin/env bash
# A campaign: SECONDS of new programs in as many processes as JOBS says, each with seeds of its own. What is found is
# written to a directory beside the fuzzer, as it was and made small.
#   campaign.sh FUZZER SECONDS JOBS
set -u
cd "$(dirname "$0")/.." || exit 1
fuzzer=$1 seconds=$2 jobs=$3 failed=0 pids=()
out=$(dirname "$fuzzer")/found
mkdir -p "$out"

for ((job = 0; job < jobs; job++)); do
    "$fuzzer" --campaign --seed "$(date +%s)$job" --seconds "$seconds" --out "$out" &
    pids+=($!)
done
for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
done
((failed == 0)) || echo "campaign: see $out" >&2
exit "$failed"
