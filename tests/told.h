/* What tests of the test kit (osier/test.h) share: what it has told, and tokens by hand. */
#ifndef OSIER_TESTS_TOLD_H
#define OSIER_TESTS_TOLD_H

#include "harness.h"

/* All that was told since somebody has cleared its first byte; what there is no room for is left out. */
extern char told[1 << 17];

/* An osr_test.tell; `arg` is not used. */
void note(void *arg, const char *text);

void assert_told(const char *text);
void assert_not_told(const char *text);

/* The token with these lines, the test's name before them, and its check sum. Good until the next. */
const char *whole(const char *lines);

#endif
