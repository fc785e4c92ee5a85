/*
 * socket.h - what the calls on sockets ask before they wait.
 */
#ifndef POSIX_SOCKET_H
#define POSIX_SOCKET_H

#include <stdbool.h>
#include <sys/socket.h>

/* These do not wait, whatever the socket is like: urgent data, the error
 * queue. */
static inline bool socket_never_waits(int flags)
{
    return flags & (MSG_DONTWAIT | MSG_OOB | MSG_ERRQUEUE);
}

/* A datagram socket that names its receiver hears nothing of room in a UNIX
 * socket's queue. */
static inline bool socket_names_unix(const struct sockaddr *to,
                                     socklen_t length)
{
    return to && length >= sizeof to->sa_family && to->sa_family == AF_UNIX;
}

static inline bool socket_is_stream(int fd)
{
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0
           && type == SOCK_STREAM;
}

#endif
