#!/usr/bin/env bash
# Small programs in all their orders: wrong models that must be found out, then the right one.
#   explore.sh EXPLORER OPTION...
set -u
cd "$(dirname "$0")/.." || exit 1
explorer=$1
shift
out=$(dirname "$explorer")/found
mkdir -p "$out"

"$explorer" --canaries || exit 1
"$explorer" --out "$out" "$@"
