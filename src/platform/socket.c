/*
 * socket.c - the two calls that a busy server makes most.
 */
#include "platform/socket.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "platform/sanitizer.h"

ssize_t socket_recv(int fd, void *buffer, size_t size_bytes, int flags)
{
    if (SANITIZER_WATCHES_CALLS)
        return recv(fd, buffer, size_bytes, flags);
    return syscall(SYS_recvfrom, fd, buffer, size_bytes, flags, NULL, NULL);
}

ssize_t socket_send(int fd, const void *buffer, size_t size_bytes, int flags)
{
    if (SANITIZER_WATCHES_CALLS)
        return send(fd, buffer, size_bytes, flags);
    return syscall(SYS_sendto, fd, buffer, size_bytes, flags, NULL, 0);
}
