#!/usr/bin/env bash
# on_trio.py with Debian's Python, for which python3-trio is; 77 if it is not there.
set -u
cd "$(dirname "$0")/../.." || exit 1

version=$(/usr/bin/python3 -c 'import trio; print(trio.__version__)' 2>/dev/null) || version=none
if [[ $version != 0.22.* ]]; then
    echo "skipped: programs on Trio need python3-trio 0.22, of which on_trio.py knows the inside; here is $version"
    exit 77
fi
exec /usr/bin/python3 fuzz/scripts/on_trio.py "$@"
