#!/bin/bash -eu
# Builds all targets as OSS-Fuzz and ClusterFuzzLite want them: with $CC, $CXX, $CFLAGS and $LIB_FUZZING_ENGINE, into $OUT,
# each with its corpus and its dictionary. libev is linked in, as the machines that run them have none.
cd "$(dirname "$0")"
while [[ ! -e Makefile || ! -d fuzz ]]; do cd ..; done # this file may have been copied into the project's directory
. fuzz/scripts/names.sh

tool=
[[ ${SANITIZER:-} != address ]] || tool=asan
build=${WORK:-build}/oss-fuzz
make -j"$(nproc)" CC="$CC" CXX="$CXX" CFLAGS="$CFLAGS" TOOL="$tool" BUILD="$build" LIB_FUZZING_ENGINE="$LIB_FUZZING_ENGINE" \
    LIBS='-l:libev.a -lm' WERROR= fuzz-entries

for entry in "$build"/entry-*; do
    name=${entry##*/entry-}
    [[ $name != *.* ]] || continue
    cp "$entry" "$OUT/$name"
    rm -f "$OUT/${name}_seed_corpus.zip"
    kept_of "$name" | zip -q -j "$OUT/${name}_seed_corpus.zip" -@
    dictionary=$(dictionary_of "$name")
    [[ -z $dictionary ]] || cp "$dictionary" "$OUT/$name.dict"
    printf '[libfuzzer]\nmax_len = 400\nentropic = 0\n' >"$OUT/$name.options"
done
