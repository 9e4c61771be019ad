#!/usr/bin/env bash
# The quick form of `make torture`: each call into the system and for memory fails in turn.
set -u

${RUN:-} "${BUILD:-build/gcc}/torture/torture" --quick
