#!/usr/bin/env bash
# Tells what an input does, or a token of the test kit's: replay.sh FILE|TOKEN. The target of a file is TARGET, or else
# is told from its path: fuzz/targets/…/NAME/…, NAME-found-…; else it is the fuzzer of orders. A token goes to the test of
# its name. The last line says whether all is as expected, and so does the status.
set -u
cd "$(dirname "$0")/../.." || exit 1
. fuzz/scripts/names.sh
what=$1

# The last line, and the program's status. What a program cannot read or does not know is no verdict.
verdict() { # STATUS
    case $1 in
    0) echo "as expected" ;;
    2) ;;
    *) echo "not as expected" ;;
    esac
    exit "$1"
}

replay_token() {
    local name source program
    name=$(cut -d: -f2 <<<"$what")
    source=$(grep -lE "_TEST\(\"$name\"" tests/*.c examples/*.c | head -n 1)
    if [[ -z $source ]]; then
        echo "osier: no test of tests/ or examples/ is called \"$name\"" >&2
        exit 2
    fi
    program=$BUILD/${source%.c}
    make -s "BUILD=$BUILD" "$program" || exit 2
    echo "$program:"
    OSR_REPLAY=$what "$program"
    verdict $?
}

target_of() { # PATH
    local target
    for target in fuzz/targets/*.c; do
        target=$(basename "$target" .c)
        [[ $1 == */"$target"/* || $(basename "$1") == "$target"-* ]] && echo "$target" && return
    done
    echo orders
}

[[ $what == osr*:*:* ]] && replay_token
[[ -e $what ]] || { echo "osier: $what is neither a file nor a token" >&2 && exit 2; }
program=$(program_of "$BUILD" "${TARGET:-$(target_of "$what")}")
make -s "BUILD=$BUILD" "$program" || exit 2
"$program" "$what"
verdict $?
