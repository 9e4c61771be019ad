/*
 * Replay tokens (src/9_test/token.c): those that are right are read as they were written, and replayed as far as they
 * go, which is said; those that are cut short, damaged, of another version or test are refused, with where and why.
 */
#include "target.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <osier.h>
#include <osier/test.h>

#include "9_test/kit.h"

static const char *const wrongs[] = {"the sum need not be right", "a token may be cut short", "any version will do",
                                     "the name does not matter", "an answer may be as large as their number",
                                     "lines are counted from 0", "the replay need not say where it parts", NULL};
enum { WRONG_SUM = 1, WRONG_CUT, WRONG_VERSION, WRONG_NAME, WRONG_ANSWER, WRONG_COUNT, WRONG_PARTED };

enum { MOST_TOKEN = 4096, MOST_LINES = 30 };

/* ---- The test that is replayed ---- */

OSR_TASK(child, unsigned, slept)
{
    int rc = osr_sleep(osr_ms(osr_test_choose(3, "for how long")));

    *slept += rc == 0;
    return rc;
}

OSR_TASK(program, unsigned, slept)
{
    struct osr_group group;
    int rc = 0, i;

    osr_group_open(&group);
    for (i = 0; i < 3 && rc == 0; i++)
        rc = osr_spawn(&group, child, slept);
    return osr_group_close(&group, rc);
}

static char said[8192];

static void hear(void *arg, const char *text)
{
    size_t length = strlen(said);

    (void)arg;
    snprintf(said + length, sizeof(said) - length, "%s", text);
}

static unsigned slept;
static const struct osr_test test = OSR_TEST("fuzzed", program, &slept, .tell = hear);

/* ---- Writing, in our own way ---- */

static char token[MOST_TOKEN];
static size_t length;
static struct line lines[MOST_LINES];
static unsigned line_count;

static void put(const char *format, ...) OSR_PRINTF_(1, 2);

static void put(const char *format, ...)
{
    va_list list;

    va_start(list, format);
    length += (size_t)vsnprintf(token + length, sizeof(token) - length, format, list);
    va_end(list);
}

static unsigned sum_of(size_t count)
{
    uint32_t hash = 0x811c9dc5;
    size_t i;

    for (i = 0; i < count; i++)
        hash = (hash ^ (unsigned char)token[i]) * 0x01000193;
    return (hash ^ hash >> 16) & 0xffff;
}

static void put_line(struct input *input, unsigned long reached[KINDS])
{
    struct line line = {.kind = take(input, KINDS)};
    unsigned form = take(input, 16);

    line.first = line.last = reached[line.kind] + 1 + take(input, 12) + (form == 15 ? 100000 : 0);
    line.answer = 1 + take(input, 4);
    put("%s%c%lu", line_count ? "," : "", "RDEJFCST"[line.kind], line.first);
    if (form & 1) {
        line.last += take(input, 9);
        put("-%lu", line.last);
    } else if (form == 2) {
        line.onwards = true;
        put("+");
    }
    put("=%u", line.answer);
    if (form & 4) {
        line.n = line.answer + 1 + take(input, 3);
        put("/%u", line.n);
    }
    if (form & 8) {
        line.what = (uint16_t)(take_byte(input) * 257);
        put(".%04x", line.what);
    }
    reached[line.kind] = line.last;
    lines[line_count++] = line;
}

static void write_token(struct input *input)
{
    unsigned long reached[KINDS] = {0};
    unsigned count = take(input, MOST_LINES);

    line_count = 0;
    length = 0;
    put("osr1:fuzzed:");
    while (line_count < count && !is_over(input))
        put_line(input, reached);
    put(";%04x", sum_of(length));
}

/* ---- Reading ---- */

static int read_token(struct script *script, char *why, size_t size)
{
    int rc = osri_kit_token_parse("fuzzed", token, script, why, size);
    const char *at;
    size_t n;

    tell("%s\n%d%s%s\n", token, rc, rc < 0 ? ": " : "", rc < 0 ? why : "");
    if (rc == 0)
        return 0;
    check(rc == -EINVAL || rc == -ENOENT, "it gives %d", rc);
    at = strstr(why, ", at character ");
    check(at && at > why, "it does not say why, and where: %s", why);
    n = strtoul(at + 15, NULL, 10);
    check(n >= 1 && n <= strlen(token) + 1, "character %zu of %zu", n, strlen(token));
    return rc;
}

static bool same_line(const struct line *a, const struct line *b)
{
    return a->kind == b->kind && a->first + (wrong == WRONG_COUNT) == b->first && a->last == b->last &&
           a->answer == b->answer && a->n == b->n && a->what == b->what && a->onwards == b->onwards;
}

/* What is answered to a question. */
static unsigned answer_of(const struct script *script, unsigned kind, unsigned long ordinal)
{
    size_t i;

    for (i = 0; i < script->count; i++) {
        const struct line *line = &script->lines[i];

        if (line->kind == kind && ordinal >= line->first && (ordinal <= line->last || line->onwards))
            return line->answer;
    }
    return 0;
}

/* Written by the library and read again, it answers the same. */
static void check_again(const struct script *script)
{
    struct script again = {0};
    char why[512];
    unsigned kind;
    size_t size = osri_kit_token_format("fuzzed", script, token, sizeof(token)), i;

    check(size < sizeof(token) && osri_kit_token_parse("fuzzed", token, &again, why, sizeof(why)) == 0,
          "what it writes it does not read: %s", token);
    for (i = 0; i < script->count; i++)
        for (kind = 0; kind < KINDS; kind++)
            check(answer_of(script, kind, script->lines[i].last) == answer_of(&again, kind, script->lines[i].last),
                  "read again, it says another thing: %s", token);
    osri_kit_script_free(&again);
}

