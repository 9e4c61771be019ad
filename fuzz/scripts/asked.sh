#!/usr/bin/env bash
# Looks at what is asked for before it is built: asked.sh NAME=NUMBER... -- TARGET...
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh

while (($# > 0)) && [[ $1 != -- ]]; do
    check_numbers "$1"
    shift
done
check_targets "${@:2}"
