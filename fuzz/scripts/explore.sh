#!/usr/bin/env bash
# Small programs in all their orders: wrong models that must be found out; what the reduction leaves, of random programs;
# then the right model.
#   explore.sh EXPLORER SEED OPTION...
set -u
cd "$(dirname "$0")/../.." || exit 1
explorer=$1 seed=$2
shift 2
out=$(dirname "$explorer")/found
mkdir -p "$out"

"$explorer" --canaries || exit 1
"$explorer" --random 4000 --seed "$seed" || exit 1
"$explorer" --out "$out" --seed "$seed" "$@"
