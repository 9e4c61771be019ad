/*
 * The library's calls into the system and for memory, stood in for by ones that can be told to fail. The library is linked
 * with these names in their place (calls.txt), and nothing else is; of libev's own calls epoll_ctl() can fail.
 */
#ifndef OSIER_TORTURE_FAULTS_H
#define OSIER_TORTURE_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/* One fault: the `at`-th call that could fail, counted from 1, does, with the `pick`-th of its codes. ONCE_FOR_MEMORY: the
 * `at`-th for memory, of which there are as many in each run, however often it has to wait. */
struct fault {
    unsigned long at; /* 0: none */
    unsigned pick;
    enum { ONCE, SAME_FROM_THERE_ON, ALL_FROM_THERE_ON, ONCE_FOR_MEMORY } form;
};

enum { FAULTS = 2, KINDS = 64, LOGGED = 1 << 16, SITES = 1 << 12, FRAMES = 8 };

/* What is kept of it, also when the process has died: in memory that is shared with the children. */
struct board {
    bool on;
    struct fault faults[FAULTS];
    unsigned long asked, asked_for_memory; /* calls that could fail, since faults_begin() */
    unsigned char log[LOGGED];      /* of which kind they were */
    unsigned long failed[KINDS];    /* calls that were made to, by kind, in all */
    unsigned hits[KINDS];           /* with which of its codes calls of a kind failed, as bits, since faults_begin() */
    unsigned site_count;
    size_t sites[SITES][FRAMES];    /* who called, from the inside out, as offsets into the program */
};

extern struct board *faults_board;

/* To be called once, before any child is made. */
void faults_open(void);

/* From now on calls are counted, and those that are meant fail. */
void faults_begin(const struct fault faults[FAULTS]);
void faults_end(void);

const char *faults_name(unsigned kind);

/* How many ways to fail a kind of call has; those from the second number on must not be felt: calls that signals interrupt,
 * descriptors that are not ready after all, short transfers. */
unsigned faults_picks(unsigned kind);
unsigned faults_loud_picks(unsigned kind);

/* The code behind a pick, as errno has it. */
int faults_code(unsigned kind, unsigned pick);

/* Blocks of memory that the library holds. */
long faults_blocks(void);

#endif
