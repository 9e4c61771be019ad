/* The one entry point for libFuzzer and AFL++. */
#include <malloc.h>
#include <stdlib.h>

#include "check.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

/* What the first run does once and for all is done before the first input. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const unsigned char warm_up[64] = {0, 0, 13};
    struct finding finding;

    (void)argc, (void)argv;
    mallopt(M_TRIM_THRESHOLD, 1 << 28); /* what a run gives back is for the next */
    check_input(warm_up, sizeof(warm_up), true, &finding);
    return 0;
}

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size)
{
    struct finding finding;

    check_input(bytes, size, size % 16 == 0, &finding);
    if (finding.outcome > CHECK_SKIPPED) {
        check_tell(bytes, size, stderr);
        abort();
    }
    return 0;
}
