/* The input of probe.c: from lines to targets. A header, since every .c file here is a program of its own. */
#ifndef PROBE_INPUT_H
#define PROBE_INPUT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <osier.h>

enum { LINE_SIZE = 1024, SHOWN_SIZE = 80 };

struct target {
    unsigned long line; /* its number in the input */
    char *text;         /* the line */
    char *parts;        /* a copy of it, cut into what follows */
    const char *host;   /* "unix:" for all Unix sockets */
    const char *path;   /* what to GET, without its first '/'; NULL: to connect is enough */
    unsigned port;
    struct osr_address address; /* of a Unix socket; the others have to be looked up */

    /* For the prober: */
    struct host *of;
    const char *doing; /* what it is at, for messages */
    int status;        /* of HTTP; 0 until there is one */
};

struct input {
    const char *name;
    struct target *targets;
    size_t count, bad_lines;
};

/* ---- Small things -------------------------------------------------------------------------------------- */

static void *must(void *memory)
{
    if (memory != NULL)
        return memory;
    fputs("probe: out of memory\n", stderr);
    exit(2);
}

/* Makes room for one more item of `size` bytes behind `count`: the room doubles at every power of two. */
static void *grow(void *items, size_t count, size_t size)
{
    if ((count & (count - 1)) != 0)
        return items;
    return must(reallocarray(items, count > 0 ? 2 * count : 1, size));
}

/* `text`, with all that a terminal might obey written as \xNN, cut so that it fits `shown`. */
static const char *printable(const char *text, size_t size, char shown[SHOWN_SIZE])
{
    size_t at = 0;

    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = c >= ' ' && c <= '~' && c != '\\';

        if (at + sizeof("\\x00...") > SHOWN_SIZE) {
            strcpy(shown + at, "...");
            return shown;
        }
        at += (size_t)(plain ? sprintf(shown + at, "%c", c) : sprintf(shown + at, "\\x%02x", c));
    }
    shown[at] = '\0';
    return shown;
}

/* ---- One line: each of these gives NULL, or what is wrong ---------------------------------------------- */

static const char *parse_port(struct target *target, const char *text)
{
    size_t digits = strspn(text, "0123456789");
    unsigned long port = digits > 0 && digits < 6 ? strtoul(text, NULL, 10) : 0;

    if (text[digits] != '\0' || port < 1 || port > 65535)
        return "the port is not a number from 1 to 65535";
    target->port = (unsigned)port;
    return NULL;
}

/* "host", "host:port", "[v6]" or "[v6]:port". The port may be missing where the target has one already. */
static const char *parse_host(struct target *target, char *text)
{
    bool brackets = text[0] == '[';
    char *end = brackets ? strchr(text, ']') : text + strcspn(text, ":");
    const char *wrong = NULL;

    if (end == NULL)
        return "a '[' without its ']'";
    if (!brackets && end != strrchr(text, ':') && *end == ':')
        return "an IPv6 address needs brackets, as in [::1]:80";
    if (end[brackets] == ':')
        wrong = parse_port(target, end + brackets + 1);
    else if (end[brackets] != '\0')
        wrong = "only a port can follow the ']'";
    if (wrong != NULL)
        return wrong;
    *end = '\0';
    target->host = text + brackets;
    if (target->host[0] == '\0')
        return "no host";
    return target->port == 0 ? "no port" : NULL;
}

static const char *parse_http(struct target *target, char *text)
{
    char *slash = strchr(text, '/');

    target->port = 80;
    target->path = "";
    if (slash != NULL) {
        *slash = '\0';
        slash[1 + strcspn(slash + 1, "#")] = '\0'; /* a fragment is not for the server */
        target->path = slash + 1;
    }
    return parse_host(target, text);
}

static const char *parse_unix(struct target *target, const char *path)
{
    target->host = "unix:";
    if (osr_address_unix(&target->address, path) < 0)
        return path[0] == '\0' ? "no path" : "the path is too long for a socket";
    return NULL;
}

