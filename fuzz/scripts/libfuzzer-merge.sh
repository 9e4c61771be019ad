#!/usr/bin/env bash
# Renews the corpora from what libFuzzer and AFL++ have found: libfuzzer-merge.sh BUILD SECONDS JOBS TARGET...
# Keeps the inputs that together reach all that is reached, small ones first, and at most 100 of each target.
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
build=$1
shift 3

for name in "$@"; do
    corpus=$(corpus_of "$name") new=$build/merged/$name
    rm -rf "$new"
    mkdir -p "$new" "$corpus" "$build/corpus/$name"
    mapfile -t found < <(find "build/afl/found/$name" -type d -name queue 2>/dev/null)
    "$build/entry-$name" -set_cover_merge=1 -use_counters=0 -max_len=200 "$new" "$build/corpus/$name" "$corpus" \
        "${found[@]}" 2>/dev/null || exit 1
    find "$new" -type f -printf '%s %p\n' | sort -n | tail -n +101 | cut -d' ' -f2- | xargs -r rm
    [[ -n $(ls "$new") ]] || exit 1
    find "$corpus" -type f -delete
    mv "$new"/* "$corpus"
    echo "$name: $(find "$corpus" -type f | wc -l) inputs kept"
done
