#!/usr/bin/env bash
# The server that README.md shows, which lets its open connections finish, does so: when it is interrupted, and when a group
# around it is cancelled. The program is made of that very piece, with a shorter grace.
#
# BUILD names the build directory; FLAGS, if set, are more for the compiler, as those that the library was built with.
set -u
cd "$(dirname "$0")/.." || exit 1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() { echo "FAILED: $*"; failures=$((failures + 1)); }

awk '/^```c$/ { piece = ""; inside = 1; next }
     /^```$/ { if (inside && piece ~ /OSR_TASK\(serve_to_the_end,/) printf "%s", piece; inside = 0 }
     inside { piece = piece $0 "\n" }' README.md | sed 's/osr_s(5)/osr_ms(300)/' >"$work/piece.c"
grep -q 'osr_ms(300)' "$work/piece.c" || { echo 'FAILED: README.md shows no such server with a grace of 5 s'; exit 1; }

cat >"$work/graceful.c" <<'END_OF_C'
#include <arpa/inet.h>
#include <netinet/in.h>
#include <osier.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct server { int fd; struct osr_group connections; };
struct client { const char *asks; char got[16]; bool refused; };

static struct sockaddr_in address = {.sin_family = AF_INET};
static struct osr_event both_talk;
static int talking;

static int connect_to_it(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Asks, and reads until the end; then it sees whether one more would get in. */
static void *ask(void *arg)
{
    struct client *client = arg;
    int fd = connect_to_it(), more;
    size_t got = 0;
    ssize_t n;

    if (fd < 0 || write(fd, client->asks, 1) != 1)
        return NULL;
    while ((n = read(fd, client->got + got, sizeof(client->got) - 1 - got)) > 0)
        got += (size_t)n;
    close(fd);
    more = connect_to_it();
    client->refused = more < 0;
    if (more >= 0)
        close(more);
    return NULL;
}

OSR_TASK(talk, int, fd)
{
    char asked;
    int rc = osr_read(*fd, &asked, 1);

    if (++talking == 2)
        osr_event_set(&both_talk);
    if (rc == 1)
        rc = osr_sleep(asked == 'q' ? osr_ms(100) : OSR_NEVER);
    if (rc == 0)
        rc = osr_write_all(*fd, "done", 4, NULL);
    osr_fd_close(*fd);
    return rc;
}

OSR_TASK(accept_connections, struct server, server)
{
    int rc = 0, fd;

    while (rc == 0 && (rc = fd = osr_accept(server->fd, NULL)) >= 0)
        rc = osr_spawn_copy(&server->connections, talk, &fd);
    osr_fd_close(server->fd);
    return rc;
}

#include "piece.c"

OSR_TASK(stop, char, how)
{
    struct server server;
    struct osr_group group;
    int rc;

    server.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(server.fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(server.fd, 8) < 0)
        return osr_fail(-errno, "listening");
    getsockname(server.fd, (struct sockaddr *)&address, &(socklen_t){sizeof(address)});
    osr_event_init(&both_talk);
    osr_group_open(&group);
    rc = osr_spawn(&group, serve_to_the_end, &server);
    if (rc == 0) {
        static struct client quick = {.asks = "q"}, slow = {.asks = "s"};
        pthread_t threads[2];
        struct osr_scope limit;

        pthread_create(&threads[0], NULL, ask, &quick);
        pthread_create(&threads[1], NULL, ask, &slow);
        osr_timeout_open(&limit, osr_s(20));
        rc = osr_event_wait(&both_talk);
        rc = osr_scope_close(&limit, rc);
        if (rc == 0 && *how == 'i')
            kill(getpid(), SIGINT);
        else
            osr_group_cancel(&group, "shutting down");
        rc = osr_group_close(&group, rc);
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        printf("quick: '%s'%s\n", quick.got, quick.refused ? ", and no more" : "");
        printf("slow: '%s'%s\n", slow.got, slow.refused ? ", and no more" : "");
    }
    return rc;
}

int main(int argc, char **argv)
{
    int rc;

    (void)argc;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    rc = osr_run(stop, argv[1], .interrupts = true);
    printf("%s\n", osr_strcode(rc));
    if (rc != -EINTR)
        osr_error_print(osr_error_last(), stdout);
    osr_error_clear();
    return 0;
}
END_OF_C

# shellcheck disable=SC2086 # flags
"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -Wall -Wextra -Werror -g -pthread ${FLAGS:-} -Iinclude -o "$work/graceful" \
    "$work/graceful.c" "${BUILD:?BUILD must name the build directory}/libosier.a" -lev -lm || exit 1

ends() { # HOW CODE
    local said

    said=$(timeout 60 "$work/graceful" "$1" 2>&1)
    [[ $said == "quick: 'done', and no more"$'\n'"slow: '', and no more"$'\n'"$2" ]] || fail "$1: $said"
}

ends interrupted EINTR
ends cancelled 0

[ "$failures" = 0 ]
