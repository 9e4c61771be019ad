#!/usr/bin/env bash
# What a user gets: installs the library into a directory of its own, builds programs in C and C++ against
# it, found through pkg-config, runs them, and takes the library away again. BUILD names the build directory.
set -u
shopt -s extglob
cd "$(dirname "$0")/.." || exit 1

export BUILD=${BUILD:-build/gcc}
consumers=$PWD/tests/consumer
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

fail() {
    echo "FAILED: $*"
    bad=1
}

try() { # WHAT COMMAND...
    local what=$1
    shift
    "$@" >"$work/output" 2>&1 && return
    fail "$what: $*"
    cat "$work/output"
    return 1
}

# The sanitizers' and the user's own flags are for the library; a user of it has others.
root=$work/root
in_root=(DESTDIR="$root" PREFIX=/opt/osier LIBDIR=/opt/osier/lib/here INCLUDEDIR=/opt/osier/headers)
library=$root/opt/osier/lib/here

try 'installing' make install "${in_root[@]}" || exit 1
for file in "$library"/{libosier.a,libosier.so,libosier.so.0,pkgconfig/osier.pc} \
    "$library"/{libosier-test.a,libosier-test.so,libosier-test.so.0,pkgconfig/osier-test.pc} "$root"/opt/osier/headers/osier.h \
    "$root"/opt/osier/share/{osier/osier-gdb.py,gdb/auto-load/opt/osier/lib/here/libosier.so.0-gdb.py}; do
    [[ -e $file ]] || fail "$file was not installed"
done

# ---- Finding it ----------------------------------------------------------------------------------------

export PKG_CONFIG_PATH=$library/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
export LD_LIBRARY_PATH=$library

version=$(sed -n 's/^#define OSR_VERSION  *"\(.*\)"/\1/p' include/osier/base.h)
[[ $(pkg-config --modversion osier) == "$version" ]] || fail "pkg-config gives the version $(pkg-config --modversion osier)"
grep -q '@' "$library/pkgconfig/osier.pc" && fail "a value is missing in osier.pc"
read -ra cflags < <(pkg-config --cflags osier)
read -ra shared < <(pkg-config --libs osier)
read -ra static < <(pkg-config --libs --static osier)
read -ra kit_shared < <(pkg-config --libs osier-test)
read -ra kit_static < <(pkg-config --libs --static osier-test)

# ---- Programs ------------------------------------------------------------------------------------------

strict=(-pedantic -Wall -Wextra -Wshadow -Wcast-align -Werror)

c_flags=(-std=c11 "${strict[@]}" "${cflags[@]}")
cpp_flags=(-std=c++11 "${strict[@]}" "${cflags[@]}")

builds_and_runs() { # COMPILER LINKING NAME COMPILER-ARGUMENT...
    local what="$3 with $1, $2" program
    program=$work/$(basename "$1")-$2-$3
    try "building $what" "$1" -o "$program" "${@:4}" && try "running $what" "$program"
}

consume() { # C-COMPILER C++-COMPILER
    local c=("${c_flags[@]}" "$consumers/consumer.c")
    local cpp=("${cpp_flags[@]}" "$consumers/consumer.cpp")

    builds_and_runs "$1" shared c "${c[@]}" "${shared[@]}"
    builds_and_runs "$1" static c "${c[@]}" -static "${static[@]}"
    builds_and_runs "$1" kit-shared c "${c_flags[@]}" "$consumers/tested.c" "${kit_shared[@]}"
    builds_and_runs "$1" kit-static c "${c_flags[@]}" "$consumers/tested.c" -static "${kit_static[@]}"
    alone "$1"
    builds_and_runs "$1" optimized c -O3 "${c[@]}" "${shared[@]}"
    under_sanitizers "$1" "${c[@]}"
    under_sanitizers "$1" "${c_flags[@]}" "$consumers/threads.c"
    builds_and_runs "$2" shared cpp "${cpp[@]}" "${shared[@]}"
    builds_and_runs "$2" static cpp "${cpp[@]}" -static "${static[@]}"
    every_header_alone "$1" "$2"
}

# A program of which nothing but the kit's functions is called, and that is told where the kit lies: it is that which knows
# where the library is.
alone() { # C-COMPILER
    cat >"$work/alone.c" <<'EOF'
#include <osier/test.h>

OSR_TASK(program, void, unused)
{
    (void)unused;
    return 0;
}

int main(void)
{
    static const struct osr_test test = OSR_TEST("alone", program, NULL, .quiet = true);

    return osr_test_run(&test);
}
EOF
    try "building what calls only the kit with $1" "$1" "${c_flags[@]}" -Wl,--as-needed "-Wl,-rpath,$library" -o "$work/only-kit" \
        "$work/alone.c" "${kit_shared[@]}" && try "running what calls only the kit" env -u LD_LIBRARY_PATH "$work/only-kit"
}

