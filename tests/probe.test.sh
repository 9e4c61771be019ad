#!/bin/bash
# probe, the main example, against servers that behave well and badly, and against bad input.
#
# BUILD names the build directory; RUN, if set, is a command to run the programs under, such as valgrind.
set -u

bin=${BUILD:?BUILD must name the build directory}/examples
run=${RUN:-}
work=$(mktemp -d)
failures=0

clean_up() {
    exec 3>&-
    [ -z "${server:-}" ] || wait "$server"
    rm -rf "$work"
}
trap clean_up EXIT

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

# Runs probe; its outcome is left in $status, $work/out and $work/err, its time in $took (milliseconds).
probe() {
    local begin
    begin=$(date +%s%3N)
    story="probe $*"
    # shellcheck disable=SC2086
    timeout 60 $run "$bin/probe" "$@" >"$work/out" 2>"$work/err" 3>&-
    status=$?
    took=$(($(date +%s%3N) - begin))
}

ends_with() { [ "$status" = "$1" ] || { fail "$story: exit status $status instead of $1"; cat "$work/err"; }; }
says() { grep -Eq -- "$1" "$work/err" || { fail "$story: its messages have no '$1':"; cat "$work/err"; }; }
says_not() { ! grep -Eq -- "$1" "$work/err" || { fail "$story: its messages have '$1':"; cat "$work/err"; }; }
shows() { grep -Eq -- "$1" "$work/out" || { fail "$story: its table has no '$1':"; cat "$work/out"; }; }
rows() { [ "$(wc -l <"$work/out")" = "$1" ] || { fail "$story: not $1 lines of a table:"; cat "$work/out"; }; }

# The target of one of the servers.
target() { sed -n "s/ *# $1: .*//p" "$work/targets"; }

# ---- The servers -----------------------------------------------------------------------------------------

mkfifo "$work/input"
$run "$bin/probe_targets" "$work/targets" <"$work/input" &
server=$!
exec 3>"$work/input"
for _ in $(seq 200); do
    grep -q '^# ready' "$work/targets" 2>/dev/null && break
    sleep 0.05
done
grep -q '^# ready' "$work/targets" || { echo 'FAILED: the servers did not start'; exit 1; }

# ---- Every kind of server --------------------------------------------------------------------------------

each_server_has_its_state() {
    probe --timeout 3 --deadline 50 "$work/targets"
    ends_with 1
    while read -r name state; do
        local text
        text=$(target "$name")
        [ -n "$text" ] || continue # there may be no IPv6
        awk -v text="$text" -v state="$state" '$1 == text && $2 == state { found = 1 } END { exit !found }' \
            "$work/out" || { fail "$name is not '$state'"; cat "$work/out"; }
    done <<'END'
fast 200
slow 200
drip 200
missing 404
busy 503
silent timeout
reset reset
closing closed
noise garbage
refusing refused
plain open
v6 open
unix open
END
}

columns_are_aligned() {
    [ "$(awk '{ print length }' "$work/out" | sort -u | wc -l)" = 1 ] || { fail 'the columns'; cat "$work/out"; }
}

failures_name_task_group_and_line() {
    local line
    line=$(grep -n '# silent: ' "$work/targets" | cut -d: -f1)
    says "$(target silent)"
    says "line $line, waiting for the status line"
    says 'ETIMEDOUT'
    says 'ECONNREFUSED'
    says 'the server says .503 Come back later'
    says 'probe\.c:[0-9]+'
    says 'localhost'
    says '127\.0\.0\.1'
    says ' 6 failed, 0 cancelled, 0 not begun'
}

what_servers_say_is_escaped() {
    says '\\x1b\[31m\\x01\\x7f\\xff\\xfe is this HTTP\?'
    ! LC_ALL=C grep -q "$(printf '[\033\001\177\377]')" "$work/err" || fail 'a control character came through'
}

each_server_has_its_state
columns_are_aligned
failures_name_task_group_and_line
what_servers_say_is_escaped

