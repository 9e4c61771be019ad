/*
 * The timeline that OSR_TRACE asks for (src/8_run/trace.c): whatever tasks are called, and whatever the variable says,
 * the file is JSON, and is whole after each write; the path is what it should be. The file is included, as what writes
 * is not for other files.
 */
#include "target.h"

#include <sys/mman.h>

#include "8_run/trace.c"

static const char *const wrongs[] = {"control characters are written as they are", "so are bytes that are no UTF-8",
                                     "so are quotes", "the end is missing", "%p stays as it is", NULL};
enum { WRONG_CONTROL = 1, WRONG_UTF8, WRONG_QUOTES, WRONG_END, WRONG_PATH };

/* ---- A reader of JSON ---- */

struct json {
    const unsigned char *begin, *at, *end;
};

static bool expect(struct json *json, char c)
{
    bool is_here = json->at < json->end && *json->at == (unsigned char)c;

    json->at += is_here;
    return is_here;
}

static void skip_space(struct json *json)
{
    while (json->at < json->end && strchr(" \n\r\t", *json->at))
        json->at++;
}

/* One character of UTF-8 by its value: whether it is one, and written in its shortest form. */
static bool skip_character(struct json *json)
{
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    unsigned first = *json->at++, more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : 3, i;
    uint32_t value = first < 0x80 ? first : first & (0x3fu >> more);

    if (first >= 0x80 && (first < 0xc0 || first > 0xf7))
        return false;
    for (i = 0; i < more; i++) {
        if (json->at == json->end || *json->at >> 6 != 2)
            return false;
        value = value << 6 | (*json->at++ & 0x3f);
    }
    return value >= least[more] && value <= 0x10ffff && !(value >= 0xd800 && value <= 0xdfff);
}

static bool skip_string(struct json *json)
{
    if (!expect(json, '"'))
        return false;
    while (json->at < json->end && *json->at != '"') {
        if (*json->at < ' ')
            return false;
        if (expect(json, '\\')) {
            if (expect(json, 'u')) {
                json->at += 4;
                if (json->at > json->end || strspn((const char *)json->at - 4, "0123456789abcdef") < 4)
                    return false;
            } else if (!expect(json, '"') && !expect(json, '\\')) {
                return false;
            }
        } else if (!skip_character(json)) {
            return false;
        }
    }
    return expect(json, '"');
}

static bool skip_digits(struct json *json)
{
    const unsigned char *begin = json->at;

    while (json->at < json->end && *json->at >= '0' && *json->at <= '9')
        json->at++;
    return json->at > begin;
}

static bool skip_number(struct json *json)
{
    (void)expect(json, '-');
    return skip_digits(json) && (!expect(json, '.') || skip_digits(json));
}

static bool skip_value(struct json *json, unsigned depth);

static bool skip_members(struct json *json, char end, unsigned depth)
{
    skip_space(json);
    if (expect(json, end))
        return true;
    do {
        skip_space(json);
        if (end == '}' && (!skip_string(json) || !expect(json, ':')))
            return false;
        if (!skip_value(json, depth + 1))
            return false;
        skip_space(json);
    } while (expect(json, ','));
    return expect(json, end);
}

static bool skip_value(struct json *json, unsigned depth)
{
    skip_space(json);
    if (depth > 8 || json->at == json->end)
        return false;
    if (expect(json, '{'))
        return skip_members(json, '}', depth);
    if (expect(json, '['))
        return skip_members(json, ']', depth);
    return *json->at == '"' ? skip_string(json) : skip_number(json);
}

static void check_json(const unsigned char *text, size_t size)
{
    struct json json = {text, text, text + size};
    bool whole = skip_value(&json, 0);

    skip_space(&json);
    check(whole && json.at == json.end, "the file is no JSON, at byte %zu of %zu", (size_t)(json.at - text), size);
}

/* The text as a library would have written it that is wrong in the way that is asked for. */
static void spoil(char *text, size_t *size)
{
    static const char *const escapes[] = {[WRONG_CONTROL] = "\\u00", [WRONG_UTF8] = "\\ufffd", [WRONG_QUOTES] = "\\\""};
    char *at = wrong <= WRONG_QUOTES ? memmem(text, *size, escapes[wrong], strlen(escapes[wrong])) : NULL;
    size_t length = wrong == WRONG_QUOTES ? 2 : 6;

    if (wrong == WRONG_END)
        *size -= 2;
    if (!at)
        return;
    *at = wrong == WRONG_CONTROL ? '\n' : wrong == WRONG_UTF8 ? '\xff' : '"';
    memmove(at + 1, at + length, *size - (size_t)(at - text) - length);
    *size -= length - 1;
}