/* ---- Replaying ---- */

/* The program asks fewer questions than so many of any kind. */
enum { FAR = 10000 };

static bool goes_too_far(const struct script *script)
{
    size_t i;

    for (i = 0; i < script->count; i++)
        if (!script->lines[i].onwards && script->lines[i].last >= FAR)
            return true;
    return false;
}

static void replay(int parsed, bool too_far)
{
    int rc;

    said[0] = '\0';
    slept = 0;
    rc = osr_test_replay(&test, token);
    tell("replayed: %d: %s\n", rc, said);
    if (parsed < 0) {
        check(rc == -EINVAL && strstr(said, "at character"), "a bad token gives %d: %s", rc, said);
        return;
    }
    check(rc == 0 || rc == 1, "it gives %d", rc);
    check(said[0], "nothing is said");
    check(rc == 1 || strstr(said, strstr(said, "has parted") ? "this was not the token's run" : "all well"),
          "a replay that succeeds does not say so: %s", said);
    if (wrong == WRONG_PARTED ? rc == 0 && !too_far : too_far)
        check(strstr(said, "has parted from the token at"), "it does not say where it parts: %s", said);
}

/* ---- Inputs ---- */

enum damage {
    DAMAGE_NONE,
    DAMAGE_CUT,
    DAMAGE_CHANGED,
    DAMAGE_VERSION,
    DAMAGE_NAME,
    DAMAGE_ANSWER,
    DAMAGE_MARK,
    DAMAGE_RAW,
    DAMAGES
};

/* Makes another token of it. What reading it must give; 1: what it may be. */
static int spoil(struct input *input, enum damage damage)
{
    size_t at = length ? take_word(input) % length : 0;

    switch (damage) {
    case DAMAGE_NONE:
        return 0;
    case DAMAGE_CUT:
        token[at] = '\0';
        return wrong == WRONG_CUT ? 0 : -EINVAL;
    case DAMAGE_CHANGED: { /* one character, which any sum finds */
        char old = token[at], byte = (char)(1 + take(input, 255));

        token[at] = byte;
        return byte == old ? 0 : at < length - 5 && sum_of(length - 5) == strtoul(token + length - 4, NULL, 16) ? 1 :
               wrong == WRONG_SUM ? 0 : -EINVAL;
    }
    case DAMAGE_VERSION:
        token[3] = (char)('2' + take(input, 8));
        snprintf(token + length - 5, 6, ";%04x", sum_of(length - 5));
        return wrong == WRONG_VERSION ? 0 : -EINVAL;
    case DAMAGE_NAME:
        token[5 + take(input, 6)] ^= 1;
        snprintf(token + length - 5, 6, ";%04x", sum_of(length - 5));
        return wrong == WRONG_NAME ? 0 : -ENOENT;
    case DAMAGE_ANSWER: /* no smaller than the number of alternatives */
        length -= 5;
        put("%sT%d=%u/%u", line_count ? "," : "", 999999, 4, 4 - take(input, 4));
        put(";%04x", sum_of(length));
        return wrong == WRONG_ANSWER ? 0 : -EINVAL;
    case DAMAGE_MARK: /* one more than belongs there, and the right sum */
        at = strlen("osr1:fuzzed:") +
             take_word(input) % (length - 5 - strlen("osr1:fuzzed:") + 1);
        memmove(token + at + 1, token + at, length - at + 1);
        token[at] = ",;:="[take(input, 4)];
        length++;
        snprintf(token + length - 5, 6, ";%04x", sum_of(length - 5));
        return -EINVAL;
    default:
        return 1;
    }
}

/* Any text, with a sum that is right if the first byte says so. */
static void write_raw(struct input *input)
{
    bool summed = take(input, 2);
    size_t most = sizeof(token) - 8, size = (size_t)(input->end - input->at);

    size = size < most ? size : most;
    memcpy(token, input->at, size);
    token[size] = '\0';
    length = strlen(token);
    if (summed)
        put(";%04x", sum_of(length));
}

static void run(const unsigned char *bytes, size_t size)
{
    struct input input = {bytes, bytes + size};
    enum damage damage = take(&input, DAMAGES);
    bool replayed = take(&input, 8) == 7, too_far; /* it takes long */
    struct script script = {0};
    char why[512] = "";
    int rc, expected;
    unsigned i;

    if (damage == DAMAGE_RAW)
        write_raw(&input);
    else
        write_token(&input);
    expected = spoil(&input, damage);
    rc = read_token(&script, why, sizeof(why));
    check(expected == 1 || rc == expected, "it gives %d, and not %d", rc, expected);
    check(damage != DAMAGE_VERSION || wrong || strstr(why, "version"), "it does not speak of a version: %s", why);
    if (damage == DAMAGE_NONE) {
        check(script.count == line_count, "%zu lines, and not %u", script.count, line_count);
        for (i = 0; i < line_count; i++)
            check(same_line(&lines[i], &script.lines[i]), "line %u is another one", i);
    }
    too_far = rc == 0 && goes_too_far(&script);
    if (replayed && rc != -ENOENT)
        replay(rc, too_far);
    if (rc == 0)
        check_again(&script);
    osri_kit_script_free(&script);
}

const struct target target = {.name = "token", .run = run, .longest = 160, .wrongs = wrongs};
