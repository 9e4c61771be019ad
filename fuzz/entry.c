/* The one entry point for libFuzzer and AFL++. */
#include <stdlib.h>

#include "check.h"

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size);

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