static void check_file(const unsigned char *text, size_t size)
{
    static char spoiled[1 << 20];

    if (wrong) {
        memcpy(spoiled, text, size);
        spoil(spoiled, &size);
        text = (const unsigned char *)spoiled;
    }
    check_json(text, size);
}

/* ---- The file ---- */

static struct trace trace;
static int file;
static unsigned char *content;
enum { MOST_FILE = 1 << 20, MOST_TRACE = 1 << 14 };

static void begin_file(void)
{
    file = memfd_create("timeline", MFD_CLOEXEC);
    check(file >= 0 && ftruncate(file, MOST_FILE) == 0, "there is no file");
    content = mmap(NULL, MOST_FILE, PROT_READ, MAP_SHARED, file, 0);
    check(content != MAP_FAILED, "the file is not to be seen");
    trace.fd = file;
    trace.seeks = true;
}

static size_t end_of_text(void)
{
    return (size_t)trace.offset + sizeof(end_of_file) - 1;
}

/* ---- Inputs ---- */

static char words[3][1200];

static const char *take_words(struct input *input, unsigned which)
{
    size_t length = take_byte(input), some, i;

    if (length == 255)
        return NULL;
    some = length > 240 ? 4 : length;
    if (length > 240)
        length = 1000 + length % 16 * 4; /* around where they are cut, and soon more than one buffer */
    for (i = 0; i < length; i++) {
        unsigned byte = i < some ? take_byte(input) : (unsigned char)words[which][i - some];

        words[which][i] = (char)(byte ? byte : 0x80);
    }
    words[which][length] = '\0';
    return words[which];
}

static void put_one(struct input *input)
{
    struct osr_trace_event event = {.kind = OSR_TRACE_SPAWN + take(input, 6)};
    static const int64_t times[] = {0, 999, 1000, 123456789, INT64_MAX, INT64_MAX - 999};
    static const int codes[] = {0, -EIO, -OSR_EGROUP, INT32_MIN, INT32_MAX, -ECANCELED, -4000};

    event.at = times[take(input, 6)];
    event.task = take(input, 5) == 4 ? UINT64_MAX : 1 + take_byte(input);
    event.code = codes[take(input, 7)];
    event.name = take_words(input, 0);
    event.call = take_words(input, 1);
    event.where = take_words(input, 2);
    note(&trace, &event);
}

static void check_path(struct input *input)
{
    char asked[MOST_PATH + 16], expected[2 * MOST_PATH + 64] = "", path[MOST_PATH], *to = expected;
    size_t repeat = 1 + take(input, 64), length = 0, i, k;
    unsigned number = take(input, 3);
    const char *at = asked;
    int rc;

    for (i = 0; i < repeat; i++)
        for (k = 0; k < 64 && input->at + k < input->end && input->at[k]; k++)
            asked[length++] = (char)input->at[k];
    asked[length] = '\0';
    for (; *at && to < expected + sizeof(expected) - 64; at++)
        if (at[0] == '%' && at[1] == 'p' && wrong != WRONG_PATH) {
            to += snprintf(to, 32, "%d", (int)getpid());
            at++;
        } else {
            *to++ = *at;
        }
    if (number > 1)
        to += snprintf(to, 32, ".%u", number);
    rc = make_path(path, asked, number);
    if (to - expected >= MOST_PATH)
        check(rc == -ENAMETOOLONG, "a path of %d characters gives %d", (int)(to - expected), rc);
    else
        check(rc == 0 && strncmp(path, expected, (size_t)(to - expected)) == 0, "\"%s\" became \"%s\"", asked, path);
}

static void run(const unsigned char *bytes, size_t size)
{
    const struct osr_run_options options = {.where = size % 3 ? "here" : NULL};
    struct input input = {bytes, bytes + size};
    int looks = 2; /* at what is written before the end: each is at the whole file */

    if (take(&input, 16) == 0) {
        check_path(&input);
        return;
    }
    trace.offset = 0;
    trace.used = 0;
    trace.failed = 0;
    trace.running = 0;
    begin(&trace, &options);
    while (!is_over(&input) && trace.offset < MOST_TRACE) {
        put_one(&input);
        if (take(&input, 16) == 15 && looks-- > 0) {
            write_out(&trace, false);
            check_file(content, end_of_text());
        }
    }
    write_out(&trace, true);
    check(trace.failed == 0, "writing gives %d", trace.failed);
    tell("%.*s", (int)end_of_text(), content);
    check_file(content, end_of_text());
}

const struct target target = {.name = "trace", .begin = begin_file, .run = run, .longest = 400, .wrongs = wrongs};
