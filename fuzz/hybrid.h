/*
 * Real libev under a clock of the fuzzer's own: the calls by which the library and libev ask what time it is, and wait, are
 * stood in for, in this program only. The clock stands still while tasks run, and moves when libev would wait.
 */
#ifndef OSIER_FUZZ_HYBRID_H
#define OSIER_FUZZ_HYBRID_H

/* So long is what the programs count time in: libev waits for whole milliseconds. */
#define HYBRID_UNIT 1000000

/* From now on, until the end, time begins at 0 and is the fuzzer's. */
void hybrid_begin(void);
void hybrid_end(void);

/* One more thread, or one less, works for the run: as long as there are any, time stands still when libev waits. */
void hybrid_hold(int more);

#endif
