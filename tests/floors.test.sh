#!/usr/bin/env bash
# A file of src/ includes only headers of its own floor and of those below, by their whole name, such as
# "2_sched/sched.h". Two files alone know libev, src/2_sched/loop_ev.c and src/8_run/attach.c, and of the public headers
# only osier/attach.h includes its header. The test kit in src/9_test is a library of its own: of the other one it includes
# the public headers only.
set -u
cd "$(dirname "$0")/.." || exit 1

shopt -s nullglob
bad=0 seen=0

complain() {
    echo "$1"
    bad=1
}

check_include() { # FILE FLOOR INCLUDED
    case $3 in
    [0-9]*_*/*)
        [[ $2 != 9 || $3 == 9_test/* ]] || complain "$1: the test kit includes \"$3\": it is to use the public headers"
        ((${3%%_*} > $2)) && complain "$1: floor $2 includes \"$3\" of a higher floor"
        [[ -e src/$3 ]] || complain "$1: there is no src/$3"
        ;;
    ev.h | ev++.h | libev/*)
        [[ $1 == src/2_sched/loop_ev.c ]] || complain "$1: includes libev's header; only src/2_sched/loop_ev.c may"
        ;;
    osier/attach.h)
        [[ $1 == src/8_run/attach.c ]] || complain "$1: includes osier/attach.h, which is for src/8_run/attach.c only"
        ;;
    ../* | ./*)
        complain "$1: includes \"$3\": name the floor, as in \"2_sched/sched.h\""
        ;;
    esac
}

includes_of() { # FILE
    sed -n -E 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]*)[>"].*/\1/p' "$1"
}

for file in src/*/*.[chS]; do
    floor=${file#src/}
    floor=${floor%%_*}
    seen=$((seen + 1))
    while read -r included; do
        check_include "$file" "$floor" "$included"
    done < <(includes_of "$file")
done

for file in include/osier.h include/osier/*.h; do
    while read -r included; do
        case $included in
        ev.h | ev++.h | libev/* | osier/attach.h)
            [[ $file == include/osier/attach.h ]] || complain "$file: includes $included, for which osier/attach.h is there"
            ;;
        esac
    done < <(includes_of "$file")
done

# A header without its floor's name would go round the rule: src/ is searched from its top only.
for file in src/*.[chS]; do
    complain "$file: stands on no floor"
done

((seen > 0)) || complain "there is nothing in src/"
((bad == 0)) && echo "$seen files keep to their floors"
exit "$bad"
