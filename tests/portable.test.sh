#!/usr/bin/env bash
# The library compiles with the portable context switch as well, whose structures are others. (Its tests run with
# `make test CONTEXT=ucontext`.)
set -u
cd "$(dirname "$0")/.." || exit 1

${CC:-cc} -std=gnu11 -D_GNU_SOURCE -pthread -DOSR_CONTEXT_UCONTEXT -Iinclude -Isrc -fsyntax-only src/[0-8]_*/*.c
