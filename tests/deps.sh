#!/usr/bin/env bash
# Installs what osier's builds need and this machine lacks: tests/deps.sh SET..., with the sets
#
#   demo      a compiler, make, libev
#   test      these and cmocka, a C++ compiler, pkg-config
#   tools     valgrind, clang and its runtime
#   fuzz      clang and its runtime, AFL++, zip, Trio
#   coverage  gcovr
#   aarch64   a cross compiler and an emulator
#   peers     what the benchmarks compare osier with, and gnuplot
#
# On Debian and Ubuntu it uses apt-get, elsewhere it names what is missing and gives 1. Where nothing is
# missing it does nothing and says nothing.
set -u

sets=("$@")
[[ $(basename "${CC:-gcc}") == clang* ]] && sets+=(clang)
missing=()

# ---- What is missing -----------------------------------------------------------------------------------

need_command() { # COMMAND PACKAGE
    command -v "$1" >/dev/null || missing+=("$2")
}

need_header() { # HEADER PACKAGE
    local root

    for root in /usr/include /usr/local/include ${CPATH:+${CPATH//:/ }}; do
        [[ -e $root/$1 ]] && return
    done
    missing+=("$2")
}

# What is neither a command nor a header.
need_package() { # PACKAGE
    [[ -e /usr/share/doc/$1 ]] || missing+=("$1")
}

# The package is named after clang's version, and not the same way in every release.
need_clang_runtime() {
    local version package

    command -v clang >/dev/null || return
    compgen -G "$(clang -print-resource-dir)/lib/*/libclang_rt.asan*.a" >/dev/null && return
    version=$(clang -dumpversion)
    for package in "libclang-rt-${version%%.*}-dev" "libclang-common-${version%%.*}-dev"; do
        [[ -n $(apt-cache show "$package" 2>/dev/null) ]] && break
    done
    missing+=("$package")
}

need_set() {
    case $1 in
    demo)
        need_command gcc gcc
        need_command make make
        need_header stdio.h libc6-dev
        need_header ev.h libev-dev
        ;;
    test)
        need_set demo
        need_command g++ g++
        need_command pkg-config pkg-config
        need_header cmocka.h libcmocka-dev
        ;;
    tools)
        need_header valgrind/valgrind.h valgrind
        need_command valgrind valgrind
        need_command clang clang
        need_clang_runtime
        need_command llvm-symbolizer llvm # names in what clang's sanitizers report
        ;;
    clang)
        need_command clang clang
        ;;
    fuzz)
        need_set clang
        need_clang_runtime
        need_command afl-clang-fast afl++
        need_command zip zip
        need_command unzip unzip
        need_command /usr/bin/python3 python3 # Debian's, whose package the next one is
        need_package python3-trio
        ;;
    coverage)
        need_command gcovr gcovr
        ;;
    aarch64)
        need_command aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
        [[ -e /usr/aarch64-linux-gnu/include/stdio.h ]] || missing+=(libc6-dev-arm64-cross)
        need_command qemu-aarch64 qemu-user
        ;;
    peers)
        need_command g++ g++
        need_header boost/asio.hpp libboost-dev
        need_header boost/fiber/all.hpp libboost-fiber-dev
        need_header boost/context/fiber.hpp libboost-context-dev
        need_header st.h libst-dev
        need_command go golang-go
        need_command cargo cargo
        need_command rustc rustc
        need_package librust-tokio-dev
        need_command node nodejs
        need_command /usr/bin/python3 python3 # Debian's, whose packages the next two are
        need_package python3-uvloop
        need_package python3-trio
        need_command gnuplot gnuplot-nox
        need_command strace strace
        ;;
    *)
        echo "$0: there is no set '$1'" >&2
        exit 2
        ;;
    esac
}

find_missing() {
    local set

    missing=()
    for set in "${sets[@]}"; do
        need_set "$set"
    done
    ((${#missing[@]} == 0)) && return 1
    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
}

# ---- Installing ----------------------------------------------------------------------------------------

has_apt() {
    local ID='' ID_LIKE=''

    # shellcheck source=/dev/null
    [[ -r /etc/os-release ]] && . /etc/os-release
    [[ " $ID $ID_LIKE " =~ \ (debian|ubuntu)\  ]] && command -v apt-get >/dev/null
}

as_root() {
    if ((EUID == 0)); then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "osier: not root, and there is no sudo: cannot run '$*'" >&2
        return 1
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600 "$@" </dev/null
}

give_up() {
    echo "osier: missing, named as on Debian: ${missing[*]}" >&2
    exit 1
}

find_missing || exit 0
has_apt || give_up

# One at a time, then look again: another one may have installed it all.
exec 9<"$0"
flock 9
apt update || echo "osier: apt-get update failed, going on with the lists there are" >&2

# Clang's runtime is known once clang is there: so at most two rounds.
for _ in 1 2; do
    find_missing || exit 0
    echo "osier: installing ${missing[*]}"
    apt install -y --no-install-recommends "${missing[@]}" >/dev/null || give_up
    hash -r
done
find_missing && give_up
exit 0
