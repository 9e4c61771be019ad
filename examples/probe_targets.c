/*
 * probe_targets: servers on this machine that behave well and badly, for probe.c to ask.
 *
 *     build/gcc/examples/probe_targets >targets.txt          (until its input ends: Ctrl-D)
 *     build/gcc/examples/probe_targets targets.txt &
 *
 * It listens on ports that the kernel chooses, writes a line for each in the form that probe reads, to standard
 * output or the file given, the last of them "# ready", and serves until its standard input ends.
 *
 * What it shows of osier:
 *
 *   program
 *     group "servers"   a task a server, and one that cancels the group when the input ends
 *       group NAME      a task a connection, 64 at a time: further ones wait in the backlog
 *
 *   - What a client does wrong is no error of the server: its task gives 0. An error of a server ends them all.
 *   - Ending in order needs no flags: all tasks sit in the group that is cancelled, each cut call gives
 *     -ECANCELED, and each task closes its descriptor on its way out.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <osier.h>

/* ---- Ways to treat a client; each gives 0 or more, or a code ------------------------------------------- */

/* Reads the client's request, which here says nothing of interest, up to its empty line. */
static int take_request(int fd)
{
    char text[4096];
    size_t have = 0;

    while (have < sizeof(text)) {
        int rc = osr_read(fd, text + have, sizeof(text) - have);

        if (rc <= 0)
            return rc;
        have += (size_t)rc;
        if (have >= 4 && memcmp(text + have - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    return 0;
}

static int answer(int fd, const char *text)
{
    int rc = take_request(fd);

    return rc < 0 ? rc : osr_write_all(fd, text, strlen(text), NULL);
}

static int answer_ok(int fd) { return answer(fd, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello\n"); }
static int answer_missing(int fd) { return answer(fd, "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"); }
static int answer_busy(int fd) { return answer(fd, "HTTP/1.1 503 Come back later\r\nConnection: close\r\n\r\n"); }
static int answer_noise(int fd) { return answer(fd, "\x1b[31m\x01\x7f\xff\xfe is this HTTP?"); }

static int answer_slowly(int fd)
{
    int rc = osr_sleep(osr_ms(400));

    return rc < 0 ? rc : answer_ok(fd);
}

/* One byte every 50 milliseconds, so that the line is never read at once. */
static int drip(int fd)
{
    static const char line[] = "HTTP/1.1 200\r\n";
    int rc = take_request(fd);

    for (size_t i = 0; i < strlen(line) && rc >= 0; i++) {
        rc = osr_write_all(fd, line + i, 1, NULL);
        if (rc >= 0)
            rc = osr_sleep(osr_ms(50));
    }
    return rc;
}

static int say_nothing(int fd)
{
    char text[256];
    int rc;

    do
        rc = osr_read(fd, text, sizeof(text));
    while (rc > 0);
    return rc;
}

static int hang_up(int fd) { return take_request(fd); }

/* A close without lingering throws the connection away: the client sees a reset. */
static int reset(int fd)
{
    const struct linger none = {.l_onoff = 1, .l_linger = 0};

    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) < 0 ? -errno : 0;
}

/* ---- The servers --------------------------------------------------------------------------------------- */

struct server {
    const char *name, *comment;
    const char *before, *after; /* what the target is made of, around the port */
    int (*treat)(int fd);       /* NULL: nobody listens */
    const char *address;        /* an IP address; NULL: a Unix socket */
    int listener;
};

#define ON(before, after) "http://" before ":", "/" after
#define V4 "127.0.0.1", -1
static struct server servers[] = {
    {"fast", "answers at once", ON("127.0.0.1", ""), answer_ok, V4},
    {"slow", "answers after 400 ms", ON("127.0.0.1", "report?year=2020"), answer_slowly, V4},
    {"drip", "sends a byte every 50 ms", ON("127.0.0.1", "drip"), drip, V4},
    {"silent", "accepts and says nothing", ON("127.0.0.1", "silent"), say_nothing, V4},
    {"reset", "throws the connection away", ON("127.0.0.1", "reset"), reset, V4},
    {"noise", "talks, but no HTTP", ON("127.0.0.1", "noise"), answer_noise, V4},
    {"refusing", "nobody listens", ON("127.0.0.1", "refusing"), NULL, V4},
    {"missing", "answers 404, which is an answer", ON("localhost", "nothing/here"), answer_missing, V4},
    {"busy", "answers 503", ON("localhost", "busy"), answer_busy, V4},
    {"closing", "hangs up without an answer", ON("localhost", "closing"), hang_up, V4},
    {"plain", "not asked for HTTP: open is enough", "127.0.0.1:", "", say_nothing, V4},
    {"v6", "the same with IPv6", "[::1]:", "", say_nothing, "::1", -1},
    {"unix", "the same with a Unix socket", "unix:@probe-targets-", "", say_nothing, NULL, -1},
};
enum { SERVERS = sizeof(servers) / sizeof(servers[0]) };

struct client {
    int (*treat)(int fd);
    int fd;
};

OSR_TASK(serve_client, struct client, client)
{
    int rc = client->treat(client->fd);

    osr_fd_close(client->fd);
    return rc == -ECANCELED ? rc : 0;
}

/* Accepts one client and starts its task. 0 or a code. */
static int take_client(struct osr_group *clients, const struct server *server)
{
    struct client client = {server->treat, osr_accept(server->listener, NULL)};
    int rc;

    if (client.fd == -EMFILE || client.fd == -ENFILE)
        return osr_sleep(osr_ms(100)); /* it stays in the backlog until a descriptor is free */
    if (client.fd < 0)
        return client.fd;
    rc = osr_spawn_copy(clients, serve_client, &client);
    if (rc < 0)
        osr_fd_close(client.fd);
    return rc;
}

OSR_TASK(serve, struct server, server)
{
    struct osr_group clients;
    int rc;

    osr_group_open(&clients, .name = server->name, .limit = 64);
    do
        rc = take_client(&clients, server);
    while (rc >= 0);
    return osr_group_close(&clients, rc);
}

/* ---- Starting ------------------------------------------------------------------------------------------ */

/* A port that is taken, though nobody listens: who connects is refused, and no other program gets it. */
static int reserve(const struct osr_address *address)
{
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc;

    if (fd < 0)
        return osr_fail(-errno, "cannot make a socket");
    if (bind(fd, (const struct sockaddr *)&address->storage, address->size) == 0)
        return fd;
    rc = osr_fail(-errno, "cannot bind a socket");
    close(fd);
    return rc;
}

/* Where to listen: an IP address without a port, which the kernel chooses, or a name of our own. */
static int make_address(const struct server *server, struct osr_address *address)
{
    char path[64];

    if (server->address != NULL)
        return osr_address_ip(address, server->address, 0);
    snprintf(path, sizeof(path), "@probe-targets-%d", (int)getpid());
    return osr_address_unix(address, path);
}

/* Gives the number that belongs into the server's line. */
static int open_server(struct server *server)
{
    struct osr_address address;
    int rc = make_address(server, &address);

    if (rc < 0)
        return rc;
    server->listener = server->treat != NULL ? osr_listen(&address, 0) : reserve(&address);
    if (server->listener < 0)
        return server->listener;
    if (server->address == NULL)
        return (int)getpid();
    rc = osr_socket_address(server->listener, &address);
    return rc < 0 ? rc : osr_address_port(&address);
}

static int open_all(FILE *out)
{
    char target[128];

    fputs("# What probe_targets serves, for probe to read.\n", out);
    for (struct server *server = servers; server < servers + SERVERS; server++) {
        int number = open_server(server);

        if (number == -EADDRNOTAVAIL || number == -EAFNOSUPPORT) {
            fprintf(out, "# %s: not on this machine\n", server->name);
            continue;
        }
        if (number < 0)
            return osr_wrap(number, "opening the server '%s'", server->name);
        snprintf(target, sizeof(target), "%s%d%s", server->before, number, server->after);
        fprintf(out, "%-40s  # %s: %s\n", target, server->name, server->comment);
    }
    fputs("# ready\n", out);
    return fflush(out) == 0 ? 0 : osr_fail(-errno, "writing the list");
}

/* ---- Serving ------------------------------------------------------------------------------------------- */

OSR_TASK(watch_input, struct osr_group, servers_group)
{
    char text[256];
    int rc;

    do
        rc = osr_read(STDIN_FILENO, text, sizeof(text));
    while (rc > 0);
    return rc < 0 ? rc : osr_group_cancel(servers_group, "the input has ended");
}

static int serve_all(void)
{
    struct osr_group group;
    int rc;

    osr_group_open(&group, .name = "servers");
    rc = osr_spawn(&group, watch_input, &group);
    for (struct server *server = servers; server < servers + SERVERS && rc == 0; server++)
        if (server->treat != NULL && server->listener >= 0)
            rc = osr_spawn(&group, serve, server, .name = server->name);
    return osr_group_close(&group, rc);
}

OSR_TASK(program, FILE, out)
{
    int rc = open_all(out);

    if (rc == 0)
        rc = serve_all();
    for (struct server *server = servers; server < servers + SERVERS; server++)
        if (server->listener >= 0)
            osr_fd_close(server->listener);
    return rc;
}

int main(int argc, char **argv)
{
    FILE *out = argc > 1 ? fopen(argv[1], "w") : stdout;
    int rc;

    if (out == NULL || argc > 2) {
        fputs("usage: probe_targets [FILE TO WRITE]\n", stderr);
        return 2;
    }
    rc = osr_run(program, out);
    if (rc < 0)
        osr_error_print(osr_error_last(), stderr);
    osr_error_clear();
    if (out != stdout)
        fclose(out);
    return rc < 0;
}
