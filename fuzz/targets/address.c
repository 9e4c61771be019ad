/*
 * Addresses (src/7_stream/address.c) against readers of our own: which words are addresses, of which bytes, what they
 * are written as; and any bytes that a system might give for an address.
 */
#include "target.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include <osier/error.h>
#include <osier/socket.h>

static const char *const wrongs[] = {
    "256 is a byte", "leading zeros are fine", ":: may stand twice", "any port will do",
    "a path may be as long as its room", "an abstract name is ended with a NUL", NULL};
enum { WRONG_256 = 1, WRONG_ZEROS, WRONG_TWICE, WRONG_PORT, WRONG_LONG, WRONG_ABSTRACT };

/* ---- Readers ---- */

static bool read_ip4(const char *at, unsigned char bytes[4])
{
    unsigned i, digits;

    for (i = 0; i < 4; i++) {
        unsigned number = 0;

        if (at[0] == '0' && at[1] >= '0' && at[1] <= '9' && wrong != WRONG_ZEROS)
            return false;
        for (digits = 0; *at >= '0' && *at <= '9' && digits < 4; digits++)
            number = number * 10 + (unsigned)(*at++ - '0');
        if (digits == 0 || digits > 3 || number > (wrong == WRONG_256 ? 256 : 255) || *at != (i < 3 ? '.' : '\0'))
            return false;
        at += i < 3;
        bytes[i] = (unsigned char)number;
    }
    return true;
}

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef", *at = strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);

    return c && at ? (int)(at - digits) : -1;
}

/* Words of 16 bits before and after a "::", of which the last two may be written as an IPv4 address. */
static bool read_ip6(const char *at, unsigned char bytes[16])
{
    unsigned char words[2][16];
    size_t counts[2] = {0, 0};
    unsigned part = 0;
    bool after_word = false;

    while (*at) {
        unsigned number = 0, digits = 0;
        const char *begin;

        if (at[0] == ':' && at[1] == ':') {
            if (part == 1 && wrong != WRONG_TWICE)
                return false;
            part = 1;
            at += 2;
            after_word = false;
            continue;
        }
        if (after_word && *at++ != ':')
            return false;
        begin = at;
        for (; hex_digit(*at) >= 0 && digits < 5; digits++)
            number = number * 16 + (unsigned)hex_digit(*at++);
        if (*at == '.') {
            if (counts[part] + 4 > 16 || !read_ip4(begin, &words[part][counts[part]]))
                return false;
            counts[part] += 4;
            break;
        }
        if (digits == 0 || digits > 4 || counts[part] + 2 > 16 || (*at && *at != ':'))
            return false;
        words[part][counts[part]++] = (unsigned char)(number >> 8);
        words[part][counts[part]++] = (unsigned char)number;
        after_word = true;
    }
    if (part == 0 ? counts[0] != 16 : counts[0] + counts[1] > 14)
        return false;
    memset(bytes, 0, 16);
    memcpy(bytes, words[0], counts[0]);
    memcpy(bytes + 16 - counts[1], words[1], counts[1]);
    return true;
}

/* ---- Writing ---- */

/* Whatever the room, it is the beginning of the whole, and its length is told. Gives the whole. */
static const char *write_out(const struct osr_address *address, size_t room)
{
    static char whole[2048];
    char part[2048];
    size_t length = osr_address_format(address, whole, sizeof(whole));

    check(length == strlen(whole) && length > 0, "a text of %zu characters is said to have %zu", strlen(whole), length);
    memset(part, 'x', sizeof(part));
    room %= length + 2;
    check(osr_address_format(address, part, room) == length, "the length depends on the room");
    check(room == 0 ||
              (strlen(part) == (room <= length ? room - 1 : length) && strncmp(part, whole, strlen(part)) == 0),
          "in %zu bytes, \"%s\" is \"%s\"", room, whole, part);
    check(part[room] == 'x', "more than %zu bytes were written", room);
    tell("is written as %s\n", whole);
    return whole;
}

static void same_again(const struct osr_address *address, const char *host, unsigned port)
{
    struct osr_address again;

    check(osr_address_port(address) == (int)port, "port %u became %d", port, osr_address_port(address));
    check(osr_address_ip(&again, host, port) == 0 && again.size == address->size &&
              memcmp(&again.storage, &address->storage, address->size) == 0,
          "\"%s\" is another address when it is read again", host);
}

/* "host:port", or "[host]:port". */
static void read_back(const struct osr_address *address, unsigned port)
{
    char text[2048], *host = text, *colon;

    snprintf(text, sizeof(text), "%s", write_out(address, 10));
    colon = strrchr(text, ':');
    check(colon && (unsigned)atoi(colon + 1) == port, "there is no port %u behind %s", port, text);
    *colon = '\0';
    if (*host == '[') {
        check(colon[-1] == ']', "'[' without ']'");
        colon[-1] = '\0';
        host++;
    }
    same_again(address, host, port);
}

/* ---- Inputs ---- */

