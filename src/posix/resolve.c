/*
 * resolve.c - names and addresses of hosts, in place: libc holds locks of its
 * own while it asks.
 */
#include <netdb.h>
#include <sys/socket.h>

#include "posix/own.h"
#include "posix/real.h"

/* ---- getaddrinfo and getnameinfo ---------------------------------------- */

struct address_query {
    const char *node, *service;
    const struct addrinfo *hints;
    struct addrinfo **found;
    int result;
};

static void *find_addresses(void *arg)
{
    struct address_query *q = arg;
    q->result = REAL(getaddrinfo)(q->node, q->service, q->hints, q->found);
    return NULL;
}

OWN int getaddrinfo(const char *node, const char *service,
                    const struct addrinfo *hints, struct addrinfo **found)
{
    if (!own_concerns_us())
        return REAL(getaddrinfo)(node, service, hints, found);
    struct address_query q = {
        .node = node, .service = service, .hints = hints, .found = found};
    own_block(find_addresses, &q);
    return q.result;
}

struct name_query {
    const struct sockaddr *address;
    char *node, *service;
    socklen_t length, node_size, service_size;
    int flags;
    int result;
};

static void *find_name(void *arg)
{
    struct name_query *q = arg;
    q->result = REAL(getnameinfo)(q->address, q->length, q->node,
                                  q->node_size, q->service, q->service_size,
                                  q->flags);
    return NULL;
}

OWN int getnameinfo(const struct sockaddr *address, socklen_t length,
                    char *node, socklen_t node_size, char *service,
                    socklen_t service_size, int flags)
{
    struct name_query q = {
        .address = address,
        .length = length,
        .node = node,
        .node_size = node_size,
        .service = service,
        .service_size = service_size,
        .flags = flags,
    };
    if (own_concerns_us())
        own_block(find_name, &q);
    else
        find_name(&q);
    return q.result;
}

/* ---- gethostbyname and so on -------------------------------------------- */

/* Of all of them; the old ones have no buffer. */
struct host_query {
    const void *key; /* a name or an address */
    socklen_t length;
    int family;
    struct hostent *host, **found;
    char *buffer;
    size_t size;
    int *error;
    int result;
    struct hostent *returned;
};

static void *by_name(void *arg)
{
    struct host_query *q = arg;
    q->returned = REAL(gethostbyname)(q->key);
    return NULL;
}

static void *by_name2(void *arg)
{
    struct host_query *q = arg;
    q->returned = REAL(gethostbyname2)(q->key, q->family);
    return NULL;
}

static void *by_address(void *arg)
{
    struct host_query *q = arg;
    q->returned = REAL(gethostbyaddr)(q->key, q->length, q->family);
    return NULL;
}

static void *by_name_r(void *arg)
{
    struct host_query *q = arg;
    q->result = REAL(gethostbyname_r)(q->key, q->host, q->buffer, q->size,
                                      q->found, q->error);
    return NULL;
}

static void *by_name2_r(void *arg)
{
    struct host_query *q = arg;
    q->result = REAL(gethostbyname2_r)(q->key, q->family, q->host, q->buffer,
                                       q->size, q->found, q->error);
    return NULL;
}

static void *by_address_r(void *arg)
{
    struct host_query *q = arg;
    q->result = REAL(gethostbyaddr_r)(q->key, q->length, q->family, q->host,
                                      q->buffer, q->size, q->found,
                                      q->error);
    return NULL;
}

static void ask(void *(*fn)(void *), struct host_query *q)
{
    if (own_concerns_us())
        own_block(fn, q);
    else
        fn(q);
}

OWN struct hostent *gethostbyname(const char *name)
{
    struct host_query q = {.key = name};
    ask(by_name, &q);
    return q.returned;
}

OWN struct hostent *gethostbyname2(const char *name, int family)
{
    struct host_query q = {.key = name, .family = family};
    ask(by_name2, &q);
    return q.returned;
}

OWN struct hostent *gethostbyaddr(const void *address, socklen_t length,
                                  int family)
{
    struct host_query q = {
        .key = address, .length = length, .family = family};
    ask(by_address, &q);
    return q.returned;
}

OWN int gethostbyname_r(const char *name, struct hostent *host, char *buffer,
                        size_t size, struct hostent **found, int *error)
{
    struct host_query q = {
        .key = name,
        .host = host,
        .found = found,
        .buffer = buffer,
        .size = size,
        .error = error,
    };
    ask(by_name_r, &q);
    return q.result;
}

OWN int gethostbyname2_r(const char *name, int family, struct hostent *host,
                         char *buffer, size_t size, struct hostent **found,
                         int *error)
{
    struct host_query q = {
        .key = name,
        .family = family,
        .host = host,
        .found = found,
        .buffer = buffer,
        .size = size,
        .error = error,
    };
    ask(by_name2_r, &q);
    return q.result;
}

OWN int gethostbyaddr_r(const void *address, socklen_t length, int family,
                        struct hostent *host, char *buffer, size_t size,
                        struct hostent **found, int *error)
{
    struct host_query q = {
        .key = address,
        .length = length,
        .family = family,
        .host = host,
        .found = found,
        .buffer = buffer,
        .size = size,
        .error = error,
    };
    ask(by_address_r, &q);
    return q.result;
}
