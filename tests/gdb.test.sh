#!/usr/bin/env bash
# The commands for gdb, on a program that runs and on the core file of one that died. BUILD names the build directory.
set -u
cd "$(dirname "$0")/.." || exit 1

build=${BUILD:-build/gcc}
source=tests/gdb/parked.c
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    echo "FAILED: $*"
    bad=1
}

[[ ${CONTEXT:-} == ucontext ]] && skip 'the stacks of ucontext are not known to the commands'
command -v gdb >/dev/null || skip 'there is no gdb'
gdb -nx -batch -ex 'python print("has " + "Python")' 2>/dev/null | grep -q '^has Python' ||
    skip 'this gdb has no Python'

# shellcheck disable=SC2086 # CFLAGS are several
${CC:-gcc} -g -O1 ${CFLAGS:-} -Iinclude -pthread -o "$work/parked" "$source" "$build/libosier.a" -lev -lm || exit 1

# Runs commands in gdb; what they say is left in $work/out.
debug() { # STORY GDB-ARGUMENT...
    story=$1
    shift
    timeout 120 gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set width 0' -ex 'source src/osier-gdb.py' "$@" \
        >"$work/out" 2>&1 </dev/null
    grep -q 'Python Exception' "$work/out" && { fail "$story: an exception"; cat "$work/out"; }
}

says() { grep -Eq -- "$1" "$work/out" || { fail "$story: there is no '$1' in:"; cat "$work/out"; }; }
says_not() { ! grep -Eq -- "$1" "$work/out" || { fail "$story: there is '$1' in:"; cat "$work/out"; }; }
says_times() { # NUMBER PATTERN
    [[ $(grep -Ec -- "$2" "$work/out") == "$1" ]] || { fail "$story: not $1 times '$2' in:"; cat "$work/out"; }
}

# Where a call stands that is marked in the program.
at() { echo "$source:$(grep -n "/\* $1 \*/" "$source" | cut -d: -f1)"; }

debug 'whether gdb can run a program' -ex 'break stop_here' -ex run "$work/parked"
grep -q 'hit Breakpoint' "$work/out" || { cat "$work/out"; skip 'gdb cannot run a program here'; }

# ---- A process -----------------------------------------------------------------------------------------

stopped=(-ex 'break stop_here' -ex run)

says_what_all_tasks_do() {
    says '^\* 1 task "program", spawned at .*, runs$'
    says "^  2 task \"owner\", spawned at $source:[0-9]+, waits in osr_group_close at $(at CLOSES)\$"
    says "^  3 task \"reader\", .* waits in osr_read at $(at READS)\$"
    says "^  4 task \"the deep one\", .* waits in osr_sleep at $(at SLEEPS)\$"
}

tasks_are_listed() {
    debug 'osier tasks' "${stopped[@]}" -ex 'osier tasks' "$work/parked"
    says_what_all_tasks_do
    says '^  5 task "late", .* has not begun$'
    says_not 'another thread'
    debug 'osier tasks all' "${stopped[@]}" -ex 'osier tasks all' "$work/parked"
    says_what_all_tasks_do
    says '^run of thread 2:$'
    says '^  1 task "of another thread", .* waits in osr_fd_readable at '
}
tasks_are_listed

# The frames of the task that sleeps: its functions, each with its line, and nothing of the thread's own stack.
says_where_the_deep_one_is() {
    says '^4 task "the deep one"'
    says_times 4 "^#[0-9]+ .* in sleep_deep \(depth=.*\) at $(at SLEEPS)\$"
    says "^#[0-9]+ .*sleeper_body_ .* at $source:[0-9]+\$"
    says "^#[0-9]+ .*(osr_sleep_here|sleep_until) " # which compilers may jump to
    says '^#0 '
    says '^#[0-9]+ .* in osri_context_end \(\)'
    says_not ' in main |osri_sched_run| \?\? \(|stop_here \('
}

one_backtrace_is_the_tasks_own() {
    debug 'osier bt 4' "${stopped[@]}" -ex 'echo \n----\n' -ex 'osier bt 4' "$work/parked"
    sed -i '1,/^----$/d' "$work/out"
    says_where_the_deep_one_is
    debug 'osier bt 4 full' "${stopped[@]}" -ex 'osier bt 4 full' "$work/parked"
    says '^ +rc = '
    debug 'osier bt 99' "${stopped[@]}" -ex 'osier bt 99' "$work/parked"
    says 'there is no such task'
}
one_backtrace_is_the_tasks_own

