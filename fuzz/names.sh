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
