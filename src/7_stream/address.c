/* Addresses of sockets, to and from words. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include <osier/socket.h>

#include "2_sched/sched.h"

static int make_ip4(struct osr_address *address, const char *host, unsigned port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (inet_pton(AF_INET, host, &in.sin_addr) != 1)
        return -EINVAL;
    *address = (struct osr_address){.size = sizeof(in)};
    memcpy(&address->storage, &in, sizeof(in));
    return 0;
}

/* Through getaddrinfo(), which alone knows how scopes are written. */
static int make_ip6(struct osr_address *address, const char *host, unsigned port)
{
    const struct addrinfo hints = {
        .ai_family = AF_INET6, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char service[16];
    int rc;

    snprintf(service, sizeof(service), "%u", port);
    rc = getaddrinfo(host, service, &hints, &found);
    if (rc != 0)
        return rc == EAI_MEMORY ? -ENOMEM : -EINVAL;
    *address = (struct osr_address){.size = found->ai_addrlen};
    memcpy(&address->storage, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return 0;
}

int osr_address_ip(struct osr_address *address, const char *host, unsigned port)
{
    int rc = -EINVAL;

    if (address && host && port <= 65535)
        rc = strchr(host, ':') ? make_ip6(address, host, port) : make_ip4(address, host, port);
    return rc < 0 ? osri_failed(rc, NULL) : 0;
}

int osr_address_unix(struct osr_address *address, const char *path)
{
    struct sockaddr_un *un;
    size_t length;

    if (!address || !path || !*path)
        return osri_failed(-EINVAL, NULL);
    length = strlen(path);
    if (length >= sizeof(un->sun_path))
        return osri_failed(-ENAMETOOLONG, NULL);
    *address = (struct osr_address){0};
    un = (struct sockaddr_un *)&address->storage;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, length);
    if (*path == '@')
        un->sun_path[0] = '\0'; /* abstract: the name is counted, not ended */
    address->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*path != '@'));
    return 0;
}

static int format_unix(const struct osr_address *address, char *buffer, size_t size)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)&address->storage;
    size_t room = address->size - offsetof(struct sockaddr_un, sun_path);

    if (address->size <= offsetof(struct sockaddr_un, sun_path))
        return snprintf(buffer, size, "unix:");
    if (un->sun_path[0] == '\0')
        return snprintf(buffer, size, "unix:@%.*s", (int)(room - 1), un->sun_path + 1);
    return snprintf(buffer, size, "unix:%.*s", (int)room, un->sun_path);
}

size_t osr_address_format(const struct osr_address *address, char *buffer, size_t size)
{
    char host[NI_MAXHOST], service[NI_MAXSERV];
    const struct sockaddr *any;
    int n;

    if (!buffer)
        size = 0;
    if (!address || address->size < sizeof(sa_family_t) || address->size > sizeof(address->storage)) {
        n = snprintf(buffer, size, "?");
    } else if (address->storage.ss_family == AF_UNIX) {
        n = format_unix(address, buffer, size);
    } else {
        any = (const struct sockaddr *)&address->storage;
        if (getnameinfo(any, address->size, host, sizeof(host), service, sizeof(service),
                        NI_NUMERICHOST | NI_NUMERICSERV) != 0)
            n = snprintf(buffer, size, "?");
        else
            n = snprintf(buffer, size, any->sa_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
    }
    return n < 0 ? 0 : (size_t)n;
}

int osr_address_port(const struct osr_address *address)
{
    if (!address)
        return osri_failed(-EINVAL, NULL);
    if (address->storage.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&address->storage)->sin_port);
    if (address->storage.ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)&address->storage)->sin6_port);
    return osri_failed(-EINVAL, NULL);
}
