#!/usr/bin/env bash
# Builds the targets as OSS-Fuzz would, and runs each over its corpus, with clang, AddressSanitizer and libFuzzer of this
# machine: check.sh DIRECTORY
set -u
cd "$(dirname "$0")/../.." || exit 1
directory=$(realpath -m "$1") passed=0 failed=0
out=$directory/out
rm -rf "$out"
mkdir -p "$out"

CC=clang CXX=clang++ SANITIZER=address OUT=$out WORK=$directory LIB_FUZZING_ENGINE=-fsanitize=fuzzer \
    CFLAGS='-O1 -fno-omit-frame-pointer -gline-tables-only -fsanitize=address -fsanitize=fuzzer-no-link' \
    fuzz/oss-fuzz/build.sh >"$directory/log" 2>&1 || { tail -n 30 "$directory/log" && exit 1; }

complain() { # NAME WORDS
    echo "oss-fuzz: $1: $2" >&2
    failed=$((failed + 1))
}

for program in "$out"/*.options; do
    name=$(basename "$program" .options)
    corpus=$directory/corpus/$name
    rm -rf "$corpus"
    mkdir -p "$corpus"
    if ldd "$out/$name" | grep -q libev; then
        complain "$name" 'needs a libev that is not there'
    elif ! unzip -q "$out/${name}_seed_corpus.zip" -d "$corpus"; then
        complain "$name" 'has no corpus'
    elif ! "$out/$name" -runs=1000 -max_len=400 "$corpus" >"$directory/$name.log" 2>&1; then
        tail -n 30 "$directory/$name.log"
        complain "$name" 'fails'
    else
        passed=$((passed + 1))
    fi
done
echo "$passed passed, $failed failed: targets built as OSS-Fuzz builds them"
((failed == 0 && passed > 0))
