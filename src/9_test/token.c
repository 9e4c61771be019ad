#include "9_test/kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Scripts ---- */

void osri_kit_script_add(struct script *script, struct line line)
{
    if (script->count == script->capacity) {
        script->capacity = script->capacity ? script->capacity * 2 : 16;
        script->lines = osri_kit_resize(script->lines, script->capacity * sizeof(*script->lines));
    }
    script->lines[script->count++] = line;
}

void osri_kit_script_copy(struct script *to, const struct script *from)
{
    size_t i;

    to->count = 0;
    for (i = 0; i < from->count; i++)
        osri_kit_script_add(to, from->lines[i]);
}

void osri_kit_script_free(struct script *script)
{
    free(script->lines);
    *script = (struct script){0};
}

/* ---- Sums ---- */

/* FNV-1a. */
static uint32_t sum(const char *text, size_t length)
{
    uint32_t hash = 2166136261u;

    while (length-- > 0)
        hash = (hash ^ (unsigned char)*text++) * 16777619u;
    return hash;
}

static uint16_t fold(uint32_t hash)
{
    return (uint16_t)(hash ^ hash >> 16);
}

uint16_t osri_kit_hash(const char *what)
{
    uint16_t hash = fold(sum(what, strlen(what)));

    return hash ? hash : 1; /* 0 is "not known" */
}

uint16_t osri_kit_hash_of(unsigned kind, const char *what)
{
    const char *slash = kind == OSR_CHOICE_CANCEL ? strrchr(what, '/') : NULL;

    return osri_kit_hash(slash ? slash + 1 : what);
}

/* ---- Writing ---- */

static void put(struct token_writer *writer, const char *format, ...) OSR_PRINTF_(2, 3);

static void put(struct token_writer *writer, const char *format, ...)
{
    size_t left = writer->length < writer->size ? writer->size - writer->length : 0;
    va_list list;
    int n;

    va_start(list, format);
    n = vsnprintf(left ? writer->buffer + writer->length : NULL, left, format, list);
    va_end(list);
    writer->length += (size_t)n;
}

static bool goes_on(const struct line *line, const struct line *next)
{
    return next->kind == line->kind && next->answer == line->answer && next->first == line->last + 1 &&
           !line->onwards && !next->onwards;
}

static void put_line(struct token_writer *writer, const struct line *line)
{
    put(writer, "%s%c%lu", writer->lines++ > 0 ? "," : "", KIND_LETTERS[line->kind], line->first);
    if (line->onwards)
        put(writer, "+");
    else if (line->last > line->first)
        put(writer, "-%lu", line->last);
    put(writer, "=%u", line->answer);
    if (line->n)
        put(writer, "/%u", line->n);
    if (line->what)
        put(writer, ".%04x", line->what);
}

void osri_kit_token_begin(struct token_writer *writer, const char *name, char *buffer, size_t size)
{
    *writer = (struct token_writer){.buffer = buffer, .size = size};
    put(writer, "osr1:%s:", name);
}

void osri_kit_token_add(struct token_writer *writer, const struct line *line)
{
    struct line *last = &writer->last;

    if (last->answer && goes_on(last, line)) {
        last->last = line->last;
        last->n = last->what = 0; /* each has its own */
        return;
    }
    if (last->answer)
        put_line(writer, last);
    *last = *line;
}

size_t osri_kit_token_end(struct token_writer *writer)
{
    if (writer->last.answer)
        put_line(writer, &writer->last);
    put(writer, ";%04x", writer->length < writer->size ? fold(sum(writer->buffer, writer->length)) : 0);
    return writer->length;
}

size_t osri_kit_token_format(const char *name, const struct script *script, char *buffer, size_t size)
{
    struct token_writer writer;
    size_t i;

    osri_kit_token_begin(&writer, name, buffer, size);
    for (i = 0; i < script->count; i++)
        osri_kit_token_add(&writer, &script->lines[i]);
    return osri_kit_token_end(&writer);
}

/* ---- Reading ---- */

struct reader {
    const char *begin, *at;
    char *why;
    size_t size;
};

static int refuse(const struct reader *reader, const char *format, ...) OSR_PRINTF_(2, 3);

static int refuse(const struct reader *reader, const char *format, ...)
{
    char text[256];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    snprintf(reader->why, reader->size, "%s, at character %zu, before \"%.20s\"", text,
             (size_t)(reader->at - reader->begin) + 1, reader->at);
    return -EINVAL;
}

static bool take(struct reader *reader, char c)
{
    if (*reader->at != c)
        return false;
    reader->at++;
    return true;
}

/* A number of at least `least`; at most nine digits, so that nothing overflows. */
static int take_number(struct reader *reader, unsigned long least, unsigned long *number)
{
    size_t digits = strspn(reader->at, "0123456789");

    if (digits == 0)
        return refuse(reader, "a number is missing");
    if (digits > 9)
        return refuse(reader, "a number is too large");
    *number = strtoul(reader->at, NULL, 10);
    if (*number < least)
        return refuse(reader, "a number is too small");
    reader->at += digits;
    return 0;
}

static int take_unsigned(struct reader *reader, unsigned long least, unsigned *number)
{
    unsigned long taken = 0;
    int rc = take_number(reader, least, &taken);

    *number = (unsigned)taken;
    return rc;
}

