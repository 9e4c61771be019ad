#!/usr/bin/env bash
# What the prose shows is so. Every piece of C in README.md compiles, with tests/snippets.h for what it takes for granted,
# but for one that has an #include, which a reader takes for the whole program, as every piece of C++ is; every piece of C
# in examples/README.md stands in one of the examples, and every output in what they are expected to say. A line "…" in a
# piece stands for what was left out.
set -u
cd "$(dirname "$0")/.." || exit 1

cc=${CC:-gcc} cxx=${CXX:-g++}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# Writes the pieces of a text in a language to $work/NAME.1, .2, …, each with its line number first.
take_pieces() { # TEXT LANGUAGE NAME
    awk -v language="$2" -v name="$work/$3" '
        /^```/ {
            if (inside) { inside = 0; next }
            inside = 1
            wanted = substr($0, 4) == language
            if (wanted) print FNR + 1 >(name "." ++count)
            next
        }
        inside && wanted { print >(name "." count) }' "$1"
}

# ---- What compiles -------------------------------------------------------------------------------------

compiles() { # PIECE
    local line program=$1.c flags=(-std=gnu11 -D_GNU_SOURCE -Wall -Wextra)

    line=$(head -n 1 "$1")
    # Who uses what a piece defines may stand elsewhere.
    grep -q '^#include' "$1" || flags+=(-Wno-unused -Wunused-parameter)
    {
        if grep -Eq '^(OSR_TASK|OSR_JOB|static [^=;]*$|#include)' "$1"; then
            grep -Eq '^#include|int main\(' "$1" || echo '#include "snippets.h"'
            echo "#line $line \"README.md\""
            tail -n +2 "$1"
        else
            echo '#define SNIPPET_BODY'
            echo '#include "snippets.h"'
            echo 'SNIPPET_BEGIN(snippet)'
            echo "#line $line \"README.md\""
            tail -n +2 "$1"
            echo 'SNIPPET_END'
        fi
    } >"$program"
    "$cc" "${flags[@]}" -Werror -Iinclude -Itests -fsyntax-only "$program" || fail "README.md:$line does not compile"
}

take_pieces README.md c readme
for piece in "$work"/readme.*; do
    compiles "$piece"
done

compiles_in_cpp() { # PIECE
    local line program=$1.cpp

    line=$(head -n 1 "$1")
    { echo "#line $line \"README.md\""; tail -n +2 "$1"; } >"$program"
    "$cxx" -std=c++11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only "$program" || fail "README.md:$line does not compile"
}

take_pieces README.md cpp cpp
for piece in "$work"/cpp.*; do
    [[ -e $piece ]] || { fail "README.md shows no C++"; continue; }
    compiles_in_cpp "$piece"
done

# ---- What is shown -------------------------------------------------------------------------------------

# Texts are compared without their indentation.
plain() { sed -E 's/^[ \t]+//; s/[ \t]+$//'; }

stands_in() { # PIECE FILE...
    local line whole part=''

    whole=$'\n'$(cat "${@:2}" | plain)$'\n'
    while IFS= read -r line; do
        if [[ $line == '…' ]]; then
            [[ $whole == *$'\n'"$part"* ]] || return 1
            part=''
        else
            part+=$line$'\n'
        fi
    done < <(tail -n +2 "$1" | plain)
    [[ $whole == *$'\n'"$part"* ]]
}

shown() { # LANGUAGE FILE...
    local piece

    take_pieces examples/README.md "$1" "tutorial-$1"
    for piece in "$work/tutorial-$1".*; do
        [[ -e $piece ]] || { fail "examples/README.md shows nothing of '$1'"; continue; }
        stands_in "$piece" "${@:2}" || { fail "examples/README.md:$(head -n 1 "$piece") is not so:"; tail -n +2 "$piece"; }
    done
}

shown c examples/*.c
shown text examples/expected/*.txt

[ "$failures" = 0 ]