all_backtraces_are_given() {
    debug 'osier bt' "${stopped[@]}" -ex 'osier bt' "$work/parked"
    says "^#[0-9]+ .*reader_(body|run)_ .* at $(at READS)\$"
    says "^#[0-9]+ .*owner_body_ .* at $(at CLOSES)\$"
    says '^#[0-9]+ .* in program_body_ '
    says '^#0  late_run_ is still to be called$'
    says_not 'another thread'
    debug 'osier bt all' "${stopped[@]}" -ex 'osier bt all' "$work/parked"
    says "^#[0-9]+ .*reader_(body|run)_ .* at $(at READS)\$"
    says '^1 task "of another thread"'
    says "^#[0-9]+ .*other_(body|run)_ .* at $source:[0-9]+\$"
}
all_backtraces_are_given

the_tree_shows_scopes_and_reasons() {
    debug 'osier tree' "${stopped[@]}" -ex 'osier tree' -ex continue -ex 'osier tree' "$work/parked"
    says_times 1 "^  group \"outer\" with 3 running, opened at $source:[0-9]+\$"
    says '^      scope, opened at .*, due in 49[0-9]{4}\.[0-9]{3} ms$'
    says '^        group "inner" with 1 running \(at most 3\), opened at '
    says '^          4 task "the deep one", .* waits in osr_sleep'
    says "^  group \"outer\" .*, cancelled by task \"program\" at $source:[0-9]+: seen enough\$"
    says '^          4 task "the deep one", .* is ready$'
}
the_tree_shows_scopes_and_reasons

# A frame and a thread that were selected are so afterwards, and the program goes on to its end.
nothing_is_changed() {
    debug 'what was selected' "${stopped[@]}" -ex 'frame 1' -ex 'osier tasks all' -ex 'osier bt all' -ex 'osier bt 4' \
        -ex 'echo \n====\n' -ex frame -ex thread -ex 'backtrace 2' -ex 'delete' -ex continue "$work/parked"
    sed -i '1,/^====$/d' "$work/out"
    says_times 2 '^#1 .* in program_body_ ' # of the frame, and of the backtrace
    says 'Current thread is 1 '
    says '^#0  stop_here '
    says 'exited normally'
}
nothing_is_changed

outside_a_run_is_told() {
    debug 'before the process' -ex 'osier tasks' "$work/parked"
    says 'there is no process'
    debug 'before any run' -ex 'break main' -ex run -ex 'osier tasks' -ex 'osier bt' "$work/parked"
    says_times 2 'no thread is in a run'
    debug 'a program without osier' -ex 'break main' -ex run -ex 'osier tree' /bin/true
    says 'osier: (no debug information|there is no process)'
    debug 'usage' "${stopped[@]}" -ex 'osier tree 7' "$work/parked"
    says 'usage: osier tree \[all\]'
}
outside_a_run_is_told

the_library_may_be_shared() {
    # shellcheck disable=SC2086
    ${CC:-gcc} -g -O1 ${CFLAGS:-} -Iinclude -pthread -o "$work/shared" "$source" "$build/libosier.so" || return
    debug 'the shared library' -ex "set environment LD_LIBRARY_PATH $build" "${stopped[@]}" -ex 'osier tasks' \
        -ex 'echo \n----\n' -ex 'osier bt 4' "$work/shared"
    says_what_all_tasks_do
    sed -i '1,/^----$/d' "$work/out"
    says_where_the_deep_one_is
}
[[ ! -e $build/libosier.so ]] || the_library_may_be_shared

# ---- A core file ---------------------------------------------------------------------------------------

core_files_can_be_read() {
    (cd "$work" && ulimit -c unlimited && ABORT=1 ./parked) 2>/dev/null
    local core
    core=$(compgen -G "$work/core*" | head -n 1)
    [[ -n $core ]] || { echo 'the system writes core files elsewhere, or none: not looked at'; return; }
    debug 'tasks of a core file' -ex 'osier tasks' "$work/parked" "$core"
    says_what_all_tasks_do
    debug 'backtrace of a core file' -ex 'echo \n----\n' -ex 'osier bt 4' "$work/parked" "$core"
    sed -i '1,/^----$/d' "$work/out"
    says_where_the_deep_one_is
    debug 'tree of a core file' -ex 'osier tree' "$work/parked" "$core"
    says '^      scope, opened at .*, due at [0-9]+\.[0-9]+ s$'
}
core_files_can_be_read

# In the memory that gdb itself saves the stacks may be missing: then it says so.
gdbs_own_core_files_do_no_harm() {
    debug 'saving a core file' "${stopped[@]}" -ex "generate-core-file $work/own" "$work/parked"
    [[ -e $work/own ]] || return
    debug 'a core file of gdb' -ex 'osier tasks' "$work/parked" "$work/own"
    says 'the stacks are not in this core file|waits in osr_read'
}
gdbs_own_core_files_do_no_harm

exit "$bad"