static const char *parse_target(struct target *target, char *text)
{
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(target, text + 5);
    if (strchr(text, ' ') != NULL)
        return "a blank inside";
    if (strncasecmp(text, "http://", 7) == 0)
        return parse_http(target, text + 7);
    if (strstr(text, "://") != NULL)
        return "of all schemes only http is known";
    return parse_host(target, text);
}

static const char *check_bytes(const char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            return "a byte that is not printable ASCII";
    return NULL;
}

/* Takes off the comment and the blanks around. */
static char *trim(char *line)
{
    size_t n;

    for (char *c = line; *c != '\0'; c++)
        if (*c == '#' && (c == line || c[-1] == ' ' || c[-1] == '\t'))
            *c = '\0';
    line += strspn(line, " \t\r");
    for (n = strlen(line); n > 0 && strchr(" \t\r", line[n - 1]) != NULL; n--)
        line[n - 1] = '\0';
    return line;
}

/* ---- All lines ----------------------------------------------------------------------------------------- */

static void add_target(struct input *input, const struct target *target)
{
    input->targets = grow(input->targets, input->count, sizeof(*input->targets));
    input->targets[input->count++] = *target;
}

/* Adds the target of one line, if there is one; `size` is what the line had before it was cut. */
static const char *take_line(struct input *input, char *line, size_t size, unsigned long number)
{
    struct target target = {.line = number, .doing = "starting"};
    const char *wrong;

    if (size >= LINE_SIZE)
        return "the line is too long";
    if (strlen(line) != size)
        return "a NUL byte";
    line = trim(line);
    if (line[0] == '\0')
        return NULL;
    wrong = check_bytes(line);
    if (wrong != NULL)
        return wrong;
    target.text = must(strdup(line));
    target.parts = must(strdup(line));
    wrong = parse_target(&target, target.parts);
    if (wrong == NULL) {
        add_target(input, &target);
        return NULL;
    }
    free(target.text);
    free(target.parts);
    return wrong;
}

/* Reads one line without its end; `*size` is its whole length, also of what did not fit. False at the end. */
static bool read_line(FILE *in, char line[LINE_SIZE], size_t *size)
{
    size_t n = 0;
    int c;

    while ((c = getc(in)) != EOF && c != '\n') {
        if (n < LINE_SIZE - 1)
            line[n] = (char)c;
        n++;
    }
    line[n < LINE_SIZE ? n : LINE_SIZE - 1] = '\0';
    *size = n;
    return c != EOF || n > 0;
}

/* 0, or the code with which reading failed. Bad lines are named, and the others taken. */
static int read_lines(struct input *input, FILE *in)
{
    char line[LINE_SIZE], shown[SHOWN_SIZE];
    size_t size;

    for (unsigned long number = 1; read_line(in, line, &size); number++) {
        const char *wrong;

        printable(line, size < LINE_SIZE ? size : LINE_SIZE - 1, shown); /* now: taking it changes it */
        wrong = take_line(input, line, size, number);
        if (wrong == NULL)
            continue;
        fprintf(stderr, "probe: %s:%lu: %s: '%s'\n", input->name, number, wrong, shown);
        input->bad_lines++;
    }
    return ferror(in) ? -errno : 0;
}

/* Reads the file that the input names, "-" for standard input. 0, or the code with which that failed. */
static int read_input(struct input *input)
{
    bool from_file = strcmp(input->name, "-") != 0;
    FILE *in = from_file ? fopen(input->name, "r") : stdin;
    int rc;

    if (in == NULL)
        return -errno;
    if (!from_file)
        input->name = "standard input";
    rc = read_lines(input, in);
    if (from_file)
        fclose(in);
    return rc;
}

static void free_input(struct input *input)
{
    for (size_t i = 0; i < input->count; i++) {
        free(input->targets[i].text);
        free(input->targets[i].parts);
    }
    free(input->targets);
}

#endif
