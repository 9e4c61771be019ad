#!/usr/bin/env bash
# Every input that is kept, once, under the tool that RUN names: corpora.sh BUILD TARGET...
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
build=$1 passed=0 failed=0
shift

for name in "$@"; do
    mapfile -t kept < <(kept_of "$name")
    # shellcheck disable=SC2086 # a command with its options
    if ${RUN:-} "$(program_of "$build" "$name")" --check "${kept[@]}"; then
        ((passed += 1))
    else
        ((failed += 1))
    fi
done
echo "$passed passed, $failed failed: corpora of so many targets"
((failed == 0 && passed > 0))
