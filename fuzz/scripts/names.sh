# shellcheck shell=bash
# Where things are of a target: for the scripts beside this one, which stand at the top of the project when they read it.

program_of() { # BUILD NAME: the plain program
    [[ $2 == orders ]] && echo "$1/fuzzer" || echo "$1/fuzz-$2"
}

corpus_of() { # NAME
    [[ $1 == orders ]] && echo fuzz/corpus || echo "fuzz/targets/corpus/$1"
}

regressions_of() { # NAME
    [[ $1 == orders ]] && echo fuzz/regressions || echo "fuzz/targets/regressions/$1"
}

# All inputs that are kept, one a line; there may be none.
kept_of() { # NAME
    find "$(corpus_of "$1")" "$(regressions_of "$1")" -type f ! -name '.*' 2>/dev/null | sort
}

dictionary_of() { # NAME: its path if there is one
    [[ ! -e fuzz/targets/$1.dict ]] || echo "fuzz/targets/$1.dict"
}

all_targets() {
    local name
    echo orders
    for name in fuzz/targets/*.c; do
        name=$(basename "$name" .c)
        [[ $name == common || $name == actors || $name == driver ]] || echo "$name"
    done
}

# Ends the script with a line that says why, where a number is none, or a target is unknown.
check_numbers() { # NAME=NUMBER...
    local asked
    for asked in "$@"; do
        [[ $asked =~ ^[A-Z]+=[1-9][0-9]{0,11}$ ]] || { echo "osier: $asked: a whole number from 1 on is wanted" >&2; exit 2; }
    done
}

check_targets() { # NAME...
    local name
    (($# > 0)) || { echo "osier: no target; there are: $(all_targets | paste -sd ' ')" >&2; exit 2; }
    for name in "$@"; do
        all_targets | grep -qxF -- "$name" ||
            { echo "osier: there is no target '$name'; there are: $(all_targets | paste -sd ' ')" >&2; exit 2; }
    done
}
