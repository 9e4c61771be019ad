#!/usr/bin/env bash
# The quick form of `make torture`: each call into the system and for memory fails in turn.
set -u

case ${TOOL:-} in
valgrind | tsan)
    echo "skipped: thousands of runs in dozens of processes, which take too long there; under AddressSanitizer they do not"
    exit 77
    ;;
esac
${RUN:-} "${BUILD:-build/gcc}/torture/torture" --quick
