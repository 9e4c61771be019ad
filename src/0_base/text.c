#include "0_base/text.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* ---- Formatting ---- */

static bool is_simple(const char *format)
{
    while ((format = strchr(format, '%')) != NULL) {
        format += format[1] == 'z' ? 2 : 1;
        if (*format != 'u' && *format != 's')
            return false;
    }
    return true;
}

/* What fits; the whole length grows in any case. */
static void put(char *buffer, size_t size, size_t *length, const char *words, size_t more)
{
    size_t left = *length < size ? size - *length : 0;

    if (left > 0)
        memcpy(buffer + *length, words, more < left ? more : left);
    *length += more;
}

static void put_number(char *buffer, size_t size, size_t *length, size_t number)
{
    char digits[24], *at = digits + sizeof(digits);

    do
        *--at = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    put(buffer, size, length, at, (size_t)(digits + sizeof(digits) - at));
}

int osri_format(char *buffer, size_t size, const char *format, va_list list)
{
    size_t length = 0;

    if (!is_simple(format))
        return vsnprintf(buffer, size, format, list);
    for (;;) {
        const char *next = strchrnul(format, '%'), *words;

        put(buffer, size, &length, format, (size_t)(next - format));
        if (!*next)
            break;
        format = next + (next[1] == 'z' ? 3 : 2);
        if (next[1] == 's') {
            words = va_arg(list, const char *);
            words = words ? words : "(null)";
            put(buffer, size, &length, words, strlen(words));
        } else {
            put_number(buffer, size, &length, next[1] == 'z' ? va_arg(list, size_t) : va_arg(list, unsigned));
        }
    }
    if (size > 0)
        buffer[length < size ? length : size - 1] = '\0';
    return length <= INT_MAX ? (int)length : -1;
}

/* ---- Texts ---- */

static void add(struct text *text, const char *format, va_list list) OSR_PRINTF_(2, 0);

static void add(struct text *text, const char *format, va_list list)
{
    size_t left = text->length < text->size ? text->size - text->length : 0;
    int n;

    if (text->stream)
        n = vfprintf(text->stream, format, list);
    else
        n = osri_format(left ? text->buffer + text->length : NULL, left, format, list);
    if (n < 0)
        text->failed = true;
    else
        text->length += (size_t)n;
}

void osri_text(struct text *text, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    add(text, format, list);
    va_end(list);
}

/* Most of a text is words, for which there is nothing to format. */
static void add_plain(struct text *text, const char *words, size_t length)
{
    size_t left = text->length < text->size ? text->size - text->length - 1 : 0;

    if (text->stream) {
        if (fwrite(words, 1, length, text->stream) != length)
            text->failed = true;
    } else if (left > 0 && length > 0) {
        size_t fits = length < left ? length : left;

        memcpy(text->buffer + text->length, words, fits);
        text->buffer[text->length + fits] = '\0';
    }
    text->length += length;
}

void osri_text_words(struct text *text, const char *words, const char *margin)
{
    while (*words) {
        size_t plain = 0;

        while ((unsigned char)words[plain] >= ' ' && words[plain] != 0x7f)
            plain++;
        add_plain(text, words, plain);
        words += plain;
        if (*words == '\n' && words[1])
            osri_text(text, "\n%s", margin);
        else if (*words && *words != '\n')
            osri_text(text, "\\x%02x", (unsigned char)*words);
        words += *words != '\0';
    }
}

void osri_name_copy(char to[OSR_NAME_SIZE], const char *name)
{
    size_t length = name ? strnlen(name, OSR_NAME_SIZE - 1) : 0;

    if (length)
        memcpy(to, name, length);
    to[length] = '\0';
}

void osri_text_plain(struct text *text, const char *words)
{
    add_plain(text, words, strlen(words));
}

/* ---- What is kept ---- */

struct kept {
    struct kept *next;
    char words[];
};

/* Threads only add to it, at its head; two that add the same at once both do, which does no harm. */
static _Atomic(struct kept *) kept;

const char *osri_text_keep(const char *words)
{
    struct kept *at = atomic_load(&kept);
    size_t size = strlen(words) + 1;

    for (; at; at = at->next)
        if (strcmp(at->words, words) == 0)
            return at->words;
    at = malloc(sizeof(*at) + size);
    if (!at)
        return NULL;
    memcpy(at->words, words, size);
    at->next = atomic_load(&kept);
    while (!atomic_compare_exchange_weak(&kept, &at->next, at))
        continue;
    return at->words;
}