all_fine_gives_0() {
    { target fast; target slow; target missing; target unix; target plain; target plain; } >"$work/fine"
    probe --strict "$work/fine"
    ends_with 0
    rows 7
    says '6 targets: 6 fine, 0 failed'
    [ "$(wc -l <"$work/err")" = 1 ] || fail "$story: more than a summary"
}
all_fine_gives_0

# ---- Stopping early --------------------------------------------------------------------------------------

strict_cancels_the_rest() {
    { target silent; target slow; target unix; target refusing; } >"$work/strict"
    probe --strict --timeout 20 "$work/strict"
    ends_with 1
    shows '/silent +cancelled '
    shows '/refusing +refused '
    says ' 1 failed, 2 cancelled'
    says_not 'ETIMEDOUT'
    [ "$took" -lt 15000 ] || fail "$story: took $took ms"
}
strict_cancels_the_rest

strict_starts_no_more() {
    for _ in 1 2 3 4 5 6 7 8 9; do target refusing; done >"$work/strict"
    probe --strict --jobs 1 "$work/strict"
    ends_with 1
    says '9 targets: 0 fine, 1 failed, 0 cancelled, 8 not begun'
}
strict_starts_no_more

the_deadline_gives_3() {
    { target silent; target refusing; } >"$work/late"
    probe --deadline 0.3 --timeout 20 "$work/late"
    ends_with 3
    shows '/silent +cancelled '
    says 'ECONNREFUSED'
    says 'ETIMEDOUT'
    says ' 1 failed, 1 cancelled'
    [ "$took" -lt 15000 ] || fail "$story: took $took ms"
    target silent >"$work/late"
    probe --deadline 0.3 "$work/late"
    ends_with 3
}
the_deadline_gives_3

one_job_takes_turns() {
    { target slow; target slow; target slow; target unix; } >"$work/turns"
    probe --jobs 1 "$work/turns"
    ends_with 0
    [ "$took" -ge 1200 ] || fail "$story: three answers of 400 ms took $took ms"
}
one_job_takes_turns

many_targets() {
    for _ in $(seq 300); do target refusing; target fast; done >"$work/many"
    probe --jobs 16 "$work/many"
    ends_with 1
    rows 601
    says '600 targets: 300 fine, 300 failed'
}
many_targets

# ---- Bad input -------------------------------------------------------------------------------------------

# Each line below with what must be said of it; the rest is still probed.
bad_lines_are_named() {
    {
        printf '%s\n' nothing :80 host:0 host:65536 host:8x '[::1' '[::1]80' ::1:80 'a b:80' https://host/ \
            ftp://host unix: http:// http://host:/
        printf 'unix:/%0200d\n' 0
        printf 'caf\351:80\n'
        printf 'a\0b:80\n'
        target fast
    } >"$work/bad"
    probe "$work/bad"
    ends_with 1
    shows ' 200 '
    rows 2
    says 'bad:1: no port: .nothing'
    says 'bad:2: no host'
    for number in 3 4 5 14; do says "bad:$number: the port is not a number"; done
    says "bad:6: a '\\[' without"
    says "bad:7: only a port"
    says 'bad:8: an IPv6 address needs brackets'
    says 'bad:9: a blank'
    for number in 10 11; do says "bad:$number: of all schemes"; done
    says 'bad:12: no path'
    says 'bad:13: no host'
    says 'bad:15: the path is too long'
    says 'bad:16: a byte that is not printable ASCII: .caf\\xe9:80'
    says 'bad:17: a NUL byte: .a\\x00b:80'
    says '17 bad lines'
}
bad_lines_are_named

comments_and_blanks_are_passed_over() {
    printf '# caf\303\251\n\n \t \r\n  %s \t # its comment\r\n\t# another\n%s' "$(target fast)" "$(target unix)" \
        >"$work/comments"
    probe "$work/comments"
    ends_with 0
    rows 3
    says '2 targets: 2 fine'
}
comments_and_blanks_are_passed_over

standard_input_is_read() {
    for file in '' -; do
        probe $file < <(target fast)
        ends_with 0
        rows 2
    done
}
standard_input_is_read

nothing_to_do_is_fine() {
    probe /dev/null
    ends_with 0
    rows 0
    printf '#' >"$work/empty"
    probe "$work/empty"
    ends_with 0
}
nothing_to_do_is_fine

