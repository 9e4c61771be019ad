#!/usr/bin/env bash
# Shows which lines and branches of src/ the tests ran: tests/coverage.sh OBJECTS REPORT. The first is the
# directory of a build with TOOL=coverage whose tests have run, the second receives index.html. The last line is the
# verdict; it fails if something has not run that does not stand in uncovered.txt.
set -eu

objects=$1 report=$2
collect=$report/collected.json

# A branch that only a failed assert takes is none that a test could take. A process that writes its counts while its threads
# go on may leave one below zero, which is left out.
mkdir -p "$report"
gcovr --root . --filter 'src/' --gcov-ignore-parse-errors --exclude-lines-by-pattern '\s*assert\(.*' --json "$collect" "$objects"
gcovr --root . --add-tracefile "$collect" --html-details "$report/index.html"

gcovr --root . --add-tracefile "$collect" --csv | awk -F, '
    function show(name, lines, lines_run, branches, branches_run) {
        printf "%-34s %6d %7s %8d %7s\n", name, lines, percent(lines_run, lines), branches,
               percent(branches_run, branches)
    }
    function percent(part, whole) { return whole ? sprintf("%.1f%%", 100 * part / whole) : "-" }
    function add(where) {
        lines[where] += $2; lines_run[where] += $3; branches[where] += $5; branches_run[where] += $6
    }
    NR == 1 { printf "%-34s %6s %7s %8s %7s\n", "", "lines", "run", "branches", "run"; next }
    {
        show($1, $2, $3, $5, $6)
        add("src/ (all)")
        if ($1 ~ /^src\/[0-5]_/)
            add("src/0_base to src/5_sync")
    }
    END {
        for (where in lines)
            show(where, lines[where], lines_run[where], branches[where], branches_run[where])
    }'
echo "See $report/index.html"
tests/coverage.py "$collect" tests/uncovered.txt