# The library is announced to the sanitizers of a program without having been built for them.
under_sanitizers() { # COMPILER COMPILER-ARGUMENT...
    local sanitizer fixed=(setarch -R)

    "${fixed[@]}" true 2>/dev/null || fixed=()
    export ASAN_OPTIONS=detect_stack_use_after_return=1
    for sanitizer in address,undefined thread; do
        echo 'int main(void) { return 0; }' >"$work/empty.c"
        "$1" -fsanitize=$sanitizer -o "$work/empty" "$work/empty.c" 2>/dev/null || continue # has no runtime here
        try "building with $1 for $sanitizer" "$1" -g -fsanitize=$sanitizer -fno-sanitize-recover=all -o "$work/checked" \
            "${@:2}" "${shared[@]}" && try "running it" "${fixed[@]}" "$work/checked"
    done
}

under_valgrind() { # COMPILER; Debian's Valgrind cannot read what clang writes into libraries for debuggers
    command -v valgrind >/dev/null && [[ $BUILD == */gcc* ]] || return
    try "building what leaves" "$1" -g -o "$work/leaves" "${c_flags[@]}" "$consumers/leaves.c" "${shared[@]}" &&
        try "leaving" valgrind -q --leak-check=full --error-exitcode=99 "$work/leaves"
}

# Each header brings what it needs; read before and after the consumer's own, it disturbs nothing.
every_header_alone() { # C-COMPILER C++-COMPILER
    local header name

    for header in include/osier.h include/osier/*.h; do
        name=${header#include/}
        printf '#include <%s>\n#include <%s>\nint main(void) { return 0; }\n' "$name" "$name" >"$work/alone.c"
        cp "$work/alone.c" "$work/alone.cpp"
        try "$name alone, in C" "$1" "${c_flags[@]}" -c -o "$work/alone.o" "$work/alone.c"
        try "$name alone, in C++" "$2" "${cpp_flags[@]}" -c -o "$work/alone.o" "$work/alone.cpp"
        try "$name in front, in C" "$1" "${c_flags[@]}" -include "$name" -o "$work/first" "$consumers/consumer.c" \
            "${shared[@]}"
    done
}

command -v pkg-config g++ gcc >/dev/null || { echo 'skipped: needs gcc, g++ and pkg-config'; exit 77; }
consume gcc g++
under_valgrind gcc
if command -v clang++ >/dev/null; then
    consume clang clang++
fi

# ---- What the libraries show ---------------------------------------------------------------------------

shows() { # LIBRARY HEADER...
    local file=$library/$1.so.0 others declared exported missing surplus

    others=$(nm -D --defined-only "$file" | awk '$2 != "A" && $3 !~ /^osr_/ { print $3 }')
    [[ -z $others ]] || fail "$1 also exports: ${others//$'\n'/ }"
    declared=$(cat "${@:2}" | sed -n -E 's/^OSR_API [^(]*(osr_[a-z0-9_]+)\(.*/\1/p' | sort -u)
    exported=$(nm -D --defined-only "$file" | awk '$3 ~ /^osr_/ { sub(/@.*/, "", $3); print $3 }' | sort -u)
    missing=$(comm -23 <(echo "$declared") <(echo "$exported"))
    [[ -z $missing ]] || fail "declared, but not in $1: ${missing//$'\n'/ }"
    surplus=$(comm -13 <(echo "$declared") <(echo "$exported"))
    [[ -z $surplus ]] || fail "in $1, but declared in no header: ${surplus//$'\n'/ }"
    readelf -d "$file" | grep -q "SONAME.*\[$1.so.0\]" || fail "the soname is not $1.so.0"
    readelf -lW "$file" | grep -q 'GNU_STACK.*RWE' && fail "$1 asks for an executable stack"
    readelf -d "$file" | grep -q TEXTREL && fail "$1 has text relocations"
}

shows libosier include/osier/!(test).h
shows libosier-test include/osier/test.h

# ---- Taking it away ------------------------------------------------------------------------------------

try 'uninstalling' make uninstall "${in_root[@]}"
left=$(find "$root" ! -type d)
[[ -z $left ]] || fail "uninstalling left: ${left//$'\n'/ }"
[[ -e $root/opt/osier/headers/osier ]] && fail "uninstalling left the directory of the headers"
[[ -e $root/opt/osier/share/osier ]] && fail "uninstalling left the directory of what gdb loads"

exit "$bad"
