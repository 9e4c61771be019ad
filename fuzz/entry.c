/* The one entry point for libFuzzer and AFL++. */
#include <malloc.h>
#include <stdlib.h>

#include "check.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

void __afl_coverage_discard(void) __attribute__((weak)); /* only under AFL++ */

enum { WARM_UPS = 300 };

/* What the first runs do once and for all, such as making pools, is no coverage of an input. AFL++ forks after
 * LLVMFuzzerInitialize(), and in the child some of it has to be done again; so it has when the runners are made anew. */
static void warm_up(void)
{
    unsigned char bytes[160];
    struct finding finding;
    unsigned random = 1, i, k;

    for (i = 0; i < WARM_UPS; i++) {
        for (k = 0; k < sizeof(bytes); k++)
            bytes[k] = (unsigned char)((random = random * 1103515245 + 12345) >> 16);
        check_input(bytes, sizeof(bytes) - i % 100, i % 16 == 0, &finding);
    }
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    mallopt(M_TRIM_THRESHOLD, 1 << 28); /* what a run gives back is for the next */
    warm_up();
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct finding finding;

    while (__afl_coverage_discard && interpreter_prepare()) {
        warm_up();
        __afl_coverage_discard();
    }
    check_input(bytes, size, size % 16 == 0, &finding);
    if (finding.outcome > CHECK_SKIPPED) {
        check_tell(bytes, size, stderr);
        abort();
    }
    return 0;
}
