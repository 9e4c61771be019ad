/* Text that goes to a stream or into a buffer of fixed size, whichever the caller has. */
#ifndef OSIER_BASE_TEXT_H
#define OSIER_BASE_TEXT_H

#include <stdarg.h>
#include <stdio.h>

#include <osier/base.h>

struct text {
    FILE *stream;  /* or: */
    char *buffer;  /* always ended with a NUL if size > 0 */
    size_t size;
    size_t length; /* of the whole text, also of what did not fit */
    bool failed;   /* the stream failed */
};

static inline struct text text_to_stream(FILE *stream)
{
    return (struct text){.stream = stream};
}

static inline struct text text_to_buffer(char *buffer, size_t size)
{
    if (size)
        buffer[0] = '\0';
    return (struct text){.buffer = buffer, .size = size};
}

/* The same as vsnprintf(), whose most usual conversions it knows itself: %s, %u and %zu. */
int osri_format(char *buffer, size_t size, const char *format, va_list list) OSR_PRINTF_(3, 0);

void osri_text(struct text *text, const char *format, ...) OSR_PRINTF_(2, 3);

/* The symbol of a code; its number, written into `number`, if it has none. */
enum { CODE_NUMBER = 12 };
const char *osri_code_words(int code, char number[CODE_NUMBER]);

/* Adds words as they are. */
void osri_text_plain(struct text *text, const char *words);

/* Adds words that came from outside: control characters are escaped, and lines after the first are led in
 * by `margin`. */
void osri_text_words(struct text *text, const char *words, const char *margin);

/* Copies a name, cut to what a name may have; NULL is the empty name. */
void osri_name_copy(char to[OSR_NAME_SIZE], const char *name);

/* A copy that lives as long as the program, the same for all texts that are alike; NULL without memory. */
const char *osri_text_keep(const char *words);

/* "?" for a place that was not recorded. */
static inline const char *place_or_unknown(const char *where)
{
    return where ? where : "?";
}

#endif
