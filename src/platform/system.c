/*
 * system.c - the system calls in whose place tests put themselves.
 */
#include "platform/system.h"

/* Past TSan as well: its close would come to that of libvthread-posix, which
 * calls the library, and so on. */
int system_close(int fd)
{
    sanitizer_closing(fd);
    return (int)syscall(SYS_close, fd);
}

ssize_t system_recv(int fd, void *buffer, size_t size_bytes, int flags)
{
    if (SANITIZER_WATCHES_CALLS)
        return recv(fd, buffer, size_bytes, flags);
    return syscall(SYS_recvfrom, fd, buffer, size_bytes, flags, NULL, NULL);
}

ssize_t system_send(int fd, const void *buffer, size_t size_bytes, int flags)
{
    if (SANITIZER_WATCHES_CALLS)
        return send(fd, buffer, size_bytes, flags);
    return syscall(SYS_sendto, fd, buffer, size_bytes, flags, NULL, 0);
}