static void try_ip(const char *host, unsigned port)
{
    bool six = strchr(host, ':') != NULL, scoped = six && strchr(host, '%');
    unsigned char bytes[16];
    struct osr_address address;
    bool expected = (six ? read_ip6(host, bytes) : read_ip4(host, bytes)) && (port <= 65535 || wrong == WRONG_PORT);
    int rc = osr_address_ip(&address, host, port);

    tell("\"%s\", port %u: %d\n", host, port, rc);
    check(rc == 0 || rc == -EINVAL, "it gives %d", rc);
    check(scoped || (rc == 0) == expected, "\"%s\", port %u gives %d", host, port, rc);
    osr_error_clear();
    if (rc < 0)
        return;
    if (six && !scoped)
        check(memcmp(&((struct sockaddr_in6 *)&address.storage)->sin6_addr, bytes, 16) == 0, "%s is another address",
              host);
    if (!six)
        check(memcmp(&((struct sockaddr_in *)&address.storage)->sin_addr, bytes, 4) == 0, "%s is another address",
              host);
    read_back(&address, port);
}

static void try_unix(const char *path)
{
    size_t length = strlen(path), most = sizeof(((struct sockaddr_un *)0)->sun_path) - (wrong != WRONG_LONG);
    struct osr_address address, again;
    int rc = osr_address_unix(&address, path), expected = length == 0 ? -EINVAL : length > most ? -ENAMETOOLONG : 0;
    const char *text;

    tell("path \"%s\": %d\n", path, rc);
    check(rc == expected, "a path of %zu characters gives %d", length, rc);
    osr_error_clear();
    if (rc < 0)
        return;
    check(address.size == offsetof(struct sockaddr_un, sun_path) + length + (*path != '@' || wrong == WRONG_ABSTRACT),
          "a path of %zu characters has %u bytes", length, (unsigned)address.size);
    check(osr_address_port(&address) == -EINVAL, "a path has a port");
    osr_error_clear();
    text = write_out(&address, length);
    check(strncmp(text, "unix:", 5) == 0 && strcmp(text + 5, path) == 0, "\"%s\" is written as %s", path, text);
    check(osr_address_unix(&again, text + 5) == 0 && memcmp(&again, &address, sizeof(again)) == 0,
          "\"%s\" is another address when it is read again", path);
}

/* What might come from a system. */
static void try_raw(struct input *input)
{
    static const sa_family_t families[] = {AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC};
    struct osr_address address = {.size = take_byte(input) % 140};
    unsigned family = take(input, 5);
    char *at = (char *)&address.storage;
    size_t i;

    for (i = 0; i < sizeof(address.storage); i++)
        at[i] = (char)take_byte(input);
    if (family < 4)
        address.storage.ss_family = families[family];
    (void)write_out(&address, take_byte(input));
    (void)osr_address_port(&address);
    osr_error_clear();
}

static void run(const unsigned char *bytes, size_t size)
{
    struct input input = {bytes, bytes + size};
    unsigned mode = take(&input, 4), port;
    char words[256] = "";
    size_t length;

    if (mode == 0) {
        try_raw(&input);
        return;
    }
    port = take_word(&input);
    port += take(&input, 16) == 15 ? 65000 : 0;
    length = (size_t)(input.end - input.at) < sizeof(words) - 1 ? (size_t)(input.end - input.at) : sizeof(words) - 1;
    memcpy(words, input.at, length);
    if (mode == 1)
        try_unix(words);
    else
        try_ip(words, port);
}

/* ---- At random ---- */

static const char *const pieces[] = {
    "127.0.0.1", "1.2.", "3.4", "255", "256", "0", "01", "1", "8", "12", "12345", "1.2.3.04", "1.2.3.256", ".",
    "::1", "::", ":", "1:2:3:4:", "5:6:7", "a:b", "ffff", "G", "1::", "1::2::3", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::",
    "0:0:0:0:0:0:0:0", "::ffff:", "fe80::", "%", "%1", "%lo", "@", "/tmp/", "x"};
enum { PIECES = sizeof(pieces) / sizeof(pieces[0]) };

static size_t generate(uint64_t *state, unsigned char *bytes, size_t room)
{
    size_t size = 0;
    unsigned count;

    for (; size < 4; size++)
        bytes[size] = (unsigned char)draw(state, 256);
    if (bytes[0] % 4 == 0 || draw(state, 8) == 0) {
        for (count = draw(state, 160); count > 0; count--)
            bytes[size++] = (unsigned char)(bytes[0] % 4 ? 'a' + draw(state, 8) : draw(state, 256));
        return size;
    }
    for (count = draw(state, 8); count > 0; count--) {
        const char *piece = pieces[draw(state, PIECES)];

        if (size + strlen(piece) > room)
            break;
        memcpy(bytes + size, piece, strlen(piece));
        size += strlen(piece);
    }
    return size;
}

const struct target target = {.name = "address", .run = run, .generate = generate, .wrongs = wrongs};