static int take_what(struct reader *reader, uint16_t *what)
{
    char digits[5] = "";

    if (strspn(reader->at, "0123456789abcdef") < 4)
        return refuse(reader, "four digits are missing");
    memcpy(digits, reader->at, 4);
    *what = (uint16_t)strtoul(digits, NULL, 16);
    reader->at += 4;
    return 0;
}

/* There is a ';' still to come: the token has been found whole. */
static int take_line(struct reader *reader, struct line *line)
{
    const char *letter = strchr(KIND_LETTERS, *reader->at);
    int rc;

    *line = (struct line){0};
    if (!letter)
        return refuse(reader, "there is no such kind of choice");
    line->kind = (unsigned)(letter - KIND_LETTERS);
    reader->at++;
    rc = take_number(reader, 1, &line->first);
    line->last = line->first;
    if (rc == 0 && take(reader, '+'))
        line->onwards = true;
    else if (rc == 0 && take(reader, '-'))
        rc = take_number(reader, line->first, &line->last);
    if (rc == 0 && !take(reader, '='))
        rc = refuse(reader, "'=' is missing");
    if (rc == 0)
        rc = take_unsigned(reader, 1, &line->answer);
    if (rc == 0 && take(reader, '/'))
        rc = take_unsigned(reader, line->answer + 1, &line->n);
    if (rc == 0 && take(reader, '.'))
        rc = take_what(reader, &line->what);
    return rc;
}

static int take_lines(struct reader *reader, struct script *script)
{
    unsigned long reached[KINDS] = {0};
    struct line line;
    int rc = 0;

    while (rc == 0 && *reader->at != ';') {
        rc = take_line(reader, &line);
        if (rc == 0 && line.first <= reached[line.kind])
            rc = refuse(reader, "choices are out of order");
        if (rc < 0)
            return rc;
        reached[line.kind] = line.last;
        osri_kit_script_add(script, line);
        if (take(reader, ','))
            rc = *reader->at == ';' ? refuse(reader, "a choice is missing") : 0;
        else if (*reader->at != ';')
            rc = refuse(reader, "',' is missing");
    }
    if (rc == 0 && strchr(reader->at + 1, ';'))
        rc = refuse(reader, "something stands behind the end");
    return rc;
}

static int check_version(struct reader *reader)
{
    size_t digits = strncmp(reader->begin, "osr", 3) == 0 ? strspn(reader->begin + 3, "0123456789") : 0;

    if (digits == 0 || reader->begin[3 + digits] != ':')
        return refuse(reader, "this is no token");
    if (strncmp(reader->begin, "osr1:", 5) != 0)
        return refuse(reader, "this token is of version %.*s, another version than 1", (int)(digits < 20 ? digits : 20),
                      reader->begin + 3);
    reader->at += 5;
    return 0;
}

/* Behind the first check sum that is right; NULL if there is none. */
static const char *behind_sum(const char *begin)
{
    const char *end;
    char expected[8];

    for (end = strchr(begin, ';'); end; end = strchr(end + 1, ';')) {
        snprintf(expected, sizeof(expected), ";%04x", fold(sum(begin, (size_t)(end - begin))));
        if (strncmp(end, expected, 5) == 0)
            return end + 5;
    }
    return NULL;
}

/* The check sum, which says at once whether it is whole. */
static int check_whole(struct reader *reader)
{
    const char *end = strrchr(reader->begin, ';'), *behind = behind_sum(reader->begin);
    char expected[8];

    if (behind && *behind) {
        reader->at = behind;
        return refuse(reader, "something stands behind the token");
    }
    if (!end || strlen(end) < 5) {
        reader->at = reader->begin + strlen(reader->begin);
        return refuse(reader, "this token is cut short: its end, ';' and four digits, is missing");
    }
    snprintf(expected, sizeof(expected), ";%04x", fold(sum(reader->begin, (size_t)(end - reader->begin))));
    if (strcmp(end, expected) != 0) {
        reader->at = end;
        return refuse(reader, "this token is damaged: its check sum should be %s", expected + 1);
    }
    return 0;
}

static int parse(const char *name, const char *token, struct script *script, char *why, size_t size)
{
    struct reader reader = {token, token, why, size};
    size_t length = strlen(name);
    int rc = check_version(&reader);

    script->count = 0;
    if (rc == 0)
        rc = check_whole(&reader);
    if (rc < 0)
        return rc;
    if (strncmp(reader.at, name, length) != 0 || reader.at[length] != ':') {
        (void)refuse(&reader, "this token is of another test than \"%s\"", name);
        return -ENOENT;
    }
    reader.at += length + 1;
    return take_lines(&reader, script);
}

int osri_kit_token_parse(const char *name, const char *token, struct script *script, char *why, size_t size)
{
    size_t length = strlen(token);
    char *copy;
    int rc;

    while (length > 0 && strchr(" \t\r\n", token[length - 1]))
        length--; /* as they are copied along */
    copy = osri_kit_resize(NULL, length + 1);
    memcpy(copy, token, length);
    copy[length] = '\0';
    rc = parse(name, copy, script, why, size);
    free(copy);
    return rc;
}
