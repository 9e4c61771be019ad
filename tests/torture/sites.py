#!/usr/bin/env python3
"""Which calls of the library that can fail have been made to, and which of its functions have been called.

    sites.py PROGRAM SITES SRC

SITES: a line for each place that was seen to fail, the addresses of its callers from the inside out. Fails if a call that
can fail has never been made to, unless it stands below, or if the programs leave a function out.
"""
import re
import subprocess
import sys
from pathlib import Path

# Calls by which memory, descriptors and the like are had; those of 0_base are called through osri_…().
CALLS = (r'osri_(?:alloc|resize|sys_(?!clock|nap|unmap|is_guarded|wait\b|wake\b)\w+)|malloc|calloc|realloc|mmap|eventfd|epoll_create1|epoll_ctl'
         r'|readlink|open|pwrite|pthread_create|getaddrinfo|ev_loop_new|sigaltstack|sem_wait')
WRAPPERS = ('0_base/sys.c', '0_base/sys.h', '0_base/memory.c', '0_base/memory.h')

# Why these have not.
EXCUSED = {
    'if (sigaltstack(NULL, &stack) < 0)': 'asking cannot fail',
    'if (sigaltstack(NULL, &now) == 0 && now.ss_sp == guard->stack)': 'asking cannot fail',
    'sigaltstack(&none, NULL);': 'taking away what was given cannot',
    'count = osri_sys_advise_many(pages, count, stacks->guard, MADV_GUARD_INSTALL);':
        'not asked of the door: one by one, which is, if it does nothing',
    '(void)osri_sys_advise_many(pages, count, stacks->page, MADV_POPULATE_WRITE);': 'not asked of the door: it need do nothing',
    'char *longer = malloc((size_t)length + 1);': 'of words that are too long for the stack; without them they are cut',
}


def calls_in(source):
    """The lines of all files that make such a call, as (file, line)."""
    found = {}
    for path in sorted(source.glob('[0-8]_*/*.c')):
        name = str(path.relative_to(source))
        if name in WRAPPERS:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = line.split('/*')[0]
            match = re.search(r'(?<![\w.>])(' + CALLS + r')\(', code)
            if match and not re.match(r'\s*\*|(?:static |extern |void |int |struct )\S.*\)[;]?$', line):
                found[name, number] = code.strip()
    return found


def lines_of(program, addresses):
    """Where the addresses lead to, as (file, line)."""
    out = subprocess.run(['addr2line', '-e', program] + sorted(addresses), capture_output=True, text=True, check=True).stdout
    where = {}
    for address, text in zip(sorted(addresses), out.splitlines()):
        match = re.match(r'(?:.*/)?src/(\d_\w+/\w+\.[ch]):(\d+)', text)
        where[address] = (match[1], int(match[2])) if match else None
    return where


def failed_in(program, path):
    chains = [line.split() for line in Path(path).read_text().splitlines()]
    where = lines_of(program, {address for chain in chains for address in chain})
    failed = set()
    for chain in chains:
        places = [where[address] for address in chain if where[address]]
        failed.update(next(([place] for place in places if place[0] not in WRAPPERS), []))
    return failed


def functions_left_out(program):
    """Of the library's functions, those that the programs do not name."""
    directory = Path(program).parent
    symbols = lambda paths, options: subprocess.run(['nm', *options, *map(str, paths)], capture_output=True, text=True).stdout
    made = re.findall(r' T (osr_\w+)', symbols(directory.glob('src/*/*.o'), ['-g', '--defined-only']))
    named = set(re.findall(r' U (osr_\w+)', symbols(directory.glob('*.o'), ['-u'])))
    return sorted(set(made) - named)


def main():
    program, sites, source = sys.argv[1:]
    calls, failed = calls_in(Path(source)), failed_in(program, sites)
    missing = {place: code for place, code in calls.items() if place not in failed and code not in EXCUSED}
    for (name, number), code in missing.items():
        print(f'never failed: {name}:{number}: {code}')
    left_out = functions_left_out(program)
    if left_out:
        print('never called:', ' '.join(left_out))
    print(f'{len(calls) - len(missing) - len(EXCUSED)} of {len(calls)} calls in the source have been made to fail, '
          f'{len(EXCUSED)} cannot')
    return 1 if missing or left_out else 0


sys.exit(main())
