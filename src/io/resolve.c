/*
 * resolve.c - the calls of <vthread/netdb.h>: libc's resolver, in place.
 *
 * The resolver's connection state belongs to the OS thread, and it may take
 * locks of its own: so it is not unmounted in between.
 */
#include <errno.h>
#include <netdb.h>
#include <stddef.h>

#include <vthread/netdb.h>
#include <vthread/time.h>

#include "io/in_place.h"

struct lookup {
    const char *node, *service;
    const struct addrinfo *hints;
    struct addrinfo *list;
    const struct sockaddr *address;
    socklen_t length;
    char *host, *service_name;
    socklen_t host_bytes, service_bytes;
    int flags;
    int reason; /* EAI_* */
};

static int error_of(int reason)
{
    switch (reason) {
    case 0:
        return 0;
    case EAI_SYSTEM:
        return errno;
    case EAI_AGAIN:
        return EAGAIN;
    case EAI_MEMORY:
        return ENOMEM;
    case EAI_OVERFLOW:
        return EOVERFLOW;
    case EAI_NONAME:
    case EAI_NODATA:
    case EAI_ADDRFAMILY:
        return ENOENT;
    case EAI_SERVICE:
    case EAI_SOCKTYPE:
    case EAI_FAMILY:
    case EAI_BADFLAGS:
        return EINVAL;
    default:
        return EIO;
    }
}

/* As a system call answers. */
static long answer(struct lookup *l)
{
    int err = error_of(l->reason);
    if (err == 0)
        return 0;
    /* A fault in the look-up without a number, or one that in_place would
     * try again for ever. */
    errno = err == EINTR ? EIO : err;
    return -1;
}

static long look_up(void *arg)
{
    struct lookup *l = arg;
    l->reason = getaddrinfo(l->node, l->service, l->hints, &l->list);
    return answer(l);
}

static long look_back(void *arg)
{
    struct lookup *l = arg;
    l->reason
        = getnameinfo(l->address, l->length, l->host, l->host_bytes,
                      l->service_name, l->service_bytes, l->flags);
    return answer(l);
}

static int perform(struct lookup *l, bool is_numeric,
                   long (*make)(void *arg), int *reason)
{
    int err = in_place(is_numeric ? BLOCKING_SHORT : BLOCKING_LONG,
                       VTHREAD_NEVER, make, l, NULL);
    if (reason)
        *reason = l->reason;
    return err;
}

int vthread_getaddrinfo(const char *node, const char *service,
                        const struct addrinfo *hints, struct addrinfo **list,
                        int *reason)
{
    struct lookup l = {.node = node, .service = service, .hints = hints};
    if (!list)
        return EINVAL;
    bool is_numeric = !node || (hints && hints->ai_flags & AI_NUMERICHOST);
    int err = perform(&l, is_numeric, look_up, reason);
    if (err == 0)
        *list = l.list;
    return err;
}

int vthread_getnameinfo(const struct sockaddr *address, socklen_t length,
                        char *host, socklen_t host_bytes, char *service,
                        socklen_t service_bytes, int flags, int *reason)
{
    struct lookup l = {.address = address,
                       .length = length,
                       .host = host,
                       .host_bytes = host_bytes,
                       .service_name = service,
                       .service_bytes = service_bytes,
                       .flags = flags};
    return perform(&l, flags & NI_NUMERICHOST, look_back, reason);
}