long_and_binary_lines_do_no_harm() {
    { head -c 100000 /dev/zero | tr '\0' a; echo; target fast; } >"$work/long"
    probe "$work/long"
    ends_with 1
    says 'long:1: the line is too long'
    rows 2
    [ "$(wc -c <"$work/err")" -lt 1000 ] || fail "$story: repeats the long line"

    { head -c 20000 "$bin/probe"; echo; target fast; } >"$work/binary"
    probe --timeout 1 "$work/binary"
    ends_with 1
    shows ' 200 '
    LC_ALL=C tr -d '\n -~' <"$work/err" >"$work/rest"
    [ ! -s "$work/rest" ] || fail "$story: lets control characters through"
}
long_and_binary_lines_do_no_harm

names_without_address_fail() {
    { echo "$(printf '%070d' 0).invalid:80"; target fast; } >"$work/names"
    probe "$work/names"
    ends_with 1
    shows 'no address'
    shows ' 200 '
    says 'ENXIO'
    says 'line 1, connecting'
}
names_without_address_fail

missing_socket_has_the_code_as_state() {
    echo "unix:$work/none" >"$work/socket"
    probe "$work/socket"
    ends_with 1
    shows ' ENOENT '
}
missing_socket_has_the_code_as_state

unreadable_input_gives_2() {
    probe "$work/none"
    ends_with 2
    says 'cannot read .*/none: No such file'
    probe "$work"
    ends_with 2
    says 'cannot read .*: Is a directory'
}
unreadable_input_gives_2

# ---- Options ---------------------------------------------------------------------------------------------

bad_options_give_2() {
    probe --unknown
    ends_with 2
    says "unknown"
    says 'try --help'
    for bad in nan inf -1 0 '' 1x x 1e999; do
        probe --timeout "$bad" /dev/null
        ends_with 2
        says "timeout wants a number of seconds above 0, not '$bad'"
    done
    probe --deadline nan /dev/null
    ends_with 2
    for bad in 0 -1 1.5 '' x 99999999999999999999; do
        probe --jobs "$bad" /dev/null
        ends_with 2
        says "jobs wants a whole number from 1 up, not '$bad'"
    done
    probe --timeout
    ends_with 2
    probe one two
    ends_with 2
    says "'two' is the second"
    probe --timeout 0.5 --deadline 1e3 --jobs 2147483647 /dev/null
    ends_with 0
}
bad_options_give_2

help_is_given() {
    probe --help
    ends_with 0
    shows '--strict'
}
help_is_given

a_full_disk_is_told() {
    story='probe >/dev/full'
    target fast | $run "$bin/probe" >/dev/full 2>"$work/err"
    status=$?
    ends_with 2
    says 'cannot write'
}
[ ! -c /dev/full ] || a_full_disk_is_told

# ---- No leaks --------------------------------------------------------------------------------------------

# After all this the servers have only their listening sockets and what they began with.
servers_keep_no_connection() {
    sleep 0.2
    for fd in "/proc/$server/fd/"*; do readlink "$fd"; done 2>/dev/null | grep -c '^socket:' >"$work/sockets"
    [ "$(cat "$work/sockets")" -le 13 ] || fail "the servers hold $(cat "$work/sockets") sockets"
}
[ ! -d "/proc/$server/fd" ] || servers_keep_no_connection

servers_end_in_order() {
    exec 3>&-
    wait "$server"
    status=$?
    server=
    [ "$status" = 0 ] || fail "the servers ended with $status"
}
servers_end_in_order

under_valgrind_nothing_is_lost() {
    local command='valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=all --track-fds=yes'
    { echo 127.0.0.1:1; echo unix:@none; echo bad; } >"$work/few"
    story='probe under valgrind'
    $command "$bin/probe" "$work/few" >"$work/out" 2>"$work/err"
    status=$?
    ends_with 1
    says_not 'lost|still reachable'
}
if [ -z "$run" ] && [ -z "${TOOL:-}" ] && command -v valgrind >/dev/null; then under_valgrind_nothing_is_lost; fi

[ "$failures" = 0 ]
