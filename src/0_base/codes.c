/* Texts for codes, osier's own and those of errno. */
#include <string.h>

#include "0_base/text.h"

static const struct {
    const char *symbol, *text;
} own[] = {
    [OSR_EGROUP - OSR_EGROUP] = {"OSR_EGROUP", "Errors in a group of tasks"},
    [OSR_ETASKCANCELED - OSR_EGROUP] = {"OSR_ETASKCANCELED", "Task was cancelled"},
    [OSR_ESCOPECANCELED - OSR_EGROUP] = {"OSR_ESCOPECANCELED", "Scope was cancelled"},
    [OSR_ESPURIOUS - OSR_EGROUP] = {"OSR_ESPURIOUS", "ECANCELED although no scope around is cancelled"},
    [OSR_ECLOSED - OSR_EGROUP] = {"OSR_ECLOSED", "Already closed"},
    [OSR_EDEADLOCK - OSR_EGROUP] = {"OSR_EDEADLOCK", "Nothing can ever run again"},
    [OSR_ENOTSTARTED - OSR_EGROUP] = {"OSR_ENOTSTARTED", "Task ended without saying that it had started"},
    [OSR_EBROKEN - OSR_EGROUP] = {"OSR_EBROKEN", "Barrier is broken"},
    [OSR_EFUTURECANCELED - OSR_EGROUP] = {"OSR_EFUTURECANCELED", "Future was cancelled"},
    [OSR_EWORKER - OSR_EGROUP] = {"OSR_EWORKER", "Worker process died"},
};

static unsigned magnitude(int code)
{
    return code < 0 ? 0u - (unsigned)code : (unsigned)code;
}

const char *osr_strerror(int code)
{
    unsigned number = magnitude(code);
    const char *text;

    if (number >= OSR_EGROUP && number - OSR_EGROUP < sizeof(own) / sizeof(own[0]))
        return own[number - OSR_EGROUP].text;
    text = number < OSR_EGROUP ? strerrordesc_np((int)number) : NULL;
    return text ? text : "Unknown error";
}

const char *osr_strcode(int code)
{
    unsigned number = magnitude(code);
    const char *symbol;

    if (number >= OSR_EGROUP && number - OSR_EGROUP < sizeof(own) / sizeof(own[0]))
        return own[number - OSR_EGROUP].symbol;
    symbol = number < OSR_EGROUP ? strerrorname_np((int)number) : NULL;
    return symbol ? symbol : "?";
}

const char *osri_code_words(int code, char number[CODE_NUMBER])
{
    const char *symbol = osr_strcode(code);

    if (*symbol != '?')
        return symbol;
    snprintf(number, CODE_NUMBER, "%d", code);
    return number;
}

const char *osr_version(void)
{
    return OSR_VERSION;
}
